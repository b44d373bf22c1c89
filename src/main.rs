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

use clap::{CommandFactory, Parser, Subcommand};
use commands::job::Worker;
use commands::serve::Role;
use commands::{
    App, audit, compare, completion, dead_letters, demo, doctor, explain, export, import, job, limits, messages,
    organizations, preview, provision, reconcile, replay, rerun, retry, run, runs, serve, status, tables, token, up,
};
use exit::{Failure, Outcome};
use settings::{LogFormat, Settings};
use tokio_util::sync::CancellationToken;

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
    Up(up::UpArgs),
    Import(import::ImportArgs),
    Export(export::ExportArgs),
    Run(run::RunArgs),
    Rerun(rerun::RerunArgs),
    Retry(retry::RetryArgs),
    Explain(explain::ExplainArgs),
    Preview(preview::PreviewArgs),
    Reconcile(reconcile::ReconcileArgs),
    Replay(replay::ReplayArgs),
    Messages(messages::MessagesArgs),
    Runs(runs::RunsArgs),
    Status(status::StatusArgs),
    Compare(compare::CompareArgs),
    Audit(audit::AuditArgs),
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLettersCommand),
    #[command(subcommand)]
    Organizations(organizations::OrganizationsCommand),
    ExtractOrganizations(job::ExtractArgs),
    /// Find the rooms of the organizations in the queue, until stopped
    CollectRooms,
    /// Merge the rooms of the organizations in the queue and store their limits, until stopped
    MergeNewest,
    /// Accept what happens in rooms over HTTP and append it to the log of events, until stopped
    ServeWrites,
    /// Make of the log of events what can be read, until stopped
    BuildReadModel,
    /// Answer over HTTP what readers may see, the viewing limit applied, until stopped
    ServeReads,
    /// Follow what is readable and keep every limit exact from second to second, until stopped
    ///
    /// Beside the batch path, which stays: with it the limits of free organizations follow each post, deletion, join, leave, transfer and
    /// change of plan within a second or two. One process for each shard (follow_limits.shard of follow_limits.shards).
    FollowLimits,
    Token(token::TokenArgs),
    /// Check every configured system and say what to do about what is wrong
    ///
    /// Only reads, and waits for no system longer than 5 s. Exit codes: 0 nothing is wrong, 42 something has to be corrected, 75
    /// something is unavailable now.
    Doctor,
    Provision(provision::ProvisionArgs),
    /// List the jobs: what each reads and writes
    Jobs,
    Settings(commands::settings::SettingsArgs),
    Completion(completion::CompletionArgs),
    Man(completion::ManArgs),
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
            eprintln!("lanner: {}", exit::in_words(&failure.error));
            ExitCode::from(failure.code)
        }
    }
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
        Command::Completion(args) => return completion::completion(Cli::command(), args),
        Command::Man(args) => return completion::man(Cli::command(), cli.json, args),
        Command::Settings(args) if args.only_defaults() => return commands::settings::defaults(),
        _ => {}
    }
    let settings = match Settings::load(cli.config.as_deref(), cli.data_dir.as_deref()) {
        Ok(settings) => settings,
        Err(error) if matches!(cli.command, Command::Doctor) => return doctor::without_settings(cli.json, &error),
        Err(error) => return Err(wrong(error)),
    };
    if let Command::Settings(args) = &cli.command {
        return commands::settings::run(cli.json, &settings, args);
    }
    let layers = settings.layers().clone();
    let outcome = execute_with(cli, settings);
    outcome.map_err(|failure| if is_closed_pipe(&failure) { failure } else { failure.without_secrets(&layers) })
}

fn execute_with(cli: &Cli, mut settings: Settings) -> Outcome {
    if cli.data_dir.is_none() && matches!(cli.command, Command::Demo(_)) {
        settings.data.dir = demo::DEFAULT_DIR.into();
    }
    let format = match settings.log.format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::start(&settings.log.filter, format).map_err(|error| Failure::new(exit::CONFIGURATION, error))?;
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
        Command::Reconcile(args) => reconcile::run(app, args).await,
        Command::Replay(args) => replay::run(app, args).await,
        Command::Messages(args) => messages::run(app, args).await,
        Command::Limits(command) => limits::run(app, command).await,
        Command::DeadLetters(command) => dead_letters::run(app, command).await,
        Command::Organizations(command) => organizations::run(app, command).await,
        Command::ExtractOrganizations(args) => job::extract(app, args).await,
        Command::CollectRooms => job::work(app, Worker::CollectRooms).await,
        Command::MergeNewest => job::work(app, Worker::MergeNewest).await,
        Command::ServeWrites => serve::serve(app, Role::Writes).await,
        Command::BuildReadModel => serve::serve(app, Role::ReadModel).await,
        Command::ServeReads => serve::serve(app, Role::Reads).await,
        Command::FollowLimits => serve::serve(app, Role::Follow).await,
        Command::Token(args) => token::run(app, args).await,
        Command::Up(args) => up::run(app, args).await,
        Command::Doctor => doctor::run(app).await,
        Command::Provision(args) => provision::run(app, args).await,
        Command::Jobs | Command::Settings(_) | Command::Completion(_) | Command::Man(_) => Ok(exit::DONE),
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
