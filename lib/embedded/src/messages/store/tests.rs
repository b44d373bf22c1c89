//! Rows, ids and heads agree, and what was interrupted is completed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chat::event::{Actor, Event, EventId, What};
use chat::message::{Fold, Kept, Posted, Verdict};
use chat::{
    AccountId, Applied, Content, Day, Epoch, Expected, Head, Message, MessageChange, MessageId, MessageState,
    MessageStore, OrganizationId, PageRequest, PortResult, Position, RoomId, Timestamp,
};

use super::LmdbMessageStore;
use crate::lmdb::MapSize;
use crate::packed::cases;
use crate::{LmdbMessages, PackedIndex};

const AUTHOR: u64 = 7;

type Key = (RoomId, MessageId);

fn open_with(dir: &Path, messages: MapSize, index: MapSize) -> LmdbMessageStore {
    let index = PackedIndex::open(&dir.join("live_ids"), index, Epoch::default()).expect("an index");
    LmdbMessageStore::new(LmdbMessages::open(&dir.join("messages"), messages).expect("messages"), index)
}

fn open(dir: &Path) -> LmdbMessageStore {
    open_with(dir, MapSize::default(), MapSize::default())
}

fn small() -> MapSize {
    MapSize::new(MapSize::MIN_BYTES).expect("a size")
}

fn room(room: u64) -> RoomId {
    RoomId::from_bits(room)
}

/// The id of the first message of a day.
fn id(day: u64) -> MessageId {
    Epoch::default().first_id(Epoch::default().0.plus_millis(day * Day::MILLIS))
}

fn day(day: u64) -> Head {
    Head::Day(Day::of(Epoch::default().0.plus_millis(day * Day::MILLIS)))
}

fn live(position: u64, body: &str) -> MessageState {
    let posted = Posted {
        author: Some(AccountId::from_bits(AUTHOR)),
        organization: Some(OrganizationId::from_bits(3)),
        body: body.to_owned(),
        edited_at: None,
    };
    MessageState { position: Some(Position::from_bits(position)), kept: Kept::Live(posted) }
}

fn tombstone(position: u64) -> MessageState {
    MessageState { position: Some(Position::from_bits(position)), kept: Kept::Deleted { at: None } }
}

fn change(key: Key, expected: Expected, state: MessageState) -> MessageChange {
    MessageChange { room: key.0, id: key.1, expected, state }
}

/// `apply` as a caller sees it, without a runtime.
fn try_apply(store: &LmdbMessageStore, changes: &[MessageChange]) -> PortResult<Vec<Applied>> {
    store.write(changes.iter().cloned().enumerate().collect())
}

fn apply(store: &LmdbMessageStore, changes: &[MessageChange]) -> Vec<Applied> {
    try_apply(store, changes).expect("applied")
}

fn states(store: &LmdbMessageStore, keys: &[Key]) -> Vec<Option<MessageState>> {
    store.messages.states(keys).expect("states")
}

fn live_ids(store: &LmdbMessageStore, room: RoomId) -> Vec<MessageId> {
    let request = PageRequest { room, below: MessageId::MAX, at_least: MessageId::from_bits(0), limit: usize::MAX };
    store.index.pages(&[request]).expect("pages").ids().to_vec()
}

fn heads(store: &LmdbMessageStore, rooms: &[RoomId]) -> Vec<Head> {
    store.index.heads_of(rooms).expect("heads")
}

#[test]
fn killed_between_index_and_rows_the_same_changes_complete_both() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let (kept, gone, buried) = ((room(1), id(3)), (room(1), id(2)), (room(2), id(9)));
    let created = [change(kept, Expected::Absent, live(1, "a")), change(gone, Expected::Absent, live(2, "b"))];
    let deleted = [
        change(gone, Expected::At(Position::from_bits(2)), tombstone(3)),
        change(buried, Expected::Absent, tombstone(4)),
    ];
    for changes in [created, deleted] {
        let keys = changes.each_ref().map(|change| (change.room, change.id));
        let before = states(&store, &keys);
        let entries: Vec<_> = changes.iter().zip(before.clone()).collect();
        // This far a killed process came.
        assert_eq!(store.index_what_counts(&entries).expect("indexed"), [Applied::Written; 2]);
        assert_eq!(states(&store, &keys), before, "what is decided next is decided of the same");
        assert_eq!(apply(&store, &changes), [Applied::Written; 2]);
        assert_eq!(apply(&store, &changes), [Applied::Unchanged; 2]);
    }
    assert_eq!(states(&store, &[kept, gone, buried]), [Some(live(1, "a")), Some(tombstone(3)), Some(tombstone(4))]);
    assert_eq!((live_ids(&store, room(1)), live_ids(&store, room(2))), (vec![id(3)], vec![]));
    assert_eq!(heads(&store, &[room(1)]), [day(3)]);
}

