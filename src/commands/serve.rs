//! The services and jobs of the message path, and what follows it: `lanner serve-writes`, `lanner build-read-model`, `lanner serve-reads`,
//! `lanner follow-limits`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::ServerLimits;
use jobs::limits::follow_limits;
use jobs::messages::serve_reads::{self, Reads};
use jobs::messages::serve_writes::{self, LeasedIds, Writes};
use jobs::messages::{GroupMarker, build_read_model};
use tokio::net::TcpListener;
use tokio::time::timeout;
use worker::supervisor::{Child, Phase, Policy, StopBounds, Tree};
use worker::{Cause, StateError};

use super::observe::Observed;
use super::{App, lag, processes};
use crate::exit::{self, Failure, Outcome};
use crate::output::{json, say};
use crate::wiring::MessagePath;

/// A service or job: what is supervised of it, and what it is called.
pub(super) struct Service {
    pub(super) name: &'static str,
    /// Where it listens.
    pub(super) address: Option<SocketAddr>,
    pub(super) children: Vec<Child>,
    /// What samples it for metrics, where anybody can ask for them.
    pub(super) telemetry: Vec<Child>,
}

impl Service {
    /// Says where it listens, or else that it works.
    pub(super) fn announce(&self) {
        match self.address {
            Some(address) => listening(self.name, address),
            None => eprintln!("{}: working", self.name),
        }
    }
}

fn listening(name: &str, address: SocketAddr) {
    eprintln!("{name}: listening on http://{address}");
}

/// Says that a process works, after what it consists of.
pub(super) fn until_stopped(name: &str) {
    eprintln!("{name}: working until stopped (Ctrl-C or SIGTERM)");
}

/// Which of them a process runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role {
    Writes,
    ReadModel,
    Reads,
    Follow,
}

/// Runs one of them until SIGINT or SIGTERM.
pub(crate) async fn serve(app: &App, role: Role) -> Outcome {
    let (name, parts): (_, &[_]) = match role {
        Role::Writes => (serve_writes::NAME, &MessagePath::WRITES),
        Role::ReadModel => (build_read_model::NAME, &MessagePath::READ_MODEL),
        Role::Reads => (serve_reads::NAME, &MessagePath::READS),
        Role::Follow => (follow_limits::NAME, &MessagePath::FOLLOW),
    };
    let path = MessagePath::open(&app.settings, name, parts).await?;
    let observed = Observed::bind(app, &[]).await?;
    let service = match role {
        Role::Writes => writes(app, &path).await?,
        Role::ReadModel => read_model(app, &path).await?,
        Role::Reads => reads(app, &path).await?,
        Role::Follow => follow(app, &path).await?,
    };
    let address = service.address;
    let tree = tree(app, vec![service], observed)?;
    if let Some(address) = address {
        listening(name, address);
    }
    until_stopped(name);
    processes::run(tree, app.stop.clone()).await?;
    if app.json {
        json(&serde_json::json!({"job": name, "outcome": "stopped"}))?;
    } else {
        say!("{name}: stopped");
    }
    Ok(exit::DONE)
}

/// The process of these services.
pub(super) fn tree(app: &App, services: Vec<Service>, observed: Observed) -> Result<Tree, Failure> {
    let (mut children, mut telemetry) = (Vec::new(), Vec::new());
    let listens = observed.listens();
    for service in services {
        children.extend(service.children);
        telemetry.extend(service.telemetry.into_iter().filter(|_| listens));
    }
    telemetry.extend(observed.children());
    processes::tree(children, telemetry, stop_bounds(app))
}

/// How long each phase of a stop may take: requests have half of the grace, other work the other half and a moment to give back.
fn stop_bounds(app: &App) -> StopBounds {
    let grace = stop_grace(app);
    StopBounds {
        intake: grace + Duration::from_millis(300),
        work: grace + Duration::from_millis(1_200),
        commits: Duration::from_millis(500),
        telemetry: Duration::from_millis(200),
    }
}

/// How long requests, and then other work, may go on after a stop.
pub(super) fn stop_grace(app: &App) -> Duration {
    Duration::from_millis(app.settings.workers.stop_grace_ms / 2)
}

