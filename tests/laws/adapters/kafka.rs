//! The log on Apache Kafka: `LANNER_TEST_KAFKA_URL` (`tests/servers`).

use std::path::Path;

use kafka::{KafkaLog, KafkaSettings, TopicSettings, provision};

use super::aws::{prefix, url};

/// A topic of the folder's own with seven partitions, or why there is none.
pub(super) async fn log(folder: &Path) -> Result<KafkaLog, String> {
    let settings = KafkaSettings { bootstrap: url("LANNER_TEST_KAFKA_URL")?, ..KafkaSettings::default() };
    let wanted = TopicSettings {
        partitions: 7,
        replication_factor: 1,
        insync_replicas_min: 1,
        record_bytes_max: settings.record_bytes_max,
        ..TopicSettings::default()
    };
    let topic = prefix(folder);
    provision(&settings, &topic, &wanted).await.map_err(|e| format!("{e:?}"))?;
    KafkaLog::open(&settings, &topic, wanted.partitions).await.map_err(|e| format!("{e:?}"))
}
