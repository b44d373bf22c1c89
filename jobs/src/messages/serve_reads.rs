//! `serve-reads`: what a reader may see. What that is, `chat::visibility` alone decides, by the directory, the limit and the plan of now.

use std::sync::Arc;
use std::time::Duration;

use chat::visibility::{Look, Visibility, decide, effective_boundary};
use chat::{
    AccountId, Boundary, Content, Directory, Epoch, LimitRow, Limits, Message, MessageId, MessagePageRequest, Messages,
    Organization, OrganizationId, Plan, Policies, Policy, PortError, PortResult, Position, RoomId, Standing, Timestamp,
};
use worker::Log;

use super::caller::{Caller, Forbidden};
use super::progress::ReadModelProgress;

/// Name of the job.
pub const NAME: &str = "serve-reads";

/// The most messages of a page.
pub const PAGE_MAX: usize = 100;
/// Pages of the store that one page of a reader takes, at most: a room full of deletions answers short pages, not late ones.
const STORE_PAGES_MAX: usize = 8;
/// When to ask again for what cannot be read yet.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the service is connected to: reading only.
#[derive(Clone)]
pub struct ReadPorts {
    /// Who is who.
    pub directory: Arc<dyn Directory>,
    /// What messages say.
    pub messages: Arc<dyn Messages>,
    /// The limits of organizations.
    pub limits: Arc<dyn Limits>,
    /// The log of events, asked only how far the read model has come.
    pub events: Arc<dyn Log>,
    /// The policies of the settings.
    pub policies: Policies,
    /// The epoch of the store's message ids.
    pub epoch: Epoch,
    /// The epoch of the log.
    pub log_epoch: u16,
}

/// Which messages of a room: those with an id between, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// The room.
    pub room: RoomId,
    /// Only ids below.
    pub before: Option<MessageId>,
    /// Only ids above.
    pub after: Option<MessageId>,
    /// At most so many, 1 to [`PAGE_MAX`].
    pub limit: usize,
    /// Refuse to answer before the event at this position can be read.
    pub min_version: Option<Position>,
}

/// A message as a reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadMessage {
    /// Its id.
    pub id: MessageId,
    /// Who wrote it, where that is known.
    pub author: Option<AccountId>,
    /// What it says.
    pub body: String,
    /// When it was written.
    pub posted_at: Timestamp,
    /// When it was last edited.
    pub edited_at: Option<Timestamp>,
}

/// A page of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadPage {
    /// Newest first. Fewer than asked for are not the end.
    pub messages: Vec<ReadMessage>,
    /// What `before` goes on with; `None` at the end of what may be seen.
    pub resume_before: Option<MessageId>,
    /// Whether the viewing limit hides older messages of the room.
    pub hidden_older: bool,
}

/// What limits an organization's readers now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewLimit {
    /// Whose.
    pub organization: OrganizationId,
    /// Its plan.
    pub plan: Plan,
    /// The policy that is applied; `None` where the plan does not limit.
    pub policy: Option<Policy>,
    /// What is stored; `None` where nothing was computed.
    pub standing: Option<Standing>,
    /// For which instant it was computed.
    pub as_of: Option<Timestamp>,
    /// How many messages were visible then.
    pub visible_messages: Option<u32>,
    /// The oldest id that may be seen now; `None` where the plan does not limit.
    pub effective_boundary: Option<MessageId>,
}

/// Why there is no answer, by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They may not.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// There is no such message.
    #[error("there is no such message")]
    NotFound,
    /// It was deleted.
    #[error("the message was deleted")]
    Deleted,
    /// The viewing limit hides it, by this rule.
    #[error("the viewing limit hides the message")]
    Hidden(Visibility),
    /// What was asked for cannot be read yet.
    #[error("the read model has not come so far")]
    Behind {
        /// Below which position events can be read, where that is known.
        version: Option<Position>,
        /// When to ask again.
        retry_after: Duration,
    },
    /// Ask again.
    #[error("it cannot be read now")]
    Unavailable {
        /// What happened.
        source: BoxError,
        /// When to ask again.
        retry_after: Duration,
    },
    /// It cannot be read, however often it is asked for: a person has to look.
    #[error("it cannot be read")]
    Failed {
        /// What happened.
        source: BoxError,
    },
}

impl From<PortError> for ReadError {
    fn from(error: PortError) -> Self {
        let source = Box::new(error);
        if source.is_temporary() {
            Self::Unavailable { source, retry_after: RETRY_AFTER }
        } else {
            Self::Failed { source }
        }
    }
}

/// Answers readers.
pub struct Reads {
    ports: ReadPorts,
    progress: ReadModelProgress,
}

/// What limits a caller: nothing where their plan does not.
type CallerLimit = Option<(Boundary, Policy)>;

impl Reads {
    /// Over these ports.
    pub fn new(ports: ReadPorts) -> Self {
        let progress = ReadModelProgress::new(Arc::clone(&ports.events), ports.log_epoch);
        Self { ports, progress }
    }

