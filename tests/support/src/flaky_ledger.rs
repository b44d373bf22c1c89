//! A ledger that fails on demand. A call is one transaction: it takes effect whole or not at all, its answer can be lost.

use std::future::Future;

use async_trait::async_trait;
use chat::ledger::{
    AuditEntry, AuditFilter, Begun, Comparison, ErrorClass, Failure, Filter, HistoryEntry, HistoryRow, Item, NewRun,
    Old, Progress, Pruned, Run, RunOrganization, Settlement, Stage, UnreadableMessage,
};
use chat::{Ledger, OrganizationId, PortError, PortResult, RunId, Timestamp};

use crate::{Fault, Flaky};

impl<T: Ledger> Flaky<T> {
    async fn ledger<R>(&self, call: impl Future<Output = PortResult<R>> + Send) -> PortResult<R> {
        match self.faults.next().await {
            None => call.await,
            Some(Fault::Throttled) => Err(PortError::Throttled { what: "the flaky ledger".to_owned(), source: None }),
            Some(Fault::LostResponse) => {
                call.await?;
                Err(PortError::unavailable("the flaky ledger", "the answer was lost"))
            }
            Some(Fault::Unavailable | Fault::Partial) => {
                Err(PortError::unavailable("the flaky ledger", "refused before any effect"))
            }
        }
    }
}

#[async_trait]
impl<T: Ledger> Ledger for Flaky<T> {
    async fn open_run(&self, run: &NewRun) -> PortResult<Run> {
        self.ledger(self.inner.open_run(run)).await
    }

    async fn progress(&self, run: &RunId) -> PortResult<Option<Progress>> {
        self.ledger(self.inner.progress(run)).await
    }

    async fn runs(&self, limit: usize) -> PortResult<Vec<Progress>> {
        self.ledger(self.inner.runs(limit)).await
    }

    async fn opened_runs(&self, limit: usize) -> PortResult<Vec<Run>> {
        self.ledger(self.inner.opened_runs(limit)).await
    }

    async fn register(
        &self,
        run: &RunId,
        organizations: &[OrganizationId],
        sent_through: Option<OrganizationId>,
        at: Timestamp,
    ) -> PortResult<()> {
        self.ledger(self.inner.register(run, organizations, sent_through, at)).await
    }

    async fn complete_extraction(&self, run: &RunId, at: Timestamp) -> PortResult<()> {
        self.ledger(self.inner.complete_extraction(run, at)).await
    }

    async fn cancel_run(&self, run: &RunId, at: Timestamp) -> PortResult<bool> {
        self.ledger(self.inner.cancel_run(run, at)).await
    }

    async fn begin(&self, stage: Stage, items: &[Item], at: Timestamp) -> PortResult<Vec<Begun>> {
        self.ledger(self.inner.begin(stage, items, at)).await
    }

    async fn forgive(&self, stage: Stage, items: &[Item]) -> PortResult<()> {
        self.ledger(self.inner.forgive(stage, items)).await
    }

    async fn fail(&self, failures: &[(Item, Failure)]) -> PortResult<()> {
        self.ledger(self.inner.fail(failures)).await
    }

    async fn put_room_list(&self, item: &Item, collected_at: Timestamp, list: &[u8]) -> PortResult<bool> {
        self.ledger(self.inner.put_room_list(item, collected_at, list)).await
    }

    async fn room_list(&self, item: &Item) -> PortResult<Option<Vec<u8>>> {
        self.ledger(self.inner.room_list(item)).await
    }

    async fn settle(&self, settlements: &[Settlement]) -> PortResult<Vec<bool>> {
        self.ledger(self.inner.settle(settlements)).await
    }

    async fn add_history(&self, rows: &[HistoryRow]) -> PortResult<()> {
        self.ledger(self.inner.add_history(rows)).await
    }

    async fn reopen(&self, items: &[Item]) -> PortResult<Vec<bool>> {
        self.ledger(self.inner.reopen(items)).await
    }

    async fn error_classes(&self, run: &RunId) -> PortResult<Vec<ErrorClass>> {
        self.ledger(self.inner.error_classes(run)).await
    }

    async fn slowest(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.ledger(self.inner.slowest(run, limit)).await
    }

    async fn latest_failures(&self, run: &RunId, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.ledger(self.inner.latest_failures(run, limit)).await
    }

    async fn compare(&self, before: &RunId, after: &RunId, examples: usize) -> PortResult<Comparison> {
        self.ledger(self.inner.compare(before, after, examples)).await
    }

    async fn organizations(&self, run: &RunId, filter: &Filter, limit: usize) -> PortResult<Vec<RunOrganization>> {
        self.ledger(self.inner.organizations(run, filter, limit)).await
    }

    async fn attempts_of(
        &self,
        organization: OrganizationId,
        limit: usize,
    ) -> PortResult<Vec<(RunId, RunOrganization)>> {
        self.ledger(self.inner.attempts_of(organization, limit)).await
    }

    async fn history(&self, organization: OrganizationId, limit: usize) -> PortResult<Vec<HistoryEntry>> {
        self.ledger(self.inner.history(organization, limit)).await
    }

    async fn record(&self, entry: &AuditEntry) -> PortResult<()> {
        self.ledger(self.inner.record(entry)).await
    }

    async fn audits(&self, filter: &AuditFilter, limit: usize) -> PortResult<Vec<AuditEntry>> {
        self.ledger(self.inner.audits(filter, limit)).await
    }

    async fn put_aside(&self, message: &UnreadableMessage) -> PortResult<()> {
        self.ledger(self.inner.put_aside(message)).await
    }

    async fn unreadable(&self, limit: usize) -> PortResult<Vec<UnreadableMessage>> {
        self.ledger(self.inner.unreadable(limit)).await
    }

    async fn prunable(&self, old: &Old) -> PortResult<Pruned> {
        self.ledger(self.inner.prunable(old)).await
    }

    async fn prune(&self, old: &Old, rows_max: usize) -> PortResult<Pruned> {
        self.ledger(self.inner.prune(old, rows_max)).await
    }

    async fn unreadable_message(&self, id: u64) -> PortResult<Option<UnreadableMessage>> {
        self.ledger(self.inner.unreadable_message(id)).await
    }
}
