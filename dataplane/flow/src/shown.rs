// SPDX-License-Identifier: MIT OR Apache-2.0
//! What NAT says of an address that stands in a message rather than in a packet's header.
//!
//! A SIP server writes the address and port at which it listens into Contact and Via, and those at which media are received into a
//! description, before any packet goes there. NAT is asked as if a packet from that socket went to the peer: static rules answer at once, a
//! dynamic rule makes the xlate that such a packet would have made. What was told to a peer must not vanish while the peer
//! may use it, so an xlate made for signalling is held until nobody has asked for `timeout sip` ([`Kept`]).
//!
//! `extended` PAT has no answer (a port stands for one destination only), as on the ASA, which refuses it with SIP inspection. Worker
//! cores, for messages and never for packets. Bounds: [`MAX_KEPT`] xlates are held, more live as long as others do; and as many addresses.

use crate::firewall::Paths;
use crate::key::{Key, UDP};
use crate::nat::{Nat, Source};
use crate::xlate::{NO_XLATE, Want, XlateId, Xlates};
use crate::{Flow, Policy, TICKS, Tick};
use fedgate_tables::policy::NAT_EXTENDED;
use std::collections::{HashMap, VecDeque};

/// Xlates that are held for signalling.
pub const MAX_KEPT: usize = 4096;
/// Of those, how many are looked at in a tick.
const LOOKS: usize = 64;

/// Who asks: messages of a connection with this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewer {
    /// The interface that the peer is on.
    pub ifindex: u8,
    /// Its address and port.
    pub peer: (u32, u16),
}

/// Where media is received, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownMedia {
    /// The address.
    pub addr: u32,
    /// The media's port.
    pub media: u16,
    /// RTCP's, where there is one that is shown at the same address.
    pub rtcp: Option<u16>,
    /// Dynamic translations behind the two, or [`NO_XLATE`].
    pub xlates: [XlateId; 2],
}

/// What peers were told of by signalling, and when each was last asked for.
#[derive(Default)]
pub(crate) struct Kept {
    /// Mapped addresses.
    told: HashMap<u32, Tick>,
    /// Xlates, which are held.
    asked: HashMap<XlateId, Tick>,
    /// The same, to be looked at in turn.
    round: VecDeque<XlateId>,
    looked: Tick,
}

impl Kept {
    fn keep(&mut self, xlates: &mut Xlates, id: XlateId, now: Tick) {
        let known = self.asked.len();
        if known >= MAX_KEPT && !self.asked.contains_key(&id) {
            return;
        }
        self.asked.insert(id, now);
        if self.asked.len() > known {
            xlates.hold(id);
            self.round.push_back(id);
        }
    }

    fn tell(&mut self, addr: u32, now: Tick) {
        if self.told.len() < MAX_KEPT || self.told.contains_key(&addr) {
            self.told.insert(addr, now);
        }
    }

    /// Lets go of what nobody has asked for in so many ticks (0: never), looking at some once a tick.
    pub(crate) fn expire(&mut self, xlates: &mut Xlates, now: Tick, timeout: Tick) {
        if std::mem::replace(&mut self.looked, now) == now {
            return;
        }
        if self.told.len() == MAX_KEPT && timeout > 0 {
            self.told.retain(|_, asked| now.wrapping_sub(*asked) < timeout);
        }
        for _ in 0..LOOKS.min(self.round.len()) {
            let Some(id) = self.round.pop_front() else { return };
            let since = self.asked.get(&id).map_or(Tick::MAX, |asked| now.wrapping_sub(*asked));
            if timeout == 0 || since < timeout {
                self.round.push_back(id);
                continue;
            }
            self.asked.remove(&id);
            xlates.drop_hold(id, now);
        }
    }
}

impl Flow {
    /// How a socket behind us is shown to `viewer`; `None` where it is shown as it is, or is on the viewer's side.
    pub fn shown(
        &mut self,
        proto: u8,
        (addr, port): (u32, u16),
        viewer: &Viewer,
        policy: &Policy<'_>,
        paths: &impl Paths,
        now: Tick,
    ) -> Option<(u32, u16)> {
        let key = key(proto, (addr, port), viewer);
        let shown = match self.source(&key, viewer, policy, paths)? {
            (Source::Unchanged(_), _) => return None,
            (Source::Fixed { addr, port, .. }, _) => (addr, port),
            (Source::Dynamic { rule }, real_if) => {
                let want = want(&key, real_if, viewer, rule, policy)?;
                let prefer = |dst, dport| paths.prefers(&Key { dst, dport, ..key.mirror() });
                let (id, _) = self.xlates.obtain(&want, now, &mut self.rng, prefer).ok()?;
                self.kept.keep(&mut self.xlates, id, now);
                let x = self.xlates.get(id)?;
                (x.mapped, if x.is_one_to_one() { port } else { x.mapped_port })
            }
        };
        self.kept.tell(shown.0, now);
        Some(shown)
    }

    /// Whether a peer was told of this address by [`Self::shown`], within `timeout sip`.
    pub fn is_told(&self, addr: u32, policy: &Policy<'_>, now: Tick) -> bool {
        let timeout = policy.globals.timeout_sip.saturating_mul(TICKS);
        let told = self.kept.told.get(&addr);
        told.is_some_and(|asked| timeout == 0 || now.wrapping_sub(*asked) < timeout)
    }

