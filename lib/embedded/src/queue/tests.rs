use super::*;
use crate::Access;

async fn open(folder: &tempfile::TempDir, access: Access, name: &str) -> Result<SqliteQueue, QueueError> {
    let dir = DataDir::open(folder.path(), access, "test").await.expect("a data directory");
    SqliteQueue::open(&dir, name).await
}

#[tokio::test]
async fn queues_of_one_file_do_not_mix() {
    let folder = tempfile::tempdir().expect("a folder");
    let organizations = open(&folder, Access::Write, "organizations").await.expect("a queue");
    let rooms = organizations.beside("rooms").await.expect("another queue");
    organizations.send(&[Outgoing::now("42")]).await.expect("sent");
    assert!(rooms.receive(10, Duration::ZERO, Duration::ZERO).await.expect("received").is_empty());
    assert_eq!(rooms.depth().await.expect("depth"), Depth::default());

    let received = organizations.receive(10, Duration::from_secs(60), Duration::ZERO).await.expect("received");
    let receipt = received[0].receipt.clone();
    let changed = rooms.change_visibility(&[(receipt.clone(), Duration::ZERO)]).await.expect("answered");
    assert!(matches!(changed[..], [Err(QueueError::NotHeld { .. })]), "a receipt of another queue: {changed:?}");
    rooms.done(&[receipt]).await.expect("answered");
    assert_eq!(organizations.depth().await.expect("depth").hidden, 1, "another queue's message was deleted");
}

#[tokio::test]
async fn a_reader_sees_the_depth_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let writer = open(&folder, Access::Write, "rooms").await.expect("a queue");
    writer.send(&[Outgoing::now("1"), Outgoing::now("2")]).await.expect("sent");
    let reader = open(&folder, Access::Read, "rooms").await.expect("the queue");
    assert_eq!(reader.depth().await.expect("depth").visible, 2);
    let refused = reader.send(&[Outgoing::now("3")]).await.expect_err("opened for reading");
    assert!(matches!(refused, QueueError::Refused { .. }), "{refused}");
    let missing = open(&folder, Access::Read, "other").await.expect_err("no such queue");
    assert!(missing.to_string().contains("does not exist yet"), "{missing}");
}

#[test]
fn a_delay_is_never_shortened_and_never_overflows() {
    assert_eq!(delay_ms(Duration::ZERO), 0);
    assert!(delay_ms(Duration::from_nanos(1)) >= 1);
    assert!(delay_ms(Duration::from_millis(100)) >= 100);
    assert!(ms(Timestamp::MAX).checked_add(delay_ms(Duration::MAX)).is_some());
}
