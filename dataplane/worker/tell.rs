// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an operator is told of first packets: what access-lists denied, or permitted by a line with `log`, and bounds that were
//! reached.
//!
//! A flood of one flow is counted here and told ten times a second, so that its messages carry the true count and its
//! events do not crowd out others. [`Hits`] is direct-mapped: a flow whose place another one needs is told at once. Flows
//! that all differ are held to a rate; what is over is counted ([`Stat::AclHitsLost`]). Which line is written, at which level
//! and how often, is control's to say: here is no clock of an ACE. The ACE of a plain denial is looked at only when it is told, for in a long
//! list it is a cache line that nothing else needs. Worker core, slow path; no allocation after the start.

use super::clock::Now;
use super::net::{LogKind, Net};
use super::runtime::View;
use fedgate_flow::acl::Decision;
use fedgate_flow::firewall::{self, Told};
use fedgate_flow::key::fold;
use fedgate_flow::limits::Reached;
use fedgate_tables::counters::Stat;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{AclFlow, Addr, BY_LEVEL, Bound, Event, NO_CONNECTION, Packet5};
use fedgate_tables::policy::{ACE_LOG, ACE_QUIET, NONE};

/// Flows that are counted at once.
const PLACES: usize = 256;
/// How long a flow is counted before it is told.
const HOLD_MS: u64 = 100;
/// Places looked at in one loop, while something waits.
const A_LOOP: usize = 16;

/// What one flow met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    flow: AclFlow,
    /// The ACE, by which the flow has yet to be given line and hash; [`NONE`] where there is none, or it is known no more.
    ace: u32,
}

impl Held {
    /// As it is told.
    fn named(&self, view: &View<'_>) -> AclFlow {
        let ace = self.ace as usize;
        let named = match self.flow.packet.src {
            Addr::V4(_) => view.flow.aces.get(ace).map(|ace| (ace.line, ace.id)),
            Addr::V6(_) => view.flow.aces6.get(ace).map(|ace| (ace.line, ace.id)),
        };
        match named {
            Some((line, id)) => AclFlow { line, id, ..self.flow },
            None => self.flow,
        }
    }
}

/// Hits that wait to be told.
pub(super) struct Hits {
    places: Box<[Option<(Held, u32)>]>,
    held: usize,
    /// Where the present round has come to.
    at: usize,
    /// When the next round may begin, milliseconds.
    next: u64,
}

impl Default for Hits {
    fn default() -> Self {
        let places = vec![None; PLACES].into_boxed_slice();
        Self { places, held: 0, at: PLACES, next: 0 }
    }
}

impl Hits {
    /// One more of `new`. Gives what had to make room for it.
    fn add(&mut self, new: Held) -> Option<(Held, u32)> {
        let place = &mut self.places[place(&new.flow)];
        match place {
            Some((held, hits)) if *held == new && *hits < u32::MAX => {
                *hits += 1;
                None
            }
            _ => {
                let before = place.replace((new, 1));
                self.held += usize::from(before.is_none());
                before
            }
        }
    }

    /// The next of what has waited long enough, as far as this loop may look.
    fn due(&mut self, now_ms: u64, looks: &mut usize) -> Option<(Held, u32)> {
        if self.at == PLACES {
            if self.held == 0 || now_ms < self.next {
                return None;
            }
            (self.at, self.next) = (0, now_ms + HOLD_MS);
        }
        while *looks > 0 && self.at < PLACES {
            *looks -= 1;
            self.at += 1;
            if let Some(due) = self.places[self.at - 1].take() {
                self.held -= 1;
                return Some(due);
            }
        }
        None
    }

    /// Another policy has other ACEs: plain denials under the one before are told without line and hash, as the ASA tells most.
    pub(super) fn forget_aces(&mut self) {
        for (held, _) in self.places.iter_mut().flatten() {
            held.ace = NONE;
        }
    }
}

