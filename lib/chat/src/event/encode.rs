//! Events to bytes.

use serde_json::json;

use super::{Event, What, wire};

/// An event as a log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Decides the partition: events of one room stand in one.
    pub key: Vec<u8>,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// JSON.
    pub value: Vec<u8>,
}

impl Event {
    /// The event on the wire, in the version of [`super::Kind::type_name`].
    pub fn encode(&self) -> Record {
        let room = self.room.to_string();
        let headers = [
            (wire::SPEC_VERSION, wire::SPEC),
            (wire::ID, self.id.as_str()),
            (wire::SOURCE, wire::LANNER),
            (wire::TYPE, self.kind().type_name()),
            (wire::SUBJECT, &room),
            (wire::TIME, &self.at.to_string()),
            (wire::CONTENT_TYPE, wire::JSON),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec();
        Record { key: room.into_bytes(), headers, value: self.value().to_string().into_bytes() }
    }

    fn value(&self) -> serde_json::Value {
        let (account, organization) = (self.by.account, self.by.organization);
        match &self.what {
            What::MessageCreated { message, author, author_organization, body } => {
                let (message, author, author_organization, body) =
                    (*message, *author, *author_organization, body.clone());
                json!(wire::Created { account, organization, message, author, author_organization, body })
            }
            What::MessageUpdated { message, body } => {
                json!(wire::Updated { account, organization, message: *message, body: body.clone() })
            }
            What::MessageDeleted { message, as_admin } => {
                json!(wire::Deleted { account, organization, message: *message, as_admin: *as_admin })
            }
            What::RoomCreated | What::RoomDeleted => json!(wire::Room { account, organization }),
            What::RoomMemberJoined { member } | What::RoomMemberLeft { member } => {
                json!(wire::Member { account, organization, member: *member })
            }
        }
    }
}
