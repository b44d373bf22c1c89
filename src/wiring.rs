//! Settings to ports. Here and in the files below alone adapters are named.
//!
//! - [`mod@systems`]: what several ports share: the data directory, the connections to services
//! - [`mod@ports`]: each port from its settings
//! - [`mod@keys`]: the keys of bearer tokens
//! - [`mod@logs`]: the logs of the message path
//! - [`mod@message_path`]: what its services and jobs are connected to
//! - [`mod@checks`]: a look at each system for `lanner doctor`
//! - [`mod@provision`]: making tables and queues

mod check_embedded;
mod check_services;
mod checks;
mod keys;
mod logs;
mod message_path;
mod ports;
mod provision;
mod systems;

use std::path::PathBuf;
use std::sync::Arc;

use aws::{DynamoDbLoad, DynamoDbState, store_epoch};
use chat::{Epoch, Messages};
use embedded::{DataDir, EmbeddedDump, EmbeddedLoad, MapSize, OpenError};
use import::export::ExportSource;
use import::{JoinedLoad, Load, NameKind};
use jobs::Ports;
use sql::SqlLoad;

use self::systems::Systems;
use crate::exit::{self, Failure};
use crate::settings::{DirectoryAdapter, MessagesAdapter, Settings};

pub(crate) use self::checks::{Check, checks};
pub(crate) use self::message_path::{MessagePath, open_issuer, open_state};
pub(crate) use self::provision::{Item, Provision};
pub(crate) use embedded::Access;

/// Ports, and what keeps them open.
pub(crate) struct Opened {
    pub(crate) ports: Ports,
    /// The directory for changes, which it refuses where it is a chat's.
    pub(crate) owned_directory: Arc<dyn chat::OwnedDirectory>,
    _data_dir: Option<DataDir>,
}

/// Opens everything the settings name, for `command`.
pub(crate) async fn open(settings: &Settings, access: Access, command: &str) -> Result<Opened, Failure> {
    let systems = Systems::open(settings, access, command).await?;
    let epoch = ports::epoch(&systems, access).await?;
    let directory = ports::directory(&systems).await?;
    let (live_ids, heads) = ports::live_ids(&systems, epoch).await?;
    let ledger = ports::ledger(&systems).await?;
    let limits = ports::limits(&systems)?;
    let (organization_queue, room_queue) = ports::queues(&systems).await?;
    let ports =
        Ports { directory: directory.reads, heads, live_ids, limits, ledger, organization_queue, room_queue, epoch };
    Ok(Opened { ports, owned_directory: directory.owned, _data_dir: systems.keep() })
}

/// What messages say.
pub(crate) struct OpenedMessages {
    pub(crate) messages: Arc<dyn Messages>,
    pub(crate) epoch: Epoch,
    names: ports::Names,
    _data_dir: Option<DataDir>,
}

impl OpenedMessages {
    /// The names of accounts, in the order of the question; none where the directory keeps none.
    pub(crate) async fn names_of(&self, accounts: &[u64]) -> Result<Vec<Option<String>>, Failure> {
        self.names.of(NameKind::Account, accounts).await
    }
}

/// Opens what messages say, for reading.
pub(crate) async fn open_messages(settings: &Settings, command: &str) -> Result<OpenedMessages, Failure> {
    let systems = Systems::open(settings, Access::Read, command).await?;
    let messages = ports::messages(&systems)?;
    let epoch = ports::epoch(&systems, Access::Read).await?;
    let names = ports::Names::open(&systems).await?;
    Ok(OpenedMessages { messages, epoch, names, _data_dir: systems.keep() })
}

/// Opens everything that an export reads, and keeps imports out meanwhile.
pub(crate) async fn open_export(settings: &Settings) -> Result<(ExportSource, Option<DataDir>), Failure> {
    let embedded = matches!(settings.directory, DirectoryAdapter::Embedded {})
        && matches!(settings.messages, MessagesAdapter::Embedded {});
    if !embedded {
        let words = "export reads embedded stores only: set directory.adapter and messages.adapter to embedded";
        return Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)));
    }
    // A directory that holds nothing is an error, and is not made: only then it is opened so that no import comes in between.
    drop(Systems::open(settings, Access::Read, "export").await?);
    let systems = Systems::open(settings, Access::Write, "export").await?;
    let epoch = ports::epoch(&systems, Access::Write).await?;
    let directory = ports::whole_directory(systems.data_dir()?).await?;
    let dump = Arc::new(EmbeddedDump::new(directory, ports::index(systems.data_dir()?, epoch)?));
    let messages = ports::messages(&systems)?;
    let limits = ports::limits(&systems)?;
    Ok((ExportSource { dump, messages, limits, epoch }, systems.keep()))
}

/// Where an import goes.
pub(crate) struct OpenedImport {
    pub(crate) ledger: Arc<dyn chat::Ledger>,
    pub(crate) load: Box<dyn Load>,
    /// The epoch that is fixed already, if any.
    pub(crate) epoch: Option<Epoch>,
    /// A folder with the room for temporary files.
    pub(crate) scratch: PathBuf,
    _data_dir: Option<DataDir>,
}

/// Opens the stores for an import.
pub(crate) async fn open_import(settings: &Settings) -> Result<OpenedImport, Failure> {
    let systems = Systems::open(settings, Access::Exclusive, "import").await?;
    let ledger = ports::ledger(&systems).await?;
    // Made with it, so that readers find them.
    ports::limits(&systems)?;
    ports::queues(&systems).await?;
    let (load, epoch, scratch): (Box<dyn Load>, _, _) = match (&settings.directory, &settings.messages) {
        (DirectoryAdapter::Embedded {}, MessagesAdapter::Embedded {}) => {
            let data_dir = systems.data_dir()?;
            let load = EmbeddedLoad::open(data_dir, MapSize::default()).await?;
            (Box::new(load), ports::fixed_epoch(settings, data_dir)?, data_dir.path().to_owned())
        }
        (DirectoryAdapter::Sql { .. }, MessagesAdapter::DynamoDb { .. }) => {
            let directory = Box::new(SqlLoad::new(&ports::open_sql_directory(settings).await?)?);
            let db = systems.dynamodb()?;
            let load = JoinedLoad::new(directory, Box::new(DynamoDbLoad::new(db)), Some(ports::heads(&systems).await?));
            let fixed = store_epoch(&DynamoDbState::new(db.clone())).await?;
            (Box::new(load), settings.epoch()?.or(fixed), std::env::temp_dir())
        }
        _ => {
            let words = "an import writes both directory and messages to embedded stores, or the directory to sql and the \
                         messages to dynamodb: set directory.adapter and messages.adapter so";
            return Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)));
        }
    };
    Ok(OpenedImport { ledger, load, epoch, scratch, _data_dir: systems.keep() })
}

/// What an import that changes nothing needs to know: a folder for temporary files, and the epoch that is fixed already.
pub(crate) async fn import_facts(settings: &Settings) -> Result<(PathBuf, Option<Epoch>), Failure> {
    // A data directory that is there has the room for temporary files that the import will need.
    if !settings.data.dir.join("store.json").is_file() {
        return Ok((std::env::temp_dir(), settings.epoch()?));
    }
    let systems = Systems::open(settings, Access::Read, "import").await?;
    let data_dir = systems.data_dir()?;
    Ok((data_dir.path().to_owned(), ports::fixed_epoch(settings, data_dir)?))
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Missing { .. } => exit::USAGE,
            error if error.is_temporary() => exit::TEMPORARY,
            _ => exit::CONFIGURATION,
        };
        Self::new(code, error)
    }
}
