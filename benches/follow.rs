//! How fast limits follow the log: how much it takes, and how long after an event its limit is written.
//!
//! ```text
//! cargo bench --bench follow -- [--organizations 10000] [--max-messages 100] [--rate 5000] [--seconds 20]
//! LANNER_TEST_SERVERS=dynamodb tests/servers cargo bench --bench follow     # limits and saved sets in DynamoDB
//! ```
//!
//! Every organization has a room of its own. The log of what is readable is embedded; it is filled with 1.2 times the policy's messages for
//! each organization, and then told more at a rate:
//!
//! 1. A bare consumer: the same log polled and decoded, nothing else.
//! 2. Catching up: `follow-limits`, which was stopped while the log was empty, from there until every limit is written.
//! 3. At the rate: from the instant at which an event was due in the log until a limit is stored that has it.
//!
//! The store of messages is empty: an organization that was read from it would have a wrong limit, and the bench would not end.

#[path = "shared/dynamodb.rs"]
mod dynamodb;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

// Its allocator is the one that every job runs with.
use telemetry as _;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use aws::{DynamoDbLimits, DynamoDbState};
use chat::event::{Actor, Event, EventId, What, decode};
use chat::{
    AccountId, Epoch, LimitRow, Limits, MessageId, NoHeads, OrganizationId, Period, Policies, Policy, PortResult,
    PutOutcome, RoomId, Timestamp,
};
use clap::Parser;
use embedded::{
    Access, DataDir, LmdbLimits, LmdbLiveIds, LmdbLog, MapSize, PackedIndex, SqliteDirectory, SqliteLedger, SqliteState,
};
use hdrhistogram::Histogram;
use jobs::limits::follow_limits::{self, FollowPorts, Settings};
use jobs::messages::{READABLE_LOG, readable_record};
use support::population::one_room_each;
use support::usage::{cpu_seconds, resident_bytes};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use worker::log::{LogRecord, Place, ReadRecord};
use worker::supervisor::{Outcome, Tree};
use worker::{Backoff, Log, State};

const PARTITIONS: u32 = 16;

/// Measures follow-limits on embedded adapters.
#[derive(Clone, Debug, Parser)]
#[command(name = "follow")]
struct Arguments {
    /// Organizations, all of them free
    #[arg(long, default_value_t = 10_000)]
    organizations: u64,
    /// N of the policy
    #[arg(long, default_value_t = 100)]
    max_messages: u32,
    /// Events a second
    #[arg(long, default_value_t = 5_000)]
    rate: u64,
    /// For so many seconds
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// What `cargo bench` adds to the arguments
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let stage = Stage::new(&arguments, folder.path()).await?;
    let before = arguments.organizations * u64::from(arguments.max_messages) * 12 / 10;
    stage.begin(&arguments).await?;
    let started = Instant::now();
    stage.tell(0..before).await?;
    println!("{before} events in the log after {:.1} s", started.elapsed().as_secs_f64());
    bare(&stage.log, before).await?;
    let (memory, cpu, started) = (resident_bytes(), cpu_seconds(), Instant::now());
    let stop = CancellationToken::new();
    let following = tokio::spawn(stage.tree(&arguments)?.run(stop.clone()));
    stage.wait_for(before, &arguments).await;
    let (wall, spent) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!(
        "catching up   {:>9.0} events/s   {:>9.0}/CPU s   {} limits written   {} bytes an organization",
        before as f64 / wall,
        before as f64 / spent,
        stage.watched.rows.load(Ordering::Relaxed),
        (resident_bytes().saturating_sub(memory)) / arguments.organizations,
    );
    stage.watched.rows.store(0, Ordering::Relaxed);
    let (cpu, events) = (cpu_seconds(), arguments.rate * arguments.seconds);
    let started = Instant::now();
    let due_of = |number: u64| started + Duration::from_nanos(1_000_000_000 / arguments.rate * (number - before));
    let mut next = before;
    while next < before + events {
        sleep_until(due_of(next)).await;
        // What is due by now, in one append: as many writers would have it.
        let (from, now) = (next, Instant::now());
        while next < before + events && due_of(next) <= now {
            stage.watched.told(next, due_of(next));
            next += 1;
        }
        stage.tell(from..next).await?;
    }
    let lagged = started.elapsed().as_secs_f64() - arguments.seconds as f64;
    stage.wait_for(before + events, &arguments).await;
    let spent = cpu_seconds() - cpu;
    let took_us = stage.watched.took_us.lock().expect("times").clone();
    let ms = |quantile: f64| took_us.value_at_quantile(quantile) as f64 / 1_000.0;
    println!(
        "at {:>8}/s   {:>9.0}/CPU s   written after p50 {:.0} ms   p99 {:.0} ms   worst {:.0} ms   {} of {events} seen   log late by {lagged:.2} s",
        arguments.rate,
        events as f64 / spent,
        ms(0.5),
        ms(0.99),
        ms(1.0),
        took_us.len(),
    );
    let rows = stage.watched.rows.load(Ordering::Relaxed);
    println!("writes        {:>9.0} for 1,000 events", rows as f64 * 1_000.0 / events as f64);
    stop.cancel();
    ensure!(following.await.context("no panic")? == Outcome::Stopped, "it did not stop in order");
    Ok(())
}

