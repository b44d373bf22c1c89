//! What the law, path and fault suites share.

pub mod faults;

pub use faults::{Fault, Faults, Flaky};
