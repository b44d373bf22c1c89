//! Laws of [`worker::Queue`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use futures::future::{join, join_all};
use support::waiting::AT_MOST;
use tokio::time::Instant;
use worker::{Delivery, Outgoing, Queue, QueueError, Receipt};

use crate::random::{case_count, seed};
use crate::suite::{Adapter, laws};

laws! {
    queue;
    every:
        sent_means_durable,
        done_does_not_return_and_twice_is_once,
        a_bad_entry_is_refused_and_the_others_are_sent,
        nothing_is_lost_between_several_senders_and_receivers;
    exact:
        what_is_done_is_gone_for_every_process,
        answers_for_too_many_messages_are_refused_and_change_nothing,
        received_means_hidden_until_its_time_is_up_then_it_returns_with_a_higher_count,
        a_changed_visibility_holds_from_now,
        a_void_receipt_answers_for_its_entry_alone,
        a_delayed_message_is_not_received_before_its_time,
        a_waiting_receiver_notices_a_message_of_another_process,
        a_waiting_receiver_notices_a_message_of_its_own_process,
        a_dropped_receive_loses_nothing,
        bodies_read_back_as_they_were_sent,
        batches_have_a_bound,
        depth_counts_what_is_visible_and_what_is_hidden,
        depth_tells_the_age_of_the_oldest_message;
}

/// A visibility timeout that a test waits for.
const SHORT: Duration = Duration::from_millis(100);
/// Far longer than a test takes.
const LONG: Duration = Duration::from_secs(60);
/// Calls of one flaky adapter in a row that may fail.
const TRIES: usize = 1_000;

type Subject = Adapter<Arc<dyn Queue>>;

/// Repeats a call while its failure is temporary.
async fn sure<T>(call: impl AsyncFn() -> Result<T, QueueError>) -> T {
    for _ in 0..TRIES {
        match call().await {
            Ok(answer) => return answer,
            Err(e) => assert!(e.is_temporary(), "{e}"),
        }
    }
    panic!("{TRIES} failures in a row");
}

/// Sends each text until its entry is accepted.
async fn send(queue: &dyn Queue, texts: &[String]) {
    let mut open: Vec<Outgoing> = texts.iter().map(|text| Outgoing::now(text.as_bytes())).collect();
    while !open.is_empty() {
        let batch = &open[..open.len().min(queue.limits().batch_max)];
        let answers = sure(async || queue.send(batch).await).await;
        assert_eq!(answers.len(), batch.len(), "an answer for each entry");
        let mut answers = answers.into_iter();
        open.retain(|_| match answers.next() {
            Some(Err(e)) if e.is_temporary() => true,
            Some(Err(e)) => panic!("{e}"),
            Some(Ok(())) => false,
            None => true,
        });
    }
}

/// Deletes until each entry is accepted; entries that are no longer held are dropped.
async fn done(queue: &dyn Queue, mut open: Vec<Receipt>) {
    while !open.is_empty() {
        let batch = &open[..open.len().min(queue.limits().batch_max)];
        let mut answers = sure(async || queue.done(batch).await).await.into_iter();
        open.retain(|_| answers.next().is_none_or(|answer| answer.is_err_and(|e| e.is_temporary())));
    }
}

/// Receives until something comes; fails when nothing does.
async fn receive(queue: &dyn Queue, hidden_for: Duration) -> Vec<Delivery> {
    let began = Instant::now();
    while began.elapsed() < AT_MOST {
        let received = sure(async || queue.receive(10, hidden_for, Duration::from_secs(5)).await).await;
        if !received.is_empty() {
            return received;
        }
    }
    panic!("nothing came within {AT_MOST:?}");
}

async fn receive_one(queue: &dyn Queue, hidden_for: Duration) -> Delivery {
    let mut received = receive(queue, hidden_for).await;
    assert_eq!(received.len(), 1, "{received:?}");
    received.remove(0)
}

async fn assert_empty(queue: &dyn Queue) {
    let received = sure(async || queue.receive(10, LONG, Duration::ZERO).await).await;
    assert!(received.is_empty(), "received {received:?}");
}

fn texts(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("message {i}")).collect()
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8(delivery.body.clone()).expect("UTF-8")
}

async fn sent_means_durable(adapter: &Subject) {
    let (folder, queue) = adapter.fresh().await;
    let sent = texts(40);
    send(&*queue, &sent).await;
    drop(queue);
    let again = adapter.open(&folder).await;
    let mut seen = BTreeSet::new();
    // What a lost answer has hidden comes back after a while.
    while seen.len() < sent.len() {
        seen.extend(receive(&*again, SHORT).await.iter().map(text));
    }
    assert_eq!(seen, sent.into_iter().collect());
}

