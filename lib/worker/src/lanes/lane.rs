//! One lane: its items, in order, and what it waits for.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::turn::Run;

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
    /// The item whose turn is next; in flight it travels with its turn, and so do those behind it in its run.
    pub(super) head: Option<Item<T>>,
    pub(super) behind: VecDeque<Item<T>>,
    pub(super) failed_attempts: u32,
    /// Items that are given out one by one, because they failed in a run.
    pub(super) alone: u32,
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
            alone: 0,
            parked: None,
        }
    }

    /// Takes the items of the next turn, up to `run_max`, with their places; none where there is none.
    pub(super) fn take_run(&mut self, run_max: usize) -> (Run<T>, Run<u64>) {
        let run_max = if self.alone > 0 { 1 } else { run_max };
        let behind = if self.head.is_some() { self.behind.len().min(run_max.saturating_sub(1)) } else { 0 };
        let taken = self.head.take().into_iter().chain(self.behind.drain(..behind));
        taken.map(|Item { place, item }| (item, place)).unzip()
    }

    /// Puts back what [`Self::take_run`] took.
    pub(super) fn put_back(&mut self, items: Run<T>, places: Run<u64>) {
        let mut items = items.into_iter().zip(places).map(|(item, place)| Item { place, item });
        self.head = items.next();
        items.rev().for_each(|item| self.behind.push_front(item));
    }

    pub(super) fn replays_by(&self, now: Instant) -> bool {
        self.parked.as_ref().and_then(|parked| parked.replay_at).is_some_and(|due| due <= now)
    }
}
