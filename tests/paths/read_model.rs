//! `build-read-model` over the embedded adapters: whatever fails and whoever is killed when, the read model is the fold of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chat::event::{Actor, Event, EventId, What};
use chat::message::{MessageState, Verdict, apply};
use chat::{
    AccountId, Directory, Epoch, Ledger, MessageId, MessageStore, NoHeads, Organization, OrganizationId, Plan,
    Position, RoomId, Timestamp,
};
use embedded::{
    Access, DataDir, LmdbLog, LmdbMessageStore, LmdbMessages, MapSize, PackedIndex, SqliteDirectory, SqliteLedger,
    SqliteState,
};
use import::Account;
use jobs::messages::build_read_model::{self, Settings};
use jobs::messages::{EVENT_LOG, MessagePorts, Quarantined, READABLE_LOG, append_event};
use support::waiting::number_from_env;
use support::{Faults, Flaky, until};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use worker::log::{LogRecord, Missing, Place, ReadRecord};
use worker::supervisor::{Outcome, Tree};
use worker::{Backoff, Log};

const MS: Duration = Duration::from_millis(1);
const ROOMS: u64 = 6;
const ACCOUNTS: u64 = 5;
/// Ports that can fail.
const PORTS: u64 = 5;
/// Commits of a short run.
const COMMITS_MAX: u64 = 6;

struct Setup {
    events: LmdbLog,
    readable: LmdbLog,
    store: LmdbMessageStore,
    directory: SqliteDirectory,
    ledger: SqliteLedger,
    state: SqliteState,
    _folder: TempDir,
}

