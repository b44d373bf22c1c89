//! How much memory `follow-limits` takes, and how long it takes to begin from the store of messages.
//!
//! ```text
//! cargo bench --bench follow_memory -- [--organizations 10000] [--history 6000] [--rooms 100]
//! ```
//!
//! Every organization sees one of `--rooms` rooms, each with `--history` messages of the last 40 days in the embedded index: with more than
//! 5,513 its set is full. The job begins with nothing saved: it reads every organization from the store, and is done when every limit is
//! written. Then it is stopped, which saves all sets, and begins again from them. The memory is what is not mapped from files.

use std::sync::Arc;
use std::time::Duration;

// Its allocator is the one that every job runs with.
use telemetry as _;

use anyhow::{Result, ensure};
use chat::{Epoch, MessageId, NoHeads, OrganizationId, Period, Policies, Policy, RoomId, Timestamp};
use clap::Parser;
use embedded::{
    Access, DataDir, LmdbLimits, LmdbLiveIds, LmdbLog, MapSize, PackedIndex, SqliteDirectory, SqliteLedger, SqliteState,
};
use jobs::limits::follow_limits::{self, FollowPorts, Settings, statuses};
use jobs::messages::READABLE_LOG;
use support::population::one_room_each;
use support::usage::{cpu_seconds, resident_bytes};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use worker::Backoff;
use worker::supervisor::{Outcome, Tree};

/// Measures the memory of follow-limits on embedded adapters.
#[derive(Parser)]
#[command(name = "follow_memory")]
struct Arguments {
    /// Organizations, all of them free
    #[arg(long, default_value_t = 10_000)]
    organizations: u64,
    /// Messages of each room
    #[arg(long, default_value_t = 6_000)]
    history: u64,
    /// Rooms
    #[arg(long, default_value_t = 100)]
    rooms: u64,
    /// What `cargo bench` adds to the arguments
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let data = DataDir::open(folder.path(), Access::Write, "bench").await?;
    let directory = SqliteDirectory::open(&data).await?;
    one_room_each(&directory, arguments.organizations, |id| 1 + id % arguments.rooms).await?;
    let index = PackedIndex::open(&data.live_ids(), MapSize::default(), Epoch::default())?;
    load(&index, &arguments)?;
    let (size, wait) = (MapSize::default(), Duration::from_secs(5));
    let ports = FollowPorts {
        readable: Arc::new(LmdbLog::open(READABLE_LOG, &data.log(READABLE_LOG), 16, wait, size)?),
        directory: Arc::new(directory),
        heads: Arc::new(NoHeads),
        live_ids: Arc::new(LmdbLiveIds::new(index)),
        limits: Arc::new(LmdbLimits::open(&data.limits(), size)?),
        ledger: Arc::new(SqliteLedger::open(&data).await?),
        state: Arc::new(SqliteState::open(&data).await?),
        policies: Policies::new(vec![Period { from: None, policy: Policy::default() }])?,
        epoch: Epoch::default(),
    };
    let before = resident_bytes();
    follow("from the store", &ports, &arguments, before).await?;
    follow("from what was saved", &ports, &arguments, before).await
}

/// Ids of the last 40 days, evenly.
fn load(index: &PackedIndex, arguments: &Arguments) -> Result<()> {
    let now = Epoch::default().first_id(Timestamp::now()).get();
    let first = Epoch::default().first_id(Timestamp::from_millis(Timestamp::now().as_millis() - 39 * 86_400_000)).get();
    let step = (now - first) / arguments.history;
    for room in 0..arguments.rooms {
        let id = |number| MessageId::from_bits(first + number * step + room);
        let ids: Vec<MessageId> = (0..arguments.history).map(id).collect();
        index.insert(RoomId::from_bits(1 + room), &ids)?;
    }
    Ok(())
}

/// Follows until every limit is there and nothing is dirty, then stops.
async fn follow(how: &str, ports: &FollowPorts, arguments: &Arguments, before: u64) -> Result<()> {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5), 0.3)?;
    let tree = Tree::new("process", vec![follow_limits::child(ports.clone(), Settings::of_one(backoff))])?;
    let (started, cpu, began, stop) = (Instant::now(), cpu_seconds(), Timestamp::now(), CancellationToken::new());
    let following = tokio::spawn(tree.run(stop.clone()));
    let last = OrganizationId::from_bits(arguments.organizations);
    let status = loop {
        let shard = statuses(&*ports.state).await?.pop().filter(|shard| shard.told_at > began);
        if let Some(shard) = shard.filter(|shard| shard.dirty == 0 && shard.organizations == arguments.organizations)
            && ports.limits.get(&[last]).await?.iter().all(Option::is_some)
        {
            break shard;
        }
        ensure!(!following.is_finished(), "the job has ended");
        sleep(Duration::from_millis(50)).await;
    };
    println!(
        "{how:<20}  {:>6} organizations   {:>6} bytes of memory each, {:>6} of their sets   at most {:>5.1} s, {:>5.1} CPU s",
        status.organizations,
        resident_bytes().saturating_sub(before) / arguments.organizations,
        status.set_bytes / arguments.organizations,
        started.elapsed().as_secs_f64(),
        cpu_seconds() - cpu,
    );
    let started = Instant::now();
    stop.cancel();
    ensure!(following.await? == Outcome::Stopped, "it did not stop in order");
    println!("{:<20}  saved and stopped after {:.1} s", "", started.elapsed().as_secs_f64());
    Ok(())
}
