//! What the tests share: a topic of their own on the broker, and what members do in them.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kafka::{KafkaLog, KafkaSettings, TopicSettings, provision};
use tokio::time::{Instant, timeout};
use worker::log::{Log, LogConsumer, LogRecord, Missing, Place, Polled, partition_of};

/// How long anything may take on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// A broker, and a name that nobody else uses.
pub(crate) struct Stage {
    pub(crate) settings: KafkaSettings,
    pub(crate) topic: String,
}

/// The stage of a test, unless there is no broker, which is said.
pub(crate) fn stage(test: &str) -> Option<Stage> {
    let variable = "LANNER_TEST_KAFKA_URL";
    match env::var(variable) {
        Ok(bootstrap) => Some(at(test, bootstrap)),
        Err(_) => {
            not_run(test, &format!("{variable} is not set"));
            None
        }
    }
}

pub(crate) fn at(test: &str, bootstrap: String) -> Stage {
    static TOPICS: AtomicU32 = AtomicU32::new(0);
    let number = TOPICS.fetch_add(1, Ordering::Relaxed);
    let topic = format!("{}-{}-{number}", test.replace(' ', "-"), process::id());
    // Short, so that who has died is missed soon.
    Stage { settings: KafkaSettings { bootstrap, session_timeout_ms: 3_000, ..KafkaSettings::default() }, topic }
}

pub(crate) fn not_run(test: &str, reason: &str) {
    // Not eprintln: the harness would keep it to itself, for the test passes.
    _ = std::io::stderr().write_all(format!("NOT RUN: {test}: {reason}\n").as_bytes());
}

/// A topic on a single broker.
pub(crate) fn single(partitions: u32) -> TopicSettings {
    TopicSettings { partitions, replication_factor: 1, insync_replicas_min: 1, ..TopicSettings::default() }
}

impl Stage {
    pub(crate) async fn log(&self, partitions: u32) -> KafkaLog {
        provision(&self.settings, &self.topic, &single(partitions)).await.expect("a topic");
        KafkaLog::open(&self.settings, &self.topic, partitions).await.expect("the log")
    }
}

pub(crate) fn record(key: &str, value: &str) -> LogRecord {
    LogRecord { key: key.as_bytes().to_vec(), headers: Vec::new(), value: value.as_bytes().to_vec() }
}

pub(crate) async fn append(log: &dyn Log, records: Vec<LogRecord>) -> Vec<Place> {
    let appended = log.append(records).await.expect("an append");
    appended.into_iter().map(|place| place.expect("a place")).collect()
}

/// A key that stands in a partition.
pub(crate) fn key_in(partition: u32, partitions: u32) -> String {
    let mut keys = (0_u32..).map(|number| number.to_string());
    keys.find(|key| partition_of(key.as_bytes(), partitions) == partition).expect("a key")
}

pub(crate) async fn join(log: &dyn Log, group: &str) -> Member {
    Member { consumer: log.join(group, Missing::First).await.expect("a member"), held: BTreeMap::new() }
}

/// A member of a group, and where it stands in what it holds.
pub(crate) struct Member {
    pub(crate) consumer: Box<dyn LogConsumer>,
    /// The next offset of each partition that it holds.
    pub(crate) held: BTreeMap<u32, u64>,
}

impl Member {
    /// Polls once. Records of a partition come without a gap, from where it was assigned.
    pub(crate) async fn poll(&mut self) -> Polled {
        let polled = self.consumer.poll(500, POLL).await.expect("a poll");
        self.note(&polled);
        polled
    }

    pub(crate) fn note(&mut self, polled: &Polled) {
        for partition in &polled.revoked {
            assert!(self.held.remove(partition).is_some(), "partition {partition} was not held");
        }
        for place in &polled.assigned {
            assert!(self.held.insert(place.partition, place.offset).is_none(), "{place:?} was held already");
        }
        for read in &polled.records {
            let next = self.held.get_mut(&read.place.partition).expect("a partition that is held");
            assert_eq!(read.place.offset, *next, "partition {}", read.place.partition);
            *next += 1;
        }
    }

    pub(crate) fn next(&self) -> Vec<Place> {
        self.held.iter().map(|(partition, offset)| Place { partition: *partition, offset: *offset }).collect()
    }

    /// Polls until it holds so many partitions.
    pub(crate) async fn until_holds(&mut self, partitions: usize) {
        let deadline = Instant::now() + LONG;
        while self.held.len() != partitions {
            assert!(Instant::now() < deadline, "holds {:?}", self.held);
            self.poll().await;
        }
    }
}

/// Polls both until the partitions are shared equally.
pub(crate) async fn until_shared(a: &mut Member, b: &mut Member, partitions: usize) {
    let shared = async {
        while (a.held.len(), b.held.len()) != (partitions / 2, partitions / 2) {
            tokio::join!(a.poll(), b.poll());
        }
    };
    timeout(LONG, shared).await.expect("the members share the partitions");
}
