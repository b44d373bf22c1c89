//! How a tree ends.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;

/// Ends so long after it is asked to.
fn slow(name: &str, phase: Phase, ends_after: Duration) -> Child {
    Child::new(name, phase, policy(), move |context| async move {
        context.stop.cancelled().await;
        tokio::time::sleep(ends_after).await;
        Ok(())
    })
}

fn bounds() -> StopBounds {
    StopBounds { intake: secs(1), work: secs(20), commits: secs(5), telemetry: secs(2) }
}

/// Runs the tree, stops it after 10 s, and tells how it ended and how long the stop took.
async fn stopped(tree: Tree) -> (Outcome, Duration) {
    let stop = CancellationToken::new();
    let later = async {
        tokio::time::sleep(secs(10)).await;
        stop.cancel();
    };
    let started = Instant::now();
    let (outcome, ()) = tokio::join!(tree.run(stop.clone()), later);
    assert_eq!(tasks(), 0);
    (outcome, started.elapsed().saturating_sub(secs(10)))
}

#[tokio::test(start_paused = true)]
async fn phases_stop_one_after_the_other_over_the_whole_tree() {
    let heard = Heard::default();
    let since = Instant::now();
    let seen = heard.clone();
    let group = vec![slow("commit", Phase::Commits, ms(300)), slow("poll", Phase::Intake, ms(100))];
    let group = Child::supervisor("group", policy(), group);
    let job = Child::supervisor("job", policy(), vec![group, slow("handle", Phase::Work, ms(200))]);
    let others = vec![slow("probes", Phase::Telemetry, ms(0)), job, slow("accept", Phase::Intake, ms(400))];
    let tree = Tree::new("top", others).expect("a tree").stop_bounds(bounds()).hook(move |notice: &Notice| {
        if let Event::AfterStop(reason) = &notice.event {
            seen.push(format!("{} {} after {:?}", notice.child, reason.kind().word(), since.elapsed() - secs(10)));
        }
    });
    assert_eq!(stopped(tree).await, (Outcome::Stopped, ms(900)));
    let expected = [
        "top/job/group/poll stopped after 100ms",
        "top/accept stopped after 400ms",
        "top/job/handle stopped after 600ms",
        "top/job/group/commit stopped after 900ms",
        "top/probes stopped after 900ms",
    ];
    let lines: Vec<_> =
        heard.lines().into_iter().filter(|line| !line.contains("group stop") && !line.contains("job stop")).collect();
    let (mut lines, mut expected) = (lines, expected.map(str::to_owned));
    // Those of one instant in any order.
    lines.sort();
    expected.sort();
    assert_eq!(lines, expected);
}

