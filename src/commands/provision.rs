//! `lanner provision`: makes the tables and queues that the settings name.

use clap::Args;
use serde_json::json;

use super::rerun::not_blank;
use super::{Action, App};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, say, table};
use crate::wiring::{Item, Provision};

/// Make the tables and queues that the settings name
///
/// For development: local servers, or an account of your own. What exists is left as it is; what has other keys is an error.
/// Without aws.credentials = "local" nothing is made unless --at-aws says that it is meant. Embedded adapters need nothing.
#[derive(Args, Debug)]
pub(crate) struct ProvisionArgs {
    /// Also make tables and queues with real credentials of AWS, which cost money there
    #[arg(long)]
    at_aws: bool,
    /// Show what is missing, make nothing
    #[arg(long)]
    dry_run: bool,
    /// Why: it is kept in the audit
    #[arg(long, value_name = "WORDS", required_unless_present = "dry_run", value_parser = not_blank)]
    reason: Option<String>,
}

pub(crate) async fn run(app: &App, args: &ProvisionArgs) -> Outcome {
    let provision = Provision::open(&app.settings).await?;
    let Some(reason) = args.reason.as_ref().filter(|_| !args.dry_run) else {
        show(app, &provision.look().await?, true)?;
        return Ok(exit::DONE);
    };
    let at_aws = provision.at_aws();
    if !at_aws.is_empty() && !args.at_aws {
        return Err(Failure::usage(format!(
            "this would make tables or queues in {} with real credentials of AWS: say --at-aws if that is meant, or set \
             aws.credentials to \"local\" for local servers (--dry-run shows what is missing)",
            at_aws.join(" and ")
        )));
    }
    let items = provision.make().await?;
    // Where every adapter is embedded nothing was done, and no data directory is made for saying so.
    if !items.is_empty() {
        let (ledger, _data_dir) = provision.ledger().await?;
        let made = items.iter().filter(|item| item.made).count();
        let target = format!("{} tables and queues", items.len());
        let action = Action { name: "provision", target, reason: reason.clone() };
        action.record(&*ledger, format!("{made} made")).await?;
    }
    show(app, &items, false)?;
    Ok(exit::DONE)
}

fn show(app: &App, items: &[Item], dry_run: bool) -> Result<(), Failure> {
    if app.json {
        output::json(&json!({"items": items, "dry_run": dry_run}))?;
        return Ok(());
    }
    if items.is_empty() {
        say!("every adapter is embedded: nothing has to be made");
        return Ok(());
    }
    let columns = [Column::Text("what"), Column::Text("name"), Column::Text("")];
    let words = |item: &Item| match (item.made, item.exists) {
        (true, _) => "made",
        (false, true) => "there already",
        (false, false) => "missing",
    };
    let rows = items.iter().map(|item| vec![item.kind.replace('_', " "), item.name.clone(), words(item).to_owned()]);
    say!("{}", table(&columns, rows));
    if dry_run {
        say!("\ndry run: nothing was made");
    }
    Ok(())
}
