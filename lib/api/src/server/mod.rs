//! HTTP/1.1 over TCP: connections and requests, each with a bound, and an orderly stop.

mod guard;
mod limits;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use guard::{Guard, guarded};
pub use limits::ServerLimits;

/// How often the loop says that it lives, at least.
const BEAT_EVERY: Duration = Duration::from_millis(500);
/// How long to wait when the system gives no more connections, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The largest head of a request, and all that is buffered of a connection: a token of the largest size, and headers around it.
const BUFFER_MAX_BYTES: usize = 16 << 10;

/// Serves `routes` on `listener` until `stop`. `service` is what metrics and logs call it. `beat` is called at least every second as
/// long as connections are taken.
///
/// At the stop no connection is taken any more, idle ones are closed, and requests in work go on for at most `limits.stop_grace`.
///
/// # Errors
///
/// None today: what can fail concerns one connection.
pub async fn serve(
    service: &'static str,
    listener: TcpListener,
    routes: Router,
    limits: ServerLimits,
    stop: CancellationToken,
    beat: impl Fn(),
) -> io::Result<()> {
    let routes = routes.layer(from_fn_with_state(Arc::new(Guard::new(service, limits)), guarded));
    let mut connections = Connections::new(routes, limits);
    let mut beats = interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = beats.tick() => beat(),
            taken = connections.next(&listener) => match taken {
                Ok((stream, permit)) => connections.start(stream, permit),
                Err(error) => {
                    tracing::warn!(service, %error, "no connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.finish(service).await;
    Ok(())
}

/// The connections of a server.
struct Connections {
    routes: Router,
    limits: ServerLimits,
    places: Arc<Semaphore>,
    /// Dropped last: it ends what is still there.
    tasks: JoinSet<()>,
    graceful: GracefulShutdown,
}

impl Connections {
    fn new(routes: Router, limits: ServerLimits) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections_max.min(Semaphore::MAX_PERMITS)));
        Self { routes, limits, places, tasks: JoinSet::new(), graceful: GracefulShutdown::new() }
    }

    /// The next connection, once there is a place for it. Can be dropped at any time: nothing is lost.
    async fn next(&mut self, listener: &TcpListener) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        while self.tasks.try_join_next().is_some() {}
        let permit = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        Ok((stream, permit))
    }

    fn start(&mut self, stream: TcpStream, permit: OwnedSemaphorePermit) {
        prepare(&stream, self.limits.taken_within);
        let service = TowerToHyperService::new(self.routes.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_within)
            .max_buf_size(BUFFER_MAX_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = self.graceful.watch(connection);
        self.tasks.spawn(async move {
            // How a client goes away is its own business.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(permit);
        });
    }

    async fn finish(self, service: &str) {
        let Self { graceful, limits, tasks, .. } = self;
        let open = graceful.count();
        if timeout(limits.stop_grace, graceful.shutdown()).await.is_err() {
            tracing::warn!(service, open, "connections are closed with requests in work");
        }
        drop(tasks);
    }
}

/// Answers leave at once, and a client that takes nothing of one loses its connection. What the system refuses is not worth one.
fn prepare(stream: &TcpStream, taken_within: Duration) {
    let millis = u32::try_from(taken_within.as_millis()).unwrap_or(u32::MAX);
    let user_timeout = sockopt::set_tcp_user_timeout(stream, millis).map_err(io::Error::from);
    if let Err(error) = stream.set_nodelay(true).and(user_timeout) {
        tracing::debug!(%error, "a connection keeps the system's settings");
    }
}
