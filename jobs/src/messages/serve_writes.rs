//! `serve-writes`: accepts what happens in rooms. What is accepted stands in the log of events; nothing else is written.
//!
//! Whether an edit counts is decided by who reads the log, in its order; here only that is checked which does not depend on order:
//! who asks, whether they are in the room, what they send.

mod ids;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use chat::event::{Actor, Event, EventId, Record, What};
use chat::{AccountId, Directory, Epoch, MessageId, PortError, Position, RoomId, Timestamp};
use tokio::time::timeout;
use worker::log::{LogRecord, Place};
use worker::{Log, LogError, State};

use self::keys::{Claim, Keys};
use super::caller::{Caller, Forbidden};
use super::members::Members;
use super::progress::ReadModelProgress;
use super::records::position_of;

pub use self::ids::{IdError, LeasedIds};
pub use self::keys::{IdempotencyKey, NotAKey};

/// Name of the job.
pub const NAME: &str = "serve-writes";

/// The longest text of a message in bytes: what a request's body of 64 KiB has place for.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the service is connected to.
#[derive(Clone)]
pub struct WritePorts {
    /// [`super::EVENT_LOG`].
    pub events: Arc<dyn Log>,
    /// Who is who.
    pub directory: Arc<dyn Directory>,
    /// Idempotency keys, and the leases on writers' numbers.
    pub state: Arc<dyn State>,
    /// The epoch of the store's message ids.
    pub epoch: Epoch,
}

/// How it serves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long an append may take; then it is not known whether it was accepted.
    pub append_timeout: Duration,
    /// How long an idempotency key is remembered.
    pub key_lives_for: Duration,
    /// The epoch of the log: how often it has begun anew.
    pub log_epoch: u16,
    /// Whether rooms and memberships are changed here; else they are another system's.
    pub owns_memberships: bool,
}

/// What somebody wants to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new room, whose first member is who makes it.
    CreateRoom,
    /// A room ends, with all memberships in it.
    DeleteRoom {
        /// Which room.
        room: RoomId,
    },
    /// An account becomes a member.
    Join {
        /// Of which room.
        room: RoomId,
        /// Which account.
        member: AccountId,
    },
    /// An account is no longer a member.
    Leave {
        /// Of which room.
        room: RoomId,
        /// Which account.
        member: AccountId,
    },
    /// A new message.
    Post {
        /// In which room.
        room: RoomId,
        /// What it says: 1 to [`BODY_BYTES_MAX`] bytes.
        body: String,
    },
    /// A message says something else.
    Edit {
        /// In which room.
        room: RoomId,
        /// Which message.
        message: MessageId,
        /// What it says: 1 to [`BODY_BYTES_MAX`] bytes.
        body: String,
    },
    /// A message is deleted.
    Delete {
        /// In which room.
        room: RoomId,
        /// Which message.
        message: MessageId,
    },
}

/// What was accepted: it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The id of the event; of a new room's, that of its first member.
    pub event: EventId,
    /// In which room.
    pub room: RoomId,
    /// Which message it is about.
    pub message: Option<MessageId>,
    /// When it was accepted.
    pub at: Timestamp,
    /// Where it stands among the events of its room.
    pub version: Position,
}

/// Why something was not accepted, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// They may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// Rooms and memberships are changed in another system.
    #[error("rooms and memberships belong to another system")]
    MembershipsOwnedElsewhere,
    /// Who is to join is no active account.
    #[error("account {0} is unknown or not active")]
    UnknownMember(AccountId),
    /// A message says nothing.
    #[error("a message has at least one character")]
    EmptyBody,
    /// A message is too long.
    #[error("a message of {bytes} bytes: at most {max} are taken")]
    BodyTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// The request with this idempotency key is being worked on.
    #[error("the request with this idempotency key is in progress")]
    KeyInProgress,
    /// It was not stored: repeat it.
    #[error("it was not stored")]
    NotStored {
        /// What happened.
        source: BoxError,
        /// When to repeat it.
        retry_after: Duration,
    },
    /// Whether it was stored is not known. With an idempotency key it can be repeated without harm.
    #[error("whether it was stored is not known")]
    Unknown {
        /// What happened.
        source: BoxError,
    },
    /// It cannot be stored, however often it is repeated: a person has to look.
    #[error("it cannot be stored")]
    Failed {
        /// What happened.
        source: BoxError,
    },
}

