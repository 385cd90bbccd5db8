// SPDX-License-Identifier: MIT OR Apache-2.0
//! A figure beside its peer's, on the terminal and in the JSON file.

use crate::Failure;
use serde_json::{Value, json};
use std::path::Path;

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name in the file.
    pub id: String,
    /// What was measured.
    pub value: f64,
    /// Of `value` and `peer_value`.
    pub unit: &'static str,
    /// What it is held against.
    pub peer: String,
    /// The same of the peer, in the same run.
    pub peer_value: f64,
    /// How far ahead or behind.
    pub ratio: f64,
}

impl Row {
    /// With the ratio of ours to the peer's.
    pub fn new(id: &str, value: f64, unit: &'static str, peer: &str, peer_value: f64) -> Self {
        let (id, peer, ratio) = (id.to_owned(), peer.to_owned(), value / peer_value);
        Self { id, value, unit, peer, peer_value, ratio }
    }

    /// With the ratio of the peer's to ours: how many times less ours is.
    pub fn times_less(id: &str, value: f64, unit: &'static str, peer: &str, peer_value: f64) -> Self {
        Self { ratio: peer_value / value, ..Self::new(id, value, unit, peer, peer_value) }
    }

    fn json(&self) -> Value {
        let three = |n: f64| (n * 1000.0).round() / 1000.0;
        json!({
            "id": self.id,
            "value": three(self.value),
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": three(self.peer_value),
            "ratio": three(self.ratio),
            "command": command(),
        })
    }
}

/// The command that makes the figure, as `scripts/bench` says it was called.
fn command() -> String {
    std::env::var("FEDGATE_BENCH_COMMAND").unwrap_or_else(|_| "cargo bench --bench packets".to_owned())
}

/// The rows in `path`; none where there is no file.
fn read(path: &Path) -> Result<Vec<Value>, Failure> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// A number (`value`, `peer_value`) of a row that an earlier harness wrote.
pub fn number_of(path: &Path, id: &str, field: &str) -> Result<f64, Failure> {
    let rows = read(path)?;
    let value = rows.iter().find(|row| row["id"] == id).and_then(|row| row[field].as_f64());
    Ok(value.ok_or_else(|| format!("no row {id} in {}", path.display()))?)
}

/// Prints the rows and adds them to the array in `path`, in the place of older ones with their names.
pub fn append(path: &Path, rows: &[Row]) -> Result<(), Failure> {
    let mut all = read(path)?;
    for row in rows {
        let Row { id, value, unit, peer, peer_value, ratio } = row;
        println!("{id:<16} {value:>12.2} {unit:<14} {peer}: {peer_value:.2}; ratio {ratio:.3}");
        all.retain(|old| old["id"] != id.as_str());
        all.push(row.json());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    Ok(std::fs::write(path, serde_json::to_vec_pretty(&all)?)?)
}

/// The middle one; 0 of none.
pub fn median<T: Copy + PartialOrd + Default>(samples: &mut [T]) -> T {
    samples.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}
