// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two hosts of real TCP (smoltcp) on the cables of a rig, by a wire that loses, repeats and reorders, in the rig's time.

use crate::worker::tests::rig::{INSIDE, OUTSIDE, Rig};
use fedgate_wire::emit::Station;
use fedgate_wire::{MacAddr, ethernet, parse};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr, Ipv4Address};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// What happens to frames between a host and the appliance; chances in 1000.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub lost: u64,
    pub doubled: u64,
    pub late: u64,
}

/// One end, with one connection.
pub struct Host {
    station: Station,
    gateway: MacAddr,
    link: Interface,
    tap: Tap,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// To be said.
    pub say: VecDeque<u8>,
    pub heard: Vec<u8>,
}

impl Host {
    pub fn new(station: Station, gateway: MacAddr, seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut tap = Tap::default();
        let mut link = Interface::new(config, &mut tap, Instant::from_micros(0));
        let address = Ipv4Address::from(station.ip);
        link.update_ip_addrs(|list| list.push(IpCidr::new(address.into(), 0)).expect("room for one"));
        let mut sockets = SocketSet::new(vec![]);
        let buffer = || SocketBuffer::new(vec![0; 16 * 1024]);
        let handle = sockets.add(Socket::new(buffer(), buffer()));
        let (say, heard) = (VecDeque::new(), Vec::new());
        Self { station, gateway, link, tap, sockets, handle, say, heard }
    }

    pub fn listen(&mut self, port: u16) {
        self.sockets.get_mut::<Socket<'_>>(self.handle).listen(port).unwrap();
    }

    pub fn connect(&mut self, to: (u32, u16), from: u16) {
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        socket.connect(self.link.context(), (Ipv4Address::from(to.0), to.1), from).unwrap();
    }

    pub fn state(&mut self) -> State {
        self.sockets.get_mut::<Socket<'_>>(self.handle).state()
    }

    pub fn close(&mut self) {
        self.sockets.get_mut::<Socket<'_>>(self.handle).close();
    }

    /// Reads and writes what there is; gives the frames to send.
    fn work(&mut self, micros: u64) -> Vec<Vec<u8>> {
        let now = Instant::from_micros(micros as i64);
        self.link.poll(now, &mut self.tap, &mut self.sockets);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let mut chunk = [0; 4096];
        while let Ok(n) = socket.recv_slice(&mut chunk)
            && n > 0
        {
            self.heard.extend_from_slice(&chunk[..n]);
        }
        if socket.can_send() {
            let n = socket.send_slice(self.say.make_contiguous()).unwrap();
            self.say.drain(..n);
        }
        self.link.poll(now, &mut self.tap, &mut self.sockets);
        let head = [&self.gateway.0[..], &self.station.mac.0, &ethernet::TYPE_IPV4.to_be_bytes()].concat();
        self.tap.sent.drain(..).map(|packet| [&head[..], &packet].concat()).collect()
    }
}

/// When a frame is due, a number that keeps those of one instant in order, the side, whether it is for the host, and the frame.
type Due = (u64, u64, usize, bool, Vec<u8>);

/// The rig between two hosts.
pub struct World {
    pub rig: Rig,
    /// By side.
    pub hosts: [Host; 2],
    pub weather: Weather,
    /// Frames of others that came out, by side.
    pub others: [Vec<Vec<u8>>; 2],
    waiting: BinaryHeap<Reverse<Due>>,
    taken: u64,
    random: fedgate_flow::Rng,
}

impl World {
    pub fn new(rig: Rig, hosts: [Host; 2], weather: Weather, seed: u64) -> Self {
        let (waiting, random) = (BinaryHeap::new(), fedgate_flow::Rng::new(seed));
        Self { rig, hosts, weather, others: Default::default(), waiting, taken: 0, random }
    }

    /// Five milliseconds.
    pub fn step(&mut self) {
        self.rig.step(5000);
        let now = self.rig.micros();
        while self.waiting.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            let Some(Reverse((_, _, side, arrives, frame))) = self.waiting.pop() else { break };
            if arrives {
                self.hosts[side].tap.came.push_back(frame[ethernet::HEADER_LEN..].to_vec());
            } else {
                self.rig.far[side].inject(&frame);
            }
        }
        self.rig.turn();
        for side in [OUTSIDE, INSIDE] {
            for frame in self.hosts[side].work(now) {
                self.carry(side, false, frame);
            }
        }
        let out = self.rig.collect();
        for (side, frames) in out.into_iter().enumerate() {
            for frame in frames {
                if self.is_ours(side, &frame) {
                    self.carry(side, true, frame);
                } else {
                    self.others[side].push(frame);
                }
            }
        }
    }

    /// Of the hosts' own connection: their ports differ from everybody's.
    fn is_ours(&self, side: usize, frame: &[u8]) -> bool {
        parse(frame).is_ok_and(|p| {
            let near = self.hosts[side].station.ip == p.tuple.dst;
            near && [p.tuple.sport, p.tuple.dport].contains(&CLIENT_PORT)
        })
    }

    fn carry(&mut self, side: usize, arrives: bool, frame: Vec<u8>) {
        let mut roll = || (self.random.next() >> 20) % 1000;
        let copies = match roll() {
            n if n < self.weather.lost => 0,
            n if n < self.weather.lost + self.weather.doubled => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let late = if roll() < self.weather.late { 20_000 + roll() * 30 } else { 0 };
            let due = self.rig.micros() + 10_000 + late;
            self.taken += 1;
            self.waiting.push(Reverse((due, self.taken, side, arrives, frame.clone())));
        }
    }
}

/// The client's port, that nobody else has.
pub const CLIENT_PORT: u16 = 40_000;

#[derive(Default)]
struct Tap {
    came: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Came(Vec<u8>);
struct Going<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Tap {
    type RxToken<'a> = Came;
    type TxToken<'a> = Going<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Came, Going<'_>)> {
        Some((Came(self.came.pop_front()?), Going(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Going<'_>> {
        Some(Going(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut caps = DeviceCapabilities::default();
        caps.medium = Medium::Ip;
        caps.max_transmission_unit = 1500;
        caps
    }
}

impl RxToken for Came {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
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
