//! What can be run.
//!
//! ```text
//!  limit path
//!
//!  directory ─► extract-organizations ─► organization-queue ─► collect-rooms ─► room-queue ─► merge-newest ─► limits
//!                        │                     directory, heads ─┘                live-ids ─┘        │
//!                        └──────────────────────────────► ledger ◄───────────────────────────────────┘
//! ```
//!
//! The message path is drawn in [`messages`]. A job knows ports, never adapters. [`JOBS`] lists every job once; `lanner jobs` prints it.

pub mod limits;
pub mod messages;
pub mod operate;
mod ports;
mod tasks;

pub use ports::{LimitPorts, ORGANIZATION_QUEUE, Ports, ROOM_QUEUE};
pub use tasks::{OrganizationTask, RoomTask};

/// How a job runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Ends with a report.
    RunsOnce,
    /// Runs until told to stop.
    RunsOn,
}

/// A job as `lanner jobs` shows it. Its name is its file, its subcommand and its consumer group.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Job {
    /// Its name.
    pub name: &'static str,
    /// How it runs.
    pub shape: Shape,
    /// What it reads.
    pub reads: &'static [&'static str],
    /// What it writes.
    pub writes: &'static [&'static str],
    /// What it does, in a sentence.
    pub about: &'static str,
}

/// All jobs, in the order of the data.
pub const JOBS: &[Job] = &[
    Job {
        name: "extract-organizations",
        shape: Shape::RunsOnce,
        reads: &["directory", "limits"],
        writes: &["ledger", "organization-queue", "limits"],
        about: "opens a run and sends every free organization to the organization queue",
    },
    Job {
        name: "collect-rooms",
        shape: Shape::RunsOn,
        reads: &["organization-queue", "directory", "heads"],
        writes: &["room-queue", "ledger"],
        about: "finds the rooms that an organization sees now, without those quiet for too long where a page is a request",
    },
    Job {
        name: "merge-newest",
        shape: Shape::RunsOn,
        reads: &["room-queue", "ledger", "live-ids", "directory"],
        writes: &["limits", "ledger", "organization-queue"],
        about: "merges the rooms newest first until the N-th message and stores the limit",
    },
    Job {
        name: messages::serve_writes::NAME,
        shape: Shape::RunsOn,
        reads: &["directory", "state"],
        writes: &["event-log", "state"],
        about: "accepts what happens in rooms over HTTP: when it answers, the log of events has it",
    },
    Job {
        name: messages::build_read_model::NAME,
        shape: Shape::RunsOn,
        reads: &["event-log", "messages", "state"],
        writes: &["messages", "heads", "memberships", "readable-log", "ledger", "state"],
        about: "makes of the log of events what can be read, room by room in order",
    },
    Job {
        name: messages::serve_reads::NAME,
        shape: Shape::RunsOn,
        reads: &["directory", "messages", "limits", "event-log"],
        writes: &[],
        about: "answers over HTTP what readers may see, the viewing limit applied",
    },
    Job {
        name: limits::follow_limits::NAME,
        shape: Shape::RunsOn,
        reads: &["readable-log", "directory", "live-ids", "heads", "limits", "state"],
        writes: &["limits", "ledger", "state"],
        about: "follows what is readable and keeps every limit exact from second to second",
    },
];
