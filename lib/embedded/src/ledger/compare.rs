//! Two runs side by side.
//!
//! SQLite looks each organization of the run before up in the run after, and hands over what differs as groups: in which way
//! two rows differ is all that the rules ask, so each group is judged once, by its lowest organization. Handing every row over
//! costs more than twice as much. The organizations are taken in ranges, two at a time, each on a connection of its own.

use chat::ledger::{Comparer, Comparison, Outcome};
use chat::{OrganizationId, PortResult, RunId};
use sqlx::sqlite::SqliteRow;

use super::SqliteLedger;
use super::runs::unknown;
use crate::sqlite::Tx;

/// Organizations of the run before in one range: what SQLite sorts at a time.
const RANGE: i64 = 16_384;

/// How the boundaries of `b` (before) and `a` (after) stand to each other.
macro_rules! boundaries {
    () => {
        "CASE WHEN b.first_visible_message_id IS a.first_visible_message_id THEN 0
              WHEN b.first_visible_message_id IS NULL THEN 1
              WHEN a.first_visible_message_id IS NULL THEN 2
              WHEN b.first_visible_message_id < a.first_visible_message_id THEN 3
              ELSE 4 END"
    };
}
/// The columns that [`SqliteLedger::pair`] reads.
macro_rules! pair_columns {
    () => {
        "b.state AS before_state, b.first_visible_message_id AS before_boundary, b.visible_messages AS before_visible,
         a.state AS after_state, a.first_visible_message_id AS after_boundary, a.visible_messages AS after_visible"
    };
}
/// Organizations of a range of the run before that differ in the run after, or are not in it.
macro_rules! differing {
    () => {
        " FROM run_organizations AS b LEFT JOIN run_organizations AS a ON a.run = ?2 AND a.organization = b.organization
          WHERE b.run = ?1 AND b.organization > ?3 AND b.organization <= ?4
              AND (b.state IS NOT a.state OR b.first_visible_message_id IS NOT a.first_visible_message_id
                  OR b.visible_messages IS NOT a.visible_messages)"
    };
}

/// `runs.number` of the run before and of the run after.
type Numbers = (i64, i64);

/// Organizations above the first and up to the second.
type Range = (i64, i64);

/// What two runs have of an organization.
type Pair = (Option<Outcome>, Option<Outcome>);

/// An organization with what two runs have of it.
type Example = (OrganizationId, Pair);

/// Organizations that differ in the same way.
struct Group {
    /// Of the lowest of them.
    pair: Pair,
    /// How the boundaries stand to each other.
    boundaries: i64,
    same_visible: bool,
    organizations: u64,
}

/// A range of organizations in both runs.
#[derive(Default)]
struct Counted {
    before: u64,
    after: u64,
    groups: Vec<Group>,
}

impl SqliteLedger {
    pub(super) async fn compare_runs(&self, before: &RunId, after: &RunId, examples: usize) -> PortResult<Comparison> {
        let mut comparer = Comparer::new(examples);
        let numbers = self.numbers(before, after).await?;
        let mut ranges = self.two_ranges(numbers.0, -1).await?;
        while let [Some(low), high] = ranges {
            let (in_low, in_high, next) = tokio::try_join!(
                self.count_range(numbers, low),
                async {
                    match high {
                        Some(high) => self.count_range(numbers, high).await,
                        None => Ok(Counted::default()),
                    }
                },
                self.two_ranges(numbers.0, high.unwrap_or(low).1)
            )?;
            self.take(&mut comparer, numbers, low, in_low).await?;
            if let Some(high) = high {
                self.take(&mut comparer, numbers, high, in_high).await?;
            }
            ranges = next;
        }
        // Pruned meanwhile, a run would look as if it had fewer organizations.
        self.numbers(before, after).await?;
        Ok(comparer.finish(&self.classes_of(before).await?, self.classes_of(after).await?))
    }

    async fn numbers(&self, before: &RunId, after: &RunId) -> PortResult<Numbers> {
        let mut tx = self.database.snapshot().await?;
        let before = self.head(&mut tx, before).await?.ok_or_else(|| unknown(before))?;
        let after = self.head(&mut tx, after).await?.ok_or_else(|| unknown(after))?;
        Ok((before.number, after.number))
    }

    /// The next two ranges. The last one of all has no end: the run after may have higher organizations.
    async fn two_ranges(&self, run: i64, mut above: i64) -> PortResult<[Option<Range>; 2]> {
        let mut ranges = [None; 2];
        for range in &mut ranges {
            if above == i64::MAX {
                break;
            }
            let end: Option<i64> = sqlx::query_scalar(
                "SELECT organization FROM run_organizations WHERE run = ?1 AND organization > ?2
                 ORDER BY organization LIMIT 1 OFFSET ?3",
            )
            .bind(run)
            .bind(above)
            .bind(RANGE - 1)
            .fetch_optional(self.database.reader())
            .await
            .map_err(|e| self.database.error(e))?;
            let end = end.unwrap_or(i64::MAX);
            *range = Some((above, end));
            above = end;
        }
        Ok(ranges)
    }

