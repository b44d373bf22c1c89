//! `OwnedDirectory` that fails on demand, as `Directory` does.

use async_trait::async_trait;
use chat::{Organization, OrganizationId, OrganizationRecord, OwnedDirectory, Plan, PortResult};

use crate::Flaky;

#[async_trait]
impl<T: OwnedDirectory> OwnedDirectory for Flaky<T> {
    async fn page(
        &self,
        plan: Option<Plan>,
        after: Option<OrganizationId>,
        limit: usize,
    ) -> PortResult<Vec<OrganizationRecord>> {
        self.ask(self.inner.page(plan, after, limit)).await
    }

    async fn records(&self, ids: &[OrganizationId]) -> PortResult<Vec<Option<OrganizationRecord>>> {
        self.ask(self.inner.records(ids)).await
    }

    async fn set_plan(&self, organization: OrganizationId, plan: Plan) -> PortResult<Organization> {
        self.ask(self.inner.set_plan(organization, plan)).await
    }
}
