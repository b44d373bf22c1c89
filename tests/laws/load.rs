//! The laws of `Load`: what an import may count on, whatever stores it writes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat::{
    AccountId, Content as Said, Directory, Epoch, Head, Heads, LiveIds, Message, MessageId, Messages, Organization,
    OrganizationId, OrganizationRecord, OwnedDirectory, PageRequest, Plan, PortResult, RoomId, Timestamp,
};
use import::{Account, Load, Membership, MessageBody, Name, NameKind, OrganizationRooms, RoomMessages, Source};
use support::retry;

use crate::dump::{Content, Loader};
use crate::random;
use crate::suite::{Adapter, laws};

/// A store that takes loads, and the ports that read it.
pub(crate) struct Store {
    pub(crate) target: Box<dyn Target>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) owned_directory: Arc<dyn OwnedDirectory>,
    pub(crate) live_ids: Arc<dyn LiveIds>,
    pub(crate) heads: Arc<dyn Heads>,
}

/// What is loaded into, and what only some ports could tell.
#[async_trait]
pub(crate) trait Target: Loader {
    /// Whether a load was published and not finished.
    async fn unfinished(&self) -> PortResult<bool>;

    /// What messages say. Opened when it is asked for: before the first body there may be nothing to open.
    async fn messages(&self) -> PortResult<Arc<dyn Messages>>;
}

type Subject = Adapter<Store>;

laws! {
    load;
    every:
        what_was_loaded_reads_back,
        nothing_is_visible_before_it_is_published,
        a_load_dropped_before_it_is_published_leaves_everything_as_it_was,
        loading_twice_is_loading_once,
        a_second_load_replaces_the_directory_and_adds_messages,
        plan_versions_never_fall,
        a_deleted_message_stays_deleted,
        a_load_killed_after_it_was_published_is_unfinished_until_it_is_repeated,
        a_load_dropped_anywhere_leaves_a_whole_directory_and_is_repaired,
        another_load_does_not_go_on_where_the_first_one_stopped,
        more_rows_than_any_batch_are_replaced,
        another_epoch_is_refused_before_anything_changes,
        bodies_are_kept_of_live_messages_alone,
        names_are_known_to_the_next_load,
        names_are_not_dealt_where_ids_were_given_elsewhere,
        calls_out_of_order_are_refused,
        of_two_loads_at_once_one_is_told_so;
}

/// Everything that the ports tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    organizations: Vec<OrganizationRecord>,
    rooms: Vec<Vec<RoomId>>,
    live: BTreeMap<RoomId, Vec<MessageId>>,
}

/// What has to be seen of a directory and of messages; plan versions as given.
fn expected(directory: &Content, messages: &[&Content]) -> Seen {
    let mut organizations = Vec::new();
    let mut rooms = Vec::new();
    for organization in &directory.organizations {
        let accounts = directory.accounts.iter().filter(|row| row.organization == organization.id);
        let active: BTreeSet<AccountId> = accounts.clone().filter(|row| row.active).map(|row| row.id).collect();
        let memberships = directory.memberships.iter().filter(|row| active.contains(&row.account));
        let sees: BTreeSet<RoomId> = memberships.map(|row| row.room).collect();
        let is_its = |name: &&Name| name.kind == NameKind::Organization && name.id == organization.id.get();
        organizations.push(OrganizationRecord {
            organization: organization.clone(),
            name: directory.names.iter().find(is_its).map(|name| name.name.clone()),
            accounts: accounts.count() as u64,
            active_accounts: active.len() as u64,
            rooms: sees.len() as u64,
        });
        rooms.push(sees.into_iter().collect());
    }
    let mut ids: BTreeMap<RoomId, (BTreeSet<MessageId>, BTreeSet<MessageId>)> = BTreeMap::new();
    for row in messages.iter().flat_map(|content| &content.messages) {
        let (live, tombstoned) = ids.entry(row.room).or_default();
        live.extend(&row.live);
        tombstoned.extend(&row.tombstoned);
    }
    let newest_first =
        |(live, dead): (BTreeSet<_>, BTreeSet<_>)| live.into_iter().rev().filter(|id| !dead.contains(id)).collect();
    let live = ids.into_iter().map(|(room, ids)| (room, newest_first(ids)));
    Seen { organizations, rooms, live: live.filter(|(_, ids): &(_, Vec<_>)| !ids.is_empty()).collect() }
}

