//! What a consumer did, counted while it does it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a consumer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerReport {
    /// Tasks done.
    pub done: u64,
    /// Attempts that failed and are repeated.
    pub again: u64,
    /// Tasks parked after their last attempt.
    pub parked: u64,
    /// Tasks that can never succeed.
    pub buried: u64,
    /// Messages with nothing to do.
    pub dropped: u64,
    /// Messages given back at a stop.
    pub released: u64,
    /// Messages lost to somebody else while in work.
    pub lost: u64,
    /// Messages that mean nothing.
    pub unreadable: u64,
}

/// The same, while it is still counted.
#[derive(Default)]
pub(super) struct Counters {
    pub(super) done: AtomicU64,
    pub(super) again: AtomicU64,
    pub(super) parked: AtomicU64,
    pub(super) buried: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) released: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) unreadable: AtomicU64,
}

impl Counters {
    /// What was counted so far.
    pub(super) fn report(&self) -> ConsumerReport {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ConsumerReport {
            done: get(&self.done),
            again: get(&self.again),
            parked: get(&self.parked),
            buried: get(&self.buried),
            dropped: get(&self.dropped),
            released: get(&self.released),
            lost: get(&self.lost),
            unreadable: get(&self.unreadable),
        }
    }
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
