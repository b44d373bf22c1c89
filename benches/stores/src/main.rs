//! Which embedded store holds the packed blocks: the same blocks in LMDB, redb and SQLite, and heads in LMDB and SQLite.
//!
//! `cargo run --release -- [MESSAGES] [ORGANIZATIONS] [SEED]`; data is made from the seed. `README.md` has the results.

// Packed for all stores by the very code of the product.
#[path = "../../../lib/embedded/src/packed/block.rs"]
mod block;

use std::path::Path;
use std::process::Command;

use chat::newest::Room as Candidate;
use chat::{Day, Epoch, Head, Heads, MessageId, PageRequest, Policy, RoomId, Timestamp};
use embedded::{LmdbHeads, LmdbLiveIds, MapSize, PackedIndex};
use redb::{Database, ReadableDatabase, TableDefinition};
use rusqlite::{Connection, params};
use tokio::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const LIMIT: usize = 5_001;
/// Days from the epoch of the ids to the end of the data.
const NOW_DAYS: u64 = 2_400;
const BATCH_IDS: usize = 1_000_000;
const BLOCKS: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("blocks");

/// The data: rooms ascending with their ids ascending, and the rooms of each free organization, in random order.
struct Data {
    rooms: Vec<(RoomId, Vec<MessageId>, Vec<MessageId>)>,
    organizations: Vec<Vec<RoomId>>,
}

