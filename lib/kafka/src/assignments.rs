//! What the group's coordinator gives and takes while the client polls.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use krafka::consumer::{ConsumerRebalanceListener, TopicPartition};
use tokio::sync::Notify;

/// One thing that happened to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Given(u32),
    Taken(u32),
}

/// Changes in their order, until the reader takes note of them. As many as partitions and rebalances within one poll.
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<Noted>);

#[derive(Default)]
struct Noted {
    changes: Mutex<Vec<Change>>,
    happened: Notify,
}

impl Changes {
    /// Waits until something has happened.
    pub(crate) async fn happened(&self) {
        self.0.happened.notified().await;
    }

    pub(crate) fn take(&self) -> Vec<Change> {
        mem::take(&mut *self.0.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, partitions: &[TopicPartition], change: fn(u32) -> Change) {
        if partitions.is_empty() {
            return;
        }
        let numbers = partitions.iter().filter_map(|partition| u32::try_from(partition.partition()).ok());
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner).extend(numbers.map(change));
        self.0.happened.notify_one();
    }
}

/// Nothing here waits, so that a poll that is dropped never leaves a change half noted.
impl ConsumerRebalanceListener for Changes {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        self.note(partitions, Change::Given);
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        self.note(partitions, Change::Taken);
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        self.note(partitions, Change::Taken);
    }
}
