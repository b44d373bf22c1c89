//! How anything is run.
pub mod queue;
pub use queue::{Delivery, Depth, Outgoing, Queue, QueueError, QueueLimits, Receipt};
