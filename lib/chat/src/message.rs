//! One message as the fold of its room's events, in the order of the log.
//!
//! [`apply`] is the one place that decides whether an edit or a deletion counts. An event was accepted before the log gave it a
//! position, so a refused one has been answered already: the refusal is counted, and the event stays in the log.

mod fold;
#[cfg(test)]
mod tests;

use crate::event::{Event, What};
use crate::{AccountId, Content, Message, MessageId, OrganizationId, Position, RoomId, Timestamp};

pub use fold::Fold;

/// What a message has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageState {
    /// Where the newest event stands that changed it; `None` where an import brought it, which is older than every event.
    pub position: Option<Position>,
    /// What is kept of it.
    pub kept: Kept,
}

/// What is kept of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is there.
    Live(Posted),
    /// It was deleted, for ever.
    Deleted {
        /// When; `None` where that is not known.
        at: Option<Timestamp>,
    },
}

/// A message that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Who wrote it, where that is known.
    pub author: Option<AccountId>,
    /// The author's organization when it was written, where that is known.
    pub organization: Option<OrganizationId>,
    /// What it says.
    pub body: String,
    /// When it was last edited; `None` if never, or before an import.
    pub edited_at: Option<Timestamp>,
}

impl MessageState {
    /// What an import knows: who wrote it and what it says, or, without content, that it was deleted. It knows of no edit.
    pub fn imported(content: Option<Content>) -> Self {
        let kept = content.map_or(Kept::Deleted { at: None }, |Content { author, body, .. }| {
            Kept::Live(Posted { author, organization: None, body, edited_at: None })
        });
        Self { position: None, kept }
    }

    /// Whether it was deleted.
    pub fn is_deleted(&self) -> bool {
        matches!(self.kept, Kept::Deleted { .. })
    }

    /// What it says; `None` when it was deleted.
    pub fn into_content(self) -> Option<Content> {
        match self.kept {
            Kept::Live(Posted { author, body, edited_at, .. }) => Some(Content { author, body, edited_at }),
            Kept::Deleted { .. } => None,
        }
    }

    /// As readers see it.
    pub fn into_message(self, room: RoomId, id: MessageId) -> Message {
        Message { room, id, position: self.position, content: self.into_content() }
    }
}

/// What an event does to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this now.
    Changed(MessageState),
    /// It is this now, a tombstone: it was deleted before anything else was known of it. To be counted as an orphan.
    Buried(MessageState),
    /// The event stands at or below the position of the state, which has it in it: nothing changes.
    Seen,
    /// The event does not count: nothing changes.
    Refused(Refusal),
}

/// Why an event does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// An edit of a message that nothing is known of: an orphan.
    #[error("the message is not known")]
    Unknown,
    /// A creation of a message that was created before.
    #[error("the message was created before")]
    AlreadyCreated,
    /// The message was deleted, for ever: before its creation, perhaps.
    #[error("the message was deleted")]
    AlreadyDeleted,
    /// Only its author edits a message; its author or an administrator of the room deletes it. Where nobody knows the author, nobody is.
    #[error("it was done by somebody who is not the author")]
    NotTheAuthor,
    /// The event is about something else.
    #[error("the event is not about this message")]
    Elsewhere,
}

impl Refusal {
    /// A short, stable word for tables and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::AlreadyCreated => "already_created",
            Self::AlreadyDeleted => "already_deleted",
            Self::NotTheAuthor => "not_the_author",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// Decides what `event`, which stands at `position`, does to a message that was `state` before (`None`: nothing is known of it).
///
/// Events are to be given in the order of the log. Those that were given before may be given again, from any earlier one on:
///
/// - An event at or below the position of the state is [`Verdict::Seen`].
/// - The first creation makes the message. One that an import brought is made anew: the log knows more. It comes before all
///   other events of the message, so nothing of them is lost.
/// - Its author edits it, its author or an administrator deletes it.
/// - A deletion holds for ever, also over a creation that comes later; of a message that nobody knows, too, because its ids may have
///   been imported without what it says.
///
/// What is refused changes nothing, not even the position: given again it meets the same state and is refused again.
pub fn apply(state: Option<&MessageState>, event: &Event, position: Position) -> Verdict {
    if state.is_some_and(|state| state.position >= Some(position)) {
        return Verdict::Seen;
    }
    match &event.what {
        What::MessageCreated { author, author_organization, body, .. } => match state {
            Some(state) if state.is_deleted() => Verdict::Refused(Refusal::AlreadyDeleted),
            Some(MessageState { position: Some(_), .. }) => Verdict::Refused(Refusal::AlreadyCreated),
            _ => live(position, Some(*author), Some(*author_organization), body, None),
        },
        What::MessageUpdated { body, .. } => match state.map(|state| &state.kept) {
            None => Verdict::Refused(Refusal::Unknown),
            Some(Kept::Deleted { .. }) => Verdict::Refused(Refusal::AlreadyDeleted),
            Some(Kept::Live(posted)) if posted.author != Some(event.by.account) => {
                Verdict::Refused(Refusal::NotTheAuthor)
            }
            Some(Kept::Live(posted)) => live(position, posted.author, posted.organization, body, Some(event.at)),
        },
        What::MessageDeleted { as_admin, .. } => {
            let tombstone = MessageState { position: Some(position), kept: Kept::Deleted { at: Some(event.at) } };
            match state.map(|state| &state.kept) {
                None => Verdict::Buried(tombstone),
                Some(Kept::Deleted { .. }) => Verdict::Refused(Refusal::AlreadyDeleted),
                Some(Kept::Live(posted)) if *as_admin || posted.author == Some(event.by.account) => {
                    Verdict::Changed(tombstone)
                }
                Some(Kept::Live(_)) => Verdict::Refused(Refusal::NotTheAuthor),
            }
        }
        What::RoomCreated | What::RoomDeleted | What::RoomMemberJoined { .. } | What::RoomMemberLeft { .. } => {
            Verdict::Refused(Refusal::Elsewhere)
        }
    }
}

fn live(
    position: Position,
    author: Option<AccountId>,
    organization: Option<OrganizationId>,
    body: &str,
    edited_at: Option<Timestamp>,
) -> Verdict {
    let posted = Posted { author, organization, body: body.to_owned(), edited_at };
    Verdict::Changed(MessageState { position: Some(position), kept: Kept::Live(posted) })
}
