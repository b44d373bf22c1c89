//! Each port from its settings.

use std::sync::Arc;

use aws::{DynamoDbLimits, DynamoDbLiveIds, DynamoDbMessages, DynamoDbState, SqsQueue, fix_epoch, store_epoch};
use chat::{
    Directory, Epoch, Heads, Ledger, Limits, LiveIds, Memberships, Messages, NoHeads, OwnedDirectory, PortError,
};
use embedded::{
    Access, DataDir, LmdbHeads, LmdbLimits, LmdbLiveIds, LmdbMessages, MapSize, OpenError, PackedIndex,
    SqliteDirectory, SqliteLedger, SqliteQueue,
};
use import::NameKind;
use jobs::{ORGANIZATION_QUEUE, ROOM_QUEUE};
use sql::{DirectoryQueries, SqlDirectory, SqlHeads, SqlLedger, SqlLiveIds};
use worker::{Queue, QueueError};

use super::systems::{Systems, database};
use crate::exit::{self, Failure};
use crate::settings::{DirectoryAdapter, LedgerAdapter, LimitsAdapter, MessagesAdapter, Owner, QueueAdapter, Settings};

/// A directory as its ports.
pub(super) struct OpenedDirectory {
    pub(super) reads: Arc<dyn Directory>,
    pub(super) owned: Arc<dyn OwnedDirectory>,
    pub(super) memberships: Arc<dyn Memberships>,
}

impl OpenedDirectory {
    fn of<D: Directory + OwnedDirectory + Memberships + 'static>(directory: D) -> Self {
        let directory = Arc::new(directory);
        Self { reads: directory.clone(), owned: directory.clone(), memberships: directory }
    }
}

/// Opens the directory of organizations; refuses one whose import is not finished.
pub(super) async fn directory(systems: &Systems<'_>) -> Result<OpenedDirectory, Failure> {
    match &systems.settings.directory {
        DirectoryAdapter::Embedded {} => Ok(OpenedDirectory::of(whole_directory(systems.data_dir()?).await?)),
        DirectoryAdapter::Sql { .. } => {
            let directory = open_sql_directory(systems.settings).await?;
            check_whole(directory.unfinished_import().await?)?;
            Ok(OpenedDirectory::of(directory))
        }
    }
}

/// Opens a directory in a database, ours or a chat's.
pub(super) async fn open_sql_directory(settings: &Settings) -> Result<SqlDirectory, Failure> {
    let (database, queries) = sql_directory(settings)?;
    let opened = match queries {
        None => SqlDirectory::open(&database).await,
        Some(queries) => SqlDirectory::open_chat(&database, &queries).await,
    };
    opened.map_err(|error| opening("directory", error))
}

fn check_whole(unfinished: bool) -> Result<(), Failure> {
    if !unfinished {
        return Ok(());
    }
    let words = anyhow::anyhow!("an import is not finished: run the same `lanner import` again");
    Err(Failure::new(exit::TEMPORARY, words))
}

/// The database of the directory, with the queries where it is a chat's.
pub(super) fn sql_directory(settings: &Settings) -> Result<(sql::SqlSettings, Option<DirectoryQueries>), Failure> {
    let DirectoryAdapter::Sql {
        url,
        owner,
        free_organizations,
        organizations,
        rooms,
        participant,
        changed_organizations,
        connections_max,
        statement_timeout_ms,
    } = &settings.directory
    else {
        return Err(Failure::new(exit::FAILED, anyhow::anyhow!("the directory is in no database")));
    };
    let database = database("directory", url, *connections_max, *statement_timeout_ms)?;
    // The message path alone asks for participants, and only who follows the directory for what changed.
    let queries = [
        ("free_organizations", free_organizations, true),
        ("organizations", organizations, true),
        ("rooms", rooms, true),
        ("participant", participant, false),
        ("changed_organizations", changed_organizations, false),
    ];
    let wrong = |words: String| Failure::new(exit::CONFIGURATION, anyhow::anyhow!("settings: {words}"));
    for (name, query, is_needed) in queries {
        match owner {
            Owner::Chat if is_needed && query.trim().is_empty() => {
                return Err(wrong(format!(
                    "directory.{name} is empty: with directory.owner = \"chat\" it must be the query for it"
                )));
            }
            Owner::Lanner if !query.trim().is_empty() => {
                return Err(wrong(format!(
                    "directory.{name} is set: queries are for directory.owner = \"chat\" alone"
                )));
            }
            Owner::Chat | Owner::Lanner => {}
        }
    }
    let given = |query: &String| (!query.trim().is_empty()).then(|| query.clone());
    let queries = (*owner == Owner::Chat).then(|| DirectoryQueries {
        free_organizations: free_organizations.clone(),
        organizations: organizations.clone(),
        rooms: rooms.clone(),
        participant: given(participant),
        changed_organizations: given(changed_organizations),
    });
    Ok((database, queries))
}

