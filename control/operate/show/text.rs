// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show running-config` and `show startup-config`. With JSON, one object a line of text.

use std::fs::File;
use std::io::Read;

use serde_json::json;

use crate::config::print;
use crate::config::source::MAX_TEXT;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// `show running-config`
pub async fn running(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let text = print::to_text(&daemon.config().model);
    lines(&text, out).await
}

/// `show startup-config`
pub async fn startup(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let path = &daemon.paths.startup;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_TEXT as u64).read_to_string(&mut text));
    read.map_err(|why| Stop::Failed(format!("cannot read {}: {why}", path.display())))?;
    lines(&text, out).await
}

async fn lines(text: &str, out: &mut Out) -> Result<(), Stop> {
    for line in text.lines() {
        out.row(|| line.to_owned(), || json!({ "line": line })).await?;
    }
    Ok(())
}
