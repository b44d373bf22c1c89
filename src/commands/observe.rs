//! What a long-running job tells over HTTP while it works: `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use telemetry::{Health, Metrics};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::{Pulse, Queue};

use super::App;
use crate::exit::{self, Failure};

/// How often queue depths are asked for.
const SAMPLE: Duration = Duration::from_secs(10);

/// The HTTP side of a job; nothing where no address is set.
pub(crate) struct Observed {
    closed: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Observed {
    /// Begins to answer on the address of the settings. Call it before the job begins: metrics are recorded from here on.
    pub(crate) async fn start(app: &App, pulse: &Pulse, queues: &[Arc<dyn Queue>]) -> Result<Self, Failure> {
        let mut observed = Self { closed: CancellationToken::new(), tasks: Vec::new() };
        let http = &app.settings.http;
        if http.listen.is_empty() {
            return Ok(observed);
        }
        let wrong = |error: anyhow::Error| {
            Failure::new(exit::CONFIGURATION, error.context(format!("settings: http.listen = {:?}", http.listen)))
        };
        let listener = TcpListener::bind(&http.listen).await.map_err(|error| wrong(error.into()))?;
        let metrics = Metrics::start(env!("CARGO_PKG_VERSION")).map_err(|error| wrong(error.into()))?;
        let address = listener.local_addr().map_err(|error| wrong(error.into()))?;
        eprintln!("probes and metrics: http://{address}/livez /readyz /metrics");
        let pulse = pulse.clone();
        let health = Health {
            progress_age: Arc::new(move || pulse.age()),
            stale_after: Duration::from_millis(http.stale_after_ms),
            metrics,
            stopping: app.stop.clone(),
        };
        let closed = observed.closed.clone();
        observed.tasks.push(tokio::spawn(async move {
            if let Err(error) = telemetry::serve(listener, health, closed).await {
                tracing::error!(%error, "probes and metrics are no longer answered");
            }
        }));
        let (queues, closed) = (queues.to_vec(), observed.closed.clone());
        observed.tasks.push(tokio::spawn(async move {
            let _ = closed.run_until_cancelled(sample(&queues)).await;
        }));
        Ok(observed)
    }

    /// Ends it, after the job has.
    pub(crate) async fn stop(self) {
        self.closed.cancel();
        for task in self.tasks {
            // A client that keeps its connection open does not hold up the exit.
            let _ = tokio::time::timeout(Duration::from_millis(200), task).await;
        }
    }
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
