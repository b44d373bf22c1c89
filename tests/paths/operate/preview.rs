//! A preview against really running the other policy.

use std::collections::BTreeMap;

use chat::{LimitRow, OrganizationId, Policy};
use jobs::limits::extract_organizations;
use jobs::operate::preview::{Question, preview, preview_one};
use support::oracle::{self, Answer};
use support::place::{policy, stored_limits};
use support::{SmallChat, place};

use crate::handlers::rig::{Rig, run_id};

/// The limits after a run by `policy`, by organization.
async fn run(rig: &Rig, policy: Policy) -> BTreeMap<OrganizationId, LimitRow> {
    let new = extract_organizations::all_free(run_id("daily"), rig.as_of, policy);
    extract_organizations::extract(&rig.open.ports, &new, |_| {}).await.expect("an extraction");
    rig.work_until_settled("daily").await;
    stored_limits(&*rig.open.ports.limits).await.into_iter().map(|row| (row.organization, row)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_finds_what_running_the_other_policy_finds() {
    let day = chat::Day::MILLIS;
    let others = [(60, Some(40 * day)), (7, Some(11 * day)), (25, None), (200, Some(2 * day))];
    // More organizations than one unit of work.
    let rig = Rig::new(91, 90).await;
    let in_force = run(&rig, policy()).await;
    for (n, max_age_ms) in others {
        let other = Policy::new(n, max_age_ms).expect("a policy");
        let really = Rig::new(91, 90).await;
        let after = run(&really, other).await;
        let question = Question { as_of: rig.as_of, in_force: policy(), other };
        let mut each = Vec::new();
        let found = preview(&rig.open.ports, question, 5, |one| each.push(one.clone())).await.expect("a preview");

        let ids: Vec<OrganizationId> = each.iter().map(|one| one.organization()).collect();
        assert!(ids.iter().eq(in_force.keys()), "each free organization once, ascending");
        let (mut shown, mut hidden, mut gain, mut lose) = (0, 0, 0, 0);
        let mut weights = Vec::new();
        for one in &each {
            let (old, new) = (&in_force[&one.organization()], &after[&one.organization()]);
            assert_eq!((Answer::of(&one.in_force), Answer::of(&one.other)), (Answer::of(old), Answer::of(new)));
            assert_eq!((one.in_force.standing, one.other.standing), (old.standing, new.standing));
            let change = i64::from(new.visible_messages) - i64::from(old.visible_messages);
            shown += change.max(0);
            hidden += (-change).max(0);
            let bound = [old, new].map(|row| row.first_visible_message_id().is_some());
            gain += u64::from(bound == [false, true]);
            lose += u64::from(bound == [true, false]);
            let changes = (old.standing, old.visible_messages, old.oldest_visible_message_id)
                != (new.standing, new.visible_messages, new.oldest_visible_message_id);
            if changes {
                weights.push((std::cmp::Reverse(change.abs()), one.organization()));
            }
        }
        assert_eq!((found.become_visible as i64, found.become_hidden as i64), (shown, hidden));
        assert_eq!((found.gain_boundary, found.lose_boundary), (gain, lose));
        assert_eq!((found.organizations, found.changed), (in_force.len() as u64, weights.len() as u64));
        weights.sort_unstable();
        let top: Vec<OrganizationId> = found.top.iter().map(|one| one.organization()).collect();
        let expected: Vec<OrganizationId> = weights.iter().take(5).map(|(_, id)| *id).collect();
        assert_eq!(top, expected, "the most affected first");
    }
    assert_eq!(
        stored_limits(&*rig.open.ports.limits)
            .await
            .into_iter()
            .map(|row| (row.organization, row))
            .collect::<BTreeMap<_, _>>(),
        in_force,
        "a preview wrote limits"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_of_one_organization_leaves_out_what_the_plan_does_not_limit() {
    let place = place::Place::new(92, 16).await;
    let open = place.open().await;
    let other = Policy::new(4, None).expect("a policy");
    let question = Question { as_of: SmallChat::as_of(), in_force: policy(), other };
    let answers = [policy(), other].map(|policy| oracle::answers(&place.chat, SmallChat::as_of(), &policy));
    for (id, paid) in &place.chat.organizations {
        let organization = OrganizationId::from_bits(*id);
        let found = preview_one(&open.ports, organization, question).await.expect("a preview");
        assert_eq!(found.is_none(), *paid);
        let Some(found) = found else { continue };
        assert_eq!([&found.in_force, &found.other].map(Answer::of), [answers[0][id], answers[1][id]]);
    }
    assert!(preview_one(&open.ports, OrganizationId::MAX, question).await.is_err());
}