/// Polls and decodes, and nothing else.
async fn bare(log: &LmdbLog, events: u64) -> Result<()> {
    let from: Vec<Place> = (0..PARTITIONS).map(|partition| Place { partition, offset: 0 }).collect();
    let (mut consumer, mut seen, cpu, started) = (log.follow(&from).await?, 0, cpu_seconds(), Instant::now());
    while seen < events {
        for read in consumer.poll(2_048, Duration::from_millis(100)).await?.records {
            std::hint::black_box(decode(&read.record.key, &read.record.headers, &read.record.value));
            seen += 1;
        }
    }
    let (wall, spent) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("bare consumer {:>9.0} events/s   {:>9.0}/CPU s", seen as f64 / wall, seen as f64 / spent);
    Ok(())
}

struct Stage {
    log: LmdbLog,
    directory: SqliteDirectory,
    index: PackedIndex,
    ledger: SqliteLedger,
    state: Arc<dyn State>,
    watched: Arc<Watched>,
    organizations: u64,
    began: Timestamp,
}

impl Stage {
    async fn new(arguments: &Arguments, folder: &std::path::Path) -> Result<Self> {
        let data = DataDir::open(folder, Access::Write, "bench").await?;
        let (size, wait) = (MapSize::default(), Duration::from_secs(5));
        let directory = SqliteDirectory::open(&data).await?;
        one_room_each(&directory, arguments.organizations, |id| id).await?;
        let (limits, state): (Arc<dyn Limits>, Arc<dyn State>) = match dynamodb::dynamodb().await? {
            Some(db) => (Arc::new(DynamoDbLimits::new(db.clone())), Arc::new(DynamoDbState::new(db))),
            None => {
                let limits = LmdbLimits::open(&data.limits(), size)?;
                (Arc::new(limits), Arc::new(SqliteState::open(&data).await?))
            }
        };
        let began = Timestamp::now();
        let watched = Watched {
            inner: limits,
            began,
            organizations: arguments.organizations,
            n: u64::from(arguments.max_messages),
            rows: AtomicU64::new(0),
            has: Mutex::default(),
            due: Mutex::default(),
            took_us: Mutex::new(Histogram::new(3)?),
        };
        Ok(Self {
            log: LmdbLog::open(READABLE_LOG, &data.log(READABLE_LOG), PARTITIONS, wait, size)?,
            directory,
            index: PackedIndex::open(&data.live_ids(), size, Epoch::default())?,
            ledger: SqliteLedger::open(&data).await?,
            state,
            watched: Arc::new(watched),
            organizations: arguments.organizations,
            began,
        })
    }

