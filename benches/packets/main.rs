// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packet path's bench: `scripts/bench packets` runs it and docs/performance.md explains what it prints.
//!
//! Two harnesses, each a subcommand. `in-process` gives the worker's own burst function prepared frames, with no driver
//! in front, and counts cycles by rdtsc ([`cycles`], [`conns`]). `end-to-end` runs the real dataplane process between two memif
//! ports of `dpdk-testpmd` ([`ends`]). Every figure stands beside a peer's, measured in the same run, and is
//! appended as a row to the JSON file that `--out` names ([`rows`]).

mod appliance;
mod conns;
mod cycles;
mod ends;
mod flows;
mod rig;
mod rows;
mod testpmd;

use clap::{Parser, Subcommand};
use dpdk::{Eal, EalOptions, Huge};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    harness: Harness,
    /// Rows that issue 2 asks for, and no others: under a minute.
    #[arg(long, global = true)]
    quick: bool,
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
}

/// What went wrong, for the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.harness {
        Harness::InProcess => in_process(&options),
        Harness::EndToEnd => ends::run(&options),
    };
    match done.and_then(|rows| rows::append(&options.out, &rows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// All on one worker lcore, which has its own mbuf cache as the real worker has.
fn in_process(options: &Options) -> Result<Vec<rows::Row>, Failure> {
    let eal = Eal::init(&EalOptions {
        program: "fedgate-bench".into(),
        main_cpu: options.other_cpu,
        worker_cpus: vec![options.cpu],
        huge: Huge::Auto,
        memory_mib: 64,
        prefix: "fedgate-bench".into(),
        ..EalOptions::default()
    })?;
    let (quick, stages) = (options.quick, options.stages);
    let work = move || -> Result<Vec<rows::Row>, Failure> {
        let stock = rig::Stock::new(eal)?;
        let mut rows = Vec::new();
        // Memory first, while the process has freed nothing that could be used again unseen.
        if !quick {
            rows.extend(conns::bytes(&stock)?);
        }
        rows.extend(cycles::run(&stock, quick, stages)?);
        if !quick {
            rows.extend(conns::rate(&stock)?);
        }
        Ok(rows)
    };
    let worker = eal.launch(0, work)?;
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
