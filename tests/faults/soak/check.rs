//! What must hold, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use chat::ledger::{HistoryEntry, Phase, Progress, RunOrganization, State};
use chat::{LimitRow, MessageId, OrganizationId, Standing};
use jobs::Ports;
use support::oracle::Answer;
use support::place::{organizations_of, stored_limits};
use tokio::runtime::Runtime;

use super::operator::Operator;

/// How much of the answers is known beforehand.
pub(super) enum Exact {
    /// What the chat was changed to while the run was under way may show or not.
    Allowed,
    /// Everything, but for these organizations.
    AllBut(BTreeSet<u64>),
    /// Everything.
    All,
}

/// The counts are those of the rows, each organization stands once, and nobody works beyond the bound of attempts.
pub(super) fn counts(runtime: &Runtime, ports: &Ports, progress: &Progress, attempts_max: u32) {
    let rows = runtime.block_on(organizations_of(&*ports.ledger, &progress.run.id));
    let distinct: BTreeSet<OrganizationId> = rows.iter().map(|row| row.organization).collect();
    assert_eq!((distinct.len(), progress.counts.expected()), (rows.len(), rows.len() as u64), "an organization twice");
    let mut by_state: BTreeMap<State, u64> = BTreeMap::new();
    rows.iter().for_each(|row| *by_state.entry(row.state).or_default() += 1);
    assert_eq!(by_state, progress.counts.0);
    // Who looks at a second message of a task counts an attempt before it sees that there are no more. When it cannot take that
    // back or park the task, and the first message ends it well, the count stays: rare, and never by much.
    let beyond =
        |row: &&RunOrganization| row.state.is_terminal() && !row.state.is_failure() && row.attempts > attempts_max;
    let beyond: Vec<_> = rows.iter().filter(beyond).collect();
    let rare = beyond.len() <= 1 + rows.len() / 5 && beyond.iter().all(|row| row.attempts <= attempts_max + 5);
    assert!(rare, "not parked after {attempts_max} attempts: {beyond:?}");
    for row in &rows {
        assert_ne!(row.error_class.as_deref(), Some("panic"), "{row:?}");
        assert_eq!(row.finished_at.is_some(), row.state.is_terminal(), "{row:?}");
    }
}

/// Every organization is in the run once and ended, its limit is what a sort of all its messages gives, and the history says
/// how the limit came to be.
pub(super) async fn results(operator: &Operator, exact: &Exact) {
    let ports = &operator.open.ports;
    let always: BTreeSet<u64> = common(&operator.answers);
    let ever: BTreeSet<u64> = operator.answers.iter().flat_map(BTreeMap::keys).copied().collect();
    let progress = ports.ledger.progress(&operator.run).await.expect("progress").expect("the run");
    let rows = organizations_of(&*ports.ledger, &operator.run).await;
    let registered: BTreeSet<u64> = rows.iter().map(|row| row.organization.get()).collect();
    if !operator.cancelled {
        assert_eq!(progress.phase(), Phase::Finished);
        assert!(registered.is_superset(&always), "lost: {:?}", always.difference(&registered));
        assert!(rows.iter().all(|row| row.state.is_terminal() && !row.state.is_failure()), "{rows:?}");
    }
    for row in &rows {
        // Extraction takes in what it releases.
        assert!(row.state == State::Released || ever.contains(&row.organization.get()), "not free: {row:?}");
        let rerun = operator.reruns.iter().any(|rerun| rerun.1 == row.organization.get());
        assert!(row.state != State::Superseded || rerun, "superseded by whom: {row:?}");
        assert!(row.state != State::Released || !always.contains(&row.organization.get()), "released why: {row:?}");
    }
    let limits: BTreeMap<u64, LimitRow> =
        stored_limits(&*ports.limits).await.into_iter().map(|row| (row.organization.get(), row)).collect();
    for (organization, _) in &operator.chat.organizations {
        let row = limits.get(organization);
        let known = !matches!(exact, Exact::AllBut(others) if others.contains(organization));
        if known && !operator.cancelled {
            limit(operator, *organization, row, always.contains(organization));
        }
        history(operator, *organization, row).await;
    }
    for row in rows.iter().filter(|row| row.state == State::Done) {
        let organization = row.organization.get();
        if !operator.disturbed.contains(&organization) {
            let limit = &limits[&organization];
            assert_eq!(row.first_visible_message_id, limit.first_visible_message_id(), "{row:?}\n{limit:?}");
            assert_eq!(row.visible_messages, limit.visible_messages, "{row:?}\n{limit:?}");
        }
    }
    let unreadable = ports.ledger.unreadable(10).await.expect("messages");
    assert!(unreadable.is_empty(), "put aside: {unreadable:?}");
}

