//! SIGKILL at a random point, then the same run started again.

use std::time::Duration;

use super::schedule::{RUN, Template, look, schedules};

/// How often a schedule kills before it lets the run end.
const KILLS: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_organization_is_lost_or_counted_twice_when_the_process_is_killed() {
    let template = Template::new().await;
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
            let ended = child.wait().expect("an end");
            kills += u32::from(ended.code().is_none());
            inside += u32::from(ended.code().is_none() && look(&schedule.data_dir).await.is_inside());
        }
        let ended = schedule.program.run(RUN).exits(0);
        assert_eq!(ended.json()["counts"].as_object().map(serde_json::Map::len), Some(1), "{}", ended.out);
        template.check(&schedule).await;
        std::fs::remove_dir_all(&schedule.data_dir).expect("removed");
    }
    println!("{inside} of {kills} kills fell inside the run");
    assert!(2 * inside >= kills && kills > 0, "only {inside} of {kills} kills fell inside the run");
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
