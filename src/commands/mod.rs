//! What `lanner` does: one file per command or family of commands.

pub(crate) mod audit;
pub(crate) mod compare;
pub(crate) mod completion;
pub(crate) mod dead_letters;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod job;
mod lag;
pub(crate) mod limits;
pub(crate) mod messages;
pub(crate) mod observe;
pub(crate) mod organizations;
pub(crate) mod preview;
mod processes;
pub(crate) mod provision;
pub(crate) mod reconcile;
pub(crate) mod replay;
pub(crate) mod rerun;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod serve;
pub(crate) mod settings;
mod shards;
pub(crate) mod status;
pub(crate) mod tables;
pub(crate) mod token;
pub(crate) mod up;
pub(crate) mod watch;

use chat::ledger::AuditEntry;
use chat::{Ledger, Policy, RunId, Timestamp};
use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::exit::{self, Failure};
use crate::settings::{Settings, parse_age};

/// What every command is given.
pub(crate) struct App {
    /// Settings, flags included.
    pub(crate) settings: Settings,
    /// Print JSON instead of tables.
    pub(crate) json: bool,
    /// Cancelled by SIGINT or SIGTERM.
    pub(crate) stop: CancellationToken,
}

impl App {
    /// What `work` answers, unless the process is told to stop before: then it is dropped, and `words` say how to go on.
    pub(crate) async fn unless_stopped<T>(&self, work: impl Future<Output = T>, words: &str) -> Result<T, Failure> {
        tokio::select! {
            answer = work => Ok(answer),
            () = self.stop.cancelled() => Err(Failure::new(exit::TEMPORARY, anyhow::anyhow!("interrupted: {words}"))),
        }
    }
}

/// For which instant and by which policy limits are computed.
#[derive(Args, Clone, Debug)]
pub(crate) struct Question {
    /// Compute the limits for this instant, such as 2026-11-22T00:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT")]
    pub(crate) as_of: Option<Timestamp>,
    /// The newest so many messages are visible [default: the policy in force then]
    #[arg(long, value_name = "N")]
    pub(crate) max_messages: Option<u32>,
    /// No visible message is older than this, such as 40d, or unlimited [default: the policy in force then]
    #[arg(long, value_name = "AGE")]
    pub(crate) max_age: Option<String>,
}

impl Question {
    /// The instant and the policy. An instant after the clock is refused.
    pub(crate) fn resolve(
        &self,
        settings: &Settings,
        default_as_of: Timestamp,
    ) -> Result<(Timestamp, Policy), Failure> {
        let as_of = self.as_of.unwrap_or(default_as_of);
        let now = Timestamp::now();
        if as_of > now && self.as_of.is_some() {
            return Err(Failure::usage(format!("as-of {as_of} is in the future: the clock says {now}")));
        }
        // A slot that was not asked for by hand: this machine's clock is behind that of the scheduler.
        if as_of > now {
            let words = anyhow::anyhow!("the slot {as_of} has not begun: the clock says {now}; run it again then");
            return Err(Failure::new(exit::TEMPORARY, words));
        }
        let max_age_ms = self.max_age.as_ref().map(|text| parse_age(text)).transpose().map_err(Failure::usage)?;
        let policy = match (self.max_messages, max_age_ms) {
            // Then it does not matter which one is in force.
            (Some(max_messages), Some(max_age_ms)) => Policy::new(max_messages, max_age_ms),
            (max_messages, max_age_ms) => {
                let in_force = settings.policy(as_of)?;
                Policy::new(
                    max_messages.unwrap_or(in_force.max_messages.get()),
                    max_age_ms.unwrap_or(in_force.max_age_ms),
                )
            }
        };
        let policy = policy.map_err(Failure::usage)?;
        Ok((as_of, policy))
    }
}

/// A run id of its own for something started by hand: `manual-20261122T034041Z-65c9`.
pub(crate) fn manual_run_id(prefix: &str) -> Result<RunId, Failure> {
    let now: String = Timestamp::now().to_string().chars().filter(|c| !"-:".contains(*c)).take(15).collect();
    RunId::new(format!("{prefix}-{now}Z-{:04x}", fastrand::u16(..))).map_err(Failure::usage)
}

/// Who did what to what and why, for the audit. A command that changes something writes one row before and one after.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    /// The command.
    pub(crate) name: &'static str,
    /// What it changes.
    pub(crate) target: String,
    /// Why, in the actor's words; empty when nobody was asked.
    pub(crate) reason: String,
}

impl Action {
    /// Writes the action with what came of it.
    pub(crate) async fn record(&self, ledger: &dyn Ledger, outcome: impl Into<String>) -> Result<(), Failure> {
        let entry = AuditEntry {
            at: Timestamp::now(),
            actor: actor(),
            action: self.name.to_owned(),
            target: self.target.clone(),
            reason: self.reason.clone(),
            outcome: outcome.into(),
        };
        Ok(ledger.record(&entry).await?)
    }
}

/// Who runs this command.
fn actor() -> String {
    ["LANNER_ACTOR", "SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
