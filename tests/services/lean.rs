//! Real data on services: the answers that are expected, and what they cost.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws::{
    Credentials, DynamoDb, DynamoDbLimits, DynamoDbLiveIds, DynamoDbSettings, ServiceSettings, Sqs, SqsQueue,
    SqsSettings, Tables,
};
use chat::{Epoch, Policy, Timestamp};
use jobs::{ORGANIZATION_QUEUE, Ports, ROOM_QUEUE};
use sql::{SqlDirectory, SqlHeads, SqlLedger, SqlSettings, SqlUrl};
use support::waiting::number_from_env;
use support::{Services, SqlServer};

use super::stage::{Stage, on_each_server};

on_each_server!(real_data_leads_to_the_expected_answers);

/// Days of messages that are loaded before the instant: the policy's age and a part that is too old. All of them in the soak.
const DAYS: u64 = 60;
const DAY_MS: u64 = chat::Day::MILLIS;

/// The folder with real data, its instant, policy and epoch. None where there is none, which is said.
pub(super) struct Lean {
    pub(super) folder: PathBuf,
    pub(super) as_of: Timestamp,
    pub(super) policy: Policy,
    pub(super) epoch: Epoch,
}

impl Lean {
    pub(super) fn find() -> Option<Self> {
        let Some(data) = std::env::var_os("LANNER_REAL_DATA") else {
            println!("LANNER_REAL_DATA is not set: real data was left out");
            return None;
        };
        let folder = Path::new(&data).join("lean");
        let text = std::fs::read_to_string(folder.join("meta.json")).expect("meta.json");
        let meta: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let number = |name: &str| meta[name].as_u64().unwrap_or_else(|| panic!("{name} in meta.json"));
        let limit = u32::try_from(number("limit")).expect("a limit");
        Some(Self {
            folder,
            as_of: Timestamp::from_millis(number("now_ms")),
            policy: Policy::new(limit, Some(number("days") * DAY_MS)).expect("a policy"),
            epoch: Epoch(Timestamp::from_millis(number("epoch_ms"))),
        })
    }

    /// The arguments that import it.
    pub(super) fn import_line(&self) -> String {
        let all = number_from_env("LANNER_SCHEDULES", 10) > 100;
        let folder = self.folder.display();
        if all {
            return format!("import {folder}");
        }
        // A day after the instant, too: what is newer must not count.
        let (since, before) = (self.as_of.minus_millis(DAYS * DAY_MS), self.as_of.plus_millis(DAY_MS));
        format!("import {folder} --messages-since {since} --messages-before {before}")
    }
}

async fn real_data_leads_to_the_expected_answers(server: SqlServer) {
    let Some(lean) = Lean::find() else { return };
    let Some(stage) = Stage::new(server, 1).await else { return };
    stage.program.run("provision --reason test").exits(0);
    stage.persevere(&lean.import_line());
    let days = lean.policy.max_age_ms.expect("an age") / DAY_MS;
    let line = format!("run --as-of {} --max-messages {} --max-age {days}d", lean.as_of, lean.policy.n());
    // The default: hundreds of organizations at once are more than a local server answers within a second.
    stage.program.clone().with("LANNER_WORKERS_VISIBLE_FOR_MS", 30_000).run(&line).exits(0);
    let expected = std::fs::read_to_string(lean.folder.join("expected.csv")).expect("expected.csv");
    assert_eq!(stage.program.run("limits export").exits(0).out, expected);
}

/// The ports over services, and what counts the requests.
pub(super) struct Connected {
    pub(super) ports: Ports,
    pub(super) dynamodb: DynamoDb,
}

/// Connects as the binary does, with answers that wait for others as long as `linger`.
pub(super) async fn connect(services: &Services, sqs_url: &str, epoch: Epoch, linger: Duration) -> Connected {
    let service = |endpoint: &str| ServiceSettings {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        credentials: Credentials::Local,
        ..ServiceSettings::default()
    };
    let tables = Tables::with_prefix(&services.prefix);
    let settings = DynamoDbSettings { tables, ..DynamoDbSettings::default() };
    let dynamodb = DynamoDb::connect(&service(&services.dynamodb_url), settings).await.expect("DynamoDB");
    let settings = SqsSettings { queue_prefix: services.prefix.clone(), linger };
    let sqs = Sqs::connect(&service(sqs_url), settings).await.expect("SQS");
    let database = SqlSettings::new(SqlUrl::new(&services.sql_url).expect("an address"));
    let ports = Ports {
        directory: Arc::new(SqlDirectory::open(&database).await.expect("a directory")),
        heads: Arc::new(SqlHeads::open(&database).await.expect("heads")),
        live_ids: Arc::new(DynamoDbLiveIds::new(dynamodb.clone())),
        limits: Arc::new(DynamoDbLimits::new(dynamodb.clone())),
        ledger: Arc::new(SqlLedger::open(&database).await.expect("a ledger")),
        organization_queue: Arc::new(SqsQueue::open(&sqs, ORGANIZATION_QUEUE).await.expect("a queue")),
        room_queue: Arc::new(SqsQueue::open(&sqs, ROOM_QUEUE).await.expect("a queue")),
        epoch,
    };
    Connected { ports, dynamodb }
}
