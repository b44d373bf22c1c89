//! The consume loop: receives, keeps a bounded number of tasks in flight, renews their visibility, answers per entry, stops
//! in good order.
//!
//! - **In flight** is a number of permits; nothing is received before a slot for it is free.
//! - **Heartbeat**: messages in flight are renewed in batches once a third of their visibility timeout is over. Work whose
//!   message is no longer held is cancelled, because somebody else may have it (fencing).
//! - **Attempts** are counted by the job's own ledger, not by the queue, so that an orderly stop burns none.
//! - **Suspects**: a message that came back several times without an answer may be what ends the process; such messages are
//!   handled one at a time, so that a poison does not use up the attempts of its neighbours.
//! - **Stop**: receive no more, give back what has not begun, let the rest finish for a while, then drop it, forgive the
//!   attempt and give it back.

mod report;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

pub use self::report::ConsumerReport;
use self::report::{Counters, Ending};
use crate::batcher::{Batcher, Batching};
use crate::work::{Attempts, Begin, Cause, Verdict, Work};
use crate::{Backoff, Delivery, Pulse, Queue, QueueError, Receipt};

/// How a queue is consumed.
#[derive(Clone, Copy, Debug)]
pub struct ConsumerSettings {
    /// Tasks in flight, at least 1.
    pub in_flight: usize,
    /// Slots that must be free before anything is received, so that receives are worth their price.
    pub receive_min: usize,
    /// Visibility timeout of received messages.
    pub visible_for: Duration,
    /// How long a receive waits for the first message.
    pub receive_wait: Duration,
    /// Attempts after which a task is parked, at least 1.
    pub attempts_max: u32,
    /// Delays between attempts of a task, and between receives that fail.
    pub backoff: Backoff,
    /// How long tasks may go on after a stop; the whole stop takes about a second more at most.
    pub stop_grace: Duration,
}

/// Receives of one message after which it is handled alone.
const SUSPECT_RECEIVES: u32 = 3;
/// Receives of one message that may be looked at again instead of parking, where more attempts than that are allowed.
const LOOKS_MAX: u32 = 10;
/// How long a receive under way at a stop may still bring its messages, so that they are given back at once.
const LAST_RECEIVE: Duration = Duration::from_millis(100);
/// How long forgiving and giving back may take at a stop.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A message in flight, as the heartbeat sees it.
struct Held {
    lost: CancellationToken,
    until: Instant,
}

/// Consumes one queue with one kind of work.
pub struct Consumer<W: Work> {
    inner: Arc<Inner<W>>,
}

struct Inner<W: Work> {
    queue: Arc<dyn Queue>,
    work: Arc<W>,
    attempts: Arc<dyn Attempts<W::Task>>,
    settings: ConsumerSettings,
    counters: Counters,
    pulse: Pulse,
    held: Mutex<HashMap<Receipt, Held>>,
    suspects: Semaphore,
    done: Batcher<Receipt, bool>,
    visibility: Batcher<(Receipt, Duration), bool>,
    stop: CancellationToken,
    /// Nothing more is received: what is given back from here on does not come back to this consumer.
    closed: CancellationToken,
    abort: CancellationToken,
}

