//! Several workers at once on one queue, and what a worker is before it has anything to do.
//!
//! ```text
//! cargo bench --bench workers -- [--organizations 3000] [--in-flight 2] [--latency-ms 5]
//! tests/servers cargo bench --bench workers
//! ```
//!
//! First 1, 2, 4 and 8 consumers of `merge-newest` in this process, each handling `--in-flight` organizations at once, over embedded
//! adapters of which each call to the messages and to the limits takes `--latency-ms` longer: organizations a second, and the
//! efficiency, which is that rate by the number of workers and by the rate of one. Then the binary's workers: from the start of
//! the process until `/readyz` answers 200, and their own memory a second later; on services, too, where there are any.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat::RunId;
use clap::Parser;
use embedded::{Access, LmdbLiveIds};
use jobs::limits::{StageSettings, Until, collect_rooms, extract_organizations, merge_newest, wait_until_finished};
use support::place::{Adapters, policy};
use support::{Place, Program, Services, Slow, SmallChat, SqlServer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Numbers of workers.
const WORKERS: [usize; 4] = [1, 2, 4, 8];
/// How often each worker of the binary is started.
const STARTS: usize = 5;

/// Measures workers.
#[derive(Parser)]
#[command(name = "workers")]
struct Arguments {
    /// Organizations of the chat, some of which are paid
    #[arg(long, default_value_t = 3_000)]
    organizations: u64,
    /// Organizations that one worker handles at once
    #[arg(long, default_value_t = 2)]
    in_flight: usize,
    /// What each call to messages and limits takes longer, in milliseconds
    #[arg(long, default_value_t = 5)]
    latency_ms: u64,
    /// What `cargo bench` adds to the arguments
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let place = Place::of(SmallChat::random(1, arguments.organizations)).await;
    let mut alone = None;
    for workers in WORKERS {
        let rate = rate_of(&place, workers, &arguments).await?;
        let efficiency = rate / (workers as f64 * *alone.get_or_insert(rate));
        println!("{workers} workers: {rate:.0} organizations/s, efficiency {efficiency:.2}");
    }
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &place.data_dir());
    started(&program, "embedded").await?;
    let folder = tempfile::tempdir()?;
    match Services::new(SqlServer::Postgres, folder.path()).await {
        Ok(services) => started(&on(&services, folder.path())?, "on services").await?,
        Err(reason) => println!("on services: not measured: {reason}"),
    }
    Ok(())
}

/// Organizations that so many workers merge in a second.
async fn rate_of(place: &Place, workers: usize, arguments: &Arguments) -> Result<f64> {
    let adapters = Adapters::open(&place.data_dir(), Access::Write).await;
    let ports = adapters.plain();
    let run = RunId::new(format!("of-{workers}"))?;
    let new = extract_organizations::all_free(run.clone(), SmallChat::as_of(), policy());
    let expected = extract_organizations::extract(&ports, &new, |_| {}).await?.sent;
    let collected = CancellationToken::new();
    let collecting = collect_rooms::consumer(&ports, StageSettings::embedded()).run(collected.clone());
    let until_collected = async {
        while ports.room_queue.depth().await.is_ok_and(|depth| depth.visible < expected) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        collected.cancel();
    };
    tokio::join!(collecting, until_collected).0?;

    let latency = Duration::from_millis(arguments.latency_ms);
    let mut settings = StageSettings::embedded();
    (settings.consumer.in_flight, settings.consumer.receive_min) = (arguments.in_flight, 1);
    let stop = CancellationToken::new();
    let begun = Instant::now();
    let start = |_| {
        let ports = adapters.slow(&Slow::new(LmdbLiveIds::new(adapters.index.clone()), latency), latency);
        let stop = stop.clone();
        tokio::spawn(async move { merge_newest::consumer(&ports, settings).run(stop).await })
    };
    let merging: Vec<_> = (0..workers).map(start).collect();
    wait_until_finished(&ports, &run, Until::Settled, &stop, |_| {}).await?;
    let seconds = begun.elapsed().as_secs_f64();
    stop.cancel();
    let mut done = 0;
    for merging in merging {
        done += merging.await??.done;
    }
    ensure!(done == expected, "{done} of {expected} organizations were merged");
    Ok(expected as f64 / seconds)
}

/// The binary on services, with tables and queues.
fn on(services: &Services, folder: &Path) -> Result<Program> {
    let program = Program::new(env!("CARGO_BIN_EXE_lanner"), &folder.join("data"))
        .with("LANNER_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/services/lanner.toml"));
    let program = services.environment().iter().fold(program, |program, (name, value)| program.with(name, value));
    let chat = folder.join("tables");
    SmallChat::random(1, 10).write_csv(&chat);
    for line in ["provision --reason bench".to_owned(), format!("import {}", chat.display())] {
        let ended = program.run(&line);
        ensure!(ended.code == Some(0), "lanner {line}: {}", ended.err);
    }
    Ok(program)
}

/// Prints how long each worker takes to be ready, the least and the most, and its memory without work.
async fn started(program: &Program, on: &str) -> Result<()> {
    for job in ["collect-rooms", "merge-newest"] {
        let (mut seconds, mut memory_mb) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let (ready, memory) = start(program, job).await?;
            seconds.push(ready);
            memory_mb.push(memory);
        }
        for figures in [&mut seconds, &mut memory_mb] {
            figures.sort_by(f64::total_cmp);
        }
        let last = STARTS - 1;
        println!(
            "{job}, {on}: ready after {:.2} – {:.2} s, {:.0} – {:.0} MB of its own without work",
            seconds[0], seconds[last], memory_mb[0], memory_mb[last]
        );
    }
    Ok(())
}

/// Seconds until a worker is ready, and its own memory a second later, in MB.
async fn start(program: &Program, job: &str) -> Result<(f64, f64)> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let begun = Instant::now();
    let mut child = program.clone().with("LANNER_HTTP_LISTEN", &address).start(job);
    let figures = watch(&mut child, &address, begun).await;
    child.kill()?;
    child.wait()?;
    figures.context(job.to_owned())
}

async fn watch(child: &mut Child, address: &str, begun: Instant) -> Result<(f64, f64)> {
    while !is_ready(address) {
        ensure!(child.try_wait()?.is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(2));
    }
    let seconds = begun.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("RssAnon in /proc")?;
    let kb: f64 = line.split_whitespace().next().context("a number")?.parse()?;
    Ok((seconds, kb / 1_024.0))
}

fn is_ready(address: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"))
}
