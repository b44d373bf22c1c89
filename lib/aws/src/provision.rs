//! Finds tables and queues, and makes those that are missing. What exists is left as it is: whoever changed it had a reason.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::builders::KeySchemaElementBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TableDescription, TableStatus, TimeToLiveSpecification,
};
use aws_sdk_sqs::types::QueueAttributeName;
use chat::{PortError, PortResult};
use worker::QueueError;

use crate::failed::{Failed, Kind};
use crate::limits::{ORGANIZATION, SHARD};
use crate::messages::{INDEX, INDEX_ROOM, MESSAGE, ROOM};
use crate::sqs::queue_error;
use crate::state::{EXPIRES_AT, FAMILY, NAME};
use crate::{DynamoDb, Sqs, Tables};

/// How long a new table may take to become active.
const TABLE_WAIT: Duration = Duration::from_secs(300);
const TABLE_POLL: Duration = Duration::from_millis(250);
/// How often a message is received before SQS gives it up. A safety net: attempts are counted and tasks parked long before.
const RECEIVES_MAX: u32 = 100;
/// How long a queue keeps a message: the default of SQS.
const RETENTION: Duration = Duration::from_secs(4 * 86_400);
/// How long a dead letter is kept: as long as SQS can. The time counts from when the message was first sent, so it must be longer
/// than that of the queue it came from.
const DEAD_LETTER_RETENTION: Duration = Duration::from_secs(14 * 86_400);
/// What stands behind the name of a queue in that of its dead-letter queue.
const DEAD_LETTERS: &str = "-dead-letters";

/// What became of one table or queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provisioned {
    /// Its name.
    pub name: String,
    /// True when it was made now, false when it was there.
    pub created: bool,
}

/// A table or queue that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub exists: bool,
}

