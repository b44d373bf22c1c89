//! The history of boundaries beyond runs: what follows a change of plan, at once.
//!
//! Limits and ledger are two stores, and whoever writes to both can die between. So a limit that follows a change of plan is written under an
//! id of its own: the stored row says by itself what its history row is, and whoever finds it there later adds that if need be.

use chat::ledger::{BoundaryChange, HistoryRow};
use chat::{LimitRow, RunId, Standing};

/// How the ids begin under which `follow-limits` writes a limit after a change of plan.
pub(super) const LIVE_PLAN: &str = "live-plan";
/// How the ids begin under which an operator who changes a plan releases its limit.
pub const SET_PLAN: &str = "set-plan";

/// The history row of a stored limit that follows a change of plan; `None` of another one, and where the boundary has not changed.
pub(super) fn history_row(stored: &LimitRow) -> Option<HistoryRow> {
    if !follows_plan(&stored.run) {
        return None;
    }
    let old = stored.previous_first_visible_message_id;
    let change = match stored.standing {
        Standing::Released => BoundaryChange::released(old),
        Standing::NoCountLimit | Standing::Limited(_) => {
            BoundaryChange::computed(old, stored.first_visible_message_id())
        }
    };
    let LimitRow { organization, version, run, .. } = stored;
    change.map(|change| HistoryRow { organization: *organization, as_of: version.as_of, run: run.clone(), change })
}

fn follows_plan(run: &RunId) -> bool {
    let begins_with = |beginning: &&str| run.as_str().strip_prefix(beginning).is_some_and(|rest| rest.starts_with('-'));
    [LIVE_PLAN, SET_PLAN].iter().any(begins_with)
}
