// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a commit costs, and what it does to traffic: `scripts/bench commit` runs it and docs/performance.md explains what it prints.
//!
//! The real processes ([`appliance`]): dataplane, control, and the CLI for each command. 1,000 connections run through them at a steady
//! rate all the time ([`traffic`]), while a configuration of 100,000 access-list elements of ClassBench's shape is put in the place of a
//! small one, one element is added to it, and the small one comes back; between, nothing happens for as long. So every figure of a
//! commit stands beside the same traffic's without one.
//!
//! Two threads: this one generates, with real-time priority, because it shares its CPU with control and housekeeping, which work hardest when it
//! must look; the other one types the commands.

mod appliance;
#[path = "../packets/client.rs"]
mod client;
#[path = "../packets/rows.rs"]
mod rows;
mod traffic;

use appliance::{Appliance, Growth};
use clap::Parser;
use dpdk::{Eal, EalOptions, Huge};
use rows::{Row, median};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::{Phases, Traffic, Window};

#[derive(Parser, Clone)]
struct Options {
    /// Access-list elements.
    #[arg(long, default_value_t = 100_000)]
    lines: usize,
    /// Rounds of all commits.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Folder of fedgate-control and fedgate.
    #[arg(long)]
    control: PathBuf,
    /// The JSON file to append rows to.
    #[arg(long, default_value = "target/bench/commit.json")]
    out: PathBuf,
    /// CPU of the worker.
    #[arg(long, default_value_t = 1)]
    cpu: u32,
    /// CPU of everything else.
    #[arg(long, default_value_t = 0)]
    other_cpu: u32,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What went wrong, for the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// After a commit, until what it left to be done later is done: the running-config written, the old policy freed.
const SETTLE: Duration = Duration::from_millis(1500);

/// What is wanted.
const FULL_S: f64 = 2.0;
const ONE_MS: f64 = 50.0;
const GROWTH_MIB: f64 = 300.0;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options).and_then(|rows| rows::append(&options.out, &rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<Vec<Row>, Failure> {
    let folder = tempfile::tempdir()?;
    let appliance = Arc::new(Appliance::start(folder.path(), options)?);
    // Only now, because it pins this thread, and what it starts.
    let eal = Eal::init(&EalOptions {
        program: "fedgate-bench".into(),
        main_cpu: options.other_cpu,
        worker_cpus: vec![options.other_cpu],
        huge: Huge::Auto,
        memory_mib: traffic::MEMORY_MIB,
        prefix: "fedgate-bench".into(),
        ..EalOptions::default()
    })?;
    let [inside, outside] = &appliance.sockets();
    let mut traffic = Traffic::new(eal, [inside, outside], appliance.worker_waits()?)?;
    traffic.introduce()?;
    appliance::real_time(&rustix::thread::gettid().as_raw_nonzero().to_string())?;
    let phases = Arc::new(Phases::default());
    let typing = {
        let (appliance, phases, options) = (appliance.clone(), phases.clone(), options.clone());
        std::thread::spawn(move || {
            let rounds =
                (0..options.rounds).map(|_| Round::of(&appliance, &phases)).collect::<Result<Vec<_>, _>>();
            phases.end();
            rounds
        })
    };
    let windows = traffic.run(&phases)?;
    let rounds = typing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    println!("the generator took {:.0} % of CPU {}", 100.0 * traffic.awake(), options.other_cpu);
    traffic.close()?;
    drop(appliance);
    Ok(report(&rounds, &windows, options))
}

/// One time through all commits: how long each took, and the numbers of the windows in which traffic was watched.
struct Round {
    full: Duration,
    one: Duration,
    growth: Growth,
    quiet: usize,
    commits: [usize; 3],
}

impl Round {
    fn of(appliance: &Appliance, phases: &Phases) -> Result<Self, Failure> {
        let timed = |command: &[&str]| -> Result<(Duration, usize, Growth), Failure> {
            std::thread::sleep(SETTLE);
            let before = appliance.memory()?;
            let window = phases.begin();
            let start = Instant::now();
            appliance.command(command)?;
            let took = start.elapsed();
            // With what adoption leaves to be done.
            std::thread::sleep(Duration::from_millis(50));
            phases.begin();
            Ok((took, window, appliance.growth(&before)?))
        };
        let [large, small] = [appliance.large(), appliance.small()].map(|path| path.display().to_string());
        let (full, window, growth) = timed(&["configure", "replace", &large])?;
        let (one, window_one, _) = timed(&[appliance::ONE_MORE])?;
        let (_, window_back, _) = timed(&["configure", "replace", &small])?;
        std::thread::sleep(SETTLE);
        let quiet = phases.begin();
        std::thread::sleep(full);
        phases.begin();
        Ok(Self { full, one, growth, quiet, commits: [window, window_one, window_back] })
    }
}

fn report(rounds: &[Round], windows: &[Window], options: &Options) -> Vec<Row> {
    let middle = |of: &dyn Fn(&Round) -> f64| median(&mut rounds.iter().map(of).collect::<Vec<_>>());
    let named = [("large for small", 0), ("one more", 1), ("small for large", 2)];
    let print = |name: &str, at: &dyn Fn(&Round) -> usize| {
        let of: Vec<&Window> = rounds.iter().map(|round| &windows[at(round)]).collect();
        let sum = |count: fn(&Window) -> u64| of.iter().map(|w| count(w)).sum::<u64>();
        let largest: Vec<String> = of.iter().map(|w| format!("{:.0}", w.largest_us())).collect();
        println!(
            "{name:<16} {:>9} packets, {} lost, {:.2} % left out, {} of them with the worker's CPU taken from it; p99.99 {:.1} us (median); largest delay by round, us: {}",
            sum(|w| w.sent),
            sum(|w| w.lost()),
            100.0 * sum(|w| w.blind + w.ousted) as f64 / sum(|w| w.received).max(1) as f64,
            sum(|w| w.ousted),
            median(&mut of.iter().map(|w| w.quantile_us(0.9999)).collect::<Vec<_>>()),
            largest.join(" ")
        );
    };
    print("no commit", &|round| round.quiet);
    for (name, at) in named {
        print(name, &|round| round.commits[at]);
    }
    for round in rounds {
        println!(
            "large for small: {:.2} s; one more: {:.1} ms; memory: {}",
            round.full.as_secs_f64(),
            round.one.as_secs_f64() * 1e3,
            round.growth
        );
    }
    let lost = windows.iter().map(Window::lost).sum::<u64>() as f64;
    let delay = |at: usize| middle(&|round| windows[round.commits[at]].largest_us());
    let quiet = middle(&|round| windows[round.quiet].largest_us());
    let p9999 = |at: &dyn Fn(&Round) -> usize| middle(&|round| windows[at(round)].quantile_us(0.9999));
    let growth = rounds.iter().map(|round| round.growth.mib()).fold(0.0, f64::max);
    let acl = options.out.with_file_name("acl.json");
    let rival = |id: &str, wanted: f64, unit: f64, name: &'static str| match rows::number_of(
        &acl,
        id,
        "peer_value",
    ) {
        Ok(value) => (name, value * unit),
        Err(_) => ("what is wanted at most", wanted),
    };
    let (build, build_s) = rival("build_100k_ms", FULL_S, 1e-3, "librte_acl's build alone");
    let (memory, memory_mib) = rival("build_100k_mib", GROWTH_MIB, 1.0, "librte_acl's build alone");
    let seconds = middle(&|round| round.full.as_secs_f64());
    let millis = middle(&|round| round.one.as_secs_f64() * 1e3);
    let no_commit = "the same traffic with no commit";
    vec![
        Row::times_less("commit_full_s", seconds, "s", build, build_s),
        Row::times_less("commit_one_ms", millis, "ms", "what is wanted at most", ONE_MS),
        Row::new(
            "commit_loss",
            lost,
            "packets",
            "packets sent",
            windows.iter().map(|w| w.sent).sum::<u64>() as f64,
        ),
        Row::new("commit_delay_us", delay(0), "us", no_commit, quiet),
        Row::new("commit_one_delay_us", delay(1), "us", no_commit, quiet),
        Row::new("commit_back_delay_us", delay(2), "us", no_commit, quiet),
        Row::new(
            "commit_delay_p9999_us",
            p9999(&|round| round.commits[0]),
            "us",
            no_commit,
            p9999(&|round| round.quiet),
        ),
        Row::times_less("commit_mib", growth, "MiB", memory, memory_mib),
    ]
}
