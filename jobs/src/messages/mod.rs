//! The message path.

pub mod build_read_model;
mod ports;
mod quarantine;
mod records;

pub use ports::{EVENT_LOG, MessagePorts, READABLE_LOG};
pub use quarantine::Quarantined;
pub use records::{append_event, position_of, readable_record};