    /// A page of a room, newest first.
    pub async fn page(&self, caller: Caller, query: PageQuery) -> Result<ReadPage, ReadError> {
        let now = Timestamp::now();
        let limit = self.limit_in(caller, query.room, now).await?;
        if let Some(version) = query.min_version {
            self.check_readable(query.room, version).await?;
        }
        let mut page = ReadPage::default();
        let mut below = query.before.unwrap_or(MessageId::MAX);
        for _ in 0..STORE_PAGES_MAX {
            let request = MessagePageRequest { room: query.room, below, limit: query.limit.clamp(1, PAGE_MAX) + 1 };
            let stored = self.ports.messages.page(&request).await?;
            for message in stored.messages {
                if query.after.is_some_and(|after| message.id <= after) {
                    return Ok(page);
                }
                match self.decide(&message, limit, now) {
                    Visibility::Visible if page.messages.len() == query.limit => {
                        page.resume_before = page.messages.last().map(|last| last.id);
                        return Ok(page);
                    }
                    Visibility::Visible => page.messages.extend(self.shown(message)),
                    Visibility::HiddenByAge | Visibility::HiddenByCount => {
                        page.hidden_older = true;
                        return Ok(page);
                    }
                    Visibility::Deleted | Visibility::NotAMember => {}
                }
            }
            match stored.resume_below {
                Some(resume) => below = resume,
                None => return Ok(page),
            }
        }
        page.resume_before = Some(below);
        Ok(page)
    }

    /// One message.
    pub async fn message(
        &self,
        caller: Caller,
        room: RoomId,
        id: MessageId,
        min_version: Option<Position>,
    ) -> Result<ReadMessage, ReadError> {
        let now = Timestamp::now();
        let limit = self.limit_in(caller, room, now).await?;
        let found = self.ports.messages.get(&[(room, id)]).await?.into_iter().next().flatten();
        if let Some(version) = min_version
            && found.as_ref().is_none_or(|message| message.position < Some(version))
        {
            self.check_readable(room, version).await?;
        }
        let message = found.ok_or(ReadError::NotFound)?;
        match self.decide(&message, limit, now) {
            Visibility::Visible => self.shown(message).ok_or(ReadError::Deleted),
            Visibility::Deleted => Err(ReadError::Deleted),
            Visibility::NotAMember => Err(Forbidden::NotAMember.into()),
            hidden @ (Visibility::HiddenByAge | Visibility::HiddenByCount) => Err(ReadError::Hidden(hidden)),
        }
    }

    /// What limits the caller's organization.
    pub async fn view_limit(&self, caller: Caller, organization: OrganizationId) -> Result<ViewLimit, ReadError> {
        if caller.organization != organization {
            return Err(Forbidden::OtherOrganization.into());
        }
        // Of any room: the answer tells whose account it is.
        self.ports.participant(caller, RoomId::from_bits(0)).await.map_err(ReadError::from).and_then(
            |participant| {
                caller.check_known(participant)?;
                Ok(())
            },
        )?;
        let (known, row) = self.ports.organization(organization).await?;
        let plan = known.ok_or(Forbidden::OtherOrganization)?.plan;
        let now = Timestamp::now();
        let limit = self.limit_of(plan, row.as_ref(), now)?;
        let boundary = limit.map(|(boundary, policy)| effective_boundary(boundary, &policy, now, self.ports.epoch));
        Ok(ViewLimit {
            organization,
            plan,
            policy: limit.map(|(_, policy)| policy),
            standing: row.as_ref().map(|row| row.standing),
            as_of: row.as_ref().map(|row| row.version.as_of),
            visible_messages: row.as_ref().map(|row| row.visible_messages),
            effective_boundary: boundary,
        })
    }

    /// Checks that the caller is a member of the room; answers what limits them.
    async fn limit_in(&self, caller: Caller, room: RoomId, now: Timestamp) -> Result<CallerLimit, ReadError> {
        let asked = self.ports.participant(caller, room);
        let (participant, organization) = tokio::join!(asked, self.ports.organization(caller.organization));
        caller.check_member(participant?)?;
        let (organization, row) = organization?;
        // An account of an organization that the directory does not know sees what the strictest plan shows.
        let plan = organization.map_or(Plan::Free, |organization| organization.plan);
        self.limit_of(plan, row.as_ref(), now)
    }

    /// The policy of the row until it is recomputed, else the one in force.
    fn limit_of(&self, plan: Plan, row: Option<&LimitRow>, now: Timestamp) -> Result<CallerLimit, ReadError> {
        if !plan.is_limited() {
            return Ok(None);
        }
        let boundary = LimitRow::boundary(row);
        let policy = match row {
            Some(row) if boundary != Boundary::NotComputed => row.policy,
            _ => self.ports.policies.in_force(now).map_err(|error| ReadError::Failed { source: error.into() })?.policy,
        };
        Ok(Some((boundary, policy)))
    }

    async fn check_readable(&self, room: RoomId, version: Position) -> Result<(), ReadError> {
        let unavailable = |error| ReadError::Unavailable { source: Box::new(error), retry_after: RETRY_AFTER };
        match self.progress.below(room).await.map_err(unavailable)? {
            Some(below) if version < below => Ok(()),
            version => Err(ReadError::Behind { version, retry_after: RETRY_AFTER }),
        }
    }

    fn decide(&self, message: &Message, limit: CallerLimit, now: Timestamp) -> Visibility {
        let look = Look { message: message.id, live: message.content.is_some(), member: true, limit };
        decide(look, now, self.ports.epoch)
    }

    fn shown(&self, message: Message) -> Option<ReadMessage> {
        let Content { author, body, edited_at } = message.content?;
        Some(ReadMessage { id: message.id, author, body, posted_at: self.ports.epoch.time_of(message.id), edited_at })
    }
}

impl ReadPorts {
    async fn participant(&self, caller: Caller, room: RoomId) -> PortResult<Option<chat::Participant>> {
        Ok(self.directory.participants(&[(caller.account, room)]).await?.into_iter().next().flatten())
    }

    /// An organization and its limit.
    async fn organization(&self, id: OrganizationId) -> PortResult<(Option<Organization>, Option<LimitRow>)> {
        let ids = [id];
        let (known, rows) = tokio::try_join!(self.directory.organizations(&ids), self.limits.get(&ids))?;
        Ok((known.into_iter().next().flatten(), rows.into_iter().next().flatten()))
    }
}
