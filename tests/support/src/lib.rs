//! What the law, path and fault suites share.

pub mod faults;
mod flaky_directory;
mod flaky_heads;
mod flaky_limits;
mod flaky_live_ids;
pub mod temporary;

pub use faults::{Fault, Faults, Flaky};
pub use temporary::retry;
