//! How a shard is doing: as metrics, and as a record that outlives it for whoever asks.

use std::time::Duration;

use chat::Timestamp;
use serde::{Deserialize, Serialize};
use worker::state::{Expected, Write};
use worker::{State, StateError};

use super::{NAME, saving};

const STATUS: &str = "follow-limits-status/";
/// What a shard said that is long gone is forgotten after this time.
const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);

/// How a shard was doing when it last told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// Which shard, from 0.
    pub shard: u32,
    /// Of how many.
    pub shards: u32,
    /// Which start of the shard this is; grows with each.
    pub epoch: u64,
    /// When it told this.
    pub told_at: Timestamp,
    /// Whether everything has been heard that stood in the log when it began. Before that it writes nothing.
    pub has_caught_up: bool,
    /// Records of the log that it has not heard yet.
    pub lag_records: u64,
    /// How long ago the newest record that it has heard was appended, where more are in the log.
    pub lag_ms: u64,
    /// Organizations that it follows.
    pub organizations: u64,
    /// Those of them whose limit is not known exactly now.
    pub dirty: u64,
    /// Memory of all sets.
    pub set_bytes: u64,
    /// Organizations that were compared with a batch computation since it began.
    pub reconciled: u64,
    /// Those of them that differed.
    pub drifted: u64,
}

impl ShardStatus {
    /// Of a shard that has just begun.
    pub(super) fn of_start(shard: u32, shards: u32, epoch: u64) -> Self {
        Self {
            shard,
            shards,
            epoch,
            told_at: Timestamp::now(),
            has_caught_up: false,
            lag_records: 0,
            lag_ms: 0,
            organizations: 0,
            dirty: 0,
            set_bytes: 0,
            reconciled: 0,
            drifted: 0,
        }
    }

    /// Tells it to whoever collects metrics.
    pub(super) fn record(&self) {
        let gauge = |name: &'static str, value: f64| metrics::gauge!(name, "job" => NAME).set(value);
        gauge("lanner_log_lag_records", self.lag_records as f64);
        gauge("lanner_follow_lag_seconds", Duration::from_millis(self.lag_ms).as_secs_f64());
        gauge("lanner_follow_organizations", self.organizations as f64);
        gauge("lanner_follow_dirty_organizations", self.dirty as f64);
        gauge("lanner_follow_set_bytes", self.set_bytes as f64);
    }
}

/// Keeps it for whoever asks.
pub(super) async fn tell(state: &dyn State, status: &ShardStatus) -> Result<(), StateError> {
    let value = serde_json::to_vec(status).unwrap_or_default();
    let key = format!("{STATUS}{}", status.shard);
    let write = Write { key: &key, value: &value, expected: Expected::Anything, lives_for: Some(KEPT_FOR) };
    state.put(write).await.map(drop)
}

/// What the shards told that ran within the last day, by their numbers.
pub async fn statuses(state: &dyn State) -> Result<Vec<ShardStatus>, StateError> {
    let mut statuses = Vec::new();
    for record in saving::all(state, STATUS).await? {
        match serde_json::from_slice::<ShardStatus>(&record.value) {
            Ok(status) => statuses.push(status),
            // Of another version: what it says now comes within seconds.
            Err(error) => tracing::debug!(key = record.key, %error, "what a shard said is not read"),
        }
    }
    statuses.sort_by_key(|status| status.shard);
    Ok(statuses)
}
