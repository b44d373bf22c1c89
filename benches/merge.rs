//! How long the merge alone takes: every free organization of a data directory, without queue, ledger and limits.
//!
//! `cargo bench --bench merge -- DATA_DIR AS_OF [--threads N] [--heads]` (`AS_OF` in milliseconds) reads the organizations and
//! their rooms in batches and computes each limit as `merge-newest` does. Standard output is what `lanner limits export`
//! prints after a run of the same instant; the figures go to standard error.

use std::io::Write;
use std::sync::Arc;
use tokio::time::Instant;

use anyhow::{Context, bail, ensure};
use chat::{
    Directory, Head, Heads, LimitRow, LiveIds, Organization, Policy, RoomId, RunId, Standing, Timestamp, Version,
};
use embedded::{Access, DataDir, LmdbHeads, LmdbLiveIds, MapSize, PackedIndex, SqliteDirectory};
use futures::stream::{self, StreamExt, TryStreamExt};
use jobs::limits::{Computed, compute};

/// Organizations whose rooms are asked for at once.
const BATCH: usize = 512;

struct Question {
    data_dir: String,
    as_of: Timestamp,
    threads: usize,
    /// Ask for the heads of all rooms first.
    heads: bool,
}

/// What is read from.
struct Stores {
    directory: SqliteDirectory,
    index: PackedIndex,
    live_ids: LmdbLiveIds,
}

fn main() -> anyhow::Result<()> {
    let question = question()?;
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(question.threads).enable_all().build()?;
    let rows = runtime.block_on(merge_all(&question))?;
    let (wall, cpu) = (started.elapsed(), cpu_seconds()?);
    let sum = |of: fn(&LimitRow) -> u64| rows.iter().map(of).sum::<u64>();
    eprintln!("organizations  {}", rows.len());
    eprintln!("pairs          {}", sum(|row| row.rooms.into()));
    eprintln!("rooms opened   {}", sum(|row| row.rooms_opened.into()));
    eprintln!("ids read       {}", sum(|row| row.messages_read));
    eprintln!("CPU s          {cpu:.2} (user and system, whole process)");
    eprintln!("wall s         {:.2}", wall.as_secs_f64());
    print(&rows)
}

fn question() -> anyhow::Result<Question> {
    // Cargo adds --bench.
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let (mut plain, mut threads, mut heads) = (Vec::new(), 1, false);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--threads" => threads = words.next().context("--threads needs a number")?.parse()?,
            "--heads" => heads = true,
            _ => plain.push(word),
        }
    }
    ensure!(threads > 0, "--threads must be at least 1");
    let [data_dir, as_of] = plain.as_slice() else { bail!("usage: merge DATA_DIR AS_OF_MS [--threads N] [--heads]") };
    Ok(Question { data_dir: data_dir.clone(), as_of: Timestamp::from_millis(as_of.parse()?), threads, heads })
}

async fn merge_all(question: &Question) -> anyhow::Result<Vec<LimitRow>> {
    let dir = DataDir::open(&question.data_dir, Access::Read, "bench").await?;
    let epoch = dir.epoch()?.context("nothing has been imported yet")?;
    let index = PackedIndex::open(&dir.live_ids(), MapSize::default(), epoch)?;
    let live_ids = LmdbLiveIds::new(index.clone());
    let stores = Arc::new(Stores { directory: SqliteDirectory::open(&dir).await?, index, live_ids });
    let mut batches = Vec::new();
    let mut after = None;
    loop {
        let batch = stores.directory.free_organizations(after, BATCH).await?;
        let Some(last) = batch.last() else { break };
        after = Some(last.id);
        batches.push(batch);
    }
    let (as_of, heads) = (question.as_of, question.heads);
    let merged = stream::iter(batches).map(|batch| {
        let stores = Arc::clone(&stores);
        async move { tokio::spawn(async move { merge(&stores, batch, as_of, heads).await }).await? }
    });
    let rows: Vec<Vec<LimitRow>> = merged.buffered(question.threads).try_collect().await?;
    Ok(rows.into_iter().flatten().collect())
}

async fn merge(
    stores: &Stores,
    batch: Vec<Organization>,
    as_of: Timestamp,
    with_heads: bool,
) -> anyhow::Result<Vec<LimitRow>> {
    let run = RunId::new("bench")?;
    let ids: Vec<_> = batch.iter().map(|organization| organization.id).collect();
    let rooms_of = stores.directory.rooms_of(&ids).await?;
    let heads = LmdbHeads::new(stores.index.clone());
    let mut rows = Vec::with_capacity(batch.len());
    for (organization, rooms) in batch.iter().zip(rooms_of) {
        let heads = if with_heads || stores.live_ids.access().needs_heads() {
            heads.of(&rooms).await?
        } else {
            vec![Head::Unknown; rooms.len()]
        };
        let rooms: Vec<(RoomId, Head)> = rooms.into_iter().zip(heads).collect();
        let of = Computed {
            run: &run,
            organization: organization.id,
            policy: Policy::default(),
            version: Version { plan_version: organization.plan_version, as_of, collected_at: as_of },
            rooms_seen: u32::try_from(rooms.len())?,
            rooms: &rooms,
        };
        rows.push(compute(&stores.live_ids, stores.index.epoch(), of).await?.row);
    }
    Ok(rows)
}

/// From the kernel, in hundredths of a second.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("/proc/self/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [user, system] = [11, 12].map(|field| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()));
    user.zip(system).map(|(user, system)| (user + system) / 100.0).context("/proc/self/stat")
}

/// As `lanner limits export` does.
fn print(rows: &[LimitRow]) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "organization_id,visible_messages,oldest_visible_message_id,limited_by,first_visible_message_id")?;
    let id = |id: Option<chat::MessageId>| id.map_or_else(String::new, |id| id.to_string());
    for row in rows {
        let limited_by = if matches!(row.standing, Standing::Limited(_)) { "count" } else { "age" };
        let (oldest, first) = (id(row.oldest_visible_message_id), id(row.first_visible_message_id()));
        writeln!(out, "{},{},{oldest},{limited_by},{first}", row.organization, row.visible_messages)?;
    }
    Ok(out.flush()?)
}
