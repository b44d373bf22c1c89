//! The messages of an existing chat, read by one configured query.
//!
//! For chats that keep their messages in SQL, with ids in the order of time: a message counts as long as the query answers it.
//! The ids need not be Snowflakes where the policy has no maximum age: then the lowest id is 0, and the highest, that of the
//! run's instant, is above every counter.

use async_trait::async_trait;
use chat::{Access, LiveIds, MessageId, PageRequest, Pages, PortError, PortResult};
use futures::stream::{StreamExt as _, TryStreamExt as _};

use crate::SqlSettings;
use crate::database::{self, Database, rows_max};
use crate::query::{Needs, Query};
use crate::statement::Value;

/// Pages that one statement asks for at most.
const STATEMENT_PAGES_MAX: usize = 16;
/// Ids of a first page: about as dear as one, for an index has hundreds of them in a block.
const FIRST_PAGE: usize = 128;

/// Live ids in a MySQL, MariaDB or PostgreSQL database.
#[derive(Clone, Debug)]
pub struct SqlLiveIds {
    database: Database,
    query: Query,
    warning: Option<String>,
    in_flight: usize,
}

impl SqlLiveIds {
    /// Opens the messages of an existing chat, which are only read: by `newest_ids`, one `SELECT` in read-only transactions.
    ///
    /// The query answers the ids of the messages of `:room` from `:at_least` to below `:below` that are not deleted, newest first,
    /// at most `:limit`, in the column `id`. The last page is known by being short.
    ///
    /// # Errors
    ///
    /// Unavailable while the database cannot be reached; refused when the query does more than read, does not run, or lacks the
    /// column or has it in a type that cannot be read.
    pub async fn open_chat(settings: &SqlSettings, newest_ids: &str) -> PortResult<Self> {
        let database = Database::connect(settings, "the messages", database::Access::Read).await?;
        let query = Query::new(database.dialect(), "newest_ids", newest_ids)?;
        let values = [("room", 1.into()), ("at_least", 0.into()), ("below", 1.into()), ("limit", 1.into())];
        let warning = query.check(&database, &values, &[Needs::whole("id")]).await?;
        if let Some(warning) = &warning {
            tracing::warn!("{warning}");
        }
        let in_flight = settings.connections_max.max(1) as usize;
        Ok(Self { database, query, warning, in_flight })
    }

    /// What an operator should know: that the query reads a whole table for want of an index.
    pub fn warnings(&self) -> &[String] {
        self.warning.as_slice()
    }

    /// Some requests with their ids.
    async fn answered<'r>(&self, requests: &'r [PageRequest]) -> PortResult<(&'r [PageRequest], Vec<Vec<MessageId>>)> {
        Ok((requests, self.database.repeat(true, || self.ids_of(requests)).await?))
    }

    /// The ids of some requests, each newest first.
    async fn ids_of(&self, requests: &[PageRequest]) -> PortResult<Vec<Vec<MessageId>>> {
        // One page after the other as the tables of one statement, each with its placeholders under names of its own.
        let names: Vec<[String; 4]> = (0..requests.len())
            .map(|index| ["room", "at_least", "below", "limit"].map(|name| format!("{name}_{}", letters(index))))
            .collect();
        let mut values: Vec<(&str, Value<'_>)> = Vec::with_capacity(4 * requests.len());
        let mut pages = Vec::with_capacity(requests.len());
        for (index, (request, names)) in requests.iter().zip(&names).enumerate() {
            values.push((names[0].as_str(), request.room.as_i64().into()));
            values.push((names[1].as_str(), request.at_least.as_i64().into()));
            values.push((names[2].as_str(), request.below.as_i64().into()));
            values.push((names[3].as_str(), rows_max(request.limit).into()));
            let text = self.query.renamed(self.database.dialect(), &letters(index));
            pages.push(format!("SELECT {index} AS request, page.id FROM ({text}\n) AS page"));
        }
        let rows = self.database.fetch(&pages.join(" UNION ALL "), &values).await?;
        let mut ids: Vec<Vec<MessageId>> = vec![Vec::new(); requests.len()];
        for row in rows {
            let request: usize = row.whole("request")?;
            if let Some(page) = ids.get_mut(request) {
                page.push(row.whole("id")?);
            }
        }
        for (page, request) in ids.iter_mut().zip(requests) {
            page.sort_unstable_by(|a, b| b.cmp(a));
            let within = |id: &MessageId| (request.at_least..request.below).contains(id);
            let distinct = page.windows(2).all(|pair| pair[0] != pair[1]);
            if page.len() > request.limit || !page.iter().all(within) || !distinct {
                return Err(PortError::refused(
                    "the query newest_ids must answer distinct ids from :at_least to below :below, at most :limit: \
                     write id >= :at_least AND id < :below ORDER BY id DESC LIMIT :limit",
                ));
            }
        }
        Ok(ids)
    }
}

/// A number as a part of a placeholder's name.
fn letters(mut number: usize) -> String {
    let mut letters = String::new();
    loop {
        letters.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
        if number == 0 {
            return letters;
        }
    }
}

#[async_trait]
impl LiveIds for SqlLiveIds {
    async fn newest(&self, requests: &[PageRequest]) -> PortResult<Pages> {
        let mut statements = Vec::with_capacity(requests.len().div_ceil(STATEMENT_PAGES_MAX));
        for requests in requests.chunks(STATEMENT_PAGES_MAX) {
            statements.push(self.answered(requests));
        }
        let mut answers = futures::stream::iter(statements).buffered(self.in_flight);
        let mut pages = Pages::with_capacity(requests.len(), 0);
        while let Some((requests, ids)) = answers.try_next().await? {
            for (request, ids) in requests.iter().zip(ids) {
                let full = ids.len() == request.limit;
                let resume_below = ids.last().copied().filter(|last| full && *last > request.at_least);
                pages.ids_mut().extend(ids);
                pages.end_page(resume_below);
            }
        }
        Ok(pages)
    }

    fn access(&self) -> Access {
        Access::RoundTrip { first_page: FIRST_PAGE, in_flight: self.in_flight }
    }
}