/// Reads everything of the store, with the rooms of `contents`.
async fn see(store: &Store, contents: &[&Content]) -> Seen {
    let organizations = retry(|| store.owned_directory.page(None, None, 100_000)).await;
    let ids: Vec<OrganizationId> = organizations.iter().map(|record| record.organization.id).collect();
    let rooms = retry(|| store.directory.rooms_of(&ids)).await;
    let asked: BTreeSet<RoomId> = contents.iter().flat_map(|content| &content.rooms).copied().collect();
    let asked: Vec<RoomId> = asked.into_iter().collect();
    let heads = retry(|| store.heads.of(&asked)).await;
    let mut live = BTreeMap::new();
    for (room, head) in asked.into_iter().zip(heads) {
        let ids = live_ids(store, room).await;
        let Some(newest) = ids.first() else { continue };
        assert!(*newest < head.below(Epoch::default()), "{head:?} of room {room} understates {newest}");
        assert_ne!(head, Head::Unknown, "room {room} has a head");
        live.insert(room, ids);
    }
    Seen { organizations, rooms, live }
}

async fn live_ids(store: &Store, room: RoomId) -> Vec<MessageId> {
    let mut request = PageRequest { room, below: MessageId::MAX, at_least: MessageId::from_bits(0), limit: 1_000 };
    let mut ids = Vec::new();
    loop {
        let pages = retry(|| store.live_ids.newest(std::slice::from_ref(&request))).await;
        let (page, resume_below) = pages.page(0);
        ids.extend_from_slice(page);
        let Some(below) = resume_below else { return ids };
        request.below = below;
    }
}

fn source(fingerprint: u64) -> Source {
    Source { epoch: Epoch::default(), fingerprint }
}

/// Everything before the directory is published.
async fn give_directory(load: &mut dyn Load, content: &Content) -> PortResult<()> {
    load.organizations(&content.organizations).await?;
    load.accounts(&content.accounts).await?;
    load.rooms(&content.rooms).await?;
    load.memberships(&content.memberships).await?;
    let seen = expected(content, &[]);
    let rooms = content.organizations.iter().zip(seen.rooms).filter(|(_, rooms)| !rooms.is_empty());
    let rooms: Vec<_> = rooms.map(|(row, rooms)| OrganizationRooms { organization: row.id, rooms }).collect();
    load.organization_rooms(&rooms).await?;
    load.names(&content.names).await
}

/// Messages, a few rooms at a time, behind where the load goes on.
async fn give_messages(load: &mut dyn Load, content: &Content, after: Option<RoomId>) -> PortResult<()> {
    let rooms: Vec<RoomMessages> =
        content.messages.iter().filter(|row| after.is_none_or(|after| row.room > after)).cloned().collect();
    for rooms in rooms.chunks(3) {
        load.messages(rooms).await?;
    }
    Ok(())
}

async fn try_load(store: &Store, content: &Content, fingerprint: u64) -> PortResult<()> {
    let mut load = store.target.load().await?;
    load.begin(&source(fingerprint)).await?;
    give_directory(&mut *load, content).await?;
    let after = load.publish().await?;
    give_messages(&mut *load, content, after).await?;
    load.finish().await
}

async fn load(store: &Store, content: &Content, fingerprint: u64) {
    try_load(store, content, fingerprint).await.expect("loaded");
    assert!(!retry(|| store.target.unfinished()).await, "it is finished");
}

/// Content whose plan versions are what they are after it was loaded over `before`.
fn over(mut content: Content, before: &Content) -> Content {
    let known: BTreeMap<_, _> = before.organizations.iter().map(|row| (row.id, row)).collect();
    for row in &mut content.organizations {
        if let Some(known) = known.get(&row.id) {
            row.plan_version = row.plan_version.max(known.plan_version + u64::from(known.plan != row.plan));
        }
    }
    content
}

