//! An hour in which everything fails now and then.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::*;

const HOUR: Duration = secs(3_600);
const PHASES: [Phase; 3] = [Phase::Intake, Phase::Work, Phase::Commits];

/// What was done to the leaves, and by them.
#[derive(Default)]
struct Book {
    /// Until the hour is over.
    faults: Mutex<bool>,
    injected: Mutex<BTreeMap<(String, Kind), u64>>,
    done: Mutex<BTreeSet<(usize, u64)>>,
}

impl Book {
    /// Perhaps a fault, noted before it happens.
    fn fault(&self, path: &str) -> Option<Kind> {
        let kind = match fastrand::u32(0..300) {
            0 => Kind::Panic,
            1 => Kind::Error,
            2 => Kind::Hang,
            _ => return None,
        };
        if !*self.faults.lock().expect("faults") {
            return None;
        }
        *self.injected.lock().expect("book").entry((path.to_owned(), kind)).or_default() += 1;
        Some(kind)
    }
}

async fn work(context: Context, inbox: Inbox<(usize, u64)>, book: Arc<Book>) -> Result<(), Cause> {
    loop {
        let mail = tokio::select! {
            mail = inbox.recv() => mail,
            () = context.stop.cancelled() => return Ok(()),
        };
        let Some(mail) = mail else { return Ok(()) };
        tokio::time::sleep(ms(fastrand::u64(1..50))).await;
        match book.fault(&context.path) {
            Some(Kind::Panic) => quiet_panic(),
            Some(Kind::Error) => return broken(),
            Some(_) => std::future::pending().await,
            None => {}
        }
        context.pulse.beat();
        book.done.lock().expect("done").insert(*mail);
        mail.done();
    }
}

/// Three supervisors of three leaves each, in two levels below the top. Leaves of the first restart nearly for ever; those of
/// the second exhaust their limits; of the third, panics resume and errors escalate at once.
fn tree(book: &Arc<Book>) -> (Tree, Vec<Address<(usize, u64)>>) {
    let backoff = Backoff::new(ms(10), secs(2), 0.5).expect("a backoff");
    let base = Policy { limit: endless(), hang_after: Some(secs(5)), ..Policy::new(backoff) };
    let up = Directives::default().on(Kind::Escalated, Directive::Restart);
    let supervising = Policy { directives: up, hang_after: None, ..base.clone() };
    let tight = RestartLimit { max: 3, within: secs(60) };
    let third = Directives::default().on(Kind::Panic, Directive::Resume).on(Kind::Error, Directive::Escalate);
    let policies = [base.clone(), Policy { limit: tight, ..base.clone() }, Policy { directives: third, ..base }];
    let mut addresses = Vec::new();
    let mut groups = policies.into_iter().enumerate().map(|(group, policy)| {
        let leaves = PHASES.map(|phase| {
            let book = Arc::clone(book);
            let mailbox = Mailbox { bound: 16, while_down: WhileDown::Stash };
            let (leaf, address) =
                Child::with_mailbox(phase.word(), phase, policy.clone(), mailbox, move |context, inbox| {
                    work(context, inbox, Arc::clone(&book))
                });
            addresses.push(address);
            leaf
        });
        Child::supervisor(format!("group{group}"), supervising.clone(), leaves.into())
    });
    let (first, below) = (groups.next().expect("a group"), groups.collect());
    let tree = Tree::new("top", vec![first, Child::supervisor("job", supervising, below)]);
    (tree.expect("a tree"), addresses)
}

#[tokio::test(start_paused = true)]
async fn in_an_hour_of_random_faults_no_mail_is_lost_no_task_is_left_and_every_fault_is_counted() {
    let first = number_from_env("LANNER_SEED", 1);
    for seed in first..first + number_from_env("LANNER_LAW_CASES", 1) {
        eprintln!("LANNER_SEED={seed}");
        fastrand::seed(seed);
        an_hour().await;
    }
}

async fn an_hour() {
    let (book, stop, heard) = (Arc::new(Book::default()), CancellationToken::new(), Heard::default());
    *book.faults.lock().expect("faults") = true;
    let (tree, addresses) = tree(&book);
    let tree = tree.hook(heard.hook());
    let counts = tree.vitals();
    let load = async {
        let until = tokio::time::Instant::now() + HOUR;
        let sent = join_all(addresses.iter().enumerate().map(|(leaf, address)| async move {
            let mut sent = 0;
            while tokio::time::Instant::now() < until {
                address.send((leaf, sent)).await.expect("a reader");
                sent += 1;
                tokio::time::sleep(ms(fastrand::u64(0..1_000))).await;
            }
            sent
        }))
        .await;
        *book.faults.lock().expect("faults") = false;
        while addresses.iter().any(|address| address.counts().held > 0) {
            tokio::time::sleep(secs(1)).await;
        }
        stop.cancel();
        sent
    };
    let (outcome, sent) = tokio::join!(tree.run(stop.clone()), load);
    assert_eq!(outcome, Outcome::Stopped);
    assert_eq!(tasks(), 0);

    let expected: BTreeSet<_> =
        sent.iter().enumerate().flat_map(|(leaf, sent)| (0..*sent).map(move |number| (leaf, number))).collect();
    let done = book.done.lock().expect("done");
    assert!(*done == expected, "{} of {} letters were done", done.len(), expected.len());
    for (address, sent) in addresses.iter().zip(&sent) {
        let mail = address.counts();
        assert_eq!((mail.accepted, mail.done, mail.held, mail.dropped, mail.refused), (*sent, *sent, 0, 0, 0));
    }
    compare(&book.injected.lock().expect("book"), &counts);
    in_order(&heard.lines(), &counts);
}