    async fn count_range(&self, (before, after): Numbers, (above, through): Range) -> PortResult<Counted> {
        let mut tx = self.database.snapshot().await?;
        // SQLite takes the bare columns from the row that has the minimum.
        let rows = sqlx::query(concat!(
            "SELECT count(*) AS organizations, min(b.organization) AS organization, ",
            boundaries!(),
            " AS boundaries, b.visible_messages IS a.visible_messages AS same_visible, ",
            pair_columns!(),
            differing!(),
            " GROUP BY b.state, a.state, boundaries, same_visible"
        ))
        .bind(before)
        .bind(after)
        .bind(above)
        .bind(through)
        .fetch_all(&mut *tx)
        .await
        .map_err(|e| self.database.error(e))?;
        let group = |row: &SqliteRow| {
            Ok(Group {
                pair: self.pair(row)?,
                boundaries: self.whole(row, "boundaries")?,
                same_visible: self.column(row, "same_visible")?,
                organizations: self.whole(row, "organizations")?,
            })
        };
        let groups = rows.iter().map(group).collect::<PortResult<_>>()?;
        let before = self.count(&mut tx, before, (above, through)).await?;
        let after = self.count(&mut tx, after, (above, through)).await?;
        Ok(Counted { before, after, groups })
    }

    async fn count(&self, tx: &mut Tx, run: i64, (above, through): Range) -> PortResult<u64> {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM run_organizations WHERE run = ?1 AND organization > ?2 AND organization <= ?3",
        )
        .bind(run)
        .bind(above)
        .bind(through)
        .fetch_one(&mut **tx)
        .await
        .map_err(|e| self.database.error(e))?;
        Ok(count.unsigned_abs())
    }

    /// Takes what a range has, with the examples that are still wanted.
    async fn take(&self, comparer: &mut Comparer, numbers: Numbers, range: Range, counted: Counted) -> PortResult<()> {
        let sum = |only: fn(&Pair) -> bool| -> u64 {
            counted.groups.iter().filter(|group| only(&group.pair)).map(|group| group.organizations).sum()
        };
        let (differing, only_before) = (sum(|_| true), sum(|(_, after)| after.is_none()));
        comparer.count_same(counted.before.saturating_sub(differing));
        let only_after = counted.after.saturating_sub(counted.before.saturating_sub(only_before));
        let mut examples = Vec::new();
        for group in &counted.groups {
            let (before, after) = group.pair;
            comparer.count(group.organizations, before, after);
            let wanted = comparer.examples_wanted(before, after);
            if wanted > 0 {
                examples.extend(self.examples_like(group, numbers, range, wanted).await?);
            }
        }
        if only_after > 0 {
            // One at least, of which the rules tell how it differs.
            let lowest = self.only_after(numbers, range, comparer.examples_max().max(1)).await?;
            if let Some((_, (before, after))) = lowest.first() {
                comparer.count(only_after, *before, *after);
            }
            examples.extend(lowest);
        }
        examples.sort_unstable_by_key(|(organization, _)| *organization);
        for (organization, (before, after)) in examples {
            comparer.add_example(organization, before, after);
        }
        Ok(())
    }

    /// The lowest organizations that differ like `group`.
    async fn examples_like(
        &self,
        group: &Group,
        (before, after): Numbers,
        (above, through): Range,
        most: usize,
    ) -> PortResult<Vec<Example>> {
        let rows = sqlx::query(concat!(
            "SELECT b.organization AS organization, ",
            pair_columns!(),
            differing!(),
            " AND b.state IS ?5 AND a.state IS ?6 AND ",
            boundaries!(),
            " = ?7 AND (b.visible_messages IS a.visible_messages) = ?8 ORDER BY b.organization LIMIT ?9"
        ))
        .bind(before)
        .bind(after)
        .bind(above)
        .bind(through)
        .bind(group.pair.0.map(|outcome| outcome.state.as_str()))
        .bind(group.pair.1.map(|outcome| outcome.state.as_str()))
        .bind(group.boundaries)
        .bind(group.same_visible)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        rows.iter().map(|row| self.example(row)).collect()
    }

    /// The lowest organizations that only the run after has.
    async fn only_after(
        &self,
        (before, after): Numbers,
        (above, through): Range,
        most: usize,
    ) -> PortResult<Vec<Example>> {
        let rows = sqlx::query(concat!(
            "SELECT a.organization AS organization, ",
            pair_columns!(),
            " FROM run_organizations AS a LEFT JOIN run_organizations AS b ON b.run = ?1 AND b.organization = a.organization
              WHERE a.run = ?2 AND a.organization > ?3 AND a.organization <= ?4 AND b.run IS NULL
              ORDER BY a.organization LIMIT ?5"
        ))
        .bind(before)
        .bind(after)
        .bind(above)
        .bind(through)
        .bind(i64::try_from(most).unwrap_or(i64::MAX))
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        rows.iter().map(|row| self.example(row)).collect()
    }

    fn example(&self, row: &SqliteRow) -> PortResult<Example> {
        Ok((self.whole(row, "organization")?, self.pair(row)?))
    }

    fn pair(&self, row: &SqliteRow) -> PortResult<Pair> {
        let before = self.outcome(row, ["before_state", "before_boundary", "before_visible"])?;
        let after = self.outcome(row, ["after_state", "after_boundary", "after_visible"])?;
        Ok((before, after))
    }

    /// None where the run does not have the organization.
    fn outcome(&self, row: &SqliteRow, [state, boundary, visible]: [&str; 3]) -> PortResult<Option<Outcome>> {
        let state: Option<&str> = self.column(row, state)?;
        let Some(state) = state else { return Ok(None) };
        Ok(Some(Outcome {
            state: self.state_of(state)?,
            first_visible_message_id: self.whole_or_none(row, boundary)?,
            visible_messages: self.whole(row, visible)?,
        }))
    }
}
