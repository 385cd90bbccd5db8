// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a packet leaves: longest prefix over the connected networks and the policy's routes.
//!
//! Looked up once a connection, and for what belongs to none, so a walk is enough: a policy's routes stand
//! longest prefix first (then by distance), and the first that matches is the answer. About 1 ns a route; a policy of
//! some hundred static routes is the size this is meant for, and [`Routes::lookup`] is the one place to change for
//! more. A network that an interface is in counts as a route of distance 0, whether or not the policy also lists it.
//!
//! Interfaces that are shut down or have no address are as if they were not there. Borrowed from the policy snapshot,
//! nothing kept. Called on worker cores.

use fedgate_tables::policy::{IF_SHUTDOWN, Interface, Route};

/// Where to send a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Egress {
    /// The interface's index in the policy.
    pub ifindex: u32,
    /// Whose MAC to ask for: the destination itself, or a gateway. Host order.
    pub next_hop: u32,
}

/// A policy's interfaces and routes.
#[derive(Clone, Copy, Debug)]
pub struct Routes<'a> {
    /// By index.
    pub interfaces: &'a [Interface],
    /// Longest prefix first, then lowest metric.
    pub routes: &'a [Route],
}

impl Routes<'_> {
    /// The way to `dst`; None where there is none.
    pub fn lookup(&self, dst: u32) -> Option<Egress> {
        let connected = self
            .live()
            .filter(|(_, interface)| (interface.addr ^ dst) & interface.mask == 0)
            .max_by_key(|(index, interface)| (interface.mask, std::cmp::Reverse(*index)));
        let routed = self
            .routes
            .iter()
            .find(|route| (route.net ^ dst) & route.mask == 0 && self.interface(route.ifindex).is_some());
        match (connected, routed) {
            (Some((index, interface)), routed) if routed.is_none_or(|route| interface.mask >= route.mask) => {
                Some(Egress { ifindex: index, next_hop: dst })
            }
            (_, Some(route)) => Some(Egress {
                ifindex: route.ifindex,
                next_hop: if route.gateway == 0 { dst } else { route.gateway },
            }),
            _ => None,
        }
    }

    /// The interface that has `addr` as its own.
    pub fn own(&self, addr: u32) -> Option<u32> {
        self.live().find(|(_, interface)| interface.addr == addr).map(|(index, _)| index)
    }

    /// Whether `addr` is on the network of interface `ifindex`: what an ARP sender's must be.
    pub fn is_on_link(&self, ifindex: u32, addr: u32) -> bool {
        self.interface(ifindex).is_some_and(|interface| (interface.addr ^ addr) & interface.mask == 0)
    }

    /// Whether `addr` is a connected network's own broadcast address, in either form (all ones, all zeros): nothing
    /// is forwarded to it (RFC 2644) and no ICMP error is sent about it. /31 and /32 have none (RFC 3021).
    pub fn is_directed_broadcast(&self, addr: u32) -> bool {
        self.live().any(|(_, interface)| {
            let host = addr & !interface.mask;
            (interface.addr ^ addr) & interface.mask == 0
                && !interface.mask > 1
                && (host == !interface.mask || host == 0)
        })
    }

    /// The interface with this index, if it is up and has an address.
    fn interface(&self, ifindex: u32) -> Option<&Interface> {
        self.interfaces.get(ifindex as usize).filter(|interface| is_live(interface))
    }

    fn live(&self) -> impl Iterator<Item = (u32, &Interface)> {
        (0u32..).zip(self.interfaces).filter(|(_, interface)| is_live(interface))
    }
}

fn is_live(interface: &Interface) -> bool {
    interface.addr != 0 && interface.flags & IF_SHUTDOWN == 0
}

#[cfg(test)]
mod tests;
