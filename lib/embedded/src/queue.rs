//! Queues with visibility timeouts in one SQLite file.
//!
//! A message is a row. Receiving hides it until an instant and counts; the count is part of the receipt, so that a later
//! receive makes the earlier receipt void. Nothing is kept in memory: a dropped call or a killed process leaves messages
//! hidden until their time is up, and then they return.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat::{PortError, PortResult, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;
use worker::queue::PerEntry;
use worker::{Delivery, Depth, Outgoing, Queue, QueueError, QueueLimits, Receipt};

use crate::DataDir;
use crate::sqlite::{Database, Schema, json, ms};

const SCHEMA: Schema =
    Schema { what: "the queue", migrations: &[(1, "queues", include_str!("../migrations/queue/0001_queues.sql"))] };

const LIMITS: QueueLimits = QueueLimits { batch_max: 500, body_bytes_max: 256 * 1024, linger: Duration::ZERO };
/// How often a waiting receiver looks for messages of other processes and for messages whose time is up.
const POLL: Duration = Duration::from_millis(50);

/// One named queue of a data directory.
#[derive(Clone, Debug)]
pub struct SqliteQueue {
    database: Database,
    name: Arc<str>,
    /// `queues.number`
    number: i64,
    /// Wakes this process's receivers.
    arrived: Arc<Notify>,
}

/// What a receipt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    number: i64,
    receive_count: i64,
}

impl SqliteQueue {
    /// Opens the queue `name` in `dir`; makes it where `dir` was opened for writing.
    ///
    /// # Errors
    ///
    /// Unavailable while the file is locked or its disk is full; refused when a newer version made the file, or when the queue
    /// does not exist and `dir` was opened for reading.
    pub async fn open(dir: &DataDir, name: &str) -> Result<Self, QueueError> {
        let database = Database::open(dir, dir.queue_sqlite(), &SCHEMA).await.map_err(|e| queue_error(name, e))?;
        Self::named(database, name).await.map_err(|e| queue_error(name, e))
    }

    /// Another queue over the same connections. Cheaper than a second [`SqliteQueue::open`], and the two do not wait for each
    /// other's locks.
    ///
    /// # Errors
    ///
    /// As [`SqliteQueue::open`].
    pub async fn beside(&self, name: &str) -> Result<Self, QueueError> {
        Self::named(self.database.clone(), name).await.map_err(|e| queue_error(name, e))
    }

    async fn named(database: Database, name: &str) -> PortResult<Self> {
        if let Ok(writer) = database.writer() {
            let insert = sqlx::query("INSERT INTO queues (name) VALUES (?1) ON CONFLICT DO NOTHING").bind(name);
            insert.execute(writer).await.map_err(|e| database.error(e))?;
        }
        let find = sqlx::query_scalar("SELECT number FROM queues WHERE name = ?1").bind(name);
        let number: Option<i64> = find.fetch_optional(database.reader()).await.map_err(|e| database.error(e))?;
        let number = number.ok_or_else(|| PortError::refused("it does not exist yet: start a run first"))?;
        Ok(Self { database, name: name.into(), number, arrived: Arc::new(Notify::new()) })
    }

    fn error(&self, e: PortError) -> QueueError {
        queue_error(&self.name, e)
    }

    fn refused(&self, what: String) -> QueueError {
        QueueError::Refused { queue: self.name.to_string(), what }
    }

    fn not_held(&self) -> QueueError {
        QueueError::NotHeld { queue: self.name.to_string() }
    }

    fn check_batch(&self, entries: usize) -> Result<(), QueueError> {
        if entries <= LIMITS.batch_max {
            return Ok(());
        }
        Err(self.refused(format!("{entries} entries in one call: at most {} are taken", LIMITS.batch_max)))
    }

    fn check_body(&self, body: &[u8]) -> Result<(), QueueError> {
        if body.len() > LIMITS.body_bytes_max {
            let max = LIMITS.body_bytes_max;
            return Err(self.refused(format!("a body of {} bytes: at most {max} are taken", body.len())));
        }
        std::str::from_utf8(body).map(|_| ()).map_err(|e| self.refused(format!("a body that is not UTF-8: {e}")))
    }

    async fn insert(&self, messages: &[&Outgoing]) -> PortResult<()> {
        // All bodies in one blob, cut apart by (start from 1, length, delay): one statement, whatever the batch.
        let mut bodies = Vec::with_capacity(messages.iter().map(|m| m.body.len()).sum());
        let mut cuts = Vec::with_capacity(messages.len());
        for message in messages {
            cuts.push((bodies.len() + 1, message.body.len(), delay_ms(message.delay)));
            bodies.extend_from_slice(&message.body);
        }
        sqlx::query(
            "INSERT INTO messages (queue, visible_from, sent_at, body)
             SELECT ?1, ?2 + (value ->> 2), ?2, coalesce(substr(?3, value ->> 0, value ->> 1), x'') FROM json_each(?4)",
        )
        .bind(self.number)
        .bind(ms(Timestamp::now()))
        .bind(bodies)
        .bind(json(&cuts)?)
        .execute(self.database.writer()?)
        .await
        .map_err(|e| self.database.error(e))?;
        Ok(())
    }

