//! Given what is stored, when an event comes, then this; and what holds for any events.

use super::{Fold, Kept, MessageState, Posted, Refusal, Verdict, apply};
use crate::event::{Actor, Event, EventId, What};
use crate::messages::{Applied, Expected};
use crate::{AccountId, Content, MessageId, OrganizationId, Position, RoomId, Timestamp};

const CASES: u64 = 2_000;
const AUTHOR: u64 = 7;
const OTHER: u64 = 8;
const ROOM: RoomId = RoomId::from_bits(1);
const ID: MessageId = MessageId::from_bits(5);

fn event(by: u64, what: What) -> Event {
    Event {
        id: EventId::new("e").expect("an id"),
        at: Timestamp::from_millis(1_000),
        by: Actor { account: AccountId::from_bits(by), organization: OrganizationId::from_bits(3) },
        room: ROOM,
        what,
    }
}

fn created(author: u64, body: &str) -> Event {
    let (message, author, body) = (ID, AccountId::from_bits(author), body.to_owned());
    event(
        author.get(),
        What::MessageCreated { message, author, author_organization: OrganizationId::from_bits(3), body },
    )
}

fn updated(by: u64, body: &str) -> Event {
    event(by, What::MessageUpdated { message: ID, body: body.to_owned() })
}

fn deleted(by: u64, as_admin: bool) -> Event {
    event(by, What::MessageDeleted { message: ID, as_admin })
}

fn at(position: u64) -> Position {
    Position::from_bits(position)
}

/// Live, written by the author.
fn live(position: u64, body: &str, is_edited: bool) -> MessageState {
    let posted = Posted {
        author: Some(AccountId::from_bits(AUTHOR)),
        organization: Some(OrganizationId::from_bits(3)),
        body: body.to_owned(),
        edited_at: is_edited.then_some(Timestamp::from_millis(1_000)),
    };
    MessageState { position: Some(at(position)), kept: Kept::Live(posted) }
}

fn tombstone(position: u64) -> MessageState {
    let at_ms = Some(Timestamp::from_millis(1_000));
    MessageState { position: Some(at(position)), kept: Kept::Deleted { at: at_ms } }
}

fn imported(author: Option<u64>, body: &str) -> MessageState {
    let author = author.map(AccountId::from_bits);
    MessageState::imported(Some(Content::imported(author, body.to_owned())))
}

#[test]
fn a_message_is_created_edited_and_deleted_by_its_author() {
    assert_eq!(apply(None, &created(AUTHOR, "a"), at(1)), Verdict::Changed(live(1, "a", false)));
    let stored = live(1, "a", false);
    assert_eq!(apply(Some(&stored), &updated(AUTHOR, "b"), at(2)), Verdict::Changed(live(2, "b", true)));
    assert_eq!(apply(Some(&stored), &deleted(AUTHOR, false), at(2)), Verdict::Changed(tombstone(2)));
}

#[test]
fn others_neither_edit_nor_delete_except_an_administrator_who_deletes() {
    let stored = live(1, "a", false);
    assert_eq!(apply(Some(&stored), &updated(OTHER, "b"), at(2)), Verdict::Refused(Refusal::NotTheAuthor));
    assert_eq!(apply(Some(&stored), &deleted(OTHER, false), at(2)), Verdict::Refused(Refusal::NotTheAuthor));
    assert_eq!(apply(Some(&stored), &deleted(OTHER, true), at(2)), Verdict::Changed(tombstone(2)));
    let nobodys = imported(None, "a");
    assert_eq!(apply(Some(&nobodys), &updated(OTHER, "b"), at(2)), Verdict::Refused(Refusal::NotTheAuthor));
    assert_eq!(apply(Some(&nobodys), &deleted(OTHER, false), at(2)), Verdict::Refused(Refusal::NotTheAuthor));
}

#[test]
fn a_deletion_holds_for_ever() {
    for stored in [tombstone(1), MessageState::imported(None)] {
        for event in [created(AUTHOR, "late"), updated(AUTHOR, "late"), deleted(OTHER, true)] {
            assert_eq!(apply(Some(&stored), &event, at(2)), Verdict::Refused(Refusal::AlreadyDeleted), "{event:?}");
        }
    }
}

#[test]
fn of_a_message_that_nobody_knows_an_edit_changes_nothing_and_a_deletion_leaves_a_tombstone() {
    assert_eq!(apply(None, &updated(AUTHOR, "b"), at(1)), Verdict::Refused(Refusal::Unknown));
    assert_eq!(apply(None, &deleted(OTHER, false), at(1)), Verdict::Buried(tombstone(1)));
}

#[test]
fn a_message_is_created_once_and_an_imported_one_anew() {
    let stored = live(1, "a", false);
    assert_eq!(apply(Some(&stored), &created(OTHER, "b"), at(2)), Verdict::Refused(Refusal::AlreadyCreated));
    let imported = imported(Some(OTHER), "old");
    assert_eq!(apply(Some(&imported), &created(AUTHOR, "a"), at(0)), Verdict::Changed(live(0, "a", false)));
}

