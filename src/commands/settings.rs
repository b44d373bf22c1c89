//! `lanner settings`: what is in force, where it comes from, and what it means.

use chat::{Period, Timestamp};
use clap::Args;
use serde_json::{Map, json};

use super::run::policy_in_words;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, WIDTH, say, wrapped};
use crate::settings::{DEFAULTS, Entry, Explanation, Layers, Settings, Source, explain};

/// Show the settings in force and where they come from
///
/// What differs from the defaults is marked with its source. A value that is given by reference is a secret: the reference is
/// shown in its place.
#[derive(Args, Debug)]
pub(crate) struct SettingsArgs {
    /// Print the documented defaults, as a file to start from
    #[arg(long, conflicts_with = "explain")]
    defaults: bool,
    /// Explain a key such as workers.in_flight, or every key of a section such as workers
    #[arg(long, value_name = "KEY")]
    explain: Option<String>,
}

impl SettingsArgs {
    /// True when nothing has to be read.
    pub(crate) fn only_defaults(&self) -> bool {
        self.defaults
    }
}

/// Prints the documented defaults.
pub(crate) fn defaults() -> Outcome {
    say!("{}", DEFAULTS.trim_end());
    Ok(exit::DONE)
}

pub(crate) fn run(as_json: bool, settings: &Settings, args: &SettingsArgs) -> Outcome {
    if let Some(word) = &args.explain {
        let explanation = explain(settings.layers(), word).map_err(Failure::usage)?;
        if as_json {
            output::json(&explanation)?;
        } else {
            say!("{}", in_words(&explanation));
        }
        return Ok(exit::DONE);
    }
    let now = settings.policies().in_force(Timestamp::now()).ok();
    if as_json {
        output::json(&json!({
            "settings": settings.layers().shown(),
            "sources": sources(settings.layers()),
            "policy_in_force": now,
        }))?;
    } else {
        say!("{}", as_file(settings, now)?);
    }
    Ok(exit::DONE)
}

/// Where each value that is no default comes from. Tables of a list are numbered from 0: `policy.0.max_age`.
fn sources(layers: &Layers) -> Map<String, serde_json::Value> {
    let mut sources = Map::new();
    for layer in layers.iter() {
        for (nth, table) in layer.tables.iter().enumerate() {
            let section = if layer.is_list { format!("{}.{nth}", layer.section) } else { layer.section.clone() };
            for entry in table.iter().filter(|entry| entry.source != Source::Default) {
                sources.insert(format!("{section}.{}", entry.key), json!(entry.source));
            }
        }
    }
    sources
}

/// The settings as a file that sets the same.
fn as_file(settings: &Settings, in_force: Option<&Period>) -> Result<String, Failure> {
    let mut lines = Vec::new();
    for layer in settings.layers().iter() {
        for table in &layer.tables {
            lines.push(match layer.is_list {
                true if in_force.is_some_and(|period| begins_with(table, period)) => {
                    format!("[[{}]]  # in force now", layer.section)
                }
                true => format!("[[{}]]", layer.section),
                false => format!("[{}]", layer.section),
            });
            for entry in table {
                let line = format!("{} = {}", entry.key, entry.shown());
                if entry.source == Source::Default {
                    lines.push(line);
                    continue;
                }
                let with_source = format!("{line}  # {}", entry.source);
                if with_source.chars().count() <= WIDTH {
                    lines.push(with_source);
                } else {
                    lines.extend([format!("# {}", entry.source), line]);
                }
            }
            lines.push(String::new());
        }
    }
    lines.push(match in_force {
        Some(period) => format!("# policy in force now: {}", policy_in_words(&period.policy)),
        None => "# no policy is in force now".to_owned(),
    });
    lines.push("# what a key means: lanner settings --explain KEY".to_owned());
    Ok(lines.join("\n"))
}

/// True for the policy of `period`: no two begin at the same instant.
fn begins_with(policy: &[Entry], period: &Period) -> bool {
    let from = policy.iter().find(|entry| entry.key == "from").map(Entry::shown);
    from.map(|from| from.as_str().and_then(|text| text.parse().ok())) == period.from.map(Some)
}

fn in_words(explanation: &Explanation) -> String {
    let mut parts = Vec::new();
    if let Some(section) = &explanation.section {
        let head = if section.list { format!("[[{}]]", section.name) } else { format!("[{}]", section.name) };
        parts.push(format!("{head}\n{}", wrapped(&section.about, 2)));
    }
    for key in &explanation.keys {
        let mut facts = Vec::new();
        if let Some(adapter) = &key.adapter {
            facts.push(("adapter", adapter.clone()));
        }
        if let Some((from, to)) = key.range {
            facts.push(("range", format!("{from} to {to}")));
        }
        if !key.one_of.is_empty() {
            facts.push(("one of", key.one_of.join(", ")));
        }
        facts.push(("default", key.default.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)));
        for value in &key.in_force {
            facts.push(("in force", format!("{} ({})", value.value, value.source)));
        }
        if key.in_force.is_empty() {
            facts.push(("in force", "none".to_owned()));
        }
        facts.push(("variable", key.environment.clone()));
        let facts = output::facts(&facts);
        let facts: Vec<String> = facts.lines().map(|line| format!("  {line}")).collect();
        parts.push(format!("{}\n{}\n{}", key.key, wrapped(&key.about, 2), facts.join("\n")));
    }
    parts.join("\n\n")
}
