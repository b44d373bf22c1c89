//! The laws of `Dump`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chat::{AccountId, Epoch, MessageId, Organization, OrganizationId, Plan, PortResult, RoomId};
use import::{Account, Counts, Dump, Load, Membership, Name, NameKind, RoomMessages, Source};
use support::retry;

use crate::random;
use crate::suite::{Adapter, Prepared, laws};

/// How content comes about: by a load.
#[async_trait]
pub(crate) trait Loader: Send + Sync {
    /// A load into the store.
    async fn load(&self) -> PortResult<Box<dyn Load>>;
}

type Store = Prepared<dyn Dump, dyn Loader>;
type Subject = Adapter<Store>;

laws! {
    dump;
    every:
        what_was_loaded_reads_back_in_pages_of_any_size,
        a_second_load_replaces_the_directory_and_adds_messages,
        a_store_without_anything_is_empty;
}

/// Everything that a store holds, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) organizations: Vec<Organization>,
    pub(crate) accounts: Vec<Account>,
    pub(crate) rooms: Vec<RoomId>,
    pub(crate) memberships: Vec<Membership>,
    pub(crate) names: Vec<Name>,
    pub(crate) messages: Vec<RoomMessages>,
}

impl Content {
    pub(crate) fn random(random: &mut fastrand::Rng) -> Self {
        let ids = |random: &mut fastrand::Rng, most: usize| -> BTreeSet<u64> {
            let small = random.bool();
            let top = if small { 60 } else { i64::MAX as u64 };
            (0..random.usize(1..most)).map(|_| random.u64(0..=top)).collect()
        };
        let organizations: Vec<Organization> = ids(random, 20)
            .into_iter()
            .map(|id| Organization {
                id: OrganizationId::from_bits(id),
                plan: if random.bool() { Plan::Free } else { Plan::Paid },
                plan_version: random.u64(0..5),
            })
            .collect();
        let accounts: Vec<Account> = ids(random, 40)
            .into_iter()
            .map(|id| Account {
                id: AccountId::from_bits(id),
                organization: organizations[random.usize(0..organizations.len())].id,
                active: random.bool(),
            })
            .collect();
        let rooms: Vec<RoomId> = ids(random, 30).into_iter().map(RoomId::from_bits).collect();
        let memberships: BTreeSet<(AccountId, RoomId)> = (0..80)
            .map(|_| (accounts[random.usize(0..accounts.len())].id, rooms[random.usize(0..rooms.len())]))
            .collect();
        let memberships = memberships.into_iter().map(|(account, room)| Membership { account, room }).collect();
        let mut names = Vec::new();
        for kind in NameKind::ALL {
            for id in ids(random, 15) {
                let within = random.bool().then(|| OrganizationId::from_bits(random.u64(0..9)));
                names.push(Name { kind, id, within, name: format!("\u{1f389} '{id}\"\n") });
            }
        }
        let mut messages = Vec::new();
        for room in rooms.iter().step_by(2) {
            let (live, tombstoned): (Vec<_>, Vec<_>) =
                ids(random, 300).into_iter().map(|id| MessageId::from_bits(id / 2)).partition(|id| id.get() % 5 > 0);
            let distinct = |ids: Vec<MessageId>| ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            messages.push(RoomMessages { room: *room, live: distinct(live), tombstoned: distinct(tombstoned) });
        }
        Self { organizations, accounts, rooms, memberships, names, messages }
    }

    fn counts(&self) -> Counts {
        let messages = self.messages.iter().map(|room| room.live.len() + room.tombstoned.len()).sum::<usize>();
        Counts {
            organizations: self.organizations.len() as u64,
            accounts: self.accounts.len() as u64,
            rooms: self.rooms.len() as u64,
            memberships: self.memberships.len() as u64,
            names: self.names.len() as u64,
            messages: messages as u64,
        }
    }
}

