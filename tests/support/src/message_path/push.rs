//! Pushes a feed through the services and compares what can be read with what the feed leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::feed::organization_of;
use super::{Answer, Feed, FeedEvent, Served, What};
use crate::waiting::AT_MOST;

/// How long to wait before a request is repeated.
const AGAIN_AFTER: Duration = Duration::from_millis(30);

/// What was accepted.
#[derive(Clone, Debug, Default)]
pub struct Pushed {
    /// The returned ids by the feed's, of each room.
    pub messages: BTreeMap<u64, BTreeMap<u64, u64>>,
    /// The version of the last event of each room.
    pub versions: BTreeMap<u64, String>,
    /// Requests that had to be repeated.
    pub repeated: usize,
}

/// Pushes every event until it is accepted, each room's one after the other, so many rooms at once.
pub async fn push(served: &Served, feed: &Feed, rooms_at_once: usize) -> Pushed {
    let mut rooms: BTreeMap<u64, Vec<(usize, &FeedEvent)>> = BTreeMap::new();
    for (number, event) in feed.events.iter().enumerate() {
        rooms.entry(event.room).or_default().push((number, event));
    }
    let rooms = stream::iter(rooms.into_values()).map(|events| async move {
        let mut pushed = Pushed::default();
        for (number, event) in events {
            one(served, &format!("{}-{number}", feed.name.replace(' ', "-")), event, &mut pushed).await;
        }
        pushed
    });
    let mut all = Pushed::default();
    let mut rooms = rooms.buffer_unordered(rooms_at_once);
    while let Some(room) = rooms.next().await {
        all.messages.extend(room.messages);
        all.versions.extend(room.versions);
        all.repeated += room.repeated;
    }
    all
}

async fn one(served: &Served, key: &str, event: &FeedEvent, pushed: &mut Pushed) {
    let room = event.room;
    let known = |message: &u64| {
        let id = pushed.messages.get(&room).and_then(|messages| messages.get(message));
        // What was written before the feed began is nowhere.
        *id.unwrap_or(message)
    };
    let base = format!("/v1/rooms/{room}");
    let (method, path, body) = match &event.what {
        What::Post(_, body) => ("POST", format!("{base}/messages"), Some(json!({"body": body}))),
        What::Edit(message, body) => {
            ("PUT", format!("{base}/messages/{}", known(message)), Some(json!({"body": body})))
        }
        What::Delete(message) => ("DELETE", format!("{base}/messages/{}", known(message)), None),
        What::Join => ("PUT", format!("{base}/members/{}", event.account), None),
        What::Leave => ("DELETE", format!("{base}/members/{}", event.account), None),
    };
    // Who comes is brought by the harness, who goes goes: it is an administrator everywhere.
    let (account, is_admin) = match event.what {
        What::Join | What::Leave => (Feed::harness().0, true),
        _ => (event.account, false),
    };
    let token = served.token(account, organization_of(account), is_admin);
    let headers = [("authorization", &*format!("Bearer {token}")), ("idempotency-key", key)];
    let deadline = Instant::now() + AT_MOST;
    let accepted = loop {
        let answer = served.writes.send(method, &path, &headers, body.as_ref()).await;
        match &answer {
            Ok(answer) if answer.status == 202 => break answer.json(),
            // Not stored, not known, in progress, or nobody is there: again, under the same key.
            Ok(Answer { status: 409 | 503 | 504, .. }) | Err(_) => {}
            Ok(answer) => panic!("{method} {path}: {} {}", answer.status, answer.json()),
        }
        assert!(Instant::now() < deadline, "{method} {path} is never accepted: {answer:?}");
        pushed.repeated += 1;
        sleep(AGAIN_AFTER).await;
    };
    if let What::Post(message, _) = event.what {
        pushed.messages.entry(room).or_default().insert(message, number_of(&accepted["message_id"]));
    }
    pushed.versions.insert(room, accepted["version"].as_str().expect("a version").to_owned());
}

impl Pushed {
    /// Checks that what can be read is what the feed leaves, in every room, as soon as everything can be read.
    pub async fn check(&self, served: &Served, feed: &Feed) {
        let (harness, organization) = Feed::harness();
        let token = served.token(harness, organization, false);
        for (room, left) in feed.leaves() {
            let ids = self.messages.get(&room);
            let id_of = |message: u64| ids.and_then(|ids| ids.get(&message)).copied().expect("an accepted message");
            let wanted: Vec<_> =
                left.into_iter().rev().map(|(id, author, body, edited)| (id_of(id), author, body, edited)).collect();
            assert!(wanted.windows(2).all(|pair| pair[0].0 > pair[1].0), "ids of room {room} grow with acceptance");
            let version = self.versions.get(&room).expect("an event");
            assert_eq!(read(served, &token, room, version).await, wanted, "room {room}");
        }
    }
}

/// All messages of a room, newest first, once the event of this version can be read.
async fn read(served: &Served, token: &str, room: u64, version: &str) -> Vec<(u64, u64, String, bool)> {
    let deadline = Instant::now() + AT_MOST;
    let mut path = format!("/v1/rooms/{room}/messages?limit=100&min_version={version}");
    let mut messages = Vec::new();
    loop {
        let answer = match served.reads.get(&path, token).await {
            Ok(answer) if answer.status == 200 => answer.json(),
            Ok(Answer { status: 412 | 503, .. }) | Err(_) if Instant::now() < deadline => {
                sleep(AGAIN_AFTER).await;
                continue;
            }
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(answer["hidden_older"], false);
        messages.extend(answer["messages"].as_array().expect("messages").iter().map(message));
        match answer["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => return messages,
        }
    }
}

fn message(value: &Value) -> (u64, u64, String, bool) {
    let body = value["body"].as_str().expect("a text").to_owned();
    (number_of(&value["id"]), number_of(&value["author_id"]), body, value.get("edited_at").is_some())
}

fn number_of(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no id"))
}
