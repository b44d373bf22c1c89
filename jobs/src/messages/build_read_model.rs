//! `build-read-model`: makes of the log what can be read. An order per room: a lane each.
//!
//! An event's effect is durable, then it is told to the log of what is readable, then its offset may be committed. Whatever is killed
//! in between is repeated, and changes nothing: rows know the position that they were made of. The log of what is readable can
//! therefore have an event twice, with the same id.
//!
//! What waits in a room is taken as a run of several events: their rows are written together, those of one message as one.

mod rows;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chat::event::{Decoded, Event, What, decode};
use chat::message::Verdict;
use chat::{Day, MessageId, PortResult, Position, RoomId};
use worker::lanes::{
    Deal, LaneConsumer, LaneConsumerSettings, LanePoolSettings, LaneVerdict, LaneWork, NoParking, NotLaneLimits,
};
use worker::log::{LogRecord, Missing, ReadRecord};
use worker::{Backoff, Batcher, Batching, Cause, LaneLimits};

use super::ports::MessagePorts;
use super::quarantine;
use super::records::{position_of, readable_record};
use rows::{Failed, Outcome, Projected, Run};

/// Name of the job and of its consumer group.
pub const NAME: &str = "build-read-model";

/// Rooms whose heads are known to be raised, at most: beyond that all are asked for again.
const RAISED_MAX: usize = 100_000;

/// How the job is run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Rooms that are in work at once.
    pub in_flight: usize,
    /// Events of a partition in memory at which its intake pauses.
    pub high_water: usize,
    /// Records of one poll.
    pub poll_max: usize,
    /// Events of one room that are worked on together.
    pub run_max: usize,
    /// Runs of rooms in one write.
    pub batch_max: usize,
    /// Delays between attempts.
    pub backoff: Backoff,
    /// How long an attempt at an event may take.
    pub handle_timeout: Duration,
    /// How long what is done may stay uncommitted.
    pub commit_every: Duration,
    /// Without progress for this long it hangs.
    pub hang_after: Duration,
    /// How long events in work may go on after a stop.
    pub stop_grace: Duration,
    /// The epoch of the log: how often it has begun anew.
    pub log_epoch: u16,
}

impl Settings {
    /// Settings that suit the embedded adapters.
    pub fn embedded() -> Self {
        #[expect(clippy::expect_used, reason = "the numbers stand right here")]
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30), 0.3).expect("checked numbers");
        Self {
            in_flight: 512,
            high_water: 4_096,
            poll_max: 2_048,
            run_max: 32,
            batch_max: 512,
            backoff,
            handle_timeout: Duration::from_secs(60),
            commit_every: Duration::from_millis(200),
            hang_after: Duration::from_secs(120),
            stop_grace: Duration::from_secs(5),
            log_epoch: 0,
        }
    }
}

/// The job over these ports; `missing` tells whether the group has been here before. Call from within a runtime.
pub fn consumer(
    ports: &MessagePorts,
    settings: Settings,
    missing: Missing,
) -> Result<LaneConsumer<RoomId, Item>, NotLaneLimits> {
    let Settings { in_flight, high_water, poll_max, .. } = settings;
    let limits = LaneLimits::new(in_flight, high_water / 2, high_water, high_water.saturating_add(poll_max))?;
    let limits = limits.in_runs(settings.run_max);
    let lanes = LaneConsumerSettings {
        pool: LanePoolSettings {
            limits,
            backoff: settings.backoff,
            // The store is down, or the log is: an event is tried until it is readable.
            attempts_max: u32::MAX,
            handle_timeout: settings.handle_timeout,
            parked_backoff: settings.backoff,
        },
        poll_max,
        poll_wait: Duration::from_secs(1),
        commit_every: settings.commit_every,
        backoff: settings.backoff,
        hang_after: settings.hang_after,
        stop_grace: settings.stop_grace,
    };
    let work = Arc::new(BuildReadModel::new(ports, settings));
    // There is nobody else to read what a lane holds: it waits.
    let parking = Arc::new(NoParking);
    Ok(LaneConsumer::new(Arc::clone(&ports.events), NAME, missing, lanes, Arc::new(ByRoom), work, parking))
}

