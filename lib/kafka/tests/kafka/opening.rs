//! What must hold before a topic serves as a log.

use kafka::{KafkaLog, KafkaSettings, TopicSettings, provision};
use krafka::Kafka;
use krafka::admin::{CreateTopicsOptions, NewTopic};
use worker::log::LogError;

use crate::stage::{Stage, single, stage};

async fn refused(stage: &Stage, partitions: u32) -> String {
    match KafkaLog::open(&stage.settings, &stage.topic, partitions).await {
        Err(LogError::Refused { what, .. }) => what,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[tokio::test]
async fn a_topic_that_is_not_what_was_asked_for_is_not_opened() {
    let Some(stage) = stage("a topic that is not what was asked for") else { return };
    assert!(refused(&stage, 4).await.contains("there is no such topic"));
    assert!(provision(&stage.settings, &stage.topic, &single(4)).await.expect("it is made"));
    assert!(!provision(&stage.settings, &stage.topic, &single(4)).await.expect("it is there"));
    assert!(refused(&stage, 5).await.contains("has 4 partitions and the settings say 5"));
    let larger = KafkaSettings { record_bytes_max: 2_000_000, ..stage.settings.clone() };
    assert!(refused(&Stage { settings: larger, topic: stage.topic.clone() }, 4).await.contains("max.message.bytes"));
    let safer = KafkaSettings { insync_replicas_min: 2, ..stage.settings.clone() };
    assert!(refused(&Stage { settings: safer, topic: stage.topic.clone() }, 4).await.contains("min.insync.replicas"));
    let absurd = KafkaSettings { delivery_timeout_ms: 1, ..stage.settings.clone() };
    assert!(refused(&Stage { settings: absurd, topic: stage.topic.clone() }, 4).await.contains("delivery_timeout_ms"));
    KafkaLog::open(&stage.settings, &stage.topic, 4).await.expect("it is opened");
}

#[tokio::test]
async fn a_topic_that_forgets_is_not_opened() {
    let Some(stage) = stage("a topic that forgets") else { return };
    let kafka = Kafka::builder(&stage.settings.bootstrap).connect().await.expect("the broker");
    let topic = NewTopic::new(&stage.topic, 1, 1).expect("a topic").with_config("cleanup.policy", "compact");
    let made = kafka.admin().create_topics([topic], CreateTopicsOptions::default()).await.expect("an answer");
    made.into_values().for_each(|made| made.expect("it is made"));
    // Brokers learn of it one by one.
    while refused(&stage, 1).await.contains("no such topic") {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(refused(&stage, 1).await.contains("cleanup.policy"));
}

#[tokio::test]
async fn a_topic_that_the_cluster_cannot_hold_is_refused() {
    let Some(stage) = stage("a topic that the cluster cannot hold") else { return };
    let refused = provision(&stage.settings, &stage.topic, &TopicSettings::default()).await;
    assert!(matches!(refused, Err(LogError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_broker_that_cannot_be_reached_is_unavailable() {
    let settings = KafkaSettings { bootstrap: "127.0.0.1:1".to_owned(), ..KafkaSettings::default() };
    match KafkaLog::open(&settings, "nowhere", 1).await {
        Err(LogError::Unavailable { .. }) => {}
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was opened"),
    }
}