/// `serve-writes`.
pub(super) async fn writes(app: &App, path: &MessagePath<'_>) -> Result<Service, Failure> {
    let (settings, ports) = (&app.settings, path.writes().await?);
    let ids = Arc::new(LeasedIds::new(ports.epoch));
    let lease = Arc::clone(&ids).child(Arc::clone(&ports.state), settings.backoff()?);
    let used = serve_writes::Settings {
        append_timeout: Duration::from_millis(settings.write_api.append_timeout_ms),
        key_lives_for: settings.key_lives_for()?,
        log_epoch: settings.event_log.epoch(),
        owns_memberships: settings.owns_memberships(),
    };
    let routes = api::writes::routes(Arc::new(Writes::new(&ports, Arc::clone(&ids), used)), path.keys()?);
    let in_flight_max = settings.write_api.in_flight_max;
    // Nothing can be posted without a lease: who comes right after the start had better wait than be turned away.
    let ready = move || {
        let ids = Arc::clone(&ids);
        async move { ids.ready().await }
    };
    let (address, server) =
        http(app, serve_writes::NAME, ("write_api", &settings.write_api.listen), routes, in_flight_max, ready).await?;
    Ok(Service {
        name: serve_writes::NAME,
        address: Some(address),
        children: vec![server, lease],
        telemetry: Vec::new(),
    })
}

/// `serve-reads`.
pub(super) async fn reads(app: &App, path: &MessagePath<'_>) -> Result<Service, Failure> {
    let settings = &app.settings;
    let routes = api::reads::routes(Arc::new(Reads::new(path.reads().await?)), path.keys()?);
    let in_flight_max = settings.read_api.in_flight_max;
    let (address, server) =
        http(app, serve_reads::NAME, ("read_api", &settings.read_api.listen), routes, in_flight_max, async || {})
            .await?;
    Ok(Service { name: serve_reads::NAME, address: Some(address), children: vec![server], telemetry: Vec::new() })
}

/// `follow-limits`.
pub(super) async fn follow(app: &App, path: &MessagePath<'_>) -> Result<Service, Failure> {
    let child = follow_limits::child(path.follow().await?, app.settings.follow_limits()?);
    Ok(Service { name: follow_limits::NAME, address: None, children: vec![child], telemetry: Vec::new() })
}

/// `build-read-model`.
pub(super) async fn read_model(app: &App, path: &MessagePath<'_>) -> Result<Service, Failure> {
    let (ports, settings) = (path.read_model().await?, app.settings.read_model()?);
    let log = Arc::clone(&ports.events);
    let marker =
        GroupMarker::new(Arc::clone(&ports.state), Arc::clone(&log), build_read_model::NAME, settings.log_epoch);
    let missing = marker.missing().await.map_err(|error: StateError| {
        let code = if error.is_temporary() { exit::TEMPORARY } else { exit::CONFIGURATION };
        Failure::new(code, error)
    })?;
    let consumer = build_read_model::consumer(&ports, settings, missing)
        .map_err(|error| Failure::new(exit::CONFIGURATION, error))?;
    let children = vec![consumer.child(), marker.child(settings.backoff)];
    let telemetry = vec![lag::child(log, build_read_model::NAME)];
    Ok(Service { name: build_read_model::NAME, address: None, children, telemetry })
}

/// How long requests are kept waiting at most for what most of them need.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// A server as a supervised child, which begins to answer when it is `ready`. The socket outlives its runs: nobody who connects
/// meanwhile is refused.
async fn http<R: Future<Output = ()> + Send>(
    app: &App,
    name: &'static str,
    (section, listen): (&str, &str),
    routes: axum::Router,
    in_flight_max: usize,
    ready: impl Fn() -> R + Clone + Send + Sync + 'static,
) -> Result<(SocketAddr, Child), Failure> {
    let wrong = |error: std::io::Error| {
        let context = format!("settings: {section}.listen = {listen:?}");
        Failure::new(exit::CONFIGURATION, anyhow::Error::new(error).context(context))
    };
    let listener = TcpListener::bind(listen).await.and_then(TcpListener::into_std).map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    let limits = ServerLimits { in_flight_max, stop_grace: stop_grace(app), ..ServerLimits::default() };
    let hang_after = Some(Duration::from_millis(app.settings.workers.hang_after_ms));
    let policy = Policy { hang_after, ..Policy::new(app.settings.backoff()?) };
    let child = Child::new(name, Phase::Intake, policy, move |context| {
        let (listener, routes) = (listener.try_clone().and_then(TcpListener::from_std), routes.clone());
        let ready = ready.clone();
        async move {
            let failed = |error: std::io::Error| Cause::of("http", &error);
            let waited = {
                let _rest = context.pulse.rest();
                context.stop.run_until_cancelled(timeout(READY_WITHIN, ready())).await
            };
            if waited.is_some_and(|waited| waited.is_err()) {
                tracing::warn!(service = name, "answers, though it cannot do all that it is asked for yet");
            }
            let pulse = context.pulse.clone();
            let served =
                api::serve(name, listener.map_err(failed)?, routes, limits, context.stop, move || pulse.beat());
            served.await.map_err(failed)
        }
    });
    Ok((address, child))
}
