//! The ledger: runs, the state of each organization in them, the history of limits, audit.
//!
//! One call is one transaction at READ COMMITTED. What changes the state of organizations first locks their rows, in the order
//! of the primary key, so that two workers never wait for each other in a circle, and decides by what it finds there. Counts are
//! never stored: they are counted from the states over an index that holds nothing else.

mod attempts;
mod compare;
mod failures;
mod history;
mod mysql;
mod notes;
mod organizations;
mod postgres;
mod prune;
mod room_lists;
mod rows;
mod runs;
mod settle;
mod slowest;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use chat::ledger::{
    AuditEntry, AuditFilter, Begun, Comparison, ErrorClass, Failure, Filter, HistoryEntry, HistoryRow, Item, NewRun,
    Old, Progress, Pruned, Run, RunOrganization, Settlement, Stage, State, UnreadableMessage,
};
use chat::{Ledger, OrganizationId, PortResult, RunId, Timestamp};

use crate::SqlSettings;
use crate::database::{Access, Database, Tx};
use crate::migrate::{Migrations, Schema};

const SCHEMA: Schema = Schema {
    table: "_lanner_ledger_migrations",
    migrations: &[
        (
            1,
            "ledger",
            include_str!("../../migrations/mysql/ledger_0001.sql"),
            include_str!("../../migrations/postgres/ledger_0001.sql"),
        ),
        (
            2,
            "room lists",
            include_str!("../../migrations/mysql/ledger_0002.sql"),
            include_str!("../../migrations/postgres/ledger_0002.sql"),
        ),
    ],
};

/// Rows of one statement at most; a larger batch is several statements of its transaction.
const STATEMENT_ROWS_MAX: usize = 1_024;

/// What differs between the dialects.
struct Statements {
    open_run: &'static str,
    register: &'static str,
    /// Locks the rows of a batch in the order of their key; answers organization, state, stage, attempts.
    lock: &'static str,
    begin: &'static str,
    forgive: &'static str,
    fail: &'static str,
    settle: &'static str,
    reopen: &'static str,
    add_history: &'static str,
    /// The same, of what is not there yet.
    add_history_once: &'static str,
}

/// The ledger of a MySQL, MariaDB or PostgreSQL database.
#[derive(Clone, Debug)]
pub struct SqlLedger {
    database: Database,
}

/// What a batch needs to know of its run.
struct RunHead {
    /// `runs.number`
    number: i64,
    as_of: Timestamp,
    cancelled: bool,
}

/// A row of `run_organizations` that this transaction holds.
struct Locked {
    state: State,
    stage: Option<Stage>,
    attempts: i64,
}

impl SqlLedger {
    /// How far the tables are that [`SqlLedger::open`] makes and brings up to date. Changes nothing.
    ///
    /// # Errors
    ///
    /// Unavailable while the database cannot be reached; refused when it lets us not in.
    pub async fn migrations(settings: &SqlSettings) -> PortResult<Migrations> {
        SCHEMA.look(&Database::connect(settings, "the ledger", Access::Read).await?).await
    }

    /// Opens the ledger, making and migrating its tables.
    ///
    /// # Errors
    ///
    /// Unavailable while the database cannot be reached; refused when it lets us not in or not make tables, and when a newer
    /// version made them.
    pub async fn open(settings: &SqlSettings) -> PortResult<Self> {
        let database = Database::connect(settings, "the ledger", Access::Write).await?;
        SCHEMA.apply(&database).await?;
        Ok(Self { database })
    }

    fn statements(&self) -> &'static Statements {
        self.database.pick(&mysql::STATEMENTS, &postgres::STATEMENTS)
    }

    async fn head(&self, tx: &mut Tx, run: &RunId) -> PortResult<Option<RunHead>> {
        let sql = "SELECT number, as_of, cancelled_at FROM runs WHERE run = :run";
        let rows = tx.fetch(sql, &[("run", run.as_str().into())]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(RunHead {
            number: row.whole("number")?,
            as_of: row.instant("as_of")?,
            cancelled: row.instant_or_none("cancelled_at")?.is_some(),
        }))
    }

    /// Locks the rows of `organizations`, which are ascending and distinct, until the transaction ends.
    async fn lock(&self, tx: &mut Tx, run: i64, organizations: &[i64]) -> PortResult<HashMap<i64, Locked>> {
        let mut locked = HashMap::with_capacity(organizations.len());
        for chunk in organizations.chunks(STATEMENT_ROWS_MAX) {
            let values = [("run", run.into()), ("batch", crate::database::json(chunk)?.into())];
            for row in tx.fetch(self.statements().lock, &values).await? {
                let stage =
                    if row.text_or_none("stage")?.is_some() { Some(row.word("stage", Stage::of)?) } else { None };
                let (state, attempts) = (row.word("state", State::of)?, row.whole("attempts")?);
                locked.insert(row.whole("organization")?, Locked { state, stage, attempts });
            }
        }
        Ok(locked)
    }
}

/// The entries of a batch by run, in one order for everybody; within a run as they stand in the batch.
fn by_run<'a, T>(entries: &'a [T], item: impl Fn(&'a T) -> &'a Item) -> BTreeMap<&'a RunId, Vec<&'a T>> {
    let mut runs: BTreeMap<&RunId, Vec<&T>> = BTreeMap::new();
    for entry in entries {
        runs.entry(&item(entry).run).or_default().push(entry);
    }
    runs
}

