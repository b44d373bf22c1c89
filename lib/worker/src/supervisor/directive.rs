//! What is done with a child whose run has ended: a table from reasons to directives.

use std::collections::BTreeMap;
use std::fmt;

use super::reason::{Kind, Reason};

/// What is done with a child whose run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Goes on as it was: at once, without backoff, with the state it has [`Kept`](super::Kept). A hung run is not aborted
    /// but watched anew.
    Resume,
    /// Begins anew after a backoff, with fresh state.
    Restart,
    /// Is not started again; its siblings go on.
    Stop,
    /// The supervisor stops its other children, in order, and ends itself: whoever stands above it decides.
    Escalate,
}

impl Directive {
    /// The stable word for logs and descriptions.
    pub fn word(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Escalate => "escalate",
        }
    }
}

/// The function from reasons to directives, as a table that can be read, compared and printed.
///
/// By default what completed stays stopped, errors, panics and hangs restart, and escalations go on upwards. Runs that ended
/// because they were asked to are never asked for here: they stay stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    completed: Directive,
    error: Directive,
    panic: Directive,
    hang: Directive,
    escalated: Directive,
    classes: BTreeMap<String, Directive>,
}

impl Default for Directives {
    fn default() -> Self {
        Self {
            completed: Directive::Stop,
            error: Directive::Restart,
            panic: Directive::Restart,
            hang: Directive::Restart,
            escalated: Directive::Escalate,
            classes: BTreeMap::new(),
        }
    }
}

impl Directives {
    /// The same directive for every reason.
    pub fn always(directive: Directive) -> Self {
        Self {
            completed: directive,
            error: directive,
            panic: directive,
            hang: directive,
            escalated: directive,
            classes: BTreeMap::new(),
        }
    }

    /// Sets the row of a kind. The rows of [`Kind::Stopped`] and [`Kind::Aborted`] are fixed, and stay as they are.
    #[must_use]
    pub fn on(mut self, kind: Kind, directive: Directive) -> Self {
        match kind {
            Kind::Completed => self.completed = directive,
            Kind::Error => self.error = directive,
            Kind::Panic => self.panic = directive,
            Kind::Hang => self.hang = directive,
            Kind::Escalated => self.escalated = directive,
            Kind::Stopped | Kind::Aborted => {}
        }
        self
    }

    /// Sets a row for errors of one class, before the row of all errors.
    #[must_use]
    pub fn on_class(mut self, class: impl Into<String>, directive: Directive) -> Self {
        self.classes.insert(class.into(), directive);
        self
    }

    /// The directive for a reason.
    pub fn of(&self, reason: &Reason) -> Directive {
        match reason {
            Reason::Stopped | Reason::Aborted => Directive::Stop,
            Reason::Completed => self.completed,
            Reason::Error(cause) => self.classes.get(&cause.class).copied().unwrap_or(self.error),
            Reason::Panic(_) => self.panic,
            Reason::Hang(_) => self.hang,
            // Something still runs that nobody can end: nothing may be started in its stead.
            Reason::Escalated(escalation) if escalation.is_final() => Directive::Escalate,
            Reason::Escalated(_) => self.escalated,
        }
    }
}

impl fmt::Display for Directives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "completed {}, error {}", self.completed.word(), self.error.word())?;
        for (class, directive) in &self.classes {
            write!(f, ", error of class {class} {}", directive.word())?;
        }
        let [panic, hang, escalated] = [self.panic, self.hang, self.escalated].map(Directive::word);
        write!(f, ", panic {panic}, hang {hang}, escalated {escalated}")
    }
}
