//! SIGKILL at a random point, then the same run started again.

use std::time::Duration;

use support::oracle::{self, answers};
use support::place::{Place, policy};
use support::{Program, SmallChat};

use super::schedule::{RUN, Template, look, schedules};

/// How often a schedule kills before it lets the run end.
const KILLS: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_organization_is_lost_or_counted_twice_when_the_process_is_killed() {
    let mut template = Template::new().await;
    let (mut kills, mut inside) = (0, 0);
    for seed in schedules() {
        println!("killed: LANNER_SEED={seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let schedule = template.schedule(&format!("killed-{seed}"));
        for _ in 0..KILLS {
            let mut child = schedule.program.start(RUN);
            let after = template.undisturbed.mul_f64(0.05 + 0.75 * random.f64());
            tokio::time::sleep(after).await;
            child.kill().expect("a kill");
            child.wait().expect("an end");
            kills += 1;
            let found = look(&schedule.data_dir).await;
            if found.is_inside() {
                inside += 1;
            } else {
                template.adapt(&found);
            }
        }
        let ended = schedule.program.run(RUN).exits(0);
        assert_eq!(ended.json()["states"].as_object().map(serde_json::Map::len), Some(1), "{}", ended.out);
        template.check(&schedule).await;
        std::fs::remove_dir_all(&schedule.data_dir).expect("removed");
    }
    println!("{inside} of {kills} kills fell inside the run");
    assert!(inside > 0, "none of {kills} kills fell inside the run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_again_and_again_still_gets_there() {
    let template = Template::new().await;
    let schedule = template.schedule("again-and-again");
    let mut random = fastrand::Rng::with_seed(support::waiting::number_from_env("LANNER_SEED", 1));
    let mut settled_before = 0;
    let mut starts = 0;
    // Each start lives for a part of a run only; what is settled never becomes less.
    loop {
        starts += 1;
        assert!(starts < 100, "no end after {starts} starts");
        let mut child = schedule.program.start(RUN);
        let life = template.undisturbed.mul_f64(0.4 + 0.2 * random.f64()) + Duration::from_millis(500);
        tokio::time::sleep(life).await;
        child.kill().expect("a kill");
        child.wait().expect("an end");
        let Some(progress) = look(&schedule.data_dir).await.progress else { continue };
        assert!(progress.counts.settled() >= settled_before, "something settled became unsettled");
        settled_before = progress.counts.settled();
        if progress.phase() == chat::ledger::Phase::Finished {
            break;
        }
    }
    template.check(&schedule).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_killed_leaves_the_old_data_or_asks_to_be_finished() {
    let place = Place::new(5, 400).await;
    let old = place.copy_as("old");
    let newer = SmallChat::random(6, 500);
    let tables = place.beside("newer");
    newer.write_csv(&tables);
    let line = format!("import {}", tables.display());
    // Messages are added to those that are there.
    let mut both = newer.clone();
    both.messages.extend_from_slice(&place.chat.messages);
    let exports = [&place.chat, &both].map(|chat| oracle::export(&answers(chat, SmallChat::as_of(), &policy())));
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &place.copy_as("measured"));
    let started = tokio::time::Instant::now();
    program.run(&line).exits(0);
    let mut undisturbed = started.elapsed();
    let (mut kills, mut unfinished) = (0, 0);
    for seed in schedules().step_by(2) {
        println!("killed import: LANNER_SEED={seed}");
        let data_dir = place.beside(&format!("import-{seed}"));
        support::place::copy_folder(&old, &data_dir);
        let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &data_dir);
        let mut child = program.start(&line);
        tokio::time::sleep(undisturbed.mul_f64(0.1 + 0.9 * fastrand::Rng::with_seed(seed).f64())).await;
        child.kill().expect("a kill");
        if child.wait().expect("an end").code().is_some() {
            undisturbed = undisturbed.mul_f64(0.8);
        } else {
            kills += 1;
        }
        let run = program.run(RUN);
        match run.code {
            Some(75) => unfinished += 1,
            code => {
                assert_eq!(code, Some(0), "{}", run.err);
                let export = program.run("limits export").exits(0).out;
                assert!(exports.contains(&export), "seed {seed}: neither the old data nor the new");
            }
        }
        program.run(&line).exits(0);
        program.run(&RUN.replace("daily", "after")).exits(0);
        let left: Vec<_> = std::fs::read_dir(&data_dir).expect("a folder").filter_map(Result::ok).collect();
        // Names of the data directory's own files end in these.
        let own = |name: &str| [".sqlite", "-wal", "-shm", ".json", ".lock"].iter().any(|end| name.ends_with(end));
        let foreign = left.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let foreign: Vec<_> =
            foreign.filter(|name| !own(name) && !["live_ids", "limits", "writers"].contains(&&**name)).collect();
        assert!(foreign.is_empty(), "seed {seed}: left behind: {foreign:?}");
        let export = program.run("limits export").exits(0).out;
        assert_eq!(export, exports[1], "seed {seed}: after the second import");
        std::fs::remove_dir_all(&data_dir).expect("removed");
    }
    println!("{kills} imports killed, {unfinished} of them half-way");
    assert!(kills > 0, "no import was killed");
}
