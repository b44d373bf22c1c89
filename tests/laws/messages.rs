//! The laws of `Messages`; those of its writing side are beside.

pub(crate) mod store;

use std::collections::BTreeMap;

use async_trait::async_trait;
use chat::{AccountId, Content, Message, MessageId, MessagePageRequest, Messages, PortResult, RoomId};
use support::retry;

use crate::random;
use crate::suite::{Adapter, Prepared, laws};

/// How messages come about. Each change can be read when it returns.
#[async_trait]
pub(crate) trait BodyWriter: Send + Sync {
    /// Writes messages; those without content are deleted.
    async fn put(&self, messages: &[Message]) -> PortResult<()>;
}

type Store = Prepared<dyn Messages, dyn BodyWriter>;
type Subject = Adapter<Store>;

laws! {
    messages;
    every:
        a_message_reads_back_as_it_was_written,
        a_deleted_message_has_no_content_and_stays_deleted,
        of_two_writings_the_later_holds,
        answers_stand_in_the_order_of_the_question,
        following_the_resume_points_yields_every_message_once,
        a_page_has_at_most_as_many_as_asked_for,
        rooms_do_not_see_each_other,
        what_is_long_is_whole;
}

const ROOMS: u64 = 4;
const BODIES: [&str; 9] = [
    "",
    "hello",
    "two\nlines\r\nand a tab\t.",
    "\"quoted\", with commas; \\ and \\n",
    "fn main() { println!(\"{}\", 1); }",
    "\u{1f389}\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{65e5}\u{672c}\u{8a9e} \u{fe0f}",
    "\0 between \0",
    " blanks around ",
    "\u{feff}\u{202e}right to left",
];

fn message(room: u64, id: u64, content: Option<(Option<u64>, &str)>) -> Message {
    let content = content.map(|(author, body)| {
        let (author, body) = (author.map(AccountId::from_bits), body.to_owned());
        Content { author, body, edited_at: None }
    });
    Message { room: RoomId::from_bits(room), id: MessageId::from_bits(id), content, position: None }
}

fn live(room: u64, id: u64, body: &str) -> Message {
    message(room, id, Some((Some(id), body)))
}

async fn put(store: &Store, messages: &[Message]) {
    retry(|| store.writer.put(messages)).await;
}

async fn get(store: &Store, ids: &[(RoomId, MessageId)]) -> Vec<Option<Message>> {
    let found = retry(|| store.port.get(ids)).await;
    assert_eq!(found.len(), ids.len(), "an answer for each question");
    found
}

/// Follows the resume points of a room to the end.
async fn all(store: &Store, room: u64, below: MessageId, limit: usize) -> Vec<Message> {
    let mut request = MessagePageRequest { room: RoomId::from_bits(room), below, limit };
    let mut all = Vec::new();
    for _ in 0..20_000 {
        let page = retry(|| store.port.page(&request)).await;
        assert!(page.messages.len() <= limit, "at most {limit}");
        all.extend(page.messages);
        let Some(below) = page.resume_below else { return all };
        assert!(below < request.below, "the resume point falls with every page");
        request.below = below;
    }
    panic!("no end after 20,000 pages");
}

/// Fills some rooms at random, deletes a few; answers what must be there.
async fn filled(store: &Store, random: &mut fastrand::Rng) -> BTreeMap<(u64, u64), Message> {
    let mut expected = BTreeMap::new();
    for _ in 0..6 {
        let batch: Vec<Message> = (0..random.usize(1..60))
            .map(|_| {
                let (room, id) = (random.u64(0..ROOMS), random.u64(0..80) << MessageId::MILLIS_SHIFT);
                let author = random.bool().then(|| random.u64(0..9));
                let content = (random.u8(0..5) > 0).then(|| (author, BODIES[random.usize(0..BODIES.len())]));
                message(room, id, content)
            })
            .collect();
        put(store, &batch).await;
        for message in batch {
            let stored = expected.entry((message.room.get(), message.id.get())).or_insert_with(|| message.clone());
            if stored.content.is_some() {
                *stored = message;
            }
        }
    }
    expected
}

async fn a_message_reads_back_as_it_was_written(adapter: &Subject) {
    let (folder, store) = adapter.fresh().await;
    let mut written: Vec<Message> = (1..).zip(BODIES).map(|(id, body)| live(1, id, body)).collect();
    written.push(message(2, 0, Some((None, "nobody's"))));
    written.push(message(i64::MAX as u64, i64::MAX as u64, Some((Some(i64::MAX as u64), "the last"))));
    put(&store, &written).await;
    let ids: Vec<_> = written.iter().map(|message| (message.room, message.id)).collect();
    let expected: Vec<_> = written.into_iter().map(Some).collect();
    assert_eq!(get(&store, &ids).await, expected);
    let other = adapter.open(&folder).await;
    assert_eq!(get(&other, &ids).await, expected, "as another process sees it");
}

