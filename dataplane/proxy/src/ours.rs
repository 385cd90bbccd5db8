// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is ours in a session: the domains of the policy, and the hosts and ports by which requests may be led to us.
//!
//! A Contact or a Route names a host and not a SIP domain, so requests inside a dialog, and Routes, are held to what stands for us here: names in
//! our own certificates, the session's addresses on our side, the members of its pool, and what NAT shows. By equality, never by suffix.
//! Asked by fedgate-sip's verdict through [`LocalDomains`], for each request from outside, on the worker's core.

use crate::api::{Leg, OpenParams, Output};
use crate::sip::Origin;
use crate::tls::ProxyTls;
use fedgate_sip::domain::Domain;
use fedgate_sip::verdict::LocalDomains;
use std::net::Ipv4Addr;

/// What a URI without a port means (RFC 3261 section 19.1.2).
const SIP_PORTS: [u16; 2] = [5060, 5061];

/// Whose hosts requests inside a dialog may name (a Contact or a Route is a host, not a SIP domain): those of our own
/// certificates, and the addresses that stand for us in this session.
#[derive(Clone, Copy)]
pub(crate) struct Hosts<'a> {
    pub(crate) tls: &'a ProxyTls,
    /// Our public address and the inside server's own.
    pub(crate) addrs: [u32; 2],
    /// The ports of this session there.
    pub(crate) ports: [u16; 2],
}

impl<'a> Hosts<'a> {
    /// Those of a session.
    pub(crate) fn of(params: &'a OpenParams) -> Self {
        let [public, own] = match params.outside {
            Leg::Client => [params.client_local, params.server_remote],
            Leg::Server => [params.server_local, params.client_remote],
        };
        Self { tls: &params.tls, addrs: [public.0, own.0], ports: [public.1, own.1] }
    }
}

/// Our domains by policy, and our hosts by session and by NAT.
pub(crate) struct Ours<'a, L, O> {
    pub(crate) domains: &'a L,
    pub(crate) origin: &'a Origin<'a>,
    pub(crate) out: &'a O,
}

impl<L: LocalDomains, O: Output> LocalDomains for Ours<'_, L, O> {
    fn is_local(&self, canonical: &str) -> bool {
        self.domains.is_local(canonical)
    }

    fn is_own_host(&self, canonical: &str) -> bool {
        match canonical.parse::<Ipv4Addr>() {
            Ok(addr) => {
                let Origin { hosts, nat, id, .. } = self.origin;
                let pool = hosts.tls.pool();
                hosts.addrs.contains(&addr.to_bits())
                    || pool.is_some_and(|pool| pool.at((addr.to_bits(), 0)).is_some())
                    || *nat && self.out.is_shown(*id, addr)
            }
            Err(_) => {
                let tls = self.origin.hosts.tls;
                Domain::canonical(canonical.as_bytes()).is_ok_and(|host| tls.is_own_name(&host))
            }
        }
    }

    fn serves(&self, canonical: &str, port: u16) -> bool {
        let Origin { hosts, nat, id, .. } = self.origin;
        // What NAT shows, it shows at ports of its own.
        let shown = || canonical.parse().is_ok_and(|addr| self.out.is_shown(*id, addr));
        let of_pool = || hosts.tls.pool().is_some_and(|pool| pool.members().any(|it| it.addr.1 == port));
        SIP_PORTS.contains(&port) || hosts.ports.contains(&port) || of_pool() || (*nat && shown())
    }
}
