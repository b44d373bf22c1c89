//! The laws of `Directory`.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use async_trait::async_trait;
use chat::{
    AccountId, ChangeCursor, Directory, Memberships, Organization, OrganizationId, Participant, Plan, PortResult,
    RoomId,
};
use import::{Account, Membership, Name};
use support::{retry, room_log};

use crate::random;
use crate::suite::{Adapter, laws};

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

/// What else changes a directory than its writer. Each change can be read when it returns.
#[async_trait]
pub(crate) trait Others: Send + Sync {
    /// Replaces the directory by these organizations, with nothing in them.
    async fn import(&self, organizations: &[Organization]) -> PortResult<()>;

    /// Somebody else notes changes, by a clock of their own.
    async fn note_changes(&self, changes: &[ChangeCursor]) -> PortResult<()>;
}

/// The adapter under the laws, and what prepares its answers: handles that never fail on demand, for they are no part of the port.
pub(crate) struct Store {
    pub(crate) port: Arc<dyn Directory>,
    pub(crate) writer: Arc<dyn DirectoryWriter>,
    pub(crate) others: Box<dyn Others>,
}

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
        rooms_and_participants_are_right_after_any_changes,
        changes_are_told_once_in_ascending_pages_from_any_cursor,
        what_changed_together_is_told_across_the_borders_of_pages,
        a_change_of_plan_is_told_above_every_cursor_that_was_reached,
        a_plan_that_stays_is_not_told,
        accounts_that_come_move_or_are_deactivated_are_told,
        an_import_tells_every_organization_and_those_that_are_gone,
        what_others_note_is_told_and_what_comes_later_stands_above_it;
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

fn cursor(changed: u64, id: u64) -> ChangeCursor {
    ChangeCursor { changed, organization: organization(id) }
}

/// All that is told above `after`, in pages of `limit`.
async fn changes(store: &Store, after: ChangeCursor, limit: usize) -> Vec<ChangeCursor> {
    let (mut told, mut reached) = (Vec::new(), after);
    for _ in 0..10_000 {
        let page = retry(|| store.port.changed_organizations(reached, limit)).await;
        assert!(page.len() <= limit);
        reached = page.last().copied().unwrap_or(reached);
        let is_last = page.len() < limit;
        told.extend(page);
        if is_last {
            assert!(told.is_sorted_by(|a, b| a < b), "ascending, none twice: {told:?}");
            assert!(told.first().is_none_or(|first| *first > after), "above {after:?}: {told:?}");
            return told;
        }
    }
    panic!("the listing does not end");
}

/// The end of what is told.
async fn end_of_changes(store: &Store) -> ChangeCursor {
    changes(store, ChangeCursor::default(), 1_000).await.last().copied().unwrap_or_default()
}

/// Which organizations are told above `after`, ascending by id.
async fn changed(store: &Store, after: ChangeCursor) -> Vec<u64> {
    let told = changes(store, after, 1_000).await;
    told.into_iter().map(|change| change.organization.get()).collect::<BTreeSet<_>>().into_iter().collect()
}

/// From every cursor that was told, from those beside it, and from before everything.
async fn assert_complete_from_any_cursor(store: &Store, all: &[ChangeCursor]) {
    let beside = |change: &ChangeCursor| {
        let (id, largest) = (change.organization.get(), OrganizationId::MAX.get());
        [
            *change,
            cursor(change.changed, id.saturating_sub(1)),
            cursor(change.changed, (id + 1).min(largest)),
            cursor(change.changed - 1, largest),
            cursor(change.changed + 1, 0),
        ]
    };
    let cursors = all.iter().flat_map(beside).chain([ChangeCursor::default()]);
    for after in cursors.collect::<BTreeSet<_>>() {
        let expected: Vec<_> = all.iter().copied().filter(|change| *change > after).collect();
        for limit in [1, 2, 5, expected.len().max(1), 1_000] {
            assert_eq!(changes(store, after, limit).await, expected, "above {after:?} in pages of {limit}");
        }
    }
}

async fn changes_are_told_once_in_ascending_pages_from_any_cursor(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    assert!(changes(&store, ChangeCursor::default(), 1).await.is_empty());
    let ids = [0, 1, 2, 3, 4, OrganizationId::MAX.get()];
    for ids in ids.chunks(3) {
        let rows: Vec<_> = ids.iter().map(|id| row(*id, Plan::Free)).collect();
        store.writer.put_organizations(&rows).await.expect("organizations");
    }
    for id in [3, 0, 3] {
        let plan = if id == 0 { Plan::Paid } else { Plan::Free };
        store.writer.set_plan(organization(id), plan).await.expect("a plan");
    }
    store.writer.set_plan(organization(1), Plan::Paid).await.expect("a plan");
    let all = changes(&store, ChangeCursor::default(), 1_000).await;
    let told: BTreeSet<u64> = all.iter().map(|change| change.organization.get()).collect();
    assert_eq!(told, BTreeSet::from(ids), "every organization that came");
    assert_eq!(all.last().map(|change| change.organization), Some(organization(1)), "the newest stands last");
    assert_complete_from_any_cursor(&store, &all).await;
}

