//! One lane: its items, in order, and what it waits for.

use std::collections::VecDeque;

use tokio::time::Instant;

pub(super) struct Item<T> {
    pub(super) place: u64,
    pub(super) item: T,
}

pub(super) enum Phase {
    /// Parked, has nothing to do and waits for no time.
    Resting,
    Ready,
    InFlight,
    Waiting(Instant),
}

pub(super) struct Parked {
    pub(super) replay_at: Option<Instant>,
    pub(super) failed_replays: u32,
}

pub(super) struct Lane<K, T> {
    pub(super) partition: u32,
    pub(super) key: K,
    pub(super) phase: Phase,
    /// The item whose turn is next; in flight it travels with its turn.
    pub(super) head: Option<Item<T>>,
    pub(super) behind: VecDeque<Item<T>>,
    pub(super) failed_attempts: u32,
    pub(super) parked: Option<Box<Parked>>,
}

impl<K, T> Lane<K, T> {
    pub(super) fn new(partition: u32, key: K) -> Self {
        Self {
            partition,
            key,
            phase: Phase::Resting,
            head: None,
            behind: VecDeque::new(),
            failed_attempts: 0,
            parked: None,
        }
    }

    pub(super) fn replays_by(&self, now: Instant) -> bool {
        self.parked.as_ref().and_then(|parked| parked.replay_at).is_some_and(|due| due <= now)
    }
}
