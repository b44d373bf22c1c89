//! Port: the ids of a room's live messages, newest first.

use async_trait::async_trait;

use crate::{MessageId, PortResult, RoomId};

/// One page of one room: ids in `at_least ..below`, newest first, at most `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The room.
    pub room: RoomId,
    /// Ids are strictly below this.
    pub below: MessageId,
    /// Ids are at least this.
    pub at_least: MessageId,
    /// At most so many ids; at least 1.
    pub limit: usize,
}

/// Pages that answer a batch of requests, in the order of the requests.
///
/// All ids stand in one buffer, so that a batch of hundreds of rooms costs two allocations.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    ids: Vec<MessageId>,
    ends: Vec<(usize, Option<MessageId>)>,
    read_units: f64,
}

impl Pages {
    /// No page, with room for `pages` of them.
    pub fn with_capacity(pages: usize, ids: usize) -> Self {
        Self { ids: Vec::with_capacity(ids), ends: Vec::with_capacity(pages), read_units: 0.0 }
    }

    /// Notes what the store charged for a page, where it charges.
    pub fn charge(&mut self, read_units: f64) {
        self.read_units += read_units;
    }

    /// Read units that the store charged for all pages; 0 where it does not charge.
    pub fn read_units(&self) -> f64 {
        self.read_units
    }

    /// Where the ids of the page in work are appended, newest first.
    pub fn ids_mut(&mut self) -> &mut Vec<MessageId> {
        &mut self.ids
    }

    /// Closes the page in work. `resume_below`: what the next request of this room must give as `below`; `None` when nothing
    /// down to `at_least` is left.
    pub fn end_page(&mut self, resume_below: Option<MessageId>) {
        self.ends.push((self.ids.len(), resume_below));
    }

    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without any page.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Page `index`: its ids, newest first, and where the room goes on.
    pub fn page(&self, index: usize) -> (&[MessageId], Option<MessageId>) {
        let start = if index == 0 { 0 } else { self.ends[index - 1].0 };
        let (end, resume_below) = self.ends[index];
        (&self.ids[start..end], resume_below)
    }

    /// All ids of all pages.
    pub fn ids(&self) -> &[MessageId] {
        &self.ids
    }
}

/// What a page costs, which decides how rooms are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Ids are in this machine's memory or page cache: a page costs less than a microsecond.
    Local,
    /// A page is a request over the network: as few and as small as possible.
    RoundTrip {
        /// Ids of a first page that cost no more than one id.
        first_page: usize,
        /// Pages asked for at once.
        in_flight: usize,
    },
}

impl Access {
    /// Whether it pays to ask for heads, so that quiet rooms are not opened. Where a page is local a head costs half as much, and
    /// most rooms are opened all the same.
    pub fn needs_heads(self) -> bool {
        matches!(self, Self::RoundTrip { .. })
    }
}

/// The live messages of rooms, as ids only.
///
/// Laws (`tests/laws/live_ids.rs`):
/// - A page holds distinct live ids of its room within `at_least ..below`, newest first, at most `limit`.
/// - Following `resume_below` until it is `None` yields every such id exactly once. An empty or a short page is **not** the
///   end; `resume_below` falls with every page.
/// - A tombstoned id is never answered again once the tombstone is readable. Answers may lag the writes by a bound that the
///   adapter states.
/// - One call is one batch of rooms: adapters answer it with one read transaction or with requests in parallel.
#[async_trait]
pub trait LiveIds: Send + Sync {
    /// One page for each request, in the order of the requests.
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages>;

    /// What a page costs here.
    fn access(&self) -> Access;
}
