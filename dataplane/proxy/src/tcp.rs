// SPDX-License-Identifier: MIT OR Apache-2.0
//! One TCP endpoint a leg: a smoltcp socket alone in a `SocketSet` of its own, so that a segment costs the same
//! with one connection as with fifty thousand (smoltcp walks a whole set for every packet).
//!
//! All endpoints are driven through a few shared [`Interface`]s, one for each MTU in use, because smoltcp takes
//! the MTU (and with it the MSS it offers) from there. The interface holds no addresses (`any_ip`): the
//! connection table has already decided that a packet is ours, and [`Endpoint::accepts`] checks the 4-tuple
//! again. Nothing here allocates after an endpoint is made, except when the output has no buffer to give.
//!
//! smoltcp draws initial sequence numbers from a small generator that can be guessed from its outputs; so the
//! interface is made anew from the TLS provider's random source just before each connection's number is drawn.
//!
//! Limits: IPv4; the peer's SACK is not used for retransmission; TIME_WAIT lasts smoltcp's 10 s; smoltcp's own
//! `set_timeout` is not used because it also ends connections that are merely idle; the session's deadlines do
//! that work ([`Endpoint::stalled_since`]).

use crate::{Leg, Micros, Output, SessionId};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpEndpoint, IpProtocol, Ipv4Address, Ipv4Packet, TcpPacket};
use std::io;

/// Address (host order) and port.
pub type Addr = (u32, u16);

/// Segments one call may send on one leg; what is left goes at the next call.
const SEGMENTS_A_CALL: usize = 64;
/// How soon to look again when smoltcp says "now" but had nothing to send.
const BACK_OFF: u64 = 1000;
/// The smallest MTU used: RFC 791's least reassembly size, which leaves room for any option.
const LEAST_MTU: u16 = 576;

/// The interfaces shared by all endpoints of an engine.
pub(crate) struct Stack {
    links: Vec<(u16, Interface)>,
    rx_bytes: usize,
    tx_bytes: usize,
}

impl Stack {
    pub(crate) fn new(rx_bytes: usize, tx_bytes: usize) -> Self {
        Self { links: Vec::new(), rx_bytes, tx_bytes }
    }

    /// Index of the interface with this MTU, newly seeded for one initial sequence number.
    fn seeded(&mut self, now: Micros, mtu: u16, seed: u64) -> usize {
        let mtu = mtu.max(LEAST_MTU);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut link = Interface::new(config, &mut Idle { mtu }, instant(now));
        link.set_any_ip(true);
        match self.links.iter().position(|(m, _)| *m == mtu) {
            Some(index) => {
                self.links[index].1 = link;
                index
            }
            None => {
                self.links.push((mtu, link));
                self.links.len() - 1
            }
        }
    }
}

/// A TCP connection seen from our end.
pub(crate) struct Endpoint {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    link: usize,
    mtu: u16,
    local: Addr,
    remote: Addr,
    /// A listening endpoint's SYN has come.
    called: bool,
    /// Bytes ever put into the transmit buffer, and when the last of them was acknowledged.
    sent: u64,
    acked: u64,
    acked_at: Micros,
}

impl Endpoint {
    /// An endpoint that waits at `local` for the SYN of `remote`.
    pub(crate) fn listen(
        stack: &mut Stack,
        now: Micros,
        local: Addr,
        remote: Addr,
        mtu: u16,
        seed: u64,
    ) -> Option<Self> {
        let mut end = Self::new(stack, now, local, remote, mtu, seed);
        end.socket_mut().listen(endpoint(local)).ok()?;
        Some(end)
    }

    /// An endpoint that calls `remote` from `local`. `None` for an address or port of zero.
    pub(crate) fn connect(
        stack: &mut Stack,
        now: Micros,
        local: Addr,
        remote: Addr,
        mtu: u16,
        seed: u64,
    ) -> Option<Self> {
        let mut end = Self::new(stack, now, local, remote, mtu, seed);
        let (link, handle) = (&mut stack.links[end.link].1, end.handle);
        let socket = end.sockets.get_mut::<Socket<'_>>(handle);
        socket.connect(link.context(), endpoint(remote), endpoint(local)).ok()?;
        Some(end)
    }

