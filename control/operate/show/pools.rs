// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show nat pool`: how far the addresses of dynamic NAT are used, in the ASA's layout: a line an address, protocol and range of ports.
//!
//! Every worker has a part of each address's ports; their rows are summed here, one entry an address and protocol in use. `extended`
//! rules keep no ports of their own, so their addresses are not listed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use fedgate_tables::link::{Filter, PoolRow, Rows, What};
use fedgate_tables::policy::{
    NAT_BLOCKS, NAT_FLAT, NAT_INACTIVE, NAT_INCLUDE_RESERVE, NAT_INTERFACE, NatKind,
};
use serde_json::json;

use super::rules::numbered;
use super::{attached, listing, proto_upper};
use crate::config::ports::ICMP;
use crate::config::resolve::Rule;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// Ports of a block are given by so many (`dataplane/flow/src/ports.rs`).
const GRANULE: u32 = 32;

/// `show nat pool`
pub async fn nat_pool(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let config = daemon.config();
    let mut sums: BTreeMap<(u32, u8), PoolRow> = BTreeMap::new();
    listing(&attached, What::Pools, Filter::default(), async |rows| {
        let Rows::Pools(rows) = rows else { return Ok(()) };
        for row in rows {
            add(
                sums.entry((row.addr, row.proto)).or_insert_with(|| PoolRow {
                    addr: row.addr,
                    proto: row.proto,
                    ..PoolRow::default()
                }),
                &row,
            );
        }
        Ok(())
    })
    .await?;
    let rules: Vec<Rule> = numbered(daemon, &config.model).map(|(rule, _)| rule).filter(is_dynamic).collect();
    let block =
        daemon.config().model.block_size.unwrap_or(fedgate_tables::policy::Globals::default().block_size);
    for row in sums.values() {
        for line in lines(row, &rules, block) {
            out.row(|| line.text(), || line.json()).await?;
        }
    }
    Ok(())
}

fn add(sum: &mut PoolRow, row: &PoolRow) {
    for (sum, more) in sum.allocated.iter_mut().zip(row.allocated) {
        *sum += more;
    }
    sum.block_ports += row.block_ports;
}

fn is_dynamic(rule: &Rule) -> bool {
    matches!(rule.kind, NatKind::Dynamic | NatKind::DynamicPat) && rule.flags & NAT_INACTIVE == 0
}

/// One line: a range of ports of an address, or the addresses of a pool.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// IP protocol; 0 for a pool of addresses.
    proto: u8,
    name: String,
    addrs: [u32; 2],
    ports: [u16; 2],
    allocated: u32,
    /// Blocks, and the ports of each, on the last line of an address that has them.
    blocks: Option<(u32, u32)>,
}

/// The lines of an address.
fn lines(row: &PoolRow, rules: &[Rule], block: u32) -> Vec<Line> {
    if row.proto == 0 {
        let within = |rule: &Rule| {
            let spans = rule
                .pool
                .iter()
                .map(|[first, last]| [*first.max(&row.addr), *last.min(&(row.addr | 0xffff))]);
            spans.filter(|[first, last]| first <= last).collect::<Vec<_>>()
        };
        let rules = rules.iter().filter(|rule| rule.kind == NatKind::Dynamic);
        let line = |name: &str, addrs| Line {
            proto: 0,
            name: name.to_owned(),
            addrs,
            ports: [0, 0],
            allocated: row.allocated.iter().sum(),
            blocks: None,
        };
        return rules
            .flat_map(|rule| within(rule).into_iter().map(|addrs| line(name_of(rule), addrs)))
            .collect();
    }
    let rule = rules.iter().find(|rule| shows_by_port(rule, row.addr));
    let flags = rule.map_or(0, |rule| rule.flags);
    let [low, middle, high] = row.allocated;
    let parts = if row.proto == ICMP || flags & NAT_INCLUDE_RESERVE != 0 {
        vec![([1, 65535], low + middle + high)]
    } else if flags & NAT_FLAT != 0 {
        vec![([1024, 65535], low + middle + high)]
    } else {
        vec![([1, 511], low), ([512, 1023], middle), ([1024, 65535], high)]
    };
    let last = parts.len() - 1;
    let line = |(at, (ports, allocated))| Line {
        proto: row.proto,
        name: rule.map_or("?", name_of).to_owned(),
        addrs: [row.addr; 2],
        ports,
        allocated,
        blocks: (at == last && flags & NAT_BLOCKS != 0).then(|| {
            let size = block.div_ceil(GRANULE) * GRANULE;
            (row.block_ports / size, size)
        }),
    };
    parts.into_iter().enumerate().map(line).collect()
}

