// SPDX-License-Identifier: MIT OR Apache-2.0
//! librte_acl: its own program (rte_acl.c) on the same rules and packets, by files in a temporary folder.

use crate::lookup::{ROUNDS, given};
use crate::{Failure, Options};
use std::process::Command;

/// What it printed.
pub struct Rival {
    /// Milliseconds to build.
    pub build_ms: f64,
    /// MiB of growth while it built.
    pub build_mib: f64,
    /// Millions of lookups a second, one at a time.
    pub single: f64,
    /// The same in bursts of 32.
    pub burst: f64,
    /// Its answers.
    pub answers: Vec<Option<u32>>,
}

/// Runs it on the IPv4 set of this size.
pub fn run(options: &Options, size: usize) -> Result<Rival, Failure> {
    let folder = tempfile::tempdir()?;
    let (input, answers) = (folder.path().join("input"), folder.path().join("answers"));
    let (rules, packets) = given::<u32>(size);
    let mut bytes: Vec<u8> = Vec::new();
    for n in [rules.len() as u32, packets.len() as u32] {
        bytes.extend(n.to_ne_bytes());
    }
    for rule in &rules {
        for n in [rule.src, rule.src_mask.leading_ones(), rule.dst, rule.dst_mask.leading_ones()] {
            bytes.extend(n.to_ne_bytes());
        }
        for port in rule.sport.into_iter().chain(rule.dport) {
            bytes.extend(port.to_ne_bytes());
        }
        for n in [u32::from(rule.proto.unwrap_or(0)), if rule.proto.is_some() { 255 } else { 0 }] {
            bytes.extend(n.to_ne_bytes());
        }
    }
    for q in &packets {
        bytes.extend(q.src.to_ne_bytes());
        bytes.extend(q.dst.to_ne_bytes());
        bytes.extend(q.sport.to_ne_bytes());
        bytes.extend(q.dport.to_ne_bytes());
        bytes.extend(u32::from(q.proto).to_ne_bytes());
    }
    std::fs::write(&input, bytes)?;

    let output = Command::new(&options.rival).arg(&input).arg(&answers).arg(ROUNDS.to_string()).output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    // EAL prints to stdout too; the figures are the last line.
    let line = printed.lines().last().unwrap_or_default();
    let figures: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let (true, &[build_ms, build_mib, single, burst]) = (output.status.success(), figures.as_slice()) else {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Err(format!("librte_acl with {size} rules: {} {printed} {errors}", output.status).into());
    };
    let answers = std::fs::read(&answers)?;
    let number = |bytes: &[u8]| bytes.try_into().map(u32::from_ne_bytes).map(|n| n.checked_sub(1));
    let answers = answers.chunks(4).map(number).collect::<Result<_, _>>()?;
    Ok(Rival { build_ms, build_mib, single, burst, answers })
}
