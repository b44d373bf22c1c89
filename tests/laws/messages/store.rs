//! The laws of `MessageStore`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chat::event::{Actor, Event, EventId, What};
use chat::message::{self, Fold, Kept, Posted, Verdict};
use chat::{
    AccountId, Applied, Content, Epoch, Expected, Heads, LiveIds, Message, MessageChange, MessageId,
    MessagePageRequest, MessageState, MessageStore, OrganizationId, PageRequest, Position, RoomId, Timestamp,
};
use support::retry;

use super::BodyWriter;
use crate::random;
use crate::suite::{Adapter, laws};

/// A store and all that must agree with it.
pub(crate) struct Store {
    /// The port under the laws.
    pub(crate) port: Arc<dyn MessageStore>,
    /// The ids of the same messages; never fails on demand.
    pub(crate) live_ids: Arc<dyn LiveIds>,
    /// The heads of the same rooms; never fails on demand.
    pub(crate) heads: Arc<dyn Heads>,
    /// Writes messages as an import does.
    pub(crate) import: Arc<dyn BodyWriter>,
}

type Subject = Adapter<Store>;
type Key = (RoomId, MessageId);

laws! {
    message_store;
    every:
        a_written_state_reads_back_and_is_what_others_read,
        a_reader_sees_the_position_and_the_last_edit,
        states_stand_in_the_order_of_the_question,
        applied_twice_is_applied_once,
        an_older_position_never_replaces_a_newer,
        what_was_deleted_stays_deleted,
        what_was_imported_is_a_state_without_a_position,
        an_import_never_replaces_what_has_a_position_but_deletes_it,
        rows_are_the_fold_of_the_log_in_any_chunks_with_repetitions,
        two_writers_of_one_log_come_to_the_same_rows,
        a_writer_that_lags_behind_changes_nothing_of_what_another_wrote;
    exact:
        a_change_is_written_only_over_what_it_expects,
        a_message_that_stands_twice_or_without_a_position_is_refused;
}

const AUTHOR: u64 = 7;
const ROOMS: u64 = 3;
const IDS: u64 = 6;

fn key(room: u64, id: u64) -> Key {
    (RoomId::from_bits(room), MessageId::from_bits(id << MessageId::MILLIS_SHIFT))
}

fn live(position: u64, body: &str) -> MessageState {
    let posted = Posted {
        author: Some(AccountId::from_bits(AUTHOR)),
        organization: Some(OrganizationId::MAX),
        body: body.to_owned(),
        edited_at: (position > 1).then_some(Timestamp::from_millis(position)),
    };
    MessageState { position: Some(Position::from_bits(position)), kept: Kept::Live(posted) }
}

fn tombstone(position: u64) -> MessageState {
    let at = Some(Timestamp::from_millis(position));
    MessageState { position: Some(Position::from_bits(position)), kept: Kept::Deleted { at } }
}

fn change(key: Key, expected: Expected, state: MessageState) -> MessageChange {
    MessageChange { room: key.0, id: key.1, expected, state }
}

fn at(position: u64) -> Expected {
    Expected::At(Position::from_bits(position))
}

async fn apply(store: &Store, changes: &[MessageChange]) -> Vec<Applied> {
    let applied = retry(|| store.port.apply(changes)).await;
    assert_eq!(applied.len(), changes.len(), "an answer for each change");
    applied
}

async fn states(store: &Store, keys: &[Key]) -> Vec<Option<MessageState>> {
    let found = retry(|| store.port.states(keys)).await;
    assert_eq!(found.len(), keys.len(), "an answer for each question");
    found
}

async fn state(store: &Store, key: Key) -> Option<MessageState> {
    states(store, &[key]).await.remove(0)
}

fn imported(key: Key, body: Option<&str>) -> Message {
    let content = body.map(|body| Content::imported(Some(AccountId::from_bits(AUTHOR)), body.to_owned()));
    Message::imported(key.0, key.1, content)
}

async fn import(store: &Store, messages: &[Message]) {
    retry(|| store.import.put(messages)).await;
}

