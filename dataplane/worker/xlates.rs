// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show xlate` and `clear xlate`: a worker's translations, a page at a time.
//!
//! As on the ASA, clearing a translation ends the connections that use it: those come first, then the translations, which nobody uses any
//! more. A connection that a static rule translates has no entry here; it is ended all the same. Worker core, at an operator's pace.

use super::clock::Now;
use super::command::{self, Clear, Dump, PAGE, SCAN};
use super::net::Net;
use super::proxied::Sessions;
use super::runtime::View;
use fedgate_flow::TICKS;
use fedgate_flow::conn::{Dir, Hot};
use fedgate_flow::key::{TCP, UDP};
use fedgate_flow::xlate::Xlate;
use fedgate_tables::counters::Stat;
use fedgate_tables::link::{Addr, Filter, Rows, XlateRow};

/// In a cursor for clearing: among translations, which follow connections. (No table has so many entries.)
const AMONG_XLATES: u32 = 1 << 31;

/// A page of them.
pub(super) fn page(dump: &Dump, net: &Net, view: &View<'_>, now: Now) -> (Rows, Option<u32>) {
    let (found, next) = net.flow.xlates.page(dump.cursor, PAGE, SCAN);
    let rows = found.into_iter().filter(|x| is_wanted(&dump.filter, x)).map(|x| XlateRow {
        proto: x.proto,
        real_if: x.real_if,
        real: x.real,
        real_port: x.real_port,
        mapped_if: x.mapped_if,
        mapped: x.mapped,
        mapped_port: x.mapped_port,
        flags: if x.proto == TCP || x.proto == UDP { "ri".into() } else { "i".into() },
        idle_secs: x.idle_since().map_or(0, |since| now.tick().wrapping_sub(since) / TICKS),
        timeout_secs: match x.is_one_to_one() {
            true => view.flow.globals.timeout_xlate,
            false => view.flow.globals.timeout_pat_xlate,
        },
        conns: x.conns(),
    });
    (Rows::Xlates(rows.collect()), next)
}

/// Ends what is asked for among a bounded number of entries. Gives how many translations that were, and where to go on.
pub(super) fn clear(
    clear: &Clear,
    net: &mut Net,
    sessions: &mut Sessions,
    view: &View<'_>,
    now: Now,
) -> (u64, Option<u32>) {
    let filter = &clear.filter;
    if clear.cursor & AMONG_XLATES == 0 {
        let (found, next) = net.flow.conns.page(clear.cursor, PAGE, SCAN, |hot| uses(filter, hot));
        for id in found {
            command::end(id, net, sessions, view, now);
        }
        return (0, next.or(Some(AMONG_XLATES)));
    }
    let from = clear.cursor & !AMONG_XLATES;
    let (ended, next) = net.flow.xlates.clear_idle(from, SCAN, |x| is_wanted(filter, x));
    net.counters.add(Stat::XlatesTornDown, ended.into());
    (ended.into(), next.map(|next| next | AMONG_XLATES))
}

fn is_wanted(filter: &Filter, x: &Xlate) -> bool {
    // One of a whole address has neither protocol nor port.
    filter.proto.is_none_or(|proto| proto == x.proto)
        && filter.address.is_none_or(|addr| [x.real, x.mapped].map(Addr::V4).contains(&addr))
        && filter.port.is_none_or(|port| port == x.real_port || port == x.mapped_port)
}

/// Whether a connection uses a translation that is asked for: of either end.
fn uses(filter: &Filter, hot: &Hot) -> bool {
    let (called, shown) = (hot.key(Dir::Forward), hot.leaves_as(Dir::Forward));
    let ends = [
        ([called.src, shown.src], [called.sport, shown.sport]),
        ([called.dst, shown.dst], [called.dport, shown.dport]),
    ];
    filter.proto.is_none_or(|proto| proto == hot.proto)
        && ends.iter().any(|(addrs, ports)| {
            (addrs[0] != addrs[1] || ports[0] != ports[1])
                && filter.address.is_none_or(|addr| addrs.map(Addr::V4).contains(&addr))
                && filter.port.is_none_or(|port| ports.contains(&port))
        })
}
