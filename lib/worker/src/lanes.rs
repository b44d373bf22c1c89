//! An ordered lane per key over a pool that finishes out of order.
//!
//! The items of a log's partition are dealt to lanes by key. A lane has one turn in flight, with one item or a bounded run of them;
//! lanes know nothing of each other, so that a key that waits or is stuck holds nobody up. What may be committed is the contiguous
//! prefix of a partition.
//!
//! - [`Lanes`]: the structure itself, synchronous, without tasks, locks or a clock of its own
//! - [`LanePool`]: runs the items of [`Lanes`] as tasks, for a caller that polls a log
//! - [`LaneConsumer`]: polls a log for a [`LanePool`], and commits
//! - [`Parking`]: where the items of a stuck key wait durably; [`StateParking`] keeps them in [`crate::State`]
//!
//! Nothing here is shared or locked: the caller of [`LanePool`] owns the structure, and tasks have only their own turn, which they
//! give back when they end.
//!
//! A stuck key costs, in this order: a place in the timers while it is retried; after its last attempt, a marker of its name, its
//! items stored and the prefix free to go on; at last, when too many keys are parked, its partition's intake.

mod consumer;
mod lane;
mod limits;
mod parking;
mod partition;
mod pool;
mod structure;
mod turn;
mod window;

pub use consumer::{Deal, LaneConsumer, LaneConsumerSettings};
pub use limits::{LaneLimits, NotLaneLimits};
pub use parking::{NoParking, Parcels, Parking, StateParking};
pub use partition::{PartitionProgress, PushError};
pub use pool::{LanePool, LanePoolSettings, LaneVerdict, LaneWork};
pub use structure::{LaneCounts, Lanes};
pub use turn::{Run, Task, Turn};
