// SPDX-License-Identifier: MIT OR Apache-2.0
//! Media pinholes: what a call's two descriptions have agreed on may pass, though no access-list says so.
//!
//! The proxy tells what crosses: each end's description, and how the call goes ([`Flow::hear`]). Where both ends have said where they
//! receive a stream, its datagrams pass: from the outside's media address, any port, to the inside's media port as NAT shows it; and
//! from the inside's media address to the outside's media port; so too for RTCP. Nothing is open before the second end has
//! spoken. The first packet makes a connection like any other, but that no access-list is asked; NAT, routes, the check of the way back,
//! and the bounds of classes hold as always. So the hole is looked for when no connection is found, and never after.
//!
//! A hole closes when nothing has used it for `timeout sip_media` (`sip-provisional-media` before the call is agreed), its call when BYE
//! is answered, `timeout sip-disconnect` after a BYE, when its INVITE fails, or is without final answer for `timeout sip-invite`. What
//! passed through it ends with it. The xlates of a call's ports are held while it stands.
//!
//! Where there are several workers, a call's media is the business of the worker with its signalling, whoever would have it by the rules of
//! [`crate::shard`]: the others are told of each [`Entrance`], and hand over what comes by it.
//!
//! Bounds: [`MAX_CALLS`], [`CALLS_A_SESSION`], [`STREAMS`] a call, [`CONNS`] connections a hole. What is beyond finds no hole, and access-lists
//! decide. IPv4 alone. Each worker has its own; worker core.

pub mod rtp;
mod table;

use crate::conn::ConnId;
use crate::firewall::Paths;
use crate::key::{Key, UDP};
use crate::shown::{ShownMedia, Viewer};
use crate::xlate::NO_XLATE;
use crate::{Flow, Policy, TICKS, Tick};
use fedgate_tables::drops::DropReason;
use fedgate_wire::ipv4;
use table::{Call, Ends};
pub use table::{Entrance, Hole, HoleId, Media, Whose};

/// Calls that may stand.
pub const MAX_CALLS: usize = 4096;
/// Of one signalling session.
pub const CALLS_A_SESSION: u32 = 1024;
/// Streams of a call.
pub const STREAMS: usize = 4;
/// Connections through one hole at a time.
pub const CONNS: usize = 4;
/// Calls looked at in a tick.
const LOOKS: usize = 64;

/// Where an end receives a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its address, as the end wrote it.
    pub addr: u32,
    /// The media's port.
    pub media: u16,
    /// RTCP's, if it has one of its own.
    pub rtcp: Option<u16>,
    /// It is RTP.
    pub is_rtp: bool,
    /// RTCP may come by the media's port.
    pub mux: bool,
    /// Payload types that it takes, a bit each.
    pub payloads: u128,
}

/// An end's streams, in the order of its description.
pub type Streams = [Option<Receiver>; STREAMS];

/// How a call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its INVITE has a good answer.
    Agreed,
    /// Its INVITE has been refused.
    Failed,
    /// A BYE.
    Ending,
    /// The answer to it.
    Over,
}

/// What datagrams are held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conformance {
    /// `rtp-conformance`.
    pub rtp: bool,
    /// `enforce-payloadtype`.
    pub payloads: bool,
}

/// What a message that crosses says of its call.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The call.
    pub call: u64,
    /// The signalling session.
    pub session: u64,
    /// Who is outside.
    pub viewer: Viewer,
    /// It comes from outside.
    pub inward: bool,
    /// Where its sender receives, if it says so.
    pub streams: Option<&'a Streams>,
    /// How the call goes on.
    pub step: Option<Step>,
    /// What the media is held to.
    pub conformance: Conformance,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Holes opened.
    pub opened: u32,
    /// Connections that ended with their holes.
    pub ended: u32,
    /// There was no room for the call.
    pub refused: bool,
}

impl Flow {
    /// A message of a call has crossed.
    pub fn hear(&mut self, said: &Said<'_>, policy: &Policy<'_>, paths: &impl Paths, now: Tick) -> Heard {
        let mut heard = Heard::default();
        let known = self.media.find_call(said.call);
        let place = match (known, said.streams) {
            (Some(place), _) => place,
            (None, Some(streams)) if streams.iter().any(Option::is_some) => {
                match self.media.begin(said, now) {
                    Some(place) => place,
                    None => return Heard { refused: true, ..heard },
                }
            }
            (None, _) => return heard,
        };
        if let Some(streams) = said.streams {
            self.take_streams(place, said, streams, policy, paths, now);
            self.settle(place, said, policy, paths, now, &mut heard);
        }
        let Some(call) = self.media.call_mut(place) else { return heard };
        call.last = now;
        match said.step {
            Some(Step::Agreed) => call.agreed = true,
            Some(Step::Ending) => {
                let after = policy.globals.timeout_sip_disconnect.saturating_mul(TICKS);
                call.closing.get_or_insert(now.wrapping_add(after));
            }
            Some(Step::Failed) if call.agreed => {}
            Some(Step::Failed | Step::Over) => heard.ended += self.close_call(place, now),
            None => {}
        }
        heard
    }

