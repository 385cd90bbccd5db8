// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show dialogs`: who talks to whom across the border, by which check, and until when. `show sip` is the ASA's short form of it.
//!
//! Rows come from all workers, page by page, and are written as they come. A dialog whose messages came by connections of two workers is held by
//! both and told by both. The classic way in which presence dies is an idle timeout that is shorter than what lies between a peer's
//! SUBSCRIBEs (30 minutes on an ASA, 1 h 45 min in OCS): where that is so the dialog says so ([`warning`]).

use std::net::Ipv4Addr;

use fedgate_tables::counters::{Counter, Gauge, Stat};
use fedgate_tables::link::{Filter, Rows, SipRow, What};
use serde_json::json;

use super::{Selection, attached, hms, listing};
use crate::config::domains::parse_key;
use crate::config::model::{DomainEntry, DomainKey, DomainRule, Model};
use crate::config::print::domain_line;
use crate::operate::daemon::{Attached, Daemon};
use crate::operate::events::escaped;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// What becomes of dialogs.
const FATES: [(Stat, &str); 5] = [
    (Stat::SipDialogsBegun, "begun"),
    (Stat::SipDialogsEnded, "ended"),
    (Stat::SipDialogsExpired, "expired"),
    (Stat::SipDialogsCleared, "cleared"),
    (Stat::SipDialogsRefused, "refused for lack of room"),
];
/// A timeout has to be longer than what it must not interrupt, by this (the ASA's manual asks for five minutes).
const MARGIN: u32 = 300;

fn in_use(attached: &Attached) -> u64 {
    attached.counters.sum(Counter::Gauge(Gauge::SipDialogsInUse))
}

/// `show dialogs`
pub async fn dialogs(daemon: &Daemon, selection: Selection, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let now = in_use(&attached);
    let fates = FATES.map(|(stat, name)| (stat, name, attached.counters.sum(Counter::Stat(stat))));
    out.row(
        || {
            let fates: Vec<String> = fates.iter().map(|(_, name, n)| format!("{n} {name}")).collect();
            format!("{now} in use; {}", fates.join(", "))
        },
        || {
            let mut object = json!({ "in_use": now });
            fates.iter().for_each(|(stat, _, n)| object[stat.name()] = json!(n));
            object
        },
    )
    .await?;
    let config = daemon.config();
    listing(&attached, What::Sip, selection.filter.clone(), async |rows| {
        let Rows::Sip(rows) = rows else { return Ok(()) };
        for row in &rows {
            let rule = rule(&config.model, &row.domain);
            out.row(|| text(row, &rule, selection.detail()), || object(row, &rule)).await?;
        }
        Ok(())
    })
    .await
}

/// `show sip`, as the ASA has it
pub async fn sip(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let total = in_use(&attached);
    out.row(|| format!("Total: {total}"), || json!({ "total": total })).await?;
    listing(&attached, What::Sip, Filter::default(), async |rows| {
        let Rows::Sip(rows) = rows else { return Ok(()) };
        for row in &rows {
            let json = || json!({ "call_id": row.call_id, "state": row.state, "idle_seconds": row.idle_secs, "left_seconds": row.left_secs });
            out.row(|| short(row), json).await?;
        }
        Ok(())
    })
    .await
}

fn short(row: &SipRow) -> String {
    format!(
        "call-id {}\n\x20   | state {}, idle {}, forgotten in {}",
        escaped(&row.call_id),
        row.state,
        hms(row.idle_secs),
        hms(row.left_secs)
    )
}

