// SPDX-License-Identifier: MIT OR Apache-2.0
//! A long, narrow and bad wire between two hosts of the Linux kernel: it delays, loses, repeats and reorders packets by its [`Weather`],
//! remembers where a TCP connection stands, and lets a test put in segments of its own.
//!
//! Each host has an Ethernet device `wan` that the kernel carries in UDP datagrams (VXLAN, RFC 7348) to a third namespace, where a thread of
//! the test passes them on. So it is plain sockets, and needs neither `tc netem`, which not every kernel has, nor raw ones.

use super::lab::{Namespace, sh, until};
use fedgate_wire::{Ethernet, Ipv4, Tcp, TcpFlags, checksum, ethernet, proto};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What a wire does to packets, each way.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay: Duration,
    /// What one that is late takes longer, at most: many others overtake it.
    pub late: Duration,
    /// In a thousand IPv4 packets.
    pub lost: u64,
    pub repeated: u64,
    pub overtaken: u64,
    /// Bits a second; what waits for its turn is [`QUEUE`] at most, and what comes then is lost as well.
    pub rate: Option<u64>,
}

impl Weather {
    /// A hundredth lost, as many repeated, and five times as many late.
    pub const ROUGH: Self = Self {
        delay: Duration::from_millis(10),
        late: Duration::from_millis(8),
        lost: 10,
        repeated: 10,
        overtaken: 50,
        rate: None,
    };
    /// The same, far away and behind a megabit a second.
    pub const FAR: Self = Self {
        delay: Duration::from_millis(100),
        late: Duration::from_millis(30),
        rate: Some(1_000_000),
        ..Self::ROUGH
    };
}

/// What waits at the entrance of a wire with a rate, bytes at most: half a second of a megabit.
const QUEUE: u64 = 64 << 10;
/// How often the wire looks whether it is to end.
const LOOK: Duration = Duration::from_millis(10);

/// VXLAN: the header of network 7, and its port.
const HEADER: [u8; 8] = [8, 0, 0, 0, 0, 0, 7, 0];
const PORT: u16 = 4789;

/// Where the TCP connection stands, if there is only one, by what its hosts put on the wire. Index 0 is the near side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spot {
    ports: [u16; 2],
    addrs: [u32; 2],
    /// Ethernet header of the far host's frames.
    header: [u8; ethernet::HEADER_LEN],
    /// One past the last byte sent.
    pub next: [u32; 2],
    /// Acknowledged by that side.
    pub acked: [u32; 2],
}

#[derive(Debug, Default)]
struct Seen {
    spot: Spot,
    lost: u32,
    repeated: u32,
    overtaken: u32,
}

pub struct Wire {
    _hub: Namespace,
    sockets: [UdpSocket; 2],
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Gives each of two namespaces its end, a device `wan` without an address.
    pub fn between(near: &Namespace, far: &Namespace, weather: Weather) -> Self {
        let hub = Namespace::new("hub");
        for (side, host) in [near, far].into_iter().enumerate() {
            let name = host.name();
            hub.ip(&format!("link add h{side} mtu 1600 type veth peer name under mtu 1600 netns {name}"));
            hub.ip(&format!("addr add {}/30 dev h{side}", ours(side)));
            hub.ip(&format!("link set h{side} up"));
            host.ip(&format!("addr add {}/30 dev under", theirs(side)));
            host.ip("link set under up");
            let ends = format!("local {} remote {} dev under", theirs(side), ours(side));
            host.ip(&format!("link add wan mtu 1500 type vxlan id 7 dstport {PORT} {ends}"));
            // Each segment by itself and with its checksum, as on a real wire.
            sh(&format!("ip netns exec {name} ethtool -K wan tx off tso off gso off gro off >/dev/null"));
            host.ip("link set wan up");
        }
        let sockets = hub.spawn(|| [0, 1].map(|side| UdpSocket::bind((ours(side), PORT)).unwrap()));
        let sockets = sockets.join().unwrap();
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let carrier = Carrier {
            sockets: sockets.each_ref().map(|socket| socket.try_clone().unwrap()),
            seen: Arc::clone(&seen),
            weather,
            clear: [Instant::now(); 2],
            waiting: BinaryHeap::new(),
            taken: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        let stopped = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || carrier.run(&stopped)));
        Self { _hub: hub, sockets, seen, stop, thread }
    }

    pub fn spot(&self) -> Spot {
        self.seen.lock().unwrap().spot
    }

    /// Packets lost, repeated and overtaken.
    pub fn harm(&self) -> [u32; 3] {
        let seen = self.seen.lock().unwrap();
        [seen.lost, seen.repeated, seen.overtaken]
    }

    /// Waits until both hosts have acknowledged all that was sent.
    pub fn at_rest(&self) -> Spot {
        let at_rest = |spot: Spot| spot.next == [spot.acked[1], spot.acked[0]];
        until("both sides have all bytes", || at_rest(self.spot()));
        self.spot()
    }

    /// Puts in a segment that looks as if it came from the far host; it comes at once and for certain.
    pub fn forge(&self, flags: TcpFlags, seq: u32, ack: u32, data: &[u8]) {
        let spot = self.spot();
        let mut tcp = vec![0; 20];
        tcp[..2].copy_from_slice(&spot.ports[1].to_be_bytes());
        tcp[2..4].copy_from_slice(&spot.ports[0].to_be_bytes());
        tcp[4..8].copy_from_slice(&seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&ack.to_be_bytes());
        tcp[12..16].copy_from_slice(&[5 << 4, flags.0, 0xff, 0xff]);
        tcp.extend_from_slice(data);
        let sum = checksum::of_segment(spot.addrs[1], spot.addrs[0], proto::TCP, &tcp);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, proto::TCP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        ip[2..4].copy_from_slice(&(20 + tcp.len() as u16).to_be_bytes());
        ip[12..16].copy_from_slice(&spot.addrs[1].to_be_bytes());
        ip[16..].copy_from_slice(&spot.addrs[0].to_be_bytes());
        let sum = checksum::of(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let datagram = [&HEADER[..], &spot.header, &ip, &tcp].concat();
        self.sockets[0].send_to(&datagram, (theirs(0), PORT)).unwrap();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ours(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, side as u8, 1)
}

fn theirs(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, side as u8, 2)
}

