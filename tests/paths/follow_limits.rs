//! `follow-limits` over the embedded adapters: whatever fails and whoever is killed when, soon after every event each limit is what a plain
//! sort of everything says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat::event::{Actor, Decoded, Event, EventId, What, decode};
use chat::message::{MessageState, Verdict, apply};
use chat::visibility::age_cutoff;
use chat::{
    AccountId, Directory, Epoch, Limits, MessageId, OrganizationId, Plan, Policy, Position, RoomId, Standing, Timestamp,
};
use jobs::limits::follow_limits::{self, FollowPorts, Settings, ShardStatus, statuses};
use jobs::messages::append_event;
use support::waiting::{AT_MOST, number_from_env};
use support::{Faults, until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use worker::state::{Expected, Write};
use worker::supervisor::{Outcome, Tree};
use worker::{Backoff, State};

use crate::message_path::{Chat, MS, caller};

pub(crate) const N: usize = 4;
pub(crate) const ORGANIZATIONS: [u64; 2] = [1, 2];
const ACCOUNTS: [u64; 3] = [10, 11, 20];
const ROOMS: u64 = 4;

pub(crate) fn settings(shard: u32, shards: u32) -> Settings {
    let backoff = Backoff::new(2 * MS, 20 * MS, 0.3).expect("a backoff");
    Settings {
        shard,
        shards,
        write_every: 10 * MS,
        save_every: 150 * MS,
        lease_lives_for: 600 * MS,
        ..Settings::of_one(backoff)
    }
}

fn policy() -> Policy {
    Policy::new(N as u32, Some(Policy::MAX_AGE_MS)).expect("a policy")
}

/// What matters of a limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    first_visible: Option<MessageId>,
    visible: u32,
    rooms: u32,
}

pub(crate) struct History {
    pub(crate) chat: Chat,
    pub(crate) random: fastrand::Rng,
    pub(crate) policy: Policy,
    /// When the first event happened, and the time between two; now, where nothing is said.
    times: Option<(Timestamp, Duration)>,
    number: u64,
    seen: usize,
    states: BTreeMap<(RoomId, MessageId), MessageState>,
}

impl History {
    pub(crate) async fn new(seed: u64) -> Self {
        let (chat, random) = (Chat::new().await, fastrand::Rng::with_seed(seed));
        Self { chat, random, policy: policy(), times: None, number: 0, seen: 0, states: BTreeMap::new() }
    }

    /// One whose events happened from `first` on, so far from each other.
    pub(crate) async fn of_long_ago(seed: u64, policy: Policy, first: Timestamp, every: Duration) -> Self {
        Self { policy, times: Some((first, every)), ..Self::new(seed).await }
    }

    pub(crate) async fn event(&mut self) {
        self.number += 1;
        let account = AccountId::from_bits(ACCOUNTS[self.random.usize(..ACCOUNTS.len())]);
        let room = RoomId::from_bits(100 * (1 + self.random.u64(..ROOMS)));
        let organization = caller(account.get()).organization;
        let at = self.times.map_or_else(Timestamp::now, |(first, every)| {
            first.plus_millis(self.number * u64::try_from(every.as_millis()).expect("milliseconds"))
        });
        let id = Epoch::default().first_id(at).get() - (1 << 30) + self.number;
        let known: Vec<(RoomId, MessageId)> = self.states.keys().rev().take(12).copied().collect();
        let (known_room, message) = match known.get(self.random.usize(..12)) {
            Some((room, message)) => (*room, *message),
            None => (room, MessageId::from_bits(id)),
        };
        let member = AccountId::from_bits(ACCOUNTS[self.random.usize(..ACCOUNTS.len())]);
        let body = format!("text {}", self.number);
        let (room, what) = match self.random.u32(0..100) {
            0..50 => {
                let message = MessageId::from_bits(id);
                (room, What::MessageCreated { message, author: account, author_organization: organization, body })
            }
            50..55 => (known_room, What::MessageUpdated { message, body }),
            // Not everybody may: some of them change nothing.
            55..72 => (known_room, What::MessageDeleted { message, as_admin: self.random.bool() }),
            72..84 => (room, What::RoomMemberJoined { member }),
            84..92 => (room, What::RoomMemberLeft { member }),
            92..95 => (room, What::RoomDeleted),
            _ => {
                let organization = OrganizationId::from_bits(ORGANIZATIONS[self.random.usize(..2)]);
                let plan = if self.random.bool() { Plan::Free } else { Plan::Paid };
                self.chat.directory.set_plan(organization, plan).await.expect("a plan");
                return;
            }
        };
        let id = EventId::new(&format!("event-{}", self.number)).expect("an id");
        let event = Event { id, at, by: Actor { account, organization }, room, what };
        append_event(&self.chat.events, &event).await.expect("appended");
    }

