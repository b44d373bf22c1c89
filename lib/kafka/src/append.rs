//! Appending: in the order of the call, each record with an answer of its own.

use krafka::producer::{DeliveryHandle, Producer};
use krafka::{KrafkaError, Record};
use worker::log::{Appended, LogError, LogRecord, Place, partition_of};

use crate::error::{of_append, refused, unknown, while_asking};

/// Appends to one topic.
pub(crate) struct Appender {
    pub(crate) producer: Producer,
    pub(crate) topic: String,
    pub(crate) partitions: u32,
    pub(crate) record_bytes_max: usize,
}

impl Appender {
    pub(crate) async fn append(&self, records: Vec<LogRecord>) -> Appended {
        let mut sent = Vec::with_capacity(records.len());
        let mut stopped = None;
        for record in records {
            let handle = match self.check(&record) {
                Err(refused) => Err(refused),
                // What did not get out of here must not be overtaken by what came behind it.
                Ok(()) => match &stopped {
                    Some(error) => Err(while_asking(&self.topic, KrafkaError::clone(error))),
                    None => self.producer.enqueue(self.record(record)).await.map_err(|error| {
                        stopped = Some(error.clone());
                        while_asking(&self.topic, error)
                    }),
                },
            };
            sent.push(handle);
        }
        let mut appended = Vec::with_capacity(sent.len());
        for handle in sent {
            appended.push(match handle {
                Ok(handle) => self.answer(handle).await,
                Err(error) => Err(error),
            });
        }
        appended
    }

    fn check(&self, record: &LogRecord) -> Result<(), LogError> {
        let (bytes, max) = (record.bytes(), self.record_bytes_max);
        if bytes > max {
            return Err(refused(&self.topic, format!("a record of {bytes} bytes: {max} is the most")));
        }
        Ok(())
    }

    fn record(&self, record: LogRecord) -> Record {
        let partition = partition_of(&record.key, self.partitions);
        // Below the topic's count of partitions, which Kafka keeps in signed numbers.
        let partition = i32::try_from(partition).unwrap_or_default();
        let sent = Record::new(&self.topic, record.value).partition(partition).key(record.key);
        record.headers.into_iter().fold(sent, |sent, (name, value)| sent.header(name, value))
    }

    async fn answer(&self, handle: DeliveryHandle) -> Result<Place, LogError> {
        let stored = handle.await.map_err(|error| of_append(&self.topic, error))?;
        match (u32::try_from(stored.partition), u64::try_from(stored.offset)) {
            (Ok(partition), Ok(offset)) if stored.is_success() => Ok(Place { partition, offset }),
            // Stored by an earlier try that was not answered, so long ago that the broker has forgotten where.
            _ => Err(unknown(&self.topic, KrafkaError::delivery_timeout(true, "stored, at a place that is not known"))),
        }
    }
}