    /// Takes what is visible now. One statement, hence one transaction: when the call is dropped half-way, the messages are
    /// hidden or not, but never lost.
    async fn take(&self, max: usize, hidden_for: Duration) -> PortResult<Vec<Delivery>> {
        let now = ms(Timestamp::now());
        let mut rows: Vec<(i64, i64, Vec<u8>)> = sqlx::query_as(
            "UPDATE messages SET visible_from = ?2 + ?3, receive_count = receive_count + 1
             WHERE number IN (
                 SELECT number FROM messages WHERE queue = ?1 AND visible_from <= ?2 ORDER BY visible_from LIMIT ?4
             )
             RETURNING number, receive_count, body",
        )
        .bind(self.number)
        .bind(now)
        .bind(delay_ms(hidden_for))
        .bind(i64::try_from(max).unwrap_or(i64::MAX))
        .fetch_all(self.database.writer()?)
        .await
        .map_err(|e| self.database.error(e))?;
        // RETURNING keeps no order.
        rows.sort_unstable_by_key(|(number, ..)| *number);
        let delivery = |(number, receive_count, body)| Delivery {
            body,
            receipt: Held { number, receive_count }.receipt(),
            receive_count: u32::try_from(receive_count).unwrap_or(u32::MAX),
        };
        Ok(rows.into_iter().map(delivery).collect())
    }

    /// True when something is visible now. Takes no lock: a waiting receiver costs writers nothing.
    async fn has_visible(&self) -> PortResult<bool> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM messages WHERE queue = ?1 AND visible_from <= ?2)")
            .bind(self.number)
            .bind(ms(Timestamp::now()))
            .fetch_one(self.database.reader())
            .await
            .map_err(|e| self.database.error(e))
    }

    /// Which of these numbers are messages still, and with which receipt.
    async fn present(&self, held: &[Held]) -> PortResult<HashSet<Held>> {
        let numbers: Vec<i64> = held.iter().map(|held| held.number).collect();
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT m.number, m.receive_count FROM json_each(?2) AS n CROSS JOIN messages AS m
             WHERE m.number = n.value AND m.queue = ?1",
        )
        .bind(self.number)
        .bind(json(&numbers)?)
        .fetch_all(self.database.reader())
        .await
        .map_err(|e| self.database.error(e))?;
        Ok(rows.into_iter().map(Held::from).collect())
    }

    /// Deletes what is held; answers how many that were.
    async fn delete(&self, held: &[Held]) -> PortResult<u64> {
        let rows: Vec<_> = held.iter().map(|held| (held.number, held.receive_count)).collect();
        let deleted = sqlx::query(
            "DELETE FROM messages WHERE number IN (
                 SELECT m.number FROM json_each(?2) AS r CROSS JOIN messages AS m
                 WHERE m.number = r.value ->> 0 AND m.receive_count = r.value ->> 1 AND m.queue = ?1
             )",
        )
        .bind(self.number)
        .bind(json(&rows)?)
        .execute(self.database.writer()?)
        .await
        .map_err(|e| self.database.error(e))?;
        Ok(deleted.rows_affected())
    }

    /// Hides anew what is held; answers how many that were.
    async fn hide(&self, changes: &[(Held, Duration)]) -> PortResult<u64> {
        let rows: Vec<_> = changes.iter().map(|(h, d)| (h.number, h.receive_count, delay_ms(*d))).collect();
        let hidden = sqlx::query(
            "WITH r AS MATERIALIZED (
                 SELECT value ->> 0 AS number, value ->> 1 AS receive_count, value ->> 2 AS hidden_ms FROM json_each(?3)
             )
             UPDATE messages AS m SET visible_from = ?2 + r.hidden_ms
             FROM r
             WHERE m.number = r.number AND m.receive_count = r.receive_count AND +m.queue = ?1",
        )
        .bind(self.number)
        .bind(ms(Timestamp::now()))
        .bind(json(&rows)?)
        .execute(self.database.writer()?)
        .await
        .map_err(|e| self.database.error(e))?;
        Ok(hidden.rows_affected())
    }
}

#[async_trait]
impl Queue for SqliteQueue {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> QueueLimits {
        LIMITS
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<PerEntry, QueueError> {
        self.check_batch(messages.len())?;
        let answers: PerEntry = messages.iter().map(|message| self.check_body(&message.body)).collect();
        let good: Vec<&Outgoing> = messages.iter().zip(&answers).filter(|(_, a)| a.is_ok()).map(|(m, _)| m).collect();
        if !good.is_empty() {
            self.insert(&good).await.map_err(|e| self.error(e))?;
            self.arrived.notify_waiters();
        }
        Ok(answers)
    }

