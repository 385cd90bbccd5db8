// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show conn` and `show xlate`: streamed from the dataplane, which also filters.

use fedgate_tables::counters::{Counter, Gauge};
use fedgate_tables::link::{ConnRow, End, Filter, Rows, What, XlateRow};
use serde_json::json;

use super::{IfNames, Selection, attached, hms, ip, listing, proto_upper};
use crate::config::resolve::Rule;
use crate::operate::daemon::{Attached, Daemon};
use crate::operate::run::Stop;
use crate::operate::server::Out;

fn in_use(attached: &Attached, now: Gauge, most: Gauge) -> (u64, u64) {
    (attached.counters.sum(Counter::Gauge(now)), attached.counters.sum(Counter::Gauge(most)))
}

/// `show conn`
pub async fn conn(daemon: &Daemon, selection: Selection, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let (now, most) = in_use(&attached, Gauge::ConnsInUse, Gauge::ConnsMostUsed);
    let whole = selection.count && selection.filter == Default::default();
    if whole {
        let text = || format!("{now} in use, {most} most used");
        return Ok(out.row(text, || json!({ "in_use": now, "most_used": most })).await?);
    }
    if !selection.count {
        out.note(&format!("{now} in use, {most} most used\n")).await?;
    }
    if selection.layout == Layout::Detail {
        out.note(LEGEND).await?;
    }
    let names = IfNames::new(daemon);
    let mut count = 0u64;
    listing(&attached, What::Conns, selection.filter.clone(), async |rows| {
        let Rows::Conns(rows) = rows else { return Ok(()) };
        count += rows.len() as u64;
        for row in rows.iter().filter(|_| !selection.count) {
            out.row(|| conn_text(row, &names, selection.layout), || conn_json(row, &names)).await?;
        }
        Ok(())
    })
    .await?;
    counted(selection, count, out).await
}

async fn counted(selection: Selection, count: u64, out: &mut Out) -> Result<(), Stop> {
    if selection.count {
        out.row(|| format!("{count} matching"), || json!({ "matching": count })).await?;
    }
    Ok(())
}

/// How much of a connection is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// A line.
    #[default]
    Short,
    /// With its age and its timeout.
    Detail,
    /// The same, and as what each end is shown.
    Long,
}

/// The letters that connections of ours can have.
const LEGEND: &str = "Flags: A - awaiting inside ACK to SYN, a - awaiting outside ACK to SYN,\n       \
    B - initial SYN from outside, F - outside FIN, f - inside FIN,\n       \
    I - inbound data, i - incomplete, m - SIP media, O - outbound data,\n       \
    S - awaiting inside SYN, s - awaiting outside SYN, T - SIP, U - up\n";

/// The ends in the ASA's order: the less secure first.
pub fn conn_text(row: &ConnRow, names: &IfNames, layout: Layout) -> String {
    let (first, second) =
        if row.inbound { (row.initiator, row.responder) } else { (row.responder, row.initiator) };
    if layout != Layout::Short {
        return in_full(row, [first, second], names, layout);
    }
    let end = |end: End| format!("{} {}:{}", names.name(end.ifindex), end.real, end.real_port);
    let proxied = row.session.map_or(String::new(), |session| format!(", proxy session {session}"));
    format!(
        "{} {} {}, idle {}, bytes {}, flags {}{proxied}",
        proto_upper(row.proto),
        end(first),
        end(second),
        hms(row.idle_secs),
        row.bytes,
        row.flags
    )
}

fn in_full(row: &ConnRow, ends: [End; 2], names: &IfNames, layout: Layout) -> String {
    let [first, second] = ends.map(|end| {
        let shown = match layout {
            Layout::Long => format!(" ({}/{})", end.mapped, end.mapped_port),
            Layout::Short | Layout::Detail => String::new(),
        };
        format!("{}: {}/{}{shown}", names.name(end.ifindex), end.real, end.real_port)
    });
    let proxied = row.session.map_or(String::new(), |session| format!(", proxy session {session}"));
    format!(
        "{} {first} {second},\n    flags {}, idle {}, uptime {}, timeout {}, bytes {}{proxied}",
        proto_upper(row.proto),
        row.flags,
        spoken(row.idle_secs),
        spoken(row.age_secs),
        spoken(row.timeout_secs),
        row.bytes
    )
}