async fn what_was_loaded_reads_back(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let content = Content::random(&mut random);
        load(&store, &content, 1).await;
        assert_eq!(see(&store, &[&content]).await, expected(&content, &[&content]));
    }
}

async fn nothing_is_visible_before_it_is_published(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let mut random = fastrand::Rng::with_seed(random::seed());
    let (first, second) = (Content::random(&mut random), Content::random(&mut random));
    load(&store, &first, 1).await;
    let before = expected(&first, &[&first]);
    let mut load = store.target.load().await.expect("a load");
    load.begin(&source(2)).await.expect("begun");
    assert_eq!(see(&store, &[&first, &second]).await, before);
    give_directory(&mut *load, &second).await.expect("given");
    assert_eq!(see(&store, &[&first, &second]).await, before);
    assert!(!retry(|| store.target.unfinished()).await);
    load.publish().await.expect("published");
    let published = see(&store, &[&first, &second]).await;
    assert_eq!(published.organizations, expected(&over(second, &first), &[]).organizations);
    assert!(retry(|| store.target.unfinished()).await);
}

async fn a_load_dropped_before_it_is_published_leaves_everything_as_it_was(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let mut random = fastrand::Rng::with_seed(random::seed());
    let (first, second) = (Content::random(&mut random), Content::random(&mut random));
    load(&store, &first, 1).await;
    for _ in 0..3 {
        let mut load = store.target.load().await.expect("a load");
        load.begin(&source(2)).await.expect("begun");
        give_directory(&mut *load, &second).await.expect("given");
    }
    assert_eq!(see(&store, &[&first, &second]).await, expected(&first, &[&first]));
    load(&store, &second, 2).await;
    let second = over(second, &first);
    assert_eq!(see(&store, &[&first, &second]).await, expected(&second, &[&first, &second]));
}

async fn loading_twice_is_loading_once(adapter: &Subject) {
    for mut random in random::cases(2) {
        let (_folder, store) = adapter.fresh().await;
        let content = Content::random(&mut random);
        for _ in 0..2 {
            load(&store, &content, 1).await;
            assert_eq!(see(&store, &[&content]).await, expected(&content, &[&content]));
        }
    }
}

async fn a_second_load_replaces_the_directory_and_adds_messages(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let (first, second) = (Content::random(&mut random), Content::random(&mut random));
        load(&store, &first, 1).await;
        load(&store, &second, 2).await;
        let second = over(second, &first);
        assert_eq!(see(&store, &[&first, &second]).await, expected(&second, &[&first, &second]));
        // What it no longer has is gone; nothing is replaced by nothing.
        let nothing = Content::default();
        load(&store, &nothing, 3).await;
        assert_eq!(see(&store, &[&first, &second]).await, expected(&nothing, &[&first, &second]));
    }
}

async fn plan_versions_never_fall(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let cases = [(Plan::Free, 0, 0), (Plan::Paid, 0, 1), (Plan::Paid, 7, 7), (Plan::Free, 8, 8), (Plan::Paid, 3, 9)];
    for (fingerprint, (plan, plan_version, holds)) in (1..).zip(cases) {
        let id = OrganizationId::from_bits(5);
        let content = Content { organizations: vec![Organization { id, plan, plan_version }], ..Content::default() };
        load(&store, &content, fingerprint).await;
        let asked = [id];
        let found = retry(|| store.directory.organizations(&asked)).await;
        assert_eq!(found, [Some(Organization { id, plan, plan_version: holds })]);
    }
}

fn room(number: u64) -> RoomId {
    RoomId::from_bits(number)
}

fn ids(numbers: &[u64]) -> Vec<MessageId> {
    numbers.iter().map(|number| MessageId::from_bits(number << MessageId::MILLIS_SHIFT)).collect()
}

