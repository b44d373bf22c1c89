//! A whole tree: checked when it is made, run by whoever owns the process.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::child::{Body, Child, Start};
use super::hooks::Hooks;
use super::keeper::{Shared, supervise};
use super::phase::{Scope, StopBounds};
use super::reason::{Escalation, Reason};
use super::tally::{Tally, Vitals};

/// The exit code of a process whose tree gave up (`EX_SOFTWARE`).
pub const EXIT_GAVE_UP: u8 = 70;

/// How a tree ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a tree that gave up must not end silently"]
pub enum Outcome {
    /// Every child has stopped by itself, or by its directive.
    Completed,
    /// It was asked to stop, and everything ended or was aborted.
    Stopped,
    /// The top gave up: the process should end with [`EXIT_GAVE_UP`].
    GaveUp(Escalation),
}

/// Children that make no tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATree {
    /// A name is empty or has a `/` in it, which separates the parts of a path.
    #[error("{0:?} is no name")]
    Name(String),
    /// Two children have the same path.
    #[error("{0} stands twice in the tree")]
    Twice(String),
    /// A supervisor has nothing to supervise.
    #[error("{0} supervises nothing")]
    Childless(String),
    /// A run that may be silent for no time at all would always hang.
    #[error("{0} hangs at once")]
    HangsAtOnce(String),
}

/// A tree of supervised children. Printed (`Display`), it is the description of itself: names, phases, policies.
pub struct Tree {
    pub(super) name: String,
    pub(super) children: Vec<Child>,
    pub(super) bounds: StopBounds,
    hooks: Vec<Arc<dyn Hooks>>,
}

impl Tree {
    /// A tree of this name with these children below its top. Names are checked.
    pub fn new(name: impl Into<String>, mut children: Vec<Child>) -> Result<Self, NotATree> {
        let name = name.into();
        check_name(&name)?;
        settle(&name, &mut children)?;
        Ok(Self { name, children, bounds: StopBounds::default(), hooks: Vec::new() })
    }

    /// Sets how long each phase of a stop may take.
    #[must_use]
    pub fn stop_bounds(mut self, bounds: StopBounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Tells `hooks` what happens to any child of the tree, supervisors included.
    #[must_use]
    pub fn hook(mut self, hooks: impl Hooks) -> Self {
        self.hooks.push(Arc::new(hooks));
        self
    }

    /// What happens to all children, to be asked at any time.
    pub fn vitals(&self) -> Vitals {
        let mut tallies = Vec::new();
        collect_tallies(&self.children, &mut tallies);
        Vitals(tallies.into())
    }

    /// What `Display` prints.
    pub fn describe(&self) -> String {
        self.to_string()
    }

    /// Runs until everything has ended: by itself, because `stop` was cancelled, or because the top gave up. Then no task of
    /// the tree is left, except one that [cannot be aborted](super#what-cannot-be-aborted). Dropped earlier, all its tasks are
    /// aborted.
    pub async fn run(self, stop: CancellationToken) -> Outcome {
        let vitals = self.vitals();
        let Self { children, bounds, hooks, .. } = self;
        let mut children = CloseMail(children);
        let shared = Shared { hooks, bounds, vitals };
        let scope = Scope::top();
        let mut running = supervise(&mut children.0, &shared, Arc::clone(&scope), Start::Fresh);
        let reason = tokio::select! {
            biased;
            reason = &mut running => reason,
            () = stop.cancelled() => tokio::join!(running, scope.stop(&bounds)).0,
        };
        match reason {
            Reason::Escalated(escalation) => Outcome::GaveUp(*escalation),
            Reason::Stopped => Outcome::Stopped,
            _ => Outcome::Completed,
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Tells who sends mail that nobody will read it, also when a tree is dropped while it runs.
struct CloseMail(Vec<Child>);

impl Drop for CloseMail {
    fn drop(&mut self) {
        self.0.iter().for_each(|child| child.body.close_mail());
    }
}

/// Gives every child its path and checks it.
fn settle(above: &str, children: &mut [Child]) -> Result<(), NotATree> {
    if children.is_empty() {
        return Err(NotATree::Childless(above.to_owned()));
    }
    let mut names = BTreeSet::new();
    for child in children {
        check_name(&child.name)?;
        let path = format!("{above}/{}", child.name);
        if !names.insert(child.name.clone()) {
            return Err(NotATree::Twice(path));
        }
        if child.policy.hang_after.is_some_and(|silence| silence.is_zero()) {
            return Err(NotATree::HangsAtOnce(path));
        }
        if let Body::Supervisor(below) = &mut child.body {
            settle(&path, below)?;
        }
        child.path = Arc::from(path);
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), NotATree> {
    if name.is_empty() || name.contains('/') { Err(NotATree::Name(name.to_owned())) } else { Ok(()) }
}

fn collect_tallies(children: &[Child], tallies: &mut Vec<(Arc<str>, Arc<Tally>)>) {
    for child in children {
        tallies.push((Arc::clone(&child.path), Arc::clone(&child.tally)));
        if let Body::Supervisor(below) = &child.body {
            collect_tallies(below, tallies);
        }
    }
}
