//! A small chat on services, and the binary for it.

use std::path::PathBuf;
use std::time::Duration;

use chat::ledger::{Filter, Progress, RunOrganization};
use chat::{Ledger as _, RunId, Timestamp};
use sql::{SqlLedger, SqlSettings, SqlUrl};
use support::oracle;
use support::place::policy;
use support::{Ended, Program, Services, SmallChat, SqlServer};
use tempfile::TempDir;

/// Services with a chat; what it made on the servers goes with it, but for tables and queues, which go with the servers.
pub(super) struct Stage {
    pub(super) services: Services,
    pub(super) program: Program,
    pub(super) chat: SmallChat,
    pub(super) folder: TempDir,
}

impl Stage {
    /// Nothing is made yet. None where the servers are not there, which is said.
    pub(super) async fn new(server: SqlServer, organizations: u64) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let services = match Services::new(server, folder.path()).await {
            Ok(services) => services,
            Err(reason) => {
                not_run(&format!("services with {}: {reason}", server.name()));
                return None;
            }
        };
        let chat = SmallChat::random(77, organizations);
        chat.write_csv(&folder.path().join("tables"));
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/services/lanner.toml");
        let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &folder.path().join("data"));
        let program = services.environment().iter().fold(program, |program, (name, value)| program.with(name, value));
        let program = program
            .with("LANNER_CONFIG", config)
            .with("LANNER_SQS_LINGER_MS", 100)
            .with("LANNER_WORKERS_VISIBLE_FOR_MS", 1_000)
            .with("LANNER_WORKERS_BACKOFF_MIN_MS", 20)
            .with("LANNER_WORKERS_BACKOFF_MAX_MS", 200);
        Some(Self { services, program, chat, folder })
    }

    /// With tables, queues and the chat in them.
    pub(super) async fn filled(server: SqlServer, organizations: u64) -> Option<Self> {
        let stage = Self::new(server, organizations).await?;
        stage.program.run("provision --reason test").exits(0);
        stage.import();
        Some(stage)
    }

    pub(super) fn import(&self) {
        self.persevere(&format!("import {}", self.folder.path().join("tables").display()));
    }

    /// Runs a line, again when it ends with exit code 75, as it says: a local server can be too busy to answer in time.
    pub(super) fn persevere(&self, line: &str) -> Ended {
        persevere(&self.program, line)
    }

    /// A data directory that nobody should need.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The limits must be those of `as_of`.
    pub(super) fn check_limits(&self, as_of: Timestamp) {
        let exported = self.program.run("limits export").exits(0);
        assert_eq!(exported.out, oracle::export(&oracle::answers(&self.chat, as_of, &policy())));
    }

    /// A run as the ledger has it, past the binary.
    pub(super) async fn look(&self, run: &str) -> (Option<Progress>, Vec<RunOrganization>) {
        let run: RunId = run.parse().expect("a run id");
        let database = SqlSettings::new(SqlUrl::new(&self.services.sql_url).expect("an address"));
        let ledger = SqlLedger::open(&database).await.expect("the ledger");
        let progress = ledger.progress(&run).await.expect("progress");
        let rows = ledger.organizations(&run, &Filter::default(), 1_000_000).await.expect("the organizations");
        (progress, rows)
    }
}

/// See [`Stage::persevere`].
pub(super) fn persevere(program: &Program, line: &str) -> Ended {
    let ended = (0..20).map(|_| program.run(line)).find(|ended| ended.code != Some(75));
    ended.unwrap_or_else(|| panic!("lanner {line}: no end but 75")).exits(0)
}

/// The arguments of a run.
pub(super) fn run_line(run: &str, as_of: Timestamp) -> String {
    format!("run --run {run} --as-of {as_of} --max-messages 25 --json")
}

/// An instant of its own for each run over the same chat, each later than the one before.
pub(super) fn instant(nth: u64) -> Timestamp {
    SmallChat::as_of().plus_millis(Duration::from_secs(600 * nth).as_millis() as u64)
}

/// Says what did not run; the harness of tests keeps `eprintln!` to itself.
pub(super) fn not_run(what: &str) {
    use std::io::Write as _;
    _ = std::io::stderr().write_all(format!("NOT RUN: {what}\n").as_bytes());
}

/// Runs tests once on each SQL server.
macro_rules! on_each_server {
    ($($test:ident),* $(,)?) => {
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() { super::$test(support::SqlServer::MySql).await; })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() { super::$test(support::SqlServer::Postgres).await; })*
        }
    };
}
pub(super) use on_each_server;
