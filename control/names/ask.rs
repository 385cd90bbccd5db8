// SPDX-License-Identifier: MIT OR Apache-2.0
//! The questions: SRV of `_sipfederationtls._tcp.D`, else of `_sips._tcp.D`, then the addresses of the targets.
//!
//! The first is what Microsoft's edges and those that speak with them publish, the second RFC 3263's. A target of `.` says that the service is
//! not there, and ends the search (RFC 2782). IPv6 addresses are not asked for: proxied connections are IPv4's. Bounded: [`MOST_RECORDS`]
//! records of an answer, [`MOST_ADDRESSES`] addresses of a target, time-outs and tries by configuration.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use fedgate_sip::partner::Target;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::book::Found;
use crate::config::model::federation::Dns;

/// Services, in the order in which they are asked for.
pub const SERVICES: [&str; 2] = ["_sipfederationtls._tcp", "_sips._tcp"];
/// Records of one SRV answer that are looked at, lowest priority first.
pub const MOST_RECORDS: usize = 16;
/// Addresses of one target that are.
pub const MOST_ADDRESSES: usize = 8;
/// Where a denial says nothing of how long it holds.
const NO_SOA: u32 = 60;

/// What came of a question about a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its edges; empty where it says that it has none, or they have no address.
    Found {
        /// The service that has the records.
        service: &'static str,
        /// Each address of each target.
        found: Vec<Found>,
        /// Seconds that all of it holds.
        ttl: u32,
    },
    /// There are no such records.
    Nothing {
        /// Seconds that this holds.
        ttl: u32,
    },
}

/// Who answers questions.
pub struct Asker {
    resolver: TokioResolver,
}

impl Asker {
    /// For a `dns server-group`.
    ///
    /// # Errors
    /// A sentence.
    pub fn new(dns: &Dns) -> Result<Self, String> {
        #[cfg(test)]
        let port = super::tests::PORT.load(std::sync::atomic::Ordering::Relaxed);
        #[cfg(not(test))]
        let port = 53;
        Self::at(dns, port)
    }

    /// The same where servers listen on another port.
    pub(super) fn at(dns: &Dns, port: u16) -> Result<Self, String> {
        let from = dns.source.map(|addr| SocketAddr::new(addr, 0));
        let usable =
            dns.servers.iter().filter(|server| from.is_none_or(|it| it.is_ipv4() == server.is_ipv4()));
        let servers = usable.map(|server| {
            let mut server = NameServerConfig::udp_and_tcp(*server);
            for connection in &mut server.connections {
                (connection.bind_addr, connection.port) = (from, port);
            }
            server
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let mut options = ResolverOpts::default();
        options.timeout = Duration::from_secs(dns.timeout().into());
        options.attempts = dns.retries() as usize;
        options.edns0 = true;
        // When to ask again is the book's business: an answer out of another memory would be older than its TTL says.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.num_concurrent_reqs = 1;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        // With a random port and id, one more thing that a forger has to guess.
        options.case_randomization = true;
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let resolver = builder.with_options(options).build().map_err(|why| why.to_string())?;
        Ok(Self { resolver })
    }

    /// Where the edges of a domain are.
    ///
    /// # Errors
    /// Nobody said: a sentence.
    pub async fn edges(&self, domain: &str) -> Result<Answer, String> {
        let mut least = u32::MAX;
        for service in SERVICES {
            match self.records(&format!("{service}.{domain}.")).await? {
                Ok(records) => return self.addresses(service, records).await,
                Err(ttl) => least = least.min(ttl),
            }
        }
        Ok(Answer::Nothing { ttl: least })
    }

    /// The SRV records of a name, each with its TTL; or for how long there are none.
    async fn records(&self, name: &str) -> Result<Result<Vec<Srv>, u32>, String> {
        let name = Name::from_ascii(name).map_err(|why| format!("{name}: {why}"))?;
        let answer = match self.resolver.lookup(name.clone(), RecordType::SRV).await {
            Ok(answer) => answer,
            Err(why) => return denied(&name, &why).map(Err),
        };
        let mut records: Vec<Srv> = Vec::new();
        for record in answer.answers() {
            if let RData::SRV(srv) = &record.data {
                let (priority, weight, port) = (srv.priority, srv.weight, srv.port);
                records.push(Srv { priority, weight, port, target: srv.target.clone(), ttl: record.ttl });
            }
        }
        records.sort_by_key(|it| it.priority);
        records.truncate(MOST_RECORDS);
        Ok(if records.is_empty() { Err(NO_SOA) } else { Ok(records) })
    }

    async fn addresses(&self, service: &'static str, records: Vec<Srv>) -> Result<Answer, String> {
        let mut ttl = records.iter().map(|it| it.ttl).min().unwrap_or(NO_SOA);
        let (mut known, mut found) = (BTreeMap::<Name, Vec<(Ipv4Addr, u32)>>::new(), Vec::new());
        let mut failed = None;
        for record in records.into_iter().filter(|it| !it.target.is_root() && it.port != 0) {
            if !known.contains_key(&record.target) {
                let addresses = match self.resolver.lookup(record.target.clone(), RecordType::A).await {
                    Ok(answer) => {
                        let of = |data: &RData| if let RData::A(addr) = data { Some(addr.0) } else { None };
                        let all = answer.answers().iter().filter_map(|it| Some((of(&it.data)?, it.ttl)));
                        all.take(MOST_ADDRESSES).collect()
                    }
                    Err(why) => match denied(&record.target, &why) {
                        Ok(denied) => {
                            ttl = ttl.min(denied);
                            Vec::new()
                        }
                        // One whose name nobody tells is no reason not to call the others.
                        Err(why) => {
                            failed = Some(why);
                            Vec::new()
                        }
                    },
                };
                known.insert(record.target.clone(), addresses);
            }
            for (addr, address_ttl) in known.get(&record.target).into_iter().flatten() {
                let ttl_of_both = record.ttl.min(*address_ttl);
                ttl = ttl.min(ttl_of_both);
                let Srv { priority, weight, port, .. } = record;
                let mut name = record.target.to_ascii().to_ascii_lowercase();
                name.truncate(name.trim_end_matches('.').len());
                let target = Target { priority, weight, addr: *addr, port };
                found.push(Found { name, target, ttl: ttl_of_both });
            }
        }
        match failed {
            Some(why) if found.is_empty() => Err(why),
            // Soon again for the rest of them.
            Some(_) => Ok(Answer::Found { service, found, ttl: ttl.min(NO_SOA) }),
            None => Ok(Answer::Found { service, found, ttl }),
        }
    }
}

struct Srv {
    priority: u16,
    weight: u16,
    port: u16,
    target: Name,
    ttl: u32,
}

/// For how long a name is said not to be there; an error where it is not even said.
fn denied(name: &Name, why: &NetError) -> Result<u32, String> {
    match why {
        NetError::Dns(DnsError::NoRecordsFound(nothing))
            if matches!(nothing.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
        {
            Ok(nothing.negative_ttl.unwrap_or(NO_SOA))
        }
        NetError::Dns(DnsError::NoRecordsFound(nothing)) => Err(format!("{name}: {}", nothing.response_code)),
        why => Err(format!("{name}: {why}")),
    }
}
