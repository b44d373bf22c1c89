//! What a long-running process tells over HTTP while it works: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use telemetry::{Health, Metrics, Stale};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use worker::supervisor::{Child, Context, Measured, Outcome, Phase, Policy, RestartLimit, Tree};
use worker::{Backoff, Cause, Pulse, Queue};

use super::App;
use crate::exit::{self, Failure};

/// How often queue depths, and the lag behind a log, are asked for.
pub(super) const SAMPLE: Duration = Duration::from_secs(10);

/// The HTTP side of a process; nothing where no address is set.
pub(crate) struct Observed(Option<Listening>);

struct Listening {
    listener: Arc<std::net::TcpListener>,
    metrics: Metrics,
    stale_after: Duration,
    stopping: CancellationToken,
    queues: Arc<[Arc<dyn Queue>]>,
}

/// Telemetry beside work that this process does itself; dropped, it is gone at once.
pub(crate) struct Beside {
    stop: CancellationToken,
    tree: Option<tokio_util::task::AbortOnDropHandle<Outcome>>,
}

impl Observed {
    /// Takes the address of the settings. Call it before anything begins: metrics are recorded from here on.
    pub(crate) async fn bind(app: &App, queues: &[Arc<dyn Queue>]) -> Result<Self, Failure> {
        let http = &app.settings.http;
        if http.listen.is_empty() {
            return Ok(Self(None));
        }
        let wrong = |error: anyhow::Error| {
            Failure::new(exit::CONFIGURATION, error.context(format!("settings: http.listen = {:?}", http.listen)))
        };
        let listener = TcpListener::bind(&http.listen).await.and_then(TcpListener::into_std);
        let listener = Arc::new(listener.map_err(|error| wrong(error.into()))?);
        let metrics = Metrics::start(env!("CARGO_PKG_VERSION")).map_err(|error| wrong(error.into()))?;
        let address = listener.local_addr().map_err(|error| wrong(error.into()))?;
        eprintln!("probes and metrics: http://{address}/livez /readyz /metrics");
        Ok(Self(Some(Listening {
            listener,
            metrics,
            stale_after: Duration::from_millis(http.stale_after_ms),
            stopping: app.stop.clone(),
            queues: queues.into(),
        })))
    }

    /// Whether anybody can ask.
    pub(crate) fn listens(&self) -> bool {
        self.0.is_some()
    }

    /// What answers and what samples, to be supervised beside the jobs that it tells of.
    pub(crate) fn children(self) -> Vec<Child> {
        self.children_and(Stale::default)
    }

    /// Tells of work that stands under no supervisor, by its name and its pulse.
    pub(crate) fn beside(self, work: &'static str, pulse: &Pulse) -> Result<Beside, Failure> {
        let stop = CancellationToken::new();
        let pulse = pulse.clone();
        let children = self.children_and(move || Stale { part: work.to_owned(), silent_for: pulse.age() });
        if children.is_empty() {
            return Ok(Beside { stop, tree: None });
        }
        let tree = Tree::new("process", children).map_err(|error| Failure::new(exit::FAILED, error))?.hook(Measured);
        let tree = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(tree.run(stop.clone())));
        Ok(Beside { stop, tree: Some(tree) })
    }

    fn children_and(self, other: impl Fn() -> Stale + Clone + Send + Sync + 'static) -> Vec<Child> {
        let Self(Some(listening)) = self else { return Vec::new() };
        let queues = Arc::clone(&listening.queues);
        let probes = Child::new("probes", Phase::Telemetry, policy(), move |context| {
            answer(Arc::clone(&listening.listener), listening.health(&context, other.clone()), context.stop)
        });
        if queues.is_empty() {
            return vec![probes];
        }
        let depths = Child::new("queue-depths", Phase::Telemetry, policy(), move |context| {
            let queues = Arc::clone(&queues);
            async move {
                context.stop.run_until_cancelled(sample(&queues)).await;
                Ok(())
            }
        });
        vec![probes, depths]
    }
}

impl Listening {
    fn health(&self, context: &Context, other: impl Fn() -> Stale + Send + Sync + 'static) -> Health {
        let vitals = context.vitals.clone();
        let stalest = move || {
            let (other, child) = (other(), vitals.stalest());
            match child {
                Some((part, silent_for)) if silent_for >= other.silent_for => {
                    Stale { part: part.to_owned(), silent_for }
                }
                _ => other,
            }
        };
        Health {
            stalest: Arc::new(stalest),
            stale_after: self.stale_after,
            metrics: self.metrics.clone(),
            stopping: self.stopping.clone(),
        }
    }
}

impl Beside {
    /// Ends it, after the work has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        if let Some(tree) = self.tree {
            let _ = tree.await;
        }
    }
}

/// 100 ms to 10 s, and a limit that these delays never reach: no job ends because nobody can ask how it is.
pub(super) fn policy() -> Policy {
    #[expect(clippy::expect_used, reason = "the numbers stand right here")]
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10), 0.3).expect("checked numbers");
    Policy { limit: RestartLimit { max: 100, within: Duration::from_secs(600) }, ..Policy::new(backoff) }
}

/// Answers probes until stopped. The socket outlives a run: nobody who asks meanwhile is refused.
async fn answer(listener: Arc<std::net::TcpListener>, health: Health, stop: CancellationToken) -> Result<(), Cause> {
    let failed = |error: std::io::Error| Cause::of("http", &error);
    let listener = listener.try_clone().and_then(TcpListener::from_std).map_err(failed)?;
    telemetry::serve(listener, health, stop).await.map_err(failed)
}

/// Asks for the depth of the queues, for ever.
async fn sample(queues: &[Arc<dyn Queue>]) {
    loop {
        for queue in queues {
            let Ok(depth) = queue.depth().await else { continue };
            let name = queue.name().to_owned();
            metrics::gauge!("lanner_queue_messages", "queue" => name.clone(), "state" => "visible")
                .set(depth.visible as f64);
            metrics::gauge!("lanner_queue_messages", "queue" => name, "state" => "hidden").set(depth.hidden as f64);
        }
        tokio::time::sleep(SAMPLE).await;
    }
}