/// A room as its pages tell it, newest first.
async fn pages(store: &Store, room: RoomId) -> Vec<Message> {
    let (mut told, mut below) = (Vec::new(), MessageId::MAX);
    for _ in 0..1_000 {
        let request = MessagePageRequest { room, below, limit: 4 };
        let page = retry(|| store.port.page(&request)).await;
        told.extend(page.messages);
        match page.resume_below {
            Some(next) => below = next,
            None => return told,
        }
    }
    panic!("no end after 1,000 pages");
}

/// Whether messages, live ids and heads say the same as the states of `keys`, which are all there are.
async fn everybody_agrees(store: &Store, keys: &[Key]) {
    let found = states(store, keys).await;
    let messages = retry(|| store.port.get(keys)).await;
    let mut live: BTreeMap<RoomId, BTreeSet<MessageId>> = BTreeMap::new();
    let mut kept: BTreeMap<RoomId, BTreeMap<MessageId, Message>> = BTreeMap::new();
    for ((key, state), message) in keys.iter().zip(found).zip(messages) {
        let ids = live.entry(key.0).or_default();
        if state.as_ref().is_some_and(|state| !state.is_deleted()) {
            ids.insert(key.1);
        }
        assert_eq!(message, state.map(|state| state.into_message(key.0, key.1)));
        kept.entry(key.0).or_default().extend(message.map(|message| (key.1, message)));
    }
    for (room, messages) in kept {
        assert_eq!(pages(store, room).await, messages.into_values().rev().collect::<Vec<_>>(), "room {room}");
    }
    for (room, ids) in live {
        let request = PageRequest { room, below: MessageId::MAX, at_least: MessageId::from_bits(0), limit: 1_000 };
        let (requests, rooms) = ([request], [room]);
        let pages = retry(|| store.live_ids.newest(&requests)).await;
        assert_eq!(pages.ids(), ids.iter().rev().copied().collect::<Vec<_>>(), "live ids of room {room}");
        let head = retry(|| store.heads.of(&rooms)).await[0];
        assert!(ids.last().is_none_or(|newest| *newest < head.below(Epoch::default())), "the head of room {room}");
    }
}

async fn a_written_state_reads_back_and_is_what_others_read(adapter: &Subject) {
    let (folder, store) = adapter.fresh().await;
    let bare = Posted { author: None, organization: None, body: String::new(), edited_at: None };
    let largest = MessageState { position: Some(Position::from_bits(u64::MAX)), kept: Kept::Live(bare) };
    let nobody_knows_when = MessageState { kept: Kept::Deleted { at: None }, ..tombstone(3) };
    let written = [
        (key(1, 1), live(1, "a\n\0\u{1f389}")),
        (key(1, 2), live(2, "edited")),
        (key(1, 3), tombstone(2)),
        (key(2, 1), nobody_knows_when),
        (key(2, 2), largest),
    ];
    let changes = written.clone().map(|(key, state)| change(key, Expected::Absent, state));
    apply(&store, &changes).await;
    let keys = written.each_ref().map(|(key, _)| *key);
    let expected = written.map(|(_, state)| Some(state));
    assert_eq!(states(&store, &keys).await, expected);
    everybody_agrees(&store, &keys).await;
    let other = adapter.open(&folder).await;
    assert_eq!(states(&other, &keys).await, expected, "as another process sees it");
    let gone = change(keys[0], at(1), tombstone(9));
    apply(&store, &[gone]).await;
    everybody_agrees(&other, &keys).await;
}

async fn a_reader_sees_the_position_and_the_last_edit(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let keys = [1, 2, 3, 4].map(|id| key(1, id));
    let [posted, edited, gone, old] = keys;
    apply(&store, &[posted, edited, gone].map(|key| change(key, Expected::Absent, live(1, "a")))).await;
    apply(&store, &[change(edited, at(1), live(5, "b")), change(gone, at(1), tombstone(6))]).await;
    import(&store, &[imported(old, Some("c"))]).await;
    let message = |key: Key, position: Option<u64>, said: Option<(&str, Option<u64>)>| {
        let content = said.map(|(body, edited_at)| Content {
            author: Some(AccountId::from_bits(AUTHOR)),
            body: body.to_owned(),
            edited_at: edited_at.map(Timestamp::from_millis),
        });
        Message { room: key.0, id: key.1, content, position: position.map(Position::from_bits) }
    };
    let expected = [
        message(posted, Some(1), Some(("a", None))),
        message(edited, Some(5), Some(("b", Some(5)))),
        message(gone, Some(6), None),
        message(old, None, Some(("c", None))),
    ];
    assert_eq!(retry(|| store.port.get(&keys)).await, expected.clone().map(Some));
    let newest_first: Vec<Message> = expected.into_iter().rev().collect();
    assert_eq!(pages(&store, posted.0).await, newest_first);
}