/// When to repeat what was not stored, where nothing tells.
const RETRY_AFTER: Duration = Duration::from_secs(1);

impl WriteError {
    fn not_stored(source: impl Into<BoxError>) -> Self {
        Self::NotStored { source: source.into(), retry_after: RETRY_AFTER }
    }
}

impl From<PortError> for WriteError {
    fn from(error: PortError) -> Self {
        if error.is_temporary() { Self::not_stored(error) } else { Self::Failed { source: error.into() } }
    }
}

impl From<LogError> for WriteError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable { .. } => Self::not_stored(error),
            LogError::Unknown { .. } => Self::Unknown { source: error.into() },
            error => Self::Failed { source: error.into() },
        }
    }
}

impl From<IdError> for WriteError {
    fn from(error: IdError) -> Self {
        Self::not_stored(error)
    }
}

/// Accepts writes.
pub struct Writes {
    events: Arc<dyn Log>,
    members: Members,
    keys: Keys,
    ids: Arc<LeasedIds>,
    progress: ReadModelProgress,
    settings: Settings,
}

impl Writes {
    /// Over these ports, with ids by a lease that somebody renews.
    pub fn new(ports: &WritePorts, ids: Arc<LeasedIds>, settings: Settings) -> Self {
        Self {
            events: Arc::clone(&ports.events),
            members: Members::new(Arc::clone(&ports.directory)),
            keys: Keys::new(Arc::clone(&ports.state), settings.key_lives_for, 2 * settings.append_timeout),
            ids,
            progress: ReadModelProgress::new(Arc::clone(&ports.events), settings.log_epoch),
            settings,
        }
    }

    /// Accepts a write: when it returns, the log has it durably. The same write again under the same key is accepted once.
    pub async fn accept(
        &self,
        caller: Caller,
        write: Write,
        key: Option<IdempotencyKey>,
    ) -> Result<Accepted, WriteError> {
        self.check_form(&write)?;
        let Some(key) = key else {
            let plan = self.plan(&write)?;
            return self.write(caller, &write, &plan).await;
        };
        match self.keys.claim(caller, &key, &write, || self.plan(&write)).await? {
            Claim::Accepted(accepted) => Ok(accepted),
            Claim::Ours(claimed) => {
                let written = self.write(caller, &write, claimed.plan()).await;
                self.keys.settle(claimed, &written).await;
                written
            }
        }
    }

    /// Waits until the event's effect can be read, at most `patience`; tells whether it can.
    pub async fn readable(&self, accepted: &Accepted, patience: Duration) -> bool {
        self.progress.wait(accepted.room, accepted.version, patience).await
    }

    /// What does not depend on who asks.
    fn check_form(&self, write: &Write) -> Result<(), WriteError> {
        match write {
            Write::Post { body, .. } | Write::Edit { body, .. } => {
                if body.is_empty() {
                    return Err(WriteError::EmptyBody);
                }
                let (bytes, max) = (body.len(), BODY_BYTES_MAX);
                if bytes > max { Err(WriteError::BodyTooLong { bytes, max }) } else { Ok(()) }
            }
            Write::Delete { .. } => Ok(()),
            Write::CreateRoom | Write::DeleteRoom { .. } | Write::Join { .. } | Write::Leave { .. } => {
                if self.settings.owns_memberships { Ok(()) } else { Err(WriteError::MembershipsOwnedElsewhere) }
            }
        }
    }

    /// Everything that is dealt anew for a write: the same again leads to the same events.
    fn plan(&self, write: &Write) -> Result<Plan, WriteError> {
        let new_id = match write {
            Write::CreateRoom | Write::Post { .. } => Some(self.ids.next()?.get()),
            _ => None,
        };
        Ok(Plan { event: uuid::Uuid::now_v7().to_string(), at: Timestamp::now(), new_id })
    }

