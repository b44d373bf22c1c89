//! The questions of the directory as queries, so that the tables of an existing chat answer them.

use chat::{PortError, PortResult};

use crate::database::Database;
use crate::query::{Needs, Query};

/// The queries that answer the directory's questions: one `SELECT` each, with the placeholders and columns said below. Columns
/// may be of any integer type; more columns than these do no harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryQueries {
    /// Free organizations above `:after`, ascending by id, at most `:limit`. Columns `id` and, where plans are counted,
    /// `plan_version`.
    pub free_organizations: String,
    /// The organizations with one of the ids `IN (:ids)`. Columns `id`, `free` (a truth value) and, where plans are counted,
    /// `plan_version`.
    pub organizations: String,
    /// The rooms in which an active account of one of the organizations `IN (:ids)` is a member now, in any order, repeats do
    /// no harm. Columns `organization`, `room`.
    pub rooms: String,
    /// The active account `:account`, one row at most: its `organization`, and as `member` (a truth value) whether it is a member
    /// of the room `:room` now. Without it [`chat::Directory::participants`] is refused, which the message path alone asks.
    pub participant: Option<String>,
    /// Organizations of which something may have changed, above `:after` (a number) and, of equal ones, above
    /// `:after_organization`, ascending by both, at most `:limit`. Columns `changed`, a number from 1 that grows with time, and
    /// `organization`. Without it [`chat::Directory::changed_organizations`] is refused, which only those ask who follow the directory.
    pub changed_organizations: Option<String>,
}

impl Default for DirectoryQueries {
    /// Those of our own tables.
    fn default() -> Self {
        Self {
            free_organizations:
                "
                SELECT id, plan_version FROM organizations WHERE plan = 'free' AND id > :after ORDER BY id LIMIT :limit"
                    .to_owned(),
            organizations: "
                SELECT id, plan = 'free' AS free, plan_version FROM organizations WHERE id IN (:ids)"
                .to_owned(),
            rooms: "
                SELECT DISTINCT accounts.organization, memberships.room
                FROM accounts
                JOIN memberships ON memberships.account = accounts.id
                WHERE accounts.organization IN (:ids) AND accounts.active"
                .to_owned(),
            participant: Some(
                "
                SELECT accounts.organization, EXISTS (
                    SELECT 1 FROM memberships WHERE memberships.account = accounts.id AND memberships.room = :room
                ) AS member
                FROM accounts
                WHERE accounts.id = :account AND accounts.active"
                    .to_owned(),
            ),
            // Twice the same: PostgreSQL finds the place in its index by the first condition, MySQL by the second, also in the
            // middle of very many that changed together.
            changed_organizations: Some(
                "
                SELECT changed, organization
                FROM organization_changes
                WHERE (changed, organization) > (:after, :after_organization)
                    AND (changed = :after AND organization > :after_organization OR changed > :after)
                ORDER BY changed, organization LIMIT :limit"
                    .to_owned(),
            ),
        }
    }
}

/// The queries as they are asked.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) free_organizations: Query,
    pub(super) organizations: Query,
    pub(super) rooms: Query,
    participant: Option<Query>,
    changed_organizations: Option<Query>,
    /// What an operator should know.
    pub(super) warnings: Vec<String>,
}

impl Checked {
    /// Checks every query: that it only reads, and its columns.
    pub(super) async fn new(database: &Database, queries: &DirectoryQueries) -> PortResult<Self> {
        let dialect = database.dialect();
        let free_organizations = Query::new(dialect, "free_organizations", &queries.free_organizations)?;
        let organizations = Query::new(dialect, "organizations", &queries.organizations)?;
        let rooms = Query::new(dialect, "rooms", &queries.rooms)?;
        let participant = queries.participant.as_ref();
        let participant = participant.map(|text| Query::new(dialect, "participant", text)).transpose()?;
        let changed_organizations = queries.changed_organizations.as_ref();
        let changed_organizations =
            changed_organizations.map(|text| Query::new(dialect, "changed_organizations", text)).transpose()?;
        let version = Needs::whole_if_any("plan_version");
        let page = [("after", 1.into()), ("limit", 1.into())];
        let ids = [("ids", [1, 2].as_slice().into())];
        let mut warnings = vec![
            free_organizations.check(database, &page, &[Needs::whole("id"), version]).await?,
            organizations.check(database, &ids, &[Needs::whole("id"), Needs::truth("free"), version]).await?,
            rooms.check(database, &ids, &[Needs::whole("organization"), Needs::whole("room")]).await?,
        ];
        if let Some(participant) = &participant {
            let pair = [("account", 1.into()), ("room", 1.into())];
            let needs = [Needs::whole("organization"), Needs::truth("member")];
            warnings.push(participant.check(database, &pair, &needs).await?);
        }
        if let Some(changed_organizations) = &changed_organizations {
            let page = [("after", 1.into()), ("after_organization", 1.into()), ("limit", 1.into())];
            let needs = [Needs::whole("changed"), Needs::whole("organization")];
            warnings.push(changed_organizations.check(database, &page, &needs).await?);
        }
        let warnings: Vec<String> = warnings.into_iter().flatten().collect();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Self { free_organizations, organizations, rooms, participant, changed_organizations, warnings })
    }

    /// The query for an account and a room.
    ///
    /// # Errors
    ///
    /// Refused where it was not given.
    pub(super) fn participant(&self) -> PortResult<&Query> {
        self.participant.as_ref().ok_or_else(|| {
            PortError::refused(
                "the chat's directory was not told how to find who is in a room: set directory.participant to the query for it",
            )
        })
    }
    /// The query for what changed.
    ///
    /// # Errors
    ///
    /// Refused where it was not given.
    pub(super) fn changed_organizations(&self) -> PortResult<&Query> {
        self.changed_organizations.as_ref().ok_or_else(|| {
            PortError::refused(
                "the chat's directory was not told how to find which organizations changed: set directory.changed_organizations \
                 to the query for it",
            )
        })
    }
}