fn common(answers: &[BTreeMap<u64, Answer>]) -> BTreeSet<u64> {
    let (first, rest) = answers.split_first().expect("answers");
    first.keys().copied().filter(|organization| rest.iter().all(|answers| answers.contains_key(organization))).collect()
}

/// The limit is one of those that may be.
fn limit(operator: &Operator, organization: u64, row: Option<&LimitRow>, always_free: bool) {
    let mut allowed = operator.answers.iter().filter_map(|answers| answers.get(&organization));
    match row {
        None => assert!(!always_free, "organization {organization} is free and has no limit"),
        Some(row) if row.standing == Standing::Released => {
            assert!(!always_free, "organization {organization} is free and its limit is released: {row:?}");
        }
        Some(row) => {
            let found = Answer::of(row);
            assert!(allowed.clone().any(|answer| *answer == found), "{row:?}\nallowed: {:?}", allowed.next());
        }
    }
}

/// Each run stands in it once; without a gap it leads from no boundary to the stored one.
async fn history(operator: &Operator, organization: u64, row: Option<&LimitRow>) {
    let id = OrganizationId::from_bits(organization);
    let entries = operator.open.ports.ledger.history(id, usize::MAX).await.expect("a history");
    let runs: BTreeSet<_> = entries.iter().map(|entry| &entry.run).collect();
    assert_eq!(runs.len(), entries.len(), "a run twice in the history of organization {organization}: {entries:?}");
    assert!(entries.iter().all(|entry| entry.old != entry.new), "{entries:?}");
    if operator.disturbed.contains(&organization) || operator.cancelled {
        return;
    }
    let mut boundary = row.and_then(LimitRow::first_visible_message_id);
    for HistoryEntry { old, new, .. } in &entries {
        assert_eq!(*new, boundary, "a gap in the history of organization {organization}: {entries:?}\n{row:?}");
        boundary = *old;
    }
    assert_eq!(boundary, None, "the history of organization {organization} begins in the middle: {entries:?}");
}

/// The canonical columns of all limits, and the length of each history.
#[derive(Debug, PartialEq)]
pub(super) struct Stored {
    limits: BTreeMap<u64, (Standing, Option<MessageId>, u32, u32)>,
    histories: BTreeMap<u64, usize>,
}

pub(super) async fn stored(operator: &Operator) -> Stored {
    let ports = &operator.open.ports;
    let canonical = |row: LimitRow| {
        (row.organization.get(), (row.standing, row.oldest_visible_message_id, row.visible_messages, row.rooms))
    };
    let limits = stored_limits(&*ports.limits).await.into_iter().map(canonical).collect();
    let mut histories = BTreeMap::new();
    for (organization, _) in &operator.chat.organizations {
        let id = OrganizationId::from_bits(*organization);
        histories.insert(*organization, ports.ledger.history(id, usize::MAX).await.expect("a history").len());
    }
    Stored { limits, histories }
}

pub(super) fn nothing_changed(before: &Stored, after: &Stored, by_whom: &str) {
    assert_eq!(before, after, "something changed {by_whom}");
}
