//! What the two queue-fed stages of the limit path share: attempts and room lists in the ledger, port calls and messages in
//! batches.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat::ledger::{Begun, Failure, Figures, Item, Settlement, Stage, State, UnreadableMessage};
use chat::{Directory, Ledger, Organization, OrganizationId, PortError, PortResult, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit};
use worker::{Attempts, Backoff, Batcher, Batching, Begin, Cause, ConsumerSettings, Outgoing, Pulse, Queue, Verdict};

use super::cause_of;

/// How a stage of the limit path is run.
#[derive(Clone, Copy, Debug)]
pub struct StageSettings {
    /// How its queue is consumed.
    pub consumer: ConsumerSettings,
    /// Entries of one call to ledger, directory and limits.
    pub batch_max: usize,
}

impl StageSettings {
    /// Settings that suit the embedded adapters: one process, calls of microseconds.
    pub fn embedded() -> Self {
        #[expect(clippy::expect_used, reason = "the numbers stand right here")]
        let backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(60), 0.3).expect("checked numbers");
        Self {
            consumer: ConsumerSettings {
                in_flight: 512,
                receive_min: 128,
                visible_for: Duration::from_secs(30),
                receive_wait: Duration::from_secs(2),
                attempts_max: 5,
                backoff,
                hang_after: Duration::from_secs(120),
                stop_grace: Duration::from_secs(7),
            },
            batch_max: 512,
        }
    }
}

/// A task that is about one organization of one run.
pub(super) trait OfItem: Send + Sync + 'static {
    /// Which one.
    fn item(&self) -> Item;
}

/// Starts batches of a port call. A call that fails answers all its entries with the same cause.
pub(super) fn batched<I, O, F, Fut>(max: usize, call: F) -> Batcher<I, Result<O, Failed>>
where
    I: Send + Sync + 'static,
    O: Send + 'static,
    F: Fn(Arc<Vec<I>>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = PortResult<Vec<O>>> + Send,
{
    let call = Arc::new(call);
    Batcher::start(Batching::up_to(max), move |entries: Vec<I>| {
        let call = Arc::clone(&call);
        async move {
            let entries = Arc::new(entries);
            match call(Arc::clone(&entries)).await {
                Ok(answers) => answers.into_iter().map(Ok).collect(),
                Err(error) => {
                    let failed = Failed::of(&error);
                    entries.iter().map(|_| Err(failed.clone())).collect()
                }
            }
        }
    })
}

/// Why a batch failed, for each of its entries.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    /// The cause in words.
    pub(super) cause: Cause,
    /// What a handler answers.
    pub(super) verdict: Verdict,
}

impl Failed {
    /// A port failed.
    fn of(error: &PortError) -> Self {
        Self { cause: cause_of(error), verdict: super::verdict_of(error) }
    }

    /// The batch's task died, or did not answer the entry.
    fn unanswered() -> Self {
        let cause = Cause::new("unavailable", "a batch call ended without an answer");
        Self { verdict: Verdict::Again { after: None, cause: cause.clone() }, cause }
    }
}

/// Calls one entry of a batch.
pub(super) async fn call<I, O>(batcher: &Batcher<I, Result<O, Failed>>, entry: I) -> Result<O, Failed>
where
    I: Send + 'static,
    O: Send + 'static,
{
    batcher.call(entry).await.unwrap_or_else(|| Err(Failed::unanswered()))
}

/// The directory's answer about one organization, in batches.
pub(super) fn organizations(
    directory: &Arc<dyn Directory>,
    batch_max: usize,
) -> Batcher<OrganizationId, Result<Option<Organization>, Failed>> {
    let directory = Arc::clone(directory);
    batched(batch_max, move |ids: Arc<Vec<OrganizationId>>| {
        let directory = Arc::clone(&directory);
        async move { directory.organizations(&ids).await }
    })
}

