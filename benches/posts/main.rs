//! Messages a second through the message path over HTTP, and how long they take to be accepted and to be readable.
//!
//! ```text
//! cargo bench --bench posts -- [--seconds 10] [--connections 64] [--rate R] [--rooms 1000]
//! LANNER_TEST_SERVERS="kafka mysql" tests/servers cargo bench --bench posts     # with Kafka, and the plain baseline beside it
//! ```
//!
//! For the embedded log, and for Kafka where it is there (a single broker on this machine, everything else embedded):
//!
//! 1. The raw log: as many callers append the same events, one a call, in this process.
//! 2. As fast as it goes: each connection posts its next message when the last one is accepted.
//! 3. At a rate (default: half of that): a message is due at its instant whatever became of those before, and what it takes counts
//!    from then (no coordinated omission). Every twentieth message is asked for until it can be read.
//!
//! At last the baseline ([`baseline`]): one MySQL, a message and its notification inserted in one durable transaction.
//!
//! The services are processes of their own; accepted means durable in the log. `build-read-model` runs beside all of it.

mod baseline;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat::event::{Actor, Event, EventId, What};
use chat::{AccountId, MessageId, OrganizationId, RoomId, Timestamp};
use clap::Parser;
use embedded::{Access, DataDir, LmdbLog, MapSize};
use hdrhistogram::Histogram;
use jobs::messages::{EVENT_LOG, append_event};
use kafka::{KafkaLog, KafkaSettings, TopicSettings, provision};
use serde_json::json;
use support::message_path::{Http, Served};
use support::{Program, SmallChat};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use worker::Log;

use baseline::Baseline;

const ACCOUNT: u64 = 1;
const ORGANIZATION: u64 = 1;
const PARTITIONS: u32 = 16;
/// Of how many messages at a rate one is asked for until it can be read.
const ONE_IN: u64 = 20;
const READ_EVERY: Duration = Duration::from_millis(5);

/// Measures the message path over HTTP.
#[derive(Clone, Debug, Parser)]
#[command(name = "posts")]
struct Arguments {
    /// How long each part takes
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections that post at once
    #[arg(long, default_value_t = 64)]
    connections: u64,
    /// Messages a second where the rate is given [default: half of what goes]
    #[arg(long)]
    rate: Option<u64>,
    /// Rooms
    #[arg(long, default_value_t = 1_000)]
    rooms: u64,
    /// What `cargo bench` adds to the arguments
    #[arg(long, hide = true)]
    bench: bool,
}

fn body(number: u64) -> String {
    format!("message {number}: {}", "somebody writes a sentence of common length here; ".repeat(2))
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    message_path(&arguments, &Kind::Embedded).await?;
    match std::env::var("LANNER_TEST_KAFKA_URL") {
        Ok(bootstrap) => message_path(&arguments, &Kind::Kafka { bootstrap }).await?,
        Err(_) => left_out("kafka"),
    }
    match Baseline::new(&arguments).await? {
        Some(baseline) => baseline.run(&arguments).await?,
        None => left_out("mysql"),
    }
    Ok(())
}

fn left_out(server: &str) {
    println!("{server} left out: no server (LANNER_TEST_SERVERS={server} tests/servers cargo bench --bench posts)");
}

