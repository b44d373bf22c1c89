//! The current limits: the table `view_limits`.
//!
//! Partition key `shard` (0 to 7, from the organization's number), sort key `organization`. The shards make it possible to list
//! organizations in ascending order, which a partition for each would not, and eight of them take 8,000 writes a second before
//! DynamoDB divides any of them further. Attribute names are written out: whoever reads the table finds the canonical columns by name,
//! and a row stays below the 1 KB that one write unit pays for.

mod row;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnConsumedCapacity};
use chat::{LimitRow, Limits, OrganizationId, PortError, PortResult, PutOutcome};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};

use crate::DynamoDb;
use crate::dynamodb::{Item, Put, Size, number, text};
use crate::failed::Failed;

pub(crate) const SHARD: &str = "shard";
pub(crate) const ORGANIZATION: &str = "organization";
/// Part of the layout: a table that was written with another number cannot be read.
const SHARDS: u64 = 8;
/// Keys in one request: DynamoDB takes no more.
const KEYS: usize = 100;
/// How often another writer may be first before a put gives up.
const ROUNDS: usize = 50;

/// The current limits.
///
/// A put reads what is stored (half a read unit), decides by the version rule, and writes on the condition that nothing has changed
/// since (one write unit); whoever was first is read and decided over again.
#[derive(Clone, Debug)]
pub struct DynamoDbLimits {
    db: DynamoDb,
}

/// What became of a conditional put.
enum Written {
    Done,
    /// Another row stands there by now.
    Beaten(Option<LimitRow>),
}

impl DynamoDbLimits {
    /// Over a connection.
    pub fn new(db: DynamoDb) -> Self {
        Self { db }
    }

    fn table(&self) -> &str {
        &self.db.settings().tables.view_limits
    }

    fn failed(&self, failed: Failed) -> PortError {
        failed.port_error(&format!("table {}", self.table()))
    }

    fn decode(&self, item: &Item) -> PortResult<LimitRow> {
        row::decode(self.table(), item)
    }

    /// Rows of one organization, one after the other, over what is stored.
    async fn put_in_order(
        &self,
        rows: Vec<(usize, LimitRow)>,
        mut stored: Option<LimitRow>,
    ) -> PortResult<Vec<(usize, PutOutcome)>> {
        let mut outcomes = Vec::with_capacity(rows.len());
        for (index, row) in rows {
            outcomes.push((index, self.put_one(row, &mut stored).await?));
        }
        Ok(outcomes)
    }

    async fn put_one(&self, wanted: LimitRow, stored: &mut Option<LimitRow>) -> PortResult<PutOutcome> {
        for _ in 0..ROUNDS {
            let mut row = wanted.clone();
            let outcome = row.settle_over(stored.as_ref());
            if !matches!(outcome, PutOutcome::Stored { .. }) {
                return Ok(outcome);
            }
            match self.put_over(&row, stored.as_ref()).await? {
                Written::Done => {}
                // An answer was lost, and this is our own row.
                Written::Beaten(Some(current)) if current == row => {}
                Written::Beaten(current) => {
                    *stored = current;
                    continue;
                }
            }
            *stored = Some(row);
            return Ok(outcome);
        }
        let organization = wanted.organization;
        Err(PortError::Conflict { what: format!("the limit of organization {organization}: others keep writing it") })
    }

    /// Writes a row if what is stored is still `over`.
    async fn put_over(&self, row: &LimitRow, over: Option<&LimitRow>) -> PortResult<Written> {
        let mut item = row::encode(row);
        item.extend(key(row.organization));
        let put = self.db.client().put_item().table_name(self.table()).set_item(Some(item));
        let put = match over {
            None => put.condition_expression("attribute_not_exists(organization)"),
            Some(over) => put
                .condition_expression(
                    "plan_version = :plan AND as_of_ms = :of AND collected_at_ms = :at AND #run = :run",
                )
                .expression_attribute_names("#run", row::RUN)
                .expression_attribute_values(":plan", number(over.version.plan_version))
                .expression_attribute_values(":of", number(over.version.as_of.as_millis()))
                .expression_attribute_values(":at", number(over.version.collected_at.as_millis()))
                .expression_attribute_values(":run", text(over.run.as_str())),
        };
        match self.db.put(put).await.map_err(|failed| self.failed(failed))? {
            Put::Done => Ok(Written::Done),
            Put::Refused(current) => Ok(Written::Beaten(current.map(|item| self.decode(&item)).transpose()?)),
        }
    }

    /// The rows of distinct organizations, those that there are.
    async fn find(
        &self,
        organizations: &BTreeSet<OrganizationId>,
        consistent: bool,
    ) -> PortResult<BTreeMap<OrganizationId, LimitRow>> {
        let organizations: Vec<OrganizationId> = organizations.iter().copied().collect();
        let batches: Vec<_> = organizations.chunks(KEYS).map(|batch| self.find_batch(batch, consistent)).collect();
        let found = futures::stream::iter(batches).buffer_unordered(self.db.settings().requests_max.max(1));
        let rows: Vec<LimitRow> = found.try_concat().await?;
        Ok(rows.into_iter().map(|row| (row.organization, row)).collect())
    }

