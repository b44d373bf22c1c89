//! What people do while a run is under way, and what may come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat::ledger::{Filter, Item, RunOrganization, State};
use chat::{AccountId, Memberships as _, MessageId, OrganizationId, Plan, RoomId, RunId, Timestamp};
use import::Membership;
use jobs::limits::extract_organizations;
use jobs::operate::rerun;
use jobs::{OrganizationTask, Ports};
use support::oracle::{self, Answer};
use support::place::{Open, organizations_of, policy};
use support::{SmallChat, retry, room_log};
use worker::Outgoing;

use super::schedule::Tally;

/// The people of one schedule: what they know of the chat, and what they did to it.
pub(super) struct Operator {
    pub(super) open: Open,
    /// The same ports, failing.
    pub(super) flaky: Ports,
    pub(super) chat: SmallChat,
    pub(super) as_of: Timestamp,
    pub(super) run: RunId,
    /// Answers that may come out of the runs of now: of each state of the chat since they began.
    pub(super) answers: Vec<BTreeMap<u64, Answer>>,
    /// Runs of single organizations.
    pub(super) reruns: Vec<(RunId, u64)>,
    /// Organizations whose history may have gaps: several runs at once, a cancelled run, a plan that was paid in between.
    pub(super) disturbed: BTreeSet<u64>,
    pub(super) cancelled: bool,
    pub(super) tally: Tally,
    pub(super) random: fastrand::Rng,
}

impl Operator {
    /// From here on the answers of the chat as it is now are expected.
    pub(super) fn expect_from_now(&mut self) {
        self.answers = vec![self.answers_now()];
    }

    pub(super) fn answers_now(&self) -> BTreeMap<u64, Answer> {
        oracle::answers(&self.chat, self.as_of, &policy())
    }

