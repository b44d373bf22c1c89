//! Making the tables and queues that the settings name.

use std::sync::Arc;

use aws::provision;
use embedded::{Access, DataDir};
use jobs::{ORGANIZATION_QUEUE, ROOM_QUEUE};
use serde::Serialize;
use sql::{Migrations, SqlDirectory, SqlHeads, SqlLedger, SqlSettings};

use super::systems::Systems;
use super::{logs, ports};
use crate::exit::Failure;
use crate::settings::{
    Credentials, DirectoryAdapter, LedgerAdapter, MessagesAdapter, Owner, Part, QueueAdapter, Settings,
};

/// A table, a queue, or the tables of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Item {
    /// `table`, `queue`, `topic` or `sql_tables`.
    pub(crate) kind: &'static str,
    /// Its name; of tables in SQL what they are for and where.
    pub(crate) name: String,
    /// It is there, as it has to be.
    pub(crate) exists: bool,
    /// It was made, or brought up to date, now.
    pub(crate) made: bool,
}

/// What the settings need to have made.
pub(crate) struct Provision<'a>(Systems<'a>);

impl<'a> Provision<'a> {
    /// Connects to the services.
    pub(crate) async fn open(settings: &'a Settings) -> Result<Self, Failure> {
        Ok(Self(Systems::connect(settings, &Part::ALL).await?))
    }

    /// Services of AWS that may be somebody's production: all that do not take credentials which stand for nobody.
    pub(crate) fn at_aws(&self) -> Vec<&'static str> {
        if self.0.settings.aws.credentials == Credentials::Local {
            return Vec::new();
        }
        let services = [("DynamoDB", self.0.dynamodb().is_ok()), ("SQS", self.0.sqs().is_ok())];
        services.into_iter().filter(|(_, used)| *used).map(|(name, _)| name).collect()
    }

    /// What is needed, and what of it is there. Changes nothing.
    pub(crate) async fn look(&self) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::new();
        if let Ok(db) = self.0.dynamodb() {
            items.extend(provision::find_tables(db).await?.into_iter().map(|found| needed("table", found)));
        }
        if let QueueAdapter::Sqs {} = self.0.settings.queue {
            let names = [ORGANIZATION_QUEUE, ROOM_QUEUE];
            let found = provision::find_queues(self.0.sqs()?, &names).await?;
            items.extend(found.into_iter().map(|found| needed("queue", found)));
        }
        items.extend(logs::topics(self.0.settings).await?.into_iter().map(|found| needed("topic", found)));
        for store in self.stores()? {
            let Migrations { applied, known } = store.migrations().await?;
            items.push(Item { kind: "sql_tables", name: store.name(), exists: applied >= known, made: false });
        }
        Ok(items)
    }

    /// Makes what is missing.
    pub(crate) async fn make(&self) -> Result<Vec<Item>, Failure> {
        let mut items = self.look().await?;
        if let Ok(db) = self.0.dynamodb() {
            provision::create_tables(db).await?;
        }
        if let QueueAdapter::Sqs {} = self.0.settings.queue {
            provision::create_queues(self.0.sqs()?, &[ORGANIZATION_QUEUE, ROOM_QUEUE]).await?;
        }
        logs::make_topics(self.0.settings).await?;
        for store in self.stores()? {
            store.make().await?;
        }
        for item in &mut items {
            (item.made, item.exists) = (!item.exists, true);
        }
        Ok(items)
    }

    /// Opens the ledger, where what was done is noted, and what keeps it open.
    pub(crate) async fn ledger(&self) -> Result<(Arc<dyn chat::Ledger>, Option<DataDir>), Failure> {
        let systems = Systems::open(self.0.settings, Access::Write, "provision").await?;
        Ok((ports::ledger(&systems).await?, systems.keep()))
    }

    /// Our own tables in SQL databases.
    fn stores(&self) -> Result<Vec<Store>, Failure> {
        let settings = self.0.settings;
        let mut stores = Vec::new();
        if let DirectoryAdapter::Sql { owner: Owner::Lanner, .. } = settings.directory {
            stores.push(Store::Directory(ports::sql_directory(settings)?.0));
        }
        if let LedgerAdapter::Sql { .. } = settings.ledger {
            let database = ports::sql_ledger(settings)?;
            if let MessagesAdapter::DynamoDb { .. } = settings.messages {
                stores.push(Store::Heads(database.clone()));
            }
            stores.push(Store::Ledger(database));
        }
        Ok(stores)
    }
}

/// A store with tables of ours in a SQL database.
enum Store {
    Directory(SqlSettings),
    Heads(SqlSettings),
    Ledger(SqlSettings),
}

impl Store {
    fn name(&self) -> String {
        let (what, database) = match self {
            Self::Directory(database) => ("directory", database),
            Self::Heads(database) => ("heads", database),
            Self::Ledger(database) => ("ledger", database),
        };
        format!("{what} in {}", database.url.place())
    }

    async fn migrations(&self) -> chat::PortResult<Migrations> {
        match self {
            Self::Directory(database) => SqlDirectory::migrations(database).await,
            Self::Heads(database) => SqlHeads::migrations(database).await,
            Self::Ledger(database) => SqlLedger::migrations(database).await,
        }
    }

    async fn make(&self) -> chat::PortResult<()> {
        match self {
            Self::Directory(database) => SqlDirectory::open(database).await.map(drop),
            Self::Heads(database) => SqlHeads::open(database).await.map(drop),
            Self::Ledger(database) => SqlLedger::open(database).await.map(drop),
        }
    }
}

fn needed(kind: &'static str, found: provision::Needed) -> Item {
    Item { kind, name: found.name, exists: found.exists, made: false }
}