/// Rooms with messages, and nothing else.
fn messages(rooms: &[(u64, &[u64], &[u64])]) -> Content {
    let row = |(number, live, dead): &(u64, &[u64], &[u64])| RoomMessages {
        room: room(*number),
        live: ids(live),
        tombstoned: ids(dead),
    };
    let messages: Vec<RoomMessages> = rooms.iter().map(row).collect();
    Content { rooms: messages.iter().map(|row| row.room).collect(), messages, ..Content::default() }
}

async fn a_deleted_message_stays_deleted(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    load(&store, &messages(&[(1, &[1, 2, 3], &[4]), (2, &[], &[9])]), 1).await;
    load(&store, &messages(&[(1, &[1, 4, 5], &[2])]), 2).await;
    load(&store, &messages(&[(1, &[2, 4, 6], &[]), (2, &[8, 9], &[])]), 3).await;
    assert_eq!(live_ids(&store, room(1)).await, ids(&[6, 5, 3, 1]));
    assert_eq!(live_ids(&store, room(2)).await, ids(&[8]));
}

async fn a_load_killed_after_it_was_published_is_unfinished_until_it_is_repeated(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let (first, second) = (Content::random(&mut random), Content::random(&mut random));
        load(&store, &first, 1).await;
        for killed_after in [0, 1, 2] {
            let mut load = store.target.load().await.expect("a load");
            load.begin(&source(2)).await.expect("begun");
            give_directory(&mut *load, &second).await.expect("given");
            let after = load.publish().await.expect("published");
            let mut some = second.clone();
            some.messages.truncate(killed_after * 3);
            give_messages(&mut *load, &some, after).await.expect("given");
            drop(load);
            assert!(retry(|| store.target.unfinished()).await, "killed after {killed_after} batches");
        }
        load(&store, &second, 2).await;
        let second = over(second, &first);
        assert_eq!(see(&store, &[&first, &second]).await, expected(&second, &[&first, &second]));
    }
}

/// Whatever the load is doing when it is dropped.
async fn a_load_dropped_anywhere_leaves_a_whole_directory_and_is_repaired(adapter: &Subject) {
    for mut random in random::cases(5) {
        let (_folder, store) = adapter.fresh().await;
        let (first, second) = (Content::random(&mut random), Content::random(&mut random));
        load(&store, &first, 1).await;
        for _ in 0..4 {
            let within = Duration::from_micros(random.u64(0..150_000));
            _ = tokio::time::timeout(within, try_load(&store, &second, 2)).await;
            let seen = see(&store, &[&first, &second]).await.organizations;
            let old = expected(&first, &[]).organizations;
            let new = expected(&over(second.clone(), &first), &[]).organizations;
            assert!(seen == old || seen == new, "neither the old nor the new directory: {seen:?}");
        }
        load(&store, &second, 2).await;
        let second = over(second, &first);
        assert_eq!(see(&store, &[&first, &second]).await, expected(&second, &[&first, &second]));
    }
}

async fn another_load_does_not_go_on_where_the_first_one_stopped(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let first = messages(&[(1, &[1], &[]), (2, &[2], &[]), (3, &[3], &[]), (4, &[4], &[]), (5, &[5], &[])]);
    let other = messages(&[(1, &[6], &[]), (2, &[], &[2]), (7, &[7], &[])]);
    let mut killed = store.target.load().await.expect("a load");
    killed.begin(&source(1)).await.expect("begun");
    give_directory(&mut *killed, &first).await.expect("given");
    killed.publish().await.expect("published");
    killed.messages(&first.messages[..3]).await.expect("messages");
    killed.messages(&first.messages[3..4]).await.expect("messages");
    drop(killed);
    load(&store, &other, 2).await;
    load(&store, &first, 1).await;
    assert_eq!(see(&store, &[&first, &other]).await, expected(&first, &[&first, &other]));
}

