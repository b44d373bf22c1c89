//! What is supervised: a factory of runs, or a supervisor with children of its own.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::hooks::Hooks;
use super::mailbox::{Address, Inbox, Mailbox, Post, Reopen};
use super::phase::Phase;
use super::policy::{BackoffReset, Policy};
use super::tally::{Tally, Vitals};
use crate::{Cause, Pulse};

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Anew.
    Fresh,
    /// Where the run before it ended, with the state that was [`Kept`].
    Resumed,
}

/// What a run is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// The child's path, from the tree's name down, parts joined by `/`.
    pub path: Arc<str>,
    /// Which of the child's runs this is, from 1, over the life of the tree.
    pub run: u64,
    /// How this run begins.
    pub start: Start,
    /// To be beaten whenever the run makes progress. Each run has its own.
    pub pulse: Pulse,
    /// Cancelled when the run is to end in good order, and before it is aborted for any other reason. A run that watches it
    /// ends by itself; one that does not is aborted at its next await.
    pub stop: CancellationToken,
    /// Says that the child has recovered.
    pub backoff: BackoffReset,
    /// What happens to all children of the tree: for the one that answers probes.
    pub vitals: Vitals,
    pub(super) hang_after: Option<Duration>,
}

/// State that outlives runs that are resumed. A factory asks for it at every start.
#[derive(Debug)]
pub struct Kept<S, F> {
    make: F,
    state: Mutex<Option<Arc<S>>>,
}

impl<S, F: Fn() -> S> Kept<S, F> {
    /// State that is made when a run begins afresh.
    pub fn new(make: F) -> Self {
        Self { make, state: Mutex::new(None) }
    }

    /// The state of the run before for one that is resumed, else fresh state.
    pub fn at(&self, start: Start) -> Arc<S> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if start == Start::Fresh {
            *state = None;
        }
        Arc::clone(state.get_or_insert_with(|| Arc::new((self.make)())))
    }
}

/// Something to be supervised: its name, how it is run, and its policy.
pub struct Child {
    pub(super) name: String,
    pub(super) body: Body,
    pub(super) policy: Policy,
    pub(super) hooks: Vec<Arc<dyn Hooks>>,
    pub(super) reset: BackoffReset,
    pub(super) tally: Arc<Tally>,
    /// Set when the tree is made.
    pub(super) path: Arc<str>,
}

pub(super) enum Body {
    Leaf(Leaf),
    Supervisor(Vec<Child>),
}

impl Body {
    /// Nothing in here is started again, unless a supervisor above is: who sends mail is told so.
    pub(super) fn close_mail(&self) {
        match self {
            Self::Leaf(leaf) => leaf.post.iter().for_each(|post| post.close()),
            Self::Supervisor(children) => children.iter().for_each(|child| child.body.close_mail()),
        }
    }
}

pub(super) struct Leaf {
    pub(super) factory: Factory,
    pub(super) phase: Phase,
    pub(super) post: Option<Arc<dyn Reopen>>,
}

pub(super) type Factory = Box<dyn FnMut(Context) -> BoxFuture<'static, Result<(), Cause>> + Send>;

impl Child {
    /// A leaf: `factory` makes the future of each run. It is asked to end in phase `phase` of a stop.
    ///
    /// A run is a task of its own. Blocking code in it cannot be aborted before its next await: see the
    /// [module](super#what-cannot-be-aborted).
    pub fn new<F, Fut>(name: impl Into<String>, phase: Phase, policy: Policy, mut factory: F) -> Self
    where
        F: FnMut(Context) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Cause>> + Send + 'static,
    {
        let factory: Factory = Box::new(move |context| factory(context).boxed());
        Self::of(name.into(), policy, Body::Leaf(Leaf { factory, phase, post: None }))
    }

    /// A leaf with a mailbox, and the address of it.
    pub fn with_mailbox<M, F, Fut>(
        name: impl Into<String>,
        phase: Phase,
        policy: Policy,
        mailbox: Mailbox,
        mut factory: F,
    ) -> (Self, Address<M>)
    where
        M: Send + Sync + 'static,
        F: FnMut(Context, Inbox<M>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Cause>> + Send + 'static,
    {
        let post = Post::new(mailbox);
        let (address, reopen): (_, Arc<dyn Reopen>) = (post.address(), Arc::clone(&post) as _);
        let factory: Factory = Box::new(move |context| {
            let beat_every = context.hang_after.map(|silence| silence / 3);
            let inbox = post.inbox(context.pulse.clone(), beat_every);
            factory(context, inbox).boxed()
        });
        (Self::of(name.into(), policy, Body::Leaf(Leaf { factory, phase, post: Some(reopen) })), address)
    }

    /// A supervisor of children of its own. Its policy says what becomes of it when it has given up on one of them.
    pub fn supervisor(name: impl Into<String>, policy: Policy, children: Vec<Self>) -> Self {
        Self::of(name.into(), policy, Body::Supervisor(children))
    }

    /// Tells `hooks` what happens to this child, not to those below it.
    #[must_use]
    pub fn hook(mut self, hooks: impl Hooks) -> Self {
        self.hooks.push(Arc::new(hooks));
        self
    }

    /// Resets this child's backoff from outside.
    pub fn backoff_reset(&self) -> BackoffReset {
        self.reset.clone()
    }

    fn of(name: String, policy: Policy, body: Body) -> Self {
        let (hooks, reset, tally) = (Vec::new(), BackoffReset::default(), Arc::default());
        Self { path: Arc::from(name.as_str()), name, body, policy, hooks, reset, tally }
    }
}
