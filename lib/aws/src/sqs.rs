//! Queues in Amazon SQS.

mod batch;
mod body;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use tokio::time::Instant;
use worker::queue::PerEntry;
use worker::{Delivery, Depth, Outgoing, Queue, QueueError, QueueLimits, Receipt};

use self::batch::{Answered, Answers, in_order};
use self::body::Encoded;
use crate::failed::{Failed, Kind};
use crate::meter::Usage;
use crate::retry::Retry;
use crate::{ServiceSettings, SqsSettings, client};

/// Entries of one request: SQS takes no more.
const BATCH: usize = 10;
/// Bytes of one request's bodies together. SQS has taken 1 MiB since 2025; 256 KiB is what every region and substitute takes.
const REQUEST_BYTES: usize = 256 * 1024;
/// Bytes of a request that are left to attributes.
const MARGIN_BYTES: usize = 1024;
/// The longest a poll can be: SQS takes no longer one.
const POLL_MAX: Duration = Duration::from_secs(20);
/// The longest a message can be delayed.
const DELAY_MAX: Duration = Duration::from_secs(900);
/// The longest a message can be hidden.
const HIDDEN_MAX: Duration = Duration::from_secs(12 * 3_600);

/// A connection to SQS. Clones share its budget of retries and its counts.
#[derive(Clone, Debug)]
pub struct Sqs(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    retry: Retry,
    settings: SqsSettings,
    try_timeout: Duration,
}

impl Sqs {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Refused when the delays of the retries make no sense.
    pub async fn connect(service: &ServiceSettings, settings: SqsSettings) -> Result<Self, QueueError> {
        let retry = Retry::new(&service.retry, service.try_timeout).map_err(|e| QueueError::Refused {
            queue: settings.queue_prefix.clone(),
            what: format!("the retry settings of SQS: {e}"),
        })?;
        let config = aws_sdk_sqs::config::Builder::from(&client::config(service).await)
            .http_client(client::http_client(service))
            .build();
        let client = Client::from_conf(config);
        Ok(Self(Arc::new(Inner { client, retry, settings, try_timeout: service.try_timeout })))
    }

    /// What was used so far, over all queues of the connection.
    pub fn usage(&self) -> Usage {
        self.0.retry.meter().usage()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// The name that a queue has at SQS.
    pub(crate) fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.0.settings.queue_prefix)
    }

    pub(crate) async fn call<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, Failed> {
        self.0.retry.call(request).await
    }
}

/// One queue.
///
/// Times are whole seconds at SQS: shorter ones are rounded up, so that nothing comes back too early. A delay of more than 15 minutes
/// and a visibility timeout of more than 12 hours are refused, because SQS could not keep them. An answer to a message that was
/// received again since can count as done: SQS does not tell.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    sqs: Sqs,
    name: Arc<str>,
    url: Arc<str>,
}

impl SqsQueue {
    /// Finds the queue `name`; the prefix of the settings stands in front of it.
    ///
    /// # Errors
    ///
    /// Refused when it does not exist.
    pub async fn open(sqs: &Sqs, name: &str) -> Result<Self, QueueError> {
        let full_name = sqs.full_name(name);
        let found = sqs
            .call(|| {
                let request = sqs.client().get_queue_url().queue_name(&full_name);
                async move { request.send().await.map_err(Failed::from) }
            })
            .await
            .map_err(|failed| queue_error(&full_name, failed))?;
        let Some(url) = found.queue_url else {
            return Err(QueueError::Refused { queue: full_name, what: "it has no address".to_owned() });
        };
        Ok(Self { sqs: sqs.clone(), name: full_name.into(), url: url.into() })
    }

    fn refused(&self, what: impl Into<String>) -> QueueError {
        QueueError::Refused { queue: self.name.to_string(), what: what.into() }
    }

    fn check_batch(&self, entries: usize) -> Result<(), QueueError> {
        if entries <= BATCH {
            return Ok(());
        }
        Err(self.refused(format!("{entries} entries in one call: at most {BATCH} are taken")))
    }

    /// Whole seconds, never less than `time`.
    fn seconds(&self, time: Duration, max: Duration, what: &str) -> Result<i32, QueueError> {
        if time > max {
            let max = max.as_secs();
            return Err(self.refused(format!("{what} of {} s: SQS keeps at most {max} s", time.as_secs())));
        }
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        i32::try_from(seconds).map_err(|_| self.refused(what))
    }

