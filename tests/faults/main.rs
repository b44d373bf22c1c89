//! Seeded faults over the whole limit path: killed processes, stopped processes, poison, failing ports.
//!
//! `LANNER_SCHEDULES` (default 10) is the number of schedules, `LANNER_SEED` the first seed; each schedule prints its own.

mod flaky;
mod killed;
mod messages;
mod poison;
mod schedule;
mod soak;
mod stopped;
