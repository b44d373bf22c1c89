//! What was asked of a service, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a connection has used since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Requests, repeated ones included.
    pub requests: u64,
    /// Requests that were refused for their pace, and batches of which a part was.
    pub throttled: u64,
    /// Requests that repeated a failed one.
    pub retries: u64,
    /// Read units charged. Half a unit reads up to 4 KiB.
    pub read_units: f64,
    /// Write units charged. A unit writes up to 1 KiB.
    pub write_units: f64,
}

/// Counts. Units are charged in halves; they are counted in thousandths.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    requests: AtomicU64,
    throttled: AtomicU64,
    retries: AtomicU64,
    read_milliunits: AtomicU64,
    write_milliunits: AtomicU64,
}

impl Meter {
    pub(crate) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn throttled(&self) {
        self.throttled.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self, units: f64) {
        self.read_milliunits.fetch_add(milli(units), Ordering::Relaxed);
    }

    pub(crate) fn write(&self, units: f64) {
        self.write_milliunits.fetch_add(milli(units), Ordering::Relaxed);
    }

    pub(crate) fn usage(&self) -> Usage {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Usage {
            requests: load(&self.requests),
            throttled: load(&self.throttled),
            retries: load(&self.retries),
            read_units: load(&self.read_milliunits) as f64 / 1e3,
            write_units: load(&self.write_milliunits) as f64 / 1e3,
        }
    }
}

/// Negative and endless numbers count as nothing or as much as fits.
fn milli(units: f64) -> u64 {
    (units * 1e3).round() as u64
}
