//! `Log` that fails on demand where it is written to: appends and commits are not taken, or are and their answer is lost.

use std::time::Duration;

use async_trait::async_trait;
use worker::log::{Appended, Bounds, LogLimits, LogRecord, Missing, Place, Polled};
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
        let inner = self.inner.join(group, missing).await?;
        Ok(Box::new(Flaky::new(Member { log: self.name().to_owned(), inner }, self.faults.clone())))
    }

    async fn follow(&self, from: &[Place]) -> Result<Box<dyn LogConsumer>, LogError> {
        self.inner.follow(from).await
    }
}

/// A member of a group of the log of this name.
struct Member {
    log: String,
    inner: Box<dyn LogConsumer>,
}

#[async_trait]
impl LogConsumer for Flaky<Member> {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, LogError> {
        self.inner.inner.poll(max, wait).await
    }

    fn pause(&mut self, partitions: &[u32]) {
        self.inner.inner.pause(partitions);
    }

    fn resume(&mut self, partitions: &[u32]) {
        self.inner.inner.resume(partitions);
    }

    async fn commit(&mut self, next: &[Place]) -> Result<(), LogError> {
        let fault = self.faults.next().await;
        if matches!(fault, None | Some(Fault::LostResponse)) {
            self.inner.inner.commit(next).await?;
        }
        let lost = || LogError::Unavailable { log: self.inner.log.clone(), source: "the answer was lost".into() };
        fault.map_or(Ok(()), |_| Err(lost()))
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        self.inner.inner.close().await
    }
}
