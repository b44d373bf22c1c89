//! How far a run is: the equation of its organizations, how fast it goes, what takes long, what fails.

use std::collections::VecDeque;
use std::time::Duration;

use chat::ledger::{Counts, ErrorClass, Progress, RunOrganization, State};
use chat::{Ledger, PortResult, RunId, Timestamp};
use tokio::time::Instant;

use super::runs::is_in_work;

/// Over how much of the past a live view measures the rate.
const WINDOW: Duration = Duration::from_secs(10);
/// Looks that are kept for the rate.
const LOOKS_MAX: usize = 64;

/// One look at a run.
#[derive(Clone, Debug)]
pub struct Status {
    /// The run with its counts.
    pub progress: Progress,
    /// Organizations in work or, where none is, those that took longest.
    pub slowest: Vec<RunOrganization>,
    /// What fails, by class.
    pub error_classes: Vec<ErrorClass>,
    /// What failed last.
    pub failures: Vec<RunOrganization>,
    /// When the look was taken.
    pub seen_at: Timestamp,
}

/// The organizations of a run: expected is the sum of the others, at all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Equation {
    /// All.
    pub expected: u64,
    /// Done, superseded and released.
    pub done: u64,
    /// Can never succeed as they are.
    pub failed: u64,
    /// Failed at every attempt.
    pub parked: u64,
    /// Failed, and wait for another attempt.
    pub retrying: u64,
    /// In work.
    pub in_work: u64,
    /// Registered, not begun.
    pub not_started: u64,
}

impl Equation {
    /// Of the counts by state.
    pub fn of(counts: &Counts) -> Self {
        Self {
            expected: counts.expected(),
            done: counts.of(State::Done) + counts.of(State::Superseded) + counts.of(State::Released),
            failed: counts.of(State::Failed),
            parked: counts.of(State::Parked),
            retrying: counts.of(State::Retrying),
            in_work: counts.of(State::Running),
            not_started: counts.of(State::Pending),
        }
    }
}

/// Looks at the run, with at most `shown` organizations of each kind; none when there is no such run.
pub async fn look(ledger: &dyn Ledger, run: &RunId, shown: usize) -> PortResult<Option<Status>> {
    let (progress, slowest, error_classes, failures) = tokio::try_join!(
        ledger.progress(run),
        ledger.slowest(run, shown),
        ledger.error_classes(run),
        ledger.latest_failures(run, shown)
    )?;
    let Some(progress) = progress else { return Ok(None) };
    Ok(Some(Status { progress, slowest, error_classes, failures, seen_at: Timestamp::now() }))
}

impl Status {
    /// Organizations settled per second since the run was opened, until its end or now; none before the first one.
    pub fn mean_rate_per_s(&self) -> Option<f64> {
        let until = if is_in_work(&self.progress) { Some(self.seen_at) } else { self.progress.last_finished_at };
        let ms = until?.as_millis().checked_sub(self.progress.run.opened_at.as_millis()).filter(|ms| *ms > 0)?;
        let settled = self.progress.counts.settled();
        (settled > 0).then(|| settled as f64 * 1_000.0 / ms as f64)
    }

    /// How long the rest takes at `rate_per_s`; none when the run is over, stands still, or is not known in full yet.
    pub fn remaining(&self, rate_per_s: Option<f64>) -> Option<Duration> {
        if !is_in_work(&self.progress) || self.progress.run.extracted_at.is_none() {
            return None;
        }
        let left = self.progress.counts.expected() - self.progress.counts.settled();
        let seconds = left as f64 / rate_per_s.filter(|rate| *rate > 0.0)?;
        Duration::try_from_secs_f64(seconds.ceil()).ok()
    }

    /// How long the organization has been in work, or was.
    pub fn took(&self, row: &RunOrganization) -> Option<Duration> {
        let until = row.finished_at.unwrap_or(self.seen_at).as_millis();
        Some(Duration::from_millis(until.saturating_sub(row.started_at?.as_millis())))
    }
}

/// Measures the rate over the last seconds.
#[derive(Debug, Default)]
pub struct Meter {
    looks: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// Takes a look: so many are settled now. Answers organizations settled per second over the last ten seconds; none at the
    /// first look.
    pub fn rate_per_s(&mut self, settled: u64) -> Option<f64> {
        let now = Instant::now();
        // The oldest look that is kept is just outside of the window, so that the rate is over the whole of it.
        while self.looks.len() >= LOOKS_MAX || self.looks.get(1).is_some_and(|(at, _)| now - *at >= WINDOW) {
            self.looks.pop_front();
        }
        self.looks.push_back((now, settled));
        let (since, before) = *self.looks.front()?;
        let seconds = (now - since).as_secs_f64();
        (seconds > 0.0).then(|| settled.saturating_sub(before) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_ten_seconds() {
        let mut meter = Meter::default();
        assert_eq!(meter.rate_per_s(0), None);
        for second in 1..=20 {
            tokio::time::advance(Duration::from_secs(1)).await;
            assert_eq!(meter.rate_per_s(second * 100), Some(100.0));
        }
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(1)).await;
            meter.rate_per_s(2_000);
        }
        assert_eq!(meter.rate_per_s(2_000), Some(0.0), "what stands still has no rate");
        for _ in 0..1_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            meter.rate_per_s(2_000);
        }
        assert!(meter.looks.len() <= LOOKS_MAX);
    }

    #[test]
    fn expected_is_the_sum_of_the_parts() {
        let counts = Counts(State::ALL.into_iter().zip(1..).collect());
        let e = Equation::of(&counts);
        assert_eq!(e.expected, e.done + e.failed + e.parked + e.retrying + e.in_work + e.not_started);
    }
}
