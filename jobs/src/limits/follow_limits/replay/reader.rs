//! Reading the log up to given ends.

use std::collections::BTreeMap;

use tokio::time::Instant;
use worker::log::Place;
use worker::{Log, LogConsumer, LogError};

use super::{POLL_WAIT, ReplayError, SILENT_MAX};
use crate::limits::follow_limits::follower::POLL_MAX;
use crate::limits::follow_limits::shard::Shard;
use crate::limits::follow_limits::told::Told;

/// Tells the log to a shard.
pub(super) struct Reader {
    consumer: Box<dyn LogConsumer>,
    /// The offset of the next record, by partition.
    next: BTreeMap<u32, u64>,
    pub(super) told: u64,
}

impl Reader {
    pub(super) async fn new(log: &dyn Log, from: BTreeMap<u32, u64>) -> Result<Self, LogError> {
        let places: Vec<Place> = from.iter().map(|(&partition, &offset)| Place { partition, offset }).collect();
        Ok(Self { consumer: log.follow(&places).await?, next: from, told: 0 })
    }

    /// Up to these ends at least. What the same polls brought of later records is told, too: the last word on a message holds.
    pub(super) async fn read_to(
        &mut self,
        ends: &BTreeMap<u32, u64>,
        shard: &mut Shard,
        mut on_each: impl FnMut(u64),
    ) -> Result<(), ReplayError> {
        self.consumer.resume(&ends.keys().copied().collect::<Vec<_>>());
        let mut heard_at = Instant::now();
        loop {
            let next = &self.next;
            let (done, left): (Vec<_>, Vec<_>) =
                ends.iter().partition(|(partition, end)| next.get(partition) >= Some(end));
            let Some(&(&partition, &end)) = left.first() else { return Ok(()) };
            self.consumer.pause(&done.into_iter().map(|(partition, _)| *partition).collect::<Vec<_>>());
            let records = self.consumer.poll(POLL_MAX, POLL_WAIT).await?.records;
            if !records.is_empty() {
                heard_at = Instant::now();
            } else if heard_at.elapsed() >= SILENT_MAX {
                return Err(ReplayError::Silent { partition, next: end });
            }
            for read in &records {
                tell(shard, &Told::of(read));
                self.next.insert(read.place.partition, read.place.offset + 1);
            }
            self.told += records.len() as u64;
            on_each(self.told);
        }
    }
}

fn tell(shard: &mut Shard, told: &Told) {
    match *told {
        Told::Message { room, message, is_live: Some(is_live) } => shard.message(room, message, is_live),
        // Whoever sees the room is not known from the log.
        Told::Message { room, is_live: None, .. } => shard.room_changed(room),
        // The directory was read afterwards.
        Told::Member { .. } | Told::RoomDeleted { .. } | Told::Nothing => {}
    }
}
