//! Runs that overtake each other, and plans that change while a run is under way.

use chat::ledger::{Phase, State};
use chat::{OrganizationId, Plan, Standing, Timestamp, Version};
use embedded::Access;
use jobs::limits::extract_organizations;
use support::Faults;
use support::place::{Adapters, LEDGER, LIMITS, stored_limits};

use super::rig::{Rig, run_id};

/// A free organization with a count boundary.
fn a_limited_one(rig: &Rig) -> OrganizationId {
    let limited = rig.oracle().into_iter().find(|(_, answer)| answer.first_visible.is_some());
    OrganizationId::from_bits(limited.expect("the count binds somewhere").0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_run_that_finishes_late_is_superseded() {
    let mut rig = Rig::new(31, 80).await;
    let newest = rig.as_of;
    rig.as_of = newest.minus_millis(5 * 86_400_000);
    let late = rig.collect_and_take("older").await;
    rig.as_of = newest;
    rig.whole_run("newer").await;
    let limits = stored_limits(&*rig.open.ports.limits).await;
    rig.send_all(&*rig.open.ports.room_queue, &late).await;
    let counts = rig.work_until_settled("older").await.counts;
    assert_eq!((counts.of(State::Superseded), counts.expected()), (rig.place.chat.free(), rig.place.chat.free()));
    assert_eq!(stored_limits(&*rig.open.ports.limits).await, limits, "an older run changed a newer limit");
    let history: usize = rig.history_lengths().await.iter().sum();
    let limited = rig.oracle().values().filter(|answer| answer.first_visible.is_some()).count();
    assert_eq!(history, limited, "a superseded run added history");
    rig.check_limits().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_result_does_not_limit_an_upgraded_organization_again() {
    let rig = Rig::new(32, 60).await;
    let upgraded = a_limited_one(&rig);
    rig.whole_run("before").await;
    let late = rig.collect_and_take("daily").await;
    rig.open.directory.set_plan(upgraded, Plan::Paid).await.expect("an upgrade");
    rig.send_all(&*rig.open.ports.room_queue, &late).await;
    let counts = rig.work_until_settled("daily").await.counts;
    assert_eq!((counts.of(State::Released), counts.of(State::Done)), (1, rig.place.chat.free() - 1));
    let row = rig.open.ports.limits.get(&[upgraded]).await.expect("limits").remove(0).expect("a row stays");
    assert_eq!(row.standing, Standing::Released);
    let history = rig.open.ports.ledger.history(upgraded, 10).await.expect("a history");
    assert_eq!((history[0].cause.as_str(), history[0].new), ("released", None));
    assert_eq!(history[0].old, rig.oracle()[&upgraded.get()].first_visible);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_was_stored_and_not_settled_still_comes_into_the_history() {
    let rig = Rig::new(34, 60).await;
    let upgraded = a_limited_one(&rig);
    rig.whole_run("before").await;
    let late = rig.collect_and_take("daily").await;
    rig.open.directory.set_plan(upgraded, Plan::Paid).await.expect("an upgrade");
    // As a worker leaves it that dies between the limit and the ledger.
    let row = rig.open.ports.limits.get(&[upgraded]).await.expect("limits").remove(0).expect("a row");
    let version = Version { plan_version: 1, as_of: rig.as_of, collected_at: Timestamp::now() };
    let released = row.release(version, run_id("daily"), Timestamp::now());
    rig.open.ports.limits.put(&[released]).await.expect("a release");
    rig.send_all(&*rig.open.ports.room_queue, &late).await;
    rig.work_until_settled("daily").await;
    let history = rig.open.ports.ledger.history(upgraded, 10).await.expect("a history");
    assert_eq!((history[0].cause.as_str(), history[0].new), ("released", None), "{history:?}");
    assert_eq!(history[0].old, row.first_visible_message_id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_from_before_an_upgrade_and_a_downgrade_is_refused_by_its_version() {
    let rig = Rig::new(33, 60).await;
    let organization = a_limited_one(&rig);
    rig.whole_run("before").await;
    let late = rig.collect_and_take("daily").await;
    rig.open.directory.set_plan(organization, Plan::Paid).await.expect("an upgrade");
    assert_eq!(rig.extract("releases").await.released, 1);
    rig.open.directory.set_plan(organization, Plan::Free).await.expect("a downgrade");
    rig.take_all(&*rig.open.ports.organization_queue).await;
    rig.send_all(&*rig.open.ports.room_queue, &late).await;
    rig.work_until_settled("daily").await;
    let rows = rig.organizations("daily").await;
    let row = rows.iter().find(|row| row.organization == organization).expect("its row");
    assert_eq!(row.state, State::Released);
    let stored = rig.open.ports.limits.get(&[organization]).await.expect("limits").remove(0).expect("a row stays");
    assert_eq!(stored.standing, Standing::Released, "a result from before the upgrade limits again");
    rig.whole_run("after").await;
    rig.check_limits_of(organization, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organizations_that_are_no_longer_free_are_released_by_the_next_run() {
    let rig = Rig::new(34, 60).await;
    rig.whole_run("before").await;
    let upgraded = a_limited_one(&rig);
    rig.open.directory.set_plan(upgraded, Plan::Paid).await.expect("an upgrade");
    let extracted = rig.extract("next").await;
    assert_eq!((extracted.released, extracted.sent), (1, rig.place.chat.free() - 1));
    rig.work_until_settled("next").await;
    let rows = stored_limits(&*rig.open.ports.limits).await;
    for row in &rows {
        assert_eq!(row.standing == Standing::Released, row.organization == upgraded, "{row:?}");
    }
    let again = rig.extract("the-one-after").await;
    assert_eq!(again.released, 0, "a released limit is released once");
    let counts = rig.progress("next").await.counts;
    assert_eq!((counts.of(State::Released), counts.of(State::Done)), (1, rig.place.chat.free() - 1));
    let history = rig.open.ports.ledger.history(upgraded, 10).await.expect("a history");
    let (end, computed) = (&history[0], &history[1]);
    assert_eq!((end.run.as_str(), end.cause.as_str(), end.old, end.new), ("next", "released", computed.new, None));
    assert_eq!(history.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_has_not_looked_for_organizations_that_are_no_longer_free_is_not_finished() {
    let rig = Rig::new(35, 60).await;
    rig.whole_run("before").await;
    let upgraded = a_limited_one(&rig);
    rig.open.directory.set_plan(upgraded, Plan::Paid).await.expect("an upgrade");
    // Dies as soon as it asks for the stored limits; another process goes on with what was sent.
    let faults = Faults::new(1, 0).dying_at(LIMITS, 1);
    let dying = Adapters::open(&rig.place.data_dir(), Access::Write).await.flaky(&faults);
    let new = rig.new_run("daily");
    tokio::select! {
        extracted = extract_organizations::extract(&dying, &new, |_| {}) => drop(extracted.expect_err("a death")),
        () = faults.died() => {}
    }
    assert_eq!(rig.progress("daily").await.phase(), Phase::Extracting);

    assert_eq!(rig.extract("daily").await.released, 1);
    assert_eq!(rig.work_until_settled("daily").await.phase(), Phase::Finished);
    let row = rig.open.ports.limits.get(&[upgraded]).await.expect("limits").remove(0).expect("a row stays");
    assert_eq!(row.standing, Standing::Released);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_the_ledger_was_not_told_of_is_told_by_the_next_start() {
    let rig = Rig::new(36, 60).await;
    rig.whole_run("before").await;
    let upgraded = a_limited_one(&rig);
    rig.open.directory.set_plan(upgraded, Plan::Paid).await.expect("an upgrade");
    // Dies when it has released the limit: the ledger has opened the run, and registered the page and what is to be released.
    let faults = Faults::new(1, 0).dying_at(LEDGER, 4);
    let dying = Adapters::open(&rig.place.data_dir(), Access::Write).await.flaky(&faults);
    let new = rig.new_run("daily");
    tokio::select! {
        extracted = extract_organizations::extract(&dying, &new, |_| {}) => drop(extracted.expect_err("a death")),
        () = faults.died() => {}
    }
    let row = rig.open.ports.limits.get(&[upgraded]).await.expect("limits").remove(0).expect("a row stays");
    assert_eq!(row.standing, Standing::Released);
    assert_eq!(rig.open.ports.ledger.history(upgraded, 10).await.expect("a history").len(), 1);

    assert_eq!(rig.extract("daily").await.released, 0);
    assert_eq!(rig.work_until_settled("daily").await.phase(), Phase::Finished);
    let history = rig.open.ports.ledger.history(upgraded, 10).await.expect("a history");
    assert_eq!((history.len(), history[0].cause.as_str()), (2, "released"));
}

impl Rig {
    /// The organization's limit is stored by `run`, as the oracle has it.
    async fn check_limits_of(&self, organization: OrganizationId, run: &str) {
        let row = self.open.ports.limits.get(&[organization]).await.expect("limits").remove(0).expect("a row");
        assert_eq!(row.run, run_id(run));
        assert_eq!(support::oracle::Answer::of(&row), self.oracle()[&organization.get()]);
    }
}
