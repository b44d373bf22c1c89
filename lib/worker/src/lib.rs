//! How anything is run.
//!
//! - [`Queue`]: the port that feeds workers
//! - [`Log`]: the port of ordered records in partitions
//! - [`State`]: the port of small records that outlive a process
//! - [`Consumer`]: the consume loop: bounded in flight, heartbeat, verdicts, attempts, orderly stop
//! - [`Lease`]: a number that one process holds at a time
//! - [`Backoff`]: delays between attempts, as a checked value
//! - [`Pulse`]: signs of life
//! - [`lanes`]: an ordered lane per key over a pool that finishes out of order
//! - [`supervisor`]: trees of children that are started again, with backoff, hooks, mail and an ordered stop
//! - [`Batcher`]: many concurrent single calls become few batch calls

mod backoff;
mod batcher;
mod consumer;
pub mod lanes;
mod lease;
pub mod log;
mod pulse;
pub mod queue;
pub mod state;
pub mod supervisor;
mod work;

pub use backoff::{Backoff, NotABackoff};
pub use batcher::{Batcher, Batching};
pub use consumer::{Consumer, ConsumerReport, ConsumerSettings};
pub use lanes::{LaneLimits, LanePool, Lanes};
pub use lease::{Lease, RenewError};
pub use log::{Log, LogConsumer, LogError};
pub use pulse::{Pulse, Rest};
pub use queue::{Delivery, Depth, Outgoing, Queue, QueueError, QueueLimits, Receipt};
pub use state::{Expected, Record, RecordVersion, State, StateError};
pub use work::{Attempts, Begin, Cause, Verdict, Work};
