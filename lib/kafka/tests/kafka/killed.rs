//! A broker that is killed and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka::{KafkaLog, KafkaSettings, provision};
use support::Broker;
use tokio::time::{Instant, sleep, timeout};
use worker::log::{Log, LogError, Missing, Place};

use crate::stage::{LONG, Stage, append, at, join, not_run, record, single};

const KEYS: u32 = 8;
const OF_EACH_KEY: u32 = 200;

async fn own_broker(test: &str) -> Option<(Broker, Stage)> {
    let broker = match Broker::start() {
        Ok(broker) => broker,
        Err(reason) => {
            not_run(test, &reason);
            return None;
        }
    };
    let mut stage = at(test, broker.bootstrap());
    stage.settings = KafkaSettings { session_timeout_ms: 10_000, request_timeout_ms: 3_000, ..stage.settings };
    let deadline = Instant::now() + LONG;
    while let Err(error) = provision(&stage.settings, &stage.topic, &single(4)).await {
        assert!(Instant::now() < deadline, "{error}");
        sleep(Duration::from_millis(200)).await;
    }
    Some((broker, stage))
}

/// Appends numbers to every key, each until it is acknowledged: one that may have been stored can be stored twice.
async fn write(log: KafkaLog) -> BTreeMap<Place, (u32, u32)> {
    let mut acknowledged = BTreeMap::new();
    for number in 0..OF_EACH_KEY {
        let mut left: Vec<u32> = (0..KEYS).collect();
        while !left.is_empty() {
            let records = left.iter().map(|key| record(&key.to_string(), &number.to_string())).collect();
            let appended = log.append(records).await.expect("answers");
            let mut again = Vec::new();
            for (key, place) in left.into_iter().zip(appended) {
                match place {
                    Ok(place) => drop(acknowledged.insert(place, (key, number))),
                    Err(error) => {
                        assert!(error.is_temporary(), "{error}");
                        again.push(key);
                    }
                }
            }
            left = again;
        }
        sleep(Duration::from_millis(20)).await;
    }
    acknowledged
}

/// Reads as a member, committing as it goes, until it is told what must have been read.
async fn read(
    log: KafkaLog,
    group: String,
    all: tokio::sync::oneshot::Receiver<BTreeSet<Place>>,
) -> BTreeMap<Place, (u32, u32)> {
    let mut member = join(&log, &group).await;
    let mut read = BTreeMap::new();
    let (mut all, mut wanted) = (all, None);
    while wanted.as_ref().is_none_or(|wanted: &BTreeSet<Place>| wanted.iter().any(|place| !read.contains_key(place))) {
        if wanted.is_none() {
            wanted = all.try_recv().ok();
        }
        match member.consumer.poll(100, Duration::from_millis(100)).await {
            Ok(polled) => {
                member.note(&polled);
                for one in polled.records {
                    let number =
                        |bytes: &[u8]| str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()).expect("a number");
                    let said = (number(&one.record.key), number(&one.record.value));
                    assert!(
                        read.insert(one.place, said).is_none_or(|before| before == said),
                        "{:?} has changed",
                        one.place
                    );
                }
            }
            Err(error) => {
                assert!(error.is_temporary(), "{error}");
                sleep(Duration::from_millis(100)).await;
            }
        }
        match member.consumer.commit(&member.next()).await {
            Ok(()) | Err(LogError::Fenced { .. }) => {}
            Err(error) => assert!(error.is_temporary(), "{error}"),
        }
    }
    read
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_loses_nothing_that_was_acknowledged_and_keeps_the_order_of_each_key() {
    let Some((mut broker, stage)) = own_broker("a broker that is killed").await else { return };
    let (writes, reads) = (stage.log(4).await, stage.log(4).await);
    let (tell, told) = tokio::sync::oneshot::channel();
    let writer = tokio::spawn(write(writes));
    let reader = tokio::spawn(read(reads, stage.topic.clone(), told));
    for _ in 0..2 {
        sleep(Duration::from_millis(1_500)).await;
        broker.kill();
        sleep(Duration::from_millis(1_000)).await;
        broker.start_again();
        sleep(Duration::from_millis(2_500)).await;
    }
    let acknowledged = timeout(LONG, writer).await.expect("the writer ends").expect("the writer");
    tell.send(acknowledged.keys().copied().collect()).expect("the reader lives");
    let read = timeout(LONG, reader).await.expect("all is read").expect("the reader");
    assert_eq!(acknowledged.len(), (KEYS * OF_EACH_KEY) as usize);
    for (place, said) in &acknowledged {
        assert_eq!(read.get(place), Some(said), "{place:?}");
    }
    for key in 0..KEYS {
        let numbers: Vec<u32> = read.values().filter(|(of, _)| *of == key).map(|(_, number)| *number).collect();
        assert!(numbers.is_sorted(), "the records of key {key} stand in order: {numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_broker_nothing_hangs_and_what_cannot_have_arrived_is_not_unknown() {
    let Some((mut broker, stage)) = own_broker("without a broker").await else { return };
    let settings = KafkaSettings { request_timeout_ms: 3_000, delivery_timeout_ms: 3_200, ..stage.settings.clone() };
    let log = KafkaLog::open(&settings, &stage.topic, 4).await.expect("the log");
    append(&log, (0..20).map(|n: u32| record(&n.to_string(), "x")).collect()).await;
    let (mut closed, mut dropped) = (join(&log, "closed").await, join(&log, "dropped").await);
    closed.until_holds(4).await;
    dropped.until_holds(4).await;
    broker.kill();
    // The first may have been on its way; the second was never sent.
    let first = timeout(LONG, log.append(vec![record("1", "x")])).await.expect("an answer").expect("answers");
    assert!(first[0].as_ref().is_err_and(LogError::is_temporary), "{first:?}");
    let second = timeout(LONG, log.append(vec![record("1", "x")])).await.expect("an answer").expect("answers");
    assert!(matches!(second[0], Err(LogError::Unavailable { .. })), "{second:?}");
    let asked = timeout(LONG, log.bounds(0)).await.expect("an answer");
    assert!(matches!(asked, Err(LogError::Unavailable { .. })), "{asked:?}");
    let committed = timeout(LONG, dropped.consumer.commit(&dropped.next())).await.expect("an answer");
    assert!(committed.as_ref().is_err_and(LogError::is_temporary), "{committed:?}");
    let joined = timeout(LONG, log.join("new", Missing::First)).await.expect("an answer");
    assert!(joined.is_err_and(|error| error.is_temporary()));
    timeout(Duration::from_secs(8), closed.consumer.close()).await.expect("closing has a bound").ok();
    let at = Instant::now();
    drop((dropped, log));
    assert!(at.elapsed() < Duration::from_secs(1), "dropping waits for nobody: {:?}", at.elapsed());
}
