//! When a child is started again: how long after, and how often at most.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::child::Start;
use super::directive::{Directive, Directives};
use super::reason::{GaveUp, Reason};
use crate::Backoff;

/// How one child is supervised.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What is done for which reason.
    pub directives: Directives,
    /// The delays before restarts: minimum, maximum, random factor.
    pub backoff: Backoff,
    /// When the delays begin from the minimum again.
    pub reset: Reset,
    /// How often it may be started again.
    pub limit: RestartLimit,
    /// A run whose pulse has not beaten for this long hangs. `None`: it is not watched. Supervisors are never watched; what
    /// they supervise is.
    pub hang_after: Option<Duration>,
}

impl Policy {
    /// Default directives, delays that reset after their own maximum, 10 restarts within 10 minutes, no watch for hangs.
    pub fn new(backoff: Backoff) -> Self {
        Self {
            directives: Directives::default(),
            backoff,
            reset: Reset::After(backoff.delay(u32::MAX, 0.0)),
            limit: RestartLimit { max: 10, within: Duration::from_secs(600) },
            hang_after: None,
        }
    }
}

/// When delays begin from the minimum again. Has nothing to do with how long the minimum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// After a run that lasted at least this long.
    After(Duration),
    /// Only when somebody says so: [`BackoffReset::reset`].
    Manual,
}

/// How often a child may be started again, restarts and resumptions together. One more, and its supervisor gives up on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartLimit {
    /// Restarts and resumptions within the window. With 0 it is never started again.
    pub max: u32,
    /// The sliding window.
    pub within: Duration,
}

/// Says that a child has recovered: its next delay is the minimum again. Clones reset the same child.
#[derive(Clone, Debug, Default)]
pub struct BackoffReset(Arc<AtomicBool>);

impl BackoffReset {
    /// The next delay is the minimum again.
    pub fn reset(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// What comes after a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    Nothing,
    Start(Start, Option<Duration>),
    GiveUp(GaveUp),
}

/// What has happened to a child so far, as far as the next decision depends on it. Forgotten when its supervisor is itself
/// started again.
#[derive(Debug)]
pub(super) struct History<'a> {
    policy: &'a Policy,
    reset: BackoffReset,
    failures: u32,
    again: VecDeque<Instant>,
}

impl<'a> History<'a> {
    pub(super) fn new(policy: &'a Policy, reset: BackoffReset) -> Self {
        Self { policy, reset, failures: 0, again: VecDeque::new() }
    }

    /// Decides what comes after a run that lasted this long.
    pub(super) fn next(&mut self, reason: &Reason, lasted: Duration) -> Next {
        let quiet = matches!(self.policy.reset, Reset::After(quiet) if lasted >= quiet);
        if self.reset.take() || quiet {
            self.failures = 0;
        }
        let directive = self.policy.directives.of(reason);
        match directive {
            Directive::Stop => Next::Nothing,
            Directive::Escalate => Next::GiveUp(GaveUp::Directive),
            Directive::Resume | Directive::Restart if !self.admit() => {
                let RestartLimit { max, within } = self.policy.limit;
                Next::GiveUp(GaveUp::TooManyRestarts { max, within })
            }
            Directive::Resume => Next::Start(Start::Resumed, None),
            Directive::Restart => {
                self.failures = self.failures.saturating_add(1);
                Next::Start(Start::Fresh, Some(self.policy.backoff.jittered(self.failures)))
            }
        }
    }

    /// Whether a run that makes no progress is left to go on. It uses up the limit as any resumption does.
    pub(super) fn resumes_hung(&mut self, reason: &Reason) -> bool {
        self.policy.directives.of(reason) == Directive::Resume && self.admit()
    }

    /// Notes one more start if the limit allows it.
    fn admit(&mut self) -> bool {
        let RestartLimit { max, within } = self.policy.limit;
        let now = Instant::now();
        while self.again.front().is_some_and(|at| now.duration_since(*at) >= within) {
            self.again.pop_front();
        }
        let admitted = self.again.len() < usize::try_from(max).unwrap_or(usize::MAX);
        if admitted {
            self.again.push_back(now);
        }
        admitted
    }
}
