//! Adapter for Apache Kafka.
//!
//! - [`KafkaLog`]: a topic as a log of records in partitions, and its readers
//! - [`KafkaSettings`]: how the cluster is reached, and how long things may take
//! - [`provision`]: makes a missing topic; only operators call it
//!
//! What this crate decides, and no setting changes: records are acknowledged by all replicas in sync and are not repeated by a retry;
//! their partition is computed here; positions are committed by the caller alone and never reset; partitions move between members one by
//! one, without stopping the others.

mod append;
mod assignments;
mod client;
mod consumer;
mod error;
mod log;
mod positions;
mod settings;
mod topic;

pub use log::KafkaLog;
pub use settings::{KafkaSettings, Password, SaslMechanism, Security, Tls, TopicSettings};
pub use topic::{exists, provision};
