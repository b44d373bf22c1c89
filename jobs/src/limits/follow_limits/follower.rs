//! One run of the shard: a task that polls, keeps the sets, and lets everything else be done beside it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime};

use chat::visibility::Window;
use chat::{
    AccountId, Epoch, LimitRow, MessageId, Organization, OrganizationId, Policy, PortError, PutOutcome, RoomId, RunId,
    Standing, Timestamp, Version,
};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use worker::log::{Bounds, ReadRecord};
use worker::supervisor::Context;
use worker::{Cause, Lease, LogConsumer, RenewError, StateError};

use super::changes::Changes;
use super::effects::{self, Effect, Pending};
use super::recent::{KEPT_FOR, Recent};
use super::shard::{Due, Looked, Shard, Stored};
use super::start::{Started, start};
use super::told::Told;
use super::{FollowPorts, NAME, Settings, saving};
use crate::limits::cause_of;

/// The family of the leases' records, by the number of the shard.
pub(super) const LEASES: &str = "follow-limits";
/// Records of one poll, and how long one waits.
pub(super) const POLL_MAX: usize = 2_048;
pub(super) const POLL_WAIT: Duration = Duration::from_millis(500);
/// How often it is looked at what is due.
const TICK: Duration = Duration::from_millis(50);
/// How often the directory is asked for changes, and the log for its end.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Organizations of one look at the directory, and looks at once.
const LOOK_AT: usize = 64;
const LOOKS_MAX: usize = 4;
/// Accounts of one question; so many wait at most before the stream does.
const ASK_OF: usize = 1_000;
const ASKS_MAX: usize = 100_000;
/// Limits of one write.
const PUT_MAX: usize = 512;
/// Sets that are saved at once.
pub(super) const SAVE_MAX: usize = 64;

/// Runs until stopped, or until something fails that another run may do better.
pub(super) async fn run(ports: FollowPorts, settings: Settings, context: Context) -> Result<(), Cause> {
    let began = context.stop.run_until_cancelled(begin(&ports, &settings, &context)).await;
    let Some((lease, started, mut consumer)) = began.transpose()? else { return Ok(()) };
    let mut follower = Follower::new(ports, settings, lease, started)?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        context.pulse.beat();
        let may_poll = follower.asks.len() < ASKS_MAX;
        tokio::select! {
            () = context.stop.cancelled() => break,
            polled = consumer.poll(POLL_MAX, POLL_WAIT), if may_poll => {
                let polled = polled.map_err(|error| Cause::of("log", &error))?;
                follower.heard(&polled.records);
            }
            Some(effect) = follower.pending.next() => follower.became(effect)?,
            _ = tick.tick() => follower.tick()?,
        }
    }
    follower.end().await
}

/// Waits for the lease, then reads what there is.
async fn begin(
    ports: &FollowPorts,
    settings: &Settings,
    context: &Context,
) -> Result<(Lease, Started, Box<dyn LogConsumer>), Cause> {
    let of_state = |error: StateError| Cause::of("state", &error);
    let mut lease = loop {
        context.pulse.beat();
        let taken = Lease::take_number(&*ports.state, LEASES, settings.shard, settings.lease_lives_for).await;
        match taken.map_err(of_state)? {
            Some(lease) => break lease,
            None => tokio::time::sleep(ASK_EVERY).await,
        }
    };
    let n = policy_now(ports)?.n();
    let started = start(ports, settings, n, &context.pulse);
    tokio::pin!(started);
    loop {
        tokio::select! {
            started = &mut started => {
                let (started, consumer) = started?;
                return Ok((lease, started, consumer));
            }
            () = tokio::time::sleep(lease.renew_every()) => {
                lease.renew(&*ports.state).await.map_err(|error| Cause::of("state", &error))?;
            }
        }
    }
}

fn policy_now(ports: &FollowPorts) -> Result<Policy, Cause> {
    let period = ports.policies.in_force(Timestamp::now()).map_err(|error| Cause::of("policy", &error))?;
    Ok(period.policy)
}

/// For which instant a limit is computed whose newest message this is, and of which window: an id ahead of this clock counts, too.
pub(super) fn counted_at(
    newest: Option<MessageId>,
    clock: Timestamp,
    policy: &Policy,
    epoch: Epoch,
) -> (Timestamp, Window) {
    let ahead = newest.map_or(clock, |id| epoch.time_of(id).plus_millis(1));
    let as_of = clock.max(ahead);
    (as_of, Window::at(as_of, policy, epoch))
}

