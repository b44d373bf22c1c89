//! Attempts: begun, taken back, failed.

use std::collections::{BTreeMap, HashMap};

use chat::ledger::{Begun, Failure, Item, Stage};
use chat::{PortResult, RunId, Timestamp};
use serde::Serialize;

use super::{STATEMENT_ROWS_MAX, SqlLedger, by_run};
use crate::database::{Tx, json, ms};

/// What became of the organizations of one run, by organization.
#[derive(Default)]
struct Found {
    /// Attempts before each item of the batch is counted.
    attempts: HashMap<i64, i64>,
    /// State of those that could not be begun.
    others: HashMap<i64, Begun>,
}

/// A failed attempt as its statement takes it.
#[derive(Serialize)]
struct FailedRow {
    organization: i64,
    class: String,
    error: String,
}

impl SqlLedger {
    pub(super) async fn begin_attempts(&self, stage: Stage, items: &[Item], at: Timestamp) -> PortResult<Vec<Begun>> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let mut found: HashMap<&RunId, Found> = HashMap::new();
        for (run, entries) in by_run(items, |item| item) {
            found.insert(run, self.begin_in_run(&mut tx, run, stage, times(&entries), at).await?);
        }
        tx.commit().await?;
        // An item that stands twice in the batch is counted twice, and the later one is the later attempt.
        let mut answer = |item: &Item| {
            let Some(found) = found.get_mut(&item.run) else { return Begun::Unknown };
            let organization = item.organization.as_i64();
            match found.attempts.get_mut(&organization) {
                Some(attempts) => {
                    *attempts += 1;
                    Begun::Attempt(u32::try_from(*attempts).unwrap_or(u32::MAX))
                }
                None => found.others.get(&organization).cloned().unwrap_or(Begun::Unknown),
            }
        };
        Ok(items.iter().map(&mut answer).collect())
    }

    async fn begin_in_run(
        &self,
        tx: &mut Tx,
        run: &RunId,
        stage: Stage,
        times: BTreeMap<i64, i64>,
        at: Timestamp,
    ) -> PortResult<Found> {
        let mut found = Found::default();
        let Some(head) = self.head(tx, run).await? else { return Ok(found) };
        let organizations: Vec<i64> = times.keys().copied().collect();
        let locked = self.lock(tx, head.number, &organizations).await?;
        let mut begun: Vec<(i64, i64)> = Vec::with_capacity(times.len());
        for (organization, times) in times {
            let Some(row) = locked.get(&organization) else { continue };
            if row.state.is_terminal() {
                found.others.insert(organization, Begun::Settled(row.state));
            } else if head.cancelled {
                found.others.insert(organization, Begun::Cancelled);
            } else {
                let before = if row.stage == Some(stage) { row.attempts } else { 0 };
                found.attempts.insert(organization, before);
                begun.push((organization, before + times));
            }
        }
        for chunk in begun.chunks(STATEMENT_ROWS_MAX) {
            let values = [
                ("run", head.number.into()),
                ("stage", stage.as_str().into()),
                ("at", ms(at).into()),
                ("batch", json(chunk)?.into()),
            ];
            tx.execute(self.statements().begin, &values).await?;
        }
        Ok(found)
    }

    pub(super) async fn forgive_attempts(&self, stage: Stage, items: &[Item]) -> PortResult<()> {
        if items.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        for (run, entries) in by_run(items, |item| item) {
            let Some(head) = self.head(&mut tx, run).await? else { continue };
            let times = times(&entries);
            let organizations: Vec<i64> = times.keys().copied().collect();
            let locked = self.lock(&mut tx, head.number, &organizations).await?;
            let forgiven: Vec<(i64, i64)> = times
                .into_iter()
                .filter_map(|(organization, times)| {
                    let row = locked.get(&organization)?;
                    let open = row.stage == Some(stage) && !row.state.is_terminal();
                    open.then_some((organization, (row.attempts - times).max(0)))
                })
                .collect();
            for chunk in forgiven.chunks(STATEMENT_ROWS_MAX) {
                let values = [("run", head.number.into()), ("batch", json(chunk)?.into())];
                tx.execute(self.statements().forgive, &values).await?;
            }
        }
        tx.commit().await
    }

    pub(super) async fn fail_attempts(&self, failures: &[(Item, Failure)]) -> PortResult<()> {
        if failures.is_empty() {
            return Ok(());
        }
        let mut tx = self.database.begin().await?;
        for (run, entries) in by_run(failures, |(item, _)| item) {
            let Some(head) = self.head(&mut tx, run).await? else { continue };
            // Of an item that stands twice, the last failure is the one that is kept.
            let last: BTreeMap<i64, &Failure> =
                entries.iter().map(|(item, failure)| (item.organization.as_i64(), failure)).collect();
            let organizations: Vec<i64> = last.keys().copied().collect();
            let locked = self.lock(&mut tx, head.number, &organizations).await?;
            let failed: Vec<FailedRow> = last
                .into_iter()
                .filter(|(organization, _)| locked.get(organization).is_some_and(|row| !row.state.is_terminal()))
                .map(|(organization, failure)| {
                    let Failure { class, error } = failure.kept();
                    FailedRow { organization, class, error }
                })
                .collect();
            for chunk in failed.chunks(STATEMENT_ROWS_MAX) {
                let values = [("run", head.number.into()), ("batch", json(chunk)?.into())];
                tx.execute(self.statements().fail, &values).await?;
            }
        }
        tx.commit().await
    }
}

/// How often each organization stands in the batch.
fn times(items: &[&Item]) -> BTreeMap<i64, i64> {
    let mut times = BTreeMap::new();
    for item in items {
        *times.entry(item.organization.as_i64()).or_default() += 1;
    }
    times
}
