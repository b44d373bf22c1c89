//! The logs of the message path: in the data directory, or topics of Kafka.

use std::sync::Arc;
use std::time::Duration;

use aws::provision::Needed;
use embedded::{DataDir, LmdbLog, MapSize};
use jobs::messages::{EVENT_LOG, READABLE_LOG};
use kafka::{KafkaLog, KafkaSettings, Password, SaslMechanism, Security, Tls, TopicSettings};
use worker::{Log, LogError};

use super::systems::Systems;
use crate::exit::{self, Failure};
use crate::settings::{EventLogAdapter, KafkaSecurity, Settings};

/// Opens a log.
pub(super) async fn log(systems: &Systems<'_>, name: &str) -> Result<Arc<dyn Log>, Failure> {
    match &systems.settings.event_log {
        EventLogAdapter::Embedded { partitions, member_timeout_ms, .. } => {
            let timeout = Duration::from_millis(*member_timeout_ms);
            Ok(Arc::new(open_embedded(systems.data_dir()?, name, *partitions, timeout)?))
        }
        EventLogAdapter::Kafka { partitions, topic_prefix, .. } => {
            let (settings, topic) = (kafka(systems.settings)?, format!("{topic_prefix}{name}"));
            Ok(Arc::new(KafkaLog::open(&settings, &topic, *partitions).await.map_err(opening)?))
        }
    }
}

fn open_embedded(data_dir: &DataDir, name: &str, partitions: u32, timeout: Duration) -> Result<LmdbLog, Failure> {
    let opened = LmdbLog::open(name, &data_dir.log(name), partitions, timeout, MapSize::default());
    opened.map_err(|error| {
        let code = if error.is_temporary() { exit::TEMPORARY } else { exit::CONFIGURATION };
        Failure::new(code, anyhow::Error::new(error).context("settings: event_log"))
    })
}

/// The topics that the settings need. Those that are there are as they have to be.
pub(super) async fn topics(settings: &Settings) -> Result<Vec<Needed>, Failure> {
    let EventLogAdapter::Kafka { topic_prefix, partitions, .. } = &settings.event_log else { return Ok(Vec::new()) };
    let used = kafka(settings)?;
    let mut topics = Vec::new();
    for log in [EVENT_LOG, READABLE_LOG] {
        let name = format!("{topic_prefix}{log}");
        let exists = kafka::exists(&used, &name).await.map_err(opening)?;
        if exists {
            KafkaLog::open(&used, &name, *partitions).await.map_err(opening)?;
        }
        topics.push(Needed { name, exists });
    }
    Ok(topics)
}

/// Makes the topics that are not there.
pub(super) async fn make_topics(settings: &Settings) -> Result<(), Failure> {
    let EventLogAdapter::Kafka { topic_prefix, partitions, replication_factor, insync_replicas_min, .. } =
        &settings.event_log
    else {
        return Ok(());
    };
    let used = kafka(settings)?;
    let wanted = TopicSettings {
        partitions: *partitions,
        replication_factor: *replication_factor,
        insync_replicas_min: *insync_replicas_min,
        ..TopicSettings::default()
    };
    for log in [EVENT_LOG, READABLE_LOG] {
        kafka::provision(&used, &format!("{topic_prefix}{log}"), &wanted).await.map_err(opening)?;
    }
    Ok(())
}

/// How the cluster is reached.
fn kafka(settings: &Settings) -> Result<KafkaSettings, Failure> {
    let EventLogAdapter::Kafka {
        bootstrap,
        session_timeout_ms,
        insync_replicas_min,
        security,
        user,
        password,
        authorities_file,
        ..
    } = &settings.event_log
    else {
        return Err(Failure::new(exit::FAILED, anyhow::anyhow!("the logs are not in Kafka")));
    };
    let tls =
        Tls { authorities_file: Some(authorities_file.clone()).filter(|file| !file.is_empty()), ..Tls::default() };
    let sasl = |mechanism| {
        if user.is_empty() || password.is_empty() {
            let words = "settings: event_log.user and event_log.password: with SASL both must be given";
            return Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)));
        }
        Ok(Security::Sasl { mechanism, user: user.clone(), password: Password(password.clone()), tls: tls.clone() })
    };
    let security = match security {
        KafkaSecurity::Plaintext => Security::Plaintext,
        KafkaSecurity::Tls => Security::Tls(tls),
        KafkaSecurity::SaslPlain => sasl(SaslMechanism::Plain)?,
        KafkaSecurity::SaslScramSha256 => sasl(SaslMechanism::ScramSha256)?,
        KafkaSecurity::SaslScramSha512 => sasl(SaslMechanism::ScramSha512)?,
    };
    // An append is given up before the request that waits for it.
    let append_ms = settings.write_api.append_timeout_ms;
    let defaults = KafkaSettings::default();
    let request_timeout_ms = defaults.request_timeout_ms.min(append_ms);
    Ok(KafkaSettings {
        bootstrap: bootstrap.clone(),
        security,
        connect_timeout_ms: defaults.connect_timeout_ms.min(request_timeout_ms),
        request_timeout_ms,
        delivery_timeout_ms: append_ms.max(request_timeout_ms + 100),
        session_timeout_ms: *session_timeout_ms,
        insync_replicas_min: *insync_replicas_min,
        ..defaults
    })
}

fn opening(error: LogError) -> Failure {
    let code = if error.is_temporary() { exit::TEMPORARY } else { exit::CONFIGURATION };
    Failure::new(code, anyhow::Error::new(error).context("settings: event_log"))
}
