//! The laws of `Directory`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chat::{AccountId, Directory, Memberships, Organization, OrganizationId, Participant, Plan, PortResult, RoomId};
use import::{Account, Membership, Name};
use support::{retry, room_log};

use crate::random;
use crate::suite::{Adapter, Prepared, laws};

/// How the directory's content comes about. Each change can be read when it returns.
#[async_trait]
pub(crate) trait DirectoryWriter: Memberships {
    async fn put_organizations(&self, organizations: &[Organization]) -> PortResult<()>;
    async fn put_accounts(&self, accounts: &[Account]) -> PortResult<()>;
    async fn put_rooms(&self, rooms: &[RoomId]) -> PortResult<()>;
    async fn put_names(&self, names: &[Name]) -> PortResult<()>;
    async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<()>;
    async fn put_memberships(&self, memberships: &[Membership]) -> PortResult<()>;
    async fn transfer(&self, account: AccountId, organization: OrganizationId) -> PortResult<()>;
    async fn set_active(&self, account: AccountId, active: bool) -> PortResult<()>;

    /// Accounts come into rooms, after all that happened before.
    async fn join(&self, memberships: &[Membership]) -> PortResult<()> {
        self.apply(&room_log::joined(memberships)).await
    }

    /// Accounts leave rooms, after all that happened before.
    async fn leave(&self, memberships: &[Membership]) -> PortResult<()> {
        self.apply(&room_log::left(memberships)).await
    }
}

type Store = Prepared<dyn Directory, dyn DirectoryWriter>;
type Subject = Adapter<Store>;

laws! {
    directory;
    every:
        a_listed_organization_is_the_one_that_its_id_finds,
        each_free_organization_is_listed_once_in_ascending_order,
        a_listing_is_complete_while_other_organizations_change,
        answers_stand_in_the_order_of_the_question,
        a_change_of_plan_counts_one_up,
        rooms_are_distinct_and_ascending,
        a_shared_room_belongs_to_every_organization_in_it,
        inactive_accounts_do_not_count,
        ended_memberships_do_not_count,
        a_transfer_takes_the_rooms_along,
        what_is_unknown_is_refused_and_changes_nothing,
        participants_stand_in_the_order_of_the_question,
        whoever_is_unknown_or_inactive_is_no_participant,
        rooms_and_participants_are_right_after_any_changes;
}

fn organization(id: u64) -> OrganizationId {
    OrganizationId::from_bits(id)
}

fn account(id: u64) -> AccountId {
    AccountId::from_bits(id)
}

fn room(id: u64) -> RoomId {
    RoomId::from_bits(id)
}

fn member(id: u64, room_id: u64) -> Membership {
    Membership { account: account(id), room: room(room_id) }
}

fn row(id: u64, plan: Plan) -> Organization {
    Organization { id: organization(id), plan, plan_version: 0 }
}

/// Organizations 1 to 3; accounts 10 and 11 of 1, 20 of 2, 30 of 3; rooms 100 to 109 and the largest.
async fn small(store: &Store) {
    let organizations: Vec<_> = (1..=3).map(|id| row(id, Plan::Free)).collect();
    store.writer.put_organizations(&organizations).await.expect("organizations");
    let accounts = [(10, 1), (11, 1), (20, 2), (30, 3)];
    let accounts = accounts.map(|(id, of)| Account { id: account(id), organization: organization(of), active: true });
    store.writer.put_accounts(&accounts).await.expect("accounts");
    let rooms: Vec<_> = (100..110).map(room).chain([RoomId::MAX]).collect();
    store.writer.put_rooms(&rooms).await.expect("rooms");
}

async fn rooms_of(store: &Store, id: u64) -> Vec<u64> {
    let ids = [organization(id)];
    let answer = retry(|| store.port.rooms_of(&ids)).await;
    assert_eq!(answer.len(), 1, "an answer for each organization");
    answer[0].iter().map(|room| room.get()).collect()
}

