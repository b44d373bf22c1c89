//! Port: what was asked for and what became of it. Runs, the state of each organization in them, the history of limits, audit.

mod compare;
mod room_list;
mod rows;
mod run;
mod states;

use async_trait::async_trait;

pub use self::compare::*;
pub use self::room_list::*;
pub use self::rows::*;
pub use self::run::*;
pub use self::states::*;
use crate::{OrganizationId, PortResult, RunId, Timestamp};

/// The ledger of runs.
///
/// Laws (`tests/laws/ledger.rs`):
/// - Counts are derived from states and never incremented: the expected number is the sum over the states at all times.
/// - A terminal state is terminal: settling again changes nothing and answers `false`. Only [`Ledger::reopen`] begins a failed or
///   parked organization anew.
/// - Opening a run that exists, registering an organization that is registered: nothing is changed, nothing is lost.
/// - Beginning counts before any work is done; forgiving takes back exactly one attempt; a new stage starts from 1.
/// - One call is one transaction, and is durable when it returns.
/// - Answers stand in the order of the question.
/// - A room list is there from the moment it is put until its organization ends, and for no organization that has ended.
/// - What is added to the history of an organization for a run is there once, however often and by however many: the first stays.
/// - A run is pruned whole: it is out of sight before its first organization is gone. History and audit outlive it.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Opens the run, or joins the run of that name as it stands.
    async fn open_run(&self, run: &NewRun) -> PortResult<Run>;

    /// A run with its counts.
    async fn progress(&self, run: &RunId) -> PortResult<Option<Progress>>;

    /// Runs, newest first, at most `limit`.
    async fn runs(&self, limit: usize) -> PortResult<Vec<Progress>>;

    /// Runs, newest first, at most `limit`, without their counts: counting costs time in proportion to a run's size.
    async fn opened_runs(&self, limit: usize) -> PortResult<Vec<Run>>;

    /// Registers organizations as pending, and notes that everything up to `sent_through` is sent.
    async fn register(
        &self,
        run: &RunId,
        organizations: &[OrganizationId],
        sent_through: Option<OrganizationId>,
        at: Timestamp,
    ) -> PortResult<()>;

    /// Notes that every organization of the run is registered and sent.
    async fn complete_extraction(&self, run: &RunId, at: Timestamp) -> PortResult<()>;

    /// Cancels the run: workers drop what is left of it. False when it was finished or cancelled already.
    async fn cancel_run(&self, run: &RunId, at: Timestamp) -> PortResult<bool>;

    /// Counts an attempt of `stage` for each item, before the work begins.
    async fn begin(&self, stage: Stage, items: &[Item], at: Timestamp) -> PortResult<Vec<Begun>>;

    /// Takes back one attempt of `stage` of each item: the work was stopped in good order, and nothing went wrong.
    async fn forgive(&self, stage: Stage, items: &[Item]) -> PortResult<()>;

    /// Notes failed attempts; the items will be retried.
    async fn fail(&self, failures: &[(Item, Failure)]) -> PortResult<()>;

    /// Keeps the rooms that were collected of an organization, where they are too many for a queue message. What `list` says is the
    /// jobs' affair; it has at most [`ROOM_LIST_BYTES_MAX`] bytes, else it is refused. An organization of a run has one list: that
    /// of the latest `collected_at`, of two with the same instant the last one put. True when it, or one that was collected later, is
    /// kept. False when nothing is, because there is nothing to merge any more: the organization is terminal or not known, or
    /// the run is cancelled.
    async fn put_room_list(&self, item: &Item, collected_at: Timestamp, list: &[u8]) -> PortResult<bool>;

    /// The room list that is kept of an organization.
    async fn room_list(&self, item: &Item) -> PortResult<Option<Vec<u8>>>;

    /// Ends organizations. True for each that became terminal by this call. A changed boundary is added to the history and
    /// its room list is deleted in the same transaction.
    async fn settle(&self, settlements: &[Settlement]) -> PortResult<Vec<bool>>;

    /// Adds changes to the history that belong to no organization of a run. An organization's row of the same run stays as it is.
    async fn add_history(&self, rows: &[HistoryRow]) -> PortResult<()>;

    /// Makes failed and parked organizations pending again, without an attempt; their last failure stays to be read. True for each
    /// that this call opened; false for one in another state, an unknown one, and one of a cancelled run.
    async fn reopen(&self, items: &[Item]) -> PortResult<Vec<bool>>;

    /// What fails in a run, by state and class: the most frequent first.
    async fn error_classes(&self, run: &RunId) -> PortResult<Vec<ErrorClass>>;

    /// Organizations that take long, at most `limit`. While some are in work: those, the earliest start first (of very many at least
    /// the lowest 10,000 are looked at, so that a live view costs little). Else those with the longest time from the first
    /// attempt to the end, the longest first.
    async fn slowest(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>>;

    /// Failed and parked organizations, the last one to end first, at most `limit`.
    async fn latest_failures(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>>;

    /// Two runs side by side, with at most `examples` organizations of each change. Refused when either is unknown.
    async fn compare(&self, before: &RunId, after: &RunId, examples: usize) -> PortResult<Comparison>;

    /// Organizations of a run, ascending, at most `limit`.
    async fn organizations(&self, run: &RunId, filter: &Filter, limit: usize) -> PortResult<Vec<RunOrganization>>;

    /// What became of one organization in the runs that covered it, newest run first, at most `limit`.
    async fn attempts_of(
        &self,
        organization: OrganizationId,
        limit: usize,
    ) -> PortResult<Vec<(RunId, RunOrganization)>>;

    /// The changes of an organization's boundary, newest first, at most `limit`.
    async fn history(&self, organization: OrganizationId, limit: usize) -> PortResult<Vec<HistoryEntry>>;

    /// Writes an audit row.
    async fn record(&self, entry: &AuditEntry) -> PortResult<()>;

    /// Audit rows, newest first, at most `limit`.
    async fn audits(&self, filter: &AuditFilter, limit: usize) -> PortResult<Vec<AuditEntry>>;

    /// Puts an unreadable queue message aside, with its bytes, under an id of the ledger's own.
    async fn put_aside(&self, message: &UnreadableMessage) -> PortResult<()>;

    /// Unreadable messages, newest first, at most `limit`.
    async fn unreadable(&self, limit: usize) -> PortResult<Vec<UnreadableMessage>>;

    /// What [`Ledger::prune`] would delete in all its calls.
    async fn prunable(&self, old: &Old) -> PortResult<Pruned>;

    /// Deletes at most `rows_max` (1 or more) organizations and unreadable messages, and the runs that have no organizations left:
    /// a short transaction, so that writers never wait long. To be repeated while [`Pruned::more`]. Room lists go with their
    /// organizations.
    async fn prune(&self, old: &Old, rows_max: usize) -> PortResult<Pruned>;

    /// The unreadable message of this id.
    async fn unreadable_message(&self, id: u64) -> PortResult<Option<UnreadableMessage>>;
}