/// When something is done next, and whether it is being done.
struct Turn {
    every: Duration,
    next: Instant,
    is_running: bool,
}

impl Turn {
    fn every(every: Duration) -> Self {
        Self { every, next: Instant::now() + every, is_running: false }
    }

    /// True when it is to be begun now.
    fn begins(&mut self, now: Instant) -> bool {
        let begins = !self.is_running && self.next <= now;
        self.is_running |= begins;
        begins
    }

    fn ended(&mut self) {
        self.is_running = false;
        self.next = Instant::now() + self.every;
    }
}

/// A snapshot on its way.
struct Saving {
    place: saving::Place,
    left: VecDeque<OrganizationId>,
    /// Those that are being written.
    writing: Vec<OrganizationId>,
}

struct Follower {
    ports: FollowPorts,
    settings: Settings,
    policy: Policy,
    run: RunId,
    epoch: u64,
    shard: Shard,
    recent: Recent,
    changes: Changes,
    /// The offset of the next record, by partition.
    offsets: BTreeMap<u32, u64>,
    /// What is told before anything is written.
    ends: BTreeMap<u32, u64>,
    last_told_at: Option<SystemTime>,
    pending: FuturesUnordered<Pending>,
    asks: Vec<(AccountId, RoomId)>,
    to_merge: VecDeque<(OrganizationId, Vec<RoomId>)>,
    looks: usize,
    merges: usize,
    is_asking: bool,
    is_putting: bool,
    changes_turn: Turn,
    bounds_turn: Turn,
    save_turn: Turn,
    saving: Option<Saving>,
    /// None while it is being renewed.
    lease: Option<Lease>,
    lease_valid_until: Instant,
    renew_at: Instant,
    failures: u32,
    /// After a failure nothing is begun before.
    not_before: Instant,
}

impl Follower {
    fn new(ports: FollowPorts, settings: Settings, lease: Lease, started: Started) -> Result<Self, Cause> {
        let Started { shard, offsets, ends, changes, epoch } = started;
        let run = format!("live-{}of{}-{epoch}", settings.shard, settings.shards);
        let now = Instant::now();
        Ok(Self {
            policy: policy_now(&ports)?,
            run: RunId::new(run).map_err(|error| Cause::of("run", &error))?,
            epoch,
            shard,
            recent: Recent::default(),
            changes,
            offsets,
            ends,
            last_told_at: None,
            pending: FuturesUnordered::new(),
            asks: Vec::new(),
            to_merge: VecDeque::new(),
            looks: 0,
            merges: 0,
            is_asking: false,
            is_putting: false,
            changes_turn: Turn::every(ASK_EVERY),
            bounds_turn: Turn::every(ASK_EVERY),
            save_turn: Turn::every(settings.save_every),
            saving: None,
            lease_valid_until: lease.valid_until(),
            renew_at: now + lease.renew_every(),
            lease: Some(lease),
            failures: 0,
            not_before: now,
            ports,
            settings,
        })
    }

    /// Applies what was told.
    fn heard(&mut self, records: &[ReadRecord]) {
        let (now, clock) = (Instant::now(), SystemTime::now());
        for read in records {
            let age = clock.duration_since(read.appended_at).unwrap_or_default();
            match Told::of(read) {
                Told::Message { room, message, is_live: Some(is_live) } => {
                    // What is older the store has shown long ago.
                    if age < KEPT_FOR {
                        self.recent.note(now, room, message, is_live);
                    }
                    self.shard.message(room, message, is_live);
                }
                Told::Message { room, is_live: None, .. } | Told::RoomDeleted { room } => self.shard.room_changed(room),
                Told::Member { room, account } => self.asks.push((account, room)),
                Told::Nothing => {}
            }
            self.offsets.insert(read.place.partition, read.place.offset + 1);
        }
        self.last_told_at = records.last().map(|read| read.appended_at).or(self.last_told_at);
        metrics::counter!("lanner_follow_events_total", "job" => NAME).increment(records.len() as u64);
    }

    /// True when everything is told that stood in the log when this run began.
    fn has_caught_up(&mut self) -> bool {
        let offsets = &self.offsets;
        self.ends.retain(|partition, end| offsets.get(partition).is_none_or(|offset| offset < end));
        self.ends.is_empty()
    }