impl Setup {
    async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let data = DataDir::open(folder.path(), Access::Write, "test").await.expect("a data directory");
        let log = |name: &str| LmdbLog::open(name, &data.log(name), 4, 500 * MS, MapSize::default()).expect("a log");
        let messages = LmdbMessages::open(&data.messages(), MapSize::default()).expect("messages");
        let index = PackedIndex::open(&data.live_ids(), MapSize::default(), Epoch::default()).expect("an index");
        let directory = SqliteDirectory::open(&data).await.expect("a directory");
        let free = Organization { id: organization(), plan: Plan::Free, plan_version: 0 };
        directory.put_organizations(&[free]).await.expect("an organization");
        let account = |id| Account { id: AccountId::from_bits(id), organization: organization(), active: true };
        let accounts: Vec<Account> = (1..=ACCOUNTS).map(account).collect();
        directory.put_accounts(&accounts).await.expect("accounts");
        Self {
            events: log(EVENT_LOG),
            readable: log(READABLE_LOG),
            store: LmdbMessageStore::new(messages, index),
            directory,
            ledger: SqliteLedger::open(&data).await.expect("a ledger"),
            state: SqliteState::open(&data).await.expect("a state"),
            _folder: folder,
        }
    }

    /// Ports 1 to [`PORTS`], of whose calls some fail.
    fn ports(&self, faults: &Faults) -> MessagePorts {
        MessagePorts {
            events: Arc::new(Flaky::new(self.events.clone(), faults.of_port(5))),
            readable: Arc::new(Flaky::new(self.readable.clone(), faults.of_port(1))),
            messages: Arc::new(Flaky::new(self.store.clone(), faults.of_port(2))),
            memberships: Some(Arc::new(Flaky::new(self.directory.clone(), faults.of_port(3)))),
            heads: Arc::new(NoHeads),
            ledger: Arc::new(Flaky::new(self.ledger.clone(), faults.of_port(4))),
            state: Arc::new(self.state.clone()),
            epoch: Epoch::default(),
        }
    }

    fn tree(&self, faults: &Faults) -> Tree {
        let backoff = Backoff::new(2 * MS, 20 * MS, 0.3).expect("a backoff");
        let settings =
            Settings { backoff, commit_every: 20 * MS, high_water: 64, poll_max: 32, ..Settings::embedded() };
        let consumer = build_read_model::consumer(&self.ports(faults), settings, Missing::First);
        Tree::new("process", vec![consumer.expect("settings").child()]).expect("a tree")
    }

    /// Runs until everything is built, stops, and checks.
    async fn finish(&self, faults: &Faults) {
        let stop = CancellationToken::new();
        let running = tokio::spawn(self.tree(faults).run(stop.clone()));
        until("everything is built", async || self.is_built().await).await;
        stop.cancel();
        assert_eq!(running.await.expect("no panic"), Outcome::Stopped);
        self.check().await;
    }

    async fn all(&self, log: &LmdbLog) -> Vec<ReadRecord> {
        let (mut from, mut many) = (Vec::new(), 0);
        for partition in 0..4 {
            from.push(Place { partition, offset: 0 });
            many += log.bounds(partition).await.expect("bounds").next;
        }
        let (mut follower, mut records) = (log.follow(&from).await.expect("a follower"), Vec::new());
        while records.len() < usize::try_from(many).expect("few") {
            records.extend(follower.poll(1_000, 100 * MS).await.expect("a poll").records);
        }
        records
    }

    async fn is_built(&self) -> bool {
        for partition in 0..4 {
            let next = self.events.bounds(partition).await.expect("bounds").next;
            let committed = self.events.committed(build_read_model::NAME, partition).await.expect("an offset");
            if committed.unwrap_or(0) < next {
                return false;
            }
        }
        true
    }

    /// The read model is the fold of the log; what is readable is in the order of the log.
    async fn check(&self) {
        let log = self.all(&self.events).await;
        let (mut expected, mut ids, mut members) =
            (BTreeMap::new(), BTreeMap::<RoomId, Vec<EventId>>::new(), BTreeSet::new());
        let mut broken = 0;
        for read in &log {
            let Some(event) = event_of(read) else {
                broken += 1;
                continue;
            };
            ids.entry(event.room).or_default().push(event.id.clone());
            fold(&mut expected, &event, read.place.offset);
            match event.what {
                What::RoomMemberJoined { member } => _ = members.insert((event.room, member)),
                What::RoomMemberLeft { member } => _ = members.remove(&(event.room, member)),
                What::RoomDeleted => members.retain(|(room, _)| *room != event.room),
                _ => {}
            }
        }
        let keys: Vec<(RoomId, MessageId)> = expected.keys().copied().collect();
        let states = self.store.states(&keys).await.expect("states");
        for (key, state) in keys.iter().zip(states) {
            assert_eq!(state.as_ref(), expected.get(key), "message {key:?}");
        }
        let mut readable: BTreeMap<RoomId, Vec<EventId>> = BTreeMap::new();
        let mut live = BTreeMap::new();
        for read in self.all(&self.readable).await {
            let event = event_of(&read).expect("only events are readable");
            assert!(header(&read, "ce_place").is_some());
            if let Some(message) = event.message() {
                let told = header(&read, "ce_live").expect("what became of the message");
                live.insert((event.room, message), told == "true");
            }
            let told = readable.entry(event.room).or_default();
            if !told.contains(&event.id) {
                told.push(event.id);
            }
        }
        assert_eq!(readable, ids, "what is readable");
        for (key, is_live) in live {
            let expected = expected.get(&key).is_some_and(|state| !state.is_deleted());
            assert_eq!(is_live, expected, "what was told at last of message {key:?}");
        }
        let aside = self.ledger.unreadable(1_000).await.expect("a listing");
        let places: BTreeSet<String> = aside
            .iter()
            .map(|message| {
                let kept: Quarantined = serde_json::from_slice(&message.body).expect("JSON");
                assert!(!message.cause.is_empty());
                format!("{}/{}", kept.partition, kept.offset)
            })
            .collect();
        assert_eq!(places.len(), broken, "what is put aside");
        let rooms: BTreeSet<RoomId> = members.iter().map(|(room, _)| *room).collect();
        let known = self.directory.rooms_of(&[organization()]).await.expect("rooms");
        assert_eq!(known[0].iter().copied().collect::<BTreeSet<_>>(), rooms, "memberships");
    }
}

fn header(read: &ReadRecord, name: &str) -> Option<String> {
    let value = read.record.headers.iter().find(|(known, _)| known == name)?;
    Some(String::from_utf8_lossy(&value.1).into_owned())
}

fn event_of(read: &ReadRecord) -> Option<Event> {
    match chat::event::decode(&read.record.key, &read.record.headers, &read.record.value) {
        chat::event::Decoded::Event(event) => Some(event),
        _ => None,
    }
}

fn fold(states: &mut BTreeMap<(RoomId, MessageId), MessageState>, event: &Event, offset: u64) {
    let Some(message) = event.message() else { return };
    let key = (event.room, message);
    let position = Position::new(0, offset).expect("an offset");
    if let Verdict::Changed(state) | Verdict::Buried(state) = apply(states.get(&key), event, position) {
        states.insert(key, state);
    }
}

fn organization() -> OrganizationId {
    OrganizationId::from_bits(1)
}

/// A message to a room by the first account.
fn post(number: u64, room: u64) -> Event {
    let by = Actor { account: AccountId::from_bits(1), organization: organization() };
    let body = format!("text {number}");
    Event {
        id: EventId::new(&format!("event-{number}")).expect("an id"),
        at: Timestamp::from_millis(1_790_000_000_000 + number),
        by,
        room: RoomId::from_bits(room),
        what: What::MessageCreated {
            message: MessageId::from_bits(1 << 40),
            author: by.account,
            author_organization: organization(),
            body,
        },
    }
}

