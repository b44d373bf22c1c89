//! What is appended and read.

use std::time::Duration;

use worker::log::{Bounds, Log, LogError, LogRecord, Missing, Place, ReadRecord, partition_of};

use crate::stage::{LONG, Stage, append, join, key_in, record, stage};

async fn read_all(log: &dyn Log, partitions: u32, count: usize) -> Vec<ReadRecord> {
    let from: Vec<Place> = (0..partitions).map(|partition| Place { partition, offset: 0 }).collect();
    let mut reader = log.follow(&from).await.expect("a reader");
    let mut read = Vec::new();
    while read.len() < count {
        read.extend(reader.poll(7, LONG).await.expect("a poll").records);
    }
    read
}

#[tokio::test]
async fn what_is_read_is_what_was_appended() {
    let Some(stage) = stage("what is read is what was appended") else { return };
    let log = stage.log(4).await;
    let odd = LogRecord {
        key: vec![0, 255, 7],
        headers: vec![("ce_id".into(), b"1".to_vec()), ("ce_id".into(), vec![0, 255]), ("".into(), vec![])],
        value: (0..=255).collect(),
    };
    let mut records = vec![odd, LogRecord::default(), record("key", "")];
    records.extend((0..500).map(|n: u32| record(&(n % 37).to_string(), &n.to_string())));
    let places = append(&log, records.clone()).await;
    let read = read_all(&log, 4, records.len()).await;
    assert_eq!(read.len(), records.len());
    for (place, record) in places.iter().zip(&records) {
        assert_eq!(place.partition, partition_of(&record.key, 4));
        let found = read.iter().find(|read| read.place == *place).expect("it is read");
        assert_eq!(&found.record, record);
        assert!(found.appended_at.elapsed().expect("in the past") < LONG);
    }
    for key in 0..37_u32 {
        let of_key = places.iter().zip(&records).filter(|(_, record)| record.key == key.to_string().as_bytes());
        assert!(of_key.map(|(place, _)| place).is_sorted(), "the records of key {key} stand in order");
    }
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_for_itself() {
    let Some(stage) = stage("a record that is too large") else { return };
    let log = stage.log(1).await;
    let max = log.limits().record_bytes_max;
    let sized = |bytes: usize| LogRecord { value: vec![b'x'; bytes], ..LogRecord::default() };
    let appended = log.append(vec![sized(1), sized(max + 1), sized(max), sized(2)]).await.expect("an append");
    assert!(matches!(appended[1], Err(LogError::Refused { .. })), "{:?}", appended[1]);
    let stored: Vec<_> = [0, 2, 3].iter().map(|n| appended[*n].as_ref().expect("a place").offset).collect();
    assert_eq!(stored, [0, 1, 2]);
    let read = read_all(&log, 1, 3).await;
    assert_eq!(read.iter().map(|read| read.record.value.len()).collect::<Vec<_>>(), [1, max, 2]);
    let long = log.append(vec![LogRecord::default(); log.limits().batch_max + 1]).await;
    assert!(matches!(long, Err(LogError::Refused { .. })), "{long:?}");
}

#[tokio::test]
async fn bounds_tell_what_a_partition_holds() {
    let Some(stage) = stage("bounds tell what a partition holds") else { return };
    let log = stage.log(2).await;
    assert_eq!(log.bounds(0).await.expect("bounds"), Bounds { first: 0, next: 0 });
    let key = key_in(1, 2);
    append(&log, (0..5).map(|_| record(&key, "x")).collect()).await;
    assert_eq!(log.bounds(1).await.expect("bounds"), Bounds { first: 0, next: 5 });
    assert_eq!(log.bounds(0).await.expect("bounds"), Bounds { first: 0, next: 0 });
    assert!(matches!(log.bounds(2).await, Err(LogError::Refused { .. })));
    assert_eq!(log.committed("a group that never was", 0).await.expect("an answer"), None);
}

async fn two_partitions(stage: &Stage) -> (impl Log, [String; 2]) {
    let log = stage.log(2).await;
    let keys = [key_in(0, 2), key_in(1, 2)];
    (log, keys)
}

#[tokio::test]
async fn a_paused_partition_brings_nothing_and_is_kept_while_the_others_go_on() {
    let Some(stage) = stage("a paused partition brings nothing") else { return };
    let (log, keys) = two_partitions(&stage).await;
    let mut member = join(&log, &stage.topic).await;
    member.until_holds(2).await;
    append(&log, (0..20).map(|_| record(&keys[0], "x")).collect()).await;
    // Some of what is paused was read already.
    while member.held[&0] < 3 {
        let polled = member.consumer.poll(3, LONG).await.expect("a poll");
        member.note(&polled);
    }
    member.consumer.pause(&[0, 9]);
    let stood = member.held[&0];
    append(&log, (0..20).map(|_| record(&keys[1], "x")).collect()).await;
    append(&log, (0..20).map(|_| record(&keys[0], "x")).collect()).await;
    while member.held[&1] < 20 {
        member.poll().await;
    }
    // Longer than a session: it polls, so it lives.
    for _ in 0..20 {
        let polled = member.consumer.poll(100, Duration::from_millis(200)).await.expect("a poll");
        assert!(polled.records.is_empty() && polled.revoked.is_empty());
    }
    assert_eq!(member.held[&0], stood);
    member.consumer.resume(&[0]);
    while member.held[&0] < 40 {
        member.poll().await;
    }
}

#[tokio::test]
async fn a_poll_that_is_dropped_loses_nothing() {
    let Some(stage) = stage("a poll that is dropped") else { return };
    let log = stage.log(1).await;
    let mut member = log.join(&stage.topic, Missing::First).await.expect("a member");
    let mut next = 0;
    let mut random = fastrand::Rng::with_seed(7);
    while next < 300 {
        append(&log, (0..5).map(|n: u32| record("key", &n.to_string())).collect()).await;
        for _ in 0..8 {
            let patience = Duration::from_micros(random.u64(0..4_000));
            let Ok(polled) = tokio::time::timeout(patience, member.poll(3, LONG)).await else { continue };
            for read in polled.expect("a poll").records {
                assert_eq!(read.place.offset, next);
                next += 1;
            }
        }
    }
}
