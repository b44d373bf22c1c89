//! A topic as a log.

use std::sync::Arc;

use async_trait::async_trait;
use worker::log::{Appended, Bounds, Log, LogConsumer, LogError, LogLimits, LogRecord, Missing, Place};

use crate::append::Appender;
use crate::assignments::Changes;
use crate::consumer::{KafkaConsumer, Start};
use crate::error::{refused, while_asking};
use crate::positions::Positions;
use crate::settings::KafkaSettings;
use crate::{client, topic};

/// Records of one call.
const BATCH_MAX: usize = 1_000;

/// A topic of Apache Kafka. Dropping it waits for nothing: what an append was told is stored, what was not answered is not known.
pub struct KafkaLog {
    topic: String,
    partitions: u32,
    settings: KafkaSettings,
    appender: Appender,
    positions: Arc<Positions>,
}

impl KafkaLog {
    /// Opens a topic that is there.
    ///
    /// # Errors
    ///
    /// Refused, with what has to be changed, when the settings make no sense, or the topic is missing, has not `partitions` partitions, or
    /// is configured so that records could vanish or not fit.
    pub async fn open(settings: &KafkaSettings, topic: &str, partitions: u32) -> Result<Self, LogError> {
        settings.check().map_err(|rule| refused(topic, rule))?;
        let kafka = client::connect(topic, settings).await?;
        topic::check(&kafka, topic, partitions, settings).await?;
        let producer = client::producer(topic, &kafka, settings).await?;
        let record_bytes_max = settings.record_bytes_max;
        let timeout = client::request_timeout(settings);
        Ok(Self {
            topic: topic.to_owned(),
            partitions,
            settings: settings.clone(),
            appender: Appender { producer, topic: topic.to_owned(), partitions, record_bytes_max },
            positions: Arc::new(Positions { kafka, topic: topic.to_owned(), timeout }),
        })
    }

    fn check_partition(&self, partition: u32) -> Result<(), LogError> {
        if partition < self.partitions {
            return Ok(());
        }
        Err(refused(&self.topic, format!("there is no partition {partition}: it has {}", self.partitions)))
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn name(&self) -> &str {
        &self.topic
    }

    fn limits(&self) -> LogLimits {
        LogLimits { batch_max: BATCH_MAX, record_bytes_max: self.settings.record_bytes_max }
    }

    async fn partitions(&self) -> Result<u32, LogError> {
        Ok(self.partitions)
    }

    async fn append(&self, records: Vec<LogRecord>) -> Result<Appended, LogError> {
        if records.len() > BATCH_MAX {
            return Err(refused(
                &self.topic,
                format!("{} records in one call: {BATCH_MAX} is the most", records.len()),
            ));
        }
        Ok(self.appender.append(records).await)
    }

    async fn bounds(&self, partition: u32) -> Result<Bounds, LogError> {
        self.check_partition(partition)?;
        let bounds = self.positions.bounds(&[partition]).await?;
        bounds.get(&partition).copied().ok_or_else(|| refused(&self.topic, "the broker tells no bounds"))
    }

    async fn committed(&self, group: &str, partition: u32) -> Result<Option<u64>, LogError> {
        self.check_partition(partition)?;
        Ok(self.positions.committed(group, &[partition]).await?.get(&partition).copied())
    }

    async fn join(&self, group: &str, missing: Missing) -> Result<Box<dyn LogConsumer>, LogError> {
        let failed = |error| while_asking(&self.topic, error);
        let kafka = client::connect(&self.topic, &self.settings).await?;
        let changes = Changes::default();
        let member = client::member(&kafka, group, &self.settings).rebalance_listener(changes.clone());
        let member = member.build().await.map_err(failed)?;
        member.subscribe([&self.topic]).await.map_err(failed)?;
        let start = Start::Committed { group: group.to_owned(), missing };
        let keep_alive = client::keep_alive(&self.settings);
        Ok(Box::new(KafkaConsumer::new(member, changes, Arc::clone(&self.positions), start, keep_alive)))
    }

    async fn follow(&self, from: &[Place]) -> Result<Box<dyn LogConsumer>, LogError> {
        from.iter().try_for_each(|place| self.check_partition(place.partition))?;
        let failed = |error| while_asking(&self.topic, error);
        let kafka = client::connect(&self.topic, &self.settings).await?;
        let reader = client::reader(kafka.consumer_without_group()).build().await.map_err(failed)?;
        let partitions = from.iter().filter_map(|place| i32::try_from(place.partition).ok()).collect();
        reader.assign(&self.topic, partitions).await.map_err(failed)?;
        let start = Start::Given(from.iter().map(|place| (place.partition, place.offset)).collect());
        let keep_alive = client::keep_alive(&self.settings);
        Ok(Box::new(KafkaConsumer::new(reader, Changes::default(), Arc::clone(&self.positions), start, keep_alive)))
    }
}