async fn states_stand_in_the_order_of_the_question(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let written = [key(2, 5), key(1, 1), key(1, 3)];
    let changes: Vec<_> = (1..).zip(written).map(|(n, key)| change(key, Expected::Absent, live(n, "x"))).collect();
    apply(&store, &changes).await;
    let asked = [key(1, 3), key(1, 2), key(2, 5), key(1, 1), key(1, 3), key(3, 1)];
    let [two, one, three] = [1, 2, 3].map(|n| Some(live(n, "x")));
    assert_eq!(states(&store, &asked).await, [three.clone(), None, two, one, three, None]);
    assert!(states(&store, &[]).await.is_empty());
    assert!(apply(&store, &[]).await.is_empty());
}

async fn applied_twice_is_applied_once(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let keys = [key(1, 1), key(1, 2)];
    let created = [change(keys[0], Expected::Absent, live(1, "a")), change(keys[1], Expected::Absent, tombstone(2))];
    let edited = [change(keys[0], at(1), live(3, "b"))];
    for _ in 0..2 {
        apply(&store, &created).await;
    }
    for _ in 0..2 {
        apply(&store, &edited).await;
        apply(&store, &created).await;
    }
    assert_eq!(states(&store, &keys).await, [Some(live(3, "b")), Some(tombstone(2))]);
    everybody_agrees(&store, &keys).await;
}

async fn an_older_position_never_replaces_a_newer(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let key = key(1, 1);
    apply(&store, &[change(key, Expected::Absent, live(5, "new"))]).await;
    for expected in [Expected::Absent, Expected::Imported, at(4), at(5)] {
        for older in [live(5, "other"), live(4, "old"), tombstone(4), tombstone(5)] {
            assert_eq!(apply(&store, &[change(key, expected, older)]).await, [Applied::Unchanged]);
        }
    }
    assert_eq!(state(&store, key).await, Some(live(5, "new")));
    everybody_agrees(&store, &[key]).await;
}

async fn what_was_deleted_stays_deleted(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let keys = [key(1, 1), key(1, 2), key(1, 3)];
    apply(&store, &[change(keys[0], Expected::Absent, tombstone(5)), change(keys[1], Expected::Absent, live(1, "a"))])
        .await;
    apply(&store, &[change(keys[1], at(1), tombstone(5))]).await;
    import(&store, &[imported(keys[2], None)]).await;
    let before = states(&store, &keys).await;
    for expected in [Expected::Absent, Expected::Imported, at(1), at(5)] {
        for position in [4, 6] {
            let late = keys.map(|key| change(key, expected, live(position, "late")));
            assert_eq!(apply(&store, &late).await, [Applied::Unchanged; 3]);
        }
    }
    import(&store, &keys.map(|key| imported(key, Some("late")))).await;
    assert_eq!(states(&store, &keys).await, before);
    assert!(before.iter().flatten().all(MessageState::is_deleted));
    everybody_agrees(&store, &keys).await;
}

async fn what_was_imported_is_a_state_without_a_position(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let keys = [key(1, 1), key(1, 2), key(1, 3)];
    let messages = [imported(keys[0], Some("a")), imported(keys[1], None), imported(keys[2], Some("c"))];
    import(&store, &messages).await;
    let expected = messages.map(|message| Some(MessageState::imported(message.content)));
    assert_eq!(states(&store, &keys).await, expected);
    apply(
        &store,
        &[change(keys[0], Expected::Imported, live(1, "b")), change(keys[2], Expected::Imported, tombstone(2))],
    )
    .await;
    assert_eq!(states(&store, &keys).await, [Some(live(1, "b")), expected[1].clone(), Some(tombstone(2))]);
    everybody_agrees(&store, &keys).await;
}

