//! `Log` that fails on demand where it is written to: appends are not taken, or are and their answer is lost.

use async_trait::async_trait;
use worker::log::{Appended, Bounds, LogLimits, LogRecord, Missing, Place};
use worker::{Log, LogConsumer, LogError};

use crate::{Fault, Flaky};

#[async_trait]
impl<T: Log> Log for Flaky<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn limits(&self) -> LogLimits {
        self.inner.limits()
    }

    async fn partitions(&self) -> Result<u32, LogError> {
        self.inner.partitions().await
    }

    async fn append(&self, records: Vec<LogRecord>) -> Result<Appended, LogError> {
        let log = self.name().to_owned();
        match self.faults.next().await {
            None => self.inner.append(records).await,
            Some(Fault::LostResponse) => {
                self.inner.append(records).await?;
                Err(LogError::Unknown { log, source: "the answer was lost".into() })
            }
            Some(_) => Err(LogError::Unavailable { log, source: "refused before any effect".into() }),
        }
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        self.inner.bounds(partition).await
    }

    async fn committed(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        self.inner.committed(group, partition).await
    }

    async fn join(&self, group: &str, missing: Missing) -> Result<Box<dyn LogConsumer>, LogError> {
        self.inner.join(group, missing).await
    }

    async fn follow(&self, from: &[Place]) -> Result<Box<dyn LogConsumer>, LogError> {
        self.inner.follow(from).await
    }
}
