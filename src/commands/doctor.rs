//! `lanner doctor`: looks at every configured system and says what is wrong and what to do.

use std::collections::BTreeSet;
use std::time::Duration;

use chat::Timestamp;
use futures::FutureExt as _;
use jobs::operate::doctor::{Finding, Level};
use serde_json::json;

use super::App;
use super::run::policy_in_words;
use crate::exit::{self, Outcome};
use crate::output::{self, Column, say, table};
use crate::settings::{Settings, Source};
use crate::wiring::{self, Check};

/// How long one system may take to answer.
const WAIT: Duration = Duration::from_secs(5);

/// Looks at everything.
pub(crate) async fn run(app: &App) -> Outcome {
    let mut found = vec![settings(&app.settings)];
    let mut checks = wiring::checks(&app.settings);
    checks.extend(http(&app.settings.http.listen));
    let others = look(checks, &found, WAIT).await;
    found.extend(others);
    for finding in &mut found {
        for words in [&mut finding.found, &mut finding.advice] {
            *words = app.settings.layers().without_secrets(words);
        }
    }
    tell(app.json, &found)
}

/// When the settings cannot be read, nothing else can be looked at.
pub(crate) fn without_settings(as_json: bool, error: &anyhow::Error) -> Outcome {
    let rest = Finding::bad("all others", Level::Skipped, "not looked at: settings has to work first", "");
    tell(as_json, &[Finding::bad("settings", Level::Wrong, exit::in_words(error), "correct them"), rest])
}

fn settings(settings: &Settings) -> Finding {
    let policy = match settings.policies().in_force(Timestamp::now()) {
        Ok(period) => policy_in_words(&period.policy),
        Err(error) => return Finding::bad("settings", Level::Wrong, error.to_string(), ""),
    };
    let entries = settings.layers().iter().flat_map(|layer| layer.tables.iter().flatten());
    let given = entries.filter(|entry| entry.source != Source::Default).count();
    Finding::ok("settings", format!("{given} given, the others by default; policy: {policy}"))
}

/// Whether probes and metrics have an address that can be listened on; nothing where they have none.
fn http(listen: &str) -> Option<Check<'_>> {
    let look = async move {
        let wrong = |words: String| {
            let advice = "set http.listen to ADDRESS:PORT, such as 0.0.0.0:9090";
            Finding::bad("http", Level::Wrong, format!("http.listen = {listen:?}: {words}"), advice)
        };
        vec![match tokio::net::lookup_host(listen).await.map(|mut addresses| addresses.next()) {
            Ok(Some(address)) => Finding::ok("http", format!("probes and metrics are told on {address}")),
            Ok(None) => wrong("no address has this name".to_owned()),
            Err(error) => wrong(error.to_string()),
        }]
    };
    (!listen.is_empty()).then(|| Check { system: "http", needs: &[], look: look.boxed() })
}

/// Runs the checks one after the other; what needs a system that does not work is skipped.
async fn look(checks: Vec<Check<'_>>, before: &[Finding], wait: Duration) -> Vec<Finding> {
    let broken = |found: &[Finding]| -> BTreeSet<&'static str> {
        let bad = found.iter().filter(|finding| matches!(finding.level, Level::Wrong | Level::Unavailable));
        bad.map(|finding| finding.system).collect()
    };
    let mut not_working = broken(before);
    let mut all = Vec::new();
    for check in checks {
        let found = match check.needs.iter().find(|needed| not_working.contains(*needed)) {
            Some(needed) => {
                // What needs this one cannot be looked at either.
                not_working.insert(check.system);
                let words = format!("not looked at: {needed} has to work first");
                vec![Finding::bad(check.system, Level::Skipped, words, "")]
            }
            None => tokio::time::timeout(wait, check.look).await.unwrap_or_else(|_| {
                let words = format!("no answer within {} s", wait.as_secs());
                vec![Finding::bad(check.system, Level::Unavailable, words, "look again later")]
            }),
        };
        not_working.extend(broken(&found));
        all.extend(found);
    }
    all
}

fn tell(as_json: bool, found: &[Finding]) -> Outcome {
    let worst = found.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
    if as_json {
        output::json(&json!({"level": worst, "findings": found}))?;
    } else {
        print(found);
    }
    Ok(match worst {
        Level::Wrong => exit::CONFIGURATION,
        Level::Unavailable => exit::TEMPORARY,
        Level::Ok | Level::Warning | Level::Skipped => exit::DONE,
    })
}

fn print(found: &[Finding]) {
    let columns = [Column::Name("level"), Column::Name("system"), Column::Text("what was found, and what to do")];
    let rows = found.iter().map(|finding| {
        let advice = if finding.advice.is_empty() { String::new() } else { format!("\n-> {}", finding.advice) };
        vec![finding.level.as_str().to_owned(), finding.system.to_owned(), format!("{}{advice}", finding.found)]
    });
    say!("{}", table(&columns, rows));
    let counts = [(Level::Wrong, "wrong"), (Level::Unavailable, "unavailable"), (Level::Warning, "to look at")];
    let counts = counts.map(|(level, word)| (found.iter().filter(|finding| finding.level == level).count(), word));
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    say!("\n{}", if words.is_empty() { "all is well".to_owned() } else { words.join(", ") });
}

#[cfg(test)]
mod tests {
    use futures::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_needs_a_broken_system_is_skipped_and_what_hangs_is_given_up() {
        let fine = |system| ready(vec![Finding::ok(system, "fine")]).boxed();
        let wrong = ready(vec![Finding::bad("a", Level::Wrong, "broken", "mend it")]).boxed();
        let checks = vec![
            Check { system: "a", needs: &[], look: wrong },
            Check { system: "b", needs: &["a"], look: fine("b") },
            Check { system: "c", needs: &["b"], look: fine("c") },
            Check { system: "d", needs: &["settings"], look: pending().boxed() },
            Check { system: "e", needs: &[], look: fine("e") },
        ];
        let found = look(checks, &[Finding::ok("settings", "fine")], WAIT).await;
        let levels: Vec<_> = found.iter().map(|finding| (finding.system, finding.level)).collect();
        let expected = [
            ("a", Level::Wrong),
            ("b", Level::Skipped),
            ("c", Level::Skipped),
            ("d", Level::Unavailable),
            ("e", Level::Ok),
        ];
        assert_eq!(levels, expected);
        assert!(found[3].found.contains("5 s"), "{}", found[3].found);
    }
}
