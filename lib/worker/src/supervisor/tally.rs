//! What happened to each child, counted while it happens, and its signs of life.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::reason::{Kind, Reason};
use crate::Pulse;

/// The counts of one child, while they still grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    starts: AtomicU64,
    resumed_hung: AtomicU64,
    stops: [AtomicU64; Kind::ALL.len()],
    life: Mutex<Life>,
}

/// Where a child stands.
#[derive(Debug, Default)]
enum Life {
    /// It is not meant to run: not yet, or not any more.
    #[default]
    Over,
    /// It runs, and somebody watches its pulse.
    Watched(Pulse),
    /// It runs, and need not show that it does.
    Unwatched,
    /// It waits to be started again.
    Down(Instant),
}

impl Tally {
    /// A run has begun; `pulse` where it is watched.
    pub(super) fn lives(&self, pulse: Option<Pulse>) {
        *self.life() = pulse.map_or(Life::Unwatched, Life::Watched);
    }

    pub(super) fn is_down(&self) {
        *self.life() = Life::Down(Instant::now());
    }

    pub(super) fn is_over(&self) {
        *self.life() = Life::Over;
    }

    fn silent_for(&self) -> Duration {
        match &*self.life() {
            Life::Over | Life::Unwatched => Duration::ZERO,
            Life::Watched(pulse) => pulse.age(),
            Life::Down(since) => since.elapsed(),
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of the run that starts, from 1.
    pub(super) fn start(&self) -> u64 {
        self.starts.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn stop(&self, reason: &Reason) {
        self.stops[reason.kind() as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resume_hung(&self) {
        self.resumed_hung.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> ChildCounts {
        ChildCounts {
            starts: self.starts.load(Ordering::Relaxed),
            resumed_hung: self.resumed_hung.load(Ordering::Relaxed),
            stops: std::array::from_fn(|kind| self.stops[kind].load(Ordering::Relaxed)),
        }
    }
}

/// What happened to one child so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildCounts {
    /// Runs started.
    pub starts: u64,
    /// Hangs of runs that were left to go on.
    pub resumed_hung: u64,
    stops: [u64; Kind::ALL.len()],
}

impl ChildCounts {
    /// Runs that ended for a reason of this kind.
    pub fn stops(&self, kind: Kind) -> u64 {
        self.stops[kind as usize]
    }

    /// Runs that ended.
    pub fn all_stops(&self) -> u64 {
        self.stops.iter().sum()
    }
}

/// What happened to all of a tree's children, and their signs of life, to be asked at any time. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Vitals(pub(super) Arc<[(Arc<str>, Arc<Tally>)]>);

impl Vitals {
    /// Each child's path and counts, parents before their children.
    pub fn all(&self) -> impl Iterator<Item = (&str, ChildCounts)> {
        self.0.iter().map(|(path, tally)| (&**path, tally.counts()))
    }

    /// The counts of the child at this path.
    pub fn of(&self, path: &str) -> Option<ChildCounts> {
        self.all().find(|(of, _)| *of == path).map(|(_, counts)| counts)
    }

    /// The child that has made no progress for the longest time, and that time. One that waits to be started again makes none;
    /// one that is not watched for hangs, or has stopped for good, need not make any.
    pub fn stalest(&self) -> Option<(&str, Duration)> {
        self.0.iter().map(|(path, tally)| (&**path, tally.silent_for())).max_by_key(|(_, silent_for)| *silent_for)
    }
}
