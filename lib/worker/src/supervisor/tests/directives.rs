//! Each directive, for each way to fail, at each level of a tree of three.

use tokio_util::sync::CancellationToken;

use super::*;

const LEVELS: [&str; 3] = ["top/job", "top/job/group", "top/job/group/leaf"];
const DIRECTIVES: [Directive; 4] = [Directive::Resume, Directive::Restart, Directive::Stop, Directive::Escalate];
const FAULTS: [Kind; 3] = [Kind::Error, Kind::Panic, Kind::Hang];

type States = Arc<Mutex<Vec<u32>>>;

/// A leaf that fails in its first run, and notes at each start how many runs its state has seen.
fn leaf(policy: Policy, fault: Kind, states: &States) -> Child {
    let kept = Kept::new(|| Mutex::new(0));
    let states = Arc::clone(states);
    Child::new("leaf", Phase::Work, policy, move |context| {
        let state = kept.at(context.start);
        let states = Arc::clone(&states);
        async move {
            {
                let mut runs = state.lock().expect("runs");
                *runs += 1;
                states.lock().expect("states").push(*runs);
            }
            match (context.run, fault) {
                (1, Kind::Error) => return broken(),
                (1, Kind::Panic) => panic!("on purpose"),
                (1, Kind::Hang) => tokio::time::sleep(secs(25)).await,
                _ => {}
            }
            serve(context).await
        }
    })
}

/// The level is given the directive; those below it escalate up to it.
fn policy_at(level: usize, of: usize, directive: Directive) -> Policy {
    let below = if of == level { directive } else { Directive::Escalate };
    let directives = Directives::always(below).on(Kind::Completed, Directive::Stop);
    Policy { directives, hang_after: Some(secs(10)), ..policy() }
}

