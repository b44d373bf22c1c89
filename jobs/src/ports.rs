//! What the jobs are connected to.

use std::sync::Arc;

use chat::{Directory, Epoch, Heads, Ledger, Limits, LiveIds};
use worker::Queue;

/// The queue from extraction to collection.
pub const ORGANIZATION_QUEUE: &str = "organizations";
/// The queue from collection to the merge.
pub const ROOM_QUEUE: &str = "rooms";

/// Everything outside, behind ports.
#[derive(Clone)]
pub struct Ports {
    /// Who is who.
    pub directory: Arc<dyn Directory>,
    /// The last active day of each room.
    pub heads: Arc<dyn Heads>,
    /// The live messages of rooms.
    pub live_ids: Arc<dyn LiveIds>,
    /// The current limits.
    pub limits: Arc<dyn Limits>,
    /// Runs and what became of them.
    pub ledger: Arc<dyn Ledger>,
    /// From `extract-organizations` to `collect-rooms`.
    pub organization_queue: Arc<dyn Queue>,
    /// From `collect-rooms` to `merge-newest`.
    pub room_queue: Arc<dyn Queue>,
    /// The epoch of the store's message ids.
    pub epoch: Epoch,
}

/// What limits are computed from, and where they stand.
#[derive(Clone)]
pub struct LimitPorts {
    /// Who is who.
    pub directory: Arc<dyn Directory>,
    /// The last active day of each room.
    pub heads: Arc<dyn Heads>,
    /// The live messages of rooms.
    pub live_ids: Arc<dyn LiveIds>,
    /// The current limits.
    pub limits: Arc<dyn Limits>,
    /// The epoch of the store's message ids.
    pub epoch: Epoch,
}

impl Ports {
    /// The part of them that a computation needs.
    pub fn of_limits(&self) -> LimitPorts {
        let Self { directory, heads, live_ids, limits, epoch, .. } = self.clone();
        LimitPorts { directory, heads, live_ids, limits, epoch }
    }
}
