//! A look at each system that the settings name, what others need first. Reads only, and waits for no writer.

use std::sync::{Arc, OnceLock};

use futures::future::{BoxFuture, FutureExt as _};
use jobs::operate::doctor::{Count, Finding, Level};

use super::check_embedded::Embedded;
use super::check_services::Services;
use super::systems::uses_dynamodb;
use crate::exit::{self, Failure};
use crate::settings::{
    DirectoryAdapter, EventLogAdapter, LedgerAdapter, LimitsAdapter, MessagesAdapter, Part, QueueAdapter, Settings,
};

/// One system that can be checked, and how.
pub(crate) struct Check<'a> {
    /// The system.
    pub(crate) system: &'static str,
    /// Systems without which it cannot be looked at.
    pub(crate) needs: &'static [&'static str],
    /// The look at it.
    pub(crate) look: BoxFuture<'a, Vec<Finding>>,
}

impl<'a> Check<'a> {
    pub(super) fn new(
        system: &'static str,
        needs: &'static [&'static str],
        look: impl Future<Output = Result<Vec<Finding>, Failure>> + Send + 'a,
    ) -> Self {
        let look = look.map(move |found| found.unwrap_or_else(|failure| vec![of_failure(system, &failure)])).boxed();
        Self { system, needs, look }
    }
}

/// Free organizations, once they are counted: by the check of the directory, for that of the limits.
pub(super) type Free = Arc<OnceLock<Count>>;

/// A check of every configured system, what others need first.
pub(crate) fn checks(settings: &Settings) -> Vec<Check<'_>> {
    let free = Free::default();
    let embedded = Embedded::new(settings, free.clone());
    let services = Services::new(settings, free);
    let mut checks = Vec::new();
    if Part::LIMIT_PATH.iter().any(|part| settings.is_embedded(*part)) {
        checks.push(embedded.data_directory());
    }
    if uses_dynamodb(settings, &Part::ALL) {
        checks.push(services.dynamodb());
    }
    checks.push(match &settings.messages {
        MessagesAdapter::Embedded {} => embedded.epoch(),
        MessagesAdapter::DynamoDb { .. } | MessagesAdapter::Sql { .. } => services.epoch(),
    });
    checks.push(match &settings.directory {
        DirectoryAdapter::Embedded {} => embedded.directory(),
        DirectoryAdapter::Sql { .. } => services.directory(),
    });
    checks.push(match &settings.ledger {
        LedgerAdapter::Embedded {} => embedded.ledger(),
        LedgerAdapter::Sql { .. } => services.ledger(),
    });
    checks.push(match &settings.queue {
        QueueAdapter::Embedded {} => embedded.queues(),
        QueueAdapter::Sqs {} => services.queues(),
    });
    checks.push(match &settings.messages {
        MessagesAdapter::Embedded {} => embedded.messages(),
        MessagesAdapter::DynamoDb { .. } => services.dynamodb_messages(),
        MessagesAdapter::Sql { .. } => services.sql_messages(),
    });
    checks.push(match &settings.limits {
        LimitsAdapter::Embedded {} => embedded.limits(),
        LimitsAdapter::DynamoDb {} => services.limits(),
    });
    if let EventLogAdapter::Kafka { .. } = &settings.event_log {
        checks.push(services.event_log());
    }
    checks
}

/// A directory that was replaced while its messages are still coming.
pub(super) fn unfinished_import() -> Finding {
    let advice = "wait for it, or run the same lanner import again";
    Finding::bad("directory", Level::Unavailable, "an import is not finished", advice)
}

fn of_failure(system: &'static str, failure: &Failure) -> Finding {
    let words = exit::in_words(&failure.error);
    if failure.code == exit::TEMPORARY {
        return Finding::bad(system, Level::Unavailable, words, "look again later");
    }
    Finding::bad(system, Level::Wrong, words, "")
}
