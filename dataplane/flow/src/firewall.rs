// SPDX-License-Identifier: MIT OR Apache-2.0
//! Admission: what happens to the first packet of a connection.
//!
//! The ASA's order (8.3 and later): un-NAT the destination, route it, ACL of the ingress interface on real addresses, global
//! ACL, security levels where neither stands, ACL of the egress interface, the check that replies will find their way back through
//! the same rules, NAT of the source, the service classes (inspect sip + tls-proxy), and the entry. Every refusal is a
//! named drop. What passes through a pinhole of SIP inspection ([`crate::media`]) is asked no ACL. Later packets never come here. Worker
//! cores, slow path.
//!
//! Hairpin (RFC 4787 REQ-9): a packet to an address that NAT shows on *another* interface is treated as if it had gone out there
//! and come back, its source translated as on that way; only under `same-security-traffic permit intra-interface`.

use crate::acl;
use crate::ahead::Seen;
use crate::conn::{ConnId, InsertError, NO_CLASS, NewConn};
use crate::key::{ICMP, Key, TCP, UDP};
use crate::limits::{self, Member, Reached};
use crate::nat::{Source, Twice};
use crate::tcp::{self, State};
use crate::xlate::{Made, NO_XLATE, Want, XlateError, XlateId};
use crate::{Flow, Policy, Tick};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::BY_LEVEL;
use fedgate_tables::policy::{ACE_LOG, Interface, NAT_EXTENDED, NONE, SAME_SECURITY_INTRA, ServiceClass};
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

/// The way of packets, as far as admission asks.
pub trait Paths {
    /// The interface that leads to an address.
    fn egress(&self, addr: u32) -> Option<u8>;

    /// Whether replies that arrive as `reply` would best be ours: of several ports that a new translation could have, one is taken of
    /// which this is true, where it is soon found. Cheap: asked up to 16 times.
    fn prefers(&self, _reply: &Key) -> bool {
        true
    }
}

impl<F: Fn(u32) -> Option<u8>> Paths for F {
    fn egress(&self, addr: u32) -> Option<u8> {
        self(addr)
    }
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
    /// A SYN that would pass, but for the embryonic limits of its class or client, or of the TLS proxy: no state is made, and it is to be answered by a
    /// cookie ([`Flow::cookie`]), or dropped.
    Intercept {
        /// Where it would leave.
        out_if: u8,
        /// The reason where it is dropped.
        limit: DropReason,
    },
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
    /// What an ACL said that may have to be told: in, global, out.
    pub told: [Option<Told>; 3],
    /// Destination and its port as they really are, of IPv4, once NAT has been asked.
    pub real: Option<(u32, u16)>,
    /// Interface that it would have left by, once the way is known.
    pub out_if: Option<u8>,
    /// The bound of a class that was reached.
    pub reached: Option<Reached>,
}

/// What one ACL said of a packet, or security levels where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its index, or [`BY_LEVEL`].
    pub acl: u32,
    /// What it said.
    pub decision: acl::Decision,
}

impl Hits {
    /// A bound of a class stands in the way.
    pub(crate) fn refused(&mut self, reached: Reached) -> DropReason {
        self.reached = Some(reached);
        reached.reason()
    }
}

/// `Err` carries the drop reason; it is turned into [`Admission::Refused`] at the door.
type Step<T> = Result<T, DropReason>;

impl Flow {
    /// Decides on `first` and, where it may pass, makes the connection.
    pub fn admit(
        &mut self,
        first: &First,
        policy: &Policy<'_>,
        paths: impl Paths,
        now: Tick,
    ) -> (Admission, Hits) {
        let mut hits = Hits::default();
        let admission = self.admit_seen(first, policy, paths, now, None, &mut hits);
        (admission, hits)
    }

    /// [`Self::admit`] of a packet that [`Self::look_ahead`] has seen in this burst. `hits` are to be fresh ones: written in place, because
    /// they are large.
    #[inline]
    pub fn admit_seen(
        &mut self,
        first: &First,
        policy: &Policy<'_>,
        paths: impl Paths,
        now: Tick,
        seen: Option<&Seen>,
        hits: &mut Hits,
    ) -> Admission {
        self.admit_as(first, policy, paths, now, false, seen, hits)
    }

    /// [`Flow::admit_seen`]; embryonic limits are not asked for a client that is `proven` to be there.
    #[inline]
    pub(crate) fn admit_as(
        &mut self,
        first: &First,
        policy: &Policy<'_>,
        paths: impl Paths,
        now: Tick,
        proven: bool,
        seen: Option<&Seen>,
        hits: &mut Hits,
    ) -> Admission {
        match self.try_admit(first, policy, &paths, now, proven, seen, hits) {
            Ok(admission) => admission,
            Err(reason) => Admission::Refused(reason),
        }
    }