    /// Sends the entries of one request.
    async fn send_group(&self, entries: &[(usize, SendMessageBatchRequestEntry)]) -> Result<Answers, QueueError> {
        let indices = entries.iter().map(|(index, _)| *index).collect();
        self.batch(indices, |open| {
            let open = entries.iter().filter(|(index, _)| open.contains(index)).map(|(_, entry)| entry.clone());
            let request = self.sqs.client().send_message_batch().queue_url(&*self.url);
            let request = request.set_entries(Some(open.collect()));
            async move {
                let answer = request.send().await?;
                Ok(Answered::new(answer.successful().iter().map(|entry| entry.id()), answer.failed()))
            }
        })
        .await
    }

    /// An entry of a request to send, and the bytes that count for it.
    fn entry(&self, index: usize, message: &Outgoing) -> Result<(usize, SendMessageBatchRequestEntry), QueueError> {
        let delay = self.seconds(message.delay, DELAY_MAX, "a delay")?;
        let encoded = Encoded::new(&message.body).map_err(|what| self.refused(what))?;
        if encoded.text.len() > REQUEST_BYTES - MARGIN_BYTES {
            let (bytes, max) = (encoded.text.len(), REQUEST_BYTES - MARGIN_BYTES);
            return Err(self.refused(format!("a body of {bytes} bytes: at most {max} are taken")));
        }
        let bytes = encoded.text.len();
        let entry =
            encoded.put_into(SendMessageBatchRequestEntry::builder().id(index.to_string()).delay_seconds(delay));
        entry.map(|entry| (bytes, entry)).map_err(|e| self.refused(e.to_string()))
    }

    fn delivery(&self, message: Message) -> Option<Delivery> {
        let receipt = Receipt(message.receipt_handle.clone()?);
        let counted = message
            .attributes
            .as_ref()
            .and_then(|attributes| attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount)?.parse().ok());
        Some(Delivery { body: body::decode(message), receipt, receive_count: counted.unwrap_or(1) })
    }
}

#[async_trait]
impl Queue for SqsQueue {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> QueueLimits {
        let body_bytes_max = REQUEST_BYTES - MARGIN_BYTES;
        QueueLimits { batch_max: BATCH, body_bytes_max, linger: self.sqs.0.settings.linger }
    }

