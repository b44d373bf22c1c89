//! Several processes on one data directory.

use std::process::{Child, Command};
use std::time::Duration;

use support::until;
use tokio::time::Instant;

use super::shop::{RUN, Shop};

/// A started process, ended when the test is over.
struct Process(Child);

impl Process {
    /// Sends SIGTERM; answers the exit code.
    fn terminate(&mut self) -> Option<i32> {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().expect("kill runs");
        self.0.wait().expect("an end").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(shop: &Shop, line: &str) -> Process {
    let process = Process(shop.program.start(line));
    let name = shop.data_dir().join("writers").join(format!("{}.json", process.0.id()));
    until("it holds the data directory", async || name.exists()).await;
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_and_writers_work_beside_a_worker_and_an_import_names_it() {
    let shop = Shop::with_run(71);
    let mut worker = start(&shop, "collect-rooms").await;
    let (organization, _) = shop.a_limited_one();
    shop.program.run("status").exits(0);
    shop.program.run(&format!("explain --organization {organization}")).exits(0);
    shop.program.run(&format!("limits get --organization {organization}")).exits(0);
    assert_eq!(shop.program.run("limits export").exits(0).out, shop.expected_export());
    shop.program.run(&format!("{RUN} --max-age 30d")).exits(0);
    let again = format!("rerun --organization {organization} --reason because --json");
    assert_eq!(shop.program.run(&again).exits(0).json()["after"]["organization"], organization.to_string());

    let asked = Instant::now();
    let tables = shop.tables();
    let refused = shop.program.run_with(["import", tables.to_str().expect("a path")]).exits(75);
    let waited = asked.elapsed();
    refused.says(&["collect-rooms", &worker.0.id().to_string()]);
    assert!((5..12).contains(&waited.as_secs()), "it waited {waited:?}");

    let asked = Instant::now();
    assert_eq!(worker.terminate(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(10), "the worker took {:?} to stop", asked.elapsed());
    shop.program.run_with(["import", tables.to_str().expect("a path")]).exits(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_jobs_as_processes_of_their_own_find_what_one_process_finds() {
    let shop = Shop::new(72);
    let mut workers = [start(&shop, "collect-rooms").await, start(&shop, "merge-newest").await];
    let line = "extract-organizations --run split --as-of 2026-01-01T00:00:00Z --max-messages 25";
    let extracted = super::json(shop.program.run(&format!("{line} --wait --json")), 0);
    assert_eq!(extracted["states"]["done"], shop.chat.free());
    assert_eq!(shop.program.run("limits export").exits(0).out, shop.expected_export());
    let joined = super::json(shop.program.run(&format!("{line} --json")), 0);
    assert_eq!((joined["sent"].as_u64(), joined["run"]["id"].as_str()), (Some(0), Some("split")));
    super::check_table(&shop.program.run(line).exits(0));
    for worker in &mut workers {
        assert_eq!(worker.terminate(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_stopped_says_what_it_did() {
    let shop = Shop::new(73);
    shop.program.run("extract-organizations --run split --as-of 2026-01-01T00:00:00Z").exits(0);
    let child = shop.program.command(["collect-rooms", "--json"]).spawn().expect("the binary starts");
    let free = shop.chat.free();
    let open = support::place::open(&shop.data_dir(), embedded::Access::Write).await;
    until("all rooms are collected", async || {
        let rooms = open.ports.room_queue.depth().await.expect("a depth").visible;
        let left = open.ports.organization_queue.depth().await.expect("a depth");
        rooms == free && left.visible + left.hidden == 0
    })
    .await;
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    let ended = support::Ended::from(child.wait_with_output().expect("an end"));
    let report = super::json(ended, 0);
    assert_eq!((report["job"].as_str(), report["messages"]["done"].as_u64()), (Some("collect-rooms"), Some(free)));
}
