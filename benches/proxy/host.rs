// SPDX-License-Identifier: MIT OR Apache-2.0
//! A host of the generator: a [`Talker`] on a TCP connection of smoltcp's, for networks that are not the kernel's.
//!
//! One socket a host, as in the engine, and one interface for all of them, lent for each call. Packets are IPv4, header first.

use crate::Failure;
use crate::talk::Talker;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpEndpoint, Ipv4Address};
use std::io::{self, Read, Write};

/// Address (host order) and port.
pub type Addr = (u32, u16);

/// One end of one line.
pub struct Host {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// Its conversation.
    pub talker: Talker,
}

/// An interface without addresses that takes what it is given.
pub fn link() -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = 1;
    let mut link = Interface::new(config, &mut Tap { came: None, sent: &mut Vec::new() }, Instant::ZERO);
    link.set_any_ip(true);
    link
}

impl Host {
    /// Calls `to` from `from`, with TCP buffers of `buffer` bytes each.
    pub fn call(
        link: &mut Interface,
        from: Addr,
        to: Addr,
        talker: Talker,
        buffer: usize,
    ) -> Result<Self, Failure> {
        let mut host = Self::new(talker, buffer);
        host.socket().connect(link.context(), endpoint(to), endpoint(from))?;
        Ok(host)
    }

    /// Waits to be called at `at`.
    pub fn listen(at: Addr, talker: Talker, buffer: usize) -> Result<Self, Failure> {
        let mut host = Self::new(talker, buffer);
        host.socket().listen(endpoint(at))?;
        Ok(host)
    }

    fn new(talker: Talker, buffer: usize) -> Self {
        let buffer = || SocketBuffer::new(vec![0; buffer]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self { sockets, handle, talker }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Nothing will come of it any more.
    pub fn is_over(&mut self) -> bool {
        matches!(self.socket().state(), State::Closed | State::TimeWait)
    }

    /// Takes a packet, if there is one, and does all that can be done now; packets to send go to `out`.
    pub fn work(
        &mut self,
        link: &mut Interface,
        now: Instant,
        came: Option<&[u8]>,
        out: &mut Vec<Vec<u8>>,
    ) -> Result<(), Failure> {
        let mut tap = Tap { came, sent: out };
        if came.is_some() {
            link.poll_ingress_single(now, &mut tap, &mut self.sockets);
        }
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        if self.talker.work(&mut Stream(socket))? || (self.talker.closed && self.talker.is_content()) {
            socket.close();
        }
        loop {
            let before = tap.sent.len();
            link.poll_egress(now, &mut tap, &mut self.sockets);
            if tap.sent.len() == before {
                return Ok(());
            }
        }
    }
}

fn endpoint((addr, port): Addr) -> IpEndpoint {
    IpEndpoint::new(Ipv4Address::from_bits(addr).into(), port)
}

struct Stream<'a>(&'a mut Socket<'static>);

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.recv_slice(buf) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(n) => Ok(n),
            Err(RecvError::Finished) => Ok(0),
            Err(RecvError::InvalidState) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.0.send_slice(buf) {
            Ok(0) | Err(_) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(n) => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The wire during one call.
struct Tap<'a> {
    came: Option<&'a [u8]>,
    sent: &'a mut Vec<Vec<u8>>,
}

struct Came<'a>(&'a [u8]);
struct Going<'a>(&'a mut Vec<Vec<u8>>);

impl<'a> Device for Tap<'a> {
    type RxToken<'t>
        = Came<'a>
    where
        Self: 't;
    type TxToken<'t>
        = Going<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Came<'a>, Going<'_>)> {
        Some((Came(self.came.take()?), Going(self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Going<'_>> {
        Some(Going(self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = 1500;
        caps
    }
}

impl RxToken for Came<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Going<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}
