// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configurations of real ASAs (tests/corpus/asa): which of their lines are still refused. The list may only get shorter.

use std::collections::BTreeMap;

use super::super::diag::Severity;
use super::try_load;

/// Counts the lines of `text` that are refused, by their first two words.
fn refused(text: &str, counts: &mut BTreeMap<String, usize>) {
    let Err(report) = try_load(text) else { return };
    for found in report.diagnostics.iter().filter(|d| d.problem.severity == Severity::Error) {
        let words: Vec<&str> = found.source.split_whitespace().take(2).collect();
        *counts.entry(words.join(" ")).or_insert(0) += 1;
    }
}

#[test]
fn what_is_still_refused() {
    let files = [
        include_str!("../../../tests/corpus/asa/01-single-cup-asa83.cfg"),
        include_str!("../../../tests/corpus/asa/02-single-cup-asa82.cfg"),
        include_str!("../../../tests/corpus/asa/03-multinode-two-domains-asa83.cfg"),
        include_str!("../../../tests/corpus/asa/04-load-balancer-asa83.cfg"),
        include_str!("../../../tests/corpus/asa/05-behind-firewall-failover-asa98.cfg"),
        include_str!("../../../tests/corpus/asa/06-guide-misprints.cfg"),
    ];
    let mut counts = BTreeMap::new();
    files.iter().for_each(|text| refused(text, &mut counts));
    let found: String = counts.iter().map(|(words, count)| format!("{count} {words}\n")).collect();
    let expected = include_str!("../../../tests/corpus/asa/refused.txt");
    assert!(found == expected, "refused now:\n{found}");
}
