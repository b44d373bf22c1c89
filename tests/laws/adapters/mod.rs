//! All adapters that stand under the laws: a table per port, a row per adapter.
//!
//! A row says how to open the adapter over a folder, with `Err(why)` where that is not possible here, and which laws it is
//! excepted from. The `flaky_` ones fail on demand.

pub(crate) mod aws;
mod embedded;
mod kafka;
mod sql;

use std::path::PathBuf;
use std::sync::Arc;

use ::aws::{DynamoDb, DynamoDbLimits, DynamoDbLiveIds, DynamoDbMessages, DynamoDbState};
use ::embedded::{EmbeddedDump, LmdbHeads, LmdbLiveIds};
use chat::{Heads, Ledger, Limits, LiveIds, Memberships, Messages, NoHeads, OwnedDirectory};
use import::Dump;
use support::{Faults, Flaky, SqlServer};
use worker::{Log, Queue, State};

use self::embedded::{directory, dump, index, ledger, limits, log, messages, queue, state};
use crate::directory::DirectoryWriter;
use crate::dump::Loader;
use crate::live_ids::MessageWriter;
use crate::load::Store;
use crate::memberships::Surroundings;
use crate::messages::BodyWriter;
use crate::random;
use crate::suite::{Adapter, Law, Prepared, adapters};

adapters! {
    directory: crate::directory::Store;
    sqlite(folder) => Ok(embedded::directory_store(folder, |directory| Arc::new(directory)).await), excepts no_law;
    flaky_sqlite(folder) => {
        Ok(embedded::directory_store(folder, |directory| Arc::new(flaky(directory))).await)
    }, excepts exact_laws;
    mysql(folder) => sql::directory_store(SqlServer::MySql, folder).await, excepts no_law;
    postgres(folder) => sql::directory_store(SqlServer::Postgres, folder).await, excepts no_law;
}

adapters! {
    dump: Prepared<dyn Dump, dyn Loader>;
    embedded(folder) => {
        let (dump, loader): (EmbeddedDump, _) = dump(folder).await;
        Ok(Prepared { port: Arc::new(dump), writer: Arc::new(loader) })
    }, excepts no_law;
    flaky_embedded(folder) => {
        let (dump, loader) = dump(folder).await;
        Ok(Prepared { port: Arc::new(flaky(dump)), writer: Arc::new(loader) })
    }, excepts exact_laws;
}

adapters! {
    load: Store;
    embedded(folder) => Ok(embedded::load(folder).await), excepts embedded::load_excepts;
    mysql_dynamodb(folder) => sql::load(SqlServer::MySql, folder, aws::Way::Straight).await, excepts no_law;
    postgres_dynamodb(folder) => sql::load(SqlServer::Postgres, folder, aws::Way::Straight).await, excepts no_law;
    postgres_faulty_dynamodb(folder) => sql::load(SqlServer::Postgres, folder, aws::FAULTY).await, excepts no_law;
}

adapters! {
    owned_directory: Prepared<dyn OwnedDirectory, dyn DirectoryWriter>;
    sqlite(folder) => {
        let directory = directory(folder).await;
        Ok(Prepared { port: Arc::new(directory.clone()), writer: Arc::new(directory) })
    }, excepts no_law;
    flaky_sqlite(folder) => {
        let directory = directory(folder).await;
        Ok(Prepared { port: Arc::new(flaky(directory.clone())), writer: Arc::new(directory) })
    }, excepts exact_laws;
    mysql(folder) => {
        let directory = sql::directory(SqlServer::MySql, folder).await?;
        Ok(Prepared { port: Arc::new(directory.clone()), writer: Arc::new(directory) })
    }, excepts no_law;
    postgres(folder) => {
        let directory = sql::directory(SqlServer::Postgres, folder).await?;
        Ok(Prepared { port: Arc::new(directory.clone()), writer: Arc::new(directory) })
    }, excepts no_law;
}

