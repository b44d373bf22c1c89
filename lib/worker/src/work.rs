//! What a queue-fed job is: decode a task, count the attempt, handle it, answer from a closed set.

use std::time::Duration;

use async_trait::async_trait;

use crate::Pulse;

/// Why something did not succeed: a stable word to group by, and the whole chain of causes in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// A short, stable word, for example `unavailable`, `panic`, `corrupt`.
    pub class: String,
    /// What happened, in words, causes included.
    pub error: String,
}

impl Cause {
    /// A cause of a class.
    pub fn new(class: impl Into<String>, error: impl Into<String>) -> Self {
        Self { class: class.into(), error: error.into() }
    }

    /// A cause with the words of an error and of everything below it.
    pub fn of(class: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut words = error.to_string();
        let mut below = error.source();
        while let Some(cause) = below {
            words = format!("{words}: {cause}");
            below = cause.source();
        }
        Self::new(class, words)
    }

    /// A cause of class `panic` with a panic's words.
    pub fn of_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::new("panic", words.unwrap_or_else(|| "panicked without words".to_owned()))
    }
}

/// What a handler answers. Nothing else can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The work is done **and durable**: the message is deleted.
    Done,
    /// Not this time. The attempt counts; after the last one the task is parked with this cause.
    Again {
        /// When to try again, where the other side said so; else by the consumer's backoff.
        after: Option<Duration>,
        /// Why.
        cause: Cause,
    },
    /// It can never succeed: it is put aside at once with its cause.
    Bury {
        /// Why.
        cause: Cause,
    },
}

/// What beginning an attempt found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Attempt number `n`, from 1. It is counted durably, so that a task that kills the process is noticed, too.
    Attempt(u32),
    /// There is nothing to do (settled or cancelled before): the message is deleted.
    NothingToDo,
    /// Nobody knows of such a task: the message is kept aside with this cause.
    Unknown(Cause),
}

/// How attempts are counted and how tasks end badly. Every answer is durable when the call returns; an error means that
/// nothing is known, and the message is left to return.
#[async_trait]
pub trait Attempts<T>: Send + Sync {
    /// Counts an attempt, before any work is done.
    async fn begin(&self, task: &T) -> Result<Begin, Cause>;

    /// Takes one attempt back: the work was stopped in good order.
    async fn forgive(&self, task: &T) -> Result<(), Cause>;

    /// Notes a failed attempt; there will be another.
    async fn fail(&self, task: &T, cause: &Cause) -> Result<(), Cause>;

    /// Ends the task: every attempt failed.
    async fn park(&self, task: &T, cause: &Cause) -> Result<(), Cause>;

    /// Ends the task: it can never succeed.
    async fn bury(&self, task: &T, cause: &Cause) -> Result<(), Cause>;

    /// Keeps a message that means nothing, with its bytes.
    async fn put_aside(&self, body: &[u8], cause: &Cause) -> Result<(), Cause>;
}

/// A queue-fed job.
#[async_trait]
pub trait Work: Send + Sync + 'static {
    /// What a message means.
    type Task: Send + Sync + 'static;

    /// Reads a message. An error puts it aside, whole.
    fn decode(&self, body: &[u8]) -> Result<Self::Task, Cause>;

    /// Does the work. It may be delivered twice and dropped at any await: every effect must be safe to repeat. `pulse` is to be
    /// beaten where it takes long; it is dropped when it makes no progress for too long, and the attempt counts.
    async fn handle(&self, task: &Self::Task, pulse: &Pulse) -> Verdict;
}
