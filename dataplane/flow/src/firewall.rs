// SPDX-License-Identifier: MIT OR Apache-2.0
//! Admission: what happens to the first packet of a connection.
//!
//! The ASA's order (8.3 and later): un-NAT the destination, route it, ACL of the ingress interface on real addresses, global
//! ACL, security levels where neither stands, ACL of the egress interface, the check that replies will find their way back through
//! the same rules, NAT of the source, the service classes (inspect sip + tls-proxy), and the entry. Every refusal is a
//! named drop. What passes through a pinhole of SIP inspection ([`crate::media`]) is asked no ACL. Later packets never come here.
//! [`decide`] is the half that only decides, and changes nothing; [`Flow::admit`] then makes what it has decided on.
//! `packet-tracer` has the first half to itself ([`crate::trace`]). Worker cores, slow path.
//!
//! Hairpin (RFC 4787 REQ-9): a packet to an address that NAT shows on *another* interface is treated as if it had gone out there
//! and come back, its source translated as on that way; only under `same-security-traffic permit intra-interface`.

mod decide;

use crate::acl;
use crate::ahead::Seen;
use crate::conn::{ConnId, NO_CLASS, NewConn};
use crate::key::Key;
use crate::limits::{self, Member, Reached};
use crate::xlate::{Made, NO_XLATE, Want, XlateId};
use crate::{Flow, Policy, Tick};
pub(crate) use decide::{Decided, Plan, Shown, first_state, permit_by, settings_phase};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::ACE_LOG;
use fedgate_wire::Parsed;

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

impl First {
    /// Of a packet that arrived on `in_if`.
    #[inline]
    pub fn of(parsed: &Parsed, in_if: u8) -> Self {
        Self {
            key: parsed.tuple,
            in_if,
            tcp_flags: parsed.tcp_flags.0,
            icmp_type: parsed.icmp_type,
            icmp_code: parsed.icmp_code,
            ttl: parsed.ttl,
        }
    }
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
        let decided = self.decide(first, policy, paths, proven, seen, hits, &mut ());
        match decided.inspect_err(|_| hits.reached.iter().for_each(|at| self.limits.count_refused(at)))? {
            Decided::Begins(plan) => self.make(first, &plan, policy, paths, now),
            Decided::Local => Ok(Admission::Local),
            Decided::Intercept { out_if, limit } => Ok(Admission::Intercept { out_if, limit }),
        }
    }

    /// Makes the connection that was decided on.
    fn make(
        &mut self,
        first: &First,
        plan: &Plan<'_>,
        policy: &Policy<'_>,
        paths: &impl Paths,
        now: Tick,
    ) -> Step<Admission> {
        let key = first.key;
        let target = &plan.target;
        let (shown, xlate, made) = match plan.shown {
            Shown::As { src, sport } => (Key { src, sport, ..target.key }, NO_XLATE, Made::Before),
            Shown::By { rule } => self.obtain(rule, plan, (first.in_if, policy), paths, now)?,
        };
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
            iface: [first.in_if, plan.out_if],
            state: plan.state,
            inbound: plan.inbound,
            xlate: held,
            class: plan.class.map_or(NO_CLASS, |class| class.slot as u8),
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
            e.reason()
        })?;
        let hot = self.conns.hot_mut(id);
        hot.flags |= plan.class.map_or(0, |class| limits::flags_of(class, key.proto));
        self.limits.follow(None, Member::of(hot));
        if let Some(hole) = plan.hole {
            self.through(hole, id, now);
        }
        let limit = policy.timeout(self.conns.hot(id));
        self.conns.wheel.set(id.0, now.wrapping_add(limit));
        self.began(id, now);
        Ok(Admission::New { id, tls_proxy: plan.service.map(|(_, proxy)| proxy) })
    }

    /// The source as a dynamic rule shows it: the key that leaves, and its xlate.
    fn obtain(
        &mut self,
        rule: usize,
        plan: &Plan<'_>,
        (real_if, policy): (u8, &Policy<'_>),
        paths: &impl Paths,
        now: Tick,
    ) -> Step<(Key, XlateId, Made)> {
        let real = &plan.target.key;
        let want = want(rule, plan, real_if, policy);
        if want.is_extended() {
            let shown = self.extended(&want, paths).ok_or(DropReason::PatPoolExhausted)?;
            return Ok((shown, NO_XLATE, Made::Before));
        }
        let prefer = |dst, dport| paths.prefers(&Key { dst, dport, ..real.mirror() });
        let obtained = self.xlates.obtain(&want, now, &mut self.rng, prefer);
        let (id, made) = obtained.map_err(|e| e.reason())?;
        let x = self.xlates.get(id).ok_or(DropReason::NatXlateFailed)?;
        let sport = if x.is_one_to_one() { real.sport } else { x.mapped_port };
        Ok((Key { src: x.mapped, sport, ..*real }, id, made))
    }

    /// What [`Self::obtain`] would give, without any effect: the key that leaves, and whether its translation is new.
    pub(crate) fn rehearse(
        &mut self,
        rule: usize,
        plan: &Plan<'_>,
        (real_if, policy): (u8, &Policy<'_>),
        paths: &impl Paths,
    ) -> Step<(Key, Made)> {
        let real = &plan.target.key;
        let want = want(rule, plan, real_if, policy);
        let mut dice = self.rng.clone();
        if want.is_extended() {
            std::mem::swap(&mut dice, &mut self.rng);
            let shown = self.extended(&want, paths);
            std::mem::swap(&mut dice, &mut self.rng);
            return shown.map(|shown| (shown, Made::Now)).ok_or(DropReason::PatPoolExhausted);
        }
        let prefer = |dst, dport| paths.prefers(&Key { dst, dport, ..real.mirror() });
        let (src, sport, made) = self.xlates.foresee(&want, &mut dice, prefer).map_err(|e| e.reason())?;
        Ok((Key { src, sport, ..*real }, made))
    }
}

/// What a dynamic rule is asked for.
fn want<'a>(rule: usize, plan: &'a Plan<'_>, real_if: u8, policy: &Policy<'a>) -> Want<'a> {
    Want {
        key: &plan.target.key,
        real_if,
        mapped_if: plan.shown_if,
        rule,
        pool: policy.nat.pool(rule),
        block_size: policy.globals.block_size,
        blocks_per_host: policy.globals.blocks_per_host,
        pair: false,
    }
}

/// Whether the ingress ACL's `decision` is a denial that no other ACL is asked after, and that is told without `log`.
pub(crate) fn is_last_word(decision: &acl::Decision, policy: &Policy<'_>) -> bool {
    let last = decision.ace.is_some() || policy.acls.get(policy.globals.acl_global as usize).is_none();
    !decision.permit && decision.flags & ACE_LOG == 0 && last
}
