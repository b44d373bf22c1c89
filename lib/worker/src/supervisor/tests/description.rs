//! The tree in words.

use super::*;

#[test]
fn a_tree_says_names_directives_phases_and_bounds() {
    let hung = Policy { hang_after: Some(secs(30)), ..policy() };
    let (poll, _) = Child::with_mailbox(
        "poll",
        Phase::Intake,
        Policy { directives: Directives::default().on_class("refused", Directive::Escalate), ..hung.clone() },
        Mailbox { bound: 100, while_down: WhileDown::DropOldest },
        |context, _: Inbox<u32>| serve(context),
    );
    let backoff = Backoff::new(ms(250), secs(30), 0.2).expect("a backoff");
    let slow = Policy { reset: Reset::Manual, ..Policy::new(backoff) };
    let job = Child::supervisor("job", slow, vec![poll]);
    let probes = Child::new("probes", Phase::Telemetry, policy(), serve);
    let handlers = (1..=8).map(|number: u32| Child::new(number.to_string(), Phase::Work, policy(), serve));
    let odd = Child::new("9", Phase::Work, hung.clone(), serve);
    let handlers = Child::supervisor("handlers", policy(), handlers.chain([odd]).collect());
    let tree = Tree::new("build-read-model", vec![job, handlers, probes]).expect("a tree");
    let expected = "\
build-read-model
│   stop: intake 1s, work 5s, commits 2s, telemetry 1s
├─ job (supervisor)
│  │   on: completed stop, error restart, panic restart, hang restart, escalated escalate
│  │   backoff: 250ms to 30s, random factor 0.20, reset by hand
│  │   limit: 10 restarts within 600s
│  └─ poll (intake)
│         on: completed stop, error restart, error of class refused escalate, panic restart, hang restart, escalated escalate
│         backoff: 100ms to 1s, random factor 0.00, reset after 1s
│         limit: 10 restarts within 600s
│         hangs after: 30s
│         mailbox: 100 letters, while down drop oldest
├─ handlers (supervisor)
│  │   on: completed stop, error restart, panic restart, hang restart, escalated escalate
│  │   backoff: 100ms to 1s, random factor 0.00, reset after 1s
│  │   limit: 10 restarts within 600s
│  ├─ 1 to 8 (work)
│  │      on: completed stop, error restart, panic restart, hang restart, escalated escalate
│  │      backoff: 100ms to 1s, random factor 0.00, reset after 1s
│  │      limit: 10 restarts within 600s
│  └─ 9 (work)
│         on: completed stop, error restart, panic restart, hang restart, escalated escalate
│         backoff: 100ms to 1s, random factor 0.00, reset after 1s
│         limit: 10 restarts within 600s
│         hangs after: 30s
└─ probes (telemetry)
       on: completed stop, error restart, panic restart, hang restart, escalated escalate
       backoff: 100ms to 1s, random factor 0.00, reset after 1s
       limit: 10 restarts within 600s
";
    assert_eq!(tree.describe(), expected);
}
