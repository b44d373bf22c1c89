//! The laws of `Memberships`.

use std::collections::BTreeSet;

use chat::{
    AccountId, Directory, MembershipChange, Memberships, Organization, OrganizationId, Participant, Plan, Position,
    RoomChange, RoomId,
};
use import::{Account, Membership};
use support::retry;

use crate::directory::DirectoryWriter;
use crate::random;
use crate::suite::{Adapter, Prepared, laws};

/// The rest of the directory that the changes are made in.
pub(crate) trait Surroundings: Directory + DirectoryWriter {}

impl<T: Directory + DirectoryWriter> Surroundings for T {}

type Store = Prepared<dyn Memberships, dyn Surroundings>;
type Subject = Adapter<Store>;

laws! {
    memberships;
    every:
        who_joined_is_a_member_until_they_leave,
        applied_twice_is_applied_once,
        an_older_change_never_replaces_a_newer_one,
        positions_are_ordered_over_their_whole_range,
        a_deletion_ends_all_memberships_that_are_older,
        a_room_that_is_created_again_begins_without_members,
        what_an_import_brought_is_older_than_every_change,
        a_membership_counts_as_soon_as_its_account_is_known,
        a_room_is_known_from_its_first_change_until_it_is_deleted,
        plans_and_accounts_stay_as_they_are,
        a_batch_may_be_empty_or_large,
        two_writers_of_one_organization_lose_nothing,
        a_participant_is_a_member_from_its_join_until_it_leaves_or_the_room_is_deleted,
        any_order_of_arrival_leads_to_what_the_order_of_positions_leads_to;
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

fn change(position: u64, room_id: u64, what: RoomChange) -> MembershipChange {
    MembershipChange { room: room(room_id), position: Position::from_bits(position), what }
}

fn created(position: u64, room: u64) -> MembershipChange {
    change(position, room, RoomChange::Created)
}

fn deleted(position: u64, room: u64) -> MembershipChange {
    change(position, room, RoomChange::Deleted)
}

fn joined(position: u64, room: u64, id: u64) -> MembershipChange {
    change(position, room, RoomChange::Joined(account(id)))
}

fn left(position: u64, room: u64, id: u64) -> MembershipChange {
    change(position, room, RoomChange::Left(account(id)))
}

fn account_of(id: u64, organization: u64, active: bool) -> Account {
    Account { id: account(id), organization: OrganizationId::from_bits(organization), active }
}

/// Organizations 1 to 3; accounts 10 and 11 of 1, 20 of 2, 30 of 3; rooms 100 to 103.
async fn small(adapter: &Subject) -> (crate::suite::Folder, Store) {
    let (folder, store) = adapter.fresh().await;
    let organization = |id| Organization { id: OrganizationId::from_bits(id), plan: Plan::Free, plan_version: 0 };
    store.writer.put_organizations(&[1, 2, 3].map(organization)).await.expect("organizations");
    let accounts = [(10, 1), (11, 1), (20, 2), (30, 3)].map(|(id, of)| account_of(id, of, true));
    store.writer.put_accounts(&accounts).await.expect("accounts");
    store.writer.put_rooms(&[100, 101, 102, 103].map(room)).await.expect("rooms");
    (folder, store)
}

async fn apply(store: &Store, changes: &[MembershipChange]) {
    retry(|| store.port.apply(changes)).await;
}

/// The rooms that organizations 1 to 3 see.
async fn seen(store: &Store) -> [Vec<u64>; 3] {
    let ids = [1, 2, 3].map(OrganizationId::from_bits);
    let lists = store.writer.rooms_of(&ids).await.expect("rooms");
    let numbers = lists.iter().map(|rooms| rooms.iter().map(|room| room.get()).collect());
    let lists: [Vec<u64>; 3] = numbers.collect::<Vec<_>>().try_into().expect("an answer for each organization");
    let asked = (100..106).chain(lists.iter().flat_map(|rooms| rooms.iter().copied().take(10))).collect();
    assert_eq!(seen_by_participants(store, &asked).await, lists.each_ref().map(|rooms| among(rooms, &asked)));
    lists
}

/// Every account there is; 40 is made late.
const ACCOUNTS: [u64; 5] = [10, 11, 20, 30, 40];

fn among(rooms: &[u64], asked: &BTreeSet<u64>) -> Vec<u64> {
    rooms.iter().copied().filter(|room| asked.contains(room)).collect()
}

/// Each account in each room.
async fn participants(store: &Store, rooms: &BTreeSet<u64>) -> Vec<((u64, u64), Option<Participant>)> {
    let pairs: Vec<_> = ACCOUNTS.iter().flat_map(|id| rooms.iter().map(move |room| (*id, *room))).collect();
    let asked: Vec<_> = pairs.iter().map(|(id, place)| (account(*id), room(*place))).collect();
    let found = store.writer.participants(&asked).await.expect("participants");
    assert_eq!(found.len(), pairs.len(), "an answer for each question");
    pairs.into_iter().zip(found).collect()
}

/// Which of some rooms organizations 1 to 3 see: those in which a participant of theirs is a member.
async fn seen_by_participants(store: &Store, rooms: &BTreeSet<u64>) -> [Vec<u64>; 3] {
    let found = participants(store, rooms).await;
    [1, 2, 3].map(|organization| {
        let organization = OrganizationId::from_bits(organization);
        let is_in = |found: Participant| found.organization == organization && found.is_member;
        let rooms = found.iter().filter(|(_, found)| found.is_some_and(is_in)).map(|((_, room), _)| *room);
        rooms.collect::<BTreeSet<_>>().into_iter().collect()
    })
}

async fn who_joined_is_a_member_until_they_leave(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    apply(&store, &[joined(1, 100, 10), joined(2, 100, 20), joined(1, 101, 11), joined(3, 100, 11)]).await;
    assert_eq!(seen(&store).await, [vec![100, 101], vec![100], vec![]]);
    apply(&store, &[left(4, 100, 10), left(2, 101, 11), left(9, 102, 30)]).await;
    assert_eq!(seen(&store).await, [vec![100], vec![100], vec![]], "account 11 is still in 100");
    apply(&store, &[left(5, 100, 11)]).await;
    assert_eq!(seen(&store).await, [vec![], vec![100], vec![]]);
    apply(&store, &[joined(6, 100, 10)]).await;
    assert_eq!(seen(&store).await, [vec![100], vec![100], vec![]]);
}

async fn applied_twice_is_applied_once(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    let changes = [created(0, 100), joined(1, 100, 10), left(2, 100, 10), deleted(3, 101), joined(4, 101, 20)];
    for _ in 0..3 {
        apply(&store, &changes).await;
        assert_eq!(seen(&store).await, [vec![], vec![101], vec![]]);
    }
    // A part of it again, alone.
    for change in changes {
        apply(&store, &[change]).await;
        assert_eq!(seen(&store).await, [vec![], vec![101], vec![]]);
    }
}

async fn an_older_change_never_replaces_a_newer_one(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    apply(&store, &[left(5, 100, 10), joined(5, 101, 10)]).await;
    apply(&store, &[joined(4, 100, 10), left(4, 101, 10)]).await;
    assert_eq!(seen(&store).await, [vec![101], vec![], vec![]]);
    // Positions count within a room: another room's say nothing.
    apply(&store, &[joined(1, 102, 10)]).await;
    assert_eq!(seen(&store).await, [vec![101, 102], vec![], vec![]]);
    // In one batch the place in it says nothing either.
    apply(&store, &[left(9, 103, 20), joined(8, 103, 20), joined(7, 103, 30), left(6, 103, 30)]).await;
    assert_eq!(seen(&store).await, [vec![101, 102], vec![], vec![103]]);
}

async fn positions_are_ordered_over_their_whole_range(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    let edge = |epoch: u16| Position::new(epoch, 0).expect("a position").get();
    let positions = [0, 1, edge(1) - 1, edge(1), edge(0x8000) - 1, edge(0x8000), edge(0xffff), u64::MAX];
    let (mut stays, mut gone) = (Vec::new(), Vec::new());
    for (index, pair) in positions.windows(2).enumerate() {
        let at = 200 + 10 * index as u64;
        apply(&store, &[joined(pair[1], at, 10), left(pair[1], at + 1, 10), deleted(pair[1], at + 2)]).await;
        apply(&store, &[left(pair[0], at, 10), joined(pair[0], at + 1, 10), joined(pair[0], at + 2, 10)]).await;
        apply(&store, &[joined(pair[1], at + 3, 10), deleted(pair[0], at + 3)]).await;
        stays.extend([at, at + 3]);
        gone.extend([at + 1, at + 2]);
    }
    assert_eq!(seen(&store).await[0], stays, "and none of {gone:?}");
    let asked = stays.iter().chain(&gone).copied().collect();
    assert_eq!(seen_by_participants(&store, &asked).await, [stays, vec![], vec![]]);
}

async fn a_deletion_ends_all_memberships_that_are_older(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    store.writer.set_active(account(11), false).await.expect("deactivated");
    let members = [joined(1, 100, 10), joined(2, 100, 11), joined(3, 100, 20), joined(8, 100, 30), joined(1, 101, 10)];
    apply(&store, &members).await;
    apply(&store, &[deleted(6, 100)]).await;
    assert_eq!(seen(&store).await, [vec![101], vec![], vec![100]], "account 30 joined after that");
    apply(&store, &[joined(4, 100, 10), joined(5, 100, 20), deleted(3, 100), created(2, 100)]).await;
    assert_eq!(seen(&store).await, [vec![101], vec![], vec![100]], "what comes late is still older");
    store.writer.set_active(account(11), true).await.expect("activated");
    assert_eq!(seen(&store).await, [vec![101], vec![], vec![100]], "it ended for the inactive, too");
    // Together with what it ends, in any order.
    apply(&store, &[deleted(9, 101), joined(8, 101, 10), joined(7, 101, 20), joined(10, 101, 20)]).await;
    assert_eq!(seen(&store).await, [vec![], vec![101], vec![100]]);
}

async fn a_room_that_is_created_again_begins_without_members(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    apply(&store, &[created(5, 100)]).await;
    apply(&store, &[joined(1, 100, 10), joined(2, 100, 20), joined(6, 100, 30)]).await;
    apply(&store, &[deleted(4, 100)]).await;
    assert_eq!(seen(&store).await, [vec![], vec![], vec![100]]);
    apply(&store, &[joined(3, 100, 10)]).await;
    apply(&store, &[joined(7, 100, 20)]).await;
    assert_eq!(seen(&store).await, [vec![], vec![100], vec![100]]);
}

async fn what_an_import_brought_is_older_than_every_change(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    let brought =
        [member(10, 100), member(11, 100), member(20, 101), member(10, 101), member(30, 102), member(30, 103)];
    store.writer.put_memberships(&brought).await.expect("memberships");
    apply(&store, &[created(0, 102), joined(0, 103, 30)]).await;
    assert_eq!(seen(&store).await, [vec![100, 101], vec![101], vec![102, 103]]);
    apply(&store, &[left(0, 100, 10), deleted(0, 101)]).await;
    assert_eq!(seen(&store).await, [vec![100], vec![], vec![102, 103]], "account 11 is still in 100");
    apply(&store, &[deleted(1, 102), deleted(1, 103)]).await;
    assert_eq!(seen(&store).await, [vec![100], vec![], vec![]]);
}

async fn a_membership_counts_as_soon_as_its_account_is_known(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    apply(&store, &[joined(1, 100, 40), joined(1, 101, 40), joined(1, 102, 40), joined(1, 100, 10)]).await;
    apply(&store, &[left(2, 101, 40), deleted(2, 102)]).await;
    assert_eq!(seen(&store).await, [vec![100], vec![], vec![]]);
    store.writer.put_accounts(&[account_of(40, 3, true)]).await.expect("an account");
    assert_eq!(seen(&store).await, [vec![100], vec![], vec![100]]);
    apply(&store, &[left(3, 100, 40), joined(3, 101, 40)]).await;
    assert_eq!(seen(&store).await, [vec![100], vec![], vec![101]]);
}

/// A membership without a position is put only into a room that is known.
async fn is_known(store: &Store, room: u64) -> bool {
    match store.writer.put_memberships(&[member(30, room)]).await {
        Ok(()) => true,
        Err(e) if e.class() == "refused" => false,
        Err(e) => panic!("{e}"),
    }
}

async fn a_room_is_known_from_its_first_change_until_it_is_deleted(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    assert!(!is_known(&store, 200).await && is_known(&store, 103).await);
    apply(&store, &[created(5, 200), joined(5, 201, 10), left(5, 202, 10), deleted(5, 203), deleted(5, 103)]).await;
    for (room, known) in [(200, true), (201, true), (202, true), (203, false), (103, false)] {
        assert_eq!(is_known(&store, room).await, known, "room {room}");
    }
    apply(&store, &[deleted(6, 200), deleted(4, 201), deleted(6, 202), created(6, 203), joined(4, 103, 10)]).await;
    for (room, known) in [(200, false), (201, true), (202, false), (203, true), (103, false)] {
        assert_eq!(is_known(&store, room).await, known, "room {room}");
    }
}

async fn plans_and_accounts_stay_as_they_are(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    let ids = [1, 2, 3].map(OrganizationId::from_bits);
    let before = store.writer.organizations(&ids).await.expect("organizations");
    store.writer.set_active(account(10), false).await.expect("deactivated");
    apply(&store, &[joined(1, 100, 10), joined(2, 101, 10), joined(3, 101, 11), joined(1, 102, 20)]).await;
    assert_eq!(seen(&store).await, [vec![101], vec![102], vec![]], "account 10 is inactive");
    apply(&store, &[left(4, 101, 11)]).await;
    assert_eq!(seen(&store).await, [vec![], vec![102], vec![]]);
    store.writer.set_active(account(10), true).await.expect("activated");
    store.writer.transfer(account(20), OrganizationId::from_bits(1)).await.expect("transferred");
    assert_eq!(seen(&store).await, [vec![100, 101, 102], vec![], vec![]]);
    apply(&store, &[joined(2, 103, 20), left(5, 102, 20)]).await;
    assert_eq!(seen(&store).await, [vec![100, 101, 103], vec![], vec![]]);
    assert_eq!(store.writer.organizations(&ids).await.expect("organizations"), before);
}

async fn a_batch_may_be_empty_or_large(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    apply(&store, &[]).await;
    let rooms = 1_000..2_500;
    let mut changes: Vec<_> = rooms.clone().map(|room| joined(1, room, 10)).collect();
    changes.extend(rooms.clone().map(|room| joined(2, room, 20)));
    changes.extend(rooms.clone().step_by(2).map(|room| left(3, room, 10)));
    changes.extend(rooms.clone().step_by(5).map(|room| deleted(4, room)));
    apply(&store, &changes).await;
    let expected = |keep: fn(&u64) -> bool| rooms.clone().filter(|room| room % 5 > 0).filter(keep).collect::<Vec<_>>();
    let expected = [expected(|room| room % 2 > 0), expected(|_| true), vec![]];
    assert_eq!(seen(&store).await, expected);
    apply(&store, &changes).await;
    assert_eq!(seen(&store).await, expected);
}

async fn two_writers_of_one_organization_lose_nothing(adapter: &Subject) {
    let (folder, first) = small(adapter).await;
    let second = adapter.open(&folder).await;
    let writes = async |store: &Store, id: u64, rooms: std::ops::Range<u64>| {
        for room in rooms.clone() {
            apply(store, &[joined(1, room, id), joined(1, 100, id)]).await;
        }
        for room in rooms.step_by(2) {
            apply(store, &[left(2, room, id), left(2, 100, id), joined(3, 100, id)]).await;
        }
    };
    tokio::join!(writes(&first, 10, 200..215), writes(&second, 11, 300..315));
    let odd = |rooms: std::ops::Range<u64>| rooms.skip(1).step_by(2);
    let expected: Vec<u64> = [100].into_iter().chain(odd(200..215)).chain(odd(300..315)).collect();
    for store in [first, second] {
        assert_eq!(seen(&store).await, [expected.clone(), vec![], vec![]]);
    }
}

async fn a_participant_is_a_member_from_its_join_until_it_leaves_or_the_room_is_deleted(adapter: &Subject) {
    let (_folder, store) = small(adapter).await;
    let members = async || {
        let found = participants(&store, &BTreeSet::from([100, 101])).await;
        let is_member = |(pair, found): ((u64, u64), Option<Participant>)| found?.is_member.then_some(pair);
        found.into_iter().filter_map(is_member).collect::<Vec<_>>()
    };
    assert_eq!(members().await, []);
    store.writer.put_memberships(&[member(20, 100)]).await.expect("memberships");
    apply(&store, &[joined(1, 100, 10), joined(2, 100, 11), joined(1, 101, 10), joined(1, 100, 40)]).await;
    assert_eq!(members().await, [(10, 100), (10, 101), (11, 100), (20, 100)], "nobody knows account 40");
    apply(&store, &[left(4, 100, 10), joined(3, 100, 10)]).await;
    assert_eq!(members().await, [(10, 101), (11, 100), (20, 100)]);
    apply(&store, &[deleted(5, 100), joined(6, 100, 30)]).await;
    assert_eq!(members().await, [(10, 101), (30, 100)]);
    apply(&store, &[deleted(7, 100), deleted(2, 101)]).await;
    assert_eq!(members().await, []);
    apply(&store, &[joined(6, 100, 10)]).await;
    assert_eq!(members().await, [], "what comes late is still older");
}

/// What the changes in the order of their positions lead to: who is where, and which rooms are known.
fn fold(
    changes: &[MembershipChange],
    mut members: BTreeSet<(u64, u64)>,
    mut known: BTreeSet<u64>,
) -> (BTreeSet<(u64, u64)>, BTreeSet<u64>) {
    let mut ordered = changes.to_vec();
    ordered.sort_by_key(|change| change.position);
    for change in ordered {
        let room = change.room.get();
        known.insert(room);
        match change.what {
            RoomChange::Created => {}
            RoomChange::Deleted => {
                known.remove(&room);
                members.retain(|(_, of)| *of != room);
            }
            RoomChange::Joined(account) => _ = members.insert((account.get(), room)),
            RoomChange::Left(account) => _ = members.remove(&(account.get(), room)),
        }
    }
    (members, known)
}

fn random_history(random: &mut fastrand::Rng) -> Vec<MembershipChange> {
    // Near each other and all over the range.
    let top = if random.bool() { 200 } else { u64::MAX };
    let positions: BTreeSet<u64> = (0..random.usize(1..60)).map(|_| random.u64(0..=top)).collect();
    let changes = positions.into_iter().map(|position| {
        let (room, id) = (random.u64(100..106), [10, 11, 20, 30, 40][random.usize(0..5)]);
        match random.u32(0..10) {
            0..=4 => joined(position, room, id),
            5..=7 => left(position, room, id),
            8 => deleted(position, room),
            _ => created(position, room),
        }
    });
    changes.collect()
}

/// In any order, some several times, in batches.
async fn apply_shuffled(store: &Store, mut changes: Vec<MembershipChange>, mut random: fastrand::Rng) {
    for _ in 0..random.usize(0..10) {
        changes.extend(random.choice(&changes.clone()));
    }
    random.shuffle(&mut changes);
    let mut rest = &changes[..];
    while !rest.is_empty() {
        let (batch, after) = rest.split_at(random.usize(1..=rest.len().min(12)));
        apply(store, batch).await;
        rest = after;
    }
}

async fn any_order_of_arrival_leads_to_what_the_order_of_positions_leads_to(adapter: &Subject) {
    for mut random in random::cases(12) {
        let (folder, first) = small(adapter).await;
        let second = adapter.open(&folder).await;
        let brought: BTreeSet<(u64, u64)> =
            (0..random.usize(0..8)).map(|_| ([10, 11, 20, 30][random.usize(0..4)], random.u64(100..104))).collect();
        let rows: Vec<_> = brought.iter().map(|(id, room)| member(*id, *room)).collect();
        first.writer.put_memberships(&rows).await.expect("memberships");
        first.writer.set_active(account(11), false).await.expect("deactivated");
        let history = random_history(&mut random);
        let (members, known) = fold(&history, brought, (100..104).collect());

        let (mut one, mut other) = (Vec::new(), Vec::new());
        for change in history {
            let to = random.u32(0..3);
            one.extend((to != 0).then_some(change));
            other.extend((to != 1).then_some(change));
        }
        // Account 40 is made at some time or other.
        let account_40 = [account_of(40, 3, true)];
        let (a, b) = (random.fork(), random.fork());
        let (_, _, put) = tokio::join!(
            apply_shuffled(&first, one, a),
            apply_shuffled(&second, other, b),
            second.writer.put_accounts(&account_40)
        );
        put.expect("an account");

        let rooms_of = |ids: &[u64]| -> Vec<u64> {
            let rooms = members.iter().filter(|(id, _)| ids.contains(id)).map(|(_, room)| *room);
            rooms.collect::<BTreeSet<_>>().into_iter().collect()
        };
        assert_eq!(seen(&second).await, [rooms_of(&[10]), rooms_of(&[20]), rooms_of(&[30, 40])]);
        // Computes its list anew.
        first.writer.set_active(account(11), true).await.expect("activated");
        assert_eq!(seen(&first).await, [rooms_of(&[10, 11]), rooms_of(&[20]), rooms_of(&[30, 40])]);
        let everywhere = (100..106).collect();
        for (pair, found) in participants(&first, &everywhere).await {
            assert_eq!(found.map(|found| found.is_member), Some(members.contains(&pair)), "{pair:?}");
        }
        for room in 100..106 {
            assert_eq!(is_known(&first, room).await, known.contains(&room), "room {room}");
        }
    }
}
