// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real hosts on both sides of a real appliance: `ping`, `traceroute`, UDP and TCP of the Linux kernel, with fragments and a narrow hop.
//!
//! ```text
//! inside 10.77.0.10 -- appliance (PAT to 198.51.100.2) -- router 198.51.100.30 -- MTU 1400 -- far 203.0.113.9
//! ```
//! Three network namespaces; the appliance's ports are taps. Needs root, `ip`, `ping` and `traceroute` (scripts/setup): without
//! root it says so and does nothing.

#[expect(dead_code, reason = "what tests/attach.rs needs")]
mod common;

use common::{Control, Dataplane, sealed};
use fedgate_tables::counters::{Counter, CountersReader, FragmentCounter};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::ToControl;
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::region::Region;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, Instant};

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
const OURS_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS_OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 30);
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const NARROW: u16 = 1400;
const WAIT: Duration = Duration::from_secs(10);

/// Namespaces and the appliance between them; all gone when dropped.
struct Lab {
    tag: String,
    counters: CountersReader,
    _control: Control,
    _dataplane: Dataplane,
}

impl Lab {
    fn new() -> Self {
        let tag = format!("fgp{}", std::process::id());
        let dataplane = Dataplane::start();
        let mut control = dataplane.attach();
        let fd = control.fds.remove(0);
        let counters = CountersReader::attach(Region::map_rw(fd).unwrap()).unwrap();
        let taps = ["i", "o"].map(|side| format!("{tag}{side}"));
        let verdict = control.policy(1, &sealed(&policy(&taps)));
        assert_eq!(verdict, ToControl::Adopted { generation: 1 });
        let lab = Self { tag, counters, _control: control, _dataplane: dataplane };
        for ns in ["in", "rt", "far"] {
            sh(&format!("ip netns add {0} && ip -n {0} link set lo up", lab.ns(ns)));
        }
        for (tap, ns, address) in [(&taps[0], "in", INSIDE), (&taps[1], "rt", ROUTER)] {
            let ns = lab.ns(ns);
            sh(&format!("ip link set {tap} netns {ns} && ip -n {ns} addr add {address}/24 dev {tap}"));
            sh(&format!("ip -n {ns} link set {tap} up"));
        }
        let (inside, router, far) = (lab.ns("in"), lab.ns("rt"), lab.ns("far"));
        sh(&format!("ip -n {inside} route add default via {OURS_INSIDE}"));
        sh(&format!(
            "ip -n {router} link add wan mtu {NARROW} type veth peer name wan mtu {NARROW} netns {far}"
        ));
        sh(&format!("ip -n {router} addr add 203.0.113.1/24 dev wan && ip -n {router} link set wan up"));
        sh(&format!("ip -n {far} addr add {FAR}/24 dev wan && ip -n {far} link set wan up"));
        // Its own link is narrow, but it tells TCP otherwise, so that the other side must find out.
        sh(&format!("ip -n {far} route add default via 203.0.113.1 advmss 1460"));
        sh(&format!("ip netns exec {router} sysctl -qw net.ipv4.ip_forward=1"));
        for ns in [&router, &far] {
            sh(&format!("ip netns exec {ns} sysctl -qw net.ipv4.icmp_ratelimit=0"));
        }
        lab
    }

    fn ns(&self, name: &str) -> String {
        format!("{}{name}", self.tag)
    }