/// What the lists say now of a foreign domain: its own line, or that of the nearest wildcard above it.
fn rule(model: &Model, domain: &str) -> Option<String> {
    let exact = parse_key(domain).ok()?;
    let mut found = model.domains.get_key_value(&exact);
    let mut rest = exact.name.as_str();
    while let (None, Some((_, suffix))) = (found, rest.split_once('.')) {
        found = model.domains.get_key_value(&DomainKey { name: suffix.to_owned(), wildcard: true });
        rest = suffix;
    }
    let (key, DomainEntry { permit, block, .. }) = found?;
    let rule = match (permit, block) {
        (_, Some(note)) => DomainRule::Block(note.clone()),
        (Some(permit), None) => DomainRule::Permit(permit.clone()),
        (None, None) => return None,
    };
    Some(domain_line(key, &rule, model.domain_trust.get(key).map(String::as_str)))
}

fn server(row: &SipRow) -> String {
    let addr = Ipv4Addr::from(row.server.addr);
    if row.server.port == 0 { addr.to_string() } else { format!("{addr}:{}", row.server.port) }
}

/// A check in words.
fn check(name: &str) -> &str {
    match name {
        "domain" => "domain permitted, certificate good for it",
        "host" => "domain permitted, certificate names its peer host",
        "dialog" => "in dialog, from its peer",
        other => other,
    }
}

/// Where a connection that is idle between two SUBSCRIBEs would be ended.
fn warning(row: &SipRow) -> Option<String> {
    let expires = row.expires_secs.filter(|expires| *expires > 0)?;
    let (period, seen) = match row.refresh_secs.filter(|period| *period > 0) {
        Some(period) => (period, "between this peer's SUBSCRIBEs"),
        None => (expires, "that this subscription may be silent"),
    };
    let late = row.timeout_secs != 0 && row.timeout_secs < period;
    late.then(|| {
        format!(
            "WARNING: timeout sip {} is shorter than the {} {seen}: the connection may be ended in between; \
             make it {} at least",
            hms(row.timeout_secs),
            hms(period),
            hms(period.max(expires) + MARGIN)
        )
    })
}

fn text(row: &SipRow, rule: &Option<String>, detail: bool) -> String {
    let way = if row.inbound { "from outside" } else { "from inside" };
    let mut lines = vec![
        format!("call-id {}", escaped(&row.call_id)),
        format!("{} {way}, {}, domain {}", row.usage, row.state, escaped(&row.domain)),
        format!("outside {}, inside {} at {}", escaped(&row.outside), escaped(&row.inside), server(row)),
    ];
    if let (Some(since), Some(expires)) = (row.subscribe_secs, row.expires_secs) {
        let left = row.subscribed_secs.map_or("none".into(), hms);
        lines.push(format!("last SUBSCRIBE {} ago, Expires {expires}, {left} left", hms(since)));
    } else if let Some(left) = row.subscribed_secs {
        lines.push(format!("subscription has {} left", hms(left)));
    }
    lines.push(format!("idle {}, forgotten in {}", hms(row.idle_secs), hms(row.left_secs)));
    lines.push(format!("peer {}", escaped(&row.peer)));
    lines.push(format!("begun by: {}; last message: {}", check(&row.check), check(&row.last_check)));
    if detail {
        lines.push(format!("rule now: {}", rule.as_deref().unwrap_or("none, no new dialog may begin")));
        let every = row
            .refresh_secs
            .map_or(String::new(), |secs| format!(", {} between SUBSCRIBEs at most", hms(secs)));
        let idle = if row.timeout_secs == 0 { "never".into() } else { hms(row.timeout_secs) };
        lines.push(format!("age {}{every}, idle timeout {idle}, worker {}", hms(row.age_secs), row.worker));
    }
    lines.extend(warning(row));
    lines.join("\n    ")
}

