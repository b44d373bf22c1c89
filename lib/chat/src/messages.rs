//! Ports: what messages say, by room, newest first; and what a message path writes.

use std::collections::HashSet;

use async_trait::async_trait;

use crate::message::MessageState;
use crate::{AccountId, MessageId, PortError, PortResult, Position, RoomId, Timestamp};

/// The longest body in bytes: 1 MiB.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was written.
    pub room: RoomId,
    /// Its id, which tells when it was written.
    pub id: MessageId,
    /// What it says; `None` when it was deleted, of which nothing is kept.
    pub content: Option<Content>,
    /// Where the newest event stands that changed it; `None` where an import brought it, which is older than every event.
    pub position: Option<Position>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Who wrote it, where that is known. The account may be gone from the directory.
    pub author: Option<AccountId>,
    /// Its text, at most [`MAX_BODY_BYTES`] long; empty where it has none.
    pub body: String,
    /// When it was last edited; `None` if never, or before an import.
    pub edited_at: Option<Timestamp>,
}

impl Message {
    /// As an import writes it: without a position. Without content it is deleted.
    pub fn imported(room: RoomId, id: MessageId, content: Option<Content>) -> Self {
        Self { room, id, content, position: None }
    }
}

impl Content {
    /// As an import writes it, which does not know of edits.
    pub fn imported(author: Option<AccountId>, body: String) -> Self {
        Self { author, body, edited_at: None }
    }
}

/// One page of a room: messages below `below`, newest first, at most `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagePageRequest {
    /// The room.
    pub room: RoomId,
    /// Ids are strictly below this.
    pub below: MessageId,
    /// At most so many messages; at least 1.
    pub limit: usize,
}

/// Messages of a room, and where it goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagePage {
    /// Newest first.
    pub messages: Vec<Message>,
    /// What the next request must give as `below`; `None` at the end of the room.
    pub resume_below: Option<MessageId>,
}

/// The messages of rooms with what they say, read only.
///
/// An import fills the store behind it, while nobody else writes; a message path writes through [`MessageStore`].
///
/// Messages that were imported by their ids alone are not here: [`crate::LiveIds`] knows them.
///
/// Laws (`tests/laws/messages.rs`):
/// - A message reads back as it was written, whatever characters its body has.
/// - A deleted message is answered without content, and stays deleted when it is written again.
/// - What a message path wrote is answered with the position and the last edit of its state, from both methods; what an import wrote
///   has neither.
/// - [`Messages::get`] answers in the order of the question; `None` for what is not kept.
/// - Following `resume_below` until it is `None` yields every message of the room exactly once, newest first. An empty or a
///   short page is **not** the end; `resume_below` falls with every page.
#[async_trait]
pub trait Messages: Send + Sync {
    /// The messages asked for.
    async fn get(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<Message>>>;

    /// A page of a room.
    async fn page(&self, request: &MessagePageRequest) -> PortResult<MessagePage>;
}

/// What was stored of a message when a change of it was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Nothing.
    Absent,
    /// What an import brought, which has no position.
    Imported,
    /// What the event at this position led to.
    At(Position),
}

impl Expected {
    /// What is to be expected where this is stored.
    pub fn of(stored: Option<&MessageState>) -> Self {
        match stored.map(|state| state.position) {
            None => Self::Absent,
            Some(None) => Self::Imported,
            Some(Some(position)) => Self::At(position),
        }
    }
}

/// What one message comes to, made by [`crate::message::Fold`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageChange {
    /// Where it was written.
    pub room: RoomId,
    /// Its id.
    pub id: MessageId,
    /// What was stored when this was decided.
    pub expected: Expected,
    /// What it is now. Its position is that of the last event in it; one without a position is refused.
    pub state: MessageState,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It is written.
    Written,
    /// What is stored has it in it already, or a deletion that holds for ever: nothing was written, and nothing has to be.
    Unchanged,
    /// Something else is stored than what was expected: nothing was written. Read the state again and decide again.
    Conflict,
}

impl MessageChange {
    /// What has to become of the change where `stored` is stored: the rule that every store keeps, at the instant of its writing.
    pub fn against(&self, stored: Option<&MessageState>) -> Applied {
        match stored {
            Some(stored) if stored.is_deleted() || stored.position >= self.state.position => Applied::Unchanged,
            _ if Expected::of(stored) == self.expected => Applied::Written,
            _ => Applied::Conflict,
        }
    }
}

/// The writing side of [`Messages`]: what a message path makes of its log, one row for each message.
///
/// Whether an edit counts depends on what is stored, so writing takes three steps: [`MessageStore::states`] reads,
/// [`crate::message::Fold`] decides, [`MessageStore::apply`] writes what was decided, on condition that nobody has written in
/// between. [`Applied::Conflict`] means that somebody has: the three steps again, for that message. Two writers of one log that do so
/// come to the same rows as one.
///
/// Laws (`tests/laws/messages/store.rs`):
/// - A state reads back as it was written, and [`Messages`] answers it as [`MessageState::into_message`]. What an import brought is a
///   state without a position.
/// - [`MessageStore::states`] answers in the order of the question what is durable now, never something older; `None` for what is not
///   kept. [`MessageStore::apply`] answers in the order of the changes.
/// - A change is written only over what it expects ([`MessageChange::against`], compared and written as one step for each message).
/// - Applied twice is applied once; an older position never replaces a newer one.
/// - A deleted message stays deleted, whatever comes later, be it by its creation or by an import. Nothing of it is kept but its id, the
///   position and the instant of its deletion.
/// - When [`MessageStore::apply`] returns, every change that it answers as written is durable, and [`crate::LiveIds`] and
///   [`crate::Heads`] of the same store agree with it: a live message is in its room and no newer than the head, a deleted one is not
///   there. Where it was killed or failed in between, a head may be too high and an id may come or go before its row does; the same
///   changes again complete it, however far it came.
/// - An import never replaces what has a position, except that it deletes.
///
/// A batch is the caller's to bound. It has at most one change of a message: several are folded into one before.
#[async_trait]
pub trait MessageStore: Messages {
    /// What is stored of the messages asked for.
    async fn states(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<MessageState>>>;

    /// Writes changes, each on its own condition. After an error some of them may have taken effect: the same call again completes it
    /// and answers [`Applied::Unchanged`] for those.
    ///
    /// # Errors
    ///
    /// Refused where a message stands twice among the changes, or a change has no position; nothing is written then.
    async fn apply(&self, changes: &[MessageChange]) -> PortResult<Vec<Applied>>;
}

/// Checks what [`MessageStore::apply`] refuses.
///
/// # Errors
///
/// Refused where a message stands twice among the changes, or a change has no position.
pub fn check_changes(changes: &[MessageChange]) -> PortResult<()> {
    let mut seen = HashSet::with_capacity(changes.len());
    for MessageChange { room, id, state, .. } in changes {
        if state.position.is_none() {
            return Err(PortError::refused(format!("a change of message {id} of room {room} without a position")));
        }
        if !seen.insert((room, id)) {
            return Err(PortError::refused(format!("two changes of message {id} of room {room}: fold them into one")));
        }
    }
    Ok(())
}
