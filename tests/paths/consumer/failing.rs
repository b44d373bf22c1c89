//! Failing attempts, failing processes, failing queues.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use embedded::SqliteQueue;
use futures::FutureExt;
use support::{Faults, Flaky, until};
use worker::queue::PerEntry;
use worker::{Attempts, Delivery, Depth, Outgoing, Queue, QueueError, QueueLimits, Receipt, Verdict};

use super::bench::{Bench, MS, again};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_attempt_parks_with_its_cause() {
    let bench = Bench::new().await;
    bench.send(&["a"]).await;
    let running = bench.start(bench.settings(), |_| async { again("unlucky", None) }.boxed());
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.again, report.parked), (2, 1));
    assert_eq!(bench.book.begun("a"), 3);
    assert_eq!(bench.book.end_of("a"), Some(("parked", "unlucky".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_was_sent_twice_is_not_parked_while_its_only_attempt_is_in_work() {
    let bench = Bench::new().await;
    bench.send(&["a", "a"]).await;
    let mut settings = bench.settings();
    (settings.attempts_max, settings.visible_for) = (1, 1_000 * MS);
    let done = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&done);
    let running = bench.start(settings, move |_| {
        let goes_on = Arc::clone(&goes_on);
        async move {
            until("the other one was looked at", async || goes_on.load(Ordering::SeqCst)).await;
            Verdict::Done
        }
        .boxed()
    });
    until("the second attempt is taken back", async || bench.book.forgiven("a") == 1).await;
    assert_eq!((bench.book.end_of("a"), bench.book.begun("a"), bench.book.calls("a").len()), (None, 1, 1));
    done.store(true, Ordering::SeqCst);
    until("only the other one is left", async || bench.depth().await == (0, 1)).await;
    assert_eq!(running.stop().await.done, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_message_is_delivered_twice_at_once_is_not_parked_while_its_only_attempt_is_in_work() {
    let bench = Bench::new().await;
    bench.send(&["a"]).await;
    let spy = Arc::new(Spy::new(bench.queue.clone()));
    spy.delivers_twice.store(true, Ordering::SeqCst);
    let mut settings = bench.settings();
    settings.attempts_max = 1;
    let done = Arc::new(AtomicBool::new(false));
    let goes_on = Arc::clone(&done);
    let running = bench.start_on(spy, settings, move |_| {
        let goes_on = Arc::clone(&goes_on);
        async move {
            until("the repeat was looked at", async || goes_on.load(Ordering::SeqCst)).await;
            Verdict::Done
        }
        .boxed()
    });
    let judged = || bench.book.forgiven("a") == 1 || bench.book.end_of("a").is_some();
    until("both were looked at", async || judged() && bench.book.calls("a").len() == 1).await;
    assert_eq!(bench.book.end_of("a"), None);
    done.store(true, Ordering::SeqCst);
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.done, report.parked), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_attempts_never_end_is_parked() {
    let bench = Bench::new().await;
    bench.send(&["a"]).await;
    let mut settings = bench.settings();
    (settings.attempts_max, settings.visible_for) = (2, 300 * MS);
    // As a process leaves it that died in each of them.
    for _ in 0..2 {
        let taken = async || !bench.queue.receive(1, 50 * MS, Duration::ZERO).await.expect("a receive").is_empty();
        until("the message is back", taken).await;
        bench.book.begin(&"a".to_owned()).await.expect("an attempt");
    }
    let running = bench.start(settings, |_| async { Verdict::Done }.boxed());
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.done, report.parked), (0, 1));
    assert_eq!(bench.book.end_of("a"), Some(("parked", "no answer".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_a_failed_attempt_and_neighbours_are_unharmed() {
    let bench = Bench::new().await;
    let mut names: Vec<String> = (0..30).map(|n| format!("m{n}")).collect();
    names.push("poison".to_owned());
    bench.send(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let running = bench.start(bench.settings(), |name| {
        async move {
            assert!(name != "poison", "the poison's own words");
            Verdict::Done
        }
        .boxed()
    });
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!((report.done, report.again, report.parked), (30, 2, 1));
    assert_eq!(bench.book.end_of("poison"), Some(("parked", "panic".to_owned())));
    assert!(bench.book.words_of("poison").expect("words").contains("the poison's own words"));
    assert!((0..30).all(|n| bench.book.begun(&format!("m{n}")) == 1), "a neighbour was handled twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_lost_to_somebody_else_cancels_its_work_and_is_not_acknowledged() {
    let bench = Bench::new().await;
    bench.send(&["a"]).await;
    let spy = Arc::new(Spy::new(bench.queue.clone()));
    let cancelled = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&cancelled);
    let mut settings = bench.settings();
    (settings.in_flight, settings.visible_for) = (1, 600 * MS);
    let running = bench.start_on(Arc::clone(&spy) as _, settings, move |_| {
        let note = OnDrop(Arc::clone(&noted));
        async move {
            let _note = note;
            std::future::pending().await
        }
        .boxed()
    });
    until("the work has begun", async || bench.book.calls("a").len() == 1).await;
    let held = spy.received.lock().expect("receipts")[0].clone();
    bench.queue.change_visibility(&[(held.clone(), Duration::ZERO)]).await.expect("an answer");
    let others = bench.queue.receive(1, 60_000 * MS, 1_000 * MS).await.expect("a receive");
    assert_eq!(others.len(), 1, "somebody else has it now");
    until("the work is cancelled", async || cancelled.load(Ordering::SeqCst)).await;
    let report = running.stop().await;
    assert_eq!((report.lost, report.done, report.released), (1, 0, 0));
    assert!(!spy.done.lock().expect("receipts").contains(&held), "a lost message was acknowledged");
    assert_eq!((bench.book.begun("a"), bench.book.forgiven("a")), (1, 0));
    assert_eq!(bench.depth().await, (0, 1), "it is still the other's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_renew_in_time_gives_up_before_somebody_else_begins() {
    let bench = Bench::new().await;
    bench.send(&["a"]).await;
    let spy = Arc::new(Spy::new(bench.queue.clone()));
    spy.fails_renewals.store(true, Ordering::SeqCst);
    let gauge = Arc::new(super::bench::Gauge::default());
    let inside = Arc::clone(&gauge);
    let mut settings = bench.settings();
    (settings.visible_for, settings.attempts_max) = (600 * MS, 100);
    let running = bench.start_on(Arc::clone(&spy) as _, settings, move |_| {
        let inside = Arc::clone(&inside);
        async move {
            let _inside = inside.enter();
            tokio::time::sleep(700 * MS).await;
            Verdict::Done
        }
        .boxed()
    });
    until("the work was begun twice", async || bench.book.calls("a").len() == 2).await;
    spy.fails_renewals.store(false, Ordering::SeqCst);
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    let report = running.stop().await;
    assert_eq!(report.done, 1);
    assert!(report.lost >= 1, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_queue_only_slows_the_consumer_down() {
    let bench = Bench::new().await;
    let names: Vec<String> = (0..40).map(|n| format!("m{n}")).collect();
    bench.send(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let seed = support::waiting::number_from_env("LANNER_SEED", 1);
    println!("LANNER_SEED={seed}");
    let flaky = Flaky::new(bench.queue.clone(), Faults::new(seed, 40));
    let mut settings = bench.settings();
    // Messages whose answer was lost come back after this; none of it is a failed attempt of the task.
    (settings.visible_for, settings.attempts_max, settings.in_flight) = (500 * MS, 1_000, 16);
    let running = bench.start_on(Arc::new(flaky), settings, |_| async { Verdict::Done }.boxed());
    until("the queue is empty", async || bench.depth().await == (0, 0)).await;
    assert!(!running.consumer.is_finished(), "the consumer gave up");
    let report = running.stop().await;
    assert!(report.done >= 40, "{report:?}");
    assert!(names.iter().all(|name| !bench.book.calls(name).is_empty()), "a message was never handled");
    assert_eq!((report.parked, report.buried, report.unreadable), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_refuses_to_be_read_ends_the_consumer_with_its_words() {
    let bench = Bench::new().await;
    let spy = Arc::new(Spy::new(bench.queue.clone()));
    spy.refuses.store(true, Ordering::SeqCst);
    let running = bench.start_on(spy, bench.settings(), |_| async { Verdict::Done }.boxed());
    let ended = running.consumer.await.expect("no panic");
    let gave_up = ended.expect_err("the supervisor gave up");
    assert!(gave_up.to_string().contains("process/test/poll by its directive: error (refused)"), "{gave_up}");
}

/// Sets its flag when it is dropped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A queue that notes what passes, and fails where it is told to.
pub(super) struct Spy {
    inner: SqliteQueue,
    pub(super) received: Mutex<Vec<Receipt>>,
    pub(super) done: Mutex<Vec<Receipt>>,
    pub(super) receives: AtomicUsize,
    fails_renewals: AtomicBool,
    refuses: AtomicBool,
    delivers_twice: AtomicBool,
}

impl Spy {
    pub(super) fn new(inner: SqliteQueue) -> Self {
        Self {
            inner,
            received: Mutex::default(),
            done: Mutex::default(),
            receives: AtomicUsize::default(),
            fails_renewals: AtomicBool::default(),
            refuses: AtomicBool::default(),
            delivers_twice: AtomicBool::default(),
        }
    }
}

#[async_trait]
impl Queue for Spy {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn limits(&self) -> QueueLimits {
        self.inner.limits()
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<PerEntry, QueueError> {
        self.inner.send(messages).await
    }

    async fn receive(&self, max: usize, hidden_for: Duration, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        self.receives.fetch_add(1, Ordering::SeqCst);
        if self.refuses.load(Ordering::SeqCst) {
            return Err(QueueError::Refused { queue: self.name().to_owned(), what: "on purpose".to_owned() });
        }
        let mut received = self.inner.receive(max, hidden_for, wait).await?;
        if self.delivers_twice.load(Ordering::SeqCst) {
            received.extend(received.clone());
            received.iter_mut().for_each(|delivery| delivery.receive_count += 1);
        }
        self.received.lock().expect("receipts").extend(received.iter().map(|delivery| delivery.receipt.clone()));
        Ok(received)
    }

    async fn done(&self, receipts: &[Receipt]) -> Result<PerEntry, QueueError> {
        self.done.lock().expect("receipts").extend_from_slice(receipts);
        self.inner.done(receipts).await
    }

    async fn change_visibility(&self, changes: &[(Receipt, Duration)]) -> Result<PerEntry, QueueError> {
        if self.fails_renewals.load(Ordering::SeqCst) {
            return Err(QueueError::Unavailable { queue: self.name().to_owned(), source: "on purpose".into() });
        }
        self.inner.change_visibility(changes).await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.inner.depth().await
    }
}
