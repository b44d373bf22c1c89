//! `lanner up`: the message path and the limit path in one process.

use std::sync::Arc;
use std::time::Duration;

use chat::{RunId, Timestamp};
use clap::Args;
use jobs::Ports;
use jobs::limits::{collect_rooms, extract_organizations, merge_newest, prune_after_extraction};
use worker::Cause;
use worker::supervisor::{Child, Context, Phase, Policy};

use super::observe::Observed;
use super::serve::{self, Service};
use super::{App, processes};
use crate::exit::{self, Failure, Outcome};
use crate::output::{json, say};
use crate::settings::Settings;
use crate::wiring::{self, MessagePath};

/// Run the message path and the limit path in this process, until stopped
///
/// serve-writes, build-read-model, serve-reads, follow-limits, collect-rooms and merge-newest, and a run of all free organizations every
/// now and then. Each says where it listens. Other commands work beside it.
#[derive(Args, Debug)]
pub(crate) struct UpArgs {
    /// Compute the limits that often, such as 1m or 1d
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = humantime::parse_duration)]
    every: Duration,
}

/// The shortest time between two runs.
const EVERY_MIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(app: &App, args: &UpArgs) -> Outcome {
    if args.every < EVERY_MIN {
        return Err(Failure::usage("--every is at least 1s"));
    }
    let opened = wiring::open(&app.settings, wiring::Access::Write, "up").await?;
    let ports = &opened.ports;
    let path = MessagePath::open(&app.settings, "up", &crate::settings::Part::ALL).await?;
    let queues = [&ports.organization_queue, &ports.room_queue].map(Arc::clone);
    let observed = Observed::bind(app, &queues).await?;
    if ports.directory.free_organizations(None, 1).await?.is_empty() {
        eprintln!("no free organization is in the directory: bring one with lanner import, or try lanner demo");
    }
    let services = vec![
        serve::writes(app, &path).await?,
        serve::read_model(app, &path).await?,
        serve::reads(app, &path).await?,
        serve::follow(app, &path).await?,
        limit_path(app, ports, args.every)?,
    ];
    services.iter().for_each(Service::announce);
    let tree = serve::tree(app, services, observed)?;
    serve::until_stopped("up");
    processes::run(tree, app.stop.clone()).await?;
    if app.json {
        json(&serde_json::json!({"job": "up", "outcome": "stopped"}))?;
    } else {
        say!("up: stopped");
    }
    Ok(exit::DONE)
}

/// The queue-fed jobs, and a run every now and then.
fn limit_path(app: &App, ports: &Ports, every: Duration) -> Result<Service, Failure> {
    let mut stage = app.settings.stage()?;
    stage.consumer.stop_grace = serve::stop_grace(app);
    let (collect, merge) = (collect_rooms::consumer(ports, stage), merge_newest::consumer(ports, stage));
    let rounds = Rounds { ports: ports.clone(), every, settings: RoundSettings::of(&app.settings)? };
    let extract = rounds.child(Policy::new(stage.consumer.backoff));
    let children = vec![extract, collect.child(), merge.child()];
    Ok(Service { name: "limits", address: None, children, telemetry: Vec::new() })
}

/// Runs of all free organizations, one after the other.
#[derive(Clone)]
struct Rounds {
    ports: Ports,
    every: Duration,
    settings: RoundSettings,
}

#[derive(Clone)]
struct RoundSettings {
    policies: chat::Policies,
    retention_ms: Option<u64>,
}

impl RoundSettings {
    fn of(settings: &Settings) -> Result<Self, Failure> {
        Ok(Self { policies: settings.policies().clone(), retention_ms: settings.retention_ms()? })
    }
}

impl Rounds {
    fn child(self, policy: Policy) -> Child {
        Child::new("extract-organizations", Phase::Intake, policy, move |context| {
            let this = self.clone();
            async move { this.until_stopped(&context).await }
        })
    }

    async fn until_stopped(&self, context: &Context) -> Result<(), Cause> {
        while !context.stop.is_cancelled() {
            if let Some(round) = context.stop.run_until_cancelled(self.round(context)).await {
                round?;
            }
            // Waiting for the next one is no hang.
            let _at_rest = context.pulse.rest();
            context.stop.run_until_cancelled(tokio::time::sleep(self.every)).await;
        }
        Ok(())
    }

    async fn round(&self, context: &Context) -> Result<(), Cause> {
        let as_of = Timestamp::now();
        let policy = self.settings.policies.in_force(as_of).map_err(|error| Cause::of("policy", &error))?.policy;
        let id = RunId::new(format!("up-{}", as_of.to_string().replace(':', ""))).map_err(|e| Cause::of("run", &e))?;
        let new = extract_organizations::all_free(id, as_of, policy);
        let extracted = extract_organizations::extract(&self.ports, &new, |_| context.pulse.beat()).await;
        let extracted = extracted.map_err(|error| Cause::of("extract", &error))?;
        let (ledger, retention_ms) = (&*self.ports.ledger, self.settings.retention_ms);
        prune_after_extraction(ledger, &extracted.run.id, retention_ms, &context.stop, |_| context.pulse.beat()).await;
        Ok(())
    }
}
