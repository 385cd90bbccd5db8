// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP Intercept: connections that were opened by a SYN cookie, because their class or client had all the embryonic ones it may. Those that
//! a TLS proxy takes are opened so where it has too many handshakes under way; they end at it, so all below but the cookie is not for them.
//!
//! A SYN above the limit makes no state: it is answered by a cookie ([`crate::cookie`]) and a window of 0, for there is nobody
//! yet to take data. The ACK of a cookie is admitted as the SYN would have been, and the server is called with the client's own
//! initial number, so that what the client sends needs no change but in its acknowledgements. Once the server has answered, the
//! client is told its window, and for the life of the connection the server's sequence numbers are shown to the client
//! shifted by a constant. TCP is followed in the client's numbers: the server's are shifted before they are looked at.
//! SACK was never offered to either side, so there are no blocks to shift.
//!
//! Until the server answers, everything about the handshake fits where the connection has room anyhow: its windows hold the
//! client's side as after a SYN, its shift is the cookie (which holds the MSS), its age says which try is next. So an
//! intercepted connection costs little memory of its own. At most [`MAX_OPENING`] wait for their servers at once, in places of
//! which a client has a small part ([`crate::waiting`]); each asks [`TRIES`] times. Worker cores, slow path; the pure part serves IPv4 and IPv6.

use crate::challenge::Whose;
use crate::conn::{ConnId, Dir, Hot, flag};
use crate::cookie::{Asker, Cookies, mss_of};
use crate::firewall::{Admission, First, Hits, Paths};
use crate::tcp::{self, ACK, FIN, RST, SYN, Segment, State, Track, seen};
use crate::v6::{Admission6, First6, Hot6};
use crate::waiting::{SETS, WAYS};
use crate::{Booked, Flow, Packet, Policy, TICKS, Tick};
use crate::{limits, limits::Member};
use fedgate_tables::drops::DropReason;
use fedgate_wire::checksum::Delta;

/// Connections of both families that wait for their servers, in one worker.
pub const MAX_OPENING: u32 = (SETS * WAYS) as u32;
/// SYNs that a server is sent.
pub const TRIES: usize = 3;
/// The age at which each try is over: the usual second, doubled (RFC 6298).
const OVER_AT: [Tick; TRIES] = [TICKS, 3 * TICKS, 7 * TICKS];

/// A segment for the appliance to send to one end, in the numbers of that end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window, not scaled.
    pub window: u16,
    /// The most that its receiver may send at once, in a SYN.
    pub mss: Option<u16>,
}

/// What becomes of a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It goes on waiting.
    Waits,
    /// The server is there; the connection is open.
    Opened,
    /// The client has given up: the connection is to be ended.
    Left,
    /// The server refuses: the connection is to be ended.
    Refused,
}

/// What a segment of a connection that waits for its server leads to. The segment itself goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// For the client.
    pub client: Option<Reply>,
    /// For the server.
    pub server: Option<Reply>,
    /// What becomes of it.
    pub step: Step,
}

/// A handshake whose time has come. The caller sends what [`Flow::syn_for`] or [`Flow::reset_for`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// The server is to be asked again.
    Again(ConnId),
    /// It has been asked often enough, or another needed the place: the client is to be told, and the connection ended.
    GivenUp(ConnId),
}

/// A client has acknowledged a cookie that we gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    cookie: u32,
    isn: u32,
    window: u16,
}

impl Proof {
    /// Whether a segment that belongs to no connection acknowledges a cookie. `asker` has the segment's tuple; its `isn` is not
    /// looked at. Some probe a window of 0 by a byte from before it (RFC 9293 3.8.6.1), so that even where the ACK itself was lost
    /// the next probe is as good.
    pub(crate) fn of(cookies: &Cookies, asker: &Asker, s: &Segment, now: Tick) -> Option<Self> {
        if !cookies.is_out(now) || s.flags & (SYN | RST | FIN | ACK) != ACK {
            return None;
        }
        let cookie = s.ack.wrapping_sub(1);
        let probe = (s.len <= 1).then_some(s.seq);
        let isns = [Some(s.seq.wrapping_sub(1)), probe];
        let isn = isns.into_iter().flatten().find(|isn| {
            let asker = Asker { isn: *isn, ..*asker };
            cookies.is_good(&asker, cookie, now)
        })?;
        Some(Self { cookie, isn, window: s.window })
    }

