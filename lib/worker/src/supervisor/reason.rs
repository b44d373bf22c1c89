//! Why a run of a child ended, and why somebody gave up on it.

use std::any::Any;
use std::fmt;
use std::time::Duration;

use crate::Cause;

/// Why a run ended. Every run ends for exactly one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It ended by itself, without an error, without having been asked to.
    Completed,
    /// It was asked to stop and did, within its phase's bound.
    Stopped,
    /// It was asked to stop, did not within its phase's bound, and was aborted.
    Aborted,
    /// It ended with an error.
    Error(Cause),
    /// It panicked; the cause has the panic's words.
    Panic(Cause),
    /// It made no progress for this long, and was aborted.
    Hang(Duration),
    /// A supervisor gave up on a child below it.
    Escalated(Box<Escalation>),
}

/// A [`Reason`] without its particulars: what is counted and what directives are chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// See [`Reason::Completed`].
    Completed,
    /// See [`Reason::Stopped`].
    Stopped,
    /// See [`Reason::Aborted`].
    Aborted,
    /// See [`Reason::Error`].
    Error,
    /// See [`Reason::Panic`].
    Panic,
    /// See [`Reason::Hang`].
    Hang,
    /// See [`Reason::Escalated`].
    Escalated,
}

impl Kind {
    /// All kinds, in the order in which they are declared.
    pub const ALL: [Self; 7] =
        [Self::Completed, Self::Stopped, Self::Aborted, Self::Error, Self::Panic, Self::Hang, Self::Escalated];

    /// The stable word for logs, labels and descriptions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Stopped => "stopped",
            Self::Aborted => "aborted",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Hang => "hang",
            Self::Escalated => "escalated",
        }
    }
}

impl Reason {
    /// What kind of reason this is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Completed => Kind::Completed,
            Self::Stopped => Kind::Stopped,
            Self::Aborted => Kind::Aborted,
            Self::Error(_) => Kind::Error,
            Self::Panic(_) => Kind::Panic,
            Self::Hang(_) => Kind::Hang,
            Self::Escalated(_) => Kind::Escalated,
        }
    }

    pub(super) fn panic(panic: &(dyn Any + Send)) -> Self {
        Self::Panic(Cause::of_panic(panic))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error(cause) | Self::Panic(cause) => {
                write!(f, "{} ({}): {}", self.kind().word(), cause.class, cause.error)
            }
            Self::Hang(silent_for) => write!(f, "hang: no progress for {silent_for:?}"),
            Self::Escalated(escalation) => write!(f, "escalated: {escalation}"),
            quiet => f.write_str(quiet.kind().word()),
        }
    }
}

/// A supervisor gave up on a child: whoever stands above it decides now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gave up on {child} {why}: {reason}")]
pub struct Escalation {
    /// The child's path, from the tree's name down, parts joined by `/`.
    pub child: String,
    /// Why it was not started again.
    pub why: GaveUp,
    /// Why its last run ended.
    pub reason: Reason,
}

impl Escalation {
    /// A task that still runs must not be replaced: nobody up to the top may start anything in its stead.
    pub fn is_final(&self) -> bool {
        match (&self.why, &self.reason) {
            (GaveUp::CannotBeEnded, _) => true,
            (_, Reason::Escalated(below)) => below.is_final(),
            _ => false,
        }
    }
}

/// Why a child was not started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GaveUp {
    /// The directive for the reason is to escalate.
    Directive,
    /// It was started again as often as it may be within the window.
    TooManyRestarts {
        /// Restarts and resumptions that are allowed within the window.
        max: u32,
        /// The window.
        within: Duration,
    },
    /// Its task blocks its thread and did not end when it was aborted. Only the end of the process ends it.
    CannotBeEnded,
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directive => f.write_str("by its directive"),
            Self::TooManyRestarts { max, within } => write!(f, "after {max} restarts within {within:?}"),
            Self::CannotBeEnded => f.write_str("because its task cannot be ended"),
        }
    }
}
