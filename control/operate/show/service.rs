// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show service-policy`: the classes in order, each with what it does and what that has come to, in the ASA's layout.
//!
//! Connections of a class are summed over the workers, and so are the first packets that were dropped at its bounds. What the TLS proxy
//! did is told by its sessions of now. What keeps counts has a line of its own under what sets it, and so has each parameter and
//! rule of an inspect map.

use std::collections::{BTreeMap, HashMap};

use fedgate_tables::counters::Counter;
use fedgate_tables::link::{ClassRow, Filter, Rows, What};
use serde_json::json;

use super::{attached, listing};
use crate::config::model::{Connections, InspectSip, PolicyClass};
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// What the sessions of one TLS proxy have come to.
#[derive(Clone, Copy, Debug, Default)]
struct Proxied {
    sessions: u64,
    messages: u64,
    denied: u64,
    bytes: u64,
}

/// `show service-policy`
pub async fn service_policy(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let config = daemon.config();
    let model = &config.model;
    let Some((name, classes)) =
        model.service_policy.as_ref().and_then(|name| Some((name, model.policy_maps.get(name)?)))
    else {
        return Ok(out.note("no service-policy is in force\n").await?);
    };
    let mut counts: BTreeMap<u32, ClassRow> = BTreeMap::new();
    listing(&attached, What::Classes, Filter::default(), async |rows| {
        let Rows::Classes(rows) = rows else { return Ok(()) };
        for row in rows {
            let sum = counts.entry(row.slot).or_default();
            sum.conns += row.conns;
            sum.embryonic += row.embryonic;
            sum.refused += row.refused;
        }
        Ok(())
    })
    .await?;
    let mut proxied: HashMap<u32, Proxied> = HashMap::new();
    listing(&attached, What::Proxy, Filter::default(), async |rows| {
        let Rows::Proxy(rows) = rows else { return Ok(()) };
        for row in rows {
            let sum = proxied.entry(row.tls_proxy).or_default();
            sum.sessions += 1;
            sum.messages += row.messages_in + row.messages_out;
            sum.denied += row.denied;
            sum.bytes += row.bytes_in + row.bytes_out;
        }
        Ok(())
    })
    .await?;
    let proxies = crate::policy::proxies(model);
    out.note(&format!("Global policy:\n  Service-policy: {name}\n")).await?;
    for class in classes {
        let slot = daemon.with_slots(|slots| slots.classes.get(&class.class).copied());
        let count = slot.and_then(|slot| counts.get(&slot)).cloned().unwrap_or_default();
        let at = |inspect: &InspectSip| {
            proxies.iter().position(|one| *one == (inspect.tls_proxy.as_str(), inspect.map.as_deref()))
        };
        let place = class.inspect.as_ref().and_then(at);
        let proxy = place.and_then(|at| proxied.get(&(at as u32))).copied().unwrap_or_default();
        out.row(|| text(class, &count, proxy), || as_json(class, &count, proxy)).await?;
        if let Some(map) = class.inspect.as_ref().and_then(|inspect| inspect.map.as_deref()) {
            rules(daemon, map, out).await?;
        }
    }
    Ok(())
}

/// The parameters and rules of an inspect map, each with its hits; of all classes that use the map.
async fn rules(daemon: &Daemon, map: &str, out: &mut Out) -> Result<(), Stop> {
    let (config, attached) = (daemon.config(), attached(daemon)?);
    let Some(rules) = config.model.inspect_maps.get(map) else { return Ok(()) };
    let parameters = rules.parameters.set().map(|(text, action)| (text.to_owned(), action));
    let rules = rules.rules.iter().filter_map(|rule| Some((rule.subject.to_string(), rule.action?)));
    for (line, action) in parameters.chain(rules) {
        let key = (map.to_owned(), line);
        let slot = daemon.with_slots(|slots| slots.rules.get(&key).copied());
        let hits = slot.map_or(0, |slot| attached.counters.sum(Counter::Inspect(slot)));
        let line = key.1;
        out.row(
            || format!("        {line}\n          {action}, packet {hits}"),
            || json!({ "map": map, "line": line, "action": action.to_string(), "hits": hits }),
        )
        .await?;
    }
    Ok(())
}

