// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show access-list`, `show object-group` and `show time-range`: the configuration's lines, access-lists with the hits that the
//! dataplane counted. Without a dataplane the lines are shown and hits are zero.
//!
//! A line that names objects or groups is followed by the elements it stands for, indented, each with its own count; its own is their sum.

use serde_json::json;

use crate::config::expand::Parts;
use crate::config::model::{ALERT_INTERVAL, Ace, AceAddr, AceLog, AclLine, DENY_FLOW_MAX, Model};
use crate::config::print;
use crate::config::types::fnv1a;
use crate::operate::daemon::{Attached, Daemon};
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::acl::{Block, Counter, id};
use crate::policy::slots::Counts;

/// `show access-list [NAME]`
pub async fn access_list(daemon: &Daemon, name: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let model = &config.model;
    let attached = daemon.attached();
    if let Some(name) = name.filter(|name| !model.acls.contains_key(*name)) {
        return Err(Stop::Failed(format!("ERROR: access-list <{name}> does not exist")));
    }
    let (total, denied) = daemon.log().acl_flows();
    let most = model.acl_deny_flow_max.unwrap_or(DENY_FLOW_MAX);
    let alert = model.acl_alert_interval.unwrap_or(ALERT_INTERVAL);
    out.note(&format!(
        "access-list cached ACL log flows: total {total}, denied {denied} (deny-flow-max {most})\n            \
         alert-interval {alert}\n"
    ))
    .await?;
    for (acl, lines) in model.acls.iter().filter(|(acl, _)| name.is_none_or(|name| name == &***acl)) {
        let block = daemon.with_slots(|slots| slots.blocks.get(acl).cloned());
        let count = |line: &AclLine| match line {
            AclLine::Ace(ace) => Parts::of(model, ace).map_or(0, |parts| parts.elements().count()),
            AclLine::Remark(_) => 0,
        };
        let elements: usize = lines.iter().map(|line| count(line)).sum();
        let hash = fnv1a(acl.as_bytes());
        out.note(&format!("access-list {acl}; {elements} elements; name hash: {hash:#x}\n")).await?;
        for (number, line) in (1u32..).zip(lines.iter()) {
            let AclLine::Ace(ace) = &**line else {
                out.note(&format!("access-list {acl} line {number} {line}\n")).await?;
                continue;
            };
            for row in rows(model, ace, number, block.as_deref(), attached.as_deref()) {
                out.row(
                    || row.text(acl, number, ace),
                    || json!({
                        "access_list": acl.to_string(), "line": number, "rule": row.rule, "element": row.element,
                        "hits": row.hits, "hash": row.hash,
                    }),
                )
                .await?;
            }
        }
    }
    Ok(())
}

/// A line, or an element of it.
struct Row {
    rule: String,
    /// It stands under a line.
    element: bool,
    hits: u64,
    hash: u32,
}

impl Row {
    fn text(&self, acl: &str, number: u32, ace: &Ace) -> String {
        let Self { rule, element, hits, hash } = self;
        let indent = if *element { "  " } else { "" };
        // As the ASA prints `log` alone.
        let rule = match &ace.log {
            Some(log @ AceLog::On { .. }) => {
                let all = log.in_full();
                if *element {
                    format!("{rule} {all}")
                } else {
                    rule.replacen(&format!(" {log}"), &format!(" {all}"), 1)
                }
            }
            Some(AceLog::Disable | AceLog::Default) | None => rule.clone(),
        };
        let off = if ace.inactive { " (inactive)" } else { "" };
        format!("{indent}access-list {acl} line {number} {rule} (hitcnt={hits}){off} {hash:#010x}")
    }
}

fn rows(
    model: &Model,
    ace: &Ace,
    number: u32,
    block: Option<&Block>,
    attached: Option<&Attached>,
) -> Vec<Row> {
    let Ok(parts) = Parts::of(model, ace) else { return Vec::new() };
    let mut counters = block.map(|block| block.counters(number));
    let mut rows: Vec<Row> = parts
        .elements()
        .map(|element| {
            let counter = counters.as_mut().and_then(|counters| counters.of(&element));
            let hits = counter.zip(attached).map_or(0, |(counter, attached)| hits(attached, counter));
            Row {
                rule: element.to_string(),
                element: true,
                hits,
                hash: id(&element, ace.time_range.as_ref()),
            }
        })
        .collect();
    let line = Row {
        rule: ace.to_string(),
        element: false,
        hits: rows.iter().map(|row| row.hits).sum(),
        hash: if names_nothing(ace) { rows[0].hash } else { line_hash(ace) },
    };
    if names_nothing(ace) {
        rows.clear();
    }
    rows.insert(0, line);
    rows
}

/// The two hashes that messages name an element of a line by: the line's and the element's, or the one of a line that is its own one
/// element, and 0.
pub fn hashes(ace: &Ace, element: u32) -> (u32, u32) {
    if names_nothing(ace) { (element, 0) } else { (line_hash(ace), element) }
}

fn line_hash(ace: &Ace) -> u32 {
    fnv1a(ace.to_string().as_bytes())
}

/// Whether the line is its own one element. `interface I` is shown as written.
fn names_nothing(ace: &Ace) -> bool {
    let own = |addr: &AceAddr| match addr {
        AceAddr::Interface(_) => AceAddr::Any,
        addr => addr.clone(),
    };
    let ace = Ace { src: own(&ace.src), dst: own(&ace.dst), time_range: None, ..ace.clone() };
    ace.is_plain()
}

fn hits(attached: &Attached, (slot, base): Counter) -> u64 {
    attached.counters.ace(slot).saturating_sub(base)
}

/// `show object-group [NAME]`
pub async fn object_group(daemon: &Daemon, name: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    if let Some(name) = name.filter(|name| !config.model.groups.contains_key(*name)) {
        return Err(Stop::Failed(format!("ERROR: object-group {name} does not exist")));
    }
    for (group, text) in
        config.model.groups.iter().filter(|(group, _)| name.is_none_or(|name| name == group.as_str()))
    {
        let lines = print::group_text(group, text);
        out.row(
            || lines.trim_end().to_owned(),
            || json!({ "name": group, "lines": lines.lines().collect::<Vec<_>>() }),
        )
        .await?;
    }
    Ok(())
}

/// `show time-range [NAME]`
pub async fn time_range(daemon: &Daemon, name: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let model = &config.model;
    if let Some(name) = name.filter(|name| !model.time_ranges.contains_key(*name)) {
        return Err(Stop::Failed(format!("ERROR: time-range {name} does not exist")));
    }
    let local = crate::clock::now() + model.timezone.as_ref().map_or(0, |zone| i64::from(zone.offset) * 60);
    for (range, holds) in
        model.time_ranges.iter().filter(|(range, _)| name.is_none_or(|name| name == range.as_str()))
    {
        let active = holds.holds(crate::config::model::Minute(local.div_euclid(60)));
        let state = if active { "active" } else { "inactive" };
        let lines = print::time_range_text(holds);
        out.row(
            || format!("time-range entry: {range} ({state})\n{}", lines.replace("\n ", "\n   ").trim_end()),
            || json!({ "name": range, "active": active, "lines": lines.lines().map(str::trim).collect::<Vec<_>>() }),
        )
        .await?;
    }
    Ok(())
}
