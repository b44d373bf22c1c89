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

/// Computes the limit row.
pub async fn compute(live_ids: &dyn LiveIds, epoch: Epoch, of: Computed<'_>) -> PortResult<LimitRow> {
    let rooms: Vec<_> = of.rooms.iter().map(|(id, head)| newest::Room::new(*id, *head, epoch)).collect();
    let found: Newest = newest(live_ids, &rooms, &of.policy, of.version.as_of, epoch).await?;
    Ok(LimitRow {
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
    })
}
