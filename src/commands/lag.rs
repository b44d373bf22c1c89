//! How far a consumer group is behind its log, as a metric.

use std::sync::Arc;

use worker::supervisor::{Child, Phase};
use worker::{Cause, Log, LogError};

use super::observe::{SAMPLE, policy};

/// Samples the lag of `group` behind `log` until stopped.
pub(super) fn child(log: Arc<dyn Log>, group: &'static str) -> Child {
    Child::new("log-lag", Phase::Telemetry, policy(), move |context| {
        let log = Arc::clone(&log);
        async move {
            while !context.stop.is_cancelled() {
                context.pulse.beat();
                let sampled = context.stop.run_until_cancelled(lag(&*log, group)).await;
                if let Some(lag) = sampled.transpose().map_err(|error| Cause::of("log", &error))? {
                    metrics::gauge!("lanner_log_lag_records", "job" => group).set(lag as f64);
                }
                context.stop.run_until_cancelled(tokio::time::sleep(SAMPLE)).await;
            }
            Ok(())
        }
    })
}

/// Records that the group has not committed yet, over all partitions.
async fn lag(log: &dyn Log, group: &str) -> Result<u64, LogError> {
    let mut lag = 0;
    for partition in 0..log.partitions().await? {
        let bounds = log.bounds(partition).await?;
        let committed = log.committed(group, partition).await?.unwrap_or(bounds.first);
        lag += bounds.next.saturating_sub(committed);
    }
    Ok(lag)
}
