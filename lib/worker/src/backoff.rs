//! Exponential delays between attempts, as a checked value.

use std::time::Duration;

/// Exponential backoff: `min`, 2 × `min`, 4 × `min` … up to `max`, each moved by a random part of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    random_factor: f64,
}

/// Numbers that make no backoff.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum NotABackoff {
    /// The minimum is zero: retries would spin.
    #[error("the minimum delay is zero")]
    ZeroMin,
    /// The maximum is below the minimum.
    #[error("the maximum delay {max:?} is below the minimum {min:?}")]
    MaxBelowMin {
        /// The minimum given.
        min: Duration,
        /// The maximum given.
        max: Duration,
    },
    /// The random factor is not within 0 to 1.
    #[error("the random factor {0} is not within 0 to 1")]
    RandomFactor(f64),
}

impl Backoff {
    /// Checks the numbers: `0 < min ≤ max`, `0 ≤ random_factor ≤ 1`.
    pub fn new(min: Duration, max: Duration, random_factor: f64) -> Result<Self, NotABackoff> {
        if min.is_zero() {
            return Err(NotABackoff::ZeroMin);
        }
        if max < min {
            return Err(NotABackoff::MaxBelowMin { min, max });
        }
        if !(0.0..=1.0).contains(&random_factor) {
            return Err(NotABackoff::RandomFactor(random_factor));
        }
        Ok(Self { min, max, random_factor })
    }

    /// The delay after failed attempt number `attempt` (from 1), for `random` within 0 to 1. Never below
    /// `min × (1 − random_factor)`, never above `max`.
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(62);
        let base = self.min.as_secs_f64() * (1_u64 << doublings) as f64;
        let base = base.min(self.max.as_secs_f64());
        let moved = base * (1.0 - self.random_factor * random.clamp(0.0, 1.0));
        Duration::from_secs_f64(moved)
    }

    /// [`Self::delay`] with a random number of its own.
    pub fn jittered(&self, attempt: u32) -> Duration {
        self.delay(attempt, fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let backoff = Backoff::new(ms(100), ms(1_000), 0.0).expect("a backoff");
        let delays: Vec<_> = (1..=6).map(|attempt| backoff.delay(attempt, 0.5)).collect();
        assert_eq!(delays, [ms(100), ms(200), ms(400), ms(800), ms(1_000), ms(1_000)]);
    }

    #[test]
    fn delays_never_leave_their_bounds() {
        let backoff = Backoff::new(ms(100), ms(60_000), 0.3).expect("a backoff");
        for attempt in [0, 1, 2, 30, 62, 63, 64, u32::MAX] {
            for random in [-1.0, 0.0, 0.25, 1.0, 2.0, f64::NAN] {
                let delay = backoff.delay(attempt, if random.is_nan() { 0.0 } else { random });
                assert!((ms(70)..=ms(60_000)).contains(&delay), "{attempt} {random}: {delay:?}");
            }
        }
    }

    #[test]
    fn numbers_that_make_no_backoff_are_refused() {
        assert_eq!(Backoff::new(ms(0), ms(1), 0.0), Err(NotABackoff::ZeroMin));
        assert_eq!(Backoff::new(ms(2), ms(1), 0.0), Err(NotABackoff::MaxBelowMin { min: ms(2), max: ms(1) }));
        assert_eq!(Backoff::new(ms(1), ms(1), 1.1), Err(NotABackoff::RandomFactor(1.1)));
        assert!(matches!(Backoff::new(ms(1), ms(1), f64::NAN), Err(NotABackoff::RandomFactor(_))));
    }
}
