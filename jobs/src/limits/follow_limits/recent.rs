//! What was told of messages lately: what was read from the store may lag behind it.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chat::{MessageId, RoomId};
use tokio::time::Instant;

/// For how long it is kept: the longest that reading the store may take, and the longest that the store may lag behind the log.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(120);
/// Most that is kept; more than comes in [`KEPT_FOR`] at 10,000 a second.
const MOST: usize = 1_200_000;

/// By room, in the order in which it was told.
#[derive(Debug, Default)]
pub(super) struct Recent {
    rooms: HashMap<RoomId, VecDeque<(MessageId, bool)>>,
    order: VecDeque<(Instant, RoomId)>,
}

impl Recent {
    /// Notes that a message is live from now on, or is not.
    pub(super) fn note(&mut self, now: Instant, room: RoomId, message: MessageId, is_live: bool) {
        if self.order.len() >= MOST {
            self.drop_first();
        }
        self.rooms.entry(room).or_default().push_back((message, is_live));
        self.order.push_back((now, room));
    }

    /// Forgets what is too old.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(at, _)| *at + KEPT_FOR <= now) {
            self.drop_first();
        }
    }

    /// What was told of a room's messages.
    pub(super) fn of(&self, room: RoomId) -> impl Iterator<Item = (MessageId, bool)> + '_ {
        self.rooms.get(&room).into_iter().flatten().copied()
    }

    fn drop_first(&mut self) {
        let Some((_, room)) = self.order.pop_front() else { return };
        if let Some(told) = self.rooms.get_mut(&room) {
            told.pop_front();
            if told.is_empty() {
                self.rooms.remove(&room);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_told_is_kept_for_a_while_in_its_order() {
        let (mut recent, one, other) = (Recent::default(), RoomId::from_bits(1), RoomId::from_bits(2));
        let id = MessageId::from_bits;
        recent.note(Instant::now(), one, id(1), true);
        recent.note(Instant::now(), other, id(2), true);
        tokio::time::advance(KEPT_FOR / 2).await;
        recent.note(Instant::now(), one, id(1), false);
        recent.expire(Instant::now());
        assert!(recent.of(one).eq([(id(1), true), (id(1), false)]));
        tokio::time::advance(KEPT_FOR / 2).await;
        recent.expire(Instant::now());
        assert!(recent.of(one).eq([(id(1), false)]));
        assert_eq!(recent.of(other).count(), 0);
        assert_eq!(recent.rooms.len(), 1, "rooms without anything are forgotten");
    }
}