    /// The client's initial sequence number, the one that it was answered with, and the largest segment that it takes (or somewhat less).
    pub fn handshake(&self) -> (u32, u32, u16) {
        (self.isn, self.cookie, mss_of(self.cookie))
    }

    /// Books the client's part as if its SYN had come only now.
    fn begin(&self, track: &mut Track<'_>) {
        let syn = Segment { seq: self.isn, ack: 0, window: self.window, flags: SYN, len: 0 };
        // A first SYN without options is never refused.
        let booked = tcp::segment(track, &syn, &[], true);
        debug_assert_eq!(booked, Ok(tcp::Outcome::Same));
    }
}

/// What the two ends know, of a connection that waits for its server.
struct Known {
    /// The next sequence number of the client.
    client: u32,
    /// The next sequence number of the server, as the client knows it.
    server: u32,
    /// The client's window.
    window: u16,
}

impl Known {
    fn of(track: &Track<'_>, cookie: u32) -> Self {
        let w = &track.windows;
        Self { client: w.end[0], server: cookie.wrapping_add(1), window: w.win[0] }
    }

    fn to_client(&self, flags: u8, window: u16) -> Reply {
        Reply { seq: self.server, ack: self.client, flags, window, mss: None }
    }

    fn syn(&self, cookie: u32) -> Reply {
        let (seq, mss) = (self.client.wrapping_sub(1), Some(mss_of(cookie)));
        Reply { seq, ack: 0, flags: SYN, window: self.window, mss }
    }
}

/// A segment of a connection that waits for its server. `shift` is the cookie; once open, what is to be added to the server's numbers
/// for the client.
pub(crate) fn segment(
    track: &mut Track<'_>,
    shift: &mut u32,
    s: &Segment,
    forward: bool,
) -> Result<Reaction, DropReason> {
    let known = Known::of(track, *shift);
    if forward { from_client(track, &known, s) } else { from_server(track, shift, &known, s) }
}

fn from_client(track: &mut Track<'_>, known: &Known, s: &Segment) -> Result<Reaction, DropReason> {
    let behind = known.client.wrapping_sub(1);
    if s.flags & RST != 0 {
        // The window is 0, so only the very next number is in it.
        if s.seq != known.client {
            return Err(DropReason::TcpRstfinOoo);
        }
        let reset = Reply { seq: known.client, ack: 0, flags: RST, window: 0, mss: None };
        return Ok(Reaction { client: None, server: Some(reset), step: Step::Left });
    }
    let repeats_syn = s.flags & (SYN | ACK) == SYN && s.seq == behind;
    let probes = s.flags & (SYN | ACK) == ACK && (s.seq == known.client || s.seq == behind);
    if !repeats_syn && !probes {
        return Err(DropReason::TcpSeqPastWin);
    }
    if probes && s.ack != known.server {
        return Err(DropReason::TcpInvalidAck);
    }
    if probes {
        track.windows.win[0] = s.window.max(1);
    }
    // "Still here, and still no room": it asks on (RFC 9293 3.8.6.1).
    Ok(Reaction { client: Some(known.to_client(ACK, 0)), server: None, step: Step::Waits })
}

fn from_server(
    track: &mut Track<'_>,
    shift: &mut u32,
    known: &Known,
    s: &Segment,
) -> Result<Reaction, DropReason> {
    let exact = s.flags & ACK != 0 && s.ack == known.client;
    match s.flags & (SYN | RST | FIN) {
        SYN if exact => {
            let cookie = *shift;
            // Options that were not offered are not taken, nor is data: it will come again.
            let answer =
                Segment { seq: cookie, ack: known.client, window: s.window, flags: SYN | ACK, len: 0 };
            let ack =
                Segment { seq: known.client, ack: known.server, window: known.window, flags: ACK, len: 0 };
            tcp::segment(track, &answer, &[], false)?;
            tcp::segment(track, &ack, &[], true)?;
            *shift = cookie.wrapping_sub(s.seq);
            let to_server = Reply {
                seq: known.client,
                ack: s.seq.wrapping_add(1),
                flags: ACK,
                window: known.window,
                mss: None,
            };
            Ok(Reaction {
                client: Some(known.to_client(ACK, s.window)),
                server: Some(to_server),
                step: Step::Opened,
            })
        }
        RST if exact => {
            let reset = known.to_client(RST | ACK, 0);
            Ok(Reaction { client: Some(reset), server: None, step: Step::Refused })
        }
        RST => Err(DropReason::TcpRstfinOoo),
        // It has an older connection on this tuple (RFC 5961 4): the reset that it asks for makes it forget, and the next try finds it so.
        0 if s.flags & ACK != 0 && s.len == 0 && !exact => {
            let reset = Reply { seq: s.ack, ack: 0, flags: RST, window: 0, mss: None };
            Ok(Reaction { client: None, server: Some(reset), step: Step::Waits })
        }
        _ => Err(DropReason::Tcp3whsFailed),
    }
}