    /// Remembers what an end receives where, and holds the xlates that show it.
    fn take_streams(
        &mut self,
        place: u32,
        said: &Said<'_>,
        streams: &Streams,
        policy: &Policy<'_>,
        paths: &impl Paths,
        now: Tick,
    ) {
        let shown: [Option<ShownMedia>; STREAMS] = match said.inward {
            true => [None; STREAMS],
            false => streams.map(|one| {
                let Receiver { addr, media, rtcp, .. } = one?;
                let shown = self.shown_media(addr, media, rtcp, &said.viewer, policy, paths, now);
                Some(shown.unwrap_or(ShownMedia { addr, media, rtcp, xlates: [NO_XLATE; 2] }))
            }),
        };
        for id in xlates(&shown) {
            self.xlates.hold(id);
        }
        let Some(call) = self.media.call_mut(place) else { return };
        let before = match said.inward {
            true => {
                call.ends.outside = *streams;
                shown
            }
            false => {
                call.ends.inside = *streams;
                std::mem::replace(&mut call.ends.shown, shown)
            }
        };
        for id in xlates(&before) {
            self.xlates.drop_hold(id, now);
        }
    }

    /// Opens what both ends have agreed on, and closes what they no longer do.
    fn settle(
        &mut self,
        place: u32,
        said: &Said<'_>,
        policy: &Policy<'_>,
        paths: &impl Paths,
        now: Tick,
        heard: &mut Heard,
    ) {
        let Some(call) = self.media.call_mut(place) else { return };
        let (ends, holes) = (call.ends, call.holes);
        for (stream, open) in holes.iter().enumerate() {
            let wanted = wanted(&ends, stream, said, policy, paths);
            for (which, (wanted, open)) in wanted.into_iter().zip(open).enumerate() {
                let stands = open.and_then(|id| self.media.hole(id));
                if let (Some(hole), Some(wanted)) = (stands, &wanted)
                    && hole.leads_as(wanted)
                {
                    continue;
                }
                if let Some(id) = *open {
                    heard.ended += self.close_hole(id, now);
                }
                let opened = wanted.map(|hole| self.media.open(Hole { call: place, last: now, ..hole }));
                heard.opened += u32::from(opened.is_some());
                if let Some(call) = self.media.call_mut(place) {
                    call.holes[stream][which] = opened;
                }
            }
        }
    }

    /// The hole that a first packet may pass through.
    #[inline]
    pub(crate) fn hole(&self, key: &Key, real: &Key, in_if: u8, out_if: u8) -> Option<HoleId> {
        if self.media.is_empty() || key.proto != UDP {
            None
        } else {
            self.media.find(key, real, in_if, out_if)
        }
    }

    /// A connection has been made by a packet that passed through a hole.
    pub(crate) fn through(&mut self, id: HoleId, conn: ConnId, now: Tick) {
        let Some(hole) = self.media.hole_mut(id) else { return };
        hole.last = now;
        if let Some(room) = hole.conns.iter_mut().find(|room| room.is_none()) {
            *room = Some(conn);
        }
        let checked = hole.is_checked();
        self.conns.hot_mut(conn).set_media(id.0, checked);
    }

