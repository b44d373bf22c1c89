//! What the services and jobs of the message path are connected to.

use std::sync::Arc;

use api::Keys;
use aws::{DynamoDbMessages, DynamoDbState};
use chat::{Directory, Epoch, Heads, MessageStore, NoHeads};
use embedded::{Access, DataDir, LmdbMessageStore, LmdbMessages, MapSize, SqliteState};
use jobs::limits::follow_limits::FollowPorts;
use jobs::messages::serve_reads::ReadPorts;
use jobs::messages::serve_writes::WritePorts;
use jobs::messages::{EVENT_LOG, MessagePorts, READABLE_LOG};
use worker::{Log, State};

use super::ports::OpenedDirectory;
use super::systems::Systems;
use super::{keys, logs, ports};
use crate::exit::{self, Failure};
use crate::settings::{DirectoryAdapter, MessagesAdapter, Owner, Part, Settings, StateAdapter};

/// The systems of the message path, opened for one or several of its services.
pub(crate) struct MessagePath<'a> {
    systems: Systems<'a>,
    epoch: Epoch,
    events: Arc<dyn Log>,
    directory: OpenedDirectory,
}

/// Opens the keys of bearer tokens, and who is who.
pub(crate) async fn open_issuer(settings: &Settings) -> Result<(Keys, Arc<dyn Directory>), Failure> {
    // The same data directory as that of who checks them.
    let systems = Systems::open_parts(settings, Access::Write, "token", &MessagePath::WRITES).await?;
    let keys = keys::keys(settings, systems.data_dir().ok())?;
    Ok((keys, ports::directory(&systems).await?.reads))
}

/// Opens the small records, for reading alone; none where no job has ever made any in this data directory.
pub(crate) async fn open_state(settings: &Settings, command: &str) -> Result<Option<OpenedState>, Failure> {
    let systems = Systems::open_parts(settings, Access::Read, command, &[Part::State]).await?;
    if systems.data_dir().is_ok_and(|data_dir| !data_dir.state_sqlite().exists()) {
        return Ok(None);
    }
    Ok(Some(OpenedState { state: state(&systems).await?, _data_dir: systems.keep() }))
}

/// Small records, and what keeps them open.
pub(crate) struct OpenedState {
    pub(crate) state: Arc<dyn State>,
    _data_dir: Option<DataDir>,
}

async fn state(systems: &Systems<'_>) -> Result<Arc<dyn State>, Failure> {
    Ok(match &systems.settings.state {
        StateAdapter::Embedded {} => Arc::new(SqliteState::open(systems.data_dir()?).await?),
        StateAdapter::DynamoDb {} => Arc::new(DynamoDbState::new(systems.dynamodb()?.clone())),
    })
}

impl<'a> MessagePath<'a> {
    /// What `serve-writes` needs; the store of messages for its epoch alone.
    pub(crate) const WRITES: [Part; 4] = [Part::Directory, Part::Messages, Part::EventLog, Part::State];
    /// What `build-read-model` needs.
    pub(crate) const READ_MODEL: [Part; 5] =
        [Part::Directory, Part::Messages, Part::Ledger, Part::EventLog, Part::State];
    /// What `serve-reads` needs.
    pub(crate) const READS: [Part; 4] = [Part::Directory, Part::Messages, Part::Limits, Part::EventLog];

    /// What `follow-limits` needs; the ledger for the heads of rooms beside it, and for the history.
    pub(crate) const FOLLOW: [Part; 6] =
        [Part::Directory, Part::Messages, Part::Limits, Part::Ledger, Part::EventLog, Part::State];

