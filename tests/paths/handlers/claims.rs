//! Organizations with more rooms than a message of the room queue can hold: the ledger keeps them, a claim travels.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws::{Credentials, ServiceSettings, Sqs, SqsQueue, SqsSettings, provision};
use chat::ledger::{Failure, Figures, Item, Settlement, Stage, State};
use chat::{AccountId, Epoch, Memberships as _, MessageId, OrganizationId, Plan, Policy, RoomId, Timestamp};
use embedded::Access;
use import::Membership;
use jobs::limits::{collect_rooms, extract_organizations};
use jobs::{ORGANIZATION_QUEUE, OrganizationTask, Ports, ROOM_QUEUE};
use sql::{SqlLedger, SqlSettings, SqlUrl};
use support::place::{Adapters, PORTS, stored_limits};
use support::waiting::not_run;
use support::{Faults, SmallChat, SqlServer, scratch, until};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker::Queue;

use super::rig::{Rig, run_id, settings};

/// Rooms of the large organization: their list is more than twice what a message holds.
const ROOMS: u64 = 60_000;
/// The large organization. Its account 1 is in every room.
const LARGE: OrganizationId = OrganizationId::from_bits(1);
/// The only account of organization 2 is in every thousandth of these rooms.
const GUEST: u64 = 2;

/// Two organizations. Ids of rooms are spread over all there can be; each room has up to three messages.
fn chat() -> SmallChat {
    let mut random = fastrand::Rng::with_seed(41);
    let spread = RoomId::MAX.get() / ROOMS;
    let mut chat = SmallChat { organizations: vec![(LARGE.get(), false), (2, false)], ..SmallChat::default() };
    chat.accounts = vec![(1, LARGE.get(), true), (GUEST, 2, true)];
    for index in 0..ROOMS {
        let room = index * spread + random.u64(0..spread);
        chat.rooms.push(room);
        chat.memberships.insert((room, 1, false));
        if index % 1_000 == 0 {
            chat.memberships.insert((room, GUEST, false));
        }
        for counter in 0..random.u64(0..4) {
            let at = SmallChat::as_of().minus_millis(random.u64(0..60 * 86_400_000));
            let low = (index * 4 + counter) % (1 << MessageId::MILLIS_SHIFT);
            let id = MessageId::from_bits(Epoch::default().first_id(at).get() | low);
            chat.messages.push((room, id, random.u8(0..20) == 0));
        }
    }
    chat
}

async fn large_rig() -> Rig {
    let rig = Rig::of(chat(), Policy::default()).await;
    let boundaries = rig.oracle();
    assert!(boundaries[&LARGE.get()].first_visible.is_some(), "the count must bind");
    rig
}

fn item(run: &str) -> Item {
    Item { run: run_id(run), organization: LARGE }
}

fn json(body: &[u8]) -> serde_json::Value {
    serde_json::from_slice(body).expect("JSON")
}

fn is_claim(body: &[u8]) -> bool {
    json(body)["v"] == 2
}

/// The messages for the merge that are claims; there is none for any other organization.
fn claims(bodies: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let claims: Vec<_> = bodies.iter().filter(|body| is_claim(body)).cloned().collect();
    assert!(claims.iter().all(|body| json(body)["organization"] == LARGE.to_string()));
    claims
}

impl Rig {
    async fn kept(&self, run: &str) -> Option<Vec<u8>> {
        self.open.ports.ledger.room_list(&item(run)).await.expect("a list or none")
    }

    /// The list that is kept, which no message could hold.
    async fn large_list(&self, run: &str) -> serde_json::Value {
        let list = self.kept(run).await.expect("the ledger keeps the rooms");
        let max = self.open.ports.room_queue.limits().body_bytes_max;
        assert!(list.len() > max, "{} bytes fit into a message of {max}", list.len());
        json(&list)
    }

    async fn send_rooms(&self, bodies: &[Vec<u8>]) {
        self.send_all(&*self.open.ports.room_queue, bodies).await;
    }

    async fn collect_large(&self, run: &str) {
        let task = OrganizationTask::new(run_id(run), self.as_of, LARGE, self.policy);
        let body = serde_json::to_vec(&task).expect("a message");
        self.send_all(&*self.open.ports.organization_queue, &[body]).await;
    }

