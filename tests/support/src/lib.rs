//! What the law, path and fault suites share.

pub mod faults;
mod flaky_ledger;
mod flaky_queue;

pub use faults::{Fault, Faults, Flaky};
