use std::collections::BTreeMap;

use super::*;

fn load(file: &str, environment: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lanner.toml");
    std::fs::write(&path, file)?;
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::read(&layers::Inputs { file: Some(&path), environment: &environment, data_dir: None })
}

#[track_caller]
fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    let error = load(file, environment).err().unwrap_or_else(|| panic!("{file:?} {environment:?} is taken"));
    format!("{error:#}")
}

fn source_of(settings: &Settings, key: &str) -> Vec<String> {
    let explained = explain(settings.layers(), key).expect("a key");
    explained.keys.iter().flat_map(|key| &key.in_force).map(|value| value.source.to_string()).collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

#[test]
fn environment_goes_over_the_file_and_the_file_over_the_defaults() {
    let file = "[workers]\nin_flight = 7\n\nbatch_max = 9\n";
    let settings = load(file, &[("LANNER_WORKERS_IN_FLIGHT", "8")]).expect("settings");
    assert_eq!((settings.workers.in_flight, settings.workers.batch_max), (8, 9));
    assert_eq!(settings.policy(Timestamp::now()).expect("a policy"), Policy::default());
    assert_eq!(source_of(&settings, "workers.in_flight"), ["environment LANNER_WORKERS_IN_FLIGHT"]);
    assert!(source_of(&settings, "workers.batch_max")[0].ends_with("lanner.toml, line 4"));
    assert_eq!(source_of(&settings, "workers.visible_for_ms"), ["default"]);
    let environment = BTreeMap::from([("LANNER_DATA_DIR".to_owned(), "a".to_owned())]);
    let inputs = |data_dir| layers::Inputs { file: None, environment: &environment, data_dir };
    let settings = Settings::read(&inputs(Some(Path::new("b")))).expect("settings");
    assert_eq!(
        (settings.data.dir.as_path(), &*source_of(&settings, "data.dir")[0]),
        (Path::new("b"), "flag --data-dir")
    );
}

#[test]
fn what_is_wrong_is_named() {
    for (file, words) in [
        ("[worker]\nin_flight = 7", "unknown section [worker]: did you mean [workers]?"),
        ("[colour]\nx = 7", "the sections are data, store"),
        ("\nin_flight = 7", "line 2: unknown section [in_flight]: did you mean workers.in_flight?"),
        ("[workers]\nin_fligth = 7", "line 2: unknown key workers.in_fligth: did you mean workers.in_flight?"),
        ("[data]\ncolour = 7", "the keys are data.dir"),
        ("[workers]\nin_flight = \"many\"", "workers.in_flight must be a whole number"),
        ("[workers]\nin_flight = 0", "line 2: workers.in_flight is 0: it must be from 1 to 100000"),
        ("[workers]\nbackoff_min_ms = 0", "workers.backoff_min_ms is 0"),
        ("[workers]\nbackoff_min_ms = 70000", "backoff_min_ms and workers.backoff_max_ms"),
        ("[http]\nstale_after_ms = 120000", "http.stale_after_ms = 120000 is not above workers.hang_after_ms = 120000"),
        ("[log]\nformat = \"jsn\"", "log.format is \"jsn\": did you mean json?"),
        ("[retention]\nruns = \"35\"", "retention.runs"),
        ("[retention]\nruns = \"35s\"", "must be 1d or more"),
        ("[store]\nepoch = \"long ago\"", "store.epoch"),
        ("[directory]\nadapter = \"oracle\"", "directory.adapter is \"oracle\": it must be one of embedded"),
        ("[directory]\nadapter = \"embedded\"\nurl = \"x\"", "directory.url belongs to the adapter sql"),
        ("[directory]\nadapter = \"embedded\"\nurn = \"x\"", "unknown key directory.urn"),
        ("workers = 3", "workers is not a section: write [workers]"),
        ("[[workers]]\nin_flight = 3", "workers is not a section: write [workers]"),
        ("[workers", "lanner.toml"),
    ] {
        let error = refused(file, &[]);
        assert!(error.contains(words), "{file:?}: {error}");
    }
}

#[test]
fn variables_that_are_no_settings_are_refused() {
    for (name, value, words) in [
        ("LANNER_WORKERS_IN_FLIGHT", "x", "LANNER_WORKERS_IN_FLIGHT: 'x' is not a whole number"),
        ("LANNER_WORKERS_IN_FLIGHT", "0", "workers.in_flight is 0"),
        ("LANNER_WORKERS_IN_FLIHGT", "7", "did you mean LANNER_WORKERS_IN_FLIGHT?"),
        ("LANNER_WORKERS_IN_FLIGHT_FILE", "/x", "LANNER_WORKERS_IN_FLIGHT_FILE is no setting"),
        ("LANNER_ACTRO", "me", "did you mean LANNER_ACTOR?"),
        ("LANNER_POLICY_MAX_AGE", "40d", "give the whole list as LANNER_POLICY"),
        ("LANNER_POLICY", "40d", "write a list of tables"),
        ("LANNER_POLICY", "[{max_mesages=3}]", "environment LANNER_POLICY: "),
    ] {
        let error = refused("", &[(name, value)]);
        assert!(error.contains(words), "{name}: {error}");
    }
    let not_ours = [("LANNER_ACTOR", "me"), ("LANNER_SEED", "7"), ("LANNER_PORT", "tcp://10.0.0.7:80"), ("OTHER", "x")];
    load("", &not_ours).expect("settings");
}

#[test]
fn the_policy_in_force_is_the_last_that_has_begun() {
    let file = "[[policy]]\nmax_messages = 10\n[[policy]]\nmax_messages = 20\nmax_age = \"unlimited\"\n\
                from = \"2026-01-01T00:00:00Z\"\n[[policy]]\nfrom = 2027-01-01T00:00:00Z\n";
    let settings = load(file, &[]).expect("settings");
    let n = |instant: &str| settings.policy(at(instant)).expect("a policy").n();
    assert_eq!((n("2025-12-31T23:59:59Z"), n("2026-01-01T00:00:00Z"), n("2027-01-01T00:00:00Z")), (10, 20, 5_000));
    let lines: Vec<String> = source_of(&settings, "policy.max_messages");
    assert!(lines[0].ends_with("line 2") && lines[1].ends_with("line 4") && lines[2] == "default", "{lines:?}");
    let inline = [("LANNER_POLICY", "[{max_messages=3000,max_age=\"12h\"}]")];
    let from_environment = load(file, &inline).expect("settings");
    assert_eq!(from_environment.policies().periods().len(), 1, "the list is replaced");
    let policy = from_environment.policy(at("2026-06-01T00:00:00Z")).expect("a policy");
    assert_eq!((policy.n(), policy.max_age_ms), (3_000, Some(43_200_000)));
}

#[test]
fn policies_that_mean_nothing_are_named() {
    for (file, words) in [
        ("[policy]\nmax_messages = 3", "policy is a list of tables: write [[policy]]"),
        ("[[policy]]\nmax_messages = 0", "policy.max_messages is 0"),
        ("[[policy]]\nmax_mesages = 3", "did you mean policy.max_messages?"),
        ("[[policy]]\nmax_age = \"soon\"", "policy.max_age"),
        ("[[policy]]\nfrom = \"soon\"", "policy.from"),
        ("[[policy]]\nplans = []", "policy.plans is empty"),
        ("[[policy]]\nplans = [\"paid\"]", "only the free plan can be limited"),
        ("[[policy]]\nplans = [\"gold\"]", "'gold' is not a plan"),
        ("[[policy]]\nmax_messages = 1\n[[policy]]\nmax_messages = 2", "two policies have no `from`"),
        ("policy = []", "there is no policy"),
    ] {
        let error = refused(file, &[]);
        assert!(error.contains(words), "{file:?}: {error}");
    }
    let settings = load("[[policy]]\nfrom = \"2026-01-01T00:00:00Z\"", &[]).expect("settings");
    let gap = settings.policy(at("2025-06-01T00:00:00Z")).expect_err("a gap");
    let words = exit::in_words(&gap.error);
    assert_eq!(gap.code, exit::CONFIGURATION);
    assert!(words.contains("2025-06-01T00:00:00Z") && words.contains("2026-01-01T00:00:00Z"), "{words}");
}

#[test]
fn a_value_given_by_reference_is_used_and_never_shown() {
    const SECRET: &str = "s3cr3t";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).expect("a file");
    let path = path.to_str().expect("a path");
    let file = format!("[data]\ndir = {{ file = \"{path}\" }}\n");
    let by_name = "[data]\ndir = { env = \"LANNER_DIR_OF_MINE\" }\n";
    for (file, environment) in [
        (file.as_str(), ("OTHER", "")),
        (by_name, ("LANNER_DIR_OF_MINE", SECRET)),
        ("", ("LANNER_DATA_DIR_FILE", path)),
    ] {
        let settings = load(file, &[environment]).expect("settings");
        assert_eq!(settings.data.dir, Path::new(SECRET));
        let layers = settings.layers();
        assert!(!layers.shown().to_string().contains(SECRET), "shown");
        let explained = explain(layers, "data").expect("a section");
        assert!(!serde_json::to_string(&explained).expect("JSON").contains(SECRET), "explained");
        let failure = Failure::usage(format!("no folder '{SECRET}'")).without_secrets(layers);
        assert_eq!(failure.error.to_string(), "no folder '(secret)'");
    }
}