    fn try_admit(
        &mut self,
        first: &First,
        policy: &Policy<'_>,
        paths: &impl Paths,
        now: Tick,
        proven: bool,
        seen: Option<&Seen>,
        hits: &mut Hits,
    ) -> Step<Admission> {
        let key = first.key;
        let in_if = first.in_if;
        let begins = may_begin(first);
        if begins.is_err() && !policy.may_bypass(key.proto, first.tcp_flags) {
            begins?;
        }
        let passes_by = seen.is_some_and(|seen| seen.passes_by(&key));
        let target =
            if passes_by { Target::as_called(&key) } else { self.target(&key, in_if, policy, paths) };
        let settings = || {
            let icmp = (first.icmp_type, first.icmp_code);
            policy.settings(|acl| acl::classify(policy, acl, &target.key, icmp).is_some_and(|d| d.permit))
        };
        if begins.is_err() && !settings().is_some_and(ServiceClass::is_bypass) {
            begins?;
        }
        if target.rule.is_none() && target.xlate == NO_XLATE && !passes_by {
            if policy.interfaces.iter().any(|i| i.addr == key.dst) {
                return Ok(Admission::Local);
            }
            if policy.nat.is_mapped_address(key.dst, in_if) {
                return Err(DropReason::NoXlateToPat);
            }
        }
        hits.untranslate = target.rule.map(|rule| policy.nat.rules()[rule].counter);
        // Before any state is made: a traceroute leaves none.
        if first.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let real = target.key;
        let egress = || seen.and_then(|seen| seen.egress(&real)).or_else(|| paths.egress(real.dst));
        let out_if = target.out_if.or_else(egress).ok_or(DropReason::NoRoute)?;
        (hits.real, hits.out_if) = (Some((real.dst, real.dport)), Some(out_if));
        let from = interface(policy, in_if)?;
        let to = interface(policy, out_if)?;

        let hole = self.hole(&key, &real, in_if, out_if);
        if hole.is_none() {
            permit(policy, &real, first, (in_if, from), (out_if, to), seen, hits)?;
        }
        // Where the source is shown: where it leaves, or where it would have left.
        let shown_if = target.hairpin.unwrap_or(out_if);
        replies_return(policy, &key, &target, target.hairpin.unwrap_or(in_if), out_if)?;
        let settings = settings();
        let state = first_state(key.proto, settings);
        if let Some(class) = settings {
            let client = limits::client_v4(key.src);
            self.limits.may_begin(class, client).map_err(|reached| hits.refused(reached))?;
            if state == State::SynSent
                && !proven
                && let Err(reached) = self.limits.may_be_embryonic(class, client)
                // One that a TLS proxy takes is not embryonic, and must not suffer for those that are.
                && service(policy, &real).is_none()
            {
                return Ok(Admission::Intercept { out_if, limit: hits.refused(reached) });
            }
        }

        if self.proxy_is_crowded && !proven && key.proto == TCP && service(policy, &real).is_some() {
            return Ok(Admission::Intercept { out_if, limit: DropReason::ProxySessionLimit });
        }

        let (shown, xlate, made) = self.show(&target, policy, (in_if, shown_if), paths, now, seen, hits)?;
        let held = match (target.xlate, xlate) {
            (NO_XLATE, xlate) | (xlate, NO_XLATE) => xlate,
            (one, other) => match self.xlates.couple(one, other) {
                Some(couple) => couple,
                None => {
                    if made == Made::Now {
                        self.xlates.abandon(other);
                    }
                    return Err(DropReason::NatXlateFailed);
                }
            },
        };
        let new = NewConn {
            forward: key,
            reverse: shown.mirror(),
            iface: [in_if, out_if],
            state,
            inbound: from.security < to.security,
            xlate: held,
            class: settings.map_or(NO_CLASS, |class| class.slot as u8),
        };
        if held != NO_XLATE {
            self.xlates.hold(held);
        }
        let id = self.conns.insert(new, now).map_err(|e| {
            if held != NO_XLATE {
                self.xlates.drop_hold(held, now);
            }
            if made == Made::Now {
                self.xlates.abandon(xlate);
            }
            match e {
                InsertError::Full => DropReason::ConnTableFull,
                InsertError::Clash => DropReason::NatXlateFailed,
            }
        })?;
        let hot = self.conns.hot_mut(id);
        hot.flags |= settings.map_or(0, |class| limits::flags_of(class, key.proto));
        self.limits.follow(None, Member::of(hot));
        if let Some(hole) = hole {
            self.through(hole, id, now);
        }
        let limit = policy.timeout(self.conns.hot(id));
        self.conns.wheel.set(id.0, now.wrapping_add(limit));
        if self.ledger.is_on() {
            self.ledger.note4(self.conns.hot(id), self.conns.warm(id).serial, now, None);
        }
        Ok(Admission::New { id, tls_proxy: service(policy, &real) })
    }

