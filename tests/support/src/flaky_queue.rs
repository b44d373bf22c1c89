//! A queue that fails on demand: whole calls, single entries of a batch, answers after the effect.

use std::future::Future;
use std::time::Duration;

use async_trait::async_trait;
use worker::queue::PerEntry;
use worker::{Delivery, Depth, Outgoing, Queue, QueueError, QueueLimits, Receipt};

use crate::{Fault, Flaky};

impl<T: Queue> Flaky<T> {
    fn queue_unavailable(&self, why: &'static str) -> QueueError {
        QueueError::Unavailable { queue: self.inner.name().to_owned(), source: why.into() }
    }

    /// An error of the whole call, if `fault` is one that comes before any effect.
    fn before(&self, fault: Option<Fault>) -> Result<(), QueueError> {
        match fault {
            Some(Fault::Unavailable) => Err(self.queue_unavailable("refused before any effect")),
            Some(Fault::Throttled) => {
                Err(QueueError::Throttled { queue: self.inner.name().to_owned(), source: "too fast".into() })
            }
            _ => Ok(()),
        }
    }

    /// A call for a batch. Where it fails in part, the entries from some place on never reach the queue.
    async fn batch<'a, E, F>(
        &'a self,
        entries: &'a [E],
        call: impl FnOnce(&'a [E]) -> F,
    ) -> Result<PerEntry, QueueError>
    where
        F: Future<Output = Result<PerEntry, QueueError>>,
    {
        let fault = self.faults.next().await;
        self.before(fault)?;
        let reached = if fault == Some(Fault::Partial) { self.faults.below(entries.len()) } else { entries.len() };
        let mut answers = call(&entries[..reached]).await?;
        if fault == Some(Fault::LostResponse) {
            return Err(self.queue_unavailable("the answer was lost"));
        }
        answers.extend(entries[reached..].iter().map(|_| Err(self.queue_unavailable("this entry was refused"))));
        Ok(answers)
    }
}

#[async_trait]
impl<T: Queue> Queue for Flaky<T> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn limits(&self) -> QueueLimits {
        self.inner.limits()
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<PerEntry, QueueError> {
        self.batch(messages, |reached| self.inner.send(reached)).await
    }

    async fn receive(&self, max: usize, hidden_for: Duration, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        let fault = self.faults.next().await;
        self.before(fault)?;
        let max = if fault == Some(Fault::Partial) { self.faults.below(max) } else { max };
        let received = self.inner.receive(max, hidden_for, wait).await?;
        if fault == Some(Fault::LostResponse) {
            return Err(self.queue_unavailable("the answer was lost"));
        }
        Ok(received)
    }

    async fn done(&self, receipts: &[Receipt]) -> Result<PerEntry, QueueError> {
        self.batch(receipts, |reached| self.inner.done(reached)).await
    }

    async fn change_visibility(&self, changes: &[(Receipt, Duration)]) -> Result<PerEntry, QueueError> {
        self.batch(changes, |reached| self.inner.change_visibility(reached)).await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.before(self.faults.next().await)?;
        self.inner.depth().await
    }
}
