//! What a record of the log of what is readable means to limits.

use chat::event::{Decoded, What, decode};
use chat::{AccountId, MessageId, RoomId};
use worker::log::ReadRecord;

use crate::messages::is_live;

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A message is live or is not; `None`: the record does not say.
    Message { room: RoomId, message: MessageId, is_live: Option<bool> },
    /// An account came to a room, or left it.
    Member { room: RoomId, account: AccountId },
    /// A room ended, and with it all memberships.
    RoomDeleted { room: RoomId },
    /// Nothing that moves a limit.
    Nothing,
}

impl Told {
    pub(super) fn of(read: &ReadRecord) -> Self {
        let record = &read.record;
        let Decoded::Event(event) = decode(&record.key, &record.headers, &record.value) else { return Self::Nothing };
        let room = event.room;
        match event.what {
            What::MessageCreated { message, .. }
            | What::MessageUpdated { message, .. }
            | What::MessageDeleted { message, .. } => Self::Message { room, message, is_live: is_live(record) },
            What::RoomMemberJoined { member } | What::RoomMemberLeft { member } => {
                Self::Member { room, account: member }
            }
            What::RoomDeleted => Self::RoomDeleted { room },
            What::RoomCreated => Self::Nothing,
        }
    }
}
