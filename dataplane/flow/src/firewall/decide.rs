// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is decided on the first packet of a connection, in the ASA's order ([`super`]): the half of admission that changes nothing.
//!
//! [`Flow::decide`] takes a packet as far as a [`Plan`] of its connection, or to the reason why there is none. It tells a
//! [`Trace`] of each step: nobody when a packet is there, `packet-tracer` when one is only thought of. Worker cores, slow path.

use super::{First, Hits, Paths, Step, Told};
use crate::acl;
use crate::ahead::Seen;
use crate::key::{ICMP, Key, TCP, UDP};
use crate::limits::{self, Reached};
use crate::media::HoleId;
use crate::nat::{Source, Twice};
use crate::tcp::{self, State};
use crate::trace::Trace;
use crate::xlate::{NO_XLATE, XlateId};
use crate::{Flow, Policy};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{AclPlace, BY_LEVEL, Phase, Socket, Translator};
use fedgate_tables::policy::{ACE_LOG, Interface, NONE, SAME_SECURITY_INTRA, ServiceClass};
use fedgate_wire::icmp4::Class;

/// What is decided on a first packet before anything is made of it.
pub(crate) enum Decided<'p> {
    /// A connection is to be made.
    Begins(Plan<'p>),
    /// As [`Admission::Local`].
    Local,
    /// As [`Admission::Intercept`].
    Intercept { out_if: u8, limit: DropReason },
}

/// A connection that is to be made.
pub(crate) struct Plan<'p> {
    pub target: Target,
    pub out_if: u8,
    /// Where the source is shown: where it leaves, or where it would have left.
    pub shown_if: u8,
    pub inbound: bool,
    pub state: State,
    pub class: Option<&'p ServiceClass>,
    pub hole: Option<HoleId>,
    pub shown: Shown,
    /// Counter slot of the rule that shows it so.
    pub nat: Option<u32>,
    /// Class (by slot) and TLS proxy that take it.
    pub service: Option<(u32, u32)>,
}

/// How the source of a packet is to be shown.
#[derive(Clone, Copy)]
pub(crate) enum Shown {
    /// As this.
    As { src: u32, sport: u16 },
    /// As this dynamic rule finds.
    By { rule: usize },
}

