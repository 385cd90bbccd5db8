// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration language: what loads and to what ([`language`], [`asa`]), what is refused and where ([`refused`]), single commands
//! ([`editing`]), what lines of access-lists expand to ([`lists`]), what is made of the trustpoints' files ([`trust`]), inspect maps ([`sip`]), pools ([`pool`]), and what must hold for any text and any model ([`property`]).

mod asa;
mod editing;
mod language;
mod lists;
mod logging;
mod pool;
mod property;
mod refused;
mod sip;
mod trust;

use super::model::Model;
use super::{Loaded, Report, load};
use std::path::Path;

/// Two interfaces, which most tests need.
pub const TWO: &str = "\
interface tap fgo
 nameif outside
 ip address 203.0.113.2 255.255.255.248
interface tap fgi
 nameif inside
 ip address 10.10.0.1 255.255.255.0
";

pub fn try_load(text: &str) -> Result<Loaded, Report> {
    load(text, "test.cfg", Path::new("/etc/fedgate"))
}

/// The model of a text that must load.
pub fn model(text: &str) -> Model {
    match try_load(text) {
        Ok(loaded) => loaded.config.model,
        Err(report) => panic!("does not load:\n{}", report.render(false)),
    }
}

/// `line:column: message` of everything found in `text`, columns from 1.
pub fn found(text: &str) -> Vec<String> {
    let report = match try_load(text) {
        Ok(loaded) => loaded.report,
        Err(report) => report,
    };
    let place = |d: &super::diag::Diagnostic| {
        format!("{}:{}: {}", d.problem.span.line, d.problem.span.start + 1, d.problem.message)
    };
    report.diagnostics.iter().map(place).collect()
}