/// Tables are emptied and filled in many statements, messages in many requests.
async fn more_rows_than_any_batch_are_replaced(adapter: &Subject) {
    const ROWS: u64 = 9_000;
    const MESSAGES: u64 = 4_500;
    let (_folder, store) = adapter.fresh().await;
    let content = |step: u64, plan: Plan| {
        let numbers = || (0..ROWS).step_by(step as usize);
        let organization = |id| Organization { id: OrganizationId::from_bits(id), plan, plan_version: 0 };
        let account =
            |id| Account { id: AccountId::from_bits(id), organization: OrganizationId::from_bits(id), active: true };
        let member = |id| Membership { account: AccountId::from_bits(id), room: room(id) };
        Content {
            organizations: numbers().map(organization).collect(),
            accounts: numbers().map(account).collect(),
            rooms: numbers().map(room).collect(),
            memberships: numbers().map(member).collect(),
            names: Vec::new(),
            messages: vec![RoomMessages {
                room: room(0),
                live: (0..MESSAGES).step_by(step as usize).map(MessageId::from_bits).collect(),
                tombstoned: Vec::new(),
            }],
        }
    };
    let (all, some) = (content(1, Plan::Free), content(7, Plan::Paid));
    // As an import gives them: thousands at a time, and a room with its messages at once.
    for (fingerprint, content) in [(1, &all), (2, &some)] {
        let mut load = store.target.load().await.expect("a load");
        load.begin(&source(fingerprint)).await.expect("begun");
        for rows in content.organizations.chunks(8_192) {
            load.organizations(rows).await.expect("organizations");
        }
        load.accounts(&content.accounts).await.expect("accounts");
        load.rooms(&content.rooms).await.expect("rooms");
        load.memberships(&content.memberships).await.expect("memberships");
        load.publish().await.expect("published");
        load.messages(&content.messages).await.expect("messages");
        load.finish().await.expect("finished");
    }
    let found = retry(|| store.owned_directory.page(None, None, usize::MAX >> 1)).await;
    let found: Vec<Organization> = found.into_iter().map(|record| record.organization).collect();
    assert!(found == over(some, &all).organizations, "{} organizations", found.len());
    assert_eq!(live_ids(&store, room(0)).await.len() as u64, MESSAGES);
}

async fn another_epoch_is_refused_before_anything_changes(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let content = Content::random(&mut fastrand::Rng::with_seed(random::seed()));
    load(&store, &content, 1).await;
    let mut other = store.target.load().await.expect("a load");
    let epoch = Epoch(Timestamp::from_millis(5));
    let refused = other.begin(&Source { epoch, fingerprint: 2 }).await.expect_err("another epoch");
    assert!(!refused.is_temporary(), "{refused:?}");
    drop(other);
    assert_eq!(see(&store, &[&content]).await, expected(&content, &[&content]));
    load(&store, &content, 2).await;
}

async fn bodies_are_kept_of_live_messages_alone(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let body = |room_id: u64, id: u64, author: Option<u64>, body: &str| MessageBody {
        room: room(room_id),
        id: ids(&[id])[0],
        author: author.map(AccountId::from_bits),
        body: body.to_owned(),
    };
    let content = messages(&[(1, &[3, 7], &[6])]);
    let bodies = [
        body(1, 7, Some(10), "first"),
        body(2, 7, Some(10), "elsewhere"),
        body(1, 6, Some(10), "deleted"),
        body(1, 3, None, "two\nlines \u{1f389}"),
        body(1, 7, None, "last"),
    ];
    let load_with = async |content: &Content, bodies: &[MessageBody], fingerprint| {
        let mut load = store.target.load().await.expect("a load");
        load.begin(&source(fingerprint)).await.expect("begun");
        give_directory(&mut *load, content).await.expect("given");
        load.publish().await.expect("published");
        load.messages(&content.messages).await.expect("messages");
        for bodies in bodies.chunks(2) {
            load.bodies(bodies).await.expect("bodies");
        }
        load.finish().await.expect("finished");
    };
    let said = async |id: u64, room_id: u64| -> Option<Said> {
        let messages = store.target.messages().await.expect("messages");
        let asked = [(room(room_id), ids(&[id])[0])];
        let found: Vec<Option<Message>> = retry(|| messages.get(&asked)).await;
        found[0].clone().and_then(|message| message.content)
    };
    let says = |body: &str| Some(Said { author: None, body: body.to_owned(), edited_at: None });
    load_with(&content, &bodies, 1).await;
    // An import by ids alone keeps what is said.
    for fingerprint in [1, 2] {
        assert_eq!(said(7, 1).await, says("last"));
        assert_eq!(said(3, 1).await, says("two\nlines \u{1f389}"));
        assert_eq!(said(6, 1).await, None, "deleted");
        assert_eq!(said(7, 2).await, None, "not there");
        load_with(&content, &[], fingerprint).await;
    }
    assert_eq!(live_ids(&store, room(2)).await, [], "a body makes no message");
    // And takes it from what it deletes, for ever.
    load_with(&messages(&[(1, &[], &[7])]), &[], 3).await;
    load_with(&content, &bodies, 1).await;
    assert_eq!(said(7, 1).await, None);
    assert_eq!(live_ids(&store, room(1)).await, ids(&[3]));
}