    fn new(stack: &mut Stack, now: Micros, local: Addr, remote: Addr, mtu: u16, seed: u64) -> Self {
        let mut socket = Socket::new(
            SocketBuffer::new(vec![0; stack.rx_bytes]),
            SocketBuffer::new(vec![0; stack.tx_bytes]),
        );
        // TLS records are written whole: holding back the last short segment would only add a round trip.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        socket.set_congestion_control(CongestionControl::Reno);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        let link = stack.seeded(now, mtu, seed);
        Self {
            sockets,
            handle,
            link,
            mtu: mtu.max(LEAST_MTU),
            local,
            remote,
            called: false,
            sent: 0,
            acked: 0,
            acked_at: now,
        }
    }

    fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Whether this is a well-formed, unfragmented IPv4 TCP segment from our remote end to our local one.
    pub(crate) fn accepts(&self, packet: &[u8]) -> bool {
        let Ok(ip) = Ipv4Packet::new_checked(packet) else { return false };
        if ip.next_header() != IpProtocol::Tcp || ip.more_frags() || ip.frag_offset() != 0 {
            return false;
        }
        let Ok(tcp) = TcpPacket::new_checked(ip.payload()) else { return false };
        (ip.dst_addr().to_bits(), tcp.dst_port()) == self.local
            && (ip.src_addr().to_bits(), tcp.src_port()) == self.remote
    }

    /// Takes in one segment that [`Self::accepts`]; may send one at once.
    pub(crate) fn input<O: Output>(
        &mut self,
        stack: &mut Stack,
        now: Micros,
        packet: &[u8],
        port: Port<'_, O>,
    ) {
        let mut wire = Wire { mtu: self.mtu, rx: Some(packet), port, sent: 0 };
        stack.links[self.link].1.poll_ingress_single(instant(now), &mut wire, &mut self.sockets);
        self.called |= !self.socket().is_listening();
    }

    /// Sends what may be sent now, [`SEGMENTS_A_CALL`] at most; true when more may be left.
    pub(crate) fn output<O: Output>(&mut self, stack: &mut Stack, now: Micros, port: Port<'_, O>) -> bool {
        let mut wire = Wire { mtu: self.mtu, rx: None, port, sent: 0 };
        let link = &mut stack.links[self.link].1;
        for _ in 0..SEGMENTS_A_CALL {
            let before = wire.sent;
            link.poll_egress(instant(now), &mut wire, &mut self.sockets);
            if wire.sent == before {
                return false;
            }
        }
        true
    }

    /// When TCP itself next wants [`Self::output`] called.
    pub(crate) fn next_poll(&mut self, stack: &mut Stack, now: Micros) -> Option<Micros> {
        let at = stack.links[self.link].1.poll_at(instant(now), &self.sockets)?;
        let at = Micros(u64::try_from(at.total_micros()).unwrap_or(0));
        Some(if at <= now { now.after(BACK_OFF) } else { at })
    }

    /// Notes what the peer has acknowledged since the last call; to be called before more is sent.
    pub(crate) fn watch(&mut self, now: Micros) {
        let waiting = self.socket().send_queue() as u64;
        let acked = self.sent - waiting;
        if acked != self.acked || waiting == 0 {
            (self.acked, self.acked_at) = (acked, now);
        }
    }

    /// Since when the peer has acknowledged nothing, while something waits for it.
    pub(crate) fn stalled_since(&self) -> Option<Micros> {
        (self.socket().send_queue() > 0).then_some(self.acked_at)
    }

    fn state(&self) -> State {
        self.socket().state()
    }

    /// The three-way handshake is over (the connection may have ended since).
    pub(crate) fn is_up(&self) -> bool {
        !matches!(self.state(), State::Listen | State::SynSent | State::SynReceived)
    }

    /// No connection (any more): reset, refused, or closed from both ends.
    pub(crate) fn is_dead(&self) -> bool {
        match self.state() {
            State::Closed => true,
            // smoltcp goes back to LISTEN when a half-open connection is reset; for us that is its end.
            State::Listen => self.called,
            _ => false,
        }
    }

    /// Both ends have closed and the last acknowledgement is out; only a lost one could still be asked for again.
    pub(crate) fn is_lingering(&self) -> bool {
        self.state() == State::TimeWait
    }

    /// The peer will send nothing more, and all that it sent has been read.
    pub(crate) fn is_read_out(&self) -> bool {
        self.is_up() && !self.socket().may_recv()
    }

    /// Received bytes wait.
    pub(crate) fn can_recv(&self) -> bool {
        self.socket().can_recv()
    }

    /// There is room to send.
    pub(crate) fn can_send(&self) -> bool {
        self.socket().can_send()
    }

