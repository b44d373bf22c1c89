//! Port: who comes into rooms and leaves them, where Lanner owns the directory. Where another system does, it is told there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use async_trait::async_trait;

use crate::{AccountId, PortResult, Position, RoomId};

/// One change of a room, as its log tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MembershipChange {
    /// Which room.
    pub room: RoomId,
    /// Where the change stands among those of this room.
    pub position: Position,
    /// What happened.
    pub what: RoomChange,
}

/// What can happen to a room and to those in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomChange {
    /// The room was made.
    Created,
    /// The room was deleted, which ends all memberships in it. It can be created again.
    Deleted,
    /// An account became a member.
    Joined(AccountId),
    /// An account is no longer a member.
    Left(AccountId),
}

/// The writing side of who is in which room; [`crate::Directory::rooms_of`] is the reading one.
///
/// Whatever the order in which changes arrive, in whatever batches, however often, by however many writers at once: what comes
/// out is what applying each once in the order of their positions leads to.
///
/// Laws (`tests/laws/memberships.rs`):
/// - A join makes an account a member, a leave ends that, a deletion ends the memberships of all. What an import brought has no
///   position and is older than every change.
/// - Of one room, a change at an older or the same position never replaces a newer one. One position is one event: a room's
///   changes at the same position do not contradict each other (a room may be created and joined at once; with its deletion
///   nothing else happens).
/// - A room is known from its first change on, whichever it is, until a deletion; changes at later positions make it known again,
///   without members of before.
/// - A change of an account that the directory does not know is kept: the membership counts as soon as the account is there.
/// - When [`Memberships::apply`] returns, everything it was given is durable and `rooms_of` answers accordingly. After an error
///   some of it may have taken effect; the same call again completes it.
///
/// An import replaces the directory and with it everything that changes have brought, their positions included. Whoever applies
/// a log on top begins where the imported state was taken, or earlier: a change from before then counts as newer than the
/// import, until those that came after it have been applied as well.
///
/// The directory remembers the newest position of each room, and of each account that ever joined or left one since the room was
/// last deleted. Batches are the caller's to bound.
#[async_trait]
pub trait Memberships: Send + Sync {
    /// Applies changes of any rooms, in any order.
    ///
    /// # Errors
    ///
    /// Refused where the directory is another system's.
    async fn apply(&self, changes: &[MembershipChange]) -> PortResult<()>;
}

/// What a directory remembers of a room: its newest changes, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomMark {
    /// The newest change that is no deletion.
    pub alive: Option<Position>,
    /// The newest deletion.
    pub deleted: Option<Position>,
}

impl RoomMark {
    /// What is remembered after both.
    #[must_use]
    pub fn newest(self, other: Self) -> Self {
        Self { alive: self.alive.max(other.alive), deleted: self.deleted.max(other.deleted) }
    }

    /// Whether the room is known, of which a change has told.
    pub fn is_known(self) -> bool {
        self.deleted.is_none() || self.alive > self.deleted
    }

    /// Whether a join or leave at `position` came after the newest deletion.
    pub fn outlives(self, position: Position) -> bool {
        Some(position) > self.deleted
    }
}

/// The newest change of an account's membership in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberMark {
    /// Where it stands.
    pub position: Position,
    /// Whether it is a join; else it is a leave.
    pub joined: bool,
}

/// What a batch of changes comes to: the newest of each room, and of each account in it. The same for any order of the batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewestChanges {
    /// By room; every room of the batch.
    pub rooms: BTreeMap<RoomId, RoomMark>,
    /// By room and account.
    pub members: BTreeMap<(RoomId, AccountId), MemberMark>,
}

impl NewestChanges {
    /// Of a batch.
    pub fn of(changes: &[MembershipChange]) -> Self {
        let mut newest = Self::default();
        for change in changes {
            let position = Some(change.position);
            let mark = match change.what {
                RoomChange::Deleted => RoomMark { alive: None, deleted: position },
                _ => RoomMark { alive: position, deleted: None },
            };
            let room = newest.rooms.entry(change.room).or_default();
            *room = room.newest(mark);
            match change.what {
                RoomChange::Created | RoomChange::Deleted => {}
                RoomChange::Joined(account) => newest.member(change, account, true),
                RoomChange::Left(account) => newest.member(change, account, false),
            }
        }
        newest
    }

    fn member(&mut self, change: &MembershipChange, account: AccountId, joined: bool) {
        let mark = MemberMark { position: change.position, joined };
        match self.members.entry((change.room, account)) {
            Entry::Vacant(entry) => _ = entry.insert(mark),
            Entry::Occupied(entry) if entry.get().position >= mark.position => {}
            Entry::Occupied(mut entry) => _ = entry.insert(mark),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(room: u64, position: u64, what: RoomChange) -> MembershipChange {
        MembershipChange { room: RoomId::from_bits(room), position: Position::from_bits(position), what }
    }

    #[test]
    fn a_batch_comes_to_the_same_in_any_order() {
        let account = AccountId::from_bits(7);
        let mut changes = [
            change(1, 0, RoomChange::Created),
            change(1, 1, RoomChange::Joined(account)),
            change(1, 2, RoomChange::Left(account)),
            change(1, 3, RoomChange::Deleted),
            change(1, 4, RoomChange::Joined(account)),
            change(2, 2, RoomChange::Deleted),
        ];
        let newest = NewestChanges::of(&changes);
        let at = |position| Some(Position::from_bits(position));
        let room = |room| newest.rooms[&RoomId::from_bits(room)];
        assert_eq!(room(1), RoomMark { alive: at(4), deleted: at(3) });
        assert_eq!(room(2), RoomMark { alive: None, deleted: at(2) });
        assert_eq!((room(1).is_known(), room(2).is_known()), (true, false));
        let [oldest, edge] = [2, 3].map(Position::from_bits);
        assert!(!room(1).outlives(oldest) && !room(1).outlives(edge) && room(1).outlives(Position::from_bits(4)));
        let member = newest.members[&(RoomId::from_bits(1), account)];
        assert_eq!(member, MemberMark { position: Position::from_bits(4), joined: true });
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..100 {
            random.shuffle(&mut changes);
            assert_eq!(NewestChanges::of(&changes), newest);
        }
    }
}
