//! A queue of a test's own, a ledger in memory, and work made from a closure.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use embedded::{Access, DataDir, SqliteQueue};
use futures::future::BoxFuture;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::supervisor::Escalation;
use worker::{
    Attempts, Backoff, Begin, Cause, Consumer, ConsumerReport, ConsumerSettings, Outgoing, Pulse, Queue, Verdict, Work,
};

pub(super) const MS: Duration = Duration::from_millis(1);

pub(super) struct Bench {
    pub(super) queue: SqliteQueue,
    pub(super) book: Arc<Book>,
    _dir: TempDir,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let dir = TempDir::new().expect("a folder");
        let data = DataDir::open(dir.path(), Access::Write, "test").await.expect("a data directory");
        let queue = SqliteQueue::open(&data, "tasks").await.expect("a queue");
        Self { queue, book: Arc::default(), _dir: dir }
    }

    /// Eight in flight, three attempts, backoff of some ten milliseconds.
    pub(super) fn settings(&self) -> ConsumerSettings {
        ConsumerSettings {
            in_flight: 8,
            receive_min: 1,
            visible_for: 2_000 * MS,
            receive_wait: 200 * MS,
            attempts_max: 3,
            backoff: backoff(10, 50),
            hang_after: 60_000 * MS,
            stop_grace: 2_000 * MS,
        }
    }

    pub(super) async fn send(&self, bodies: &[&str]) {
        let messages: Vec<Outgoing> = bodies.iter().map(|body| Outgoing::now(*body)).collect();
        for answer in self.queue.send(&messages).await.expect("a send") {
            answer.expect("a sent message");
        }
    }

    pub(super) fn consumer<F>(
        &self,
        queue: Arc<dyn Queue>,
        settings: ConsumerSettings,
        handle: F,
    ) -> Consumer<Script<F>>
    where
        F: Fn(String) -> BoxFuture<'static, Verdict> + Send + Sync + 'static,
    {
        let work = Arc::new(Script { handle, book: Arc::clone(&self.book) });
        let attempts: Arc<dyn Attempts<String>> = Arc::clone(&self.book) as _;
        Consumer::new("test", queue, work, attempts, settings)
    }

    /// Visible and hidden messages.
    pub(super) async fn depth(&self) -> (u64, u64) {
        let depth = self.queue.depth().await.expect("a depth");
        (depth.visible, depth.hidden)
    }

    pub(super) fn start<F>(&self, settings: ConsumerSettings, handle: F) -> Running
    where
        F: Fn(String) -> BoxFuture<'static, Verdict> + Send + Sync + 'static,
    {
        self.start_on(Arc::new(self.queue.clone()), settings, handle)
    }

    pub(super) fn start_on<F>(&self, queue: Arc<dyn Queue>, settings: ConsumerSettings, handle: F) -> Running
    where
        F: Fn(String) -> BoxFuture<'static, Verdict> + Send + Sync + 'static,
    {
        let stop = CancellationToken::new();
        let consumer = self.consumer(queue, settings, handle);
        Running { consumer: tokio::spawn(consumer.run(stop.clone())), stop }
    }
}

pub(super) fn backoff(min_ms: u64, max_ms: u64) -> Backoff {
    Backoff::new(Duration::from_millis(min_ms), Duration::from_millis(max_ms), 0.0).expect("a backoff")
}

pub(super) fn again(class: &str, after: Option<Duration>) -> Verdict {
    Verdict::Again { after, cause: Cause::new(class, "on purpose") }
}

pub(super) fn bury(class: &str) -> Verdict {
    Verdict::Bury { cause: Cause::new(class, "on purpose") }
}

pub(super) struct Running {
    pub(super) stop: CancellationToken,
    pub(super) consumer: tokio::task::JoinHandle<Result<ConsumerReport, Escalation>>,
}

impl Running {
    pub(super) async fn stop(self) -> ConsumerReport {
        self.stop.cancel();
        self.consumer.await.expect("the consumer does not panic").expect("the queue can be read")
    }
}

/// Bodies are tasks; what begins with `?` is unreadable.
pub(super) struct Script<F> {
    handle: F,
    book: Arc<Book>,
}

#[async_trait]
impl<F> Work for Script<F>
where
    F: Fn(String) -> BoxFuture<'static, Verdict> + Send + Sync + 'static,
{
    type Task = String;

    fn decode(&self, body: &[u8]) -> Result<String, Cause> {
        let text = String::from_utf8_lossy(body).into_owned();
        if text.starts_with('?') { Err(Cause::new("unreadable", "on purpose")) } else { Ok(text) }
    }

    async fn handle(&self, task: &String, _: &Pulse) -> Verdict {
        self.book.entry(task, |entry| entry.calls.push(Instant::now()));
        (self.handle)(task.clone()).await
    }
}

