//! `lanner organizations`: who is in the directory, and changes of plan.

use chat::{LimitRow, OrganizationId, OrganizationRecord, Plan, Standing};
use clap::{Args, Subcommand};
use jobs::limits::SET_PLAN;
use jobs::operate::organizations::{Known, PlanChange, plan_change, set_plan, show};
use serde_json::{Value, json};

use super::rerun::{limited_by, not_blank};
use super::{Action, App, manual_run_id};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, brief, facts, minute, or_dash, say, table, thousands};
use crate::wiring::{self, Opened};

/// Characters of a name that are shown; --json has all.
const NAME_SHOWN: usize = 60;

/// The organizations of the directory
#[derive(Subcommand, Debug)]
pub(crate) enum OrganizationsCommand {
    /// List organizations with their accounts and rooms, ordered by id
    List(ListArgs),
    /// Show one organization: accounts, rooms, stored limit, last run
    Show(ShowArgs),
    SetPlan(SetPlanArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Only those on this plan: free or paid
    #[arg(long, value_name = "PLAN")]
    plan: Option<Plan>,
    /// Only those with a greater id
    #[arg(long, value_name = "ID")]
    after: Option<OrganizationId>,
    /// At most so many, up to 10000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// The organization
    #[arg(value_name = "ID")]
    id: OrganizationId,
}

/// Change the plan of an organization
///
/// On the paid plan everything is visible, at once: a stored limit is released. On the free plan age alone limits until a run has
/// computed the organization's limit.
#[derive(Args, Debug)]
pub(crate) struct SetPlanArgs {
    /// The organization
    #[arg(value_name = "ID")]
    id: OrganizationId,
    /// Its new plan: free or paid
    #[arg(value_name = "PLAN")]
    plan: Plan,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", required_unless_present = "dry_run", value_parser = not_blank)]
    reason: Option<String>,
    /// Show what would change, write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(app: &App, command: &OrganizationsCommand) -> Outcome {
    let access = match command {
        OrganizationsCommand::SetPlan(args) if !args.dry_run => wiring::Access::Write,
        _ => wiring::Access::Read,
    };
    let opened = wiring::open(&app.settings, access, "organizations").await?;
    match command {
        OrganizationsCommand::List(args) => list(app, &opened, args).await,
        OrganizationsCommand::Show(args) => {
            let known = show(&opened.ports, &*opened.owned_directory, args.id).await?;
            if app.json {
                output::json(&known_as_json(&known))?;
            } else {
                print(&known, &opened);
            }
            Ok(exit::DONE)
        }
        OrganizationsCommand::SetPlan(args) => change_plan(app, &opened, args).await,
    }
}

async fn list(app: &App, opened: &Opened, args: &ListArgs) -> Outcome {
    let limit = usize::from(args.limit);
    // One more than is shown tells whether there are more.
    let mut records = opened.owned_directory.page(args.plan, args.after, limit + 1).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    if app.json {
        output::json(&records.iter().map(record_as_json).collect::<Vec<_>>())?;
        return Ok(exit::DONE);
    }
    if records.is_empty() {
        say!("no organizations");
        return Ok(exit::DONE);
    }
    let mut columns = vec![
        Column::Number("organization"),
        Column::Name("plan"),
        Column::Number("version"),
        Column::Number("accounts"),
        Column::Number("active"),
        Column::Number("rooms"),
    ];
    if records.iter().any(|record| record.name.is_some()) {
        columns.push(Column::Text("name"));
    }
    let rows = records.iter().map(|record| {
        vec![
            record.organization.id.to_string(),
            record.organization.plan.to_string(),
            record.organization.plan_version.to_string(),
            thousands(record.accounts),
            thousands(record.active_accounts),
            thousands(record.rooms),
            record.name.as_deref().map_or_else(|| "-".to_owned(), |name| brief(name, NAME_SHOWN)),
        ]
    });
    say!("{}", table(&columns, rows));
    if more && let Some(last) = records.last() {
        say!("\nthere are more: --after {}", last.organization.id);
    }
    Ok(exit::DONE)
}

fn record_as_json(record: &OrganizationRecord) -> Value {
    json!({
        "organization": record.organization.id,
        "name": record.name,
        "plan": record.organization.plan.as_str(),
        "plan_version": record.organization.plan_version,
        "accounts": record.accounts,
        "active_accounts": record.active_accounts,
        "rooms": record.rooms,
    })
}

fn known_as_json(known: &Known) -> Value {
    let mut value = record_as_json(&known.record);
    value["limit"] = json!(known.stored);
    value["last_run"] = json!(known.last_run.as_ref().map(|(run, row)| json!({"run": run, "organization": row})));
    value
}

fn print(known: &Known, opened: &Opened) {
    let record = &known.record;
    let plan = record.organization.plan;
    let limit = match known.stored.as_ref() {
        None if plan.is_limited() => "none yet: age alone, until a run computes it".to_owned(),
        None => "none: the plan does not limit".to_owned(),
        Some(row) => limit_in_words(row, opened),
    };
    let last_run = known.last_run.as_ref().map(|(run, row)| {
        let cause = row.error_class.as_ref().map(|class| format!(" ({class})")).unwrap_or_default();
        format!("{run}: {}{cause}", row.state)
    });
    say!(
        "{}",
        facts(&[
            ("organization", record.organization.id.to_string()),
            ("name", record.name.as_deref().map_or_else(|| "-".to_owned(), |name| brief(name, NAME_SHOWN))),
            ("plan", plan.to_string()),
            ("plan version", record.organization.plan_version.to_string()),
            ("accounts", format!("{} active of {}", thousands(record.active_accounts), thousands(record.accounts))),
            ("rooms", thousands(record.rooms)),
            ("limit", limit),
            ("computed as of", or_dash(known.limit().map(|row| row.version.as_of))),
            ("by run", or_dash(known.limit().map(|row| &row.run))),
            ("last run", last_run.unwrap_or_else(|| "none has covered it".to_owned())),
        ])
    );
}

fn limit_in_words(row: &LimitRow, opened: &Opened) -> String {
    let visible = thousands(u64::from(row.visible_messages));
    match row.standing {
        Standing::Released => format!("released {}", minute(row.computed_at)),
        Standing::NoCountLimit => format!("age: {visible} visible"),
        Standing::Limited(id) => {
            format!("count: {visible} visible from {id} ({})", minute(opened.ports.epoch.time_of(id)))
        }
    }
}

async fn change_plan(app: &App, opened: &Opened, args: &SetPlanArgs) -> Outcome {
    let (ports, owned) = (&opened.ports, &*opened.owned_directory);
    let before = show(ports, owned, args.id).await?;
    let Some(reason) = args.reason.as_ref().filter(|_| !args.dry_run) else {
        tell(app, &before, &plan_change(&before, args.plan), true)?;
        return Ok(exit::DONE);
    };
    let id = manual_run_id(SET_PLAN)?;
    let target = format!("organization {}: plan {} to {}", args.id, before.record.organization.plan, args.plan);
    let action = Action { name: "organizations set-plan", target, reason: reason.clone() };
    action.record(&*ports.ledger, "started").await?;
    let changed = set_plan(ports, owned, args.id, args.plan, &id).await;
    let outcome = match &changed {
        Ok(PlanChange { after, released: Some(_) }) => {
            format!("plan version {}, limit released as {id}", after.plan_version)
        }
        Ok(PlanChange { after, released: None }) => format!("plan version {}", after.plan_version),
        Err(error) => format!("failed: {error}"),
    };
    action.record(&*ports.ledger, outcome).await?;
    tell(app, &before, &changed?, false)?;
    Ok(exit::DONE)
}

fn tell(app: &App, before: &Known, change: &PlanChange, dry_run: bool) -> Result<(), Failure> {
    let (old, new) = (&before.record.organization, &change.after);
    if app.json {
        output::json(&json!({
            "organization": new.id,
            "before": {"plan": old.plan.as_str(), "plan_version": old.plan_version},
            "after": {"plan": new.plan.as_str(), "plan_version": new.plan_version},
            "changes": old != new || change.released.is_some(),
            "released": change.released,
            "dry_run": dry_run,
        }))?;
        return Ok(());
    }
    let limit = before.stored.as_ref().map_or("none", limited_by);
    // Also where it is `follow-limits` that has released it.
    let has_ended = before.limit().is_some() && !new.plan.is_limited();
    let after = if has_ended || change.released.is_some() { "released" } else { limit };
    let row = |name: &str, old: String, new: String| {
        let mark = if old == new { "" } else { "*" };
        vec![name.to_owned(), mark.to_owned(), old, new]
    };
    let columns = [Column::Text("what"), Column::Text(""), Column::Text("before"), Column::Text("after")];
    let rows = [
        row("organization", old.id.to_string(), new.id.to_string()),
        row("plan", old.plan.to_string(), new.plan.to_string()),
        row("plan version", old.plan_version.to_string(), new.plan_version.to_string()),
        row("limited by", limit.to_owned(), after.to_owned()),
    ];
    say!("{}", table(&columns, rows));
    say!("\n{}", what_now(before, change));
    if dry_run {
        say!("dry run: nothing was written");
    }
    Ok(())
}

/// What the organization's members see from now on, and what an operator can do about it.
fn what_now(before: &Known, change: &PlanChange) -> String {
    let id = change.after.id;
    if !change.after.plan.is_limited() {
        return "everything is visible".to_owned();
    }
    match before.limit() {
        Some(row) => format!("the stored limit as of {} stays in force until the next run", row.version.as_of),
        None => format!(
            "age alone limits until the next run; to compute the limit now:\n  lanner rerun --organization {id} --reason WORDS"
        ),
    }
}