async fn load(store: &Store, content: &Content, fingerprint: u64) {
    let mut load = store.writer.load().await.expect("a load");
    load.begin(&Source { epoch: Epoch::default(), fingerprint }).await.expect("begun");
    load.organizations(&content.organizations).await.expect("organizations");
    load.accounts(&content.accounts).await.expect("accounts");
    load.rooms(&content.rooms).await.expect("rooms");
    load.memberships(&content.memberships).await.expect("memberships");
    load.names(&content.names).await.expect("names");
    load.publish().await.expect("published");
    load.messages(&content.messages).await.expect("messages");
    load.finish().await.expect("finished");
}

/// Page after page of a table.
macro_rules! all {
    ($store:ident, $page:ident, $limit:expr, |$row:ident| $after:expr) => {{
        let (mut after, mut all) = (None, Vec::new());
        loop {
            let page = retry(|| $store.port.$page(after, $limit)).await;
            assert!(page.len() <= $limit, "at most {}", $limit);
            let end = page.len() < $limit;
            all.extend(page);
            let Some($row) = all.last().filter(|_| !end) else { break all };
            after = Some($after);
        }
    }};
}

async fn read(store: &Store, limit: usize) -> Content {
    let (mut after, mut messages) = (None, Vec::new());
    loop {
        let rooms = retry(|| store.port.messages(after, limit)).await;
        let Some(last) = rooms.last() else { break };
        let ids: usize = rooms[..rooms.len() - 1].iter().map(|room| room.live.len() + room.tombstoned.len()).sum();
        assert!(ids < limit, "no room more than it takes to have {limit} ids");
        after = Some(last.room);
        messages.extend(rooms);
    }
    Content {
        organizations: all!(store, organizations, limit, |row| row.id),
        accounts: all!(store, accounts, limit, |row| row.id),
        rooms: all!(store, rooms, limit, |row| *row),
        memberships: all!(store, memberships, limit, |row| *row),
        names: all!(store, names, limit, |row| (row.kind, row.id)),
        messages,
    }
}

async fn what_was_loaded_reads_back_in_pages_of_any_size(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let content = Content::random(&mut random);
        load(&store, &content, 1).await;
        for limit in [1, 2, 7, 1_000] {
            assert_eq!(read(&store, limit).await, content, "in pages of {limit}");
        }
        assert_eq!(retry(|| store.port.counts()).await, content.counts());
    }
}

async fn a_second_load_replaces_the_directory_and_adds_messages(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let (first, second) = (Content::random(&mut random), Content::random(&mut random));
        load(&store, &first, 1).await;
        load(&store, &second, 2).await;
        let mut messages: BTreeMap<RoomId, (BTreeSet<MessageId>, BTreeSet<MessageId>)> = BTreeMap::new();
        for room in first.messages.iter().chain(&second.messages) {
            let (live, tombstoned) = messages.entry(room.room).or_default();
            tombstoned.extend(&room.tombstoned);
            live.extend(&room.live);
            live.retain(|id| !tombstoned.contains(id));
        }
        let row = |(room, (live, tombstoned)): (RoomId, (BTreeSet<_>, BTreeSet<_>))| RoomMessages {
            room,
            live: live.into_iter().collect(),
            tombstoned: tombstoned.into_iter().collect(),
        };
        let found = read(&store, 50).await;
        assert_eq!(found.messages, messages.into_iter().map(row).collect::<Vec<_>>());
        // Plan versions are the directory's own matter: they never fall.
        let ids = |content: &Content| content.organizations.iter().map(|row| (row.id, row.plan)).collect::<Vec<_>>();
        assert_eq!(ids(&found), ids(&second));
        let rest = Content { organizations: Vec::new(), messages: Vec::new(), ..found };
        assert_eq!(rest, Content { organizations: Vec::new(), messages: Vec::new(), ..second });
    }
}

async fn a_store_without_anything_is_empty(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    assert_eq!(read(&store, 10).await, Content::default());
    assert_eq!(retry(|| store.port.counts()).await, Counts::default());
}