fn log_normal(random: &mut fastrand::Rng, sigma: f64) -> f64 {
    let normal = (-2.0 * random.f64().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos();
    (normal * sigma).exp()
}

/// Organizations with a Pareto number of rooms, rooms with a Pareto activity; 13 % dormant rooms, 2 % deleted messages.
fn generate(messages: usize, organizations: usize, seed: u64) -> Data {
    let mut random = fastrand::Rng::with_seed(seed);
    let giants = [5_500, 7_000, 12_000];
    let mut members: Vec<Vec<RoomId>> = vec![Vec::new(); organizations];
    let mut weights = Vec::new();
    let mut homes = Vec::new();
    for organization in 0..organizations {
        let pareto = (5.0 * random.f64().max(1e-9).powf(-1.0 / 1.05)).min(20_000.0) as usize;
        let lively = log_normal(&mut random, 0.8);
        for _ in 0..pareto.max(giants.get(organization).copied().unwrap_or(0)) {
            let weight = random.f64().max(1e-9).powf(-1.0 / 1.2).min(10_000.0) * lively;
            weights.push(if random.f64() < 0.05 { 0.0 } else { weight });
            homes.push(organization);
        }
    }
    let mut numbers: Vec<u64> = (0..weights.len() as u64).map(|number| 10_000_000 + number).collect();
    random.shuffle(&mut numbers);
    let sum: f64 = weights.iter().sum();
    let mut rooms = Vec::with_capacity(weights.len());
    for ((number, weight), home) in numbers.into_iter().zip(weights).zip(homes) {
        let room = RoomId::from_bits(number);
        members[home].push(room);
        for _ in 0..if random.f64() < 0.05 { random.usize(1..=3) } else { 0 } {
            members[random.usize(..organizations)].push(room);
        }
        let count = (weight / sum * messages as f64 + random.f64()) as usize;
        let old = if random.f64() < 0.13 { 1.0 } else { 0.195 };
        let (mut live, mut dead) = (Vec::with_capacity(count), Vec::new());
        for _ in 0..count {
            let id = message(&mut random, old);
            if random.f64() < 0.02 { dead.push(id) } else { live.push(id) }
        }
        for ids in [&mut live, &mut dead] {
            ids.sort_unstable();
            ids.dedup();
        }
        rooms.push((room, live, dead));
    }
    rooms.sort_unstable_by_key(|(room, ..)| *room);
    members.retain(|_| random.f64() < 0.8);
    members.iter_mut().for_each(|rooms| {
        rooms.sort_unstable();
        rooms.dedup();
    });
    random.shuffle(&mut members);
    Data { rooms, organizations: members }
}

fn message(random: &mut fastrand::Rng, old: f64) -> MessageId {
    let days = if random.f64() < old {
        40.0 + (-150.0 * random.f64().max(1e-12).ln()).min(2_000.0)
    } else {
        40.0 * random.f64()
    };
    let ms = NOW_DAYS * Day::MILLIS - 1 - (days * Day::MILLIS as f64) as u64;
    MessageId::from_bits(ms << 22 | random.u64(0..32) << 12 | random.u64(0..3))
}

/// The blocks of a room, newest first: (complement of the oldest id, value).
fn blocks(mut ids: &[MessageId]) -> Vec<(u64, Vec<u8>)> {
    let mut blocks = Vec::new();
    while let Some(oldest) = ids.first() {
        let (these, rest) = ids.split_at(block::fitting(ids, usize::MAX));
        let mut value = Vec::new();
        block::encode(these, &mut value);
        blocks.push((!oldest.get(), value));
        ids = rest;
    }
    blocks.reverse();
    blocks
}

/// Unpacks what is asked for of one block; true when the room is done.
fn take(oldest: u64, value: &[u8], cutoff: MessageId, ids: &mut Vec<MessageId>, start: usize) -> Outcome<bool> {
    let oldest = MessageId::from_bits(oldest);
    let block = block::Block::parse(oldest, value).ok_or("damaged")?;
    let (begin, end) = (if oldest >= cutoff { 0 } else { block.below(cutoff) }, block.len());
    let taken = (end - begin).min(LIMIT - (ids.len() - start));
    ids.extend(block.newest_first(end - taken..end));
    Ok(oldest <= cutoff || ids.len() - start == LIMIT)
}

/// A store under test.
trait Store: Sized {
    const NAME: &'static str;
    fn open(dir: &Path) -> Outcome<Self>;
    fn load(&mut self, data: &Data) -> Outcome<()>;
    /// The newest ids of each room, all rooms of one organization.
    fn read(&mut self, rooms: &[RoomId], cutoff: MessageId, ids: &mut Vec<MessageId>) -> Outcome<()>;
    /// Runs `work` while a write is in work, where the store has such a state.
    fn while_writing(&mut self, work: impl FnOnce() -> bool) -> Outcome<bool>;
}

struct Lmdb(PackedIndex);

impl Store for Lmdb {
    const NAME: &'static str = "lmdb";

    fn open(dir: &Path) -> Outcome<Self> {
        Ok(Self(PackedIndex::open(dir, MapSize::default(), Epoch::default())?))
    }

    fn load(&mut self, data: &Data) -> Outcome<()> {
        let mut loader = self.0.loader("bench")?;
        data.rooms.iter().try_for_each(|(room, live, dead)| loader.add(*room, live, dead))?;
        loader.finish()?;
        Ok(())
    }

    fn read(&mut self, rooms: &[RoomId], cutoff: MessageId, ids: &mut Vec<MessageId>) -> Outcome<()> {
        let request =
            |room: &RoomId| PageRequest { room: *room, below: MessageId::MAX, at_least: cutoff, limit: LIMIT };
        let requests: Vec<PageRequest> = rooms.iter().map(request).collect();
        ids.extend_from_slice(self.0.pages(&requests)?.ids());
        Ok(())
    }

    fn while_writing(&mut self, work: impl FnOnce() -> bool) -> Outcome<bool> {
        let index = self.0.clone();
        let writer = std::thread::spawn(move || {
            (0..200).try_for_each(|n| index.insert(RoomId::MAX, &[MessageId::from_bits(n)]))
        });
        let answer = work();
        writer.join().map_err(|_| "the writer failed")??;
        Ok(answer)
    }
}

struct Redb(Database);

impl Store for Redb {
    const NAME: &'static str = "redb";

    fn open(dir: &Path) -> Outcome<Self> {
        Ok(Self(Database::create(dir.join("blocks.redb"))?))
    }

    fn load(&mut self, data: &Data) -> Outcome<()> {
        for rooms in batches(data) {
            let txn = self.0.begin_write()?;
            {
                let mut table = txn.open_table(BLOCKS)?;
                for (room, ids) in rooms {
                    for (key, value) in blocks(ids) {
                        table.insert((room, key), &value[..])?;
                    }
                }
            }
            txn.commit()?;
        }
        Ok(())
    }

    fn read(&mut self, rooms: &[RoomId], cutoff: MessageId, ids: &mut Vec<MessageId>) -> Outcome<()> {
        let txn = self.0.begin_read()?;
        let table = txn.open_table(BLOCKS)?;
        for room in rooms {
            let start = ids.len();
            for entry in table.range((room.get(), 0)..=(room.get(), u64::MAX))? {
                let (key, value) = entry?;
                if take(!key.value().1, value.value(), cutoff, ids, start)? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn while_writing(&mut self, work: impl FnOnce() -> bool) -> Outcome<bool> {
        let _txn = self.0.begin_write()?;
        Ok(work())
    }
}

struct Sqlite(Connection);

impl Store for Sqlite {
    const NAME: &'static str = "sqlite";

    fn open(dir: &Path) -> Outcome<Self> {
        let connection = Connection::open(dir.join("blocks.sqlite"))?;
        // Pages of 16 KiB: in smaller ones a table without row ids moves blocks of 2,000 bytes to overflow pages.
        connection.execute_batch(
            "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA mmap_size = 34359738368;
             CREATE TABLE IF NOT EXISTS blocks (room INTEGER, oldest INTEGER, ids BLOB, PRIMARY KEY (room, oldest DESC))
             WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS heads (room INTEGER PRIMARY KEY, day INTEGER NOT NULL)",
        )?;
        Ok(Self(connection))
    }

    fn load(&mut self, data: &Data) -> Outcome<()> {
        for rooms in batches(data) {
            let txn = self.0.transaction()?;
            {
                let mut insert = txn.prepare("INSERT INTO blocks VALUES (?, ?, ?)")?;
                for (room, ids) in rooms {
                    for (key, value) in blocks(ids) {
                        insert.execute(params![room as i64, !key as i64, value])?;
                    }
                }
            }
            txn.commit()?;
        }
        self.0.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        Ok(())
    }

    fn read(&mut self, rooms: &[RoomId], cutoff: MessageId, ids: &mut Vec<MessageId>) -> Outcome<()> {
        let txn = self.0.transaction()?;
        let mut select = txn.prepare("SELECT oldest, ids FROM blocks WHERE room = ? ORDER BY oldest DESC")?;
        for room in rooms {
            let start = ids.len();
            let mut rows = select.query([room.as_i64()])?;
            while let Some(row) = rows.next()? {
                if take(row.get::<_, i64>(0)? as u64, row.get_ref(1)?.as_blob()?, cutoff, ids, start)? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn while_writing(&mut self, work: impl FnOnce() -> bool) -> Outcome<bool> {
        let txn = self.0.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        txn.execute("INSERT INTO blocks VALUES (-1, 0, x'00')", [])?;
        Ok(work())
    }
}

/// Live and tombstoned ids of each room (the latter under another room number), about a million ids at a time.
fn batches(data: &Data) -> impl Iterator<Item = Vec<(u64, &[MessageId])>> {
    let live = data.rooms.iter().map(|(room, live, _)| (room.get(), &live[..]));
    let dead = data.rooms.iter().map(|(room, _, dead)| (1 << 40 | room.get(), &dead[..]));
    let mut rest = live.chain(dead).peekable();
    std::iter::from_fn(move || {
        let mut ids = 0;
        let batch: Vec<_> = std::iter::from_fn(|| {
            let next = if ids < BATCH_IDS { rest.next()? } else { return None };
            ids += next.1.len();
            Some(next)
        })
        .collect();
        (!batch.is_empty()).then_some(batch)
    })
}

/// User and system time of this process so far, in seconds; the kernel counts in hundredths.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn cutoff() -> MessageId {
    MessageId::from_bits(((NOW_DAYS - 40) * Day::MILLIS) << 22)
}

fn run<S: Store>(data: &Data) -> Outcome<()> {
    let dir = tempfile::tempdir_in(".")?;
    let mut store = S::open(dir.path())?;
    let before = cpu_s();
    store.load(data)?;
    let load = cpu_s() - before;
    drop(store);
    let bytes: u64 =
        std::fs::read_dir(dir.path())?.map(|file| Ok(file?.metadata()?.len())).sum::<std::io::Result<u64>>()?;
    let opening = Instant::now();
    let mut store = S::open(dir.path())?;
    let open_ms = opening.elapsed().as_secs_f64() * 1e3;
    let (mut best, mut read, mut ids) = (f64::MAX, 0, Vec::new());
    for _ in 0..3 {
        let before = cpu_s();
        read = 0;
        for rooms in &data.organizations {
            ids.clear();
            store.read(rooms, cutoff(), &mut ids)?;
            read += ids.len();
        }
        best = best.min(cpu_s() - before);
    }
    let program = std::env::current_exe()?;
    let other = store.while_writing(|| {
        let probe = Command::new(program).arg("--probe").arg(S::NAME).arg(dir.path()).status();
        probe.is_ok_and(|status| status.success())
    })?;
    println!(
        "| {} | {load:.2} | {:.1} | {best:.2} | {read} | {open_ms:.1} | {} |",
        S::NAME,
        bytes as f64 / 1e6,
        if other { "yes" } else { "no" }
    );
    if S::NAME == Sqlite::NAME { heads(data, dir.path()) } else { Ok(()) }
}

/// What another process does: opens the store and reads.
fn probe<S: Store>(dir: &Path) -> Outcome<()> {
    S::open(dir)?.read(&[RoomId::from_bits(10_000_001)], cutoff(), &mut Vec::new())
}

/// The heads of every (organization, room) pair: LMDB against SQLite, then the whole merge.
fn heads(data: &Data, sqlite_dir: &Path) -> Outcome<()> {
    let mut sqlite = Sqlite::open(sqlite_dir)?;
    let dir = tempfile::tempdir_in(".")?;
    let mut lmdb = Lmdb::open(dir.path())?;
    lmdb.load(data)?;
    let txn = sqlite.0.transaction()?;
    for (room, ..) in &data.rooms {
        txn.execute("INSERT OR IGNORE INTO heads VALUES (?, 20000)", [room.as_i64()])?;
    }
    txn.commit()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let heads = LmdbHeads::new(lmdb.0.clone());
        let before = cpu_s();
        let mut known: Vec<Vec<Head>> = Vec::new();
        for rooms in &data.organizations {
            known.push(heads.of(rooms).await?);
        }
        let pairs: usize = known.iter().map(Vec::len).sum();
        let per_pair = |cpu: f64| cpu / pairs as f64 * 1e9;
        let cpu = cpu_s() - before;
        println!("\nheads of {pairs} pairs, lmdb: {cpu:.2} CPU s, {:.0} ns each", per_pair(cpu));
        let url = format!("sqlite:{}", sqlite_dir.join("blocks.sqlite").display());
        let pool = sqlx::SqlitePool::connect(&url).await?;
        let before = cpu_s();
        for rooms in &data.organizations {
            let list = rooms.iter().map(RoomId::to_string).collect::<Vec<_>>().join(",");
            let query = "SELECT room, day FROM heads WHERE room IN (SELECT value FROM json_each(?))";
            sqlx::query_as::<_, (i64, i64)>(query).bind(format!("[{list}]")).fetch_all(&pool).await?;
        }
        let cpu = cpu_s() - before;
        println!(
            "the same, sqlite through sqlx, a query an organization: {cpu:.2} CPU s, {:.0} ns each",
            per_pair(cpu)
        );
        let live_ids = LmdbLiveIds::new(lmdb.0.clone());
        let as_of: Timestamp = Epoch::default().0.plus_millis(NOW_DAYS * Day::MILLIS);
        let (before, mut limited) = (cpu_s(), 0);
        for rooms in &data.organizations {
            let heads = heads.of(rooms).await?;
            let rooms: Vec<Candidate> =
                rooms.iter().zip(heads).map(|(room, head)| Candidate::new(*room, head, Epoch::default())).collect();
            let newest = chat::newest(&live_ids, &rooms, &Policy::default(), as_of, Epoch::default()).await?;
            limited += u32::from(newest.first_visible_message_id.is_some());
        }
        println!("the whole merge with heads, lmdb: {:.2} CPU s, {limited} organizations limited", cpu_s() - before);
        Ok(())
    })
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, store, dir] = &arguments[..]
        && flag == "--probe"
    {
        return match store.as_str() {
            Lmdb::NAME => probe::<Lmdb>(dir.as_ref()),
            Redb::NAME => probe::<Redb>(dir.as_ref()),
            _ => probe::<Sqlite>(dir.as_ref()),
        };
    }
    let number = |index: usize, default| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let (messages, organizations, seed) = (number(0, 10_000_000)?, number(1, 2_500)?, number(2, 1)?);
    let data = generate(messages, organizations, seed as u64);
    let ids: usize = data.rooms.iter().map(|(_, live, dead)| live.len() + dead.len()).sum();
    let pairs: usize = data.organizations.iter().map(Vec::len).sum();
    println!("{ids} ids, {} rooms, {} free organizations, {pairs} pairs\n", data.rooms.len(), data.organizations.len());
    println!(
        "| store | load, CPU s | size, MB | read, CPU s | ids read | open, ms | read while another process writes |"
    );
    println!("|---|--:|--:|--:|--:|--:|---|");
    run::<Lmdb>(&data)?;
    run::<Redb>(&data)?;
    run::<Sqlite>(&data)
}
