//! `build-read-model`: makes of the log what can be read. An order per room: a lane each.
//!
//! An event's effect is durable, then it is told to the log of what is readable, then its offset may be committed. Whatever is killed
//! in between is repeated, and changes nothing: rows know the position that they were made of. The log of what is readable can
//! therefore have an event twice, with the same id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chat::event::{Decoded, Event, What, decode};
use chat::message::{Fold, Verdict};
use chat::{Applied, Day, MessageId, MessageStore, PortError, PortResult, Position, RoomId};
use worker::lanes::{
    Deal, LaneConsumer, LaneConsumerSettings, LanePoolSettings, LaneVerdict, LaneWork, NoParking, NotLaneLimits,
};
use worker::log::{LogRecord, Missing, ReadRecord};
use worker::{Backoff, Batcher, Batching, Cause, LaneLimits, LogError};

use super::ports::MessagePorts;
use super::quarantine;
use super::records::{position_of, readable_record};

/// Name of the job and of its consumer group.
pub const NAME: &str = "build-read-model";

/// Writers of one message that may come in between before the event is tried again later.
const CONFLICTS_MAX: usize = 8;
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
    /// Events of one write.
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

/// What became of an event about a message, or why nothing did.
type Outcome = Result<Verdict, Failed>;

/// A failure that several events of one batch share.
#[derive(Clone, Debug)]
struct Failed {
    cause: Cause,
    is_temporary: bool,
}

impl Failed {
    fn of(error: &PortError) -> Self {
        Self { cause: Cause::of(error.class(), error), is_temporary: error.is_temporary() }
    }

    fn again(class: &str, words: String) -> Self {
        Self { cause: Cause::new(class, words), is_temporary: true }
    }
}

impl From<PortError> for Failed {
    fn from(error: PortError) -> Self {
        Self::of(&error)
    }
}

impl From<LogError> for Failed {
    fn from(error: LogError) -> Self {
        Self { cause: Cause::of("unavailable", &error), is_temporary: error.is_temporary() }
    }
}

struct BuildReadModel {
    ports: MessagePorts,
    log_epoch: u16,
    messages: Batcher<(Event, Position), Outcome>,
    /// Heads that this process has raised.
    raised: Mutex<HashMap<RoomId, Day>>,
}

impl BuildReadModel {
    fn new(ports: &MessagePorts, settings: Settings) -> Self {
        let store = Arc::clone(&ports.messages);
        let messages = Batcher::start(Batching::up_to(settings.batch_max), move |events: Vec<(Event, Position)>| {
            let store = Arc::clone(&store);
            async move { write(&*store, &events).await }
        });
        Self { ports: ports.clone(), log_epoch: settings.log_epoch, messages, raised: Mutex::default() }
    }

    async fn build(&self, item: &Item) -> Result<(), Failed> {
        match &item.decoded {
            Decoded::Event(event) => {
                let position = position_of(self.log_epoch, item.read.place)
                    .map_err(|error| Failed { cause: Cause::of("corrupt", &error), is_temporary: false })?;
                self.project(event, position).await?;
            }
            Decoded::Unknown(unknown) => {
                tracing::debug!(kind = unknown.type_name, "an event of an unknown kind is passed on");
                count("unknown");
            }
            Decoded::Undecodable { reason } => {
                count("undecodable");
                return self.put_aside(item, reason.clone()).await;
            }
        }
        let answers = self.ports.readable.append(vec![readable_record(&item.read)]).await?;
        answers.into_iter().try_for_each(|answer| answer.map(drop)).map_err(Failed::from)
    }

    /// The effect of an event, durable when it returns.
    async fn project(&self, event: &Event, position: Position) -> Result<(), Failed> {
        if let Some(change) = event.membership(position) {
            match &self.ports.memberships {
                Some(memberships) => {
                    memberships.apply(&[change]).await?;
                    count("projected");
                }
                None => count("owned_elsewhere"),
            }
            return Ok(());
        }
        if let What::MessageCreated { message, .. } = event.what {
            self.raise_head(event.room, message).await?;
        }
        let outcome = self.messages.call((event.clone(), position)).await;
        let unanswered = || Err(Failed::again("unavailable", "a batch call ended without an answer".to_owned()));
        count(match outcome.unwrap_or_else(unanswered)? {
            Verdict::Changed(_) => "projected",
            Verdict::Buried(_) => "orphan",
            Verdict::Seen => "seen",
            Verdict::Refused(refusal) => refusal.word(),
        });
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
    async fn handle(&self, _: &RoomId, item: &Item, _: u32) -> LaneVerdict {
        let failed = match self.build(item).await {
            Ok(()) => return LaneVerdict::Done,
            Err(failed) => failed,
        };
        if failed.is_temporary {
            return LaneVerdict::Again { after: None, cause: failed.cause };
        }
        // It can never succeed: the room goes on without it, and a person is told.
        count("failed");
        match self.put_aside(item, format!("{}: {}", failed.cause.class, failed.cause.error)).await {
            Ok(()) => LaneVerdict::Done,
            Err(failed) => LaneVerdict::Again { after: None, cause: failed.cause },
        }
    }
}

/// Reads what is stored, decides, writes on condition that nobody else has written; events of rooms of their own, in any order.
async fn write(store: &dyn MessageStore, events: &[(Event, Position)]) -> Vec<Outcome> {
    let mut outcomes: HashMap<usize, Outcome> = HashMap::new();
    for _ in 0..CONFLICTS_MAX {
        let open: Vec<usize> = (0..events.len()).filter(|index| !outcomes.contains_key(index)).collect();
        if open.is_empty() {
            break;
        }
        if let Err(error) = write_open(store, events, &open, &mut outcomes).await {
            let failed = Failed::of(&error);
            open.into_iter().for_each(|index| _ = outcomes.entry(index).or_insert(Err(failed.clone())));
        }
    }
    let conflict = || Err(Failed::again("conflict", format!("written by others {CONFLICTS_MAX} times in a row")));
    (0..events.len()).map(|index| outcomes.remove(&index).unwrap_or_else(conflict)).collect()
}

/// One round: what conflicts stays open.
async fn write_open(
    store: &dyn MessageStore,
    events: &[(Event, Position)],
    open: &[usize],
    outcomes: &mut HashMap<usize, Outcome>,
) -> PortResult<()> {
    let ids: Vec<(RoomId, MessageId)> =
        open.iter().filter_map(|index| events[*index].0.message().map(|id| (events[*index].0.room, id))).collect();
    let states = store.states(&ids).await?;
    let (mut changes, mut decided) = (Vec::new(), Vec::new());
    for ((&index, (room, id)), state) in open.iter().zip(ids).zip(states) {
        let (event, position) = &events[index];
        let mut fold = Fold::new(room, id, state);
        let verdict = fold.apply(event, *position);
        match fold.into_change() {
            Some(change) => {
                changes.push(change);
                decided.push((index, verdict));
            }
            None => _ = outcomes.insert(index, Ok(verdict)),
        }
    }
    let applied = store.apply(&changes).await?;
    for ((index, verdict), applied) in decided.into_iter().zip(applied) {
        match applied {
            Applied::Written => _ = outcomes.insert(index, Ok(verdict)),
            Applied::Unchanged => _ = outcomes.insert(index, Ok(Verdict::Seen)),
            Applied::Conflict => {}
        }
    }
    Ok(())
}

fn count(outcome: &'static str) {
    metrics::counter!("lanner_events_total", "job" => NAME, "outcome" => outcome).increment(1);
}
