//! Port: a queue with visibility timeouts.

use std::time::Duration;

use async_trait::async_trait;

/// The cause below a failure.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a queue could not do what was asked, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The queue cannot be reached or is busy: try again.
    #[error("queue {queue} is unavailable")]
    Unavailable {
        /// The queue's name.
        queue: String,
        /// What happened below.
        source: BoxError,
    },
    /// The queue refuses the pace: slow down, then try again.
    #[error("queue {queue} asks for a slower pace")]
    Throttled {
        /// The queue's name.
        queue: String,
        /// What happened below.
        source: BoxError,
    },
    /// The request can never succeed as it is.
    #[error("queue {queue} refused: {what}")]
    Refused {
        /// The queue's name.
        queue: String,
        /// What was refused and why.
        what: String,
    },
    /// The receipt is no longer valid: the message was deleted, or it became visible and somebody else holds it.
    #[error("queue {queue}: the message is no longer held")]
    NotHeld {
        /// The queue's name.
        queue: String,
    },
}

impl QueueError {
    /// True when the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Throttled { .. })
    }
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Its bytes; valid UTF-8, at most [`QueueLimits::body_bytes_max`].
    pub body: Vec<u8>,
    /// How long it stays invisible at first.
    pub delay: Duration,
}

impl Outgoing {
    /// A message that is visible at once.
    pub fn now(body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), delay: Duration::ZERO }
    }
}

/// What answers for one received message. Valid until its visibility timeout has passed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Receipt(pub String);

/// A received message: hidden from others until its visibility timeout has passed.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Answers for it.
    pub receipt: Receipt,
    /// How often it was received, this time included: from 1.
    pub receive_count: u32,
}

/// What a queue can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Entries of one call; longer slices are refused.
    pub batch_max: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// How long sends and answers may linger to fill a batch, and receives that brought less than one before the next:
    /// longer where calls cost money.
    pub linger: Duration,
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages that can be received now.
    pub visible: u64,
    /// Messages that are hidden: received, or delayed.
    pub hidden: u64,
    /// How long the oldest message has been in the queue.
    pub oldest_age: Option<Duration>,
}

/// Answers of a batch call, one for each entry, in order.
pub type PerEntry = Vec<Result<(), QueueError>>;

/// A queue with visibility timeouts, as SQS defines them.
///
/// Laws (`tests/laws/queue.rs`):
/// - Sent means durable.
/// - Received means hidden until the visibility timeout has passed; then the message returns with a higher receive count.
/// - Done does not return (a rare repeat is allowed and harmless). Done twice is done once.
/// - With a changed visibility of `d` the message returns after `d`, not before; 0 returns it now.
/// - A receipt that is no longer valid answers [`QueueError::NotHeld`] for its entry and leaves the others alone.
/// - Batch answers are per entry. Order and single delivery are not promised.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The queue's name, for logs.
    fn name(&self) -> &str;

    /// What it can take.
    fn limits(&self) -> QueueLimits;

    /// Sends messages.
    async fn send(&self, messages: &[Outgoing]) -> Result<PerEntry, QueueError>;

    /// Receives at most `max` messages and hides each for `hidden_for` from others. Waits up to `wait` for the first one.
    async fn receive(&self, max: usize, hidden_for: Duration, wait: Duration) -> Result<Vec<Delivery>, QueueError>;

    /// Deletes received messages.
    async fn done(&self, receipts: &[Receipt]) -> Result<PerEntry, QueueError>;

    /// Sets anew for how long, from now, received messages stay hidden. Renewing is the heartbeat; 0 gives a message back.
    async fn change_visibility(&self, changes: &[(Receipt, Duration)]) -> Result<PerEntry, QueueError>;

    /// How full it is. May be approximate.
    async fn depth(&self) -> Result<Depth, QueueError>;
}
