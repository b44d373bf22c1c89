//! Settings: defaults < file < environment < flags. Unknown sections, keys and variables are refused.
//!
//! - [`document`]: the documented defaults, from which everything about a key is read
//! - [`mod@adapters`]: what stands behind each port
//! - [`layers`], [`mod@file`], [`environment`]: the layers and how they come over each other
//! - [`mod@reference`]: values that stand elsewhere and are never printed
//! - [`mod@explain`]: one key, or a section, for people and programs

mod adapters;
mod document;
mod environment;
mod explain;
mod file;
mod layers;
mod reference;
mod suggest;

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use chat::{Day, Epoch, Period, Plan, Policies, Policy, Timestamp};
use jobs::limits::{StageSettings, follow_limits};
use jobs::messages::build_read_model;
use serde::Deserialize;
use toml::Value;
use worker::{Backoff, ConsumerSettings};

use crate::exit::{self, Failure};
pub(crate) use adapters::{
    Aws, Credentials, DirectoryAdapter, DynamoDb, EventLogAdapter, KafkaSecurity, LedgerAdapter, LimitsAdapter,
    MessagesAdapter, Owner, QueueAdapter, Sqs, StateAdapter,
};
use document::Document;
pub(crate) use explain::{Explanation, explain};
pub(crate) use layers::{Entry, Layers, Source};

/// Every key, its default and what it means.
pub(crate) const DEFAULTS: &str = include_str!("../settings.default.toml");

/// All settings. Not `Debug`: some can be secrets.
pub(crate) struct Settings {
    pub(crate) data: Data,
    pub(crate) store: Store,
    pub(crate) retention: Retention,
    pub(crate) directory: DirectoryAdapter,
    pub(crate) messages: MessagesAdapter,
    pub(crate) limits: LimitsAdapter,
    pub(crate) ledger: LedgerAdapter,
    pub(crate) queue: QueueAdapter,
    pub(crate) event_log: EventLogAdapter,
    pub(crate) state: StateAdapter,
    pub(crate) aws: Aws,
    pub(crate) dynamodb: DynamoDb,
    pub(crate) sqs: Sqs,
    pub(crate) workers: Workers,
    pub(crate) http: Http,
    pub(crate) auth: Auth,
    pub(crate) write_api: WriteApi,
    pub(crate) read_api: ReadApi,
    pub(crate) follow_limits: FollowLimits,
    pub(crate) log: Log,
    policies: Policies,
    layers: Layers,
}

