// SPDX-License-Identifier: MIT OR Apache-2.0
//! Network namespaces with hosts of the Linux kernel, and a dataplane whose ports are taps in them.
//!
//! A [`Namespace`] goes with its value, so a test that fails leaves none behind; an [`Appliance`] takes its process along. Needs root and
//! `ip` (iproute2): a test asks [`is_root`] first, says so where it is not, and does nothing.

use super::{Control, Dataplane, PATIENCE, sealed};
use fedgate_tables::counters::{Counter, CountersReader};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{ConnRow, Filter, Rows, ToControl, ToDataplane, What};
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::region::Region;
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not root: nothing was tested");
    }
    root
}

/// A name of this process's own, short enough for a network device.
pub fn own_name(what: &str) -> String {
    format!("fg{what}{}", std::process::id())
}

#[track_caller]
pub fn sh(command: &str) {
    let done = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until a value is what it should be, and says what it is where it never comes to that.
#[track_caller]
pub fn until_is<T: PartialEq + std::fmt::Debug>(expected: T, mut value: impl FnMut() -> T) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline && value() != expected {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(value(), expected);
}

/// A network namespace, removed with the value.
pub struct Namespace(String);

impl Namespace {
    pub fn new(what: &str) -> Self {
        let namespace = Self(own_name(what));
        sh(&format!("ip netns add {}", namespace.0));
        namespace.ip("link set lo up");
        namespace
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    #[track_caller]
    pub fn ip(&self, words: &str) {
        sh(&format!("ip -n {} {words}", self.0));
    }

    #[track_caller]
    pub fn sysctl(&self, setting: &str) {
        sh(&format!("ip netns exec {} sysctl -qw {setting}", self.0));
    }

    /// Moves a tap here and gives it addresses.
    pub fn take(&self, tap: &str, addresses: &[String]) {
        sh(&format!("ip link set dev {tap} netns {}", self.0));
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.ip(&format!("addr add {address} dev {tap}{nodad}"));
        }
        self.ip(&format!("link set {tap} up"));
    }

    /// What a program says here.
    pub fn run(&self, command: &str) -> String {
        let words = command.split_whitespace();
        let output = Command::new("ip").args(["netns", "exec", &self.0]).args(words).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Runs `work` as a program here would, on a thread of its own.
    pub fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let space = File::open(format!("/run/netns/{}", self.0)).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
    }

    pub fn listen(&self, at: SocketAddr) -> TcpListener {
        self.spawn(move || TcpListener::bind(at).unwrap()).join().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// A dataplane with a policy in force, its control and its counters.
pub struct Appliance {
    pub counters: CountersReader,
    pub control: Control,
    pub dataplane: Dataplane,
}

impl Appliance {
    /// Starts one with a worker on each of these CPUs.
    pub fn start(cpus: &str, policy: &[u8]) -> Self {
        let dataplane = Dataplane::start_on(cpus);
        let mut control = dataplane.attach();
        let counters = CountersReader::attach(Region::map_rw(control.fds.remove(0)).unwrap()).unwrap();
        assert_eq!(control.policy(1, &sealed(policy)), ToControl::Adopted { generation: 1 });
        Self { counters, control, dataplane }
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.counters.sum(Counter::Drop(reason))
    }

    /// A listing of all workers.
    pub fn list(&self, what: What) -> Vec<Rows> {
        let dump = ToDataplane::Dump { id: 3, what, filter: Filter::default() };
        self.control.link.send(&dump, &[], Some(PATIENCE)).unwrap();
        let mut all = Vec::new();
        loop {
            match self.control.verdict() {
                ToControl::Rows { id: 3, rows, done } => {
                    all.push(rows);
                    if done {
                        return all;
                    }
                }
                other => panic!("no rows: {other:?}"),
            }
        }
    }

    /// TCP in a listing of all workers' connections.
    pub fn tcp_connections(&self) -> Vec<ConnRow> {
        let conns = self.list(What::Conns).into_iter().flat_map(|rows| match rows {
            Rows::Conns(rows) => rows,
            other => panic!("no connections: {other:?}"),
        });
        conns.filter(|row| row.proto == 6).collect()
    }

    /// No segment of an honest host was taken for a forged one.
    #[track_caller]
    pub fn no_window_drops(&self) {
        let drops = WINDOW_DROPS.map(|reason| (reason, self.dropped(reason)));
        assert!(drops.iter().all(|(_, count)| *count == 0), "{drops:?}");
    }
}

/// Why window tracking drops a segment.
const WINDOW_DROPS: [DropReason; 6] = [
    DropReason::TcpSeqPastWin,
    DropReason::TcpInvalidAck,
    DropReason::TcpRstfinOoo,
    DropReason::Tcp3whsFailed,
    DropReason::TcpDataPastFin,
    DropReason::TcpRstSynInWin,
];

/// An interface on a tap, without access lists: inside where `security` is 100.
pub fn interface(b: &mut PolicyBuilder, tap: &str, security: u8) -> Interface {
    Interface {
        name: b.blob(if security == 0 { b"outside" } else { b"inside" }),
        device: b.blob(format!("net_tap_{tap},iface={tap}").as_bytes()),
        mask: 0xffff_ff00,
        mtu: 1500,
        security,
        acl_in: NONE,
        acl_out: NONE,
        ..Interface::default()
    }
}

/// Everything from inside behind the outside address, and a way out by a router; nothing may begin outside.
pub fn pat_policy(taps: &[String; 2], ours: [Ipv4Addr; 2], router: Ipv4Addr) -> Vec<u8> {
    pat_rules(taps, ours, router).finish(1).unwrap()
}

/// [`pat_policy`], to be added to.
pub fn pat_rules(taps: &[String; 2], [inside, outside]: [Ipv4Addr; 2], router: Ipv4Addr) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    for (tap, addr, security) in [(&taps[0], inside, 100), (&taps[1], outside, 0)] {
        let interface = Interface { addr: addr.into(), ..interface(&mut b, tap, security) };
        b.interface(interface);
    }
    b.route(Route { gateway: router.into(), ifindex: 1, metric: 1, ..Route::default() });
    b.nat(NatRule {
        real_if: 0,
        mapped_if: 1,
        real: ANY_ADDR,
        mapped: one_addr(outside.into()),
        kind: NatKind::DynamicPat as u8,
        section: 2,
        ..NatRule::default()
    });
    b.globals(Globals::default());
    b
}

/// Sends back what comes on so many connections, each until its end.
pub fn echo(listener: &TcpListener, connections: usize) {
    let serve = |mut stream: TcpStream| {
        thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..n]).unwrap();
            }
        })
    };
    let served: Vec<_> = (0..connections).map(|_| serve(listener.accept().unwrap().0)).collect();
    served.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Connects from an address of this namespace.
