//! Who hears what, and in which order.

use tokio_util::sync::CancellationToken;

use super::*;

/// The hooks as a trait, method by method.
struct Named(Heard);

impl Hooks for Named {
    fn before_start(&self, child: &str, run: u64) {
        self.0.push(format!("{child} {run} before start"));
    }

    fn after_start(&self, child: &str, run: u64) {
        self.0.push(format!("{child} {run} after start"));
    }

    fn after_stop(&self, child: &str, run: u64, reason: &Reason) {
        self.0.push(format!("{child} {run} after stop: {}", reason.kind().word()));
    }

    fn before_backoff(&self, child: &str, delay: Duration) {
        self.0.push(format!("{child} before backoff: {delay:?}"));
    }

    fn gave_up(&self, child: &str, escalation: &Escalation) {
        self.0.push(format!("{child} gave up {}", escalation.why));
    }
}

fn failing(limit: RestartLimit) -> Child {
    Child::new("child", Phase::Work, Policy { limit, ..policy() }, |context| async move {
        assert!(context.run != 2, "on purpose");
        broken()
    })
}

#[tokio::test(start_paused = true)]
async fn closure_channel_and_trait_hear_each_event_once_and_in_order() {
    let (closure, named, of_child) = (Heard::default(), Heard::default(), Heard::default());
    let (sender, mut receiver) = NoticeSender::channel(100);
    let child = failing(RestartLimit { max: 2, within: secs(60) }).hook(of_child.hook());
    let tree = Tree::new("top", vec![child]).expect("a tree");
    let tree = tree.hook(closure.hook()).hook(Named(named.clone())).hook(sender.clone());
    assert!(matches!(tree.run(CancellationToken::new()).await, Outcome::GaveUp(_)));
    let expected = [
        "top/child 1 before start",
        "top/child 1 after start",
        "top/child 1 after stop: error",
        "top/child 1 before backoff: 100ms",
        "top/child 2 before start",
        "top/child 2 after start",
        "top/child 2 after stop: panic",
        "top/child 2 before backoff: 200ms",
        "top/child 3 before start",
        "top/child 3 after start",
        "top/child 3 after stop: error",
        "top/child 3 gave up after 2 restarts within 60s",
    ];
    assert_eq!(closure.lines(), expected);
    assert_eq!(of_child.lines(), expected);
    let mut received = Vec::new();
    while let Ok(notice) = receiver.try_recv() {
        received.push(line(&notice));
    }
    assert_eq!(received, expected);
    assert_eq!(sender.missed(), 0);
    let without_run = |line: &str| line.replace(" 1 before b", " before b").replace(" 2 before b", " before b");
    let expected = expected.map(|line| without_run(line).replace(" 3 gave", " gave"));
    assert_eq!(named.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_backoff_ends_at_once_and_nothing_more_is_heard() {
    let heard = Heard::default();
    let slow = Policy { backoff: Backoff::new(secs(3_600), secs(3_600), 0.0).expect("a backoff"), ..policy() };
    let child = Child::new("child", Phase::Telemetry, slow, |_| async { broken() });
    let tree = Tree::new("top", vec![child]).expect("a tree").hook(heard.hook());
    let stop = CancellationToken::new();
    let later = async {
        tokio::time::sleep(secs(10)).await;
        stop.cancel();
    };
    let started = tokio::time::Instant::now();
    let (outcome, ()) = tokio::join!(tree.run(stop.clone()), later);
    assert_eq!((outcome, started.elapsed()), (Outcome::Stopped, secs(10)));
    let expected = [
        "top/child 1 before start",
        "top/child 1 after start",
        "top/child 1 after stop: error",
        "top/child 1 before backoff: 3600s",
    ];
    assert_eq!(heard.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_harms_nobody() {
    let heard = Heard::default();
    let tree = Tree::new("top", vec![failing(RestartLimit { max: 2, within: secs(60) })]).expect("a tree");
    let tree = tree.hook(|_: &Notice| panic!("on purpose")).hook(heard.hook());
    assert!(matches!(tree.run(CancellationToken::new()).await, Outcome::GaveUp(_)));
    assert_eq!(heard.lines().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn notices_that_do_not_fit_are_counted() {
    let (sender, mut receiver) = NoticeSender::channel(5);
    let tree = Tree::new("top", vec![failing(RestartLimit { max: 2, within: secs(60) })]).expect("a tree");
    assert!(matches!(tree.hook(sender.clone()).run(CancellationToken::new()).await, Outcome::GaveUp(_)));
    assert_eq!(sender.missed(), 7);
    assert_eq!(receiver.recv().await.map(|notice| line(&notice)).as_deref(), Some("top/child 1 before start"));
}

#[tokio::test(start_paused = true)]
async fn a_factory_that_panics_is_a_run_that_panicked() {
    let policy = Policy { directives: Directives::default().on(Kind::Panic, Directive::Escalate), ..policy() };
    let child = Child::new("child", Phase::Work, policy, |context| {
        assert!(context.run > 1, "no future");
        serve(context)
    });
    let outcome = Tree::new("top", vec![child]).expect("a tree").run(CancellationToken::new()).await;
    let Outcome::GaveUp(escalation) = outcome else { panic!("{outcome:?}") };
    assert_eq!(escalation.reason, Reason::Panic(Cause::new("panic", "no future")));
}