/// The settings as they are read, section by section.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sections {
    data: Data,
    store: Store,
    policy: Vec<PolicySettings>,
    retention: Retention,
    directory: DirectoryAdapter,
    messages: MessagesAdapter,
    limits: LimitsAdapter,
    ledger: LedgerAdapter,
    queue: QueueAdapter,
    event_log: EventLogAdapter,
    state: StateAdapter,
    aws: Aws,
    dynamodb: DynamoDb,
    sqs: Sqs,
    workers: Workers,
    http: Http,
    auth: Auth,
    write_api: WriteApi,
    read_api: ReadApi,
    follow_limits: FollowLimits,
    log: Log,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) dir: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) epoch: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicySettings {
    max_messages: u32,
    max_age: String,
    plans: Vec<String>,
    #[serde(default)]
    from: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) runs: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workers {
    pub(crate) in_flight: usize,
    pub(crate) visible_for_ms: u64,
    pub(crate) attempts_max: NonZeroU32,
    pub(crate) backoff_min_ms: u64,
    pub(crate) backoff_max_ms: u64,
    pub(crate) hang_after_ms: u64,
    pub(crate) stop_grace_ms: u64,
    pub(crate) batch_max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: String,
    pub(crate) stale_after_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    pub(crate) jwks: String,
    pub(crate) audience: String,
    pub(crate) issuer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteApi {
    pub(crate) listen: String,
    pub(crate) in_flight_max: usize,
    pub(crate) append_timeout_ms: u64,
    pub(crate) key_lives_for: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadApi {
    pub(crate) listen: String,
    pub(crate) in_flight_max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FollowLimits {
    pub(crate) shard: u32,
    pub(crate) shards: u32,
    pub(crate) in_flight: usize,
    pub(crate) write_every_ms: u64,
    pub(crate) save_every_ms: u64,
    pub(crate) reconcile_every_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) filter: String,
    pub(crate) format: LogFormat,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// A part of the system that an adapter stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Directory,
    Messages,
    Limits,
    Ledger,
    Queue,
    EventLog,
    State,
}

impl Part {
    /// All of them.
    pub(crate) const ALL: [Self; 7] =
        [Self::Directory, Self::Messages, Self::Limits, Self::Ledger, Self::Queue, Self::EventLog, Self::State];
    /// What the limit path is connected to.
    pub(crate) const LIMIT_PATH: [Self; 5] = [Self::Directory, Self::Messages, Self::Limits, Self::Ledger, Self::Queue];
}

impl Settings {
    /// Reads defaults, file, environment and the flag `--data-dir`.
    pub(crate) fn load(file: Option<&Path>, data_dir: Option<&Path>) -> anyhow::Result<Self> {
        let environment = environment::ours(std::env::vars_os())?;
        Self::read(&layers::Inputs { file, environment: &environment, data_dir })
    }

    fn read(inputs: &layers::Inputs) -> anyhow::Result<Self> {
        let layers = Layers::read(&Document::parse(DEFAULTS)?, inputs)?;
        let settings = Self::of(layers.clone()).map_err(|error| match layers.has_secrets() {
            // A cause can show the value that it is about.
            true => anyhow::anyhow!("{}", layers.words_without_secrets(&error)),
            false => error,
        })?;
        // A folder's name need not be text.
        let dir = inputs.data_dir.map_or_else(|| settings.data.dir.clone(), Path::to_owned);
        Ok(Self { data: Data { dir }, ..settings })
    }

    fn of(layers: Layers) -> anyhow::Result<Self> {
        let read: Sections = Value::Table(layers.values()).try_into().context("settings")?;
        let settings = Self {
            policies: policies(&read.policy).context("settings")?,
            data: read.data,
            store: read.store,
            retention: read.retention,
            directory: read.directory,
            messages: read.messages,
            limits: read.limits,
            ledger: read.ledger,
            queue: read.queue,
            event_log: read.event_log,
            state: read.state,
            aws: read.aws,
            dynamodb: read.dynamodb,
            sqs: read.sqs,
            workers: read.workers,
            http: read.http,
            auth: read.auth,
            write_api: read.write_api,
            read_api: read.read_api,
            follow_limits: read.follow_limits,
            log: read.log,
            layers,
        };
        settings.epoch()?;
        settings.retention_ms()?;
        settings.stage()?;
        settings.key_lives_for()?;
        settings.follow_limits()?;
        Ok(settings)
    }

    /// Every key in force and where its value comes from.
    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The policy in force at an instant.
    pub(crate) fn policy(&self, at: Timestamp) -> Result<Policy, Failure> {
        let period = self.policies.in_force(at).context("settings: policy");
        period.map(|period| period.policy).map_err(|error| Failure::new(exit::CONFIGURATION, error))
    }

    /// All policies.
    pub(crate) fn policies(&self) -> &Policies {
        &self.policies
    }

    /// How long runs are kept, in milliseconds; none = for ever.
    pub(crate) fn retention_ms(&self) -> anyhow::Result<Option<u64>> {
        let retention_ms = parse_age(&self.retention.runs).context("settings: retention.runs")?;
        if retention_ms.is_some_and(|ms| ms < Day::MILLIS) {
            bail!("settings: retention.runs is {}: it must be 1d or more, or unlimited", self.retention.runs);
        }
        Ok(retention_ms)
    }

    /// How long idempotency keys are remembered.
    pub(crate) fn key_lives_for(&self) -> anyhow::Result<Duration> {
        let text = &self.write_api.key_lives_for;
        let lives_for = humantime::parse_duration(text)
            .with_context(|| format!("settings: write_api.key_lives_for: '{text}' is no duration: write 24h or 7d"))?;
        if lives_for < Duration::from_secs(60) {
            bail!("settings: write_api.key_lives_for is {text}: it must be 1m or more");
        }
        Ok(lives_for)
    }

    /// True when the directory's rooms and memberships are ours to change.
    pub(crate) fn owns_memberships(&self) -> bool {
        !matches!(self.directory, DirectoryAdapter::Sql { owner: Owner::Chat, .. })
    }

    /// True when this part is answered from the data directory.
    pub(crate) fn is_embedded(&self, part: Part) -> bool {
        match part {
            Part::Directory => matches!(self.directory, DirectoryAdapter::Embedded {}),
            Part::Messages => matches!(self.messages, MessagesAdapter::Embedded {}),
            Part::Limits => matches!(self.limits, LimitsAdapter::Embedded {}),
            Part::Ledger => matches!(self.ledger, LedgerAdapter::Embedded {}),
            Part::Queue => matches!(self.queue, QueueAdapter::Embedded {}),
            Part::EventLog => matches!(self.event_log, EventLogAdapter::Embedded { .. }),
            Part::State => matches!(self.state, StateAdapter::Embedded {}),
        }
    }

    /// True when this part is in DynamoDB.
    pub(crate) fn is_in_dynamodb(&self, part: Part) -> bool {
        match part {
            Part::Messages => matches!(self.messages, MessagesAdapter::DynamoDb { .. }),
            Part::Limits => matches!(self.limits, LimitsAdapter::DynamoDb {}),
            Part::State => matches!(self.state, StateAdapter::DynamoDb {}),
            Part::Directory | Part::Ledger | Part::Queue | Part::EventLog => false,
        }
    }

    /// The epoch, if one is set.
    pub(crate) fn epoch(&self) -> anyhow::Result<Option<Epoch>> {
        if self.store.epoch.is_empty() {
            return Ok(None);
        }
        let epoch: Timestamp = self.store.epoch.parse().context("settings: store.epoch")?;
        Ok(Some(Epoch(epoch)))
    }

    /// Delays between attempts.
    pub(crate) fn backoff(&self) -> anyhow::Result<Backoff> {
        let [min, max] = [self.workers.backoff_min_ms, self.workers.backoff_max_ms].map(Duration::from_millis);
        Backoff::new(min, max, 0.3).context("settings: workers.backoff_min_ms and workers.backoff_max_ms")
    }

    /// How the read model is built.
    pub(crate) fn read_model(&self) -> anyhow::Result<build_read_model::Settings> {
        let (workers, embedded) = (&self.workers, build_read_model::Settings::embedded());
        Ok(build_read_model::Settings {
            in_flight: workers.in_flight,
            high_water: workers.in_flight.saturating_mul(8),
            poll_max: workers.in_flight.saturating_mul(4),
            batch_max: workers.batch_max,
            backoff: self.backoff()?,
            hang_after: Duration::from_millis(workers.hang_after_ms),
            stop_grace: Duration::from_millis(workers.stop_grace_ms / 2),
            log_epoch: self.event_log.epoch(),
            ..embedded
        })
    }

    /// How limits are followed.
    pub(crate) fn follow_limits(&self) -> anyhow::Result<follow_limits::Settings> {
        let FollowLimits { shard, shards, in_flight, write_every_ms, save_every_ms, reconcile_every_ms } =
            self.follow_limits;
        if shard >= shards {
            bail!(
                "follow_limits.shard is {shard}: with follow_limits.shards = {shards} it is from 0 to {}",
                shards - 1
            );
        }
        Ok(follow_limits::Settings {
            shard,
            shards,
            in_flight,
            write_every: Duration::from_millis(write_every_ms),
            save_every: Duration::from_millis(save_every_ms),
            reconcile_every: (reconcile_every_ms > 0).then(|| Duration::from_millis(reconcile_every_ms)),
            hang_after: Duration::from_millis(self.workers.hang_after_ms),
            ..follow_limits::Settings::of_one(self.backoff()?)
        })
    }

    /// How the queue-fed jobs are run.
    pub(crate) fn stage(&self) -> anyhow::Result<StageSettings> {
        let (workers, backoff) = (&self.workers, self.backoff()?);
        if self.http.stale_after_ms <= workers.hang_after_ms {
            bail!(
                "settings: http.stale_after_ms = {} is not above workers.hang_after_ms = {}: the process would be ended before \
                 its part that hangs",
                self.http.stale_after_ms,
                workers.hang_after_ms
            );
        }
        let embedded = StageSettings::embedded();
        let in_flight = workers.in_flight;
        // SQS is paid by the request: each waits as long as one can and is worth ten messages, where so many fit.
        let (receive_min, receive_wait) = match self.queue {
            QueueAdapter::Embedded {} => (in_flight / 4, embedded.consumer.receive_wait),
            QueueAdapter::Sqs {} => (in_flight.min(10), Duration::from_secs(20)),
        };
        Ok(StageSettings {
            consumer: ConsumerSettings {
                in_flight,
                receive_min: receive_min.max(1),
                receive_wait,
                visible_for: Duration::from_millis(workers.visible_for_ms),
                attempts_max: workers.attempts_max.get(),
                backoff,
                hang_after: Duration::from_millis(workers.hang_after_ms),
                stop_grace: Duration::from_millis(workers.stop_grace_ms),
            },
            batch_max: workers.batch_max,
        })
    }
}

/// "40d" as milliseconds; "unlimited" as none.
pub(crate) fn parse_age(text: &str) -> anyhow::Result<Option<u64>> {
    if text == "unlimited" {
        return Ok(None);
    }
    let duration = humantime::parse_duration(text)
        .with_context(|| format!("'{text}' is not an age: write 40d, 12h, or unlimited"))?;
    u64::try_from(duration.as_millis()).map(Some).with_context(|| format!("'{text}' is too long"))
}

/// The periods of the policies.
fn policies(settings: &[PolicySettings]) -> anyhow::Result<Policies> {
    let mut periods = Vec::with_capacity(settings.len());
    for entry in settings {
        let plans = entry.plans.iter().map(|plan| plan.parse()).collect::<Result<Vec<Plan>, _>>();
        let plans = plans.context("policy.plans")?;
        if plans.is_empty() {
            bail!("policy.plans is empty: name the plans that it limits, such as [\"free\"]");
        }
        if let Some(plan) = plans.iter().find(|plan| !plan.is_limited()) {
            bail!("policy.plans names {plan}, which sees everything: only the free plan can be limited");
        }
        let max_age_ms = parse_age(&entry.max_age).context("policy.max_age")?;
        let policy = Policy::new(entry.max_messages, max_age_ms).context("policy")?;
        let from = entry.from.as_ref().map(|text| text.parse()).transpose().context("policy.from")?;
        periods.push(Period { from, policy });
    }
    Policies::new(periods).context("policy")
}

#[cfg(test)]
mod tests;
