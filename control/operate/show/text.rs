// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show running-config` and `show startup-config`. With JSON, one object a line of text.

use std::borrow::Cow;

use serde_json::json;

use crate::config::model::users::ADMIN;
use crate::config::source::{MAX_TEXT, masked};
use crate::config::{file, print};
use crate::operate::access::Who;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// `show running-config`
pub async fn running(daemon: &Daemon, who: &Who, out: &mut Out) -> Result<(), Stop> {
    let text = print::to_text(&daemon.config().model);
    lines(&discreet(&text, who), out).await
}

/// The text without passwords, hashed or not, for those who could not change them.
pub fn discreet<'t>(text: &'t str, who: &Who) -> Cow<'t, str> {
    if who.privilege >= ADMIN {
        return text.into();
    }
    text.lines().flat_map(|line| [masked(line), "\n".into()]).collect::<String>().into()
}

/// `show startup-config`
pub async fn startup(daemon: &Daemon, who: &Who, out: &mut Out) -> Result<(), Stop> {
    let path = &daemon.paths.startup;
    let bytes = file::read(path, MAX_TEXT);
    let bytes = bytes.map_err(|why| Stop::Failed(format!("cannot read {}: {why}", path.display())))?;
    lines(&discreet(&String::from_utf8_lossy(&bytes), who), out).await
}

/// A text line by line.
pub async fn lines(text: &str, out: &mut Out) -> Result<(), Stop> {
    for line in text.lines() {
        out.row(|| line.to_owned(), || json!({ "line": line })).await?;
    }
    Ok(())
}
