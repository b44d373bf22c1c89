//! Port: what was asked for and what became of it. Runs, the state of each organization in them, the history of limits, audit.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{MessageId, OrganizationId, Policy, PortResult, RunId, Timestamp};

/// What a run covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every free organization of the directory.
    AllFree,
    /// Organizations that an operator named.
    Named,
}

/// A run as it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// Its name. Opening a name that exists joins that run.
    pub id: RunId,
    /// What it covers.
    pub scope: Scope,
    /// The instant for which limits are computed.
    pub as_of: Timestamp,
    /// The policy.
    pub policy: Policy,
    /// When it was opened.
    pub opened_at: Timestamp,
}

/// A run as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// What it covers.
    pub scope: Scope,
    /// The instant for which limits are computed.
    pub as_of: Timestamp,
    /// The policy.
    pub policy: Policy,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// Organizations up to this one are registered **and** sent.
    pub sent_through: Option<OrganizationId>,
    /// When the last organization had been sent; `None` while extraction goes on.
    pub extracted_at: Option<Timestamp>,
    /// When somebody cancelled it.
    pub cancelled_at: Option<Timestamp>,
}

/// The state of one organization in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Registered, not begun.
    Pending,
    /// A worker has begun, or its rooms are collected and wait for the merge.
    Running,
    /// An attempt failed; another one will be made.
    Retrying,
    /// Terminal: the limit is computed and stored.
    Done,
    /// Terminal: a newer limit stood already.
    Superseded,
    /// Terminal: the plan no longer limits.
    Released,
    /// Terminal: it can never succeed as it is.
    Failed,
    /// Terminal: every attempt failed; its cause is kept.
    Parked,
}

impl State {
    /// All states, in the order in which tables show them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Retrying,
        Self::Done,
        Self::Superseded,
        Self::Released,
        Self::Failed,
        Self::Parked,
    ];

    /// The word in tables and in databases.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Done => "done",
            Self::Superseded => "superseded",
            Self::Released => "released",
            Self::Failed => "failed",
            Self::Parked => "parked",
        }
    }

    /// The state of a word.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// True when nothing more happens to the organization in this run.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Pending | Self::Running | Self::Retrying)
    }

    /// True when an operator should look: the limit was not computed and will not be.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Parked)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which job works on an organization. Attempts are counted for each stage by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its rooms are collected.
    CollectRooms,
    /// Its rooms are merged.
    MergeNewest,
}

impl Stage {
    /// The job's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CollectRooms => "collect-rooms",
            Self::MergeNewest => "merge-newest",
        }
    }
}

/// One organization of one run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Item {
    /// The run.
    pub run: RunId,
    /// The organization.
    pub organization: OrganizationId,
}

/// What beginning an attempt found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is attempt number `n` of this stage, from 1; it is counted.
    Attempt(u32),
    /// The organization is terminal in this run: there is nothing to do.
    Settled(State),
    /// The run is cancelled: there is nothing to do.
    Cancelled,
    /// The ledger does not know the run or the organization in it.
    Unknown,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// A short, stable word to group by, for example `unavailable` or `panic`.
    pub class: String,
    /// The whole chain of causes in words.
    pub error: String,
}

/// What a successful computation found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Rooms that the organization sees.
    pub rooms: u32,
    /// Rooms that had to be opened.
    pub rooms_opened: u32,
    /// Ids that were read.
    pub messages_read: u64,
    /// Read units that the store charged; 0 where it does not charge.
    pub read_units: f64,
    /// Visible messages.
    pub visible_messages: u32,
    /// The boundary, where there is one.
    pub first_visible_message_id: Option<MessageId>,
    /// The boundary before this run.
    pub previous_first_visible_message_id: Option<MessageId>,
}

/// How an organization ends in a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// Which organization of which run.
    pub item: Item,
    /// A terminal state.
    pub state: State,
    /// What was found, for [`State::Done`] and [`State::Superseded`].
    pub figures: Figures,
    /// Why, for [`State::Failed`] and [`State::Parked`].
    pub failure: Option<Failure>,
    /// When.
    pub at: Timestamp,
}

/// How many organizations of a run are in which state. Always counted from the states themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts(pub BTreeMap<State, u64>);

impl Counts {
    /// Organizations in `state`.
    pub fn of(&self, state: State) -> u64 {
        self.0.get(&state).copied().unwrap_or(0)
    }

    /// All organizations of the run: the sum over the states.
    pub fn expected(&self) -> u64 {
        self.0.values().sum()
    }

    /// Organizations that are terminal.
    pub fn settled(&self) -> u64 {
        State::ALL.into_iter().filter(|state| state.is_terminal()).map(|state| self.of(state)).sum()
    }

