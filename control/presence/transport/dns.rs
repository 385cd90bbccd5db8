// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a foreign domain's servers are, by its own records (RFC 3263), for routes that have `dns = true`.
//!
//! A host with a port, or one that is an address, is asked for as it is. Any other is looked for by SRV: `_sipfederationtls._tcp`, which
//! Microsoft's edges publish, else `_sips._tcp`; and where it has neither, by its own addresses and port 5061. A target of `.` says that there
//! is no such service, and ends the search (RFC 2782). Only a denial leads on to the next question: a name server that fails might have said yes.
//!
//! Servers are tried in the order of their priorities, and of those of one priority by lot, weighted (RFC 2782). Each must show a certificate
//! for the host that was asked for, or for its target where that is below the host (RFC 5922 section 4; edges bear their own names): nothing
//! that the DNS says makes another name good. Bounds: [`MOST`] addresses, [`MOST_RECORDS`] records, the time in which a connection has to be made. Answers are
//! kept as long as they hold. Called by the transport's tasks.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

/// Services, in the order in which they are asked for.
const SERVICES: [&str; 2] = ["_sipfederationtls._tcp", "_sips._tcp"];
/// Records of one answer that are looked at.
const MOST_RECORDS: usize = 16;
/// Addresses that are tried.
const MOST: usize = 8;
/// SIP over TLS.
const PORT: u16 = 5061;
/// For one question to be answered.
const TIME: Duration = Duration::from_secs(3);

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) address: SocketAddr,
    /// Names that its certificate may bear.
    pub(super) names: Vec<String>,
}

/// Who answers questions.
#[derive(Clone)]
pub(super) struct Resolver(TokioResolver);

impl Resolver {
    /// One that asks these servers, in this order.
    pub(super) fn new(servers: &[SocketAddr]) -> Result<Self, String> {
        let servers = servers.iter().map(|at| {
            let mut server = NameServerConfig::udp_and_tcp(at.ip());
            for connection in &mut server.connections {
                connection.port = at.port();
            }
            server
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let mut options = ResolverOpts::default();
        (options.timeout, options.attempts) = (TIME, 1);
        options.edns0 = true;
        options.use_hosts_file = ResolveHosts::Never;
        // With a random port and id, one more thing that a forger has to guess.
        options.case_randomization = true;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.with_options(options).build().map(Self).map_err(|why| why.to_string())
    }

    /// The addresses of a host's servers, the one to try first in front. `lot` draws a number below the one it is given.
    pub(super) async fn hops(
        &self,
        host: &str,
        port: Option<u16>,
        lot: impl FnMut(u32) -> u32,
    ) -> Result<Vec<Hop>, String> {
        if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            let address = SocketAddr::new(address, port.unwrap_or(PORT));
            return Ok(vec![Hop { address, names: vec![address.ip().to_string()] }]);
        }
        if let Some(port) = port {
            return Ok(hops(self.addresses(host).await?, port, host, host));
        }
        for service in SERVICES {
            if let Some(records) = self.records(&format!("{service}.{host}")).await? {
                return self.targets(host, in_order(records, lot)).await;
            }
        }
        Ok(hops(self.addresses(host).await?, PORT, host, host))
    }

    async fn targets(&self, host: &str, records: Vec<Srv>) -> Result<Vec<Hop>, String> {
        let (mut found, mut failed) = (Vec::new(), None);
        for Srv { target, port, .. } in records.into_iter().filter(|it| !it.target.is_empty() && it.port != 0)
        {
            match self.addresses(&target).await {
                Ok(addresses) => found.extend(hops(addresses, port, &target, host)),
                // One whose name nobody tells is no reason not to call the others.
                Err(why) => failed = Some(why),
            }
            if found.len() >= MOST {
                break;
            }
        }
        found.truncate(MOST);
        failed.filter(|_| found.is_empty()).map_or(Ok(found), Err)
    }

    /// The SRV records of a name; `None` where it is said that there are none.
    async fn records(&self, name: &str) -> Result<Option<Vec<Srv>>, String> {
        let records = self.lookup(name, RecordType::SRV).await?;
        let srv = |data: RData| match data {
            RData::SRV(srv) => Some(Srv {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
            }),
            _ => None,
        };
        let mut records: Vec<Srv> = records.into_iter().filter_map(srv).collect();
        records.sort_by_key(|record| record.priority);
        records.truncate(MOST_RECORDS);
        Ok((!records.is_empty()).then_some(records))
    }

    /// IPv4 before IPv6, which is asked for only where there is none.
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        for kind in [RecordType::A, RecordType::AAAA] {
            let address = |data: RData| match data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            };
            let found: Vec<IpAddr> = self.lookup(name, kind).await?.into_iter().filter_map(address).collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// The records of a name; none where that is denied.
    async fn lookup(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, String> {
        let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.')))
            .map_err(|why| format!("{name}: {why}"))?;
        match self.0.lookup(name.clone(), kind).await {
            Ok(answer) => Ok(answer.answers().iter().map(|record| record.data.clone()).collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(nothing)))
                if matches!(nothing.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                Ok(Vec::new())
            }
            Err(why) => Err(format!("{name}: {why}")),
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    /// Without its last dot; empty for `.`.
    target: String,
}

fn hops(addresses: Vec<IpAddr>, port: u16, target: &str, host: &str) -> Vec<Hop> {
    let is_below = target.strip_suffix(host).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let mut names = vec![host.to_owned()];
    if is_below && target != host {
        names.insert(0, target.to_owned());
    }
    let hop = |address| Hop { address: SocketAddr::new(address, port), names: names.clone() };
    addresses.into_iter().take(MOST).map(hop).collect()
}

/// By priority, which they are sorted by already; within one, drawn by weight, those without weight last but for small chances (RFC 2782).
fn in_order(records: Vec<Srv>, mut lot: impl FnMut(u32) -> u32) -> Vec<Srv> {
    let mut order = Vec::with_capacity(records.len());
    let mut rest = records;
    while let Some(priority) = rest.first().map(|record| record.priority) {
        let same = rest.iter().take_while(|record| record.priority == priority).count();
        // Those without weight stand in front, where only a draw of 0 finds them.
        rest[..same].sort_by_key(|record| record.weight != 0);
        let sum: u32 = rest[..same].iter().map(|record| u32::from(record.weight)).sum();
        let drawn = lot(sum + 1);
        let mut running = 0;
        let at = rest[..same].iter().position(|record| {
            running += u32::from(record.weight);
            running >= drawn
        });
        order.push(rest.remove(at.unwrap_or(0)));
    }
    order
}

#[cfg(test)]
mod tests;
