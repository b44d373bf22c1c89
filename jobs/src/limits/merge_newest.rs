//! `merge-newest`: merges an organization's rooms newest first until the N-th message, stores the limit under the version
//! rule, then the ledger row, then acknowledges. A claim is on rooms that the ledger keeps; where they are gone, the organization is
//! collected again.

use std::sync::Arc;

use async_trait::async_trait;
use chat::ledger::{Figures, Item, Stage, State};
use chat::{
    Access, Epoch, LimitRow, Limits, LiveIds, MessageId, Organization, OrganizationId, PageRequest, Pages, Plan,
    PortResult, PutOutcome, Version,
};
use worker::{Batcher, Cause, Consumer, Outgoing, Pulse, Verdict, Work};

use super::compute::{Computation, Computed, compute};
use super::release::{figures_of, release_if_stored};
use super::stage::{Failed, LedgerStage, OfItem, StageSettings, batched, call, organizations, send, sender};
use super::verdict_of;
use crate::tasks::{Message, RoomClaim, RoomMessage, RoomTask};
use crate::{ORGANIZATION_QUEUE, Ports, ROOM_QUEUE};

/// The job over these ports. Call from within a runtime.
pub fn consumer(ports: &Ports, settings: StageSettings) -> Consumer<MergeNewest> {
    let ledger = Arc::new(LedgerStage::new(&ports.ledger, Stage::MergeNewest, ROOM_QUEUE, settings.batch_max));
    let job = Arc::new(MergeNewest::new(ports, Arc::clone(&ledger), settings.batch_max));
    Consumer::new("merge-newest", Arc::clone(&ports.room_queue), job, ledger, settings.consumer)
}

impl OfItem for RoomMessage {
    fn item(&self) -> Item {
        match self {
            Self::Rooms(task) => task.item(),
            Self::Claim(claim) => claim.item(),
        }
    }
}

impl OfItem for RoomTask {
    fn item(&self) -> Item {
        Item { run: self.run.clone(), organization: self.organization }
    }
}

impl OfItem for RoomClaim {
    fn item(&self) -> Item {
        Item { run: self.run.clone(), organization: self.organization }
    }
}

/// The work of this job.
pub struct MergeNewest {
    ledger: Arc<LedgerStage>,
    organizations: Batcher<OrganizationId, Result<Option<Organization>, Failed>>,
    put: Batcher<LimitRow, Result<PutOutcome, Failed>>,
    limits: Arc<dyn Limits>,
    live_ids: Arc<dyn LiveIds>,
    epoch: Epoch,
    /// To be collected again.
    send: Batcher<Outgoing, bool>,
}

impl MergeNewest {
    fn new(ports: &Ports, ledger: Arc<LedgerStage>, batch_max: usize) -> Self {
        let limits = Arc::clone(&ports.limits);
        let put = batched(batch_max, move |rows: Arc<Vec<LimitRow>>| {
            let limits = Arc::clone(&limits);
            async move { limits.put(&rows).await }
        });
        Self {
            ledger,
            organizations: organizations(&ports.directory, batch_max),
            put,
            limits: Arc::clone(&ports.limits),
            live_ids: Arc::clone(&ports.live_ids),
            epoch: ports.epoch,
            send: sender(&ports.organization_queue),
        }
    }

    /// Merges the rooms that the ledger keeps.
    async fn redeem(&self, claim: &RoomClaim, pulse: &Pulse) -> Result<Verdict, Failed> {
        let _turn = self.ledger.list_turn(pulse).await;
        let Some(list) = self.ledger.room_list(&claim.item()).await? else {
            return Ok(self.collect_again(claim).await);
        };
        let task = RoomTask::decode(&list);
        drop(list);
        match task {
            Ok(task) => self.merge(&task, pulse).await,
            Err(cause) => Ok(Verdict::Bury { cause }),
        }
    }

    /// Sends the organization to be collected again. Where it has ended meanwhile, which takes its list away, that message is dropped.
    async fn collect_again(&self, claim: &RoomClaim) -> Verdict {
        let (run, organization) = (&claim.run, claim.organization);
        let Some(task) = claim.collect_again() else {
            let words =
                format!("the ledger has lost the rooms of organization {organization} each time they were collected");
            return Verdict::Bury { cause: Cause::new("rooms lost", words) };
        };
        tracing::info!(%run, %organization, "the rooms are gone: the organization is collected again");
        match task.encode() {
            Ok(body) => send(&self.send, ORGANIZATION_QUEUE, body).await,
            Err(cause) => Verdict::Bury { cause },
        }
    }