impl Flow {
    /// Decides on `first`, telling `trace` of each step.
    ///
    /// # Errors
    /// Why it is dropped.
    #[inline]
    pub(crate) fn decide<'p>(
        &self,
        first: &First,
        policy: &Policy<'p>,
        paths: &impl Paths,
        proven: bool,
        seen: Option<&Seen>,
        hits: &mut Hits,
        trace: &mut impl Trace,
    ) -> Step<Decided<'p>> {
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
        let called = Socket::v4(key.dst, key.dport);
        let real = target.key;
        if let Some(by) = target.by(policy) {
            let (real, out_if) = (Socket::v4(real.dst, real.dport), target.out_if);
            trace.note(|| Phase::Untranslated { by, called, real, out_if });
        } else if !passes_by {
            if policy.interfaces.iter().any(|i| i.addr == key.dst) {
                return Ok(Decided::Local);
            }
            if policy.nat.is_mapped_address(key.dst, in_if) {
                trace.note(|| Phase::NoTranslation { called });
                return Err(DropReason::NoXlateToPat);
            }
        }
        hits.untranslate = target.rule.map(|rule| policy.nat.rules()[rule].counter);
        // Before any state is made: a traceroute leaves none.
        if first.ttl <= 1 {
            return Err(DropReason::TtlExceeded);
        }
        let egress = || seen.and_then(|seen| seen.egress(&real)).or_else(|| paths.egress(real.dst));
        let out_if = target.out_if.or_else(egress);
        if target.out_if.is_none() {
            trace.note(|| Phase::Route { dst: real.dst.into(), next_hop: None, out_if });
        }
        let out_if = out_if.ok_or(DropReason::NoRoute)?;
        (hits.real, hits.out_if) = (Some((real.dst, real.dport)), Some(out_if));
        let from = interface(policy, in_if)?;
        let to = interface(policy, out_if)?;

        let hole = self.hole(&key, &real, in_if, out_if);
        match hole {
            None => permit(policy, &real, first, (in_if, from), (out_if, to), seen, hits, trace)?,
            Some(_) => trace.note(|| Phase::Pinhole),
        }
        let shown_if = target.hairpin.unwrap_or(out_if);
        replies_return(policy, &key, &target, target.hairpin.unwrap_or(in_if), out_if, trace)?;
        let class = settings();
        let state = first_state(key.proto, class);
        if let Some(class) = class {
            let client = limits::client_v4(key.src);
            let within = self.limits.may_begin(class, client);
            if let Err(reached) = within {
                trace.note(|| settings_phase(class, Some(reached), false));
                return Err(hits.refused(reached));
            }
            if state == State::SynSent
                && !proven
                && let Err(reached) = self.limits.may_be_embryonic(class, client)
                // One that a TLS proxy takes is not embryonic, and must not suffer for those that are.
                && service(policy, &real).is_none()
            {
                trace.note(|| settings_phase(class, Some(reached), true));
                return Ok(Decided::Intercept { out_if, limit: hits.refused(reached) });
            }
            trace.note(|| settings_phase(class, None, false));
        }

        if self.proxy_is_crowded && !proven && key.proto == TCP && service(policy, &real).is_some() {
            trace.note(|| Phase::Crowded);
            return Ok(Decided::Intercept { out_if, limit: DropReason::ProxySessionLimit });
        }
        let (shown, nat) = self.showing(&target, policy, (in_if, shown_if), seen);
        hits.translate = nat;
        let service = service(policy, &real).map(|class| (class.slot, class.tls_proxy));
        let inbound = from.security < to.security;
        Ok(Decided::Begins(Plan {
            target,
            out_if,
            shown_if,
            inbound,
            state,
            class,
            hole,
            shown,
            nat,
            service,
        }))
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

    /// How the source is to be shown, and the counter slot of the rule that says so.
    #[inline]
    fn showing(
        &self,
        target: &Target,
        policy: &Policy<'_>,
        (real_if, mapped_if): (u8, u8),
        seen: Option<&Seen>,
    ) -> (Shown, Option<u32>) {
        let real = &target.key;
        let source = match (target.twice, target.rule) {
            (Twice::Shown(src, sport), _) => return (Shown::As { src, sport }, None),
            (Twice::SameRule, Some(rule)) => {
                policy.nat.source_by(rule, real).unwrap_or(Source::Unchanged(Some(rule)))
            }
            (Twice::SameRule | Twice::No, _) => seen
                .and_then(|seen| seen.source(real, mapped_if))
                .unwrap_or_else(|| policy.nat.source(real, real_if, mapped_if)),
        };
        let (shown, rule) = match source {
            Source::Unchanged(rule) => (Shown::As { src: real.src, sport: real.sport }, rule),
            Source::Fixed { addr, port, rule } => (Shown::As { src: addr, sport: port }, Some(rule)),
            Source::Dynamic { rule } => (Shown::By { rule }, Some(rule)),
        };
        (shown, rule.map(|rule| policy.nat.rules()[rule].counter))
    }
}

/// Where a packet really goes.
pub(crate) struct Target {
    /// With the real destination.
    pub key: Key,
    /// The interface it stands behind, where NAT says so.
    out_if: Option<u8>,
    /// The static rule that said so.
    rule: Option<usize>,
    twice: Twice,
    /// The xlate that said so, or [`NO_XLATE`].
    pub xlate: XlateId,
    /// The interface that it would have come back by.
    hairpin: Option<u8>,
}

impl Target {
    /// What nothing translates.
    fn as_called(key: &Key) -> Self {
        Self { key: *key, out_if: None, rule: None, twice: Twice::No, xlate: NO_XLATE, hairpin: None }
    }

    /// What says so.
    fn by(&self, policy: &Policy<'_>) -> Option<Translator> {
        match self.rule {
            Some(rule) => Some(Translator::Rule(policy.nat.rules()[rule].counter)),
            None => (self.xlate != NO_XLATE).then_some(Translator::Xlate),
        }
    }
}

/// The class whose settings hold, for the trace.
pub(crate) fn settings_phase(class: &ServiceClass, reached: Option<Reached>, intercepts: bool) -> Phase {
    Phase::Settings { class: class.slot, reached: reached.map(|reached| reached.which), intercepts }
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
    seen: Option<&Seen>,
    hits: &mut Hits,
    trace: &mut impl Trace,
) -> Step<()> {
    permit_by(policy, from, to, hits, (trace, element), |index| {
        match seen.and_then(|seen| seen.decision(index, real)) {
            Some(decision) => Some(decision),
            None => acl::classify(policy, index, real, (first.icmp_type, first.icmp_code)),
        }
    })
}