    fn tree(&self, arguments: &Arguments) -> Result<Tree> {
        let policy = Policy::new(arguments.max_messages, None)?;
        let ports = FollowPorts {
            readable: Arc::new(self.log.clone()),
            directory: Arc::new(self.directory.clone()),
            heads: Arc::new(NoHeads),
            live_ids: Arc::new(LmdbLiveIds::new(self.index.clone())),
            limits: Arc::clone(&self.watched) as Arc<dyn Limits>,
            ledger: Arc::new(self.ledger.clone()),
            state: Arc::clone(&self.state),
            policies: Policies::new(vec![Period { from: None, policy }])?,
            epoch: Epoch::default(),
        };
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 0.3)?;
        Ok(Tree::new("process", vec![follow_limits::child(ports, Settings::of_one(backoff))])?)
    }

    /// Has every organization followed, without any message, and stops.
    async fn begin(&self, arguments: &Arguments) -> Result<()> {
        let stop = CancellationToken::new();
        let following = tokio::spawn(self.tree(arguments)?.run(stop.clone()));
        while self.watched.rows.load(Ordering::Relaxed) < arguments.organizations {
            sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        ensure!(following.await.context("no panic")? == Outcome::Stopped, "it did not stop in order");
        self.watched.rows.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Appends events, many a call.
    async fn tell(&self, numbers: std::ops::Range<u64>) -> Result<()> {
        let numbers: Vec<u64> = numbers.collect();
        for some in numbers.chunks(500) {
            let records = some.iter().map(|number| self.record(*number)).collect::<Result<Vec<_>>>()?;
            for answer in self.log.append(records).await? {
                answer?;
            }
        }
        Ok(())
    }

    fn record(&self, number: u64) -> Result<LogRecord> {
        let (account, organization) = (AccountId::from_bits(1), OrganizationId::from_bits(1));
        let event = Event {
            id: EventId::new(&format!("event-{number}"))?,
            at: Timestamp::now(),
            by: Actor { account, organization },
            room: RoomId::from_bits(1 + number % self.organizations),
            what: What::MessageCreated {
                message: id_of(self.began, number),
                author: account,
                author_organization: organization,
                body: "somebody writes a sentence of common length here".to_owned(),
            },
        };
        let record = event.encode();
        let place = Place { partition: 0, offset: number };
        let record = LogRecord { key: record.key, headers: record.headers, value: record.value };
        let read = ReadRecord { place, appended_at: std::time::SystemTime::now(), record };
        Ok(readable_record(&read, Some(true)))
    }

    /// Waits until every organization's limit has its newest message of the first so many.
    async fn wait_for(&self, events: u64, arguments: &Arguments) {
        while !self.watched.has(events / arguments.organizations) {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Ids ascend with the events.
fn id_of(began: Timestamp, number: u64) -> MessageId {
    MessageId::from_bits(Epoch::default().first_id(began).get() - (1 << 40) + number)
}

/// Limits that note which events they have. The boundary tells: the newest message of a room is N - 1 after it.
struct Watched {
    inner: Arc<dyn Limits>,
    began: Timestamp,
    organizations: u64,
    n: u64,
    rows: AtomicU64,
    /// Of each organization, how many of its messages its limit has.
    has: Mutex<HashMap<u64, u64>>,
    /// Messages that no limit has yet: which one of its organization, and when it was due.
    due: Mutex<HashMap<u64, Vec<(u64, Instant)>>>,
    took_us: Mutex<Histogram<u64>>,
}

impl Watched {
    fn told(&self, number: u64, due: Instant) {
        let (organization, nth) = (1 + number % self.organizations, number / self.organizations + 1);
        self.due.lock().expect("due").entry(organization).or_default().push((nth, due));
    }

    fn has(&self, each: u64) -> bool {
        let has = self.has.lock().expect("has");
        has.len() as u64 == self.organizations && has.values().all(|many| *many >= each)
    }

    fn note(&self, row: &LimitRow) {
        let Some(boundary) = row.first_visible_message_id() else { return };
        let newest = (boundary.get() - id_of(self.began, 0).get()) / self.organizations + self.n;
        self.has.lock().expect("has").insert(row.organization.get(), newest);
        let mut due = self.due.lock().expect("due");
        let Some(waiting) = due.get_mut(&row.organization.get()) else { return };
        let mut took_us = self.took_us.lock().expect("times");
        for (_, due) in waiting.extract_if(.., |(nth, _)| *nth <= newest) {
            let us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
            let _ = took_us.record(us);
        }
    }
}

#[async_trait]
impl Limits for Watched {
    async fn put(&self, rows: &[LimitRow]) -> PortResult<Vec<PutOutcome>> {
        let outcomes = self.inner.put(rows).await?;
        self.rows.fetch_add(rows.len() as u64, Ordering::Relaxed);
        rows.iter().for_each(|row| self.note(row));
        Ok(outcomes)
    }

    async fn get(&self, organizations: &[OrganizationId]) -> PortResult<Vec<Option<LimitRow>>> {
        self.inner.get(organizations).await
    }

    async fn page(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<LimitRow>> {
        self.inner.page(after, limit).await
    }
}