    async fn merge(&self, task: &RoomTask, pulse: &Pulse) -> Result<Verdict, Failed> {
        let version = Version { plan_version: task.plan_version, as_of: task.as_of, collected_at: task.collected_at };
        let question = Computed {
            run: &task.run,
            organization: task.organization,
            policy: task.policy,
            version,
            rooms_seen: task.rooms_seen,
            rooms: &task.rooms,
        };
        let Computation { row, read_units } =
            match compute(&Beating { live_ids: &*self.live_ids, pulse }, self.epoch, question).await {
                Ok(computation) => computation,
                Err(error) => return Ok(verdict_of(&error)),
            };
        // Asked again right before writing: without a plan version nothing else keeps an upgraded organization unlimited.
        match call(&self.organizations, task.organization).await? {
            Some(organization) if organization.plan == Plan::Paid => {
                let figures = match release_if_stored(&*self.limits, &organization, &task.run, task.as_of).await {
                    Ok(released) => figures_of(released),
                    Err(error) => return Ok(verdict_of(&error)),
                };
                self.ledger.settle(task.item(), State::Released, figures).await?;
                return Ok(Verdict::Done);
            }
            Some(_) => {}
            None => {
                let words = format!("the directory no longer knows organization {}", task.organization);
                return Ok(Verdict::Bury { cause: Cause::new("unknown organization", words) });
            }
        }
        let outcome = call(&self.put, row.clone()).await?;
        let own = match &outcome {
            PutOutcome::Superseded => self.stored_by_this_run(task).await,
            PutOutcome::Stored { .. } | PutOutcome::Released => Ok(None),
        };
        let (state, figures) = match own {
            Ok(Some(own)) => (State::Done, figures(&own, own.previous_first_visible_message_id)),
            Ok(None) => settlement(&row, &outcome),
            Err(error) => return Ok(verdict_of(&error)),
        };
        self.ledger.settle(task.item(), state, Figures { read_units, ..figures }).await?;
        Ok(Verdict::Done)
    }

    /// The organization's row, if it is this run's. A task that is delivered twice is collected twice: what was collected
    /// later may be stored already, and is the run's result.
    async fn stored_by_this_run(&self, task: &RoomTask) -> PortResult<Option<LimitRow>> {
        let stored = self.limits.get(&[task.organization]).await?.into_iter().next().flatten();
        Ok(stored.filter(|row| row.run == task.run))
    }
}

/// How an organization ends, and with which figures.
fn settlement(row: &LimitRow, outcome: &PutOutcome) -> (State, Figures) {
    let previous = match outcome {
        // The row before this run; when this run had written already, the row that stood before it.
        PutOutcome::Stored { previous: Some(before) } if before.run == row.run => {
            before.previous_first_visible_message_id
        }
        PutOutcome::Stored { previous } => previous.as_ref().and_then(LimitRow::first_visible_message_id),
        PutOutcome::Superseded | PutOutcome::Released => None,
    };
    let state = match outcome {
        PutOutcome::Stored { .. } => State::Done,
        PutOutcome::Superseded => State::Superseded,
        PutOutcome::Released => State::Released,
    };
    (state, figures(row, previous))
}

/// What a row says of how it came to be; what it cost is not in it.
fn figures(row: &LimitRow, previous: Option<MessageId>) -> Figures {
    Figures {
        rooms: row.rooms,
        rooms_opened: row.rooms_opened,
        messages_read: row.messages_read,
        read_units: 0.0,
        visible_messages: row.visible_messages,
        first_visible_message_id: row.first_visible_message_id(),
        previous_first_visible_message_id: previous,
    }
}

/// Beats at every page: an organization of many rooms takes long, and hangs only when a page does.
struct Beating<'a> {
    live_ids: &'a dyn LiveIds,
    pulse: &'a Pulse,
}

#[async_trait]
impl LiveIds for Beating<'_> {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        let pages = self.live_ids.newest(requests).await;
        self.pulse.beat();
        pages
    }

    fn access(&self) -> Access {
        self.live_ids.access()
    }
}

#[async_trait]
impl Work for MergeNewest {
    type Task = RoomMessage;

    fn decode(&self, body: &[u8]) -> Result<RoomMessage, Cause> {
        RoomMessage::decode(body)
    }

    async fn handle(&self, message: &RoomMessage, pulse: &Pulse) -> Verdict {
        let merged = match message {
            RoomMessage::Rooms(task) => self.merge(task, pulse).await,
            RoomMessage::Claim(claim) => self.redeem(claim, pulse).await,
        };
        merged.unwrap_or_else(|failed| failed.verdict)
    }
}