/// Where a flow is counted. Whoever makes flows collide only makes them be told sooner.
fn place(flow: &AclFlow) -> usize {
    let bits = |addr: Addr| match addr {
        Addr::V4(addr) => u64::from(addr),
        Addr::V6(addr) => {
            let bits = addr.to_bits();
            fold((bits >> 64) as u64, bits as u64 | 1)
        }
    };
    let Packet5 { src, sport, dst, dport, .. } = flow.packet;
    let rest =
        u64::from(sport) << 48 | u64::from(dport) << 32 | u64::from(flow.acl ^ flow.line.rotate_left(16));
    fold(bits(src).rotate_left(32) ^ bits(dst) ^ 0x9e37_79b9_7f4a_7c15, rest ^ 0xa076_1d64_78bd_642f) as usize
        % PLACES
}

/// Notes what access-lists said of a packet, which is put into words only where there is something to tell.
#[inline]
pub(super) fn acls(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    packet: impl Fn() -> Packet5,
    hits: &firewall::Hits,
) {
    for told in hits.told.iter().flatten() {
        let Told { acl, decision } = *told;
        if decision.flags & ACE_QUIET != 0 {
            continue;
        }
        let log = decision.flags & ACE_LOG != 0;
        if !log && is_lost(net, now) {
            continue;
        }
        let packet = packet();
        // A flow of an access-list is one whatever its flags.
        let flags = if acl == BY_LEVEL { packet.flags } else { 0 };
        let packet = Packet5 { flags, ..packet };
        let flow = AclFlow { acl, permitted: decision.permit, log, packet, ..AclFlow::default() };
        let held = Held { flow, ace: decision.ace.unwrap_or(NONE) };
        // The log counts by line: those are named while it is sure which.
        let held = if log { Held { flow: held.named(view), ace: NONE } } else { held };
        note(net, view, now, held);
    }
}

/// Whether nothing will be told of a plain denial, because its line is a quiet one or the log's rate is used up, which is counted.
#[inline]
pub(super) fn is_drowned(net: &mut Net, now: Now, denial: &Decision) -> bool {
    denial.flags & ACE_QUIET != 0 || is_lost(net, now)
}

/// Whether the log's rate is used up. A flood of plain denials then costs no more than finding that out, and is counted.
#[inline]
fn is_lost(net: &mut Net, now: Now) -> bool {
    let drowned = net.logs_no_more(now, LogKind::Acl);
    net.counters.add(Stat::AclHitsLost, drowned.into());
    drowned
}

fn note(net: &mut Net, view: &View<'_>, now: Now, held: Held) {
    if let Some((held, hits)) = net.acl_hits.add(held) {
        tell(net, view, now, &held, hits);
    }
}

/// Tells what is due; once a loop. Gives the work that was, or that is left of the round.
pub(super) fn due(net: &mut Net, view: &View<'_>, now: Now) -> usize {
    let (mut looks, mut told) = (A_LOOP, 0);
    while let Some((held, hits)) = net.acl_hits.due(now.millis(), &mut looks) {
        tell(net, view, now, &held, hits);
        told += 1;
    }
    told + usize::from(net.acl_hits.at < PLACES)
}

fn tell(net: &mut Net, view: &View<'_>, now: Now, held: &Held, hits: u32) {
    if !(net.may_log(now, LogKind::Acl) && net.event(Event::AclHits { flow: held.named(view), hits })) {
        net.counters.add(Stat::AclHitsLost, hits.into());
    }
}

