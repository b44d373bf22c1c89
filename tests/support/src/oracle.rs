//! What the limits must be, found by brute force: every candidate of every room of an organization, sorted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use chat::visibility::Window;
use chat::{Epoch, LimitRow, MessageId, Policy, Timestamp};

use crate::SmallChat;

/// The canonical figures of one organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The boundary, when there are more than N candidates.
    pub first_visible: Option<MessageId>,
    /// The oldest candidate that is visible.
    pub oldest_visible: Option<MessageId>,
    /// Visible messages.
    pub visible: u32,
    /// Rooms that the organization sees.
    pub rooms: u32,
}

impl Answer {
    /// The figures of a stored row.
    pub fn of(row: &LimitRow) -> Self {
        Self {
            first_visible: row.first_visible_message_id(),
            oldest_visible: row.oldest_visible_message_id,
            visible: row.visible_messages,
            rooms: row.rooms,
        }
    }
}

/// The rooms in which an active account of each organization is a member now.
pub fn rooms_of(chat: &SmallChat) -> BTreeMap<u64, BTreeSet<u64>> {
    let organization_of: BTreeMap<u64, u64> =
        chat.accounts.iter().filter(|account| account.2).map(|account| (account.0, account.1)).collect();
    let mut rooms_of: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for (room, account, _) in chat.memberships.iter().filter(|membership| !membership.2) {
        if let Some(organization) = organization_of.get(account) {
            rooms_of.entry(*organization).or_default().insert(*room);
        }
    }
    rooms_of
}

/// The candidates of `rooms`, newest first.
pub fn candidates(chat: &SmallChat, rooms: &BTreeSet<u64>, as_of: Timestamp, policy: &Policy) -> Vec<MessageId> {
    newest_first(&candidates_by_room(chat, as_of, policy), rooms)
}

fn candidates_by_room(chat: &SmallChat, as_of: Timestamp, policy: &Policy) -> BTreeMap<u64, Vec<MessageId>> {
    let window = Window::at(as_of, policy, Epoch::default());
    let mut by_room: BTreeMap<u64, Vec<MessageId>> = BTreeMap::new();
    for (room, id, deleted) in &chat.messages {
        if !deleted && (window.from..window.below).contains(id) {
            by_room.entry(*room).or_default().push(*id);
        }
    }
    by_room
}

fn newest_first(by_room: &BTreeMap<u64, Vec<MessageId>>, rooms: &BTreeSet<u64>) -> Vec<MessageId> {
    let mut ids: Vec<MessageId> = rooms.iter().filter_map(|room| by_room.get(room)).flatten().copied().collect();
    ids.sort_unstable_by(|a, b| b.cmp(a));
    ids
}

/// The answers for the free organizations of `chat`, by organization.
pub fn answers(chat: &SmallChat, as_of: Timestamp, policy: &Policy) -> BTreeMap<u64, Answer> {
    let rooms_of = rooms_of(chat);
    let by_room = candidates_by_room(chat, as_of, policy);
    let free = chat.organizations.iter().filter(|(_, paid)| !paid);
    let answer = |(organization, _): &(u64, bool)| {
        let rooms = rooms_of.get(organization).cloned().unwrap_or_default();
        let ids = newest_first(&by_room, &rooms);
        let visible = ids.len().min(policy.n());
        let oldest_visible = visible.checked_sub(1).map(|last| ids[last]);
        let first_visible = oldest_visible.filter(|_| ids.len() > policy.n());
        let answer = Answer { first_visible, oldest_visible, visible: visible as u32, rooms: rooms.len() as u32 };
        (*organization, answer)
    };
    free.map(answer).collect()
}

/// The answers as `lanner limits export` prints them.
pub fn export(answers: &BTreeMap<u64, Answer>) -> String {
    let mut text = String::from(
        "organization_id,visible_messages,oldest_visible_message_id,limited_by,first_visible_message_id\n",
    );
    let id = |id: Option<MessageId>| id.map_or_else(String::new, |id| id.to_string());
    for (organization, answer) in answers {
        let by = if answer.first_visible.is_some() { "count" } else { "age" };
        let (oldest, first) = (id(answer.oldest_visible), id(answer.first_visible));
        writeln!(text, "{organization},{},{oldest},{by},{first}", answer.visible).expect("text");
    }
    text
}