/// Sends to a queue in its own batches; true when the message is durable.
pub(super) fn sender(queue: &Arc<dyn Queue>) -> Batcher<Outgoing, bool> {
    let limits = queue.limits();
    let queue = Arc::clone(queue);
    Batcher::start(Batching { max: limits.batch_max, linger: limits.linger }, move |messages: Vec<Outgoing>| {
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

/// Sends one message by a [`sender`] of the queue `name`: done when it is durable.
pub(super) async fn send(sender: &Batcher<Outgoing, bool>, name: &str, body: Vec<u8>) -> Verdict {
    let bytes = body.len();
    if sender.call(Outgoing::now(body)).await == Some(true) {
        return Verdict::Done;
    }
    let cause = Cause::new("unavailable", format!("the queue {name} did not take a message of {bytes} bytes"));
    Verdict::Again { after: None, cause }
}

/// Room lists of the ledger that a stage works on at once: of all other tasks memory holds at most a message, of these a list.
const LISTS_AT_ONCE: usize = 8;

/// The ledger's rows of one stage, in batches.
pub(super) struct LedgerStage {
    stage: Stage,
    queue: String,
    ledger: Arc<dyn Ledger>,
    begin: Batcher<Item, Result<Begun, Failed>>,
    settle: Batcher<Settlement, Result<bool, Failed>>,
    lists: Semaphore,
}

impl LedgerStage {
    pub(super) fn new(ledger: &Arc<dyn Ledger>, stage: Stage, queue: &str, batch_max: usize) -> Self {
        let for_begin = Arc::clone(ledger);
        let begin = batched(batch_max, move |items: Arc<Vec<Item>>| {
            let ledger = Arc::clone(&for_begin);
            async move { ledger.begin(stage, &items, Timestamp::now()).await }
        });
        let for_settle = Arc::clone(ledger);
        let settle = batched(batch_max, move |settlements: Arc<Vec<Settlement>>| {
            let ledger = Arc::clone(&for_settle);
            async move { ledger.settle(&settlements).await }
        });
        let lists = Semaphore::new(LISTS_AT_ONCE);
        Self { stage, queue: queue.to_owned(), ledger: Arc::clone(ledger), begin, settle, lists }
    }

    /// Ends the organization in a state that is no failure.
    pub(super) async fn settle(&self, item: Item, state: State, figures: Figures) -> Result<bool, Failed> {
        let at = Timestamp::now();
        let settled = call(&self.settle, Settlement { item, state, figures, failure: None, at }).await?;
        if settled {
            measure(state, &figures);
        }
        Ok(settled)
    }

    /// Waits for one's turn to work on a room list of the ledger; it lasts until the answer is dropped.
    pub(super) async fn list_turn(&self, pulse: &Pulse) -> Option<SemaphorePermit<'_>> {
        let _rest = pulse.rest();
        self.lists.acquire().await.ok()
    }

    /// Keeps a room list; false when there is nothing to merge any more.
    pub(super) async fn put_room_list(
        &self,
        item: &Item,
        collected_at: Timestamp,
        list: &[u8],
    ) -> Result<bool, Failed> {
        self.ledger.put_room_list(item, collected_at, list).await.map_err(|error| Failed::of(&error))
    }

    /// The room list that is kept.
    pub(super) async fn room_list(&self, item: &Item) -> Result<Option<Vec<u8>>, Failed> {
        self.ledger.room_list(item).await.map_err(|error| Failed::of(&error))
    }

    async fn settle_badly(&self, item: Item, state: State, cause: &Cause) -> Result<(), Cause> {
        let at = Timestamp::now();
        let failure = Some(failure_of(cause));
        let settlement = Settlement { item, state, figures: Figures::default(), failure, at };
        let settled = call(&self.settle, settlement).await.map_err(|failed| failed.cause)?;
        if settled {
            measure(state, &Figures::default());
        }
        Ok(())
    }
}

/// What an organization took, as metrics.
fn measure(state: State, figures: &Figures) {
    metrics::counter!("lanner_organizations_total", "state" => state.as_str()).increment(1);
    metrics::counter!("lanner_rooms_opened_total").increment(u64::from(figures.rooms_opened));
    metrics::counter!("lanner_message_ids_read_total").increment(figures.messages_read);
    // Half units are the smallest that a store charges.
    metrics::counter!("lanner_half_read_units_total").increment((2.0 * figures.read_units).ceil() as u64);
}

fn failure_of(cause: &Cause) -> Failure {
    Failure { class: cause.class.clone(), error: cause.error.clone() }
}

fn plain<T>(answer: Result<T, PortError>) -> Result<T, Cause> {
    answer.map_err(|error| cause_of(&error))
}

#[async_trait]
impl<T: OfItem> Attempts<T> for LedgerStage {
    async fn begin(&self, task: &T) -> Result<Begin, Cause> {
        let item = task.item();
        match call(&self.begin, item.clone()).await.map_err(|failed| failed.cause)? {
            Begun::Attempt(n) => Ok(Begin::Attempt(n)),
            Begun::Settled(_) | Begun::Cancelled => Ok(Begin::NothingToDo),
            Begun::Unknown => {
                let words = format!("the ledger knows no organization {} in run {}", item.organization, item.run);
                Ok(Begin::Unknown(Cause::new("unknown", words)))
            }
        }
    }

    async fn forgive(&self, task: &T) -> Result<(), Cause> {
        plain(self.ledger.forgive(self.stage, &[task.item()]).await)
    }

    async fn fail(&self, task: &T, cause: &Cause) -> Result<(), Cause> {
        plain(self.ledger.fail(&[(task.item(), failure_of(cause))]).await)
    }

    async fn park(&self, task: &T, cause: &Cause) -> Result<(), Cause> {
        self.settle_badly(task.item(), State::Parked, cause).await
    }

    async fn bury(&self, task: &T, cause: &Cause) -> Result<(), Cause> {
        self.settle_badly(task.item(), State::Failed, cause).await
    }

    async fn put_aside(&self, body: &[u8], cause: &Cause) -> Result<(), Cause> {
        let message = UnreadableMessage {
            id: None,
            queue: self.queue.clone(),
            body: body.to_vec(),
            cause: cause.error.clone(),
            at: Timestamp::now(),
        };
        plain(self.ledger.put_aside(&message).await)
    }
}
