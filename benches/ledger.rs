//! The operator's commands over big runs, and what extraction needs of memory.
//!
//! ```text
//! cargo bench --bench ledger -- [--organizations 1000000] [--folder DIR]
//! ```
//!
//! Makes data directories below `DIR` (the system's temporary folder if not given; removed at the end) and runs the release binary on
//! them. First `extract-organizations` with 10,000, 100,000 and all free organizations: the peak of its memory, with and without mapped
//! files. Then, beside that run, which stays in work, two finished runs of all organizations of which some hundred failed: seconds
//! and CPU seconds of each command that reads them, the least and the most of five; and of deleting one of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use chat::ledger::{AuditEntry, Failure, Figures, Item, NewRun, Scope, Settlement, Stage, State};
use chat::{Day, Ledger, MessageId, OrganizationId, Policy, RunId, Timestamp};
use clap::Parser;
use embedded::{Access, DataDir, SqliteLedger};
use tokio::time::Instant;

/// Organizations of the smaller data directories.
const FEW: [u64; 2] = [10_000, 100_000];
/// Organizations of one call to the ledger.
const BATCH: usize = 10_000;
/// Audit rows.
const AUDITS: u64 = 1_000;
/// How often each command is run.
const TIMES: usize = 5;

/// Measures the operator's commands.
#[derive(Parser)]
#[command(name = "ledger")]
struct Arguments {
    /// Organizations of a run
    #[arg(long, default_value_t = 1_000_000)]
    organizations: u64,
    /// Where to make the data directories
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    folder: PathBuf,
    /// What `cargo bench` adds to the arguments
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::Builder::new().prefix("lanner-bench-").tempdir_in(&arguments.folder)?;
    for organizations in FEW.into_iter().chain([arguments.organizations]) {
        let dir = folder.path().join(organizations.to_string());
        import(folder.path(), &dir, organizations)?;
        let usage = usage_of(lanner(&dir, "extract-organizations --run in-work"))?;
        check("extract-organizations", usage.code, &[0])?;
        let Usage { seconds, anonymous_mb, all_mb, .. } = usage;
        println!(
            "extract-organizations, {organizations}: {seconds:.1} s, peak {anonymous_mb} MB, {all_mb} MB with mapped files"
        );
    }
    let dir = folder.path().join(arguments.organizations.to_string());
    fill(&dir, arguments.organizations).await?;
    for (line, codes) in [
        ("status --run after", &[3][..]),
        ("status --run in-work", &[0]),
        ("runs", &[0]),
        ("compare before after", &[4]),
        ("compare before before", &[0]),
        ("dead-letters list", &[0, 3]),
        ("audit", &[0]),
    ] {
        if !measure(&dir, line, codes)? {
            println!("{line}: this binary has no such command");
        }
    }
    let usage = usage_of(lanner(&dir, "runs prune --reason bench"))?;
    check("runs prune", usage.code, &[0])?;
    println!("runs prune, one run: {:.1} s, {:.1} CPU s", usage.seconds, usage.cpu_seconds);
    Ok(())
}

