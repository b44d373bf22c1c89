//! Events: what was accepted in a room, as it stands in the log.
//!
//! Pure data and its form on the wire (see [`decode`] and [`Event::encode`]); what events lead to is decided elsewhere: for a
//! message by [`crate::message::apply`], for memberships by [`crate::Memberships`].
//!
//! An event was accepted, but acceptance looked at no order: whether an edit counts is decided by who reads the log, in its order.
//!
//! # The form, for ever
//!
//! A kind has a major version, written in its type. Inside of a version only optional fields are added; anything else is a new
//! version beside the old one. `lib/chat/events/` has one recorded file for each kind and version that was ever written, and a test
//! that reads them all.

mod decode;
mod encode;
mod id;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod recorded;
mod wire;

use crate::{AccountId, MembershipChange, MessageId, OrganizationId, Position, RoomChange, RoomId, Timestamp};

pub use decode::{Decoded, Unknown, decode};
pub use encode::Record;
pub use id::{EventId, NotAnEventId};

/// Something that was accepted in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its own id, the same in every copy and at every delivery.
    pub id: EventId,
    /// When it was accepted.
    pub at: Timestamp,
    /// Who did it.
    pub by: Actor,
    /// In which room.
    pub room: RoomId,
    /// What happened.
    pub what: What,
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The account.
    pub account: AccountId,
    /// Its organization at that time.
    pub organization: OrganizationId,
}

/// What can happen in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message was written.
    MessageCreated {
        /// Its id.
        message: MessageId,
        /// Who is its author.
        author: AccountId,
        /// The author's organization at that time.
        author_organization: OrganizationId,
        /// What it says, at most [`crate::messages::MAX_BODY_BYTES`] long.
        body: String,
    },
    /// A message says something else now.
    MessageUpdated {
        /// Which message.
        message: MessageId,
        /// What it says, at most [`crate::messages::MAX_BODY_BYTES`] long.
        body: String,
    },
    /// A message was deleted.
    MessageDeleted {
        /// Which message.
        message: MessageId,
        /// Whether it was done as an administrator of the room, as whoever accepted it has checked.
        as_admin: bool,
    },
    /// The room was made.
    RoomCreated,
    /// The room was deleted, which ends all memberships in it.
    RoomDeleted,
    /// An account became a member.
    RoomMemberJoined {
        /// Which account.
        member: AccountId,
    },
    /// An account is no longer a member.
    RoomMemberLeft {
        /// Which account.
        member: AccountId,
    },
}

/// The kinds of events, each in the version that this program writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`What::MessageCreated`]
    MessageCreated,
    /// [`What::MessageUpdated`]
    MessageUpdated,
    /// [`What::MessageDeleted`]
    MessageDeleted,
    /// [`What::RoomCreated`]
    RoomCreated,
    /// [`What::RoomDeleted`]
    RoomDeleted,
    /// [`What::RoomMemberJoined`]
    RoomMemberJoined,
    /// [`What::RoomMemberLeft`]
    RoomMemberLeft,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::MessageCreated,
        Self::MessageUpdated,
        Self::MessageDeleted,
        Self::RoomCreated,
        Self::RoomDeleted,
        Self::RoomMemberJoined,
        Self::RoomMemberLeft,
    ];

    /// Its type on the wire, version included.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::MessageCreated => "lanner.message.created.v1",
            Self::MessageUpdated => "lanner.message.updated.v1",
            Self::MessageDeleted => "lanner.message.deleted.v1",
            Self::RoomCreated => "lanner.room.created.v1",
            Self::RoomDeleted => "lanner.room.deleted.v1",
            Self::RoomMemberJoined => "lanner.room.member.joined.v1",
            Self::RoomMemberLeft => "lanner.room.member.left.v1",
        }
    }

    /// The kind of a type; `None` for any other type, later versions of a known kind included.
    pub fn of_type(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_name() == name)
    }
}

impl Event {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self.what {
            What::MessageCreated { .. } => Kind::MessageCreated,
            What::MessageUpdated { .. } => Kind::MessageUpdated,
            What::MessageDeleted { .. } => Kind::MessageDeleted,
            What::RoomCreated => Kind::RoomCreated,
            What::RoomDeleted => Kind::RoomDeleted,
            What::RoomMemberJoined { .. } => Kind::RoomMemberJoined,
            What::RoomMemberLeft { .. } => Kind::RoomMemberLeft,
        }
    }

    /// The message it is about; `None` for what happens to the room itself.
    pub fn message(&self) -> Option<MessageId> {
        match self.what {
            What::MessageCreated { message, .. }
            | What::MessageUpdated { message, .. }
            | What::MessageDeleted { message, .. } => Some(message),
            What::RoomCreated | What::RoomDeleted | What::RoomMemberJoined { .. } | What::RoomMemberLeft { .. } => None,
        }
    }

    /// What it means to [`crate::Memberships`] where it stands at `position`; `None` for what happens to a message.
    pub fn membership(&self, position: Position) -> Option<MembershipChange> {
        let what = match self.what {
            What::MessageCreated { .. } | What::MessageUpdated { .. } | What::MessageDeleted { .. } => return None,
            What::RoomCreated => RoomChange::Created,
            What::RoomDeleted => RoomChange::Deleted,
            What::RoomMemberJoined { member } => RoomChange::Joined(member),
            What::RoomMemberLeft { member } => RoomChange::Left(member),
        };
        Some(MembershipChange { room: self.room, position, what })
    }
}