async fn a_deleted_message_has_no_content_and_stays_deleted(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let tombstones = [message(1, 5, None), message(1, 6, None)];
    // One is deleted after it was written, the other before.
    put(&store, &[live(1, 5, "secret"), live(1, 7, "stays")]).await;
    put(&store, &tombstones).await;
    put(&store, &[live(1, 5, "again"), live(1, 6, "late")]).await;
    let ids = tombstones.clone().map(|message| (message.room, message.id));
    assert_eq!(get(&store, &ids).await, tombstones.clone().map(Some));
    let expected = [live(1, 7, "stays"), tombstones[1].clone(), tombstones[0].clone()];
    assert_eq!(all(&store, 1, MessageId::MAX, 10).await, expected);
}

async fn of_two_writings_the_later_holds(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    put(&store, &[live(1, 5, "first"), live(1, 5, "second")]).await;
    let ids = [(RoomId::from_bits(1), MessageId::from_bits(5))];
    assert_eq!(get(&store, &ids).await, [Some(live(1, 5, "second"))]);
    for body in ["third", "third"] {
        put(&store, &[live(1, 5, body)]).await;
        assert_eq!(get(&store, &ids).await, [Some(live(1, 5, body))]);
    }
}

async fn answers_stand_in_the_order_of_the_question(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let expected = filled(&store, &mut random).await;
        let asked: Vec<(u64, u64)> = (0..300)
            .map(|_| (random.u64(0..ROOMS + 1), random.u64(0..90) << MessageId::MILLIS_SHIFT | random.u64(0..2)))
            .collect();
        let ids: Vec<_> = asked.iter().map(|ids| (RoomId::from_bits(ids.0), MessageId::from_bits(ids.1))).collect();
        let answers: Vec<_> = asked.iter().map(|ids| expected.get(ids).cloned()).collect();
        assert_eq!(get(&store, &ids).await, answers);
        assert!(get(&store, &[]).await.is_empty());
    }
}

async fn following_the_resume_points_yields_every_message_once(adapter: &Subject) {
    for mut random in random::cases(3) {
        let (_folder, store) = adapter.fresh().await;
        let expected = filled(&store, &mut random).await;
        for _ in 0..10 {
            let (room, below) = (random.u64(0..ROOMS), random.u64(0..90) << MessageId::MILLIS_SHIFT);
            let below = if random.bool() { MessageId::MAX } else { MessageId::from_bits(below) };
            let answers: Vec<_> =
                expected.range((room, 0)..(room, below.get())).rev().map(|(_, message)| message.clone()).collect();
            assert_eq!(all(&store, room, below, random.usize(1..40)).await, answers);
        }
    }
}

async fn a_page_has_at_most_as_many_as_asked_for(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let written: Vec<Message> = (1..=50).map(|id| live(1, id, "x")).collect();
    put(&store, &written).await;
    for limit in [1, 7, 49, 50, 51] {
        let request = MessagePageRequest { room: RoomId::from_bits(1), below: MessageId::MAX, limit };
        let page = retry(|| store.port.page(&request)).await;
        assert!(page.messages.len() <= limit);
        assert_eq!(all(&store, 1, MessageId::MAX, limit).await.len(), 50);
    }
    assert!(
        store
            .port
            .page(&MessagePageRequest { room: RoomId::from_bits(1), below: MessageId::MAX, limit: 0 })
            .await
            .is_err()
    );
}

async fn rooms_do_not_see_each_other(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    put(&store, &[live(1, 1, "a"), live(2, 1, "b"), live(2, 0, "c"), live(256, 1, "d")]).await;
    assert_eq!(all(&store, 2, MessageId::MAX, 10).await, [live(2, 1, "b"), live(2, 0, "c")]);
    assert_eq!(all(&store, 2, MessageId::from_bits(0), 10).await, []);
    assert_eq!(all(&store, 3, MessageId::MAX, 10).await, []);
}

/// A body of the greatest length, many of them, and a page over them.
async fn what_is_long_is_whole(adapter: &Subject) {
    let (_folder, store) = adapter.fresh().await;
    let long = "\u{e4}".repeat(chat::messages::MAX_BODY_BYTES / 2);
    let written: Vec<Message> = (0..9).map(|id| live(1, id, &long)).collect();
    put(&store, &written).await;
    let newest_first: Vec<Message> = written.into_iter().rev().collect();
    assert!(all(&store, 1, MessageId::MAX, 100).await == newest_first);
}
