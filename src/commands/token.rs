//! `lanner token`: a bearer token for the HTTP interfaces.

use std::time::Duration;

use chat::{AccountId, OrganizationId, RoomId, Timestamp};
use clap::Args;
use jobs::messages::Caller;

use super::App;
use crate::exit::{self, Failure, Outcome};
use crate::output::{json, say};
use crate::wiring;

/// Issue a bearer token for an account
///
/// Signed by the first key of auth.jwks that can sign, or by the data directory's own. For trying things out and for tests: in
/// production whoever signs people in issues tokens.
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    /// The account
    #[arg(long, value_name = "ID")]
    account: AccountId,
    /// Its organization [default: as the directory says]
    #[arg(long, value_name = "ID")]
    organization: Option<OrganizationId>,
    /// May act as administrator of the rooms that the account is a member of
    #[arg(long)]
    admin: bool,
    /// How long it is valid, such as 1h or 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    expires_in: Duration,
}

pub(crate) async fn run(app: &App, args: &TokenArgs) -> Outcome {
    let (keys, directory) = wiring::open_issuer(&app.settings).await?;
    let organization = match args.organization {
        Some(organization) => organization,
        None => {
            // Whatever the room: the answer tells whose account it is.
            let asked = [(args.account, RoomId::from_bits(0))];
            let found = directory.participants(&asked).await?.into_iter().next().flatten();
            let unknown = || Failure::usage(format!("account {} is unknown or not active", args.account));
            found.ok_or_else(unknown)?.organization
        }
    };
    let caller = Caller { account: args.account, organization, is_admin: args.admin };
    let now = Timestamp::now();
    let token = keys.sign(caller, args.expires_in, now);
    let token = token.map_err(|error| Failure::new(exit::CONFIGURATION, error))?;
    if app.json {
        let expires_at = now.plus_millis(u64::try_from(args.expires_in.as_millis()).unwrap_or(u64::MAX));
        let (account, organization) = (args.account, organization);
        json(&serde_json::json!({
            "token": token, "account": account, "organization": organization, "admin": args.admin, "expires_at": expires_at,
        }))?;
    } else {
        say!("{token}");
    }
    Ok(exit::DONE)
}
