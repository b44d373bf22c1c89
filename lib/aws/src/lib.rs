//! Adapters for Amazon SQS and DynamoDB.
//!
//! - [`SqsQueue`]: a queue
//! - [`DynamoDb`]: a connection that the adapters of tables share: concurrency, retries, consumed capacity
//! - [`DynamoDbLiveIds`], [`DynamoDbMessages`]: messages, and the index of their ids
//! - [`DynamoDbLoad`]: takes the messages of an import
//! - [`DynamoDbLimits`]: the current limits
//! - [`DynamoDbState`]: small records
//! - [`store_epoch`], [`fix_epoch`]: from when the ids of the messages count
//! - [`provision`]: makes queues and tables; only operators call it
//!
//! The SDK's own retries are off: one module here ([`RetrySettings`]) decides what is tried again, and every try is counted.

mod client;
mod dynamodb;
mod epoch;
mod failed;
mod limits;
mod live_ids;
mod load;
mod messages;
mod meter;
pub mod provision;
mod retry;
mod settings;
mod sqs;
mod state;

pub use dynamodb::DynamoDb;
pub use epoch::{fix_epoch, store_epoch};
pub use limits::DynamoDbLimits;
pub use live_ids::DynamoDbLiveIds;
pub use load::DynamoDbLoad;
pub use messages::{DynamoDbMessages, MessageRow, Unwritten};
pub use meter::Usage;
pub use settings::{Credentials, DynamoDbSettings, RetrySettings, ServiceSettings, SqsSettings, Tables};
pub use sqs::{Sqs, SqsQueue};
pub use state::DynamoDbState;
