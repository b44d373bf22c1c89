//! Every metric once: its name, kind, unit and labels. `tests/tidy.rs` compares it with the code.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// A metric as the catalogue describes it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name, with the unit.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Its labels. Their values are few and known: never an id.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, labels, help }
}

/// Upper bounds of the buckets of a duration, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// All metrics.
pub const CATALOGUE: &[Metric] = &[
    metric("lanner_build_info", Kind::Gauge, &["version"], "1, with the version that runs"),
    metric("lanner_messages_total", Kind::Counter, &["job", "ending"], "Queue messages by how they ended"),
    metric("lanner_messages_in_flight", Kind::Gauge, &["job"], "Queue messages in work"),
    metric("lanner_handling_seconds", Kind::Histogram, &["job"], "Time from the begin of an attempt to its verdict"),
    metric(
        "lanner_attempt_failures_total",
        Kind::Counter,
        &["job", "class"],
        "Attempts that failed, by class of the cause",
    ),
    metric("lanner_receive_failures_total", Kind::Counter, &["job"], "Receives that failed"),
    metric("lanner_redeliveries_total", Kind::Counter, &["job"], "Queue messages received more than once"),
    metric("lanner_child_starts_total", Kind::Counter, &["child"], "Starts of supervised children"),
    metric(
        "lanner_child_stops_total",
        Kind::Counter,
        &["child", "reason"],
        "Ends of runs of supervised children, by reason: completed, stopped, aborted, error, panic, hang, escalated",
    ),
    metric("lanner_child_given_up_total", Kind::Counter, &["child"], "Children that their supervisor gave up on"),
    metric("lanner_follow_events_total", Kind::Counter, &["job"], "Events that limits followed"),
    metric("lanner_follow_recomputed_total", Kind::Counter, &["job"], "Sets of organizations read from the store"),
    metric("lanner_follow_ids_read_total", Kind::Counter, &["job"], "Ids read for them"),
    metric(
        "lanner_follow_writes_total",
        Kind::Counter,
        &["job", "outcome"],
        "Limits written by who follows: stored, unrecorded, superseded, released",
    ),
    metric(
        "lanner_follow_reconciled_total",
        Kind::Counter,
        &["job", "outcome"],
        "Limits compared with a batch computation by who follows: same, drifted, behind",
    ),
    metric(
        "lanner_follow_lag_seconds",
        Kind::Gauge,
        &["job"],
        "How long ago the newest event that was followed was appended, where more are in the log",
    ),
    metric("lanner_follow_organizations", Kind::Gauge, &["job"], "Organizations whose limits are followed"),
    metric("lanner_follow_dirty_organizations", Kind::Gauge, &["job"], "Of these, those that wait to be looked up"),
    metric("lanner_follow_set_bytes", Kind::Gauge, &["job"], "Memory of their sets"),
    metric("lanner_queue_messages", Kind::Gauge, &["queue", "state"], "Messages in a queue: visible, or hidden"),
    metric(
        "lanner_events_total",
        Kind::Counter,
        &["job", "outcome"],
        "Events of the log by what became of them: projected, seen before, or why they do not count",
    ),
    metric("lanner_log_records_total", Kind::Counter, &["job"], "Records read from a log"),
    metric(
        "lanner_log_records_held",
        Kind::Gauge,
        &["job"],
        "Records between the commit positions and the newest read",
    ),
    metric(
        "lanner_log_lag_records",
        Kind::Gauge,
        &["job"],
        "Records of the log that the consumer group has not committed yet, over all partitions",
    ),
    metric("lanner_lanes", Kind::Gauge, &["job", "state"], "Lanes: ready, in flight, waiting for a retry, parked"),
    metric(
        "lanner_http_requests_total",
        Kind::Counter,
        &["service", "route", "status"],
        "Requests over HTTP by route, which is a template, and status",
    ),
    metric(
        "lanner_http_request_seconds",
        Kind::Histogram,
        &["service", "route"],
        "Time from the head of a request to its answer",
    ),
    metric("lanner_http_in_flight", Kind::Gauge, &["service"], "Requests over HTTP in work"),
    metric("lanner_organizations_total", Kind::Counter, &["state"], "Organizations that became terminal, by state"),
    metric("lanner_rooms_opened_total", Kind::Counter, &[], "Rooms from which message ids were read"),
    metric("lanner_message_ids_read_total", Kind::Counter, &[], "Message ids that were read"),
    metric("lanner_half_read_units_total", Kind::Counter, &[], "Consumed read capacity, in halves of a unit"),
];

/// Metrics cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded in this process")]
pub struct NotRecorded(#[source] BuildError);

/// What was recorded, to be told.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Begins to record. Once per process, and before the jobs begin: what they recorded before is lost.
    pub fn start(version: &'static str) -> Result<Self, NotRecorded> {
        let builder = PrometheusBuilder::new().set_buckets(&SECONDS).map_err(NotRecorded)?;
        let handle = builder.install_recorder().map_err(NotRecorded)?;
        for metric in CATALOGUE {
            match metric.kind {
                Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
                Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
                Kind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
            }
        }
        metrics::gauge!("lanner_build_info", "version" => version).set(1.0);
        Ok(Self(handle))
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        // Histograms are folded in here: nothing else has to run between two scrapes.
        self.0.run_upkeep();
        self.0.render()
    }
}
