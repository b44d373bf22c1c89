//! The laws of each port, run against every adapter.
//!
//! A law is a function that takes an adapter; `adapters` lists the adapters.

mod adapters;
mod directory;
mod heads;
mod ledger;
mod limits;
mod live_ids;
mod queue;
mod random;

/// A test for each law of a port, for one way to make an adapter.
macro_rules! tests_of {
    ($port:ident, $make:expr, [$($law:ident),* $(,)?]) => {
        $(
            #[tokio::test]
            async fn $law() {
                $crate::$port::$law($make).await;
            }
        )*
    };
}
pub(crate) use tests_of;