#[test]
fn rows_for_which_there_is_no_room_are_written_when_there_is() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = (room(1), id(3));
    let large = "x".repeat(900 << 10);
    let changes =
        [change(key, Expected::Absent, live(1, &large)), change((room(1), id(4)), Expected::Absent, live(2, &large))];
    let store = open_with(dir.path(), small(), MapSize::default());
    assert_eq!(try_apply(&store, &changes).expect_err("full").class(), "unavailable");
    assert_eq!(states(&store, &[key]), [None], "all rows or none");
    assert_eq!(live_ids(&store, room(1)), [id(4), id(3)], "ids come before their rows");
    drop(store);
    let store = open(dir.path());
    assert_eq!(apply(&store, &changes), [Applied::Written; 2]);
    assert_eq!(states(&store, &[key]), [Some(live(1, &large))]);
    assert_eq!(live_ids(&store, room(1)), [id(4), id(3)]);
}

#[test]
fn no_row_is_written_while_the_index_cannot_be() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open_with(dir.path(), MapSize::default(), small());
    let kept = (room(0), id(1));
    apply(&store, &[change(kept, Expected::Absent, live(1, "a"))]);
    // Many rooms of one message each, until the index is full.
    let many: Vec<_> =
        (1..30_000).map(|number| change((room(number), id(1)), Expected::Absent, live(1, "a"))).collect();
    assert_eq!(try_apply(&store, &many).expect_err("full").class(), "unavailable");
    assert_eq!(states(&store, &[(room(1), id(1)), (room(29_999), id(1))]), [None, None]);
    let edit = change(kept, Expected::At(Position::from_bits(1)), live(2, "b"));
    assert_eq!(apply(&store, &[edit]), [Applied::Written], "an edit needs no index");
}

#[test]
fn what_was_deleted_before_it_had_a_row_stays_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    // As an import by ids alone leaves them.
    store.index.delete(room(1), &[id(2)]).expect("deleted");
    store.index.insert(room(1), &[id(3)]).expect("inserted");
    let [late, known, new] = [2, 3, 4].map(|day| change((room(1), id(day)), Expected::Absent, live(day, "a")));
    assert_eq!(apply(&store, &[new, late, known]), [Applied::Written, Applied::Unchanged, Applied::Written]);
    assert_eq!(states(&store, &[(room(1), id(2))]), [None]);
    assert_eq!(live_ids(&store, room(1)), [id(4), id(3)]);
    let deletion = change((room(1), id(2)), Expected::Absent, tombstone(5));
    assert_eq!(apply(&store, &[deletion]), [Applied::Written], "a deletion is kept all the same");
}

#[test]
fn an_import_deletes_what_has_a_position_and_changes_nothing_else_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let keys = [2, 3].map(|day| (room(1), id(day)));
    apply(&store, &keys.map(|key| change(key, Expected::Absent, live(5, "a"))));
    let content = Content::imported(None, "of the import".to_owned());
    let message = |key: Key, content| Message::imported(key.0, key.1, content);
    store.messages.put(&[message(keys[0], Some(content)), message(keys[1], None)]).expect("put");
    assert_eq!(states(&store, &keys), [Some(live(5, "a")), Some(MessageState::imported(None))]);
}

/// What the store must hold: a fold of each message, begun with what was imported.
#[derive(Default)]
struct Model {
    rows: BTreeMap<Key, MessageState>,
    /// Deleted in the index, though there is no row.
    deleted: BTreeSet<Key>,
    /// Live in the index, though there is no row.
    bare: BTreeSet<Key>,
}

impl Model {
    fn apply(&mut self, event: &Event, position: Position) {
        let Some(message) = event.message() else { return };
        let key = (event.room, message);
        let verdict = chat::message::apply(self.rows.get(&key), event, position);
        if let Verdict::Changed(state) | Verdict::Buried(state) = verdict
            && (state.is_deleted() || !self.deleted.contains(&key))
        {
            self.rows.insert(key, state);
        }
    }

    fn live_ids(&self, room: RoomId) -> Vec<MessageId> {
        let rows = self.rows.iter().filter(|(_, state)| !state.is_deleted()).map(|(key, _)| *key);
        let bare = self.bare.iter().filter(|key| !self.rows.contains_key(key)).copied();
        let ids: BTreeSet<_> = rows.chain(bare).filter(|key| key.0 == room).map(|key| key.1).collect();
        ids.into_iter().rev().collect()
    }
}

fn any_key(random: &mut fastrand::Rng) -> Key {
    (room(random.u64(0..3)), id(random.u64(0..8)))
}

