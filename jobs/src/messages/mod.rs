//! The message path.
//!
//! ```text
//!  client ─► serve-writes ─► event log ─► build-read-model ─► messages ─► serve-reads ─► client
//!                                               │
//!                                               └─► readable log
//! ```

pub mod build_read_model;
mod caller;
mod group;
mod members;
mod ports;
mod progress;
mod quarantine;
mod records;
pub mod serve_reads;
pub mod serve_writes;

pub use caller::{Caller, Forbidden};
pub use group::GroupMarker;
pub use ports::{EVENT_LOG, MessagePorts, READABLE_LOG};
pub use progress::ReadModelProgress;
pub use quarantine::Quarantined;
pub(crate) use records::is_live;
pub use records::{append_event, position_of, readable_record};