async fn received_means_hidden_until_its_time_is_up_then_it_returns_with_a_higher_count(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    send(&*queue, &texts(1)).await;
    let mut hidden_at: Option<SystemTime> = None;
    for count in 1..=3 {
        // The queue's own clock is the system's.
        let before = SystemTime::now();
        let delivery = receive_one(&*queue, SHORT).await;
        assert_eq!(delivery.receive_count, count);
        let hidden_for = hidden_at.map(|at| at.elapsed().expect("time goes on"));
        assert!(hidden_for.is_none_or(|hidden_for| hidden_for >= SHORT), "it returned after {hidden_for:?}");
        hidden_at = Some(before);
    }
}

async fn done_does_not_return_and_twice_is_once(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    send(&*queue, &texts(3)).await;
    let mut receipts = Vec::new();
    let mut seen = BTreeSet::new();
    while seen.len() < 3 {
        for delivery in receive(&*queue, SHORT).await {
            seen.insert(text(&delivery));
            receipts.push(delivery.receipt);
        }
    }
    // Under lost answers some were sent or received twice: answer for all of them until nothing is left.
    let deadline = Instant::now() + AT_MOST;
    loop {
        assert!(Instant::now() < deadline, "what is done returns");
        done(&*queue, receipts.clone()).await;
        done(&*queue, receipts.clone()).await;
        let depth = sure(async || queue.depth().await).await;
        if depth.visible + depth.hidden == 0 {
            break;
        }
        receipts.extend(receive(&*queue, SHORT).await.into_iter().map(|delivery| delivery.receipt));
    }
    assert_empty(&*queue).await;
}

async fn a_changed_visibility_holds_from_now(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    send(&*queue, &texts(1)).await;
    let first = receive_one(&*queue, LONG).await;
    let change = |receipt: &Receipt, to: Duration| [(receipt.clone(), to)];

    let before = SystemTime::now();
    let answers = queue.change_visibility(&change(&first.receipt, SHORT)).await.expect("changed");
    assert!(matches!(answers[..], [Ok(())]), "{answers:?}");
    let second = receive_one(&*queue, LONG).await;
    assert!(before.elapsed().expect("time goes on") >= SHORT, "it returned too early");

    queue.change_visibility(&change(&second.receipt, Duration::ZERO)).await.expect("given back");
    let now = queue.receive(10, SHORT, Duration::ZERO).await.expect("received");
    assert_eq!(now.len(), 1, "0 gives it back at once");

    // A heartbeat: renewed before its time is up, it stays hidden for longer than it was at first.
    let third = &now[0].receipt;
    let answers = queue.change_visibility(&change(third, LONG)).await.expect("renewed");
    assert!(matches!(answers[..], [Ok(())]), "{answers:?}");
    let waited = queue.receive(10, LONG, SHORT * 2).await.expect("received");
    assert!(waited.is_empty(), "the heartbeat was lost: {waited:?}");
}

async fn a_void_receipt_answers_for_its_entry_alone(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    send(&*queue, &texts(3)).await;
    let received = queue.receive(10, LONG, Duration::ZERO).await.expect("received");
    let [a, b, c] = &received[..] else { panic!("{received:?}") };
    // b is received again: its first receipt is void. c is deleted.
    queue.change_visibility(&[(b.receipt.clone(), Duration::ZERO)]).await.expect("given back");
    let b_again = receive_one(&*queue, LONG).await;
    assert_eq!((&b_again.body, b_again.receive_count), (&b.body, 2));
    assert_ne!(b_again.receipt, b.receipt);
    done(&*queue, vec![c.receipt.clone()]).await;

    let nonsense = Receipt("nonsense".to_owned());
    let all = [&b.receipt, &a.receipt, &nonsense, &c.receipt];
    let changes: Vec<_> = all.iter().map(|receipt| ((*receipt).clone(), LONG)).collect();
    let answers = queue.change_visibility(&changes).await.expect("answered");
    assert!(
        matches!(
            &answers[..],
            [Err(QueueError::NotHeld { .. }), Ok(()), Err(QueueError::NotHeld { .. }), Err(QueueError::NotHeld { .. })]
        ),
        "{answers:?}"
    );
    let receipts: Vec<_> = all.into_iter().cloned().collect();
    let answers = queue.done(&receipts).await.expect("answered");
    assert!(
        matches!(&answers[..], [Err(QueueError::NotHeld { .. }), Ok(()), Err(QueueError::NotHeld { .. }), Ok(())]),
        "{answers:?}"
    );
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.visible, depth.hidden), (0, 1), "b alone is left");
    let answers = queue.done(&[b_again.receipt]).await.expect("answered");
    assert!(matches!(answers[..], [Ok(())]), "{answers:?}");
}

