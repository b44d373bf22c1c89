//! Generates a chat of any size as an import folder: what the limit path is measured on.
//!
//! ```text
//! cargo bench --bench chat -- OUT --messages 50000000 --organizations 12500 [--seed N]
//! ```
//!
//! `OUT` (from the package's folder, if relative) gets the five tables of an import as Parquet with snappy, messages in the
//! order of their ids, and at last `meta.json` with `epoch_ms`, `now_ms` (the instant to compute limits for) and what was made.
//! Same arguments, same bytes (on one platform). The shape is that of a real chat, which is few large and many small of everything:
//!
//! - rooms per organization: Pareto, 5 to 20,000, and always three giants; four of five organizations are free, so are two giants
//! - accounts per organization: 1.5 × rooms^0.8, log-normal
//! - members per room: 45 % pairs, most others 3 and a few more, 4 % wide; 5 % have guests of up to three other organizations
//! - messages per room: Pareto times how lively its organization is (log-normal); 5 % of rooms are empty
//! - messages: evenly over 40 days, 30 % are older (exponential, 150 days more); in 13 % of rooms all are; 2 % are deleted
//! - ids of organizations, accounts and rooms say nothing of size; message ids come from 32 workers that count 0 to 2
//!
//! Messages are drawn in the order of time, so none are kept: memory grows with rooms and accounts alone, 53 MB above.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use chat::{Day, Epoch, MessageId, Timestamp};
use clap::Parser;
use fastrand::Rng;
use parquet::data_type::{ByteArray, Int64Type};
use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
use parquet::{basic::Compression, column::writer::ColumnWriter, schema::parser::parse_message_type};

/// 2020-01-01T00:00:00Z.
const EPOCH: Epoch = Epoch(Timestamp::from_millis(1_577_836_800_000));
/// 2026-01-01T00:00:00Z: a fixed instant, in the past, since no limit is computed for the future.
const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);
/// Messages beyond this age are old.
const RECENT_DAYS: f64 = 40.0;
/// How much older than that old ones are, on average and at most. The oldest is still after the epoch.
const OLDER_DAYS: (f64, f64) = (150.0, 2_000.0);
/// Share of old messages in a room that is not dormant.
const OLD_SHARE: f64 = 0.195;
/// Least number of rooms of the first organizations; all but the last of them are free.
const GIANTS: [usize; 3] = [5_500, 7_000, 12_000];
/// Accounts and rooms are numbered from here.
const FIRST_ACCOUNT: usize = 1_000_000;
const FIRST_ROOM: usize = 10_000_000;
/// Workers that give out message ids, and how far each counts within a millisecond.
const WORKERS: u64 = 32;
const COUNTS: u64 = 3;
/// Rows of a row group.
const GROUP_ROWS: usize = 1 << 20;

/// Writes a generated chat as an import folder.
#[derive(Parser)]
#[command(name = "chat")]
struct Arguments {
    /// Folder to write; files of the same name are replaced
    out: PathBuf,
    /// Number of messages
    #[arg(long)]
    messages: NonZeroU32,
    /// Number of organizations
    #[arg(long)]
    organizations: NonZeroU32,
    /// Another seed, another chat of the same shape
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What `cargo bench` adds to the arguments
    #[arg(long, hide = true)]
    bench: bool,
}

struct Organization {
    free: bool,
    rooms: usize,
    /// How much is written in its rooms compared with others'.
    liveliness: f64,
    /// Their ids; until these are given out, only how many counts.
    accounts: Vec<i64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (out, messages) = (arguments.out.as_path(), arguments.messages.get());
    let mut rng = Rng::with_seed(arguments.seed);
    fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let mut organizations = write_organizations(out, &mut rng, arguments.organizations.get() as usize)?;
    let owners = shuffled_owners(&mut rng, organizations.iter().map(|organization| organization.rooms));
    let pairs = write_rooms(out, &mut rng, &owners, &mut organizations)?;
    let (old, deleted) = write_messages(out, &mut rng, &owners, &organizations, messages)?;
    let meta = serde_json::json!({
        "epoch_ms": EPOCH.0.as_millis(),
        "now_ms": NOW.as_millis(),
        "seed": arguments.seed,
        "messages": messages,
        "organizations": organizations.len(),
        "n_free": organizations.iter().filter(|one| one.free).count(),
        "rooms": owners.len(),
        "pairs": pairs,
        "share_old": f64::from(old) / f64::from(messages),
        "share_deleted": f64::from(deleted) / f64::from(messages),
    });
    fs::write(out.join("meta.json"), format!("{meta:#}\n"))?;
    println!("{meta:#}\nnext: lanner import {}, then lanner run --as-of {NOW}", out.display());
    Ok(())
}