/// The ASA's order, for either family: the ACL of the ingress interface, the global one, security levels where neither stands, the ACL of the
/// egress interface. `classify` gives what the ACL of an index decides; `None` where there is no such ACL. `element` gives line and hash of an
/// ACE for the trace.
pub(crate) fn permit_by(
    policy: &Policy<'_>,
    from: (u8, &Interface),
    to: (u8, &Interface),
    hits: &mut Hits,
    (trace, element): (&mut impl Trace, impl Fn(&Policy<'_>, u32) -> Option<(u32, u32)>),
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
    let said = |place: AclPlace, acl: u32, decision: &acl::Decision, undecided: bool| Phase::Acl {
        place,
        acl,
        line: decision.ace.and_then(|ace| element(policy, ace)),
        permit: decision.permit,
        log: decision.flags & ACE_LOG != 0,
        undecided,
    };
    let own = ask(hits, from.1.acl_in, 0);
    // The implicit deny of an interface ACL moves behind the global ACL where there is one.
    let undecided = own.is_none_or(|d| d.ace.is_none());
    let global = if undecided { ask(hits, policy.globals.acl_global, 1) } else { None };
    if let Some(own) = &own {
        trace.note(|| said(AclPlace::In, from.1.acl_in, own, global.is_some()));
    }
    if let Some(global) = &global {
        hits.told[0] = None;
        trace.note(|| said(AclPlace::Global, policy.globals.acl_global, global, false));
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
            trace.note(|| Phase::Level { levels: [from.1.security, to.1.security], permit: passes });
            passes
        }
    };
    if !permitted {
        return Err(DropReason::AclDrop);
    }
    let out = ask(hits, to.1.acl_out, 2);
    if let Some(out) = &out {
        trace.note(|| said(AclPlace::Out, to.1.acl_out, out, false));
    }
    match out {
        Some(d) if !d.permit => Err(DropReason::AclDrop),
        Some(_) | None => Ok(()),
    }
}

/// Line and hash of an IPv4 ACE.
fn element(policy: &Policy<'_>, ace: u32) -> Option<(u32, u32)> {
    policy.aces.get(ace as usize).map(|ace| (ace.line, ace.id))
}

/// The replies' source, translated by the same rules on their way to `shown_if`, must be what the initiator called
/// (`nat-rpf-failed`).
fn replies_return(
    policy: &Policy<'_>,
    called: &Key,
    target: &Target,
    shown_if: u8,
    out_if: u8,
    trace: &mut impl Trace,
) -> Step<()> {
    if target.twice != Twice::No {
        return Ok(()); // one rule, and it holds both ways
    }
    let real = &target.key;
    let (agrees, rule) = match policy.nat.source(&real.mirror(), out_if, shown_if) {
        Source::Unchanged(rule) => ((called.dst, called.dport) == (real.dst, real.dport), rule),
        Source::Fixed { addr, port, rule } => ((called.dst, called.dport) == (addr, port), Some(rule)),
        Source::Dynamic { rule } => (target.xlate != NO_XLATE, Some(rule)),
    };
    if rule.is_some() || !agrees {
        let nat = rule.map(|rule| policy.nat.rules()[rule].counter);
        trace.note(|| Phase::Replies { nat, permit: agrees });
    }
    if agrees { Ok(()) } else { Err(DropReason::NatRpfFailed) }
}

/// The class whose TLS proxy takes a TCP connection, if one does.
fn service<'p>(policy: &Policy<'p>, real: &Key) -> Option<&'p ServiceClass> {
    if real.proto != TCP {
        return None;
    }
    let mut proxies = policy.classes.iter().filter(|class| class.tls_proxy != NONE);
    let permits = |acl| acl::classify(policy, acl, real, (0, 0)).is_some_and(|decision| decision.permit);
    proxies.find(|class| class.acl == NONE || permits(class.acl))
}

/// The state that a connection begins in; one that is not followed is open from the first.
pub(crate) fn first_state(proto: u8, settings: Option<&ServiceClass>) -> State {
    let followed = proto == TCP && !settings.is_some_and(ServiceClass::is_bypass);
    if followed { State::SynSent } else { State::Established }
}
