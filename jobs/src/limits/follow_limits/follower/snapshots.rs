//! Saving what outlives a restart, beside the stream and at the end.

use chat::OrganizationId;
use tokio::time::Instant;
use worker::Cause;

use super::super::{effects, saving, state_failed};
use super::{Follower, SAVE_MAX, Saving};

impl Follower {
    /// Begins to save what has changed, or goes on with it.
    pub(super) fn save(&mut self, now: Instant) {
        if self.knows_what_it_heard() && self.save_turn.begins(now) {
            let left = self.shard.take_unsaved();
            self.saving = Some(Saving { place: self.place(), left, writing: Vec::new() });
            self.save_some();
        }
    }

    /// Whether everything that was heard is in the sets, or is heard again by who begins with what they are saved as. It is not where accounts
    /// are still asked for, nor where a limit is still to be released, which no set says.
    fn knows_what_it_heard(&self) -> bool {
        self.asks.is_empty() && !self.is_asking && self.to_release.is_empty()
    }

    fn place(&self) -> saving::Place {
        saving::Place {
            shards: self.settings.shards,
            epoch: self.epoch,
            offsets: self.offsets.clone(),
            changes: self.changes.settled(),
        }
    }

    /// The next sets, or, after all of them, the place from which they hold.
    pub(super) fn save_some(&mut self) {
        let Some(saving) = &mut self.saving else { return };
        if saving.left.is_empty() {
            self.pending.push(effects::save_place(&self.ports, self.settings.shard, saving.place.clone()));
            return;
        }
        let many = SAVE_MAX.min(saving.left.len());
        saving.writing = saving.left.drain(..many).collect();
        let value = |id: &OrganizationId| (*id, saving::value_of(self.shard.saved(*id).as_ref()));
        self.pending.push(effects::save(&self.ports, saving.writing.iter().map(value).collect()));
    }

    pub(super) fn saving_ended(&mut self) {
        // What was not saved is saved next time.
        let saving = self.saving.take();
        for id in saving.into_iter().flat_map(|saving| saving.writing.into_iter().chain(saving.left)) {
            self.shard.save_again(id);
        }
        self.save_turn.ended();
    }

    /// Saves, and gives the lease back, so that the next one begins at once.
    pub(super) async fn end(mut self) -> Result<(), Cause> {
        // What is under way is let go: it may have its effect, and is done again.
        self.pending.clear();
        if self.has_caught_up() && self.knows_what_it_heard() {
            self.saving_ended();
            let (place, state) = (self.place(), &*self.ports.state);
            let ids: Vec<OrganizationId> = self.shard.take_unsaved().into();
            for some in ids.chunks(SAVE_MAX) {
                let sets = some.iter().map(|id| (*id, saving::value_of(self.shard.saved(*id).as_ref()))).collect();
                saving::save(state, sets).await.map_err(state_failed)?;
            }
            saving::save_place(state, self.settings.shard, &place).await.map_err(state_failed)?;
        }
        match self.lease.take() {
            Some(lease) => lease.release(&*self.ports.state).await.map_err(state_failed),
            None => Ok(()),
        }
    }
}
