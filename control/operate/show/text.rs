// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show running-config` and `show startup-config`. With JSON, one object a line of text.

use serde_json::json;

use crate::config::source::MAX_TEXT;
use crate::config::{file, print};
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
    let bytes = file::read(path, MAX_TEXT);
    let bytes = bytes.map_err(|why| Stop::Failed(format!("cannot read {}: {why}", path.display())))?;
    lines(&String::from_utf8_lossy(&bytes), out).await
}

/// A text line by line.
pub async fn lines(text: &str, out: &mut Out) -> Result<(), Stop> {
    for line in text.lines() {
        out.row(|| line.to_owned(), || json!({ "line": line })).await?;
    }
    Ok(())
}
