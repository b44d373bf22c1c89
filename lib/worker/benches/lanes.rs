//! Lanes beside a bare channel: operations per second, bytes per lane, CPU of lanes that wait.
//!
//! `cargo bench -p worker --bench lanes`; Linux, because it reads `/proc/self`.

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use worker::lanes::{LaneLimits, LanePool, LanePoolSettings, LaneVerdict, LaneWork, Lanes, Parking};
use worker::{Backoff, Cause};

const ITEMS: u64 = 2_000_000;
const POOL_ITEMS: u64 = 500_000;
const KEYS: u64 = 100_000;
const IN_FLIGHT: usize = 1_000;
const ROUNDS: usize = 5;
const WATCHED_FOR: Duration = Duration::from_secs(20);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!("{:<64} {:>10} {:>10}", "one thread, items per CPU second, the least and the most", "least", "most");
    report("bare channel, no order (tokio mpsc, try_send and try_recv)", ITEMS, || bare_channel(ITEMS))?;
    report("lanes, 100,000 keys in turn", ITEMS, || lanes(ITEMS, |item| item % KEYS))?;
    report("lanes, 100,000 keys at random", ITEMS, || lanes(ITEMS, |item| scattered(item) % KEYS))?;
    report("lanes, 10 keys", ITEMS, || lanes(ITEMS, |item| item % 10))?;
    report("a task per item from a bare channel", POOL_ITEMS, || runtime.block_on(task_per_item()))?;
    report("pool, 100,000 keys at random", POOL_ITEMS, || runtime.block_on(pool()))?;
    bytes_per_lane()?;
    runtime.block_on(waiting())
}

