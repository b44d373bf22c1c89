//! `lanner status --shards`: how the shards of `follow-limits` are doing, as they last told.

use std::time::Duration;

use chat::Timestamp;
use jobs::limits::follow_limits::{ShardStatus, statuses};
use serde_json::json;

use super::App;
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Column, bytes_in_words, say, short, table, thousands};
use crate::wiring;

/// A shard tells every five seconds: one that has not for this long does not run, or hangs.
const SILENT_FROM: Duration = Duration::from_secs(30);

pub(super) async fn run(app: &App) -> Outcome {
    let shards = match wiring::open_state(&app.settings, "status").await? {
        Some(opened) => statuses(&*opened.state).await.map_err(|error| Failure::new(exit::FAILED, error))?,
        None => Vec::new(),
    };
    if app.json {
        output::json(&json!({ "shards": shards }))?;
    } else {
        print(&shards);
    }
    Ok(exit::DONE)
}

fn print(shards: &[ShardStatus]) {
    if shards.is_empty() {
        say!("no shard has told anything for a day: lanner follow-limits runs one");
        return;
    }
    let columns = [
        Column::Number("shard"),
        Column::Name("state"),
        Column::Number("behind"),
        Column::Number("records"),
        Column::Number("organizations"),
        Column::Number("dirty"),
        Column::Number("each"),
        Column::Number("drifted"),
    ];
    let now = Timestamp::now();
    let row = |shard: &ShardStatus| {
        vec![
            shard.shard.to_string(),
            state(shard, now),
            short(Duration::from_millis(shard.lag_ms)),
            thousands(shard.lag_records),
            thousands(shard.organizations),
            thousands(shard.dirty),
            bytes_in_words(shard.set_bytes / shard.organizations.max(1)),
            thousands(shard.drifted),
        ]
    };
    say!("{}", table(&columns, shards.iter().map(row)));
}

fn state(shard: &ShardStatus, now: Timestamp) -> String {
    let silent = Duration::from_millis(now.as_millis().saturating_sub(shard.told_at.as_millis()));
    match (silent >= SILENT_FROM, shard.has_caught_up) {
        (true, _) => format!("silent for {}", short(Duration::from_secs(silent.as_secs()))),
        (false, true) => "follows".to_owned(),
        (false, false) => "catches up".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_does_not_tell_any_more_is_said_to_be_silent() {
        let told = json!({
            "shard": 0, "shards": 1, "epoch": 1, "told_at": "2026-11-01T00:00:00.000Z", "has_caught_up": true,
            "lag_records": 0, "lag_ms": 0, "organizations": 0, "dirty": 0, "set_bytes": 0, "reconciled": 0, "drifted": 0,
        });
        let shard: ShardStatus = serde_json::from_value(told).expect("a status");
        let later = |s: u64| shard.told_at.plus_millis(1_000 * s);
        assert_eq!(state(&shard, later(6)), "follows");
        assert_eq!(state(&ShardStatus { has_caught_up: false, ..shard.clone() }, later(6)), "catches up");
        assert_eq!(state(&shard, later(90)), "silent for 1 min 30 s");
    }
}
