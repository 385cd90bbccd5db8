// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show curpriv`, `who` and `show history`: who one is, who else was here, and what one did.

use serde_json::json;

use super::hms;
use crate::config::model::users::role;
use crate::operate::access::Who;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// `show curpriv`
pub async fn curpriv(who: &Who, out: &mut Out) -> Result<(), Stop> {
    let Who { uid, user, privilege } = who;
    let mode = if *privilege > 1 { "P_PRIV" } else { "P_UNPR" };
    out.row(
        || format!("Username : {user}\nCurrent privilege level : {privilege}\nCurrent Mode/s : {mode}"),
        || json!({ "user": user, "uid": uid, "privilege": privilege, "role": role(*privilege), "mode": mode }),
    )
    .await?;
    Ok(())
}

/// `who`: callers of the last half hour; a command is a connection, so nobody stays.
pub async fn who(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    for (at, (who, idle, times)) in daemon.access().callers().into_iter().enumerate() {
        let Who { uid, user, privilege } = &who;
        let seconds = u32::try_from(idle.as_secs()).unwrap_or(u32::MAX);
        out.row(
            || format!("{at:>4}: {user} (uid {uid}), privilege {privilege}, idle {}, {times} requests", hms(seconds)),
            || json!({ "user": user, "uid": uid, "privilege": privilege, "idle_seconds": seconds, "requests": times }),
        )
        .await?;
    }
    Ok(())
}

/// `show history`: the last commands of the user, oldest first.
pub async fn history(daemon: &Daemon, who: &Who, out: &mut Out) -> Result<(), Stop> {
    for line in daemon.access().history(&who.user) {
        out.row(|| format!("  {line}"), || json!({ "command": line })).await?;
    }
    Ok(())
}
