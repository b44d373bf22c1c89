//! How a port's laws and its table of adapters become tests.
//!
//! What does not run says so, past the capturing of the test harness: `law X is not run on Y: reason` for a law that the table
//! excepts, `NOT RUN: <port> laws on <adapter>: reason` where an adapter is not there, for example without its server.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tempfile::TempDir;

/// A row of a table: one way to have a store behind a port.
pub(crate) struct Adapter<S> {
    /// `<port>::<adapter>`, as tests are called.
    pub(crate) name: &'static str,
    /// Opens the store that stands in a folder; an error says why this adapter is not available here. Opened twice over the same
    /// folder, the two stand for two processes. What lives on a server takes the folder's name, which is unique, for its own.
    pub(crate) open: fn(PathBuf) -> BoxFuture<'static, Result<S, String>>,
    /// Why a law is not run on this adapter, if it is not.
    pub(crate) excepts: fn(Law) -> Option<&'static str>,
}

impl<S> Adapter<S> {
    /// Opens the store in `folder`, which is available: else no law would run.
    pub(crate) async fn open(&self, folder: &Folder) -> S {
        (self.open)(folder.path().to_owned()).await.unwrap_or_else(|reason| panic!("{}: {reason}", self.name))
    }

    /// A store in a folder of its own, empty.
    pub(crate) async fn fresh(&self) -> (Folder, S) {
        let folder = Folder::new();
        let store = self.open(&folder).await;
        (folder, store)
    }
}

/// The folder of a store, and what lives on servers under its name: both go when it is dropped.
pub(crate) struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        support::scratch::drop_databases(self.path());
    }
}

/// A port that is read only, and what prepares its answers: a handle that never fails on demand, for it is no part of the port.
pub(crate) struct Prepared<P: ?Sized, W: ?Sized> {
    /// The adapter under the laws.
    pub(crate) port: Arc<P>,
    /// Writes; each change can be read when it returns.
    pub(crate) writer: Arc<W>,
}

/// A law as a table may except it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Law {
    /// Its function's name.
    pub(crate) name: &'static str,
    /// True when it says what exactly one call answers or costs: it holds only where no call is repeated because its answer
    /// was lost.
    pub(crate) exact: bool,
}

/// Why a law was not run.
#[derive(Debug, PartialEq, Eq)]
enum NotRun {
    Excepted(&'static str),
    NotAvailable(String),
}

/// The test of one law on one adapter.
pub(crate) async fn test<S>(adapter: Adapter<S>, law: Law, check: impl AsyncFn(&Adapter<S>)) {
    let line = match run(&adapter, law, check).await {
        Ok(()) => return,
        Err(NotRun::Excepted(reason)) => format!("law {} is not run on {}: {reason}", law.name, adapter.name),
        Err(NotRun::NotAvailable(reason)) => {
            let (port, name) = adapter.name.split_once("::").unwrap_or(("all", adapter.name));
            format!("NOT RUN: {port} laws on {name}: {reason}")
        }
    };
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
        // Not eprintln: the harness would keep it to itself, for the test passes.
        _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
    }
}

async fn run<S>(adapter: &Adapter<S>, law: Law, check: impl AsyncFn(&Adapter<S>)) -> Result<(), NotRun> {
    if let Some(reason) = (adapter.excepts)(law) {
        return Err(NotRun::Excepted(reason));
    }
    // Asked once for each adapter: on a server it costs a database.
    static AVAILABLE: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let known = AVAILABLE.lock().unwrap_or_else(PoisonError::into_inner).contains(adapter.name);
    if !known {
        let folder = Folder::new();
        let opened = (adapter.open)(folder.path().to_owned()).await;
        drop(opened.map_err(NotRun::NotAvailable)?);
        AVAILABLE.lock().unwrap_or_else(PoisonError::into_inner).insert(adapter.name);
    }
    check(adapter).await;
    Ok(())
}

/// The table of a port's adapters. `port: store;`, then a row each: `name(folder) => how to open it, excepts which laws;`.
macro_rules! adapters {
    ($port:ident: $store:ty; $($name:ident($folder:ident) => $open:expr, excepts $excepts:path;)+) => {
        /// The rows of the port.
        pub(crate) mod $port {
            use super::*;
            $(pub(crate) fn $name() -> Adapter<$store> {
                async fn open($folder: PathBuf) -> Result<$store, String> {
                    $open
                }
                Adapter {
                    name: concat!(stringify!($port), "::", stringify!($name)),
                    open: |folder| Box::pin(open(folder)),
                    excepts: $excepts,
                }
            })+
            $crate::suite::for_each_row!(($) $port $($name)+);
        }
    };
}

/// Makes the macro `for_each` of a table, which hands its argument, the laws, to [`tests`] for each row. `$dollar` is a dollar
/// sign.
macro_rules! for_each_row {
    (($dollar:tt) $port:ident $($name:ident)+) => {
        macro_rules! for_each {
            ($dollar laws:tt) => { $($crate::suite::tests!($port $name $dollar laws);)+ };
        }
        pub(crate) use for_each;
    };
}

/// The laws of a port: a test of each for every adapter. Those under `exact` can be excepted by adapters that lose answers.
macro_rules! laws {
    ($port:ident; every: $($every:ident),+; $(exact: $($exact:ident),+;)?) => {
        $crate::adapters::$port::for_each!([$(($every false))+ $($(($exact true))+)?]);
    };
}

/// The tests of one adapter.
macro_rules! tests {
    ($port:ident $adapter:ident [$(($law:ident $exact:literal))+]) => {
        mod $adapter {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $law() {
                let law = $crate::suite::Law { name: stringify!($law), exact: $exact };
                $crate::suite::test($crate::adapters::$port::$adapter(), law, super::$law).await;
            })+
        }
    };
}

pub(crate) use {adapters, for_each_row, laws, tests};

mod itself {
    use super::{Adapter, Law, NotRun, run};

    const LAW: Law = Law { name: "a_law", exact: true };

    async fn never(_: &Adapter<()>) {
        panic!("it was run");
    }

    #[tokio::test]
    async fn no_law_runs_on_an_adapter_that_is_not_there() {
        let open = |_| Box::pin(async { Err("no server".to_owned()) }) as _;
        let adapter = Adapter { name: "port::away", open, excepts: |_| None };
        assert_eq!(run(&adapter, LAW, never).await, Err(NotRun::NotAvailable("no server".to_owned())));
    }

    #[tokio::test]
    async fn an_excepted_law_does_not_run() {
        let excepts = |law: Law| (law.exact && law.name == "a_law").then_some("it cannot");
        let adapter = Adapter { name: "port::near", open: |_| Box::pin(async { Ok(()) }), excepts };
        assert_eq!(run(&adapter, LAW, never).await, Err(NotRun::Excepted("it cannot")));
    }

    #[tokio::test]
    #[should_panic(expected = "it was run")]
    async fn every_other_law_runs() {
        let adapter = Adapter { name: "port::near", open: |_| Box::pin(async { Ok(()) }), excepts: |_| None };
        run(&adapter, LAW, never).await.expect("it runs");
    }
}