fn object(row: &SipRow, rule: &Option<String>) -> serde_json::Value {
    json!({
        "call_id": row.call_id, "state": row.state, "usage": row.usage, "inbound": row.inbound, "domain": row.domain,
        "outside": row.outside, "inside": row.inside, "server": server(row), "peer": row.peer,
        "check": row.check, "last_check": row.last_check, "rule": rule,
        "last_subscribe_seconds": row.subscribe_secs, "expires_seconds": row.expires_secs, "refresh_seconds": row.refresh_secs,
        "subscription_left_seconds": row.subscribed_secs, "age_seconds": row.age_secs, "idle_seconds": row.idle_secs,
        "left_seconds": row.left_secs, "idle_timeout_seconds": row.timeout_secs, "worker": row.worker,
        "warning": warning(row),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedgate_tables::link::End2;

    /// OCS's subscription behind the ASA's default timer.
    fn row() -> SipRow {
        SipRow {
            call_id: "8d3f@partner.example\n".into(),
            state: "Active".into(),
            usage: "subscription".into(),
            inbound: true,
            domain: "partner.example".into(),
            outside: "alice@partner.example".into(),
            inside: "bob@example.com".into(),
            server: End2 { addr: 0x0a0a_000b, port: 5061 },
            peer: "edge.partner.example partner.example".into(),
            check: "host".into(),
            last_check: "dialog".into(),
            age_secs: 7000,
            subscribe_secs: Some(700),
            expires_secs: Some(7200),
            refresh_secs: Some(6300),
            subscribed_secs: Some(6500),
            idle_secs: 6,
            left_secs: 6532,
            timeout_secs: 1800,
            worker: 1,
        }
    }

    #[test]
    fn a_dialog_says_all_that_is_known_of_it() {
        let rule = Some("permit domain partner.example peer edge.partner.example".to_owned());
        let brief = "call-id 8d3f@partner.example\\n\n    \
            subscription from outside, Active, domain partner.example\n    \
            outside alice@partner.example, inside bob@example.com at 10.10.0.11:5061\n    \
            last SUBSCRIBE 0:11:40 ago, Expires 7200, 1:48:20 left\n    \
            idle 0:00:06, forgotten in 1:48:52\n    \
            peer edge.partner.example partner.example\n    \
            begun by: domain permitted, certificate names its peer host; last message: in dialog, from its peer\n    ";
        let warning = "WARNING: timeout sip 0:30:00 is shorter than the 1:45:00 between this peer's SUBSCRIBEs: \
            the connection may be ended in between; make it 2:05:00 at least";
        assert_eq!(text(&row(), &rule, false), format!("{brief}{warning}"));
        assert_eq!(
            text(&row(), &rule, true),
            format!(
                "{brief}rule now: permit domain partner.example peer edge.partner.example\n    \
                 age 1:56:40, 1:45:00 between SUBSCRIBEs at most, idle timeout 0:30:00, worker 1\n    {warning}"
            )
        );
        let call = SipRow {
            usage: "call".into(),
            inbound: false,
            server: End2 { addr: 0x0a0a_000b, port: 0 },
            subscribe_secs: None,
            expires_secs: None,
            refresh_secs: None,
            subscribed_secs: None,
            ..row()
        };
        let text = text(&call, &None, true);
        assert!(
            text.contains("call from inside") && text.contains("bob@example.com at 10.10.0.11\n"),
            "{text}"
        );
        assert!(!text.contains("SUBSCRIBE") && !text.contains("WARNING"), "{text}");
        assert!(text.contains("rule now: none"), "{text}");
    }

    #[test]
    fn only_a_timeout_that_is_too_short_is_warned_of() {
        let with = |timeout_secs, refresh_secs, expires| {
            warning(&SipRow { timeout_secs, refresh_secs, expires_secs: Some(expires), ..row() })
        };
        // Before a peer has come back nobody knows when it will: at the latest when its time is over.
        let first = with(1800, None, 7200).expect("too short");
        assert!(first.contains("shorter than the 2:00:00 that this subscription may be silent"), "{first}");
        for (timeout, refresh, expires) in [
            (0, Some(6300), 7200),
            (7500, Some(6300), 7200),
            (6300, Some(6300), 7200),
            (1800, None, 0),
            (1800, Some(600), 7200),
        ] {
            assert_eq!(with(timeout, refresh, expires), None, "{timeout} {refresh:?} {expires}");
        }
    }
}