/// Opens the embedded directory; refuses one whose import is not finished.
pub(super) async fn whole_directory(data_dir: &DataDir) -> Result<SqliteDirectory, Failure> {
    let directory = SqliteDirectory::open(data_dir).await?;
    check_whole(directory.unfinished_import().await?)?;
    Ok(directory)
}

/// The names that a directory keeps.
pub(super) enum Names {
    Embedded(SqliteDirectory),
    Sql(SqlDirectory),
}

impl Names {
    pub(super) async fn open(systems: &Systems<'_>) -> Result<Self, Failure> {
        Ok(match &systems.settings.directory {
            DirectoryAdapter::Embedded {} => Self::Embedded(SqliteDirectory::open(systems.data_dir()?).await?),
            DirectoryAdapter::Sql { .. } => Self::Sql(open_sql_directory(systems.settings).await?),
        })
    }

    /// In the order of the question.
    pub(super) async fn of(&self, kind: NameKind, ids: &[u64]) -> Result<Vec<Option<String>>, Failure> {
        match self {
            Self::Embedded(directory) => Ok(directory.names_of(kind, ids).await?),
            Self::Sql(directory) => Ok(directory.names_of(kind, ids).await?),
        }
    }
}

/// Opens the ids of live messages, and the heads of their rooms.
pub(super) async fn live_ids(
    systems: &Systems<'_>,
    epoch: Epoch,
) -> Result<(Arc<dyn LiveIds>, Arc<dyn Heads>), Failure> {
    match &systems.settings.messages {
        MessagesAdapter::Embedded {} => {
            let index = index(systems.data_dir()?, epoch)?;
            Ok((Arc::new(LmdbLiveIds::new(index.clone())), Arc::new(LmdbHeads::new(index))))
        }
        MessagesAdapter::DynamoDb { .. } => {
            Ok((Arc::new(DynamoDbLiveIds::new(systems.dynamodb()?.clone())), heads(systems).await?))
        }
        MessagesAdapter::Sql { newest_ids, .. } => {
            let opened = SqlLiveIds::open_chat(&sql_messages(systems.settings)?, newest_ids).await;
            Ok((Arc::new(opened.map_err(|error| opening("messages", error))?), Arc::new(NoHeads)))
        }
    }
}

/// The database of the messages.
pub(super) fn sql_messages(settings: &Settings) -> Result<sql::SqlSettings, Failure> {
    let MessagesAdapter::Sql { url, newest_ids, connections_max, statement_timeout_ms } = &settings.messages else {
        return Err(Failure::new(exit::FAILED, anyhow::anyhow!("the messages are in no database")));
    };
    if newest_ids.trim().is_empty() {
        let words = "settings: messages.newest_ids is empty: with messages.adapter = \"sql\" it must be the query";
        return Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)));
    }
    database("messages", url, *connections_max, *statement_timeout_ms)
}

/// The heads of rooms whose messages are in a service: beside the ledger, or nowhere.
pub(super) async fn heads(systems: &Systems<'_>) -> Result<Arc<dyn Heads>, Failure> {
    Ok(match &systems.settings.ledger {
        LedgerAdapter::Embedded {} => Arc::new(NoHeads),
        LedgerAdapter::Sql { .. } => {
            let opened = SqlHeads::open(&sql_ledger(systems.settings)?).await;
            Arc::new(opened.map_err(|error| opening("ledger", error))?)
        }
    })
}

/// Opens what messages say.
pub(super) fn messages(systems: &Systems<'_>) -> Result<Arc<dyn Messages>, Failure> {
    match &systems.settings.messages {
        MessagesAdapter::Embedded {} => {
            Ok(Arc::new(LmdbMessages::open(&systems.data_dir()?.messages(), MapSize::default())?))
        }
        MessagesAdapter::DynamoDb { .. } => Ok(Arc::new(DynamoDbMessages::new(systems.dynamodb()?.clone()))),
        MessagesAdapter::Sql { .. } => {
            let words = "with messages.adapter = \"sql\" only the ids of messages are read, not what they say";
            Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)))
        }
    }
}

/// Opens the index of message ids.
pub(super) fn index(data_dir: &DataDir, epoch: Epoch) -> Result<PackedIndex, Failure> {
    Ok(PackedIndex::open(&data_dir.live_ids(), MapSize::default(), epoch)?)
}

