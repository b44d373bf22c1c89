//! Receives messages and hands them to the handlers; does nothing else.

use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::Semaphore;
use tracing::warn;

use super::{Inner, LAST_RECEIVE, Message};
use crate::supervisor::Context;
use crate::work::{Cause, Work};
use crate::{Delivery, QueueError};

pub(super) struct Poll<W: Work> {
    pub(super) consumer: Arc<Inner<W>>,
    /// One for each message that may be in flight.
    pub(super) slots: Arc<Semaphore>,
    pub(super) context: Context,
}

impl<W: Work> Poll<W> {
    /// Receives until stopped. An error means that the queue refuses to be read at all.
    pub(super) async fn run(self) -> Result<(), Cause> {
        let Inner { queue, settings, counters, .. } = &*self.consumer;
        let mut failures = 0;
        while let Some(free) = self.free_slots().await {
            let received = self.receive(free).await;
            self.context.pulse.beat();
            let deliveries = match received {
                Ok(deliveries) => deliveries,
                Err(error) if error.is_temporary() => {
                    failures += 1;
                    counters.receive_failed();
                    let cause = Cause::of("receive", &error);
                    warn!(queue = queue.name(), error = %cause.error, failures, "receive failed");
                    self.pause(settings.backoff.jittered(failures)).await;
                    continue;
                }
                Err(error) => return Err(Cause::of("refused", &error)),
            };
            failures = 0;
            let received = deliveries.len();
            let messages = deliveries.into_iter().filter_map(|delivery| self.take(delivery));
            if self.context.stop.is_cancelled() {
                let messages: Vec<Message> = messages.collect();
                join_all(messages.iter().map(|message| self.consumer.release(message))).await;
                break;
            }
            // There is always somebody to receive: the consumer itself.
            messages.for_each(|message| drop(self.consumer.messages.0.send(message)));
            self.linger(received).await;
        }
        Ok(())
    }

    fn take(&self, delivery: Delivery) -> Option<Message> {
        let Inner { settings, counters, held, .. } = &*self.consumer;
        // Only this loop takes permits, and it asked for no more than were free.
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let holding = held.hold(&delivery.receipt, settings.visible_for);
        let counted = counters.begun(delivery.receive_count);
        Some(Message { delivery, holding, _slot: slot, _counted: counted })
    }

    /// Where calls cost money, waits for messages to gather after a receive that brought few: the fewer, the longer. One that
    /// brought nothing has waited already.
    async fn linger(&self, received: usize) {
        let limits = self.consumer.queue.limits();
        let missing = limits.batch_max.saturating_sub(received);
        if received == 0 || missing == 0 || limits.linger.is_zero() {
            return;
        }
        self.pause(limits.linger.mul_f64(missing as f64 / limits.batch_max as f64)).await;
    }

    async fn pause(&self, pause: std::time::Duration) {
        let _rest = self.context.pulse.rest();
        let _ = tokio::time::timeout(pause, self.context.stop.cancelled()).await;
    }

    /// Waits for free slots; `None` when stopped.
    async fn free_slots(&self) -> Option<usize> {
        let settings = &self.consumer.settings;
        let receive_min = settings.receive_min.clamp(1, settings.in_flight.max(1));
        let _rest = self.context.pulse.rest();
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => None,
            permits = self.slots.acquire_many(u32::try_from(receive_min).unwrap_or(u32::MAX)) => {
                drop(permits);
                Some(self.slots.available_permits().min(self.consumer.queue.limits().batch_max))
            }
        }
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let Inner { queue, settings, .. } = &*self.consumer;
        let receive = queue.receive(max, settings.visible_for, settings.receive_wait);
        tokio::pin!(receive);
        tokio::select! {
            biased;
            received = &mut receive => received,
            () = self.context.stop.cancelled() => {
                tokio::time::timeout(LAST_RECEIVE, receive).await.unwrap_or(Ok(Vec::new()))
            }
        }
    }
}
