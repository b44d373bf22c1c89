//! What becomes of mail while its readers come and go.

use std::collections::BTreeSet;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use super::*;

const SENDERS: u64 = 4;
const LETTERS: u64 = 2_500;
const REPLACED: u64 = 1_000;

type Numbers = Arc<Mutex<Vec<u64>>>;

fn mailbox(bound: usize, while_down: WhileDown) -> Mailbox {
    Mailbox { bound, while_down }
}

/// Notes each number, and fails with one in hand after a few, as often as it is to be replaced.
async fn read(context: Context, inbox: Inbox<u64>, done: Numbers) -> Result<(), Cause> {
    let mut left = fastrand::u32(1..=8);
    while let Some(mail) = inbox.recv().await {
        tokio::time::sleep(ms(1)).await;
        left = left.saturating_sub(1);
        if left == 0 && context.run <= REPLACED {
            match context.run % 3 {
                0 => return broken(),
                1 => quiet_panic(),
                _ => std::future::pending().await,
            }
        }
        done.lock().expect("numbers").push(*mail);
        mail.done();
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_child_replaced_a_thousand_times_under_load_loses_no_mail() {
    fastrand::seed(number_from_env("LANNER_SEED", 1));
    let (done, stop) = (Numbers::default(), CancellationToken::new());
    let policy = Policy { limit: endless(), hang_after: Some(secs(1)), ..policy() };
    let seen = Arc::clone(&done);
    let (child, address) =
        Child::with_mailbox("child", Phase::Work, policy, mailbox(64, WhileDown::Stash), move |context, inbox| {
            read(context, inbox, Arc::clone(&seen))
        });
    let tree = Tree::new("top", vec![child]).expect("a tree");
    let counts = tree.vitals();
    let load = async {
        join_all((0..SENDERS).map(|sender| {
            let address = address.clone();
            async move {
                for letter in 0..LETTERS {
                    address.send(sender * LETTERS + letter).await.expect("a reader");
                }
            }
        }))
        .await;
        while address.counts().held > 0 {
            tokio::time::sleep(ms(10)).await;
        }
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(tree.run(stop.clone()), load);
    assert_eq!(outcome, Outcome::Stopped);
    let done = done.lock().expect("numbers");
    let all: BTreeSet<_> = done.iter().copied().collect();
    assert_eq!((done.len() as u64, all.len() as u64), (SENDERS * LETTERS, SENDERS * LETTERS));
    for sender in 0..SENDERS {
        let own: Vec<_> = done.iter().filter(|number| *number / LETTERS == sender).collect();
        assert!(own.is_sorted(), "letters of sender {sender} were done out of order");
    }
    let mail = address.counts();
    let expected = MailCounts { accepted: SENDERS * LETTERS, done: SENDERS * LETTERS, returned: REPLACED, ..mail };
    assert_eq!((mail, mail.held, mail.dropped, mail.refused), (expected, 0, 0, 0));
    let child = counts.of("top/child").expect("the child");
    assert_eq!(child.starts, REPLACED + 1);
    assert_eq!([Kind::Panic, Kind::Hang, Kind::Error].map(|kind| child.stops(kind)), [334, 333, 333]);
    assert_eq!(tasks(), 0);
}

/// A child that is down from the first second on for an hour, with two letters waiting; then it reads what there is.
async fn down(while_down: WhileDown) -> (Vec<Result<(), Refusal>>, Vec<u64>, MailCounts) {
    let done = Numbers::default();
    let seen = Arc::clone(&done);
    let hour = Backoff::new(secs(3_600), secs(3_600), 0.0).expect("a backoff");
    let policy = Policy { backoff: hour, ..policy() };
    let (child, address) =
        Child::with_mailbox("child", Phase::Work, policy, mailbox(4, while_down), move |context, inbox: Inbox<u64>| {
            let seen = Arc::clone(&seen);
            async move {
                tokio::time::sleep(secs(1)).await;
                if context.run == 1 {
                    return broken();
                }
                while let Ok(Some(mail)) = tokio::time::timeout(secs(1), inbox.recv()).await {
                    seen.lock().expect("numbers").push(*mail);
                    mail.done();
                }
                Ok(())
            }
        });
    let sending = async {
        tokio::time::sleep(ms(500)).await;
        let mut sent: Vec<_> = (0..2).map(|number| address.try_send(number)).collect();
        tokio::time::sleep(secs(60)).await;
        sent.extend((2..7).map(|number| address.try_send(number)));
        sent.into_iter().map(|sent| sent.map_err(|refused| refused.why)).collect()
    };
    let tree = Tree::new("top", vec![child]).expect("a tree");
    let (outcome, sent) = tokio::join!(tree.run(CancellationToken::new()), sending);
    assert_eq!(outcome, Outcome::Completed);
    let late = address.send(9).await.expect_err("nobody reads");
    assert_eq!((late.mail, late.why), (9, Refusal::Closed));
    let done = done.lock().expect("numbers").clone();
    (sent, done, address.counts())
}

#[tokio::test(start_paused = true)]
async fn mail_sent_during_a_restart_is_stashed_to_the_bound() {
    let (sent, done, counts) = down(WhileDown::Stash).await;
    let full = Err(Refusal::Full);
    assert_eq!(sent, [Ok(()), Ok(()), Ok(()), Ok(()), full, full, full]);
    assert_eq!(done, [0, 1, 2, 3]);
    assert_eq!(counts, MailCounts { accepted: 4, done: 4, refused: 4, ..MailCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn mail_sent_during_a_restart_is_rejected_and_what_waited_stays() {
    let (sent, done, counts) = down(WhileDown::Reject).await;
    let down = Err(Refusal::Down);
    assert_eq!(sent, [Ok(()), Ok(()), down, down, down, down, down]);
    assert_eq!(done, [0, 1]);
    assert_eq!(counts, MailCounts { accepted: 2, done: 2, refused: 6, ..MailCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn mail_sent_during_a_restart_drops_the_oldest_and_counts_it() {
    let (sent, done, counts) = down(WhileDown::DropOldest).await;
    assert_eq!(sent, [Ok(()); 7]);
    assert_eq!(done, [3, 4, 5, 6]);
    assert_eq!(counts, MailCounts { accepted: 7, done: 4, dropped: 3, refused: 1, ..MailCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn an_address_stays_valid_when_a_supervisor_above_is_restarted() {
    let stop = CancellationToken::new();
    let escalate = Policy { directives: Directives::always(Directive::Escalate), ..policy() };
    let (leaf, address) = Child::with_mailbox(
        "leaf",
        Phase::Work,
        escalate,
        mailbox(10, WhileDown::Stash),
        |context, inbox: Inbox<u64>| async move {
            if context.run == 1 {
                return broken();
            }
            while let Some(mail) = inbox.recv().await {
                mail.done();
            }
            Ok(())
        },
    );
    let restart = Policy { directives: Directives::always(Directive::Restart), ..policy() };
    let tree = Tree::new("top", vec![Child::supervisor("job", restart, vec![leaf])]).expect("a tree");
    let sending = async {
        tokio::time::sleep(ms(50)).await;
        address.try_send(1).expect("the supervisor waits, its mail does too");
        tokio::time::sleep(secs(1)).await;
        assert_eq!(address.counts().done, 1);
        stop.cancel();
    };
    assert_eq!(tokio::join!(tree.run(stop.clone()), sending).0, Outcome::Stopped);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_mail_does_not_hang() {
    let stop = CancellationToken::new();
    let policy = Policy { hang_after: Some(secs(1)), ..policy() };
    let (child, _address) = Child::with_mailbox(
        "child",
        Phase::Work,
        policy,
        mailbox(1, WhileDown::Stash),
        |context, inbox: Inbox<u64>| async move {
            tokio::select! {
                _ = inbox.recv() => broken(),
                () = context.stop.cancelled() => Ok(()),
            }
        },
    );
    let tree = Tree::new("top", vec![child]).expect("a tree");
    let counts = tree.vitals();
    let later = async {
        tokio::time::sleep(secs(3_600)).await;
        stop.cancel();
    };
    assert_eq!(tokio::join!(tree.run(stop.clone()), later).0, Outcome::Stopped);
    assert_eq!(counts.of("top/child").expect("the child").starts, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_run_left_behind_reads_no_mail_of_the_next() {
    let stolen = Numbers::default();
    let seen = Arc::clone(&stolen);
    let (child, address) = Child::with_mailbox(
        "child",
        Phase::Work,
        policy(),
        mailbox(10, WhileDown::Stash),
        move |context, inbox: Inbox<u64>| {
            let seen = Arc::clone(&seen);
            async move {
                if context.run > 1 {
                    tokio::time::sleep(secs(10)).await;
                    return Ok(());
                }
                tokio::spawn(async move {
                    while let Some(mail) = inbox.recv().await {
                        seen.lock().expect("numbers").push(*mail);
                    }
                });
                tokio::time::sleep(secs(1)).await;
                broken()
            }
        },
    );
    let sending = async {
        tokio::time::sleep(secs(5)).await;
        address.send(1).await.expect("a reader");
    };
    let tree = Tree::new("top", vec![child]).expect("a tree");
    assert_eq!(tokio::join!(tree.run(CancellationToken::new()), sending).0, Outcome::Completed);
    assert!(stolen.lock().expect("numbers").is_empty());
    assert_eq!(tasks(), 0);
    assert_eq!(address.unread().iter().map(|mail| **mail).collect::<Vec<_>>(), [1]);
    assert_eq!(address.counts(), MailCounts { accepted: 1, dropped: 1, ..MailCounts::default() });
}

#[tokio::test(start_paused = true)]
async fn senders_who_wait_for_room_are_told_when_nobody_will_read() {
    let (child, address) =
        Child::with_mailbox("child", Phase::Work, policy(), mailbox(1, WhileDown::Stash), |_, _: Inbox<u64>| {
            std::future::pending()
        });
    let tree = Tree::new("top", vec![child]).expect("a tree");
    address.try_send(1).expect("room");
    let dropping = async {
        let _ = tokio::time::timeout(secs(1), tree.run(CancellationToken::new())).await;
    };
    let (sent, ()) = tokio::join!(address.send(2), dropping);
    assert_eq!(sent.map_err(|refused| (refused.mail, refused.why)), Err((2, Refusal::Closed)));
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 0, "a tree that is dropped leaves no task");
}

#[tokio::test(start_paused = true)]
async fn during_a_stop_senders_of_a_later_phase_do_not_wait_for_readers_that_have_ended() {
    let (reader, address) = Child::with_mailbox(
        "reader",
        Phase::Intake,
        policy(),
        mailbox(1, WhileDown::Stash),
        |context, _: Inbox<u64>| serve(context),
    );
    let sender = Child::new("sender", Phase::Work, policy(), move |_| {
        let address = address.clone();
        async move {
            address.send(1).await.expect("room");
            assert_eq!(address.send(2).await.expect_err("nobody reads").why, Refusal::Closed);
            Ok(())
        }
    });
    let group = Child::supervisor("group", policy(), vec![reader]);
    let tree = Tree::new("top", vec![group, sender]).expect("a tree");
    let (counts, stop) = (tree.vitals(), CancellationToken::new());
    let later = async {
        tokio::time::sleep(secs(10)).await;
        stop.cancel();
    };
    let started = tokio::time::Instant::now();
    assert_eq!(tokio::join!(tree.run(stop.clone()), later).0, Outcome::Stopped);
    assert_eq!(started.elapsed(), secs(10));
    assert_eq!(counts.of("top/sender").expect("the sender").stops(Kind::Completed), 1);
}
