//! A place with a chat, and the two workers of the limit path to start and stop.

use std::collections::BTreeMap;
use std::time::Duration;

use chat::ledger::{NewRun, Progress, RunOrganization, State};
use chat::{LimitRow, OrganizationId, Policy, RunId, Standing, Timestamp};
use jobs::Ports;
use jobs::limits::{StageSettings, Until, collect_rooms, extract_organizations, merge_newest, wait_until_finished};
use support::oracle::{self, Answer};
use support::place::{Open, Place, organizations_of, policy, stored_limits};
use support::waiting::AT_MOST;
use support::{SmallChat, until};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::supervisor::Escalation;
use worker::{Backoff, ConsumerReport, Outgoing, Queue};

pub(crate) fn run_id(name: &str) -> RunId {
    RunId::new(name).expect("a run id")
}

/// Canonical columns of a row.
pub(crate) type Canonical = (OrganizationId, Policy, u64, Timestamp, Standing, Option<chat::MessageId>, u32, u32);

pub(crate) struct Rig {
    pub(crate) place: Place,
    pub(crate) open: Open,
    pub(crate) as_of: Timestamp,
    pub(crate) policy: Policy,
}

type Running = JoinHandle<Result<ConsumerReport, Escalation>>;

pub(crate) struct Workers {
    stop: CancellationToken,
    collecting: Option<Running>,
    merging: Option<Running>,
}

impl Workers {
    /// Reports of collect-rooms and merge-newest.
    pub(crate) async fn stop(self) -> (ConsumerReport, ConsumerReport) {
        self.stop.cancel();
        let report = async |running: Option<Running>| match running {
            Some(running) => running.await.expect("no panic").expect("readable queues"),
            None => ConsumerReport::default(),
        };
        (report(self.collecting).await, report(self.merging).await)
    }
}

pub(crate) fn settings() -> StageSettings {
    let mut settings = StageSettings::embedded();
    settings.consumer.visible_for = Duration::from_secs(2);
    settings.consumer.backoff =
        Backoff::new(Duration::from_millis(10), Duration::from_millis(100), 0.3).expect("a backoff");
    settings
}

impl Rig {
    pub(crate) async fn new(seed: u64, organizations: u64) -> Self {
        Self::of(SmallChat::random(seed, organizations), policy()).await
    }

    pub(crate) async fn of(chat: SmallChat, policy: Policy) -> Self {
        let place = Place::of(chat).await;
        let open = place.open().await;
        Self { place, open, as_of: SmallChat::as_of(), policy }
    }

    pub(crate) fn new_run(&self, name: &str) -> NewRun {
        extract_organizations::all_free(run_id(name), self.as_of, self.policy)
    }

    pub(crate) async fn extract(&self, name: &str) -> extract_organizations::Extracted {
        extract_organizations::extract(&self.open.ports, &self.new_run(name), |_| {}).await.expect("an extraction")
    }

    pub(crate) fn start_workers(&self) -> Workers {
        self.start(true, true)
    }

    pub(crate) fn start_collecting(&self) -> Workers {
        self.start(true, false)
    }

    pub(crate) fn start_merging(&self) -> Workers {
        self.start(false, true)
    }

    fn start(&self, collect: bool, merge: bool) -> Workers {
        let stop = CancellationToken::new();
        let ports = || -> (Ports, CancellationToken) { (self.open.ports.clone(), stop.clone()) };
        let (for_collecting, for_merging) = (ports(), ports());
        let collecting = collect.then(|| {
            tokio::spawn(
                async move { collect_rooms::consumer(&for_collecting.0, settings()).run(for_collecting.1).await },
            )
        });
        let merging = merge.then(|| {
            tokio::spawn(async move { merge_newest::consumer(&for_merging.0, settings()).run(for_merging.1).await })
        });
        Workers { stop, collecting, merging }
    }

    pub(crate) async fn work_until_settled(&self, name: &str) -> Progress {
        let workers = self.start_workers();
        let stop = CancellationToken::new();
        let run = run_id(name);
        let waited = wait_until_finished(&self.open.ports, &run, Until::Settled, &stop, |_| {});
        let progress = tokio::time::timeout(AT_MOST, waited).await.expect("it ends").expect("progress");
        workers.stop().await;
        progress
    }

    pub(crate) async fn whole_run(&self, name: &str) -> Progress {
        self.extract(name).await;
        self.work_until_settled(name).await
    }

