//! What several ports share: the data directory, the connections to services.

use std::time::Duration;

use aws::{DynamoDb, DynamoDbSettings, ServiceSettings, Sqs, SqsSettings, Tables};
use embedded::{Access, DataDir};
use sql::{SqlSettings, SqlUrl};

use crate::exit::{self, Failure};
use crate::settings::{Credentials, MessagesAdapter, Part, QueueAdapter, Settings};

/// What the settings need, opened once.
pub(super) struct Systems<'a> {
    pub(super) settings: &'a Settings,
    data_dir: Option<DataDir>,
    dynamodb: Option<DynamoDb>,
    sqs: Option<Sqs>,
}

impl<'a> Systems<'a> {
    /// Opens what the settings need for the limit path, for `command`. To a service nothing is sent yet.
    pub(super) async fn open(settings: &'a Settings, access: Access, command: &str) -> Result<Self, Failure> {
        Self::open_parts(settings, access, command, &Part::LIMIT_PATH).await
    }

    /// Opens what the settings need for these parts, for `command`. To a service nothing is sent yet.
    pub(super) async fn open_parts(
        settings: &'a Settings,
        access: Access,
        command: &str,
        parts: &[Part],
    ) -> Result<Self, Failure> {
        let data_dir = match parts.iter().any(|part| settings.is_embedded(*part)) {
            true => Some(DataDir::open(&settings.data.dir, access, command).await?),
            false => None,
        };
        Ok(Self { data_dir, ..Self::connect(settings, parts).await? })
    }

    /// The connections to services alone.
    pub(super) async fn connect(settings: &'a Settings, parts: &[Part]) -> Result<Self, Failure> {
        let dynamodb = match uses_dynamodb(settings, parts) {
            true => Some(dynamodb(settings).await?),
            false => None,
        };
        let sqs = match &settings.queue {
            QueueAdapter::Sqs {} if parts.contains(&Part::Queue) => Some(sqs(settings).await?),
            QueueAdapter::Sqs {} | QueueAdapter::Embedded {} => None,
        };
        Ok(Self { settings, data_dir: None, dynamodb, sqs })
    }

    /// The data directory, where an adapter is embedded.
    pub(super) fn data_dir(&self) -> Result<&DataDir, Failure> {
        self.data_dir.as_ref().ok_or_else(|| not_open("data directory"))
    }

    /// The connection to DynamoDB, where an adapter has it.
    pub(super) fn dynamodb(&self) -> Result<&DynamoDb, Failure> {
        self.dynamodb.as_ref().ok_or_else(|| not_open("connection to DynamoDB"))
    }

    /// The connection to SQS, where an adapter has it.
    pub(super) fn sqs(&self) -> Result<&Sqs, Failure> {
        self.sqs.as_ref().ok_or_else(|| not_open("connection to SQS"))
    }

    /// What has to stay open as long as the ports are used. They keep the connections themselves.
    pub(super) fn keep(self) -> Option<DataDir> {
        self.data_dir
    }
}

/// Each adapter asks for its own system alone, and that was opened.
fn not_open(what: &str) -> Failure {
    Failure::new(exit::FAILED, anyhow::anyhow!("the {what} is not open"))
}

/// Whether one of these parts is in DynamoDB.
pub(super) fn uses_dynamodb(settings: &Settings, parts: &[Part]) -> bool {
    parts.iter().any(|part| settings.is_in_dynamodb(*part))
}

async fn dynamodb(settings: &Settings) -> Result<DynamoDb, Failure> {
    let defaults = DynamoDbSettings::default();
    let rooms_in_flight = match settings.messages {
        MessagesAdapter::DynamoDb { rooms_in_flight } => rooms_in_flight,
        MessagesAdapter::Embedded {} | MessagesAdapter::Sql { .. } => defaults.rooms_in_flight,
    };
    let ours = &settings.dynamodb;
    let tables = Tables::with_prefix(&ours.table_prefix);
    let used = DynamoDbSettings { tables, requests_max: ours.requests_max, rooms_in_flight };
    Ok(DynamoDb::connect(&service(settings, &ours.endpoint), used).await?)
}

async fn sqs(settings: &Settings) -> Result<Sqs, Failure> {
    let ours = &settings.sqs;
    let linger = Duration::from_millis(ours.linger_ms);
    let used = SqsSettings { queue_prefix: ours.queue_prefix.clone(), linger };
    Ok(Sqs::connect(&service(settings, &ours.endpoint), used).await?)
}

fn service(settings: &Settings, endpoint: &str) -> ServiceSettings {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ServiceSettings {
        region: given(&settings.aws.region),
        endpoint: given(endpoint),
        credentials: match settings.aws.credentials {
            Credentials::Standard => aws::Credentials::Standard,
            Credentials::Local => aws::Credentials::Local,
        },
        ..ServiceSettings::default()
    }
}

/// A database as the settings of `section` give it.
pub(super) fn database(
    section: &str,
    url: &str,
    connections_max: u32,
    statement_timeout_ms: u64,
) -> Result<SqlSettings, Failure> {
    let wrong =
        |error: anyhow::Error| Failure::new(exit::CONFIGURATION, error.context(format!("settings: {section}.url")));
    if url.is_empty() {
        return Err(wrong(anyhow::anyhow!("with {section}.adapter = \"sql\" it must name a database")));
    }
    let url = SqlUrl::new(url).map_err(|error| wrong(error.into()))?;
    let statement_timeout = Duration::from_millis(statement_timeout_ms);
    Ok(SqlSettings { connections_max, statement_timeout, ..SqlSettings::new(url) })
}
