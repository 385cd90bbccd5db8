// SPDX-License-Identifier: MIT OR Apache-2.0
//! The TLS proxy's bench: `scripts/bench proxy` runs it and docs/performance.md explains what it prints.
//!
//! Two harnesses, each a subcommand and a process. `in-process` drives the worker's own proxy engine with packets from memory ([`engine`],
//! [`in_process`]) beside rustls alone ([`alone`]). `end-to-end` runs the real dataplane process with the generator on both of its ports
//! ([`appliance`], [`wire`]), then HAProxy and Kamailio ([`peers`]) with the generator on sockets of the kernel ([`sockets`]), and compares
//! the CPU time that each takes ([`ends`]); at half of the full rate, how long a message takes through it ([`delay`]). The conversations are the same everywhere ([`talk`]), and so are
//! certificates and ciphers ([`pki`]). Each figure is put beside its peer's as a row into the JSON file that `--out` names.

mod alone;
mod appliance;
mod crowd;
mod delay;
mod ends;
mod engine;
mod host;
mod in_process;
mod peers;
mod pki;
#[path = "../packets/rows.rs"]
#[expect(dead_code, reason = "this bench's harnesses need nothing of each other's rows")]
mod rows;
mod sockets;
mod talk;
mod wire;

use clap::{Parser, Subcommand};
use dpdk::{Eal, EalOptions, Huge};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser, Clone)]
struct Options {
    #[command(subcommand)]
    harness: Harness,
    /// Fewer sessions and turns, under a minute.
    #[arg(long, global = true)]
    quick: bool,
    /// These rows only.
    #[arg(long, global = true, value_delimiter = ',')]
    only: Vec<String>,
    /// The JSON file to append rows to.
    #[arg(long, global = true, default_value = "target/bench/proxy.json")]
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
    /// The engine, in memory.
    InProcess,
    /// The dataplane process and its peers; in a network namespace of its own.
    EndToEnd,
}

impl Options {
    /// Whether a row was asked for.
    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }
}

/// What went wrong, for the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match options.harness {
        Harness::InProcess => in_process(&options),
        Harness::EndToEnd => ends::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// On a worker lcore, as the engine runs in the appliance. Of DPDK only the clock and the pinning are used.
fn in_process(options: &Options) -> Result<(), Failure> {
    let eal = Eal::init(&EalOptions {
        program: "fedgate-bench".into(),
        main_cpu: options.other_cpu,
        worker_cpus: vec![options.cpu],
        huge: Huge::No,
        memory_mib: 64,
        prefix: "fedgate-bench-proxy".into(),
        ..EalOptions::default()
    })?;
    let (ours, hz) = (options.clone(), eal.tsc_hz());
    let worker = eal.launch(0, move || in_process::run(&ours, hz))?;
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
