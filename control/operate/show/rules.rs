// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show nat` and `show access-list`: the configuration's lines with the hits that the dataplane counted. Without a dataplane the
//! lines are shown and hits are zero.

use std::collections::HashMap;

use serde_json::json;

use crate::config::model::AclLine;
use crate::config::ports;
use crate::config::resolve::{self, Rule};
use crate::config::types::fnv1a;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::ace_id;
use crate::policy::slots::Counts;

/// `show nat`
pub async fn nat(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let attached = daemon.attached();
    let mut places: HashMap<String, u32> = HashMap::new();
    let (mut section, mut number) = (0, 0);
    for rule in resolve::rules(&config.model).into_iter().filter_map(|(_, rule)| rule.ok()) {
        let place = places.entry(rule.text.clone()).or_insert(0);
        let slot = daemon.with_slots(|slots| slots.nat(&rule.text, *place));
        *place += 1;
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
                let detail = detail(&rule);
                let (translate, untranslate) = hits;
                format!(
                    "{number} {}\n    translate_hits = {translate}, untranslate_hits = {untranslate}\n{detail}",
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

fn detail(rule: &Rule) -> String {
    let (real, mapped) = (rule.real, rule.mapped);
    let bits = if rule.kind == fedgate_tables::policy::NatKind::Static { real.prefix_len() } else { 32 };
    let mut text =
        format!("    Source - Origin: {}/{}, Translated: {mapped}/{bits}", real.addr(), real.prefix_len());
    if let Some((proto, real, mapped)) = rule.service {
        let port = |p| ports::port_text(proto, p);
        let (proto, real, mapped) = (ports::proto_text(proto), port(real), port(mapped));
        text.push_str(&format!(
            "\n    Service - Origin: {proto} source eq {real} , Translated: {proto} source eq {mapped} "
        ));
    }
    text
}

/// `show access-list [NAME]`
pub async fn access_list(daemon: &Daemon, name: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let attached = daemon.attached();
    if let Some(name) = name.filter(|name| !config.model.acls.contains_key(*name)) {
        return Err(Stop::Failed(format!("ERROR: access-list <{name}> does not exist")));
    }
    out.note(
        "access-list cached ACL log flows: total 0, denied 0 (deny-flow-max 4096)\n            alert-interval 300\n",
    )
    .await?;
    for (acl, lines) in config.model.acls.iter().filter(|(acl, _)| name.is_none_or(|name| name == *acl)) {
        let elements = lines.iter().filter(|line| matches!(line, AclLine::Ace(_))).count();
        let hash = fnv1a(acl.as_bytes());
        out.note(&format!("access-list {acl}; {elements} elements; name hash: {hash:#x}\n")).await?;
        let mut places: HashMap<u32, u32> = HashMap::new();
        for (at, line) in lines.iter().enumerate() {
            let number = at + 1;
            let AclLine::Ace(ace) = line else {
                out.note(&format!("access-list {acl} line {number} {line}\n")).await?;
                continue;
            };
            let id = ace_id(ace);
            let place = places.entry(id).or_insert(0);
            let slot = daemon.with_slots(|slots| slots.ace(acl, id, *place));
            *place += 1;
            let hits = attached
                .as_ref()
                .zip(slot)
                .map_or(0, |(attached, (slot, base))| attached.counters.ace(slot).saturating_sub(base));
            out.row(
                || {
                    // As the ASA prints `log` alone.
                    let text = ace.to_string();
                    let text = if ace.log { text.replacen(" log", " log informational interval 300", 1) } else { text };
                    let off = if ace.inactive { " (inactive)" } else { "" };
                    format!("access-list {acl} line {number} {text} (hitcnt={hits}){off} {id:#010x}")
                },
                || json!({ "access_list": acl, "line": number, "rule": ace.to_string(), "hits": hits, "hash": id }),
            )
            .await?;
        }
    }
    Ok(())
}
