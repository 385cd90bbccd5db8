// SPDX-License-Identifier: MIT OR Apache-2.0
//! Admission: what happens to the first packet of a connection.
//!
//! The ASA's order (8.3 and later): un-NAT the destination, route it, ACL of the ingress interface on real addresses, global
//! ACL, security levels where neither stands, ACL of the egress interface, NAT of the source, the check that replies
//! will find their way back through the same rules, the service classes (inspect sip + tls-proxy), and the entry. Every refusal is a
//! named drop. Later packets never come here. Worker cores, slow path.

use crate::acl;
use crate::conn::{ConnId, InsertError, NO_CLASS, NewConn};
use crate::key::{ICMP, Key, TCP, UDP};
use crate::nat::{self, Source};
use crate::tcp::{self, State};
use crate::xlate::{Made, NO_XLATE, XlateError, XlateId};
use crate::{Flow, Policy, Tick};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::{Interface, NONE};
use fedgate_wire::icmp4::Class;

/// A packet that belongs to no connection.
#[derive(Clone, Copy, Debug)]
pub struct First {
    /// As it arrived.
    pub key: Key,
    /// Where it arrived.
    pub in_if: u8,
    /// TCP flags; 0 for others.
    pub tcp_flags: u8,
    /// ICMP type; 0 for others.
    pub icmp_type: u8,
    /// ICMP code; 0 for others.
    pub icmp_code: u8,
    /// Hops left.
    pub ttl: u8,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// A connection was made.
    New {
        /// It.
        id: ConnId,
        /// Index of the TLS proxy that takes it, if one does.
        tls_proxy: Option<u32>,
    },
    /// For the appliance itself.
    Local,
    /// Dropped.
    Refused(DropReason),
}

/// Counter slots to bump for one admission, whatever came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// Counter slots of the ACEs that decided: in, global, out.
    pub aces: [Option<u32>; 3],
    /// Counter slot of the NAT rule that translated the source.
    pub translate: Option<u32>,
    /// Counter slot of the NAT rule that un-translated the destination.
    pub untranslate: Option<u32>,
    /// The ACE that denied, as an index into all ACEs, where it asked to be logged.
    pub denied_by: Option<u32>,
}

/// `Err` carries the drop reason; it is turned into [`Admission::Refused`] at the door.
type Step<T> = Result<T, DropReason>;

impl Flow {
    /// Decides on `first` and, where it may pass, makes the connection. `egress` gives the interface that leads to an address.
    pub fn admit(
        &mut self,
        first: &First,
        policy: &Policy<'_>,
        egress: impl Fn(u32) -> Option<u8>,
        now: Tick,
    ) -> (Admission, Hits) {
        let mut hits = Hits::default();
        let admission = match self.try_admit(first, policy, egress, now, &mut hits) {
            Ok(admission) => admission,
            Err(reason) => Admission::Refused(reason),
        };
        (admission, hits)
    }

    fn try_admit(
        &mut self,
        first: &First,
        policy: &Policy<'_>,
        egress: impl Fn(u32) -> Option<u8>,
        now: Tick,
        hits: &mut Hits,
    ) -> Step<Admission> {
        let key = first.key;
        let in_if = first.in_if;
        may_begin(first)?;

        // The destination as it really is.
        let mut real = key;
        let mut out_if = None;
        let mut way_in = None;
        if let Some(un) = nat::untranslate(policy.nat, &key, in_if) {
            (real.dst, real.dport, out_if) = (un.addr, un.port, un.real_if);
            hits.untranslate = Some(policy.nat[un.rule].counter);
        } else if key.proto != ICMP
            && let Some(id) = self.xlates.by_mapped(key.proto, key.dst, key.dport)
            && let Some(x) = self.xlates.get(id).filter(|x| x.mapped_if == in_if)
        {
            (real.dst, real.dport, out_if) = (x.real, x.real_port, Some(x.real_if));
            way_in = Some(id);
        } else if policy.interfaces.iter().any(|i| i.addr == key.dst) {
            return Ok(Admission::Local);
        } else if nat::is_mapped_address(policy.nat, key.dst, in_if) {
            return Err(DropReason::NoXlateToPat);
        }
        // Before any state is made: a traceroute leaves none.
        if first.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let out_if = out_if.or_else(|| egress(real.dst)).ok_or(DropReason::NoRoute)?;
        let from = interface(policy, in_if)?;
        let to = interface(policy, out_if)?;

        permit(policy, &real, first, (in_if, from), (out_if, to), hits)?;
        replies_return(policy, &key, &real, in_if, out_if, way_in.is_some())?;

        // The source as it will be shown.
        let mut shown = real;
        let mut xlate = NO_XLATE;
        let mut made = Made::Before;
        match nat::source(policy.nat, &real, in_if, out_if) {
            Source::Unchanged(rule) => hits.translate = rule.map(|r| policy.nat[r].counter),
            Source::Fixed { addr, port, rule } => {
                (shown.src, shown.sport) = (addr, port);
                hits.translate = Some(policy.nat[rule].counter);
            }
            Source::Dynamic { addr, rule } => {
                (xlate, made) = self.xlate_for(&real, in_if, addr, out_if, now)?;
                let x = self.xlates.get(xlate).ok_or(DropReason::NatXlateFailed)?;
                (shown.src, shown.sport) = (x.mapped, x.mapped_port);
                hits.translate = Some(policy.nat[rule].counter);
            }
        }

        let held = if xlate == NO_XLATE { way_in.unwrap_or(NO_XLATE) } else { xlate };
        let new = NewConn {
            forward: key,
            reverse: shown.mirror(),
            iface: [in_if, out_if],
            state: if key.proto == TCP { State::SynSent } else { State::Established },
            inbound: from.security < to.security,
            xlate: held,
            class: NO_CLASS,
        };
        let id = self.conns.insert(new, now).map_err(|e| {
            if made == Made::Now {
                self.xlates.abandon(xlate);
            }
            match e {
                InsertError::Full => DropReason::ConnTableFull,
                InsertError::Clash => DropReason::NatXlateFailed,
            }
        })?;
        if held != NO_XLATE {
            self.xlates.hold(held);
        }
        let limit = policy.timeout(self.conns.hot(id));
        self.conns.wheel.set(id.0, now.wrapping_add(limit));
        Ok(Admission::New { id, tls_proxy: service(policy, &real) })
    }