/// Opens the ledger; made where it is missing, so that readers find it.
pub(super) async fn ledger(systems: &Systems<'_>) -> Result<Arc<dyn Ledger>, Failure> {
    Ok(match &systems.settings.ledger {
        LedgerAdapter::Embedded {} => Arc::new(SqliteLedger::open(systems.data_dir()?).await?),
        LedgerAdapter::Sql { .. } => {
            let opened = SqlLedger::open(&sql_ledger(systems.settings)?).await;
            Arc::new(opened.map_err(|error| opening("ledger", error))?)
        }
    })
}

/// The database of the ledger.
pub(super) fn sql_ledger(settings: &Settings) -> Result<sql::SqlSettings, Failure> {
    let LedgerAdapter::Sql { url, connections_max, statement_timeout_ms } = &settings.ledger else {
        return Err(Failure::new(exit::FAILED, anyhow::anyhow!("the ledger is in no database")));
    };
    database("ledger", url, *connections_max, *statement_timeout_ms)
}

/// Opens the limits.
pub(super) fn limits(systems: &Systems<'_>) -> Result<Arc<dyn Limits>, Failure> {
    Ok(match &systems.settings.limits {
        LimitsAdapter::Embedded {} => Arc::new(LmdbLimits::open(&systems.data_dir()?.limits(), MapSize::default())?),
        LimitsAdapter::DynamoDb {} => Arc::new(DynamoDbLimits::new(systems.dynamodb()?.clone())),
    })
}

/// Opens the queue of organizations and that of rooms.
pub(super) async fn queues(systems: &Systems<'_>) -> Result<(Arc<dyn Queue>, Arc<dyn Queue>), Failure> {
    match &systems.settings.queue {
        QueueAdapter::Embedded {} => {
            let organizations = SqliteQueue::open(systems.data_dir()?, ORGANIZATION_QUEUE).await?;
            let rooms = organizations.beside(ROOM_QUEUE).await?;
            Ok((Arc::new(organizations), Arc::new(rooms)))
        }
        QueueAdapter::Sqs {} => {
            let sqs = systems.sqs()?;
            let organizations = SqsQueue::open(sqs, ORGANIZATION_QUEUE).await.map_err(opening_queue)?;
            let rooms = SqsQueue::open(sqs, ROOM_QUEUE).await.map_err(opening_queue)?;
            Ok((Arc::new(organizations), Arc::new(rooms)))
        }
    }
}

/// The epoch of the message ids. It belongs to the store of the messages, where a writer fixes it at first use.
pub(super) async fn epoch(systems: &Systems<'_>, access: Access) -> Result<Epoch, Failure> {
    let settings = systems.settings;
    match &settings.messages {
        MessagesAdapter::Embedded {} => {
            let data_dir = systems.data_dir()?;
            let epoch = fixed_epoch(settings, data_dir)?.unwrap_or_default();
            if access != Access::Read {
                data_dir.fix_epoch(epoch).await?;
            }
            Ok(epoch)
        }
        MessagesAdapter::DynamoDb { .. } => {
            let state = DynamoDbState::new(systems.dynamodb()?.clone());
            let asked = settings.epoch()?;
            let fixed = store_epoch(&state).await.map_err(|error| opening("messages", error))?;
            let epoch = asked.or(fixed).unwrap_or_default();
            // Confirms what is fixed, too.
            if access != Access::Read || (asked.is_some() && fixed.is_some()) {
                fix_epoch(&state, epoch).await.map_err(|error| opening("store.epoch", error))?;
            }
            Ok(epoch)
        }
        MessagesAdapter::Sql { .. } => Ok(settings.epoch()?.unwrap_or_default()),
    }
}

/// The epoch that the data directory or the settings have fixed; an error when they disagree.
pub(super) fn fixed_epoch(settings: &Settings, data_dir: &DataDir) -> Result<Option<Epoch>, Failure> {
    match (settings.epoch()?, data_dir.epoch()?) {
        (Some(asked), Some(fixed)) if asked != fixed => {
            Err(OpenError::EpochDisagrees { path: data_dir.path().to_owned(), fixed: fixed.0, asked: asked.0 }.into())
        }
        (asked, fixed) => Ok(fixed.or(asked)),
    }
}

/// What is refused at opening is a matter of the settings or of the system they name.
fn opening(section: &'static str, error: PortError) -> Failure {
    let code = if error.is_temporary() { exit::TEMPORARY } else { exit::CONFIGURATION };
    Failure::new(code, anyhow::Error::new(error).context(format!("settings: {section}")))
}

fn opening_queue(error: QueueError) -> Failure {
    let code = if error.is_temporary() { exit::TEMPORARY } else { exit::CONFIGURATION };
    Failure::new(code, anyhow::Error::new(error).context("settings: queue"))
}