async fn a_delayed_message_is_not_received_before_its_time(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    let before = SystemTime::now();
    let delayed = Outgoing { body: b"later".to_vec(), delay: SHORT };
    let answers = queue.send(&[delayed, Outgoing::now("now")]).await.expect("sent");
    assert!(matches!(answers[..], [Ok(()), Ok(())]), "{answers:?}");
    assert_eq!(receive_one(&*queue, LONG).await.body, b"now");
    assert_eq!(receive_one(&*queue, LONG).await.body, b"later");
    assert!(before.elapsed().expect("time goes on") >= SHORT, "it came too early");
}

async fn a_waiting_receiver_notices_a_message_of_another_process(adapter: &Subject) {
    let (folder, receiver) = adapter.fresh().await;
    let sender = adapter.open(&folder).await;
    noticed(receiver, sender).await;
}

async fn a_waiting_receiver_notices_a_message_of_its_own_process(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    noticed(queue.clone(), queue).await;
}

async fn noticed(receiver: Arc<dyn Queue>, sender: Arc<dyn Queue>) {
    let before = SystemTime::now();
    let waiting = tokio::spawn(async move { receiver.receive(10, LONG, LONG).await.expect("received") });
    // Let it find nothing first.
    tokio::time::sleep(SHORT).await;
    send(&*sender, &texts(1)).await;
    assert_eq!(waiting.await.expect("no panic").len(), 1);
    assert!(before.elapsed().expect("time goes on") < LONG / 4, "it slept through the message");
}

async fn a_dropped_receive_loses_nothing(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    let sent = texts(50);
    send(&*queue, &sent).await;
    for micros in (0..2_000).step_by(100) {
        let receive = queue.receive(5, Duration::ZERO, Duration::ZERO);
        let _ = tokio::time::timeout(Duration::from_micros(micros), receive).await;
    }
    let mut seen = BTreeSet::new();
    while seen.len() < sent.len() {
        for delivery in receive(&*queue, LONG).await {
            assert!(seen.insert(text(&delivery)), "received while it was hidden");
        }
    }
}

async fn a_bad_entry_is_refused_and_the_others_are_sent(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    let max = queue.limits().body_bytes_max;
    let large = Outgoing::now(vec![b'x'; max + 1]);
    let binary = Outgoing::now(vec![0xff, 0xfe]);
    let batch = [large, Outgoing::now("good"), binary];
    loop {
        let answers = sure(async || queue.send(&batch).await).await;
        assert_eq!(answers.len(), 3);
        if answers.iter().any(|answer| matches!(answer, Err(e) if e.is_temporary())) {
            continue;
        }
        assert!(
            matches!(&answers[..], [Err(QueueError::Refused { .. }), Ok(()), Err(QueueError::Refused { .. })]),
            "{answers:?}"
        );
        break;
    }
    // What a lost answer has hidden comes back after a while.
    for delivery in receive(&*queue, SHORT).await {
        assert_eq!(delivery.body, b"good");
    }
    let answers = sure(async || queue.send(&[]).await).await;
    assert!(answers.is_empty());
}

async fn bodies_read_back_as_they_were_sent(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    let max = queue.limits().body_bytes_max;
    let bodies = [String::new(), "a\0b".to_owned(), "日本語 \"quoted\" \\".to_owned(), "x".repeat(max), String::new()];
    send(&*queue, &bodies).await;
    let mut received: Vec<String> = receive(&*queue, LONG).await.iter().map(text).collect();
    let mut sent = bodies.to_vec();
    received.sort_unstable();
    sent.sort_unstable();
    assert!(received == sent, "bodies differ");
}

async fn batches_have_a_bound(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    let max = queue.limits().batch_max;
    let full: Vec<Outgoing> = (0..=max).map(|i| Outgoing::now(i.to_string())).collect();
    assert!(matches!(queue.send(&full).await, Err(QueueError::Refused { .. })));
    assert_empty(&*queue).await;
    let answers = queue.send(&full[..max]).await.expect("a full batch");
    assert!(answers.iter().all(Result::is_ok));
    let received = queue.receive(usize::MAX, LONG, Duration::ZERO).await.expect("received");
    assert_eq!(received.len(), max);
    assert!(queue.receive(0, LONG, LONG).await.expect("nothing asked").is_empty());
    let receipts: Vec<Receipt> = received.into_iter().map(|delivery| delivery.receipt).collect();
    let answers = queue.done(&receipts).await.expect("a full batch");
    assert!(answers.iter().all(Result::is_ok));
}

