//! A small chat on the embedded adapters for the tests of the message path: room 100 with accounts 10 and 11 of organization 1 (free)
//! and 20 of organization 2 (paid); room 200 with account 20 alone; account 12 of organization 1 is not active.

use std::sync::Arc;
use std::time::Duration;

use chat::{
    AccountId, Epoch, MembershipChange, Memberships, NoHeads, Organization, OrganizationId, Period, Plan, Policies,
    Policy, Position, RoomChange, RoomId,
};
use embedded::{
    Access, DataDir, LmdbLimits, LmdbLiveIds, LmdbLog, LmdbMessageStore, LmdbMessages, MapSize, PackedIndex,
    SqliteDirectory, SqliteLedger, SqliteState,
};
use import::Account;
use jobs::limits::follow_limits::{self, FollowPorts};
use jobs::messages::build_read_model;
use jobs::messages::serve_reads::{ReadPorts, Reads};
use jobs::messages::serve_writes::{self, LeasedIds, WritePorts, Writes};
use jobs::messages::{Caller, EVENT_LOG, GroupMarker, MessagePorts, READABLE_LOG};
use support::{Faults, Flaky};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use worker::log::{Missing, Place, ReadRecord};
use worker::supervisor::{Outcome, Tree};
use worker::{Backoff, Log};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const ROOM: RoomId = RoomId::from_bits(100);
pub(crate) const OTHER_ROOM: RoomId = RoomId::from_bits(200);

/// Partitions of each log.
const PARTITIONS: u32 = 4;

pub(crate) struct Chat {
    pub(crate) events: LmdbLog,
    pub(crate) readable: LmdbLog,
    messages: LmdbMessages,
    index: PackedIndex,
    pub(crate) store: LmdbMessageStore,
    pub(crate) directory: SqliteDirectory,
    pub(crate) limits: LmdbLimits,
    pub(crate) ledger: SqliteLedger,
    pub(crate) state: SqliteState,
    folder: TempDir,
}

pub(crate) fn caller(account: u64) -> Caller {
    let organization = OrganizationId::from_bits(if account < 20 { 1 } else { 2 });
    Caller { account: AccountId::from_bits(account), organization, is_admin: false }
}

pub(crate) fn admin(account: u64) -> Caller {
    Caller { is_admin: true, ..caller(account) }
}

pub(crate) fn settings() -> serve_writes::Settings {
    serve_writes::Settings {
        append_timeout: 500 * MS,
        key_lives_for: Duration::from_secs(3_600),
        log_epoch: 0,
        owns_memberships: true,
    }
}

fn backoff() -> Backoff {
    Backoff::new(2 * MS, 20 * MS, 0.3).expect("a backoff")
}

