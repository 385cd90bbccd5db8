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
}

impl Row {
    fn ratio(&self) -> f64 {
        self.value / self.peer_value
    }

    fn json(&self) -> Value {
        let three = |n: f64| (n * 1000.0).round() / 1000.0;
        json!({
            "id": self.id,
            "value": three(self.value),
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": three(self.peer_value),
            "ratio": three(self.ratio()),
            "command": command(),
        })
    }
}

/// The command that makes the figure, as `scripts/bench` says it was called.
fn command() -> String {
    std::env::var("FEDGATE_BENCH_COMMAND").unwrap_or_else(|_| "cargo bench --bench packets".to_owned())
}

/// Prints the rows and adds them to the array in `path`.
pub fn append(path: &Path, rows: &[Row]) -> Result<(), Failure> {
    let mut all: Vec<Value> = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    for row in rows {
        let Row { id, value, unit, peer, peer_value } = row;
        println!("{id:<16} {value:>12.2} {unit:<14} {peer}: {peer_value:.2}; ratio {:.3}", row.ratio());
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
