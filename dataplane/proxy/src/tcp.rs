// SPDX-License-Identifier: MIT OR Apache-2.0
//! One TCP endpoint a leg (RFC 9293), sans-IO: segments and time go in, segments come out through [`Output`].
//!
//! Why our own: a library's socket has its buffers and its window for life, 16 KiB each way and leg, and fifty thousand idle sessions would hold
//! 3 GiB of nothing. Here buffers exist while something is in them ([`send`], [`receive`]), an idle endpoint is a few hundred bytes, and a segment
//! costs the same however many connections there are.
//!
//! The connection table has already decided that a packet is ours; [`Endpoint::input`] checks the 4-tuple again. Attacks on the sequence space are
//! answered as RFC 5961 says (challenge acknowledgements for RST, SYN and old ACKs), initial sequence numbers are 32 random bits of the
//! TLS provider's. A segment that no output buffer could be had for is lost as it could be on the wire, and sent again. A peer that has been silent
//! for [`ALIVE_AFTER`] is asked whether it is still there (RFC 9293 3.8.4).
//!
//! Limits: IPv4; no timestamps, no urgent data, no ECN; TIME_WAIT lasts [`TIME_WAIT`]; how long a peer may acknowledge nothing
//! is the session's business ([`Endpoint::stalled_since`]). Worker core only.

use crate::{Met, Micros, Output, Road, SessionId};
use receive::Receiver;
use segment::{BLOCKS, Came, Control, Draft, HEADERS, Offer, Segment};
use send::{Chunk, Sender};

mod arrive;
mod board;
mod receive;
mod segment;
mod send;

/// Address (host order) and port.
pub type Addr = (u32, u16);

/// Segments one call may send on one leg; what is left goes at the next call.
const SEGMENTS_A_CALL: usize = 64;
/// The smallest MTU used: RFC 791's least reassembly size, which leaves room for any option.
const LEAST_MTU: u16 = 576;
/// The most that a TLS record may claim to hold (RFC 5246 6.2.3); what claims more is TLS's to refuse.
const RECORD: usize = (16 << 10) + 2048;
/// What comes before a record.
const HEADER: usize = 5;
/// The least receive buffer: one record with its header.
pub(crate) const LEAST_RX: usize = RECORD + HEADER;
/// How long an endpoint stays after both ends have closed; Linux's is six times as long.
const TIME_WAIT: u64 = 10_000_000;
/// After how much silence a peer is asked whether it is there, how often it is asked, and after how many questions without an answer
/// it is held to be gone: quicker than a firewall on the way forgets a connection, and than an hour of RFC 1122's two.
const ALIVE_AFTER: u64 = 600_000_000;
const ALIVE_EVERY: u64 = 75_000_000;
const ALIVE_TIMES: u8 = 9;

/// Bounds of an endpoint's buffers, bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffers {
    /// Received and not read: also the largest window offered.
    pub(crate) rx: usize,
    /// Sent or to be sent, and not acknowledged.
    pub(crate) tx: usize,
}

/// How what was received begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed {
    /// With a whole record of so many bytes.
    Whole(usize),
    /// With a part of one, or there is nothing.
    Part,
    /// With what is none.
    NoTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Listen,
    SynSent,
    SynReceived,
    /// Established, or one of the closing states, which `send` and `receive` tell apart.
    Open,
    TimeWait(Micros),
    Closed,
}

/// A TCP connection seen from our end.
#[derive(Debug)]
pub(crate) struct Endpoint {
    local: Addr,
    remote: Addr,
    state: State,
    send: Sender,
    receive: Receiver,
    /// To be sent with the next [`Self::output`].
    owes: Owes,
    /// The peer's FIN came before ours went.
    they_first: bool,
    /// What was unacknowledged when the peer was last heard to take something, and when that was.
    progress: (u32, Micros),
    /// When the peer last said anything, and questions since whether it is there.
    heard: Micros,
    asked: u8,
    /// Challenges sent in which of their windows.
    challenged: (u32, u8),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Owes {
    syn: bool,
    ack: bool,
    /// Further acknowledgements that say the same, by which a peer without selective ones counts what arrives behind a gap.
    more: u8,
    /// A reset with this sequence number.
    reset: Option<u32>,
}

impl Endpoint {
    /// An endpoint that waits at `local` for the SYN of `remote`. `seed` is random.
    pub(crate) fn listen(now: Micros, ends: (Addr, Addr), mtu: u16, buffers: Buffers, seed: u64) -> Self {
        Self::new(now, ends, mtu, buffers, seed, State::Listen)
    }

