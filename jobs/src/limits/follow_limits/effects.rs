//! What is read and written beside the stream. Each is a future that answers what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat::{
    AccountId, ChangeCursor, LimitRow, Organization, OrganizationId, Participant, Policy, PortError, PortResult,
    RoomId, Timestamp,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;
use worker::log::Bounds;
use worker::{Lease, LogError, RenewError, StateError};

use super::merged::{Merged, merged};
use super::saving::{self, Place};
use super::shard::Due;
use super::status::{self, ShardStatus};
use super::writing::{RunIds, Written, write};
use super::{FollowPorts, changes, start};
use crate::limits::drift::{Drift, drift_of};
use crate::limits::{release_at_once, with_heads};

/// What became of something.
pub(super) enum Effect {
    /// Organizations were looked up, each with the rooms it sees.
    Looked(Vec<OrganizationId>, PortResult<Vec<(Option<Organization>, Vec<RoomId>)>>),
    /// An organization's newest ids were read.
    Merged { id: OrganizationId, rooms: Vec<RoomId>, policy: Policy, merged: PortResult<Merged> },
    /// Whose accounts these are.
    Asked(Vec<(AccountId, RoomId)>, PortResult<Vec<Option<Participant>>>),
    /// What changed in the directory.
    Changed(PortResult<Vec<ChangeCursor>>),
    /// Limits were written, or not.
    Put(Vec<Due>, PortResult<Written>),
    /// A limit was released.
    Released(OrganizationId, PortResult<()>),
    /// Some sets were saved.
    Saved(Result<(), StateError>),
    /// The place was saved.
    Placed(Result<(), StateError>),
    /// The lease was renewed.
    Renewed(Lease, Result<(), RenewError>),
    /// What the log holds.
    Bounds(Result<BTreeMap<u32, Bounds>, LogError>),
    /// How the shard is doing was told.
    StatusTold(Result<(), StateError>),
    /// A limit was compared with a batch computation.
    Reconciled(OrganizationId, PortResult<Option<Drift>>),
}

/// An effect under way.
pub(super) type Pending = BoxFuture<'static, Effect>;

/// Runs on a thread of its own turn: reading from a store on this machine would hold up the stream. A panic is a failure like another.
fn spawned<T: Send + 'static>(
    work: impl Future<Output = PortResult<T>> + Send + 'static,
) -> BoxFuture<'static, PortResult<T>> {
    let task = AbortOnDropHandle::new(tokio::spawn(work));
    let died = |error: tokio::task::JoinError| PortError::unavailable("a task", error);
    async move { task.await.map_err(died)? }.boxed()
}

pub(super) fn look(ports: &FollowPorts, ids: Vec<OrganizationId>) -> Pending {
    let directory = Arc::clone(&ports.directory);
    async move {
        let asked = async {
            // The rooms first: who joins afterwards is told of by the log.
            let rooms = directory.rooms_of(&ids).await?;
            let organizations = directory.organizations(&ids).await?;
            Ok(organizations.into_iter().zip(rooms).collect())
        };
        let answer = asked.await;
        Effect::Looked(ids, answer)
    }
    .boxed()
}

pub(super) fn merge(ports: &FollowPorts, id: OrganizationId, rooms: Vec<RoomId>, policy: Policy) -> Pending {
    let (ports, asked) = (ports.clone(), rooms.clone());
    let work = async move {
        let heads = with_heads(&*ports.heads, ports.live_ids.access(), vec![asked]).await?;
        let rooms = heads.into_iter().next().unwrap_or_default();
        merged(&*ports.live_ids, &rooms, &policy, Timestamp::now(), ports.epoch).await
    };
    spawned(work).map(move |merged| Effect::Merged { id, rooms, policy, merged }).boxed()
}

pub(super) fn ask(ports: &FollowPorts, asked: Vec<(AccountId, RoomId)>) -> Pending {
    let directory = Arc::clone(&ports.directory);
    async move {
        let answer = directory.participants(&asked).await;
        Effect::Asked(asked, answer)
    }
    .boxed()
}

pub(super) fn changed(ports: &FollowPorts, after: ChangeCursor) -> Pending {
    let directory = Arc::clone(&ports.directory);
    async move { Effect::Changed(directory.changed_organizations(after, changes::PAGE).await) }.boxed()
}

pub(super) fn put(ports: &FollowPorts, ids: &RunIds, due: Vec<Due>, rows: Vec<LimitRow>) -> Pending {
    let (limits, ledger, ids) = (Arc::clone(&ports.limits), Arc::clone(&ports.ledger), ids.clone());
    let asked = due.clone();
    let work = async move { write(&*limits, &*ledger, &ids, &asked, rows).await };
    spawned(work).map(move |answer| Effect::Put(due, answer)).boxed()
}

/// Releases the limit of an organization whose plan does not limit any more. A failure is told after a while: it is begun anew then.
pub(super) fn release(ports: &FollowPorts, ids: &RunIds, organization: Organization, again_in: Duration) -> Pending {
    let (limits, ledger, ids) = (Arc::clone(&ports.limits), Arc::clone(&ports.ledger), ids.clone());
    async move {
        let released = async {
            let run = ids.after_plan(Timestamp::now())?;
            release_at_once(&*limits, &*ledger, &organization, &run).await.map(drop)
        };
        let answer = released.await;
        if answer.is_err() {
            tokio::time::sleep(again_in).await;
        }
        Effect::Released(organization.id, answer)
    }
    .boxed()
}

pub(super) fn save(ports: &FollowPorts, sets: Vec<(OrganizationId, Option<Vec<u8>>)>) -> Pending {
    let state = Arc::clone(&ports.state);
    async move { Effect::Saved(saving::save(&*state, sets).await) }.boxed()
}

pub(super) fn save_place(ports: &FollowPorts, shard: u32, place: Place) -> Pending {
    let state = Arc::clone(&ports.state);
    async move { Effect::Placed(saving::save_place(&*state, shard, &place).await) }.boxed()
}

pub(super) fn renew(ports: &FollowPorts, mut lease: Lease) -> Pending {
    let state = Arc::clone(&ports.state);
    async move {
        let renewed = lease.renew(&*state).await;
        Effect::Renewed(lease, renewed)
    }
    .boxed()
}

pub(super) fn bounds(ports: &FollowPorts) -> Pending {
    let log = Arc::clone(&ports.readable);
    async move { Effect::Bounds(start::bounds(&*log).await) }.boxed()
}

pub(super) fn tell(ports: &FollowPorts, status: ShardStatus) -> Pending {
    let state = Arc::clone(&ports.state);
    async move { Effect::StatusTold(status::tell(&*state, &status).await) }.boxed()
}

/// Compares an organization's limit; what differs is looked at again, `settle` apart.
pub(super) fn reconcile(ports: &FollowPorts, id: OrganizationId, settle: Duration) -> Pending {
    let (limits, policies) = (ports.of_limits(), ports.policies.clone());
    let work = async move { drift_of(&limits, &policies, id, settle).await };
    spawned(work).map(move |answer| Effect::Reconciled(id, answer)).boxed()
}
