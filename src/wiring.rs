//! Settings to ports. The only file that names an adapter, with those that check one.

mod check_embedded;

use std::sync::Arc;

use chat::Epoch;
use embedded::{
    EmbeddedDump, EmbeddedLoad, LmdbHeads, LmdbLimits, LmdbLiveIds, LmdbMessages, MapSize, OpenError, PackedIndex,
    SqliteDirectory, SqliteLedger, SqliteQueue,
};
use futures::future::BoxFuture;
use import::export::ExportSource;
use jobs::operate::doctor::Finding;
use jobs::{ORGANIZATION_QUEUE, Ports, ROOM_QUEUE};

use crate::exit::{self, Failure};
use crate::settings::{Adapter, Settings};

pub(crate) use embedded::{Access, DataDir};

/// Ports, and what keeps them open.
pub(crate) struct Opened {
    pub(crate) ports: Ports,
    /// The directory for changes: it is Lanner's own.
    pub(crate) owned_directory: Arc<dyn chat::OwnedDirectory>,
    _data_dir: DataDir,
}

/// Opens everything the settings name, for `command`.
pub(crate) async fn open(settings: &Settings, access: Access, command: &str) -> Result<Opened, Failure> {
    let data_dir = data_dir(settings, access, command).await?;
    let epoch = epoch(settings, &data_dir, access).await?;
    let directory = whole_directory(settings, &data_dir).await?;
    let (live_ids, heads): (Arc<dyn chat::LiveIds>, Arc<dyn chat::Heads>) = match &settings.messages {
        Adapter::Embedded {} => {
            let index = index(&data_dir, epoch)?;
            (Arc::new(LmdbLiveIds::new(index.clone())), Arc::new(LmdbHeads::new(index)))
        }
    };
    let Run { ledger, limits, organization_queue, room_queue } = run_stores(settings, &data_dir).await?;
    let directory = Arc::new(directory);
    let ports =
        Ports { directory: directory.clone(), heads, live_ids, limits, ledger, organization_queue, room_queue, epoch };
    Ok(Opened { ports, owned_directory: directory, _data_dir: data_dir })
}

/// Opens the data directory alone.
pub(crate) async fn data_dir(settings: &Settings, access: Access, command: &str) -> Result<DataDir, Failure> {
    DataDir::open(&settings.data.dir, access, command).await.map_err(Failure::from)
}

/// Opens the directory of organizations alone.
pub(crate) async fn directory(settings: &Settings, data_dir: &DataDir) -> Result<SqliteDirectory, Failure> {
    match &settings.directory {
        Adapter::Embedded {} => Ok(SqliteDirectory::open(data_dir).await?),
    }
}

/// Opens the directory of organizations; refuses one whose import is not finished.
async fn whole_directory(settings: &Settings, data_dir: &DataDir) -> Result<SqliteDirectory, Failure> {
    let directory = directory(settings, data_dir).await?;
    if directory.unfinished_import().await? {
        return Err(Failure::new(
            exit::TEMPORARY,
            anyhow::anyhow!("an import is not finished: run the same `lanner import` again"),
        ));
    }
    Ok(directory)
}

/// Opens what messages say.
pub(crate) fn messages(settings: &Settings, data_dir: &DataDir) -> Result<Arc<dyn chat::Messages>, Failure> {
    match &settings.messages {
        Adapter::Embedded {} => Ok(Arc::new(LmdbMessages::open(&data_dir.messages(), MapSize::default())?)),
    }
}

/// Opens everything that an export reads; `data_dir` is opened for writing, which keeps imports out.
pub(crate) async fn export_source(settings: &Settings, data_dir: &DataDir) -> Result<ExportSource, Failure> {
    let epoch = epoch(settings, data_dir, Access::Write).await?;
    let directory = whole_directory(settings, data_dir).await?;
    let dump = Arc::new(EmbeddedDump::new(directory, index(data_dir, epoch)?));
    let messages = messages(settings, data_dir)?;
    let limits = run_stores(settings, data_dir).await?.limits;
    Ok(ExportSource { dump, messages, limits, epoch })
}

