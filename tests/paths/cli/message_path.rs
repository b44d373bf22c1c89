//! The message path as processes of the binary, over HTTP.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use support::message_path::{Feed, READ_MODEL, READS, Served, WRITES, push};
use support::{Program, until};
use tempfile::TempDir;

/// More events than the feed has.
const ALL: usize = usize::MAX;
const ROOM: u64 = 1;
const FOLLOW: &str = "follow-limits";

/// The chat of a feed in a data directory of its own.
fn program_for(feed: &Feed) -> (TempDir, Program) {
    let folder = TempDir::new().expect("a folder");
    let tables = folder.path().join("tables");
    feed.chat().write_csv(&tables);
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &folder.path().join("data"));
    program.run(&format!("import {}", tables.display())).exits(0);
    (folder, program)
}

/// The sum of a counter's series that have this label.
async fn counted(served: &Served, label: &str) -> u64 {
    let answer = served.read_model.send("GET", "/metrics", &[], None).await.expect("metrics");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let lines = text.lines().filter(|line| line.starts_with("lanner_events_total{") && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_feed_pushed_over_http_is_read_back() {
    let Some(feed) = Feed::find(ALL) else { return };
    let (_folder, program) = program_for(&feed);
    let program = program.with("LANNER_POLICY", "[{max_messages=200}]").with("LANNER_FOLLOW_LIMITS_SAVE_EVERY_MS", 300);
    // What drifts is not to be cured before it is seen.
    let program = program.with("LANNER_FOLLOW_LIMITS_RECONCILE_EVERY_MS", 0);
    let served = Served::new(&program);
    served.start_all().await;
    let killing = async {
        for _ in 0..4 {
            served.start(FOLLOW);
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            served.kill(FOLLOW);
        }
        served.start(FOLLOW);
    };
    let (pushed, ()) = tokio::join!(push(&served, &feed, 32), killing);
    pushed.check(&served, &feed).await;
    // Of the process that was killed the lease holds for a while yet.
    program.reconciles();
    let shards = program.run("status --shards").exits(0).out;
    assert!(shards.contains("follows"), "{shards}");
    let limits = program.run("limits export").exits(0).out;
    assert!(limits.lines().any(|line| line.contains(",200,")), "somebody has the newest 200: {limits}");
    assert_eq!(served.stop(FOLLOW), Some(0));
    assert_eq!(pushed.repeated, 0, "nothing failed");
    assert_eq!(counted(&served, "outcome=\"unknown\"").await, feed.orphans() as u64);
    assert_eq!(feed.orphans(), 7, "what is known of this feed");
    for job in [WRITES, READ_MODEL, READS] {
        assert_eq!(served.stop(job), Some(0), "{job}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_outlive_the_writing_side_and_writers_the_reading_side() {
    let feed = Feed::random(1, 60, 2);
    let (_folder, program) = program_for(&feed);
    let served = Served::new(&program);
    served.start_all().await;
    let pushed = push(&served, &feed, 2).await;
    pushed.check(&served, &feed).await;
    served.kill(WRITES);
    served.kill(READ_MODEL);
    pushed.check(&served, &feed).await;
    served.kill(READS);
    served.start(WRITES);
    until("the service answers", async || served.writes.send("GET", "/openapi.json", &[], None).await.is_ok()).await;
    let more = Feed { name: "once more".to_owned(), ..feed };
    let accepted = push(&served, &more, 2).await;
    assert_eq!(accepted.versions.len(), 2);
}

/// The texts that an account sees in the room.
async fn seen(served: &Served, token: &str) -> Vec<String> {
    let answer = served.reads.get(&format!("/v1/rooms/{ROOM}/messages?limit=100"), token).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.json());
    let text = |message: &Value| message["body"].as_str().expect("a text").to_owned();
    answer.json()["messages"].as_array().expect("messages").iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_organization_sees_what_the_limit_shows_and_an_upgrade_shows_all_at_once() {
    // Account 4 is of organization 1, which is free.
    let mut feed = Feed::random(3, 1, 1);
    feed.events.iter_mut().for_each(|event| event.account = 4);
    let (_folder, program) = program_for(&feed);
    let served = Served::new(&program);
    served.start_all().await;
    let token = served.token(4, 1, false);
    let headers = [("authorization", &*format!("Bearer {token}")), ("prefer", "wait=10")];
    let mut texts = Vec::new();
    for number in 0..10 {
        let (path, body) = (format!("/v1/rooms/{ROOM}/messages"), json!({"body": format!("text {number}")}));
        let answer = served.writes.send("POST", &path, &headers, Some(&body)).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.json());
        texts.insert(0, format!("text {number}"));
    }
    assert_eq!(seen(&served, &token).await, texts, "before a limit is computed age alone hides");
    // What is as old as the instant does not count.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    program.run("run --max-messages 3 --max-age 40d").exits(0);
    assert_eq!(seen(&served, &token).await, texts[..3]);
    let limit = served.reads.get("/v1/organizations/1/view-limit", &token).await.expect("an answer").json();
    assert_eq!((limit["plan"].as_str(), limit["state"].as_str()), (Some("free"), Some("limited")), "{limit}");
    let oldest = served.reads.get(&format!("/v1/rooms/{ROOM}/messages?limit=100"), &token).await.expect("an answer");
    assert_eq!(oldest.json()["hidden_older"], true);
    let found = program.run("reconcile --settle 10ms --organization 1").exits(4).out;
    assert!(found.contains("miss 7"), "by the policy in force all ten may be seen: {found}");
    program.run("organizations set-plan 1 paid --reason upgraded").exits(0);
    assert_eq!(seen(&served, &token).await, texts, "all at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_serves_both_paths_says_where_and_stops_in_order() {
    let feed = Feed::random(4, 30, 2);
    let (_folder, program) = program_for(&feed);
    let listening =
        program.clone().with("LANNER_WRITE_API_LISTEN", "127.0.0.1:0").with("LANNER_READ_API_LISTEN", "127.0.0.1:0");
    let mut up = listening.command(["up", "--every", "1s"]).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(up.stderr.take().expect("its words")).lines();
    let mut address_of = |job: &str| {
        let line =
            lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with(job))).expect("a line").expect("text");
        line.split_once("http://").map(|(_, address)| address.to_owned()).unwrap_or_default()
    };
    let writes = address_of("serve-writes: listening on http://");
    let reads = address_of("serve-reads: listening on http://");
    let issued = program.run("token --account 1 --expires-in 5m").exits(0);
    let token = issued.out.trim();
    let headers = [("authorization", &*format!("Bearer {token}")), ("prefer", "wait=10")];
    let writes = support::message_path::Http::new(format!("http://{writes}"));
    let made = writes.send("POST", "/v1/rooms", &headers, None).await.expect("an answer");
    assert_eq!(made.status, 201, "{}", made.json());
    let room = made.json()["room_id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/rooms/{room}/messages");
    let posted = writes.send("POST", &path, &headers, Some(&json!({"body": "first"}))).await.expect("an answer");
    assert_eq!(posted.status, 201, "{}", posted.json());
    let reads = support::message_path::Http::new(format!("http://{reads}"));
    let page = reads.get(&path, token).await.expect("an answer").json();
    assert_eq!(page["messages"][0]["body"], "first", "{page}");
    // Of account 1.
    let organization = "/v1/organizations/2/view-limit";
    until("the limit is computed", async || {
        let limit = reads.get(organization, token).await.expect("an answer").json();
        limit["visible_messages"].as_u64() == Some(1)
    })
    .await;
    std::process::Command::new("kill").args(["-INT", &up.id().to_string()]).status().expect("kill runs");
    assert!(up.wait().expect("an end").success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follow_limits_goes_on_from_a_replay_of_the_log() {
    let feed = Feed::random(6, 120, 3);
    let (_folder, program) = program_for(&feed);
    let program = program.with("LANNER_POLICY", "[{max_messages=10}]");
    let served = Served::new(&program);
    served.start_all().await;
    push(&served, &feed, 3).await.check(&served, &feed).await;
    program.run("replay").exits(2).says(&["--limits"]);
    program.run("replay --limits --from yesterday").exits(2).says(&["beginning", "offset=", "time="]);
    program.run("replay --limits --from offset=0:0").exits(65).says(&["partition 1 is not named"]);
    program.run("replay --limits --from time=2100-01-01T00:00:00Z").exits(65).says(&["in the future"]);
    let dry = program.run("replay --limits --dry-run").exits(0);
    super::check_table(&dry);
    assert!(dry.out.contains("nothing was saved"), "{}", dry.out);
    let is_followed = async || program.run("replay --limits").code == Some(75);
    served.start(FOLLOW);
    until("somebody follows", is_followed).await;
    program.run("replay --limits").exits(75).says(&["shard 0 is followed: stop follow-limits first"]);
    assert_eq!(served.stop(FOLLOW), Some(0));
    let replayed = program.run("replay --limits --json").exits(0).json();
    assert_eq!((replayed["saved"].as_bool(), replayed["to_read"].as_u64()), (Some(true), Some(0)), "{replayed}");
    assert!(replayed["records"].as_u64() >= Some(feed.events.len() as u64), "{replayed}");
    let table = program.run("replay --limits").exits(0);
    super::check_table(&table);
    assert!(table.out.contains("start follow-limits: it goes on from here"), "{}", table.out);
    served.start(FOLLOW);
    until("somebody follows again", is_followed).await;
    program.reconciles();
    let limits = program.run("limits export").exits(0).out;
    assert!(limits.lines().any(|line| line.contains(",10,")), "somebody has the newest 10: {limits}");
    assert_eq!(served.stop(FOLLOW), Some(0));
}

#[test]
fn what_was_imported_and_never_told_is_not_saved_over() {
    let shop = super::shop::Shop::new(61);
    let program = shop.program.clone().with("LANNER_POLICY", "[{max_messages=25,max_age=\"unlimited\"}]");
    let differs = program.run("replay --limits").exits(4);
    super::check_table(&differs);
    assert!(differs.out.contains("Nothing was saved") && differs.out.contains("imported"), "{}", differs.out);
    program.run("replay --limits --check 0").exits(0);
}

#[test]
fn a_token_is_for_accounts_that_are_there() {
    let feed = Feed::random(5, 5, 1);
    let (_folder, program) = program_for(&feed);
    program.run("token --account 999").exits(2).says(&["999", "unknown"]);
    program.clone().with("LANNER_AUTH_JWKS", "{}").run("token --account 1").exits(42).says(&["auth.jwks"]);
    program.run("token --account 1 --expires-in never").exits(2);
}