#[async_trait]
impl Ledger for SqlLedger {
    async fn open_run(&self, run: &NewRun) -> PortResult<Run> {
        self.database.repeat(true, || self.open_or_join_run(run)).await
    }

    async fn progress(&self, run: &RunId) -> PortResult<Option<Progress>> {
        self.database.repeat(true, || self.progress_of(run)).await
    }

    async fn runs(&self, limit: usize) -> PortResult<Vec<Progress>> {
        self.database.repeat(true, || self.newest_runs(limit)).await
    }

    async fn opened_runs(&self, limit: usize) -> PortResult<Vec<Run>> {
        self.database.repeat(true, || self.newest_run_rows(limit)).await
    }

    async fn register(
        &self,
        run: &RunId,
        organizations: &[OrganizationId],
        sent_through: Option<OrganizationId>,
        at: Timestamp,
    ) -> PortResult<()> {
        self.database.repeat(true, || self.register_pending(run, organizations, sent_through, at)).await
    }

    async fn complete_extraction(&self, run: &RunId, at: Timestamp) -> PortResult<()> {
        self.database.repeat(true, || self.note_extracted(run, at)).await
    }

    async fn cancel_run(&self, run: &RunId, at: Timestamp) -> PortResult<bool> {
        self.database.repeat(false, || self.note_cancelled(run, at)).await
    }

    async fn begin(&self, stage: Stage, items: &[Item], at: Timestamp) -> PortResult<Vec<Begun>> {
        self.database.repeat(false, || self.begin_attempts(stage, items, at)).await
    }

    async fn forgive(&self, stage: Stage, items: &[Item]) -> PortResult<()> {
        self.database.repeat(false, || self.forgive_attempts(stage, items)).await
    }

    async fn fail(&self, failures: &[(Item, Failure)]) -> PortResult<()> {
        self.database.repeat(true, || self.fail_attempts(failures)).await
    }

    async fn put_room_list(&self, item: &Item, collected_at: Timestamp, list: &[u8]) -> PortResult<bool> {
        self.database.repeat(true, || self.keep_room_list(item, collected_at, list)).await
    }

    async fn room_list(&self, item: &Item) -> PortResult<Option<Vec<u8>>> {
        self.database.repeat(true, || self.kept_room_list(item)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> PortResult<Vec<bool>> {
        self.database.repeat(false, || self.settle_organizations(settlements)).await
    }

    async fn add_history(&self, rows: &[HistoryRow]) -> PortResult<()> {
        self.database.repeat(true, || self.add_history_once(rows)).await
    }

    async fn reopen(&self, items: &[Item]) -> PortResult<Vec<bool>> {
        self.database.repeat(false, || self.reopen_organizations(items)).await
    }

    async fn error_classes(&self, run: &RunId) -> PortResult<Vec<ErrorClass>> {
        self.database.repeat(true, || self.classes_of(run)).await
    }

    async fn slowest(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.database.repeat(true, || self.slowest_of(run, limit)).await
    }

    async fn latest_failures(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.database.repeat(true, || self.latest_failures_of(run, limit)).await
    }

    async fn compare(&self, before: &RunId, after: &RunId, examples: usize) -> PortResult<Comparison> {
        self.database.repeat(true, || self.compare_runs(before, after, examples)).await
    }

    async fn organizations(&self, run: &RunId, filter: &Filter, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.database.repeat(true, || self.page_of(run, filter, limit)).await
    }

    async fn attempts_of(
        &self,
        organization: OrganizationId,
        limit: usize,
    ) -> PortResult<Vec<(RunId, RunOrganization)>> {
        self.database.repeat(true, || self.runs_of(organization, limit)).await
    }

    async fn history(&self, organization: OrganizationId, limit: usize) -> PortResult<Vec<HistoryEntry>> {
        self.database.repeat(true, || self.history_of(organization, limit)).await
    }

    async fn record(&self, entry: &AuditEntry) -> PortResult<()> {
        self.database.repeat(false, || self.record_action(entry)).await
    }

    async fn audits(&self, filter: &AuditFilter, limit: usize) -> PortResult<Vec<AuditEntry>> {
        self.database.repeat(true, || self.newest_audits(filter, limit)).await
    }

    async fn put_aside(&self, message: &UnreadableMessage) -> PortResult<()> {
        self.database.repeat(false, || self.keep_unreadable(message)).await
    }

    async fn unreadable(&self, limit: usize) -> PortResult<Vec<UnreadableMessage>> {
        self.database.repeat(true, || self.newest_unreadable(limit)).await
    }

    async fn prunable(&self, old: &Old) -> PortResult<Pruned> {
        self.database.repeat(true, || self.count_old(old)).await
    }

    async fn prune(&self, old: &Old, rows_max: usize) -> PortResult<Pruned> {
        self.database.repeat(false, || self.prune_old(old, rows_max)).await
    }

    async fn unreadable_message(&self, id: u64) -> PortResult<Option<UnreadableMessage>> {
        self.database.repeat(true, || self.unreadable_of(id)).await
    }
}