    /// What a socket that `viewer` calls really is; `None` where it is none of those that NAT shows there.
    pub fn real(
        &self,
        proto: u8,
        (addr, port): (u32, u16),
        viewer: &Viewer,
        policy: &Policy<'_>,
    ) -> Option<(u32, u16)> {
        let (src, sport) = viewer.peer;
        let key = Key { src, sport, dst: addr, dport: port, proto };
        if let Some(found) = policy.nat.untranslate(&key, viewer.ifindex) {
            return Some((found.addr, found.port));
        }
        let id = self.xlates.by_mapped(proto, addr, port)?;
        let x = self.xlates.get(id).filter(|x| x.mapped_if == viewer.ifindex)?;
        Some((x.real, if x.is_one_to_one() { port } else { x.real_port }))
    }

    /// The address at which all of a host's ports are shown to `viewer`, where there is only one that it can be. Makes nothing.
    pub fn shown_host(
        &self,
        addr: u32,
        viewer: &Viewer,
        policy: &Policy<'_>,
        paths: &impl Paths,
    ) -> Option<u32> {
        let key = key(UDP, (addr, 0), viewer);
        match self.source(&key, viewer, policy, paths)? {
            (Source::Unchanged(_), _) => None,
            (Source::Fixed { addr, .. }, _) => Some(addr),
            (Source::Dynamic { rule }, real_if) => {
                let want = want(&key, real_if, viewer, rule, policy)?;
                let pool = want.pool;
                match (pool.one_to_one, pool.size(), pool.own) {
                    (true, ..) => self.xlates.of_host(&want).map(|x| x.mapped),
                    (false, 0, own) => own,
                    (false, 1, None) => pool.nth(0),
                    (false, ..) => None,
                }
            }
        }
    }

    /// How the ports at which a host receives media are shown to `viewer`. RTCP at the next port stays at the next port where that can
    /// be had. The xlates are for the caller to hold.
    pub fn shown_media(
        &mut self,
        addr: u32,
        media: u16,
        rtcp: Option<u16>,
        viewer: &Viewer,
        policy: &Policy<'_>,
        paths: &impl Paths,
        now: Tick,
    ) -> Option<ShownMedia> {
        let key = key(UDP, (addr, media), viewer);
        match self.source(&key, viewer, policy, paths)? {
            (Source::Unchanged(_), _) => None,
            (Source::Fixed { addr: shown, port, .. }, real_if) => {
                let rtcp = rtcp.and_then(|sport| {
                    let second = policy.nat.source(&Key { sport, ..key }, real_if, viewer.ifindex);
                    match second {
                        Source::Fixed { addr, port, .. } if addr == shown => Some(port),
                        Source::Fixed { .. } | Source::Unchanged(_) | Source::Dynamic { .. } => None,
                    }
                });
                Some(ShownMedia { addr: shown, media: port, rtcp, xlates: [NO_XLATE; 2] })
            }
            (Source::Dynamic { rule }, real_if) => {
                let want = want(&key, real_if, viewer, rule, policy)?;
                let prefer = |dst, dport| paths.prefers(&Key { dst, dport, ..key.mirror() });
                let xlates = match rtcp {
                    Some(rtcp) if Some(rtcp) == media.checked_add(1) => {
                        self.xlates.obtain_pair(&want, now, &mut self.rng, prefer).ok()?
                    }
                    Some(rtcp) => {
                        let second = Key { sport: rtcp, ..key };
                        let both = [&key, &second].map(|key| {
                            self.xlates.obtain(&Want { key, ..want }, now, &mut self.rng, prefer).ok()
                        });
                        let [Some((first, _)), Some((second, _))] = both else { return None };
                        [first, second]
                    }
                    None => [self.xlates.obtain(&want, now, &mut self.rng, prefer).ok()?.0, NO_XLATE],
                };
                self.as_shown(xlates, media, rtcp)
            }
        }
    }

    fn as_shown(&self, xlates: [XlateId; 2], media: u16, rtcp: Option<u16>) -> Option<ShownMedia> {
        let first = self.xlates.get(xlates[0])?;
        let addr = first.mapped;
        if first.is_one_to_one() {
            return Some(ShownMedia { addr, media, rtcp, xlates: [xlates[0], NO_XLATE] });
        }
        let second = self.xlates.get(xlates[1]).filter(|x| x.mapped == addr);
        Some(ShownMedia { addr, media: first.mapped_port, rtcp: second.map(|x| x.mapped_port), xlates })
    }

    /// How NAT shows a source to `viewer`, and the interface of that source, which is another than the viewer's.
    fn source(
        &self,
        key: &Key,
        viewer: &Viewer,
        policy: &Policy<'_>,
        paths: &impl Paths,
    ) -> Option<(Source, u8)> {
        let real_if = paths.egress(key.src).filter(|real_if| *real_if != viewer.ifindex)?;
        Some((policy.nat.source(key, real_if, viewer.ifindex), real_if))
    }

    pub(crate) fn expire_kept(&mut self, policy: &Policy<'_>, now: Tick) {
        let timeout = policy.globals.timeout_sip.saturating_mul(TICKS);
        self.kept.expire(&mut self.xlates, now, timeout);
    }
}

fn key(proto: u8, (src, sport): (u32, u16), viewer: &Viewer) -> Key {
    let (dst, dport) = viewer.peer;
    Key { src, sport, dst, dport, proto }
}

/// `None` for `extended` PAT.
fn want<'a>(
    key: &'a Key,
    real_if: u8,
    viewer: &Viewer,
    rule: usize,
    policy: &'a Policy<'_>,
) -> Option<Want<'a>> {
    let nat: &'a Nat = policy.nat;
    let pool = nat.pool(rule);
    (pool.one_to_one || pool.flags & NAT_EXTENDED == 0).then_some(Want {
        key,
        real_if,
        mapped_if: viewer.ifindex,
        rule,
        pool,
        block_size: policy.globals.block_size,
        blocks_per_host: policy.globals.blocks_per_host,
        pair: false,
    })
}