    /// Folds what was accepted since.
    async fn fold(&mut self) {
        let log = self.chat.log().await;
        // The log is read whole, and partitions in any order: begin anew.
        self.states.clear();
        self.seen = log.len();
        for read in log {
            let decoded = decode(&read.record.key, &read.record.headers, &read.record.value);
            let Decoded::Event(event) = decoded else { panic!("{decoded:?}") };
            let Some(message) = event.message() else { continue };
            let position = Position::new(0, read.place.offset).expect("an offset");
            let key = (event.room, message);
            if let Verdict::Changed(state) | Verdict::Buried(state) = apply(self.states.get(&key), &event, position) {
                self.states.insert(key, state);
            }
        }
    }

    /// By a plain sort. None for who is not limited.
    async fn expected(&self) -> Vec<Option<Limit>> {
        let ids = ORGANIZATIONS.map(OrganizationId::from_bits);
        let organizations = self.chat.directory.organizations(&ids).await.expect("organizations");
        let rooms = self.chat.directory.rooms_of(&ids).await.expect("rooms");
        let cutoff = age_cutoff(Timestamp::now(), &self.policy, Epoch::default());
        let limit = |(organization, rooms): (Option<chat::Organization>, Vec<RoomId>)| {
            let rooms: BTreeSet<RoomId> = rooms.into_iter().collect();
            let live = self.states.iter().filter(|((room, _), state)| rooms.contains(room) && !state.is_deleted());
            let mut live: Vec<MessageId> = live.map(|((_, id), _)| *id).filter(|id| *id >= cutoff).collect();
            live.sort_unstable_by(|one, other| other.cmp(one));
            let first_visible = (live.len() > N).then(|| live[N - 1]);
            let limit = Limit { first_visible, visible: live.len().min(N) as u32, rooms: rooms.len() as u32 };
            organization.filter(|organization| organization.plan == Plan::Free).map(|_| limit)
        };
        organizations.into_iter().zip(rooms).map(limit).collect()
    }

    async fn stored(&self) -> Vec<Option<Limit>> {
        let rows = self.chat.limits.get(&ORGANIZATIONS.map(OrganizationId::from_bits)).await.expect("limits");
        let limit = |row: chat::LimitRow| Limit {
            first_visible: row.first_visible_message_id(),
            visible: row.visible_messages,
            rooms: row.rooms,
        };
        let rows = rows.into_iter().map(|row| row.filter(|row| row.standing != Standing::Released));
        rows.map(|row| row.map(limit)).collect()
    }