    /// Does something or other.
    pub(super) async fn act(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.random.u64(0..120))).await;
        match self.random.u8(0..100) {
            0..4 => self.cancel().await,
            4..20 => self.reopen().await,
            20..40 => self.rerun().await,
            40..60 => self.change_plan().await,
            60..90 => self.change_membership().await,
            90..95 => self.lose_messages().await,
            _ => {}
        }
    }

    async fn cancel(&mut self) {
        let run = self.run.clone();
        if !matches!(self.open.ports.ledger.progress(&run).await, Ok(Some(_))) {
            return;
        }
        let ledger = &self.flaky.ledger;
        retry(|| ledger.cancel_run(&run, Timestamp::now())).await;
        let progress = self.open.ports.ledger.progress(&run).await.expect("progress").expect("the run");
        self.cancelled = progress.run.cancelled_at.is_some();
        self.tally.cancelled += u64::from(self.cancelled);
    }

    /// A cancelled run may have stored limits that it never settled: they have no history.
    pub(super) async fn note_unsettled(&mut self) {
        let rows = organizations_of(&*self.open.ports.ledger, &self.run).await;
        let unsettled = rows.iter().filter(|row| row.state != State::Done);
        self.disturbed.extend(unsettled.map(|row| row.organization.get()));
    }

    /// What failed in a run.
    pub(super) async fn failures(&self, run: &RunId) -> Vec<RunOrganization> {
        let filter = Filter { states: vec![State::Failed, State::Parked], ..Filter::default() };
        self.open.ports.ledger.organizations(run, &filter, usize::MAX).await.expect("what failed")
    }

    pub(super) async fn reopen(&mut self) {
        for run in [vec![self.run.clone()], self.reruns.iter().map(|rerun| rerun.0.clone()).collect()].concat() {
            let failed = self.failures(&run).await;
            if failed.is_empty() {
                continue;
            }
            let as_of = self.as_of;
            let item = |row: &RunOrganization| Item { run: run.clone(), organization: row.organization };
            let items: Vec<Item> = failed.iter().map(item).collect();
            let opened = retry(|| self.flaky.ledger.reopen(&items)).await;
            let opened = items.into_iter().zip(opened).filter(|(_, opened)| *opened).map(|(item, _)| item.organization);
            // What was opened by a call whose answer was lost is sent by whoever waits for the run.
            let bodies: Vec<Outgoing> = opened
                .map(|organization| OrganizationTask::new(run.clone(), as_of, organization, policy()))
                .map(|task| Outgoing::now(serde_json::to_vec(&task).expect("JSON")))
                .collect();
            self.tally.reopened += bodies.len() as u64;
            for body in bodies {
                while !matches!(self.flaky.organization_queue.send(std::slice::from_ref(&body)).await, Ok(sent) if sent[0].is_ok())
                {
                }
            }
        }
    }

    async fn rerun(&mut self) {
        let organization = self.random.choice(&self.chat.organizations).expect("an organization").0;
        let run: RunId = format!("rerun-{}", self.reruns.len()).parse().expect("a run id");
        let new = rerun::named(run.clone(), self.as_of, policy());
        let ids = [OrganizationId::from_bits(organization)];
        while let Err(error) = extract_organizations::extract_named(&self.flaky, &new, &ids).await {
            assert!(error.is_temporary(), "a rerun failed for good: {error:?}");
        }
        self.reruns.push((run, organization));
        self.disturbed.insert(organization);
        self.tally.reruns += 1;
    }

    /// Upgrades or downgrades an organization.
    pub(super) async fn change_plan(&mut self) {
        let index = self.random.usize(0..self.chat.organizations.len());
        let (organization, paid) = &mut self.chat.organizations[index];
        *paid = !*paid;
        let (organization, plan) =
            (OrganizationId::from_bits(*organization), if *paid { Plan::Paid } else { Plan::Free });
        self.disturbed.insert(organization.get());
        // Before it takes effect: a worker may see it at once.
        self.answers.push(self.answers_now());
        self.open.directory.set_plan(organization, plan).await.expect("a plan");
        self.tally.plans += 1;
    }

    /// Somebody joins a room, leaves one, or is deactivated.
    pub(super) async fn change_membership(&mut self) {
        self.tally.memberships += 1;
        let index = self.random.usize(0..self.chat.accounts.len());
        let account = AccountId::from_bits(self.chat.accounts[index].0);
        self.disturbed.insert(self.chat.accounts[index].1);
        match self.random.u8(0..3) {
            0 => {
                let active = !self.chat.accounts[index].2;
                self.chat.accounts[index].2 = active;
                self.answers.push(self.answers_now());
                self.open.directory.set_active(account, active).await.expect("an account");
            }
            1 => {
                let Some(room) = self.random.choice(&self.chat.rooms).copied() else { return };
                self.chat.memberships.retain(|m| (m.0, m.1) != (room, account.get()));
                self.chat.memberships.insert((room, account.get(), false));
                self.answers.push(self.answers_now());
                let membership = Membership { account, room: RoomId::from_bits(room) };
                self.open.directory.apply(&room_log::joined(&[membership])).await.expect("a membership");
            }
            _ => {
                let Some((room, account, _)) = self.random.choice(&self.chat.memberships).copied() else { return };
                self.chat.memberships.retain(|m| (m.0, m.1) != (room, account));
                let whose = self.chat.accounts.iter().filter(|of| of.0 == account).map(|of| of.1);
                self.disturbed.extend(whose);
                self.answers.push(self.answers_now());
                let membership = Membership { account: AccountId::from_bits(account), room: RoomId::from_bits(room) };
                self.open.directory.apply(&room_log::left(&[membership])).await.expect("no membership");
            }
        }
    }

    /// A queue forgets what can be received now, as after a power cut.
    async fn lose_messages(&mut self) {
        for queue in [&self.open.ports.organization_queue, &self.open.ports.room_queue] {
            let taken = queue.receive(500, Duration::from_secs(1), Duration::ZERO).await.expect("messages");
            let receipts: Vec<_> = taken.into_iter().map(|delivery| delivery.receipt).collect();
            queue.done(&receipts).await.expect("done");
            self.tally.lost += receipts.len() as u64;
        }
    }

    /// Deletes some of the newest messages. Answers the deletions, by room.
    pub(super) fn delete_messages(&mut self) -> Vec<(u64, u64)> {
        let mut deleted = Vec::new();
        let count = self.random.usize(0..30);
        for _ in 0..count.min(self.chat.messages.len()) {
            let index = self.random.usize(0..self.chat.messages.len());
            let (room, id, gone) = &mut self.chat.messages[index];
            if !*gone {
                *gone = true;
                self.open.index.delete(RoomId::from_bits(*room), &[*id]).expect("a deletion");
                deleted.push((*room, MessageId::get(*id)));
            }
        }
        self.tally.deletions += deleted.len() as u64;
        deleted
    }
}

/// Whose answers cannot be foreseen while deletions are unseen: those who see one of the rooms.
pub(super) fn who_sees(chat: &SmallChat, rooms: &BTreeSet<u64>) -> BTreeSet<u64> {
    let members = chat.memberships.iter().filter(|m| rooms.contains(&m.0)).map(|m| m.1);
    let members: BTreeSet<u64> = members.collect();
    chat.accounts.iter().filter(|account| members.contains(&account.0)).map(|account| account.1).collect()
}
