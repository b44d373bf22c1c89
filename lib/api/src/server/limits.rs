//! What a server takes, at most.

use std::time::Duration;

/// Bounds of a server. Each is at least 1; times are whole in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at a time, idle ones included. Beyond, new ones wait in the system's queue.
    pub connections_max: usize,
    /// Requests in work at a time. Beyond, they are answered 503 at once.
    pub in_flight_max: usize,
    /// In how much time the head of a request must arrive. So long a connection may be idle between two requests, too.
    pub head_within: Duration,
    /// In how much time a request's body must arrive.
    pub body_within: Duration,
    /// In how much time a request must be answered, its body and a `Prefer: wait` included.
    pub answer_within: Duration,
    /// How long a client may leave an answer in the network without taking any of it; then its connection is closed.
    pub taken_within: Duration,
    /// How long requests in work may go on after the begin of a stop.
    pub stop_grace: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            in_flight_max: 512,
            head_within: Duration::from_secs(30),
            body_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(30),
            taken_within: Duration::from_secs(30),
            stop_grace: Duration::from_secs(20),
        }
    }
}