    async fn find_batch(&self, organizations: &[OrganizationId], consistent: bool) -> PortResult<Vec<LimitRow>> {
        let found = std::sync::Mutex::new(Vec::with_capacity(organizations.len()));
        let keys = Keys(organizations.iter().map(|organization| Item::from(key(*organization))).collect());
        let found_all = self.db.drain(keys, |keys| {
            let found = &found;
            async move {
                let wanted = KeysAndAttributes::builder().set_keys(Some(keys.0)).consistent_read(consistent).build();
                let batch = self
                    .db
                    .client()
                    .batch_get_item()
                    .set_request_items(Some([(self.table().to_owned(), wanted.map_err(refused)?)].into()));
                let answer = batch.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await?;
                self.db.read(answer.consumed_capacity().first().and_then(|capacity| capacity.capacity_units()));
                let items = answer.responses.and_then(|mut tables| tables.remove(self.table())).unwrap_or_default();
                found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(items);
                let left = answer.unprocessed_keys.and_then(|mut tables| tables.remove(self.table()));
                Ok(Keys(left.map(|left| left.keys).unwrap_or_default()))
            }
        });
        found_all.await.map_err(|(_, failed)| self.failed(failed))?;
        let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        found.iter().map(|item| self.decode(item)).collect()
    }

    /// Rows of one shard above `after`, ascending, and after which organization it goes on, if it does.
    async fn shard_page(
        &self,
        shard: u64,
        after: Option<OrganizationId>,
        limit: usize,
    ) -> PortResult<(VecDeque<LimitRow>, Option<OrganizationId>)> {
        let mut query = self
            .db
            .client()
            .query()
            .table_name(self.table())
            .key_condition_expression("#shard = :shard")
            .expression_attribute_names("#shard", SHARD)
            .expression_attribute_values(":shard", number(shard))
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX).max(1))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Some(after) = after {
            query = query
                .key_condition_expression("#shard = :shard AND organization > :after")
                .expression_attribute_values(":after", number(after.get()));
        }
        let answer = self.db.call(|| {
            let query = query.clone();
            async move { query.send().await.map_err(Failed::from) }
        });
        let answer = answer.await.map_err(|failed| self.failed(failed))?;
        self.db.read(answer.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
        let rows = answer.items().iter().map(|item| self.decode(item)).collect::<PortResult<_>>()?;
        let last = answer.last_evaluated_key().map(|item| row::organization(self.table(), item));
        Ok((rows, last.transpose()?))
    }
}

/// Keys that are still to be read.
#[derive(Clone)]
struct Keys(Vec<Item>);

impl Size for Keys {
    fn size(&self) -> usize {
        self.0.len()
    }
}

fn refused(source: aws_sdk_dynamodb::error::BuildError) -> Failed {
    Failed { kind: crate::failed::Kind::Refused, code: String::new(), source: source.into() }
}

fn key(organization: OrganizationId) -> [(String, AttributeValue); 2] {
    [(SHARD.to_owned(), number(shard(organization))), (ORGANIZATION.to_owned(), number(organization.get()))]
}

/// Spreads organizations, however they are numbered (Fibonacci hashing).
fn shard(organization: OrganizationId) -> u64 {
    organization.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SHARDS.ilog2())
}

/// One shard being listed.
struct Listing {
    shard: u64,
    rows: VecDeque<LimitRow>,
    after: Option<OrganizationId>,
    more: bool,
}

impl Listing {
    /// Reads on where nothing is left of what was read.
    async fn fill(&mut self, limits: &DynamoDbLimits, share: usize) -> PortResult<()> {
        while self.rows.is_empty() && self.more {
            let (rows, last) = limits.shard_page(self.shard, self.after, share).await?;
            (self.rows, self.more) = (rows, last.is_some());
            self.after = last.or(self.after);
        }
        Ok(())
    }
}

#[async_trait]
impl Limits for DynamoDbLimits {
    async fn put(&self, rows: &[LimitRow]) -> PortResult<Vec<PutOutcome>> {
        let mut of: BTreeMap<OrganizationId, Vec<(usize, LimitRow)>> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            of.entry(row.organization).or_default().push((index, row.clone()));
        }
        // It may lag: the condition finds that out.
        let mut stored = self.find(&of.keys().copied().collect(), false).await?;
        let puts = of.into_iter().map(|(organization, rows)| self.put_in_order(rows, stored.remove(&organization)));
        let puts: Vec<_> = puts.collect();
        let outcomes = futures::stream::iter(puts).buffer_unordered(self.db.settings().requests_max.max(1));
        let mut outcomes: Vec<(usize, PutOutcome)> = outcomes.try_concat().await?;
        outcomes.sort_unstable_by_key(|(index, _)| *index);
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    async fn get(&self, organizations: &[OrganizationId]) -> PortResult<Vec<Option<LimitRow>>> {
        let found = self.find(&organizations.iter().copied().collect(), true).await?;
        Ok(organizations.iter().map(|organization| found.get(organization).cloned()).collect())
    }

    /// Reads little more than it answers: a shard is asked for its share, and again when its share is used up.
    async fn page(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<LimitRow>> {
        let share = limit.div_ceil(SHARDS as usize) + 1;
        let listing = |shard| Listing { shard, rows: VecDeque::new(), after, more: true };
        let mut listings: Vec<Listing> = (0..SHARDS).map(listing).collect();
        let mut page = Vec::new();
        while page.len() < limit {
            try_join_all(listings.iter_mut().map(|listing| listing.fill(self, share))).await?;
            let next = listings.iter_mut().filter(|listing| !listing.rows.is_empty());
            let Some(listing) = next.min_by_key(|listing| listing.rows.front().map(|row| row.organization)) else {
                break;
            };
            page.extend(listing.rows.pop_front());
        }
        Ok(page)
    }
}
