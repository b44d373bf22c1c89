//! Many small organizations.

use chat::{
    AccountId, MembershipChange, Memberships, Organization, OrganizationId, Plan, PortResult, Position, RoomChange,
    RoomId,
};
use embedded::SqliteDirectory;
use import::Account;

/// Free organizations with the ids from 1 on, each with one account of the same id, which is in the room that `room_of` tells.
pub async fn one_room_each(
    directory: &SqliteDirectory,
    organizations: u64,
    room_of: impl Fn(u64) -> u64,
) -> PortResult<()> {
    let ids: Vec<u64> = (1..=organizations).collect();
    let organization =
        |id: &u64| Organization { id: OrganizationId::from_bits(*id), plan: Plan::Free, plan_version: 0 };
    let account = |id: &u64| Account {
        id: AccountId::from_bits(*id),
        organization: OrganizationId::from_bits(*id),
        active: true,
    };
    let join = |id: &u64| MembershipChange {
        room: RoomId::from_bits(room_of(*id)),
        position: Position::from_bits(0),
        what: RoomChange::Joined(AccountId::from_bits(*id)),
    };
    for some in ids.chunks(1_000) {
        directory.put_organizations(&some.iter().map(organization).collect::<Vec<_>>()).await?;
        directory.put_accounts(&some.iter().map(account).collect::<Vec<_>>()).await?;
        directory.apply(&some.iter().map(join).collect::<Vec<_>>()).await?;
    }
    Ok(())
}
