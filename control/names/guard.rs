// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which addresses that DNS gives may be called.
//!
//! Whoever answers for a foreign domain's zone chooses the addresses, so one that leads to us or behind us is refused (DNS rebinding): those that
//! are no host's, our own, those that NAT shows for us, those without a route, and those whose route leads to the most trusted interface. Private
//! addresses outside are not refused as such: partners meet over private networks too. The dataplane holds each again to the interface by
//! which the address that was called is reached.

use std::fmt;
use std::net::Ipv4Addr;

use crate::config::model::Model;
use crate::config::resolve;
use crate::config::types::Net;
use crate::policy::interfaces;
use fedgate_tables::policy::{NAT_INTERFACE, NatKind};

/// Why an address is not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Loopback, link-local, multicast and the like.
    NoHost,
    /// An interface has it.
    Own,
    /// NAT shows one of ours there.
    Mapped,
    /// No route leads there.
    NoRoute,
    /// It is behind this interface, which is inside.
    Inside(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("not the address of a host"),
            Self::Own => f.write_str("our own address"),
            Self::Mapped => f.write_str("ours by NAT"),
            Self::NoRoute => f.write_str("no route leads there"),
            Self::Inside(name) => write!(f, "it is behind {name}"),
        }
    }
}

/// What of a configuration decides.
pub struct Guard {
    own: Vec<Ipv4Addr>,
    /// Ranges, both ends in them.
    mapped: Vec<[u32; 2]>,
    /// Longest prefix first, then lowest metric: the interface's name and security level.
    routes: Vec<(Net, u8, String, u8)>,
    /// The highest security level, where there is a lower one.
    inside: Option<u8>,
}

impl Guard {
    /// That of a configuration.
    pub fn of(model: &Model) -> Self {
        let up = || interfaces(model).filter(|interface| !interface.is_down());
        let own = up().filter_map(|interface| Some(interface.address?.0)).collect();
        let mut mapped = Vec::new();
        for rule in resolve::rules(model).into_iter().filter_map(|(_, rule)| rule.ok()) {
            if rule.kind == NatKind::Identity {
                continue;
            }
            if rule.pool.is_empty() && rule.flags & NAT_INTERFACE == 0 {
                mapped.push(rule.mapped);
            }
            mapped.extend(rule.pool);
        }
        // Something that maps to everything says nothing of a single address.
        mapped.retain(|[first, last]| last - first < 1 << 24);
        let mut routes: Vec<(Net, u8, String, u8)> = Vec::new();
        for interface in up() {
            let Some(name) = interface.nameif.clone() else { continue };
            if let Some(net) = interface.network() {
                routes.push((net, 0, name.clone(), interface.security()));
            }
            let of = model.routes.iter().filter(|route| route.interface == name);
            routes.extend(of.map(|route| (route.net, route.metric, name.clone(), interface.security())));
        }
        routes.sort_by_key(|(net, metric, ..)| (32 - net.prefix_len(), *metric));
        let levels = || up().map(|interface| interface.security());
        let inside = levels().max().filter(|highest| levels().any(|level| level < *highest));
        Self { own, mapped, routes, inside }
    }

    /// Whether an address may be called.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, addr: Ipv4Addr) -> Result<(), Refused> {
        let octets = addr.octets();
        if octets[0] == 0
            || octets[0] >= 240
            || addr.is_loopback()
            || addr.is_link_local()
            || addr.is_multicast()
        {
            return Err(Refused::NoHost);
        }
        if self.own.contains(&addr) {
            return Err(Refused::Own);
        }
        let bits = addr.to_bits();
        if self.mapped.iter().any(|[first, last]| (*first..=*last).contains(&bits)) {
            return Err(Refused::Mapped);
        }
        let holds = |net: &Net| bits & net.mask().to_bits() == net.addr().to_bits();
        match self.routes.iter().find(|(net, ..)| holds(net)) {
            None => Err(Refused::NoRoute),
            Some((_, _, name, level)) if self.inside == Some(*level) => Err(Refused::Inside(name.clone())),
            Some(_) => Ok(()),
        }
    }
}
