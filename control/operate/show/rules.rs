// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show nat`: the rules with the hits that the dataplane counted. Without a dataplane they are shown and hits are zero.

use std::collections::HashMap;

use serde_json::json;

use crate::config::ports;
use crate::config::resolve::{self, Rule};
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;
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
