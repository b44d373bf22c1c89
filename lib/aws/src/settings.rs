//! What has to be known to reach a service. Plain values with defaults; where they come from is the program's affair.

use std::time::Duration;

/// Whose requests these are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// The standard chain: environment, profile, web identity (roles of service accounts), container, instance.
    #[default]
    Standard,
    /// Fixed words that stand for nobody. Local servers take any.
    Local,
}

/// How a service is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    /// The region; `None` = from the environment or the profile.
    pub region: Option<String>,
    /// Another address than the region's, for example `http://127.0.0.1:8000`.
    pub endpoint: Option<String>,
    /// Whose requests these are.
    pub credentials: Credentials,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long one try of a request may take, long polls aside.
    pub try_timeout: Duration,
    /// What is tried again.
    pub retry: RetrySettings,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            credentials: Credentials::Standard,
            connect_timeout: Duration::from_secs(3),
            try_timeout: Duration::from_secs(10),
            retry: RetrySettings::default(),
        }
    }
}

/// How often requests are tried again.
///
/// A retry waits a random time between 0 and a bound that doubles from `delay_min` to `delay_max`, and takes a token from a bucket
/// that all requests of a client share. Throttling halves what the bucket holds, at most once a second; time fills it again. With an empty bucket failures go
/// to the caller at once: many workers together do not press a service that is down or asks for a slower pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetrySettings {
    /// Tries of a request, the first one included; at least 1.
    pub tries: u32,
    /// The bound of the first wait; at least 1 ms.
    pub delay_min: Duration,
    /// The largest bound.
    pub delay_max: Duration,
    /// Tokens of a full bucket.
    pub tokens: u32,
    /// Tokens that come back each second.
    pub tokens_per_s: f64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            tries: 6,
            delay_min: Duration::from_millis(50),
            delay_max: Duration::from_secs(5),
            tokens: 200,
            tokens_per_s: 20.0,
        }
    }
}

/// How SQS is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqsSettings {
    /// Stands in front of every queue's name.
    pub queue_prefix: String,
    /// How long answers may linger to fill a batch: a request costs the same for one entry as for ten.
    pub linger: Duration,
}

impl Default for SqsSettings {
    fn default() -> Self {
        Self { queue_prefix: "lanner-".to_owned(), linger: Duration::from_secs(1) }
    }
}

/// The tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Messages, with the index `live_ids`.
    pub messages: String,
    /// The current limits.
    pub view_limits: String,
    /// Small records.
    pub state: String,
}

impl Tables {
    /// The tables whose names begin with `prefix`.
    pub fn with_prefix(prefix: &str) -> Self {
        let name = |name| format!("{prefix}{name}");
        Self { messages: name("messages"), view_limits: name("view_limits"), state: name("state") }
    }
}

impl Default for Tables {
    fn default() -> Self {
        Self::with_prefix("lanner-")
    }
}

/// How DynamoDB is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamoDbSettings {
    /// The tables.
    pub tables: Tables,
    /// Requests in flight, over all adapters of a connection; at least 1.
    pub requests_max: usize,
    /// Rooms that one merge asks for together. More are faster; each but the first may be a page too many (0.5 read units).
    pub rooms_in_flight: usize,
}

impl Default for DynamoDbSettings {
    fn default() -> Self {
        Self { tables: Tables::default(), requests_max: 64, rooms_in_flight: 4 }
    }
}
