//! Who is in which room, remembered for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chat::{AccountId, Directory, Participant, PortError, PortResult, RoomId};
use quick_cache::unsync::Cache;
use tokio::time::Instant;

/// Accounts in rooms that are remembered, at most.
const REMEMBERED_MAX: usize = 100_000;

/// How long an answer of the directory holds, and how long a join or leave that was accepted here holds against it.
pub(super) const FRESH_FOR: Duration = Duration::from_secs(30);
/// How long an old answer is used when the directory cannot be reached.
pub(super) const STALE_FOR: Duration = Duration::from_secs(600);

/// The directory's answers, and what was accepted here and may not have reached the directory yet.
pub(super) struct Members {
    directory: Arc<dyn Directory>,
    // One lock and not the cache's own: an answer and what is accepted meanwhile each change only their half.
    known: Mutex<Cache<(AccountId, RoomId), Known>>,
}

#[derive(Clone, Copy, Default)]
struct Known {
    answer: Option<(Instant, Option<Participant>)>,
    /// A join or leave.
    accepted: Option<(Instant, bool)>,
}

impl Known {
    fn answer_of(&self, age_max: Duration) -> Option<Option<Participant>> {
        self.answer.filter(|(at, _)| at.elapsed() < age_max).map(|(_, answer)| self.with_accepted(answer))
    }

    fn with_accepted(&self, answer: Option<Participant>) -> Option<Participant> {
        match self.accepted.filter(|(at, _)| at.elapsed() < FRESH_FOR) {
            Some((_, is_member)) => answer.map(|known| Participant { is_member, ..known }),
            None => answer,
        }
    }
}

impl Members {
    pub(super) fn new(directory: Arc<dyn Directory>) -> Self {
        Self { directory, known: Mutex::new(Cache::new(REMEMBERED_MAX)) }
    }

    /// What an account is to a room.
    pub(super) async fn of(&self, account: AccountId, room: RoomId) -> PortResult<Option<Participant>> {
        let key = (account, room);
        let known = self.remembered(key);
        // Who is told to be no member may have become one just now, elsewhere: that is asked for again.
        if let Some(Some(answer)) = known.answer_of(FRESH_FOR)
            && answer.is_member
        {
            return Ok(Some(answer));
        }
        let asked_at = Instant::now();
        match self.directory.participants(&[key]).await {
            Ok(answers) => {
                let answer = answers.into_iter().next().flatten();
                let known = self.update(key, |known| known.answer = Some((asked_at, answer)));
                Ok(known.with_accepted(answer))
            }
            Err(error) => self.stale(&known, error),
        }
    }

    fn stale(&self, known: &Known, error: PortError) -> PortResult<Option<Participant>> {
        match known.answer_of(STALE_FOR) {
            Some(answer) if error.is_temporary() => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the directory is down: an old answer is used"
                );
                Ok(answer)
            }
            _ => Err(error),
        }
    }

    /// Notes a join or leave that was accepted.
    pub(super) fn accepted(&self, account: AccountId, room: RoomId, is_member: bool) {
        self.update((account, room), |known| known.accepted = Some((Instant::now(), is_member)));
    }

    fn remembered(&self, key: (AccountId, RoomId)) -> Known {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).copied().unwrap_or_default()
    }

    /// Changes what is remembered in one step, and tells it as it is then.
    fn update(&self, key: (AccountId, RoomId), change: impl FnOnce(&mut Known)) -> Known {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = all.get(&key).copied().unwrap_or_default();
        change(&mut known);
        all.insert(key, known);
        known
    }
}

#[cfg(test)]
mod tests {
    use chat::OrganizationId;
    use tokio::time::advance;

    use super::*;

    fn participant(is_member: bool) -> Option<Participant> {
        Some(Participant { organization: OrganizationId::from_bits(1), is_member })
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_fresh_for_a_while_and_can_be_used_for_longer() {
        let known = Known { answer: Some((Instant::now(), participant(true))), accepted: None };
        advance(FRESH_FOR - Duration::from_secs(1)).await;
        assert_eq!(known.answer_of(FRESH_FOR), Some(participant(true)));
        advance(Duration::from_secs(1)).await;
        assert_eq!(known.answer_of(FRESH_FOR), None);
        assert_eq!(known.answer_of(STALE_FOR), Some(participant(true)));
        advance(STALE_FOR).await;
        assert_eq!(known.answer_of(STALE_FOR), None);
        assert_eq!(Known::default().answer_of(STALE_FOR), None, "nobody was asked");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_accepted_holds_against_the_directory_until_it_must_have_come_there() {
        for is_member in [true, false] {
            let answer = Some((Instant::now(), participant(!is_member)));
            let known = Known { answer, accepted: Some((Instant::now(), is_member)) };
            assert_eq!(known.answer_of(STALE_FOR), Some(participant(is_member)));
            advance(FRESH_FOR).await;
            assert_eq!(known.answer_of(STALE_FOR), Some(participant(!is_member)));
        }
        let unknown = Known { answer: Some((Instant::now(), None)), accepted: Some((Instant::now(), true)) };
        assert_eq!(unknown.answer_of(STALE_FOR), Some(None), "nobody unknown becomes a member by a join");
    }
}
