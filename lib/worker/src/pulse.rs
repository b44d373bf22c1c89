//! Signs of life: whether a loop still makes progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Beats whenever a job makes progress: a receive that ends, a page that is read, a task that is finished. Who waits for work
/// [rests](Self::rest), and is not expected to. Clones share one pulse.
#[derive(Clone, Debug)]
pub struct Pulse {
    started: Instant,
    last_ms: Arc<AtomicU64>,
}

/// What stands in for the last beat of a pulse at rest.
const AT_REST: u64 = u64::MAX;

/// Ends the rest of a pulse with a beat when it is dropped.
#[derive(Debug)]
#[must_use = "the rest ends when this is dropped"]
pub struct Rest<'a>(&'a Pulse);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.0.beat();
    }
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

    /// Its owner waits for work, for however long: until what is returned is dropped its last beat is never ago.
    pub fn rest(&self) -> Rest<'_> {
        self.last_ms.store(AT_REST, Ordering::Relaxed);
        Rest(self)
    }

    /// How long the last beat is ago; nothing at rest.
    pub fn age(&self) -> Duration {
        match self.last_ms.load(Ordering::Relaxed) {
            AT_REST => Duration::ZERO,
            last_ms => Duration::from_millis(self.now_ms().saturating_sub(last_ms)),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(AT_REST - 1)
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

    #[tokio::test(start_paused = true)]
    async fn a_pulse_at_rest_is_young_and_ages_from_the_end_of_the_rest() {
        let pulse = Pulse::new();
        let rest = pulse.rest();
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(pulse.age(), Duration::ZERO);
        drop(rest);
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(pulse.age(), Duration::from_secs(3));
    }
}
