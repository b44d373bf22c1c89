//! Who asks over HTTP, and what they may do.

use chat::{AccountId, OrganizationId, Participant};

/// Who asks, as their token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// Its organization, which must be the one that the directory knows.
    pub organization: OrganizationId,
    /// Whether it acts as an administrator of the rooms that it is a member of.
    pub is_admin: bool,
}

/// Why somebody may not do what they ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// The directory knows no such active account.
    #[error("the account is unknown or not active")]
    UnknownAccount,
    /// The account is another organization's than the token says, or what is asked for is.
    #[error("it is another organization's")]
    OtherOrganization,
    /// Not a member of the room; whether there is such a room is not told.
    #[error("the account is not a member of this room")]
    NotAMember,
    /// Only an administrator of the room may.
    #[error("only an administrator of the room may do this")]
    NotAnAdmin,
}

impl Caller {
    /// Checks the token's organization against the directory's.
    pub(super) fn check_known(self, participant: Option<Participant>) -> Result<Participant, Forbidden> {
        let participant = participant.ok_or(Forbidden::UnknownAccount)?;
        if participant.organization == self.organization { Ok(participant) } else { Err(Forbidden::OtherOrganization) }
    }

    /// Checks that the caller is a member of the room.
    pub(super) fn check_member(self, participant: Option<Participant>) -> Result<(), Forbidden> {
        if self.check_known(participant)?.is_member { Ok(()) } else { Err(Forbidden::NotAMember) }
    }
}
