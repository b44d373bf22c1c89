//! A consumer of a log by lanes, over the embedded log and records that fail now and then: killed again and again it handles everything,
//! each key in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use embedded::{Access, DataDir, LmdbLog, MapSize, SqliteState};
use support::{Faults, Flaky, until};
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use worker::lanes::{
    Deal, LaneConsumer, LaneConsumerSettings, LanePoolSettings, LaneVerdict, LaneWork, Parcels, StateParking,
};
use worker::log::{LogRecord, Missing, ReadRecord};
use worker::supervisor::{Kind, Measured, Outcome, Tree};
use worker::{Backoff, Cause, LaneLimits, Log, State};

const MS: Duration = Duration::from_millis(1);
const GROUP: &str = "handle-numbers";
const KEYS: u32 = 12;

/// Keys are numbers, and so are items.
struct Numbers;

impl Deal<u32, u32> for Numbers {
    fn deal(&self, record: ReadRecord) -> Vec<(u32, u32)> {
        let number = |bytes: &[u8]| String::from_utf8_lossy(bytes).parse().expect("a number");
        vec![(number(&record.record.key), number(&record.record.value))]
    }
}

impl Parcels<u32, u32> for Numbers {
    fn key_words(&self, key: &u32) -> String {
        key.to_string()
    }

    fn read_key(&self, words: &str) -> Result<u32, Cause> {
        words.parse().map_err(|error| Cause::of("corrupt", &error))
    }

    fn item_bytes(&self, item: &u32) -> Vec<u8> {
        item.to_le_bytes().to_vec()
    }

    fn read_item(&self, bytes: &[u8]) -> Result<u32, Cause> {
        Ok(u32::from_le_bytes(bytes.try_into().map_err(|error| Cause::of("corrupt", &error))?))
    }
}

/// What was handled, over all lives: by key, in the order of the first time.
#[derive(Default)]
struct Handled {
    first: Mutex<BTreeMap<u32, Vec<u32>>>,
    busy: Mutex<BTreeSet<u32>>,
    /// Keys that are refused for now.
    down: Mutex<BTreeSet<u32>>,
    /// So many of a hundred attempts fail.
    fails_percent: u32,
    random: Mutex<fastrand::Rng>,
}

/// Takes a key out of those in work, however the work ends.
struct Busy<'a>(&'a Handled, u32);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.lock().expect("busy").remove(&self.1);
    }
}

#[async_trait]
impl LaneWork<u32, u32> for Handled {
    async fn handle(&self, key: &u32, items: &[u32], _: u32) -> LaneVerdict {
        assert!(self.busy.lock().expect("busy").insert(*key), "two turns of key {key} at once");
        let _busy = Busy(self, *key);
        let (took, fails) = self
            .random
            .lock()
            .map(|mut random| (random.u32(0..3), random.u32(0..100) < self.fails_percent))
            .expect("random");
        tokio::time::sleep(took * MS).await;
        if fails || self.down.lock().expect("down").contains(key) {
            return LaneVerdict::Again { after: None, cause: Cause::new("down", "on purpose") };
        }
        let mut first = self.first.lock().expect("handled");
        let seen = first.entry(*key).or_default();
        for item in items {
            if !seen.contains(item) {
                seen.push(*item);
            }
        }
        LaneVerdict::Done
    }
}

impl Handled {
    fn count(&self) -> usize {
        self.first.lock().expect("handled").values().map(Vec::len).sum()
    }
}

struct Setup {
    log: LmdbLog,
    state: Arc<dyn State>,
    handled: Arc<Handled>,
    _folder: TempDir,
}

fn backoff(min_ms: u64, max_ms: u64) -> Backoff {
    Backoff::new(Duration::from_millis(min_ms), Duration::from_millis(max_ms), 0.3).expect("a backoff")
}

impl Setup {
    async fn new(faults_percent: u32) -> Self {
        let folder = TempDir::new().expect("a folder");
        let data = DataDir::open(folder.path(), Access::Write, "test").await.expect("a data directory");
        let log = LmdbLog::open("numbers", &data.log("numbers"), 5, 500 * MS, MapSize::default()).expect("a log");
        let state = SqliteState::open(&data).await.expect("a state");
        let state: Arc<dyn State> = Arc::new(Flaky::new(state, Faults::new(7, faults_percent)));
        let handled = Arc::new(Handled { fails_percent: 2 * faults_percent, ..Handled::default() });
        Self { log, state, handled, _folder: folder }
    }

    fn consumer(&self) -> LaneConsumer<u32, u32> {
        let limits = LaneLimits::new(16, 50, 100, 200).expect("limits").parking(20).in_runs(8);
        let settings = LaneConsumerSettings {
            pool: LanePoolSettings {
                limits,
                backoff: backoff(2, 10),
                attempts_max: 3,
                handle_timeout: 5_000 * MS,
                parked_backoff: backoff(30, 60),
            },
            poll_max: 50,
            poll_wait: 100 * MS,
            commit_every: 20 * MS,
            backoff: backoff(10, 100),
            hang_after: 30_000 * MS,
            stop_grace: 2_000 * MS,
        };
        let parking = Arc::new(StateParking::new(Arc::clone(&self.state), GROUP, Numbers));
        let log = Arc::new(self.log.clone());
        LaneConsumer::new(
            log,
            GROUP,
            Missing::First,
            settings,
            Arc::new(Numbers),
            Arc::clone(&self.handled) as _,
            parking,
        )
    }

