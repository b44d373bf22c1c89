//! The supervised processes: what stands in the tree of each, and how its end is told.

use tokio_util::sync::CancellationToken;
use worker::supervisor::{Child, Measured, Outcome, StopBounds, Tree};

use crate::exit::{self, Failure};

/// A process of queue-fed jobs, and of what tells of them.
pub(super) fn queue_fed(
    jobs: impl IntoIterator<Item = Child>,
    telemetry: Vec<Child>,
    bounds: StopBounds,
) -> Result<Tree, Failure> {
    let children = jobs.into_iter().chain(telemetry).collect();
    let tree = Tree::new("process", children).map_err(|error| Failure::new(exit::FAILED, error))?;
    let tree = tree.stop_bounds(bounds).hook(Measured);
    tracing::debug!("supervised:\n{tree}");
    Ok(tree)
}

/// Runs it until stopped. One whose supervisor gave up must not end silently.
pub(super) async fn run(tree: Tree, stop: CancellationToken) -> Result<(), Failure> {
    match tree.run(stop).await {
        Outcome::GaveUp(escalation) => Err(Failure::new(exit::GAVE_UP, escalation)),
        Outcome::Stopped | Outcome::Completed => Ok(()),
    }
}
