//! Faults on demand: `Flaky<T>` wraps an adapter and fails as distributed systems do.

use std::sync::{Arc, Mutex};

/// What goes wrong in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refused before any effect: unavailable.
    Unavailable,
    /// Refused before any effect: too fast.
    Throttled,
    /// The effect happened, the response is lost.
    LostResponse,
    /// Some entries of a batch fail, the others take effect; a page is cut short or empty without being the end.
    Partial,
}

/// A seeded source of faults. The same seed gives the same faults for the same sequence of calls.
#[derive(Clone, Debug)]
pub struct Faults {
    percent: u32,
    random: Arc<Mutex<fastrand::Rng>>,
}

impl Faults {
    /// `percent` (0 to 100) of the calls fail, each kind equally often.
    pub fn new(seed: u64, percent: u32) -> Self {
        Self { percent, random: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))) }
    }

    /// What goes wrong in the next call, if anything.
    pub fn next(&self) -> Option<Fault> {
        let mut random = self.random.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if random.u32(0..100) >= self.percent {
            return None;
        }
        Some([Fault::Unavailable, Fault::Throttled, Fault::LostResponse, Fault::Partial][random.usize(0..4)])
    }

    /// A number below `end`, for choosing which entries fail.
    pub fn below(&self, end: usize) -> usize {
        self.random.lock().unwrap_or_else(std::sync::PoisonError::into_inner).usize(0..end.max(1))
    }
}

/// An adapter that fails on demand.
#[derive(Clone, Debug)]
pub struct Flaky<T> {
    /// The adapter that does the work.
    pub inner: T,
    /// When it fails.
    pub faults: Faults,
}

impl<T> Flaky<T> {
    /// Wraps `inner`.
    pub fn new(inner: T, faults: Faults) -> Self {
        Self { inner, faults }
    }
}