fn write_organizations(out: &Path, rng: &mut Rng, count: usize) -> Result<Vec<Organization>> {
    let mut organizations: Vec<Organization> = (0..count)
        .map(|index| {
            let giant = GIANTS.get(index).copied().unwrap_or_default();
            let rooms = ((5.0 * pareto(rng, 1.05)) as usize).min(20_000).max(giant);
            let accounts = (1.5 * (rooms as f64).powf(0.8) * log_normal(rng, 0.3)).max(2.0);
            let free = index + 1 < GIANTS.len() || rng.f64() < 0.8;
            Organization { free, rooms, liveliness: log_normal(rng, 0.8), accounts: vec![0; accounts as usize] }
        })
        .collect();
    rng.shuffle(&mut organizations);
    let mut table = Table::create(out, "organizations", &["int64 id", "binary plan (string)"])?;
    for (index, organization) in organizations.iter().enumerate() {
        table.row([index as i64 + 1, i64::from(!organization.free)])?;
    }
    table.close()?;
    let employers = shuffled_owners(rng, organizations.iter().map(|organization| organization.accounts.len()));
    organizations.iter_mut().for_each(|organization| organization.accounts.clear());
    let mut table = Table::create(out, "accounts", &["int64 id", "int64 org_id"])?;
    for (index, employer) in employers.into_iter().enumerate() {
        let id = (FIRST_ACCOUNT + index) as i64;
        organizations[employer as usize].accounts.push(id);
        table.row([id, i64::from(employer) + 1])?;
    }
    table.close().map(|()| organizations)
}

/// Each organization's index as often as it owns something, shuffled: the place becomes the id.
fn shuffled_owners(rng: &mut Rng, counts: impl Iterator<Item = usize>) -> Vec<u32> {
    let mut owners: Vec<u32> = (0..).zip(counts).flat_map(|(owner, count)| std::iter::repeat_n(owner, count)).collect();
    rng.shuffle(&mut owners);
    owners
}

/// Rooms and their members. Returns the number of pairs of a free organization and a room it is in.
fn write_rooms(out: &Path, rng: &mut Rng, owners: &[u32], organizations: &mut [Organization]) -> Result<u64> {
    let mut rooms = Table::create(out, "rooms", &["int64 id"])?;
    let mut memberships = Table::create(out, "memberships", &["int64 room_id", "int64 account_id"])?;
    let guests = running_sums(organizations.iter().map(|organization| (organization.accounts.len() as f64).sqrt()));
    let mut pairs = 0;
    for (index, &owner) in owners.iter().enumerate() {
        let (room, owner) = ((FIRST_ROOM + index) as i64, owner as usize);
        let mut present = BTreeSet::from([owner]);
        let others = if rng.f64() < 0.05 { [1, 1, 1, 1, 1, 1, 1, 2, 2, 3][rng.usize(..10)] } else { 0 };
        present.extend((0..others).map(|_| draw(rng, &guests)));
        rooms.row([room])?;
        for organization in present {
            pairs += u64::from(organizations[organization].free);
            let accounts = &mut organizations[organization].accounts;
            let size = if organization == owner { room_size(rng, accounts.len()) } else { rng.usize(1..=3) };
            for place in 0..size.min(accounts.len()) {
                // The start of a shuffle: nobody is taken twice.
                let other = rng.usize(place..accounts.len());
                accounts.swap(place, other);
                memberships.row([room, accounts[place]])?;
            }
        }
    }
    rooms.close()?;
    memberships.close().map(|()| pairs)
}

/// Members from the room's own organization.
fn room_size(rng: &mut Rng, accounts: usize) -> usize {
    let group = 4 + ((1.0 - rng.f64()).ln() / 0.75_f64.ln()) as usize;
    match rng.f64() {
        ..0.45 => 2,
        0.45..0.96 => group,
        _ => group.max((rng.f64() * 0.5 * accounts as f64) as usize).min(500),
    }
}

