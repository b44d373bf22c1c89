//! `lanner rerun --organizations-file`: one run for all organizations of a file.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::anyhow;
use chat::OrganizationId;
use chat::ledger::NewRun;
use jobs::Ports;
use jobs::limits::Until;
use jobs::operate::rerun::{Difference, Differences, check_known, differences};
use serde_json::{Value, json};

use super::limited_by;
use crate::commands::retry::{SHOWN, give_account};
use crate::commands::run::{Start, drive, outcome_of};
use crate::commands::{Action, App};
use crate::exit::{self, Failure, Outcome};
use crate::output::{Column, JsonList, facts, or_dash, say, signed, table, thousands};
use crate::progress::Progress;

/// Organizations that one file can name: 8 MB of ids.
const ORGANIZATIONS_MAX: usize = 1_000_000;
/// Bytes of a line.
const LINE_MAX: u64 = 1_000;
/// Bad lines that an error names.
const BAD_SHOWN: usize = 10;

/// The organizations of a file, ascending, each once. An error names the lines that hold none.
pub(super) fn read(path: &Path) -> Result<Vec<OrganizationId>, Failure> {
    if path == Path::new("-") {
        return parse(std::io::stdin().lock()).map_err(|failure| failure.about(Path::new("standard input")));
    }
    let file = std::fs::File::open(path).map_err(|error| Failure::new(exit::INPUT, error).about(path))?;
    parse(BufReader::new(file)).map_err(|failure| failure.about(path))
}

fn parse(mut text: impl BufRead) -> Result<Vec<OrganizationId>, Failure> {
    let input = |words: String| Failure::new(exit::INPUT, anyhow!(words));
    let (mut ids, mut bad) = (Vec::new(), Vec::new());
    let mut bad_lines = 0_u64;
    for number in 1_u64.. {
        let mut line = Vec::new();
        if text.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() as u64 == LINE_MAX && !line.ends_with(b"\n") {
            return Err(input(format!("line {number} is longer than {LINE_MAX} bytes: write one id a line")));
        }
        let line = String::from_utf8_lossy(&line);
        let id = line.trim_start_matches('\u{feff}').split('#').next().unwrap_or_default().trim();
        match id.parse() {
            _ if id.is_empty() => {}
            Ok(id) => ids.push(id),
            Err(error) => {
                bad_lines += 1;
                if bad.len() < BAD_SHOWN {
                    bad.push(format!("line {number}: {error}"));
                }
            }
        }
        if ids.len() >= 2 * ORGANIZATIONS_MAX {
            ids.sort_unstable();
            ids.dedup();
        }
        if ids.len() >= 2 * ORGANIZATIONS_MAX {
            break;
        }
    }
    if bad_lines > 0 {
        let more = bad_lines - bad.len() as u64;
        let more = if more > 0 { format!("\nand {more} more lines") } else { String::new() };
        return Err(input(format!("{}{more}", bad.join("\n"))));
    }
    ids.sort_unstable();
    ids.dedup();
    match ids.len() {
        0 => Err(input("it names no organization".to_owned())),
        n if n > ORGANIZATIONS_MAX => Err(input(format!("it names more than {ORGANIZATIONS_MAX} organizations"))),
        _ => Ok(ids),
    }
}

/// Computes all of `ids` anew in one run; without a reason only shows what would change.
pub(super) async fn rerun(
    app: &App,
    ports: &Ports,
    ids: &[OrganizationId],
    new: &NewRun,
    reason: Option<&String>,
) -> Outcome {
    check_known(ports, ids).await?;
    let Some(reason) = reason else {
        return tokio::select! {
            outcome = dry_run(app, ports, ids, new) => outcome,
            () = app.stop.cancelled() => {
                Err(Failure::new(exit::TEMPORARY, anyhow!("interrupted: nothing was written, run it again")))
            }
        };
    };
    let target = format!("{} organizations in run {}", ids.len(), new.id);
    let action = Action { name: "rerun", target, reason: reason.clone() };
    action.record(&*ports.ledger, "started").await?;
    let driven = drive(app, ports, Start::Named(new, ids), Until::Settled).await;
    action.record(&*ports.ledger, outcome_of(&driven)).await?;
    driven?;
    give_account(app, ports, &new.id, ids).await
}

