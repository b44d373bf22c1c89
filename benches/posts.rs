//! Messages a second through the message path over HTTP, and how long they take to be accepted and to be readable.
//!
//! ```text
//! cargo bench --bench posts -- [--seconds 10] [--connections 64] [--rate R] [--rooms 1000]
//! LANNER_TEST_SERVERS=mysql tests/servers cargo bench --bench posts     # with the plain baseline beside it
//! ```
//!
//! 1. The raw log: as many callers append the same events, one a call, in this process.
//! 2. As fast as it goes: each connection posts its next message when the last one is accepted.
//! 3. At a rate (default: half of that): a message is due at its instant whatever became of those before, and what it takes counts
//!    from then (no coordinated omission). Every twentieth message is asked for until it can be read.
//! 4. The baseline: one MySQL, a message and its notification inserted in one transaction, by as many connections, without any HTTP.
//!
//! The services are processes of their own on embedded stores; accepted means durable in the log.

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
use serde_json::json;
use sqlx::MySqlPool;
use sqlx::mysql::MySqlPoolOptions;
use support::message_path::Served;
use support::{Program, SmallChat, SqlServer};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

const ACCOUNT: u64 = 1;
const ORGANIZATION: u64 = 1;
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
    let raw = raw_log(&arguments).await?;
    println!("raw log       {raw:>8.0}/s");
    let folder = TempDir::new()?;
    let served = Arc::new(served(&arguments, &folder).await?);
    let went = fast(&arguments, {
        let (served, token) = (Arc::clone(&served), token(&served));
        let rooms = arguments.rooms;
        move |number| {
            let (served, token) = (Arc::clone(&served), token.clone());
            async move { post(&served, &token, number, rooms).await.map(drop) }
        }
    })
    .await?;
    println!("accepted      {:>8.0}/s   {:.2} of the raw log   {}", went.rate, went.rate / raw, went.times());
    let rate = arguments.rate.unwrap_or_else(|| (went.rate / 2.0) as u64).max(1);
    at_rate(&arguments, &served, rate).await?;
    drop(served);
    match baseline(&arguments).await? {
        Some(plain) => println!("one MySQL     {:>8.0}/s   {}", plain.rate, plain.times()),
        None => println!(
            "one MySQL     left out: no server (LANNER_TEST_SERVERS=mysql tests/servers cargo bench --bench posts)"
        ),
    }
    Ok(())
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

async fn raw_log(arguments: &Arguments) -> Result<f64> {
    let folder = TempDir::new()?;
    let data = DataDir::open(folder.path(), Access::Write, "bench").await?;
    let log = LmdbLog::open(EVENT_LOG, &data.log(EVENT_LOG), 16, Duration::from_secs(5), MapSize::default())?;
    let rooms = arguments.rooms;
    let went = fast(arguments, move |number| {
        let log = log.clone();
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
            append_event(&log, &event).await?;
            Ok(())
        }
    });
    Ok(went.await?.rate)
}

/// The services on a chat of one organization whose one account is in every room.
async fn served(arguments: &Arguments, folder: &TempDir) -> Result<Served> {
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
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &folder.path().join("data"));
    program.run(&format!("import {}", tables.display())).exits(0);
    let served = Served::new(&program);
    served.start_all().await;
    Ok(served)
}

fn token(served: &Served) -> String {
    format!("Bearer {}", served.token(ACCOUNT, ORGANIZATION, false))
}

/// Posts a message; answers its path.
async fn post(served: &Served, token: &str, number: u64, rooms: u64) -> Result<String> {
    let path = format!("/v1/rooms/{}/messages", 1 + number % rooms);
    let headers = [("authorization", token)];
    let answer = served.writes.send("POST", &path, &headers, Some(&json!({"body": body(number)}))).await;
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
            let path = post(&served, &token, number, rooms).await?;
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

/// One MySQL (or MariaDB): a message and its notification in one transaction. None without a server.
async fn baseline(arguments: &Arguments) -> Result<Option<Went>> {
    let folder = TempDir::new()?;
    let Ok(url) = SqlServer::MySql.database(folder.path()).await else { return Ok(None) };
    let connections = u32::try_from(arguments.connections)?;
    let pool = MySqlPoolOptions::new().max_connections(connections).connect(&url).await?;
    for table in [
        "CREATE TABLE messages (room BIGINT, id BIGINT AUTO_INCREMENT PRIMARY KEY, author BIGINT, body TEXT, KEY (room, id))",
        "CREATE TABLE notifications (id BIGINT AUTO_INCREMENT PRIMARY KEY, room BIGINT, message BIGINT)",
    ] {
        sqlx::query(table).execute(&pool).await?;
    }
    let rooms = arguments.rooms;
    let went = fast(arguments, move |number| insert(pool.clone(), number, rooms)).await?;
    support::scratch::drop_databases(folder.path());
    Ok(Some(went))
}

async fn insert(pool: MySqlPool, number: u64, rooms: u64) -> Result<()> {
    let room = i64::try_from(1 + number % rooms)?;
    let mut transaction = pool.begin().await?;
    let message = sqlx::query("INSERT INTO messages (room, author, body) VALUES (?, ?, ?)");
    let message = message.bind(room).bind(1_i64).bind(body(number)).execute(&mut *transaction).await?.last_insert_id();
    let notification = sqlx::query("INSERT INTO notifications (room, message) VALUES (?, ?)");
    notification.bind(room).bind(message).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}
