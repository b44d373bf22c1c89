//! Small records: the table of state.
//!
//! Partition key `family`, sort key `name`: a key in its two parts. `expires_at` (seconds, rounded up) is what DynamoDB's own expiry
//! looks at, some time later; `expires_at_ms` is what decides.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::types::ReturnConsumedCapacity;
use chat::{PortError, PortResult};
use worker::state::{Write, check_key, check_prefix, check_value};
use worker::{Expected, Record, RecordVersion, State, StateError};

use crate::DynamoDb;
use crate::dynamodb::{Fields, Item, Put, bytes, number, text};
use crate::failed::Failed;

pub(crate) const FAMILY: &str = "family";
pub(crate) const NAME: &str = "name";
pub(crate) const EXPIRES_AT: &str = "expires_at";
const EXPIRES_AT_MS: &str = "expires_at_ms";
const VALUE: &str = "value";
const VERSION: &str = "version";

/// Small records.
#[derive(Clone, Debug)]
pub struct DynamoDbState {
    db: DynamoDb,
}

impl DynamoDbState {
    /// Over a connection.
    pub fn new(db: DynamoDb) -> Self {
        Self { db }
    }

    /// The table's name.
    pub(crate) fn table(&self) -> &str {
        &self.db.settings().tables.state
    }

    fn failed(&self, failed: Failed) -> StateError {
        state_error(failed.port_error(&format!("table {}", self.table())))
    }

    fn decode(&self, item: &Item) -> Result<Record, StateError> {
        decode(self.table(), item).map_err(state_error)
    }

    /// A page of the names of a family, expired ones included, and where it goes on.
    async fn query(
        &self,
        family: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Record>, bool), StateError> {
        // A condition on the sort key is either a beginning or a range; the beginning is kept by whoever reads the page.
        let from = after.map_or((prefix, ">="), |after| (after, ">"));
        let all = from == ("", ">=");
        let mut query = self
            .db
            .client()
            .query()
            .table_name(self.table())
            .expression_attribute_names("#family", FAMILY)
            .expression_attribute_values(":family", text(family))
            .consistent_read(true)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX).max(1))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        query = if all {
            query.key_condition_expression("#family = :family")
        } else {
            query
                .key_condition_expression(format!("#family = :family AND #name {} :from", from.1))
                .expression_attribute_names("#name", NAME)
                .expression_attribute_values(":from", text(from.0))
        };
        let answer = self.db.call(|| {
            let query = query.clone();
            async move { query.send().await.map_err(Failed::from) }
        });
        let answer = answer.await.map_err(|failed| self.failed(failed))?;
        self.db.read(answer.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
        let records = answer.items().iter().map(|item| self.decode(item)).collect::<Result<_, _>>()?;
        Ok((records, answer.last_evaluated_key().is_some()))
    }
}

