//! What the law, path and fault suites share.

pub mod distant;
pub mod faults;
mod faulty_proxy;
mod flaky_directory;
mod flaky_dump;
mod flaky_heads;
mod flaky_ledger;
mod flaky_limits;
mod flaky_live_ids;
mod flaky_memberships;
mod flaky_messages;
mod flaky_owned_directory;
mod flaky_queue;
mod flaky_state;
pub mod oracle;
pub mod place;
pub mod program;
pub mod room_log;
pub mod schemas;
pub mod scratch;
pub mod small_chat;
pub mod temporary;
pub mod waiting;

pub use distant::Distant;
pub use faults::{Fault, Faults, Flaky};
pub use faulty_proxy::FaultyProxy;
pub use place::Place;
pub use program::{Ended, Program};
pub use schemas::Schemas;
pub use scratch::SqlServer;
pub use small_chat::SmallChat;
pub use temporary::retry;
pub use waiting::until;
