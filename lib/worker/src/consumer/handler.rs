//! Handles one message after the other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::time::Instant;
use tracing::{error, warn};

use super::report::Ending;
use super::{Inner, LAST_WORDS, Message};
use crate::supervisor::Context;
use crate::work::{Begin, Cause, Verdict, Work};

/// Receives of one message after which it is handled alone.
const SUSPECT_RECEIVES: u32 = 3;
/// Receives of one message that may be looked at again instead of parking, where more attempts than that are allowed.
const LOOKS_MAX: u32 = 10;

/// One of a consumer's handlers.
pub(super) struct Handler<W: Work> {
    pub(super) consumer: Arc<Inner<W>>,
    pub(super) context: Context,
}

impl<W: Work> Handler<W> {
    /// Handles messages until stopped, then gives back those that nobody has begun.
    pub(super) async fn run(self) -> Result<(), Cause> {
        while let Some(message) = self.next().await {
            self.process(&message).await;
        }
        while let Ok(message) = self.consumer.messages.1.try_recv() {
            self.consumer.release(&message).await;
        }
        Ok(())
    }

    /// Waits for a message; `None` when stopped.
    async fn next(&self) -> Option<Message> {
        let _rest = self.context.pulse.rest();
        tokio::select! {
            biased;
            () = self.context.stop.cancelled() => None,
            message = self.consumer.messages.1.recv_async() => message.ok(),
        }
    }

    async fn process(&self, message: &Message) {
        let Inner { queue, work, attempts, settings, counters, suspects, .. } = &*self.consumer;
        let delivery = &message.delivery;
        let task = match work.decode(&delivery.body) {
            Ok(task) => task,
            Err(cause) => return self.put_aside(message, &cause).await,
        };
        let _alone = if delivery.receive_count > SUSPECT_RECEIVES {
            let _rest = self.context.pulse.rest();
            tokio::select! {
                alone = suspects.acquire() => alone.ok(),
                () = self.context.stop.cancelled() => return self.consumer.release(message).await,
                () = message.holding.lost.cancelled() => return counters.count(Ending::Lost),
            }
        } else {
            None
        };
        match attempts.begin(&task).await {
            Ok(Begin::Attempt(attempt)) => self.attempt(message, &task, attempt).await,
            Ok(Begin::NothingToDo) => {
                counters.count(Ending::Dropped);
                self.consumer.acknowledge(message).await;
            }
            Ok(Begin::Unknown(cause)) => self.put_aside(message, &cause).await,
            Err(cause) => {
                warn!(queue = queue.name(), error = %cause.error, "attempt could not be counted");
                self.consumer.return_after(message, settings.backoff.jittered(delivery.receive_count)).await;
            }
        }
    }

    async fn attempt(&self, message: &Message, task: &W::Task, attempt: u32) {
        let Inner { settings, counters, .. } = &*self.consumer;
        if attempt > settings.attempts_max {
            if message.delivery.receive_count <= settings.attempts_max.min(LOOKS_MAX) + 1 {
                // Not every attempt was this message's own, or its last one may be in work right now: the task was sent twice, or
                // the queue delivered the message twice at once. By the time that attempt is answered or its message has come
                // back, this one tells what became of it.
                self.take_back(task).await;
                return self.consumer.return_after(message, settings.visible_for).await;
            }
            let cause = Cause::new("no answer", format!("{} attempts began and none of them ended", attempt - 1));
            return self.park(message, task, &cause).await;
        }
        self.context.pulse.beat();
        let started = Instant::now();
        let handled = AssertUnwindSafe(self.consumer.work.handle(task, &self.context.pulse)).catch_unwind();
        let verdict = tokio::select! {
            biased;
            verdict = handled => verdict.unwrap_or_else(|panic| {
                Verdict::Again { after: None, cause: Cause::of_panic(&*panic) }
            }),
            () = message.holding.lost.cancelled() => return counters.count(Ending::Lost),
            () = self.grace_is_over() => return self.forgive(message, task).await,
        };
        self.context.pulse.beat();
        counters.handled(started.elapsed());
        self.answer(message, task, attempt, verdict).await;
    }

    async fn answer(&self, message: &Message, task: &W::Task, attempt: u32, verdict: Verdict) {
        let Inner { queue, attempts, settings, counters, .. } = &*self.consumer;
        if let Verdict::Again { cause, .. } | Verdict::Bury { cause } = &verdict {
            counters.attempt_failed(&cause.class);
        }
        match verdict {
            Verdict::Done => {
                counters.count(Ending::Done);
                self.consumer.acknowledge(message).await;
            }
            Verdict::Again { cause, .. } if attempt >= settings.attempts_max => {
                self.park(message, task, &cause).await;
            }
            Verdict::Again { after, cause } => {
                warn!(queue = queue.name(), attempt, class = cause.class, error = cause.error, "attempt failed");
                counters.count(Ending::Again);
                if attempts.fail(task, &cause).await.is_ok() {
                    let after = after.unwrap_or_else(|| settings.backoff.jittered(attempt));
                    self.consumer.return_after(message, after).await;
                }
            }
            Verdict::Bury { cause } => {
                error!(queue = queue.name(), class = cause.class, error = cause.error, "task can never succeed");
                if attempts.bury(task, &cause).await.is_ok() {
                    counters.count(Ending::Buried);
                    self.consumer.acknowledge(message).await;
                }
            }
        }
    }

    /// Ends some time after a stop: until then work may finish.
    async fn grace_is_over(&self) {
        self.context.stop.cancelled().await;
        tokio::time::sleep(self.consumer.settings.stop_grace).await;
    }

    async fn park(&self, message: &Message, task: &W::Task, cause: &Cause) {
        let Inner { queue, attempts, counters, .. } = &*self.consumer;
        error!(queue = queue.name(), class = cause.class, error = cause.error, "task parked after its last attempt");
        if attempts.park(task, cause).await.is_ok() {
            counters.count(Ending::Parked);
            self.consumer.acknowledge(message).await;
        }
    }

    async fn put_aside(&self, message: &Message, cause: &Cause) {
        let Inner { queue, attempts, counters, .. } = &*self.consumer;
        error!(queue = queue.name(), class = cause.class, error = cause.error, "message cannot be read");
        if attempts.put_aside(&message.delivery.body, cause).await.is_ok() {
            counters.count(Ending::Unreadable);
            self.consumer.acknowledge(message).await;
        }
    }

    /// Takes the attempt back and gives the message back, if that is possible at once.
    async fn forgive(&self, message: &Message, task: &W::Task) {
        let forgiving = async {
            self.take_back(task).await;
            self.consumer.release(message).await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, forgiving).await;
    }

    async fn take_back(&self, task: &W::Task) {
        if let Err(cause) = self.consumer.attempts.forgive(task).await {
            warn!(queue = self.consumer.queue.name(), error = %cause.error, "attempt could not be forgiven");
        }
    }
}