/// Lists in pages of `limit`, and calls `between` after each.
async fn list(store: &Store, limit: usize, mut between: impl AsyncFnMut(u64)) -> Vec<u64> {
    let (mut listed, mut after) = (Vec::new(), None);
    for page_number in 0..10_000 {
        let page = retry(|| store.port.free_organizations(after, limit)).await;
        assert!(page.len() <= limit);
        assert!(page.iter().all(|organization| organization.plan == Plan::Free));
        listed.extend(page.iter().map(|organization| organization.id.get()));
        if page.len() < limit {
            return listed;
        }
        after = page.last().map(|organization| organization.id);
        between(page_number).await;
    }
    panic!("the listing does not end");
}

async fn each_free_organization_is_listed_once_in_ascending_order(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    assert!(list(&store, 5, async |_| {}).await.is_empty());
    let plan = |id| if id % 3 == 0 { Plan::Paid } else { Plan::Free };
    let mut organizations: Vec<_> = (0..40).rev().map(|id| row(id, plan(id))).collect();
    organizations.push(row(OrganizationId::MAX.get(), Plan::Free));
    store.writer.put_organizations(&organizations).await.expect("organizations");
    let mut expected: Vec<_> =
        organizations.iter().filter(|row| row.plan == Plan::Free).map(|row| row.id.get()).collect();
    expected.sort_unstable();
    for limit in [1, 2, 7, expected.len(), 1_000] {
        assert_eq!(list(&store, limit, async |_| {}).await, expected, "pages of {limit}");
    }
}

async fn a_listing_is_complete_while_other_organizations_change(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    // Even ones stay free; odd ones come, go and change between the pages.
    let organizations: Vec<_> = (0..60).filter(|id| id % 4 != 1).map(|id| row(id, Plan::Free)).collect();
    store.writer.put_organizations(&organizations).await.expect("organizations");
    let listed = list(&store, 4, async |page| {
        let odd = (page * 7 % 30) * 2 + 1;
        store.writer.put_organizations(&[row(odd, Plan::Paid)]).await.expect("a paid one");
        store.writer.put_organizations(&[row((odd + 12) % 60, Plan::Free)]).await.expect("a free one");
    })
    .await;
    assert!(listed.is_sorted_by(|a, b| a < b), "ascending, none twice: {listed:?}");
    let even: Vec<_> = listed.iter().copied().filter(|id| id % 2 == 0).collect();
    assert_eq!(even, (0..60).step_by(2).collect::<Vec<_>>());
}

async fn answers_stand_in_the_order_of_the_question(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    store.writer.join(&[member(20, 105), member(10, 101)]).await.expect("joined");
    let ids = [3, 99, 1, 2, 1].map(organization);
    let found = retry(|| store.port.organizations(&ids)).await;
    let found: Vec<_> = found.iter().map(|found| found.as_ref().map(|organization| organization.id.get())).collect();
    assert_eq!(found, [Some(3), None, Some(1), Some(2), Some(1)]);
    let rooms = retry(|| store.port.rooms_of(&ids)).await;
    assert_eq!(rooms, [vec![], vec![], vec![room(101)], vec![room(105)], vec![room(101)]]);
    assert!(retry(|| store.port.organizations(&[])).await.is_empty());
    assert!(retry(|| store.port.rooms_of(&[])).await.is_empty());
}

async fn a_change_of_plan_counts_one_up(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let asked = [organization(2)];
    let mut versions = Vec::new();
    for plan in [Plan::Free, Plan::Paid, Plan::Paid, Plan::Free] {
        store.writer.set_plan(organization(2), plan).await.expect("a plan");
        let found = retry(|| store.port.organizations(&asked)).await;
        let found = found[0].clone().expect("it is known");
        assert_eq!(found.plan, plan);
        versions.push(found.plan_version);
    }
    assert_eq!(versions, [0, 1, 1, 2]);
    store.writer.put_organizations(&[row(2, Plan::Free)]).await.expect("put again");
    let found = retry(|| store.port.organizations(&asked)).await;
    assert_eq!(found[0].as_ref().map(|organization| organization.plan_version), Some(2), "a version never falls");
}

async fn rooms_are_distinct_and_ascending(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let largest = RoomId::MAX.get();
    let memberships = [(10, 109), (11, 103), (10, largest), (10, 103), (11, 109), (10, 100), (10, 100)];
    store.writer.join(&memberships.map(|(account, room)| member(account, room))).await.expect("joined");
    assert_eq!(rooms_of(&store, 1).await, [100, 103, 109, largest]);
}