#[test]
fn an_event_at_or_below_the_position_changes_nothing() {
    for stored in [live(5, "a", false), tombstone(5)] {
        for event in [created(AUTHOR, "x"), updated(AUTHOR, "x"), updated(OTHER, "x"), deleted(AUTHOR, true)] {
            for position in [0, 4, 5] {
                assert_eq!(apply(Some(&stored), &event, at(position)), Verdict::Seen);
            }
        }
    }
}

#[test]
fn what_is_not_about_the_message_is_refused() {
    let stored = live(1, "a", false);
    assert_eq!(apply(Some(&stored), &event(1, What::RoomDeleted), at(2)), Verdict::Refused(Refusal::Elsewhere));
    let mut fold = Fold::new(RoomId::from_bits(2), ID, None);
    assert_eq!(fold.apply(&created(AUTHOR, "a"), at(1)), Verdict::Refused(Refusal::Elsewhere));
    let mut fold = Fold::new(ROOM, ID.next(), None);
    assert_eq!(fold.apply(&created(AUTHOR, "a"), at(1)), Verdict::Refused(Refusal::Elsewhere));
    assert_eq!(fold.into_change(), None);
}

#[test]
fn several_events_come_to_one_change_upon_what_was_stored() {
    let mut fold = Fold::new(ROOM, ID, Some(imported(None, "old")));
    for (position, event) in (3..).zip([created(AUTHOR, "a"), updated(OTHER, "x"), updated(AUTHOR, "b")]) {
        fold.apply(&event, at(position));
    }
    assert_eq!(fold.state(), Some(&live(5, "b", true)));
    let change = fold.into_change().expect("a change");
    assert_eq!((change.expected, change.state), (Expected::Imported, live(5, "b", true)));
    let mut fold = Fold::new(ROOM, ID, Some(live(5, "b", true)));
    fold.apply(&updated(OTHER, "x"), at(6));
    assert_eq!(fold.into_change(), None, "what is refused is no change");
}

#[test]
fn a_change_is_written_only_over_what_it_expects() {
    let mut fold = Fold::new(ROOM, ID, Some(live(5, "a", false)));
    fold.apply(&updated(AUTHOR, "b"), at(7));
    let change = fold.into_change().expect("a change");
    for (stored, applied) in [
        (Some(live(5, "a", false)), Applied::Written),
        (Some(live(6, "c", true)), Applied::Conflict),
        (Some(imported(Some(AUTHOR), "a")), Applied::Conflict),
        (None, Applied::Conflict),
        (Some(live(7, "b", true)), Applied::Unchanged),
        (Some(live(9, "d", true)), Applied::Unchanged),
        (Some(tombstone(6)), Applied::Unchanged),
        (Some(MessageState::imported(None)), Applied::Unchanged),
    ] {
        assert_eq!(change.against(stored.as_ref()), applied, "{stored:?}");
    }
}

fn any_event(random: &mut fastrand::Rng) -> Event {
    let by = if random.u8(0..4) > 0 { AUTHOR } else { OTHER };
    let body = random.alphanumeric().to_string();
    match random.u8(0..10) {
        0..3 => created(by, &body),
        3..8 => updated(by, &body),
        8 => deleted(by, random.bool()),
        _ => event(by, What::RoomCreated),
    }
}

fn any_stored(random: &mut fastrand::Rng) -> Option<MessageState> {
    match random.u8(0..8) {
        0 => Some(imported(Some(AUTHOR), "imported")),
        1 => Some(imported(None, "nobody's")),
        2 => Some(MessageState::imported(None)),
        _ => None,
    }
}

/// Positions have gaps; the log is cut into chunks anywhere, and now and then it is read again from somewhere before.
#[test]
fn a_fold_in_any_chunks_with_repetitions_comes_to_the_same_as_one_event_after_the_other() {
    for seed in 0..CASES {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut position = 0;
        let log: Vec<(Event, Position)> = (0..random.usize(1..30))
            .map(|_| {
                position += random.u64(1..4);
                (any_event(&mut random), at(position))
            })
            .collect();
        let stored = any_stored(&mut random);
        let expected =
            log.iter().fold(stored.clone(), |state, (event, position)| match apply(state.as_ref(), event, *position) {
                Verdict::Changed(state) | Verdict::Buried(state) => Some(state),
                Verdict::Seen | Verdict::Refused(_) => state,
            });
        let (mut row, mut next) = (stored, 0);
        while next < log.len() {
            let end = random.usize(next + 1..=log.len());
            let mut fold = Fold::new(ROOM, ID, row.clone());
            for (event, position) in &log[next..end] {
                fold.apply(event, *position);
            }
            if let Some(change) = fold.into_change() {
                assert_eq!(change.against(row.as_ref()), Applied::Written, "seed {seed}");
                assert_eq!(change.against(Some(&change.state)), Applied::Unchanged, "seed {seed}: once more");
                row = Some(change.state);
            }
            next = if random.u8(0..4) == 0 { random.usize(0..=end) } else { end };
        }
        assert_eq!(row, expected, "seed {seed}");
    }
}