async fn an_import_never_replaces_what_has_a_position_but_deletes_it(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let keys = [key(1, 1), key(1, 2)];
    apply(&store, &keys.map(|key| change(key, Expected::Absent, live(1, "a")))).await;
    import(&store, &[imported(keys[0], Some("b")), imported(keys[1], None)]).await;
    let found = states(&store, &keys).await;
    assert_eq!(found[0], Some(live(1, "a")));
    assert!(found[1].as_ref().is_some_and(MessageState::is_deleted));
    everybody_agrees(&store, &keys).await;
}

async fn a_change_is_written_only_over_what_it_expects(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let [absent, logged, old, new] = [key(1, 1), key(1, 2), key(2, 1), key(2, 2)];
    apply(&store, &[change(logged, Expected::Absent, live(5, "a"))]).await;
    import(&store, &[imported(old, Some("old"))]).await;
    let wrong = [
        change(logged, Expected::Absent, live(6, "b")),
        change(absent, at(5), live(6, "b")),
        change(old, Expected::Absent, live(6, "b")),
        change(new, Expected::Absent, live(6, "b")),
    ];
    let conflict = Applied::Conflict;
    assert_eq!(apply(&store, &wrong).await, [conflict, conflict, conflict, Applied::Written]);
    for (key, expected) in [(logged, Expected::Imported), (logged, at(4)), (absent, Expected::Imported), (old, at(5))] {
        for state in [live(6, "b"), tombstone(6)] {
            assert_eq!(apply(&store, &[change(key, expected, state)]).await, [conflict], "{key:?} {expected:?}");
        }
    }
    let keys = [absent, logged, old, new];
    everybody_agrees(&store, &keys).await;
    let right = [
        change(logged, at(5), tombstone(6)),
        change(old, Expected::Imported, live(7, "c")),
        change(new, at(6), live(8, "d")),
        change(absent, Expected::Absent, tombstone(9)),
    ];
    assert_eq!(apply(&store, &right).await, [Applied::Written; 4]);
    assert_eq!(apply(&store, &right).await, [Applied::Unchanged; 4]);
    everybody_agrees(&store, &keys).await;
}

async fn a_message_that_stands_twice_or_without_a_position_is_refused(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let keys = [key(1, 1), key(1, 2)];
    let one = change(keys[0], Expected::Absent, live(1, "a"));
    let other = change(keys[1], Expected::Absent, MessageState { position: None, ..live(1, "a") });
    for wrong in [vec![one.clone(), one.clone()], vec![one, other]] {
        assert_eq!(store.port.apply(&wrong).await.expect_err("wrong").class(), "refused");
        assert_eq!(states(&store, &keys).await, [None, None]);
    }
}

fn any_event(random: &mut fastrand::Rng) -> Event {
    let (room, message) = key(random.u64(0..ROOMS), random.u64(0..IDS));
    let account = AccountId::from_bits(if random.u8(0..5) > 0 { AUTHOR } else { AUTHOR + 1 });
    let organization = OrganizationId::from_bits(3);
    let body = random.alphanumeric().to_string();
    let what = match random.u8(0..9) {
        0..4 => What::MessageCreated { message, author: account, author_organization: organization, body },
        4..8 => What::MessageUpdated { message, body },
        _ => What::MessageDeleted { message, as_admin: random.bool() },
    };
    let at = Timestamp::from_millis(random.u64(0..1 << 40));
    Event { id: EventId::new("e").expect("an id"), at, by: Actor { account, organization }, room, what }
}

fn any_log(random: &mut fastrand::Rng, events: u64) -> Vec<(Event, Position)> {
    (0..events).map(|place| (any_event(random), Position::from_bits(place * 2 + 1))).collect()
}

fn all_keys() -> Vec<Key> {
    (0..ROOMS).flat_map(|room| (0..IDS).map(move |id| key(room, id))).collect()
}

