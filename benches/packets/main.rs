// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packet path's bench: `scripts/bench packets` runs it and docs/performance.md explains what it prints.
//!
//! Four harnesses, each a subcommand and a process. `in-process` gives the worker's own burst function prepared frames, with no
//! driver in front, and counts cycles by rdtsc ([`cycles`], [`conns`], [`denied`], [`scale`]). `end-to-end` runs the real dataplane process
//! between two memif ports of `dpdk-testpmd` ([`ends`]), `latency` between two of its own ([`latency`]). `kernel` counts what
//! the same flows cost Linux ([`kernel`]). Every figure stands beside a peer's, measured in the same run, and is
//! put as a row into the JSON file that `--out` names ([`rows`]).

mod appliance;
mod client;
mod conns;
mod cycles;
mod cycles6;
mod denied;
mod ends;
mod flows;
mod flows6;
mod kernel;
mod latency;
mod rig;
mod rows;
mod scale;
mod talk;
mod testpmd;

use clap::{Parser, Subcommand};
use dpdk::{Eal, EalOptions, Huge};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser, Clone)]
struct Options {
    #[command(subcommand)]
    harness: Harness,
    /// Two rows only, under a minute.
    #[arg(long, global = true)]
    quick: bool,
    /// These rows only.
    #[arg(long, global = true, value_delimiter = ',')]
    only: Vec<String>,
    /// Print the cycles of each pass over the burst.
    #[arg(long, global = true)]
    stages: bool,
    /// The JSON file to append rows to.
    #[arg(long, global = true, default_value = "target/bench/packets.json")]
    out: PathBuf,
    /// CPU of what is measured.
    #[arg(long, global = true, default_value_t = 1)]
    cpu: u32,
    /// CPU of everything else.
    #[arg(long, global = true, default_value_t = 0)]
    other_cpu: u32,
    /// `cargo bench` adds it.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand, Clone, Copy)]
enum Harness {
    /// The stages on prepared frames.
    InProcess,
    /// The dataplane process between testpmd's ports.
    EndToEnd,
    /// The dataplane process between two ports of this bench, which looks at the time.
    Latency,
    /// Linux as firewall; `scripts/bench` makes its network.
    Kernel,
}

/// The rows of `--quick`.
const QUICK: [&str; 3] = ["cycles_1k", "testpmd_1k", "testpmd_1k_cycles"];

impl Options {
    /// Whether a row was asked for.
    fn wants(&self, id: &str) -> bool {
        match (self.only.is_empty(), self.quick) {
            (false, _) => self.only.iter().any(|only| only == id),
            (true, true) => QUICK.contains(&id),
            (true, false) => true,
        }
    }
}

/// What went wrong, for the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.harness {
        Harness::InProcess => in_process(&options),
        Harness::EndToEnd => ends::run(&options),
        Harness::Latency => latency::run(&options),
        Harness::Kernel => kernel::run(&options),
    };
    match done.and_then(|rows| rows::append(&options.out, &rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// All on one worker lcore, which has its own mbuf cache as the real worker has; [`scale`] on two.
fn in_process(options: &Options) -> Result<Vec<rows::Row>, Failure> {
    let eal = Eal::init(&EalOptions {
        program: "fedgate-bench".into(),
        main_cpu: options.other_cpu,
        worker_cpus: vec![options.cpu, options.other_cpu],
        huge: Huge::Auto,
        memory_mib: 64,
        prefix: "fedgate-bench".into(),
        ..EalOptions::default()
    })?;
    let ours = options.clone();
    let work = move || -> Result<Vec<rows::Row>, Failure> {
        let stock = rig::Stock::new(eal, "bench")?;
        // Memory first, while the process has freed nothing that could be used again unseen.
        let mut rows = conns::bytes(&stock, &ours)?;
        rows.extend(cycles::run(&stock, &ours)?);
        rows.extend(cycles6::run(&stock, &ours)?);
        if ours.wants("new_conns") {
            rows.push(conns::rate(&stock)?);
        }
        if ours.wants("denied") {
            rows.push(denied::run(&stock)?);
        }
        Ok(rows)
    };
    let worker = eal.launch(0, work)?;
    let mut rows = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    rows.extend(scale::run(eal, options)?);
    Ok(rows)
}