/// A packet that would have begun a connection was dropped: where that was for want of room, it is counted, and told at a rate.
#[inline]
pub(super) fn refused(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    packet: impl FnOnce() -> Packet5,
    reason: DropReason,
    hits: &firewall::Hits,
) {
    let bound = match (reason, hits.reached, hits.translate) {
        (DropReason::TcpNotSyn, _, _) if is_lost(net, now) => return,
        (DropReason::TcpNotSyn, _, _) => {
            let flow = AclFlow { acl: NO_CONNECTION, packet: packet(), ..AclFlow::default() };
            return note(net, view, now, Held { flow, ace: NONE });
        }
        // The log has had its line when the intercepting began.
        (DropReason::TcpInterceptKill, _, _) => return net.counters.add(Stat::ConnsRefused, 1),
        (DropReason::ConnTableFull, _, _) => Bound::Conns,
        (DropReason::PatPoolExhausted, _, Some(rule)) => Bound::Pool { rule },
        (DropReason::PatHostLimit, _, _) => Bound::Blocks,
        (_, Some(reached), _) => of_class(reached),
        (_, None, _) => return,
    };
    net.counters.add(Stat::ConnsRefused, 1);
    limit(net, now, packet(), bound);
}

/// A SYN above an embryonic limit is intercepted. Told once an attack, not once a SYN.
pub(super) fn intercepts(net: &mut Net, now: Now, packet: Packet5, hits: &firewall::Hits) {
    if let Some(reached) = hits.reached.filter(|_| !net.flow.intercepts(now.tick())) {
        limit(net, now, packet, of_class(reached));
    }
}

fn of_class(reached: Reached) -> Bound {
    Bound::Class { slot: reached.slot.into(), which: reached.which, has: reached.has, limit: reached.limit }
}

fn limit(net: &mut Net, now: Now, packet: Packet5, bound: Bound) {
    if net.may_log(now, LogKind::Firewall) {
        net.event(Event::Limit { bound, packet });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(dport: u16) -> Held {
        let flow = AclFlow { packet: Packet5 { dport, ..Packet5::default() }, ..AclFlow::default() };
        Held { flow, ace: 1 }
    }

    fn all_due(hits: &mut Hits, now_ms: u64) -> Vec<(Held, u32)> {
        let mut all = Vec::new();
        for _ in 0..PLACES / A_LOOP {
            let mut looks = A_LOOP;
            all.extend(std::iter::from_fn(|| hits.due(now_ms, &mut looks)));
        }
        all
    }

    /// Whatever comes in, and however places collide, each hit is told once: as many come out as went in, a flow.
    #[test]
    fn no_hit_is_lost_or_told_twice() {
        let mut hits = Hits::default();
        let mut told = std::collections::HashMap::<u16, u64>::new();
        let mut note = |(held, hits): (Held, u32)| {
            *told.entry(held.flow.packet.dport).or_default() += u64::from(hits);
        };
        for n in 0..20_000u32 {
            // Every other hit is of one flow.
            let port = if n % 2 == 0 { 7 } else { (n % 3000) as u16 };
            hits.add(held(port)).into_iter().for_each(&mut note);
            if n % 1000 == 999 {
                all_due(&mut hits, 1 + u64::from(n)).into_iter().for_each(&mut note);
            }
        }
        all_due(&mut hits, 1_000_000).into_iter().for_each(&mut note);
        assert_eq!(hits.held, 0);
        assert_eq!(told.values().sum::<u64>(), 20_000);
        let sevens = (0..20_000u32).filter(|n| n % 2 == 0 || n % 3000 == 7).count() as u64;
        assert_eq!(told[&7], sevens);
    }

    #[test]
    fn a_flood_of_one_flow_is_told_ten_times_a_second() {
        let mut hits = Hits::default();
        let mut told = Vec::new();
        for ms in 0..1000 {
            for _ in 0..1000 {
                assert_eq!(hits.add(held(5)), None);
            }
            for _ in 0..PLACES / A_LOOP {
                let mut looks = A_LOOP;
                told.extend(std::iter::from_fn(|| hits.due(ms, &mut looks)));
            }
        }
        assert_eq!(told.len(), 10);
        assert!(told[1..].iter().all(|(_, hits)| *hits == 100_000), "{told:?}");
    }
}
