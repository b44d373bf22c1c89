//! `lanner`: computes what a chat's free organizations may see. One binary, a subcommand per job and per operator command.

mod commands;
mod demo_chat;
mod exit;
mod output;
mod progress;
mod settings;
mod wiring;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::job::Worker;
use commands::{
    App, audit, compare, dead_letters, demo, explain, export, import, job, limits, messages, preview, rerun, retry,
    run, runs, status, tables,
};
use exit::{Failure, Outcome};
use settings::{LogFormat, Settings};
use tokio_util::sync::CancellationToken;

/// A run makes and drops a few small allocations for each of hundreds of thousands of rooms and tasks, on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Computes what the free organizations of a chat may see: the newest N messages of all their rooms together, none older than
/// the policy's age.
///
/// Start with: lanner demo
#[derive(Parser, Debug)]
#[command(name = "lanner", version, max_term_width = 80, after_help = exit::HELP)]
struct Cli {
    /// Folder of the embedded adapters [default: the setting data.dir, lanner-data]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Options of every command")]
    data_dir: Option<PathBuf>,
    /// Settings file
    #[arg(long, global = true, value_name = "FILE", env = "LANNER_CONFIG", help_heading = "Options of every command")]
    config: Option<PathBuf>,
    /// Print JSON instead of tables, and no progress
    #[arg(long, global = true, help_heading = "Options of every command")]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Demo(demo::DemoArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Run(run::RunArgs),
    Rerun(rerun::RerunArgs),
    Retry(retry::RetryArgs),
    Explain(explain::ExplainArgs),
    Preview(preview::PreviewArgs),
    Messages(messages::MessagesArgs),
    Runs(runs::RunsArgs),
    Status(status::StatusArgs),
    Compare(compare::CompareArgs),
    Audit(audit::AuditArgs),
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    ExtractOrganizations(job::ExtractArgs),
    /// Find the rooms of the organizations in the queue, until stopped
    CollectRooms,
    /// Merge the rooms of the organizations in the queue and store their limits, until stopped
    MergeNewest,
    /// List the jobs: what each reads and writes
    Jobs,
    Settings(tables::SettingsArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match execute(&cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // A reader that has seen enough (`lanner limits export | head`) is no failure of ours.
            if is_closed_pipe(&failure) {
                return ExitCode::from(exit::DONE);
            }
            eprintln!("lanner: {}", in_words(&failure.error));
            ExitCode::from(failure.code)
        }
    }
}

/// The error and its causes, without repeating what a cause already says.
fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if words.ends_with(&cause) {
            continue;
        }
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&cause);
    }
    words
}

fn is_closed_pipe(failure: &Failure) -> bool {
    let io = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        kind.or(json) == Some(std::io::ErrorKind::BrokenPipe)
    };
    failure.error.chain().any(io)
}

fn execute(cli: &Cli) -> Outcome {
    let wrong = |error| Failure::new(exit::CONFIGURATION, error);
    match &cli.command {
        Command::Jobs => return tables::jobs(cli.json),
        Command::Settings(args) => return tables::settings(cli.json, cli.config.as_deref(), args),
        _ => {}
    }
    let mut settings = Settings::load(cli.config.as_deref()).map_err(wrong)?;
    if let Some(dir) = &cli.data_dir {
        settings.data.dir.clone_from(dir);
    } else if matches!(cli.command, Command::Demo(_)) {
        settings.data.dir = demo::DEFAULT_DIR.into();
    }
    let format = match settings.log.format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::start(&settings.log.filter, format).map_err(|error| wrong(error.into()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        let app = App { settings, json: cli.json, stop: stop.clone() };
        tokio::spawn(stop_on_signal(stop));
        command(&app, &cli.command).await
    });
    // Whatever still runs on a blocking thread does not hold up the exit.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

async fn command(app: &App, command: &Command) -> Outcome {
    match command {
        Command::Demo(args) => demo::run(app, args).await,
        Command::Import(args) => import::run(app, args).await,
        Command::Export(args) => export::run(app, args).await,
        Command::Run(args) => run::run(app, args).await,
        Command::Rerun(args) => rerun::rerun(app, args).await,
        Command::Retry(args) => retry::run(app, args).await,
        Command::Explain(args) => explain::run(app, args).await,
        Command::Runs(args) => runs::run(app, args).await,
        Command::Status(args) => status::run(app, args).await,
        Command::Compare(args) => compare::run(app, args).await,
        Command::Audit(args) => audit::run(app, args).await,
        Command::Preview(args) => preview::run(app, args).await,
        Command::Messages(args) => messages::run(app, args).await,
        Command::Limits(command) => limits::run(app, command).await,
        Command::DeadLetters(command) => dead_letters::run(app, command).await,
        Command::ExtractOrganizations(args) => job::extract(app, args).await,
        Command::CollectRooms => job::work(app, Worker::CollectRooms).await,
        Command::MergeNewest => job::work(app, Worker::MergeNewest).await,
        Command::Jobs | Command::Settings(_) => Ok(exit::DONE),
    }
}

/// SIGINT or SIGTERM stops in good order; a second one ends the process at once.
async fn stop_on_signal(stop: CancellationToken) {
    let terminated = async {
        #[cfg(unix)]
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        };
        #[cfg(not(unix))]
        std::future::pending::<()>().await;
    };
    tokio::pin!(terminated);
    tokio::select! {
        () = &mut terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    stop.cancel();
    eprintln!("stopping");
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(i32::from(exit::TEMPORARY));
    }
}
