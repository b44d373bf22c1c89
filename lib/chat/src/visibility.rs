//! The one place that decides what may be seen.
//!
//! Jobs, readers, previews and explanations all ask here, so that they cannot disagree.

use crate::limit::Boundary;
use crate::{Epoch, MessageId, Policy, Timestamp};

/// The ids among which the newest N are counted: `from ..below`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The oldest id that counts, inclusive.
    pub from: MessageId,
    /// The first id that is too new, exclusive.
    pub below: MessageId,
}

impl Window {
    /// The candidates at `as_of`: `first_id(as_of − max_age) ≤ id < first_id(as_of)`.
    pub fn at(as_of: Timestamp, policy: &Policy, epoch: Epoch) -> Self {
        Self { from: age_cutoff(as_of, policy, epoch), below: epoch.first_id(as_of) }
    }
}

/// The oldest id that age allows at `t`, inclusive: a message exactly at the edge is visible, one millisecond older is not.
pub fn age_cutoff(t: Timestamp, policy: &Policy, epoch: Epoch) -> MessageId {
    match policy.max_age_ms {
        Some(age_ms) => epoch.first_id(t.minus_millis(age_ms)),
        None => MessageId::from_bits(0),
    }
}

/// The oldest id that a limited organization may see at `t`, inclusive: the stored boundary or the age cutoff, whichever is
/// newer. Without a computed limit, age alone.
pub fn effective_boundary(boundary: Boundary, policy: &Policy, t: Timestamp, epoch: Epoch) -> MessageId {
    let by_age = age_cutoff(t, policy, epoch);
    match boundary {
        Boundary::From(by_count) => by_count.max(by_age),
        Boundary::NotComputed | Boundary::NoCountLimit => by_age,
    }
}

/// Who looks, and at what.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The message.
    pub message: MessageId,
    /// False once the message is deleted.
    pub live: bool,
    /// True when the reader's account is a member of the message's room now.
    pub member: bool,
    /// What the organization's plan says: `None` when it does not limit.
    pub limit: Option<(Boundary, Policy)>,
}

/// Whether a message may be seen, and if not, by which rule. The first rule that hides is named, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// It may be seen.
    Visible,
    /// The reader is not a member of the room.
    NotAMember,
    /// The message is deleted.
    Deleted,
    /// Older than the policy's age.
    HiddenByAge,
    /// Older than the newest N.
    HiddenByCount,
}

/// Decides whether a reader may see a message at `t`.
pub fn decide(look: Look, t: Timestamp, epoch: Epoch) -> Visibility {
    if !look.member {
        return Visibility::NotAMember;
    }
    if !look.live {
        return Visibility::Deleted;
    }
    let Some((boundary, policy)) = look.limit else { return Visibility::Visible };
    if look.message < age_cutoff(t, &policy, epoch) {
        Visibility::HiddenByAge
    } else if look.message < effective_boundary(boundary, &policy, t, epoch) {
        Visibility::HiddenByCount
    } else {
        Visibility::Visible
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(Timestamp::from_millis(0));
    const NOW: Timestamp = Timestamp::from_millis(100 * crate::Day::MILLIS);

    fn at(ms_ago: u64) -> MessageId {
        EPOCH.first_id(NOW.minus_millis(ms_ago))
    }

    fn look(message: MessageId, boundary: Boundary) -> Visibility {
        decide(Look { message, live: true, member: true, limit: Some((boundary, Policy::default())) }, NOW, EPOCH)
    }

    #[test]
    fn the_edge_of_the_age_is_visible_and_a_millisecond_older_is_not() {
        assert_eq!(look(at(Policy::MAX_AGE_MS), Boundary::NotComputed), Visibility::Visible);
        assert_eq!(look(at(Policy::MAX_AGE_MS + 1), Boundary::NotComputed), Visibility::HiddenByAge);
    }

    #[test]
    fn the_boundary_itself_is_visible() {
        let boundary = Boundary::From(at(1_000));
        assert_eq!(look(at(1_000), boundary), Visibility::Visible);
        assert_eq!(look(at(1_001), boundary), Visibility::HiddenByCount);
    }

    #[test]
    fn age_goes_on_hiding_below_an_old_boundary() {
        assert_eq!(
            look(at(Policy::MAX_AGE_MS + 1), Boundary::From(at(2 * Policy::MAX_AGE_MS))),
            Visibility::HiddenByAge
        );
    }

    #[test]
    fn a_plan_without_limit_shows_everything_to_members_only() {
        let old = Look { message: MessageId::from_bits(0), live: true, member: true, limit: None };
        assert_eq!(decide(old, NOW, EPOCH), Visibility::Visible);
        assert_eq!(decide(Look { member: false, ..old }, NOW, EPOCH), Visibility::NotAMember);
        assert_eq!(decide(Look { live: false, ..old }, NOW, EPOCH), Visibility::Deleted);
    }

    #[test]
    fn the_window_ends_before_as_of() {
        let window = Window::at(NOW, &Policy::default(), EPOCH);
        assert_eq!(window.below, at(0));
        assert_eq!(window.from, at(Policy::MAX_AGE_MS));
        let ageless = Policy { max_age_ms: None, ..Policy::default() };
        assert_eq!(Window::at(NOW, &ageless, EPOCH).from.get(), 0);
    }
}
