//! Port: where imported rows go.

use async_trait::async_trait;
use chat::{AccountId, Epoch, MessageId, Organization, OrganizationId, PortResult, RoomId};
use serde::Serialize;

/// What is about to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// From when message ids count.
    pub epoch: Epoch,
    /// Equal for the same unchanged files imported with the same options, different otherwise.
    pub fingerprint: u64,
}

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// To which organization it belongs.
    pub organization: OrganizationId,
    /// Whether it counts as a member of its rooms.
    pub active: bool,
}

/// A current membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Who.
    pub account: AccountId,
    /// Where.
    pub room: RoomId,
}

/// The distinct rooms in which an active account of an organization is a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrganizationRooms {
    /// Whose.
    pub organization: OrganizationId,
    /// Ascending, at least one.
    pub rooms: Vec<RoomId>,
}

/// The messages of a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMessages {
    /// Which room.
    pub room: RoomId,
    /// Ids of live messages, ascending.
    pub live: Vec<MessageId>,
    /// Ids of deleted messages, ascending, none of them live.
    pub tombstoned: Vec<MessageId>,
}

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NameKind {
    /// An organization.
    Organization,
    /// A room.
    Room,
    /// An account.
    Account,
}

impl NameKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Organization, Self::Room, Self::Account];

    /// The kind as a word, such as `organization`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Room => "room",
            Self::Account => "account",
        }
    }

    /// The kind that `word` means.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// The name of an organization, a room or an account. Nothing but people reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Of what.
    pub kind: NameKind,
    /// Its id: one name for each kind and id.
    pub id: u64,
    /// The organization within which the name means this id; `None`: everywhere.
    pub within: Option<OrganizationId>,
    /// The name.
    pub name: String,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageBody {
    /// Where it was written.
    pub room: RoomId,
    /// Which message.
    pub id: MessageId,
    /// Who wrote it, where the source says so; the account need not be in the directory.
    pub author: Option<AccountId>,
    /// Its text; empty where it has none.
    pub body: String,
}