/// Attempts in memory. Tasks that begin with `settled` have nothing to do, those that begin with `unknown` are unknown.
#[derive(Default)]
pub(super) struct Book {
    entries: Mutex<HashMap<String, Entry>>,
    aside: Mutex<Vec<(Vec<u8>, Cause)>>,
}

#[derive(Clone, Default)]
struct Entry {
    begun: u32,
    calls: Vec<Instant>,
    forgiven: u32,
    failed: Vec<Cause>,
    end: Option<(&'static str, Cause)>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics while it holds the book")
}

impl Book {
    fn entry<R>(&self, task: &str, change: impl FnOnce(&mut Entry) -> R) -> R {
        change(locked(&self.entries).entry(task.to_owned()).or_default())
    }

    /// Attempts begun and not forgiven.
    pub(super) fn begun(&self, task: &str) -> u32 {
        self.entry(task, |entry| entry.begun)
    }

    pub(super) fn forgiven(&self, task: &str) -> u32 {
        self.entry(task, |entry| entry.forgiven)
    }

    /// When the handler was called.
    pub(super) fn calls(&self, task: &str) -> Vec<Instant> {
        self.entry(task, |entry| entry.calls.clone())
    }

    pub(super) fn calls_of_all(&self) -> usize {
        locked(&self.entries).values().map(|entry| entry.calls.len()).sum()
    }

    /// Classes of the failed attempts that are repeated.
    pub(super) fn classes(&self, task: &str) -> Vec<String> {
        self.entry(task, |entry| entry.failed.iter().map(|cause| cause.class.clone()).collect())
    }

    /// How the task ended badly, and the class of its cause.
    pub(super) fn end_of(&self, task: &str) -> Option<(&'static str, String)> {
        self.entry(task, |entry| entry.end.clone()).map(|(end, cause)| (end, cause.class))
    }

    /// How the task ended badly, in words.
    pub(super) fn words_of(&self, task: &str) -> Option<String> {
        self.entry(task, |entry| entry.end.clone()).map(|(_, cause)| cause.error)
    }

    pub(super) fn aside(&self) -> Vec<(Vec<u8>, Cause)> {
        locked(&self.aside).clone()
    }
}

#[async_trait]
impl Attempts<String> for Book {
    async fn begin(&self, task: &String) -> Result<Begin, Cause> {
        if task.starts_with("settled") {
            return Ok(Begin::NothingToDo);
        }
        if task.starts_with("unknown") {
            return Ok(Begin::Unknown(Cause::new("unknown", "on purpose")));
        }
        let attempt = self.entry(task, |entry| {
            entry.begun += 1;
            entry.begun
        });
        Ok(Begin::Attempt(attempt))
    }

    async fn forgive(&self, task: &String) -> Result<(), Cause> {
        self.entry(task, |entry| {
            entry.begun -= 1;
            entry.forgiven += 1;
        });
        Ok(())
    }

    async fn fail(&self, task: &String, cause: &Cause) -> Result<(), Cause> {
        self.entry(task, |entry| entry.failed.push(cause.clone()));
        Ok(())
    }

    async fn park(&self, task: &String, cause: &Cause) -> Result<(), Cause> {
        self.entry(task, |entry| entry.end = Some(("parked", cause.clone())));
        Ok(())
    }

    async fn bury(&self, task: &String, cause: &Cause) -> Result<(), Cause> {
        self.entry(task, |entry| entry.end = Some(("buried", cause.clone())));
        Ok(())
    }

    async fn put_aside(&self, body: &[u8], cause: &Cause) -> Result<(), Cause> {
        locked(&self.aside).push((body.to_owned(), cause.clone()));
        Ok(())
    }
}

/// How many are inside, and how many were at most.
#[derive(Default)]
pub(super) struct Gauge {
    inside: AtomicUsize,
    most: AtomicUsize,
}

pub(super) struct Inside<'a>(&'a Gauge);

impl Gauge {
    pub(super) fn enter(&self) -> Inside<'_> {
        let inside = 1 + self.inside.fetch_add(1, Ordering::SeqCst);
        self.most.fetch_max(inside, Ordering::SeqCst);
        Inside(self)
    }

    pub(super) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}