    /// An endpoint that calls `remote` from `local`.
    pub(crate) fn connect(now: Micros, ends: (Addr, Addr), mtu: u16, buffers: Buffers, seed: u64) -> Self {
        Self::new(now, ends, mtu, buffers, seed, State::SynSent)
    }

    /// An endpoint at `local` whose SYN-ACK was a cookie; the segment that acknowledges it is to follow.
    pub(crate) fn met(now: Micros, ends: (Addr, Addr), mtu: u16, buffers: Buffers, met: Met) -> Self {
        let mut end = Self::new(now, ends, mtu, buffers, met.ours.into(), State::SynReceived);
        end.receive.meet(met.theirs, false, false);
        end.send.meet(Offer { mss: Some(met.mss), ..Offer::default() }, 0, met.theirs);
        end.send.syn(now);
        // A cookie offers no window: that is still to be said.
        end.owes.ack = true;
        end
    }

    fn new(
        now: Micros,
        (local, remote): (Addr, Addr),
        mtu: u16,
        buffers: Buffers,
        seed: u64,
        state: State,
    ) -> Self {
        let mss = mtu.max(LEAST_MTU) - HEADERS;
        let iss = seed as u32;
        Self {
            local,
            remote,
            state,
            send: Sender::new(iss, mss, buffers.tx),
            receive: Receiver::new(buffers.rx, mss),
            owes: Owes { syn: state == State::SynSent, ..Owes::default() },
            they_first: false,
            progress: (iss, now),
            heard: now,
            asked: 0,
            challenged: (0, 0),
        }
    }

    /// Takes in one packet, of whose payload `room` bytes at most may be kept; false when it is no whole, unfragmented IPv4 TCP segment of
    /// this connection.
    pub(crate) fn input(&mut self, now: Micros, packet: &[u8], room: usize) -> bool {
        let it = match Segment::read(packet, self.local, self.remote) {
            None => return false,
            Some(Came::Broken) => return true,
            Some(Came::Segment(it)) => it,
        };
        (self.heard, self.asked) = (now, 0);
        match self.state {
            State::Listen => self.called(&it),
            State::SynSent => self.answered(now, &it),
            State::SynReceived | State::Open | State::TimeWait(_) => self.arrives(now, &it, room),
            State::Closed => {}
        }
        true
    }

    /// Sends what may be sent now, [`SEGMENTS_A_CALL`] at most; true when more may be left.
    pub(crate) fn output<O: Output>(&mut self, now: Micros, mut port: Port<'_, O>) -> bool {
        if let Some(seq) = self.owes.reset.take() {
            self.emit(now, &mut port, &Outgoing { control: Control::Rst, seq, ..Outgoing::default() });
        }
        let expired = match self.state {
            State::SynSent | State::SynReceived | State::Open => self.send.expired(now),
            State::TimeWait(until) if until <= now => {
                self.state = State::Closed;
                false
            }
            State::Listen | State::TimeWait(_) | State::Closed => false,
        };
        if matches!(self.state, State::SynSent | State::SynReceived) && (expired || self.owes.syn) {
            self.owes = Owes::default();
            let seq = self.send.syn(now);
            let answers = self.state == State::SynReceived;
            self.emit(
                now,
                &mut port,
                &Outgoing { control: Control::Syn, seq, answers, ..Outgoing::default() },
            );
        }
        let mut sent = 0;
        if self.state == State::Open {
            while sent < SEGMENTS_A_CALL
                && let Some(chunk) = self.send.next(now)
            {
                sent += 1;
                let control = if chunk.fin { Control::Fin } else { Control::None };
                let it = Outgoing { control, seq: chunk.seq, answers: true, chunk: Some(chunk) };
                self.emit(now, &mut port, &it);
            }
        }
        let acks = match self.state {
            State::Open => {
                let is_due = self.receive.ack_by().is_some_and(|by| by <= now);
                self.owes.ack || is_due || self.receive.owes_window()
            }
            State::TimeWait(_) | State::Closed => self.owes.ack,
            State::Listen | State::SynSent | State::SynReceived => false,
        };
        if acks {
            for _ in 0..=std::mem::take(&mut self.owes.more) {
                let seq = self.send.max();
                self.emit(now, &mut port, &Outgoing { seq, answers: true, ..Outgoing::default() });
            }
        }
        if self.alive_at().is_some_and(|at| at <= now) {
            self.ask_whether_alive(now, &mut port);
        }
        sent == SEGMENTS_A_CALL
    }

