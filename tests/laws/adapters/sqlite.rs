//! Adapters on SQLite.

use std::path::PathBuf;
use std::sync::Arc;

use chat::Ledger;
use embedded::{Access, DataDir, SqliteLedger, SqliteQueue};
use futures::future::BoxFuture;
use support::{Faults, Flaky};
use worker::Queue;

/// How to make one adapter of a port.
pub(crate) struct Adapter<T: ?Sized + 'static> {
    /// Its name, for messages.
    pub(crate) name: &'static str,
    /// True when its calls fail on demand: an answer may be lost after the effect, so that a repeated call may find its own
    /// effect already there.
    pub(crate) flaky: bool,
    /// Opens it over the data directory at a path. Opened twice, the two stand for two processes.
    pub(crate) open: fn(PathBuf) -> BoxFuture<'static, Arc<T>>,
}

/// Calls of a flaky adapter that fail, in percent.
const FAULT_PERCENT: u32 = 30;

/// The ledgers.
pub(crate) const LEDGERS: &[Adapter<dyn Ledger>] = &[
    Adapter { name: "SqliteLedger", flaky: false, open: |path| Box::pin(async { Arc::new(ledger(path).await) as _ }) },
    Adapter {
        name: "Flaky<SqliteLedger>",
        flaky: true,
        open: |path| Box::pin(async { Arc::new(Flaky::new(ledger(path).await, faults())) as _ }),
    },
];

/// The queues.
pub(crate) const QUEUES: &[Adapter<dyn Queue>] = &[
    Adapter { name: "SqliteQueue", flaky: false, open: |path| Box::pin(async { Arc::new(queue(path).await) as _ }) },
    Adapter {
        name: "Flaky<SqliteQueue>",
        flaky: true,
        open: |path| Box::pin(async { Arc::new(Flaky::new(queue(path).await, faults())) as _ }),
    },
];

async fn data_dir(path: PathBuf) -> DataDir {
    DataDir::open(path, Access::Write, "laws").await.expect("a data directory")
}

async fn ledger(path: PathBuf) -> SqliteLedger {
    SqliteLedger::open(&data_dir(path).await).await.expect("a ledger")
}

async fn queue(path: PathBuf) -> SqliteQueue {
    SqliteQueue::open(&data_dir(path).await, "laws").await.expect("a queue")
}

fn faults() -> Faults {
    Faults::new(seed(), FAULT_PERCENT)
}

/// The seed of everything random, from `LANNER_SEED`.
pub(crate) fn seed() -> u64 {
    std::env::var("LANNER_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// How many random cases a law tries, from `LANNER_LAW_CASES`.
pub(crate) fn cases() -> u64 {
    std::env::var("LANNER_LAW_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

/// Makes a test of each law: it runs against every adapter of the table, or, after `exact`, against those that never fail on
/// demand (a lost answer changes what a repeated call answers).
macro_rules! laws {
    ($table:ident; every: $($every:ident),+; exact: $($exact:ident),+ $(;)?) => {
        mod laws {
            use crate::adapters::$table as TABLE;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $every() {
                for adapter in TABLE {
                    println!("{}", adapter.name);
                    super::$every(adapter).await;
                }
            })+
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $exact() {
                for adapter in TABLE.iter().filter(|adapter| !adapter.flaky) {
                    println!("{}", adapter.name);
                    super::$exact(adapter).await;
                }
            })+
        }
    };
}
pub(crate) use laws;
