//! Topics: what one must be like to serve as a log, and how one is made.

use std::collections::BTreeMap;
use std::time::Duration;

use krafka::admin::{
    AdminClient, ConfigResource, CreateTopicsOptions, DescribeConfigsOptions, DescribeTopicsOptions, NewTopic,
};
use krafka::error::ErrorCode;
use krafka::{Kafka, KrafkaError};
use tokio::time::{Instant, sleep};
use worker::log::LogError;

use crate::client::{connect, request_timeout};
use crate::error::{refused, unknown, while_asking};
use crate::settings::{KafkaSettings, TopicSettings};

/// What Kafka writes around a record of its own in a batch, names of headers and lengths included, generously.
const AROUND_BYTES: usize = 1_024;
/// How often a new topic is looked for: brokers learn of it one by one.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Makes the topic unless it is there; says whether it has made it. What is there is not changed.
///
/// # Errors
///
/// Refused when the settings make no sense to this cluster, for example with more replicas than brokers.
pub async fn provision(settings: &KafkaSettings, topic: &str, wanted: &TopicSettings) -> Result<bool, LogError> {
    settings.check().map_err(|rule| refused(topic, rule))?;
    let kafka = connect(topic, settings).await?;
    let new = new_topic(topic, wanted).map_err(|what| refused(topic, what))?;
    let options = CreateTopicsOptions::default().timeout(request_timeout(settings));
    let answers = kafka.admin().create_topics([new], options).await.map_err(|error| unknown(topic, error))?;
    match answers.into_values().next() {
        Some(Err(KrafkaError::Broker { code: ErrorCode::TopicAlreadyExists, .. })) => Ok(false),
        Some(Err(error)) if error.is_retriable() => Err(unknown(topic, error)),
        Some(Err(error)) => Err(refused(topic, error.to_string())),
        Some(Ok(())) | None => until_known(&kafka, topic, settings).await.map(|()| true),
    }
}

fn new_topic(topic: &str, wanted: &TopicSettings) -> Result<NewTopic, String> {
    let partitions = i32::try_from(wanted.partitions).map_err(|_| "too many partitions".to_owned())?;
    let replicas = i16::try_from(wanted.replication_factor).map_err(|_| "too many replicas".to_owned())?;
    if !(1..=wanted.replication_factor).contains(&wanted.insync_replicas_min) {
        return Err("insync_replicas_min is at least 1 and at most replication_factor".to_owned());
    }
    let retention = wanted.retention_ms.map_or("-1".to_owned(), |ms| ms.to_string());
    let topic = NewTopic::new(topic, partitions, replicas).map_err(|error| error.to_string())?;
    Ok(topic
        .with_config("cleanup.policy", "delete")
        .with_config("retention.ms", retention)
        .with_config("min.insync.replicas", wanted.insync_replicas_min.to_string())
        .with_config("unclean.leader.election.enable", "false")
        .with_config("max.message.bytes", (wanted.record_bytes_max + AROUND_BYTES).to_string()))
}

/// Waits until a new topic can be found, so that it can be opened at once.
async fn until_known(kafka: &Kafka, topic: &str, settings: &KafkaSettings) -> Result<(), LogError> {
    let deadline = Instant::now() + request_timeout(settings);
    loop {
        match partitions(&kafka.admin(), topic, settings).await {
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(LOOK_EVERY).await,
            Ok(_) => return Ok(()),
        }
    }
}

/// Whether there is such a topic, whatever it is like.
///
/// # Errors
///
/// Refused when the settings make no sense; unavailable when no broker answers.
pub async fn exists(settings: &KafkaSettings, topic: &str) -> Result<bool, LogError> {
    settings.check().map_err(|rule| refused(topic, rule))?;
    let kafka = connect(topic, settings).await?;
    Ok(find(&kafka.admin(), topic, settings).await?.is_some())
}

/// How many partitions a topic has.
async fn partitions(admin: &AdminClient, topic: &str, settings: &KafkaSettings) -> Result<u32, LogError> {
    let missing = || refused(topic, "there is no such topic: make it, or have it made by provisioning");
    find(admin, topic, settings).await?.ok_or_else(missing)
}