fn text(class: &PolicyClass, count: &ClassRow, proxy: Proxied) -> String {
    let mut text = format!("    Class-map: {}", class.class);
    let mut line = |indent: usize, words: &str| text.push_str(&format!("\n{:indent$}{words}", ""));
    if let Some(inspect) = &class.inspect {
        let map = inspect.map.as_ref().map_or(String::new(), |map| format!(" {map}"));
        let Proxied { sessions, messages, denied, bytes } = proxy;
        line(
            6,
            &format!("Inspect: sip{map} tls-proxy {}, packet {messages}, drop {denied}", inspect.tls_proxy),
        );
        line(8, &format!("tls-proxy: active sess {sessions}, byte {bytes}"));
    }
    let set = &class.connections;
    let bounds = bounds(set);
    if !bounds.is_empty() {
        let words: String = bounds.iter().map(|(name, most)| format!(" {name} {most}")).collect();
        line(6, &format!("Set connection policy:{words}"));
    }
    if *set != Connections::default() {
        let ClassRow { conns, embryonic, refused, .. } = count;
        line(8, &format!("current embryonic conns {embryonic}, current conns {conns}, drop {refused}"));
    }
    let timers = [("idle", set.idle), ("half-closed", set.half_closed), ("embryonic", set.embryonic)];
    let timers: String =
        timers.iter().filter_map(|(name, timer)| timer.map(|timer| format!(" {name} {timer}"))).collect();
    if !timers.is_empty() {
        line(6, &format!("Set connection timeout policy:{timers}"));
    }
    if set.bypass {
        line(6, "Set connection advanced-options: tcp-state-bypass");
    }
    text
}

/// The bounds that are set.
fn bounds(set: &Connections) -> Vec<(&'static str, u32)> {
    let all = [
        ("conn-max", set.conn_max),
        ("embryonic-conn-max", set.embryonic_max),
        ("per-client-max", set.per_client_max),
        ("per-client-embryonic-max", set.per_client_embryonic_max),
    ];
    all.into_iter().filter_map(|(name, most)| most.map(|most| (name, most))).collect()
}

fn as_json(class: &PolicyClass, count: &ClassRow, proxy: Proxied) -> serde_json::Value {
    let limits: BTreeMap<&str, u32> = bounds(&class.connections).into_iter().collect();
    json!({
        "class": class.class, "tls_proxy": class.inspect.as_ref().map(|inspect| &inspect.tls_proxy),
        "sessions": proxy.sessions, "messages": proxy.messages, "denied": proxy.denied, "bytes": proxy.bytes,
        "limits": limits, "conns": count.conns, "embryonic": count.embryonic, "drops": count.refused,
        "tcp_state_bypass": class.connections.bypass,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::Seconds;

    #[test]
    fn the_layout_is_the_asas() {
        let class = PolicyClass {
            class: "federation-in".into(),
            inspect: Some(InspectSip { map: Some("sip_inspect".into()), tls_proxy: "inward".into() }),
            connections: Connections {
                conn_max: Some(100),
                per_client_max: Some(5),
                idle: Some(Seconds(7500)),
                bypass: true,
                ..Connections::default()
            },
        };
        let count = ClassRow { slot: 0, conns: 7, embryonic: 2, refused: 3 };
        let proxy = Proxied { sessions: 4, messages: 40, denied: 1, bytes: 9000 };
        assert_eq!(
            text(&class, &count, proxy),
            "    Class-map: federation-in\n      \
             Inspect: sip sip_inspect tls-proxy inward, packet 40, drop 1\n        \
             tls-proxy: active sess 4, byte 9000\n      \
             Set connection policy: conn-max 100 per-client-max 5\n        \
             current embryonic conns 2, current conns 7, drop 3\n      \
             Set connection timeout policy: idle 2:05:00\n      \
             Set connection advanced-options: tcp-state-bypass"
        );
        let plain = PolicyClass { inspect: None, connections: Connections::default(), ..class };
        assert_eq!(text(&plain, &count, proxy), "    Class-map: federation-in");
    }
}