/// A record on its way.
#[derive(Debug)]
pub struct Item {
    read: ReadRecord,
    decoded: Decoded,
}

/// Deals records to the lanes of their rooms.
struct ByRoom;

impl Deal<RoomId, Item> for ByRoom {
    fn deal(&self, read: ReadRecord) -> Vec<(RoomId, Item)> {
        let LogRecord { key, headers, value } = &read.record;
        let decoded = decode(key, headers, value);
        // What has no room's key is nobody's: one lane for all of that.
        let room = std::str::from_utf8(key).ok().and_then(|room| room.parse().ok()).unwrap_or(RoomId::from_bits(0));
        vec![(room, Item { read, decoded })]
    }
}

struct BuildReadModel {
    ports: MessagePorts,
    log_epoch: u16,
    messages: Batcher<Run, Outcome>,
    /// Heads that this process has raised.
    raised: Mutex<HashMap<RoomId, Day>>,
}

/// What an event changes, and so with which of its neighbours it is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changes {
    Message,
    Membership,
    Nothing,
}

impl Changes {
    fn of(item: &Item) -> Self {
        match &item.decoded {
            Decoded::Event(event) if event.message().is_some() => Self::Message,
            Decoded::Event(_) => Self::Membership,
            Decoded::Unknown(_) | Decoded::Undecodable { .. } => Self::Nothing,
        }
    }
}

impl BuildReadModel {
    fn new(ports: &MessagePorts, settings: Settings) -> Self {
        let store = Arc::clone(&ports.messages);
        let messages = Batcher::start(Batching::up_to(settings.batch_max), move |runs: Vec<Run>| {
            let store = Arc::clone(&store);
            async move { rows::write(&*store, &runs).await }
        });
        Self { ports: ports.clone(), log_epoch: settings.log_epoch, messages, raised: Mutex::default() }
    }

    /// Makes events of one room readable, and tells that they are. On an error some may be, and all are to be tried again.
    async fn build(&self, items: &[Item]) -> Result<(), Failed> {
        for neighbours in items.chunk_by(|one, next| Changes::of(one) == Changes::of(next)) {
            match neighbours.first().map(Changes::of) {
                Some(Changes::Message) => {
                    let live = self.project_messages(self.events(neighbours)?).await?;
                    self.tell(neighbours.iter().zip(live.into_iter().map(Some))).await?;
                }
                Some(Changes::Membership) => {
                    self.project_memberships(&self.events(neighbours)?).await?;
                    self.tell_all(neighbours).await?;
                }
                Some(Changes::Nothing) | None => {
                    self.pass(neighbours).await?;
                    self.tell_all(neighbours).await?;
                }
            }
        }
        Ok(())
    }

    async fn tell_all(&self, items: &[Item]) -> Result<(), Failed> {
        let readable = items.iter().filter(|item| !matches!(item.decoded, Decoded::Undecodable { .. }));
        self.tell(readable.map(|item| (item, None))).await
    }

    /// Tells that events can be read, each with whether its message is live. In order: otherwise the first could fail and be told again
    /// behind the others.
    async fn tell(&self, items: impl Iterator<Item = (&Item, Option<bool>)>) -> Result<(), Failed> {
        let records = items.map(|(item, is_live)| readable_record(&item.read, is_live)).collect();
        Ok(self.ports.readable.append_in_order(records).await?)
    }

    /// The events among these items, each with its position.
    fn events(&self, items: &[Item]) -> Result<Run, Failed> {
        let mut events = Run::with_capacity(items.len());
        for item in items {
            if let Decoded::Event(event) = &item.decoded {
                let position = position_of(self.log_epoch, item.read.place)
                    .map_err(|error| Failed { cause: Cause::of("corrupt", &error), is_temporary: false })?;
                events.push((event.clone(), position));
            }
        }
        Ok(events)
    }

