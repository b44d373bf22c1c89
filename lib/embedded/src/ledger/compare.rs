//! Two runs side by side.
//!
//! Two cursors go up the rows of both runs and are merged here. They are rusqlite's, because a row costs it a tenth of what it costs
//! sqlx, which hands each one over between threads; looking the organizations of one run up in the other inside SQLite costs three times
//! as much as reading both (`benches/README.md`). Two halves are read at once, each on a thread and a connection of its own.

use chat::ledger::{Comparer, Comparison, Outcome, State};
use chat::{MessageId, OrganizationId, PortResult, RunId};
use rusqlite::types::Type;
use rusqlite::{Row, Rows};

use super::SqliteLedger;
use super::runs::unknown;
use crate::blocking::blocking;
use crate::sqlite::Database;

/// One run, ascending: the organizations above one and up to another.
const ROWS: &str = "SELECT organization, state, first_visible_message_id, visible_messages FROM run_organizations
                    WHERE run = ?1 AND organization > ?2 AND organization <= ?3 ORDER BY organization";

impl SqliteLedger {
    pub(super) async fn compare_runs(&self, before: &RunId, after: &RunId, examples: usize) -> PortResult<Comparison> {
        let numbers = self.numbers(before, after).await?;
        let middle = self.middle(numbers.0).await?;
        let half = |range| {
            let database = self.database.clone();
            blocking(move || compare_range(&database, numbers, range, Comparer::new(examples)))
        };
        let (mut comparer, higher) = tokio::try_join!(half((-1, middle)), half((middle, i64::MAX)))?;
        comparer.append(higher);
        // Pruned meanwhile, a run would look as if it had fewer organizations.
        self.numbers(before, after).await?;
        Ok(comparer.finish(&self.classes_of(before).await?, self.classes_of(after).await?))
    }

    /// `runs.number` of both.
    async fn numbers(&self, before: &RunId, after: &RunId) -> PortResult<(i64, i64)> {
        let mut tx = self.database.snapshot().await?;
        let before = self.head(&mut tx, before).await?.ok_or_else(|| unknown(before))?;
        let after = self.head(&mut tx, after).await?.ok_or_else(|| unknown(after))?;
        Ok((before.number, after.number))
    }

    /// About the middle of a run's organizations: halves of it are worth the same, if ids are as dense everywhere.
    async fn middle(&self, run: i64) -> PortResult<i64> {
        let end =
            |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).bind(run).fetch_optional(self.database.reader());
        let (lowest, highest) = tokio::try_join!(
            end("SELECT organization FROM run_organizations WHERE run = ?1 ORDER BY organization LIMIT 1"),
            end("SELECT organization FROM run_organizations WHERE run = ?1 ORDER BY organization DESC LIMIT 1"),
        )
        .map_err(|e| self.database.error(e))?;
        Ok(lowest.unwrap_or(0).midpoint(highest.unwrap_or(0)))
    }
}

/// Merges the rows of both runs in a range: the organizations above the first and up to the second.
fn compare_range(
    database: &Database,
    (before, after): (i64, i64),
    (above, through): (i64, i64),
    mut comparer: Comparer,
) -> PortResult<Comparer> {
    let error = |e| database.scan_error(e);
    let connection = database.scanner()?;
    let snapshot = connection.unchecked_transaction().map_err(error)?;
    let mut statements = (snapshot.prepare(ROWS).map_err(error)?, snapshot.prepare(ROWS).map_err(error)?);
    let mut before = Side { database, rows: statements.0.query([before, above, through]).map_err(error)? };
    let mut after = Side { database, rows: statements.1.query([after, above, through]).map_err(error)? };
    let mut next = (before.next()?, after.next()?);
    while let Some(organization) = [&next.0, &next.1].into_iter().flatten().map(|(organization, _)| *organization).min()
    {
        let mut outcomes = (None, None);
        if let Some((_, outcome)) = next.0.take_if(|(lowest, _)| *lowest == organization) {
            (outcomes.0, next.0) = (Some(outcome), before.next()?);
        }
        if let Some((_, outcome)) = next.1.take_if(|(lowest, _)| *lowest == organization) {
            (outcomes.1, next.1) = (Some(outcome), after.next()?);
        }
        comparer.add(organization, outcomes.0, outcomes.1);
    }
    Ok(comparer)
}

/// The rows of one run.
struct Side<'a> {
    database: &'a Database,
    rows: Rows<'a>,
}

impl Side<'_> {
    fn next(&mut self) -> PortResult<Option<(OrganizationId, Outcome)>> {
        let database = self.database;
        let row = self.rows.next().map_err(|e| database.scan_error(e))?;
        row.map(|row| outcome(row).map_err(|e| database.scan_error(e))).transpose()
    }
}

fn outcome(row: &Row<'_>) -> rusqlite::Result<(OrganizationId, Outcome)> {
    let unreadable = |column: usize, value: &str| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("'{value}' is no state").into())
    };
    let state = row.get_ref(1)?.as_str()?;
    let boundary: Option<u64> = row.get(2)?;
    Ok((
        OrganizationId::from_bits(row.get(0)?),
        Outcome {
            state: State::of(state).ok_or_else(|| unreadable(1, state))?,
            first_visible_message_id: boundary.map(MessageId::from_bits),
            visible_messages: row.get(3)?,
        },
    ))
}