    pub(crate) async fn check(&mut self) {
        until("the read model is built", async || self.chat.is_built().await).await;
        self.fold().await;
        let deadline = tokio::time::Instant::now() + AT_MOST;
        loop {
            let (stored, expected) = (self.stored().await, self.expected().await);
            if stored == expected {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{stored:?} is stored, it ought to be {expected:?}");
            tokio::time::sleep(5 * MS).await;
        }
    }

    pub(crate) async fn post(&mut self, room: u64) {
        self.number += 1;
        let message = MessageId::from_bits(Epoch::default().first_id(Timestamp::now()).get() - (1 << 30) + self.number);
        let (account, organization) = (AccountId::from_bits(10), caller(10).organization);
        let body = format!("text {}", self.number);
        let event = Event {
            id: EventId::new(&format!("event-{}", self.number)).expect("an id"),
            at: Timestamp::now(),
            by: Actor { account, organization },
            room: RoomId::from_bits(room),
            what: What::MessageCreated { message, author: account, author_organization: organization, body },
        };
        append_event(&self.chat.events, &event).await.expect("appended");
    }

    /// Follows until `work` is done, and stops in order.
    pub(crate) async fn while_followed(&mut self, settings: Settings, work: impl AsyncFnOnce(&mut Self)) {
        let stop = CancellationToken::new();
        let tree = self.chat.follow_tree(settings, self.policy, &Faults::new(1, 0));
        let following = tokio::spawn(tree.run(stop.clone()));
        work(self).await;
        stop.cancel();
        assert_eq!(following.await.expect("no panic"), Outcome::Stopped);
    }

    async fn shard(&self) -> Option<ShardStatus> {
        statuses(&self.chat.state).await.expect("statuses").pop()
    }

    pub(crate) fn follow(&self, settings: Settings, faults: &Faults) -> AbortOnDropHandle<Outcome> {
        self.follow_over(self.chat.follow_ports(self.policy, faults), settings)
    }

    pub(crate) fn follow_over(&self, ports: FollowPorts, settings: Settings) -> AbortOnDropHandle<Outcome> {
        let tree = Tree::new("process", vec![follow_limits::child(ports, settings)]).expect("a tree");
        AbortOnDropHandle::new(tokio::spawn(tree.run(CancellationToken::new())))
    }
}

fn histories() -> u64 {
    (number_from_env("LANNER_SCHEDULES", 10) / 5).clamp(1, 200)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soon_after_every_event_each_limit_is_the_brute_force_one() {
    for seed in 0..histories() {
        let mut history = History::new(seed).await;
        let _read_model = history.chat.read_model();
        let _following = history.follow(settings(0, 1), &Faults::new(seed, 0));
        for _ in 0..40 {
            history.event().await;
            history.check().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_with_failing_ports_and_other_shards_no_limit_is_off() {
    for seed in 0..histories() {
        let mut history = History::new(100 + seed).await;
        let _read_model = history.chat.read_model();
        for round in 0..6 {
            let shards = history.random.u32(1..4);
            let faults = Faults::new(seed * 100 + round, 10);
            let following: Vec<_> = (0..shards)
                .map(|shard| history.follow(settings(shard, shards), &faults.of_port(10 + u64::from(shard))))
                .collect();
            for _ in 0..history.random.usize(1..12) {
                history.event().await;
                tokio::time::sleep(history.random.u32(0..60) * MS).await;
            }
            if history.random.bool() {
                history.check().await;
            }
            drop(following);
            // Some events come while nobody follows.
            history.event().await;
        }
        let _following = history.follow(settings(0, 1), &Faults::new(seed, 0));
        history.check().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_saved_is_gone_on_with_and_what_was_torn_is_read_from_the_store() {
    let mut history = History::new(7).await;
    let _read_model = history.chat.read_model();
    let work = async |history: &mut History| {
        for _ in 0..20 {
            history.event().await;
        }
        history.chat.directory.set_plan(OrganizationId::from_bits(1), Plan::Free).await.expect("a plan");
        history.check().await;
    };
    history.while_followed(settings(0, 1), work).await;
    let state = &history.chat.state;
    let records = state.list("follow-limits-set/", None, 10).await.expect("records");
    assert!(!records.is_empty(), "nothing was saved at the stop");
    for record in records {
        let torn = &record.value[..record.value.len() / 2];
        let write = Write { key: &record.key, value: torn, expected: Expected::Anything, lives_for: None };
        state.put(write).await.expect("torn");
    }
    history.event().await;
    history.while_followed(settings(0, 1), History::check).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_saved_of_who_was_on_another_plan_meanwhile_is_not_believed() {
    let mut history = History::new(8).await;
    let _read_model = history.chat.read_model();
    let organization = OrganizationId::from_bits(1);
    // A restart that reads nothing again, and is not set right later, must do with what was saved.
    let settings = Settings { rewind: 0, reconcile_every: None, ..settings(0, 1) };
    let set_plan = async |history: &History, plan| {
        history.chat.directory.set_plan(organization, plan).await.expect("a plan");
    };
    set_plan(&history, Plan::Free).await;
    history
        .while_followed(settings, async |history| {
            for _ in 0..3 {
                history.post(100).await;
            }
            history.check().await;
        })
        .await;
    set_plan(&history, Plan::Paid).await;
    // Without its place what was saved is of no use, and nothing tells of a change before the next start.
    history.chat.state.delete("follow-limits-place/0", None).await.expect("deleted");
    history
        .while_followed(settings, async |history| {
            for _ in 0..3 {
                history.post(100).await;
            }
            until("the read model is built", async || history.chat.is_built().await).await;
            let place = async || history.chat.state.get("follow-limits-place/0").await.expect("a place");
            let before = place().await;
            until("a place is saved", async || place().await != before).await;
        })
        .await;
    set_plan(&history, Plan::Free).await;
    history.while_followed(settings, History::check).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_drifted_is_told_and_made_anew() {
    let settings = Settings { reconcile_every: Some(20 * MS), ..settings(0, 1) };
    let mut history = History::new(9).await;
    let _read_model = history.chat.read_model();
    let organization = OrganizationId::from_bits(1);
    history.chat.directory.set_plan(organization, Plan::Free).await.expect("a plan");
    history
        .while_followed(settings, async |history| {
            for _ in 0..7 {
                history.post(100).await;
            }
            history.check().await;
            until("some are compared", async || history.shard().await.is_some_and(|shard| shard.reconciled > 2)).await;
            assert_eq!(history.shard().await.expect("a shard").drifted, 0);
            // Somebody writes what is wrong, by the rules.
            let stored = history.chat.limits.get(&[organization]).await.expect("limits").pop().flatten();
            let right = stored.expect("a limit");
            let mut wrong = right.clone();
            wrong.standing = Standing::Limited(right.first_visible_message_id().expect("a boundary").next());
            wrong.version.as_of = Timestamp::now();
            history.chat.limits.put(&[wrong]).await.expect("put");
            history.check().await;
            until("it is told", async || history.shard().await.is_some_and(|shard| shard.drifted == 1)).await;
        })
        .await;
}

/// Leases that no machine is too slow to renew.
fn with_long_leases(shard: u32, shards: u32) -> Settings {
    Settings { lease_lives_for: Duration::from_secs(60), ..settings(shard, shards) }
}

/// The leases that are held.
async fn at_work(history: &History) -> Vec<String> {
    let held = history.chat.state.list("follow-limits/", None, 10).await.expect("records");
    held.into_iter().map(|record| record.key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_of_another_number_wait_until_the_old_ones_are_gone() {
    let mut history = History::new(10).await;
    let _read_model = history.chat.read_model();
    history.chat.directory.set_plan(OrganizationId::from_bits(1), Plan::Free).await.expect("a plan");
    let mut new = Vec::new();
    history
        .while_followed(with_long_leases(0, 1), async |history| {
            until("it works", async || at_work(history).await == ["follow-limits/of1/0"]).await;
            new.extend((0..2).map(|shard| history.follow(with_long_leases(shard, 2), &Faults::new(1, 0))));
            for _ in 0..20 {
                history.post(100).await;
                tokio::time::sleep(100 * MS).await;
                assert_eq!(at_work(history).await, ["follow-limits/of1/0"], "those of one number work");
            }
        })
        .await;
    until("the new ones work", async || at_work(&history).await.len() == 2).await;
    assert_eq!(at_work(&history).await, ["follow-limits/of2/0", "follow-limits/of2/1"]);
    history.post(100).await;
    history.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_shards_of_several_numbers_that_begin_at_once_those_of_one_work() {
    let mut history = History::new(11).await;
    let _read_model = history.chat.read_model();
    let faults = Faults::new(1, 0);
    let all = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)];
    let _following = all.map(|(shard, shards)| history.follow(with_long_leases(shard, shards), &faults));
    let working = async |history: &History| {
        let told = statuses(&history.chat.state).await.expect("statuses");
        told.into_iter().map(|status| status.shards).collect::<BTreeSet<_>>()
    };
    until("some work", async || !working(&history).await.is_empty()).await;
    for _ in 0..20 {
        history.post(100).await;
        tokio::time::sleep(100 * MS).await;
        assert_eq!(working(&history).await.len(), 1, "those of one number work");
    }
    history.check().await;
}
