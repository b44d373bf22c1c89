//! Live ids as a store far away has them: a page is a request, and the newest deletions are not yet seen.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chat::{Access, LiveIds, MessageId, PageRequest, Pages, PortResult, RoomId};

/// A store of live ids that lags behind its writes by the deletions of `unseen`.
#[derive(Clone, Debug)]
pub struct Distant<T> {
    /// The store.
    pub inner: T,
    /// What a page costs.
    pub access: Access,
    /// Deleted ids that still stand in the answers.
    pub unseen: BTreeMap<RoomId, BTreeSet<MessageId>>,
}

#[async_trait]
impl<T: LiveIds> LiveIds for Distant<T> {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        let now = self.inner.newest(requests).await?;
        let mut then = Pages::with_capacity(now.len(), now.ids().len());
        for (index, request) in requests.iter().enumerate() {
            let (ids, resume_below) = now.page(index);
            let resume_below = self.as_it_was(request, ids, resume_below, then.ids_mut());
            then.end_page(resume_below);
        }
        Ok(then)
    }

    fn access(&self) -> Access {
        self.access
    }
}

impl<T> Distant<T> {
    /// Appends the page with the deleted ids that it held before; answers where the room goes on.
    fn as_it_was(
        &self,
        request: &PageRequest,
        ids: &[MessageId],
        resume_below: Option<MessageId>,
        page: &mut Vec<MessageId>,
    ) -> Option<MessageId> {
        let reaches = resume_below.unwrap_or(request.at_least);
        let deleted = self.unseen.get(&request.room).into_iter().flatten();
        let mut all: BTreeSet<MessageId> = ids.iter().copied().collect();
        all.extend(deleted.filter(|id| (reaches..request.below).contains(id)));
        let kept = all.len().min(request.limit);
        page.extend(all.iter().rev().take(kept));
        if kept < all.len() { page.last().copied() } else { resume_below }
    }
}
