// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show ipv6 interface [NAMEIF]`: our IPv6 addresses, how duplicate address detection left them, and the groups that go with them.
//!
//! The ASA's layout; behind an address that is not used stands why: `[TENTATIVE]` while it is asked for, `[DUPLICATE]` where somebody
//! else has it. What the dataplane does not list has no port yet.

use fedgate_tables::link::{Addr, ArpRow, Filter, Rows, What};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use super::{attached, listing};
use crate::config::model::Interface;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::interfaces;

/// `show ipv6 interface [NAMEIF]`
pub async fn interface(daemon: &Daemon, only: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let config = daemon.config();
    if let Some(only) = only.filter(|only| config.model.interface(only).is_none()) {
        return Err(Stop::Failed(format!("there is no interface `{only}`")));
    }
    // Each worker lists all addresses; the first, which asks for them, is heard first.
    let mut own: BTreeMap<(u8, Ipv6Addr), String> = BTreeMap::new();
    listing(&attached, What::Neighbors6, Filter::default(), async |rows| {
        if let Rows::Arp(rows) = rows {
            for ArpRow { ifindex, addr, state, .. } in rows {
                if let (Addr::V6(addr), "own" | "tentative" | "duplicate") = (addr, state.as_str()) {
                    own.entry((ifindex, addr)).or_insert(state);
                }
            }
        }
        Ok(())
    })
    .await?;
    for (interface, ifindex) in interfaces(&config.model).zip(0u8..).filter(|(i, _)| i.speaks_ipv6()) {
        let name = interface.nameif.as_deref().unwrap_or_default();
        if only.is_none_or(|only| only == name) {
            let mine: Vec<_> = own
                .range((ifindex, Ipv6Addr::UNSPECIFIED)..)
                .take_while(|((i, _), _)| *i == ifindex)
                .map(|((_, addr), state)| (*addr, state.as_str()))
                .collect();
            out.row(|| text(interface, name, &mine), || json_row(name, &mine)).await?;
        }
    }
    Ok(())
}

fn text(interface: &Interface, name: &str, own: &[(Ipv6Addr, &str)]) -> String {
    let status = if interface.shutdown { "administratively down" } else { "up" };
    let mark = |state: &str| match state {
        "own" => String::new(),
        other => format!(" [{}]", other.to_uppercase()),
    };
    let (local, global): (Vec<_>, Vec<_>) = own.iter().partition(|(addr, _)| addr.is_unicast_link_local());
    let mut lines = vec![format!("{name} is {status}")];
    match local.first() {
        Some((addr, state)) => {
            lines.push(format!("  IPv6 is enabled, link-local address is {addr}{}", mark(state)));
        }
        None => lines.push("  IPv6 is enabled, no link-local address".into()),
    }
    if let Some((_, prefix)) = interface.address6.filter(|_| !global.is_empty()) {
        lines.push("  Global unicast address(es):".into());
        for (addr, state) in &global {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            let net = Ipv6Addr::from(u128::from(*addr) & bits);
            lines.push(format!("    {addr}, subnet is {net}/{prefix}{}", mark(state)));
        }
    }
    lines.push("  Joined group address(es):".into());
    lines.extend(groups(own).iter().map(|group| format!("    {group}")));
    lines.push("  ND DAD is enabled, number of DAD attempts: 1".into());
    lines.join("\n")
}

/// All nodes, all routers, and the solicited-node groups (RFC 4291 2.7.1).
fn groups(own: &[(Ipv6Addr, &str)]) -> Vec<Ipv6Addr> {
    let link_scope = |low: u128| Ipv6Addr::from(0xff02 << 112 | low);
    let solicited = own.iter().map(|(addr, _)| 0x1_ff00_0000 | u128::from(*addr) & 0xff_ffff);
    let mut groups: Vec<_> = [1, 2].into_iter().chain(solicited).map(link_scope).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

fn json_row(name: &str, own: &[(Ipv6Addr, &str)]) -> serde_json::Value {
    let addresses: Vec<_> =
        own.iter().map(|(addr, state)| json!({ "address": addr, "state": state })).collect();
    json!({ "interface": name, "addresses": addresses, "groups": groups(own) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use std::path::Path;

    #[test]
    fn what_is_not_used_is_marked() {
        let config = "interface tap a\n nameif outside\n ipv6 address 2001:db8:1::2/64\n";
        let Ok(loaded) = load(config, "t", Path::new("/")) else { panic!("loads") };
        let interface = interfaces(&loaded.config.model).next().unwrap();
        let [local, global] = ["fe80::fe:ff:fe00:1", "2001:db8:1::2"].map(|a| a.parse().unwrap());
        let said = text(interface, "outside", &[(global, "duplicate"), (local, "own")]);
        let expected = "outside is up\n  IPv6 is enabled, link-local address is fe80::fe:ff:fe00:1\n  \
                        Global unicast address(es):\n    2001:db8:1::2, subnet is 2001:db8:1::/64 [DUPLICATE]\n  \
                        Joined group address(es):\n    ff02::1\n    ff02::2\n    ff02::1:ff00:1\n    ff02::1:ff00:2\n  \
                        ND DAD is enabled, number of DAD attempts: 1";
        assert_eq!(said, expected);
        assert!(text(interface, "outside", &[(local, "tentative")]).contains("fe00:1 [TENTATIVE]"));
    }
}
