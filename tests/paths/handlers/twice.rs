//! Every message of the limit path delivered twice.

use jobs::OrganizationTask;
use support::place::{organizations_of, policy, stored_limits};
use support::until;

use super::rig::{Rig, run_id};

/// One history entry for each organization whose boundary is there now, none for the others.
async fn check_history(rig: &Rig) {
    let expected: Vec<usize> =
        rig.oracle().values().map(|answer| usize::from(answer.first_visible.is_some())).collect();
    assert_eq!(rig.history_lengths().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collect_rooms_delivered_twice_changes_nothing() {
    let rig = Rig::new(21, 120).await;
    rig.extract("daily").await;
    let again: Vec<Vec<u8>> = organizations_of(&*rig.open.ports.ledger, &run_id("daily"))
        .await
        .iter()
        .map(|row| OrganizationTask::new(run_id("daily"), rig.as_of, row.organization, policy()))
        .map(|task| serde_json::to_vec(&task).expect("a message"))
        .collect();
    rig.send_all(&*rig.open.ports.organization_queue, &again).await;
    rig.work_until_settled("daily").await;
    let workers = rig.start_workers();
    until("both queues are empty", async || rig.queued().await == 0).await;
    workers.stop().await;
    rig.check_done("daily").await;
    rig.check_limits().await;
    check_history(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn merge_newest_delivered_twice_at_once_settles_once() {
    let rig = Rig::new(22, 120).await;
    let bodies = rig.collect_and_take("daily").await;
    assert_eq!(bodies.len() as u64, rig.place.chat.free());
    // Neighbours in the queue, so that both deliveries are in work at the same time.
    let twice: Vec<Vec<u8>> = bodies.iter().flat_map(|body| [body.clone(), body.clone()]).collect();
    rig.send_all(&*rig.open.ports.room_queue, &twice).await;
    rig.work_until_settled("daily").await;
    let workers = rig.start_workers();
    until("both queues are empty", async || rig.queued().await == 0).await;
    workers.stop().await;
    rig.check_done("daily").await;
    rig.check_limits().await;
    check_history(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_delivered_again_after_the_end_are_dropped_and_touch_nothing() {
    let rig = Rig::new(23, 60).await;
    let bodies = rig.collect_and_take("daily").await;
    rig.send_all(&*rig.open.ports.room_queue, &bodies).await;
    rig.work_until_settled("daily").await;
    let (limits, ledger) = (
        stored_limits(&*rig.open.ports.limits).await,
        organizations_of(&*rig.open.ports.ledger, &run_id("daily")).await,
    );
    rig.send_all(&*rig.open.ports.room_queue, &bodies).await;
    let workers = rig.start_workers();
    until("both queues are empty", async || rig.queued().await == 0).await;
    let (_, merged) = workers.stop().await;
    assert_eq!((merged.dropped, merged.done), (bodies.len() as u64, 0));
    assert_eq!(stored_limits(&*rig.open.ports.limits).await, limits);
    assert_eq!(organizations_of(&*rig.open.ports.ledger, &run_id("daily")).await, ledger);
    check_history(&rig).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_meets_a_later_collection_of_its_own_run_ends_as_done() {
    let rig = Rig::new(24, 40).await;
    rig.whole_run("before").await;
    let earlier = rig.collect_and_take("daily").await;
    let mut rows = stored_limits(&*rig.open.ports.limits).await;
    for row in &mut rows {
        row.run = run_id("daily");
        row.version.collected_at = chat::Timestamp::now();
    }
    rig.open.ports.limits.put(&rows).await.expect("the later collection is stored first");
    rig.send_all(&*rig.open.ports.room_queue, &earlier).await;
    rig.work_until_settled("daily").await;
    rig.check_done("daily").await;
    rig.check_limits().await;
    check_history(&rig).await;
}