/// Messages, the oldest first. `owners` are those of the rooms. Returns how many are old and how many are deleted.
fn write_messages(out: &Path, rng: &mut Rng, owners: &[u32], all: &[Organization], count: u32) -> Result<(u32, u32)> {
    // How busy each room is, split into what is old and what is not.
    let split = |owner: &u32| {
        let busy = pareto(rng, 1.2).min(10_000.0) * all[*owner as usize].liveliness;
        let busy = if rng.f64() < 0.05 { 0.0 } else { busy };
        let old_share = if rng.f64() < 0.13 { 1.0 } else { OLD_SHARE };
        (busy * old_share, busy * (1.0 - old_share))
    };
    let (old, recent): (Vec<f64>, Vec<f64>) = owners.iter().map(split).unzip();
    let old_share = old.iter().sum::<f64>() / old.iter().chain(&recent).sum::<f64>();
    let (old_rooms, recent_rooms) = (running_sums(old), running_sums(recent));
    let old = (f64::from(count) * old_share).round() as u32;
    let (mean, most) = OLDER_DAYS;
    let within = 1.0 - (-most / mean).exp();
    let old_ages = descending(rng.fork(), old).map(|x| RECENT_DAYS - mean * (1.0 - within * x).ln());
    let recent_ages = descending(rng.fork(), count - old).map(|x| RECENT_DAYS * x);
    let ages = old_ages.map(|days| (days, &old_rooms)).chain(recent_ages.map(|days| (days, &recent_rooms)));
    let mut table = Table::create(out, "messages", &["int64 room_id", "int64 message_id", "boolean deleted"])?;
    let (mut next_slot, mut deleted) = (0, 0);
    for (days, rooms) in ages {
        let millis = EPOCH.first_id(NOW.minus_millis(1 + (days * Day::MILLIS as f64) as u64)).millis();
        // Every id that can be given out has a slot; one that is taken leads to the next, even of the next millisecond.
        let slot = (millis * WORKERS * COUNTS + rng.u64(..WORKERS * COUNTS)).max(next_slot);
        next_slot = slot + 1;
        let (millis, worker, counter) = (slot / (WORKERS * COUNTS), slot / COUNTS % WORKERS, slot % COUNTS);
        let id = millis << MessageId::MILLIS_SHIFT | worker << MessageId::COUNTER_BITS | counter;
        let is_deleted = rng.f64() < 0.02;
        deleted += u32::from(is_deleted);
        table.row([(FIRST_ROOM + draw(rng, rooms)) as i64, id.cast_signed(), i64::from(is_deleted)])?;
    }
    table.close().map(|()| (old, deleted))
}

/// `count` even draws from 0 to 1, the largest first, one at a time: the largest of n is the n-th root of a single draw.
fn descending(mut rng: Rng, count: u32) -> impl Iterator<Item = f64> {
    let mut largest = 1.0;
    (1..=count).rev().map(move |left| {
        largest *= (1.0 - rng.f64()).powf(1.0 / f64::from(left));
        largest
    })
}

/// At least 1, and beyond any x with probability x^-exponent.
fn pareto(rng: &mut Rng, exponent: f64) -> f64 {
    (1.0 - rng.f64()).powf(-1.0 / exponent)
}

/// With a median of 1.
fn log_normal(rng: &mut Rng, sigma: f64) -> f64 {
    let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos();
    (sigma * normal).exp()
}

/// The sum of the weights up to and with each place, for [`draw()`]; the last is the total.
fn running_sums(weights: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut total = 0.0;
    let add = |weight| {
        total += weight;
        total
    };
    weights.into_iter().map(add).collect()
}

/// A place, by weight.
fn draw(rng: &mut Rng, sums: &[f64]) -> usize {
    let at = rng.f64() * sums.last().unwrap_or(&0.0);
    sums.partition_point(|sum| *sum <= at)
}

/// A Parquet file under way. Values are numbers: deleted is 0 or 1, a plan 0 (free) or 1 (paid), all else an id.
struct Table {
    writer: SerializedFileWriter<File>,
    columns: Vec<Vec<i64>>,
}

impl Table {
    fn create(out: &Path, name: &str, columns: &[&str]) -> Result<Self> {
        let fields: String = columns.iter().map(|column| format!("required {column}; ")).collect();
        let schema = parse_message_type(&format!("message {name} {{ {fields}}}"))?;
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).set_dictionary_enabled(false);
        let path = out.join(format!("{name}.parquet"));
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties.build()))?;
        Ok(Self { writer, columns: vec![Vec::new(); columns.len()] })
    }

    fn row<const N: usize>(&mut self, row: [i64; N]) -> Result<()> {
        self.columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
        if self.columns[0].len() == GROUP_ROWS { self.write_group() } else { Ok(()) }
    }

    fn write_group(&mut self) -> Result<()> {
        let mut group = self.writer.next_row_group()?;
        for values in &mut self.columns {
            let mut column = group.next_column()?.context("a row has more values than its table has columns")?;
            let one = values.iter().map(|value| *value == 1);
            match column.untyped() {
                ColumnWriter::BoolColumnWriter(writer) => writer.write_batch(&one.collect::<Vec<_>>(), None, None)?,
                ColumnWriter::ByteArrayColumnWriter(writer) => {
                    let plans: Vec<_> = one.map(|paid| ByteArray::from(if paid { "paid" } else { "free" })).collect();
                    writer.write_batch(&plans, None, None)?
                }
                _ => column.typed::<Int64Type>().write_batch(values, None, None)?,
            };
            column.close()?;
            values.clear();
        }
        group.close()?;
        Ok(())
    }

    fn close(mut self) -> Result<()> {
        self.write_group()?;
        self.writer.close()?;
        Ok(())
    }
}
