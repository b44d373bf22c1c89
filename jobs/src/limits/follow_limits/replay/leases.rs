//! The leases of all shards at once: who holds them can save over what `follow-limits` had saved.

use std::time::Duration;

use worker::{Lease, State};

use super::ReplayError;
use crate::limits::follow_limits::leases::{self, Taken};

pub(super) struct Leases<'a> {
    state: &'a dyn State,
    held: Vec<Lease>,
}

impl<'a> Leases<'a> {
    /// Takes all of them, or none.
    pub(super) async fn take(state: &'a dyn State, shards: u32, lives_for: Duration) -> Result<Self, ReplayError> {
        let mut leases = Self { state, held: Vec::new() };
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
        Lease::hold(&mut self.held, self.state, work).await?
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
