//! Who is told of what happens to a child: a trait, a closure, or a channel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::error;

use super::reason::{Escalation, Reason};

/// Something that happened to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The child's path, from the tree's name down, parts joined by `/`.
    pub child: Arc<str>,
    /// Which of its runs, from 1, over the life of the tree.
    pub run: u64,
    /// What happened.
    pub event: Event,
}

/// What happened to a child. Of every run: `BeforeStart`, `AfterStart`, `AfterStop`, once each and in this order; then perhaps
/// `BeforeBackoff` or `GaveUp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run is about to be started.
    BeforeStart,
    /// The run has been started: its task exists, or its factory has panicked.
    AfterStart,
    /// The run has ended.
    AfterStop(Reason),
    /// The next run waits for this long; a stop meanwhile ends the waiting, and nothing more is heard.
    BeforeBackoff(Duration),
    /// There will be no next run, and whoever stands above decides.
    GaveUp(Escalation),
}

/// Is told what happens to children, by the task that supervises them: must be quick and must not block. A panic in here is
/// logged and harms nobody.
///
/// Every method has a default that does nothing. A closure `Fn(&Notice)` and a [`NoticeSender`] are hooks, too.
pub trait Hooks: Send + Sync + 'static {
    /// Any event; by default hands it to the method of its kind.
    fn notice(&self, notice: &Notice) {
        match &notice.event {
            Event::BeforeStart => self.before_start(&notice.child, notice.run),
            Event::AfterStart => self.after_start(&notice.child, notice.run),
            Event::AfterStop(reason) => self.after_stop(&notice.child, notice.run, reason),
            Event::BeforeBackoff(delay) => self.before_backoff(&notice.child, *delay),
            Event::GaveUp(escalation) => self.gave_up(&notice.child, escalation),
        }
    }

    /// See [`Event::BeforeStart`].
    fn before_start(&self, child: &str, run: u64) {
        let _ = (child, run);
    }

    /// See [`Event::AfterStart`].
    fn after_start(&self, child: &str, run: u64) {
        let _ = (child, run);
    }

    /// See [`Event::AfterStop`].
    fn after_stop(&self, child: &str, run: u64, reason: &Reason) {
        let _ = (child, run, reason);
    }

    /// See [`Event::BeforeBackoff`].
    fn before_backoff(&self, child: &str, delay: Duration) {
        let _ = (child, delay);
    }

    /// See [`Event::GaveUp`].
    fn gave_up(&self, child: &str, escalation: &Escalation) {
        let _ = (child, escalation);
    }
}

impl<F: Fn(&Notice) + Send + Sync + 'static> Hooks for F {
    fn notice(&self, notice: &Notice) {
        self(notice);
    }
}

/// Hooks as a channel. Supervision waits for no listener: what does not fit is missed, and counted.
#[derive(Clone, Debug)]
pub struct NoticeSender {
    notices: mpsc::Sender<Notice>,
    missed: Arc<AtomicU64>,
}

impl NoticeSender {
    /// A channel that holds at most `bound` notices, at least 1.
    pub fn channel(bound: usize) -> (Self, mpsc::Receiver<Notice>) {
        let (notices, receiver) = mpsc::channel(bound.max(1));
        (Self { notices, missed: Arc::default() }, receiver)
    }

    /// Notices that did not fit, or that nobody listened to any more.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Hooks for NoticeSender {
    fn notice(&self, notice: &Notice) {
        if self.notices.try_send(notice.clone()).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Tells all of them.
pub(super) fn tell<'a>(hooks: impl IntoIterator<Item = &'a Arc<dyn Hooks>>, notice: &Notice) {
    for hook in hooks {
        if catch_unwind(AssertUnwindSafe(|| hook.notice(notice))).is_err() {
            error!(child = &*notice.child, "hook panicked");
        }
    }
}