async fn a_shared_room_belongs_to_every_organization_in_it(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    store.writer.join(&[member(10, 100), member(20, 100), member(20, 101)]).await.expect("joined");
    assert_eq!((rooms_of(&store, 1).await, rooms_of(&store, 2).await), (vec![100], vec![100, 101]));
    store.writer.leave(&[member(20, 100)]).await.expect("left");
    assert_eq!((rooms_of(&store, 1).await, rooms_of(&store, 2).await), (vec![100], vec![101]));
}

async fn inactive_accounts_do_not_count(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    store.writer.join(&[member(10, 100), member(10, 101), member(11, 101)]).await.expect("joined");
    store.writer.set_active(account(10), false).await.expect("deactivated");
    assert_eq!(rooms_of(&store, 1).await, [101], "account 11 is still in 101");
    store.writer.join(&[member(10, 102)]).await.expect("joined");
    assert_eq!(rooms_of(&store, 1).await, [101]);
    store.writer.set_active(account(11), false).await.expect("deactivated");
    assert!(rooms_of(&store, 1).await.is_empty());
    store.writer.set_active(account(10), true).await.expect("activated");
    assert_eq!(rooms_of(&store, 1).await, [100, 101, 102], "memberships stay with an inactive account");
}

async fn ended_memberships_do_not_count(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    store.writer.join(&[member(10, 100), member(11, 100), member(10, 101)]).await.expect("joined");
    store.writer.leave(&[member(10, 100), member(10, 101), member(30, 109)]).await.expect("left");
    assert_eq!(rooms_of(&store, 1).await, [100], "account 11 is still there");
    store.writer.leave(&[member(11, 100)]).await.expect("left");
    assert!(rooms_of(&store, 1).await.is_empty());
    store.writer.join(&[member(11, 100)]).await.expect("came back");
    assert_eq!(rooms_of(&store, 1).await, [100]);
}

async fn a_transfer_takes_the_rooms_along(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    store.writer.join(&[member(10, 100), member(11, 100), member(10, 101), member(20, 102)]).await.expect("joined");
    store.writer.transfer(account(10), organization(2)).await.expect("transferred");
    assert_eq!((rooms_of(&store, 1).await, rooms_of(&store, 2).await), (vec![100], vec![100, 101, 102]));
    let back = Account { id: account(10), organization: organization(3), active: true };
    store.writer.put_accounts(&[back]).await.expect("put elsewhere");
    assert_eq!((rooms_of(&store, 2).await, rooms_of(&store, 3).await), (vec![102], vec![100, 101]));
}

async fn what_is_unknown_is_refused_and_changes_nothing(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let nobody = Account { id: account(40), organization: organization(99), active: true };
    assert!(store.writer.put_accounts(&[nobody]).await.is_err());
    assert!(store.writer.put_memberships(&[member(10, 100), member(99, 100)]).await.is_err());
    assert!(store.writer.put_memberships(&[member(10, 100), member(10, 999)]).await.is_err());
    assert!(store.writer.transfer(account(10), organization(99)).await.is_err());
    assert!(store.writer.transfer(account(99), organization(1)).await.is_err());
    assert!(store.writer.set_active(account(99), true).await.is_err());
    assert!(store.writer.set_plan(organization(99), Plan::Paid).await.is_err());
    assert!(rooms_of(&store, 1).await.is_empty(), "a batch takes effect as a whole or not at all");
    assert!(rooms_of(&store, 99).await.is_empty());
}

/// Whose an account is and whether it is in the room; `None` where it is no participant.
async fn participants(store: &Store, asked: &[(u64, u64)]) -> Vec<Option<(u64, bool)>> {
    let pairs: Vec<_> = asked.iter().map(|(id, place)| (account(*id), room(*place))).collect();
    let answers = retry(|| store.port.participants(&pairs)).await;
    let numbers = |found: Participant| (found.organization.get(), found.is_member);
    answers.into_iter().map(|answer| answer.map(numbers)).collect()
}

