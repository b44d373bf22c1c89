//! A connection to DynamoDB, which the adapters of its tables share, and how items are read.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure};
use chat::{PortError, PortResult};
use tokio::sync::Semaphore;

use crate::failed::Failed;
use crate::meter::Usage;
use crate::retry::{Retry, Tries};
use crate::{DynamoDbSettings, ServiceSettings, client};

/// A connection. Clones share its bound of requests in flight, its budget of retries and its counts.
#[derive(Clone, Debug)]
pub struct DynamoDb(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    retry: Retry,
    requests: Semaphore,
    settings: DynamoDbSettings,
}

impl DynamoDb {
    /// Prepares the connection; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Refused when the delays of the retries make no sense.
    pub async fn connect(service: &ServiceSettings, settings: DynamoDbSettings) -> PortResult<Self> {
        let retry = Retry::new(&service.retry, service.try_timeout).map_err(|e| PortError::Refused {
            what: "the retry settings of DynamoDB".to_owned(),
            source: Some(e.into()),
        })?;
        let config = aws_sdk_dynamodb::config::Builder::from(&client::config(service).await)
            .http_client(client::http_client(service))
            .build();
        let requests = Semaphore::new(settings.requests_max.clamp(1, Semaphore::MAX_PERMITS));
        Ok(Self(Arc::new(Inner { client: Client::from_conf(config), retry, requests, settings })))
    }

    /// What was used so far, over all adapters of the connection.
    pub fn usage(&self) -> Usage {
        self.0.retry.meter().usage()
    }

    /// How it is used.
    pub fn settings(&self) -> &DynamoDbSettings {
        &self.0.settings
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Sends a request, again while it fails temporarily and the budget allows.
    pub(crate) async fn call<T, F: Future<Output = Result<T, Failed>>>(
        &self,
        request: impl Fn() -> F,
    ) -> Result<T, Failed> {
        // Kept while waiting for the next try: whoever waits does not press the service.
        let _slot = self.0.requests.acquire().await;
        self.0.retry.call(request).await
    }

    /// Sends a batch until nothing of it is left. `request` answers what was not processed; where the budget ends, so does
    /// this, with what is left and why.
    pub(crate) async fn drain<B, F>(&self, mut batch: B, request: impl Fn(B) -> F) -> Result<(), (B, Failed)>
    where
        B: Clone + Size,
        F: Future<Output = Result<B, Failed>>,
    {
        let _slot = self.0.requests.acquire().await;
        let mut tries: Tries<'_> = self.0.retry.tries();
        loop {
            let failed = match self.0.retry.one_try(request(batch.clone())).await {
                Ok(left) if left.size() == 0 => return Ok(()),
                Ok(left) => {
                    self.0.retry.throttled();
                    if left.size() < batch.size() {
                        tries.progressed();
                    }
                    batch = left;
                    Failed::unprocessed(batch.size())
                }
                Err(failed) if failed.kind.is_temporary() => failed,
                Err(failed) => return Err((batch, failed)),
            };
            if !tries.again().await {
                return Err((batch, failed));
            }
        }
    }

    /// Puts an item, on whatever condition the request has.
    pub(crate) async fn put(&self, put: PutItemFluentBuilder) -> Result<Put, Failed> {
        let put = put
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        self.call(|| {
            let put = put.clone();
            async move {
                match put.send().await {
                    Ok(answer) => {
                        self.wrote(answer.consumed_capacity().and_then(|capacity| capacity.capacity_units()));
                        Ok(Put::Done)
                    }
                    Err(error) => match error.as_service_error() {
                        Some(PutItemError::ConditionalCheckFailedException(e)) => Ok(Put::Refused(e.item().cloned())),
                        _ => Err(Failed::from(error)),
                    },
                }
            }
        })
        .await
    }

    pub(crate) fn read(&self, units: Option<f64>) -> f64 {
        let units = units.unwrap_or(0.0);
        self.0.retry.meter().read(units);
        units
    }

    pub(crate) fn wrote(&self, units: Option<f64>) {
        self.0.retry.meter().write(units.unwrap_or(0.0));
    }
}

/// What became of an item that was put on a condition.
pub(crate) enum Put {
    /// It is there.
    Done,
    /// The condition does not hold: this is there. It can be the very same item, put by a try whose answer was lost.
    Refused(Option<Item>),
}

/// How many entries a batch has.
pub(crate) trait Size {
    fn size(&self) -> usize;
}

impl<T> Size for Vec<T> {
    fn size(&self) -> usize {
        self.len()
    }
}

/// An item: attributes by name.
pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn number(n: u64) -> AttributeValue {
    AttributeValue::N(n.to_string())
}

pub(crate) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn bytes(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// An item being read; errors name the table and the attribute.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) table: &'a str,
    pub(crate) item: &'a Item,
}

impl<'a> Fields<'a> {
    fn corrupt(&self, name: &str) -> PortError {
        // The whole item could be a message's body: its key is not known here, and its content is nobody's business.
        PortError::corrupt(format!("table {}: an item whose attribute {name} is missing or unreadable", self.table))
    }

    /// The attribute, where there is one.
    fn find<T>(&self, name: &str, read: impl FnOnce(&'a AttributeValue) -> Option<T>) -> PortResult<Option<T>> {
        self.item.get(name).map(|value| read(value).ok_or_else(|| self.corrupt(name))).transpose()
    }

    pub(crate) fn find_number(&self, name: &str) -> PortResult<Option<u64>> {
        self.find(name, |value| value.as_n().ok()?.parse().ok())
    }

    pub(crate) fn number<T: TryFrom<u64>>(&self, name: &str) -> PortResult<T> {
        let number = self.find_number(name)?.ok_or_else(|| self.corrupt(name))?;
        T::try_from(number).map_err(|_| self.corrupt(name))
    }

    pub(crate) fn text(&self, name: &str) -> PortResult<&'a str> {
        self.find(name, |value| value.as_s().ok().map(String::as_str))?.ok_or_else(|| self.corrupt(name))
    }

    pub(crate) fn bytes(&self, name: &str) -> PortResult<&'a [u8]> {
        self.find(name, |value| value.as_b().ok().map(Blob::as_ref))?.ok_or_else(|| self.corrupt(name))
    }

    /// What `convert` makes of a value that was read.
    pub(crate) fn checked<T>(&self, name: &str, converted: Result<T, impl std::error::Error>) -> PortResult<T> {
        converted.map_err(|_| self.corrupt(name))
    }
}
