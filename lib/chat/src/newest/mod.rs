//! The newest N messages of many rooms together.
//!
//! Two ways, one meaning: the lazy merge reads as little as possible, for stores where a page is a request; threshold select reads a
//! little more in large batches and sorts nothing, for stores where ids are local. Which one is taken follows from
//! [`crate::Access`]; a plain sort is the oracle of both.
//!
//! [`LiveSet`] is the same answer kept up to date in memory, for those who hear of every message.

mod live;
mod merge;
mod select;

pub use live::{LiveSet, SPARE};

use crate::visibility::Window;
use crate::{Access, Epoch, Head, LiveIds, MessageId, Policy, PortError, PortResult, RoomId, Timestamp};

/// A room to look into, and the first id that none of its live messages reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The room.
    pub id: RoomId,
    /// No live id of the room is at or above this.
    pub below: MessageId,
}

impl Room {
    /// A room with its head.
    pub fn new(id: RoomId, head: Head, epoch: Epoch) -> Self {
        Self { id, below: head.below(epoch) }
    }
}

/// The answer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Newest {
    /// Visible messages: the candidates, at most N.
    pub visible_messages: u32,
    /// The N-th newest candidate when there are more than N, else none.
    pub first_visible_message_id: Option<MessageId>,
    /// The oldest candidate that is visible.
    pub oldest_visible_message_id: Option<MessageId>,
    /// Rooms that had to be opened.
    pub rooms_opened: u32,
    /// Ids that were read.
    pub messages_read: u64,
    /// Read units that the store charged for them; 0 where it does not charge.
    pub read_units: f64,
}

/// What is asked: the candidates of `window`, and how many of them are visible.
#[derive(Clone, Copy, Debug)]
struct Question {
    window: Window,
    n: usize,
}

/// Finds the newest `policy.max_messages` live messages of `rooms` (distinct) at `as_of`.
pub async fn newest(
    live_ids: &dyn LiveIds,
    rooms: &[Room],
    policy: &Policy,
    as_of: Timestamp,
    epoch: Epoch,
) -> PortResult<Newest> {
    let question = Question { window: Window::at(as_of, policy, epoch), n: policy.n() };
    match live_ids.access() {
        Access::Local => select::select(live_ids, rooms, question).await,
        Access::RoundTrip { first_page, in_flight } => {
            merge::merge(live_ids, rooms, question, merge::Paging { first_page, in_flight }).await
        }
    }
}

/// Checks what a page promises; a store that breaks it would make the loops endless or the answer wrong.
fn check_page(room: RoomId, below: MessageId, ids: &[MessageId], resume_below: Option<MessageId>) -> PortResult<()> {
    let falls = ids.first().is_none_or(|first| *first < below) && ids.is_sorted_by(|a, b| a > b);
    if falls && resume_below.is_none_or(|resume| resume < below) {
        return Ok(());
    }
    Err(PortError::corrupt(format!("live ids of room {room}: a page below {below} is out of order")))
}

#[cfg(test)]
mod tests;