    /// Collects the rooms of a run and takes the messages for the merge out of the queue.
    pub(crate) async fn collect_and_take(&self, name: &str) -> Vec<Vec<u8>> {
        let expected = self.extract(name).await.sent;
        let workers = self.start_collecting();
        until("all rooms are collected", async || {
            let rooms = self.open.ports.room_queue.depth().await.expect("a depth").visible;
            let organizations = self.open.ports.organization_queue.depth().await.expect("a depth");
            rooms >= expected && organizations.visible + organizations.hidden == 0
        })
        .await;
        workers.stop().await;
        self.take_all(&*self.open.ports.room_queue).await
    }

    /// Takes every message out of a queue.
    pub(crate) async fn take_all(&self, queue: &dyn Queue) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        loop {
            let received = queue.receive(500, Duration::from_secs(60), Duration::ZERO).await.expect("a receive");
            if received.is_empty() {
                return bodies;
            }
            let receipts: Vec<_> = received.iter().map(|delivery| delivery.receipt.clone()).collect();
            queue.done(&receipts).await.expect("deleted");
            bodies.extend(received.into_iter().map(|delivery| delivery.body));
        }
    }

    pub(crate) async fn send_all(&self, queue: &dyn Queue, bodies: &[Vec<u8>]) {
        for batch in bodies.chunks(500) {
            let messages: Vec<_> = batch.iter().cloned().map(Outgoing::now).collect();
            assert!(queue.send(&messages).await.expect("a send").iter().all(Result::is_ok));
        }
    }

    /// Messages in both queues.
    pub(crate) async fn queued(&self) -> u64 {
        let ports = &self.open.ports;
        let mut sum = 0;
        for queue in [&ports.organization_queue, &ports.room_queue] {
            let depth = queue.depth().await.expect("a depth");
            sum += depth.visible + depth.hidden;
        }
        sum
    }

    pub(crate) async fn progress(&self, name: &str) -> Progress {
        self.open.ports.ledger.progress(&run_id(name)).await.expect("progress").expect("a run")
    }

    pub(crate) async fn organizations(&self, name: &str) -> Vec<RunOrganization> {
        organizations_of(&*self.open.ports.ledger, &run_id(name)).await
    }

    pub(crate) fn oracle(&self) -> BTreeMap<u64, Answer> {
        oracle::answers(&self.place.chat, self.as_of, &self.policy)
    }

    /// Every free organization ended once, as done, with the figures of the oracle.
    pub(crate) async fn check_done(&self, name: &str) {
        let counts = self.progress(name).await.counts;
        let free = self.place.chat.free();
        assert_eq!((counts.expected(), counts.of(State::Done)), (free, free), "{counts:?}");
        let rows = self.organizations(name).await;
        assert_eq!(rows.len() as u64, free);
        assert!(rows.iter().all(|row| row.finished_at.is_some() && row.error.is_none()));
    }

    pub(crate) async fn check_limits(&self) {
        self.check_limits_at(self.as_of).await;
    }

    pub(crate) async fn check_limits_at(&self, as_of: Timestamp) {
        let rows = stored_limits(&*self.open.ports.limits).await;
        let found: BTreeMap<u64, Answer> = rows.iter().map(|row| (row.organization.get(), Answer::of(row))).collect();
        assert_eq!(found, oracle::answers(&self.place.chat, as_of, &self.policy));
        assert!(rows.iter().all(|row| row.version.as_of == as_of && row.standing != Standing::Released));
    }

    pub(crate) async fn canonical(&self) -> Vec<Canonical> {
        let rows = stored_limits(&*self.open.ports.limits).await;
        let canonical = |row: &LimitRow| {
            (
                row.organization,
                row.policy,
                row.version.plan_version,
                row.version.as_of,
                row.standing,
                row.oldest_visible_message_id,
                row.visible_messages,
                row.rooms,
            )
        };
        rows.iter().map(canonical).collect()
    }

    /// Entries of the history of each free organization.
    pub(crate) async fn history_lengths(&self) -> Vec<usize> {
        let mut lengths = Vec::new();
        for organization in self.oracle().into_keys() {
            let organization = OrganizationId::from_bits(organization);
            lengths.push(self.open.ports.ledger.history(organization, 100).await.expect("a history").len());
        }
        lengths
    }
}