    fn xlate_for(
        &mut self,
        real: &Key,
        in_if: u8,
        mapped: u32,
        out_if: u8,
        now: Tick,
    ) -> Step<(XlateId, Made)> {
        self.xlates.obtain(real, in_if, mapped, out_if, now, &mut self.rng).map_err(|e| match e {
            XlateError::PortsExhausted => DropReason::PatPoolExhausted,
            XlateError::TableFull => DropReason::NatXlateFailed,
        })
    }
}

/// Only a bare SYN, an ICMP query or a UDP datagram begins a connection.
fn may_begin(first: &First) -> Step<()> {
    match first.key.proto {
        TCP if first.tcp_flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN => Ok(()),
        TCP => Err(DropReason::TcpNotSyn),
        UDP => Ok(()),
        ICMP if matches!(Class::of(first.icmp_type), Class::Request { .. }) => Ok(()),
        ICMP => Err(DropReason::IcmpErrorNoConn),
        _ => Err(DropReason::UnsupportedProtocol),
    }
}

fn interface<'a>(policy: &Policy<'a>, index: u8) -> Step<&'a Interface> {
    policy.interfaces.get(usize::from(index)).ok_or(DropReason::InterfaceUnconfigured)
}

fn permit(
    policy: &Policy<'_>,
    real: &Key,
    first: &First,
    from: (u8, &Interface),
    to: (u8, &Interface),
    hits: &mut Hits,
) -> Step<()> {
    let mut ask = |index: u32, slot: usize| -> Option<acl::Decision> {
        let decision = acl::classify(policy, index, real, (first.icmp_type, first.icmp_code))?;
        hits.aces[slot] = decision.ace.map(|a| policy.aces[a as usize].counter);
        if !decision.permit {
            hits.denied_by = decision.ace;
        }
        Some(decision)
    };
    let own = ask(from.1.acl_in, 0);
    // The implicit deny of an interface ACL moves behind the global ACL where there is one.
    let undecided = own.is_none_or(|d| d.ace.is_none());
    let global = if undecided { ask(policy.globals.acl_global, 1) } else { None };
    let permitted = match (own, global) {
        (Some(d), None) => d.permit,
        (_, Some(g)) => g.permit,
        (None, None) => {
            acl::by_security_level((from.0.into(), from.1), (to.0.into(), to.1), policy.globals.flags)
        }
    };
    if !permitted {
        return Err(DropReason::AclDrop);
    }
    match ask(to.1.acl_out, 2) {
        Some(d) if !d.permit => Err(DropReason::AclDrop),
        Some(_) | None => Ok(()),
    }
}

/// The replies' source, translated by the same rules, must be what the initiator called (`nat-rpf-failed`).
fn replies_return(
    policy: &Policy<'_>,
    called: &Key,
    real: &Key,
    in_if: u8,
    out_if: u8,
    by_xlate: bool,
) -> Step<()> {
    let back = real.mirror();
    let agrees = match nat::source(policy.nat, &back, out_if, in_if) {
        Source::Unchanged(_) => (called.dst, called.dport) == (real.dst, real.dport),
        Source::Fixed { addr, port, .. } => (called.dst, called.dport) == (addr, port),
        Source::Dynamic { .. } => by_xlate,
    };
    if agrees { Ok(()) } else { Err(DropReason::NatRpfFailed) }
}

/// The TLS proxy that takes a TCP connection, if a service class does.
fn service(policy: &Policy<'_>, real: &Key) -> Option<u32> {
    if real.proto != TCP {
        return None;
    }
    let class = policy.classes.iter().find(|class| {
        acl::classify(policy, class.acl, real, (0, 0)).is_some_and(|decision| decision.permit)
    })?;
    (class.tls_proxy != NONE).then_some(class.tls_proxy)
}