async fn names_are_known_to_the_next_load(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let content = Content::random(&mut fastrand::Rng::with_seed(random::seed()));
    load(&store, &content, 1).await;
    for limit in [1, 7, 1_000] {
        let (mut known, mut load) = (Vec::new(), store.target.load().await.expect("a load"));
        loop {
            let after = known.last().map(|name: &Name| (name.kind, name.id));
            let page = load.known_names(after, limit).await.expect("names");
            let end = page.len() < limit;
            known.extend(page);
            if end {
                break;
            }
        }
        assert_eq!(known, content.names, "in pages of {limit}");
    }
}

async fn names_are_not_dealt_where_ids_were_given_elsewhere(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let mut content = Content::random(&mut fastrand::Rng::with_seed(random::seed()));
    content.names.clear();
    let mut empty = store.target.load().await.expect("a load");
    assert_eq!(empty.known_names(None, 10).await.expect("names"), []);
    drop(empty);
    load(&store, &content, 1).await;
    let mut load = store.target.load().await.expect("a load");
    let refused = load.known_names(None, 10).await.expect_err("ids given elsewhere");
    assert_eq!(refused.class(), "refused");
}

async fn calls_out_of_order_are_refused(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let content = messages(&[(1, &[1], &[])]);
    let mut load = store.target.load().await.expect("a load");
    assert!(load.rooms(&content.rooms).await.is_err(), "before it is begun");
    assert!(load.publish().await.is_err(), "before it is begun");
    assert!(load.messages(&content.messages).await.is_err(), "before it is begun");
    assert!(load.finish().await.is_err(), "before it is begun");
    load.begin(&source(1)).await.expect("begun");
    load.rooms(&content.rooms).await.expect("rooms");
    load.publish().await.expect("published");
    assert!(load.rooms(&content.rooms).await.is_err(), "after it is published");
    assert!(load.publish().await.is_err(), "after it is published");
}

/// At the latest when it is finished.
async fn of_two_loads_at_once_one_is_told_so(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let (first, second) = (messages(&[(1, &[1], &[])]), messages(&[(2, &[2], &[])]));
    let mut one = store.target.load().await.expect("a load");
    one.begin(&source(1)).await.expect("begun");
    give_directory(&mut *one, &first).await.expect("given");
    let mut two = store.target.load().await.expect("a load");
    let told = two.begin(&source(2)).await.expect_err("another load is under way");
    assert!(told.is_temporary(), "{told:?}");
    one.publish().await.expect("published");
    // The other one begins when the first one is published, and both write messages.
    let mut two = store.target.load().await.expect("a load");
    two.begin(&source(2)).await.expect("begun");
    give_directory(&mut *two, &second).await.expect("given");
    two.publish().await.expect("published");
    one.messages(&first.messages).await.expect("messages");
    let told = two.messages(&second.messages).await.expect_err("another load writes messages");
    assert!(told.is_temporary(), "{told:?}");
    let told = one.finish().await.expect_err("another load has replaced the directory");
    assert!(told.is_temporary(), "{told:?}");
    assert!(retry(|| store.target.unfinished()).await);
    drop((one, two));
    load(&store, &second, 2).await;
}