    /// Opens what these parts need, and what all services share.
    pub(crate) async fn open(settings: &'a Settings, command: &str, parts: &[Part]) -> Result<Self, Failure> {
        if let DirectoryAdapter::Sql { owner: Owner::Chat, participant, .. } = &settings.directory
            && participant.trim().is_empty()
        {
            let words = "settings: directory.participant is empty: with directory.owner = \"chat\" the message path asks by this query \
                         who is in which room";
            return Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)));
        }
        let systems = Systems::open_parts(settings, Access::Write, command, parts).await?;
        let epoch = ports::epoch(&systems, Access::Write).await?;
        let events = logs::log(&systems, EVENT_LOG).await?;
        let directory = ports::directory(&systems).await?;
        Ok(Self { systems, epoch, events, directory })
    }

    /// What accepts is connected to.
    pub(crate) async fn writes(&self) -> Result<WritePorts, Failure> {
        Ok(WritePorts {
            events: Arc::clone(&self.events),
            directory: Arc::clone(&self.directory.reads),
            state: state(&self.systems).await?,
            epoch: self.epoch,
        })
    }

    /// What makes the read model is connected to.
    pub(crate) async fn read_model(&self) -> Result<MessagePorts, Failure> {
        let owns_memberships = self.systems.settings.owns_memberships();
        let (messages, heads) = self.message_store().await?;
        Ok(MessagePorts {
            events: Arc::clone(&self.events),
            readable: logs::log(&self.systems, READABLE_LOG).await?,
            messages,
            memberships: owns_memberships.then(|| Arc::clone(&self.directory.memberships)),
            heads,
            ledger: ports::ledger(&self.systems).await?,
            state: state(&self.systems).await?,
            epoch: self.epoch,
        })
    }

    /// What readers are answered from.
    pub(crate) async fn reads(&self) -> Result<ReadPorts, Failure> {
        Ok(ReadPorts {
            directory: Arc::clone(&self.directory.reads),
            messages: ports::messages(&self.systems)?,
            limits: ports::limits(&self.systems)?,
            events: Arc::clone(&self.events),
            policies: self.systems.settings.policies().clone(),
            epoch: self.epoch,
            log_epoch: self.systems.settings.event_log.epoch(),
        })
    }

    /// What `follow-limits` is connected to.
    pub(crate) async fn follow(&self) -> Result<FollowPorts, Failure> {
        if let DirectoryAdapter::Sql { owner: Owner::Chat, changed_organizations, .. } =
            &self.systems.settings.directory
            && changed_organizations.trim().is_empty()
        {
            let words = "settings: directory.changed_organizations is empty: with directory.owner = \"chat\" follow-limits hears by this \
                         query of plans and accounts that change";
            return Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)));
        }
        let (live_ids, heads) = ports::live_ids(&self.systems, self.epoch).await?;
        Ok(FollowPorts {
            readable: logs::log(&self.systems, READABLE_LOG).await?,
            directory: Arc::clone(&self.directory.reads),
            heads,
            live_ids,
            limits: ports::limits(&self.systems)?,
            ledger: ports::ledger(&self.systems).await?,
            state: state(&self.systems).await?,
            policies: self.systems.settings.policies().clone(),
            epoch: self.epoch,
        })
    }

    /// The keys of bearer tokens.
    pub(crate) fn keys(&self) -> Result<Arc<Keys>, Failure> {
        Ok(Arc::new(keys::keys(self.systems.settings, self.systems.data_dir().ok())?))
    }

    /// The writing side of the messages, and of heads where it does not write them itself.
    async fn message_store(&self) -> Result<(Arc<dyn MessageStore>, Arc<dyn Heads>), Failure> {
        match &self.systems.settings.messages {
            MessagesAdapter::Embedded {} => {
                let data_dir = self.systems.data_dir()?;
                let messages = LmdbMessages::open(&data_dir.messages(), MapSize::default())?;
                let index = ports::index(data_dir, self.epoch)?;
                Ok((Arc::new(LmdbMessageStore::new(messages, index)), Arc::new(NoHeads)))
            }
            MessagesAdapter::DynamoDb { .. } => {
                let messages = Arc::new(DynamoDbMessages::new(self.systems.dynamodb()?.clone()));
                Ok((messages, ports::heads(&self.systems).await?))
            }
            MessagesAdapter::Sql { .. } => {
                let words = "settings: messages.adapter = \"sql\" is an existing chat's database, which is only read: the message \
                             path writes to embedded or dynamodb";
                Err(Failure::new(exit::CONFIGURATION, anyhow::anyhow!(words)))
            }
        }
    }
}
