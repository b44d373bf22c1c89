//! Signs of life: whether a loop still makes progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Beats whenever a job makes progress: a receive that ends, a task that is finished, a page that is sent. A job that waits for
/// work beats, too; one whose every task hangs does not. Clones share one pulse.
#[derive(Clone, Debug)]
pub struct Pulse {
    started: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Pulse {
    /// A pulse that has just beaten.
    pub fn new() -> Self {
        Self { started: Instant::now(), last_ms: Arc::default() }
    }

    /// Notes progress.
    pub fn beat(&self) {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// How long the last beat is ago.
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Pulse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_beat_makes_the_pulse_young_again_for_every_clone() {
        let pulse = Pulse::new();
        let other = pulse.clone();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(pulse.age(), Duration::from_secs(90));
        other.beat();
        assert_eq!(pulse.age(), Duration::ZERO);
    }
}