impl<W: Work> Consumer<W> {
    /// A consumer of the job of this name that runs until `stop`; `pulse` beats while it makes progress. Call from within a runtime.
    pub fn new(
        job: &'static str,
        queue: Arc<dyn Queue>,
        work: Arc<W>,
        attempts: Arc<dyn Attempts<W::Task>>,
        settings: ConsumerSettings,
        pulse: Pulse,
        stop: CancellationToken,
    ) -> Self {
        let batching = Batching { max: queue.limits().batch_max, linger: queue.limits().linger };
        let for_done = Arc::clone(&queue);
        let done = Batcher::start(batching, move |receipts: Vec<Receipt>| {
            let queue = Arc::clone(&for_done);
            async move { answered(&*queue, receipts.len(), queue.done(&receipts).await) }
        });
        let for_visibility = Arc::clone(&queue);
        let visibility = Batcher::start(batching, move |changes: Vec<(Receipt, Duration)>| {
            let queue = Arc::clone(&for_visibility);
            async move { answered(&*queue, changes.len(), queue.change_visibility(&changes).await) }
        });
        let inner = Inner {
            queue,
            work,
            attempts,
            settings,
            counters: Counters::new(job),
            pulse,
            held: Mutex::new(HashMap::new()),
            suspects: Semaphore::new(1),
            done,
            visibility,
            stop,
            closed: CancellationToken::new(),
            abort: CancellationToken::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Runs until stopped. An error means that the queue refuses to be read at all.
    pub async fn run(self) -> Result<ConsumerReport, QueueError> {
        let inner = self.inner;
        let heartbeat = tokio::spawn(Arc::clone(&inner).heartbeat());
        let tasks = TaskTracker::new();
        let received = Arc::clone(&inner).receive_until_stopped(&tasks).await;
        inner.closed.cancel();
        tasks.close();
        if tokio::time::timeout(inner.settings.stop_grace, tasks.wait()).await.is_err() {
            inner.abort.cancel();
            // Whatever does not end now is ended with the process; its messages return by themselves.
            let _ = tokio::time::timeout(2 * LAST_WORDS, tasks.wait()).await;
        }
        heartbeat.abort();
        received.map(|()| inner.counters.report())
    }
}

/// One answer for each entry of a batch: true when it took effect.
fn answered(queue: &dyn Queue, entries: usize, answer: Result<crate::queue::PerEntry, QueueError>) -> Vec<bool> {
    match answer {
        Ok(per_entry) => per_entry.iter().map(Result::is_ok).collect(),
        Err(error) => {
            // The messages return after their visibility timeout; the work is safe to repeat.
            warn!(queue = queue.name(), %error, entries, "batch answer failed");
            vec![false; entries]
        }
    }
}

impl<W: Work> Inner<W> {
    async fn receive_until_stopped(self: Arc<Self>, tasks: &TaskTracker) -> Result<(), QueueError> {
        let slots = Arc::new(Semaphore::new(self.settings.in_flight.max(1)));
        let receive_min = self.settings.receive_min.clamp(1, self.settings.in_flight.max(1));
        let mut failures = 0;
        while let Some(free) = self.free_slots(&slots, receive_min).await {
            let received = self.receive(free).await;
            self.pulse.beat();
            let deliveries = match received {
                Ok(deliveries) => deliveries,
                Err(error) if error.is_temporary() => {
                    failures += 1;
                    self.counters.receive_failed();
                    warn!(queue = self.queue.name(), error = %Cause::of("receive", &error).error, failures, "receive failed");
                    let pause = self.settings.backoff.jittered(failures);
                    let _ = tokio::time::timeout(pause, self.stop.cancelled()).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            failures = 0;
            let received = deliveries.len();
            for delivery in deliveries {
                // Only this loop takes permits, and it asked for no more than were free.
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { break };
                let this = Arc::clone(&self);
                let lost = self.hold(&delivery.receipt);
                tasks.spawn(async move {
                    this.counters.begun(delivery.receive_count);
                    this.process(&delivery, &lost).await;
                    this.counters.ended();
                    this.pulse.beat();
                    this.held().remove(&delivery.receipt);
                    drop(slot);
                });
            }
            self.linger(received).await;
        }
        Ok(())
    }

    /// Where calls cost money, waits for messages to gather after a receive that brought few: the fewer, the longer. One that
    /// brought nothing has waited already.
    async fn linger(&self, received: usize) {
        let limits = self.queue.limits();
        let missing = limits.batch_max.saturating_sub(received);
        if received == 0 || missing == 0 || limits.linger.is_zero() {
            return;
        }
        let pause = limits.linger.mul_f64(missing as f64 / limits.batch_max as f64);
        let _ = tokio::time::timeout(pause, self.stop.cancelled()).await;
    }

    /// Waits for free slots; `None` when stopped.
    async fn free_slots(&self, slots: &Semaphore, receive_min: usize) -> Option<usize> {
        let enough = slots.acquire_many(u32::try_from(receive_min).unwrap_or(u32::MAX));
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            permits = enough => {
                drop(permits);
                Some(slots.available_permits().min(self.queue.limits().batch_max))
            }
        }
    }

    async fn receive(&self, max: usize) -> Result<Vec<Delivery>, QueueError> {
        let receive = self.queue.receive(max, self.settings.visible_for, self.settings.receive_wait);
        tokio::pin!(receive);
        tokio::select! {
            biased;
            received = &mut receive => received,
            () = self.stop.cancelled() => tokio::time::timeout(LAST_RECEIVE, receive).await.unwrap_or(Ok(Vec::new())),
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<Receipt, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, receipt: &Receipt) -> CancellationToken {
        let lost = CancellationToken::new();
        let until = Instant::now() + self.settings.visible_for;
        self.held().insert(receipt.clone(), Held { lost: lost.clone(), until });
        lost
    }

    /// Renews what has been in flight for a while: most work ends before it needs that. Ends with the consumer.
    async fn heartbeat(self: Arc<Self>) {
        let visible_for = self.settings.visible_for;
        loop {
            tokio::time::sleep(visible_for / 6).await;
            let due = Instant::now() + visible_for * 2 / 3;
            let held_long = |(_, message): &(&Receipt, &Held)| message.until <= due;
            let receipts: Vec<Receipt> =
                self.held().iter().filter(held_long).map(|(receipt, _)| receipt.clone()).collect();
            for batch in receipts.chunks(self.queue.limits().batch_max.max(1)) {
                let changes: Vec<_> = batch.iter().map(|receipt| (receipt.clone(), visible_for)).collect();
                let renewed_until = Instant::now() + visible_for;
                match self.queue.change_visibility(&changes).await {
                    Ok(answers) => {
                        let mut held = self.held();
                        for (receipt, answer) in batch.iter().zip(&answers) {
                            match (held.get_mut(receipt), answer) {
                                (Some(message), Ok(())) => message.until = renewed_until,
                                (Some(message), Err(QueueError::NotHeld { .. })) => message.lost.cancel(),
                                _ => {}
                            }
                        }
                    }
                    Err(error) => warn!(queue = self.queue.name(), %error, "heartbeat failed"),
                }
            }
            // Who could not renew in time no longer holds the message.
            let now = Instant::now();
            self.held().values().filter(|message| message.until <= now).for_each(|message| message.lost.cancel());
        }
    }

    async fn process(&self, delivery: &Delivery, lost: &CancellationToken) {
        if self.stop.is_cancelled() {
            return self.release(delivery).await;
        }
        let task = match self.work.decode(&delivery.body) {
            Ok(task) => task,
            Err(cause) => return self.put_aside(delivery, &cause).await,
        };
        let _alone = if delivery.receive_count > SUSPECT_RECEIVES {
            tokio::select! {
                alone = self.suspects.acquire() => alone.ok(),
                () = self.stop.cancelled() => return self.release(delivery).await,
                () = lost.cancelled() => return self.counters.count(Ending::Lost),
            }
        } else {
            None
        };
        match self.attempts.begin(&task).await {
            Ok(Begin::Attempt(attempt)) => self.attempt(delivery, &task, attempt, lost).await,
            Ok(Begin::NothingToDo) => {
                self.counters.count(Ending::Dropped);
                self.acknowledge(delivery).await;
            }
            Ok(Begin::Unknown(cause)) => self.put_aside(delivery, &cause).await,
            Err(cause) => {
                warn!(queue = self.queue.name(), error = %cause.error, "attempt could not be counted");
                self.return_after(delivery, self.settings.backoff.jittered(delivery.receive_count)).await;
            }
        }
    }

    async fn attempt(&self, delivery: &Delivery, task: &W::Task, attempt: u32, lost: &CancellationToken) {
        if attempt > self.settings.attempts_max {
            if delivery.receive_count <= self.settings.attempts_max.min(LOOKS_MAX) + 1 {
                // Not every attempt was this message's own, or its last one may be in work right now: the task was sent twice, or
                // the queue delivered the message twice at once. By the time that attempt is answered or its message has come
                // back, this one tells what became of it.
                return self.forgive_until(delivery, task, self.settings.visible_for).await;
            }
            let cause = Cause::new("no answer", format!("{} attempts began and none of them ended", attempt - 1));
            return self.park(delivery, task, &cause).await;
        }
        let started = Instant::now();
        let handled = AssertUnwindSafe(self.work.handle(task)).catch_unwind();
        let verdict = tokio::select! {
            biased;
            verdict = handled => verdict.unwrap_or_else(|panic| {
                Verdict::Again { after: None, cause: Cause::new("panic", panic_words(&*panic)) }
            }),
            () = lost.cancelled() => return self.counters.count(Ending::Lost),
            () = self.abort.cancelled() => return self.forgive(delivery, task).await,
        };
        self.counters.handled(started.elapsed());
        if let Verdict::Again { cause, .. } | Verdict::Bury { cause } = &verdict {
            self.counters.attempt_failed(&cause.class);
        }
        match verdict {
            Verdict::Done => {
                self.counters.count(Ending::Done);
                self.acknowledge(delivery).await;
            }
            Verdict::Again { cause, .. } if attempt >= self.settings.attempts_max => {
                self.park(delivery, task, &cause).await;
            }
            Verdict::Again { after, cause } => {
                warn!(queue = self.queue.name(), attempt, class = cause.class, error = cause.error, "attempt failed");
                self.counters.count(Ending::Again);
                if self.attempts.fail(task, &cause).await.is_ok() {
                    let after = after.unwrap_or_else(|| self.settings.backoff.jittered(attempt));
                    self.return_after(delivery, after).await;
                }
            }
            Verdict::Bury { cause } => {
                error!(queue = self.queue.name(), class = cause.class, error = cause.error, "task can never succeed");
                if self.attempts.bury(task, &cause).await.is_ok() {
                    self.counters.count(Ending::Buried);
                    self.acknowledge(delivery).await;
                }
            }
        }
    }

    async fn park(&self, delivery: &Delivery, task: &W::Task, cause: &Cause) {
        error!(
            queue = self.queue.name(),
            class = cause.class,
            error = cause.error,
            "task parked after its last attempt"
        );
        if self.attempts.park(task, cause).await.is_ok() {
            self.counters.count(Ending::Parked);
            self.acknowledge(delivery).await;
        }
    }

    async fn put_aside(&self, delivery: &Delivery, cause: &Cause) {
        error!(queue = self.queue.name(), class = cause.class, error = cause.error, "message cannot be read");
        if self.attempts.put_aside(&delivery.body, cause).await.is_ok() {
            self.counters.count(Ending::Unreadable);
            self.acknowledge(delivery).await;
        }
    }

    async fn forgive(&self, delivery: &Delivery, task: &W::Task) {
        let forgiving = async {
            self.take_back(task).await;
            self.release(delivery).await;
        };
        let _ = tokio::time::timeout(LAST_WORDS, forgiving).await;
    }

    /// Takes the attempt back and looks at the message again later.
    async fn forgive_until(&self, delivery: &Delivery, task: &W::Task, later: Duration) {
        self.take_back(task).await;
        self.return_after(delivery, later).await;
    }

    async fn take_back(&self, task: &W::Task) {
        if let Err(cause) = self.attempts.forgive(task).await {
            warn!(queue = self.queue.name(), error = %cause.error, "attempt could not be forgiven");
        }
    }

    async fn release(&self, delivery: &Delivery) {
        // The last receive may still be under way, and would only take it again.
        self.closed.cancelled().await;
        self.counters.count(Ending::Released);
        self.return_after(delivery, Duration::ZERO).await;
    }

    async fn return_after(&self, delivery: &Delivery, after: Duration) {
        self.held().remove(&delivery.receipt);
        self.visibility.call((delivery.receipt.clone(), after)).await;
    }

    async fn acknowledge(&self, delivery: &Delivery) {
        self.done.call(delivery.receipt.clone()).await;
    }
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panicked without words".to_owned())
}
