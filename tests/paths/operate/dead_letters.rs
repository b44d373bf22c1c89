//! The dead-letter desk against what stands in the ledger.

use chat::ledger::{State, UnreadableMessage};
use chat::{OrganizationId, Timestamp};
use jobs::operate::OperateError;
use jobs::operate::dead_letters::{Question, letter, list};

use super::end;
use crate::handlers::rig::{Rig, run_id};

/// A week, in milliseconds.
const KEPT: Option<u64> = Some(7 * 86_400_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_lists_the_newest_first_and_its_summary_counts_all() {
    let rig = Rig::new(121, 60).await;
    let ports = &rig.open.ports;
    let ids: Vec<u64> = rig.oracle().into_keys().collect();
    for name in ["older", "newer"] {
        rig.extract(name).await;
        // Runs are told apart by when they were opened.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    end(&*ports.ledger, "older", &ids[..20], State::Parked, "unavailable").await;
    end(&*ports.ledger, "newer", &ids[5..8], State::Parked, "unavailable").await;
    end(&*ports.ledger, "newer", &ids[8..9], State::Failed, "corrupt").await;
    let message = UnreadableMessage {
        id: None,
        queue: "rooms".to_owned(),
        body: b"nonsense".to_vec(),
        cause: "not JSON".to_owned(),
        at: Timestamp::now(),
    };
    ports.ledger.put_aside(&message).await.expect("put aside");
    let ask = async |run: Option<&str>, class: Option<&str>, limit| {
        let question =
            Question { run: run.map(run_id), error_class: class.map(str::to_owned), limit, retention_ms: KEPT };
        list(ports, &question).await.expect("a list")
    };

    let desk = ask(None, None, 7).await;
    let summary: Vec<_> =
        desk.summary.iter().map(|c| (c.class.as_str(), c.organizations, c.runs, c.run.as_str())).collect();
    assert_eq!(summary, [("unavailable", 23, 2, "newer"), ("corrupt", 1, 1, "newer")]);
    let letters: Vec<_> = desk.letters.iter().map(|l| (l.run.as_str(), l.row.organization.get())).collect();
    let expected: Vec<_> =
        ids[5..9].iter().map(|id| ("newer", *id)).chain(ids[..3].iter().map(|id| ("older", *id))).collect();
    assert_eq!(letters, expected);
    assert_eq!(desk.unreadable.len(), 1);
    let opened_at = rig.progress("newer").await.run.opened_at;
    assert_eq!(desk.letters[0].expires_at, KEPT.map(|kept| opened_at.plus_millis(kept)));

    let of_class = ask(None, Some("corrupt"), 50).await;
    assert_eq!((of_class.letters.len(), of_class.summary.len(), of_class.unreadable.len()), (1, 1, 0));
    let of_run = ask(Some("older"), None, 50).await;
    assert_eq!((of_run.letters.len(), of_run.summary[0].organizations, of_run.unreadable.len()), (20, 20, 0));
    assert_eq!(ask(None, Some("unreadable"), 50).await.unreadable.len(), 1);

    let one = letter(ports, &run_id("newer"), OrganizationId::from_bits(ids[8]), KEPT).await.expect("a look");
    assert_eq!(one.expect("a letter").row.error_class.as_deref(), Some("corrupt"));
    let none = letter(ports, &run_id("newer"), OrganizationId::from_bits(ids[8] + 1), KEPT).await.expect("a look");
    assert!(none.is_none());
    let nobody = letter(ports, &run_id("nobody"), OrganizationId::MAX, KEPT).await;
    assert!(matches!(nobody, Err(OperateError::UnknownRun(_))));
}
