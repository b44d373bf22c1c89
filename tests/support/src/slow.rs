//! Stores whose every call takes a while, as it does over a network, and which count how many calls are under way at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat::{Access, LimitRow, Limits, LiveIds, OrganizationId, PageRequest, Pages, PortResult, PutOutcome};
use tokio::sync::watch;

/// A store whose calls each take `latency` longer.
#[derive(Clone, Debug)]
pub struct Slow<T> {
    inner: T,
    latency: Duration,
    under_way: Arc<AtomicUsize>,
    most: Arc<watch::Sender<usize>>,
    gathering: usize,
}

/// How long calls wait for others.
const GATHERING_MAX: Duration = Duration::from_secs(20);

impl<T> Slow<T> {
    /// Slows `inner` down.
    pub fn new(inner: T, latency: Duration) -> Self {
        Self { inner, latency, under_way: Arc::default(), most: Arc::default(), gathering: 0 }
    }

    /// Lets the first calls wait, each 20 s at most, until `calls` of them are under way at once: whoever may have so many will have.
    pub fn gathering(self, calls: usize) -> Self {
        Self { gathering: calls, ..self }
    }

    /// How many calls were under way at once, at most.
    pub fn most_at_once(&self) -> usize {
        *self.most.borrow()
    }

    async fn call<O>(&self, call: impl Future<Output = O>) -> O {
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.send_if_modified(|most| std::mem::replace(most, under_way.max(*most)) < under_way);
        let gathered = async { self.most.subscribe().wait_for(|most| *most >= self.gathering).await.is_ok() };
        // Not gathered: the call goes on all the same, and who asks for the most learns of it.
        let _ = tokio::time::timeout(GATHERING_MAX, gathered).await;
        tokio::time::sleep(self.latency).await;
        let answer = call.await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        answer
    }
}

#[async_trait]
impl<T: LiveIds> LiveIds for Slow<T> {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        self.call(self.inner.newest(requests)).await
    }

    fn access(&self) -> Access {
        self.inner.access()
    }
}

#[async_trait]
impl<T: Limits> Limits for Slow<T> {
    async fn put(&self, rows: &[LimitRow]) -> PortResult<Vec<PutOutcome>> {
        self.call(self.inner.put(rows)).await
    }

    async fn get(&self, organizations: &[OrganizationId]) -> PortResult<Vec<Option<LimitRow>>> {
        self.call(self.inner.get(organizations)).await
    }

    async fn page(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<LimitRow>> {
        self.call(self.inner.page(after, limit)).await
    }
}
