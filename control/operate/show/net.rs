// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show interface`, `show ip verify statistics`, `show route`, `show arp`. IPv6 has [`super::net6`].

use fedgate_tables::counters::{Counter, InterfaceCounter};
use fedgate_tables::link::{ArpRow, Filter, PortRow, Rows, What};
use serde_json::json;

use super::{IfNames, attached, hms, listing, mac};
use crate::config::model::Interface;
use crate::operate::daemon::{Attached, Daemon};
use crate::operate::run::Stop;
use crate::operate::server::Out;
use crate::policy::interfaces;

/// `show interface [NAMEIF]`
pub async fn interface(daemon: &Daemon, only: Option<&str>, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let config = daemon.config();
    if let Some(only) = only.filter(|only| config.model.interface(only).is_none()) {
        return Err(Stop::Failed(format!("there is no interface `{only}`")));
    }
    let ports = ports(&attached).await?;
    for (interface, ifindex) in interfaces(&config.model).zip(0u8..) {
        let name = interface.nameif.as_deref().unwrap_or_default();
        if only.is_none_or(|only| only == name) {
            let port = ports.iter().find(|port| port.ifindex == ifindex);
            let traffic = traffic(&attached, ifindex);
            out.row(
                || interface_text(interface, name, port, traffic),
                || interface_json(interface, name, port, traffic),
            )
            .await?;
        }
    }
    Ok(())
}

/// The dataplane's ports, at most one an interface.
pub(in crate::operate) async fn ports(attached: &Attached) -> Result<Vec<PortRow>, Stop> {
    let mut ports: Vec<PortRow> = Vec::new();
    listing(attached, What::Ports, Filter::default(), async |rows| {
        if let Rows::Ports(rows) = rows {
            ports.extend(rows);
        }
        Ok(())
    })
    .await?;
    Ok(ports)
}

/// What an interface has counted.
type Traffic = [u64; InterfaceCounter::COUNT];

fn traffic(attached: &Attached, ifindex: u8) -> Traffic {
    std::array::from_fn(|at| attached.counters.sum(Counter::Interface(ifindex, InterfaceCounter::ALL[at])))
}

fn interface_text(interface: &Interface, name: &str, port: Option<&PortRow>, traffic: Traffic) -> String {
    let status = match (interface.shutdown, interface.is_down()) {
        (true, _) => "administratively down",
        (false, true) => "down",
        (false, false) => "up",
    };
    let line = if port.is_some_and(|port| port.link_up) { "up" } else { "down" };
    let hardware = port.map_or("  No port\n".to_owned(), |port| {
        let speed =
            if port.speed_mbps == 0 { "unknown".to_owned() } else { format!("{} Mbps", port.speed_mbps) };
        format!(
            "  Hardware is {} ({}), speed {speed}\n  MAC address {}, MTU {}\n",
            port.driver,
            port.device,
            mac(port.mac),
            interface.mtu
        )
    });
    let address = interface
        .address
        .map_or(String::new(), |(addr, mask)| format!("  IP address {addr}, subnet mask {mask}\n"));
    let [rx, rx_bytes, tx, tx_bytes, missed, rx_errors, no_mbuf, tx_errors, _] = traffic;
    format!(
        "Interface {} \"{name}\", is {status}, line protocol is {line}\n{hardware}{address}  Security level {}\n  \
         {rx} packets input, {rx_bytes} bytes, {no_mbuf} no buffer\n  {rx_errors} input errors, {missed} overrun\n  \
         {tx} packets output, {tx_bytes} bytes\n  {tx_errors} output errors",
        interface.device,
        interface.security()
    )
}

fn interface_json(
    interface: &Interface,
    name: &str,
    port: Option<&PortRow>,
    traffic: Traffic,
) -> serde_json::Value {
    let mut row = json!({
        "name": name, "device": interface.device.to_string(), "shutdown": interface.shutdown,
        "link_up": port.is_some_and(|p| p.link_up), "driver": port.map(|p| &p.driver),
        "mac": port.map(|p| mac(p.mac)), "speed_mbps": port.map(|p| p.speed_mbps), "mtu": interface.mtu,
        "address": interface.address.map(|(a, _)| a), "mask": interface.address.map(|(_, m)| m),
        "security_level": interface.security(),
    });
    for (what, count) in InterfaceCounter::ALL.iter().zip(traffic) {
        row[what.name()] = count.into();
    }
    row
}

/// `show ip verify statistics`: the interfaces with the check.
pub async fn verify_statistics(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let config = daemon.config();
    for (interface, ifindex) in interfaces(&config.model).zip(0u8..).filter(|(i, _)| i.verify_reverse_path) {
        let name = interface.nameif.as_deref().unwrap_or_default();
        let drops = attached.counters.sum(Counter::Interface(ifindex, InterfaceCounter::RpfDrops));
        out.row(
            || format!("interface {name}: {drops} unicast rpf drops"),
            || json!({ "interface": name, "unicast_rpf_drops": drops }),
        )
        .await?;
    }
    Ok(())
}

/// `show route`: static and connected, as configured.
pub async fn route(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let config = daemon.config();
    out.note("Codes: C - connected, S - static, * - default\n\n").await?;
    for interface in interfaces(&config.model) {
        let (Some(net), Some(name)) = (interface.network(), &interface.nameif) else { continue };
        out.row(
            || format!("C        {net} is directly connected, {name}"),
            || json!({ "code": "C", "network": net.addr(), "mask": net.mask(), "interface": name }),
        )
        .await?;
    }
    for route in &config.model.routes {
        let code = if route.net.prefix_len() == 0 { "S*" } else { "S " };
        let (net, metric, gateway, name) = (route.net, route.metric, route.gateway, &route.interface);
        out.row(
            || format!("{code}       {net} [{metric}/0] via {gateway}, {name}"),
            || {
                json!({
                    "code": "S", "network": net.addr(), "mask": net.mask(), "gateway": gateway,
                    "interface": name, "metric": metric,
                })
            },
        )
        .await?;
    }
    Ok(())
}

/// `show arp`
pub async fn arp(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    neighbours(daemon, What::Arp, out).await
}

pub(super) async fn neighbours(daemon: &Daemon, what: What, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let names = IfNames::new(daemon);
    listing(&attached, what, Filter::default(), async |rows| {
        let Rows::Arp(rows) = rows else { return Ok(()) };
        for row in &rows {
            let name = names.name(row.ifindex);
            out.row(|| arp_text(row, name), || arp_json(row, name)).await?;
        }
        Ok(())
    })
    .await
}

fn arp_text(row: &ArpRow, name: &str) -> String {
    format!("\t{name} {} {} {} {}", row.addr, mac(row.mac), row.age_secs, row.state)
}

fn arp_json(row: &ArpRow, name: &str) -> serde_json::Value {
    json!({
        "interface": name, "address": row.addr.to_string(), "mac": mac(row.mac), "age_seconds": row.age_secs,
        "age": hms(row.age_secs), "state": row.state,
    })
}