#[async_trait]
impl State for DynamoDbState {
    async fn get(&self, key: &str) -> Result<Option<Record>, StateError> {
        check_key(key)?;
        let [family, name] = parts(key);
        let get = self.db.client().get_item().table_name(self.table()).consistent_read(true);
        let get = get.key(FAMILY, text(family)).key(NAME, text(name));
        let answer = self.db.call(|| {
            let get = get.clone().return_consumed_capacity(ReturnConsumedCapacity::Total);
            async move { get.send().await.map_err(Failed::from) }
        });
        let answer = answer.await.map_err(|failed| self.failed(failed))?;
        self.db.read(answer.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
        let record = answer.item().map(|item| self.decode(item)).transpose()?;
        Ok(record.filter(is_alive))
    }

    async fn put(&self, write: Write<'_>) -> Result<RecordVersion, StateError> {
        check_key(write.key)?;
        check_value(write.key, write.value)?;
        let [family, name] = parts(write.key);
        let version = RecordVersion::random();
        let mut put = self
            .db
            .client()
            .put_item()
            .table_name(self.table())
            .item(FAMILY, text(family))
            .item(NAME, text(name))
            .item(VALUE, bytes(write.value))
            .item(VERSION, number(version.bits()));
        if let Some(lives_for) = write.lives_for {
            let at_ms = unix_ms().saturating_add(u64::try_from(lives_for.as_millis()).unwrap_or(u64::MAX));
            put = put.item(EXPIRES_AT_MS, number(at_ms)).item(EXPIRES_AT, number(at_ms.div_ceil(1_000)));
        }
        put = match write.expected {
            Expected::Anything => put,
            Expected::Nothing => put
                .condition_expression("attribute_not_exists(#family) OR #expires <= :now")
                .expression_attribute_names("#family", FAMILY)
                .expression_attribute_names("#expires", EXPIRES_AT_MS)
                .expression_attribute_values(":now", number(unix_ms())),
            Expected::Version(expected) => put
                .condition_expression("#version = :expected AND (attribute_not_exists(#expires) OR #expires > :now)")
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_names("#expires", EXPIRES_AT_MS)
                .expression_attribute_values(":expected", number(expected.bits()))
                .expression_attribute_values(":now", number(unix_ms())),
        };
        match self.db.put(put).await.map_err(|failed| self.failed(failed))? {
            Put::Done => Ok(version),
            // An answer was lost, and this is our own record.
            Put::Refused(Some(item)) if self.decode(&item)?.version == version => Ok(version),
            Put::Refused(_) => Err(StateError::Conflict { key: write.key.to_owned() }),
        }
    }

    async fn delete(&self, key: &str, version: Option<RecordVersion>) -> Result<(), StateError> {
        check_key(key)?;
        let [family, name] = parts(key);
        let mut delete = self
            .db
            .client()
            .delete_item()
            .table_name(self.table())
            .key(FAMILY, text(family))
            .key(NAME, text(name))
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        if let Some(version) = version {
            delete = delete
                .condition_expression("attribute_not_exists(#family) OR #version = :version OR #expires <= :now")
                .expression_attribute_names("#family", FAMILY)
                .expression_attribute_names("#version", VERSION)
                .expression_attribute_names("#expires", EXPIRES_AT_MS)
                .expression_attribute_values(":version", number(version.bits()))
                .expression_attribute_values(":now", number(unix_ms()));
        }
        let answer = self.db.call(|| {
            let delete = delete.clone();
            async move {
                match delete.send().await {
                    Ok(answer) => {
                        self.db.wrote(answer.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
                        Ok(true)
                    }
                    Err(error) => match error.as_service_error() {
                        Some(DeleteItemError::ConditionalCheckFailedException(_)) => Ok(false),
                        _ => Err(Failed::from(error)),
                    },
                }
            }
        });
        let held = answer.await.map_err(|failed| self.failed(failed))?;
        if held { Ok(()) } else { Err(StateError::Conflict { key: key.to_owned() }) }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Record>, StateError> {
        check_prefix(prefix)?;
        let [family, beginning] = parts(prefix);
        // Names compare as their keys do, for the family is the same.
        let mut after = match after {
            Some(after) if after < prefix => None,
            Some(after) if after.starts_with(prefix) => after.get(family.len() + 1..).map(str::to_owned),
            Some(_) => return Ok(Vec::new()),
            None => None,
        };
        let mut listed = Vec::new();
        while listed.len() < limit {
            let (page, more) = self.query(family, beginning, after.as_deref(), limit - listed.len()).await?;
            let last = page.last().map(|record| record.key.clone()).filter(|last| more && last.starts_with(prefix));
            let within = page.into_iter().take_while(|record| record.key.starts_with(prefix));
            listed.extend(within.filter(is_alive));
            let Some(last) = last else { break };
            after = last.get(family.len() + 1..).map(str::to_owned);
        }
        Ok(listed)
    }
}

/// A key or prefix that was checked, in its two parts.
fn parts(key: &str) -> [&str; 2] {
    key.split_once('/').map_or([key, ""], |(family, name)| [family, name])
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn is_alive(record: &Record) -> bool {
    record.expires_at.is_none_or(|at| at > SystemTime::now())
}

fn decode(table: &str, item: &Item) -> PortResult<Record> {
    let fields = Fields { table, item };
    let expires_at_ms = fields.find_number(EXPIRES_AT_MS)?;
    Ok(Record {
        key: format!("{}/{}", fields.text(FAMILY)?, fields.text(NAME)?),
        value: fields.bytes(VALUE)?.to_vec(),
        version: RecordVersion::from_bits(fields.number(VERSION)?),
        expires_at: expires_at_ms.and_then(|ms| UNIX_EPOCH.checked_add(Duration::from_millis(ms))),
    })
}

/// The same failure in the words of the chat's ports.
pub(crate) fn port_error(error: StateError) -> PortError {
    match error {
        StateError::Unavailable { what, source } => PortError::unavailable(what, source),
        StateError::Throttled { what, source } => PortError::Throttled { what, source: Some(source) },
        StateError::Conflict { key } => PortError::Conflict { what: format!("somebody else changed the record {key}") },
        StateError::Refused { what, source } => PortError::Refused { what, source },
        StateError::Corrupt { what } => PortError::corrupt(what),
    }
}

/// The same failure in the words of this port.
fn state_error(error: PortError) -> StateError {
    let words = error.to_string();
    match error {
        PortError::Throttled { what, source } => {
            StateError::Throttled { what, source: source.unwrap_or_else(|| words.into()) }
        }
        PortError::Unavailable { what, source, .. } => {
            StateError::Unavailable { what, source: source.unwrap_or_else(|| words.into()) }
        }
        PortError::Corrupt { what, .. } => StateError::Corrupt { what },
        PortError::Conflict { what } => StateError::Refused { what, source: None },
        PortError::Refused { what, source } => StateError::Refused { what, source },
    }
}
