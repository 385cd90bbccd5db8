// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show local-host`: the hosts that have connections, by interface, in the ASA's layout.
//!
//! The dataplane keeps no table of hosts. It sums up its connections page by page, each page a few hundred entries, and the pages are
//! added up here: one entry a host, at most [`MAX_HOSTS`]. With an address only that host's come, followed by its translations
//! and its connections, which are streamed as they come.

use std::collections::{BTreeMap, btree_map::Entry};
use std::net::IpAddr;

use fedgate_tables::link::{Addr, Filter, HostRow, Rows, What};
use serde_json::json;

use super::conn::{Layout, conn_json, conn_text, xlate_json, xlate_text};
use super::{IfNames, attached, listing};
use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::operate::daemon::Daemon;
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// Hosts that are added up for one command.
const MAX_HOSTS: usize = 1_000_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostQuery {
    address: Option<IpAddr>,
    /// No translations and connections.
    brief: bool,
    /// Connections in full.
    detail: bool,
    /// Only hosts with so many of a kind.
    connection: Option<(Kind, [u32; 2])>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tcp,
    Udp,
    Embryonic,
}

impl HostQuery {
    /// `[A] [all|brief|detail] [connection {tcp|udp|embryonic} [LEAST[-MOST]]]`
    pub fn parse(args: &mut Args<'_, '_>) -> Result<Self, Problem> {
        let mut query = Self::default();
        let words = ["all", "brief", "detail", "connection"];
        if args.peek().is_some_and(|word| !words.contains(&word)) {
            query.address = Some(args.parsed("an address, all, brief, detail or connection", str::parse)?);
        }
        while args.peek().is_some() {
            match args.one_of(&words)? {
                0 => {} // to the appliance itself there are none that are kept
                1 => query.brief = true,
                2 => query.detail = true,
                _ => {
                    let kind =
                        [Kind::Tcp, Kind::Udp, Kind::Embryonic][args.one_of(&["tcp", "udp", "embryonic"])?];
                    let counts = args.peek().filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
                    let span = match counts {
                        Some(_) => args.parsed("a number of connections, or two as N-M", span)?,
                        None => [1, u32::MAX],
                    };
                    query.connection = Some((kind, span));
                }
            }
        }
        Ok(query)
    }

    fn takes(&self, host: &HostRow) -> bool {
        self.connection.is_none_or(|(kind, [least, most])| {
            let count = match kind {
                Kind::Tcp => host.tcp,
                Kind::Udp => host.udp,
                Kind::Embryonic => host.embryonic,
            };
            (least..=most).contains(&count)
        })
    }
}

fn span(word: &str) -> Result<[u32; 2], &'static str> {
    const SHAPE: &str = "a number, or two as 10-20";
    let number = |word: &str| word.parse::<u32>().map_err(|_| SHAPE);
    match word.split_once('-') {
        Some((least, most)) => {
            let span = [number(least)?, number(most)?];
            if span[0] <= span[1] { Ok(span) } else { Err(SHAPE) }
        }
        None => Ok([number(word)?, u32::MAX]),
    }
}

