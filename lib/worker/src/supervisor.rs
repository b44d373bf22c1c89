//! The backoff supervisor: what every long-running job stands on.
//!
//! A [`Tree`] has a top and below it [`Child`]ren: leaves, each a *factory* of runs, and supervisors with children of their
//! own. When a run ends, for a [`Reason`] that tells completion, error, panic, hang and orderly stop apart, the child's
//! [`Policy`] says what is done: a table of [`Directives`], exponential delays, a limit. A supervisor that gives up on a child
//! stops its other children and is itself what has failed; when the top gives up, [`Tree::run`] says so, and the process ends
//! with [`EXIT_GAVE_UP`].
//!
//! - **Mail** belongs to the supervisor: an [`Address`] stays valid over restarts, and mail that was in hand when a run ended is
//!   delivered again. It can therefore be delivered twice; [`Mail::deliveries`] tells.
//! - **Hooks** ([`Hooks`]) hear of every start and stop exactly once, as trait, closure or channel.
//! - **A stop** goes through [`Phase`]s over the whole tree: intake, work, commits, telemetry, each with a bound in time. Once it
//!   has begun nothing is started any more, and delays end at once.
//! - **Time** is tokio's: everything can be tested in virtual time.
//!
//! # What cannot be aborted
//!
//! A run is aborted at its next await. Code that blocks its thread without one is not: not by `spawn_blocking`, whose
//! closure goes on after the run that awaited it is gone, and not in the run itself. The first should look at
//! [`Context::stop`], which is cancelled before a run is aborted. For the second the supervisor waits a second; then it gives up,
//! whatever the directives say, up to the top: a second run beside the first would share its mail and its effects, and only
//! the end of the process ends it.

mod child;
mod describe;
mod directive;
mod hooks;
mod keeper;
mod mailbox;
mod measured;
mod phase;
mod policy;
mod reason;
mod tally;
#[cfg(test)]
mod tests;
mod tree;

pub use child::{Child, Context, Kept, Start};
pub use directive::{Directive, Directives};
pub use hooks::{Event, Hooks, Notice, NoticeSender};
pub use mailbox::{Address, Inbox, Mail, MailCounts, Mailbox, Refusal, Refused, WhileDown};
pub use measured::Measured;
pub use phase::{Phase, StopBounds};
pub use policy::{BackoffReset, Policy, Reset, RestartLimit};
pub use reason::{Escalation, GaveUp, Kind, Reason};
pub use tally::{ChildCounts, Vitals};
pub use tree::{EXIT_GAVE_UP, NotATree, Outcome, Tree};
