//! Bounds of lanes, as checked values.

/// Bounds of [`super::Lanes`].
///
/// What is in memory is at most `held_max` per partition plus `in_flight_max` runs of items whose partition has been revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneLimits {
    pub(super) in_flight_max: usize,
    pub(super) low_water: usize,
    pub(super) high_water: usize,
    pub(super) held_max: usize,
    pub(super) parked_max: usize,
    pub(super) run_max: usize,
}

/// Numbers that make no limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLaneLimits {
    /// Nothing could ever be in flight.
    #[error("at least one item must be allowed in flight")]
    NothingInFlight,
    /// The marks are not in order.
    #[error(
        "low water {low_water}, high water {high_water} and the most held {held_max}: each must be above the one before, the last two may be equal"
    )]
    Marks {
        /// The low-water mark given.
        low_water: usize,
        /// The high-water mark given.
        high_water: usize,
        /// The most held, as given.
        held_max: usize,
    },
}

impl LaneLimits {
    /// Checks the numbers: `in_flight_max ≥ 1` turns over all partitions; per partition, in items, `low_water <
    /// high_water ≤ held_max`. Intake of a partition pauses at the high-water mark and resumes at the low one; between high water and
    /// `held_max` there is place for what the last poll brought. Held is what stands between the commit position and the newest
    /// item, finished or not.
    pub fn new(
        in_flight_max: usize,
        low_water: usize,
        high_water: usize,
        held_max: usize,
    ) -> Result<Self, NotLaneLimits> {
        if in_flight_max == 0 {
            return Err(NotLaneLimits::NothingInFlight);
        }
        if low_water >= high_water || high_water > held_max {
            return Err(NotLaneLimits::Marks { low_water, high_water, held_max });
        }
        Ok(Self { in_flight_max, low_water, high_water, held_max, parked_max: 0, run_max: 1 })
    }

    /// The same with at most `parked_max` parked lanes per partition; without this none can be parked.
    pub const fn parking(self, parked_max: usize) -> Self {
        Self { parked_max, ..self }
    }

    /// The same with up to `run_max` items of a lane handed out at once; without this, and for 0, it is one.
    pub const fn in_runs(self, run_max: usize) -> Self {
        Self { run_max: if run_max == 0 { 1 } else { run_max }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_make_no_limits_are_refused() {
        assert_eq!(LaneLimits::new(0, 1, 2, 3), Err(NotLaneLimits::NothingInFlight));
        assert!(matches!(LaneLimits::new(1, 2, 2, 3), Err(NotLaneLimits::Marks { .. })));
        assert!(matches!(LaneLimits::new(1, 1, 4, 3), Err(NotLaneLimits::Marks { .. })));
        assert!(LaneLimits::new(1, 0, 1, 1).is_ok());
    }
}
