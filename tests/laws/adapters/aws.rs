//! Adapters of AWS, on servers that speak its protocols: `LANNER_TEST_DYNAMODB_URL`, `LANNER_TEST_SQS_URL` (`tests/servers`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws::{
    Credentials, DynamoDb, DynamoDbLiveIds, DynamoDbMessages, DynamoDbSettings, MessageRow, RetrySettings,
    ServiceSettings, Sqs, SqsQueue, SqsSettings, Tables, provision,
};
use chat::{Message, MessageId, NoHeads, PortResult, RoomId};
use support::{Faults, FaultyProxy};

use crate::live_ids::MessageWriter;
use crate::messages::BodyWriter;
use crate::messages::store::Store;
use crate::random;
use crate::suite::Law;

const QUEUE: &str = "laws";

/// How a server is reached.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Straight; what is missing is provisioned.
    Straight,
    /// Straight, and nothing is provisioned.
    Unprovisioned,
    /// Through a proxy that fails in some requests of a hundred; what is missing is provisioned without it.
    Faulty {
        /// Requests of a hundred that fail.
        percent: u32,
        /// Tries of a request.
        tries: u32,
    },
}

/// Often enough that every kind of fault happens, and seldom enough to get on.
pub(super) const FAULTY: Way = Way::Faulty { percent: 20, tries: 6 };

/// A connection to tables of the folder's own, or why there is none.
pub(crate) async fn dynamodb(folder: &Path, way: Way) -> Result<DynamoDb, String> {
    let url = url("LANNER_TEST_DYNAMODB_URL")?;
    let tables = Tables::with_prefix(&format!("{}-", prefix(folder)));
    let connect = async |service| {
        let settings = DynamoDbSettings { tables: tables.clone(), ..DynamoDbSettings::default() };
        DynamoDb::connect(&service, settings).await.map_err(|e| format!("{e:?}"))
    };
    let straight = connect(service(&url, 6)).await?;
    if !matches!(way, Way::Unprovisioned) {
        provision::create_tables(&straight).await.map_err(|e| format!("{e:?}"))?;
    }
    let Way::Faulty { percent, tries } = way else { return Ok(straight) };
    let proxy = FaultyProxy::start(&url, Faults::new(random::seed(), percent)).await;
    connect(service(&proxy.url, tries)).await
}

/// A queue of the folder's own, or why there is none.
pub(super) async fn queue(folder: &Path, way: Way) -> Result<SqsQueue, String> {
    let url = url("LANNER_TEST_SQS_URL")?;
    let connect = async |service| {
        let settings = SqsSettings { queue_prefix: format!("{}-", prefix(folder)), linger: Duration::ZERO };
        Sqs::connect(&service, settings).await.map_err(|e| format!("{e:?}"))
    };
    let straight = connect(service(&url, 6)).await?;
    provision::create_queues(&straight, &[QUEUE]).await.map_err(|e| format!("{e:?}"))?;
    let Way::Faulty { percent, tries } = way else {
        return SqsQueue::open(&straight, QUEUE).await.map_err(|e| format!("{e:?}"));
    };
    let proxy = FaultyProxy::start(&url, Faults::new(random::seed(), percent)).await;
    let faulty = connect(service(&proxy.url, tries)).await?;
    // Opening fails as everything does.
    let mut answer = SqsQueue::open(&faulty, QUEUE).await;
    while answer.as_ref().is_err_and(worker::QueueError::is_temporary) {
        answer = SqsQueue::open(&faulty, QUEUE).await;
    }
    answer.map_err(|e| format!("{e:?}"))
}

pub(super) fn url(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

/// Short waits, and a budget that a test does not use up: how the budget works is tested beside it.
fn service(url: &str, tries: u32) -> ServiceSettings {
    let retry = RetrySettings {
        tries,
        delay_min: Duration::from_millis(1),
        delay_max: Duration::from_millis(20),
        tokens: 1_000_000,
        tokens_per_s: 1e6,
    };
    ServiceSettings {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(url.to_owned()),
        credentials: Credentials::Local,
        retry,
        ..ServiceSettings::default()
    }
}

/// What the names of tables and queues begin with: the folder's name, without what they cannot contain.
pub(super) fn prefix(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.chars().filter(char::is_ascii_alphanumeric).collect()
}

#[async_trait]
impl MessageWriter for DynamoDbMessages {
    async fn insert(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        let rows: Vec<MessageRow> = ids.iter().map(|id| MessageRow::bare(room, *id, false)).collect();
        Ok(self.load(&rows).await?)
    }

    async fn delete(&self, room: RoomId, ids: &[MessageId]) -> PortResult<()> {
        let rows: Vec<MessageRow> = ids.iter().map(|id| MessageRow::bare(room, *id, true)).collect();
        Ok(self.load(&rows).await?)
    }
}

#[async_trait]
impl BodyWriter for DynamoDbMessages {
    async fn put(&self, messages: &[Message]) -> PortResult<()> {
        let row = |message: &Message| {
            let mut row = MessageRow::bare(message.room, message.id, message.content.is_none());
            row.author = message.content.as_ref().and_then(|content| content.author);
            row.body = message.content.as_ref().map(|content| content.body.clone());
            row
        };
        let rows: Vec<MessageRow> = messages.iter().map(row).collect();
        Ok(self.load(&rows).await?)
    }
}

/// A message store, and what has to agree with it; heads are not kept there.
pub(super) fn message_store(port: DynamoDbMessages, straight: DynamoDb) -> Store {
    Store {
        port: Arc::new(port),
        live_ids: Arc::new(DynamoDbLiveIds::new(straight.clone())),
        heads: Arc::new(NoHeads),
        import: Arc::new(DynamoDbMessages::new(straight)),
    }
}

/// Laws of `Messages` that no DynamoDB keeps.
pub(super) fn messages_excepts(law: Law) -> Option<&'static str> {
    (law.name == "what_is_long_is_whole").then_some("DynamoDB takes no item above 400 KB")
}

/// Laws of `LiveIds` that no DynamoDB keeps.
pub(super) fn live_ids_excepts(law: Law) -> Option<&'static str> {
    (law.name == "many_tasks_read_at_once")
        .then_some("a write of several items is no transaction, so a reader sees part of it")
}

/// Laws of `Queue` that no SQS keeps.
pub(super) fn queue_excepts(law: Law) -> Option<&'static str> {
    match law.name {
        "depth_tells_the_age_of_the_oldest_message" => Some("SQS tells no age but to CloudWatch"),
        "a_void_receipt_answers_for_its_entry_alone" => {
            Some("SQS calls a message done that was received again since, and ElasticMQ one that is done already void")
        }
        _ => None,
    }
}
