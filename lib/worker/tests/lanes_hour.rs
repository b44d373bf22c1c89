//! A consumer by lanes under a supervisor for an hour of virtual time, while everything that it touches fails, panics and hangs at random:
//! the log, the records, the handlers.

mod double;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::lanes::{
    Deal, LaneConsumer, LaneConsumerSettings, LaneLimits, LanePoolSettings, LaneVerdict, LaneWork, StateParking,
};
use worker::log::{Appended, Bounds, LogLimits, LogRecord, Missing, Place, Polled, ReadRecord};
use worker::supervisor::{Child, Kind, Outcome, Policy, RestartLimit, Tree};
use worker::{Backoff, Cause, Log, LogConsumer, LogError};

use crate::double::{Numbers, Records};

const PARTITIONS: u32 = 3;
const KEYS: u32 = 20;
const HOUR: Duration = Duration::from_secs(3_600);
const GROUP: &str = "handle-numbers";

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What goes wrong, until it no longer does.
#[derive(Default)]
struct Faults {
    are_over: Mutex<bool>,
    happened: Mutex<BTreeMap<&'static str, u64>>,
}

impl Faults {
    /// At so many of ten thousand calls it panics or hangs; at ten times as many it fails.
    async fn strike(&self, per_10_000: u32) -> Result<(), ()> {
        if *self.are_over.lock().expect("faults") {
            return Ok(());
        }
        let number = fastrand::u32(0..10_000);
        let what = match number / per_10_000.max(1) {
            0 => "panic",
            1 => "hang",
            2..12 => "error",
            _ => return Ok(()),
        };
        *self.happened.lock().expect("faults").entry(what).or_default() += 1;
        match what {
            "panic" => std::panic::resume_unwind(Box::new("on purpose")),
            "hang" => std::future::pending().await,
            _ => Err(()),
        }
    }
}

/// A log in memory, whose one group has one member: whoever joined last. Here no crate with a log is known.
#[derive(Default)]
struct Memory {
    records: Mutex<BTreeMap<u32, Vec<LogRecord>>>,
    committed: Mutex<BTreeMap<u32, u64>>,
    member: Mutex<u64>,
    faults: Arc<Faults>,
    /// Polls that bring something are answered at once.
    is_instant: bool,
}

struct Member {
    log: Arc<Memory>,
    number: u64,
    next: BTreeMap<u32, u64>,
    paused: BTreeSet<u32>,
}

