//! The ledger in SQLite: runs, the state of each organization in them, the history of limits, audit.
//!
//! Counts are never stored: they are counted from the states over an index that holds nothing else.

mod attempts;
mod compare;
mod failures;
mod history;
mod notes;
mod organizations;
mod prune;
mod room_lists;
mod rows;
mod runs;
mod settle;
mod slowest;

use std::collections::HashMap;

use async_trait::async_trait;
use chat::ledger::{
    AuditEntry, AuditFilter, Begun, Comparison, ErrorClass, Failure, Filter, HistoryEntry, HistoryRow, Item, NewRun,
    Old, Progress, Pruned, Run, RunOrganization, Settlement, Stage, UnreadableMessage,
};
use chat::{Ledger, OrganizationId, PortResult, RunId, Timestamp};

use crate::DataDir;
use crate::sqlite::{Database, Schema, Tx, instant};

const SCHEMA: Schema = Schema {
    what: "the ledger",
    migrations: &[
        (1, "ledger", include_str!("../../migrations/ledger/0001_ledger.sql")),
        (2, "error classes", include_str!("../../migrations/ledger/0002_error_classes.sql")),
        (3, "room lists", include_str!("../../migrations/ledger/0003_room_lists.sql")),
    ],
};

/// The ledger of a data directory.
#[derive(Clone, Debug)]
pub struct SqliteLedger {
    database: Database,
}

/// What a batch needs to know of its run.
struct RunHead {
    /// `runs.number`
    number: i64,
    as_of: Timestamp,
    cancelled: bool,
}

impl SqliteLedger {
    /// Opens the ledger in `dir`; makes and migrates it where `dir` was opened for writing.
    ///
    /// # Errors
    ///
    /// Unavailable while the file is locked or its disk is full; refused when a newer version made it, or when it does not exist
    /// and `dir` was opened for reading; corrupt when it is no ledger.
    pub async fn open(dir: &DataDir) -> PortResult<Self> {
        Ok(Self { database: Database::open(dir, dir.ledger_sqlite(), &SCHEMA).await? })
    }

    async fn head(&self, tx: &mut Tx, run: &RunId) -> PortResult<Option<RunHead>> {
        let row: Option<(i64, i64, bool)> =
            sqlx::query_as("SELECT number, as_of, cancelled_at IS NOT NULL FROM runs WHERE run = ?1")
                .bind(run.as_str())
                .fetch_optional(&mut **tx)
                .await
                .map_err(|e| self.database.error(e))?;
        let head = |(number, as_of, cancelled)| RunHead { number, as_of: instant(as_of), cancelled };
        Ok(row.map(head))
    }
}

/// The entries of a batch by run, in the order of the batch; nearly always there is one run.
fn by_run<'a, T>(entries: &'a [T], item: impl Fn(&'a T) -> &'a Item) -> Vec<(&'a RunId, Vec<&'a T>)> {
    let mut places: HashMap<&RunId, usize> = HashMap::new();
    let mut runs: Vec<(&RunId, Vec<&T>)> = Vec::new();
    for entry in entries {
        let run = &item(entry).run;
        let place = *places.entry(run).or_insert_with(|| {
            runs.push((run, Vec::new()));
            runs.len() - 1
        });
        runs[place].1.push(entry);
    }
    runs
}

#[async_trait]
impl Ledger for SqliteLedger {
    async fn open_run(&self, run: &NewRun) -> PortResult<Run> {
        self.open_or_join_run(run).await
    }

    async fn progress(&self, run: &RunId) -> PortResult<Option<Progress>> {
        self.progress_of(run).await
    }

    async fn runs(&self, limit: usize) -> PortResult<Vec<Progress>> {
        self.newest_runs(limit).await
    }

    async fn opened_runs(&self, limit: usize) -> PortResult<Vec<Run>> {
        self.newest_run_rows(limit).await
    }

    async fn register(
        &self,
        run: &RunId,
        organizations: &[OrganizationId],
        sent_through: Option<OrganizationId>,
        at: Timestamp,
    ) -> PortResult<()> {
        self.register_pending(run, organizations, sent_through, at).await
    }

    async fn complete_extraction(&self, run: &RunId, at: Timestamp) -> PortResult<()> {
        self.note_extracted(run, at).await
    }

    async fn cancel_run(&self, run: &RunId, at: Timestamp) -> PortResult<bool> {
        self.note_cancelled(run, at).await
    }

    async fn begin(&self, stage: Stage, items: &[Item], at: Timestamp) -> PortResult<Vec<Begun>> {
        self.begin_attempts(stage, items, at).await
    }

    async fn forgive(&self, stage: Stage, items: &[Item]) -> PortResult<()> {
        self.forgive_attempts(stage, items).await
    }

    async fn fail(&self, failures: &[(Item, Failure)]) -> PortResult<()> {
        self.fail_attempts(failures).await
    }

    async fn put_room_list(&self, item: &Item, collected_at: Timestamp, list: &[u8]) -> PortResult<bool> {
        self.keep_room_list(item, collected_at, list).await
    }

    async fn room_list(&self, item: &Item) -> PortResult<Option<Vec<u8>>> {
        self.kept_room_list(item).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> PortResult<Vec<bool>> {
        self.settle_organizations(settlements).await
    }

    async fn add_history(&self, rows: &[HistoryRow]) -> PortResult<()> {
        self.add_history_once(rows).await
    }

    async fn reopen(&self, items: &[Item]) -> PortResult<Vec<bool>> {
        self.reopen_organizations(items).await
    }

    async fn error_classes(&self, run: &RunId) -> PortResult<Vec<ErrorClass>> {
        self.classes_of(run).await
    }

    async fn slowest(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.slowest_of(run, limit).await
    }

    async fn latest_failures(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.latest_failures_of(run, limit).await
    }

    async fn compare(&self, before: &RunId, after: &RunId, examples: usize) -> PortResult<Comparison> {
        self.compare_runs(before, after, examples).await
    }

    async fn organizations(&self, run: &RunId, filter: &Filter, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.page_of(run, filter, limit).await
    }

    async fn attempts_of(
        &self,
        organization: OrganizationId,
        limit: usize,
    ) -> PortResult<Vec<(RunId, RunOrganization)>> {
        self.runs_of(organization, limit).await
    }

    async fn history(&self, organization: OrganizationId, limit: usize) -> PortResult<Vec<HistoryEntry>> {
        self.history_of(organization, limit).await
    }

    async fn record(&self, entry: &AuditEntry) -> PortResult<()> {
        self.record_action(entry).await
    }

    async fn audits(&self, filter: &AuditFilter, limit: usize) -> PortResult<Vec<AuditEntry>> {
        self.newest_audits(filter, limit).await
    }

    async fn put_aside(&self, message: &UnreadableMessage) -> PortResult<()> {
        self.keep_unreadable(message).await
    }

    async fn unreadable(&self, limit: usize) -> PortResult<Vec<UnreadableMessage>> {
        self.newest_unreadable(limit).await
    }

    async fn prunable(&self, old: &Old) -> PortResult<Pruned> {
        self.count_old(old).await
    }

    async fn prune(&self, old: &Old, rows_max: usize) -> PortResult<Pruned> {
        self.prune_old(old, rows_max).await
    }

    async fn unreadable_message(&self, id: u64) -> PortResult<Option<UnreadableMessage>> {
        self.unreadable_of(id).await
    }
}

#[cfg(test)]
mod tests;
