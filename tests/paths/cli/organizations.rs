//! `lanner organizations`: who is in the directory, and changes of plan.

use super::shop::Shop;
use super::{check_table, json};

#[test]
fn organizations_are_listed_in_pages_with_their_counts() {
    let shop = Shop::with_run(91);
    let all = json(shop.program.run("organizations list --limit 1000 --json"), 0);
    let all = all.as_array().expect("organizations");
    assert_eq!(all.len(), shop.chat.organizations.len());
    let free = json(shop.program.run("organizations list --plan free --limit 1000 --json"), 0);
    assert_eq!(free.as_array().map(Vec::len), Some(shop.chat.free() as usize));
    let first = json(shop.program.run("organizations list --limit 4 --json"), 0);
    let after = first[3]["organization"].as_str().expect("an id").to_owned();
    let rest = json(shop.program.run(&format!("organizations list --after {after} --limit 1000 --json")), 0);
    assert_eq!([first.as_array().expect("a page").clone(), rest.as_array().expect("a page").clone()].concat(), *all);
    let table = shop.program.run("organizations list --limit 4").exits(0);
    check_table(&table);
    assert!(table.out.contains(&format!("--after {after}")), "{}", table.out);
    let whole = shop.program.run("organizations list --limit 1000").exits(0);
    assert!(!whole.out.contains("--after"), "{}", whole.out);
    shop.program.run("organizations list --plan gold").exits(2).says(&["'gold' is not a plan"]);
    shop.program.run("organizations list --limit 0").exits(2);
}

#[test]
fn one_organization_is_shown_with_its_limit_and_its_last_run() {
    let shop = Shop::with_run(92);
    let (organization, answer) = shop.a_limited_one();
    let shown = json(shop.program.run(&format!("organizations show {organization} --json")), 0);
    assert_eq!(shown["limit"]["visible_messages"], answer.visible);
    assert_eq!((&shown["last_run"]["run"], &shown["rooms"]), (&"daily".into(), &answer.rooms.into()));
    let table = shop.program.run(&format!("organizations show {organization}")).exits(0);
    check_table(&table);
    let boundary = answer.first_visible.expect("a boundary").to_string();
    assert!(table.out.contains(&boundary) && table.out.contains("daily: done"), "{}", table.out);
    shop.program.run("organizations show 999999").exits(2).says(&["999999"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_releases_the_limit_at_once_and_a_downgrade_waits_for_a_run() {
    let shop = Shop::with_run(93);
    let (organization, _) = shop.a_limited_one();
    let show = || json(shop.program.run(&format!("organizations show {organization} --json")), 0);
    let before = show();
    let dry = shop.program.run(&format!("organizations set-plan {organization} paid --dry-run")).exits(0);
    check_table(&dry);
    assert!(dry.out.contains("nothing was written"), "{}", dry.out);
    assert_eq!(show(), before, "a dry run changed something");
    shop.program.run(&format!("organizations set-plan {organization} paid")).exits(2).says(&["--reason"]);
    shop.program.run("organizations set-plan 999999 paid --reason x").exits(2).says(&["999999"]);

    let upgrade = format!("organizations set-plan {organization} paid --reason bought --json");
    let told = json(shop.program.run(&upgrade), 0);
    assert_eq!((&told["after"]["plan"], &told["after"]["plan_version"]), (&"paid".into(), &1.into()));
    assert_eq!(told["released"], before["limit"], "the limit that ended");
    assert_eq!(show()["limit"]["standing"]["state"], "released");
    assert!(!shop.program.run("limits export").exits(0).out.contains(&format!("\n{organization},")));
    let again = json(shop.program.run(&upgrade), 0);
    assert_eq!(
        (&again["changes"], &again["after"]["plan_version"]),
        (&false.into(), &1.into()),
        "again changes nothing"
    );

    let downgrade = shop.program.run(&format!("organizations set-plan {organization} free --reason ended")).exits(0);
    check_table(&downgrade);
    let rerun = format!("lanner rerun --organization {organization} --reason");
    assert!(downgrade.out.contains(&rerun) && downgrade.out.contains("age alone"), "{}", downgrade.out);
    assert_eq!((&show()["plan_version"], &show()["limit"]["standing"]["state"]), (&2.into(), &"released".into()));
    shop.program.run("run --run next --as-of 2026-01-01T00:00:00Z --max-messages 25").exits(0);
    assert_eq!(show()["limit"]["standing"], before["limit"]["standing"], "the next run limits it again");

    let history = json(shop.program.run(&format!("limits history --organization {organization} --json")), 0);
    // The release is of now, the runs are of an earlier instant.
    let boundary = &before["limit"]["standing"]["first_visible_message_id"];
    assert_eq!(
        (&history[0]["cause"], &history[0]["previous_first_visible_message_id"]),
        (&"released".into(), boundary)
    );
    assert_eq!((history.as_array().map(Vec::len), &history[1]["run"]), (Some(3), &"next".into()), "{history}");

    let open = support::place::open(&shop.data_dir(), embedded::Access::Read).await;
    let audits = open.ports.ledger.audits(&chat::ledger::AuditFilter::default(), 50).await.expect("audits");
    let audits: Vec<_> = audits.iter().filter(|audit| audit.action == "organizations set-plan").collect();
    assert_eq!(audits.len(), 6, "two rows for each change, none for a dry run: {audits:?}");
    assert!(audits[4].outcome.contains("limit released"), "{:?}", audits[4]);
    assert!(audits[0].target.contains(&format!("organization {organization}")) && audits[0].reason == "ended");
}
