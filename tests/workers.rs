// SPDX-License-Identifier: MIT OR Apache-2.0
//! A dataplane process with two workers between two network namespaces, carrying TCP of real kernels through dynamic PAT.
//!
//! Taps have one queue pair each, so the workers share the work by their rings: each receives from one tap and sends to it for both.
//! Needs root and `ip` (iproute2), as all of the network tests do, and fails without.

#[expect(dead_code, reason = "what tests/attach.rs needs")]
mod common;

use common::{Dataplane, PATIENCE, sealed};
use fedgate_tables::counters::{Counter, CountersReader, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{ConnRow, Filter, Rows, ToControl, ToDataplane, What};
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::region::Region;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Hosts inside, each with a connection of its own at the same time.
const HOSTS: u8 = 8;
/// Bytes that each sends, and gets back.
const BYTES: usize = 1 << 20;
const PORT: u16 = 7;

/// A network namespace, removed with the value.
struct Namespace(String);

impl Namespace {
    fn new(what: &str) -> Self {
        let name = format!("shards-{what}-{}", std::process::id());
        ip(&["netns", "add", &name]);
        Self(name)
    }

    /// Moves the tap here and gives it addresses.
    fn take(&self, tap: &str, addresses: &[String], gateway: &str) {
        ip(&["link", "set", "dev", tap, "netns", &self.0]);
        for address in addresses {
            ip(&["-n", &self.0, "addr", "add", address, "dev", tap]);
        }
        ip(&["-n", &self.0, "link", "set", tap, "up"]);
        ip(&["-n", &self.0, "route", "add", "default", "via", gateway]);
    }

    /// Runs `work` on a thread that is in the namespace.
    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
        let space = File::open(format!("/run/netns/{}", self.0)).unwrap();
        thread::spawn(move || {
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).output().expect("iproute2");
    assert!(done.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Inside 10.9.0.0/24 behind the address of the outside interface, 192.0.2.1.
fn policy(taps: [&str; 2]) -> Vec<u8> {
    let mut b = PolicyBuilder::new();
    let addrs = [0xc000_0201, 0x0a09_0001];
    for (i, (name, security)) in [("outside", 0), ("inside", 100)].into_iter().enumerate() {
        let device = format!("net_tap{},iface={}", 70 + i, taps[i]);
        let (name, device) = (b.blob(name.as_bytes()), b.blob(device.as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr: addrs[i],
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            acl_in: NONE,
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.nat(NatRule {
        real_if: 1,
        mapped_if: 0,
        real: net_range(addrs[1], 0xffff_ff00),
        mapped: one_addr(addrs[0]),
        kind: NatKind::DynamicPat as u8,
        section: 1,
        counter: 1,
        ..NatRule::default()
    });
    b.globals(Globals::default());
    b.finish(1).unwrap()
}

/// Sends back what comes, connection after connection, until all hosts have come.
fn echo(listener: &TcpListener) {
    let serve = |mut stream: TcpStream| {
        thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..n]).unwrap();
            }
        })
    };
    let served: Vec<_> = (0..HOSTS).map(|_| serve(listener.accept().unwrap().0)).collect();
    served.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Sends from a host's address and checks that the same comes back.
fn talk(host: u8) {
    use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new([10, 9, 0, 10 + host].into(), 0)).unwrap();
    connect(&socket, &SocketAddrV4::new([192, 0, 2, 9].into(), PORT)).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent: Vec<u8> = (0..BYTES).map(|i| (i as u8).wrapping_mul(host + 3)).collect();
    let mut writer = stream.try_clone().unwrap();
    let copy = sent.clone();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    writing.join().unwrap();
    assert!(got == sent, "host {host}: {} bytes came back of {}", got.len(), sent.len());
}

#[test]
fn two_workers_carry_tcp_between_namespaces() {
    let dataplane = Dataplane::start_on("0,1");
    let control = dataplane.attach();
    match control.ack {
        ToControl::HelloAck { workers, .. } => assert_eq!(workers, 2),
        ref other => panic!("no HelloAck: {other:?}"),
    }
    let taps = [format!("sho{}", std::process::id()), format!("shi{}", std::process::id())];
    let (outside, inside) = (Namespace::new("out"), Namespace::new("in"));
    let policy = sealed(&policy([&taps[0], &taps[1]]));
    assert_eq!(control.policy(1, &policy), ToControl::Adopted { generation: 1 });
    outside.take(&taps[0], &["192.0.2.9/24".into()], "192.0.2.1");
    let hosts: Vec<String> = (0..HOSTS).map(|host| format!("10.9.0.{}/24", 10 + host)).collect();
    inside.take(&taps[1], &hosts, "10.9.0.1");

    let listener = outside.run(|| TcpListener::bind(("192.0.2.9", PORT)).unwrap()).join().unwrap();
    let server = thread::spawn(move || echo(&listener));
    let clients: Vec<_> = (0..HOSTS).map(|host| inside.run(move || talk(host))).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    server.join().unwrap();

    let fd = rustix::io::dup(&control.fds[0]).unwrap();
    let counters = CountersReader::attach(Region::map_rw(fd).unwrap()).unwrap();
    let stat = |stat| counters.sum(Counter::Stat(stat));
    assert_eq!(stat(Stat::ConnsBuilt), u64::from(HOSTS));
    assert!(stat(Stat::HandedOver) > 0);
    // Both ends are at rest, so nothing is on its way between the workers for long.
    let deadline = Instant::now() + PATIENCE;
    let lost = counters.sum(Counter::Drop(DropReason::DispatchQueueLimit));
    while stat(Stat::HandedOver) > stat(Stat::TakenOver) + lost {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(5));
    }

    // One listing of both workers' connections, each with its number and its port.
    let dump = ToDataplane::Dump { id: 3, what: What::Conns, filter: Filter::default() };
    control.link.send(&dump, &[], Some(PATIENCE)).unwrap();
    let mut rows: Vec<ConnRow> = Vec::new();
    loop {
        match control.verdict() {
            ToControl::Rows { id: 3, rows: Rows::Conns(more), done } => {
                rows.extend(more);
                if done {
                    break;
                }
            }
            other => panic!("no rows: {other:?}"),
        }
    }
    let tcp = || rows.iter().filter(|row| row.proto == 6);
    assert_eq!(tcp().map(|row| row.id).collect::<BTreeSet<_>>().len(), usize::from(HOSTS));
    assert_eq!(tcp().map(|row| row.initiator.mapped_port).collect::<BTreeSet<_>>().len(), usize::from(HOSTS));
    let workers: BTreeSet<u64> = tcp().map(|row| row.id >> 33).collect();
    assert_eq!(workers.into_iter().collect::<Vec<_>>(), [0, 1], "neighbouring hosts go round the workers");
    assert!(dataplane.terminate().success());
}