    /// When the peer is to be asked whether it is there. While something waits for it, the retransmission timer asks.
    fn alive_at(&self) -> Option<Micros> {
        let asks = self.state == State::Open && self.send.waiting() == 0;
        asks.then(|| self.heard.after(ALIVE_AFTER + u64::from(self.asked) * ALIVE_EVERY))
    }

    #[cold]
    fn ask_whether_alive<O: Output>(&mut self, now: Micros, port: &mut Port<'_, O>) {
        if self.asked == ALIVE_TIMES {
            return self.abort();
        }
        self.asked += 1;
        // A number that the peer has had: it can but answer.
        let seq = self.send.una().wrapping_sub(1);
        self.emit(now, port, &Outgoing { seq, answers: true, ..Outgoing::default() });
    }

    /// Writes one segment out.
    fn emit<O: Output>(&mut self, now: Micros, port: &mut Port<'_, O>, it: &Outgoing) {
        let is_syn = it.control == Control::Syn;
        let window = if it.control == Control::Rst { 0 } else { self.receive.offer(is_syn) };
        let offer = match is_syn {
            true => Offer {
                mss: Some(self.receive.mss()),
                scale: self.receive.scale(),
                sacks: self.state == State::SynSent || self.receive.tells_gaps(),
            },
            false => Offer::default(),
        };
        if it.answers {
            self.receive.acked(now, it.chunk.is_some());
            // Data has no room for what came early: an acknowledgement of its own tells that.
            self.owes.ack &= it.chunk.is_some() && self.receive.has_gap();
        }
        let mut blocks = [(0, 0); BLOCKS];
        let payload = it.chunk.as_ref().map_or(&[][..], |chunk| self.send.bytes(chunk));
        let draft = Draft {
            ends: (self.local, self.remote),
            control: it.control,
            push: it.chunk.as_ref().is_some_and(|chunk| chunk.offset + chunk.len == self.send.waiting()),
            seq: it.seq,
            ack: it.answers.then(|| self.receive.nxt()),
            window,
            offer,
            sacks: if it.chunk.is_none() && it.answers { self.receive.blocks(&mut blocks) } else { &[] },
            payload,
        };
        port.out.packet(port.session, port.road, draft.len(), |packet| draft.write(packet));
    }

    /// When TCP itself next wants [`Self::output`] called.
    pub(crate) fn next_poll(&self) -> Option<Micros> {
        match self.state {
            State::SynSent | State::SynReceived => self.send.timer(),
            State::Open => {
                let timers = [self.send.timer(), self.receive.ack_by(), self.alive_at()];
                timers.into_iter().flatten().min()
            }
            State::TimeWait(until) => Some(until),
            State::Listen | State::Closed => None,
        }
    }

    /// A router says that it passes on no more than `mtu` bytes in one packet, and quotes one of ours with this sequence number.
    pub(crate) fn too_big(&mut self, seq: u32, mtu: u16) -> bool {
        self.state == State::Open && self.send.too_big(seq, mtu.max(LEAST_MTU) - HEADERS)
    }

    /// Notes what the peer has acknowledged since the last call; to be called before more is sent.
    pub(crate) fn watch(&mut self, now: Micros) {
        let una = self.send.una();
        if una != self.progress.0 || self.send.waiting() == 0 {
            self.progress = (una, now);
        }
    }

    /// Since when the peer has acknowledged nothing, while something waits for it.
    pub(crate) fn stalled_since(&self) -> Option<Micros> {
        (self.send.waiting() > 0).then_some(self.progress.1)
    }

    /// Bytes held in buffers.
    pub(crate) fn held(&self) -> usize {
        self.send.held() + self.receive.held()
    }