/// Opens the data directory for an import.
pub(crate) async fn load(data_dir: &DataDir) -> Result<EmbeddedLoad, Failure> {
    Ok(EmbeddedLoad::open(data_dir, MapSize::default()).await?)
}

/// What a run writes to.
pub(crate) struct Run {
    pub(crate) ledger: Arc<dyn chat::Ledger>,
    pub(crate) limits: Arc<dyn chat::Limits>,
    pub(crate) organization_queue: Arc<dyn worker::Queue>,
    pub(crate) room_queue: Arc<dyn worker::Queue>,
}

/// Opens what a run writes to; made where it is missing, so that readers find it.
pub(crate) async fn run_stores(settings: &Settings, data_dir: &DataDir) -> Result<Run, Failure> {
    let ledger = match &settings.ledger {
        Adapter::Embedded {} => Arc::new(SqliteLedger::open(data_dir).await?),
    };
    let limits = match &settings.limits {
        Adapter::Embedded {} => Arc::new(LmdbLimits::open(&data_dir.limits(), MapSize::default())?),
    };
    let organization_queue = match &settings.queue {
        Adapter::Embedded {} => SqliteQueue::open(data_dir, ORGANIZATION_QUEUE).await?,
    };
    let room_queue = Arc::new(organization_queue.beside(ROOM_QUEUE).await?);
    Ok(Run { ledger, limits, organization_queue: Arc::new(organization_queue), room_queue })
}

/// Opens the index of message ids alone.
pub(crate) fn index(data_dir: &DataDir, epoch: Epoch) -> Result<PackedIndex, Failure> {
    Ok(PackedIndex::open(&data_dir.live_ids(), MapSize::default(), epoch)?)
}

/// One system that can be checked, and how. Reads only, and waits for no writer.
pub(crate) struct Check<'a> {
    /// The system.
    pub(crate) system: &'static str,
    /// Systems without which it cannot be looked at.
    pub(crate) needs: &'static [&'static str],
    /// The look at it.
    pub(crate) look: BoxFuture<'a, Vec<Finding>>,
}

/// A check of every configured system, what others need first.
pub(crate) fn checks(settings: &Settings) -> Vec<Check<'_>> {
    let embedded = check_embedded::Embedded::new(settings);
    let mut checks = vec![embedded.data_directory(), embedded.epoch()];
    checks.push(match &settings.directory {
        Adapter::Embedded {} => embedded.directory(),
    });
    checks.push(match &settings.ledger {
        Adapter::Embedded {} => embedded.ledger(),
    });
    checks.push(match &settings.queue {
        Adapter::Embedded {} => embedded.queues(),
    });
    checks.push(match &settings.messages {
        Adapter::Embedded {} => embedded.messages(),
    });
    checks.push(match &settings.limits {
        Adapter::Embedded {} => embedded.limits(),
    });
    checks
}

/// The epoch that the data directory or the settings have fixed; an error when they disagree.
pub(crate) fn fixed_epoch(settings: &Settings, data_dir: &DataDir) -> Result<Option<Epoch>, Failure> {
    match (settings.epoch()?, data_dir.epoch()?) {
        (Some(asked), Some(fixed)) if asked != fixed => {
            Err(OpenError::EpochDisagrees { path: data_dir.path().to_owned(), fixed: fixed.0, asked: asked.0 }.into())
        }
        (asked, fixed) => Ok(fixed.or(asked)),
    }
}

/// The store's epoch, which a writer fixes at first use.
async fn epoch(settings: &Settings, data_dir: &DataDir, access: Access) -> Result<Epoch, Failure> {
    let epoch = fixed_epoch(settings, data_dir)?.unwrap_or_default();
    if access != Access::Read {
        data_dir.fix_epoch(epoch).await?;
    }
    Ok(epoch)
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
