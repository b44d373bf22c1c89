//! Temporary failures: how a fault looks to the caller, and how a caller repeats.

use chat::{PortError, PortResult};

use crate::Fault;

/// Calls before [`retry`] gives up: at a fault in every second call, that is once in 2¹⁰⁰.
const MOST_ATTEMPTS: usize = 100;

/// The error that a caller sees of `fault`.
pub(crate) fn error(fault: Fault) -> PortError {
    let what = format!("the adapter ({fault:?} on demand)");
    match fault {
        Fault::Throttled => PortError::Throttled { what, source: None },
        Fault::Unavailable | Fault::LostResponse | Fault::Partial => {
            PortError::Unavailable { what, retry_after: None, source: None }
        }
    }
}

/// Repeats `call` while it fails temporarily. Panics with what else it answers.
pub async fn retry<T, F: Future<Output = PortResult<T>>>(call: impl Fn() -> F) -> T {
    for _ in 0..MOST_ATTEMPTS {
        match call().await {
            Ok(answer) => return answer,
            Err(e) if e.is_temporary() => {}
            Err(e) => panic!("failed for good: {e:?}"),
        }
    }
    panic!("failed {MOST_ATTEMPTS} times in a row");
}