fn any_event(random: &mut fastrand::Rng) -> Event {
    let (room, message) = any_key(random);
    let account = AccountId::from_bits(if random.u8(0..5) > 0 { AUTHOR } else { AUTHOR + 1 });
    let organization = OrganizationId::from_bits(3);
    let body = random.alphanumeric().to_string();
    let what = match random.u8(0..10) {
        0..4 => What::MessageCreated { message, author: account, author_organization: organization, body },
        4..8 => What::MessageUpdated { message, body },
        8 => What::MessageDeleted { message, as_admin: random.bool() },
        _ => What::RoomMemberLeft { member: account },
    };
    let at = Timestamp::from_millis(random.u64(0..1 << 40));
    Event { id: EventId::new("e").expect("an id"), at, by: Actor { account, organization }, room, what }
}

/// Fills the store and the model as an import does.
fn imported(store: &LmdbMessageStore, random: &mut fastrand::Rng) -> Model {
    let mut model = Model::default();
    for key in (0..6).map(|_| any_key(random)).collect::<BTreeSet<_>>() {
        match random.u8(0..4) {
            0 => {
                store.index.insert(key.0, &[key.1]).expect("inserted");
                model.bare.insert(key);
            }
            1 => {
                store.index.delete(key.0, &[key.1]).expect("deleted");
                model.deleted.insert(key);
            }
            _ => {
                store.index.insert(key.0, &[key.1]).expect("inserted");
                let content = Content::imported(Some(AccountId::from_bits(AUTHOR)), "imported".to_owned());
                let message = Message::imported(key.0, key.1, Some(content.clone()));
                store.messages.put(&[message]).expect("put");
                model.rows.insert(key, MessageState::imported(Some(content)));
            }
        }
    }
    model
}

/// Reads, decides and writes one chunk of a log; sometimes it dies before the rows, and comes again.
fn write_chunk(store: &LmdbMessageStore, chunk: &[(Event, Position)], random: &mut fastrand::Rng) {
    let keys: BTreeSet<Key> = chunk.iter().filter_map(|(event, _)| Some((event.room, event.message()?))).collect();
    let keys: Vec<Key> = keys.into_iter().collect();
    let changes: Vec<MessageChange> = keys
        .iter()
        .zip(states(store, &keys))
        .filter_map(|(key, stored)| {
            let mut fold = Fold::new(key.0, key.1, stored);
            chunk.iter().for_each(|(event, position)| _ = fold.apply(event, *position));
            fold.into_change()
        })
        .collect();
    if random.u8(0..4) == 0 {
        let stored = states(store, &changes.iter().map(|change| (change.room, change.id)).collect::<Vec<_>>());
        let entries: Vec<_> = changes.iter().zip(stored).collect();
        store.index_what_counts(&entries).expect("indexed");
        return write_chunk(store, chunk, random);
    }
    assert!(!apply(store, &changes).contains(&Applied::Conflict), "nobody else writes");
}

#[test]
fn rows_ids_and_heads_are_the_fold_of_the_log_in_any_chunks_and_whenever_it_was_killed() {
    cases::each(30, |random| {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        let mut model = imported(&store, random);
        let log: Vec<_> = (0..60).map(|place| (any_event(random), Position::from_bits(place * 2 + 1))).collect();
        let mut next = 0;
        while next < log.len() {
            let end = random.usize(next + 1..=log.len());
            write_chunk(&store, &log[next..end], random);
            // Now and then it is read again from somewhere before.
            next = if random.u8(0..4) == 0 { random.usize(0..=end) } else { end };
        }
        log.iter().for_each(|(event, position)| model.apply(event, *position));
        for number in 0..3 {
            let keys: Vec<Key> = (0..8).map(|day| (room(number), id(day))).collect();
            for (key, found) in keys.iter().zip(states(&store, &keys)) {
                // What was imported as deleted by its id alone gets a tombstone or none, but is never there again.
                let is_deleted = found.as_ref().is_none_or(MessageState::is_deleted);
                let as_imported = model.deleted.contains(key) && is_deleted;
                assert!(as_imported || found.as_ref() == model.rows.get(key), "{key:?}: {found:?}");
            }
            let expected = model.live_ids(room(number));
            assert_eq!(live_ids(&store, room(number)), expected);
            if let Some(newest) = expected.first() {
                assert!(heads(&store, &[room(number)])[0].below(Epoch::default()) > *newest, "a head understates");
            }
        }
    });
}

#[tokio::test]
async fn changes_that_cannot_be_are_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let key = (room(1), id(2));
    let twice = [1, 2].map(|position| change(key, Expected::Absent, live(position, "a")));
    assert_eq!(store.apply(&twice).await.expect_err("twice").class(), "refused");
    let without = change(key, Expected::Absent, MessageState { position: None, ..live(1, "a") });
    assert_eq!(store.apply(&[without]).await.expect_err("no position").class(), "refused");
    assert_eq!(store.states(&[key]).await.expect("states"), [None]);
    assert_eq!(store.apply(&[]).await.expect("nothing"), []);
}
