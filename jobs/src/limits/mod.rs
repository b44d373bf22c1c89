//! The limit path.

pub mod collect_rooms;
pub(crate) mod collected;
mod compute;
pub(crate) mod drift;
pub mod extract_organizations;
pub mod follow_limits;
mod heads;
mod history;
pub mod merge_newest;
mod prune;
mod release;
mod stage;
mod wait;

pub use compute::{Computation, Computed, compute};
pub use extract_organizations::ExtractError;
pub(crate) use heads::with_heads;
pub use history::SET_PLAN;
pub use prune::{prune, prune_after_extraction};
pub use release::release_at_once;
pub use stage::StageSettings;
pub use wait::{Until, WaitError, wait_until_finished};

use chat::PortError;
use worker::{Cause, Verdict};

/// A port's failure as a cause: its class and the whole chain of words.
fn cause_of(error: &PortError) -> Cause {
    Cause::of(error.class(), error)
}

/// What a handler answers when a port failed: what is temporary is tried again, what can never succeed is buried.
fn verdict_of(error: &PortError) -> Verdict {
    let cause = cause_of(error);
    match error {
        PortError::Unavailable { retry_after, .. } => Verdict::Again { after: *retry_after, cause },
        PortError::Throttled { .. } | PortError::Conflict { .. } => Verdict::Again { after: None, cause },
        PortError::Refused { .. } | PortError::Corrupt { .. } => Verdict::Bury { cause },
    }
}