type Attribute = (&'static str, ScalarAttributeType);

/// A table as it has to be.
struct Layout<'a> {
    name: &'a str,
    /// Partition key, sort key.
    key: [Attribute; 2],
    /// A keys-only index: name, partition key, sort key.
    index: Option<(&'static str, [Attribute; 2])>,
    /// The attribute by which DynamoDB drops items.
    expires_by: Option<&'static str>,
}

/// Makes the tables of `db` that are missing, paid by request, and waits until each can be used.
///
/// # Errors
///
/// Refused when a table exists whose keys or index are others.
pub async fn create_tables(db: &DynamoDb) -> PortResult<Vec<Provisioned>> {
    let mut made = Vec::new();
    for layout in &layouts(&db.settings().tables) {
        made.push(provision_table(db, layout).await?);
    }
    Ok(made)
}

/// The tables of `db`, and which of them are there. Changes nothing.
///
/// # Errors
///
/// Refused when a table exists whose keys or index are others.
pub async fn find_tables(db: &DynamoDb) -> PortResult<Vec<Needed>> {
    let mut found = Vec::new();
    for layout in &layouts(&db.settings().tables) {
        let described = describe(db, layout.name).await;
        let table = described.map_err(|failed| failed.port_error(&format!("table {}", layout.name)))?;
        table.as_ref().map(|table| check(layout, table)).transpose()?;
        found.push(Needed { name: layout.name.to_owned(), exists: table.is_some() });
    }
    Ok(found)
}

fn layouts(tables: &Tables) -> [Layout<'_>; 3] {
    use ScalarAttributeType::{N, S};
    [
        Layout {
            name: &tables.messages,
            key: [(ROOM, N), (MESSAGE, N)],
            index: Some((INDEX, [(INDEX_ROOM, N), (MESSAGE, N)])),
            expires_by: None,
        },
        Layout { name: &tables.view_limits, key: [(SHARD, N), (ORGANIZATION, N)], index: None, expires_by: None },
        Layout { name: &tables.state, key: [(FAMILY, S), (NAME, S)], index: None, expires_by: Some(EXPIRES_AT) },
    ]
}

async fn provision_table(db: &DynamoDb, layout: &Layout<'_>) -> PortResult<Provisioned> {
    let failed = |failed: Failed| failed.port_error(&format!("table {}", layout.name));
    let created = match describe(db, layout.name).await.map_err(failed)? {
        Some(table) => {
            check(layout, &table)?;
            false
        }
        None => create(db, layout).await.map_err(failed)?,
    };
    let deadline = tokio::time::Instant::now() + TABLE_WAIT;
    loop {
        let status = describe(db, layout.name).await.map_err(failed)?.and_then(|table| table.table_status);
        if matches!(status, Some(TableStatus::Active | TableStatus::Updating)) {
            break;
        }
        if tokio::time::Instant::now() > deadline {
            let what = format!("table {}, which is not active after {} s,", layout.name, TABLE_WAIT.as_secs());
            return Err(PortError::Unavailable { what, retry_after: None, source: None });
        }
        tokio::time::sleep(TABLE_POLL).await;
    }
    if let Some(attribute) = layout.expires_by.filter(|_| created) {
        expire_by(db, layout.name, attribute).await.map_err(failed)?;
    }
    Ok(Provisioned { name: layout.name.to_owned(), created })
}

/// What tells a table from one that had its name before.
///
/// # Errors
///
/// Refused when it does not exist.
pub(crate) async fn table_id(db: &DynamoDb, table: &str) -> PortResult<String> {
    let failed = |failed: Failed| failed.port_error(&format!("table {table}"));
    let missing = || Failed { kind: Kind::Missing, code: String::new(), source: "it was looked for".into() };
    let described = describe(db, table).await.map_err(failed)?.ok_or_else(missing).map_err(failed)?;
    Ok(described.table_id.unwrap_or_default())
}

async fn describe(db: &DynamoDb, table: &str) -> Result<Option<TableDescription>, Failed> {
    let described = db.call(|| {
        let request = db.client().describe_table().table_name(table);
        async move { request.send().await.map_err(Failed::from) }
    });
    match described.await {
        Ok(described) => Ok(described.table),
        Err(failed) if failed.kind == Kind::Missing => Ok(None),
        Err(failed) => Err(failed),
    }
}

/// False when somebody else was faster.
async fn create(db: &DynamoDb, layout: &Layout<'_>) -> Result<bool, Failed> {
    let mut attributes: Vec<Attribute> = layout.key.to_vec();
    let index = layout.index.as_ref().map(|(name, key)| {
        attributes.extend(key.iter().filter(|(name, _)| layout.key.iter().all(|(known, _)| known != name)).cloned());
        let projection = Projection::builder().projection_type(ProjectionType::KeysOnly).build();
        GlobalSecondaryIndex::builder()
            .index_name(*name)
            .set_key_schema(Some(schema(key)?))
            .projection(projection)
            .build()
    });
    let index = index.transpose().map_err(unbuilt)?;
    let definitions = attributes
        .into_iter()
        .map(|(name, kind)| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build());
    let request = db
        .client()
        .create_table()
        .table_name(layout.name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(definitions.collect::<Result<_, _>>().map_err(unbuilt)?))
        .set_key_schema(Some(schema(&layout.key).map_err(unbuilt)?))
        .set_global_secondary_indexes(index.map(|index| vec![index]));
    let created = db.call(|| {
        let request = request.clone();
        async move { request.send().await.map_err(Failed::from) }
    });
    match created.await {
        Ok(_) => Ok(true),
        Err(failed) if failed.code == "ResourceInUseException" => Ok(false),
        Err(failed) => Err(failed),
    }
}

fn schema(key: &[Attribute; 2]) -> Result<Vec<KeySchemaElement>, aws_sdk_dynamodb::error::BuildError> {
    let element = |name: &str| -> KeySchemaElementBuilder { KeySchemaElement::builder().attribute_name(name) };
    let [(partition, _), (sort, _)] = key;
    Ok(vec![element(partition).key_type(KeyType::Hash).build()?, element(sort).key_type(KeyType::Range).build()?])
}

pub(crate) fn unbuilt(source: aws_sdk_dynamodb::error::BuildError) -> Failed {
    Failed { kind: Kind::Refused, code: String::new(), source: source.into() }
}

async fn expire_by(db: &DynamoDb, table: &str, attribute: &str) -> Result<(), Failed> {
    let expiry = TimeToLiveSpecification::builder().enabled(true).attribute_name(attribute).build().map_err(unbuilt)?;
    let request = db.client().update_time_to_live().table_name(table).time_to_live_specification(expiry);
    db.call(|| {
        let request = request.clone();
        async move { request.send().await.map(drop).map_err(Failed::from) }
    })
    .await
}

/// Whether a table that exists is the one that is needed.
fn check(layout: &Layout<'_>, table: &TableDescription) -> PortResult<()> {
    let names = |schema: &[KeySchemaElement]| schema.iter().map(|part| part.attribute_name.clone()).collect::<Vec<_>>();
    let wanted = |key: &[Attribute; 2]| key.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    let refused = |what: &str| Err(PortError::refused(format!("table {} exists, but {what}", layout.name)));
    if names(table.key_schema()) != wanted(&layout.key) {
        return refused(&format!("its keys are not {}", wanted(&layout.key).join(" and ")));
    }
    let Some((name, key)) = &layout.index else { return Ok(()) };
    let found = table.global_secondary_indexes().iter().find(|index| index.index_name() == Some(name));
    match found {
        Some(index) if names(index.key_schema()) == wanted(key) => Ok(()),
        _ => refused(&format!("it has no index {name} of {}", wanted(key).join(" and "))),
    }
}

/// Makes the queues `names` and their dead-letter queues, where they are missing. A message goes to the dead-letter queue after 100
/// receives and stays there for 14 days. Another process may do the same at the same time.
pub async fn create_queues(sqs: &Sqs, names: &[&str]) -> Result<Vec<Provisioned>, QueueError> {
    let mut made = Vec::with_capacity(2 * names.len());
    for name in names {
        let dead_letters = format!("{}{DEAD_LETTERS}", sqs.full_name(name));
        let kept = HashMap::from([(QueueAttributeName::MessageRetentionPeriod, seconds(DEAD_LETTER_RETENTION))]);
        made.push(provision_queue(sqs, &dead_letters, kept).await?);
        let target = arn_of(sqs, &dead_letters).await?;
        // Both are texts that need no escapes in JSON.
        let redrive = format!(r#"{{"deadLetterTargetArn":"{target}","maxReceiveCount":"{RECEIVES_MAX}"}}"#);
        let attributes = HashMap::from([
            (QueueAttributeName::MessageRetentionPeriod, seconds(RETENTION)),
            (QueueAttributeName::RedrivePolicy, redrive),
        ]);
        made.push(provision_queue(sqs, &sqs.full_name(name), attributes).await?);
    }
    Ok(made)
}

/// The queues `names` and their dead-letter queues, and which of them are there. Changes nothing.
pub async fn find_queues(sqs: &Sqs, names: &[&str]) -> Result<Vec<Needed>, QueueError> {
    let mut found = Vec::with_capacity(2 * names.len());
    for name in names.iter().map(|name| sqs.full_name(name)) {
        for name in [name.clone(), format!("{name}{DEAD_LETTERS}")] {
            let exists = url_of(sqs, &name).await?.is_some();
            found.push(Needed { name, exists });
        }
    }
    Ok(found)
}

fn seconds(time: Duration) -> String {
    time.as_secs().to_string()
}

async fn url_of(sqs: &Sqs, queue: &str) -> Result<Option<String>, QueueError> {
    let found = sqs.call(|| {
        let request = sqs.client().get_queue_url().queue_name(queue);
        async move { request.send().await.map_err(Failed::from) }
    });
    match found.await {
        Ok(found) => Ok(found.queue_url),
        Err(failed) if failed.kind == Kind::Missing => Ok(None),
        Err(failed) => Err(queue_error(queue, failed)),
    }
}

async fn provision_queue(
    sqs: &Sqs,
    queue: &str,
    attributes: HashMap<QueueAttributeName, String>,
) -> Result<Provisioned, QueueError> {
    let created = url_of(sqs, queue).await?.is_none();
    if created {
        let request = sqs.client().create_queue().queue_name(queue).set_attributes(Some(attributes));
        let created = sqs.call(|| {
            let request = request.clone();
            async move { request.send().await.map_err(Failed::from) }
        });
        created.await.map_err(|failed| queue_error(queue, failed))?;
    }
    Ok(Provisioned { name: queue.to_owned(), created })
}

async fn arn_of(sqs: &Sqs, queue: &str) -> Result<String, QueueError> {
    let missing = || QueueError::Refused { queue: queue.to_owned(), what: "it has no name in AWS (ARN)".to_owned() };
    let url = url_of(sqs, queue).await?.ok_or_else(missing)?;
    let asked = sqs.call(|| {
        let request = sqs.client().get_queue_attributes().queue_url(&url);
        let request = request.attribute_names(QueueAttributeName::QueueArn);
        async move { request.send().await.map_err(Failed::from) }
    });
    let attributes = asked.await.map_err(|failed| queue_error(queue, failed))?.attributes.unwrap_or_default();
    attributes.get(&QueueAttributeName::QueueArn).cloned().ok_or_else(missing)
}
