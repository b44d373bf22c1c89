//! Faults on demand: `Flaky<T>` wraps an adapter and fails as distributed systems do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

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
    timeout_max: Duration,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    random: Mutex<fastrand::Rng>,
    calls: AtomicU64,
    faults: AtomicU64,
    /// The call at which the process dies; never at 0.
    dies_at: AtomicU64,
    died: Notify,
}

impl Faults {
    /// `percent` (0 to 100) of the calls fail, each kind equally often.
    pub fn new(seed: u64, percent: u32) -> Self {
        let shared = Shared {
            random: Mutex::new(fastrand::Rng::with_seed(seed)),
            calls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            dies_at: AtomicU64::new(0),
            died: Notify::new(),
        };
        Self { percent, timeout_max: Duration::ZERO, shared: Arc::new(shared) }
    }

    /// Every fourth fault takes up to `longest` before the caller hears of it, as a timeout does.
    pub fn with_timeouts(self, longest: Duration) -> Self {
        Self { timeout_max: longest, ..self }
    }

    /// At its `call`-th call (from 1) over all ports the process is dead: this call or the one before still has its effect,
    /// and from there on no call begins or ends. Whoever awaits [`Self::died`] then drops what is left of it.
    pub fn dying_at(self, call: u64) -> Self {
        self.shared.dies_at.store(call, Ordering::Relaxed);
        self
    }

    /// Waits for the call at which the process dies. One waiter.
    pub async fn died(&self) {
        self.shared.died.notified().await;
    }

    /// Calls so far, and how many of them failed.
    pub fn counted(&self) -> (u64, u64) {
        (self.shared.calls.load(Ordering::Relaxed), self.shared.faults.load(Ordering::Relaxed))
    }

    fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.shared.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong in the next call, if anything.
    pub async fn next(&self) -> Option<Fault> {
        let call = self.shared.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let dies_at = self.shared.dies_at.load(Ordering::Relaxed);
        if dies_at > 0 && call >= dies_at {
            self.shared.died.notify_one();
            if call > dies_at || self.random().bool() {
                std::future::pending::<()>().await;
            }
            return Some(Fault::LostResponse);
        }
        let (fault, pause) = self.draw()?;
        self.shared.faults.fetch_add(1, Ordering::Relaxed);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Some(fault)
    }

    fn draw(&self) -> Option<(Fault, Duration)> {
        let mut random = self.random();
        if random.u32(0..100) >= self.percent {
            return None;
        }
        let fault = [Fault::Unavailable, Fault::Throttled, Fault::LostResponse, Fault::Partial][random.usize(0..4)];
        let slow = !self.timeout_max.is_zero() && random.u8(0..4) == 0;
        let pause = if slow { self.timeout_max.mul_f64(random.f64()) } else { Duration::ZERO };
        Some((fault, pause))
    }

    /// A number below `end`, for choosing which entries fail.
    pub fn below(&self, end: usize) -> usize {
        self.random().usize(0..end.max(1))
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
