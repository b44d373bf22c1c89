//! The viewing limit's conformance cases, each by its name, through the whole limit path.
//!
//! N = 5 unless a case says otherwise. Room 1 holds the odd ids 1 to 19, room 2 the even ids 2 to 20; account 1 is in room 1,
//! account 2 in room 2, both of organization 1. All ids lie in the first millisecond of the epoch.

use chat::ledger::NewRun;
use chat::{
    AccountId, Day, Epoch, LimitRow, Memberships as _, MessageId, Organization, OrganizationId, Plan, Policy, RoomId,
    RunId, Standing, Timestamp,
};
use embedded::Access;
use import::{Account, Membership};
use jobs::limits::{StageSettings, Until, collect_rooms, extract_organizations, merge_newest, wait_until_finished};
use support::place::{Open, open};
use support::room_log;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const A: OrganizationId = OrganizationId::from_bits(1);
const B: OrganizationId = OrganizationId::from_bits(2);

struct Case {
    at: Open,
    runs: u64,
    _dir: TempDir,
}

fn ids(ids: impl IntoIterator<Item = u64>) -> Vec<MessageId> {
    ids.into_iter().map(MessageId::from_bits).collect()
}

fn room(id: u64) -> RoomId {
    RoomId::from_bits(id)
}

fn membership(account: u64, room: u64) -> Membership {
    Membership { account: AccountId::from_bits(account), room: RoomId::from_bits(room) }
}

/// One millisecond after the ids.
fn soon() -> Timestamp {
    Epoch::default().0.plus_millis(1)
}

fn five() -> Policy {
    Policy::new(5, Some(Policy::MAX_AGE_MS)).expect("a policy")
}

impl Case {
    /// Organizations 1 and 2 without anything.
    async fn empty() -> Self {
        let dir = TempDir::new().expect("a folder");
        let at = open(dir.path(), Access::Write).await;
        let free = |id| Organization { id, plan: Plan::Free, plan_version: 0 };
        at.directory.put_organizations(&[free(A), free(B)]).await.expect("organizations");
        Self { at, runs: 0, _dir: dir }
    }

    /// Rooms 1 and 2, accounts 1 and 2 of organization 1, account 3 of organization 2.
    async fn new() -> Self {
        let case = Self::empty().await;
        for (id, organization) in [(1, A), (2, A), (3, B)] {
            let account = Account { id: AccountId::from_bits(id), organization, active: true };
            case.at.directory.put_accounts(&[account]).await.expect("an account");
        }
        case.at.directory.put_rooms(&[room(1), room(2), room(3)]).await.expect("rooms");
        case.post(1, (1..20).step_by(2));
        case.post(2, (2..21).step_by(2));
        case.join(1, 1).await;
        case.join(2, 2).await;
        case
    }

    fn post(&self, to: u64, messages: impl IntoIterator<Item = u64>) {
        self.at.index.insert(room(to), &ids(messages)).expect("messages");
    }

    fn delete(&self, from: u64, message: u64) {
        self.at.index.delete(room(from), &ids([message])).expect("a deletion");
    }

    async fn join(&self, account: u64, room: u64) {
        self.at.directory.apply(&room_log::joined(&[membership(account, room)])).await.expect("a join");
    }

    async fn leave(&self, account: u64, room: u64) {
        self.at.directory.apply(&room_log::left(&[membership(account, room)])).await.expect("a leave");
    }

    /// Runs the whole path.
    async fn run_at(&mut self, as_of: Timestamp, policy: Policy) {
        self.runs += 1;
        let id = RunId::new(format!("run-{}", self.runs)).expect("a run id");
        let new: NewRun = extract_organizations::all_free(id.clone(), as_of, policy);
        let stop = CancellationToken::new();
        let (ports, settings) = (&self.at.ports, StageSettings::embedded());
        let driven = async {
            extract_organizations::extract(ports, &new, |_| {}).await.expect("an extraction");
            let waited = wait_until_finished(ports, &id, Until::Settled, &stop, |_| {}).await.expect("an end");
            stop.cancel();
            waited
        };
        let (progress, collected, merged) = tokio::join!(
            driven,
            collect_rooms::consumer(ports, settings).run(stop.clone()),
            merge_newest::consumer(ports, settings).run(stop.clone())
        );
        collected.expect("collect-rooms");
        merged.expect("merge-newest");
        assert_eq!(progress.counts.failures(), 0);
    }

