//! The log of rooms, as tests write it: whatever is noted stands behind everything that was noted before.

use std::sync::atomic::{AtomicU64, Ordering};

use chat::{MembershipChange, Position, RoomChange, RoomId};
use import::Membership;

/// The next change of `room`.
pub fn next(room: RoomId, what: RoomChange) -> MembershipChange {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    MembershipChange { room, position: Position::from_bits(NEXT.fetch_add(1, Ordering::Relaxed)), what }
}

/// Accounts that come into rooms next.
pub fn joined(memberships: &[Membership]) -> Vec<MembershipChange> {
    memberships.iter().map(|member| next(member.room, RoomChange::Joined(member.account))).collect()
}

/// Accounts that leave rooms next.
pub fn left(memberships: &[Membership]) -> Vec<MembershipChange> {
    memberships.iter().map(|member| next(member.room, RoomChange::Left(member.account))).collect()
}
