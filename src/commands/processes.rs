//! The supervised processes: what stands in the tree of each, and how its end is told.

use tokio_util::sync::CancellationToken;
use worker::supervisor::{Child, Measured, Outcome, StopBounds, Tree};

use crate::exit::{self, Failure};

/// A process of jobs and services, and of what tells of them.
pub(super) fn tree(jobs: Vec<Child>, telemetry: Vec<Child>, bounds: StopBounds) -> Result<Tree, Failure> {
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

#[cfg(test)]
mod tests {
    use worker::supervisor::{Directive, Directives, Phase, Policy};
    use worker::{Backoff, Cause};

    use super::*;

    #[tokio::test]
    async fn a_process_whose_supervisor_gave_up_ends_with_70_and_says_why() {
        let backoff = Backoff::new(std::time::Duration::from_secs(1), std::time::Duration::from_secs(1), 0.0);
        let policy =
            Policy { directives: Directives::always(Directive::Escalate), ..Policy::new(backoff.expect("a backoff")) };
        let child =
            Child::new("poll", Phase::Intake, policy, |_| async { Err(Cause::new("refused", "no such queue")) });
        let tree = tree(vec![child], Vec::new(), StopBounds::default()).expect("a tree");
        let failure = run(tree, CancellationToken::new()).await.expect_err("it gave up");
        let words = exit::in_words(&failure.error);
        assert_eq!(failure.code, 70);
        assert_eq!(words, "gave up on process/poll by its directive: error (refused): no such queue");
    }
}
