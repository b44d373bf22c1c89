//! `collect-rooms`: finds the rooms that an organization sees now and sends them to the merge. Where a page is a request it
//! first drops the ones that have been quiet for longer than the policy's age; where pages are local, asking would cost more.
//! Rooms that are too many for a message are kept by the ledger, and a claim on them is sent.

use std::sync::Arc;

use async_trait::async_trait;
use chat::ledger::{Item, Stage, State};
use chat::visibility::Window;
use chat::{Access, Epoch, Head, Heads, Limits, Organization, OrganizationId, Plan, RoomId, Timestamp};
use worker::{Batcher, Cause, Consumer, Outgoing, Pulse, Verdict, Work};

use super::release::{figures_of, release_if_stored};
use super::stage::{Failed, LedgerStage, OfItem, StageSettings, batched, call, organizations, send, sender};
use super::verdict_of;
use crate::tasks::{Message, OrganizationTask, RoomTask};
use crate::{ORGANIZATION_QUEUE, Ports, ROOM_QUEUE};

/// The job over these ports. Call from within a runtime.
pub fn consumer(ports: &Ports, settings: StageSettings) -> Consumer<CollectRooms> {
    let ledger = Arc::new(LedgerStage::new(&ports.ledger, Stage::CollectRooms, ORGANIZATION_QUEUE, settings.batch_max));
    let job = Arc::new(CollectRooms::new(ports, Arc::clone(&ledger), settings.batch_max));
    let queue = Arc::clone(&ports.organization_queue);
    Consumer::new("collect-rooms", queue, job, ledger, settings.consumer)
}

impl OfItem for OrganizationTask {
    fn item(&self) -> Item {
        Item { run: self.run.clone(), organization: self.organization }
    }
}

/// The work of this job.
pub struct CollectRooms {
    ledger: Arc<LedgerStage>,
    organizations: Batcher<OrganizationId, Result<Option<Organization>, Failed>>,
    rooms: Batcher<OrganizationId, Result<Vec<RoomId>, Failed>>,
    send: Batcher<Outgoing, bool>,
    /// What a message of the room queue can hold.
    body_bytes_max: usize,
    heads: Arc<dyn Heads>,
    /// What a page of the merge will cost.
    access: Access,
    limits: Arc<dyn Limits>,
    epoch: Epoch,
}

impl CollectRooms {
    fn new(ports: &Ports, ledger: Arc<LedgerStage>, batch_max: usize) -> Self {
        let directory = Arc::clone(&ports.directory);
        let rooms = batched(batch_max, move |ids: Arc<Vec<OrganizationId>>| {
            let directory = Arc::clone(&directory);
            async move { directory.rooms_of(&ids).await }
        });
        Self {
            ledger,
            organizations: organizations(&ports.directory, batch_max),
            rooms,
            send: sender(&ports.room_queue),
            body_bytes_max: ports.room_queue.limits().body_bytes_max,
            heads: Arc::clone(&ports.heads),
            access: ports.live_ids.access(),
            limits: Arc::clone(&ports.limits),
            epoch: ports.epoch,
        }
    }

    async fn collect(&self, task: &OrganizationTask, pulse: &Pulse) -> Result<Verdict, Failed> {
        // Read before the rooms: a change in between makes the result older than it is, never newer.
        let collected_at = Timestamp::now();
        let Some(organization) = call(&self.organizations, task.organization).await? else {
            let words = format!("the directory does not know organization {}", task.organization);
            return Ok(Verdict::Bury { cause: Cause::new("unknown organization", words) });
        };
        if organization.plan == Plan::Paid {
            let figures = match release_if_stored(&*self.limits, &organization, &task.run, task.as_of).await {
                Ok(released) => figures_of(released),
                Err(error) => return Ok(verdict_of(&error)),
            };
            self.ledger.settle(task.item(), State::Released, figures).await?;
            return Ok(Verdict::Done);
        }
        let rooms = call(&self.rooms, task.organization).await?;
        pulse.beat();
        let heads = if self.access.needs_heads() {
            match self.heads.of(&rooms).await {
                Ok(heads) => heads,
                Err(error) => return Ok(verdict_of(&error)),
            }
        } else {
            vec![Head::Unknown; rooms.len()]
        };
        let window = Window::at(task.as_of, &task.policy, self.epoch);
        let awake = |(_, head): &(RoomId, Head)| head.below(self.epoch) > window.from;
        let collected = RoomTask {
            run: task.run.clone(),
            as_of: task.as_of,
            organization: task.organization,
            policy: task.policy,
            plan_version: organization.plan_version,
            collected_at,
            rooms_seen: u32::try_from(rooms.len()).unwrap_or(u32::MAX),
            rooms: rooms.into_iter().zip(heads).filter(awake).collect(),
        };
        match collected.encode() {
            Ok(body) if body.len() <= self.body_bytes_max => Ok(send(&self.send, ROOM_QUEUE, body).await),
            Ok(body) => self.send_claim(task, collected_at, &body, pulse).await,
            Err(cause) => Ok(Verdict::Bury { cause }),
        }
    }

    /// Has the ledger keep the rooms, then sends the claim on them: who dies in between collects again.
    async fn send_claim(
        &self,
        task: &OrganizationTask,
        collected_at: Timestamp,
        rooms: &[u8],
        pulse: &Pulse,
    ) -> Result<Verdict, Failed> {
        let _turn = self.ledger.list_turn(pulse).await;
        let (run, organization) = (&task.run, task.organization);
        if !self.ledger.put_room_list(&task.item(), collected_at, rooms).await? {
            tracing::debug!(%run, %organization, "the organization ended while it was collected");
            return Ok(Verdict::Done);
        }
        tracing::debug!(%run, %organization, bytes = rooms.len(), "rooms are too many for a message: the ledger keeps them");
        match task.claim().encode() {
            Ok(body) => Ok(send(&self.send, ROOM_QUEUE, body).await),
            Err(cause) => Ok(Verdict::Bury { cause }),
        }
    }
}

#[async_trait]
impl Work for CollectRooms {
    type Task = OrganizationTask;

    fn decode(&self, body: &[u8]) -> Result<OrganizationTask, Cause> {
        OrganizationTask::decode(body)
    }

    async fn handle(&self, task: &OrganizationTask, pulse: &Pulse) -> Verdict {
        self.collect(task, pulse).await.unwrap_or_else(|failed| failed.verdict)
    }
}
