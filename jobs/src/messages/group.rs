//! Whether a consumer group has ever been at a log: the marker that tells a first start from a lost position.

use std::sync::Arc;
use std::time::Duration;

use worker::log::Missing;
use worker::state::{Expected, Write};
use worker::supervisor::{Child, Phase, Policy, RestartLimit};
use worker::{Backoff, Cause, Log, Pulse, State, StateError};

/// How often to look whether the group has committed everywhere.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The marker of a group at a log in its epoch.
#[derive(Clone)]
pub struct GroupMarker {
    state: Arc<dyn State>,
    log: Arc<dyn Log>,
    group: &'static str,
    key: String,
}

impl GroupMarker {
    /// Of `group` at `log`, which has begun anew `log_epoch` times.
    pub fn new(state: Arc<dyn State>, log: Arc<dyn Log>, group: &'static str, log_epoch: u16) -> Self {
        let key = format!("group/{group}/{}/{log_epoch}", log.name());
        Self { state, log, group, key }
    }

    /// What holds where the group has committed nothing.
    pub async fn missing(&self) -> Result<Missing, StateError> {
        Ok(if self.state.get(&self.key).await?.is_some() { Missing::Lost } else { Missing::First })
    }

    /// Writes the marker as soon as the group has committed in every partition, unless it is there. Later starts find it.
    pub fn child(self, backoff: Backoff) -> Child {
        // The store of small records may be down for long: that is no reason to end the process.
        let limit = RestartLimit { max: 100, within: Duration::from_secs(600) };
        Child::new("group-marker", Phase::Work, Policy { limit, ..Policy::new(backoff) }, move |context| {
            let this = self.clone();
            async move {
                if let Some(marked) = context.stop.run_until_cancelled(this.mark(&context.pulse)).await {
                    marked?;
                    let _at_rest = context.pulse.rest();
                    context.stop.cancelled().await;
                }
                Ok(())
            }
        })
    }

    async fn mark(&self, pulse: &Pulse) -> Result<(), Cause> {
        let failed = |error: StateError| Cause::of("state", &error);
        if self.missing().await.map_err(failed)? == Missing::Lost {
            return Ok(());
        }
        while !self.has_committed_everywhere().await? {
            pulse.beat();
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let write = Write { key: &self.key, value: b"", expected: Expected::Anything, lives_for: None };
        self.state.put(write).await.map_err(failed)?;
        tracing::info!(group = self.group, log = self.log.name(), "the group has begun everywhere");
        Ok(())
    }

    async fn has_committed_everywhere(&self) -> Result<bool, Cause> {
        let failed = |error| Cause::of("log", &error);
        for partition in 0..self.log.partitions().await.map_err(failed)? {
            if self.log.committed(self.group, partition).await.map_err(failed)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