    async fn row(&self, organization: OrganizationId) -> Option<LimitRow> {
        let rows = self.at.ports.limits.get(&[organization]).await.expect("limits");
        rows.into_iter().next().flatten()
    }

    /// Runs with N = 5 and answers the boundary of an organization.
    async fn boundary(&mut self, organization: OrganizationId) -> Option<u64> {
        self.run_at(soon(), five()).await;
        self.row(organization).await.expect("a row").first_visible_message_id().map(MessageId::get)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rooms_merged() {
    assert_eq!(Case::new().await.boundary(A).await, Some(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_a_room_moves_the_boundary_back() {
    let mut case = Case::new().await;
    assert_eq!(case.boundary(A).await, Some(16));
    case.leave(2, 2).await;
    assert_eq!(case.boundary(A).await, Some(11));
    assert_eq!(case.row(A).await.expect("a row").previous_first_visible_message_id.map(MessageId::get), Some(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_a_room_in_which_a_colleague_stays_changes_nothing() {
    let mut case = Case::new().await;
    case.join(1, 2).await;
    case.leave(2, 2).await;
    assert_eq!(case.boundary(A).await, Some(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_a_room_with_only_older_ids_changes_nothing() {
    let mut case = Case::new().await;
    case.at.index.insert(room(3), &ids([0])).expect("a message");
    case.join(1, 3).await;
    assert_eq!(case.boundary(A).await, Some(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_a_room_with_newer_ids_moves_the_boundary() {
    let mut case = Case::new().await;
    case.post(3, 21..=24);
    case.join(1, 3).await;
    assert_eq!(case.boundary(A).await, Some(20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_room_counts_for_every_organization_that_sees_it() {
    let mut case = Case::new().await;
    case.join(3, 2).await;
    assert_eq!(case.boundary(A).await, Some(16));
    assert_eq!(case.boundary(B).await, Some(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_visible_message_moves_the_boundary_back() {
    let mut case = Case::new().await;
    case.delete(2, 18);
    assert_eq!(case.boundary(A).await, Some(15));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_hidden_message_changes_nothing() {
    let mut case = Case::new().await;
    case.delete(1, 3);
    assert_eq!(case.boundary(A).await, Some(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_n_candidates_have_no_boundary() {
    let mut case = Case::new().await;
    case.post(3, 31..=35);
    case.join(3, 3).await;
    assert_eq!(case.boundary(B).await, None);
    let row = case.row(B).await.expect("a row");
    assert_eq!((row.standing, row.visible_messages), (Standing::NoCountLimit, 5));
    assert_eq!(row.oldest_visible_message_id.map(MessageId::get), Some(31));
}

#[tokio::test(flavor = "multi_thread")]
async fn n_and_one_candidates_have_the_second_oldest_as_boundary() {
    let mut case = Case::new().await;
    case.post(3, 31..=36);
    case.join(3, 3).await;
    assert_eq!(case.boundary(B).await, Some(32));
}

#[tokio::test(flavor = "multi_thread")]
async fn none_or_fewer_than_n_candidates_have_no_boundary() {
    let mut case = Case::new().await;
    case.join(3, 3).await;
    assert_eq!(case.boundary(B).await, None);
    case.post(3, [40, 41]);
    assert_eq!(case.boundary(B).await, None);
    assert_eq!(case.row(B).await.expect("a row").visible_messages, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_accounts_or_rooms_there_is_a_row_with_zero_counts() {
    let mut case = Case::empty().await;
    assert_eq!(case.row(A).await, None, "not computed yet");
    assert_eq!(case.boundary(A).await, None);
    let row = case.row(A).await.expect("a row");
    assert_eq!((row.standing, row.visible_messages, row.rooms), (Standing::NoCountLimit, 0, 0));
    assert_eq!(row.oldest_visible_message_id, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_and_joining_again_before_the_run_is_as_if_never_left() {
    let mut case = Case::new().await;
    case.leave(2, 2).await;
    case.join(2, 2).await;
    assert_eq!(case.boundary(A).await, Some(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn transferring_an_account_changes_both_organizations() {
    let mut case = Case::new().await;
    case.at.directory.transfer(AccountId::from_bits(2), B).await.expect("a transfer");
    assert_eq!(case.boundary(A).await, Some(11));
    assert_eq!(case.boundary(B).await, Some(12));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inactive_account_shows_nothing_to_its_organization() {
    let mut case = Case::new().await;
    case.at.directory.set_active(AccountId::from_bits(2), false).await.expect("a deactivation");
    assert_eq!(case.boundary(A).await, Some(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_the_newer_instant_wins_even_if_it_finishes_first() {
    let mut case = Case::new().await;
    case.run_at(soon().plus_millis(5), five()).await;
    let newer = case.row(A).await.expect("a row");
    case.run_at(soon(), Policy::new(2, None).expect("a policy")).await;
    assert_eq!(case.row(A).await, Some(newer));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_organization_is_released_and_not_limited_again() {
    let mut case = Case::new().await;
    assert_eq!(case.boundary(A).await, Some(16));
    case.at.directory.set_plan(A, Plan::Paid).await.expect("an upgrade");
    case.run_at(soon(), five()).await;
    assert_eq!(case.row(A).await.expect("a row").standing, Standing::Released);
    case.at.directory.set_plan(A, Plan::Free).await.expect("a downgrade");
    assert_eq!(case.boundary(A).await, Some(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_exactly_at_the_edge_of_the_age_counts_and_a_millisecond_older_does_not() {
    let mut case = Case::empty().await;
    let account = Account { id: AccountId::from_bits(1), organization: A, active: true };
    case.at.directory.put_accounts(&[account]).await.expect("an account");
    case.at.directory.put_rooms(&[room(1)]).await.expect("a room");
    case.join(1, 1).await;
    let epoch = Epoch::default();
    let now = epoch.0.plus_millis(100 * Day::MILLIS);
    let edge = now.minus_millis(Policy::MAX_AGE_MS);
    let [on_the_edge, too_old] = [edge, edge.minus_millis(1)].map(|t| epoch.first_id(t));
    case.at.index.insert(room(1), &[too_old, on_the_edge]).expect("messages");
    case.run_at(now, five()).await;
    let row = case.row(A).await.expect("a row");
    assert_eq!((row.visible_messages, row.oldest_visible_message_id), (1, Some(on_the_edge)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_at_as_of_itself_is_too_new() {
    let mut case = Case::new().await;
    let as_of = soon();
    case.at.index.insert(room(1), &[Epoch::default().first_id(as_of)]).expect("a message");
    assert_eq!(case.boundary(A).await, Some(16));
}

/// Zulip's semantics: the whole tenant is one room, messages have no age. Limit 10 of 15 ids: the 6th; limit 50 of 15: none.
#[tokio::test(flavor = "multi_thread")]
async fn one_room_per_tenant_without_age_is_zulips_rule() {
    let mut case = Case::empty().await;
    let account = Account { id: AccountId::from_bits(1), organization: A, active: true };
    case.at.directory.put_accounts(&[account]).await.expect("an account");
    case.at.directory.put_rooms(&[room(1)]).await.expect("a room");
    case.join(1, 1).await;
    case.post(1, 101..=115);
    case.run_at(soon(), Policy::new(10, None).expect("a policy")).await;
    assert_eq!(case.row(A).await.expect("a row").first_visible_message_id().map(MessageId::get), Some(106));
    case.run_at(soon(), Policy::new(50, None).expect("a policy")).await;
    assert_eq!(case.row(A).await.expect("a row").standing, Standing::NoCountLimit);
}
