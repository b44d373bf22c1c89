//! Port: the day of a room's newest message, so that quiet rooms are not opened.

use async_trait::async_trait;

use crate::time::{Day, Epoch};
use crate::{MessageId, PortResult, RoomId};

/// An upper bound of a room's newest live id, at the resolution of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Nothing is known: the room counts as if it had a message right now.
    Unknown,
    /// No live message is newer than this day.
    Day(Day),
}

impl Head {
    /// The first id that no live message of the room reaches.
    pub fn below(self, epoch: Epoch) -> MessageId {
        match self {
            Self::Unknown => MessageId::MAX,
            Self::Day(day) => epoch.first_id(day.end()),
        }
    }
}

/// The last active day of each room.
///
/// Laws (`tests/laws/heads.rs`): a head never understates the newest live id; raising is idempotent, never lowers, and
/// commutes; an unknown room answers [`Head::Unknown`]; answers stand in the order of the question.
#[async_trait]
pub trait Heads: Send + Sync {
    /// Raises the heads of rooms. Called before the message row is written, once per room and active day.
    async fn raise(&self, days: &[(RoomId, Day)]) -> PortResult<()>;

    /// The heads of `rooms`.
    async fn of(&self, rooms: &[RoomId]) -> PortResult<Vec<Head>>;
}

/// The heads of a store that keeps none: every room counts as if it had a message right now. Raising them does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHeads;

#[async_trait]
impl Heads for NoHeads {
    async fn raise(&self, _: &[(RoomId, Day)]) -> PortResult<()> {
        Ok(())
    }

    async fn of(&self, rooms: &[RoomId]) -> PortResult<Vec<Head>> {
        Ok(vec![Head::Unknown; rooms.len()])
    }
}
