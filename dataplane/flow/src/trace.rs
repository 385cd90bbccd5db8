// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who hears what admission decides, step by step: nobody when a packet is there, `packet-tracer` when one is only thought of.
//!
//! Admission is generic over it, so that the workers' own code, which gives `()`, has no trace of it. What is heard of is a
//! [`Phase`] of the link to control. And what it takes to decide without doing: [`Flow::foresee`] runs the first half of admission, which by its
//! type changes nothing, and asks of the second half only what would come of it. A dynamic translation is picked by a copy of the dice
//! and given back, so that the packet itself, if it came next, would be given the same.
//!
//! Worker cores, at an operator's pace. Limit: that a bucket of the connection table's index is full (one in millions) is not foreseen.

use crate::challenge::{Followed, Whose};
use crate::conn::{ConnId, Dir, NO_SESSION, flag};
use crate::firewall::{Decided, First, Hits, Paths, Plan, Shown};
use crate::intercept;
use crate::key::{Key, TCP};
use crate::v6::{First6, Plan6};
use crate::xlate::{Made, NO_XLATE};
use crate::{Booked, Flow, Packet, Policy, Tick};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Phase, Socket};

/// Hears of each decision.
pub trait Trace {
    /// `phase` has been decided.
    fn note(&mut self, phase: impl FnOnce() -> Phase);
}

/// Hears nothing.
impl Trace for () {
    #[inline(always)]
    fn note(&mut self, _phase: impl FnOnce() -> Phase) {}
}

impl Trace for Vec<Phase> {
    fn note(&mut self, phase: impl FnOnce() -> Phase) {
        self.push(phase());
    }
}

/// What admission would make of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreseen<K> {
    /// A connection.
    New {
        /// Its first packet as it leaves.
        leaves: K,
        /// Where it leaves.
        out_if: u8,
        /// The class and the TLS proxy that take it.
        service: Option<(u32, u32)>,
    },
    /// It is for the appliance itself.
    Local,
    /// It is answered by a cookie.
    Intercept {
        /// Where it would leave.
        out_if: u8,
    },
    /// It is dropped.
    Refused(DropReason),
}

impl Flow {
    /// What [`Flow::admit`] would say of `first`, which carries `datagram` if it is one, without any effect. `over` is a connection of its that would end before.
    pub fn foresee(
        &mut self,
        first: &First,
        datagram: &[u8],
        policy: &Policy<'_>,
        paths: &impl Paths,
        over: Option<ConnId>,
        phases: &mut Vec<Phase>,
    ) -> Foreseen<Key> {
        let mut hits = Hits::default();
        let foreseen = match self.decide(first, policy, paths, false, None, &mut hits, phases) {
            Ok(Decided::Begins(plan)) => {
                let foreseen = self.foresee_conn(first, &plan, policy, paths, over, phases);
                let heard =
                    plan.hole.map_or(Ok(()), |hole| self.foresee_through(hole, first.in_if, datagram));
                heard.and(foreseen)
            }
            Ok(Decided::Local) => Ok(Foreseen::Local),
            Ok(Decided::Intercept { out_if, .. }) => Ok(Foreseen::Intercept { out_if }),
            Err(reason) => Err(reason),
        };
        foreseen.unwrap_or_else(Foreseen::Refused)
    }

    fn foresee_conn(
        &mut self,
        first: &First,
        plan: &Plan<'_>,
        policy: &Policy<'_>,
        paths: &impl Paths,
        over: Option<ConnId>,
        phases: &mut Vec<Phase>,
    ) -> Result<Foreseen<Key>, DropReason> {
        let real = &plan.target.key;
        let translated = |shown: Option<&Key>, nat: Option<u32>, dynamic: Option<bool>| {
            let shown = shown.map(|key| Socket::v4(key.src, key.sport));
            nat.map(|nat| Phase::Translated { nat, real: Socket::v4(real.src, real.sport), shown, dynamic })
        };
        let (leaves, is_new) = match plan.shown {
            Shown::As { src, sport } => {
                let leaves = Key { src, sport, ..*real };
                phases.extend(translated(Some(&leaves), plan.nat, None));
                (leaves, false)
            }
            Shown::By { rule } => {
                let picked = self.rehearse(rule, plan, (first.in_if, policy), paths);
                let shown = picked.as_ref().ok().map(|(shown, _)| shown);
                let is_new = picked.as_ref().is_ok_and(|(_, made)| *made == Made::Now);
                phases.extend(translated(shown, plan.nat, Some(is_new)));
                (picked?.0, is_new)
            }
        };
        // A hairpin holds two translations by one number.
        let slots = match plan.shown {
            Shown::By { .. } if plan.target.xlate != NO_XLATE => 1 + u32::from(is_new),
            Shown::By { .. } | Shown::As { .. } => 0,
        };
        let (forward, reverse) = (first.key.pack(), leaves.mirror().pack());
        let room = match self.xlates.has_room(slots) {
            true => self.conns.room_for([&forward, &reverse], over).map_err(|error| error.reason()),
            false => Err(DropReason::NatXlateFailed),
        };
        phases.note(|| Phase::Created { permit: room.is_ok() });
        room?;
        Ok(Foreseen::New { leaves, out_if: plan.out_if, service: plan.service })
    }