    /// Begins what is due.
    fn tick(&mut self) -> Result<(), Cause> {
        let now = Instant::now();
        self.recent.expire(now);
        self.renew(now)?;
        if now < self.not_before {
            return Ok(());
        }
        let policy = policy_now(&self.ports)?;
        if policy != self.policy {
            self.policy = policy;
            self.shard.forget_all();
        }
        if self.changes_turn.begins(now) {
            self.pending.push(effects::changed(&self.ports, self.changes.after()));
        }
        if self.bounds_turn.begins(now) {
            self.pending.push(effects::bounds(&self.ports));
        }
        self.read();
        if self.has_caught_up() {
            self.write(now);
            self.save(now);
        }
        Ok(())
    }

    fn renew(&mut self, now: Instant) -> Result<(), Cause> {
        if now >= self.lease_valid_until {
            return Err(Cause::new("lease", "the lease on the shard is over"));
        }
        if now >= self.renew_at
            && let Some(lease) = self.lease.take()
        {
            self.pending.push(effects::renew(&self.ports, lease));
        }
        Ok(())
    }

    /// Begins to look up and to read what is dirty.
    fn read(&mut self) {
        if !self.is_asking && !self.asks.is_empty() {
            self.is_asking = true;
            let many = ASK_OF.min(self.asks.len());
            self.pending.push(effects::ask(&self.ports, self.asks.drain(..many).collect()));
        }
        while self.looks < LOOKS_MAX && self.to_merge.len() < 2 * LOOK_AT {
            let dirty = self.shard.take_dirty(LOOK_AT);
            if dirty.is_empty() {
                break;
            }
            self.looks += 1;
            self.pending.push(effects::look(&self.ports, dirty));
        }
        while self.merges < self.settings.in_flight
            && let Some((id, rooms)) = self.to_merge.pop_front()
        {
            self.merges += 1;
            self.pending.push(effects::merge(&self.ports, id, rooms, self.policy));
        }
    }

    /// Begins to write limits whose time has come.
    fn write(&mut self, now: Instant) {
        if self.is_putting {
            return;
        }
        let (policy, epoch, clock) = (self.policy, self.ports.epoch, Timestamp::now());
        let due = self.shard.due(now, PUT_MAX, |newest| counted_at(newest, clock, &policy, epoch));
        if due.is_empty() {
            return;
        }
        let rows = due.iter().map(|due| self.row(due, clock)).collect();
        self.is_putting = true;
        self.pending.push(effects::put(&self.ports, due, rows));
    }

    fn row(&self, due: &Due, clock: Timestamp) -> LimitRow {
        let Stored { plan_version, newest, rooms } = due.limit;
        LimitRow {
            organization: due.id,
            policy: self.policy,
            version: Version { plan_version, as_of: due.as_of, collected_at: clock },
            standing: newest.first_visible_message_id.map_or(Standing::NoCountLimit, Standing::Limited),
            oldest_visible_message_id: newest.oldest_visible_message_id,
            visible_messages: newest.visible_messages,
            rooms,
            run: self.run.clone(),
            previous_first_visible_message_id: None,
            rooms_opened: 0,
            messages_read: 0,
            computed_at: clock,
        }
    }

    /// Begins to save what has changed, or goes on with it.
    fn save(&mut self, now: Instant) {
        // Who came or went of an account that is asked for is not in any set yet: the place would be behind it.
        if self.knows_what_it_heard() && self.save_turn.begins(now) {
            let left = self.shard.take_unsaved();
            self.saving = Some(Saving { place: self.place(), left, writing: Vec::new() });
            self.save_some();
        }
    }

    fn knows_what_it_heard(&self) -> bool {
        self.asks.is_empty() && !self.is_asking
    }

    fn place(&self) -> saving::Place {
        saving::Place {
            shards: self.settings.shards,
            epoch: self.epoch,
            offsets: self.offsets.clone(),
            changes: self.changes.settled(),
        }
    }

    /// The next sets, or, after all of them, the place from which they hold.
    fn save_some(&mut self) {
        let Some(saving) = &mut self.saving else { return };
        if saving.left.is_empty() {
            self.pending.push(effects::save_place(&self.ports, self.settings.shard, saving.place.clone()));
            return;
        }
        let many = SAVE_MAX.min(saving.left.len());
        saving.writing = saving.left.drain(..many).collect();
        let value = |id: &OrganizationId| (*id, saving::value_of(self.shard.saved(*id).as_ref()));
        self.pending.push(effects::save(&self.ports, saving.writing.iter().map(value).collect()));
    }