    async fn send(&self, messages: &[Outgoing]) -> Result<PerEntry, QueueError> {
        self.check_batch(messages.len())?;
        let mut answers: Answers = Vec::with_capacity(messages.len());
        let (mut group, mut group_bytes) = (Vec::new(), 0);
        let mut groups = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            match self.entry(index, message) {
                Ok((bytes, entry)) => {
                    if group_bytes + bytes > REQUEST_BYTES - MARGIN_BYTES {
                        groups.push(std::mem::take(&mut group));
                        group_bytes = 0;
                    }
                    group_bytes += bytes;
                    group.push((index, entry));
                }
                Err(refused) => answers.push((index, Err(refused))),
            }
        }
        groups.push(group);
        for group in groups {
            match self.send_group(&group).await {
                Ok(answered) => answers.extend(answered),
                Err(error) if answers.is_empty() => return Err(error),
                Err(error) => {
                    let cause: Arc<dyn std::error::Error + Send + Sync> = Arc::new(error);
                    answers.extend(group.iter().map(|(index, _)| {
                        let queue = self.name.to_string();
                        (*index, Err(QueueError::Unavailable { queue, source: Box::new(Arc::clone(&cause)) }))
                    }));
                }
            }
        }
        Ok(in_order(answers))
    }

    async fn receive(&self, max: usize, hidden_for: Duration, wait: Duration) -> Result<Vec<Delivery>, QueueError> {
        let hidden_s = self.seconds(hidden_for, HIDDEN_MAX, "a visibility timeout")?;
        if max == 0 {
            return Ok(Vec::new());
        }
        let deadline = Instant::now() + wait;
        loop {
            // Whole seconds: the last part of one is not waited for.
            let poll = Duration::from_secs(deadline.saturating_duration_since(Instant::now()).min(POLL_MAX).as_secs());
            let request = self
                .sqs
                .client()
                .receive_message()
                .queue_url(&*self.url)
                .max_number_of_messages(i32::try_from(max.min(BATCH)).unwrap_or(1))
                .visibility_timeout(hidden_s)
                .wait_time_seconds(i32::try_from(poll.as_secs()).unwrap_or(0))
                .message_attribute_names(body::ENCODING)
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount);
            // Not tried again here: each lost answer hides messages for a while, and whoever receives has a backoff of their own.
            let received = self
                .sqs
                .0
                .retry
                .once(poll + self.sqs.0.try_timeout, async { request.send().await.map_err(Failed::from) })
                .await
                .map_err(|failed| queue_error(&self.name, failed))?;
            let deliveries: Vec<Delivery> =
                received.messages.unwrap_or_default().into_iter().filter_map(|m| self.delivery(m)).collect();
            let left = deadline.saturating_duration_since(Instant::now());
            if !deliveries.is_empty() || left < Duration::from_secs(1) {
                return Ok(deliveries);
            }
        }
    }

    async fn done(&self, receipts: &[Receipt]) -> Result<PerEntry, QueueError> {
        self.check_batch(receipts.len())?;
        let answers = self.batch((0..receipts.len()).collect(), |open| {
            let entries = open.into_iter().map(|index| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(&receipts[index].0).build().map_err(never_sent)
            });
            let entries: Result<Vec<_>, Failed> = entries.collect();
            let request = self.sqs.client().delete_message_batch().queue_url(&*self.url);
            async move {
                let answer = request.set_entries(Some(entries?)).send().await?;
                Ok(Answered::new(answer.successful().iter().map(|entry| entry.id()), answer.failed()))
            }
        });
        Ok(in_order(answers.await?))
    }

    async fn change_visibility(&self, changes: &[(Receipt, Duration)]) -> Result<PerEntry, QueueError> {
        self.check_batch(changes.len())?;
        let (mut answers, mut good) = (Vec::new(), Vec::new());
        for (index, (receipt, hidden_for)) in changes.iter().enumerate() {
            match self.seconds(*hidden_for, HIDDEN_MAX, "a visibility timeout") {
                Ok(seconds) => good.push((index, receipt, seconds)),
                Err(refused) => answers.push((index, Err(refused))),
            }
        }
        let indices = good.iter().map(|(index, ..)| *index).collect();
        let answered = self.batch(indices, |open| {
            let entries = good.iter().filter(|(index, ..)| open.contains(index)).map(|(index, receipt, seconds)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(index.to_string());
                entry.receipt_handle(&receipt.0).visibility_timeout(*seconds).build().map_err(never_sent)
            });
            let entries: Result<Vec<_>, Failed> = entries.collect();
            let request = self.sqs.client().change_message_visibility_batch().queue_url(&*self.url);
            async move {
                let answer = request.set_entries(Some(entries?)).send().await?;
                Ok(Answered::new(answer.successful().iter().map(|entry| entry.id()), answer.failed()))
            }
        });
        answers.extend(answered.await?);
        Ok(in_order(answers))
    }

    /// Approximate, as SQS says; it tells no age.
    async fn depth(&self) -> Result<Depth, QueueError> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let answer = self.sqs.call(|| {
            let request = self.sqs.client().get_queue_attributes().queue_url(&*self.url);
            let request = request.set_attribute_names(Some(names.to_vec()));
            async move { request.send().await.map_err(Failed::from) }
        });
        let attributes = answer.await.map_err(|failed| queue_error(&self.name, failed))?.attributes.unwrap_or_default();
        let count = |name| attributes.get(name).and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        let [visible, received, delayed] = names.each_ref().map(count);
        Ok(Depth { visible, hidden: received + delayed, oldest_age: None })
    }
}

fn never_sent(source: aws_sdk_sqs::error::BuildError) -> Failed {
    Failed { kind: Kind::Refused, code: String::new(), source: source.into() }
}

pub(crate) fn queue_error(queue: &str, failed: Failed) -> QueueError {
    let queue = queue.to_owned();
    let code = failed.code.rsplit('.').next().unwrap_or_default();
    match failed.kind {
        // Times are checked before, so that the receipt is the only parameter that can be wrong.
        Kind::Refused if ["ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"].contains(&code) => {
            QueueError::NotHeld { queue }
        }
        Kind::Throttled => QueueError::Throttled { queue, source: failed.source },
        Kind::Unavailable => QueueError::Unavailable { queue, source: failed.source },
        Kind::Refused => QueueError::Refused { queue, what: chain(&*failed.source) },
        Kind::Missing => {
            QueueError::Refused { queue, what: "it does not exist (provision it, or check region and name)".to_owned() }
        }
    }
}

/// An error with its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