    fn tree(&self) -> Tree {
        Tree::new("process", vec![self.consumer().child()]).expect("a tree").hook(Measured)
    }

    /// Appends the next items of every key.
    async fn append(&self, items: std::ops::Range<u32>) {
        let record = |key: u32, item: u32| LogRecord {
            key: key.to_string().into_bytes(),
            headers: Vec::new(),
            value: item.to_string().into_bytes(),
        };
        let records = items.flat_map(|item| (0..KEYS).map(move |key| record(key, item)));
        for answer in self.log.append(records.collect()).await.expect("an answer") {
            answer.expect("appended");
        }
    }

    /// Everything was handled, each key in the order of the log, and nothing is left anywhere.
    async fn check(&self, items: u32) {
        until("everything is handled", async || self.handled.count() == (KEYS * items) as usize).await;
        for (key, seen) in self.handled.first.lock().expect("handled").iter() {
            assert!(seen.iter().copied().eq(0..items), "key {key} was handled as {seen:?}");
        }
        let left = async |family: &str| loop {
            match self.state.list(&format!("{GROUP}-{family}/"), None, 1_000).await {
                Err(error) if error.is_temporary() => {}
                listed => break listed.expect("a listing").len(),
            }
        };
        until("no lane is parked", async || left("lanes").await + left("items").await == 0).await;
        until("everything is committed", async || {
            let mut behind = 0;
            for partition in 0..5 {
                let next = self.log.bounds(partition).await.expect("bounds").next;
                behind += next - self.log.committed(GROUP, partition).await.expect("an offset").unwrap_or(0);
            }
            behind == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_with_failing_records_every_key_is_handled_in_order() {
    let setup = Setup::new(5).await;
    let mut random = fastrand::Rng::with_seed(11);
    for round in 0..12 {
        setup.append(round * 10..round * 10 + 10).await;
        if round % 3 == 0 {
            setup.handled.down.lock().expect("down").insert(random.u32(..KEYS));
        }
        let running = AbortOnDropHandle::new(tokio::spawn(setup.tree().run(CancellationToken::new())));
        tokio::time::sleep(random.u32(50..900) * MS).await;
        // As a kill does: nothing is finished, nothing is told.
        drop(running);
    }
    setup.handled.down.lock().expect("down").clear();
    let stop = CancellationToken::new();
    let running = tokio::spawn(setup.tree().run(stop.clone()));
    setup.check(120).await;
    stop.cancel();
    assert_eq!(running.await.expect("no panic"), Outcome::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_commits_what_is_done_and_hands_the_partitions_over_at_once() {
    let setup = Setup::new(0).await;
    setup.append(0..20).await;
    let (stop, tree) = (CancellationToken::new(), setup.tree());
    let vitals = tree.vitals();
    let running = tokio::spawn(tree.run(stop.clone()));
    until("some are handled", async || setup.handled.count() > 60).await;
    let asked = Instant::now();
    stop.cancel();
    assert_eq!(running.await.expect("no panic"), Outcome::Stopped);
    assert!(asked.elapsed() < 2_000 * MS, "the stop took {:?}", asked.elapsed());
    assert_eq!(vitals.of("process/handle-numbers").expect("the child").stops(Kind::Aborted), 0);
    let mut committed = 0;
    for partition in 0..5 {
        committed += setup.log.committed(GROUP, partition).await.expect("an offset").unwrap_or(0);
    }
    assert_eq!(committed, setup.handled.count() as u64, "what is done is committed");

    let stop = CancellationToken::new();
    let running = tokio::spawn(setup.tree().run(stop.clone()));
    setup.check(20).await;
    stop.cancel();
    assert_eq!(running.await.expect("no panic"), Outcome::Stopped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_is_lost_ends_the_process() {
    let setup = Setup::new(0).await;
    setup.append(0..1).await;
    let mut member = setup.log.join(GROUP, Missing::First).await.expect("a member");
    let held = async |member: &mut Box<dyn worker::LogConsumer>| {
        let mut assigned = Vec::new();
        while assigned.len() < 5 {
            assigned.extend(member.poll(1, 100 * MS).await.expect("a poll").assigned);
        }
        assigned
    };
    let mut place = held(&mut member).await[0];
    place.offset = 1_000;
    member.commit(&[place]).await.expect("committed");
    member.close().await.expect("closed");
    let Outcome::GaveUp(gave_up) = setup.tree().run(CancellationToken::new()).await else {
        panic!("it did not give up")
    };
    assert!(gave_up.to_string().contains("has lost its position"), "{gave_up}");
}
