//! Where partitions begin and end, and where groups stand in them.

use std::collections::BTreeMap;
use std::time::Duration;

use krafka::Kafka;
use krafka::KrafkaError;
use krafka::admin::{ListConsumerGroupOffsetsOptions, ListOffsetsOptions, OffsetSpec};
use krafka::consumer::TopicPartition;
use krafka::error::ErrorCode;
use worker::log::{Bounds, LogError};

use crate::error::{refused, while_asking};

/// Asks a cluster about one topic.
pub(crate) struct Positions {
    pub(crate) kafka: Kafka,
    pub(crate) topic: String,
    pub(crate) timeout: Duration,
}

impl Positions {
    pub(crate) fn partition(&self, partition: u32) -> TopicPartition {
        // Kafka counts partitions in signed numbers; ours come from it or are below the topic's count.
        TopicPartition::new(self.topic.clone(), i32::try_from(partition).unwrap_or(i32::MAX))
    }

    /// What partitions hold.
    pub(crate) async fn bounds(&self, partitions: &[u32]) -> Result<BTreeMap<u32, Bounds>, LogError> {
        // One after the other: what is appended in between must not make the end come before the beginning.
        let first = self.offsets(partitions, OffsetSpec::Earliest).await?;
        let next = self.offsets(partitions, OffsetSpec::Latest).await?;
        let both = first.into_iter().filter_map(|(partition, first)| Some((partition, first, *next.get(&partition)?)));
        Ok(both.map(|(partition, first, next)| (partition, Bounds { first, next: next.max(first) })).collect())
    }

    async fn offsets(&self, partitions: &[u32], which: OffsetSpec) -> Result<BTreeMap<u32, u64>, LogError> {
        let wanted = partitions.iter().map(|partition| (self.partition(*partition), which));
        let options = ListOffsetsOptions::default().timeout(self.timeout);
        let answers = self.kafka.admin().list_offsets(wanted, options).await.map_err(|error| self.failed(error))?;
        let place = |(place, answer): (TopicPartition, Result<krafka::admin::ListedOffset, KrafkaError>)| {
            let offset = answer.map_err(|error| self.failed(error))?.offset;
            self.place(place.partition(), offset)
        };
        answers.into_iter().map(place).collect()
    }

    /// The offsets that a group has committed; partitions without one are left out.
    pub(crate) async fn committed(&self, group: &str, partitions: &[u32]) -> Result<BTreeMap<u32, u64>, LogError> {
        let wanted = partitions.iter().map(|partition| self.partition(*partition)).collect();
        let options = ListConsumerGroupOffsetsOptions::default().timeout(self.timeout).partitions(wanted);
        let answers = match self.kafka.admin().list_consumer_group_offsets(group, options).await {
            Err(KrafkaError::Broker { code: ErrorCode::GroupIdNotFound, .. }) => return Ok(BTreeMap::new()),
            answers => answers.map_err(|error| self.failed(error))?,
        };
        let mut committed = BTreeMap::new();
        for (place, answer) in answers {
            if let Some(offset) = answer.map_err(|error| self.failed(error))?.offset {
                let (partition, offset) = self.place(place.partition(), offset)?;
                committed.insert(partition, offset);
            }
        }
        Ok(committed)
    }

    fn place(&self, partition: i32, offset: i64) -> Result<(u32, u64), LogError> {
        let place = u32::try_from(partition).ok().zip(u64::try_from(offset).ok());
        place.ok_or_else(|| {
            refused(&self.topic, format!("the broker tells of offset {offset} in partition {partition}"))
        })
    }

    fn failed(&self, error: KrafkaError) -> LogError {
        while_asking(&self.topic, error)
    }
}