/// The binary on a data directory, silent.
fn lanner(dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanner"));
    command.arg("--data-dir").arg(dir).args(line.split_whitespace());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn check(line: &str, code: Option<i32>, codes: &[i32]) -> Result<()> {
    if code.is_some_and(|code| codes.contains(&code)) { Ok(()) } else { bail!("lanner {line} exits with {code:?}") }
}

/// Imports organizations without anything else.
fn import(folder: &Path, dir: &Path, organizations: u64) -> Result<()> {
    let tables = folder.join(format!("tables-{organizations}"));
    std::fs::create_dir_all(&tables)?;
    let rows: String = (0..organizations).map(|id| format!("{id},free\n")).collect();
    for (name, rows) in [
        ("organizations", format!("id,plan\n{rows}")),
        ("accounts", "id,org_id\n".to_owned()),
        ("rooms", "id\n".to_owned()),
        ("memberships", "room_id,account_id\n".to_owned()),
        ("messages", "room_id,message_id\n".to_owned()),
    ] {
        std::fs::write(tables.join(name).with_extension("csv"), rows)?;
    }
    check("import", lanner(dir, "import").arg(&tables).status()?.code(), &[0])
}

/// What a process needed.
struct Usage {
    code: Option<i32>,
    seconds: f64,
    /// User and system, in hundredths.
    cpu_seconds: f64,
    /// The peak of its own memory.
    anonymous_mb: u64,
    /// The peak with mapped files.
    all_mb: u64,
}

/// Runs a command and watches it until its end, some hundred times a second.
fn usage_of(mut command: Command) -> Result<Usage> {
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let (mut anonymous, mut all) = (0, 0);
    let cpu_seconds = loop {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id()));
        let status = read("status")?;
        let kb = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        anonymous = anonymous.max(kb("RssAnon:"));
        all = all.max(kb("VmHWM:"));
        // What has ended is a zombie until it is waited for, and tells its time.
        if status.contains("State:\tZ") {
            let stat = read("stat")?;
            let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat")?;
            let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
            break ticks.sum::<f64>() / 100.0;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let seconds = begun.elapsed().as_secs_f64();
    let (anonymous_mb, all_mb) = (anonymous / 1_024, all / 1_024);
    Ok(Usage { code: child.wait()?.code(), seconds, cpu_seconds, anonymous_mb, all_mb })
}

/// Prints how long a command takes; false when the binary does not know it.
fn measure(dir: &Path, line: &str, codes: &[i32]) -> Result<bool> {
    let (mut seconds, mut cpu_seconds) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        let usage = usage_of(lanner(dir, line))?;
        if usage.code == Some(2) {
            return Ok(false);
        }
        check(line, usage.code, codes)?;
        seconds.push(usage.seconds);
        cpu_seconds.push(usage.cpu_seconds);
    }
    for figures in [&mut seconds, &mut cpu_seconds] {
        figures.sort_by(f64::total_cmp);
    }
    let last = TIMES - 1;
    println!(
        "{line}: {:.2} – {:.2} s, {:.2} – {:.2} CPU s",
        seconds[0], seconds[last], cpu_seconds[0], cpu_seconds[last]
    );
    Ok(true)
}

/// Two finished runs, the older one beyond the retention, and audit rows.
async fn fill(dir: &Path, organizations: u64) -> Result<()> {
    let dir = DataDir::open(dir, Access::Write, "bench").await?;
    let ledger = SqliteLedger::open(&dir).await?;
    let now = Timestamp::now();
    for (name, days) in [("before", 40), ("after", 1)] {
        let opened_at = now.minus_millis(days * Day::MILLIS);
        let id = RunId::new(name)?;
        let policy = Policy::default();
        ledger.open_run(&NewRun { id: id.clone(), scope: Scope::AllFree, as_of: opened_at, policy, opened_at }).await?;
        let ids: Vec<OrganizationId> = (0..organizations).map(OrganizationId::from_bits).collect();
        for page in ids.chunks(BATCH) {
            ledger.register(&id, page, None, opened_at).await?;
            let items: Vec<Item> =
                page.iter().map(|organization| Item { run: id.clone(), organization: *organization }).collect();
            ledger.begin(Stage::MergeNewest, &items, opened_at).await?;
            let ends: Vec<Settlement> = items.into_iter().map(|item| end(item, days, opened_at)).collect();
            ledger.settle(&ends).await?;
        }
        ledger.complete_extraction(&id, opened_at).await?;
    }
    for number in 0..AUDITS {
        let at = now.minus_millis(number * 1_000);
        let [actor, action, target, reason, outcome] =
            ["someone", "rerun", "organization 42 in run before", "a customer asked", "finished"].map(str::to_owned);
        ledger.record(&AuditEntry { at, actor, action, target, reason, outcome }).await?;
    }
    Ok(())
}

/// Of 10,000 organizations 3 are parked or failed; boundaries of a fifth move between the runs, most others have one.
fn end(item: Item, days: u64, begun: Timestamp) -> Settlement {
    let id = item.organization.get();
    let state = match id % 10_000 {
        17 | 4_711 => State::Parked,
        99 => State::Failed,
        _ => State::Done,
    };
    let moved = if id.is_multiple_of(5) { days } else { 0 };
    let boundary =
        (!id.is_multiple_of(4)).then(|| MessageId::from_bits(375_080_693_694_207_599 + (id * 1_000 - moved)));
    let figures = Figures {
        rooms: 40,
        rooms_opened: 32,
        messages_read: 6_000,
        read_units: 0.0,
        visible_messages: 5_000,
        first_visible_message_id: boundary,
        previous_first_visible_message_id: boundary,
    };
    let failure = state.is_failure().then(|| Failure {
        class: ["unavailable", "corrupt", "throttled"][(id % 3) as usize].to_owned(),
        error: "the store of message ids is away: connection refused".to_owned(),
    });
    Settlement { item, state, figures, failure, at: begun.plus_millis(1_000 + id % 60_000) }
}
