//! Logs, metrics, health: what a process tells about itself; and its allocator.
//!
//! - logs: one line per event on standard error
//! - metrics: [`CATALOGUE`] names every metric once; code records through the `metrics` facade
//! - health: `/livez`, `/readyz` and `/metrics` over HTTP

mod allocator;
mod catalogue;
mod health;
mod logs;

pub use catalogue::{CATALOGUE, Kind, Metric, Metrics, NotRecorded};
pub use health::{Health, Stale, serve};
pub use logs::{Format, NotAFilter, start};