fn shows_by_port(rule: &Rule, addr: u32) -> bool {
    let [first, last] = rule.mapped;
    let own = (rule.pool.is_empty() || rule.flags & NAT_INTERFACE != 0) && (first..=last).contains(&addr);
    let pool = rule.kind == NatKind::DynamicPat
        && rule.pool.iter().any(|[first, last]| (*first..=*last).contains(&addr));
    own || pool
}

/// What the ASA calls the pool of a rule: one without a name is called by the interface.
fn name_of(rule: &Rule) -> &str {
    match rule.pool_name.as_str() {
        "" => rule.mapped_if.as_deref().unwrap_or("any"),
        name => name,
    }
}

impl Line {
    fn text(&self) -> String {
        let Self { proto, name, addrs, ports, allocated, blocks } = self;
        let [first, last] = addrs.map(Ipv4Addr::from);
        if *proto == 0 {
            return format!("NAT pool {name}, range {first}-{last}, allocated {allocated}");
        }
        let blocks =
            blocks.map_or(String::new(), |(blocks, size)| format!(", blocks {blocks} of {size} ports"));
        let [from, to] = ports;
        let proto = proto_upper(*proto);
        format!("{proto} PAT pool {name}, address {first}, range {from}-{to}, allocated {allocated}{blocks}")
    }

    fn json(&self) -> serde_json::Value {
        let [first, last] = self.addrs.map(Ipv4Addr::from);
        let kind = if self.proto == 0 { "nat" } else { "pat" };
        json!({
            "kind": kind, "pool": self.name, "protocol": crate::config::ports::proto_text(self.proto),
            "first_address": first, "last_address": last, "first_port": self.ports[0], "last_port": self.ports[1],
            "allocated": self.allocated, "blocks": self.blocks.map(|(blocks, _)| blocks),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::model;

    fn texts(config: &str, row: &PoolRow) -> Vec<String> {
        let model = model(config);
        let rules: Vec<Rule> = crate::config::resolve::rules(&model)
            .into_iter()
            .filter_map(|(_, rule)| rule.ok())
            .filter(is_dynamic)
            .collect();
        lines(row, &rules, 512).iter().map(Line::text).collect()
    }

    const INTERFACES: &str = "interface tap a\n nameif outside\n ip address 203.0.113.2 255.255.255.0\n\
                              interface tap b\n nameif inside\n ip address 10.0.0.1 255.255.255.0\n\
                              object network lan\n subnet 10.0.0.0 255.255.255.0\n\
                              object network pub\n range 203.0.113.8 203.0.113.15\n";

    fn row(addr: &str, proto: u8) -> PoolRow {
        let addr: Ipv4Addr = addr.parse().unwrap();
        PoolRow { addr: addr.into(), proto, allocated: [1, 2, 3], block_ports: 1024 }
    }

    /// The layouts of the ASA's command reference.
    #[test]
    fn a_line_an_address_protocol_and_range() {
        let nat = |rest: &str| format!("{INTERFACES}nat (inside,outside) source dynamic lan {rest}\n");
        assert_eq!(
            texts(&nat("interface"), &row("203.0.113.2", 6)),
            [
                "TCP PAT pool outside, address 203.0.113.2, range 1-511, allocated 1",
                "TCP PAT pool outside, address 203.0.113.2, range 512-1023, allocated 2",
                "TCP PAT pool outside, address 203.0.113.2, range 1024-65535, allocated 3",
            ]
        );
        assert_eq!(
            texts(&nat("interface"), &row("203.0.113.2", 1)),
            ["ICMP PAT pool outside, address 203.0.113.2, range 1-65535, allocated 6"]
        );
        assert_eq!(
            texts(&nat("pat-pool pub flat block-allocation"), &row("203.0.113.9", 17)),
            ["UDP PAT pool pub, address 203.0.113.9, range 1024-65535, allocated 6, blocks 2 of 512 ports"]
        );
        assert_eq!(
            texts(&nat("pub"), &row("203.0.0.0", 0)),
            ["NAT pool pub, range 203.0.113.8-203.0.113.15, allocated 6"]
        );
        // The 8.2 form names no object.
        let old = "nat (inside) 1 10.0.0.0 255.255.255.0\nglobal (outside) 1 203.0.113.9\n";
        assert_eq!(
            texts(&format!("{INTERFACES}{old}"), &row("203.0.113.9", 6))[0],
            "TCP PAT pool outside, address 203.0.113.9, range 1-511, allocated 1"
        );
        // An address whose rule has gone, with connections that have not.
        assert!(
            texts(INTERFACES, &row("203.0.113.9", 17))[0].starts_with("UDP PAT pool ?, address 203.0.113.9,")
        );
    }

    #[test]
    fn workers_are_summed() {
        let mut sum = PoolRow::default();
        for _ in 0..2 {
            add(&mut sum, &row("203.0.113.9", 6));
        }
        assert_eq!((sum.allocated, sum.block_ports), ([2, 4, 6], 2048));
    }
}
