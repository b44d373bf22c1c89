//! What a compiler cannot check: dependency edges, the job table against files, subcommands and path tests, adapters under
//! their port's laws, and words that do not belong here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` that end in `.ending`, build output left out.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == ending) {
                found.push(path);
            }
        }
    }
    found
}

/// The names under `[dependencies]` of a crate.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let section = text.split("\n[dependencies]\n").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default();
    let name = |line: &str| line.split(['.', ' ', '=']).next().map(str::to_owned).filter(|name| !name.is_empty());
    section.lines().filter(|line| !line.starts_with('#')).filter_map(name).collect()
}

/// Which crates of this workspace a crate may use. The inside knows no outside system.
const MAY_USE: [(&str, &[&str]); 11] = [
    ("lib/chat", &[]),
    ("lib/worker", &[]),
    ("lib/telemetry", &[]),
    ("lib/import", &["chat"]),
    ("lib/sql", &["chat", "import"]),
    ("jobs", &["chat", "worker"]),
    ("lib/embedded", &["chat", "import", "worker"]),
    ("lib/aws", &["chat", "import", "worker"]),
    ("lib/kafka", &["worker"]),
    ("lib/api", &["chat", "jobs", "worker"]),
    ("tests/support", &["api", "chat", "embedded", "import", "jobs", "worker"]),
];

#[test]
fn crates_use_only_what_the_dependency_rule_allows() {
    let ours: BTreeSet<String> =
        MAY_USE.iter().filter_map(|(folder, _)| folder.rsplit('/').next()).map(str::to_owned).collect();
    for (folder, allowed) in MAY_USE {
        let used: BTreeSet<String> =
            dependencies(&format!("{folder}/Cargo.toml")).intersection(&ours).cloned().collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        let broken: Vec<_> = used.difference(&allowed).collect();
        assert!(broken.is_empty(), "{folder} must not use {broken:?}");
    }
}

#[test]
fn the_inside_knows_no_runtime_no_database_and_no_vendor() {
    let outside = ["sqlx", "heed", "parquet", "csv", "aws-config", "krafka", "axum"];
    for folder in ["lib/chat", "lib/worker", "jobs"] {
        let used = dependencies(&format!("{folder}/Cargo.toml"));
        assert!(!outside.iter().any(|name| used.contains(*name)), "{folder} reaches outside");
    }
    assert!(!dependencies("lib/chat/Cargo.toml").contains("tokio"), "the rules know no tasks");
}

#[test]
fn every_crate_is_in_the_rule_and_used() {
    let members = read("Cargo.toml");
    let listed: BTreeMap<_, _> = MAY_USE.into_iter().collect();
    let manifests = files("lib", "toml").into_iter().chain(files("jobs", "toml"));
    for manifest in manifests.filter(|path| path.ends_with("Cargo.toml")) {
        let folder =
            manifest.parent().and_then(|path| path.strip_prefix(root()).ok()).map(|path| path.display().to_string());
        let folder = folder.unwrap_or_default();
        assert!(listed.contains_key(folder.as_str()), "{folder} is not in the dependency rule of tests/tidy.rs");
        assert!(members.contains(&format!("\"{folder}\"")), "{folder} is not in the workspace");
    }
}

#[test]
fn every_job_is_a_file_a_subcommand_a_path_test_and_a_template() {
    let tests: String = files("tests/paths", "rs").into_iter().map(read).collect();
    let main = read("src/main.rs");
    let mut names = BTreeSet::new();
    for job in jobs::JOBS {
        let name = job.name;
        assert!(names.insert(name), "two jobs are called {name}");
        let module = name.replace('-', "_");
        let paths = ["limits", "messages"].map(|path| format!("jobs/src/{path}/{module}.rs"));
        assert!(paths.iter().any(|file| root().join(file).is_file()), "job {name} is in none of {paths:?}");
        assert!(
            root().join(format!("cronjobs/templates/{name}.yaml")).is_file(),
            "job {name} has no template in the chart"
        );
        let variant: String = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        assert!(main.contains(&format!("    {variant}")), "job {name} has no subcommand");
        assert!(tests.contains(name) || tests.contains(&module), "job {name} has no test under tests/paths");
    }
}

