//! `lanner explain --organization O --message M`: whether the organization sees the message, and by which rule.

use chat::visibility::Visibility;
use chat::{Boundary, LimitRow, MessageId, OrganizationId, Policy, RoomId, Timestamp};
use jobs::Ports;
use jobs::operate::explain::message::{Finding, Found, MessageExplanation, Possibility, explain_message};
use serde_json::json;

use super::{computed_facts, plan_word};
use crate::commands::App;
use crate::commands::run::policy_in_words;
use crate::exit::{self, Outcome};
use crate::output::{self, facts, say, thousands};

pub(super) async fn explain(
    app: &App,
    ports: &Ports,
    (organization, message, room): (OrganizationId, MessageId, Option<RoomId>),
    at: Timestamp,
) -> Outcome {
    let found = explain_message(ports, organization, message, room, app.settings.policy(at)?, at).await?;
    if app.json {
        output::json(&as_json(&found))?;
    } else {
        print(&found, room);
    }
    Ok(exit::DONE)
}

fn as_json(found: &MessageExplanation) -> serde_json::Value {
    let (place, possibilities) = match &found.finding {
        Finding::Found(place) => (Some(place), None),
        Finding::NotFound(possibilities) => (None, Some(possibilities)),
    };
    json!({
        "organization": found.organization.id,
        "plan": plan_word(found.organization.plan),
        "message_id": found.message,
        "written_at": found.written_at,
        "at": found.at,
        "policy": found.policy,
        "boundary": found.boundary,
        "stored": found.stored,
        "found": place.is_some(),
        "room": place.map(|place| place.room),
        "visibility": place.map(|place| place.visibility),
        "rank": place.and_then(|place| place.rank),
        "candidates": place.map(|place| place.candidates),
        "possibilities": possibilities,
        "stale": found.is_stale(),
        "limit_differs": found.limit_differs(),
        "fresh": found.fresh.as_ref().map(|fresh| json!({"row": fresh.row, "visibility": fresh.visibility})),
    })
}

fn print(found: &MessageExplanation, room: Option<RoomId>) {
    let mut lines = vec![
        ("organization", format!("{} ({})", found.organization.id, plan_word(found.organization.plan))),
        ("message", found.message.to_string()),
        ("written at", found.written_at.to_string()),
        ("seen at", found.at.to_string()),
    ];
    match &found.finding {
        Finding::Found(place) => {
            lines.push(("room", place.room.to_string()));
            lines.push(("visible", verdict(place.visibility, found)));
            if found.boundary.is_some() {
                lines.push(("place", place_words(place, &found.policy)));
            }
        }
        Finding::NotFound(possibilities) => {
            lines.push(("visible", "no: it was not found".to_owned()));
            let mut name = "it can be";
            for possibility in possibilities {
                lines.push((name, possibility_words(*possibility, room, found.at)));
                name = "or";
            }
        }
    }
    if let (Finding::Found(_), Some(boundary)) = (&found.finding, found.boundary) {
        lines.push(("policy", policy_in_words(&found.policy)));
        lines.push(("oldest visible", boundary.to_string()));
        lines.extend(computed_facts(found.stored.as_ref()));
    }
    say!("{}", facts(&lines));
    print_freshness(found);
}

fn verdict(visibility: Visibility, found: &MessageExplanation) -> String {
    match visibility {
        Visibility::Visible if found.boundary.is_none() => "yes: the plan does not limit".to_owned(),
        Visibility::Visible => match LimitRow::boundary(found.stored.as_ref()) {
            Boundary::NotComputed => "yes: not too old, and no limit is computed yet",
            Boundary::NoCountLimit => "yes: not too old, and the count hides nothing",
            Boundary::From(_) => "yes: at or above the boundary, and not too old",
        }
        .to_owned(),
        Visibility::NotAMember => "no: no active account of the organization is in the room now".to_owned(),
        Visibility::Deleted => "no: it is deleted".to_owned(),
        Visibility::HiddenByAge => "no, by age: it is older than the policy shows".to_owned(),
        Visibility::HiddenByCount => "no, by count: it is older than the boundary".to_owned(),
    }
}

fn place_words(place: &Found, policy: &Policy) -> String {
    let n = thousands(policy.n() as u64);
    let all = thousands(place.candidates);
    match place.rank {
        Some(rank) => format!("{} of {all}, from the newest; the newest {n} are visible", thousands(rank)),
        None => format!("none: not one of the {all} messages among which {n} are visible"),
    }
}

fn possibility_words(possibility: Possibility, room: Option<RoomId>, at: Timestamp) -> String {
    match possibility {
        Possibility::InARoomNotSeen => "in a room that the organization does not see (--room ROOM)".to_owned(),
        Possibility::InAnotherRoom => match room {
            Some(room) => format!("in another room than {room} (leave --room out)"),
            None => "in another room".to_owned(),
        },
        Possibility::Deleted => "deleted".to_owned(),
        Possibility::NeverExisted => "an id that was never written".to_owned(),
        Possibility::NewerThanTheInstant => format!("newer than {at}, by its id (--at INSTANT)"),
    }
}

/// Whether the stored limit still says what a computation would, and what to do if not.
fn print_freshness(found: &MessageExplanation) {
    let Some(fresh) = &found.fresh else { return };
    let again = format!("lanner rerun --organization {} --reason WORDS", found.organization.id);
    let oldest = fresh.row.first_visible_message_id().map_or_else(|| "none".to_owned(), |id| id.to_string());
    let policy = if fresh.row.policy == found.policy {
        String::new()
    } else {
        format!("\nThe policy in force is another one:\n  {}", policy_in_words(&fresh.row.policy))
    };
    if found.is_stale() {
        let now = match fresh.visibility {
            Visibility::Visible => "is visible",
            _ => "is hidden",
        };
        say!(
            "\nThe stored limit is stale: by a computation for {} the\nmessage {now} (boundary {oldest}).{policy}\nTo store it: {again}",
            found.at
        );
    } else if found.limit_differs() {
        say!(
            "\nA computation for {} finds the boundary {oldest};\nfor this message that changes nothing.{policy}\nTo store it: {again}",
            found.at
        );
    }
}
