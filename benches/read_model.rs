//! How fast the embedded log takes events, and how fast `build-read-model` makes them readable, while the store grows.
//!
//! ```text
//! cargo bench --bench read_model -- [--events 100000] [--rounds 5] [--rooms 1000]
//! LANNER_TEST_SERVERS=dynamodb tests/servers cargo bench --bench read_model -- --events 20000 --rounds 5   # rows in DynamoDB
//! ```
//!
//! Each round appends `--events` events (8 new messages, an edit and a deletion of every ten) to `--rooms` rooms, from 64 writers with one
//! event a call, then builds the read model of them. Rows, ids, heads, the log of what is readable and the commits are durable when a
//! round ends. Printed for each round: messages so far, and events a second by the wall and by the CPU of the process.

#[path = "shared/dynamodb.rs"]
mod dynamodb;

use std::sync::Arc;
use std::time::Duration;

// Its allocator is the one that every job runs with.
use telemetry as _;

use anyhow::{Result, ensure};
use aws::DynamoDbMessages;
use chat::event::{Actor, Event, EventId, What};
use chat::{AccountId, Epoch, MessageId, MessageStore, NoHeads, OrganizationId, RoomId, Timestamp};
use clap::Parser;
use embedded::{
    Access, DataDir, LmdbLog, LmdbMessageStore, LmdbMessages, MapSize, PackedIndex, SqliteDirectory, SqliteLedger,
    SqliteState,
};
use jobs::messages::build_read_model::{self, Settings};
use jobs::messages::{EVENT_LOG, MessagePorts, READABLE_LOG, append_event};
use support::usage::cpu_seconds;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::log::Missing;
use worker::supervisor::Tree;

const PARTITIONS: u32 = 16;
const WRITERS: u64 = 64;

/// Measures the embedded message path up to the read model.
#[derive(Parser)]
#[command(name = "read_model")]
struct Arguments {
    /// Events of a round
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Rounds, on one store that grows
    #[arg(long, default_value_t = 5)]
    rounds: u64,
    /// Rooms
    #[arg(long, default_value_t = 1_000)]
    rooms: u64,
    /// What `cargo bench` adds to the arguments
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    telemetry::start("warn", telemetry::Format::Text)?;
    let folder = tempfile::tempdir()?;
    let ports = ports(&DataDir::open(folder.path(), Access::Write, "bench").await?).await?;
    for round in 0..arguments.rounds {
        let appended = timed(append(&ports, &arguments, round * arguments.events)).await?;
        let built = timed(build(&ports)).await?;
        println!(
            "{:>10} events in the log   appended {:>7.0}/s, {:>7.0}/CPU s   readable {:>7.0}/s, {:>7.0}/CPU s",
            (round + 1) * arguments.events,
            arguments.events as f64 / appended.wall,
            arguments.events as f64 / appended.cpu,
            arguments.events as f64 / built.wall,
            arguments.events as f64 / built.cpu,
        );
    }
    Ok(())
}

struct Took {
    wall: f64,
    cpu: f64,
}

async fn timed(work: impl Future<Output = Result<()>>) -> Result<Took> {
    let (started, before) = (Instant::now(), cpu_seconds());
    work.await?;
    Ok(Took { wall: started.elapsed().as_secs_f64(), cpu: cpu_seconds() - before })
}

async fn ports(data: &DataDir) -> Result<MessagePorts> {
    let log = |name: &str| {
        LmdbLog::open(name, &data.log(name), PARTITIONS, Duration::from_secs(10), MapSize::default()).map(Arc::new)
    };
    let messages: Arc<dyn MessageStore> = match dynamodb::dynamodb().await? {
        Some(db) => Arc::new(DynamoDbMessages::new(db)),
        None => {
            let messages = LmdbMessages::open(&data.messages(), MapSize::default())?;
            let index = PackedIndex::open(&data.live_ids(), MapSize::default(), Epoch::default())?;
            Arc::new(LmdbMessageStore::new(messages, index))
        }
    };
    Ok(MessagePorts {
        events: log(EVENT_LOG)?,
        readable: log(READABLE_LOG)?,
        messages,
        memberships: Some(Arc::new(SqliteDirectory::open(data).await?)),
        heads: Arc::new(NoHeads),
        ledger: Arc::new(SqliteLedger::open(data).await?),
        state: Arc::new(SqliteState::open(data).await?),
        epoch: Epoch::default(),
    })
}

/// The event `number` of a history in which every tenth message is edited and every tenth deleted.
fn event(number: u64, rooms: u64) -> Result<Event> {
    let (decade, step) = (number / 10, number % 10);
    // All ten of a decade in one room, so that the edit and the deletion find their messages.
    let room = decade % rooms;
    let id = |step: u64| MessageId::from_bits((1 << 40) + decade * 10 + step);
    let (account, organization) = (AccountId::from_bits(1 + room % 7), OrganizationId::from_bits(1));
    let body = || format!("event {number}: {}", "somebody writes a sentence of common length here; ".repeat(2));
    let what = match step {
        8 => What::MessageUpdated { message: id(0), body: body() },
        9 => What::MessageDeleted { message: id(1), as_admin: false },
        _ => {
            What::MessageCreated { message: id(step), author: account, author_organization: organization, body: body() }
        }
    };
    Ok(Event {
        id: EventId::new(&format!("event-{number}"))?,
        at: Timestamp::from_millis(1_790_000_000_000 + number),
        by: Actor { account, organization },
        room: RoomId::from_bits(1 + room),
        what,
    })
}

async fn append(ports: &MessagePorts, arguments: &Arguments, first: u64) -> Result<()> {
    let (events, rooms) = (arguments.events, arguments.rooms);
    let writers = (0..WRITERS).map(|writer| {
        let log = Arc::clone(&ports.events);
        tokio::spawn(async move {
            // A decade belongs to one writer, which writes it in order.
            for decade in (0..events.div_ceil(10)).filter(|decade| decade % WRITERS == writer) {
                for number in (first + decade * 10..first + decade * 10 + 10).take_while(|n| *n < first + events) {
                    append_event(&*log, &event(number, rooms)?).await?;
                }
            }
            anyhow::Ok(())
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await??;
    }
    Ok(())
}

/// Builds until everything is committed.
async fn build(ports: &MessagePorts) -> Result<()> {
    let consumer = build_read_model::consumer(ports, Settings::embedded(), Missing::First)?;
    let stop = CancellationToken::new();
    let running = tokio::spawn(Tree::new("process", vec![consumer.child()])?.run(stop.clone()));
    for partition in 0..PARTITIONS {
        let next = ports.events.bounds(partition).await?.next;
        while ports.events.committed(build_read_model::NAME, partition).await?.unwrap_or(0) < next {
            ensure!(!running.is_finished(), "the job has ended");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    stop.cancel();
    let _ = running.await?;
    Ok(())
}
