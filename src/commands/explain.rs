//! `lanner explain`: why an organization sees what it sees, why it sees a message or not, what stands out in a run.

mod message;
mod run;

use chat::ledger::State;
use chat::{LimitRow, MessageId, OrganizationId, Plan, RoomId, RunId, Timestamp};
use clap::Args;
use jobs::operate::explain::{Explanation, Rule, explain};
use serde_json::json;

use super::App;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, BRIEF, Column, brief, facts, minute, or_dash, say, table, thousands};
use crate::wiring;

/// Explain what an organization sees, whether it sees a message, or what stands out in a run
///
/// With --organization: which rule binds, which rooms contribute, what is hidden. With --message as well: whether that message is
/// visible, by which rule, and its place among the newest. With --run: what is late, absent, failed, and what to do about it.
#[derive(Args, Debug)]
#[command(override_usage = "lanner explain --organization ID [--at INSTANT] [--rooms N]
       lanner explain --organization ID --message ID [--room ID] [--at INSTANT]
       lanner explain --run RUN")]
pub(crate) struct ExplainArgs {
    /// The organization
    #[arg(long, value_name = "ID", required_unless_present = "run")]
    organization: Option<OrganizationId>,
    /// Whether the organization sees this message
    #[arg(long, value_name = "ID", requires = "organization")]
    message: Option<MessageId>,
    /// The room of the message [default: it is looked for in all rooms of the organization]
    #[arg(long, value_name = "ID", requires = "message")]
    room: Option<RoomId>,
    /// What is late, absent or failed in this run
    #[arg(long, value_name = "RUN", conflicts_with_all = ["organization", "message", "room", "at", "rooms"])]
    run: Option<RunId>,
    /// Explain what is seen at this instant [default: now]
    #[arg(long, value_name = "INSTANT")]
    at: Option<Timestamp>,
    /// Show so many rooms, those that contribute most
    #[arg(long, value_name = "N", default_value_t = 15, conflicts_with = "message")]
    rooms: usize,
}

pub(crate) async fn run(app: &App, args: &ExplainArgs) -> Outcome {
    let opened = wiring::open(&app.settings, wiring::Access::Read, "explain").await?;
    let at = args.at.unwrap_or_else(Timestamp::now);
    if let Some(run) = &args.run {
        return run::explain(app, &opened.ports, run, at).await;
    }
    let Some(organization) = args.organization else { return Err(Failure::usage("name an organization or a run")) };
    if let Some(message) = args.message {
        return message::explain(app, &opened.ports, (organization, message, args.room), at).await;
    }
    let found = explain(&opened.ports, organization, app.settings.policy(at)?, at).await?;
    if app.json {
        output::json(&as_json(&found))?;
    } else {
        print(&found, &opened.ports, args.rooms);
    }
    Ok(exit::DONE)
}

fn as_json(found: &Explanation) -> serde_json::Value {
    let rooms: Vec<_> = found.rooms.iter().map(|(room, share)| json!({"room": room, "share": share})).collect();
    let attempts: Vec<_> = found.attempts.iter().map(|(run, row)| json!({"run": run, "organization": row})).collect();
    json!({
        "organization": found.organization.id,
        "plan": plan_word(found.organization.plan),
        "at": found.at,
        "rule": found.rule,
        "policy": found.policy,
        "boundary": found.boundary,
        "stored": found.stored,
        "total": found.total(),
        "rooms": rooms,
        "attempts": attempts,
        "history": found.history,
    })
}

fn print(found: &Explanation, ports: &jobs::Ports, rooms_shown: usize) {
    let total = found.total();
    let rule = match found.rule {
        Rule::Unlimited => "none: the plan does not limit".to_owned(),
        Rule::AgeUntilComputed => "age alone: no limit is computed yet".to_owned(),
        Rule::Age if found.stored.as_ref().and_then(LimitRow::first_visible_message_id).is_some() => {
            "age: the count boundary has grown older than the age".to_owned()
        }
        Rule::Age => "age: there are not more messages than the policy shows".to_owned(),
        Rule::Count => format!("count: the newest {} messages", thousands(found.policy.n() as u64)),
    };
    let boundary = found.boundary.map_or_else(|| "none".to_owned(), |id| format!("{id} ({})", ports.epoch.time_of(id)));
    let mut lines = vec![
        ("organization", found.organization.id.to_string()),
        ("plan", plan_word(found.organization.plan).to_owned()),
        ("rule that binds", rule),
        ("oldest visible id", boundary),
    ];
    lines.extend(computed_facts(found.stored.as_ref()));
    let visible = format!("{} messages in {} rooms", thousands(total.visible), thousands(found.rooms.len() as u64));
    lines.extend([
        ("visible", visible),
        ("hidden by count", thousands(total.hidden_by_count)),
        ("hidden by age", thousands(total.hidden_by_age)),
    ]);
    say!("{}", facts(&lines));
    if !found.rooms.is_empty() {
        let columns = [
            Column::Number("room"),
            Column::Number("visible"),
            Column::Number("by count"),
            Column::Number("by age"),
            Column::Name("newest message"),
        ];
        let rows = found.rooms.iter().take(rooms_shown).map(|(room, share)| {
            vec![
                room.to_string(),
                thousands(share.visible),
                thousands(share.hidden_by_count),
                thousands(share.hidden_by_age),
                or_dash(share.newest.map(|id| minute(ports.epoch.time_of(id)))),
            ]
        });
        say!("\n{}", table(&columns, rows));
        if found.rooms.len() > rooms_shown {
            say!("... and {} more rooms (--rooms N)", thousands((found.rooms.len() - rooms_shown) as u64));
        }
    }
    print_past(found);
}

const fn plan_word(plan: Plan) -> &'static str {
    match plan {
        Plan::Free => "free",
        Plan::Paid => "paid",
    }
}

/// For which instant the stored limit was computed, and by which run.
fn computed_facts(stored: Option<&LimitRow>) -> [(&'static str, String); 2] {
    let of = |word: fn(&LimitRow) -> String| stored.map_or_else(|| "never".to_owned(), word);
    [("computed as of", of(|row| row.version.as_of.to_string())), ("by run", of(|row| row.run.to_string()))]
}

fn print_past(found: &Explanation) {
    if !found.attempts.is_empty() {
        let columns = [Column::Name("run"), Column::Name("state"), Column::Number("attempts"), Column::Text("error")];
        let rows = found.attempts.iter().map(|(run, row)| {
            let error = row.error.as_deref().filter(|_| row.state != State::Done).unwrap_or_default();
            vec![run.to_string(), row.state.to_string(), row.attempts.to_string(), brief(error, BRIEF)]
        });
        say!("\n{}", table(&columns, rows));
    }
    if !found.history.is_empty() {
        let columns =
            [Column::Name("boundary as of"), Column::Number("from"), Column::Number("to"), Column::Text("cause")];
        let rows = found
            .history
            .iter()
            .map(|entry| vec![minute(entry.as_of), or_dash(entry.old), or_dash(entry.new), entry.cause.clone()]);
        say!("\n{}", table(&columns, rows));
    }
}
