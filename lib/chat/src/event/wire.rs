//! The form on the wire: CloudEvents 1.0, binary mode of the Kafka binding.
//!
//! | | |
//! |---|---|
//! | key | the room, decimal |
//! | headers | `ce_specversion`, `ce_id`, `ce_source`, `ce_type`, `ce_subject` (the room, decimal), `ce_time`, `content-type` |
//! | value | a JSON object; ids are decimal strings |

use serde::{Deserialize, Serialize};

use crate::{AccountId, MessageId, OrganizationId};

pub(super) const SPEC_VERSION: &str = "ce_specversion";
pub(super) const ID: &str = "ce_id";
pub(super) const SOURCE: &str = "ce_source";
pub(super) const TYPE: &str = "ce_type";
pub(super) const SUBJECT: &str = "ce_subject";
pub(super) const TIME: &str = "ce_time";
pub(super) const CONTENT_TYPE: &str = "content-type";

/// The version of CloudEvents.
pub(super) const SPEC: &str = "1.0";
/// What this program calls itself as a source.
pub(super) const LANNER: &str = "lanner";
/// What a value is.
pub(super) const JSON: &str = "application/json";

/// The value of what happens to a room: who did it. Every value has these two fields.
#[derive(Serialize, Deserialize)]
pub(super) struct Room {
    pub(super) account: AccountId,
    pub(super) organization: OrganizationId,
}

/// The value of a join or leave.
#[derive(Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) account: AccountId,
    pub(super) organization: OrganizationId,
    pub(super) member: AccountId,
}

/// The value of a message's creation.
#[derive(Serialize, Deserialize)]
pub(super) struct Created {
    pub(super) account: AccountId,
    pub(super) organization: OrganizationId,
    pub(super) message: MessageId,
    pub(super) author: AccountId,
    pub(super) author_organization: OrganizationId,
    pub(super) body: String,
}

/// The value of a message's edit.
#[derive(Serialize, Deserialize)]
pub(super) struct Updated {
    pub(super) account: AccountId,
    pub(super) organization: OrganizationId,
    pub(super) message: MessageId,
    pub(super) body: String,
}

/// The value of a message's deletion.
#[derive(Serialize, Deserialize)]
pub(super) struct Deleted {
    pub(super) account: AccountId,
    pub(super) organization: OrganizationId,
    pub(super) message: MessageId,
    pub(super) as_admin: bool,
}
