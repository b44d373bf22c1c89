//! Organizations of a run, runs of an organization.

use chat::ledger::{Filter, RunOrganization, State};
use chat::{OrganizationId, PortResult, RunId};

use super::SqlLedger;
use super::rows::{organization_columns, organization_of, run_id};
use crate::database::rows_max;
use crate::statement::Value;

impl SqlLedger {
    pub(super) async fn page_of(&self, run: &RunId, filter: &Filter, limit: usize) -> PortResult<Vec<RunOrganization>> {
        let page = concat!(
            "SELECT ",
            organization_columns!(),
            " FROM runs AS r JOIN run_organizations AS o ON o.run = r.number
             WHERE r.run = :run AND o.organization > :after AND (:error_class IS NULL OR o.error_class = :error_class)"
        );
        let wanted: Vec<State> = State::ALL.into_iter().filter(|state| filter.states.contains(state)).collect();
        // The words of the states are ours.
        let of_state = |state: &State| format!("{page} AND o.state = '{state}' ORDER BY o.organization LIMIT :limit");
        let sql = match wanted.as_slice() {
            [] => format!("{page} ORDER BY o.organization LIMIT :limit"),
            [state] => of_state(state),
            // A page of each state by its index, merged: a rare state is found without reading a million rows.
            states => {
                let pages: Vec<String> = states.iter().map(|state| format!("({})", of_state(state))).collect();
                format!("{} ORDER BY organization LIMIT :limit", pages.join(" UNION ALL "))
            }
        };
        let error_class = filter.error_class.as_deref().map_or(Value::Text(None), Value::from);
        let values = [
            ("run", run.as_str().into()),
            ("after", filter.after.map_or(-1, |organization| organization.as_i64()).into()),
            ("error_class", error_class),
            ("limit", rows_max(limit).into()),
        ];
        self.database.fetch(&sql, &values).await?.iter().map(organization_of).collect()
    }

    pub(super) async fn runs_of(
        &self,
        organization: OrganizationId,
        limit: usize,
    ) -> PortResult<Vec<(RunId, RunOrganization)>> {
        // From the runs, of which there are few, to the one row in each.
        let sql = concat!(
            "SELECT r.run AS run_name, ",
            organization_columns!(),
            " FROM runs AS r JOIN run_organizations AS o ON o.run = r.number AND o.organization = :organization
             WHERE r.run NOT LIKE 'pruned/%' ORDER BY r.opened_at DESC, r.number DESC LIMIT :limit"
        );
        let values = [("organization", organization.as_i64().into()), ("limit", rows_max(limit).into())];
        let rows = self.database.fetch(sql, &values).await?;
        rows.iter().map(|row| Ok((run_id(row, "run_name")?, organization_of(row)?))).collect()
    }
}