/// `1h2m`, `2m5s`, `30s`: the two largest units.
fn spoken(seconds: u32) -> String {
    let (days, hours, minutes, rest) =
        (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) => format!("{minutes}m{rest}s"),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}D{hours}h"),
    }
}

/// A connection with all that is known of it.
pub fn conn_json(row: &ConnRow, names: &IfNames) -> serde_json::Value {
    let end = |end: End| {
        json!({
            "interface": names.name(end.ifindex),
            "address": end.real.to_string(), "port": end.real_port,
            "mapped_address": end.mapped.to_string(), "mapped_port": end.mapped_port,
        })
    };
    json!({
        "id": row.id, "protocol": crate::config::ports::proto_text(row.proto),
        "initiator": end(row.initiator), "responder": end(row.responder), "inbound": row.inbound,
        "idle_seconds": row.idle_secs, "age_seconds": row.age_secs, "timeout_seconds": row.timeout_secs,
        "bytes": row.bytes, "packets": row.packets, "flags": row.flags, "proxy_session": row.session,
    })
}

/// `show xlate`
pub async fn xlate(daemon: &Daemon, selection: Selection, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let (now, most) = in_use(&attached, Gauge::XlatesInUse, Gauge::XlatesMostUsed);
    let config = daemon.config();
    let rules: Vec<Rule> = super::rules::numbered(daemon, &config.model).map(|(rule, _)| rule).collect();
    let fixed = |filter: Filter| rules.iter().flat_map(move |rule| super::statics::of(rule, &filter));
    // Static ones are in use for as long as they are configured.
    let always = fixed(Filter::default()).count() as u64;
    let (now, most) = (now + always, most + always);
    if selection.count && selection.filter == Filter::default() {
        let text = || format!("{now} in use, {most} most used");
        return Ok(out.row(text, || json!({ "in_use": now, "most_used": most })).await?);
    }
    if !selection.count {
        out.note(&format!(
            "{now} in use, {most} most used\n\
             Flags: D - DNS, e - extended, I - identity, i - dynamic, r - portmap,\n       \
             s - static, T - twice, N - net-to-net\n"
        ))
        .await?;
    }
    let names = IfNames::new(daemon);
    let mut count = 0u64;
    for fixed in fixed(selection.filter.clone()) {
        count += 1;
        if !selection.count {
            out.row(|| fixed.text(), || fixed.json()).await?;
        }
    }
    listing(&attached, What::Xlates, selection.filter.clone(), async |rows| {
        let Rows::Xlates(rows) = rows else { return Ok(()) };
        count += rows.len() as u64;
        for row in rows.iter().filter(|_| !selection.count) {
            out.row(|| xlate_text(row, &names), || xlate_json(row, &names)).await?;
        }
        Ok(())
    })
    .await?;
    counted(selection, count, out).await
}

/// A translation's line.
pub fn xlate_text(row: &XlateRow, names: &IfNames) -> String {
    let (real_if, mapped_if) = (names.name(row.real_if), names.name(row.mapped_if));
    let (real, mapped, flags) = (ip(row.real), ip(row.mapped), &row.flags);
    let times = format!("flags {flags} idle {} timeout {}", hms(row.idle_secs), hms(row.timeout_secs));
    if row.real_port == 0 && row.mapped_port == 0 {
        return format!("NAT from {real_if}:{real} to {mapped_if}:{mapped} {times}");
    }
    let (proto, rp, mp) = (proto_upper(row.proto), row.real_port, row.mapped_port);
    if flags.contains('s') {
        return format!(
            "{proto} PAT from {real_if}:{real} {rp}-{rp} to {mapped_if}:{mapped} {mp}-{mp}\n    {times}"
        );
    }
    format!("{proto} PAT from {real_if}:{real}/{rp} to {mapped_if}:{mapped}/{mp} {times}")
}