/// Which log.
enum Kind {
    Embedded,
    Kafka { bootstrap: String },
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Kafka { .. } => "kafka",
        }
    }

    async fn log(&self, folder: &TempDir) -> Result<Arc<dyn Log>> {
        match self {
            Self::Embedded => {
                let data = DataDir::open(folder.path(), Access::Write, "bench").await?;
                let (path, wait) = (data.log(EVENT_LOG), Duration::from_secs(5));
                Ok(Arc::new(LmdbLog::open(EVENT_LOG, &path, PARTITIONS, wait, MapSize::default())?))
            }
            Self::Kafka { bootstrap } => {
                let settings = KafkaSettings { bootstrap: bootstrap.clone(), ..KafkaSettings::default() };
                let wanted = TopicSettings {
                    partitions: PARTITIONS,
                    replication_factor: 1,
                    insync_replicas_min: 1,
                    record_bytes_max: settings.record_bytes_max,
                    ..TopicSettings::default()
                };
                let topic = prefix(folder) + "raw";
                provision(&settings, &topic, &wanted).await?;
                Ok(Arc::new(KafkaLog::open(&settings, &topic, PARTITIONS).await?))
            }
        }
    }

    /// The binary with this log, whose topics are there.
    fn program(&self, folder: &TempDir) -> Program {
        let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &folder.path().join("data"));
        let Self::Kafka { bootstrap } = self else { return program };
        let program = program
            .with("LANNER_EVENT_LOG_ADAPTER", "kafka")
            .with("LANNER_EVENT_LOG_BOOTSTRAP", bootstrap)
            .with("LANNER_EVENT_LOG_TOPIC_PREFIX", prefix(folder))
            .with("LANNER_EVENT_LOG_REPLICATION_FACTOR", 1)
            .with("LANNER_EVENT_LOG_INSYNC_REPLICAS_MIN", 1)
            .with("LANNER_EVENT_LOG_PARTITIONS", PARTITIONS);
        program.run("provision --reason bench").exits(0);
        program
    }
}

/// What the names of topics of this folder's own begin with.
fn prefix(folder: &TempDir) -> String {
    let name = folder.path().file_name().unwrap_or_default().to_string_lossy();
    format!("bench-{}-", name.trim_start_matches('.'))
}

async fn message_path(arguments: &Arguments, kind: &Kind) -> Result<()> {
    println!("{}", kind.name());
    let folder = TempDir::new()?;
    let raw = raw_log(arguments, kind.log(&folder).await?).await?;
    println!("raw log       {raw:>8.0}/s");
    let folder = TempDir::new()?;
    let served = Arc::new(served(arguments, kind, &folder).await?);
    let went = fast(arguments, {
        let (served, token) = (Arc::clone(&served), token(&served));
        let rooms = arguments.rooms;
        move |number| {
            let (served, token) = (Arc::clone(&served), token.clone());
            async move { post(&served.writes, &token, number, rooms).await.map(drop) }
        }
    })
    .await?;
    println!("accepted      {:>8.0}/s   {:.2} of the raw log   {}", went.rate, went.rate / raw, went.times());
    let rate = arguments.rate.unwrap_or_else(|| (went.rate / 2.0) as u64).max(1);
    at_rate(arguments, &served, rate).await
}

/// What a part has come to.
struct Went {
    rate: f64,
    took_us: Histogram<u64>,
}

impl Went {
    fn times(&self) -> String {
        times(&self.took_us)
    }
}

fn times(took_us: &Histogram<u64>) -> String {
    let ms = |quantile: f64| took_us.value_at_quantile(quantile) as f64 / 1_000.0;
    format!("p50 {:.1} ms   p99 {:.1} ms   p99.9 {:.1} ms   worst {:.1} ms", ms(0.5), ms(0.99), ms(0.999), ms(1.0))
}

