//! Who of the accounts is in which room: one statement for each question, as many at a time as there are connections.

use chat::{AccountId, Participant, PortError, PortResult, RoomId};
use futures::stream::{StreamExt as _, TryStreamExt as _};

use super::SqlDirectory;
use crate::query::Query;

impl SqlDirectory {
    pub(super) async fn ask_participants(&self, asked: &[(AccountId, RoomId)]) -> PortResult<Vec<Option<Participant>>> {
        let query = self.queries.participant()?;
        let questions: Vec<_> = asked.iter().map(|&(account, room)| self.participant(query, account, room)).collect();
        futures::stream::iter(questions).buffered(self.in_flight).try_collect().await
    }

    async fn participant(&self, query: &Query, account: AccountId, room: RoomId) -> PortResult<Option<Participant>> {
        let values = [("account", account.as_i64().into()), ("room", room.as_i64().into())];
        let rows = self.database.repeat(true, || query.fetch(&self.database, &values)).await?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => {
                Ok(Some(Participant { organization: row.whole("organization")?, is_member: row.truth("member")? }))
            }
            // Which of them would count? Guessing could let somebody in.
            _ => Err(PortError::refused(format!(
                "the query participant must answer one row at most, account {account} has several in room {room}: \
                 write EXISTS (…) AS member",
            ))),
        }
    }
}