adapters! {
    memberships: Prepared<dyn Memberships, dyn Surroundings>;
    sqlite(folder) => {
        let directory = directory(folder).await;
        Ok(Prepared { port: Arc::new(directory.clone()), writer: Arc::new(directory) })
    }, excepts no_law;
    flaky_sqlite(folder) => {
        let directory = directory(folder).await;
        Ok(Prepared { port: Arc::new(flaky(directory.clone())), writer: Arc::new(directory) })
    }, excepts exact_laws;
    mysql(folder) => {
        let directory = sql::directory(SqlServer::MySql, folder).await?;
        Ok(Prepared { port: Arc::new(directory.clone()), writer: Arc::new(directory) })
    }, excepts no_law;
    postgres(folder) => {
        let directory = sql::directory(SqlServer::Postgres, folder).await?;
        Ok(Prepared { port: Arc::new(directory.clone()), writer: Arc::new(directory) })
    }, excepts no_law;
}

adapters! {
    live_ids: Prepared<dyn LiveIds, dyn MessageWriter>;
    lmdb(folder) => {
        let index = index(folder);
        Ok(Prepared { port: Arc::new(LmdbLiveIds::new(index.clone())), writer: Arc::new(index) })
    }, excepts no_law;
    flaky_lmdb(folder) => {
        let index = index(folder);
        Ok(Prepared { port: Arc::new(flaky(LmdbLiveIds::new(index.clone()))), writer: Arc::new(index) })
    }, excepts exact_laws;
    mysql(folder) => sql::live_ids(SqlServer::MySql, folder).await, excepts no_law;
    postgres(folder) => sql::live_ids(SqlServer::Postgres, folder).await, excepts no_law;
    dynamodb(folder) => Ok(live_ids_of(aws::dynamodb(&folder, aws::Way::Straight).await?)), excepts aws::live_ids_excepts;
    faulty_dynamodb(folder) => Ok(live_ids_of(aws::dynamodb(&folder, aws::FAULTY).await?)), excepts aws::live_ids_excepts;
}

fn live_ids_of(db: DynamoDb) -> Prepared<dyn LiveIds, dyn MessageWriter> {
    Prepared { port: Arc::new(DynamoDbLiveIds::new(db.clone())), writer: Arc::new(DynamoDbMessages::new(db)) }
}

adapters! {
    heads: Prepared<dyn Heads, dyn MessageWriter>;
    no_heads(folder) => Ok(Prepared { port: Arc::new(NoHeads), writer: Arc::new(index(folder)) }), excepts all_but_the_bound;
    lmdb(folder) => {
        let index = index(folder);
        Ok(Prepared { port: Arc::new(LmdbHeads::new(index.clone())), writer: Arc::new(index) })
    }, excepts no_law;
    flaky_lmdb(folder) => {
        let index = index(folder);
        Ok(Prepared { port: Arc::new(flaky(LmdbHeads::new(index.clone()))), writer: Arc::new(index) })
    }, excepts exact_laws;
    mysql(folder) => {
        let heads = sql::heads(SqlServer::MySql, folder).await?;
        Ok(Prepared { port: Arc::new(heads.clone()), writer: Arc::new(heads) })
    }, excepts no_law;
    postgres(folder) => {
        let heads = sql::heads(SqlServer::Postgres, folder).await?;
        Ok(Prepared { port: Arc::new(heads.clone()), writer: Arc::new(heads) })
    }, excepts no_law;
}

adapters! {
    messages: Prepared<dyn Messages, dyn BodyWriter>;
    lmdb(folder) => {
        let messages = messages(folder);
        Ok(Prepared { port: Arc::new(messages.clone()), writer: Arc::new(messages) })
    }, excepts no_law;
    flaky_lmdb(folder) => {
        let messages = messages(folder);
        Ok(Prepared { port: Arc::new(flaky(messages.clone())), writer: Arc::new(messages) })
    }, excepts exact_laws;
    dynamodb(folder) => Ok(messages_of(aws::dynamodb(&folder, aws::Way::Straight).await?)), excepts aws::messages_excepts;
    faulty_dynamodb(folder) => Ok(messages_of(aws::dynamodb(&folder, aws::FAULTY).await?)), excepts aws::messages_excepts;
}

