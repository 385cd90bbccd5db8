// SPDX-License-Identifier: MIT OR Apache-2.0
//! Conformance: a test for each requirement of RFC 4787, 5382, 5508 and 6888, and docs/conformance.md made from them.
//!
//! A test named `rfcNNNN_reqN_...` or `rfcNNNN_req_NN_...`, in any of [`SOURCES`], is a row: its doc comment says what is required and,
//! where that is not what it shows, `Partly:` or `Not met:` and why. Each requirement has at least one.
//! `FEDGATE_REWRITE=1 cargo nextest run -p fedgate-flow conformance_table` writes the page anew.

mod rfc4787;
mod rfc5382;
mod rfc5508;
mod rfc6888;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Where tests are looked for, from the repository's root.
const SOURCES: [&str; 4] = ["dataplane/flow/src", "dataplane/worker", "dataplane/tables/src", "tests"];
/// The RFCs, their subjects, and how many requirements they have.
const RFCS: [(u32, &str, u32); 4] = [
    (4787, "NAT behaviour for unicast UDP", 14),
    (5382, "NAT behaviour for TCP", 10),
    (5508, "NAT behaviour for ICMP", 11),
    (6888, "carrier-grade NAT", 15),
];

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    rfc: u32,
    req: u32,
    name: String,
    file: String,
    said: String,
    verdict: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// RFC and requirement of a test's name.
fn requirement(name: &str) -> Option<(u32, u32)> {
    let (rfc, rest) = name.strip_prefix("rfc")?.split_once("_req")?;
    let digits: String = rest.trim_start_matches('_').chars().take_while(char::is_ascii_digit).collect();
    Some((rfc.parse().ok()?, digits.parse().ok()?))
}

/// The rows of one file.
fn rows(text: &str, file: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut doc = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        let name = line.strip_prefix("fn ").and_then(|l| l.split_once('(')).map(|(name, _)| name);
        if let Some(said) = line.strip_prefix("///") {
            doc.push(said.trim());
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(name) = name.filter(|_| is_test)
            && let Some((rfc, req)) = requirement(name)
        {
            let (verdict, said): (Vec<&str>, Vec<&str>) =
                doc.drain(..).partition(|line| line.starts_with("Partly:") || line.starts_with("Not met:"));
            let verdict = if verdict.is_empty() { "met".to_owned() } else { verdict.join(" ") };
            let (name, file) = (name.to_owned(), file.to_owned());
            rows.push(Row { rfc, req, name, file, said: said.join(" "), verdict });
        } else if !line.starts_with("#[") {
            doc.clear();
            is_test = false;
        }
    }
    rows
}

fn page(rows: &[Row]) -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         Made from the tests: each row is a test, named for the requirement, that fails when the verdict is no longer so.\n\
         `FEDGATE_REWRITE=1 cargo nextest run -p fedgate-flow conformance_table` makes this page anew.\n",
    );
    for (rfc, subject, _) in RFCS {
        write!(page, "\n## RFC {rfc}: {subject}\n| REQ | what is required and shown | verdict | test |\n| --- | --- | --- | --- |\n").unwrap();
        for row in rows.iter().filter(|row| row.rfc == rfc) {
            let Row { req, said, verdict, name, file, .. } = row;
            writeln!(page, "| {req} | {said} | {verdict} | `{name}` ({file}) |").unwrap();
        }
    }
    page
}

/// Every requirement has its test, and the page says what the tests say.
#[test]
fn conformance_table_is_current() {
    let mut paths = Vec::new();
    SOURCES.iter().for_each(|dir| files(&root().join(dir), &mut paths));
    let mut all: Vec<Row> = Vec::new();
    for path in paths {
        let file = path.strip_prefix(root()).unwrap().display().to_string();
        all.extend(rows(&std::fs::read_to_string(&path).unwrap(), &file));
    }
    all.sort();
    for (rfc, _, last) in RFCS {
        let shown: BTreeSet<u32> = all.iter().filter(|row| row.rfc == rfc).map(|row| row.req).collect();
        assert_eq!(shown, (1..=last).collect(), "requirements of RFC {rfc} with a test");
    }
    let untold: Vec<_> = all.iter().filter(|row| row.said.is_empty()).map(|row| &row.name).collect();
    assert!(untold.is_empty(), "tests that do not say what is required: {untold:?}");
    let docs = root().join("docs/conformance.md");
    if std::env::var_os("FEDGATE_REWRITE").is_some() {
        std::fs::write(&docs, page(&all)).unwrap();
    }
    assert_eq!(
        std::fs::read_to_string(docs).unwrap_or_default(),
        page(&all),
        "docs/conformance.md is not current"
    );
}
