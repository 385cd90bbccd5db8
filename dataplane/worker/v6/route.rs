// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where an IPv6 packet leaves, and which addresses are our own: [`crate::worker::route`] for IPv6.
//!
//! The same walk: a policy's routes stand longest prefix first (then by distance), the first that matches is the answer,
//! and a network that an interface is in counts as a route of distance 0. Looked up once a connection.
//!
//! An interface speaks IPv6 by `ipv6 enable` or an address; its link-local address is made from its MAC (RFC 4291
//! appendix A). Link-local addresses are of one link and never a way out: nothing is looked up for them.
//! Interfaces that are shut down or do not speak IPv6 are as if they were not there. Borrowed from the policy snapshot,
//! nothing kept. Called on worker cores.

use super::addresses::Barred;
use fedgate_tables::policy::{IF_IPV6, IF_SHUTDOWN, Interface, Route6};
use fedgate_wire::{MacAddr, ipv6};

/// Where to send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress6 {
    /// The interface's index in the policy.
    pub ifindex: u8,
    /// Whose MAC to ask for: the destination itself, or a gateway. Host order.
    pub next_hop: u128,
}

/// A policy's interfaces, their MACs, and routes.
#[derive(Clone, Copy, Debug)]
pub struct Routes6<'a> {
    /// By index.
    pub interfaces: &'a [Interface],
    /// Own MAC of each interface.
    pub macs: &'a [MacAddr],
    /// Longest prefix first, then lowest metric.
    pub routes: &'a [Route6],
    /// Addresses of ours that must not be used.
    pub barred: Barred,
}

impl Routes6<'_> {
    /// The way to `dst`; None where there is none, and for link-local addresses.
    pub fn lookup(&self, dst: u128) -> Option<Egress6> {
        if ipv6::is_link_local(dst) {
            return None;
        }
        let connected = self
            .live()
            .filter(|(_, interface)| is_connected(dst, interface))
            .max_by_key(|(index, interface)| (interface.prefix6, std::cmp::Reverse(*index)));
        let routed = self.routes.iter().find(|route| {
            is_in(dst, u128::from_be_bytes(route.net), route.prefix as u8)
                && self.interface(route.ifindex as u8).is_some()
        });
        match (connected, routed) {
            (Some((ifindex, interface)), routed)
                if routed.is_none_or(|route| u32::from(interface.prefix6) >= route.prefix) =>
            {
                Some(Egress6 { ifindex, next_hop: dst })
            }
            (_, Some(route)) => Some(Egress6 {
                ifindex: route.ifindex as u8,
                next_hop: match u128::from_be_bytes(route.gateway) {
                    ipv6::UNSPECIFIED => dst,
                    gateway => gateway,
                },
            }),
            _ => None,
        }
    }

    /// Whether the interface speaks IPv6: not where its link-local address is somebody else's.
    pub fn speaks(&self, ifindex: u8) -> bool {
        self.interface(ifindex).is_some() && !self.barred.silences(ifindex)
    }

    /// Whether `addr` is that interface's own, to be used: its link-local address, or the one configured.
    pub fn is_own_of(&self, ifindex: u8, addr: u128) -> bool {
        self.own(ifindex).any(|own| own == addr)
    }

    /// Whether `addr` is the configured address of any interface, to be used or not.
    pub fn is_ours(&self, addr: u128) -> bool {
        addr != ipv6::UNSPECIFIED && self.live().any(|(_, interface)| global(interface) == addr)
    }

    /// Whether that interface listens to a group: all nodes, all routers, and the solicited-node groups of its addresses.
    pub fn listens(&self, ifindex: u8, group: u128) -> bool {
        group == ipv6::ALL_NODES
            || group == ipv6::ALL_ROUTERS
            || self.all_own(ifindex).any(|addr| ipv6::solicited_node(addr) == group)
    }

    /// The groups that are to be reported to listen to: of all nodes nothing is said (RFC 3810 section 6).
    pub fn groups(&self, ifindex: u8) -> Vec<u128> {
        let solicited = self.all_own(ifindex).map(ipv6::solicited_node);
        let mut groups: Vec<_> = solicited.chain([ipv6::ALL_ROUTERS]).collect();
        groups.retain(|_| self.speaks(ifindex));
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// Whether `addr` is one of that interface's link: link-local, or on its network.
    pub fn is_on_link(&self, ifindex: u8, addr: u128) -> bool {
        self.interface(ifindex)
            .is_some_and(|interface| ipv6::is_link_local(addr) || is_connected(addr, interface))
    }

    /// That interface's own addresses that are to be used, link-local first.
    pub fn own(&self, ifindex: u8) -> impl Iterator<Item = u128> + use<> {
        let barred = self.barred;
        self.all_own(ifindex).filter(move |addr| !barred.has(ifindex, *addr))
    }

    /// All of that interface's own addresses, link-local first.
    pub fn all_own(&self, ifindex: u8) -> impl Iterator<Item = u128> + use<> {
        let both = self.interface(ifindex).map(|i| [self.link_local(ifindex), global(i)]);
        both.into_iter().flatten().filter(|addr| *addr != ipv6::UNSPECIFIED)
    }

    /// What that interface speaks as to `peer` (RFC 6724 in small): its link-local address to such a one, else its own
    /// configured address, else any of ours, and to its own link the link-local one after all.
    pub fn source_for(&self, ifindex: u8, peer: u128) -> Option<u128> {
        self.interface(ifindex)?;
        if ipv6::is_link_local(peer) {
            return self.own(ifindex).find(|own| ipv6::is_link_local(*own));
        }
        let globals = |ifindex| self.own(ifindex).filter(|own| !ipv6::is_link_local(*own));
        globals(ifindex).next().or_else(|| self.live().find_map(|(other, _)| globals(other).next()))
    }

    fn link_local(&self, ifindex: u8) -> u128 {
        ipv6::link_local(self.macs.get(usize::from(ifindex)).copied().unwrap_or_default())
    }

    /// The interface with this index, if it is up and speaks IPv6.
    fn interface(&self, ifindex: u8) -> Option<&Interface> {
        self.interfaces.get(usize::from(ifindex)).filter(|interface| is_live(interface))
    }

    /// Those that are up and speak IPv6.
    pub fn live(&self) -> impl Iterator<Item = (u8, &Interface)> {
        (0u8..).zip(self.interfaces).filter(|(_, interface)| is_live(interface))
    }
}

/// The configured address, host order; [`ipv6::UNSPECIFIED`] for none.
pub fn global(interface: &Interface) -> u128 {
    u128::from_be_bytes(interface.addr6)
}

/// Whether `addr` is on the network that the interface has an address of.
fn is_connected(addr: u128, interface: &Interface) -> bool {
    global(interface) != ipv6::UNSPECIFIED && is_in(addr, global(interface), interface.prefix6)
}

fn is_in(addr: u128, net: u128, prefix: u8) -> bool {
    (addr ^ net) & ipv6::mask(prefix) == 0
}

fn is_live(interface: &Interface) -> bool {
    interface.flags & IF_SHUTDOWN == 0 && interface.flags & IF_IPV6 != 0
}

#[cfg(test)]
mod tests;