async fn dry_run(app: &App, ports: &Ports, ids: &[OrganizationId], new: &NewRun) -> Outcome {
    let head = json!({"as_of": new.as_of, "policy": new.policy});
    let mut list = app.json.then(|| JsonList::begin(&head, "organizations")).transpose()?;
    let mut bar = Progress::new("organizations", app.json);
    let (mut done, mut failed, mut shown) = (0, None, Vec::new());
    let sums = differences(ports, ids, (new.as_of, new.policy), &new.id, |one| {
        done += 1;
        bar.at(done, ids.len() as u64);
        if let Some(Err(error)) = list.as_mut().map(|list| list.item(&as_json(one))) {
            failed.get_or_insert(error);
        }
        if list.is_none() && shown.len() < SHOWN && one.moves() {
            shown.push(one.clone());
        }
    })
    .await?;
    bar.finish();
    if let Some(error) = failed {
        return Err(error.into());
    }
    match list {
        Some(list) => list.end(&totals(&sums))?,
        None => print(&sums, &shown),
    }
    Ok(exit::DONE)
}

fn as_json(one: &Difference) -> Value {
    json!({
        "organization": one.organization.id,
        "before": one.stored,
        "after": one.computed,
        "changes": one.changes(),
        "moves": one.moves(),
    })
}

fn totals(sums: &Differences) -> Value {
    json!({"totals": {
        "organizations": sums.organizations,
        "changed": sums.changed,
        "unlimited": sums.unlimited,
        "become_visible": sums.become_visible,
        "become_hidden": sums.become_hidden,
    }})
}

fn print(sums: &Differences, shown: &[Difference]) {
    say!(
        "{}",
        facts(&[
            ("organizations", thousands(sums.organizations)),
            ("another limit", thousands(sums.changed)),
            ("plan limits not", thousands(sums.unlimited)),
            ("become visible", format!("{} messages", thousands(sums.become_visible))),
            ("become hidden", format!("{} messages", thousands(sums.become_hidden))),
        ])
    );
    if !shown.is_empty() {
        let columns = [
            Column::Number("organization"),
            Column::Number("change"),
            Column::Text("limited by"),
            Column::Number("boundary before"),
            Column::Number("after"),
        ];
        let rows = shown.iter().map(|one| {
            let by = |row: Option<&chat::LimitRow>| row.map_or("-", limited_by);
            let boundary =
                |row: Option<&chat::LimitRow>| or_dash(row.and_then(chat::LimitRow::first_visible_message_id));
            let (old, new) = (one.stored.as_ref(), one.computed.as_ref());
            vec![
                one.organization.id.to_string(),
                signed(one.visible_change()),
                if by(old) == by(new) { by(old).to_owned() } else { format!("{}, then {}", by(old), by(new)) },
                boundary(old),
                boundary(new),
            ]
        });
        say!("\n{}", table(&columns, rows));
        if sums.changed > shown.len() as u64 {
            say!("... and {} more (--json prints all)", thousands(sums.changed - shown.len() as u64));
        }
    }
    say!("\ndry run: nothing was written");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Result<Vec<u64>, String> {
        let parsed = parse(text.as_bytes()).map_err(|failure| format!("{} {:#}", failure.code, failure.error));
        parsed.map(|ids| ids.into_iter().map(OrganizationId::get).collect())
    }

    #[test]
    fn a_file_holds_one_id_a_line_with_comments_blank_lines_and_duplicates() {
        assert_eq!(ids("\u{feff}# asked for\r\n7\r\n\n 3 # the small one\n7\n0"), Ok(vec![0, 3, 7]));
    }

    #[test]
    fn bad_lines_are_named_with_their_number() {
        let error = ids("1\n\n# fine\n-4\n2, 3\n5").expect_err("bad lines");
        assert!(
            error.starts_with("65 ") && error.contains("line 4: '-4'") && error.contains("line 5: '2, 3'"),
            "{error}"
        );
        let many = ids(&"x\n".repeat(30)).expect_err("bad lines");
        assert!(many.contains("line 10:") && !many.contains("line 11:") && many.contains("and 20 more"), "{many}");
        assert!(ids("# nothing\n\n").expect_err("nothing").contains("names no organization"));
        assert!(ids(&"1".repeat(5_000)).expect_err("a long line").contains("line 1 is longer"));
    }
}
