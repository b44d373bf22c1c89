//! `Messages` that fails on demand. `Partial`: a page cut short or emptied, with a resume point that is right.

use async_trait::async_trait;
use chat::{Message, MessageId, MessagePage, MessagePageRequest, Messages, PortResult, RoomId};

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