/// A translation with all that is known of it.
pub fn xlate_json(row: &XlateRow, names: &IfNames) -> serde_json::Value {
    json!({
        "protocol": if row.proto == 0 { "ip".to_owned() } else { crate::config::ports::proto_text(row.proto) },
        "real_interface": names.name(row.real_if), "real_address": ip(row.real), "real_port": row.real_port,
        "mapped_interface": names.name(row.mapped_if), "mapped_address": ip(row.mapped),
        "mapped_port": row.mapped_port, "flags": row.flags, "idle_seconds": row.idle_secs,
        "timeout_seconds": row.timeout_secs, "connections": row.conns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> IfNames {
        IfNames(vec![("outside".into(), 0), ("inside".into(), 100)])
    }

    fn addr(text: &str) -> u32 {
        text.parse::<std::net::Ipv4Addr>().unwrap().into()
    }

    /// The examples of asa.md 3.8 and 3.6.
    #[test]
    fn layouts_are_the_asas() {
        let end = |ifindex, address, real_port| End {
            ifindex,
            real: addr(address).into(),
            real_port,
            ..End::default()
        };
        let mut row = ConnRow {
            proto: 6,
            initiator: end(0, "198.51.100.20", 40001),
            responder: end(1, "10.10.0.11", 5062),
            inbound: true,
            idle_secs: 3,
            bytes: 21873,
            flags: "UIOBT".into(),
            ..ConnRow::default()
        };
        let line =
            "TCP outside 198.51.100.20:40001 inside 10.10.0.11:5062, idle 0:00:03, bytes 21873, flags UIOBT";
        assert_eq!(conn_text(&row, &names(), Layout::Short), line);
        std::mem::swap(&mut row.initiator, &mut row.responder);
        row.inbound = false;
        assert_eq!(conn_text(&row, &names(), Layout::Short), line);
        (row.age_secs, row.timeout_secs, row.responder.mapped_port) = (3725, 1800, 5061);
        assert_eq!(
            conn_text(&row, &names(), Layout::Detail),
            "TCP outside: 198.51.100.20/40001 inside: 10.10.0.11/5062,\n    flags UIOBT, idle 3s, uptime 1h2m, timeout 30m0s, bytes 21873"
        );
        assert!(conn_text(&row, &names(), Layout::Long).starts_with(
            "TCP outside: 198.51.100.20/40001 (0.0.0.0/5061) inside: 10.10.0.11/5062 (0.0.0.0/0),\n"
        ));
        assert_eq!([59, 60, 86_399, 90_000].map(spoken), ["59s", "1m0s", "23h59m", "1D1h"]);

        let mut row = XlateRow {
            proto: 6,
            real_if: 1,
            real: addr("10.10.0.11"),
            real_port: 33000,
            mapped_if: 0,
            mapped: addr("203.0.113.3"),
            mapped_port: 33000,
            flags: "ri".into(),
            idle_secs: 6492,
            timeout_secs: 30,
            conns: 1,
        };
        assert_eq!(
            xlate_text(&row, &names()),
            "TCP PAT from inside:10.10.0.11/33000 to outside:203.0.113.3/33000 flags ri idle 1:48:12 timeout 0:00:30"
        );
        (row.real_port, row.mapped_port, row.idle_secs, row.timeout_secs) = (5062, 5061, 10, 0);
        row.flags = "srT".into();
        assert_eq!(
            xlate_text(&row, &names()),
            "TCP PAT from inside:10.10.0.11 5062-5062 to outside:203.0.113.3 5061-5061\n    flags srT idle 0:00:10 timeout 0:00:00"
        );
        (row.real_port, row.mapped_port) = (0, 0);
        row.flags = "s".into();
        assert_eq!(
            xlate_text(&row, &names()),
            "NAT from inside:10.10.0.11 to outside:203.0.113.3 flags s idle 0:00:10 timeout 0:00:00"
        );
    }
}