#[tokio::test(start_paused = true)]
async fn a_stop_at_any_instant_ends_within_its_bounds_and_keeps_all_mail_in_the_books() {
    let first = number_from_env("LANNER_SEED", 1);
    for seed in first..first + number_from_env("LANNER_LAW_CASES", 40) {
        fastrand::seed(seed);
        stopped_after(ms(fastrand::u64(0..60_000)), seed).await;
    }
}

async fn stopped_after(instant: Duration, seed: u64) {
    let (book, stop, heard) = (Arc::new(Book::default()), CancellationToken::new(), Heard::default());
    *book.faults.lock().expect("faults") = true;
    let (tree, addresses) = tree(&book);
    let bounds = StopBounds::default();
    let tree = tree.hook(heard.hook()).stop_bounds(bounds);
    let counts = tree.vitals();
    let load = join_all(addresses.iter().enumerate().map(|(leaf, address)| async move {
        let mut sent = 0;
        while address.send((leaf, sent)).await.is_ok() {
            sent += 1;
            tokio::time::sleep(ms(fastrand::u64(0..400))).await;
        }
        sent
    }));
    let stopping = async {
        tokio::time::sleep(instant).await;
        stop.cancel();
        tokio::time::Instant::now()
    };
    let running = async {
        let outcome = tree.run(stop.clone()).await;
        (outcome, tasks(), tokio::time::Instant::now())
    };
    let ((outcome, left, ended), asked, sent) = tokio::join!(running, stopping, load);
    assert_eq!((outcome, left), (Outcome::Stopped, 0), "LANNER_SEED={seed}");
    let longest: Duration = Phase::ALL.map(|phase| bounds.of(phase)).iter().sum();
    assert!(ended - asked <= longest, "LANNER_SEED={seed}: {:?}", ended - asked);
    for (address, sent) in addresses.iter().zip(sent) {
        let mail = address.counts();
        assert_eq!((mail.accepted, mail.done + mail.held, mail.dropped), (sent, sent, 0), "LANNER_SEED={seed}");
    }
    in_order(&heard.lines(), &counts);
}

/// A leaf that hung when its supervisor gave up on a sibling is aborted as overdue before it was silent for long enough.
fn compare(injected: &BTreeMap<(String, Kind), u64>, counts: &Vitals) {
    let leaves: Vec<_> =
        counts.all().filter(|(path, _)| PHASES.iter().any(|phase| path.ends_with(phase.word()))).collect();
    assert_eq!(leaves.len(), 9);
    let mut all = 0;
    for (path, counted) in leaves {
        let of = |kind| injected.get(&(path.to_owned(), kind)).copied().unwrap_or_default();
        let [panics, errors, hangs] = [Kind::Panic, Kind::Error, Kind::Hang].map(of);
        assert_eq!((counted.stops(Kind::Panic), counted.stops(Kind::Error)), (panics, errors), "{path}");
        assert_eq!(counted.stops(Kind::Hang) + counted.stops(Kind::Aborted), hangs, "{path}");
        let quiet = counted.stops(Kind::Stopped) + counted.stops(Kind::Completed);
        assert_eq!(counted.starts, panics + errors + hangs + quiet, "{path}");
        all += panics + errors + hangs;
    }
    assert!(all > 300, "only {all} faults");
    let given_up: u64 = counts.all().map(|(_, counted)| counted.stops(Kind::Escalated)).sum();
    assert!(given_up > 10, "only {given_up} escalations");
    eprintln!("{all} faults, {given_up} escalations");
}

/// Of each run its start and its stop were heard once, and in order.
fn in_order(lines: &[String], counts: &Vitals) {
    for (path, counted) in counts.all() {
        let mut own = lines.iter().filter_map(|line| line.strip_prefix(path)?.strip_prefix(' '));
        let mut own = own.by_ref().filter(|line| !line.contains("backoff") && !line.contains("gave up"));
        for run in 1..=counted.starts {
            assert_eq!(own.next(), Some(format!("{run} before start").as_str()), "{path}");
            assert_eq!(own.next(), Some(format!("{run} after start").as_str()), "{path}");
            let stop = own.next().unwrap_or_default();
            assert!(stop.starts_with(&format!("{run} after stop: ")), "{path}: {stop}");
        }
        assert_eq!(own.next(), None, "{path}");
    }
}
