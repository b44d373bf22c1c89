//! What the words mean and what must hold.
//!
//! Organizations, rooms, messages, the viewing limit and the rules that connect them, plus the ports through which the
//! rules are fed. Pure: no runtime, no I/O, no vendor. Adapters implement the ports; jobs call them.
//!
//! - [`id`]: Snowflake message ids and the ids of everything else
//! - [`position`]: the order of changes in a log
//! - [`event`]: what happens in rooms, and its form in a log
//! - [`message`]: one message as the fold of its events
//! - [`policy`], [`limit`]: how much may be seen, and the stored answer
//! - [`visibility`]: the one place that decides whether a message may be seen
//! - [`newest()`]: the newest N messages of many rooms together
//! - ports: [`Directory`], [`OwnedDirectory`], [`Memberships`], [`LiveIds`], [`Heads`], [`Messages`], [`MessageStore`], [`Limits`], [`Ledger`]

pub mod directory;
pub mod event;
pub mod heads;
pub mod id;
pub mod ledger;
pub mod limit;
pub mod limits;
pub mod live_ids;
pub mod memberships;
pub mod message;
pub mod messages;
pub mod newest;
pub mod owned_directory;
pub mod policy;
mod port;
pub mod position;
pub mod run;
pub mod snowflake;
pub mod time;
pub mod visibility;

pub use directory::{ChangeCursor, Directory, Organization, Participant, Plan};
pub use heads::{Head, Heads, NoHeads};
pub use id::{AccountId, MessageId, OrganizationId, RoomId};
pub use ledger::Ledger;
pub use limit::{Boundary, LimitRow, Standing, Version};
pub use limits::{Limits, PutOutcome};
pub use live_ids::{Access, LiveIds, PageRequest, Pages};
pub use memberships::{MembershipChange, Memberships, RoomChange};
pub use message::MessageState;
pub use messages::{
    Applied, Content, Expected, Message, MessageChange, MessagePage, MessagePageRequest, MessageStore, Messages,
};
pub use newest::{LiveSet, Newest, newest};
pub use owned_directory::{OrganizationRecord, OwnedDirectory};
pub use policy::{Period, Policies, Policy};
pub use port::{BoxError, PortError, PortResult};
pub use position::Position;
pub use run::RunId;
pub use snowflake::{MessageIds, NoId, WriterNumber};
pub use time::{Day, Epoch, Timestamp};