#[test]
fn a_wrong_value_given_by_reference_is_not_shown_in_the_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    std::fs::write(&path, "s3cr3t\n").expect("a file");
    let path = path.to_str().expect("a path");
    for (name, key) in [
        ("LANNER_STORE_EPOCH_FILE", "store.epoch"),
        ("LANNER_LOG_FORMAT_FILE", "log.format"),
        ("LANNER_LIMITS_ADAPTER_FILE", "limits.adapter"),
    ] {
        let error = refused("", &[(name, path)]);
        assert!(error.contains(key) && !error.contains("s3cr3t"), "{error}");
    }
    let error = refused(&format!("[[policy]]\nmax_age = {{ file = \"{path}\" }}"), &[]);
    assert!(error.contains("policy.max_age") && !error.contains("s3cr3t"), "{error}");
}

#[test]
fn a_reference_to_nothing_is_an_error() {
    for (file, environment, words) in [
        ("[data]\ndir = { file = \"/nonexistent/secret\" }", ("X", ""), "/nonexistent/secret"),
        ("[data]\ndir = { env = \"NOBODY_SETS_ME\" }", ("X", ""), "NOBODY_SETS_ME is not set"),
        ("[data]\ndir = { fiel = \"x\" }", ("X", ""), "data.dir must be a text in quotes"),
        ("[workers]\nin_flight = { env = \"X\" }", ("X", "7"), "workers.in_flight must be a whole number"),
        ("", ("LANNER_DATA_DIR_FILE", "/nonexistent/secret"), "LANNER_DATA_DIR_FILE: the file /nonexistent/secret"),
    ] {
        let error = refused(file, &[environment]);
        assert!(error.contains(words), "{file:?}: {error}");
    }
    let both = refused("", &[("LANNER_DATA_DIR", "a"), ("LANNER_DATA_DIR_FILE", "/b")]);
    assert!(both.contains("both set"), "{both}");
}

#[test]
fn a_key_is_explained_and_an_unknown_one_is_guessed() {
    let settings = load("", &[]).expect("settings");
    let explained = explain(settings.layers(), "LANNER_WORKERS_IN_FLIGHT").expect("a key");
    let key = &explained.keys[0];
    assert_eq!((key.key.as_str(), key.range), ("workers.in_flight", Some((1, 100_000))));
    assert!(key.about.contains("at the same time"), "{}", key.about);
    assert_eq!(explain(settings.layers(), "workers").expect("a section").keys.len(), 8);
    let error = explain(settings.layers(), "worker.in_flight").err().expect("no such key").to_string();
    assert!(error.contains("did you mean workers.in_flight?"), "{error}");
}

#[test]
fn ages_are_durations_or_unlimited() {
    assert_eq!(parse_age("40d").expect("an age"), Some(Policy::MAX_AGE_MS));
    assert_eq!(parse_age("unlimited").expect("an age"), None);
    assert!(parse_age("-1d").is_err());
}