impl Chat {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let data = DataDir::open(folder.path(), Access::Write, "test").await.expect("a data directory");
        let log =
            |name: &str| LmdbLog::open(name, &data.log(name), PARTITIONS, 500 * MS, MapSize::default()).expect("a log");
        let messages = LmdbMessages::open(&data.messages(), MapSize::default()).expect("messages");
        let index = PackedIndex::open(&data.live_ids(), MapSize::default(), Epoch::default()).expect("an index");
        let chat = Self {
            events: log(EVENT_LOG),
            readable: log(READABLE_LOG),
            messages: messages.clone(),
            store: LmdbMessageStore::new(messages, index.clone()),
            index,
            directory: SqliteDirectory::open(&data).await.expect("a directory"),
            limits: LmdbLimits::open(&data.limits(), MapSize::default()).expect("limits"),
            ledger: SqliteLedger::open(&data).await.expect("a ledger"),
            state: SqliteState::open(&data).await.expect("a state"),
            folder,
        };
        chat.fill().await;
        chat
    }

    /// The same chat after its log of events was lost: it begins anew.
    pub(crate) fn without_events(self) -> Self {
        let lost = self.folder.path().join("lost");
        let events = LmdbLog::open(EVENT_LOG, &lost, PARTITIONS, 500 * MS, MapSize::default()).expect("a log");
        Self { events, ..self }
    }

    async fn fill(&self) {
        for (id, plan) in [(1, Plan::Free), (2, Plan::Paid)] {
            let organization = Organization { id: OrganizationId::from_bits(id), plan, plan_version: 0 };
            self.directory.put_organizations(&[organization]).await.expect("an organization");
        }
        let account =
            |(id, active)| Account { id: AccountId::from_bits(id), organization: caller(id).organization, active };
        let accounts: Vec<Account> = [(10, true), (11, true), (12, false), (20, true)].map(account).into();
        self.directory.put_accounts(&accounts).await.expect("accounts");
        let joins = [(ROOM, 10), (ROOM, 11), (ROOM, 12), (ROOM, 20), (OTHER_ROOM, 20)];
        let joins = joins.map(|(room, account)| MembershipChange {
            room,
            position: Position::from_bits(0),
            what: RoomChange::Joined(AccountId::from_bits(account)),
        });
        self.directory.apply(&joins).await.expect("memberships");
    }

    /// The writing service with a lease, of whose calls to the log `percent` fail.
    pub(crate) async fn writes(&self, seed: u64, percent: u32) -> (Arc<Writes>, AbortOnDropHandle<Outcome>) {
        let events = Flaky::new(self.events.clone(), Faults::new(seed, percent).of_port(1));
        self.leased(self.write_ports(Arc::new(events))).await
    }

    /// The writing service with a lease, over a log (port 1) and records (port 2) that may die.
    pub(crate) async fn dying_writes(&self, faults: &Faults) -> (Arc<Writes>, AbortOnDropHandle<Outcome>) {
        let events = Flaky::new(self.events.clone(), faults.of_port(1));
        let state = Arc::new(Flaky::new(self.state.clone(), faults.of_port(2)));
        self.leased(WritePorts { state, ..self.write_ports(Arc::new(events)) }).await
    }

    async fn leased(&self, ports: WritePorts) -> (Arc<Writes>, AbortOnDropHandle<Outcome>) {
        let ids = Arc::new(LeasedIds::new(Epoch::default()));
        let lease = Arc::clone(&ids).child(Arc::clone(&ports.state), backoff());
        let tree = Tree::new("process", vec![lease]).expect("a tree");
        let running = AbortOnDropHandle::new(tokio::spawn(tree.run(CancellationToken::new())));
        ids.ready().await;
        (Arc::new(Writes::new(&ports, ids, settings())), running)
    }

    /// The writing service without a lease, which therefore has no ids to deal.
    pub(crate) fn writes_without_lease(&self, settings: serve_writes::Settings) -> Writes {
        let ports = self.write_ports(Arc::new(self.events.clone()));
        Writes::new(&ports, Arc::new(LeasedIds::new(Epoch::default())), settings)
    }

    fn write_ports(&self, events: Arc<dyn Log>) -> WritePorts {
        WritePorts {
            events,
            directory: Arc::new(self.directory.clone()),
            state: Arc::new(self.state.clone()),
            epoch: Epoch::default(),
        }
    }

    pub(crate) fn reads(&self) -> Reads {
        Reads::new(ReadPorts {
            directory: Arc::new(self.directory.clone()),
            messages: Arc::new(self.messages.clone()),
            limits: Arc::new(self.limits.clone()),
            events: Arc::new(self.events.clone()),
            policies: Policies::new(vec![Period { from: None, policy: Policy::default() }]).expect("a policy"),
            epoch: Epoch::default(),
            log_epoch: 0,
        })
    }

    /// Starts `build-read-model`.
    pub(crate) fn read_model(&self) -> AbortOnDropHandle<Outcome> {
        AbortOnDropHandle::new(tokio::spawn(self.read_model_tree(Missing::First).run(CancellationToken::new())))
    }

    /// Whether `build-read-model` has been at the log before.
    pub(crate) fn marker(&self) -> GroupMarker {
        let (state, events) = (Arc::new(self.state.clone()), Arc::new(self.events.clone()));
        GroupMarker::new(state, events, build_read_model::NAME, 0)
    }

    /// `build-read-model` with its marker.
    pub(crate) fn read_model_tree(&self, missing: Missing) -> Tree {
        let ports = MessagePorts {
            events: Arc::new(self.events.clone()),
            readable: Arc::new(self.readable.clone()),
            messages: Arc::new(self.store.clone()),
            memberships: Some(Arc::new(self.directory.clone())),
            heads: Arc::new(NoHeads),
            ledger: Arc::new(self.ledger.clone()),
            state: Arc::new(self.state.clone()),
            epoch: Epoch::default(),
        };
        let settings = build_read_model::Settings {
            backoff: backoff(),
            commit_every: 20 * MS,
            ..build_read_model::Settings::embedded()
        };
        let consumer = build_read_model::consumer(&ports, settings, missing).expect("settings");
        Tree::new("process", vec![consumer.child(), self.marker().child(backoff())]).expect("a tree")
    }

    /// What `follow-limits` is connected to, of whose calls some fail.
    pub(crate) fn follow_ports(&self, policy: Policy, faults: &Faults) -> FollowPorts {
        FollowPorts {
            readable: Arc::new(self.readable.clone()),
            directory: Arc::new(Flaky::new(self.directory.clone(), faults.of_port(1))),
            heads: Arc::new(NoHeads),
            live_ids: Arc::new(Flaky::new(LmdbLiveIds::new(self.index.clone()), faults.of_port(2))),
            limits: Arc::new(Flaky::new(self.limits.clone(), faults.of_port(3))),
            ledger: Arc::new(Flaky::new(self.ledger.clone(), faults.of_port(5))),
            state: Arc::new(Flaky::new(self.state.clone(), faults.of_port(4))),
            policies: Policies::new(vec![Period { from: None, policy }]).expect("a policy"),
            epoch: Epoch::default(),
        }
    }

    /// `follow-limits` with these settings, over ports of whose calls some fail.
    pub(crate) fn follow_tree(&self, settings: follow_limits::Settings, policy: Policy, faults: &Faults) -> Tree {
        let ports = self.follow_ports(policy, faults);
        Tree::new("process", vec![follow_limits::child(ports, settings)]).expect("a tree")
    }

    /// Whether the read model has everything that was accepted.
    pub(crate) async fn is_built(&self) -> bool {
        for partition in 0..PARTITIONS {
            let next = self.events.bounds(partition).await.expect("bounds").next;
            let committed = self.events.committed(build_read_model::NAME, partition).await.expect("an offset");
            if committed.unwrap_or(0) < next {
                return false;
            }
        }
        true
    }

    /// Everything in the log of events.
    pub(crate) async fn log(&self) -> Vec<ReadRecord> {
        let (mut from, mut many) = (Vec::new(), 0);
        for partition in 0..PARTITIONS {
            from.push(Place { partition, offset: 0 });
            many += self.events.bounds(partition).await.expect("bounds").next;
        }
        let (mut follower, mut records) = (self.events.follow(&from).await.expect("a follower"), Vec::new());
        while records.len() < usize::try_from(many).expect("few") {
            records.extend(follower.poll(1_000, 100 * MS).await.expect("a poll").records);
        }
        records
    }
}
