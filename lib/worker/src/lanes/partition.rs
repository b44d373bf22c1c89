//! One partition: its window, and which lane is whose.

use std::collections::HashMap;

use super::limits::LaneLimits;
use super::window::Window;

/// Where a partition stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionProgress {
    /// Which one.
    pub partition: u32,
    /// Everything below this offset is finished: the one to read first after a restart.
    pub position: u64,
    /// True when no more records should be fetched: high water was reached and low water not yet, or the partition drains.
    pub is_paused: bool,
    /// True when it takes nothing new and nothing of it is left.
    pub is_drained: bool,
}

/// Why a record is not taken. Nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The partition is not assigned, or was revoked.
    #[error("partition {0} is not assigned")]
    NotAssigned(u32),
    /// The partition takes nothing new.
    #[error("partition {0} drains")]
    Draining(u32),
    /// The offset is below one that was taken: the log went back without a revoke.
    #[error("offset {offset} of partition {partition} comes after {next} was due")]
    Backwards {
        /// Of which partition.
        partition: u32,
        /// The offset given.
        offset: u64,
        /// The lowest that can be taken.
        next: u64,
    },
    /// No place for so many items now: keep the record, push it again after progress.
    #[error("partition {0} holds as many items as it may")]
    Full(u32),
    /// The record leads to more items than a partition may ever hold.
    #[error("{items} items of one record: a partition holds at most {held_max}")]
    TooMany {
        /// Items of the record.
        items: usize,
        /// The bound.
        held_max: usize,
    },
}

pub(super) struct Assigned<K> {
    pub(super) generation: u64,
    pub(super) draining: bool,
    pub(super) paused: bool,
    pub(super) in_flight: usize,
    pub(super) parked: usize,
    pub(super) window: Window,
    pub(super) lanes: HashMap<K, usize>,
}

impl<K> Assigned<K> {
    pub(super) fn new(generation: u64, position: u64) -> Self {
        Self {
            generation,
            draining: false,
            paused: false,
            in_flight: 0,
            parked: 0,
            window: Window::new(position),
            lanes: HashMap::new(),
        }
    }

    /// Whether a record that leads to so many items is taken.
    pub(super) fn takes(
        &self,
        limits: &LaneLimits,
        partition: u32,
        offset: u64,
        items: usize,
    ) -> Result<(), PushError> {
        if self.draining {
            return Err(PushError::Draining(partition));
        }
        let next = self.window.next_offset();
        if offset < next {
            return Err(PushError::Backwards { partition, offset, next });
        }
        if items > limits.held_max {
            return Err(PushError::TooMany { items, held_max: limits.held_max });
        }
        if items > limits.held_max - self.window.len() {
            return Err(PushError::Full(partition));
        }
        Ok(())
    }

    /// Finishes places; true when position or pause changed.
    pub(super) fn finish(&mut self, places: &[u64], low_water: usize) -> bool {
        let before = (self.window.position(), self.paused);
        places.iter().for_each(|place| self.window.finish(*place));
        self.paused = self.paused && self.window.len() > low_water;
        before != (self.window.position(), self.paused)
    }

    pub(super) fn progress(&self, partition: u32) -> PartitionProgress {
        PartitionProgress {
            partition,
            position: self.window.position(),
            is_paused: self.paused || self.draining,
            is_drained: self.draining && self.in_flight == 0 && self.window.len() == 0,
        }
    }
}