async fn participants_stand_in_the_order_of_the_question(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let largest = RoomId::MAX.get();
    let joined = [member(10, 100), member(20, 100), member(20, 101), member(30, largest)];
    store.writer.join(&joined).await.expect("joined");
    let asked = [(30, largest), (99, 100), (10, 100), (10, 101), (20, 101), (10, 100), (11, 100), (20, 999), (30, 100)];
    let is = |of, is_member| Some((of, is_member));
    let expected = [
        is(3, true),
        None,
        is(1, true),
        is(1, false),
        is(2, true),
        is(1, true),
        is(1, false),
        is(2, false),
        is(3, false),
    ];
    assert_eq!(participants(&store, &asked).await, expected);
    assert!(participants(&store, &[]).await.is_empty());
}

async fn whoever_is_unknown_or_inactive_is_no_participant(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    store.writer.join(&[member(10, 100), member(40, 100)]).await.expect("joined");
    let asked = [(10, 100), (10, 101), (40, 100)];
    let of_10 = [Some((1, true)), Some((1, false))];
    assert_eq!(participants(&store, &asked).await, [of_10[0], of_10[1], None]);
    store.writer.set_active(account(10), false).await.expect("deactivated");
    assert_eq!(participants(&store, &asked).await, [None, None, None]);
    let late = Account { id: account(40), organization: organization(3), active: true };
    store.writer.put_accounts(&[late]).await.expect("an account");
    store.writer.set_active(account(10), true).await.expect("activated");
    let expected = [of_10[0], of_10[1], Some((3, true))];
    assert_eq!(participants(&store, &asked).await, expected, "memberships stay, and wait for their account");
}

async fn rooms_and_participants_are_right_after_any_changes(adapter: &Subject) {
    for mut random in random::cases(5) {
        let (_folder, store) = adapter.fresh().await;
        small(&store).await;
        let (ids, asked) = ([10, 11, 20, 30], [1, 2, 3].map(organization));
        let mut accounts: BTreeMap<u64, (u64, bool)> =
            BTreeMap::from([(10, (1, true)), (11, (1, true)), (20, (2, true)), (30, (3, true))]);
        let mut memberships: BTreeSet<(u64, u64)> = BTreeSet::new();
        for _ in 0..30 {
            let (id, place, of) = (ids[random.usize(0..4)], random.u64(100..106), random.u64(1..4));
            match random.u32(0..6) {
                0..=2 => {
                    store.writer.join(&[member(id, place)]).await.expect("joined");
                    memberships.insert((id, place));
                }
                3 => {
                    store.writer.leave(&[member(id, place)]).await.expect("left");
                    memberships.remove(&(id, place));
                }
                4 => {
                    store.writer.transfer(account(id), organization(of)).await.expect("transferred");
                    accounts.entry(id).and_modify(|account| account.0 = of);
                }
                _ => {
                    let active = random.bool();
                    store.writer.set_active(account(id), active).await.expect("set");
                    accounts.entry(id).and_modify(|account| account.1 = active);
                }
            }
            let expected = (1..4).map(|of| {
                let seen = memberships.iter().filter(|(id, _)| accounts[id] == (of, true));
                seen.map(|(_, place)| room(*place)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
            });
            let found = retry(|| store.port.rooms_of(&asked)).await;
            assert_eq!(found, expected.collect::<Vec<_>>());
            let pairs: Vec<_> = ids.iter().flat_map(|id| (100..106).map(move |place| (*id, place))).collect();
            let answer = |pair: &(u64, u64)| {
                let (of, active) = accounts[&pair.0];
                active.then(|| (of, memberships.contains(pair)))
            };
            let expected: Vec<_> = pairs.iter().map(answer).collect();
            assert_eq!(participants(&store, &pairs).await, expected);
        }
    }
}

/// A listing and a question by id tell the same, the plan version included.
async fn a_listed_organization_is_the_one_that_its_id_finds(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    for (id, plans) in [(1, &[Plan::Paid][..]), (2, &[Plan::Paid, Plan::Free])] {
        for plan in plans {
            store.writer.set_plan(organization(id), *plan).await.expect("a plan");
        }
    }
    let listed = retry(|| store.port.free_organizations(None, 10)).await;
    let expected = Organization { plan_version: 2, ..row(2, Plan::Free) };
    assert_eq!(listed, [expected, row(3, Plan::Free)]);
    let ids = [2, 3].map(organization);
    let found = retry(|| store.port.organizations(&ids)).await;
    assert_eq!(found, listed.into_iter().map(Some).collect::<Vec<_>>());
}