fn us_since(instant: Instant) -> u64 {
    u64::try_from(instant.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
}

/// Calls `one` again and again from as many tasks as there are connections, for the time of a part.
async fn fast<F>(arguments: &Arguments, one: impl Fn(u64) -> F + Clone + Send + 'static) -> Result<Went>
where
    F: Future<Output = Result<()>> + Send,
{
    let (started, numbers) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let until = started + Duration::from_secs(arguments.seconds);
    let mut tasks = JoinSet::new();
    for _ in 0..arguments.connections {
        let (one, numbers) = (one.clone(), Arc::clone(&numbers));
        tasks.spawn(async move {
            let mut took_us = Histogram::<u64>::new(3)?;
            while Instant::now() < until {
                let began = Instant::now();
                one(numbers.fetch_add(1, Ordering::Relaxed)).await?;
                took_us.record(us_since(began))?;
            }
            anyhow::Ok(took_us)
        });
    }
    let mut took_us = Histogram::<u64>::new(3)?;
    while let Some(done) = tasks.join_next().await {
        took_us.add(done??)?;
    }
    Ok(Went { rate: took_us.len() as f64 / started.elapsed().as_secs_f64(), took_us })
}

async fn raw_log(arguments: &Arguments, log: Arc<dyn Log>) -> Result<f64> {
    let rooms = arguments.rooms;
    let went = fast(arguments, move |number| {
        let log = Arc::clone(&log);
        async move {
            let (account, organization) = (AccountId::from_bits(ACCOUNT), OrganizationId::from_bits(ORGANIZATION));
            let event = Event {
                id: EventId::new(&format!("event-{number}"))?,
                at: Timestamp::now(),
                by: Actor { account, organization },
                room: RoomId::from_bits(1 + number % rooms),
                what: What::MessageCreated {
                    message: MessageId::from_bits((1 << 40) + number),
                    author: account,
                    author_organization: organization,
                    body: body(number),
                },
            };
            append_event(&*log, &event).await?;
            Ok(())
        }
    });
    Ok(went.await?.rate)
}

/// The services on a chat of one organization whose one account is in every room.
async fn served(arguments: &Arguments, kind: &Kind, folder: &TempDir) -> Result<Served> {
    let rooms: Vec<u64> = (1..=arguments.rooms).collect();
    let chat = SmallChat {
        organizations: vec![(ORGANIZATION, true)],
        accounts: vec![(ACCOUNT, ORGANIZATION, true)],
        memberships: rooms.iter().map(|room| (*room, ACCOUNT, false)).collect(),
        rooms,
        messages: Vec::new(),
    };
    let tables = folder.path().join("tables");
    chat.write_csv(&tables);
    let program = kind.program(folder);
    program.run(&format!("import {}", tables.display())).exits(0);
    let served = Served::new(&program);
    served.start_all().await;
    Ok(served)
}

fn token(served: &Served) -> String {
    format!("Bearer {}", served.token(ACCOUNT, ORGANIZATION, false))
}

/// Posts a message; answers its path.
async fn post(writes: &Http, token: &str, number: u64, rooms: u64) -> Result<String> {
    let path = format!("/v1/rooms/{}/messages", 1 + number % rooms);
    let answer = writes.send("POST", &path, &[("authorization", token)], Some(&json!({"body": body(number)}))).await;
    let answer = answer.map_err(anyhow::Error::msg)?;
    ensure!(answer.status == 202, "{} {}", answer.status, answer.json());
    let id = answer.json()["message_id"].as_str().context("an id")?.to_owned();
    Ok(format!("{path}/{id}"))
}

/// Posts at instants that are fixed beforehand.
async fn at_rate(arguments: &Arguments, served: &Arc<Served>, rate: u64) -> Result<()> {
    let (started, token) = (Instant::now(), token(served));
    let mut tasks = JoinSet::new();
    let (mut accepted_us, mut readable_us) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
    for number in 0..rate * arguments.seconds {
        let due = started + Duration::from_nanos(1_000_000_000 / rate * number);
        sleep_until(due).await;
        let (served, token, rooms) = (Arc::clone(served), token.clone(), arguments.rooms);
        tasks.spawn(async move {
            let path = post(&served.writes, &token, number, rooms).await?;
            let accepted = us_since(due);
            if number % ONE_IN != 0 {
                return anyhow::Ok((accepted, None));
            }
            while served
                .reads
                .send("GET", &path, &[("authorization", &token)], None)
                .await
                .map_err(anyhow::Error::msg)?
                .status
                != 200
            {
                sleep(READ_EVERY).await;
            }
            Ok((accepted, Some(us_since(due))))
        });
        while let Some(done) = tasks.try_join_next() {
            note(done??, &mut accepted_us, &mut readable_us)?;
        }
    }
    while let Some(done) = tasks.join_next().await {
        note(done??, &mut accepted_us, &mut readable_us)?;
    }
    println!("at {rate:>8}/s   accepted after   {}", times(&accepted_us));
    println!("               readable after   {}", times(&readable_us));
    Ok(())
}

fn note(
    (accepted, readable): (u64, Option<u64>),
    accepted_us: &mut Histogram<u64>,
    readable_us: &mut Histogram<u64>,
) -> Result<()> {
    accepted_us.record(accepted)?;
    readable.map_or(Ok(()), |readable| readable_us.record(readable))?;
    Ok(())
}
