//! Whether sets say what the store says, for some organizations.
//!
//! The store is ahead of the log by what is being told, and both go on. So they are compared as of a minute before the ends of the log were
//! noted: messages posted since do not count, and of older ones only a deletion can be in between. What differs is compared again after
//! the log was read on; what differs each time, the log does not know.

use std::time::Duration;

use chat::newest::Room;
use chat::visibility::Window;
use chat::{MessageId, Newest, OrganizationId, Policy, PortResult, Timestamp, newest};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use super::{Reader, ReplayError, ends};
use crate::limits::follow_limits::shard::{Saved, Shard};
use crate::limits::follow_limits::{FollowPorts, start};
use crate::limits::with_heads;

/// How long before the ends were noted: longer than a message takes from its id to the store and to the log.
const BEFORE_MS: u64 = 60_000;
/// How often what differs is compared again, and after how long.
const AGAIN: usize = 3;
const AGAIN_AFTER: Duration = Duration::from_secs(2);
/// Organizations that are read from the store at once.
const AT_ONCE: usize = 8;

/// What was compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Organizations that were compared.
    pub compared: u64,
    /// Those that were to be compared and cannot be known from the log.
    pub not_known: u64,
    /// Those of which log and store say something else.
    pub differing: Vec<Difference>,
}

/// An organization of which log and store say something else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The organization.
    pub organization: OrganizationId,
    /// The instant for which both hold.
    pub as_of: Timestamp,
    /// By the log.
    pub log: Visible,
    /// By the store.
    pub store: Visible,
}

/// What may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Visible {
    /// How many messages.
    pub messages: u32,
    /// The oldest of them.
    pub oldest: Option<MessageId>,
    /// The boundary, where there are more.
    pub boundary: Option<MessageId>,
}

impl Visible {
    fn of(newest: &Newest) -> Self {
        Self {
            messages: newest.visible_messages,
            oldest: newest.oldest_visible_message_id,
            boundary: newest.first_visible_message_id,
        }
    }
}

/// Compares `many` of the organizations, spread evenly over their ids.
pub(super) async fn check(
    ports: &FollowPorts,
    policy: &Policy,
    noted_at: Timestamp,
    many: usize,
    ids: &[OrganizationId],
    reader: &mut Reader,
    shard: &mut Shard,
) -> Result<Checked, ReplayError> {
    let as_of = noted_at.minus_millis(BEFORE_MS);
    let (mut checked, mut suspects) = (Checked::default(), spread(ids, many));
    for look in 0..=AGAIN {
        if suspects.is_empty() {
            break;
        }
        if look > 0 {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        let now = ends(&start::bounds(&*ports.readable).await?);
        reader.read_to(&now, shard, |_| ()).await?;
        let window = Window::at(as_of, policy, ports.epoch);
        let mut by_log = Vec::new();
        for id in &suspects {
            let saved = shard.saved(*id);
            let newest = saved.as_ref().and_then(|saved| saved.set.newest(window));
            match saved.zip(newest) {
                Some((saved, newest)) => by_log.push((saved, Visible::of(&newest))),
                None => checked.not_known += 1,
            }
        }
        if look == 0 {
            checked.compared = by_log.len() as u64;
        }
        let compare = |(saved, log): (Saved, Visible)| async move {
            let store = by_store(ports, policy, as_of, &saved).await?;
            let organization = saved.id;
            Ok::<_, ReplayError>((log != store).then_some(Difference { organization, as_of, log, store }))
        };
        let compared: Vec<_> = futures::stream::iter(by_log).map(compare).buffered(AT_ONCE).try_collect().await?;
        checked.differing = compared.into_iter().flatten().collect();
        suspects = checked.differing.iter().map(|difference| difference.organization).collect();
    }
    Ok(checked)
}

/// What the batch path computes.
async fn by_store(ports: &FollowPorts, policy: &Policy, as_of: Timestamp, saved: &Saved) -> PortResult<Visible> {
    let rooms = with_heads(&*ports.heads, ports.live_ids.access(), vec![saved.rooms.clone()]).await?;
    let rooms: Vec<Room> = rooms.into_iter().flatten().map(|(room, head)| Room::new(room, head, ports.epoch)).collect();
    newest(&*ports.live_ids, &rooms, policy, as_of, ports.epoch).await.map(|newest| Visible::of(&newest))
}

fn spread(ids: &[OrganizationId], many: usize) -> Vec<OrganizationId> {
    let many = many.min(ids.len());
    (0..many).map(|at| ids[at * ids.len() / many]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_organizations_are_spread_over_all() {
        let ids: Vec<OrganizationId> = (1..=10).map(OrganizationId::from_bits).collect();
        let numbers = |many| spread(&ids, many).iter().map(|id| id.get()).collect::<Vec<_>>();
        assert_eq!(numbers(0), [0_u64; 0]);
        assert_eq!(numbers(3), [1, 4, 7]);
        assert_eq!(numbers(100), (1..=10).collect::<Vec<_>>());
        assert!(spread(&[], 5).is_empty());
    }
}
