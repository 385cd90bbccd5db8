// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packet classifier's bench: `scripts/bench acl` runs it and docs/performance.md explains what it prints.
//!
//! Rule sets and packets of ClassBench's shape (fedgate-acl `testing`), in process: how long a lookup takes, alone and in bursts ([`lookup`]),
//! what building and editing cost in time and memory ([`making`]), and whether ten million packets get the plain
//! linear model's answer ([`differential`]; one that does not fails the bench). The peer is librte_acl on the same rules and packets
//! in the same run, in a process of its own ([`rival`]), or the linear walk where it is small enough to be one.

mod differential;
mod lookup;
mod making;
mod rival;
#[expect(dead_code, reason = "the packet path's bench uses the rest of it")]
#[path = "../packets/rows.rs"]
mod rows;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
pub(crate) struct Options {
    /// A tenth of the differential test and no set of 100,000 rules.
    #[arg(long)]
    quick: bool,
    /// The JSON file to append rows to.
    #[arg(long, default_value = "target/bench/acl.json")]
    out: PathBuf,
    /// The compiled benches/acl/rte_acl.c.
    #[arg(long)]
    rival: PathBuf,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What went wrong, for the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let sizes: &[usize] = if options.quick { &[1_000, 10_000] } else { &[1_000, 10_000, 100_000] };
    for &size in sizes {
        let rival = rival::run(options, size)?;
        rows::append(&options.out, &lookup::rows(size, &rival)?)?;
        rows::append(&options.out, &making::rows(size, &rival)?)?;
        rows::append(&options.out, &lookup::rows6(size))?;
    }
    rows::append(&options.out, &differential::rows(options.quick)?)
}

/// `10_000` is `10k`.
fn name(size: usize) -> String {
    format!("{}k", size / 1000)
}
