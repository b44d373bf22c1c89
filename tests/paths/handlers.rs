//! The handlers of the limit path over the embedded adapters: everything delivered twice, stopped half-way, raced.

mod claims;
mod overtaking;
pub(crate) mod rig;
mod twice;
mod workers;

use chat::ledger::{Phase, Scope, State};
use chat::{OrganizationId, RunId, Timestamp};
use embedded::Access;
use jobs::OrganizationTask;
use jobs::limits::{Until, extract_organizations, wait_until_finished};
use rig::{Rig, run_id};
use support::place::{Adapters, LEDGER, policy};
use support::{Faults, until};
use tokio_util::sync::CancellationToken;
use worker::Outgoing;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_finds_what_a_plain_sort_finds() {
    let rig = Rig::new(11, 120).await;
    let limited = rig.oracle().values().filter(|answer| answer.first_visible.is_some()).count();
    assert!(limited > 10, "the chat is too small for the count to bind: {limited}");
    rig.whole_run("daily").await;
    rig.check_done("daily").await;
    rig.check_limits().await;
}

/// Extraction that dies as it registers its third page.
async fn extract_half_of(rig: &Rig) {
    // The run is opened by the ledger's first call.
    let faults = Faults::new(1, 0).dying_at(LEDGER, 4);
    let dying = Adapters::open(&rig.place.data_dir(), Access::Write).await.flaky(&faults);
    let new = rig.new_run("daily");
    tokio::select! {
        extracted = extract_organizations::extract(&dying, &new, |_| {}) => drop(extracted.expect_err("a death")),
        () = faults.died() => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extraction_stopped_half_way_goes_on_without_loss() {
    let rig = Rig::new(12, 2_000).await;
    extract_half_of(&rig).await;
    let progress = rig.progress("daily").await;
    assert_eq!(progress.phase(), Phase::Extracting);
    assert!(progress.run.sent_through.is_some());

    rig.whole_run("daily").await;
    rig.check_done("daily").await;
    rig.check_limits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extraction_that_goes_on_repeats_at_most_a_page() {
    let rig = Rig::new(12, 2_000).await;
    extract_half_of(&rig).await;
    rig.extract("daily").await;
    let sent = rig.open.ports.organization_queue.depth().await.expect("a depth").visible;
    let free = rig.place.chat.free();
    assert!((free..=free + 500).contains(&sent), "{sent} messages for {free} organizations");
    assert_eq!(rig.progress("daily").await.counts.expected(), free);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_starts_in_one_slot_join_one_run_and_its_instant() {
    let rig = Rig::new(13, 60).await;
    let mut other = rig.new_run("slot");
    other.as_of = other.as_of.minus_millis(86_400_000);
    let new = rig.new_run("slot");
    let ports = &rig.open.ports;
    let both = tokio::join!(
        extract_organizations::extract(ports, &new, |_| {}),
        extract_organizations::extract(ports, &other, |_| {}),
    );
    let (first, second) = (both.0.expect("the first start").run, both.1.expect("the second start").run);
    assert_eq!((first.as_of, first.policy), (second.as_of, second.policy));
    assert_eq!(ports.ledger.runs(10).await.expect("runs").len(), 1);
    let late = extract_organizations::extract(ports, &other, |_| {}).await.expect("a late start");
    assert_eq!((late.run.as_of, late.sent), (first.as_of, 0), "a joined run keeps its instant and sends nothing again");
    rig.work_until_settled("slot").await;
    rig.check_done("slot").await;
    rig.check_limits_at(first.as_of).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_organization_fails_with_its_cause_and_the_others_finish() {
    let rig = Rig::new(14, 20).await;
    let known = OrganizationId::from_bits(3);
    let nobody = OrganizationId::from_bits(999_999);
    let mut new = rig.new_run("named");
    new.scope = Scope::Named;
    extract_organizations::extract_named(&rig.open.ports, &new, &[known, nobody]).await.expect("an extraction");
    let progress = rig.work_until_settled("named").await;
    assert_eq!((progress.counts.of(State::Done), progress.counts.of(State::Failed)), (1, 1));
    let rows = rig.organizations("named").await;
    let failed = rows.iter().find(|row| row.organization == nobody).expect("the unknown one");
    assert_eq!(failed.error_class.as_deref(), Some("unknown organization"));
    assert!(failed.error.as_deref().is_some_and(|error| error.contains("999999")), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_mean_nothing_are_kept_with_their_bytes() {
    let rig = Rig::new(15, 20).await;
    let ports = &rig.open.ports;
    let stray = OrganizationTask::new(run_id("nobody-opened-it"), rig.as_of, OrganizationId::from_bits(3), policy());
    let stray = serde_json::to_vec(&stray).expect("a message");
    let broken = b"{\"v\":1,\"run\":".to_vec();
    let newer = String::from_utf8(stray.clone()).expect("text").replace("\"v\":1", "\"v\":2").into_bytes();
    for body in [&stray, &broken, &newer] {
        ports.organization_queue.send(&[Outgoing::now(body.clone())]).await.expect("a send");
    }
    ports.room_queue.send(&[Outgoing::now(broken.clone())]).await.expect("a send");
    let workers = rig.start_workers();
    until("all are put aside", async || ports.ledger.unreadable(10).await.expect("messages").len() == 4).await;
    let (collected, merged) = workers.stop().await;
    assert_eq!((collected.unreadable, merged.unreadable), (3, 1));
    let kept = ports.ledger.unreadable(10).await.expect("messages");
    for body in [stray, newer] {
        assert!(kept.iter().any(|message| message.body == body && message.queue == "organizations"));
    }
    assert!(kept.iter().any(|message| message.body == broken && message.queue == "rooms"));
    assert!(kept.iter().all(|message| !message.cause.is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_drops_its_messages_and_ends() {
    let rig = Rig::new(16, 80).await;
    rig.extract("doomed").await;
    let ports = &rig.open.ports;
    let workers = rig.start_collecting();
    until("some are collected", async || ports.room_queue.depth().await.expect("a depth").visible > 0).await;
    assert!(ports.ledger.cancel_run(&run_id("doomed"), Timestamp::now()).await.expect("a cancel"));
    workers.stop().await;
    let workers = rig.start_workers();
    until("both queues are empty", async || rig.queued().await == 0).await;
    let (collected, merged) = workers.stop().await;
    assert_eq!((merged.done, collected.done), (0, 0));
    assert!(merged.dropped > 0);
    let stop = CancellationToken::new();
    let waited = wait_until_finished(ports, &run_id("doomed"), Until::Settled, &stop, |_| {}).await.expect("progress");
    assert_eq!(waited.phase(), Phase::Cancelled);
    assert!(support::place::stored_limits(&*ports.limits).await.is_empty());
    let again = extract_organizations::extract(ports, &rig.new_run("doomed"), |_| {}).await;
    assert!(matches!(again, Err(jobs::limits::ExtractError::Cancelled(_))), "a cancelled run was started again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_a_queue_lost_are_sent_again_from_the_ledger() {
    let rig = Rig::new(17, 40).await;
    rig.extract("daily").await;
    let lost = rig.take_all(&*rig.open.ports.organization_queue).await.len() as u64;
    assert_eq!(lost, rig.place.chat.free());
    rig.work_until_settled("daily").await;
    rig.check_done("daily").await;
    rig.check_limits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_of_one_instant_find_the_same_canonical_columns() {
    let rig = Rig::new(18, 100).await;
    rig.whole_run("first").await;
    let first = rig.canonical().await;
    rig.whole_run("second").await;
    let second = rig.canonical().await;
    assert_eq!(first, second);
    let rows = support::place::stored_limits(&*rig.open.ports.limits).await;
    assert!(rows.iter().all(|row| row.run == RunId::new("second").expect("a name")));
    let changes = rig.history_lengths().await;
    let limited = rig.oracle().values().filter(|answer| answer.first_visible.is_some()).count();
    assert_eq!(changes.iter().sum::<usize>(), limited, "a run that changes nothing adds no history");
}
