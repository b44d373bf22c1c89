//! How organizations end in a run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chat::ledger::{Failure, Settlement};
use chat::{PortResult, RunId};
use serde::Serialize;

use super::{RunHead, STATEMENT_ROWS_MAX, SqlLedger, by_run};
use crate::database::{Tx, json, ms};

/// An end as its statement takes it; what is left out is NULL.
#[derive(Serialize)]
struct EndRow {
    organization: i64,
    state: &'static str,
    rooms: u32,
    rooms_opened: u32,
    messages_read: u64,
    read_units: f64,
    visible_messages: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_visible: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    finished_at: i64,
}

impl SqlLedger {
    pub(super) async fn settle_organizations(&self, settlements: &[Settlement]) -> PortResult<Vec<bool>> {
        Settlement::check(settlements)?;
        if settlements.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.database.begin().await?;
        let mut settled: HashMap<&RunId, BTreeSet<i64>> = HashMap::new();
        for (run, entries) in by_run(settlements, |settlement| &settlement.item) {
            let Some(head) = self.head(&mut tx, run).await? else { continue };
            settled.insert(run, self.settle_in_run(&mut tx, &head, entries).await?);
        }
        tx.commit().await?;
        let mut first =
            |s: &Settlement| settled.get_mut(&s.item.run).is_some_and(|ended| ended.remove(&organization(s)));
        Ok(settlements.iter().map(&mut first).collect())
    }

    /// Ends what is not terminal yet; answers which organizations.
    async fn settle_in_run(
        &self,
        tx: &mut Tx,
        head: &RunHead,
        settlements: Vec<&Settlement>,
    ) -> PortResult<BTreeSet<i64>> {
        // Of an organization that stands twice, the first ends it.
        let mut first: BTreeMap<i64, &Settlement> = BTreeMap::new();
        for settlement in settlements {
            first.entry(organization(settlement)).or_insert(settlement);
        }
        let organizations: Vec<i64> = first.keys().copied().collect();
        let locked = self.lock(tx, head.number, &organizations).await?;
        first.retain(|organization, _| locked.get(organization).is_some_and(|row| !row.state.is_terminal()));
        let ends: Vec<EndRow> = first.values().map(|settlement| end_row(settlement)).collect();
        for chunk in ends.chunks(STATEMENT_ROWS_MAX) {
            let values = [("run", head.number.into()), ("batch", json(chunk)?.into())];
            tx.execute(self.statements().settle, &values).await?;
        }
        let changes = first.values().filter_map(|settlement| settlement.history_row(head.as_of));
        self.insert_history(tx, &changes.collect::<Vec<_>>()).await?;
        self.drop_room_lists(tx, head.number, &organizations).await?;
        Ok(first.into_keys().collect())
    }
}

fn organization(settlement: &Settlement) -> i64 {
    settlement.item.organization.as_i64()
}

fn end_row(settlement: &Settlement) -> EndRow {
    let figures = &settlement.figures;
    let failure = settlement.failure.as_ref().map(Failure::kept);
    EndRow {
        organization: organization(settlement),
        state: settlement.state.as_str(),
        rooms: figures.rooms,
        rooms_opened: figures.rooms_opened,
        messages_read: figures.messages_read.min(i64::MAX as u64),
        read_units: if figures.read_units.is_finite() { figures.read_units } else { 0.0 },
        visible_messages: figures.visible_messages,
        first_visible: figures.first_visible_message_id.map(|id| id.as_i64()),
        previous: figures.previous_first_visible_message_id.map(|id| id.as_i64()),
        class: failure.as_ref().map(|failure| failure.class.clone()),
        error: failure.map(|failure| failure.error),
        finished_at: ms(settlement.at),
    }
}