    /// What a program says, run on a host.
    fn run(&self, host: &str, command: &str) -> String {
        let mut words = command.split(' ');
        let output =
            Command::new("ip").args(["netns", "exec", &self.ns(host)]).args(&mut words).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Runs `work` as a program on a host would, on a thread of its own.
    fn on<T: Send + 'static>(
        &self,
        host: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let ns = std::fs::File::open(format!("/run/netns/{}", self.ns(host))).unwrap();
        std::thread::spawn(move || {
            move_into_link_name_space(ns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        })
    }

    fn fragments(&self, ifindex: u8, counter: FragmentCounter) -> u64 {
        self.counters.sum(Counter::Fragment(ifindex, counter))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for ns in ["in", "rt", "far"] {
            let _ = Command::new("ip").args(["netns", "delete", &self.ns(ns)]).status();
        }
    }
}

fn sh(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(status.success(), "{command}");
}

/// Everything from inside behind the outside address; nothing may begin outside.
fn policy(taps: &[String; 2]) -> Vec<u8> {
    let mut b = PolicyBuilder::new();
    for (tap, addr, security) in [(&taps[0], OURS_INSIDE, 100), (&taps[1], OURS_OUTSIDE, 0)] {
        let name = b.blob(if security == 0 { b"outside" } else { b"inside" });
        let device = b.blob(format!("net_tap_{tap},iface={tap}").as_bytes());
        b.interface(Interface {
            name,
            device,
            addr: addr.into(),
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            acl_in: NONE,
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.route(Route { gateway: ROUTER.into(), ifindex: 1, metric: 1, ..Route::default() });
    b.nat(NatRule {
        real_if: 0,
        mapped_if: 1,
        real: ANY_ADDR,
        mapped: one_addr(OURS_OUTSIDE.into()),
        kind: NatKind::DynamicPat as u8,
        section: 2,
        ..NatRule::default()
    });
    b.globals(Globals::default());
    b.finish(1).unwrap()
}

#[test]
fn real_hosts_ping_trace_and_find_the_path_mtu() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: nothing was tested");
        return;
    }
    let lab = Lab::new();
    until("the way is there", || lab.run("in", &format!("ping -c 1 -W 1 {FAR}")).contains(" 0% packet loss"));
    fragments_cross(&lab);
    traces(&lab);
    path_mtu(&lab);
    assert_eq!(lab.counters.sum(Counter::Drop(DropReason::Fragment)), 0);
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
    }
}

/// Echo requests and UDP datagrams of 8,000 bytes, there and back; the appliance itself answers such a ping too.
fn fragments_cross(lab: &Lab) {
    for (to, bytes) in [(FAR, 8000), (OURS_INSIDE, 4000)] {
        let said = lab.run("in", &format!("ping -c 3 -i 0.2 -W 3 -s {bytes} {to}"));
        assert!(said.contains(" 0% packet loss"), "{said}");
    }
    let echo = lab.on("far", || {
        let socket = UdpSocket::bind((FAR, 7)).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        let mut bytes = vec![0; 65_535];
        for _ in 0..4 {
            let (len, from) = socket.recv_from(&mut bytes).unwrap();
            socket.send_to(&bytes[..len], from).unwrap();
        }
    });
    let asked = lab.on("in", || {
        let socket = UdpSocket::bind((INSIDE, 0)).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        for round in 0..4u8 {
            let sent: Vec<u8> = (0..8000u32).map(|i| (i / 3) as u8 ^ round).collect();
            socket.send_to(&sent, (FAR, 7)).unwrap();
            let mut got = vec![0; 65_535];
            let len = socket.recv(&mut got).unwrap();
            assert_eq!(got[..len], sent);
        }
    });
    asked.join().unwrap();
    echo.join().unwrap();
    for ifindex in [0, 1] {
        assert!(lab.fragments(ifindex, FragmentCounter::Assembled) >= 7);
        assert_eq!(lab.fragments(ifindex, FragmentCounter::Queue), 0);
    }
}

/// The three kinds of traceroute see the appliance, the router behind it, and the end.
fn traces(lab: &Lab) {
    for how in ["", " -I", " -T -p 80"] {
        let said = lab.run("in", &format!("traceroute{how} -n -q 1 -N 1 -w 2 -m 6 {FAR}"));
        let hops: Vec<&str> =
            said.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        let expected = [OURS_INSIDE, ROUTER, FAR].map(|a| a.to_string());
        assert_eq!(hops, expected, "traceroute{how}: {said}");
    }
}

/// The narrow hop's word reaches the sender: `ping -M do` is told, and a TCP transfer goes on in smaller segments.
fn path_mtu(lab: &Lab) {
    sh(&format!("ip -n {} route flush cache", lab.ns("in")));
    let received = lab.on("far", || {
        let listener = TcpListener::bind((FAR, 80)).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        all
    });
    let sent: Vec<u8> = (0..300_000u32).map(|i| (i / 7) as u8).collect();
    let copy = sent.clone();
    let sender = lab.on("in", move || {
        let deadline = Instant::now() + WAIT;
        let mut stream = loop {
            match TcpStream::connect((FAR, 80)) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        };
        stream.write_all(&copy).unwrap();
    });
    sender.join().unwrap();
    assert!(received.join().unwrap() == sent);
    let route = lab.run("in", &format!("ip route get {FAR}"));
    assert!(route.contains(&format!("mtu {NARROW}")), "{route}");

    sh(&format!("ip -n {} route flush cache", lab.ns("in")));
    let said = lab.run("in", &format!("ping -c 1 -W 2 -M do -s 1450 {FAR}"));
    assert!(said.contains(&format!("mtu = {NARROW}")) || said.contains(&format!("mtu={NARROW}")), "{said}");
}
