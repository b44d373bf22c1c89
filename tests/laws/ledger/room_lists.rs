//! Laws of the room lists that a ledger keeps.

use chat::Ledger;
use chat::ledger::{Item, Old, ROOM_LIST_BYTES_MAX, Stage, State};
use chat::{PortError, Timestamp};
use futures::future::join;

use super::{Subject, at, end, failure, fill, filled, item, items, ledger_error, prune_all, run, sure};
use crate::suite::laws;

laws! {
    ledger;
    every:
        a_room_list_is_kept_until_its_organization_ends,
        an_older_room_list_never_replaces_a_newer_one,
        no_room_list_is_kept_of_what_is_not_open,
        room_lists_up_to_the_bound_read_back_and_larger_ones_are_refused,
        room_lists_go_with_their_run;
    exact:
        a_room_list_and_an_end_at_once_leave_no_list;
}

async fn put(ledger: &dyn Ledger, item: &Item, collected_at: Timestamp, list: &[u8]) -> bool {
    sure(async || ledger.put_room_list(item, collected_at, list).await).await
}

async fn kept(ledger: &dyn Ledger, item: &Item) -> Option<Vec<u8>> {
    sure(async || ledger.room_list(item).await).await
}

async fn a_room_list_is_kept_until_its_organization_ends(adapter: &Subject) {
    let (folder, ledger) = filled(adapter, "r", 7).await;
    fill(&*ledger, "other", 2, 7).await;
    let everything: Vec<Item> = items("r", 0..6).into_iter().chain(items("other", 0..6)).collect();
    let list_of = |item: &Item| format!("rooms of {} in {}", item.organization, item.run).into_bytes();
    for item in &everything {
        assert_eq!(kept(&*ledger, item).await, None);
        assert!(put(&*ledger, item, at(5), &list_of(item)).await);
    }
    let ledger = {
        drop(ledger);
        adapter.open(&folder).await
    };
    sure(async || ledger.begin(Stage::MergeNewest, &everything, at(6)).await).await;
    sure(async || ledger.fail(&[(item("r", 0), failure("x", "y"))]).await).await;
    sure(async || ledger.forgive(Stage::MergeNewest, &items("r", [1])).await).await;
    for item in &everything {
        assert_eq!(kept(&*ledger, item).await, Some(list_of(item)), "{item:?}");
    }
    let other = adapter.open(&folder).await;
    let ends = [State::Done, State::Superseded, State::Released, State::Failed, State::Parked];
    let ends: Vec<_> = ends.into_iter().zip(0..).map(|(state, id)| end("r", id, state)).collect();
    sure(async || other.settle(&ends).await).await;
    for item in &everything {
        let ended = item.run == run("r") && item.organization.get() < 5;
        assert_eq!(kept(&*ledger, item).await, (!ended).then(|| list_of(item)), "{item:?}");
    }
    assert_eq!(kept(&*ledger, &item("r", 6)).await, None, "it has put none");
    assert_eq!(kept(&*ledger, &item("unknown", 0)).await, None);
}

async fn an_older_room_list_never_replaces_a_newer_one(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 1).await;
    let one = item("r", 0);
    // Lists of several parts, where an adapter has parts: the longer one must not shine through.
    let (long, short) = (vec![b'l'; 1_300_000], b"short".to_vec());
    for (collected, list, stays) in [(5, &long, &long), (7, &short, &short), (6, &long, &short), (7, &long, &long)] {
        assert!(put(&*ledger, &one, at(collected), list).await, "there is something to merge");
        assert!(kept(&*ledger, &one).await.as_ref() == Some(stays), "collected at {collected}");
    }
}

async fn no_room_list_is_kept_of_what_is_not_open(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 3).await;
    let (parked, open) = (item("r", 0), item("r", 1));
    assert!(put(&*ledger, &parked, at(5), b"before").await);
    sure(async || ledger.settle(&[end("r", 0, State::Parked)]).await).await;
    for nothing in [&parked, &item("r", 77), &item("unknown", 1)] {
        assert!(!put(&*ledger, nothing, at(6), b"late").await, "{nothing:?}");
        assert_eq!(kept(&*ledger, nothing).await, None, "{nothing:?}");
    }
    sure(async || ledger.reopen(std::slice::from_ref(&parked)).await).await;
    assert_eq!(kept(&*ledger, &parked).await, None, "begun anew, it is collected anew");
    assert!(put(&*ledger, &parked, at(4), b"again").await);
    assert_eq!(kept(&*ledger, &parked).await.as_deref(), Some(&b"again"[..]));
    sure(async || ledger.cancel_run(&run("r"), at(7)).await).await;
    assert!(!put(&*ledger, &open, at(8), b"late").await, "a cancelled run merges nothing");
}

async fn room_lists_up_to_the_bound_read_back_and_larger_ones_are_refused(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 1).await;
    let one = item("r", 0);
    let mut random = fastrand::Rng::with_seed(1);
    let mut longest: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(ROOM_LIST_BYTES_MAX).collect();
    let half = 512 * 1024;
    for bytes in [0, 1, half - 1, half, half + 1, 3 * half, ROOM_LIST_BYTES_MAX] {
        assert!(put(&*ledger, &one, at(5), &longest[..bytes]).await);
        assert!(kept(&*ledger, &one).await.as_deref() == Some(&longest[..bytes]), "{bytes} bytes differ");
    }
    longest.push(0);
    let refused = ledger_error(async || ledger.put_room_list(&one, at(6), &longest).await).await;
    assert!(matches!(refused, PortError::Refused { .. }), "{refused:?}");
    assert_eq!(kept(&*ledger, &one).await.map(|list| list.len()), Some(ROOM_LIST_BYTES_MAX));
}

async fn room_lists_go_with_their_run(adapter: &Subject) {
    let (_folder, ledger) = filled(adapter, "r", 10).await;
    for item in items("r", 0..10) {
        assert!(put(&*ledger, &item, at(5), b"old").await);
    }
    let old = Old { before: at(100), except: None };
    // What is told of a step whose answer is lost is not counted.
    assert!(prune_all(&*ledger, &old, 4).await.organizations <= 10);
    for item in items("r", 0..10) {
        assert_eq!(kept(&*ledger, &item).await, None);
    }
    // The name is free again, and perhaps the number by which the ledger knows the run.
    fill(&*ledger, "r", 200, 10).await;
    for item in items("r", 0..10) {
        assert_eq!(kept(&*ledger, &item).await, None, "{item:?} has the list of a run before it");
        assert!(put(&*ledger, &item, at(4), b"new").await);
        assert_eq!(kept(&*ledger, &item).await.as_deref(), Some(&b"new"[..]), "{item:?}");
    }
}

async fn a_room_list_and_an_end_at_once_leave_no_list(adapter: &Subject) {
    let (folder, first) = filled(adapter, "r", 40).await;
    let second = adapter.open(&folder).await;
    let putting = async {
        for id in 0..40 {
            first.put_room_list(&item("r", id), at(5), &[b'l'; 100_000]).await.expect("put");
        }
    };
    let ending = async {
        for id in 0..40 {
            second.settle(&[end("r", id, State::Done)]).await.expect("settled");
        }
    };
    join(putting, ending).await;
    for item in items("r", 0..40) {
        assert_eq!(kept(&*first, &item).await, None, "{item:?} has ended and has a list");
    }
}