    async fn work_until_empty(&self) -> (worker::ConsumerReport, worker::ConsumerReport) {
        let workers = self.start_workers();
        until("both queues are empty", async || self.queued().await == 0).await;
        workers.stop().await
    }

    async fn check_all(&self, run: &str) {
        self.check_done(run).await;
        self.check_limits().await;
        assert_eq!(self.kept(run).await, None, "the list of an organization that has ended is kept");
    }

    /// Parks the large organization, which takes its list away, and begins it anew.
    async fn lose_list(&self, run: &str) {
        let failure = Some(Failure { class: "unavailable".to_owned(), error: "a day of bad luck".to_owned() });
        let (figures, at) = (Figures::default(), Timestamp::now());
        let parked = Settlement { item: item(run), state: State::Parked, figures, failure, at };
        let ledger = &self.open.ports.ledger;
        assert_eq!(ledger.settle(&[parked]).await.expect("parked"), [true]);
        assert_eq!(ledger.reopen(&[item(run)]).await.expect("begun anew"), [true]);
        assert_eq!(self.kept(run).await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_fit_into_no_message_are_merged_as_a_plain_sort_merges_them() {
    let rig = large_rig().await;
    let started = Instant::now();
    let bodies = rig.collect_and_take("daily").await;
    let collected = started.elapsed();
    assert_eq!((bodies.len(), claims(&bodies).len()), (2, 1));
    assert!(claims(&bodies)[0].len() < 1_000, "a claim is small");
    assert_eq!(rig.large_list("daily").await["rooms_seen"], ROOMS);
    let bytes = rig.kept("daily").await.map_or(0, |list| list.len());
    rig.send_rooms(&bodies).await;
    let started = Instant::now();
    rig.work_until_settled("daily").await;
    println!("{ROOMS} rooms in {bytes} bytes: collected in {collected:?}, merged in {:?}", started.elapsed());
    rig.check_all("daily").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_organizations_and_claims_delivered_twice_settle_once() {
    let rig = large_rig().await;
    rig.extract("daily").await;
    rig.collect_large("daily").await;
    let workers = rig.start_collecting();
    until("everything is collected", async || {
        let depth = rig.open.ports.room_queue.depth().await.expect("a depth");
        depth.visible == 3
    })
    .await;
    workers.stop().await;
    let bodies = rig.take_all(&*rig.open.ports.room_queue).await;
    assert_eq!(claims(&bodies).len(), 2);
    let twice: Vec<_> = bodies.iter().flat_map(|body| [body.clone(), body.clone()]).collect();
    rig.send_rooms(&twice).await;
    rig.work_until_settled("daily").await;
    rig.work_until_empty().await;
    rig.check_all("daily").await;
    let lengths = rig.history_lengths().await;
    assert_eq!(lengths.iter().sum::<usize>(), rig.oracle().values().filter(|a| a.first_visible.is_some()).count());

    // Once more after everything has ended.
    let limits = stored_limits(&*rig.open.ports.limits).await;
    rig.send_rooms(&twice).await;
    let (collected, merged) = rig.work_until_empty().await;
    assert_eq!((merged.dropped, merged.done, collected.done), (twice.len() as u64, 0, 0));
    assert_eq!(stored_limits(&*rig.open.ports.limits).await, limits);
    rig.check_all("daily").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_keeping_and_sending_the_organization_is_collected_again() {
    let rig = large_rig().await;
    // Dies as it sends its first message to the room queue: the claim has arrived or has not, by the seed.
    for (seed, arrives) in [(1, false), (3, true)] {
        let run = format!("killed-{seed}");
        let new = extract_organizations::all_free(run_id(&run), rig.as_of, rig.policy);
        extract_organizations::extract_named(&rig.open.ports, &new, &[LARGE]).await.expect("an extraction");
        let faults = Faults::new(seed, 0).dying_at(PORTS, 1);
        let dying = Adapters::open(&rig.place.data_dir(), Access::Write).await.flaky(&faults);
        let stop = CancellationToken::new();
        tokio::select! {
            _ = collect_rooms::consumer(&dying, settings()).run(stop.clone()) => panic!("it ended"),
            () = faults.died() => {}
        }
        until("its death has had its effect", async || {
            rig.open.ports.room_queue.depth().await.expect("a depth").visible == u64::from(arrives)
        })
        .await;
        let first = rig.large_list(&run).await["collected_at"].clone();

        let workers = rig.start_collecting();
        until("it is collected again", async || {
            let depth = rig.open.ports.room_queue.depth().await.expect("a depth");
            depth.visible == 1 + u64::from(arrives)
        })
        .await;
        workers.stop().await;
        let second = rig.large_list(&run).await["collected_at"].clone();
        assert_ne!(first, second, "the list of the later collection is kept");
        let counts = rig.work_until_settled(&run).await.counts;
        assert_eq!((counts.of(State::Done), counts.expected()), (1, 1));
        rig.work_until_empty().await;
        let row = rig.open.ports.limits.get(&[LARGE]).await.expect("limits").remove(0).expect("a row");
        assert_eq!(support::oracle::Answer::of(&row), rig.oracle()[&LARGE.get()]);
        assert_eq!(serde_json::to_value(row.version.collected_at).expect("JSON"), second);
        assert_eq!(rig.kept(&run).await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_from_before_a_later_collection_merges_what_the_later_one_found() {
    let rig = large_rig().await;
    let earlier = rig.collect_and_take("daily").await;
    let first = rig.large_list("daily").await;
    // The guest's organization keeps room 0; the large one no longer sees it, and its plan has changed twice.
    let room = RoomId::from_bits(rig.place.chat.rooms[0]);
    let membership = Membership { account: AccountId::from_bits(1), room };
    rig.open.directory.apply(&support::room_log::left(&[membership])).await.expect("a leave");
    rig.open.directory.set_plan(LARGE, Plan::Paid).await.expect("an upgrade");
    rig.open.directory.set_plan(LARGE, Plan::Free).await.expect("a downgrade");
    rig.collect_large("daily").await;
    let workers = rig.start_collecting();
    until("it is collected again", async || rig.open.ports.room_queue.depth().await.expect("a depth").visible == 1)
        .await;
    workers.stop().await;
    let later = rig.take_all(&*rig.open.ports.room_queue).await;
    let second = rig.large_list("daily").await;
    assert_eq!((&first["rooms_seen"], &second["rooms_seen"]), (&ROOMS.into(), &(ROOMS - 1).into()));

    rig.send_rooms(&claims(&earlier)).await;
    rig.work_until_empty().await;
    let row = rig.open.ports.limits.get(&[LARGE]).await.expect("limits").remove(0).expect("a row");
    assert_eq!(u64::from(row.rooms), ROOMS - 1);
    assert_eq!(serde_json::to_value(row.version.collected_at).expect("JSON"), second["collected_at"]);
    assert_eq!(serde_json::Value::from(row.version.plan_version), second["plan_version"]);
    assert_ne!(first["plan_version"], second["plan_version"]);

    rig.send_rooms(&later).await;
    let (_, merged) = rig.work_until_empty().await;
    assert_eq!((merged.dropped, merged.done), (1, 0));
    assert_eq!(rig.open.ports.limits.get(&[LARGE]).await.expect("limits"), [Some(row)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_list_is_gone_has_the_organization_collected_again() {
    let rig = large_rig().await;
    let bodies = rig.collect_and_take("daily").await;
    // Begun anew by somebody who died before the message was sent: only the late claim is left.
    rig.lose_list("daily").await;
    rig.send_rooms(&bodies).await;
    // Nobody waits for the run, who would send again what is missing.
    let (collected, merged) = rig.work_until_empty().await;
    assert_eq!((collected.done, merged.done), (1, 3));
    let counts = rig.progress("daily").await.counts;
    assert_eq!((counts.of(State::Done), counts.expected()), (2, 2));
    rig.check_limits().await;
    assert_eq!(rig.kept("daily").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_organization_whose_lists_are_always_gone_fails_with_its_cause() {
    let rig = large_rig().await;
    let bodies = rig.collect_and_take("daily").await;
    rig.lose_list("daily").await;
    let mut again = claims(&bodies).remove(0);
    let mut collected = 0;
    // Of each claim the list is gone when it arrives; what is collected again is taken before it is.
    let row = loop {
        rig.send_rooms(&[again]).await;
        let workers = rig.start_merging();
        until("the claim is answered", async || {
            rig.open.ports.room_queue.depth().await.is_ok_and(|depth| depth.visible + depth.hidden == 0)
        })
        .await;
        workers.stop().await;
        let sent = rig.take_all(&*rig.open.ports.organization_queue).await;
        let [task] = &sent[..] else {
            let rows = rig.organizations("daily").await;
            break rows.into_iter().find(|row| row.organization == LARGE).expect("its row");
        };
        collected += 1;
        assert!(collected < 10, "it is collected again and again");
        let mut claim = json(task);
        claim["v"] = 2.into();
        again = serde_json::to_vec(&claim).expect("a message");
    };
    assert_eq!(collected, 3);
    assert_eq!((row.state, row.error_class.as_deref()), (State::Failed, Some("rooms lost")));
    assert_eq!(row.stage, Some(Stage::MergeNewest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_another_version_is_put_aside() {
    let rig = Rig::new(42, 5).await;
    rig.extract("daily").await;
    let claim = br#"{"v":3,"run":"daily"}"#.to_vec();
    rig.send_rooms(std::slice::from_ref(&claim)).await;
    let workers = rig.start_merging();
    until("it is put aside", async || !rig.open.ports.ledger.unreadable(1).await.expect("messages").is_empty()).await;
    workers.stop().await;
    let kept = rig.open.ports.ledger.unreadable(2).await.expect("messages");
    assert_eq!((kept.len(), &kept[0].body), (1, &claim));
    assert!(kept[0].cause.contains("version 3"), "{}", kept[0].cause);
}

/// Both queues in SQS, or why there are none.
async fn sqs_queues(folder: &Path) -> Result<[Arc<dyn Queue>; 2], String> {
    let variable = "LANNER_TEST_SQS_URL";
    let url = std::env::var(variable).map_err(|_| format!("{variable} is not set"))?;
    let service = ServiceSettings {
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(url),
        credentials: Credentials::Local,
        ..ServiceSettings::default()
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let prefix: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let settings = SqsSettings { queue_prefix: format!("{prefix}-"), linger: Duration::ZERO };
    let sqs = Sqs::connect(&service, settings).await.map_err(|e| e.to_string())?;
    provision::create_queues(&sqs, &[ORGANIZATION_QUEUE, ROOM_QUEUE]).await.map_err(|e| e.to_string())?;
    let open = async |name| SqsQueue::open(&sqs, name).await.map_err(|e| e.to_string());
    Ok([Arc::new(open(ORGANIZATION_QUEUE).await?), Arc::new(open(ROOM_QUEUE).await?)])
}

/// Ledger and queues on real servers.
async fn on_servers(rig: &mut Rig, server: SqlServer, folder: &Path) -> Result<(), String> {
    let [organization_queue, room_queue] = sqs_queues(folder).await?;
    let url = SqlUrl::new(&server.database(folder).await?).map_err(|e| e.to_string())?;
    let ledger = SqlLedger::open(&SqlSettings::new(url)).await.map_err(|e| e.to_string())?;
    let ports = Ports { ledger: Arc::new(ledger), organization_queue, room_queue, ..rig.open.ports.clone() };
    rig.open.ports = ports;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_fit_into_no_message_go_through_real_servers() {
    let mut rig = large_rig().await;
    for server in SqlServer::ALL {
        let folder = rig.place.beside(server.name());
        let run = format!("on-{}", server.name());
        let name = format!("a claim through SQS and {}", server.name());
        if let Err(reason) = on_servers(&mut rig, server, &folder).await {
            not_run(&name, &reason);
            continue;
        }
        let started = Instant::now();
        let bodies = rig.collect_and_take(&run).await;
        assert_eq!((bodies.len(), claims(&bodies).len()), (2, 1));
        assert_eq!(rig.large_list(&run).await["rooms_seen"], ROOMS);
        let twice: Vec<_> = bodies.iter().flat_map(|body| [body.clone(), body.clone()]).collect();
        for some in twice.chunks(rig.open.ports.room_queue.limits().batch_max) {
            rig.send_rooms(some).await;
        }
        rig.work_until_settled(&run).await;
        println!("{name}: {ROOMS} rooms in {:?}", started.elapsed());
        rig.work_until_empty().await;
        rig.check_all(&run).await;
        scratch::drop_databases(&folder);
    }
}
