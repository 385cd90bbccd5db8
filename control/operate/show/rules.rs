// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show nat`: the rules with the hits that the dataplane counted. Without a dataplane they are shown and hits are zero.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use fedgate_tables::policy::{ANY_ADDR, ANY_PORT, NAT_INTERFACE};
use serde_json::json;

use crate::config::check::About;
use crate::config::model::Model;
use crate::config::ports;
use crate::config::resolve::{self, Range, Rule};
use crate::config::types::PortOp;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::slots::Counts;

/// `show nat [detail]`
pub async fn nat(daemon: &Daemon, in_full: bool, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let attached = daemon.attached();
    let (mut section, mut number) = (0, 0);
    for (_, rule, slot) in counted(daemon, &config.model) {
        let hits = attached.as_ref().zip(slot).map_or((0, 0), |(attached, (slot, base))| {
            let (translate, untranslate) = attached.counters.nat(slot);
            (translate.saturating_sub(base.0), untranslate.saturating_sub(base.1))
        });
        if rule.section != section {
            (section, number) = (rule.section, 0);
            let kind = if section == 2 { "Auto" } else { "Manual" };
            out.note(&format!("{kind} NAT Policies (Section {section})\n")).await?;
        }
        number += 1;
        out.row(
            || {
                let (translate, untranslate) = hits;
                let detail = if in_full { format!("\n{}", detail(&rule)) } else { String::new() };
                format!(
                    "{number} {}\n    translate_hits = {translate}, untranslate_hits = {untranslate}{detail}",
                    rule.text
                )
            },
            || {
                json!({
                    "section": section, "number": number, "rule": rule.text,
                    "translate_hits": hits.0, "untranslate_hits": hits.1,
                })
            },
        )
        .await?;
    }
    Ok(())
}

/// Each rule in order with its counter slot, if it has one.
pub fn numbered(daemon: &Daemon, model: &Model) -> impl Iterator<Item = (Rule, Option<u32>)> {
    lines(daemon, model).map(|(_, rule, slot)| (rule, slot))
}

/// The same with where each stands in the configuration.
pub fn lines(daemon: &Daemon, model: &Model) -> impl Iterator<Item = (About, Rule, Option<u32>)> {
    counted(daemon, model).map(|(about, rule, slot)| (about, rule, slot.map(|(slot, _)| slot)))
}

/// Each rule in order with its counter slot, and what that stood at when the rule took it.
#[expect(clippy::type_complexity, reason = "a slot and its two bases")]
fn counted(daemon: &Daemon, model: &Model) -> impl Iterator<Item = (About, Rule, Option<(u32, (u64, u64))>)> {
    let mut places: HashMap<String, u32> = HashMap::new();
    let rules = resolve::rules(model).into_iter().filter_map(|(about, rule)| Some((about, rule.ok()?)));
    rules.map(move |(about, rule)| {
        let place = places.entry(rule.text.clone()).or_insert(0);
        let slot = daemon.with_slots(|slots| slots.nat(&rule.text, *place));
        *place += 1;
        (about, rule, slot)
    })
}

fn detail(rule: &Rule) -> String {
    let list = |ranges: &[Range]| ranges.iter().map(|range| cidr(*range)).collect::<Vec<_>>().join(", ");
    let mapped = if rule.pool.is_empty() { vec![rule.mapped] } else { rule.pool.clone() };
    let mut text = format!("    Source - Origin: {}, Translated: {}", list(&rule.reals), list(&mapped));
    if rule.flags & NAT_INTERFACE != 0 {
        text.push_str(&format!(", {}", cidr(rule.mapped)));
    }
    if rule.dest != (ANY_ADDR, ANY_ADDR) {
        let (from, to) = (cidr(rule.dest.0), cidr(rule.dest.1));
        text.push_str(&format!("\n    Destination - Origin: {from}, Translated: {to}"));
    }
    if rule.proto != 0 {
        let side = |source: [u16; 2], destination: [u16; 2]| {
            let words = |word: &str, range: [u16; 2]| {
                let op = if range[0] == range[1] {
                    PortOp::Eq(range[0])
                } else {
                    PortOp::Range(range[0], range[1])
                };
                if range == ANY_PORT { String::new() } else { format!(" {word}{}", op.text(rule.proto)) }
            };
            let proto = ports::proto_text(rule.proto);
            format!("{proto}{}{}", words("source", source), words("destination", destination))
        };
        let (from, to) = (side(rule.port.0, rule.dest_port.0), side(rule.port.1, rule.dest_port.1));
        text.push_str(&format!("\n    Service - Origin: {from} , Translated: {to} "));
    }
    text
}

/// `10.0.0.0/24`, or `10.0.0.1-10.0.0.9`.
pub fn cidr([first, last]: Range) -> String {
    let host = first ^ last;
    if host & host.wrapping_add(1) == 0 && first & host == 0 {
        format!("{}/{}", Ipv4Addr::from(first), host.leading_zeros())
    } else {
        format!("{}-{}", Ipv4Addr::from(first), Ipv4Addr::from(last))
    }
}