    /// Organizations whose limit was not computed and will not be.
    pub fn failures(&self) -> u64 {
        State::ALL.into_iter().filter(|state| state.is_failure()).map(|state| self.of(state)).sum()
    }
}

/// How far a run is: derived, never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Organizations are still being registered and sent.
    Extracting,
    /// Extraction is complete, some organizations are not terminal.
    Running,
    /// Extraction is complete and every organization is terminal.
    Finished,
    /// Somebody cancelled it.
    Cancelled,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Extracting => "extracting",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        })
    }
}

/// A run with its counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// The run.
    pub run: Run,
    /// Its organizations by state.
    pub counts: Counts,
    /// When the last organization became terminal.
    pub last_finished_at: Option<Timestamp>,
}

impl Progress {
    /// How far the run is.
    pub fn phase(&self) -> Phase {
        if self.run.cancelled_at.is_some() {
            Phase::Cancelled
        } else if self.run.extracted_at.is_none() {
            Phase::Extracting
        } else if self.counts.settled() < self.counts.expected() {
            Phase::Running
        } else {
            Phase::Finished
        }
    }
}

/// One organization of a run as dashboards see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunOrganization {
    /// The organization.
    pub organization: OrganizationId,
    /// Its state.
    pub state: State,
    /// The stage that was begun last.
    pub stage: Option<Stage>,
    /// Attempts of that stage.
    pub attempts: u32,
    /// Rooms that the organization sees.
    pub rooms: u32,
    /// Rooms that had to be opened.
    pub rooms_opened: u32,
    /// Ids that were read.
    pub messages_read: u64,
    /// Read units that the store charged.
    pub read_units: f64,
    /// Visible messages.
    pub visible_messages: u32,
    /// The boundary, where there is one.
    pub first_visible_message_id: Option<MessageId>,
    /// The boundary before this run.
    pub previous_first_visible_message_id: Option<MessageId>,
    /// The class of the last failure.
    pub error_class: Option<String>,
    /// The last failure in words.
    pub error: Option<String>,
    /// When it was registered.
    pub queued_at: Timestamp,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it became terminal.
    pub finished_at: Option<Timestamp>,
}

/// Which organizations of a run to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these states; empty = all.
    pub states: Vec<State>,
    /// Only organizations above this one.
    pub after: Option<OrganizationId>,
}

/// A change of an organization's boundary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// The instant for which the new boundary holds.
    pub as_of: Timestamp,
    /// The run that found it.
    pub run: RunId,
    /// The boundary before.
    pub old: Option<MessageId>,
    /// The boundary after.
    pub new: Option<MessageId>,
    /// `computed` or `released`.
    pub cause: String,
}

/// Who did what, and why. Every mutating action of a person has one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Who: the user of the machine, or the token's subject.
    pub actor: String,
    /// What was done: the command's name.
    pub action: String,
    /// To what.
    pub target: String,
    /// Why, in the actor's words.
    pub reason: String,
    /// What came of it.
    pub outcome: String,
}

/// A queue message that nobody can read, kept with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableMessage {
    /// The queue it came from.
    pub queue: String,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Why it cannot be read.
    pub cause: String,
    /// When it was put aside.
    pub at: Timestamp,
}

/// The ledger of runs.
///
/// Laws (`tests/laws/ledger.rs`):
/// - Counts are derived from states and never incremented: the expected number is the sum over the states at all times.
/// - A terminal state is terminal: settling again changes nothing and answers `false`.
/// - Opening a run that exists, registering an organization that is registered: nothing is changed, nothing is lost.
/// - Beginning counts before any work is done; forgiving takes back exactly one attempt; a new stage starts from 1.
/// - One call is one transaction, and is durable when it returns.
/// - Answers stand in the order of the question.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Opens the run, or joins the run of that name as it stands.
    async fn open_run(&self, run: &NewRun) -> PortResult<Run>;

    /// A run with its counts.
    async fn progress(&self, run: &RunId) -> PortResult<Option<Progress>>;

    /// Runs, newest first, at most `limit`.
    async fn runs(&self, limit: usize) -> PortResult<Vec<Progress>>;

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

    /// Ends organizations. True for each that became terminal by this call. A changed boundary is added to the history in
    /// the same transaction.
    async fn settle(&self, settlements: &[Settlement]) -> PortResult<Vec<bool>>;

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
    async fn audits(&self, limit: usize) -> PortResult<Vec<AuditEntry>>;

    /// Puts an unreadable queue message aside, with its bytes.
    async fn put_aside(&self, message: &UnreadableMessage) -> PortResult<()>;

    /// Unreadable messages, newest first, at most `limit`.
    async fn unreadable(&self, limit: usize) -> PortResult<Vec<UnreadableMessage>>;
}