/// When the try that is on at `now` is over, of a connection made at `created`. `None` where it was the last.
fn over_at(created: Tick, now: Tick) -> Option<Tick> {
    let age = now.wrapping_sub(created);
    OVER_AT.into_iter().find(|over| *over > age).map(|over| created.wrapping_add(over))
}

/// A packet of an open intercepted connection, in the client's numbers.
pub(crate) fn as_client_sees<'a>(packet: &Packet<'a>, dir: Dir, shift: u32) -> Packet<'a> {
    let mut seen = *packet;
    if dir == Dir::Reverse {
        seen.segment.seq = seen.segment.seq.wrapping_add(shift);
    }
    seen
}

/// Shifts the numbers of a TCP segment (as much as there is of it) that leaves in direction `dir`, by the `shift` of its connection, and
/// mends its checksum. What was right or wrong stays so. `outer` is the sum of a message that quotes the segment: where the segment's own checksum is
/// in the quote too nothing changes for it, else it is mended.
pub fn shift_segment(tcp: &mut [u8], dir: Dir, shift: u32, outer: Option<&mut u16>) {
    const FLAGS: usize = 13;
    const CHECKSUM: usize = 16;
    let (at, by) = match dir {
        Dir::Forward if tcp.get(FLAGS).is_some_and(|flags| flags & ACK != 0) => (8, shift.wrapping_neg()),
        Dir::Forward => return,
        Dir::Reverse => (4, shift),
    };
    let Some(field) = tcp.get_mut(at..at + 4).and_then(|f| f.first_chunk_mut()) else { return };
    let old = u32::from_be_bytes(*field);
    let new = old.wrapping_add(by);
    *field = new.to_be_bytes();
    let delta = Delta::addr(old, new);
    if let Some(sum) = tcp.get_mut(CHECKSUM..CHECKSUM + 2).and_then(|f| f.first_chunk_mut()) {
        *sum = delta.apply(u16::from_be_bytes(*sum)).to_be_bytes();
    } else if let Some(outer) = outer {
        *outer = delta.apply(*outer);
    }
}

/// Whether some client's ACK may be waited for in a connection that is not intercepted: its SYN was answered by a cookie, and repeated when the
/// limit had room again.
pub fn may_have_cookie(state: State, history: u8, flags: u8) -> bool {
    let embryonic =
        matches!(state, State::SynSent | State::SynReceived) && history & seen::ACK_INITIATOR == 0;
    embryonic && flags & (flag::INTERCEPTED | flag::BYPASS) == 0
}

impl Flow {
    /// Whether a SYN has been answered by a cookie lately.
    pub fn intercepts(&self, now: Tick) -> bool {
        self.cookies.is_out(now)
    }

    /// The sequence number to answer a SYN with that is to make no state.
    pub fn cookie(&mut self, asker: &Asker, mss: u16, now: Tick) -> u32 {
        self.cookies.make(asker, mss, now)
    }

    /// [`Proof`] of a segment of no connection, if it is one. Nearly nothing where no cookies are out.
    pub fn proof(&self, asker: &Asker, segment: &Segment, now: Tick) -> Option<Proof> {
        Proof::of(&self.cookies, asker, segment, now)
    }

    /// Connections that wait for their servers.
    pub fn opening(&self) -> u32 {
        self.waiting.len()
    }