/// `show local-host`
pub async fn local_host(daemon: &Daemon, query: HostQuery, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let names = IfNames::new(daemon);
    let filter = Filter { address: query.address.map(Addr::from), ..Filter::default() };
    let mut hosts: BTreeMap<(u8, Addr), HostRow> = BTreeMap::new();
    let mut left_out = 0u64;
    listing(&attached, What::Hosts, filter.clone(), async |rows| {
        let Rows::Hosts(rows) = rows else { return Ok(()) };
        for row in rows {
            let full = hosts.len() >= MAX_HOSTS;
            match hosts.entry((row.ifindex, row.addr)) {
                Entry::Occupied(sum) => sum.into_mut().add(&row),
                Entry::Vacant(_) if full => left_out += 1,
                Entry::Vacant(place) => drop(place.insert(row)),
            }
        }
        Ok(())
    })
    .await?;
    hosts.retain(|_, host| query.takes(host));
    for ifindex in 0..names.count() {
        let active = hosts.range((ifindex, Addr::V4(0))..).take_while(|((at, _), _)| *at == ifindex).count();
        out.note(&format!("Interface {}: {active} active\n", names.name(ifindex))).await?;
        let of_interface = hosts.range((ifindex, Addr::V4(0))..).take_while(|((at, _), _)| *at == ifindex);
        for (_, host) in of_interface {
            out.row(|| text(host), || as_json(host, &names)).await?;
        }
    }
    if left_out > 0 {
        out.note(&format!("(more than {MAX_HOSTS} hosts: the others are left out; name one)\n")).await?;
    }
    if query.address.is_none() || query.brief || hosts.is_empty() {
        return Ok(());
    }
    out.note("\n  Xlate:\n").await?;
    listing(&attached, What::Xlates, filter.clone(), async |rows| {
        let Rows::Xlates(rows) = rows else { return Ok(()) };
        for row in &rows {
            out.row(|| format!("    {}", xlate_text(row, &names)), || xlate_json(row, &names)).await?;
        }
        Ok(())
    })
    .await?;
    out.note("\n  Conn:\n").await?;
    let layout = if query.detail { Layout::Detail } else { Layout::Short };
    listing(&attached, What::Conns, filter, async |rows| {
        let Rows::Conns(rows) = rows else { return Ok(()) };
        for row in &rows {
            out.row(|| format!("    {}", conn_text(row, &names, layout)), || conn_json(row, &names)).await?;
        }
        Ok(())
    })
    .await
}

fn text(host: &HostRow) -> String {
    let HostRow { addr, tcp, udp, other, embryonic, limit, .. } = host;
    let limit = if *limit == 0 { "unlimited".to_owned() } else { limit.to_string() };
    let others = if *other == 0 { String::new() } else { format!("\n    ICMP flow count = {other}") };
    format!(
        "local host: <{addr}>,\n    TCP flow count/limit = {tcp}/{limit}\n    TCP embryonic count to host = {embryonic}\n    \
         UDP flow count/limit = {udp}/{limit}{others}"
    )
}

fn as_json(host: &HostRow, names: &IfNames) -> serde_json::Value {
    let limit = (host.limit > 0).then_some(host.limit);
    json!({
        "interface": names.name(host.ifindex), "address": host.addr.to_string(), "tcp": host.tcp,
        "udp": host.udp, "other": host.other, "embryonic": host.embryonic, "per_client_max": limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Line;

    fn parse(text: &str) -> Result<HostQuery, Problem> {
        let line = Line::lex(1, text).unwrap().unwrap();
        let mut args = Args::new(&line, 0);
        HostQuery::parse(&mut args).and_then(|query| args.end().map(|()| query))
    }

    #[test]
    fn the_layout_is_the_asas() {
        let host =
            HostRow { addr: 0x0a0a_000bu32.into(), tcp: 1, embryonic: 2, limit: 0, ..HostRow::default() };
        assert_eq!(
            text(&host),
            "local host: <10.10.0.11>,\n    TCP flow count/limit = 1/unlimited\n    TCP embryonic count to host = 2\n    UDP flow count/limit = 0/unlimited"
        );
        let host = HostRow { limit: 9, other: 3, ..host };
        assert!(text(&host).contains("TCP flow count/limit = 1/9\n"));
        assert!(text(&host).ends_with("ICMP flow count = 3"));
    }

    #[test]
    fn hosts_are_asked_for_by_count() {
        let host = HostRow { tcp: 15, udp: 2, ..HostRow::default() };
        for (text, takes) in [
            ("10.0.0.1", true),
            ("connection tcp 10-20", true),
            ("connection tcp 16", false),
            ("brief connection udp 2-2", true),
            ("connection embryonic", false),
            ("2001:db8::1 detail", true),
        ] {
            assert_eq!(parse(text).unwrap().takes(&host), takes, "{text}");
        }
        for wrong in [
            "nonsense",
            "connection",
            "connection sctp",
            "connection tcp 20-10",
            "connection tcp 5x",
            "10.0.0.1 10.0.0.2",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
