//! A real community's feed, and what it leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

use crate::SmallChat;

/// Organizations over which the accounts of the feed are dealt. Theirs are 1 to this; the next one is the harness's own.
const ORGANIZATIONS: u64 = 4;
/// The account of the harness: a member of every room, of a paid organization, so that it sees everything.
const HARNESS: u64 = 1_000_000;

/// The feed, in its order.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    /// What tells it from other feeds.
    pub name: String,
    /// Its events.
    pub events: Vec<FeedEvent>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct FeedEvent {
    /// In which room.
    pub room: u64,
    /// Who did it, or to whom it happened.
    pub account: u64,
    /// What.
    pub what: What,
}

/// What can happen. Messages have the feed's ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A message was written.
    Post(u64, String),
    /// A message was edited.
    Edit(u64, String),
    /// A message was deleted.
    Delete(u64),
    /// The account came.
    Join,
    /// The account went.
    Leave,
}

/// A message as the feed leaves it: its id there, author, text, whether it was edited.
pub(super) type Left = (u64, u64, String, bool);

impl Feed {
    /// The feed of the folder with real data, at most so many events of it; none where there is no such folder, which is said.
    pub fn find(many: usize) -> Option<Self> {
        let Some(data) = std::env::var_os("LANNER_REAL_DATA") else {
            println!("LANNER_REAL_DATA is not set: the real feed was left out");
            return None;
        };
        let file = std::fs::File::open(Path::new(&data).join("feed/events.jsonl.gz")).expect("the feed");
        let lines = BufReader::new(GzDecoder::new(file)).lines();
        Some(Self {
            name: "real".to_owned(),
            events: lines.take(many).map(|line| event(&line.expect("text"))).collect(),
        })
    }

    /// A feed made from a seed: rooms, people who write, edit and delete.
    pub fn random(seed: u64, many: usize, rooms: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut written: Vec<(u64, u64, u64)> = Vec::new();
        let mut events = Vec::new();
        for number in 0..many as u64 {
            let (room, account) = (1 + random.u64(..rooms), 1 + random.u64(..9));
            let known = random.usize(..written.len().max(1));
            let event = match (random.u8(0..20), written.get(known).copied()) {
                (0..3, Some((room, account, message))) => {
                    FeedEvent { room, account, what: What::Edit(message, format!("edited {number}")) }
                }
                (3..5, Some((room, account, message))) => {
                    written.swap_remove(known);
                    FeedEvent { room, account, what: What::Delete(message) }
                }
                _ => {
                    written.push((room, account, number));
                    FeedEvent { room, account, what: What::Post(number, format!("text {number}")) }
                }
            };
            events.push(event);
        }
        Self { name: format!("seed {seed}"), events }
    }

    /// The chat in which it happens: every room with everybody who does something in it as a member, because most never join in the
    /// feed, and with the harness.
    pub fn chat(&self) -> SmallChat {
        let mut chat = SmallChat::default();
        let accounts: BTreeSet<u64> = self.events.iter().map(|event| event.account).collect();
        chat.organizations = (1..=ORGANIZATIONS + 1).map(|id| (id, id > ORGANIZATIONS)).collect();
        chat.accounts = accounts.into_iter().chain([HARNESS]).map(|id| (id, organization_of(id), true)).collect();
        chat.rooms = self.rooms().into_iter().collect();
        let acting = |event: &&FeedEvent| !matches!(event.what, What::Join | What::Leave);
        chat.memberships = self.events.iter().filter(acting).map(|event| (event.room, event.account, false)).collect();
        chat.memberships.extend(chat.rooms.iter().map(|room| (*room, HARNESS, false)));
        chat
    }

    /// Its rooms.
    pub fn rooms(&self) -> BTreeSet<u64> {
        self.events.iter().map(|event| event.room).collect()
    }

    /// What it leaves in each room, oldest first: only authors edit and delete.
    pub fn leaves(&self) -> BTreeMap<u64, Vec<Left>> {
        let mut rooms: BTreeMap<u64, Vec<Left>> = self.rooms().into_iter().map(|room| (room, Vec::new())).collect();
        for FeedEvent { room, account, what } in &self.events {
            let messages = rooms.entry(*room).or_default();
            match what {
                What::Post(message, body) => messages.push((*message, *account, body.clone(), false)),
                What::Edit(message, body) => {
                    let found = messages.iter_mut().find(|left| (left.0, left.1) == (*message, *account));
                    if let Some(left) = found {
                        (left.2, left.3) = (body.clone(), true);
                    }
                }
                What::Delete(message) => messages.retain(|left| (left.0, left.1) != (*message, *account)),
                What::Join | What::Leave => {}
            }
        }
        rooms
    }

    /// How many edits are of messages that are not in it.
    pub fn orphans(&self) -> usize {
        let posted: BTreeSet<(u64, u64)> = self
            .events
            .iter()
            .filter_map(
                |event| if let What::Post(message, _) = event.what { Some((event.room, message)) } else { None },
            )
            .collect();
        let is_orphan = |event: &&FeedEvent| matches!(event.what, What::Edit(message, _) if !posted.contains(&(event.room, message)));
        self.events.iter().filter(is_orphan).count()
    }

    /// Who sees everything, with their organization.
    pub fn harness() -> (u64, u64) {
        (HARNESS, organization_of(HARNESS))
    }
}

/// The organization of an account of the feed.
pub(super) fn organization_of(account: u64) -> u64 {
    if account == HARNESS { ORGANIZATIONS + 1 } else { account % ORGANIZATIONS + 1 }
}

fn event(line: &str) -> FeedEvent {
    let event: Value = serde_json::from_str(line).expect("JSON");
    let number = |name: &str| event[name].as_str().and_then(|text| text.parse::<u64>().ok()).expect(name);
    // A message has at least one character.
    let body = || event["body"].as_str().filter(|body| !body.is_empty()).unwrap_or(" ").to_owned();
    let (account, what) = match event["kind"].as_str().expect("a kind") {
        "MessageCreated" => (number("author_account_id"), What::Post(number("message_id"), body())),
        "MessageUpdated" => (number("editor_account_id"), What::Edit(number("message_id"), body())),
        "MessageDeleted" => (number("deleter_account_id"), What::Delete(number("message_id"))),
        "RoomMemberJoined" => (number("account_id"), What::Join),
        "RoomMemberLeft" => (number("account_id"), What::Leave),
        kind => panic!("an event of kind {kind}"),
    };
    FeedEvent { room: number("room_id"), account, what }
}
