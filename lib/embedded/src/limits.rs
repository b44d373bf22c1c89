//! `Limits` in an LMDB environment of their own, so that writing limits never waits for a load of messages.

mod row;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use chat::{LimitRow, Limits, OrganizationId, PortResult, PutOutcome};
use heed::byteorder::BE;
use heed::types::{Bytes, U64};
use heed::{Database, RoTxn};

use crate::blocking::blocking;
use crate::lmdb::{Environment, Failure, MapSize};

/// The current limits: organization → row.
#[derive(Clone)]
pub struct LmdbLimits {
    store: Arc<Environment>,
    rows: Database<'static, U64<BE>, Bytes>,
}

impl LmdbLimits {
    /// Opens the limits in `dir`, which is created if need be. Several processes can have the same directory open. Blocks for
    /// some file operations.
    pub fn open(dir: &Path, map_size: MapSize) -> PortResult<Self> {
        const NAME: Option<&str> = Some("limits");
        let store = Environment::open(dir, map_size)?;
        let rows = match store.open_databases(|opener, txn| opener.open_database(txn, NAME))? {
            Some(rows) => rows,
            None => store.create_databases(|opener, txn| opener.create_database(txn, NAME))?,
        };
        Ok(Self { store, rows })
    }

    fn row(&self, txn: &RoTxn, organization: OrganizationId) -> Result<Option<LimitRow>, Failure> {
        self.rows.get(txn, &organization.get())?.map(|bytes| decode(organization, bytes)).transpose()
    }

    fn put_blocking(&self, rows: Vec<LimitRow>) -> PortResult<Vec<PutOutcome>> {
        self.store.write(|txn| {
            let mut outcomes = Vec::with_capacity(rows.len());
            for mut row in rows {
                let stored = self.row(txn, row.organization)?;
                let outcome = row.settle_over(stored.as_ref());
                if matches!(outcome, PutOutcome::Stored { .. }) {
                    self.rows.put(txn, &row.organization.get(), &row::encode(&row))?;
                }
                outcomes.push(outcome);
            }
            Ok(outcomes)
        })
    }
}

fn decode(organization: OrganizationId, bytes: &[u8]) -> Result<LimitRow, Failure> {
    row::decode(organization, bytes)
        .map_err(|what| Failure::Corrupt(format!("the limit of organization {organization}: {what}")))
}

#[async_trait]
impl Limits for LmdbLimits {
    async fn put(&self, rows: &[LimitRow]) -> PortResult<Vec<PutOutcome>> {
        let (limits, rows) = (self.clone(), rows.to_vec());
        blocking(move || limits.put_blocking(rows)).await
    }

    async fn get(&self, organizations: &[OrganizationId]) -> PortResult<Vec<Option<LimitRow>>> {
        self.store.read(|txn| organizations.iter().map(|organization| self.row(txn, *organization)).collect())
    }

    async fn page(&self, after: Option<OrganizationId>, limit: usize) -> PortResult<Vec<LimitRow>> {
        let from = after.map_or(0, |after| after.get() + 1);
        self.store.read(|txn| {
            let rows = self.rows.range(txn, &(from..))?.take(limit);
            rows.map(|entry| {
                let (organization, bytes) = entry?;
                decode(OrganizationId::from_bits(organization), bytes)
            })
            .collect()
        })
    }
}