#[test]
fn every_adapter_stands_under_the_laws_of_its_port() {
    let laws: String = files("tests/laws", "rs").into_iter().map(read).collect();
    let ports = [
        "Directory",
        "OwnedDirectory",
        "LoadDirectory",
        "LoadMessages",
        "Memberships",
        "Dump",
        "LiveIds",
        "Heads",
        "Messages",
        "MessageStore",
        "Limits",
        "Ledger",
        "Log",
        "Queue",
        "State",
    ];
    let mut adapters = 0;
    for file in files("lib", "rs") {
        let text = read(&file);
        if file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs") {
            continue;
        }
        for port in ports {
            let Some(rest) = text.split(&format!("impl {port} for ")).nth(1) else { continue };
            let adapter: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            assert!(laws.contains(&adapter), "{adapter} implements {port} and is not in tests/laws/adapters");
            adapters += 1;
        }
    }
    assert!(adapters >= ports.len(), "found {adapters} adapters: does this test still look in the right place?");
}

#[test]
fn no_file_is_left_out_of_its_crate() {
    for folder in ["src", "jobs/src", "lib"] {
        for file in files(folder, "rs") {
            let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            // Beside a crate's `src`, where cargo finds them.
            let place =
                file.strip_prefix(root()).ok().and_then(|path| path.iter().nth(2)).and_then(|part| part.to_str());
            let is_root = place.is_some_and(|place| ["benches", "examples", "tests"].contains(&place));
            if ["main", "lib", "mod"].contains(&stem) || is_root {
                continue;
            }
            let folder = file.parent().unwrap_or(root());
            let beside = folder.with_extension("rs");
            let parents = ["main.rs", "lib.rs", "mod.rs"].map(|name| folder.join(name)).into_iter().chain([beside]);
            let declared =
                parents.filter(|path| path.is_file()).any(|path| read(path).contains(&format!("mod {stem};")));
            assert!(declared, "{} is in no module", file.display());
        }
    }
}

#[test]
fn nothing_is_unfinished_and_no_lint_is_silenced_without_a_reason() {
    let banned = ["todo!(", "unimplemented!(", "#[ignore", "#[allow(", "dbg!("];
    for folder in ["src", "jobs", "lib", "tests"] {
        for file in files(folder, "rs") {
            if file.ends_with("tests/tidy.rs") {
                continue;
            }
            let text = read(&file);
            for word in banned {
                assert!(!text.contains(word), "{} contains {word}", file.display());
            }
        }
    }
}

#[test]
fn every_metric_is_in_the_catalogue_and_recorded_somewhere() {
    let mut recorded = BTreeSet::new();
    for folder in ["src", "jobs/src", "lib"] {
        for text in files(folder, "rs").into_iter().filter(|file| !file.ends_with("catalogue.rs")).map(read) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let names = code.split("\"lanner_").skip(1).filter_map(|rest| rest.split_once('"'));
            recorded.extend(names.map(|(name, _)| format!("lanner_{name}")));
        }
    }
    recorded.insert("lanner_build_info".to_owned());
    let listed: BTreeSet<String> = telemetry::CATALOGUE.iter().map(|metric| metric.name.to_owned()).collect();
    assert_eq!(listed.len(), telemetry::CATALOGUE.len(), "a name stands twice in the catalogue");
    assert_eq!(recorded, listed);
}

#[test]
fn every_setting_is_documented() {
    let mut documented = false;
    for line in read("src/settings.default.toml").lines() {
        let sets = line.contains(" = ") && !line.starts_with('#');
        assert!(!sets || documented || line.starts_with("adapter"), "no comment above: {line}");
        documented = line.starts_with('#') || (sets && documented);
    }
}

#[test]
fn check_scripts_are_executable() {
    use std::os::unix::fs::PermissionsExt;
    for script in [
        ".ci/run",
        "tests/run",
        "tests/real",
        "tests/servers",
        "tests/chart",
        "tests/chart.d/install",
        "tests/terraform",
        "tests/names",
        "tests/image",
        "tools/image/root",
        "tools/image/build",
    ] {
        let mode =
            root().join(script).metadata().unwrap_or_else(|error| panic!("{script}: {error}")).permissions().mode();
        assert!(mode & 0o111 != 0, "{script} cannot be executed");
    }
}
