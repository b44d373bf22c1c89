//! Positions that are not in the log: an error, and never a jump.

use kafka::KafkaLog;
use krafka::Kafka;
use krafka::admin::{AlterConsumerGroupOffsetsOptions, DeleteRecordsOptions};
use krafka::consumer::TopicPartition;
use worker::log::{Log, LogConsumer, LogError, Missing, Place};

use crate::stage::{LONG, Stage, append, record, stage};

async fn ten(stage: &Stage) -> KafkaLog {
    let log = stage.log(1).await;
    append(&log, (0..10).map(|n: u32| record("key", &n.to_string())).collect()).await;
    log
}

async fn kafka(stage: &Stage) -> Kafka {
    Kafka::builder(&stage.settings.bootstrap).connect().await.expect("the broker")
}

/// Removes the records below an offset, as retention does.
async fn remove_below(stage: &Stage, offset: i64) {
    let below = [(TopicPartition::new(&stage.topic, 0), offset)];
    let answers = kafka(stage).await.admin().delete_records(below, DeleteRecordsOptions::default()).await;
    answers.expect("answers").into_values().for_each(|answer| assert_eq!(answer.expect("records go"), offset));
}

async fn set_committed(stage: &Stage, group: &str, offset: i64) {
    let offsets = [(TopicPartition::new(&stage.topic, 0), offset)];
    let options = AlterConsumerGroupOffsetsOptions::default();
    let answers = kafka(stage).await.admin().alter_consumer_group_offsets(group, offsets, options).await;
    answers.expect("answers").into_values().for_each(|answer| answer.expect("an offset"));
}

/// Polls until something comes, and again: the same error twice, so that nobody goes on by trying again.
async fn is_lost(consumer: &mut dyn LogConsumer) -> String {
    let mut said = Vec::new();
    while said.len() < 2 {
        match consumer.poll(100, LONG).await {
            Ok(polled) => assert!(polled.records.is_empty(), "it jumped to {:?}", polled.records[0].place),
            Err(LogError::PositionLost { partition: 0, what, .. }) => said.push(what),
            Err(error) => panic!("{error}"),
        }
    }
    said.remove(0)
}

#[tokio::test]
async fn a_committed_offset_that_is_not_in_the_log_is_an_error_and_never_a_jump() {
    let Some(stage) = stage("a committed offset that is not in the log") else { return };
    let log = ten(&stage).await;
    remove_below(&stage, 4).await;
    for (group, committed) in [("before", 3), ("behind", 11)] {
        let group = format!("{}-{group}", stage.topic);
        set_committed(&stage, &group, committed).await;
        for missing in [Missing::First, Missing::Lost] {
            let mut member = log.join(&group, missing).await.expect("a member");
            let what = is_lost(member.as_mut()).await;
            assert_eq!(what, format!("it is {committed}, and the log goes from 4 to 10"));
            member.close().await.expect("it leaves");
        }
    }
    for (group, committed) in [("first", 4), ("next", 10)] {
        let group = format!("{}-{group}", stage.topic);
        set_committed(&stage, &group, committed).await;
        let mut member = log.join(&group, Missing::Lost).await.expect("a member");
        let polled = member.poll(100, LONG).await.expect("it is in the log");
        assert_eq!(polled.assigned, [Place { partition: 0, offset: committed.unsigned_abs() }]);
    }
}

#[tokio::test]
async fn a_group_that_has_committed_nothing_begins_at_the_oldest_record_or_nowhere() {
    let Some(stage) = stage("a group that has committed nothing") else { return };
    let log = ten(&stage).await;
    remove_below(&stage, 4).await;
    let mut member = log.join(&stage.topic, Missing::First).await.expect("a member");
    let polled = member.poll(100, LONG).await.expect("a poll");
    assert_eq!(polled.assigned, [Place { partition: 0, offset: 4 }]);
    member.close().await.expect("it leaves");
    let mut member = log.join(&stage.topic, Missing::Lost).await.expect("a member");
    assert_eq!(is_lost(member.as_mut()).await, "it has committed nothing here");
}

#[tokio::test]
async fn records_that_vanish_under_a_reader_are_an_error_and_never_a_jump() {
    let Some(stage) = stage("records that vanish under a reader") else { return };
    let log = ten(&stage).await;
    let mut member = log.join(&stage.topic, Missing::First).await.expect("a member");
    let mut seen = 0;
    while seen < 10 {
        seen += member.poll(100, LONG).await.expect("a poll").records.len();
    }
    member.pause(&[0]);
    append(&log, (10..20).map(|n: u32| record("key", &n.to_string())).collect()).await;
    member.poll(100, std::time::Duration::from_millis(200)).await.expect("a poll");
    remove_below(&stage, 15).await;
    member.resume(&[0]);
    assert_eq!(is_lost(member.as_mut()).await, "it is 10, and the log goes from 15 to 20");
}

#[tokio::test]
async fn following_begins_at_a_place_that_is_in_the_log() {
    let Some(stage) = stage("following begins at a place") else { return };
    let log = ten(&stage).await;
    remove_below(&stage, 4).await;
    let mut lost = log.follow(&[Place { partition: 0, offset: 3 }]).await.expect("a reader");
    assert_eq!(is_lost(lost.as_mut()).await, "it is 3, and the log goes from 4 to 10");
    let mut reader = log.follow(&[Place { partition: 0, offset: 8 }]).await.expect("a reader");
    let mut values = Vec::new();
    while values.len() < 2 {
        let polled = reader.poll(100, LONG).await.expect("a poll");
        values.extend(polled.records.into_iter().map(|read| read.record.value));
    }
    assert_eq!(values, [b"8", b"9"]);
    let refused = reader.commit(&[Place { partition: 0, offset: 10 }]).await;
    assert!(matches!(refused, Err(LogError::Refused { .. })), "{refused:?}");
    reader.close().await.expect("it ends");
}