fn report(what: &str, items: u64, mut round: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        let before = cpu()?;
        round()?;
        rates.push(items as f64 / (cpu()? - before).as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    println!("{what:<64} {:>10.0} {:>10.0}", rates[0], rates[ROUNDS - 1]);
    Ok(())
}

/// The same in-and-out as [`lanes`], through a channel that keeps as many.
fn bare_channel(items: u64) -> Outcome<()> {
    let (sender, mut receiver) = mpsc::channel(IN_FLIGHT);
    let mut taken = 0;
    for item in 0..items {
        sender.try_send((scattered(item) % KEYS, item))?;
        if item % IN_FLIGHT as u64 == IN_FLIGHT as u64 - 1 {
            while let Ok(item) = receiver.try_recv() {
                black_box(item);
                taken += 1;
            }
        }
    }
    assert_eq!(taken, items);
    Ok(())
}

/// Push, turn, done, and the position. What is in flight ends out of order: the newest turn first.
fn lanes(items: u64, key: impl Fn(u64) -> u64) -> Outcome<()> {
    let limits = LaneLimits::new(IN_FLIGHT, 2 * IN_FLIGHT, 4 * IN_FLIGHT, 4 * IN_FLIGHT)?;
    let mut lanes = Lanes::new(limits, Instant::now());
    lanes.assign(0, 0);
    let mut out = Vec::with_capacity(IN_FLIGHT);
    for item in 0..items {
        lanes.push(0, item, [(key(item), item)])?;
        if item % IN_FLIGHT as u64 == IN_FLIGHT as u64 - 1 {
            // Items of one key need as many turns.
            while lanes.counts().held > 0 {
                out.extend(std::iter::from_fn(|| lanes.next_turn()));
                while let Some(turn) = out.pop() {
                    lanes.done(turn);
                }
                black_box(lanes.take_changed());
            }
        }
    }
    assert_eq!(lanes.progress(0).map(|progress| progress.position), Some(items));
    Ok(())
}

/// Spreads numbers, the same for everyone.
fn scattered(item: u64) -> u64 {
    (item.wrapping_mul(0x9E37_79B9_7F4A_7C15)) >> 20
}

struct Nothing;

#[async_trait]
impl LaneWork<u64, u64> for Nothing {
    async fn handle(&self, _: &u64, items: &[u64], _: u32) -> LaneVerdict {
        black_box(items);
        LaneVerdict::Done
    }
}

#[async_trait]
impl Parking<u64, u64> for Nothing {
    async fn store(&self, _: u32, _: &u64, _: u64, _: &u64) -> Result<(), Cause> {
        Ok(())
    }
    async fn stored(&self, _: u32, _: &u64, _: usize) -> Result<Vec<(u64, u64)>, Cause> {
        Ok(Vec::new())
    }
    async fn remove(&self, _: u32, _: &u64, _: u64) -> Result<(), Cause> {
        Ok(())
    }
    async fn release(&self, _: u32, _: &u64) -> Result<(), Cause> {
        Ok(())
    }
    async fn parked(&self, _: u32) -> Result<Vec<u64>, Cause> {
        Ok(Vec::new())
    }
}

/// Fails at once, to wait until long after the end.
struct Down;

#[async_trait]
impl LaneWork<u64, u64> for Down {
    async fn handle(&self, _: &u64, _: &[u64], _: u32) -> LaneVerdict {
        LaneVerdict::Again { after: None, cause: Cause::new("down", "on purpose") }
    }
}

fn settings(limits: LaneLimits) -> Outcome<LanePoolSettings> {
    let hour = Duration::from_secs(3_600);
    let backoff = Backoff::new(hour, hour, 0.5)?;
    let handle_timeout = Duration::from_secs(30);
    Ok(LanePoolSettings { limits, backoff, attempts_max: 10, handle_timeout, parked_backoff: backoff })
}

/// What a pool without lanes would be: the handler in a task of its own, at most so many.
async fn task_per_item() -> Outcome<()> {
    let work: Arc<dyn LaneWork<u64, u64>> = Arc::new(Nothing);
    let (sender, mut receiver) = mpsc::channel(4 * IN_FLIGHT);
    let mut running = JoinSet::new();
    let (mut sent, mut done) = (0, 0);
    while done < POOL_ITEMS {
        while sent < POOL_ITEMS && sender.try_send((scattered(sent) % KEYS, sent)).is_ok() {
            sent += 1;
        }
        while running.len() < IN_FLIGHT {
            let Ok((key, item)) = receiver.try_recv() else { break };
            let work = Arc::clone(&work);
            running.spawn(async move {
                tokio::time::timeout(Duration::from_secs(30), work.handle(&key, &[item], 1)).await.is_ok()
            });
        }
        running.join_next().await;
        done += 1;
        while running.try_join_next().is_some() {
            done += 1;
        }
    }
    Ok(())
}

async fn pool() -> Outcome<()> {
    let limits = LaneLimits::new(IN_FLIGHT, 2 * IN_FLIGHT, 4 * IN_FLIGHT, 4 * IN_FLIGHT)?;
    let mut pool = LanePool::new(settings(limits)?, Arc::new(Nothing), Arc::new(Nothing));
    pool.assign(0, 0).await.map_err(|cause| cause.error)?;
    let mut pushed = 0;
    while pool.position(0).is_some_and(|progress| progress.position < POOL_ITEMS) {
        while pushed < POOL_ITEMS && pool.position(0).is_some_and(|progress| !progress.is_paused) {
            pool.push(0, pushed, [(scattered(pushed) % KEYS, pushed)])?;
            pushed += 1;
        }
        black_box(pool.progress().await);
    }
    Ok(())
}

/// Resident memory with 100,000 lanes in each state, one item of 8 bytes each, keys of 8 bytes.
fn bytes_per_lane() -> Outcome<()> {
    let keys = usize::try_from(KEYS)?;
    let limits = LaneLimits::new(keys, keys, 2 * keys, 2 * keys)?.parking(keys);
    let now = Instant::now();
    let mut lanes = Lanes::new(limits, now);
    lanes.assign(0, 0);
    let empty = resident_bytes()?;
    let per_lane = |what: &str, lanes: &Lanes<u64, u64>| -> Outcome<()> {
        let bytes = resident_bytes()?.saturating_sub(empty);
        println!("{:<48} {:>9} lanes {:>8} bytes per key", what, lanes.counts().lanes, bytes / KEYS);
        Ok(())
    };
    println!("\nresident bytes over those of an empty structure, 100,000 keys");
    for key in 0..KEYS {
        lanes.push(0, key, [(key, key)])?;
    }
    per_lane("ready, one item each", &lanes)?;
    while let Some(turn) = lanes.next_turn() {
        lanes.done(turn);
    }
    per_lane("idle: all of these done", &lanes)?;
    for key in KEYS..2 * KEYS {
        lanes.push(0, key, [(key, key)])?;
    }
    for ms in 1..=KEYS {
        let Some(turn) = lanes.next_turn() else { break };
        lanes.retry_at(turn, now + Duration::from_millis(ms));
    }
    per_lane("waiting, one item each", &lanes)?;
    lanes.tick(now + Duration::from_secs(3_600));
    while let Some(turn) = lanes.next_turn() {
        match &turn.task {
            worker::lanes::Task::Handle(_) => drop(lanes.park(turn, None)),
            _ => lanes.done(turn),
        }
    }
    per_lane("parked, items stored", &lanes)?;
    for key in KEYS..2 * KEYS {
        lanes.replay_now(0, &key);
    }
    while let Some(turn) = lanes.next_turn() {
        lanes.done(turn);
    }
    per_lane("idle again: what the allocator keeps of nodes", &lanes)
}

/// CPU of 100,000 lanes that wait, while the pool is polled.
async fn waiting() -> Outcome<()> {
    let keys = usize::try_from(KEYS)?;
    let limits = LaneLimits::new(IN_FLIGHT, keys, 2 * keys, 2 * keys)?;
    let mut pool = LanePool::new(settings(limits)?, Arc::new(Down), Arc::new(Nothing));
    pool.assign(0, 0).await.map_err(|cause| cause.error)?;
    for key in 0..KEYS {
        pool.push(0, key, [(key, key)])?;
    }
    while pool.counts().waiting < keys {
        let _ = tokio::time::timeout(Duration::from_millis(10), pool.progress()).await;
    }
    let before = cpu()?;
    let _ = tokio::time::timeout(WATCHED_FOR, pool.progress()).await;
    let used = cpu()? - before;
    let lanes = pool.counts().waiting;
    println!("\n{lanes} lanes that wait, polled for {WATCHED_FOR:?}: {} µs of CPU", used.as_micros());
    Ok(())
}

/// CPU time of this thread, the only one that works.
fn cpu() -> Outcome<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let on_cpu_ns = stat.split_whitespace().next().ok_or("schedstat has no fields")?;
    Ok(Duration::from_nanos(on_cpu_ns.parse()?))
}

fn resident_bytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1_024)
}
