//! What failed, done again: selected as asked, delivered twice, killed half-way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chat::OrganizationId;
use chat::ledger::State;
use jobs::operate::OperateError;
use jobs::operate::retry::{Selection, account, resend, survey, wait_until_terminal};
use support::waiting::AT_MOST;
use support::{Faults, Flaky, until};
use tokio_util::sync::CancellationToken;

use super::end;
use crate::handlers::rig::{Rig, run_id};

fn of_run(name: &str) -> Selection {
    Selection { run: Some(run_id(name)), ..Selection::default() }
}

/// A rig whose run was extracted and then failed as a whole: every third organization failed, the others are parked. The queue
/// has lost everything.
async fn failed(seed: u64, organizations: u64) -> (Rig, Vec<u64>) {
    let rig = Rig::new(seed, organizations).await;
    rig.extract("daily").await;
    rig.take_all(&*rig.open.ports.organization_queue).await;
    let all: Vec<u64> = rig.oracle().into_keys().collect();
    let (failed, parked): (Vec<u64>, Vec<u64>) = all.iter().partition(|id| *id % 3 == 0);
    end(&*rig.open.ports.ledger, "daily", &failed, State::Failed, "corrupt").await;
    end(&*rig.open.ports.ledger, "daily", &parked, State::Parked, "unavailable").await;
    (rig, all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_done_again_once_however_often_it_is_delivered() {
    let (rig, all) = failed(101, 90).await;
    let sent = resend(&rig.open.ports, &of_run("daily"), |_, _| {}).await.expect("sent");
    assert_eq!(sent, all.len() as u64);
    let bodies = rig.take_all(&*rig.open.ports.organization_queue).await;
    assert_eq!(bodies.len(), all.len());
    let twice: Vec<Vec<u8>> = bodies.iter().flat_map(|body| [body.clone(), body.clone()]).collect();
    rig.send_all(&*rig.open.ports.organization_queue, &twice).await;
    let workers = rig.start_workers();
    let ids: Vec<OrganizationId> = all.iter().copied().map(OrganizationId::from_bits).collect();
    let stop = CancellationToken::new();
    let run = run_id("daily");
    let waited = wait_until_terminal(&rig.open.ports, &run, &ids, &stop);
    tokio::time::timeout(AT_MOST, waited).await.expect("it ends").expect("waited");
    until("both queues are empty", async || rig.queued().await == 0).await;
    workers.stop().await;
    let found = account(&rig.open.ports, &run_id("daily"), &ids, 3, |_| {}).await.expect("an account");
    assert_eq!((found.counts.of(State::Done), found.counts.expected()), (sent, sent));
    assert_eq!((found.good.first.len(), found.bad.count), (3, 0));
    rig.check_limits().await;
    let history: usize = rig.history_lengths().await.into_iter().sum();
    assert_eq!(history, rig.oracle().values().filter(|answer| answer.first_visible.is_some()).count());
    assert_eq!(resend(&rig.open.ports, &of_run("daily"), |_, _| {}).await.expect("nothing left"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redrive_that_is_killed_half_way_loses_nothing() {
    // More than two pages, so that it dies before, within and between them.
    let (rig, all) = failed(102, 1_300).await;
    let (mut killed, selection) = (0, of_run("daily"));
    let longer = |micros: &u64| Some(micros + micros / 4 + 100);
    for micros in std::iter::successors(Some(0), longer) {
        let again = resend(&rig.open.ports, &selection, |_, _| {});
        match tokio::time::timeout(Duration::from_micros(micros), again).await {
            Ok(sent) => {
                sent.expect("sent");
                break;
            }
            Err(_) => killed += 1,
        }
        // A dropped call may still be on its way in its own thread: what it begins must be complete or not there at all.
        let rows = rig.organizations("daily").await;
        assert!(rows.iter().all(|row| row.state == State::Pending || row.state.is_failure()));
        assert_eq!(rows.len(), all.len());
    }
    assert!(killed > 2, "killed {killed} times only");
    // What died between ledger and queue is pending, and the waiting run sends it.
    rig.work_until_settled("daily").await;
    let rows = rig.organizations("daily").await;
    assert!(rows.iter().all(|row| row.state == State::Done), "something was lost");
    rig.check_limits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_loses_answers_loses_no_organization() {
    let (rig, all) = failed(103, 700).await;
    // Queue sends repeat by themselves; the ledger's failure ends the command, which is then started again.
    let folder = rig.place.data_dir();
    let dir = embedded::DataDir::open(&folder, embedded::Access::Write, "test").await.expect("a data directory");
    let ledger = embedded::SqliteLedger::open(&dir).await.expect("a ledger");
    let mut ports = rig.open.ports.clone();
    ports.ledger = Arc::new(Flaky::new(ledger, Faults::new(103, 50)));
    let mut failures = 0;
    while let Err(error) = resend(&ports, &of_run("daily"), |_, _| {}).await {
        assert!(error.is_temporary(), "{error}");
        failures += 1;
        assert!(failures < 1_000);
    }
    assert!(failures > 0, "the ledger never failed");
    rig.work_until_settled("daily").await;
    rig.check_limits().await;
    let done = rig.progress("daily").await.counts.of(State::Done);
    assert_eq!(done, all.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selection_takes_what_was_asked_and_leaves_out_what_has_a_newer_limit() {
    let (rig, all) = failed(104, 60).await;
    let ports = &rig.open.ports;
    let count = async |selection: Selection| survey(ports, &selection, 4).await.expect("a survey");
    let everything = count(Selection::default()).await;
    assert_eq!((everything.items.count, everything.items.first.len(), everything.newer), (all.len() as u64, 4, 0));
    let corrupt: BTreeSet<u64> = all.iter().copied().filter(|id| id % 3 == 0).collect();
    let one_class = count(Selection { error_classes: vec!["corrupt".to_owned()], ..of_run("daily") }).await;
    assert_eq!(one_class.items.count, corrupt.len() as u64);
    let key = (run_id("daily"), State::Failed, "corrupt".to_owned());
    assert_eq!(one_class.by_class.into_iter().collect::<Vec<_>>(), [(key, corrupt.len() as u64)]);
    let both = ["corrupt", "unavailable", "other"].map(str::to_owned).to_vec();
    assert_eq!(count(Selection { error_classes: both, ..of_run("daily") }).await.items.count, all.len() as u64);
    assert_eq!(count(Selection { error_classes: vec!["other".to_owned()], ..of_run("daily") }).await.items.count, 0);
    let named: Vec<OrganizationId> = [all[1], all[7], 4].map(OrganizationId::from_bits).to_vec();
    let mut sorted = named.clone();
    sorted.sort_unstable();
    let found = count(Selection { organizations: sorted, ..Selection::default() }).await;
    let ids: Vec<u64> = found.items.first.iter().map(|(_, row)| row.organization.get()).collect();
    assert_eq!(ids, [all[1], all[7]]);
    assert!(matches!(survey(ports, &of_run("nobody"), 1).await, Err(OperateError::UnknownRun(_))));

    // Another run computes all of them: they need no redrive.
    rig.whole_run("later").await;
    let found = count(of_run("daily")).await;
    assert_eq!((found.items.count, found.newer), (0, all.len() as u64));
    assert_eq!(resend(ports, &of_run("daily"), |_, _| {}).await.expect("nothing"), 0);
    let with_newer = Selection { with_newer: true, ..of_run("daily") };
    assert_eq!(count(with_newer.clone()).await.items.count, all.len() as u64);
    assert_eq!(resend(ports, &with_newer, |_, _| {}).await.expect("sent"), all.len() as u64);
    rig.work_until_settled("daily").await;
    rig.check_limits().await;
    let ids: Vec<OrganizationId> = all.iter().copied().map(OrganizationId::from_bits).collect();
    let mut told = Vec::new();
    let found = account(ports, &run_id("daily"), &ids, 2, |row| told.push(row.organization)).await.expect("an account");
    assert_eq!(told, ids, "each is told of once, in order");
    assert_eq!(found.counts.settled(), all.len() as u64);
    let few: Vec<OrganizationId> = ids.iter().copied().step_by(17).collect();
    let found = account(ports, &run_id("daily"), &few, 2, |_| {}).await.expect("an account");
    assert_eq!(found.counts.expected(), few.len() as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_cancelled_run_nothing_is_done_again() {
    let rig = Rig::new(105, 20).await;
    rig.extract("doomed").await;
    let (first, _) = rig.oracle().into_iter().next().expect("an organization");
    end(&*rig.open.ports.ledger, "doomed", &[first], State::Parked, "unavailable").await;
    assert_eq!(survey(&rig.open.ports, &Selection::default(), 1).await.expect("a survey").items.count, 1);
    rig.open.ports.ledger.cancel_run(&run_id("doomed"), chat::Timestamp::now()).await.expect("cancelled");
    assert_eq!(survey(&rig.open.ports, &Selection::default(), 1).await.expect("a survey").items.count, 0);
    let refused = resend(&rig.open.ports, &of_run("doomed"), |_, _| {}).await;
    assert!(matches!(refused, Err(OperateError::Cancelled(_))), "{refused:?}");
}
