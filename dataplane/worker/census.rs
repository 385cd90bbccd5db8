// SPDX-License-Identifier: MIT OR Apache-2.0
//! Listings of what is counted, not of what is kept: pools, classes, and hosts by their connections.
//!
//! A host's connections are anywhere in the table, and a worker keeps no count of hosts: a page sums up the hosts of a few
//! hundred entries, and control adds the pages up. So no page costs more than some tens of microseconds, however many connections there
//! are. Worker core, at an operator's pace; called by [`super::command`].

use super::command::{AMONG_V6, Dump, begin6};
use super::net::Net;
use super::runtime::View;
use fedgate_flow::conn::{ConnId, Dir};
use fedgate_flow::key::{TCP, UDP};
use fedgate_flow::limits::{is_embryonic, is_embryonic6};
use fedgate_tables::link::{Addr, ClassRow, HostRow, PoolRow, Rows};

/// Pools in a page.
const POOLS: usize = 64;
/// Entries of a connection table looked at for a page of hosts.
const ENTRIES: usize = 256;

/// A page of pools.
pub(super) fn pools(dump: &Dump, net: &Net) -> (Rows, Option<u32>) {
    let (pools, next) = net.flow.xlates.pools(dump.cursor, POOLS);
    let row = |pool: fedgate_flow::xlate::PoolUse| PoolRow {
        addr: pool.addr,
        proto: pool.proto,
        allocated: pool.allocated,
        block_ports: pool.block_ports,
    };
    (Rows::Pools(pools.into_iter().map(row).collect()), next)
}

/// The classes with connection settings: at most [`fedgate_tables::policy::MAX_CLASS_SLOTS`].
pub(super) fn classes(net: &Net, view: &View<'_>) -> Rows {
    let row = |class: &fedgate_tables::policy::ServiceClass| {
        let count = net.flow.limits.class(class.slot as u8);
        ClassRow {
            slot: class.slot,
            conns: count.conns,
            embryonic: count.embryonic,
            refused: net.flow.limits.refused(class.slot as u8),
        }
    };
    Rows::Classes(view.flow.classes.iter().filter(|class| class.has_settings()).map(row).collect())
}

/// A page of hosts: sums over some connections.
pub(super) fn hosts(dump: &Dump, net: &Net, view: &View<'_>) -> (Rows, Option<u32>) {
    let (ends, next) = if dump.cursor & AMONG_V6 == 0 {
        let (found, next) = net.flow.conns.page(dump.cursor, ENTRIES, ENTRIES, |_| true);
        let ends: Vec<HostRow> = found.into_iter().flat_map(|id| ends(net, view, id)).collect();
        (ends, next.or(begin6(net)))
    } else {
        let (found, next) = net.flow.conns6.page(dump.cursor & !AMONG_V6, ENTRIES, ENTRIES, |_| true);
        let ends = found.into_iter().flat_map(|id| ends6(net, view, id)).collect();
        (ends, next.map(|next| next | AMONG_V6))
    };
    (Rows::Hosts(summed(ends, dump.filter.address)), next)
}

/// Rows of the same host made one; only of `wanted`, where that is said.
fn summed(mut rows: Vec<HostRow>, wanted: Option<Addr>) -> Vec<HostRow> {
    rows.retain(|row| wanted.is_none_or(|wanted| wanted == row.addr));
    rows.sort_unstable_by_key(|row| (row.ifindex, row.addr));
    rows.dedup_by(|row, sum| {
        let same = (row.ifindex, row.addr) == (sum.ifindex, sum.addr);
        if same {
            sum.add(row);
        }
        same
    });
    rows
}

fn ends(net: &Net, view: &View<'_>, id: ConnId) -> [HostRow; 2] {
    let hot = net.flow.conns.hot(id);
    let (called, shown) = (hot.key(Dir::Forward), hot.leaves_as(Dir::Forward));
    let ends = [called.src.into(), shown.dst.into()];
    pair(ends, hot.iface, hot.proto, is_embryonic(hot), limit(view, hot.class))
}

fn ends6(net: &Net, view: &View<'_>, id: ConnId) -> [HostRow; 2] {
    let hot = net.flow.conns6.hot(id);
    let key = hot.key();
    let ends = [key.src.into(), key.dst.into()];
    pair(ends, hot.iface, hot.proto, is_embryonic6(hot), limit(view, hot.class))
}

fn pair(addrs: [Addr; 2], iface: [u8; 2], proto: u8, embryonic: bool, limit: u32) -> [HostRow; 2] {
    let row = |end: usize| HostRow {
        ifindex: iface[end],
        addr: addrs[end],
        tcp: u32::from(proto == TCP),
        udp: u32::from(proto == UDP),
        other: u32::from(proto != TCP && proto != UDP),
        embryonic: u32::from(embryonic && end == 1),
        limit: if end == 0 { limit } else { 0 },
    };
    [row(0), row(1)]
}

/// `per-client-max` of the class with this slot; 0 for none.
fn limit(view: &View<'_>, slot: u8) -> u32 {
    let class = view.flow.classes.iter().find(|class| class.has_settings() && class.slot == u32::from(slot));
    class.map_or(0, |class| class.per_client_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_host_are_summed_and_others_left_out() {
        let host = |addr: u32, limit| HostRow { addr: addr.into(), tcp: 1, limit, ..HostRow::default() };
        let rows = vec![host(1, 0), host(2, 9), host(1, 5), host(1, 7)];
        let one = HostRow { tcp: 3, ..host(1, 5) };
        assert_eq!(summed(rows.clone(), None), [one.clone(), host(2, 9)]);
        assert_eq!(summed(rows, Some(1u32.into())), [one]);
    }
}