    /// What [`Flow::admit6`] would say of `first`, without any effect.
    pub fn foresee6(
        &self,
        first: &First6,
        policy: &Policy<'_>,
        egress: impl Fn(u128) -> Option<u8>,
        over: Option<ConnId>,
        phases: &mut Vec<Phase>,
    ) -> Foreseen<()> {
        let mut hits = Hits::default();
        match self.decide6(first, policy, egress, false, &mut hits, phases) {
            Ok(Plan6::Begins { out_if, .. }) => {
                let room = over.is_some() || self.conns6.has_room();
                phases.note(|| Phase::Created { permit: room });
                match room {
                    true => Foreseen::New { leaves: (), out_if, service: None },
                    false => Foreseen::Refused(DropReason::ConnTableFull),
                }
            }
            Ok(Plan6::Intercept { out_if, .. }) => Foreseen::Intercept { out_if },
            Err(reason) => Foreseen::Refused(reason),
        }
    }

    /// What [`Flow::account`] would say of a packet of a connection, without any effect.
    ///
    /// # Errors
    /// The reason to drop it.
    pub fn foresee_account(
        &self,
        id: ConnId,
        dir: Dir,
        packet: &Packet<'_>,
        now: Tick,
    ) -> Result<Booked, DropReason> {
        let (mut hot, mut warm) = (*self.conns.hot(id), *self.conns.warm(id));
        let forward = dir == Dir::Forward;
        if hot.is_opening() {
            let mut shift = hot.shift();
            let reaction =
                intercept::segment(&mut hot.track(&mut warm), &mut shift, &packet.segment, forward);
            return reaction.map(Booked::Handshake);
        }
        if hot.media().is_some() && !hot.is_common() {
            self.foresee_media(id, hot.iface[dir as usize], packet.datagram)?;
        }
        if hot.proto != TCP || hot.session() != NO_SESSION || hot.flags & flag::BYPASS != 0 {
            return Ok(Booked::Passes);
        }
        let two_sided = hot.iface[0] != hot.iface[1];
        let shift = hot.is_intercepted().then(|| hot.shift());
        let seen = shift.map_or(*packet, |shift| intercept::as_client_sees(packet, dir, shift));
        let track = &mut hot.track(&mut warm);
        self.challenges.clone().follow(Whose::v4(id.0), track, &seen, forward, two_sided, now).map(booked)
    }

    /// What [`Flow::account6`] would say of a packet of a connection, without any effect.
    ///
    /// # Errors
    /// The reason to drop it.
    pub fn foresee_account6(
        &self,
        id: ConnId,
        dir: Dir,
        packet: &Packet<'_>,
        now: Tick,
    ) -> Result<Booked, DropReason> {
        let mut hot = *self.conns6.hot(id);
        let forward = dir == Dir::Forward;
        if hot.is_opening() {
            let mut shift = hot.shift;
            return intercept::segment(&mut hot.track(), &mut shift, &packet.segment, forward)
                .map(Booked::Handshake);
        }
        if hot.proto != TCP || hot.flags & flag::BYPASS != 0 {
            return Ok(Booked::Passes);
        }
        let two_sided = hot.iface[0] != hot.iface[1];
        let shift = hot.is_intercepted().then_some(hot.shift);
        let seen = shift.map_or(*packet, |shift| intercept::as_client_sees(packet, dir, shift));
        let track = &mut hot.track();
        self.challenges.clone().follow(Whose::v6(id.0), track, &seen, forward, two_sided, now).map(booked)
    }
}

fn booked(followed: Followed) -> Booked {
    match followed {
        Followed::Same | Followed::Moved | Followed::Asked => Booked::Passes,
        Followed::Over => Booked::Afresh,
    }
}
