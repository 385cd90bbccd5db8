// SPDX-License-Identifier: MIT OR Apache-2.0
//! `fedgate-dataplane`: the poll-mode process. All there is to it is in the library, so that tests and benches reach it.

use clap::Parser;
use fedgate_dataplane::launch::{Options, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fedgate-dataplane: {error}");
            ExitCode::FAILURE
        }
    }
}