    /// A connection waits for its server. Who had to make room is left for [`Flow::due`] or [`Flow::due6`].
    fn wait(&mut self, client: u128, whose: Whose) {
        match self.waiting.put(client, whose).map(Whose::number) {
            Some(Ok(n)) => self.due.push(Due::GivenUp(ConnId(n))),
            Some(Err(n)) => self.due6.push(Due::GivenUp(ConnId(n))),
            None => {}
        }
    }

    /// A connection that waits for its server does so no longer.
    pub(crate) fn waits_no_more(&mut self, id: ConnId) {
        self.waiting.leave(client(self.conns.hot(id)), Whose::v4(id.0));
    }

    /// [`Flow::waits_no_more`] of an IPv6 connection.
    pub(crate) fn waits_no_more6(&mut self, id: ConnId) {
        self.waiting.leave(client6(self.conns6.hot(id)), Whose::v6(id.0));
    }

    /// Admits a client that has acknowledged a cookie, as [`Flow::admit`] would have its SYN but for the embryonic limits. The new
    /// connection waits for its server, who is to be sent [`Flow::syn_for`]; what is [`Flow::due`] then had to make room for it.
    pub fn admit_proven(
        &mut self,
        first: &First,
        proof: &Proof,
        policy: &Policy<'_>,
        paths: impl Paths,
        now: Tick,
        hits: &mut Hits,
    ) -> Admission {
        let syn = First { tcp_flags: SYN, ..*first };
        let admission = self.admit_as(&syn, policy, paths, now, true, None, hits);
        let Admission::New { id, tls_proxy } = admission else { return admission };
        let hot = self.conns.hot_mut(id);
        // The policy is another now, by which there would have been no cookie.
        if hot.state != State::SynSent {
            self.end(id, now);
            return Admission::Refused(DropReason::TcpNotSyn);
        }
        if tls_proxy.is_some() {
            // The proxy is the server.
            return admission;
        }
        hot.intercept(proof.cookie);
        let client = client(hot);
        if let Some((hot, warm)) = self.conns.get_mut(id) {
            proof.begin(&mut hot.track(warm));
        }
        self.wait(client, Whose::v4(id.0));
        self.conns.wheel.set(id.0, now.wrapping_add(OVER_AT[0]));
        admission
    }

    /// [`Flow::admit_proven`] for IPv6.
    pub fn admit_proven6(
        &mut self,
        first: &First6,
        proof: &Proof,
        policy: &Policy<'_>,
        egress: impl Fn(u128) -> Option<u8>,
        now: Tick,
    ) -> (Admission6, Hits) {
        let syn = First6 { tcp_flags: SYN, ..*first };
        let (admission, hits) = self.admit6_as(&syn, policy, egress, now, true);
        let Admission6::New(id) = admission else { return (admission, hits) };
        let hot = self.conns6.hot_mut(id);
        if hot.state != State::SynSent {
            self.end6(id);
            return (Admission6::Refused(DropReason::TcpNotSyn), hits);
        }
        hot.flags |= flag::INTERCEPTED;
        hot.shift = proof.cookie;
        proof.begin(&mut hot.track());
        let client = client6(hot);
        self.wait(client, Whose::v6(id.0));
        self.conns6.wheel.set(id.0, now.wrapping_add(OVER_AT[0]));
        (admission, hits)
    }

    /// A segment of a connection that waits for its server.
    #[cold]
    pub(crate) fn opens(
        &mut self,
        id: ConnId,
        dir: Dir,
        packet: &Packet<'_>,
        policy: &Policy<'_>,
        now: Tick,
    ) -> Result<Booked, DropReason> {
        let Some((hot, warm)) = self.conns.get_mut(id) else { return Ok(Booked::Passes) };
        let was = Member::of(hot);
        let mut shift = hot.shift();
        let reaction = segment(&mut hot.track(warm), &mut shift, &packet.segment, dir == Dir::Forward)?;
        hot.intercept(shift);
        if reaction.step == Step::Opened {
            self.waits_no_more(id);
            self.moved(id, was, policy, now);
        }
        self.conns.hot_mut(id).book(now, packet.len);
        Ok(Booked::Handshake(reaction))
    }