    fn saving_ended(&mut self) {
        // What was not saved is saved next time.
        let saving = self.saving.take();
        for id in saving.into_iter().flat_map(|saving| saving.writing.into_iter().chain(saving.left)) {
            self.shard.save_again(id);
        }
        self.save_turn.ended();
    }

    /// Takes note of what became of something.
    fn became(&mut self, effect: Effect) -> Result<(), Cause> {
        match effect {
            Effect::Looked(ids, answer) => {
                self.looks -= 1;
                match answer {
                    Ok(found) => ids.iter().zip(found).for_each(|(id, (found, rooms))| self.looked(*id, found, rooms)),
                    Err(error) => {
                        ids.into_iter().for_each(|id| self.shard.failed(id));
                        self.port_failed("directory", &error);
                    }
                }
            }
            Effect::Merged { id, rooms, policy, merged } => {
                self.merges -= 1;
                match merged {
                    Ok(merged) => {
                        metrics::counter!("lanner_follow_recomputed_total", "job" => NAME).increment(1);
                        metrics::counter!("lanner_follow_ids_read_total", "job" => NAME)
                            .increment(merged.messages_read);
                        self.shard.install(id, &rooms, policy.n(), merged, &self.recent);
                    }
                    Err(error) => {
                        self.shard.failed(id);
                        self.port_failed("messages", &error);
                    }
                }
            }
            Effect::Asked(asked, answer) => {
                self.is_asking = false;
                match answer {
                    Ok(found) => {
                        let found = found.into_iter().flatten().map(|participant| participant.organization);
                        found.filter(|id| self.settings.keeps(*id)).for_each(|id| self.shard.mark_dirty(id));
                    }
                    Err(error) => {
                        self.asks.extend(asked);
                        self.port_failed("directory", &error);
                    }
                }
            }
            Effect::Changed(answer) => match answer {
                Ok(page) => {
                    let (news, more) = self.changes.answered(Instant::now(), &page);
                    news.into_iter().filter(|id| self.settings.keeps(*id)).for_each(|id| self.shard.mark_dirty(id));
                    self.changes_turn.ended();
                    if more {
                        self.changes_turn.next = Instant::now();
                    }
                }
                Err(error) => {
                    self.changes_turn.ended();
                    self.port_failed("directory", &error);
                }
            },
            Effect::Put(due, answer) => {
                self.is_putting = false;
                self.put(&due, answer);
            }
            Effect::Released(id, answer) => {
                if let Err(error) = answer {
                    self.shard.mark_dirty(id);
                    self.port_failed("limits", &error);
                }
            }
            Effect::Saved(answer) => match answer {
                Ok(()) => {
                    self.saving.iter_mut().for_each(|saving| saving.writing.clear());
                    self.save_some();
                }
                Err(error) => {
                    self.saving_ended();
                    self.failed("state", &error);
                }
            },
            Effect::Placed(answer) => {
                self.saving_ended();
                if let Err(error) = answer {
                    self.failed("state", &error);
                }
            }
            Effect::Renewed(lease, answer) => return self.renewed(lease, answer),
            Effect::Bounds(answer) => {
                self.bounds_turn.ended();
                match answer {
                    Ok(bounds) => self.measure(&bounds),
                    Err(error) => self.failed("log", &error),
                }
            }
        }
        Ok(())
    }

    fn looked(&mut self, id: OrganizationId, found: Option<Organization>, rooms: Vec<RoomId>) {
        let window = Window::at(Timestamp::now(), &self.policy, self.ports.epoch);
        match self.shard.looked(id, found.as_ref(), &rooms, self.policy.n(), window) {
            Looked::Settled => {}
            Looked::Merge => self.to_merge.push_back((id, rooms)),
            // Nobody else marks its limit before the next run of the batch path.
            Looked::Dropped => {
                if let Some(organization) = found {
                    self.pending.push(effects::release(&self.ports, organization, self.run.clone()));
                }
            }
        }
    }

