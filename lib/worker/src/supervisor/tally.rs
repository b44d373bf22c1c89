//! What happened to each child, counted while it happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::reason::{Kind, Reason};

/// The counts of one child, while they still grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    starts: AtomicU64,
    resumed_hung: AtomicU64,
    stops: [AtomicU64; Kind::ALL.len()],
}

impl Tally {
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

/// The counts of all of a tree's children. Clones count the same.
#[derive(Clone, Debug, Default)]
pub struct Counts(pub(super) Arc<[(Arc<str>, Arc<Tally>)]>);

impl Counts {
    /// Each child's path and counts, parents before their children.
    pub fn all(&self) -> impl Iterator<Item = (&str, ChildCounts)> {
        self.0.iter().map(|(path, tally)| (&**path, tally.counts()))
    }

    /// The counts of the child at this path.
    pub fn of(&self, path: &str) -> Option<ChildCounts> {
        self.all().find(|(of, _)| *of == path).map(|(_, counts)| counts)
    }
}