pub fn call(from: IpAddr, to: SocketAddr) -> TcpStream {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes to an [`echo`], all at once, and checks that the same come back. `more` will be said later on the connection.
pub fn exchange(stream: &mut TcpStream, bytes: usize, more: bool) {
    let salt = stream.local_addr().unwrap().port() as usize;
    let sent: Vec<u8> = (0..bytes).map(|i| (i ^ i >> 8 ^ salt) as u8).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        if !more {
            writer.shutdown(Shutdown::Write).unwrap();
        }
    });
    let mut got = vec![0; bytes];
    stream.read_exact(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent, "{:?}: other bytes came back", stream.local_addr());
    if !more {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "more came back than was sent");
    }
}

/// Echoes UDP datagrams of `len` bytes, four times.
pub fn udp_echo(client: (&Namespace, IpAddr), server: (&Namespace, IpAddr), len: usize) {
    let to = SocketAddr::new(server.1, 7);
    let socket = server.0.spawn(move || UdpSocket::bind(to).unwrap()).join().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let echo = thread::spawn(move || {
        let mut bytes = vec![0; 65_535];
        for _ in 0..4 {
            let (len, from) = socket.recv_from(&mut bytes).unwrap();
            socket.send_to(&bytes[..len], from).unwrap();
        }
    });
    let from = SocketAddr::new(client.1, 0);
    let socket = client.0.spawn(move || UdpSocket::bind(from).unwrap()).join().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for round in 0..4u8 {
        let sent: Vec<u8> = (0..len).map(|i| (i / 3) as u8 ^ round).collect();
        socket.send_to(&sent, to).unwrap();
        let mut got = vec![0; 65_535];
        let len = socket.recv(&mut got).unwrap();
        assert_eq!(got[..len], sent);
    }
    echo.join().unwrap();
}

/// The addresses that answer a traceroute, nearest first.
pub fn hops(from: &Namespace, how: &str, to: IpAddr) -> Vec<String> {
    let said = from.run(&format!("traceroute {how} -n -q 1 -N 1 -w 2 -m 6 {to}"));
    said.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
}
