//! What stands out in a run, against brute force.

use std::collections::{BTreeMap, BTreeSet};

use chat::ledger::{Failure, Item, NewRun, Scope, Stage, State};
use chat::{OrganizationId, Timestamp};
use jobs::operate::OperateError;
use jobs::operate::explain::run::{Gone, Look, Missing, RunExplanation, explain_run};
use support::SmallChat;
use support::place::{Open, Place, policy};

use super::end;
use crate::handlers::rig::{Rig, run_id};

const QUIET_MS: u64 = 90_000;

/// Looks at the run so many milliseconds from now.
async fn look(open: &Open, run: &str, later_ms: u64) -> RunExplanation {
    let look = Look { at: Timestamp::now().plus_millis(later_ms), quiet_ms: QUIET_MS, shown: 10_000 };
    explain_run(&open.ports, &run_id(run), look, |_| {}).await.expect("an explanation")
}

fn organizations(ids: impl IntoIterator<Item = u64>) -> Vec<OrganizationId> {
    ids.into_iter().map(OrganizationId::from_bits).collect()
}

async fn open_run(open: &Open, name: &str, scope: Scope, ids: &BTreeSet<u64>) {
    let now = Timestamp::now();
    let new = NewRun { id: run_id(name), scope, as_of: SmallChat::as_of(), policy: policy(), opened_at: now };
    open.ports.ledger.open_run(&new).await.expect("opened");
    let ids = organizations(ids.iter().copied());
    open.ports.ledger.register(&run_id(name), &ids, ids.last().copied(), now).await.expect("registered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_and_the_run_are_compared_over_several_pages() {
    let chat =
        SmallChat { organizations: (0..3_500).map(|id| (2 * id, id % 7 == 0)).collect(), ..SmallChat::default() };
    let place = Place::of(chat).await;
    let open = place.open().await;
    let free: BTreeSet<u64> = place.chat.organizations.iter().filter(|(_, paid)| !paid).map(|known| known.0).collect();
    let mut random = fastrand::Rng::with_seed(7);
    for case in 0..4 {
        let share = [0, 1, 50, 100][case];
        let in_run: BTreeSet<u64> = (0..7_100).filter(|_| random.u32(0..100) < share).collect();
        let name = format!("case-{case}");
        open_run(&open, &name, Scope::AllFree, &in_run).await;
        open.ports.ledger.complete_extraction(&run_id(&name), Timestamp::now()).await.expect("noted");
        let found = look(&open, &name, 0).await;
        let known: BTreeMap<u64, bool> = place.chat.organizations.iter().copied().collect();
        let of =
            |wanted: Option<bool>| organizations(in_run.iter().copied().filter(|id| known.get(id).copied() == wanted));
        let first = |group: Option<&jobs::operate::Group<OrganizationId>>| {
            group.map(|group| group.first.clone()).unwrap_or_default()
        };
        assert_eq!(first(found.missing.get(&Missing::New)), organizations(free.difference(&in_run).copied()));
        assert_eq!(first(found.gone.get(&Gone::Paid)), of(Some(true)));
        assert_eq!(first(found.gone.get(&Gone::Unknown)), of(None));
        assert_eq!(found.in_time, in_run.len() as u64);
        assert!(found.missing.keys().all(|why| *why == Missing::New));
    }
    // Of named organizations none is missing.
    open_run(&open, "named", Scope::Named, &(0..10).collect()).await;
    let found = look(&open, "named", 0).await;
    assert!(found.missing.is_empty());
    assert_eq!((found.gone[&Gone::Paid].count, found.gone[&Gone::Unknown].count), (1, 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_late_waits_for_longer_than_an_attempt_takes() {
    let rig = Rig::new(111, 24).await;
    let ids: Vec<u64> = rig.oracle().into_keys().collect();
    rig.extract("daily").await;
    let ledger = &rig.open.ports.ledger;
    let item = |id: u64| Item { run: run_id("daily"), organization: OrganizationId::from_bits(id) };
    let now = Timestamp::now();
    ledger.begin(Stage::CollectRooms, &[item(ids[0]), item(ids[1]), item(ids[1])], now).await.expect("begun");
    let failure = Failure { class: "throttled".to_owned(), error: "too fast".to_owned() };
    ledger.fail(&[(item(ids[1]), failure)]).await.expect("failed");
    end(&**ledger, "daily", &ids[2..4], State::Parked, "unavailable").await;

    let open = ids.len() as u64 - 2;
    let found = look(&rig.open, "daily", 1_000).await;
    assert_eq!((found.in_time, found.late.count), (open, 0));
    assert!(found.look_again_at.is_some_and(|at| at > now.plus_millis(QUIET_MS)));
    // One attempt of the first, and nothing that ended: only the one with two attempts may take longer.
    let found = look(&rig.open, "daily", QUIET_MS + 20_000).await;
    assert_eq!((found.in_time, found.late.count), (1, open - 1));
    let late: Vec<(u64, State)> = found.late.first.iter().map(|row| (row.organization.get(), row.state)).collect();
    assert_eq!((late[0], late[1].1), ((ids[0], State::Running), State::Pending));
    let found = look(&rig.open, "daily", 2 * QUIET_MS + 20_000).await;
    assert_eq!((found.in_time, found.late.count, found.look_again_at), (0, open, None));
    let classes: Vec<_> = found.failures.iter().map(|c| (c.state, c.class.as_str(), c.organizations)).collect();
    assert_eq!(classes, [(State::Parked, "unavailable", 2), (State::Retrying, "throttled", 1)]);
    let nobody = explain_run(&rig.open.ports, &run_id("nobody"), Look { at: now, quiet_ms: 1, shown: 1 }, |_| {}).await;
    assert!(matches!(nobody, Err(OperateError::UnknownRun(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_organization_that_had_a_limit_before_the_run_is_lost() {
    let rig = Rig::new(112, 30).await;
    let ids: BTreeSet<u64> = rig.oracle().into_keys().collect();
    let half: BTreeSet<u64> = ids.iter().copied().take(ids.len() / 2).collect();
    rig.whole_run("before").await;
    // The clock of the limits goes on before the next run opens.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    open_run(&rig.open, "half", Scope::AllFree, &half).await;
    let rest = organizations(ids.difference(&half).copied());
    let found = look(&rig.open, "half", 0).await;
    assert_eq!(found.missing[&Missing::NotExtractedYet].first, rest);
    assert!(!found.extraction_stopped);
    assert!(look(&rig.open, "half", QUIET_MS + 5_000).await.extraction_stopped);
    rig.open.ports.ledger.complete_extraction(&run_id("half"), Timestamp::now()).await.expect("noted");
    let found = look(&rig.open, "half", QUIET_MS + 5_000).await;
    assert_eq!(found.missing[&Missing::Lost].first, rest);
    assert_eq!((found.missing.len(), found.extraction_stopped), (1, false));
    let found = look(&rig.open, "before", 0).await;
    assert!(found.missing.is_empty() && found.gone.is_empty() && found.late.count == 0 && found.in_time == 0);
}
