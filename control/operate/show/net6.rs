// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show ipv6 route`, `show ipv6 interface`, `show ipv6 neighbor`, in the ASA's layouts.
//!
//! Routes are the configuration's and need no dataplane; which link-local address an interface has made of its MAC is the dataplane's to say.

use fedgate_tables::link::{Addr, Filter, PortRow, Rows, What};
use serde_json::json;
use std::net::Ipv6Addr;

use super::net::{neighbours, ports};
use super::{attached, listing};
use crate::config::model::{Interface, Model};
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::interfaces;

/// `show ipv6 neighbor`
pub async fn neighbor(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    neighbours(daemon, What::Neighbors6, out).await
}

/// A route, as a line and what it hangs on.
#[derive(Debug, PartialEq, Eq)]
struct Way<'m> {
    code: char,
    net: String,
    metric: u8,
    gateway: Ipv6Addr,
    interface: &'m str,
}

impl Way<'_> {
    fn text(&self) -> String {
        let Self { code, net, metric, gateway, interface } = self;
        format!("{code}   {net} [{metric}/0]\n     via {gateway}, {interface}")
    }
}

/// Connected networks with our own addresses in them, then what is static.
fn ways(model: &Model) -> Vec<Way<'_>> {
    let own = interfaces(model).flat_map(|interface| {
        let name = interface.nameif.as_deref().unwrap_or_default();
        let way = |code, net| Way { code, net, metric: 0, gateway: Ipv6Addr::UNSPECIFIED, interface: name };
        let connected = interface.network6().map(|net| way('C', net.to_string()));
        let local = interface.address6.map(|(addr, _)| way('L', format!("{addr}/128")));
        connected.into_iter().chain(local)
    });
    let fixed = model.routes6.iter().map(|route| Way {
        code: 'S',
        net: route.net.to_string(),
        metric: route.metric,
        gateway: route.gateway,
        interface: &route.interface,
    });
    own.chain(fixed).collect()
}

/// `show ipv6 route`
pub async fn route(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    let ways = ways(&config.model);
    let entries = ways.len();
    out.note(&format!(
        "IPv6 Routing Table - {entries} entries\nCodes: C - Connected, L - Local, S - Static\n"
    ))
    .await?;
    for way in ways {
        let Way { code, net, metric, gateway, interface } = &way;
        let json = || json!({ "code": code.to_string(), "network": net, "gateway": gateway, "interface": interface, "metric": metric });
        out.row(|| way.text(), json).await?;
    }
    Ok(())
}

/// `show ipv6 interface [NAMEIF]`
pub async fn interface(daemon: &Daemon, only: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let config = daemon.config();
    if let Some(only) = only.filter(|only| config.model.interface(only).is_none()) {
        return Err(Stop::Failed(format!("there is no interface `{only}`")));
    }
    let ports = ports(&attached).await?;
    let mut own: Vec<(u8, Ipv6Addr)> = Vec::new();
    listing(&attached, What::Neighbors6, Filter::default(), async |rows| {
        let Rows::Arp(rows) = rows else { return Ok(()) };
        own.extend(rows.iter().filter(|row| row.state == "own").filter_map(|row| match row.addr {
            Addr::V6(addr) if addr.is_unicast_link_local() => Some((row.ifindex, addr)),
            Addr::V6(_) | Addr::V4(_) => None,
        }));
        Ok(())
    })
    .await?;
    for (interface, ifindex) in interfaces(&config.model).zip(0u8..) {
        let name = interface.nameif.as_deref().unwrap_or_default();
        if only.is_none_or(|only| only == name) {
            let port = ports.iter().find(|port| port.ifindex == ifindex);
            let link_local = own.iter().find(|(at, _)| *at == ifindex).map(|(_, addr)| *addr);
            let json = || {
                json!({
                    "interface": name, "enabled": link_local.is_some(), "link_local": link_local,
                    "address": interface.address6.map(|(addr, _)| addr), "prefix_length": interface.address6.map(|(_, len)| len),
                })
            };
            out.row(|| interface_text(interface, name, port, link_local), json).await?;
        }
    }
    Ok(())
}

fn interface_text(
    interface: &Interface,
    name: &str,
    port: Option<&PortRow>,
    own: Option<Ipv6Addr>,
) -> String {
    let status = if interface.shutdown { "administratively down" } else { "up" };
    let line = if port.is_some_and(|port| port.link_up) { "up" } else { "down" };
    let enabled = own.map_or("  IPv6 is disabled".to_owned(), |own| {
        format!("  IPv6 is enabled, link-local address is {own}")
    });
    let global = match (interface.address6, interface.network6()) {
        (Some((addr, _)), Some(net)) => {
            format!("\n  Global unicast address(es):\n    {addr}, subnet is {net}")
        }
        _ if own.is_some() => "\n  No global unicast address is configured".to_owned(),
        _ => String::new(),
    };
    format!("{name} is {status}, line protocol is {line}\n{enabled}{global}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::model;

    const CONFIG: &str = "interface tap a\n nameif outside\n ip address 203.0.113.2 255.255.255.0\n ipv6 address 2001:db8:1::1/64\n\
                          interface tap b\n nameif inside\n ip address 10.0.0.1 255.255.255.0\n\
                          ipv6 route outside ::/0 fe80::1\n";

    #[test]
    fn layouts_are_the_asas() {
        let model = model(CONFIG);
        let text: Vec<String> = ways(&model).iter().map(Way::text).collect();
        assert_eq!(
            text,
            [
                "C   2001:db8:1::/64 [0/0]\n     via ::, outside",
                "L   2001:db8:1::1/128 [0/0]\n     via ::, outside",
                "S   ::/0 [1/0]\n     via fe80::1, outside",
            ]
        );
        let [outside, inside] = &model.interfaces[..] else { panic!() };
        let up = PortRow { link_up: true, ..PortRow::default() };
        assert_eq!(
            interface_text(outside, "outside", Some(&up), Some("fe80::2".parse().unwrap())),
            "outside is up, line protocol is up\n  IPv6 is enabled, link-local address is fe80::2\n  \
             Global unicast address(es):\n    2001:db8:1::1, subnet is 2001:db8:1::/64"
        );
        assert_eq!(
            interface_text(inside, "inside", None, None),
            "inside is up, line protocol is down\n  IPv6 is disabled"
        );
    }
}
