//! One run of the shard: a task that polls, keeps the sets, and lets everything else be done beside it.

mod outcomes;
mod snapshots;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, SystemTime};

use chat::visibility::Window;
use chat::{AccountId, Epoch, LimitRow, MessageId, OrganizationId, Policy, RoomId, Standing, Timestamp, Version};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use worker::log::{Bounds, ReadRecord};
use worker::supervisor::Context;
use worker::{Cause, Lease, LogConsumer, RenewError};

use super::changes::Changes;
use super::effects::{self, Pending};
use super::leases::{self, Taken};
use super::recent::{KEPT_FOR, Recent};
use super::shard::{Due, Shard, Stored};
use super::start::{Started, start};
use super::status::ShardStatus;
use super::told::Told;
use super::writing::RunIds;
use super::{FollowPorts, NAME, Settings, log_failed, saving, state_failed};
use crate::limits::cause_of;

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
/// How often it is told how the shard is doing.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Beyond the time between two writes of a limit, how long a difference may last that is no drift.
const SETTLE: Duration = Duration::from_secs(2);
/// Sets that are saved at once.
pub(super) const SAVE_MAX: usize = 64;

/// Runs until stopped, or until something fails that another run may do better.
pub(super) async fn run(ports: FollowPorts, settings: Settings, context: Context) -> Result<(), Cause> {
    let Some(mut lease) = leased(&ports, &settings, &context).await? else { return Ok(()) };
    let (started, mut consumer) = match begin(&ports, &settings, &context, &mut lease).await {
        Ok(Some(began)) => began,
        // Nothing is under way: whoever comes next need not wait.
        ended => {
            let released = lease.release(&*ports.state).await.map_err(state_failed);
            return ended.and(released);
        }
    };
    let mut follower = Follower::new(ports, settings, lease, started)?;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        context.pulse.beat();
        let may_poll = follower.asks.len() < ASKS_MAX;
        tokio::select! {
            () = context.stop.cancelled() => break,
            polled = consumer.poll(POLL_MAX, POLL_WAIT), if may_poll => {
                let polled = polled.map_err(log_failed)?;
                follower.heard(&polled.records);
            }
            Some(effect) = follower.pending.next() => follower.became(effect)?,
            _ = tick.tick() => follower.tick()?,
        }
    }
    follower.end().await
}

/// Waits for the lease. `None` when it was stopped before.
async fn leased(ports: &FollowPorts, settings: &Settings, context: &Context) -> Result<Option<Lease>, Cause> {
    let mut waits_for = None;
    while !context.stop.is_cancelled() {
        context.pulse.beat();
        let taken = leases::take(&*ports.state, settings.shard, settings.shards, settings.lease_lives_for).await;
        match taken.map_err(state_failed)? {
            Taken::Lease(lease) => return Ok(Some(lease)),
            Taken::Held { shard, shards } => {
                if waits_for.replace((shard, shards)) != Some((shard, shards)) {
                    tracing::info!(shard, shards, "waits until this shard of so many is not followed any more");
                }
            }
        }
        // Those of two numbers that begin at once must not go on giving way to each other.
        let pause = ASK_EVERY.mul_f64(0.5 + fastrand::f64());
        context.stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
    Ok(None)
}

/// Reads what there is, renewing the lease beside it. `None` when it was stopped before.
async fn begin(
    ports: &FollowPorts,
    settings: &Settings,
    context: &Context,
    lease: &mut Lease,
) -> Result<Option<(Started, Box<dyn LogConsumer>)>, Cause> {
    let n = policy_now(ports)?.n();
    let started = context.stop.run_until_cancelled(start(ports, settings, n, &context.pulse));
    let held = Lease::hold(std::slice::from_mut(lease), &*ports.state, started).await;
    held.map_err(renew_failed)?.transpose()
}

fn renew_failed(error: RenewError) -> Cause {
    match error {
        error @ RenewError::Lost { .. } => Cause::of("lease", &error),
        RenewError::State(error) => state_failed(error),
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
    ids: RunIds,
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
    /// Those whose limits ought to be released and may not be.
    to_release: BTreeSet<OrganizationId>,
    looks: usize,
    merges: usize,
    is_asking: bool,
    is_putting: bool,
    changes_turn: Turn,
    bounds_turn: Turn,
    save_turn: Turn,
    tell_turn: Turn,
    reconcile_turn: Option<Turn>,
    /// The place of the organization that was compared last.
    reconciled_up_to: Option<usize>,
    status: ShardStatus,
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
        let ids = RunIds::of_start(settings.shard, settings.shards, epoch).map_err(|error| cause_of(&error))?;
        let now = Instant::now();
        Ok(Self {
            policy: policy_now(&ports)?,
            ids,
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
            to_release: BTreeSet::new(),
            looks: 0,
            merges: 0,
            is_asking: false,
            is_putting: false,
            changes_turn: Turn::every(ASK_EVERY),
            bounds_turn: Turn::every(ASK_EVERY),
            save_turn: Turn::every(settings.save_every),
            tell_turn: Turn { next: now, ..Turn::every(TELL_EVERY) },
            reconcile_turn: settings.reconcile_every.map(Turn::every),
            reconciled_up_to: None,
            status: ShardStatus::of_start(settings.shard, settings.shards, epoch),
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
            self.reconcile(now);
        }
        if self.tell_turn.begins(now) {
            self.pending.push(effects::tell(&self.ports, self.status.clone()));
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
        self.pending.push(effects::put(&self.ports, &self.ids, due, rows));
    }

    /// Begins to compare the next organization with a batch computation.
    fn reconcile(&mut self, now: Instant) {
        let next = self.shard.next_after(self.reconciled_up_to);
        let is_due = |turn: &&mut Turn| !turn.is_running && turn.next <= now;
        let Some(turn) = self.reconcile_turn.as_mut().filter(is_due) else { return };
        // After the last one the first is next.
        self.reconciled_up_to = next.map(|(place, _)| place);
        if let Some((_, id)) = next.filter(|(_, id)| self.shard.is_current(*id))
            && turn.begins(now)
        {
            self.pending.push(effects::reconcile(&self.ports, id, self.settings.write_every + SETTLE));
        }
    }

    /// Takes note of how far the log has come.
    fn measure(&mut self, bounds: &BTreeMap<u32, Bounds>) {
        let behind = |(partition, bounds): (&u32, &Bounds)| {
            bounds.next.saturating_sub(self.offsets.get(partition).copied().unwrap_or(bounds.first))
        };
        let lag_records: u64 = bounds.iter().map(behind).sum();
        let told_at = self.last_told_at.filter(|_| lag_records > 0);
        let lag = told_at.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
        let (counts, has_caught_up) = (self.shard.counts(), self.has_caught_up());
        self.status = ShardStatus {
            told_at: Timestamp::now(),
            has_caught_up,
            lag_records,
            lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
            organizations: counts.organizations as u64,
            dirty: counts.dirty as u64,
            set_bytes: counts.bytes as u64,
            ..self.status.clone()
        };
        self.status.record();
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
            run: self.ids.live().clone(),
            previous_first_visible_message_id: None,
            rooms_opened: 0,
            messages_read: 0,
            computed_at: clock,
        }
    }
}