    /// The rows of messages, durable when this returns; answers for each event whether its message is live.
    async fn project_messages(&self, events: Run) -> Result<Vec<bool>, Failed> {
        for (event, _) in &events {
            if let What::MessageCreated { message, .. } = event.what {
                self.raise_head(event.room, message).await?;
            }
        }
        let outcome = self.messages.call(events).await;
        let unanswered = || Err(Failed::again("unavailable", "a batch call ended without an answer".to_owned()));
        let projected = outcome.unwrap_or_else(unanswered)?;
        for Projected { verdict, .. } in &projected {
            count(match verdict {
                Verdict::Changed(_) => "projected",
                Verdict::Buried(_) => "orphan",
                Verdict::Seen => "seen",
                Verdict::Refused(refusal) => refusal.word(),
            });
        }
        Ok(projected.into_iter().map(|projected| projected.is_live).collect())
    }

    /// Rooms and memberships, durable when this returns.
    async fn project_memberships(&self, events: &[(Event, Position)]) -> Result<(), Failed> {
        let outcome = match &self.ports.memberships {
            Some(memberships) => {
                let changes: Vec<_> = events.iter().filter_map(|(event, at)| event.membership(*at)).collect();
                memberships.apply(&changes).await?;
                "projected"
            }
            None => "owned_elsewhere",
        };
        events.iter().for_each(|_| count(outcome));
        Ok(())
    }

    /// What changes nothing here.
    async fn pass(&self, items: &[Item]) -> Result<(), Failed> {
        for item in items {
            match &item.decoded {
                Decoded::Undecodable { reason } => {
                    count("undecodable");
                    self.put_aside(item, reason.clone()).await?;
                }
                Decoded::Unknown(unknown) => {
                    tracing::debug!(kind = unknown.type_name, "an event of an unknown kind is passed on");
                    count("unknown");
                }
                Decoded::Event(_) => {}
            }
        }
        Ok(())
    }

    /// Before the row, once for each room and day: a head never understates the newest id.
    async fn raise_head(&self, room: RoomId, message: MessageId) -> PortResult<()> {
        let day = Day::of(self.ports.epoch.time_of(message));
        let raised = || self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if raised().get(&room).is_some_and(|known| *known >= day) {
            return Ok(());
        }
        self.ports.heads.raise(&[(room, day)]).await?;
        let mut raised = raised();
        if raised.len() >= RAISED_MAX {
            raised.clear();
        }
        raised.insert(room, day);
        Ok(())
    }

    async fn put_aside(&self, item: &Item, reason: String) -> Result<(), Failed> {
        let log = self.ports.events.name();
        tracing::error!(log, place = ?item.read.place, reason, "event is put aside");
        Ok(quarantine::put_aside(&*self.ports.ledger, log, &item.read, reason).await?)
    }
}

#[async_trait]
impl LaneWork<RoomId, Item> for BuildReadModel {
    async fn handle(&self, _: &RoomId, items: &[Item], _: u32) -> LaneVerdict {
        let failed = match (self.build(items).await, items) {
            (Ok(()), _) => return LaneVerdict::Done,
            (Err(failed), [item]) if !failed.is_temporary => {
                // It can never succeed: the room goes on without it, and a person is told.
                count("failed");
                let reason = format!("{}: {}", failed.cause.class, failed.cause.error);
                match self.put_aside(item, reason).await {
                    Ok(()) => return LaneVerdict::Done,
                    Err(failed) => failed,
                }
            }
            // Of several, whichever it was: they come again one by one.
            (Err(failed), _) => failed,
        };
        LaneVerdict::Again { after: None, cause: failed.cause }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("lanner_events_total", "job" => NAME, "outcome" => outcome).increment(1);
}