adapters! {
    message_store: crate::messages::store::Store;
    lmdb(folder) => Ok(embedded::message_store(folder, |store| Arc::new(store))), excepts no_law;
    flaky_lmdb(folder) => Ok(embedded::message_store(folder, |store| Arc::new(flaky(store)))), excepts exact_laws;
    dynamodb(folder) => {
        let db = aws::dynamodb(&folder, aws::Way::Straight).await?;
        Ok(aws::message_store(DynamoDbMessages::new(db.clone()), db))
    }, excepts no_law;
    faulty_dynamodb(folder) => {
        let straight = aws::dynamodb(&folder, aws::Way::Straight).await?;
        let faulty = aws::dynamodb(&folder, aws::FAULTY).await?;
        Ok(aws::message_store(DynamoDbMessages::new(faulty), straight))
    }, excepts exact_laws;
}

fn messages_of(db: DynamoDb) -> Prepared<dyn Messages, dyn BodyWriter> {
    let messages = DynamoDbMessages::new(db);
    Prepared { port: Arc::new(messages.clone()), writer: Arc::new(messages) }
}

adapters! {
    limits: Arc<dyn Limits>;
    lmdb(folder) => Ok(Arc::new(limits(folder))), excepts no_law;
    flaky_lmdb(folder) => Ok(Arc::new(flaky(limits(folder)))), excepts exact_laws;
    dynamodb(folder) => Ok(Arc::new(DynamoDbLimits::new(aws::dynamodb(&folder, aws::Way::Straight).await?))), excepts no_law;
    faulty_dynamodb(folder) => Ok(Arc::new(DynamoDbLimits::new(aws::dynamodb(&folder, aws::FAULTY).await?))), excepts exact_laws;
}

adapters! {
    ledger: Arc<dyn Ledger>;
    sqlite(folder) => Ok(Arc::new(ledger(folder).await)), excepts no_law;
    flaky_sqlite(folder) => Ok(Arc::new(flaky(ledger(folder).await))), excepts exact_laws;
    mysql(folder) => Ok(Arc::new(sql::ledger(SqlServer::MySql, folder).await?)), excepts no_law;
    postgres(folder) => Ok(Arc::new(sql::ledger(SqlServer::Postgres, folder).await?)), excepts no_law;
}

adapters! {
    queue: Arc<dyn Queue>;
    sqlite(folder) => Ok(Arc::new(queue(folder).await)), excepts no_law;
    flaky_sqlite(folder) => Ok(Arc::new(flaky(queue(folder).await))), excepts exact_laws;
    sqs(folder) => Ok(Arc::new(aws::queue(&folder, aws::Way::Straight).await?)), excepts aws::queue_excepts;
    faulty_sqs(folder) => Ok(Arc::new(aws::queue(&folder, aws::FAULTY).await?)), excepts exact_laws;
}

adapters! {
    log: Arc<dyn Log>;
    lmdb(folder) => Ok(Arc::new(log(folder))), excepts no_law;
    kafka(folder) => Ok(Arc::new(kafka::log(&folder).await?)), excepts no_law;
}

adapters! {
    state: Arc<dyn State>;
    sqlite(folder) => Ok(Arc::new(state(folder).await)), excepts no_law;
    flaky_sqlite(folder) => Ok(Arc::new(flaky(state(folder).await))), excepts exact_laws;
    dynamodb(folder) => Ok(Arc::new(DynamoDbState::new(aws::dynamodb(&folder, aws::Way::Straight).await?))), excepts no_law;
    faulty_dynamodb(folder) => Ok(Arc::new(DynamoDbState::new(aws::dynamodb(&folder, aws::FAULTY).await?))), excepts exact_laws;
}

/// Fails in every third call.
fn flaky<T>(adapter: T) -> Flaky<T> {
    Flaky::new(adapter, Faults::new(random::seed(), 33))
}

/// Keeps every law.
/// What keeps no heads answers none of those that were raised.
fn all_but_the_bound(law: Law) -> Option<&'static str> {
    (law.name != "a_head_never_understates_the_newest_id").then_some("it keeps no heads")
}

fn no_law(_: Law) -> Option<&'static str> {
    None
}

/// Fails on demand.
fn exact_laws(law: Law) -> Option<&'static str> {
    law.exact.then_some("a call whose answer was lost is repeated and finds its own effect")
}
