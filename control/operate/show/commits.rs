// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show configuration commits`: who changed the configuration, when and by which command, newest first.

use serde_json::json;

use super::crypto::date;
use crate::clock::now;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// `show configuration commits`
pub async fn commits(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let unconfirmed = daemon.unconfirmed();
    if let Some(unconfirmed) = unconfirmed {
        let left = (unconfirmed.until - now()).max(0);
        out.note(&format!(
            "Back to commit {} in {}:{:02} unless `commit` confirms\n",
            unconfirmed.number,
            left / 60,
            left % 60
        ))
        .await?;
    }
    out.note(&format!("{:>4} {:>7} {:<26} {:<20} {}\n", "Back", "Commit", "When", "Who", "What")).await?;
    for (back, commit) in daemon.commits().into_iter().enumerate() {
        let who = format!("{} ({})", commit.by.user, commit.by.uid);
        out.row(
            || format!("{back:>4} {:>7} {:<26} {who:<20} {}", commit.number, date(commit.at), commit.by.command),
            || {
                json!({
                    "back": back, "commit": commit.number, "at": commit.at, "uid": commit.by.uid, "user": commit.by.user,
                    "command": commit.by.command,
                    "returns_at": unconfirmed.filter(|u| u.number == commit.number).map(|u| u.until),
                })
            },
        )
        .await?;
    }
    Ok(())
}
