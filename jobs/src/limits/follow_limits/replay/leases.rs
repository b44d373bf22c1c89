//! The leases of all shards at once: who holds them can save over what `follow-limits` had saved.

use std::time::Duration;

use worker::{Lease, RenewError, State};

use super::ReplayError;
use crate::limits::follow_limits::leases::{self, Taken};

pub(super) struct Leases<'a> {
    state: &'a dyn State,
    held: Vec<Lease>,
    renew_every: Duration,
}

impl<'a> Leases<'a> {
    /// Takes all of them, or none.
    pub(super) async fn take(state: &'a dyn State, shards: u32, lives_for: Duration) -> Result<Self, ReplayError> {
        let mut leases = Self { state, held: Vec::new(), renew_every: lives_for / 3 };
        match leases.take_all(shards, lives_for).await {
            Ok(()) => Ok(leases),
            Err(error) => {
                leases.release().await;
                Err(error)
            }
        }
    }

    async fn take_all(&mut self, shards: u32, lives_for: Duration) -> Result<(), ReplayError> {
        for shard in 0..shards {
            match leases::take(self.state, shard, shards, lives_for).await? {
                Taken::Lease(lease) => self.held.push(lease),
                Taken::Held { shard, .. } => return Err(ReplayError::Followed(shard)),
            }
        }
        Ok(())
    }

    /// What `work` answers, while the leases are renewed; it ends when one of them is over.
    pub(super) async fn hold<T>(
        &mut self,
        work: impl Future<Output = Result<T, ReplayError>>,
    ) -> Result<T, ReplayError> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                answer = &mut work => return answer,
                () = tokio::time::sleep(self.renew_every) => self.renew().await?,
            }
        }
    }

    async fn renew(&mut self) -> Result<(), ReplayError> {
        for lease in &mut self.held {
            match lease.renew(self.state).await {
                // It may be better next time, while the lease is valid.
                Err(RenewError::State(error)) if error.is_temporary() && lease.is_valid() => {
                    tracing::warn!(shard = lease.number(), %error, "the lease was not renewed: it is tried again");
                }
                renewed => renewed?,
            }
        }
        Ok(())
    }

    /// Gives them back. What is not given back ends by itself.
    pub(super) async fn release(self) {
        for lease in self.held {
            let shard = lease.number();
            if let Err(error) = lease.release(self.state).await {
                tracing::warn!(shard, %error, "the lease was not given back: it ends by itself");
            }
        }
    }
}
