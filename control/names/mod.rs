// SPDX-License-Identifier: MIT OR Apache-2.0
//! DNS: where the edges of foreign domains are (RFC 3263, RFC 2782).
//!
//! [`ask`] asks for the SRV records of a domain and the addresses of their targets, through hickory-resolver, which knows the wire, CNAMEs and
//! their loops, TCP where an answer does not fit, and other servers where one fails. [`book`] holds what is known of each domain and when it is to be
//! asked again. [`guard`] says which addresses may be called at all: an answer of DNS is anybody's word, and must not lead inside.
//!
//! What an edge has to prove is the domain's name in its certificate (RFC 5922), whatever its own name and address are; so a forged answer
//! can lead a call away, and nobody there can take it.
//!
//! Questions leave by the host's own network (a management port), never by the ports of the dataplane: those are DPDK's, and the host has
//! no address there. The daemon's one thread calls all of it ([`crate::operate`]).

pub mod ask;
pub mod book;
pub mod guard;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::LazyCell;
use std::collections::BTreeMap;

use fedgate_sip::partner::{MAX_TARGETS, Partner, PartnersSpec, Target};

use crate::config::model::Model;
use book::Found;
use guard::Guard;

/// What was found for each domain.
pub type Targets = BTreeMap<String, Vec<Found>>;

/// What the policy says of foreign domains: bounds from the configuration, targets from DNS as far as they may be called.
pub fn spec(model: &Model, targets: &Targets) -> PartnersSpec {
    // This is asked for twice a second: made only where there is something to judge.
    let guard = LazyCell::new(|| Guard::of(model));
    let partners = model.federations.iter().map(|(name, federation)| {
        let found = targets.get(name).filter(|_| federation.srv);
        let good = found.into_iter().flatten().filter(|it| guard.judge(it.target.addr).is_ok());
        let mut targets: Vec<Target> = good.map(|it| it.target).collect();
        // In an order of their own, so that the same answer makes the same policy.
        targets.sort_unstable();
        targets.dedup_by_key(|it| (it.addr, it.port));
        targets.truncate(MAX_TARGETS);
        (name.clone(), Partner { targets, bounds: federation.bounds() })
    });
    PartnersSpec { default: model.federation_default.bounds(), partners: partners.collect() }
}
