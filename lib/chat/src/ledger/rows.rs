//! What is written into the ledger, and what is read from it.

use serde::Serialize;

use super::{Item, Stage, State};
use crate::{MessageId, OrganizationId, PortError, PortResult, RunId, Timestamp};

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

impl Failure {
    /// Bytes of a class that are kept.
    pub const CLASS_BYTES_MAX: usize = 64;
    /// Bytes of an error that are kept.
    pub const ERROR_BYTES_MAX: usize = 4 * 1024;

    /// What a ledger keeps of it: cut between two characters, and without NUL, which not every database can store.
    pub fn kept(&self) -> Self {
        let cut = |text: &str, max| text[..text.floor_char_boundary(max)].replace('\0', " ");
        Self { class: cut(&self.class, Self::CLASS_BYTES_MAX), error: cut(&self.error, Self::ERROR_BYTES_MAX) }
    }
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

impl Settlement {
    /// Refuses what would not end an organization.
    pub fn check(settlements: &[Self]) -> PortResult<()> {
        match settlements.iter().find(|settlement| !settlement.state.is_terminal()) {
            None => Ok(()),
            Some(open) => {
                let (organization, state) = (open.item.organization, open.state);
                Err(PortError::refused(format!("organization {organization} cannot be settled as {state}")))
            }
        }
    }

    /// What it adds to the history, if it changes the boundary.
    pub fn boundary_change(&self) -> Option<BoundaryChange> {
        let old = self.figures.previous_first_visible_message_id;
        match self.state {
            State::Done => BoundaryChange::computed(old, self.figures.first_visible_message_id),
            State::Released => BoundaryChange::released(old),
            _ => None,
        }
    }

    /// Its history row, if it changes the boundary. `as_of` is its run's.
    pub fn history_row(&self, as_of: Timestamp) -> Option<HistoryRow> {
        let Item { run, organization } = self.item.clone();
        self.boundary_change().map(|change| HistoryRow { organization, as_of, run, change })
    }
}

/// A boundary that moved, as the history keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundaryChange {
    /// The boundary before.
    pub old: Option<MessageId>,
    /// The boundary after.
    pub new: Option<MessageId>,
    /// `computed` or `released`.
    pub cause: &'static str,
}

impl BoundaryChange {
    /// What a computation changed, if anything.
    pub fn computed(old: Option<MessageId>, new: Option<MessageId>) -> Option<Self> {
        (old != new).then_some(Self { old, new, cause: "computed" })
    }

    /// What a release changed, if anything.
    pub fn released(old: Option<MessageId>) -> Option<Self> {
        old.map(|_| Self { old, new: None, cause: "released" })
    }
}

/// A change of a boundary that no organization of a run stands for: of a limit that is kept live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// Whose boundary.
    pub organization: OrganizationId,
    /// The instant for which the new boundary holds.
    pub as_of: Timestamp,
    /// Who found it: of no other change of this organization.
    pub run: RunId,
    /// What changed.
    pub change: BoundaryChange,
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
    /// Only organizations whose last failure is of this class.
    pub error_class: Option<String>,
    /// Only organizations above this one.
    pub after: Option<OrganizationId>,
}

/// Organizations of a run that stand in one state with failures of one class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorClass {
    /// The state: failed, parked or retrying.
    pub state: State,
    /// The class of the last failure; empty where none is noted.
    #[serde(rename = "error_class")]
    pub class: String,
    /// How many organizations.
    pub organizations: u64,
    /// The lowest of them.
    pub example: OrganizationId,
    /// The last failure of the example, in words.
    pub error: String,
}

/// A change of an organization's boundary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryEntry {
    /// The instant for which the new boundary holds.
    pub as_of: Timestamp,
    /// The run that found it.
    pub run: RunId,
    /// The boundary before.
    #[serde(rename = "previous_first_visible_message_id")]
    pub old: Option<MessageId>,
    /// The boundary after.
    #[serde(rename = "first_visible_message_id")]
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

/// Which audit rows to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this action.
    pub action: Option<String>,
    /// Only where the target contains these words.
    pub target: Option<String>,
    /// Only rows of this instant and later.
    pub since: Option<Timestamp>,
    /// Only rows before this instant.
    pub until: Option<Timestamp>,
}

/// What is old enough to be pruned: finished or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Runs opened, and unreadable messages put aside, before this instant.
    pub before: Timestamp,
    /// The run in work, which stays however old it is.
    pub except: Option<RunId>,
}

/// What was pruned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Runs.
    pub runs: u64,
    /// Their organizations.
    pub organizations: u64,
    /// Unreadable messages.
    pub unreadable: u64,
    /// Something old is left: prune again.
    pub more: bool,
}

impl Pruned {
    /// True when there was nothing old.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// A queue message that nobody can read, kept with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableMessage {
    /// By which it is found again, from 1; `None` before the ledger keeps it.
    pub id: Option<u64>,
    /// The queue it came from.
    pub queue: String,
    /// Its bytes.
    pub body: Vec<u8>,
    /// Why it cannot be read.
    pub cause: String,
    /// When it was put aside.
    pub at: Timestamp,
}