#[tokio::test(start_paused = true)]
async fn each_directive_does_at_each_level_what_it_says() {
    for (level, path) in LEVELS.into_iter().enumerate() {
        for (directive, fault) in DIRECTIVES.into_iter().flat_map(|directive| FAULTS.map(|fault| (directive, fault))) {
            let case = format!("{path}: {fault:?} leads to {directive:?}");
            let (states, heard, stop) = (States::default(), Heard::default(), CancellationToken::new());
            let leaf = leaf(policy_at(level, 2, directive), fault, &states);
            let group = Child::supervisor("group", policy_at(level, 1, directive), vec![leaf]);
            let job = Child::supervisor("job", policy_at(level, 0, directive), vec![group]);
            let tree = Tree::new("top", vec![job]).expect("a tree").hook(heard.hook());
            let counts = tree.vitals();
            let later = async {
                tokio::time::sleep(secs(60)).await;
                stop.cancel();
            };
            let (outcome, ()) = tokio::join!(tree.run(stop.clone()), later);

            let goes_on = directive == Directive::Resume && fault == Kind::Hang && path.ends_with("leaf");
            let expected: &[u32] = match directive {
                _ if goes_on => &[1],
                Directive::Resume => &[1, 2],
                Directive::Restart => &[1, 1],
                Directive::Stop | Directive::Escalate => &[1],
            };
            assert_eq!(*states.lock().expect("states"), expected, "{case}");
            match (directive, &outcome) {
                (Directive::Escalate, Outcome::GaveUp(escalation)) => {
                    assert_eq!((escalation.child.as_str(), escalation.why), ("top/job", GaveUp::Directive), "{case}");
                    assert!(!escalation.is_final(), "{case}");
                }
                (Directive::Stop, Outcome::Completed) | (Directive::Resume | Directive::Restart, Outcome::Stopped) => {}
                _ => panic!("{case}: {outcome:?}"),
            }
            let delays: Vec<_> = heard.lines().into_iter().filter(|line| line.contains("backoff")).collect();
            let delay = format!("{path} 1 before backoff: 100ms");
            assert_eq!(delays, if directive == Directive::Restart { vec![delay] } else { Vec::new() }, "{case}");
            let at_leaf = counts.of(LEVELS[2]).expect("the leaf");
            assert_eq!(at_leaf.stops(fault), u64::from(!goes_on), "{case}");
            assert_eq!(at_leaf.resumed_hung, if goes_on { 2 } else { 0 }, "{case}");
            assert_eq!(at_leaf.starts, at_leaf.all_stops(), "{case}");
            assert_eq!(tasks(), 0, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_a_class_have_a_row_of_their_own() {
    let directives = Directives::default().on_class("corrupt", Directive::Escalate).on(Kind::Error, Directive::Resume);
    assert_eq!(directives.of(&Reason::Error(Cause::new("corrupt", "x"))), Directive::Escalate);
    assert_eq!(directives.of(&Reason::Error(Cause::new("timeout", "x"))), Directive::Resume);
    assert_eq!(directives.of(&Reason::Panic(Cause::new("corrupt", "x"))), Directive::Restart);
}

#[tokio::test(start_paused = true)]
async fn resuming_what_always_fails_ends_at_the_limit() {
    let limit = RestartLimit { max: 5, within: secs(1) };
    let policy = Policy { directives: Directives::always(Directive::Resume), limit, ..policy() };
    let child = Child::new("child", Phase::Work, policy, |_| async { broken() });
    let tree = Tree::new("top", vec![child]).expect("a tree");
    let counts = tree.vitals();
    let Outcome::GaveUp(escalation) = tree.run(CancellationToken::new()).await else { panic!("it goes on") };
    assert_eq!(escalation.why, GaveUp::TooManyRestarts { max: 5, within: secs(1) });
    assert_eq!(counts.of("top/child").expect("the child").starts, 6);
}

#[tokio::test(start_paused = true)]
async fn a_hung_run_that_is_resumed_for_ever_ends_at_the_limit() {
    let limit = RestartLimit { max: 5, within: secs(3_600) };
    let directives = Directives::always(Directive::Resume);
    let policy = Policy { directives, limit, hang_after: Some(secs(10)), ..policy() };
    let child = Child::new("child", Phase::Work, policy, |_| std::future::pending());
    let started = tokio::time::Instant::now();
    let outcome = Tree::new("top", vec![child]).expect("a tree").run(CancellationToken::new()).await;
    let Outcome::GaveUp(Escalation { reason: Reason::Hang(_), .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(started.elapsed(), secs(60));
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn restarts_older_than_the_window_do_not_count() {
    let limit = RestartLimit { max: 2, within: secs(60) };
    let child = Child::new("child", Phase::Work, Policy { limit, ..policy() }, |context| async move {
        // Two ends each minute; the tenth run makes a third.
        tokio::time::sleep(if context.run < 10 { secs(31) } else { secs(5) }).await;
        broken()
    });
    let tree = Tree::new("top", vec![child]).expect("a tree");
    let counts = tree.vitals();
    assert!(matches!(tree.run(CancellationToken::new()).await, Outcome::GaveUp(_)));
    assert_eq!(counts.of("top/child").expect("the child").starts, 10);
}

#[tokio::test(start_paused = true)]
async fn siblings_go_on_when_one_child_restarts_or_stops() {
    let stop = CancellationToken::new();
    let failing = Child::new("failing", Phase::Work, policy(), |context| async move {
        if context.run < 5 { broken() } else { Ok(()) }
    });
    let serving = Child::new("serving", Phase::Work, policy(), serve);
    let tree = Tree::new("top", vec![failing, serving]).expect("a tree");
    let counts = tree.vitals();
    let later = async {
        tokio::time::sleep(secs(60)).await;
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(tree.run(stop.clone()), later);
    assert_eq!(outcome, Outcome::Stopped);
    let (failing, serving) = (counts.of("top/failing").expect("one"), counts.of("top/serving").expect("other"));
    assert_eq!((failing.stops(Kind::Error), failing.stops(Kind::Completed)), (4, 1));
    assert_eq!((serving.starts, serving.stops(Kind::Stopped)), (1, 1));
}

#[test]
fn children_that_make_no_tree_are_refused() {
    let leaf = |name: &str, policy: Policy| Child::new(name, Phase::Work, policy, serve);
    let refused = |children| Tree::new("top", children).expect_err("no tree");
    assert_eq!(refused(vec![]), NotATree::Childless("top".into()));
    assert_eq!(refused(vec![leaf("a/b", policy())]), NotATree::Name("a/b".into()));
    assert_eq!(refused(vec![leaf("a", policy()), leaf("a", policy())]), NotATree::Twice("top/a".into()));
    let empty = Child::supervisor("group", policy(), vec![]);
    assert_eq!(refused(vec![empty]), NotATree::Childless("top/group".into()));
    let at_once = Policy { hang_after: Some(ms(0)), ..policy() };
    assert_eq!(refused(vec![leaf("a", at_once)]), NotATree::HangsAtOnce("top/a".into()));
}
