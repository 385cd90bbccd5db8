// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show logging`: what is sent where, what became of it, and the buffer. `show logging message`: what was said of single messages.
//! `show metrics`: where they are read. `show flow-export counters`: NAT events.
//!
//! In the ASA's layout; lines of what there is none of here (console, monitor, mail, ASDM) say so, because what reads this output looks for them.

use serde_json::json;

use crate::config::model::logging::{FACILITY, QUEUE, Stamp};
use crate::config::parse::acl::level_text;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::operate::syslog::feed::Counts;

/// `show logging`
pub async fn logging(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let (config, syslog) = (daemon.config(), daemon.log().syslog());
    let (lines, counts) = (&config.model.syslog, syslog.counts());
    let facility = lines.facility.unwrap_or(FACILITY);
    let on = |is: bool| if is { "enabled" } else { "disabled" };
    let level = |level: Option<u8>, more: &str, messages| match level {
        None => "disabled".to_owned(),
        Some(level) => format!("level {}{more}, {messages} messages logged", level_text(level)),
    };
    let stamp = match lines.timestamp {
        None => "disabled",
        Some(Stamp::Asa) => "enabled",
        Some(Stamp::Rfc5424) => "enabled, rfc5424",
    };
    if out.json {
        let row = json!({
            "enabled": lines.enable, "facility": facility, "buffered_level": lines.buffered, "buffered": counts.buffered,
            "trap_level": lines.trap, "trapped": counts.trapped, "rate_limited": counts.limited, "disabled": counts.disabled,
            "queue": lines.queue.unwrap_or(QUEUE),
        });
        out.row(String::new, || row).await?;
    } else {
        let trap = level(lines.trap, &format!(", facility {facility}"), counts.trapped);
        out.text(&format!(
            "Syslog logging: {}\n    Facility: {facility}\n    Timestamp logging: {stamp}\n    Hide Username logging: disabled\n    \
             Standby logging: disabled\n    Debug-trace logging: disabled\n    Console logging: disabled\n    Monitor logging: disabled\n    \
             Buffer logging: {}\n    Trap logging: {trap}\n",
            on(lines.enable),
            level(lines.buffered, "", counts.buffered),
        ))
        .await?;
    }
    let feeds = syslog.feeds();
    for (key, form) in &lines.hosts {
        let counts = feeds.iter().find(|(other, _, _)| other == key).map(|(_, _, counts)| counts.clone());
        let named = format!("{} {} {}/{}", key.interface, key.address, key.transport.name(), key.port);
        out.row(
            || {
                let secure = if form.secure.is_some() { " SECURE" } else { "" };
                let what = counts.as_deref().map_or_else(|| "not in use".to_owned(), host);
                format!("        Logging to {named}{secure} {what}")
            },
            || {
                let number = |of: fn(&Counts) -> u64| counts.as_deref().map(of);
                json!({
                    "host": key.address, "interface": key.interface, "transport": key.transport.name(), "port": key.port,
                    "secure": form.secure.is_some(), "rfc5424": form.rfc5424,
                    "up": counts.as_deref().is_some_and(|counts| counts.up.get()), "sent": number(|c| c.sent.get()),
                    "lost": number(|c| c.lost.get()), "connections": number(|c| c.connections.get()),
                    "why": counts.as_deref().map(|counts| counts.why.borrow().clone()),
                })
            },
        )
        .await?;
    }
    let device = lines.device_id.as_ref().map_or("disabled".to_owned(), |id| id.to_string());
    out.note(&format!(
        "    Permit-hostdown logging: enabled\n    History logging: disabled\n    Device ID: {device}\n    Mail logging: disabled\n    \
         ASDM logging: disabled\n    Queue of each host: {} messages\n    Kept back: {} by rate-limit, {} by no logging message\n",
        lines.queue.unwrap_or(QUEUE),
        counts.limited,
        counts.disabled
    ))
    .await?;
    for line in syslog.buffer() {
        let json = || json!({ "message": line });
        out.row(|| line.clone(), json).await?;
    }
    Ok(())
}

/// `, 12 sent, 3 lost, connected`
fn host(counts: &Counts) -> String {
    let why = counts.why.borrow();
    let state = match (counts.up.get(), why.is_empty()) {
        (true, true) => "up".to_owned(),
        (true, false) => format!("up ({why})"),
        (false, true) => "connecting".to_owned(),
        (false, false) => format!("down ({why})"),
    };
    format!(
        "{state}, {} sent, {} lost, {} connections",
        counts.sent.get(),
        counts.lost.get(),
        counts.connections.get()
    )
}

/// `show logging message`
pub async fn messages(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    for (number, treated) in &config.model.syslog.messages {
        out.row(
            || {
                let level = treated
                    .level
                    .map_or(String::new(), |level| format!(", current-level {}", level_text(level)));
                let state = if treated.disabled { "disabled" } else { "enabled" };
                format!("syslog {number}: default-level own{level} ({state})")
            },
            || json!({ "message": number, "level": treated.level, "disabled": treated.disabled }),
        )
        .await?;
    }
    Ok(())
}

/// `show metrics`
pub async fn metrics(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let (config, metrics) = (daemon.config(), daemon.metrics());
    let (wanted, listening) = (config.model.metrics, metrics.listening.get());
    let (pages, refused) = (metrics.pages.get(), metrics.refused.get());
    out.row(
        || match (wanted, listening) {
            (None, _) => "Metrics: disabled".to_owned(),
            (Some(at), Some(_)) => {
                format!("Metrics: http://{at}/metrics, {pages} pages, {refused} readers refused or too slow")
            }
            (Some(at), None) => {
                format!("Metrics: http://{at}/metrics, not listening: {}", metrics.why.borrow())
            }
        },
        || json!({ "address": wanted, "listening": listening.is_some(), "pages": pages, "refused": refused, "why": *metrics.why.borrow() }),
    )
    .await?;
    Ok(())
}

/// `show flow-export counters`, as the ASA has it
pub async fn flow_export(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    for feed in daemon.log().export().feeds() {
        out.row(
            || {
                let why = if feed.why.is_empty() { String::new() } else { format!(" ({})", feed.why) };
                format!(
                    "destination: {}\n  Statistics:\n    packets sent              {:>15}\n    records sent              {:>15}\n  \
                     Errors:\n    records lost              {:>15}{why}",
                    feed.to, feed.packets, feed.records, feed.lost
                )
            },
            || {
                json!({
                    "interface": feed.to.interface, "address": feed.to.at.ip(), "port": feed.to.at.port(),
                    "packets": feed.packets, "records": feed.records, "lost": feed.lost, "why": feed.why,
                })
            },
        )
        .await?;
    }
    Ok(())
}
