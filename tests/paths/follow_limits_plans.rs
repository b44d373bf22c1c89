//! What `follow-limits` adds to the history of boundaries: what follows a change of plan, once, whoever dies when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chat::ledger::HistoryEntry;
use chat::{
    AccountId, ChangeCursor, Directory, Ledger, LimitRow, Limits, MessageId, Organization, OrganizationId, Participant,
    Plan, PortResult, PutOutcome, RoomId, RunId, Timestamp, Version,
};
use embedded::SqliteDirectory;
use jobs::limits::follow_limits::FollowPorts;
use jobs::limits::{SET_PLAN, release_at_once};
use support::waiting::number_from_env;
use support::{Faults, Flaky, until};
use worker::State;

use crate::follow_limits::{History, N, settings};
use crate::message_path::MS;

/// Old and new boundary, and why.
type Change = (Option<MessageId>, Option<MessageId>, &'static str);

/// The organization whose plan changes, with more messages than the policy shows.
struct Case {
    history: History,
    organization: OrganizationId,
    /// What ought to be in the history, oldest first.
    expected: Vec<Change>,
}

impl Case {
    async fn new(seed: u64) -> Self {
        let mut history = History::new(seed).await;
        for _ in 0..N + 3 {
            history.post(100).await;
        }
        Self { history, organization: OrganizationId::from_bits(1), expected: Vec::new() }
    }

    async fn set_plan(&self, plan: Plan) {
        self.history.chat.directory.set_plan(self.organization, plan).await.expect("a plan");
    }

    async fn known(&self) -> Organization {
        let found = self.history.chat.directory.organizations(&[self.organization]).await.expect("an organization");
        found.into_iter().flatten().next().expect("an organization")
    }

    async fn boundary(&self) -> Option<MessageId> {
        let row = self.history.chat.limits.get(&[self.organization]).await.expect("limits").pop().flatten();
        row?.first_visible_message_id()
    }

    async fn entries(&self) -> Vec<HistoryEntry> {
        let mut entries = self.history.chat.ledger.history(self.organization, 1_000).await.expect("a history");
        entries.reverse();
        entries
    }

    /// Waits for the limits and for as much history as there ought to be.
    async fn check(&mut self) {
        self.history.check().await;
        until("the history has come so far", async || self.entries().await.len() >= self.expected.len()).await;
        let entries = self.entries().await;
        let found: Vec<_> = entries.iter().map(|entry| (entry.old, entry.new, entry.cause.as_str())).collect();
        assert_eq!(found, self.expected, "{entries:?}");
        assert!(entries.is_sorted_by_key(|entry| entry.as_of), "{entries:?}");
    }

    /// A change of plan that is followed right now.
    async fn change(&mut self, plan: Plan) {
        let before = self.boundary().await;
        self.set_plan(plan).await;
        self.changed(before, plan).await;
    }

    async fn changed(&mut self, before: Option<MessageId>, plan: Plan) {
        self.history.check().await;
        self.expected.push(match plan {
            Plan::Paid => (before, None, "released"),
            Plan::Free => (None, self.boundary().await, "computed"),
        });
        self.check().await;
    }
}

/// A chat's own directory, whose plans have no versions.
struct Unversioned(SqliteDirectory);

fn unversioned(organization: Organization) -> Organization {
    Organization { plan_version: 0, ..organization }
}

#[async_trait]
impl Directory for Unversioned {
    async fn free_organizations(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<Organization>> {
        Ok(self.0.free_organizations(after, limit).await?.into_iter().map(unversioned).collect())
    }

    async fn organizations(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<Organization>>> {
        Ok(self.0.organizations(ids).await?.into_iter().map(|found| found.map(unversioned)).collect())
    }

    async fn rooms_of(&self, ids: &[OrganizationId]) -> PortResult<Vec<Vec<RoomId>>> {
        self.0.rooms_of(ids).await
    }

    async fn participants(&self, asked: &[(AccountId, RoomId)]) -> PortResult<Vec<Option<Participant>>> {
        self.0.participants(asked).await
    }

    async fn changed_organizations(&self, after: ChangeCursor, limit: usize) -> PortResult<Vec<ChangeCursor>> {
        self.0.changed_organizations(after, limit).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_without_versions_are_in_the_history_like_others() {
    let mut case = Case::new(4).await;
    let _read_model = case.history.chat.read_model();
    let ports = case.history.chat.follow_ports(case.history.policy, &followed_well());
    let directory = Arc::new(Unversioned(case.history.chat.directory.clone()));
    let _following = case.history.follow_over(FollowPorts { directory, ..ports }, settings(0, 1));
    case.changed(None, Plan::Free).await;
    for plan in [Plan::Paid, Plan::Free, Plan::Paid, Plan::Free] {
        case.change(plan).await;
    }
}

fn followed_well() -> Faults {
    Faults::new(1, 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_plan_is_in_the_history_and_what_else_moves_a_boundary_is_not() {
    let mut case = Case::new(1).await;
    let _read_model = case.history.chat.read_model();
    for round in 0..4 {
        // Each of them begins anew, whatever the one before had written.
        let _following = case.history.follow(settings(0, 1), &followed_well());
        if round == 0 {
            case.changed(None, Plan::Free).await;
        }
        let before = case.boundary().await;
        case.history.post(100).await;
        case.check().await;
        assert_ne!(case.boundary().await, before, "the limit has moved");
        if round % 2 == 1 {
            case.change(Plan::Paid).await;
            case.history.post(100).await;
            case.change(Plan::Free).await;
        }
    }
    assert_eq!(case.expected.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_at_which_call_a_change_of_plan_is_in_the_history_once() {
    const LIMITS: u64 = 3;
    const LEDGER: u64 = 5;
    let mut died = 0;
    for seed in 0..(number_from_env("LANNER_SCHEDULES", 10) / 10).clamp(1, 20) {
        let mut case = Case::new(10 + seed).await;
        let _read_model = case.history.chat.read_model();
        {
            let _following = case.history.follow(settings(0, 1), &followed_well());
            case.changed(None, Plan::Free).await;
        }
        let deaths = [(LIMITS, 1), (LIMITS, 2), (LIMITS, 3), (LEDGER, 1), (LEDGER, 1), (LEDGER, 1)];
        for ((port, call), number) in deaths.into_iter().zip(1..) {
            for (plan, odd) in [(Plan::Paid, 0), (Plan::Free, 1)] {
                let before = case.boundary().await;
                // Whether the call at which it dies has its effect is chosen by the seed.
                let faults = Faults::new(seed * 100 + number * 2 + odd, 0).dying_at(port, call);
                let following = case.history.follow(settings(0, 1), &faults);
                // Half of them die while they begin.
                tokio::time::sleep(case.history.random.u32(0..2) * 150 * MS).await;
                case.set_plan(plan).await;
                let said = async || case.entries().await.len() > case.expected.len();
                tokio::select! {
                    biased;
                    () = faults.died() => died += 1,
                    () = until("the change is in the history", said) => {}
                }
                drop(following);
                let _following = case.history.follow(settings(0, 1), &Faults::new(seed * 100 + number, 20));
                case.changed(before, plan).await;
            }
        }
    }
    // Each change of plan takes two calls to the limits and one to the ledger at least.
    assert!(died >= 10, "{died} died: the test proves little");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_of_an_operator_who_died_before_the_history_is_told_by_who_follows() {
    let mut case = Case::new(2).await;
    let _read_model = case.history.chat.read_model();
    let _following = case.history.follow(settings(0, 1), &followed_well());
    case.changed(None, Plan::Free).await;
    case.history.post(100).await;
    case.check().await;
    let before = case.boundary().await;
    case.set_plan(Plan::Paid).await;
    let (chat, organization) = (&case.history.chat, case.known().await);
    let run = RunId::new(format!("{SET_PLAN}-2026-11-23T00:00:00Z")).expect("an id");
    let dead = Faults::new(1, 0).dying_at(1, 1);
    let ledger = Flaky::new(chat.ledger.clone(), dead.of_port(1));
    let released = release_at_once(&chat.limits, &ledger, &organization, &run);
    let answer = tokio::time::timeout(200 * MS, released).await;
    assert!(!matches!(answer, Ok(Ok(_))), "it died: {answer:?}");
    case.changed(before, Plan::Paid).await;
    // And again, by whom it was interrupted: it is said already.
    let again = release_at_once(&case.history.chat.limits, &case.history.chat.ledger, &organization, &run).await;
    assert_eq!(again.expect("released"), None);
    case.check().await;
}

/// Between the change of plan and the release there is time for another change, which is followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_comes_late_leaves_the_limit_of_the_plan_after_it() {
    let mut case = Case::new(6).await;
    let _read_model = case.history.chat.read_model();
    let _following = case.history.follow(settings(0, 1), &followed_well());
    case.changed(None, Plan::Free).await;
    case.change(Plan::Paid).await;
    let paid = case.known().await;
    case.change(Plan::Free).await;
    let run = RunId::new(format!("{SET_PLAN}-2026-11-23T00:00:00Z")).expect("an id");
    let chat = &case.history.chat;
    assert_eq!(release_at_once(&chat.limits, &chat.ledger, &paid, &run).await.expect("an answer"), None);
    case.check().await;
}

/// Limits whose every put finds that somebody else has just written.
struct Beaten<'a> {
    limits: &'a dyn Limits,
    first: Mutex<VecDeque<LimitRow>>,
}

#[async_trait]
impl Limits for Beaten<'_> {
    async fn put(&self, rows: &[LimitRow]) -> PortResult<Vec<PutOutcome>> {
        let first = self.first.lock().expect("rows").pop_front();
        if let Some(row) = first {
            let outcome = self.limits.put(&[row]).await?;
            assert!(matches!(outcome[..], [PutOutcome::Stored { .. }]), "{outcome:?}");
        }
        self.limits.put(rows).await
    }

    async fn get(&self, organizations: &[OrganizationId]) -> PortResult<Vec<Option<LimitRow>>> {
        self.limits.get(organizations).await
    }

    async fn page(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<LimitRow>> {
        self.limits.page(after, limit).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_and_who_follows_release_at_once_and_one_of_them_has_done_it() {
    let mut case = Case::new(7).await;
    let _read_model = case.history.chat.read_model();
    {
        let _following = case.history.follow(settings(0, 1), &followed_well());
        case.changed(None, Plan::Free).await;
    }
    let before = case.boundary().await;
    case.set_plan(Plan::Paid).await;
    let chat = &case.history.chat;
    let organization = case.known().await;
    let stored = chat.limits.get(&[case.organization]).await.expect("limits").pop().flatten().expect("a limit");
    let later = |ms, run: &str| {
        let Version { as_of, collected_at, .. } = stored.version;
        let version = Version {
            plan_version: organization.plan_version,
            as_of: as_of.plus_millis(ms),
            collected_at: collected_at.plus_millis(ms),
        };
        (version, RunId::new(run).expect("an id"), Timestamp::now())
    };
    // A limit that was on its way, ahead of this clock; then the release of who follows.
    let (version, run, computed_at) = later(60_000, "live-00");
    let moved = LimitRow { version, run, computed_at, ..stored.clone() };
    let (version, run, at) = later(120_000, "live-plan-00");
    let first = Mutex::new(VecDeque::from([moved, stored.release(version, run, at)]));
    let beaten = Beaten { limits: &chat.limits, first };
    let run = RunId::new(format!("{SET_PLAN}-2026-11-23T00:00:00Z")).expect("an id");
    let answer = release_at_once(&beaten, &chat.ledger, &organization, &run).await;
    assert_eq!(answer.expect("released"), None, "it was the other who did it");
    let entries = case.entries().await;
    let last = entries.last().expect("it is in the history");
    assert_eq!((last.old, last.new, last.cause.as_str(), entries.len()), (before, None, "released", 2), "{entries:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_is_away_holds_up_no_limit_of_who_keeps_its_plan() {
    let mut case = Case::new(3).await;
    let _read_model = case.history.chat.read_model();
    let ports = case.history.chat.follow_ports(case.history.policy, &followed_well());
    let ledger = Arc::new(Flaky::new(case.history.chat.ledger.clone(), Faults::away()));
    let ports = FollowPorts { ledger, ..ports };
    let following = case.history.follow_over(ports, settings(0, 1));
    // The first limit wants a row in the history; it is there all the same, and so are those after it.
    case.history.check().await;
    case.history.post(100).await;
    case.history.check().await;
    assert_eq!(case.entries().await, []);
    drop(following);
    let _following = case.history.follow(settings(0, 1), &followed_well());
    case.changed(None, Plan::Free).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_left_the_free_plan_while_nobody_followed_and_nothing_was_saved_is_released() {
    let mut case = Case::new(5).await;
    let _read_model = case.history.chat.read_model();
    {
        let _following = case.history.follow(settings(0, 1), &followed_well());
        case.changed(None, Plan::Free).await;
    }
    let before = case.boundary().await;
    case.set_plan(Plan::Paid).await;
    case.history.chat.state.delete("follow-limits-place/0", None).await.expect("deleted");
    let _following = case.history.follow(settings(0, 1), &followed_well());
    case.changed(before, Plan::Paid).await;
}