async fn what_changed_together_is_told_across_the_borders_of_pages(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let all: Vec<_> =
        [(5, 0..1), (6, 0..8), (7, 3..10)].into_iter().flat_map(|(at, ids)| ids.map(move |id| (at, id))).collect();
    // Each organization stands with its newest change.
    let newest: BTreeMap<u64, u64> = all.iter().map(|(at, id)| (*id, *at)).collect();
    let mut all: Vec<_> = newest.into_iter().map(|(id, at)| cursor(at, id)).collect();
    store.others.note_changes(&all).await.expect("noted");
    all.sort_unstable();
    assert_complete_from_any_cursor(&store, &all).await;
}

async fn a_change_of_plan_is_told_above_every_cursor_that_was_reached(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let mut reached = end_of_changes(&store).await;
    for (id, plan) in [(2, Plan::Paid), (1, Plan::Paid), (3, Plan::Paid), (2, Plan::Free), (2, Plan::Paid)] {
        store.writer.set_plan(organization(id), plan).await.expect("a plan");
        let told = changes(&store, reached, 1_000).await;
        let [change] = told.as_slice() else { panic!("organization {id} alone is told: {told:?}") };
        assert_eq!(change.organization, organization(id));
        reached = *change;
    }
}

async fn a_plan_that_stays_is_not_told(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    store.writer.set_plan(organization(2), Plan::Paid).await.expect("a plan");
    let reached = end_of_changes(&store).await;
    for (id, plan) in [(2, Plan::Paid), (1, Plan::Free), (2, Plan::Paid)] {
        store.writer.set_plan(organization(id), plan).await.expect("the same plan");
    }
    store.writer.set_plan(organization(99), Plan::Free).await.expect_err("an unknown organization");
    assert_eq!(changes(&store, reached, 1_000).await, []);
}

async fn accounts_that_come_move_or_are_deactivated_are_told(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let reached = end_of_changes(&store).await;
    store.writer.set_active(account(30), false).await.expect("deactivated");
    assert_eq!(changed(&store, reached).await, [3]);
    let reached = end_of_changes(&store).await;
    store.writer.transfer(account(10), organization(2)).await.expect("transferred");
    assert_eq!(changed(&store, reached).await, [1, 2], "where it was and where it is");
    let reached = end_of_changes(&store).await;
    let rows =
        [(10, 3), (40, 3)].map(|(id, of)| Account { id: account(id), organization: organization(of), active: true });
    store.writer.put_accounts(&rows).await.expect("put");
    assert_eq!(changed(&store, reached).await, [2, 3], "one moves, one comes");
}

async fn an_import_tells_every_organization_and_those_that_are_gone(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let organizations: Vec<_> = (1..=7).map(|id| row(id, Plan::Free)).collect();
    store.others.import(&organizations).await.expect("imported");
    assert_eq!(changed(&store, ChangeCursor::default()).await, [1, 2, 3, 4, 5, 6, 7]);
    store.writer.set_plan(organization(4), Plan::Paid).await.expect("a plan");
    for organizations in [&organizations[..], &organizations[2..], &[row(9, Plan::Paid)]] {
        let reached = end_of_changes(&store).await;
        store.others.import(organizations).await.expect("imported");
        let told = changed(&store, reached).await;
        let ids = organizations.iter().map(|row| row.id.get());
        for id in ids.chain(1..=7) {
            assert!(told.contains(&id), "organization {id} is told: {told:?}");
        }
        for limit in [1, 2, 3] {
            let paged = changes(&store, reached, limit).await;
            assert_eq!(paged.len(), told.len(), "nobody is lost in pages of {limit}");
        }
    }
}

/// Somebody's clock is ahead: whoever has read what they noted must not miss what comes later.
async fn what_others_note_is_told_and_what_comes_later_stands_above_it(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    small(&store).await;
    let reached = end_of_changes(&store).await;
    let ahead = cursor(reached.changed + 3_600_000_000, 3);
    store.others.note_changes(&[ahead]).await.expect("noted");
    assert_eq!(changes(&store, reached, 10).await, [ahead]);
    store.writer.set_plan(organization(1), Plan::Paid).await.expect("a plan");
    assert_eq!(changed(&store, ahead).await, [1]);
    let reached = end_of_changes(&store).await;
    store.others.import(&[row(2, Plan::Free)]).await.expect("imported");
    assert_eq!(changed(&store, reached).await, [1, 2, 3]);
}
