//! A consumer group's marker: a first start is told from a position that was lost.

use jobs::messages::serve_writes::Write;
use support::until;
use support::waiting::AT_MOST;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use worker::log::Missing;
use worker::supervisor::Outcome;

use crate::message_path::{Chat, ROOM, caller};

async fn missing(chat: &Chat) -> Missing {
    chat.marker().missing().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_at_a_log_before_does_not_begin_anew_when_the_position_is_lost() {
    let chat = Chat::new().await;
    assert_eq!(missing(&chat).await, Missing::First, "nobody has been here");
    let stop = CancellationToken::new();
    let running = tokio::spawn(chat.read_model_tree(Missing::First).run(stop.clone()));
    // Where nothing was ever appended the beginning is committed, too.
    until("the group is marked", async || missing(&chat).await == Missing::Lost).await;
    stop.cancel();
    assert_eq!(running.await.expect("no panic"), Outcome::Stopped);

    // What was committed is found.
    let running =
        AbortOnDropHandle::new(tokio::spawn(chat.read_model_tree(Missing::Lost).run(CancellationToken::new())));
    let (writes, lease) = chat.writes(1, 0).await;
    let post = Write::Post { room: ROOM, body: "text".to_owned() };
    let accepted = writes.accept(caller(10), post, None).await.expect("accepted");
    assert!(writes.readable(&accepted, AT_MOST).await);
    drop((running, lease));

    let chat = chat.without_events();
    assert_eq!(missing(&chat).await, Missing::Lost);
    let Outcome::GaveUp(gave_up) = chat.read_model_tree(missing(&chat).await).run(CancellationToken::new()).await
    else {
        panic!("it did not give up")
    };
    assert!(gave_up.to_string().contains("has lost its position"), "{gave_up}");
}