/// When it is due, a number that keeps frames of one instant in order, the end it goes to, and its bytes.
type Waiting = (Instant, u64, usize, Vec<u8>);

/// The thread that passes packets on.
struct Carrier {
    sockets: [UdpSocket; 2],
    seen: Arc<Mutex<Seen>>,
    weather: Weather,
    /// When all that has come from a side will be on the wire.
    clear: [Instant; 2],
    /// When, in which order, from which side.
    waiting: BinaryHeap<Reverse<Waiting>>,
    taken: u64,
    random: u64,
}

impl Carrier {
    fn run(mut self, stop: &AtomicBool) {
        for socket in &self.sockets {
            socket.set_nonblocking(true).unwrap();
        }
        let mut buffer = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            while let Some(Reverse((due, ..))) = self.waiting.peek()
                && *due <= now
                && let Some(Reverse((_, _, side, datagram))) = self.waiting.pop()
            {
                let to = side ^ 1;
                // A full queue is one more loss.
                let _ = self.sockets[to].send_to(&datagram, (theirs(to), PORT));
            }
            let next = self.waiting.peek().map_or(LOOK, |Reverse((due, ..))| (*due - now).min(LOOK));
            let next = Timespec::try_from(next).unwrap();
            let mut ready = self.sockets.each_ref().map(|socket| PollFd::new(socket, PollFlags::IN));
            poll(&mut ready, Some(&next)).unwrap();
            for side in [0, 1] {
                while let Ok(len) = self.sockets[side].recv(&mut buffer) {
                    self.take(side, buffer[..len].to_vec());
                }
            }
        }
    }

    fn take(&mut self, side: usize, datagram: Vec<u8>) {
        let mut seen = self.seen.lock().unwrap();
        let frame = &datagram[HEADER.len()..];
        let Ok(ethernet) = Ethernet::new_checked(frame) else { return };
        let (weather, now) = (self.weather, Instant::now());
        let mut due = now + weather.delay;
        if let Some(rate) = weather.rate {
            let takes = |bytes| Duration::from_nanos(bytes * 8_000_000_000 / rate);
            let begins = self.clear[side].max(now);
            if begins - now > takes(QUEUE) {
                seen.lost += 1;
                return;
            }
            self.clear[side] = begins + takes(frame.len() as u64);
            due = self.clear[side] + weather.delay;
        }
        if ethernet.ethertype() == ethernet::TYPE_IPV4 {
            seen.spot.follow(side, frame);
            // Xorshift: the same harm in the same order each time.
            let mut roll = || {
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                self.random >> 11
            };
            if roll() % 1000 < weather.lost {
                seen.lost += 1;
                return;
            }
            if roll() % 1000 < weather.overtaken {
                seen.overtaken += 1;
                due += weather.late * (roll() % 16) as u32 / 16;
            }
            if roll() % 1000 < weather.repeated {
                seen.repeated += 1;
                self.waiting.push(Reverse((due + weather.late, self.taken, side, datagram.clone())));
                self.taken += 1;
            }
        }
        self.waiting.push(Reverse((due, self.taken, side, datagram)));
        self.taken += 1;
    }
}

impl Spot {
    /// Takes over what an IPv4 frame of a side says.
    fn follow(&mut self, side: usize, frame: &[u8]) {
        let (header, datagram) = frame.split_at(ethernet::HEADER_LEN);
        let Ok(ip) = Ipv4::new_checked(datagram) else { return };
        if ip.protocol() != proto::TCP {
            return;
        }
        let Ok(tcp) = Tcp::new_checked(ip.payload()) else { return };
        let begins = u32::from(tcp.flags().intersects(TcpFlags::SYN));
        let ends = u32::from(tcp.flags().intersects(TcpFlags::FIN));
        let end = tcp.seq().wrapping_add(tcp.payload().len() as u32 + begins + ends);
        if begins == 1 && self.addrs[side] == 0 {
            self.ports[side] = tcp.src_port();
            self.addrs[side] = ip.src();
            self.next[side] = end;
            self.acked[side ^ 1] = tcp.seq();
        }
        if side == 1 {
            self.header.copy_from_slice(header);
        }
        let later = |old: &mut u32, new: u32| {
            if (new.wrapping_sub(*old) as i32) > 0 {
                *old = new;
            }
        };
        later(&mut self.next[side], end);
        if tcp.flags().intersects(TcpFlags::ACK) {
            later(&mut self.acked[side], tcp.ack());
        }
    }
}
