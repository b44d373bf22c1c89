//! `collect-rooms`: finds the rooms that an organization sees now and sends them to the merge. Where a page is a request it
//! first drops the ones that have been quiet for longer than the policy's age; where pages are local, asking would cost more.

use std::sync::Arc;

use async_trait::async_trait;
use chat::ledger::{Item, Stage, State};
use chat::visibility::Window;
use chat::{Access, Epoch, Head, Heads, Limits, Organization, OrganizationId, Plan, RoomId, Timestamp};
use tokio_util::sync::CancellationToken;
use worker::{Batcher, Cause, Consumer, ConsumerReport, Outgoing, Pulse, Queue, QueueError, Verdict, Work};

use super::release::{figures_of, release_if_stored};
use super::stage::{Failed, LedgerStage, OfItem, StageSettings, batched, call, organizations};
use super::verdict_of;
use crate::tasks::{Message, OrganizationTask, RoomTask};
use crate::{ORGANIZATION_QUEUE, Ports};

/// Runs until stopped; `pulse` beats while it makes progress.
pub async fn run(
    ports: &Ports,
    settings: StageSettings,
    pulse: Pulse,
    stop: CancellationToken,
) -> Result<ConsumerReport, QueueError> {
    let ledger = Arc::new(LedgerStage::new(&ports.ledger, Stage::CollectRooms, ORGANIZATION_QUEUE, settings.batch_max));
    let job = Arc::new(CollectRooms::new(ports, Arc::clone(&ledger), settings.batch_max));
    let queue = Arc::clone(&ports.organization_queue);
    Consumer::new("collect-rooms", queue, job, ledger, settings.consumer, pulse, stop).run().await
}

impl OfItem for OrganizationTask {
    fn item(&self) -> Item {
        Item { run: self.run.clone(), organization: self.organization }
    }
}

struct CollectRooms {
    ledger: Arc<LedgerStage>,
    organizations: Batcher<OrganizationId, Result<Option<Organization>, Failed>>,
    rooms: Batcher<OrganizationId, Result<Vec<RoomId>, Failed>>,
    send: Batcher<Outgoing, bool>,
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
            heads: Arc::clone(&ports.heads),
            access: ports.live_ids.access(),
            limits: Arc::clone(&ports.limits),
            epoch: ports.epoch,
        }
    }

    async fn collect(&self, task: &OrganizationTask) -> Result<Verdict, Failed> {
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
        let task = RoomTask {
            run: task.run.clone(),
            as_of: task.as_of,
            organization: task.organization,
            policy: task.policy,
            plan_version: organization.plan_version,
            collected_at,
            rooms_seen: u32::try_from(rooms.len()).unwrap_or(u32::MAX),
            rooms: rooms.into_iter().zip(heads).filter(awake).collect(),
        };
        match task.encode() {
            Ok(body) => Ok(self.send(body).await),
            Err(cause) => Ok(Verdict::Bury { cause }),
        }
    }

    async fn send(&self, body: Vec<u8>) -> Verdict {
        let bytes = body.len();
        if self.send.call(Outgoing::now(body)).await == Some(true) {
            return Verdict::Done;
        }
        let cause = Cause::new("unavailable", format!("the room queue did not take a message of {bytes} bytes"));
        Verdict::Again { after: None, cause }
    }
}

/// Sends to a queue in its own batches; true when the message is durable.
fn sender(queue: &Arc<dyn Queue>) -> Batcher<Outgoing, bool> {
    let limits = queue.limits();
    let queue = Arc::clone(queue);
    Batcher::start(worker::Batching { max: limits.batch_max, linger: limits.linger }, move |messages: Vec<Outgoing>| {
        let queue = Arc::clone(&queue);
        async move {
            match queue.send(&messages).await {
                Ok(answers) => answers.iter().map(Result::is_ok).collect(),
                Err(error) => {
                    tracing::warn!(queue = queue.name(), %error, "sending failed");
                    vec![false; messages.len()]
                }
            }
        }
    })
}

#[async_trait]
impl Work for CollectRooms {
    type Task = OrganizationTask;

    fn decode(&self, body: &[u8]) -> Result<OrganizationTask, Cause> {
        OrganizationTask::decode(body)
    }

    async fn handle(&self, task: &OrganizationTask) -> Verdict {
        self.collect(task).await.unwrap_or_else(|failed| failed.verdict)
    }
}
