//! Settings: defaults < file < environment < flags. Unknown keys are refused.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use chat::{Day, Epoch, Policy, Timestamp};
use jobs::limits::StageSettings;
use serde::Deserialize;
use toml::{Table, Value};
use worker::{Backoff, ConsumerSettings};

/// Every key, its default and what it means.
pub(crate) const DEFAULTS: &str = include_str!("settings.default.toml");

/// All settings.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) data: Data,
    pub(crate) store: Store,
    pub(crate) policy: PolicySettings,
    pub(crate) retention: Retention,
    pub(crate) directory: Adapter,
    pub(crate) messages: Adapter,
    pub(crate) limits: Adapter,
    pub(crate) ledger: Adapter,
    pub(crate) queue: Adapter,
    pub(crate) workers: Workers,
    pub(crate) http: Http,
    pub(crate) log: Log,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Data {
    pub(crate) dir: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Store {
    pub(crate) epoch: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PolicySettings {
    pub(crate) max_messages: u32,
    pub(crate) max_age: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    pub(crate) runs: String,
}

/// What stands behind a port; each variant carries only its own keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "adapter", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Adapter {
    Embedded {},
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Workers {
    pub(crate) in_flight: usize,
    pub(crate) visible_for_ms: u64,
    pub(crate) attempts_max: NonZeroU32,
    pub(crate) backoff_min_ms: u64,
    pub(crate) backoff_max_ms: u64,
    pub(crate) stop_grace_ms: u64,
    pub(crate) batch_max: usize,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: String,
    pub(crate) stale_after_ms: u64,
}

#[derive(Clone, Debug, Deserialize)]
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

impl Settings {
    /// Reads defaults, file and environment; flags come on top of it.
    pub(crate) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let merged = merged(file, |name| std::env::var(name).ok())?;
        let settings: Self = Value::Table(merged).try_into().context("settings")?;
        settings.check()?;
        Ok(settings)
    }

    /// The effective values as a table, for printing. No key holds a secret.
    pub(crate) fn effective(file: Option<&Path>) -> anyhow::Result<Table> {
        merged(file, |name| std::env::var(name).ok())
    }

    fn check(&self) -> anyhow::Result<()> {
        self.policy()?;
        self.retention_ms()?;
        self.epoch()?;
        self.stage()?;
        Ok(())
    }

    /// The policy in force.
    pub(crate) fn policy(&self) -> anyhow::Result<Policy> {
        let max_age_ms = parse_age(&self.policy.max_age).context("settings: policy.max_age")?;
        Policy::new(self.policy.max_messages, max_age_ms).context("settings: policy")
    }

    /// How long runs are kept, in milliseconds; none = for ever.
    pub(crate) fn retention_ms(&self) -> anyhow::Result<Option<u64>> {
        let retention_ms = parse_age(&self.retention.runs).context("settings: retention.runs")?;
        if retention_ms.is_some_and(|ms| ms < Day::MILLIS) {
            bail!("settings: retention.runs is {}: it must be 1d or more, or unlimited", self.retention.runs);
        }
        Ok(retention_ms)
    }

    /// The epoch, if one is set.
    pub(crate) fn epoch(&self) -> anyhow::Result<Option<Epoch>> {
        if self.store.epoch.is_empty() {
            return Ok(None);
        }
        let epoch: Timestamp = self.store.epoch.parse().context("settings: store.epoch")?;
        Ok(Some(Epoch(epoch)))
    }

    /// How the queue-fed jobs are run.
    pub(crate) fn stage(&self) -> anyhow::Result<StageSettings> {
        let workers = &self.workers;
        let range = |key: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                return Ok(());
            }
            Err(anyhow!("settings: workers.{key} is {value}: it must be from {min} to {max}"))
        };
        range("in_flight", workers.in_flight as u64, 1, 100_000)?;
        range("visible_for_ms", workers.visible_for_ms, 300, 43_200_000)?;
        range("stop_grace_ms", workers.stop_grace_ms, 0, 8_000)?;
        range("batch_max", workers.batch_max as u64, 1, 10_000)?;
        let backoff = Backoff::new(
            Duration::from_millis(workers.backoff_min_ms),
            Duration::from_millis(workers.backoff_max_ms),
            0.3,
        )
        .context("settings: workers.backoff_min_ms and workers.backoff_max_ms")?;
        let embedded = StageSettings::embedded();
        Ok(StageSettings {
            consumer: ConsumerSettings {
                in_flight: workers.in_flight,
                receive_min: (workers.in_flight / 4).max(1),
                visible_for: Duration::from_millis(workers.visible_for_ms),
                attempts_max: workers.attempts_max.get(),
                backoff,
                stop_grace: Duration::from_millis(workers.stop_grace_ms),
                ..embedded.consumer
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

fn merged(file: Option<&Path>, environment: impl Fn(&str) -> Option<String>) -> anyhow::Result<Table> {
    let mut settings: Table = DEFAULTS.parse().context("the built-in defaults")?;
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).with_context(|| format!("settings file {}", path.display()))?;
        let from_file: Table = text.parse().with_context(|| format!("settings file {}", path.display()))?;
        for (section, values) in from_file {
            overlay(&mut settings, &section, values).with_context(|| format!("settings file {}", path.display()))?;
        }
    }
    for (section, values) in &mut settings {
        let Value::Table(values) = values else { continue };
        for (key, value) in values {
            let name = format!("LANNER_{}_{}", section.to_uppercase(), key.to_uppercase());
            if let Some(text) = environment(&name) {
                *value = typed(&text, value).with_context(|| format!("environment: {name}"))?;
            }
        }
    }
    Ok(settings)
}

/// Puts a section of the file over the defaults. Sections with an adapter are replaced whole: its keys are its own.
fn overlay(settings: &mut Table, section: &str, values: Value) -> anyhow::Result<()> {
    let Some(Value::Table(known)) = settings.get_mut(section) else {
        let sections: Vec<&str> = settings.keys().map(String::as_str).collect();
        bail!("unknown section [{section}]: the sections are {}", sections.join(", "));
    };
    let Value::Table(values) = values else { bail!("{section} is not a section: write [{section}]") };
    for (key, value) in values {
        if !known.contains_key(&key) && !known.contains_key("adapter") {
            let keys: Vec<&str> = known.keys().map(String::as_str).collect();
            bail!("unknown key {section}.{key}: the keys are {}", keys.join(", "));
        }
        known.insert(key, value);
    }
    Ok(())
}

/// Text from the environment as the type of the value it replaces.
fn typed(text: &str, like: &Value) -> anyhow::Result<Value> {
    Ok(match like {
        Value::Integer(_) => Value::Integer(text.parse().with_context(|| format!("'{text}' is not a whole number"))?),
        Value::Boolean(_) => Value::Boolean(text.parse().with_context(|| format!("'{text}' is not true or false"))?),
        _ => Value::String(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lanner.toml");
        std::fs::write(&path, file)?;
        let from = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        let settings: Settings = Value::Table(merged(Some(&path), from)?).try_into()?;
        settings.check()?;
        Ok(settings)
    }

    #[test]
    fn environment_goes_over_the_file_and_the_file_over_the_defaults() {
        let file = "[workers]\nin_flight = 7\nbatch_max = 9\n";
        let settings = load(file, &[("LANNER_WORKERS_IN_FLIGHT", "8")]).expect("settings");
        assert_eq!((settings.workers.in_flight, settings.workers.batch_max), (8, 9));
        assert_eq!(settings.policy().expect("a policy"), Policy::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (file, words) in [
            ("[worker]\nin_flight = 7", "unknown section [worker]"),
            ("[workers]\nin_fligth = 7", "unknown key workers.in_fligth"),
            ("[workers]\nin_flight = \"many\"", "in_flight"),
            ("[workers]\nin_flight = 0", "workers.in_flight is 0"),
            ("[workers]\nbackoff_min_ms = 0", "backoff_min_ms"),
            ("[policy]\nmax_age = \"soon\"", "policy.max_age"),
            ("[policy]\nmax_messages = 0", "max_messages is 0"),
            ("[retention]\nruns = \"35\"", "retention.runs"),
            ("[retention]\nruns = \"35s\"", "must be 1d or more"),
            ("[store]\nepoch = \"long ago\"", "store.epoch"),
            ("[directory]\nadapter = \"oracle\"", "oracle"),
            ("[directory]\nadapter = \"embedded\"\nurl = \"x\"", "url"),
            ("workers = 3", "workers is not a section"),
            ("[workers", "lanner.toml"),
        ] {
            let error = format!("{:#}", load(file, &[]).expect_err(file));
            assert!(error.contains(words), "{file:?}: {error}");
        }
        let error = format!("{:#}", load("", &[("LANNER_WORKERS_IN_FLIGHT", "x")]).expect_err("text for a number"));
        assert!(error.contains("LANNER_WORKERS_IN_FLIGHT"), "{error}");
    }

    #[test]
    fn ages_are_durations_or_unlimited() {
        assert_eq!(parse_age("40d").expect("an age"), Some(Policy::MAX_AGE_MS));
        assert_eq!(parse_age("unlimited").expect("an age"), None);
        assert!(parse_age("-1d").is_err());
    }
}
