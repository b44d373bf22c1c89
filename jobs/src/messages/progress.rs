//! How far the read model has come.

use std::sync::Arc;
use std::time::Duration;

use chat::{Position, RoomId};
use tokio::time::{Instant, sleep, timeout_at};
use worker::log::partition_of;
use worker::{Log, LogError};

use super::build_read_model;

/// How long to wait between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Tells which events can be read, by what `build-read-model` has committed. That is late by its `commit_every`, never early.
#[derive(Clone)]
pub struct ReadModelProgress {
    events: Arc<dyn Log>,
    log_epoch: u16,
}

impl ReadModelProgress {
    /// Of the log of events, in its epoch.
    pub fn new(events: Arc<dyn Log>, log_epoch: u16) -> Self {
        Self { events, log_epoch }
    }

    /// Up to where the events of a room can be read: all below this position. `None` when none is.
    pub async fn below(&self, room: RoomId) -> Result<Option<Position>, LogError> {
        let partition = partition_of(room.to_string().as_bytes(), self.events.partitions().await?);
        let committed = self.events.committed(build_read_model::NAME, partition).await?;
        Ok(committed.and_then(|offset| Position::new(self.log_epoch, offset).ok()))
    }

    /// Whether the event at this position can be read.
    pub async fn reaches(&self, room: RoomId, position: Position) -> Result<bool, LogError> {
        Ok(self.below(room).await?.is_some_and(|below| position < below))
    }

    /// Waits until the event at this position can be read, at most `patience`; tells whether it can.
    pub async fn wait(&self, room: RoomId, position: Position, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if matches!(timeout_at(deadline, self.reaches(room, position)).await, Ok(Ok(true))) {
                return true;
            }
            if Instant::now() + LOOK_EVERY > deadline {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
