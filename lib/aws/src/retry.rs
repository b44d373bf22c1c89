//! What is tried again, and how often: bounded tries with full jitter out of a budget that all requests of a client share.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use worker::{Backoff, NotABackoff};

use crate::RetrySettings;
use crate::failed::{Failed, Kind};
use crate::meter::Meter;

/// The retries of one client.
#[derive(Debug)]
pub(crate) struct Retry {
    tries: u32,
    try_timeout: Duration,
    backoff: Backoff,
    bucket: Mutex<Bucket>,
    meter: Meter,
}

impl Retry {
    pub(crate) fn new(settings: &RetrySettings, try_timeout: Duration) -> Result<Self, NotABackoff> {
        // Full jitter: a delay is anything between nothing and its bound.
        let backoff = Backoff::new(settings.delay_min, settings.delay_max.max(settings.delay_min), 1.0)?;
        let bucket = Mutex::new(Bucket::full(settings));
        Ok(Self { tries: settings.tries.max(1), try_timeout, backoff, bucket, meter: Meter::default() })
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }

    /// One request without any retry, within `timeout`.
    pub(crate) async fn once<T>(
        &self,
        timeout: Duration,
        request: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        self.meter.request();
        let answer = tokio::time::timeout(timeout, request).await.unwrap_or_else(|late| Err(Failed::timeout(late)));
        if matches!(&answer, Err(failed) if failed.kind == Kind::Throttled) {
            self.throttled();
        }
        answer
    }

    /// One request of the usual length, without any retry.
    pub(crate) async fn one_try<T>(&self, request: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
        self.once(self.try_timeout, request).await
    }

    /// Repeats a request while it fails temporarily and the budget allows.
    pub(crate) async fn call<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, Failed> {
        let mut tries = self.tries();
        loop {
            match self.one_try(request()).await {
                Err(failed) if failed.kind.is_temporary() && tries.again().await => {}
                answer => return answer,
            }
        }
    }

    /// For requests of which parts can succeed.
    pub(crate) fn tries(&self) -> Tries<'_> {
        Tries { retry: self, failed: 0 }
    }

    /// The service asked for a slower pace.
    pub(crate) fn throttled(&self) {
        self.meter.throttled();
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).halve();
    }
}

/// The tries of one request.
pub(crate) struct Tries<'a> {
    retry: &'a Retry,
    failed: u32,
}

impl Tries<'_> {
    /// After a failed try: waits and answers true, or false where there is to be no further one.
    pub(crate) async fn again(&mut self) -> bool {
        self.failed += 1;
        if self.failed >= self.retry.tries || !self.retry.bucket.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return false;
        }
        self.retry.meter.retry();
        tokio::time::sleep(self.retry.backoff.jittered(self.failed)).await;
        true
    }

    /// A part succeeded: what is left is smaller, and its tries count anew.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }
}

/// Throttled requests that come so close together are one sign, not many.
const HALVING_PAUSE: Duration = Duration::from_secs(1);

/// Tokens, one for each retry.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    max: f64,
    per_s: f64,
    filled_at: Instant,
    halved_at: Option<Instant>,
}

impl Bucket {
    fn full(settings: &RetrySettings) -> Self {
        let max = f64::from(settings.tokens);
        Self { tokens: max, max, per_s: settings.tokens_per_s.max(0.0), filled_at: Instant::now(), halved_at: None }
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let filled = self.tokens + self.per_s * now.duration_since(self.filled_at).as_secs_f64();
        self.tokens = filled.min(self.max);
        self.filled_at = now;
    }

    fn take(&mut self) -> bool {
        self.fill();
        let some = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(some));
        some
    }

    fn halve(&mut self) {
        self.fill();
        if self.halved_at.is_none_or(|halved_at| self.filled_at.duration_since(halved_at) >= HALVING_PAUSE) {
            self.tokens /= 2.0;
            self.halved_at = Some(self.filled_at);
        }
    }
}

#[cfg(test)]
mod tests;