/// The rows that one event after the other leads to.
fn folded(mut rows: BTreeMap<Key, MessageState>, log: &[(Event, Position)]) -> Vec<Option<MessageState>> {
    for (event, position) in log {
        let Some(id) = event.message() else { continue };
        let key = (event.room, id);
        if let Verdict::Changed(state) | Verdict::Buried(state) = message::apply(rows.get(&key), event, *position) {
            rows.insert(key, state);
        }
    }
    all_keys().iter().map(|key| rows.get(key).cloned()).collect()
}

/// Reads and decides.
async fn decided(store: &Store, keys: &[Key], chunk: &[(Event, Position)]) -> Vec<MessageChange> {
    let change = |(stored, key): (Option<MessageState>, &Key)| {
        let mut fold = Fold::new(key.0, key.1, stored);
        chunk.iter().for_each(|(event, position)| _ = fold.apply(event, *position));
        fold.into_change()
    };
    states(store, keys).await.into_iter().zip(keys).filter_map(change).collect()
}

/// Reads, decides and writes until nothing has come in between; answers how often something had.
async fn write_chunk(store: &Store, chunk: &[(Event, Position)]) -> usize {
    let mut keys: BTreeSet<Key> = chunk.iter().filter_map(|(event, _)| Some((event.room, event.message()?))).collect();
    for conflicts in 0..1_000 {
        let asked: Vec<Key> = keys.iter().copied().collect();
        let changes = decided(store, &asked, chunk).await;
        let applied = apply(store, &changes).await;
        let conflicting = changes.iter().zip(applied).filter(|(_, applied)| *applied == Applied::Conflict);
        keys = conflicting.map(|(change, _)| (change.room, change.id)).collect();
        if keys.is_empty() {
            return conflicts;
        }
    }
    panic!("in conflict 1,000 times in a row");
}

/// Follows a log in chunks; now and then from somewhere before.
async fn follow(store: &Store, log: &[(Event, Position)], random: &mut fastrand::Rng) -> usize {
    let (mut next, mut conflicts) = (0, 0);
    while next < log.len() {
        let end = random.usize(next + 1..=log.len().min(next + 20));
        conflicts += write_chunk(store, &log[next..end]).await;
        next = if random.u8(0..4) == 0 { random.usize(0..=end) } else { end };
    }
    conflicts
}

async fn rows_are_the_fold_of_the_log_in_any_chunks_with_repetitions(adapter: &Subject) {
    for mut random in random::cases(5) {
        let (_folder, store) = adapter.fresh().await;
        let mut rows = BTreeMap::new();
        for key in [key(0, 1), key(1, 2)] {
            let message = imported(key, random.bool().then_some("imported"));
            import(&store, std::slice::from_ref(&message)).await;
            rows.insert(key, MessageState::imported(message.content));
        }
        let log = any_log(&mut random, 80);
        let conflicts = follow(&store, &log, &mut random).await;
        assert_eq!(conflicts, 0, "nobody else writes");
        assert_eq!(states(&store, &all_keys()).await, folded(rows, &log));
        everybody_agrees(&store, &all_keys()).await;
    }
}

/// As after a rebalance, when the one before has not noticed yet.
async fn two_writers_of_one_log_come_to_the_same_rows(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (folder, store) = adapter.fresh().await;
        let other = adapter.open(&folder).await;
        let log = any_log(&mut random, 80);
        let (mut one, mut two) = (random.fork(), random.fork());
        tokio::join!(follow(&store, &log, &mut one), follow(&other, &log, &mut two));
        assert_eq!(states(&store, &all_keys()).await, folded(BTreeMap::new(), &log));
        everybody_agrees(&store, &all_keys()).await;
    }
}

/// It has decided, then another one writes more than it knows of, then it writes.
async fn a_writer_that_lags_behind_changes_nothing_of_what_another_wrote(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let log = any_log(&mut random, 80);
        let (known, start) = (random.usize(1..=log.len()), random.usize(0..40));
        follow(&store, &log[..start], &mut random).await;
        let late = decided(&store, &all_keys(), &log[..known.max(start)]).await;
        follow(&store, &log, &mut random).await;
        assert_eq!(apply(&store, &late).await, vec![Applied::Unchanged; late.len()]);
        assert_eq!(states(&store, &all_keys()).await, folded(BTreeMap::new(), &log));
        everybody_agrees(&store, &all_keys()).await;
    }
}
