//! `lanner settings`: what is in force, where it comes from, what it means; policies that follow each other; secrets.

use std::fs;

use super::shop::Shop;
use super::{check_table, json};

#[test]
fn settings_in_force_and_where_they_come_from() {
    let shop = Shop::without_import(81);
    let file = shop.beside("lanner.toml");
    fs::write(&file, "[workers]\nin_flight = 7\nbatch_max = 9\n").expect("a file");
    let program = shop.program.clone().with("LANNER_CONFIG", file.display()).with("LANNER_WORKERS_IN_FLIGHT", 8);
    let told = json(program.run("settings --json"), 0);
    assert_eq!(
        (&told["settings"]["workers"]["in_flight"], &told["settings"]["workers"]["batch_max"]),
        (&8.into(), &9.into())
    );
    assert_eq!(told["sources"]["workers.in_flight"]["name"], "LANNER_WORKERS_IN_FLIGHT");
    assert_eq!(told["sources"]["workers.batch_max"]["line"], 3);
    assert_eq!(told["sources"]["data.dir"]["name"], "--data-dir");
    assert_eq!(told["policy_in_force"]["policy"]["max_messages"], 5000);
    let table = program.run("settings").exits(0);
    check_table(&table);
    assert!(table.out.contains("in_flight = 8  # environment LANNER_WORKERS_IN_FLIGHT"), "{}", table.out);
    let again = shop.beside("again.toml");
    fs::write(&again, &table.out).expect("a file");
    let same = json(shop.program.run_with(["--config", again.to_str().expect("a path"), "settings", "--json"]), 0);
    assert_eq!(same["settings"], told["settings"], "what is shown is a settings file");

    let defaults = shop.program.run("settings --defaults").exits(0);
    fs::write(&file, &defaults.out).expect("a file");
    let same = json(shop.program.run_with(["--config", file.to_str().expect("a path"), "settings", "--json"]), 0);
    let plain = json(shop.program.run("settings --json"), 0);
    assert_eq!(same["settings"], plain["settings"], "the defaults are a settings file");
}

#[test]
fn every_key_is_explained() {
    let shop = Shop::without_import(82);
    let program = shop.program.clone().with("LANNER_WORKERS_IN_FLIGHT", 8);
    let key = json(program.run("settings --json --explain workers.in_flight"), 0)["keys"][0].clone();
    assert_eq!((&key["default"], &key["range"][1]), (&512.into(), &100_000.into()));
    assert_eq!(
        (&key["in_force"][0]["value"], &key["in_force"][0]["source"]["kind"]),
        (&8.into(), &"environment".into())
    );
    let told = json(program.run("settings --json"), 0);
    for (section, _) in told["settings"].as_object().expect("sections") {
        let table = program.run(&format!("settings --explain {section}")).exits(0);
        check_table(&table);
        let wide = table.out.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None);
        assert!(!table.out.contains("Range:") && !table.out.contains("One of:"), "{}", table.out);
    }
    program.run("settings --explain worker.in_flight").exits(2).says(&["did you mean workers.in_flight?"]);
    program.run("settings --explain colour").exits(2).says(&["colour", "the sections are"]);
}

#[test]
fn the_policy_in_force_at_an_instant_is_applied() {
    let shop = Shop::new(83);
    let file = shop.beside("lanner.toml");
    let text = "[[policy]]\nmax_messages = 3\nfrom = \"2025-06-01T00:00:00Z\"\n\n\
                [[policy]]\nmax_messages = 25\nfrom = \"2026-01-01T00:00:00Z\"\n";
    fs::write(&file, text).expect("a file");
    let program = shop.program.clone().with("LANNER_CONFIG", file.display());
    let n = |line: &str| json(program.run(line), 0)["run"]["policy"]["max_messages"].clone();
    assert_eq!(n("run --json --run before --as-of 2025-12-31T23:59:59Z"), 3);
    assert_eq!(n("run --json --run daily --as-of 2026-01-01T00:00:00Z"), 25);
    assert_eq!(program.run("limits export").exits(0).out, shop.expected_export());
    let early = "run --as-of 2025-05-01T00:00:00Z";
    program.run(early).exits(42).says(&["2025-05-01T00:00:00Z", "2025-06-01T00:00:00Z"]);
    assert_eq!(n(&format!("{early} --json --max-messages 7 --max-age 40d")), 7, "flags need no policy in force");
    let replaced = program.clone().with("LANNER_POLICY", "[{max_messages=4}]");
    assert_eq!(json(replaced.run(&format!("{early} --json")), 0)["run"]["policy"]["max_messages"], 4);
    let shown = program.run("settings").exits(0);
    check_table(&shown);
    let (_, in_force) = shown.out.split_once("[[policy]]  # in force now\n").expect("one is in force");
    assert!(in_force.starts_with("max_messages = 25"), "{}", shown.out);
}

#[test]
fn a_secret_is_never_printed() {
    let shop = Shop::without_import(84);
    let secret = shop.beside("secret");
    fs::write(&secret, "h1dden\n").expect("a file");
    let program = shop.program.clone().with("LANNER_LOG_FILTER_FILE", secret.display());
    for line in ["settings", "settings --json", "settings --explain log", "settings --explain log.filter --json"] {
        let ended = program.run(line).exits(0);
        assert!(ended.out.contains(secret.to_str().expect("a path")), "{line}: {}", ended.out);
        assert!(!ended.out.contains("h1dden") && !ended.err.contains("h1dden"), "{line}: {}", ended.out);
    }
    // No log filter, which the error would quote.
    fs::write(&secret, "h1dden=,=loud\n").expect("a file");
    let ended = program.run("runs").exits(42);
    assert!(ended.err.contains("log filter") && !ended.err.contains("h1dden"), "{}", ended.err);
    assert!(!ended.err.contains("loud"), "a piece of it: {}", ended.err);
}
