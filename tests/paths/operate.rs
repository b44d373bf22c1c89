//! What an operator runs by hand, against the ports.

mod dead_letters;
mod explain;
mod explain_run;
mod preview;
mod retry;

use chat::ledger::{Failure, Figures, Item, Settlement, State};
use chat::{Ledger, OrganizationId, Timestamp};

use crate::handlers::rig::run_id;

/// Ends organizations of a run as `state` with a failure of `class`.
async fn end(ledger: &dyn Ledger, run: &str, organizations: &[u64], state: State, class: &str) {
    let settlement = |id: &u64| Settlement {
        item: Item { run: run_id(run), organization: OrganizationId::from_bits(*id) },
        state,
        figures: Figures::default(),
        failure: Some(Failure { class: class.to_owned(), error: format!("{class}, and nothing helped") }),
        at: Timestamp::now(),
    };
    let settlements: Vec<Settlement> = organizations.iter().map(settlement).collect();
    assert!(ledger.settle(&settlements).await.expect("settled").into_iter().all(|first| first));
}
