// SPDX-License-Identifier: MIT OR Apache-2.0
//! The presence node's bench: `scripts/bench presence` runs it and docs/performance.md explains what it prints.
//!
//! The node and Kamailio run as processes on one CPU, their databases included; the generator ([`load`], [`talk`]) has the other and plays the
//! peers on kernel sockets of the loopback. `subscribe_notify` is watchers that subscribe, each to a user whose state is published, with
//! what each server stores before it answers ([`watchers`]); `subscriptions_mib` is what 100,000 of them weigh; `im_messages` is texts
//! said in sessions that devices take one by one ([`texts`]). Each figure is put beside Kamailio's as a row into the JSON
//! file that `--out` names.

mod kamailio;
mod load;
mod node;
mod process;
#[path = "../packets/rows.rs"]
#[expect(dead_code, reason = "this bench needs nothing of other harnesses' rows")]
mod rows;
mod talk;
mod texts;
mod watchers;

use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser, Clone)]
struct Options {
    /// A third of the time.
    #[arg(long)]
    quick: bool,
    /// These rows only.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The JSON file to append rows to.
    #[arg(long, default_value = "target/bench/presence.json")]
    out: PathBuf,
    /// The program.
    #[arg(long)]
    node: PathBuf,
    /// CPU of what is measured.
    #[arg(long, default_value_t = 1)]
    cpu: u32,
    /// `cargo bench` adds it.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Whether a row was asked for.
    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == id)
    }

    /// How long one is measured.
    fn time(&self) -> Duration {
        if self.quick { Duration::from_secs(4) } else { Duration::from_secs(12) }
    }
}

/// What went wrong, for the terminal.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    if options.wants("subscribe_notify") {
        rows::append(&options.out, &[watchers::rate(options)?])?;
    }
    if options.wants("subscriptions_mib") {
        rows::append(&options.out, &[watchers::memory(options)?])?;
    }
    if options.wants("im_messages") {
        rows::append(&options.out, &[texts::rate(options)?])?;
    }
    Ok(())
}
