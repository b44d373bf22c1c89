//! Work that blocks its thread: LMDB's, and SQLite's where it is not reached through sqlx.

use chat::{PortError, PortResult};

/// Runs blocking work away from the threads that drive futures. Works on both flavours of the runtime; the work goes on when
/// the caller stops waiting.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> PortResult<T> + Send + 'static,
) -> PortResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
        Err(e) => Err(PortError::unavailable("the runtime, which is stopping,", e)),
    }
}