    async fn write(&self, caller: Caller, write: &Write, plan: &Plan) -> Result<Accepted, WriteError> {
        self.check_allowed(caller, write, plan).await?;
        let events = plan.events(caller, write);
        let place = self.append(&events).await?;
        let Some(last) = events.into_iter().next_back() else {
            return Err(WriteError::Failed { source: "a write without an event".into() });
        };
        match last.what {
            What::RoomMemberJoined { member } => self.members.accepted(member, last.room, true),
            What::RoomMemberLeft { member } => self.members.accepted(member, last.room, false),
            What::RoomDeleted => self.members.accepted(caller.account, last.room, false),
            _ => {}
        }
        let version =
            position_of(self.settings.log_epoch, place).map_err(|error| WriteError::Failed { source: error.into() })?;
        Ok(Accepted { message: last.message(), event: last.id, room: last.room, at: last.at, version })
    }

    async fn check_allowed(&self, caller: Caller, write: &Write, plan: &Plan) -> Result<(), WriteError> {
        let room = plan.room(write);
        let participant = self.members.of(caller.account, room).await?;
        if *write == Write::CreateRoom {
            caller.check_known(participant)?;
            return Ok(());
        }
        caller.check_member(participant)?;
        match write {
            Write::DeleteRoom { .. } if !caller.is_admin => Err(Forbidden::NotAnAdmin.into()),
            Write::Leave { member, .. } if *member != caller.account && !caller.is_admin => {
                Err(Forbidden::NotAnAdmin.into())
            }
            Write::Join { member, .. } if self.members.of(*member, room).await?.is_none() => {
                Err(WriteError::UnknownMember(*member))
            }
            _ => Ok(()),
        }
    }

    /// Appends the events of one room; answers where the last of them stands.
    async fn append(&self, events: &[Event]) -> Result<Place, WriteError> {
        let record = |event: &Event| {
            let Record { key, headers, value } = event.encode();
            LogRecord { key, headers, value }
        };
        let appended = self.events.append(events.iter().map(record).collect());
        let unknown = |words: &str| WriteError::Unknown { source: words.into() };
        let answers = timeout(self.settings.append_timeout, appended).await;
        let answers = answers.map_err(|_| unknown("the log did not answer in time"))??;
        let mut last = None;
        for (index, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(place) => last = Some(place),
                // What came before it is in the log.
                Err(error) if index > 0 => return Err(WriteError::Unknown { source: error.into() }),
                Err(error) => return Err(error.into()),
            }
        }
        last.ok_or_else(|| unknown("the log answered nothing"))
    }
}

/// What was dealt for a write.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Plan {
    /// The event's id.
    event: String,
    at: Timestamp,
    /// Of a new room or message.
    new_id: Option<u64>,
}

impl Plan {
    /// The room it is about.
    fn room(&self, write: &Write) -> RoomId {
        match write {
            Write::CreateRoom => RoomId::from_bits(self.new_id.unwrap_or_default()),
            Write::DeleteRoom { room }
            | Write::Join { room, .. }
            | Write::Leave { room, .. }
            | Write::Post { room, .. }
            | Write::Edit { room, .. }
            | Write::Delete { room, .. } => *room,
        }
    }

    fn events(&self, caller: Caller, write: &Write) -> Vec<Event> {
        let Caller { account, organization, is_admin } = caller;
        let whats = match write {
            Write::CreateRoom => vec![What::RoomCreated, What::RoomMemberJoined { member: account }],
            Write::DeleteRoom { .. } => vec![What::RoomDeleted],
            Write::Join { member, .. } => vec![What::RoomMemberJoined { member: *member }],
            Write::Leave { member, .. } => vec![What::RoomMemberLeft { member: *member }],
            Write::Post { body, .. } => vec![What::MessageCreated {
                message: MessageId::from_bits(self.new_id.unwrap_or_default()),
                author: account,
                author_organization: organization,
                body: body.clone(),
            }],
            Write::Edit { message, body, .. } => {
                vec![What::MessageUpdated { message: *message, body: body.clone() }]
            }
            Write::Delete { message, .. } => vec![What::MessageDeleted { message: *message, as_admin: is_admin }],
        };
        let room = self.room(write);
        let event = |(index, what)| {
            let id = if index == 0 { self.event.clone() } else { format!("{}-{index}", self.event) };
            let id = EventId::new(&id).ok()?;
            Some(Event { id, at: self.at, by: Actor { account, organization }, room, what })
        };
        whats.into_iter().enumerate().filter_map(event).collect()
    }
}