    /// A datagram of a connection whose media is checked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check_media(
        &mut self,
        conn: ConnId,
        from_if: u8,
        datagram: &[u8],
    ) -> Result<(), DropReason> {
        let hole = self.conns.hot(conn).media().and_then(|id| self.media.hole_mut(HoleId(id)));
        hole.map_or(Ok(()), |hole| hole.check(from_if, datagram))
    }

    /// What [`Self::check_media`] would say, without any effect.
    ///
    /// # Errors
    /// What is wrong with the datagram.
    pub(crate) fn foresee_media(&self, conn: ConnId, from_if: u8, datagram: &[u8]) -> Result<(), DropReason> {
        let hole = self.conns.hot(conn).media().and_then(|id| self.media.hole(HoleId(id)));
        hole.map_or(Ok(()), |hole| Hole { ..*hole }.check(from_if, datagram))
    }

    /// The same for a packet that would pass through a hole as the first of its connection.
    ///
    /// # Errors
    /// What is wrong with the datagram.
    pub(crate) fn foresee_through(&self, id: HoleId, from_if: u8, datagram: &[u8]) -> Result<(), DropReason> {
        let checked = self.media.hole(id).filter(|hole| hole.is_checked());
        checked.map_or(Ok(()), |hole| Hole { ..*hole }.check(from_if, datagram))
    }

    /// A connection that ends lets go of its hole.
    pub(crate) fn leave_hole(&mut self, conn: ConnId) {
        let hot = self.conns.hot(conn);
        let (id, last) = (hot.media(), hot.last);
        let Some(hole) = id.and_then(|id| self.media.hole_mut(HoleId(id))) else { return };
        hole.last = last;
        hole.conns.iter_mut().filter(|one| **one == Some(conn)).for_each(|one| *one = None);
    }

    /// Closes what time asks to close, looking at some calls once a tick; gives how many connections ended.
    pub(crate) fn expire_media(&mut self, policy: &Policy<'_>, now: Tick) -> u32 {
        let mut ended = 0;
        for _ in 0..self.media.looks(now, LOOKS) {
            let Some(place) = self.media.next() else { continue };
            ended += self.look_at_call(place, policy, now);
        }
        ended
    }

    fn look_at_call(&mut self, place: u32, policy: &Policy<'_>, now: Tick) -> u32 {
        let Some(call) = self.media.call_mut(place) else { return 0 };
        let g = policy.globals;
        let since = |last: Tick, timeout: u32| {
            timeout != 0 && now.wrapping_sub(last) >= timeout.saturating_mul(TICKS)
        };
        let idle = if call.agreed { g.timeout_sip_media } else { g.timeout_sip_provisional_media };
        let (agreed, last, closing, holes) = (call.agreed, call.last, call.closing, call.holes);
        let mut ended = 0;
        for id in holes.into_iter().flatten().flatten() {
            let Some(hole) = self.media.hole(id) else { continue };
            let conns = hole.conns.into_iter().flatten().map(|conn| self.conns.hot(conn).last);
            let heard =
                conns.fold(
                    hole.last,
                    |newest, last| if newest.wrapping_sub(last) > Tick::MAX / 2 { last } else { newest },
                );
            if since(heard, idle) {
                ended += self.close_hole(id, now);
            }
        }
        let Some(call) = self.media.call_mut(place) else { return ended };
        let unused = call.holes.iter().flatten().all(Option::is_none);
        let is_over = closing.is_some_and(|at| now.wrapping_sub(at) < Tick::MAX / 2)
            || !agreed && since(last, g.timeout_sip_invite)
            || unused && since(last, g.timeout_sip);
        if is_over { ended + self.close_call(place, now) } else { ended }
    }

    /// Forgets a call, its holes and xlates; gives how many connections ended.
    fn close_call(&mut self, place: u32, now: Tick) -> u32 {
        let Some(call) = self.media.call_mut(place) else { return 0 };
        let holes = call.holes;
        let ended = holes.into_iter().flatten().flatten().map(|id| self.close_hole(id, now)).sum();
        if let Some(Call { ends: Ends { shown, .. }, .. }) = self.media.forget(place) {
            xlates(&shown).for_each(|id| self.xlates.drop_hold(id, now));
        }
        ended
    }

    fn close_hole(&mut self, id: HoleId, now: Tick) -> u32 {
        let Some(hole) = self.media.close(id) else { return 0 };
        let ends = hole.conns.into_iter().flatten().filter(|conn| self.end(*conn, now));
        ends.count() as u32
    }
}

/// The xlates behind an inside's streams.
fn xlates(shown: &[Option<ShownMedia>; STREAMS]) -> impl Iterator<Item = u32> + use<> {
    let ids = shown.map(|one| one.map_or([NO_XLATE; 2], |one| one.xlates));
    ids.into_iter().flatten().filter(|id| *id != NO_XLATE)
}

/// The two holes, for media and for RTCP, that a stream needs.
fn wanted(
    ends: &Ends,
    stream: usize,
    said: &Said<'_>,
    policy: &Policy<'_>,
    paths: &impl Paths,
) -> [Option<Hole>; 2] {
    let (Some(inside), Some(outside), Some(shown)) =
        (ends.inside[stream], ends.outside[stream], ends.shown[stream])
    else {
        return [None; 2];
    };
    let real_if = paths.egress(inside.addr).filter(|real_if| *real_if != said.viewer.ifindex);
    let own = policy.interfaces.iter().any(|i| i.addr == outside.addr) || policy.nat.is_shown(outside.addr);
    let there =
        paths.egress(outside.addr) == Some(said.viewer.ifindex) && ipv4::is_host(outside.addr) && !own;
    let Some(real_if) = real_if.filter(|_| there) else { return [None; 2] };
    let hole = |is_rtcp: bool, real: u16, shown_port: u16, peer: u16| Hole {
        call: 0,
        real: (inside.addr, real),
        shown: (shown.addr, shown_port),
        peer: (outside.addr, peer),
        real_if,
        mapped_if: said.viewer.ifindex,
        is_rtp: inside.is_rtp && outside.is_rtp,
        is_rtcp,
        mux: inside.mux && outside.mux,
        payloads: [inside.payloads, outside.payloads],
        conformance: said.conformance,
        ..Hole::default()
    };
    let media = hole(false, inside.media, shown.media, outside.media);
    let rtcp = match (inside.rtcp, shown.rtcp, outside.rtcp) {
        (Some(real), Some(shown), Some(peer)) => Some(hole(true, real, shown, peer)),
        _ => None,
    };
    [Some(media), rtcp]
}
