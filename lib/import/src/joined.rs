//! One load out of two stores: a directory here, messages there, heads perhaps elsewhere again.

use std::sync::Arc;

use async_trait::async_trait;
use chat::{Day, Epoch, Heads, MessageId, Organization, PortResult, RoomId};

use crate::{
    Account, Load, LoadDirectory, LoadMessages, Membership, MessageBody, Name, NameKind, OrganizationRooms,
    RoomMessages, Source,
};

/// A [`Load`] into a directory and a store of messages that know nothing of each other.
///
/// What is published and what is unfinished is the directory's to remember. Only where it remembers the same source, loading
/// goes on behind the last durable room: with a directory that was made anew it begins anew.
pub struct JoinedLoad {
    directory: Box<dyn LoadDirectory>,
    messages: Box<dyn LoadMessages>,
    heads: Option<Arc<dyn Heads>>,
    epoch: Epoch,
    resume_after: Option<RoomId>,
}

impl JoinedLoad {
    /// Joins two halves. `heads` are those of the rooms, where the store of messages keeps none itself: the head of a room is
    /// raised before its messages are written.
    pub fn new(
        directory: Box<dyn LoadDirectory>,
        messages: Box<dyn LoadMessages>,
        heads: Option<Arc<dyn Heads>>,
    ) -> Self {
        Self { directory, messages, heads, epoch: Epoch::default(), resume_after: None }
    }

    /// The day of each room's newest message. A room of which nothing lives has the day of its newest deleted message: without
    /// a head it would be opened by every run.
    fn days(&self, rooms: &[RoomMessages]) -> Vec<(RoomId, Day)> {
        let newest = |row: &RoomMessages| row.live.last().or(row.tombstoned.last()).copied();
        let day = |row: &RoomMessages| newest(row).map(|id| (row.room, Day::of(self.epoch.time_of(id))));
        rooms.iter().filter_map(day).collect()
    }
}

#[async_trait]
impl Load for JoinedLoad {
    async fn known_names(&mut self, after: Option<(NameKind, u64)>, limit: usize) -> PortResult<Vec<Name>> {
        self.directory.known_names(after, limit).await
    }

    async fn begin(&mut self, source: &Source) -> PortResult<()> {
        self.epoch = source.epoch;
        let unfinished = self.directory.begin(source).await?;
        self.resume_after = self.messages.begin(source, unfinished).await?;
        Ok(())
    }

    async fn organizations(&mut self, rows: &[Organization]) -> PortResult<()> {
        self.directory.organizations(rows).await
    }

    async fn accounts(&mut self, rows: &[Account]) -> PortResult<()> {
        self.directory.accounts(rows).await
    }

    async fn rooms(&mut self, rows: &[RoomId]) -> PortResult<()> {
        self.directory.rooms(rows).await
    }

    async fn memberships(&mut self, rows: &[Membership]) -> PortResult<()> {
        self.directory.memberships(rows).await
    }

    async fn organization_rooms(&mut self, rows: &[OrganizationRooms]) -> PortResult<()> {
        self.directory.organization_rooms(rows).await
    }

    async fn names(&mut self, rows: &[Name]) -> PortResult<()> {
        self.directory.names(rows).await
    }

    async fn publish(&mut self) -> PortResult<Option<RoomId>> {
        self.directory.publish().await?;
        Ok(self.resume_after)
    }

    async fn messages(&mut self, rooms: &[RoomMessages]) -> PortResult<()> {
        if let Some(heads) = &self.heads {
            heads.raise(&self.days(rooms)).await?;
        }
        self.messages.messages(rooms).await
    }

    async fn quiet_rooms(&mut self, rooms: &[(RoomId, MessageId)]) -> PortResult<()> {
        let Some(heads) = &self.heads else { return Ok(()) };
        let days = rooms.iter().map(|(room, newest)| (*room, Day::of(self.epoch.time_of(*newest))));
        heads.raise(&days.collect::<Vec<_>>()).await
    }

    async fn bodies(&mut self, rows: &[MessageBody]) -> PortResult<()> {
        self.messages.bodies(rows).await
    }

    async fn finish(&mut self) -> PortResult<()> {
        self.messages.finish().await?;
        self.directory.finish().await
    }
}