/// The next of a random history: everybody tries everything.
fn random_event(random: &mut fastrand::Rng, number: u64) -> Event {
    let message = MessageId::from_bits((1 << 40) + random.u64(..=number / 3));
    let account = |random: &mut fastrand::Rng| AccountId::from_bits(1 + random.u64(..ACCOUNTS));
    let by = Actor { account: account(random), organization: organization() };
    let body = format!("text {number}");
    let what = match random.u32(0..20) {
        0..10 => What::MessageCreated { message, author: by.account, author_organization: organization(), body },
        10..13 => What::MessageUpdated { message, body },
        13..15 => What::MessageDeleted { message, as_admin: random.u32(0..3) == 0 },
        15..17 => What::RoomMemberJoined { member: account(random) },
        17 => What::RoomMemberLeft { member: account(random) },
        18 => What::RoomCreated,
        _ => What::RoomDeleted,
    };
    Event {
        id: EventId::new(&format!("event-{number}")).expect("an id"),
        at: Timestamp::from_millis(1_790_000_000_000 + number),
        by,
        room: RoomId::from_bits(1 + random.u64(..ROOMS)),
        what,
    }
}

/// A record that is no event, in the lane of a room or of nobody.
fn broken(random: &mut fastrand::Rng) -> LogRecord {
    let key = if random.bool() { b"3".to_vec() } else { vec![0xff, 0, 7] };
    LogRecord {
        key,
        headers: vec![("ce_type".to_owned(), b"lanner.message.created.v1".to_vec())],
        value: b"{".to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_with_failing_ports_the_read_model_is_the_fold_of_the_log() {
    let setup = Setup::new().await;
    let mut random = fastrand::Rng::with_seed(5);
    let mut number = 0;
    for round in 0..8 {
        for _ in 0..60 {
            append_event(&setup.events, &random_event(&mut random, number)).await.expect("appended");
            number += 1;
        }
        setup.events.append(vec![broken(&mut random)]).await.expect("appended");
        let running =
            AbortOnDropHandle::new(tokio::spawn(setup.tree(&Faults::new(round, 10)).run(CancellationToken::new())));
        tokio::time::sleep(random.u32(20..700) * MS).await;
        drop(running);
    }
    setup.finish(&Faults::new(99, 5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_each_call_of_each_port_the_read_model_is_the_fold_of_the_log() {
    let mut died = 0;
    for seed in 0..(number_from_env("LANNER_SCHEDULES", 10) / 10).clamp(1, 10) {
        let setup = Setup::new().await;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut number = 0;
        for (port, call) in (1..=PORTS).flat_map(|port| (1..=5).map(move |call| (port, call))) {
            for _ in 0..12 {
                append_event(&setup.events, &random_event(&mut random, number)).await.expect("appended");
                number += 1;
            }
            setup.events.append(vec![broken(&mut random)]).await.expect("appended");
            let faults = Faults::new(seed * 100 + call, 0).dying_at(port, call);
            let _running = AbortOnDropHandle::new(tokio::spawn(setup.tree(&faults).run(CancellationToken::new())));
            tokio::select! {
                () = faults.died() => died += 1,
                // There are not so many calls.
                () = until("everything is built", async || setup.is_built().await) => {}
            }
        }
        setup.finish(&Faults::new(seed, 0)).await;
    }
    assert!(died >= 15, "it died {died} times: the test proves nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_one_message_that_wait_together_are_one_write() {
    let setup = Setup::new().await;
    let event = |number: u64, what| Event { what, room: RoomId::from_bits(1), ..post(number, 1) };
    let message = MessageId::from_bits(1 << 40);
    // The first event of a room is begun alone; this one is about another message.
    append_event(&setup.events, &post(0, 2)).await.expect("appended");
    append_event(&setup.events, &post(1, 1)).await.expect("appended");
    for number in 2..20 {
        let what = What::MessageUpdated { message, body: format!("text {number}") };
        append_event(&setup.events, &event(number, what)).await.expect("appended");
    }
    let faults = Faults::new(1, 0);
    setup.finish(&faults).await;
    let state = setup.store.states(&[(RoomId::from_bits(1), message)]).await.expect("states").remove(0);
    assert_eq!(state.and_then(MessageState::into_content).expect("content").body, "text 19");
    // 20 events told one by one, and at most two runs read and written in each of the two rooms.
    let (calls, _) = faults.counted();
    assert!((20..20 + 8 + COMMITS_MAX).contains(&calls), "{calls} calls");
}
