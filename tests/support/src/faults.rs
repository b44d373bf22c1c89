//! Faults on demand: `Flaky<T>` wraps an adapter and fails as distributed systems do.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
    seed: u64,
    percent: u32,
    kinds: &'static [Fault],
    timeout_max: Duration,
    /// The port and its call (from 1) at which the process dies.
    dies_at: Option<(u64, u64)>,
    port: u64,
    random: Arc<Mutex<fastrand::Rng>>,
    calls: Arc<AtomicU64>,
    process: Arc<Process>,
}

/// What the ports of one process have in common.
#[derive(Debug, Default)]
struct Process {
    calls: AtomicU64,
    faults: AtomicU64,
    dead: AtomicBool,
    died: Notify,
}

impl Faults {
    /// `percent` (0 to 100) of the calls fail, each kind equally often.
    pub fn new(seed: u64, percent: u32) -> Self {
        Self {
            seed,
            percent,
            kinds: &[Fault::Unavailable, Fault::Throttled, Fault::LostResponse, Fault::Partial],
            timeout_max: Duration::ZERO,
            dies_at: None,
            port: 0,
            random: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))),
            calls: Arc::default(),
            process: Arc::default(),
        }
    }

    /// No call has any effect.
    pub fn away() -> Self {
        Self { kinds: &[Fault::Unavailable], ..Self::new(0, 100) }
    }

    /// Every fourth fault takes up to `longest` before the caller hears of it, as a timeout does.
    pub fn with_timeouts(self, longest: Duration) -> Self {
        Self { timeout_max: longest, ..self }
    }

    /// At the `call`-th call (from 1) of a port the process is dead: this call has its effect or not, and from there on no call of
    /// any port begins or ends. Whoever awaits [`Self::died`] then drops what is left of it.
    pub fn dying_at(self, port: u64, call: u64) -> Self {
        Self { dies_at: Some((port, call)), ..self }
    }

    /// Faults for one port of the same process, which do not depend on what the other ports are asked.
    pub fn of_port(&self, port: u64) -> Self {
        let random = fastrand::Rng::with_seed(self.seed.wrapping_add(port.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        Self { port, random: Arc::new(Mutex::new(random)), calls: Arc::default(), ..self.clone() }
    }

    /// Waits for the call at which the process dies. One waiter.
    pub async fn died(&self) {
        self.process.died.notified().await;
    }

    /// Calls of all ports so far, and how many of them failed.
    pub fn counted(&self) -> (u64, u64) {
        (self.process.calls.load(Ordering::Relaxed), self.process.faults.load(Ordering::Relaxed))
    }

    fn random(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong in the next call, if anything.
    pub async fn next(&self) -> Option<Fault> {
        if self.process.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.process.calls.fetch_add(1, Ordering::Relaxed);
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let (fault, pause) = self.draw().unzip();
        if self.dies_at == Some((self.port, call)) {
            self.process.dead.store(true, Ordering::Relaxed);
            self.process.died.notify_one();
            if self.random().bool() {
                std::future::pending::<()>().await;
            }
            return Some(Fault::LostResponse);
        }
        self.process.faults.fetch_add(u64::from(fault.is_some()), Ordering::Relaxed);
        if let Some(pause) = pause.filter(|pause| !pause.is_zero()) {
            tokio::time::sleep(pause).await;
        }
        fault
    }

    fn draw(&self) -> Option<(Fault, Duration)> {
        let mut random = self.random();
        if random.u32(0..100) >= self.percent {
            return None;
        }
        let fault = self.kinds[random.usize(0..self.kinds.len())];
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