    /// The destination as it really is: by a static rule, by an xlate, or as it was called.
    fn target(&self, key: &Key, in_if: u8, policy: &Policy<'_>, paths: &impl Paths) -> Target {
        let none = Target::as_called(key);
        let to_rule = |ifindex| {
            policy.nat.untranslate(key, ifindex).map(|un| Target {
                key: Key { dst: un.addr, dport: un.port, ..*key },
                out_if: un.out_if,
                rule: Some(un.rule),
                twice: un.twice,
                ..none
            })
        };
        if let Some(target) = to_rule(in_if) {
            return target;
        }
        if !policy.nat.is_shown(key.dst) {
            return none;
        }
        let may_turn = policy.globals.flags & SAME_SECURITY_INTRA != 0;
        let id = self.xlates.by_mapped(key.proto, key.dst, key.dport);
        if let Some(id) = id
            && let Some(x) = self.xlates.get(id)
            // Nobody knows whose identifier an outsider's query means.
            && (key.proto != ICMP || x.is_one_to_one())
            && (x.mapped_if == in_if || may_turn)
        {
            let dport = if x.is_one_to_one() { key.dport } else { x.real_port };
            let hairpin = (x.mapped_if != in_if).then_some(x.mapped_if);
            let key = Key { dst: x.real, dport, ..*key };
            return Target { key, out_if: Some(x.real_if), xlate: id, hairpin, ..none };
        }
        if may_turn
            && let Some(beyond) = paths.egress(key.dst).filter(|beyond| *beyond != in_if)
            && let Some(target) = to_rule(beyond).filter(|target| target.twice == Twice::No)
        {
            return Target { hairpin: Some(beyond), ..target };
        }
        none
    }

    /// The source as it will be shown: the key that leaves, and its xlate.
    fn show(
        &mut self,
        target: &Target,
        policy: &Policy<'_>,
        (real_if, mapped_if): (u8, u8),
        paths: &impl Paths,
        now: Tick,
        seen: Option<&Seen>,
        hits: &mut Hits,
    ) -> Step<(Key, XlateId, Made)> {
        let real = &target.key;
        let source = match (target.twice, target.rule) {
            (Twice::Shown(src, sport), _) => {
                return Ok((Key { src, sport, ..*real }, NO_XLATE, Made::Before));
            }
            (Twice::SameRule, Some(rule)) => {
                policy.nat.source_by(rule, real).unwrap_or(Source::Unchanged(Some(rule)))
            }
            (Twice::SameRule | Twice::No, _) => seen
                .and_then(|seen| seen.source(real, mapped_if))
                .unwrap_or_else(|| policy.nat.source(real, real_if, mapped_if)),
        };
        let rule = match source {
            Source::Unchanged(rule) => rule,
            Source::Fixed { rule, .. } | Source::Dynamic { rule } => Some(rule),
        };
        hits.translate = rule.map(|rule| policy.nat.rules()[rule].counter);
        let unchanged = (*real, NO_XLATE, Made::Before);
        match source {
            Source::Unchanged(_) => Ok(unchanged),
            Source::Fixed { addr, port, .. } => {
                Ok((Key { src: addr, sport: port, ..*real }, NO_XLATE, Made::Before))
            }
            Source::Dynamic { rule } => {
                let want = Want {
                    key: real,
                    real_if,
                    mapped_if,
                    rule,
                    pool: policy.nat.pool(rule),
                    block_size: policy.globals.block_size,
                    blocks_per_host: policy.globals.blocks_per_host,
                    pair: false,
                };
                if want.pool.flags & NAT_EXTENDED != 0 && !want.pool.one_to_one {
                    let shown = self.extended(&want, paths).ok_or(DropReason::PatPoolExhausted)?;
                    return Ok((shown, NO_XLATE, Made::Before));
                }
                let prefer = |dst, dport| paths.prefers(&Key { dst, dport, ..real.mirror() });
                let obtained = self.xlates.obtain(&want, now, &mut self.rng, prefer);
                let (id, made) = obtained.map_err(|e| match e {
                    XlateError::PortsExhausted => DropReason::PatPoolExhausted,
                    XlateError::HostLimit => DropReason::PatHostLimit,
                    XlateError::TableFull => DropReason::NatXlateFailed,
                })?;
                let x = self.xlates.get(id).ok_or(DropReason::NatXlateFailed)?;
                let sport = if x.is_one_to_one() { real.sport } else { x.mapped_port };
                Ok((Key { src: x.mapped, sport, ..*real }, id, made))
            }
        }
    }
}

