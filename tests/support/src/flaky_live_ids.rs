//! `LiveIds` that fails on demand. `Partial`: pages cut short or emptied, each with a resume point that is right.

use async_trait::async_trait;
use chat::{Access, LiveIds, MessageId, PageRequest, Pages, PortResult};

use crate::{Fault, Flaky, temporary};

#[async_trait]
impl<T: LiveIds> LiveIds for Flaky<T> {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        match self.faults.next().await {
            None => self.inner.newest(requests).await,
            Some(Fault::Partial) => Ok(self.shortened(requests, &self.inner.newest(requests).await?)),
            Some(fault @ Fault::LostResponse) => {
                self.inner.newest(requests).await?;
                Err(temporary::error(fault))
            }
            Some(fault) => Err(temporary::error(fault)),
        }
    }

    fn access(&self) -> Access {
        self.inner.access()
    }
}

impl<T> Flaky<T> {
    fn shortened(&self, requests: &[PageRequest], whole: &Pages) -> Pages {
        let mut pages = Pages::default();
        for (index, request) in requests.iter().enumerate() {
            let (ids, resume_below) = whole.page(index);
            let (kept, resume_below) = self.cut(request, ids, resume_below);
            pages.ids_mut().extend_from_slice(kept);
            pages.end_page(resume_below);
        }
        pages
    }

    /// Keeps some, none or all ids of a page. A page that was the last one may say that there is more.
    fn cut<'a>(
        &self,
        request: &PageRequest,
        ids: &'a [MessageId],
        resume_below: Option<MessageId>,
    ) -> (&'a [MessageId], Option<MessageId>) {
        let (Some(newest), Some(oldest)) = (ids.first(), ids.last()) else { return (ids, resume_below) };
        match self.faults.below(ids.len() + 1) {
            0 if newest.next() < request.below => (&[], Some(newest.next())),
            keep if keep < ids.len() => {
                let kept = &ids[..keep.max(1)];
                (kept, kept.last().copied())
            }
            _ => (ids, Some(resume_below.unwrap_or(*oldest))),
        }
    }
}