fn down() -> LogError {
    LogError::Unavailable { log: "numbers".to_owned(), source: "on purpose".into() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while it holds this")
}

#[derive(Clone)]
struct Shared(Arc<Memory>);

#[async_trait]
impl Log for Shared {
    fn name(&self) -> &str {
        "numbers"
    }

    fn limits(&self) -> LogLimits {
        LogLimits { batch_max: 1_000, record_bytes_max: 1_000 }
    }

    async fn partitions(&self) -> Result<u32, LogError> {
        Ok(PARTITIONS)
    }

    async fn append(&self, records: Vec<LogRecord>) -> Result<Appended, LogError> {
        let mut all = locked(&self.0.records);
        let append = |record: LogRecord| {
            let partition = worker::log::partition_of(&record.key, PARTITIONS);
            let records = all.entry(partition).or_default();
            records.push(record);
            Ok(Place { partition, offset: records.len() as u64 - 1 })
        };
        Ok(records.into_iter().map(append).collect())
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        let next = locked(&self.0.records).get(&partition).map_or(0, Vec::len) as u64;
        Ok(Bounds { first: 0, next })
    }

    async fn committed(&self, _: &str, partition: u32) -> Result<Option<u64>, LogError> {
        Ok(locked(&self.0.committed).get(&partition).copied())
    }

    async fn join(&self, _: &str, _: Missing) -> Result<Box<dyn LogConsumer>, LogError> {
        self.0.faults.strike(20).await.map_err(|()| down())?;
        let mut number = locked(&self.0.member);
        *number += 1;
        let log = Arc::clone(&self.0);
        Ok(Box::new(Member { log, number: *number, next: BTreeMap::new(), paused: BTreeSet::new() }))
    }

    async fn follow(&self, _: &[Place]) -> Result<Box<dyn LogConsumer>, LogError> {
        Err(down())
    }
}

impl Member {
    /// Whether a poll would bring anything.
    fn has_more(&self) -> bool {
        let records = locked(&self.log.records);
        let there = |partition: &u32| records.get(partition).map_or(0, Vec::len) as u64;
        let is_behind = |(partition, next): (&u32, &u64)| !self.paused.contains(partition) && *next < there(partition);
        self.next.is_empty() || self.next.iter().any(is_behind)
    }
}

#[async_trait]
impl LogConsumer for Member {
    async fn poll(&mut self, max: usize, wait: Duration) -> Result<Polled, LogError> {
        self.log.faults.strike(1).await.map_err(|()| down())?;
        if !self.log.is_instant || !self.has_more() {
            tokio::time::sleep(wait.min(ms(fastrand::u64(1..50)))).await;
        }
        let mut polled = Polled::default();
        if self.next.is_empty() {
            let committed = locked(&self.log.committed);
            for partition in 0..PARTITIONS {
                let offset = committed.get(&partition).copied().unwrap_or(0);
                self.next.insert(partition, offset);
                polled.assigned.push(Place { partition, offset });
            }
            return Ok(polled);
        }
        let records = locked(&self.log.records);
        for (partition, next) in self.next.iter_mut().filter(|(partition, _)| !self.paused.contains(partition)) {
            let there = records.get(partition).map_or(&[][..], Vec::as_slice);
            let from = usize::try_from(*next).expect("few").min(there.len());
            for record in there[from..].iter().take(max - polled.records.len()) {
                let place = Place { partition: *partition, offset: *next };
                polled.records.push(ReadRecord { place, appended_at: SystemTime::now(), record: record.clone() });
                *next += 1;
            }
        }
        Ok(polled)
    }

    fn pause(&mut self, partitions: &[u32]) {
        self.paused.extend(partitions);
    }

    fn resume(&mut self, partitions: &[u32]) {
        partitions.iter().for_each(|partition| _ = self.paused.remove(partition));
    }

    async fn commit(&mut self, next: &[Place]) -> Result<(), LogError> {
        self.log.faults.strike(5).await.map_err(|()| down())?;
        if *locked(&self.log.member) != self.number {
            return Err(LogError::Fenced { log: "numbers".to_owned(), partition: next[0].partition });
        }
        for place in next {
            let before = locked(&self.log.committed).insert(place.partition, place.offset).unwrap_or(0);
            assert!(before <= place.offset, "the position went back from {before} to {}", place.offset);
        }
        // Done, and the answer is lost.
        self.log.faults.strike(5).await.map_err(|()| down())
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        Ok(())
    }
}

impl Deal<u32, u64> for Numbers {
    fn deal(&self, read: ReadRecord) -> Vec<(u32, u64)> {
        let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse().expect("a number");
        vec![(number(&read.record.key) as u32, number(&read.record.value))]
    }
}

/// Notes what it has done, in the order of the first time.
struct Handled {
    faults: Arc<Faults>,
    first: Mutex<BTreeMap<u32, Vec<u64>>>,
    /// The key whose receiver is down: its lane parks.
    down: Mutex<Option<u32>>,
}

#[async_trait]
impl LaneWork<u32, u64> for Handled {
    async fn handle(&self, key: &u32, items: &[u64], _: u32) -> LaneVerdict {
        tokio::time::sleep(ms(fastrand::u64(1..100))).await;
        if *locked(&self.down) == Some(*key) || self.faults.strike(50).await.is_err() {
            return LaneVerdict::Again { after: None, cause: Cause::new("down", "on purpose") };
        }
        let mut first = locked(&self.first);
        let seen = first.entry(*key).or_default();
        // Items are counted up: what is not new was done before.
        for item in items {
            match seen.last() {
                Some(last) if last >= item => assert!(seen.contains(item), "item {item} of key {key} was skipped"),
                _ => seen.push(*item),
            }
        }
        LaneVerdict::Done
    }
}

fn consumer(log: &Shared, records: &Arc<Records>, handled: &Arc<Handled>) -> Child {
    let backoff = |min, max| Backoff::new(ms(min), ms(max), 0.3).expect("a backoff");
    let settings = LaneConsumerSettings {
        pool: LanePoolSettings {
            limits: LaneLimits::new(8, 20, 60, 160).expect("limits").parking(5).in_runs(4),
            backoff: backoff(50, 1_000),
            attempts_max: 4,
            handle_timeout: ms(2_000),
            parked_backoff: backoff(1_000, 10_000),
        },
        poll_max: 100,
        poll_wait: ms(500),
        commit_every: ms(200),
        backoff: backoff(50, 2_000),
        hang_after: ms(5_000),
        stop_grace: ms(2_000),
    };
    let parking = Arc::new(StateParking::new(Arc::clone(records) as _, GROUP, Numbers));
    let (log, work) = (Arc::new(log.clone()), Arc::clone(handled) as _);
    LaneConsumer::new(log, GROUP, Missing::First, settings, Arc::new(Numbers), work, parking).child()
}

/// The consumer's own limit of restarts is for a process; here what gives up is begun again by the supervisor above.
fn tree(consumer: Child) -> Tree {
    let policy = Policy {
        directives: worker::supervisor::Directives::default()
            .on(Kind::Escalated, worker::supervisor::Directive::Restart),
        limit: RestartLimit { max: u32::MAX, within: HOUR },
        ..Policy::new(Backoff::new(ms(50), ms(1_000), 0.3).expect("a backoff"))
    };
    Tree::new("process", vec![Child::supervisor("job", policy, vec![consumer])]).expect("a tree")
}

async fn an_hour() {
    let faults = Arc::<Faults>::default();
    let log = Shared(Arc::new(Memory { faults: Arc::clone(&faults), ..Memory::default() }));
    let (records, stop) = (Arc::<Records>::default(), CancellationToken::new());
    *locked(&records.fails) = 5;
    let handled = Arc::new(Handled { faults: Arc::clone(&faults), first: Mutex::default(), down: Mutex::default() });
    let tree = tree(consumer(&log, &records, &handled));
    let vitals = tree.vitals();
    let load = async {
        let (mut sent, until) = (vec![0_u64; KEYS as usize], Instant::now() + HOUR);
        while Instant::now() < until {
            let key = fastrand::u32(0..KEYS);
            let number = &mut sent[key as usize];
            let value = number.to_string().into_bytes();
            let record = LogRecord { key: key.to_string().into_bytes(), headers: Vec::new(), value };
            log.append(vec![record]).await.expect("appended");
            *number += 1;
            if fastrand::u32(0..100) == 0 {
                *locked(&handled.down) = Some(fastrand::u32(0..KEYS));
            }
            tokio::time::sleep(ms(fastrand::u64(0..400))).await;
        }
        *locked(&handled.down) = None;
        *locked(&faults.are_over) = true;
        *locked(&records.fails) = 0;
        let ends = locked(&log.0.records).iter().map(|(partition, all)| (*partition, all.len() as u64)).collect();
        let calm = Instant::now();
        while *locked(&log.0.committed) != ends || !records.keys().is_empty() {
            assert!(calm.elapsed() < HOUR, "it does not get there: {:?} of {ends:?}", locked(&log.0.committed));
            tokio::time::sleep(ms(1_000)).await;
        }
        stop.cancel();
        sent
    };
    let (outcome, sent) = tokio::join!(tree.run(stop.clone()), load);
    assert_eq!(outcome, Outcome::Stopped);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0, "a task is left");
    for (key, sent) in sent.into_iter().enumerate() {
        let first = locked(&handled.first);
        let seen = first.get(&(key as u32)).map_or(&[][..], Vec::as_slice);
        assert!(seen.iter().copied().eq(0..sent), "key {key}: {seen:?} of {sent}");
    }
    let happened = locked(&faults.happened).clone();
    assert!(
        ["panic", "hang", "error"].iter().all(|what| happened.get(what).is_some_and(|times| *times > 10)),
        "{happened:?}"
    );
    let of = vitals.of("process/job/handle-numbers").expect("the child");
    let restarts = [Kind::Panic, Kind::Hang, Kind::Error].map(|kind| of.stops(kind));
    assert!(restarts.iter().all(|times| *times > 0), "not every kind of end was seen: {restarts:?}");
}

