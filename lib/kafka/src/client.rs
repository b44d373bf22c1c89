//! The connection to a cluster, as the client is given it.

use std::time::Duration;

use krafka::auth::{AuthConfig, TlsConfig};
use krafka::consumer::{AutoOffsetReset, ConsumerBuilder, GroupProtocol, IsolationLevel};
use krafka::producer::{Acks, Producer};
use krafka::{Kafka, KrafkaError};
use worker::log::LogError;

use crate::error::{refused, while_asking};
use crate::settings::{KafkaSettings, SaslMechanism, Security, Tls};

/// Records that the client hands over at a time.
const READ_MAX: i32 = 1_000;
/// Bytes that one answer brings, and so about what a reader holds.
const FETCH_BYTES: i32 = 16 * 1024 * 1024;
/// Bytes of records that are sent together.
const BATCH_BYTES: usize = 256 * 1024;
/// How often a member that has records waiting is polled all the same, at most.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(3);

/// Connects. A connection answers in order, so that a fetch that waits for records would delay whatever is asked behind it: readers have
/// connections of their own.
pub(crate) async fn connect(log: &str, settings: &KafkaSettings) -> Result<Kafka, LogError> {
    let builder = Kafka::builder(&settings.bootstrap)
        .client_id(&settings.client_id)
        .connect_timeout(Duration::from_millis(settings.connect_timeout_ms))
        .request_timeout(request_timeout(settings));
    let builder = match security(&settings.security) {
        Some(security) => builder.security(security),
        None => builder,
    };
    builder.connect().await.map_err(|error| match error {
        KrafkaError::Config { message } => refused(log, format!("the settings of the cluster: {message}")),
        error => while_asking(log, error),
    })
}

/// What appends: acknowledged by all replicas in sync, nothing twice by a retry.
pub(crate) async fn producer(log: &str, kafka: &Kafka, settings: &KafkaSettings) -> Result<Producer, LogError> {
    let producer = kafka
        .producer()
        .acks(Acks::All)
        .idempotent(true)
        // What is appended together goes together all the same; who appends one record does not wait for a second.
        .linger(Duration::ZERO)
        .batch_size(BATCH_BYTES)
        .delivery_timeout(Duration::from_millis(settings.delivery_timeout_ms))
        .max_block(request_timeout(settings))
        .metrics_push(false);
    producer.build().await.map_err(|error| while_asking(log, error))
}

/// What every reader has in common: it never commits and never moves by itself.
pub(crate) fn reader(builder: ConsumerBuilder) -> ConsumerBuilder {
    builder
        .enable_auto_commit(false)
        .auto_offset_reset(AutoOffsetReset::None)
        .isolation_level(IsolationLevel::ReadCommitted)
        .max_poll_records(READ_MAX)
        // Bounded by bytes instead: what is kept of paused partitions would otherwise count against the others, and stop them.
        .max_buffered_records(0)
        .fetch_max_bytes(FETCH_BYTES)
        .metrics_push(false)
}

/// A reader that is a member of a group, by the protocol of KIP-848: the brokers assign, partitions move one by one, and a member knows
/// its place from the answers to its heartbeats alone. (In the older protocol the client's heartbeat can be answered with the number of a
/// generation that has just ended; it then gives up all it holds.) A member that does not poll leaves.
pub(crate) fn member(kafka: &Kafka, group: &str, settings: &KafkaSettings) -> ConsumerBuilder {
    let session = Duration::from_millis(settings.session_timeout_ms);
    reader(kafka.consumer(group)).group_protocol(GroupProtocol::Consumer).max_poll_interval(session)
}

/// How often the client has to be polled for its member to stay.
pub(crate) fn keep_alive(settings: &KafkaSettings) -> Duration {
    (Duration::from_millis(settings.session_timeout_ms) / 10).min(KEEP_ALIVE_MAX)
}

pub(crate) fn request_timeout(settings: &KafkaSettings) -> Duration {
    Duration::from_millis(settings.request_timeout_ms)
}

fn security(security: &Security) -> Option<AuthConfig> {
    match security {
        Security::Plaintext => None,
        Security::Tls(tls) => Some(AuthConfig::ssl(tls_config(tls))),
        Security::Sasl { mechanism, user, password, tls } => {
            let sasl = match mechanism {
                SaslMechanism::Plain => AuthConfig::sasl_plain(user, &password.0),
                SaslMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(user, &password.0),
                SaslMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(user, &password.0),
            };
            Some(sasl.with_tls(tls_config(tls)))
        }
    }
}

fn tls_config(tls: &Tls) -> TlsConfig {
    let mut config = TlsConfig::new();
    if let Some(file) = &tls.authorities_file {
        config = config.with_ca_cert(file);
    }
    if let Some((certificate, key)) = &tls.identity_files {
        config = config.with_client_cert(certificate, key);
    }
    config
}