/// A store that takes an import. It belongs to one import; nobody else writes to the store meanwhile.
///
/// The calls come in the order in which they stand here ([`Load::known_names`] only if names are to be given ids), the row
/// calls any number of times each. Rows of all calls of one
/// kind together are distinct and in ascending order (memberships: by account, then room), and what they refer to has been
/// given before: nothing needs to be checked. ([`Load::names`] and [`Load::bodies`] alone
/// are in the order of the files.) The directory is the whole directory: what the store held before and is not given
/// again is gone afterwards. Messages are added to what the store holds; a deleted message stays deleted.
///
/// What a store promises:
/// - Nothing is visible to anybody before [`Load::publish`]; a load that is dropped before leaves the store as it was.
/// - Changes that were applied before ([`chat::Memberships`]) are gone with what they had brought, their positions included:
///   what is loaded is older than every change that is applied to it.
/// - [`Load::publish`] makes the whole directory (organizations to organization rooms) visible at once, and the store
///   remembers durably, until [`Load::finish`], that a load of this source is under way.
/// - Messages become visible room by room or at once at the end, as the store likes. A load that ends between `publish` and
///   `finish` leaves the new directory over old, mixed or missing messages; a whole load of the same source repairs it.
/// - Loading the same source again leads to the same content.
#[async_trait]
pub trait Load: Send {
    /// Names that have ids, above `after` in the order of kind and id, at most `limit`; fewer mean the end. It is what a load
    /// that gives ids to names begins with. A store whose directory has no names refuses: its ids were given by somebody else, and a
    /// name's new id could be one of them.
    async fn known_names(&mut self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>>;

    /// Opens the load.
    async fn begin(&mut self, source: &Source) -> PortResult<()>;

    /// Organizations. A `plan_version` is a lower bound: the store keeps its own where that is greater, and counts one up
    /// where the plan differs from the one it held, so that the version never falls.
    async fn organizations(&mut self, rows: &[Organization]) -> PortResult<()>;

    /// Accounts.
    async fn accounts(&mut self, rows: &[Account]) -> PortResult<()>;

    /// Rooms.
    async fn rooms(&mut self, rows: &[RoomId]) -> PortResult<()>;

    /// Current memberships.
    async fn memberships(&mut self, rows: &[Membership]) -> PortResult<()>;

    /// The rooms each organization sees.
    async fn organization_rooms(&mut self, rows: &[OrganizationRooms]) -> PortResult<()>;

    /// Names, which are a part of the directory; of several for one kind and id the last.
    async fn names(&mut self, rows: &[Name]) -> PortResult<()>;

    /// Makes the directory visible. Answers the last room whose messages an earlier, unfinished load of the same source has
    /// already stored durably: the messages of rooms up to and including it are not given again.
    async fn publish(&mut self) -> PortResult<Option<RoomId>>;

    /// Messages of rooms; rooms without any message are not given.
    async fn messages(&mut self, rooms: &[RoomMessages]) -> PortResult<()>;

    /// Rooms all of whose messages are left out as too old or too new, each with the newest one that is not too new. For
    /// stores that keep the heads of rooms apart from messages; others ignore it. Called between calls of [`Load::messages`].
    async fn quiet_rooms(&mut self, _rooms: &[(RoomId, MessageId)]) -> PortResult<()> {
        Ok(())
    }

    /// What messages say, of sources that tell; called after all messages were given.
    ///
    /// Rows come as they stand in the files, repeated ones and those of messages that were left out included: a body is kept
    /// only where the store holds its message, and of several for one message the last. Of a deleted message nothing is kept.
    /// A message that is given without a body, now or ever, loses none that is kept already. So bodies need no sorting, and
    /// no memory but that of one batch.
    ///
    /// This is how bodies come into a store that nobody reads yet. Writing and editing single messages belongs to a message
    /// path, whose changes carry positions; it is none of this port.
    async fn bodies(&mut self, rows: &[MessageBody]) -> PortResult<()>;

    /// Everything has been given; answers when it is durable and visible.
    async fn finish(&mut self) -> PortResult<()>;
}

/// The half of a [`Load`] that takes the directory: a store of organizations, accounts, rooms and memberships.
///
/// All calls are those of [`Load`], with what is promised there. [`crate::JoinedLoad`] makes one load of both halves.
#[async_trait]
pub trait LoadDirectory: Send {
    /// As [`Load::known_names`].
    async fn known_names(&mut self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>>;

    /// Opens the load. Answers true when the store remembers a load of the same source that was published and not finished.
    async fn begin(&mut self, source: &Source) -> PortResult<bool>;

    /// As [`Load::organizations`].
    async fn organizations(&mut self, rows: &[Organization]) -> PortResult<()>;

    /// As [`Load::accounts`].
    async fn accounts(&mut self, rows: &[Account]) -> PortResult<()>;

    /// As [`Load::rooms`].
    async fn rooms(&mut self, rows: &[RoomId]) -> PortResult<()>;

    /// As [`Load::memberships`].
    async fn memberships(&mut self, rows: &[Membership]) -> PortResult<()>;

    /// As [`Load::organization_rooms`]; they follow from the other tables, so a store that asks those ignores them.
    async fn organization_rooms(&mut self, rows: &[OrganizationRooms]) -> PortResult<()>;

    /// As [`Load::names`].
    async fn names(&mut self, rows: &[Name]) -> PortResult<()>;

    /// Makes everything visible at once and remembers durably, until [`LoadDirectory::finish`], that a load of this source is
    /// under way.
    async fn publish(&mut self) -> PortResult<()>;

    /// The messages are loaded, too: the load is no longer under way.
    async fn finish(&mut self) -> PortResult<()>;
}

/// The half of a [`Load`] that takes messages.
///
/// All calls are those of [`Load`], with what is promised there.
#[async_trait]
pub trait LoadMessages: Send {
    /// Opens the load: refuses another epoch than the store's, and fixes it where the store has none. With `resume` it answers
    /// the last room whose messages an earlier, unfinished load of the same source has already stored durably; without, all
    /// rooms are given from the first.
    async fn begin(&mut self, source: &Source, resume: bool) -> PortResult<Option<RoomId>>;

    /// As [`Load::messages`].
    async fn messages(&mut self, rooms: &[RoomMessages]) -> PortResult<()>;

    /// As [`Load::bodies`].
    async fn bodies(&mut self, rows: &[MessageBody]) -> PortResult<()>;

    /// Everything has been given; answers when it is durable.
    async fn finish(&mut self) -> PortResult<()>;
}

/// A load into nowhere: an import into it reads and checks everything and changes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

#[async_trait]
impl Load for Discard {
    async fn known_names(&mut self, _: Option<(NameKind, u64)>, _: usize) -> PortResult<Vec<Name>> {
        Ok(Vec::new())
    }

    async fn begin(&mut self, _: &Source) -> PortResult<()> {
        Ok(())
    }

    async fn organizations(&mut self, _: &[Organization]) -> PortResult<()> {
        Ok(())
    }

    async fn accounts(&mut self, _: &[Account]) -> PortResult<()> {
        Ok(())
    }

    async fn rooms(&mut self, _: &[RoomId]) -> PortResult<()> {
        Ok(())
    }

    async fn memberships(&mut self, _: &[Membership]) -> PortResult<()> {
        Ok(())
    }

    async fn organization_rooms(&mut self, _: &[OrganizationRooms]) -> PortResult<()> {
        Ok(())
    }

    async fn names(&mut self, _: &[Name]) -> PortResult<()> {
        Ok(())
    }

    async fn publish(&mut self) -> PortResult<Option<RoomId>> {
        Ok(None)
    }

    async fn messages(&mut self, _: &[RoomMessages]) -> PortResult<()> {
        Ok(())
    }

    async fn bodies(&mut self, _: &[MessageBody]) -> PortResult<()> {
        Ok(())
    }

    async fn finish(&mut self) -> PortResult<()> {
        Ok(())
    }
}