/// Where a packet really goes.
struct Target {
    /// With the real destination.
    key: Key,
    /// The interface it stands behind, where NAT says so.
    out_if: Option<u8>,
    /// The static rule that said so.
    rule: Option<usize>,
    twice: Twice,
    /// The xlate that said so, or [`NO_XLATE`].
    xlate: XlateId,
    /// The interface that it would have come back by.
    hairpin: Option<u8>,
}

impl Target {
    /// What nothing translates.
    fn as_called(key: &Key) -> Self {
        Self { key: *key, out_if: None, rule: None, twice: Twice::No, xlate: NO_XLATE, hairpin: None }
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

/// Whether the ingress ACL's `decision` is a denial that no other ACL is asked after, and that is told without `log`.
pub(crate) fn is_last_word(decision: &acl::Decision, policy: &Policy<'_>) -> bool {
    let last = decision.ace.is_some() || policy.acls.get(policy.globals.acl_global as usize).is_none();
    !decision.permit && decision.flags & ACE_LOG == 0 && last
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
    seen: Option<&Seen>,
    hits: &mut Hits,
) -> Step<()> {
    permit_by(policy, from, to, hits, |index| match seen.and_then(|seen| seen.decision(index, real)) {
        Some(decision) => Some(decision),
        None => acl::classify(policy, index, real, (first.icmp_type, first.icmp_code)),
    })
}

/// The ASA's order, for either family: the ACL of the ingress interface, the global one, security levels where neither stands, the ACL of the
/// egress interface. `classify` gives what the ACL of an index decides; `None` where there is no such ACL.
pub(crate) fn permit_by(
    policy: &Policy<'_>,
    from: (u8, &Interface),
    to: (u8, &Interface),
    hits: &mut Hits,
    classify: impl Fn(u32) -> Option<acl::Decision>,
) -> Step<()> {
    let ask = |hits: &mut Hits, index: u32, slot: usize| -> Option<acl::Decision> {
        let decision = classify(index)?;
        hits.aces[slot] = decision.counter;
        if decision.is_told() {
            hits.told[slot] = Some(Told { acl: index, decision });
        }
        Some(decision)
    };
    let own = ask(hits, from.1.acl_in, 0);
    // The implicit deny of an interface ACL moves behind the global ACL where there is one.
    let undecided = own.is_none_or(|d| d.ace.is_none());
    let global = if undecided { ask(hits, policy.globals.acl_global, 1) } else { None };
    if global.is_some() {
        hits.told[0] = None;
    }
    let permitted = match (own, global) {
        (Some(d), None) => d.permit,
        (_, Some(g)) => g.permit,
        (None, None) => {
            let passes =
                acl::by_security_level((from.0.into(), from.1), (to.0.into(), to.1), policy.globals.flags);
            if !passes {
                hits.told[0] = Some(Told { acl: BY_LEVEL, decision: acl::Decision::IMPLICIT_DENY });
            }
            passes
        }
    };
    if !permitted {
        return Err(DropReason::AclDrop);
    }
    match ask(hits, to.1.acl_out, 2) {
        Some(d) if !d.permit => Err(DropReason::AclDrop),
        Some(_) | None => Ok(()),
    }
}

/// The replies' source, translated by the same rules on their way to `shown_if`, must be what the initiator called
/// (`nat-rpf-failed`).
fn replies_return(policy: &Policy<'_>, called: &Key, target: &Target, shown_if: u8, out_if: u8) -> Step<()> {
    if target.twice != Twice::No {
        return Ok(()); // one rule, and it holds both ways
    }
    let real = &target.key;
    let agrees = match policy.nat.source(&real.mirror(), out_if, shown_if) {
        Source::Unchanged(_) => (called.dst, called.dport) == (real.dst, real.dport),
        Source::Fixed { addr, port, .. } => (called.dst, called.dport) == (addr, port),
        Source::Dynamic { .. } => target.xlate != NO_XLATE,
    };
    if agrees { Ok(()) } else { Err(DropReason::NatRpfFailed) }
}

/// The TLS proxy that takes a TCP connection, if a service class does.
fn service(policy: &Policy<'_>, real: &Key) -> Option<u32> {
    if real.proto != TCP {
        return None;
    }
    let proxies = policy.classes.iter().filter(|class| class.tls_proxy != NONE);
    let permits = |acl| acl::classify(policy, acl, real, (0, 0)).is_some_and(|decision| decision.permit);
    proxies.filter(|class| class.acl == NONE || permits(class.acl)).map(|class| class.tls_proxy).next()
}

/// The state that a connection begins in; one that is not followed is open from the first.
pub(crate) fn first_state(proto: u8, settings: Option<&ServiceClass>) -> State {
    let followed = proto == TCP && !settings.is_some_and(ServiceClass::is_bypass);
    if followed { State::SynSent } else { State::Established }
}