/// How many partitions a topic has; `None` when there is no such topic.
async fn find(admin: &AdminClient, topic: &str, settings: &KafkaSettings) -> Result<Option<u32>, LogError> {
    let options = DescribeTopicsOptions::default().timeout(request_timeout(settings));
    let topics = admin.describe_topics([topic], options).await.map_err(|error| while_asking(topic, error))?;
    match topics.into_values().next() {
        Some(Ok(found)) => {
            u32::try_from(found.partitions.len()).map(Some).map_err(|_| refused(topic, "it has too many partitions"))
        }
        Some(Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. })) | None => Ok(None),
        Some(Err(error)) => Err(while_asking(topic, error)),
    }
}

/// Looks whether the topic is what the settings say and can be trusted with records.
///
/// # Errors
///
/// Refused with what has to be changed.
pub(crate) async fn check(
    kafka: &Kafka,
    topic: &str,
    wanted_partitions: u32,
    settings: &KafkaSettings,
) -> Result<(), LogError> {
    let admin = kafka.admin();
    let found = partitions(&admin, topic, settings).await?;
    if found != wanted_partitions {
        let what =
            format!("the topic has {found} partitions and the settings say {wanted_partitions}: keys would move");
        return Err(refused(topic, what));
    }
    let config = config(&admin, topic, settings).await?;
    check_config(&config, settings).map_err(|what| refused(topic, what))
}

async fn config(
    admin: &AdminClient,
    topic: &str,
    settings: &KafkaSettings,
) -> Result<BTreeMap<String, String>, LogError> {
    let options = DescribeConfigsOptions::default().timeout(request_timeout(settings));
    let described = admin.describe_configs([ConfigResource::topic(topic)], options).await;
    let described = described.and_then(|answers| answers.into_values().next().unwrap_or_else(|| Ok(Vec::new())));
    let entries = described.map_err(|error| while_asking(topic, error))?;
    Ok(entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

fn check_config(config: &BTreeMap<String, String>, settings: &KafkaSettings) -> Result<(), String> {
    let text = |name: &str| config.get(name).map(String::as_str).unwrap_or_default();
    let number = |name: &str| text(name).parse::<usize>().unwrap_or(0);
    if text("cleanup.policy").contains("compact") {
        return Err("cleanup.policy is compact: older records of a key would vanish".to_owned());
    }
    if text("unclean.leader.election.enable") == "true" {
        return Err("unclean.leader.election.enable is true: acknowledged records could be lost".to_owned());
    }
    let wanted = usize::from(settings.insync_replicas_min);
    if number("min.insync.replicas") < wanted {
        return Err(format!(
            "min.insync.replicas is {}: at least {wanted} is asked for",
            number("min.insync.replicas")
        ));
    }
    let wanted = settings.record_bytes_max.saturating_add(AROUND_BYTES);
    if number("max.message.bytes") < wanted {
        let found = number("max.message.bytes");
        return Err(format!("max.message.bytes is {found}: records of the size that is allowed need {wanted}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(changed: &[(&str, &str)]) -> BTreeMap<String, String> {
        let all = [
            ("cleanup.policy", "delete"),
            ("unclean.leader.election.enable", "false"),
            ("min.insync.replicas", "1"),
            ("max.message.bytes", "1048588"),
        ];
        all.iter().chain(changed).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_topic_that_would_lose_records_is_not_opened() {
        let settings = KafkaSettings::default();
        assert_eq!(check_config(&config(&[]), &settings), Ok(()));
        let broken = [
            ("cleanup.policy", "compact,delete"),
            ("unclean.leader.election.enable", "true"),
            ("min.insync.replicas", "0"),
            ("max.message.bytes", "1000000"),
        ];
        for (name, value) in broken {
            let refused = check_config(&config(&[(name, value)]), &settings).expect_err(name);
            assert!(refused.starts_with(name), "{refused}");
        }
    }

    #[test]
    fn a_topic_is_not_made_with_fewer_replicas_than_have_to_agree() {
        let wanted = TopicSettings { replication_factor: 1, insync_replicas_min: 2, ..TopicSettings::default() };
        assert!(new_topic("t", &wanted).is_err());
    }
}
