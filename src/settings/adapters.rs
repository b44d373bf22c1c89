//! What stands behind each port: which adapter, with only its own keys.

use serde::Deserialize;

/// Behind the port of the directory.
#[derive(Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum DirectoryAdapter {
    Embedded {},
    Sql {
        url: String,
        owner: Owner,
        free_organizations: String,
        organizations: String,
        rooms: String,
        participant: String,
        changed_organizations: String,
        connections_max: u32,
        statement_timeout_ms: u64,
    },
}

/// Whose the tables of a directory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owner {
    Lanner,
    Chat,
}

/// Behind the ports of messages and of their ids.
#[derive(Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum MessagesAdapter {
    Embedded {},
    #[serde(rename = "dynamodb")]
    DynamoDb {
        rooms_in_flight: usize,
    },
    Sql {
        url: String,
        newest_ids: String,
        connections_max: u32,
        statement_timeout_ms: u64,
    },
}

/// Behind the port of the limits.
#[derive(Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum LimitsAdapter {
    Embedded {},
    #[serde(rename = "dynamodb")]
    DynamoDb {},
}

/// Behind the port of the ledger.
#[derive(Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum LedgerAdapter {
    Embedded {},
    Sql { url: String, connections_max: u32, statement_timeout_ms: u64 },
}

/// Behind the queues.
#[derive(Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum QueueAdapter {
    Embedded {},
    Sqs {},
}

/// Behind the logs.
#[derive(Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum EventLogAdapter {
    Embedded {
        partitions: u32,
        epoch: u16,
        member_timeout_ms: u64,
    },
    Kafka {
        partitions: u32,
        epoch: u16,
        bootstrap: String,
        topic_prefix: String,
        session_timeout_ms: u64,
        insync_replicas_min: u16,
        replication_factor: u16,
        security: KafkaSecurity,
        user: String,
        password: String,
        authorities_file: String,
    },
}

impl EventLogAdapter {
    /// How often the log of events has begun anew.
    pub(crate) fn epoch(&self) -> u16 {
        match self {
            Self::Embedded { epoch, .. } | Self::Kafka { epoch, .. } => *epoch,
        }
    }
}

/// How connections to Kafka are encrypted, and how we say who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KafkaSecurity {
    Plaintext,
    Tls,
    SaslPlain,
    #[serde(rename = "sasl-scram-sha-256")]
    SaslScramSha256,
    #[serde(rename = "sasl-scram-sha-512")]
    SaslScramSha512,
}

/// Behind the port of small records.
#[derive(Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum StateAdapter {
    Embedded {},
    #[serde(rename = "dynamodb")]
    DynamoDb {},
}

/// What the services of AWS share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Aws {
    pub(crate) region: String,
    pub(crate) credentials: Credentials,
}

/// Whose requests these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Credentials {
    Standard,
    Local,
}

/// How DynamoDB is reached and used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DynamoDb {
    pub(crate) endpoint: String,
    pub(crate) table_prefix: String,
    pub(crate) requests_max: usize,
}

/// How SQS is reached and used.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sqs {
    pub(crate) endpoint: String,
    pub(crate) queue_prefix: String,
    pub(crate) linger_ms: u64,
}