    /// The three-way handshake is over (the connection may have ended since).
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.state, State::Listen | State::SynSent | State::SynReceived)
    }

    /// The peer did not answer when it was asked whether it is there.
    pub(crate) fn is_vanished(&self) -> bool {
        self.state == State::Closed && self.asked == ALIVE_TIMES
    }

    /// No connection (any more): reset, refused, or closed from both ends.
    pub(crate) fn is_dead(&self) -> bool {
        self.state == State::Closed
    }

    /// Both ends have closed and the last acknowledgement is out; only a lost one could still be asked for again.
    pub(crate) fn is_lingering(&self) -> bool {
        matches!(self.state, State::TimeWait(_))
    }

    /// The peer will send nothing more.
    pub(crate) fn has_heard_all(&self) -> bool {
        self.is_up() && (self.state != State::Open || self.receive.ended())
    }

    /// The TLS record (RFC 8446 5.1) that what was received begins with.
    pub(crate) fn record(&self) -> Framed {
        let waiting = self.receive.bytes();
        let Some([kind, major, _, high, low]) = waiting.first_chunk() else { return Framed::Part };
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        if !(20..=24).contains(kind) || *major != 3 || len > RECORD {
            return Framed::NoTls;
        }
        if HEADER + len <= waiting.len() { Framed::Whole(HEADER + len) } else { Framed::Part }
    }

    /// All that was received and not consumed, to be decrypted where it stands.
    pub(crate) fn received(&mut self) -> &mut [u8] {
        self.receive.bytes_mut()
    }

    /// So much of it has been dealt with.
    pub(crate) fn consume(&mut self, len: usize) {
        self.receive.consume(len);
    }

    /// The send buffer, to have up to `len` bytes appended, whatever room there is: [`Self::can_send`] is asked before. `None` on a
    /// connection that takes nothing more.
    pub(crate) fn lend(&mut self, len: usize) -> Option<&mut Vec<u8>> {
        if self.state == State::Open { self.send.lend(len) } else { None }
    }

    /// There is room to send.
    pub(crate) fn can_send(&self) -> bool {
        self.state == State::Open && self.send.has_room()
    }

    /// Reads and forgets what was received, so that the peer's FIN can come through.
    pub(crate) fn discard(&mut self) {
        self.receive.consume(self.receive.bytes().len());
    }

    /// Sends a FIN after what is queued.
    pub(crate) fn close(&mut self) {
        match self.state {
            State::Listen | State::SynSent => self.state = State::Closed,
            State::SynReceived | State::Open => self.send.finish(),
            State::TimeWait(_) | State::Closed => {}
        }
    }

    /// Ends the connection; the next [`Self::output`] sends a RST.
    pub(crate) fn abort(&mut self) {
        if matches!(self.state, State::SynReceived | State::Open) {
            self.owes = Owes { reset: Some(self.send.max()), ..Owes::default() };
        }
        self.state = State::Closed;
    }

    /// State name for `show proxy`.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state {
            State::Listen => "listen",
            State::SynSent => "syn-sent",
            State::SynReceived => "syn-received",
            State::TimeWait(_) => "time-wait",
            State::Closed => "closed",
            State::Open => match (self.send.is_finished(), self.receive.ended()) {
                (false, false) => "established",
                (false, true) => "close-wait",
                (true, false) if self.send.fin_acked() => "fin-wait-2",
                (true, false) => "fin-wait-1",
                (true, true) if self.they_first => "last-ack",
                (true, true) => "closing",
            },
        }
    }
}

/// What a segment says, besides the connection's own.
struct Outgoing {
    control: Control,
    seq: u32,
    /// Acknowledges.
    answers: bool,
    chunk: Option<Chunk>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { control: Control::None, seq: 0, answers: false, chunk: None }
    }
}

/// As a stream, within the buffers' bounds, for what knows of no records.
#[cfg(any(test, fuzzing))]
impl std::io::Read for Endpoint {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let waiting = self.receive.bytes();
        let n = waiting.len().min(buf.len());
        buf[..n].copy_from_slice(&waiting[..n]);
        self.consume(n);
        if n == 0 { Err(std::io::ErrorKind::WouldBlock.into()) } else { Ok(n) }
    }
}

#[cfg(any(test, fuzzing))]
impl std::io::Write for Endpoint {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let taken = buf.len().min(self.send.room());
        let out = self.lend(taken).filter(|_| taken > 0).ok_or(std::io::ErrorKind::WouldBlock)?;
        out.extend_from_slice(&buf[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Where an endpoint's segments go.
pub(crate) struct Port<'a, O> {
    pub(crate) session: SessionId,
    pub(crate) road: Road,
    pub(crate) out: &'a mut O,
}

/// Appends to a buffer that holds at most `most`, which grows by half, and by `step` at least; what is kept for growth stays below `most`, too.
fn append(buf: &mut Vec<u8>, bytes: &[u8], step: usize, most: usize) {
    reserve(buf, bytes.len(), step, most);
    buf.extend_from_slice(bytes);
}

/// The room for that.
fn reserve(buf: &mut Vec<u8>, more: usize, step: usize, most: usize) {
    let (len, had) = (buf.len() + more, buf.capacity());
    if len > had {
        let wanted = (had + step.max(had)).min(most);
        buf.reserve_exact(len.max(wanted) - buf.len());
    }
}

/// Whether one sequence number comes before another; they are within half of all numbers of each other.
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests;
