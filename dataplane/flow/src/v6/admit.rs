// SPDX-License-Identifier: MIT OR Apache-2.0
//! Admission for IPv6: what happens to the first packet of a connection.
//!
//! The ASA's order without its NAT steps: route the destination, reverse path of the source where the interface asks for it,
//! ACL of the ingress interface, global ACL, security levels where neither stands, ACL of the egress interface, and the entry.
//! An ACL whose rules are all IPv4's denies IPv6 by its end, as on the ASA. Every refusal is a named drop; later packets
//! never come here. What is for the appliance itself, and link-local addresses, are the worker's to sort out first.
//! Worker cores, slow path.

use super::NewConn6;
use crate::acl;
use crate::conn::ConnId;
use crate::firewall::{Hits, first_state, permit_by, settings_phase};
use crate::key::{TCP, UDP};
use crate::limits::{self, Member};
use crate::tcp::{self, State};
use crate::trace::Trace;
use crate::{Flow, Policy, Tick};
use fedgate_acl::Query;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Phase;
use fedgate_tables::policy::{IF_VERIFY_REVERSE_PATH, Interface, ServiceClass};
use fedgate_wire::icmp6::Class;
use fedgate_wire::proto::ICMPV6;
use fedgate_wire::{Parsed6, Tuple6};

/// An IPv6 packet that belongs to no connection.
#[derive(Clone, Copy, Debug)]
pub struct First6 {
    /// As it arrived.
    pub key: Tuple6,
    /// Where it arrived.
    pub in_if: u8,
    /// TCP flags; 0 for others.
    pub tcp_flags: u8,
    /// ICMPv6 type; 0 for others.
    pub icmp_type: u8,
    /// ICMPv6 code; 0 for others.
    pub icmp_code: u8,
    /// Hops left.
    pub hop_limit: u8,
}