    fn put(&mut self, due: &[Due], answer: Result<Vec<PutOutcome>, PortError>) {
        let again_at = Instant::now() + self.settings.write_every;
        let outcomes = match answer {
            Ok(outcomes) => outcomes,
            Err(error) => {
                due.iter().for_each(|due| self.shard.not_written(due.id, again_at));
                return self.port_failed("limits", &error);
            }
        };
        for (due, outcome) in due.iter().zip(outcomes) {
            let outcome = match outcome {
                PutOutcome::Stored { .. } => {
                    self.shard.written(due, again_at);
                    "stored"
                }
                // Somebody's clock is ahead of this one.
                PutOutcome::Superseded => {
                    self.shard.not_written(due.id, again_at);
                    "superseded"
                }
                PutOutcome::Released => {
                    self.shard.not_written(due.id, again_at);
                    self.shard.mark_dirty(due.id);
                    "released"
                }
            };
            metrics::counter!("lanner_follow_writes_total", "job" => NAME, "outcome" => outcome).increment(1);
        }
    }

    fn renewed(&mut self, lease: Lease, answer: Result<(), RenewError>) -> Result<(), Cause> {
        match answer {
            Ok(()) => {
                self.lease_valid_until = lease.valid_until();
                self.renew_at = Instant::now() + lease.renew_every();
            }
            Err(error @ RenewError::Lost { .. }) => return Err(Cause::of("lease", &error)),
            Err(RenewError::State(error)) => {
                self.renew_at = Instant::now() + ASK_EVERY;
                self.failed("state", &error);
            }
        }
        self.lease = Some(lease);
        Ok(())
    }

    fn measure(&self, bounds: &BTreeMap<u32, Bounds>) {
        let behind = |(partition, bounds): (&u32, &Bounds)| {
            bounds.next.saturating_sub(self.offsets.get(partition).copied().unwrap_or(bounds.first))
        };
        let lag: u64 = bounds.iter().map(behind).sum();
        let told = self.last_told_at.filter(|_| lag > 0).and_then(|at| SystemTime::now().duration_since(at).ok());
        let counts = self.shard.counts();
        let gauge = |name: &'static str, value: f64| metrics::gauge!(name, "job" => NAME).set(value);
        gauge("lanner_log_lag_records", lag as f64);
        gauge("lanner_follow_lag_seconds", told.unwrap_or_default().as_secs_f64());
        gauge("lanner_follow_organizations", counts.organizations as f64);
        gauge("lanner_follow_dirty_organizations", counts.dirty as f64);
        gauge("lanner_follow_set_bytes", counts.bytes as f64);
    }

    fn port_failed(&mut self, what: &'static str, error: &PortError) {
        let cause = cause_of(error);
        self.backs_off(what, &cause);
    }

    fn failed(&mut self, what: &'static str, error: &(dyn std::error::Error + 'static)) {
        self.backs_off(what, &Cause::of("unavailable", error));
    }

    fn backs_off(&mut self, what: &'static str, cause: &Cause) {
        let now = Instant::now();
        // Failures that come together are one.
        if now >= self.not_before {
            self.failures = if now >= self.not_before + QUIET { 1 } else { self.failures.saturating_add(1) };
            self.not_before = now + self.settings.backoff.jittered(self.failures);
        }
        tracing::warn!(what, class = cause.class, error = cause.error, "failed: it is tried again");
    }

    /// Saves, and gives the lease back, so that the next one begins at once.
    async fn end(mut self) -> Result<(), Cause> {
        // What is under way is let go: it may have its effect, and is done again.
        self.pending.clear();
        if self.has_caught_up() && self.knows_what_it_heard() {
            self.saving_ended();
            let (place, state) = (self.place(), &*self.ports.state);
            let of_state = |error: StateError| Cause::of("state", &error);
            let ids: Vec<OrganizationId> = self.shard.take_unsaved().into();
            for some in ids.chunks(SAVE_MAX) {
                let sets = some.iter().map(|id| (*id, saving::value_of(self.shard.saved(*id).as_ref()))).collect();
                saving::save(state, sets).await.map_err(of_state)?;
            }
            saving::save_place(state, self.settings.shard, &place).await.map_err(of_state)?;
        }
        match self.lease.take() {
            Some(lease) => lease.release(&*self.ports.state).await.map_err(|error| Cause::of("state", &error)),
            None => Ok(()),
        }
    }
}

/// After a time without failures the next delay is the first again.
const QUIET: Duration = Duration::from_secs(60);