#[tokio::test(start_paused = true)]
async fn whoever_needs_longer_than_its_phase_is_aborted_and_the_next_phase_begins() {
    let children = vec![
        slow("poll", Phase::Intake, secs(3_600)),
        slow("handle", Phase::Work, secs(19)),
        slow("commit", Phase::Commits, secs(3_600)),
        slow("probes", Phase::Telemetry, secs(1)),
    ];
    let tree = Tree::new("top", children).expect("a tree").stop_bounds(bounds());
    let counts = tree.vitals();
    assert_eq!(stopped(tree).await, (Outcome::Stopped, secs(1 + 19 + 5 + 1)));
    let aborted = ["poll", "handle", "commit", "probes"]
        .map(|name| counts.of(&format!("top/{name}")).expect("a child").stops(Kind::Aborted));
    assert_eq!(aborted, [1, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_during_a_stop_is_told_apart_and_not_started_again() {
    let heard = Heard::default();
    let dying = |name: &'static str, phase| {
        Child::new(name, phase, policy(), move |context| async move {
            context.stop.cancelled().await;
            if name == "panics" { panic!("on purpose") } else { broken() }
        })
    };
    // The probes fail while the work is still winding down.
    let probes = Child::new("probes", Phase::Telemetry, policy(), |_| async {
        tokio::time::sleep(secs(12)).await;
        broken()
    });
    let children = vec![
        dying("panics", Phase::Work),
        dying("fails", Phase::Commits),
        slow("handle", Phase::Work, secs(5)),
        probes,
    ];
    let tree = Tree::new("top", children).expect("a tree").stop_bounds(bounds()).hook(heard.hook());
    let counts = tree.vitals();
    assert_eq!(stopped(tree).await, (Outcome::Stopped, secs(5)));
    let quiet = |line: &String| !line.contains("backoff") && !line.contains("gave up");
    assert!(heard.lines().iter().all(quiet), "{:?}", heard.lines());
    for (name, kind) in
        [("panics", Kind::Panic), ("fails", Kind::Error), ("handle", Kind::Stopped), ("probes", Kind::Error)]
    {
        let child = counts.of(&format!("top/{name}")).expect("a child");
        assert_eq!((child.starts, child.stops(kind)), (1, 1), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_stops_its_other_children_in_order_and_the_top_says_so() {
    let heard = Heard::default();
    let escalate = Policy { directives: Directives::always(Directive::Escalate), ..policy() };
    let failing = Child::new("failing", Phase::Commits, escalate.clone(), |_| async {
        tokio::time::sleep(secs(1)).await;
        broken()
    });
    let group = vec![slow("handle", Phase::Work, ms(20)), failing, slow("poll", Phase::Intake, ms(10))];
    let group = Child::supervisor("group", escalate, group);
    let tree = Tree::new("top", vec![group, slow("probes", Phase::Telemetry, ms(0))]).expect("a tree");
    let outcome = tree.hook(heard.hook()).run(CancellationToken::new()).await;
    let Outcome::GaveUp(escalation) = outcome else { panic!("{outcome:?}") };
    let words = "gave up on top/group by its directive: escalated: \
                 gave up on top/group/failing by its directive: error (broken): on purpose";
    assert_eq!(escalation.to_string(), words);
    assert_eq!(EXIT_GAVE_UP, 70);
    let ends: Vec<_> = heard.lines().into_iter().filter(|line| !line.contains("start")).collect();
    let expected = [
        "top/group/failing 1 after stop: error",
        "top/group/failing 1 gave up by its directive",
        "top/group/poll 1 after stop: stopped",
        "top/group/handle 1 after stop: stopped",
        "top/group 1 after stop: escalated",
        "top/group 1 gave up by its directive",
        "top/probes 1 after stop: stopped",
    ];
    assert_eq!(ends, expected);
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_is_stopped_before_it_runs_starts_nothing_that_stays() {
    let tree = Tree::new("top", vec![slow("child", Phase::Work, ms(0))]).expect("a tree");
    let stop = CancellationToken::new();
    stop.cancel();
    assert_eq!(tree.run(stop).await, Outcome::Stopped);
    assert_eq!(tasks(), 0);
}

/// In real time: a thread that is blocked cannot be simulated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_blocks_its_thread_is_never_replaced_and_reaches_the_top_whatever_directives_say() {
    let restart = Policy { directives: Directives::always(Directive::Restart), ..policy() };
    let hung = Policy { hang_after: Some(ms(50)), ..restart.clone() };
    let blocking = Child::new("blocking", Phase::Work, hung, |_| async {
        std::thread::sleep(secs(2));
        Ok(())
    });
    let tree = Tree::new("top", vec![Child::supervisor("job", restart, vec![blocking])]).expect("a tree");
    let counts = tree.vitals();
    let outcome = tree.run(CancellationToken::new()).await;
    let Outcome::GaveUp(escalation) = outcome else { panic!("{outcome:?}") };
    assert!(escalation.is_final(), "{escalation}");
    let blocking = counts.of("top/job/blocking").expect("the child");
    assert_eq!((blocking.starts, blocking.stops(Kind::Hang)), (1, 1));
}
