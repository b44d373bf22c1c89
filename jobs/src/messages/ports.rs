//! What the jobs of the message path are connected to.

use std::sync::Arc;

use chat::{Epoch, Heads, Ledger, Memberships, MessageStore};
use worker::{Log, State};

/// The log of events: what was accepted, in the order of each room.
pub const EVENT_LOG: &str = "events";
/// The log of events that can be read: each after its effect on the read model.
pub const READABLE_LOG: &str = "readable";

/// What `build-read-model` is connected to.
#[derive(Clone)]
pub struct MessagePorts {
    /// [`EVENT_LOG`].
    pub events: Arc<dyn Log>,
    /// [`READABLE_LOG`].
    pub readable: Arc<dyn Log>,
    /// The messages of rooms.
    pub messages: Arc<dyn MessageStore>,
    /// Who comes and goes; `None` where memberships are another system's.
    pub memberships: Option<Arc<dyn Memberships>>,
    /// The last active day of each room.
    pub heads: Arc<dyn Heads>,
    /// What cannot be read is put aside there.
    pub ledger: Arc<dyn Ledger>,
    /// Small records: whether the consumer group has ever been here.
    pub state: Arc<dyn State>,
    /// The epoch of the store's message ids.
    pub epoch: Epoch,
}
