//! `/livez`, `/readyz` and `/metrics` over HTTP, for probes and scrapers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Metrics;

/// A part of the process, and how long ago it made progress for the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stale {
    /// What is called so in logs.
    pub part: String,
    /// Nothing where it waits for work.
    pub silent_for: Duration,
}

/// What the probes are answered from.
#[derive(Clone)]
pub struct Health {
    /// The part of the process that has made no progress for the longest time.
    pub stalest: Arc<dyn Fn() -> Stale + Send + Sync>,
    /// Without progress for longer than this the process is not live: a restart may help.
    pub stale_after: Duration,
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// Cancelled when the process has begun to stop: from then on it is not ready.
    pub stopping: CancellationToken,
}

/// Answers probes until `closed`. `/livez` fails when progress is stale, `/readyz` while the process stops.
pub async fn serve(listener: TcpListener, health: Health, closed: CancellationToken) -> io::Result<()> {
    let routes = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(tell))
        .with_state(health);
    axum::serve(listener, routes).with_graceful_shutdown(closed.cancelled_owned()).await
}

async fn livez(State(health): State<Health>) -> impl IntoResponse {
    let Stale { part, silent_for } = (health.stalest)();
    if silent_for <= health.stale_after {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    let (seconds, limit) = (silent_for.as_secs_f64(), health.stale_after.as_secs_f64());
    (StatusCode::SERVICE_UNAVAILABLE, format!("{part}: no progress for {seconds:.1} s (at most {limit:.1} s)\n"))
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    if health.stopping.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    } else {
        (StatusCode::OK, "ok\n")
    }
}

async fn tell(State(health): State<Health>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics.render())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    }

    #[tokio::test]
    async fn probes_follow_progress_and_stop_and_metrics_are_told() {
        let metrics = Metrics::start("0.0.0").expect("metrics");
        metrics::counter!("lanner_messages_total", "job" => "test", "ending" => "done").increment(3);
        metrics::histogram!("lanner_handling_seconds", "job" => "test").record(0.002);
        let age_ms = Arc::new(AtomicU64::new(0));
        let (stopping, closed) = (CancellationToken::new(), CancellationToken::new());
        let health = Health {
            stalest: {
                let age_ms = Arc::clone(&age_ms);
                Arc::new(move || Stale {
                    part: "process/poll".to_owned(),
                    silent_for: Duration::from_millis(age_ms.load(Ordering::Relaxed)),
                })
            },
            stale_after: Duration::from_secs(1),
            metrics,
            stopping: stopping.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(serve(listener, health, closed.clone()));

        assert!(get(address, "/livez").await.starts_with("HTTP/1.1 200"));
        age_ms.store(1_500, Ordering::Relaxed);
        let stale = get(address, "/livez").await;
        assert!(stale.starts_with("HTTP/1.1 503") && stale.contains("process/poll: no progress for 1.5 s"), "{stale}");
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        stopping.cancel();
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        let told = get(address, "/metrics").await;
        for line in [
            "# TYPE lanner_messages_total counter",
            "lanner_messages_total{job=\"test\",ending=\"done\"} 3",
            "lanner_handling_seconds_bucket{job=\"test\",le=\"0.0025\"} 1",
            "lanner_build_info{version=\"0.0.0\"} 1",
        ] {
            assert!(told.contains(line), "{line} is missing in {told}");
        }
        assert!(get(address, "/else").await.starts_with("HTTP/1.1 404"));
        closed.cancel();
        server.await.expect("no panic").expect("an orderly end");
    }
}
