//! What has to be known to reach a cluster. Plain values with defaults; where they come from is the program's affair.

use std::fmt;

/// How a cluster is reached and how long things may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Where to ask for the cluster's brokers: `host:port`, several with commas.
    pub bootstrap: String,
    /// Who asks, for the brokers' logs and quotas.
    pub client_id: String,
    /// Encryption and who we are.
    pub security: Security,
    /// How long a connection may take to come about; at least 1.
    pub connect_timeout_ms: u64,
    /// How long one request may wait for its answer; at least `connect_timeout_ms`.
    pub request_timeout_ms: u64,
    /// How long records are tried before whether they are stored is not known; at least `request_timeout_ms` + 100.
    pub delivery_timeout_ms: u64,
    /// After how long without a poll a member leaves its group; at least 1,000. Who dies without a word is missed after the brokers'
    /// `group.consumer.session.timeout.ms`, which a client cannot change; it ought to be the same.
    pub session_timeout_ms: u64,
    /// Bytes of one record's key, headers and value; at least 1. The topic's `max.message.bytes` has to leave 1,024 more.
    pub record_bytes_max: usize,
    /// How many replicas have a record before it counts as appended: a topic whose `min.insync.replicas` is less is not opened. 1 keeps
    /// records only as long as one disk; 2 is what a cluster of 3 brokers wants.
    pub insync_replicas_min: u16,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap: "127.0.0.1:9092".to_owned(),
            client_id: "lanner".to_owned(),
            security: Security::Plaintext,
            connect_timeout_ms: 3_000,
            request_timeout_ms: 10_000,
            delivery_timeout_ms: 30_000,
            session_timeout_ms: 45_000,
            record_bytes_max: 1_000_000,
            insync_replicas_min: 1,
        }
    }
}

impl KafkaSettings {
    /// Says what is wrong with the values, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let rules = [
            (self.bootstrap.contains(':'), "bootstrap is host:port, several with commas"),
            (self.connect_timeout_ms >= 1, "connect_timeout_ms is at least 1"),
            (self.request_timeout_ms >= self.connect_timeout_ms, "request_timeout_ms is at least connect_timeout_ms"),
            (
                self.delivery_timeout_ms >= self.request_timeout_ms.saturating_add(100),
                "delivery_timeout_ms is at least request_timeout_ms + 100",
            ),
            (self.session_timeout_ms >= 1_000, "session_timeout_ms is at least 1000"),
            // Kafka counts in signed 32-bit numbers.
            (self.session_timeout_ms <= i32::MAX as u64, "session_timeout_ms is at most 2147483647"),
            (self.record_bytes_max >= 1, "record_bytes_max is at least 1"),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, rule)| Err(rule.to_owned()))
    }
}

/// Encryption and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Neither: for a network that is safe by other means.
    #[default]
    Plaintext,
    /// TLS; who we are is told by its certificate, if anything.
    Tls(Tls),
    /// SASL within TLS, for a user and a password.
    Sasl {
        /// How the password is proved.
        mechanism: SaslMechanism,
        /// The user.
        user: String,
        /// The password.
        password: Password,
        /// The encryption around it.
        tls: Tls,
    },
}

/// Encryption of connections: by rustls, with the public root certificates or with one's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// A PEM file of the authorities to trust; without it the public ones.
    pub authorities_file: Option<String>,
    /// PEM files of one's own certificate and its key, where brokers ask for one.
    pub identity_files: Option<(String, String)>,
}

/// How a password is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// Told as it is.
    Plain,
    /// Not told, with SHA-256.
    ScramSha256,
    /// Not told, with SHA-512.
    ScramSha512,
}

/// A password, which is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// How a topic is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// How many partitions; at least 1. It can never be changed: the order of a key would be lost.
    pub partitions: u32,
    /// On how many brokers each record stands; at least 1.
    pub replication_factor: u16,
    /// How many of them have a record before it counts as appended; at least 1, at most `replication_factor`.
    pub insync_replicas_min: u16,
    /// How long records are kept; `None` = for ever.
    pub retention_ms: Option<u64>,
    /// Bytes of one record, as [`KafkaSettings::record_bytes_max`].
    pub record_bytes_max: usize,
}

impl Default for TopicSettings {
    /// For a cluster of three brokers or more.
    fn default() -> Self {
        Self {
            partitions: 16,
            replication_factor: 3,
            insync_replicas_min: 2,
            retention_ms: None,
            record_bytes_max: KafkaSettings::default().record_bytes_max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_order() {
        assert_eq!(KafkaSettings::default().check(), Ok(()));
    }

    #[test]
    fn values_that_make_no_sense_are_named() {
        let good = KafkaSettings::default;
        let broken = [
            (KafkaSettings { bootstrap: "kafka".to_owned(), ..good() }, "bootstrap"),
            (KafkaSettings { request_timeout_ms: 1, ..good() }, "request_timeout_ms"),
            (KafkaSettings { delivery_timeout_ms: 10_000, ..good() }, "delivery_timeout_ms"),
            (KafkaSettings { session_timeout_ms: u64::MAX, ..good() }, "session_timeout_ms"),
            (KafkaSettings { record_bytes_max: 0, ..good() }, "record_bytes_max"),
        ];
        for (settings, named) in broken {
            let refused = settings.check().expect_err(named);
            assert!(refused.starts_with(named), "{refused}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let security = Security::Sasl {
            mechanism: SaslMechanism::ScramSha512,
            user: "lanner".to_owned(),
            password: Password("hunter2".to_owned()),
            tls: Tls::default(),
        };
        assert!(!format!("{security:?}").contains("hunter2"));
    }
}
