//! Waiting for a condition, never for a fixed time.

use std::future::Future;
use std::io::Write;
use std::time::Duration;

/// How long a condition may take to come true: far longer than it does on a busy machine.
pub const AT_MOST: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(5);

/// Looks at `condition` until it holds. Panics with `what` when it never does.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = tokio::time::Instant::now() + AT_MOST;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "waited {AT_MOST:?} in vain for: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// A number from the environment, else `default`.
pub fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Tells the runner of the tests that a check could not run here. Written past the test harness, which hides what passing
/// tests print.
pub fn not_run(test: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {test}: {reason}");
}
