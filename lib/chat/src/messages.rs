//! Port: what messages say, by room, newest first.

use async_trait::async_trait;

use crate::{AccountId, MessageId, PortResult, RoomId};

/// The longest body in bytes: 1 MiB.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was written.
    pub room: RoomId,
    /// Its id, which tells when it was written.
    pub id: MessageId,
    /// What it says; `None` when it was deleted. Nothing of a deleted message is kept but its id.
    pub content: Option<Content>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Who wrote it, where that is known. The account may be gone from the directory.
    pub author: Option<AccountId>,
    /// Its text, at most [`MAX_BODY_BYTES`] long; empty where it has none.
    pub body: String,
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
/// An import fills the store behind it, while nobody else writes. Writing one message after the other belongs to a message
/// path, whose changes carry positions so that an older one never replaces a newer one; there is none yet, so this port has no
/// write side.
///
/// Messages that were imported by their ids alone are not here: [`crate::LiveIds`] knows them.
///
/// Laws (`tests/laws/messages.rs`):
/// - A message reads back as it was written, whatever characters its body has.
/// - A deleted message is answered without content, and stays deleted when it is written again.
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