impl First6 {
    /// Of a packet that arrived on `in_if`.
    pub fn of(parsed: &Parsed6, in_if: u8) -> Self {
        Self {
            key: parsed.tuple,
            in_if,
            tcp_flags: parsed.tcp_flags.0,
            icmp_type: parsed.icmp_type,
            icmp_code: parsed.icmp_code,
            hop_limit: parsed.hop_limit,
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission6 {
    /// A connection was made.
    New(ConnId),
    /// A SYN above the embryonic limits, to be answered by a cookie.
    Intercept {
        /// Where it would leave.
        out_if: u8,
        /// The reason where it is dropped.
        limit: DropReason,
    },
    /// Dropped.
    Refused(DropReason),
}

impl Flow {
    /// Decides on `first` and, where it may pass, makes the connection. `egress` gives the interface
    /// that leads to an address. In what comes back, the ACEs of [`Hits::told`] are among the policy's IPv6 ACEs.
    pub fn admit6(
        &mut self,
        first: &First6,
        policy: &Policy<'_>,
        egress: impl Fn(u128) -> Option<u8>,
        now: Tick,
    ) -> (Admission6, Hits) {
        self.admit6_as(first, policy, egress, now, false)
    }

    /// [`Flow::admit6`]; embryonic limits are not asked for a client that is `proven` to be there.
    pub(crate) fn admit6_as(
        &mut self,
        first: &First6,
        policy: &Policy<'_>,
        egress: impl Fn(u128) -> Option<u8>,
        now: Tick,
        proven: bool,
    ) -> (Admission6, Hits) {
        let mut hits = Hits::default();
        let admission = match self.try_admit6(first, policy, egress, now, proven, &mut hits) {
            Ok(admission) => admission,
            Err(reason) => Admission6::Refused(reason),
        };
        (admission, hits)
    }

    fn try_admit6(
        &mut self,
        first: &First6,
        policy: &Policy<'_>,
        egress: impl Fn(u128) -> Option<u8>,
        now: Tick,
        proven: bool,
        hits: &mut Hits,
    ) -> Result<Admission6, DropReason> {
        let decided = self.decide6(first, policy, egress, proven, hits, &mut ());
        match decided.inspect_err(|_| hits.reached.iter().for_each(|at| self.limits.count_refused(at)))? {
            Plan6::Begins { out_if, state, inbound, class } => {
                let (key, iface) = (first.key, [first.in_if, out_if]);
                let new = NewConn6 { key, iface, state, inbound };
                // Never a clash where the caller has looked for the connection first.
                let id = self.conns6.insert(new, now).map_err(|_| DropReason::ConnTableFull)?;
                let hot = self.conns6.hot_mut(id);
                if let Some(class) = class {
                    hot.class = class.slot as u8;
                    hot.flags |= limits::flags_of(class, key.proto);
                }
                self.limits.follow(None, Member::of6(hot));
                let limit = policy.timeout_of(key.proto, state, self.conns6.hot(id).class);
                self.conns6.wheel.set(id.0, now.wrapping_add(limit));
                if self.ledger.is_on() {
                    self.ledger.note6(self.conns6.hot(id), None);
                }
                Ok(Admission6::New(id))
            }
            Plan6::Intercept { out_if, limit } => Ok(Admission6::Intercept { out_if, limit }),
        }
    }

    /// Decides on `first` and changes nothing, telling `trace` of each step.
    ///
    /// # Errors
    /// Why it is dropped.
    pub(crate) fn decide6<'p>(
        &self,
        first: &First6,
        policy: &Policy<'p>,
        egress: impl Fn(u128) -> Option<u8>,
        proven: bool,
        hits: &mut Hits,
        trace: &mut impl Trace,
    ) -> Result<Plan6<'p>, DropReason> {
        let key = first.key;
        let begins = may_begin(first);
        if begins.is_err() {
            let bypass = || settings6(first, policy).is_some_and(ServiceClass::is_bypass);
            if !(policy.may_bypass(key.proto, first.tcp_flags) && bypass()) {
                begins?;
            }
        }
        // Before any state is made: a traceroute leaves none.
        if first.hop_limit <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let in_if = first.in_if;
        let out_if = egress(key.dst);
        trace.note(|| Phase::Route { dst: key.dst.into(), next_hop: None, out_if });
        let out_if = out_if.ok_or(DropReason::NoRoute)?;
        hits.out_if = Some(out_if);
        let interface =
            |index: u8| policy.interfaces.get(usize::from(index)).ok_or(DropReason::InterfaceUnconfigured);
        let (from, to) = (interface(in_if)?, interface(out_if)?);
        if from.flags & IF_VERIFY_REVERSE_PATH != 0 {
            let permit = egress(key.src) == Some(in_if);
            trace.note(|| Phase::ReversePath { permit });
            if !permit {
                return Err(DropReason::RpfViolated);
            }
        }
        permit(policy, first, (in_if, from), (out_if, to), hits, trace)?;

        let class = settings6(first, policy);
        let state = first_state(key.proto, class);
        if let Some(class) = class {
            if let Err(reached) = self.limits.may_begin(class, key.src) {
                trace.note(|| settings_phase(class, Some(reached), false));
                return Err(hits.refused(reached));
            }
            if state == State::SynSent
                && !proven
                && let Err(reached) = self.limits.may_be_embryonic(class, key.src)
            {
                trace.note(|| settings_phase(class, Some(reached), true));
                return Ok(Plan6::Intercept { out_if, limit: hits.refused(reached) });
            }
            trace.note(|| settings_phase(class, None, false));
        }
        Ok(Plan6::Begins { out_if, state, inbound: from.security < to.security, class })
    }
}

/// What is decided on a first packet before anything is made of it.
pub(crate) enum Plan6<'p> {
    /// A connection is to be made.
    Begins { out_if: u8, state: State, inbound: bool, class: Option<&'p ServiceClass> },
    /// As [`Admission6::Intercept`].
    Intercept { out_if: u8, limit: DropReason },
}

/// Only a bare SYN, an echo request or a UDP datagram begins a connection.
fn may_begin(first: &First6) -> Result<(), DropReason> {
    match first.key.proto {
        TCP if first.tcp_flags & (tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN) == tcp::SYN => Ok(()),
        TCP => Err(DropReason::TcpNotSyn),
        UDP => Ok(()),
        ICMPV6 if Class::of(first.icmp_type) == Class::EchoRequest => Ok(()),
        ICMPV6 => Err(DropReason::IcmpErrorNoConn),
        _ => Err(DropReason::UnsupportedProtocol),
    }
}

/// What ACLs are asked.
fn query(first: &First6) -> Query<u128> {
    let Tuple6 { src, dst, mut sport, mut dport, proto } = first.key;
    if proto == ICMPV6 {
        (sport, dport) = (first.icmp_code.into(), first.icmp_type.into());
    }
    Query { src, dst, sport, dport, proto }
}

/// The class whose connection settings hold for it.
fn settings6<'p>(first: &First6, policy: &Policy<'p>) -> Option<&'p ServiceClass> {
    let query = query(first);
    policy.settings(|acl| acl::classify6(policy, acl, &query).is_some_and(|decision| decision.permit))
}

fn permit(
    policy: &Policy<'_>,
    first: &First6,
    from: (u8, &Interface),
    to: (u8, &Interface),
    hits: &mut Hits,
    trace: &mut impl Trace,
) -> Result<(), DropReason> {
    let query = query(first);
    let element =
        |policy: &Policy<'_>, ace: u32| policy.aces6.get(ace as usize).map(|ace| (ace.line, ace.id));
    permit_by(policy, from, to, hits, (trace, element), |index| acl::classify6(policy, index, &query))
}