    /// [`Flow::opens`] for IPv6.
    #[cold]
    pub(crate) fn opens6(
        &mut self,
        id: ConnId,
        dir: Dir,
        packet: &Packet<'_>,
        policy: &Policy<'_>,
        now: Tick,
    ) -> Result<Booked, DropReason> {
        let hot = self.conns6.hot_mut(id);
        let was = Member::of6(hot);
        let mut shift = hot.shift;
        let reaction = segment(&mut hot.track(), &mut shift, &packet.segment, dir == Dir::Forward)?;
        hot.shift = shift;
        if reaction.step == Step::Opened {
            self.waits_no_more6(id);
            self.moved6(id, was, policy, now);
        }
        self.conns6.hot_mut(id).book(now, packet.len);
        Ok(Booked::Handshake(reaction))
    }

    /// The timer of a connection that waits for its server.
    pub(crate) fn retry(&mut self, id: ConnId, now: Tick) {
        let again = over_at(self.conns.warm(id).created, now);
        if let Some(at) = again {
            self.conns.wheel.set(id.0, at);
        }
        self.due.push(if again.is_some() { Due::Again(id) } else { Due::GivenUp(id) });
    }

    /// [`Flow::retry`] for IPv6.
    pub(crate) fn retry6(&mut self, id: ConnId, now: Tick) {
        let again = over_at(self.conns6.hot(id).created, now);
        if let Some(at) = again {
            self.conns6.wheel.set(id.0, at);
        }
        self.due6.push(if again.is_some() { Due::Again(id) } else { Due::GivenUp(id) });
    }

    /// A handshake whose time has come since [`Flow::expire`] or [`Flow::admit_proven`] was called. All are to be taken before the connections are touched otherwise.
    pub fn due(&mut self) -> Option<Due> {
        self.due.pop()
    }

    /// [`Flow::due`] of IPv6.
    pub fn due6(&mut self) -> Option<Due> {
        self.due6.pop()
    }

    /// The SYN for the server of a connection that waits for it.
    pub fn syn_for(&mut self, id: ConnId) -> Option<Reply> {
        let (hot, warm) = self.conns.get_mut(id).filter(|(hot, _)| hot.is_opening())?;
        let cookie = hot.shift();
        Some(Known::of(&hot.track(warm), cookie).syn(cookie))
    }

    /// [`Flow::syn_for`] of an IPv6 connection.
    pub fn syn_for6(&mut self, id: ConnId) -> Option<Reply> {
        let hot = self.conns6.hot_mut(id);
        let cookie = hot.shift;
        hot.is_opening().then(|| Known::of(&hot.track(), cookie).syn(cookie))
    }

    /// What tells the client that its server does not answer.
    pub fn reset_for(&mut self, id: ConnId) -> Option<Reply> {
        let (hot, warm) = self.conns.get_mut(id).filter(|(hot, _)| hot.is_opening())?;
        let cookie = hot.shift();
        Some(Known::of(&hot.track(warm), cookie).to_client(RST | ACK, 0))
    }

    /// [`Flow::reset_for`] of an IPv6 connection.
    pub fn reset_for6(&mut self, id: ConnId) -> Option<Reply> {
        let hot = self.conns6.hot_mut(id);
        let cookie = hot.shift;
        hot.is_opening().then(|| Known::of(&hot.track(), cookie).to_client(RST | ACK, 0))
    }
}

/// Whose places a connection may have.
fn client(hot: &Hot) -> u128 {
    limits::client_v4(hot.key(Dir::Forward).src)
}

/// [`client`] of an IPv6 connection: a host may have any address of its link.
fn client6(hot: &Hot6) -> u128 {
    hot.key().src >> 64 << 64
}

impl Asker {
    /// Of an IPv4 tuple; without the client's number.
    pub fn v4(key: &crate::key::Key, in_if: u8) -> Self {
        let [src, dst] = [key.src, key.dst].map(limits::client_v4);
        Self { src, dst, sport: key.sport, dport: key.dport, in_if, isn: 0 }
    }

    /// Of an IPv6 tuple; without the client's number.
    pub fn v6(key: &fedgate_wire::Tuple6, in_if: u8) -> Self {
        Self { src: key.src, dst: key.dst, sport: key.sport, dport: key.dport, in_if, isn: 0 }
    }
}

#[cfg(test)]
mod tests;