#[test]
fn in_an_hour_of_random_faults_no_position_and_no_lane_is_lost_and_no_task_is_left() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let first = setting("LANNER_SEED").unwrap_or(1);
    for seed in first..first + setting("LANNER_LAW_CASES").unwrap_or(1) {
        eprintln!("LANNER_SEED={seed}");
        fastrand::seed(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(an_hour());
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_worked_off_in_one_run_however_fast_the_log_answers() {
    let faults = Arc::new(Faults { are_over: Mutex::new(true), ..Faults::default() });
    let log = Shared(Arc::new(Memory { faults: Arc::clone(&faults), is_instant: true, ..Memory::default() }));
    for number in 0..3_000_u64 {
        let value = (number / u64::from(KEYS)).to_string().into_bytes();
        let key = (number % u64::from(KEYS)).to_string().into_bytes();
        log.append(vec![LogRecord { key, headers: Vec::new(), value }]).await.expect("appended");
    }
    let handled = Arc::new(Handled { faults, first: Mutex::default(), down: Mutex::default() });
    let stop = CancellationToken::new();
    let tree = tree(consumer(&log, &Arc::default(), &handled));
    let vitals = tree.vitals();
    let done = async {
        let ends = locked(&log.0.records).iter().map(|(partition, all)| (*partition, all.len() as u64)).collect();
        while *locked(&log.0.committed) != ends {
            tokio::time::sleep(ms(100)).await;
        }
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(tree.run(stop.clone()), done);
    assert_eq!(outcome, Outcome::Stopped);
    assert_eq!(vitals.of("process/job/handle-numbers").expect("the child").stops(Kind::Error), 0);
}