    /// Reads and forgets what was received, so that the peer's FIN can come through.
    pub(crate) fn discard(&mut self) {
        while self.socket().can_recv() {
            // recv hands over one contiguous piece of the ring; taking all of it cannot fail while bytes wait.
            let _ = self.socket_mut().recv(|bytes| (bytes.len(), ()));
        }
    }

    /// Sends a FIN after what is queued.
    pub(crate) fn close(&mut self) {
        self.socket_mut().close();
    }

    /// Ends the connection; the next [`Self::output`] sends a RST.
    pub(crate) fn abort(&mut self) {
        self.socket_mut().abort();
    }

    /// State name for `show proxy`.
    pub(crate) fn state_name(&self) -> &'static str {
        match self.state() {
            State::Closed => "closed",
            State::Listen => "listen",
            State::SynSent => "syn-sent",
            State::SynReceived => "syn-received",
            State::Established => "established",
            State::FinWait1 => "fin-wait-1",
            State::FinWait2 => "fin-wait-2",
            State::CloseWait => "close-wait",
            State::Closing => "closing",
            State::LastAck => "last-ack",
            State::TimeWait => "time-wait",
        }
    }
}

/// Received bytes, for `rustls::Connection::read_tls`.
impl io::Read for Endpoint {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if !self.can_recv() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.socket_mut().recv_slice(buf).map_err(|_| io::ErrorKind::NotConnected.into())
    }
}

/// Bytes to send, for `rustls::Connection::write_tls`.
impl io::Write for Endpoint {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let taken =
            self.socket_mut().send_slice(buf).map_err(|_| io::Error::from(io::ErrorKind::NotConnected))?;
        self.sent += taken as u64;
        if taken == 0 && !buf.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where an endpoint's segments go.
pub(crate) struct Port<'a, O> {
    pub(crate) session: SessionId,
    pub(crate) leg: Leg,
    pub(crate) out: &'a mut O,
}

fn instant(now: Micros) -> Instant {
    Instant::from_micros(i64::try_from(now.0).unwrap_or(i64::MAX))
}

fn endpoint((addr, port): Addr) -> IpEndpoint {
    IpEndpoint::new(Ipv4Address::from_bits(addr).into(), port)
}

fn capabilities(mtu: u16) -> DeviceCapabilities {
    // The default is to verify and to fill in every checksum in software.
    let mut caps = DeviceCapabilities::default();
    caps.medium = Medium::Ip;
    caps.max_transmission_unit = usize::from(mtu);
    caps
}

/// smoltcp's view of the wire during one call: a packet that came, and the output.
struct Wire<'a, O> {
    mtu: u16,
    rx: Option<&'a [u8]>,
    port: Port<'a, O>,
    sent: usize,
}

impl<'a, O: Output> Device for Wire<'a, O> {
    type RxToken<'t>
        = Came<'a>
    where
        Self: 't;
    type TxToken<'t>
        = Going<'t, O>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Came<'a>, Going<'_, O>)> {
        let packet = self.rx.take()?;
        Some((Came(packet), Going { port: self.port.reborrow(), sent: &mut self.sent }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Going<'_, O>> {
        Some(Going { port: self.port.reborrow(), sent: &mut self.sent })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu)
    }
}

impl<O> Port<'_, O> {
    pub(crate) fn reborrow(&mut self) -> Port<'_, O> {
        Port { session: self.session, leg: self.leg, out: self.out }
    }
}

struct Came<'a>(&'a [u8]);

impl RxToken for Came<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

struct Going<'a, O> {
    port: Port<'a, O>,
    sent: &'a mut usize,
}

impl<O: Output> TxToken for Going<'_, O> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        *self.sent += 1;
        let (mut fill, mut filled) = (Some(f), None);
        self.port.out.packet(self.port.session, self.port.leg, len, |buf| {
            if let Some(fill) = fill.take() {
                filled = Some(fill(buf));
            }
        });
        match (filled, fill) {
            (Some(done), _) => done,
            // No buffer: the segment is lost as it could be on the wire, and TCP will send it again.
            (None, Some(fill)) => fill(&mut vec![0; len]),
            (None, None) => unreachable!("fill is taken only where filled is set"),
        }
    }
}

/// A device that says its MTU and does nothing: what an [`Interface`] asks for when it is made.
struct Idle {
    mtu: u16,
}

impl Device for Idle {
    type RxToken<'t> = Came<'t>;
    type TxToken<'t> = Nowhere;

    fn receive(&mut self, _: Instant) -> Option<(Came<'_>, Nowhere)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Nowhere> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu)
    }
}

struct Nowhere;

impl TxToken for Nowhere {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        f(&mut vec![0; len])
    }
}
