//! Hearing of the directory's changes: asked again and again from where it stood a minute ago, because who writes commits late.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use chat::{ChangeCursor, OrganizationId};
use tokio::time::Instant;

/// How late a change may come to light.
const LATE: Duration = Duration::from_secs(60);
/// Changes of one page.
pub(super) const PAGE: usize = 1_000;

/// What was heard.
#[derive(Debug)]
pub(super) struct Changes {
    /// Everything up to here was heard long ago.
    settled: ChangeCursor,
    /// What was reached, and when.
    reached: VecDeque<(Instant, ChangeCursor)>,
    /// Changes above `settled` that were heard already.
    heard: HashMap<OrganizationId, u64>,
    after: ChangeCursor,
    /// The newest of this round.
    newest: ChangeCursor,
}

impl Changes {
    /// From here on.
    pub(super) fn from(settled: ChangeCursor) -> Self {
        Self { settled, reached: VecDeque::new(), heard: HashMap::new(), after: settled, newest: settled }
    }

    /// Where to ask next.
    pub(super) fn after(&self) -> ChangeCursor {
        self.after
    }

    /// Up to where nothing new is expected.
    pub(super) fn settled(&self) -> ChangeCursor {
        self.settled
    }

    /// Takes an answer: the organizations that changed since they were last heard of, and whether there is more to ask for at once.
    pub(super) fn answered(&mut self, now: Instant, page: &[ChangeCursor]) -> (Vec<OrganizationId>, bool) {
        let news =
            page.iter().filter(|change| self.heard.insert(change.organization, change.changed) != Some(change.changed));
        let news = news.map(|change| change.organization).collect();
        if let Some(last) = page.last() {
            self.after = *last;
            self.newest = self.newest.max(*last);
        }
        if page.len() == PAGE {
            return (news, true);
        }
        self.reached.push_back((now, self.newest));
        while let Some((at, reached)) = self.reached.front()
            && *at + LATE <= now
        {
            self.settled = *reached;
            self.reached.pop_front();
        }
        self.after = self.settled;
        let settled = self.settled;
        self.heard.retain(|_, changed| *changed >= settled.changed);
        (news, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(changed: u64, organization: u64) -> ChangeCursor {
        ChangeCursor { changed, organization: OrganizationId::from_bits(organization) }
    }

    #[tokio::test(start_paused = true)]
    async fn each_change_is_news_once_and_one_that_comes_late_is_heard() {
        let mut changes = Changes::from(change(5, 0));
        let one = OrganizationId::from_bits(1);
        assert_eq!(changes.answered(Instant::now(), &[change(10, 1)]), (vec![one], false));
        assert_eq!(changes.after(), change(5, 0), "asked again");
        assert_eq!(changes.answered(Instant::now(), &[change(10, 1)]), (vec![], false));
        let late = [change(9, 2), change(10, 1), change(11, 3)];
        let news = [2, 3].map(OrganizationId::from_bits).to_vec();
        assert_eq!(changes.answered(Instant::now(), &late), (news, false));
        assert_eq!(changes.answered(Instant::now(), &[change(9, 2), change(12, 1)]).0, [one], "changed again");
        tokio::time::advance(LATE).await;
        changes.answered(Instant::now(), &[]);
        assert_eq!(changes.settled(), change(12, 1));
        assert_eq!(changes.heard.len(), 1, "what is settled is forgotten");
    }
}