    async fn receive(&self, max: usize, hidden_for: Duration, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        let max = max.min(LIMITS.batch_max);
        let deadline = Instant::now() + wait;
        let mut look = max > 0;
        loop {
            let arrived = self.arrived.notified();
            tokio::pin!(arrived);
            // From here on a send is noticed, also one that happens while we look.
            arrived.as_mut().enable();
            if look {
                let taken = self.take(max, hidden_for).await.map_err(|e| self.error(e))?;
                if !taken.is_empty() {
                    return Ok(taken);
                }
            }
            let now = Instant::now();
            if max == 0 || now >= deadline {
                return Ok(Vec::new());
            }
            look = tokio::select! {
                () = arrived => true,
                () = tokio::time::sleep_until(deadline.min(now + POLL)) => {
                    self.has_visible().await.map_err(|e| self.error(e))?
                }
            };
        }
    }

    async fn done(&self, receipts: &[Receipt]) -> Result<PerEntry, QueueError> {
        self.check_batch(receipts.len())?;
        let held: Vec<Held> = receipts.iter().filter_map(Held::of).collect();
        let deleted = if held.is_empty() { 0 } else { self.delete(&held).await.map_err(|e| self.error(e))? };
        // Nearly always all of them. What is neither deleted now nor there any more was deleted before: done twice is done once.
        let left = match deleted == held.len() as u64 {
            true => HashSet::new(),
            false => self.present(&held).await.map_err(|e| self.error(e))?,
        };
        let taken_by_others: HashSet<i64> = left.into_iter().map(|held| held.number).collect();
        let answer = |receipt| match Held::of(receipt) {
            Some(held) if !taken_by_others.contains(&held.number) => Ok(()),
            _ => Err(self.not_held()),
        };
        Ok(receipts.iter().map(answer).collect())
    }

    async fn change_visibility(&self, changes: &[(Receipt, Duration)]) -> Result<PerEntry, QueueError> {
        self.check_batch(changes.len())?;
        let held: Vec<(Held, Duration)> = changes.iter().filter_map(|(r, d)| Some((Held::of(r)?, *d))).collect();
        let hidden = if held.is_empty() { 0 } else { self.hide(&held).await.map_err(|e| self.error(e))? };
        let receipts: Vec<Held> = held.into_iter().map(|(held, _)| held).collect();
        let still_held = match hidden == receipts.len() as u64 {
            true => receipts.into_iter().collect(),
            false => self.present(&receipts).await.map_err(|e| self.error(e))?,
        };
        if changes.iter().any(|(_, hidden_for)| hidden_for.is_zero()) {
            self.arrived.notify_waiters();
        }
        let answer = |(receipt, _): &(Receipt, Duration)| match Held::of(receipt) {
            Some(held) if still_held.contains(&held) => Ok(()),
            _ => Err(self.not_held()),
        };
        Ok(changes.iter().map(answer).collect())
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        let now = Timestamp::now();
        let row: (i64, i64, Option<i64>) = sqlx::query_as(
            "SELECT visible, hidden, (SELECT sent_at FROM messages WHERE number = oldest) FROM (
                 SELECT
                     count(*) FILTER (WHERE visible_from <= ?2) AS visible,
                     count(*) FILTER (WHERE visible_from > ?2) AS hidden,
                     min(number) AS oldest
                 FROM messages INDEXED BY messages_by_visibility
                 WHERE queue = ?1
             )",
        )
        .bind(self.number)
        .bind(ms(now))
        .fetch_one(self.database.reader())
        .await
        .map_err(|e| self.error(self.database.error(e)))?;
        let count = |n: i64| u64::try_from(n).unwrap_or(0);
        let oldest_age = row.2.map(|sent_at| Duration::from_millis(count(ms(now).saturating_sub(sent_at))));
        Ok(Depth { visible: count(row.0), hidden: count(row.1), oldest_age })
    }
}

impl From<(i64, i64)> for Held {
    fn from((number, receive_count): (i64, i64)) -> Self {
        Self { number, receive_count }
    }
}

impl Held {
    fn receipt(self) -> Receipt {
        Receipt(format!("{}-{}", self.number, self.receive_count))
    }

    fn of(receipt: &Receipt) -> Option<Self> {
        let (number, receive_count) = receipt.0.split_once('-')?;
        Some(Self { number: number.parse().ok()?, receive_count: receive_count.parse().ok()? })
    }
}

/// Whole milliseconds, never less than `delay`: the clock that it is added to is itself rounded down.
fn delay_ms(delay: Duration) -> i64 {
    match delay.as_nanos().div_ceil(1_000_000) {
        0 => 0,
        // A century is for ever, and far from where an addition could overflow.
        ms => i64::try_from(ms + 1).unwrap_or(i64::MAX).min(100 * 365 * 86_400_000),
    }
}

fn queue_error(queue: &str, e: PortError) -> QueueError {
    let queue = queue.to_owned();
    match e {
        PortError::Throttled { .. } => QueueError::Throttled { queue, source: e.into() },
        e if e.is_temporary() => QueueError::Unavailable { queue, source: e.into() },
        e => {
            let cause = std::error::Error::source(&e).map(|cause| format!(": {cause}")).unwrap_or_default();
            QueueError::Refused { queue, what: format!("{e}{cause}") }
        }
    }
}

#[cfg(test)]
mod tests;