async fn depth_counts_what_is_visible_and_what_is_hidden(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.visible, depth.hidden, depth.oldest_age), (0, 0, None));
    send(&*queue, &texts(5)).await;
    let received = queue.receive(2, LONG, Duration::ZERO).await.expect("received");
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.visible, depth.hidden), (3, 2));
    done(&*queue, received.into_iter().map(|delivery| delivery.receipt).collect()).await;
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.visible, depth.hidden), (3, 0));
}

async fn depth_tells_the_age_of_the_oldest_message(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    send(&*queue, &texts(1)).await;
    let depth = queue.depth().await.expect("depth");
    assert!(depth.oldest_age.is_some_and(|age| age < LONG));
}

async fn nothing_is_lost_between_several_senders_and_receivers(adapter: &Subject) {
    let (folder, first) = adapter.fresh().await;
    let second = adapter.open(&folder).await;
    let count = 20 * usize::try_from(case_count(5)).expect("a count");
    let groups: Vec<Vec<String>> = (0..4).map(|g| (0..count).map(|i| format!("{g} {i}")).collect()).collect();
    let expected: BTreeSet<String> = groups.iter().flatten().cloned().collect();

    let sent = AtomicBool::new(false);
    let queues = [&*first, &*second, &*first, &*second];
    let senders = join_all(groups.iter().zip(queues).map(async |(group, queue)| {
        for chunk in group.chunks(7) {
            send(queue, chunk).await;
        }
    }));
    let senders = async {
        senders.await;
        sent.store(true, Ordering::Release);
    };
    let receivers = join_all(
        queues
            .iter()
            .take(3)
            .zip(seed()..)
            .map(async |(queue, seed)| consume(*queue, &mut fastrand::Rng::with_seed(seed), &sent).await),
    );
    let ((), seen) = join(senders, receivers).await;
    let seen: BTreeSet<String> = seen.into_iter().flatten().collect();
    assert_eq!(seen, expected, "LANNER_SEED={}", seed());
}

/// Receives, finishes some and drops the others, until everything is sent and nothing is left.
async fn consume(queue: &dyn Queue, random: &mut fastrand::Rng, sent: &AtomicBool) -> BTreeSet<String> {
    let mut finished = BTreeSet::new();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < AT_MOST, "something is left after {:?}", began.elapsed());
        let all_sent = sent.load(Ordering::Acquire);
        let received = sure(async || queue.receive(10, SHORT, SHORT).await).await;
        let depth = sure(async || queue.depth().await).await;
        if all_sent && received.is_empty() && depth.visible + depth.hidden == 0 {
            return finished;
        }
        let (taken, dropped): (Vec<_>, Vec<_>) = received.into_iter().partition(|_| random.u8(0..4) > 0);
        finished.extend(taken.iter().map(text));
        done(queue, taken.into_iter().map(|delivery| delivery.receipt).collect()).await;
        drop(dropped);
    }
}

async fn what_is_done_is_gone_for_every_process(adapter: &Subject) {
    let (folder, first) = adapter.fresh().await;
    let second = adapter.open(&folder).await;
    send(&*first, &texts(3)).await;
    let received = first.receive(10, LONG, Duration::ZERO).await.expect("received");
    assert_eq!(received.len(), 3);
    assert_empty(&*second).await;
    let receipts: Vec<Receipt> = received.into_iter().map(|delivery| delivery.receipt).collect();
    // A receipt answers in any process, and given back is given back to all.
    let answers = second.done(&receipts[..2]).await.expect("answered");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    first.change_visibility(&[(receipts[2].clone(), Duration::ZERO)]).await.expect("given back");
    let last = receive_one(&*second, LONG).await;
    assert_eq!(last.receive_count, 2);
    second.done(&[last.receipt]).await.expect("answered");
    drop((first, second));
    let again = adapter.open(&folder).await;
    let depth = again.depth().await.expect("depth");
    assert_eq!((depth.visible, depth.hidden), (0, 0));
}

async fn answers_for_too_many_messages_are_refused_and_change_nothing(adapter: &Subject) {
    let (_folder, queue) = adapter.fresh().await;
    send(&*queue, &texts(1)).await;
    let held = receive_one(&*queue, LONG).await.receipt;
    let receipts = vec![held; queue.limits().batch_max + 1];
    assert!(matches!(queue.done(&receipts).await, Err(QueueError::Refused { .. })));
    let changes: Vec<_> = receipts.into_iter().map(|receipt| (receipt, Duration::ZERO)).collect();
    assert!(matches!(queue.change_visibility(&changes).await, Err(QueueError::Refused { .. })));
    let depth = queue.depth().await.expect("depth");
    assert_eq!((depth.visible, depth.hidden), (0, 1));
}
