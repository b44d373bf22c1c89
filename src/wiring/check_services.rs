//! Checks of services and databases. Nothing is made: what is missing is said.

use aws::{DynamoDbLiveIds, SqsQueue, provision};
use chat::{LiveIds, MessageId, PageRequest, RoomId, Timestamp};
use jobs::operate::doctor::{self, Finding, Level};
use jobs::{ORGANIZATION_QUEUE, ROOM_QUEUE};
use sql::{Migrations, SqlDirectory, SqlLedger, SqlLiveIds};

use super::checks::{Check, Free, unfinished_import};
use super::systems::Systems;
use super::{logs, ports};
use crate::exit::Failure;
use crate::settings::{MessagesAdapter, Part, Settings};

const MAKE: &str = "make what is missing: lanner provision, or your own Terraform";

/// The checks of what stands in services and databases.
pub(super) struct Services<'a> {
    settings: &'a Settings,
    free: Free,
}

impl<'a> Services<'a> {
    pub(super) fn new(settings: &'a Settings, free: Free) -> Self {
        Self { settings, free }
    }

    /// The tables, before what stands in them.
    pub(super) fn dynamodb(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("dynamodb", &["settings"], async move {
            let systems = Systems::connect(settings, &Part::ALL).await?;
            let tables = provision::find_tables(systems.dynamodb()?).await?;
            Ok(vec![needed("dynamodb", "tables", tables)])
        })
    }

    pub(super) fn epoch(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("epoch", &["settings"], async move {
            let epoch = ports::epoch(&Systems::connect(settings, &Part::ALL).await?, embedded::Access::Read).await?;
            Ok(vec![Finding::ok("epoch", format!("message ids count from {}", epoch.0))])
        })
    }

    pub(super) fn directory(&self) -> Check<'a> {
        let (settings, free) = (self.settings, self.free.clone());
        Check::new("directory", &["settings"], async move {
            let (database, queries) = ports::sql_directory(settings)?;
            let mut found = Vec::new();
            let (whose, directory) = match queries {
                Some(queries) => {
                    let directory = SqlDirectory::open_chat(&database, &queries).await?;
                    ("the chat's, answered by the configured queries", directory)
                }
                None => {
                    let migrations = SqlDirectory::migrations(&database).await?;
                    found.push(tables("directory", database.url.place(), migrations));
                    // Opened when older, it would be brought up to date.
                    if migrations.applied != migrations.known {
                        return Ok(found);
                    }
                    ("ours", SqlDirectory::open(&database).await?)
                }
            };
            if directory.unfinished_import().await? {
                found.push(unfinished_import());
                return Ok(found);
            }
            found.push(Finding::ok("directory", format!("{}: {whose}", database.url.place())));
            found.extend(slow("directory", directory.warnings()));
            let count = doctor::count_free(&directory).await?;
            // Nobody else sets it.
            let _ = free.set(count);
            found.push(doctor::directory(count));
            Ok(found)
        })
    }

    pub(super) fn ledger(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("ledger", &["settings"], async move {
            let database = ports::sql_ledger(settings)?;
            let migrations = SqlLedger::migrations(&database).await?;
            let mut found = vec![tables("ledger", database.url.place(), migrations)];
            // Opened when older, it would be brought up to date.
            if migrations.applied == migrations.known {
                let ledger = SqlLedger::open(&database).await?;
                found.extend(doctor::ledger(&ledger, Timestamp::now(), settings.retention_ms()?).await?);
            }
            Ok(found)
        })
    }

    pub(super) fn queues(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("queue", &["settings"], async move {
            let systems = Systems::connect(settings, &Part::ALL).await?;
            let sqs = systems.sqs()?;
            let names = [ORGANIZATION_QUEUE, ROOM_QUEUE];
            let queues = provision::find_queues(sqs, &names).await?;
            let all = queues.iter().all(|queue| queue.exists);
            let mut found = vec![needed("queue", "queues", queues)];
            for name in names.iter().filter(|_| all) {
                let queue = SqsQueue::open(sqs, name).await?;
                found.push(doctor::queue(&queue, None).await?);
            }
            Ok(found)
        })
    }

    pub(super) fn dynamodb_messages(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("messages", &["dynamodb"], async move {
            let systems = Systems::connect(settings, &Part::ALL).await?;
            ask(&DynamoDbLiveIds::new(systems.dynamodb()?.clone())).await?;
            Ok(vec![Finding::ok("messages", "the index of live messages answers")])
        })
    }

    pub(super) fn sql_messages(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("messages", &["settings"], async move {
            let database = ports::sql_messages(settings)?;
            let MessagesAdapter::Sql { newest_ids, .. } = &settings.messages else { return Ok(Vec::new()) };
            let live_ids = SqlLiveIds::open_chat(&database, newest_ids).await?;
            ask(&live_ids).await?;
            let words = format!("{}: the configured query answers", database.url.place());
            let mut found = vec![Finding::ok("messages", words)];
            found.extend(slow("messages", live_ids.warnings()));
            Ok(found)
        })
    }

    /// The topics of the log of events.
    pub(super) fn event_log(&self) -> Check<'a> {
        let settings = self.settings;
        Check::new("event log", &["settings"], async move {
            let topics = logs::topics(settings).await?;
            Ok(vec![needed("event log", "topics", topics)])
        })
    }

    pub(super) fn limits(&self) -> Check<'a> {
        let (settings, free) = (self.settings, self.free.clone());
        Check::new("limits", &["dynamodb"], async move {
            let limits = ports::limits(&Systems::connect(settings, &Part::ALL).await?)?;
            Ok(vec![doctor::limits(&*limits, free.get().copied()).await?])
        })
    }
}

/// Asks for one id of one room: does the store answer at all?
async fn ask(live_ids: &dyn LiveIds) -> Result<(), Failure> {
    let request =
        PageRequest { room: RoomId::from_bits(1), below: MessageId::MAX, at_least: MessageId::from_bits(0), limit: 1 };
    live_ids.newest(&[request]).await?;
    Ok(())
}

fn needed(system: &'static str, what: &str, all: Vec<provision::Needed>) -> Finding {
    let names = |exists: bool| {
        let names = all.iter().filter(|one| one.exists == exists).map(|one| one.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    match names(false) {
        missing if missing.is_empty() => Finding::ok(system, format!("{what} {} are there", names(true))),
        missing => Finding::bad(system, Level::Wrong, format!("{what} {missing} do not exist"), MAKE),
    }
}

fn tables(system: &'static str, place: &str, migrations: Migrations) -> Finding {
    let Migrations { applied, known } = migrations;
    match applied {
        0 => Finding::bad(
            system,
            Level::Warning,
            format!("{place} has no tables yet"),
            "lanner provision makes them, or the first command that opens it",
        ),
        _ if applied < known => Finding::bad(
            system,
            Level::Warning,
            format!("{place}: tables of version {applied}, this lanner needs {known}"),
            "the next command that opens it brings them up to date",
        ),
        _ if applied > known => Finding::bad(
            system,
            Level::Wrong,
            format!("{place}: tables of version {applied}, this lanner knows {known}"),
            "use the newer lanner that made them",
        ),
        _ => Finding::ok(system, format!("{place}: tables of version {applied}")),
    }
}

fn slow<'a>(system: &'static str, warnings: &'a [String]) -> impl Iterator<Item = Finding> + use<'a> {
    let advice = "add an index that answers it";
    warnings.iter().map(move |warning| Finding::bad(system, Level::Warning, warning.clone(), advice))
}
