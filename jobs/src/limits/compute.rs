//! One organization's limit, computed from its rooms. The job and the operator's dry runs call the same function.

use chat::{
    Epoch, Head, LimitRow, LiveIds, Newest, OrganizationId, Policy, PortResult, RoomId, RunId, Standing, Timestamp,
    Version, newest,
};

/// What a computation is about.
#[derive(Clone, Debug)]
pub struct Computed<'a> {
    /// The run.
    pub run: &'a RunId,
    /// The organization.
    pub organization: OrganizationId,
    /// The policy.
    pub policy: Policy,
    /// The version that the result will carry.
    pub version: Version,
    /// How many rooms the organization sees.
    pub rooms_seen: u32,
    /// The rooms to look into.
    pub rooms: &'a [(RoomId, Head)],
}

/// What was computed, and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Computation {
    /// The limit row.
    pub row: LimitRow,
    /// Read units that the store of messages charged; 0 where it does not charge.
    pub read_units: f64,
}

/// Computes the limit row.
pub async fn compute(live_ids: &dyn LiveIds, epoch: Epoch, of: Computed<'_>) -> PortResult<Computation> {
    let rooms: Vec<_> = of.rooms.iter().map(|(id, head)| newest::Room::new(*id, *head, epoch)).collect();
    let found: Newest = newest(live_ids, &rooms, &of.policy, of.version.as_of, epoch).await?;
    let row = LimitRow {
        organization: of.organization,
        policy: of.policy,
        version: of.version,
        standing: found.first_visible_message_id.map_or(Standing::NoCountLimit, Standing::Limited),
        oldest_visible_message_id: found.oldest_visible_message_id,
        visible_messages: found.visible_messages,
        rooms: of.rooms_seen,
        run: of.run.clone(),
        previous_first_visible_message_id: None,
        rooms_opened: found.rooms_opened,
        messages_read: found.messages_read,
        computed_at: Timestamp::now(),
    };
    Ok(Computation { row, read_units: found.read_units })
}
