//! `Messages` and `MessageStore` that fail on demand. `Partial`: a page cut short or emptied, with a resume point that is right; the
//! first half of a batch written, and an error.

use async_trait::async_trait;
use chat::{
    Applied, Message, MessageChange, MessageId, MessagePage, MessagePageRequest, MessageState, MessageStore, Messages,
    PortResult, RoomId,
};

use crate::{Fault, Flaky, temporary};

#[async_trait]
impl<T: Messages> Messages for Flaky<T> {
    async fn get(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<Message>>> {
        match self.faults.next().await {
            None | Some(Fault::Partial) => self.inner.get(ids).await,
            Some(fault @ Fault::LostResponse) => {
                self.inner.get(ids).await?;
                Err(temporary::error(fault))
            }
            Some(fault) => Err(temporary::error(fault)),
        }
    }

    async fn page(&self, request: &MessagePageRequest) -> PortResult<MessagePage> {
        match self.faults.next().await {
            None => self.inner.page(request).await,
            Some(Fault::Partial) => Ok(self.cut_page(request, self.inner.page(request).await?)),
            Some(fault @ Fault::LostResponse) => {
                self.inner.page(request).await?;
                Err(temporary::error(fault))
            }
            Some(fault) => Err(temporary::error(fault)),
        }
    }
}

#[async_trait]
impl<T: MessageStore> MessageStore for Flaky<T> {
    async fn states(&self, ids: &[(RoomId, MessageId)]) -> PortResult<Vec<Option<MessageState>>> {
        match self.faults.next().await {
            None | Some(Fault::Partial) => self.inner.states(ids).await,
            Some(fault @ Fault::LostResponse) => {
                self.inner.states(ids).await?;
                Err(temporary::error(fault))
            }
            Some(fault) => Err(temporary::error(fault)),
        }
    }

    async fn apply(&self, changes: &[MessageChange]) -> PortResult<Vec<Applied>> {
        match self.faults.next().await {
            None => self.inner.apply(changes).await,
            Some(fault @ Fault::Partial) => {
                self.inner.apply(&changes[..changes.len() / 2]).await?;
                Err(temporary::error(fault))
            }
            Some(fault @ Fault::LostResponse) => {
                self.inner.apply(changes).await?;
                Err(temporary::error(fault))
            }
            Some(fault) => Err(temporary::error(fault)),
        }
    }
}

impl<T> Flaky<T> {
    /// Keeps some or none of a page. A page that was the last one may say that there is more.
    fn cut_page(&self, request: &MessagePageRequest, mut page: MessagePage) -> MessagePage {
        let Some(newest) = page.messages.first().map(|message| message.id) else { return page };
        match self.faults.below(page.messages.len() + 1) {
            0 if newest.next() < request.below => {
                MessagePage { messages: Vec::new(), resume_below: Some(newest.next()) }
            }
            keep => {
                page.messages.truncate(keep.max(1));
                page.resume_below = page.messages.last().map(|message| message.id);
                page
            }
        }
    }
}
