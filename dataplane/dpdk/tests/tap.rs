// SPDX-License-Identifier: MIT OR Apache-2.0
//! `net_tap` as the demo and the lab use it: the kernel's end is moved into a
//! network namespace, and frames still go both ways; closing afterwards is clean.
//!
//! Needs root and `ip` (iproute2), as all of the network tests do, and fails without.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dpdk::{Burst, Eal, Error, Mempool, Port, PortConfig};

/// Of the tests' far end of the tap: locally administered, and not the interface's own.
const OURS: [u8; 6] = [0x02, 0xfe, 0xd9, 0, 0, 1];

/// A network namespace, removed with the value.
struct Namespace(String);

impl Namespace {
    fn new(what: &str) -> Namespace {
        let name = format!("dpdk-{what}-{}", std::process::id());
        run("ip", &["netns", "add", &name]).expect("root, and iproute2");
        Namespace(name)
    }

    fn run(&self, words: &[&str]) -> Result<String, String> {
        run("ip", &[&["netns", "exec", &self.0], words].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.0]);
    }
}

fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(words).output().map_err(|e| format!("{program}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{program} {words:?}: {} {}", output.status, text(&output.stderr))),
    }
}

fn tap(number: u8, iface: &str, pool: Mempool) -> Port {
    let mut port = Port::probe(Eal::for_tests(), &format!("net_tap{number},iface={iface}")).expect("tap");
    port.configure(&PortConfig { rx_desc: 256, tx_desc: 256, ..PortConfig::default() }, pool)
        .expect("configure");
    port.start().expect("start");
    port
}

fn mac_of(iface: &str) -> [u8; 6] {
    let path = format!("/sys/class/net/{iface}/address");
    let text = std::fs::read_to_string(path).expect("the interface is there");
    let bytes = text.trim().split(':').map(|hex| u8::from_str_radix(hex, 16).expect("hex"));
    bytes.collect::<Vec<_>>().try_into().expect("six bytes")
}

/// Makes the answer out of an ICMP echo request, in place; false for any other frame.
fn answer(frame: &mut [u8]) -> bool {
    // Ethernet II, IPv4 without options, ICMP, echo request.
    if frame.len() < 42 || frame[12..15] != [8, 0, 0x45] || frame[23] != 1 || frame[34] != 8 {
        return false;
    }
    for i in 0..6 {
        frame.swap(i, 6 + i);
    }
    for i in 26..30 {
        frame.swap(i, 4 + i);
    }
    frame[34] = 0;
    // RFC 1624: the type went down by 8 in the high byte, so the checksum goes up by as much.
    let sum = u16::from_be_bytes([frame[36], frame[37]]);
    let (new, carry) = sum.overflowing_add(0x0800);
    frame[36..38].copy_from_slice(&(new + u16::from(carry)).to_be_bytes());
    true
}

#[test]
fn a_tap_works_in_a_namespace_and_closes_there() {
    let eal = Eal::for_tests();
    let pool = Mempool::new(eal, "tap-netns", 2047, 2048, 0).expect("pool");
    let iface = format!("dtap{}", std::process::id());
    let port = tap(0, &iface, pool);
    assert_eq!(port.driver(), "net_tap");
    // Which is why whoever answers over a tap needs a MAC address of its own.
    assert_eq!(port.mac().expect("mac"), mac_of(&iface));

    let space = Namespace::new("tap");
    run("ip", &["link", "set", "dev", &iface, "netns", &space.0]).expect("move");
    space.run(&["ip", "addr", "add", "192.0.2.1/24", "dev", &iface]).expect("address");
    space.run(&["ip", "link", "set", "dev", &iface, "up"]).expect("up");
    let ours = OURS.map(|byte| format!("{byte:02x}")).join(":");
    space.run(&["ip", "neigh", "add", "192.0.2.2", "lladdr", &ours, "dev", &iface]).expect("neighbour");

    let (mut rx, mut tx) = port.take_queue(0).expect("queue 0");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let worker = eal.launch(0, move || {
        let (mut burst, mut replies, mut answered) = (Burst::new(), Burst::new(), 0u64);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !stopped.load(Ordering::Relaxed) && Instant::now() < deadline {
            if rx.burst(&mut burst) == 0 {
                std::thread::sleep(Duration::from_micros(200));
            }
            for mut mbuf in burst.drain() {
                if answer(mbuf.data_mut()) {
                    replies.push(mbuf).expect("as many as came");
                }
            }
            answered += tx.send(&mut replies) as u64;
            replies.clear();
        }
        answered
    });
    let worker = worker.expect("an idle worker");
    let ping = space.run(&["ping", "-c", "5", "-i", "0.05", "-s", "1472", "-W", "5", "192.0.2.2"]);
    stop.store(true, Ordering::Relaxed);
    let answered = worker.join().expect("no panic");
    let ping = ping.expect("ping");
    assert!(ping.contains("5 received") && answered == 5, "{answered} answered\n{ping}");
    let stats = port.stats().expect("stats");
    assert!(stats.rx_packets >= 5 && stats.tx_packets == 5, "{stats:?}");
    // The driver looks for the interface by name in its own namespace, so its link state is not to be trusted.
    assert!(!port.link().expect("link").up);

    port.close().expect("a clean close, although the interface is elsewhere");
    assert!(space.run(&["ip", "link", "show", "dev", &iface]).is_err(), "the interface went with the port");
    assert_eq!(pool.available(), 2047, "every buffer came home");
}

#[test]
fn the_far_end_may_vanish_under_the_port() {
    let pool = Mempool::new(Eal::for_tests(), "tap-gone", 1023, 2048, 0).expect("pool");
    let iface = format!("dtapg{}", std::process::id());
    let port = tap(1, &iface, pool);
    let (mut rx, mut tx) = port.take_queue(0).expect("queue 0");
    let space = Namespace::new("gone");
    run("ip", &["link", "set", "dev", &iface, "netns", &space.0]).expect("move");
    space.run(&["ip", "link", "set", "dev", &iface, "up"]).expect("up");
    // Takes the interface with it, in its own time: from then on the driver takes nothing.
    drop(space);
    let (mut burst, deadline) = (Burst::new(), Instant::now() + Duration::from_secs(20));
    let mut refused = 0;
    while refused < 100 {
        assert!(Instant::now() < deadline, "the interface should have gone by now");
        burst.push(pool.copy_of(&[0xff; 60]).expect("a buffer")).expect("room");
        match tx.send(&mut burst) {
            0 => refused += 1,
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
        burst.clear();
        rx.burst(&mut burst);
        burst.clear();
    }
    drop((rx, tx));
    assert!(port.stats().expect("stats").tx_errors >= 100);
    port.close().expect("a clean close, although there is nothing left to close");
    assert_eq!(pool.available(), 1023, "every buffer came home");
}

#[test]
fn the_mtu_reaches_the_kernel_and_a_longer_frame_is_left() {
    let eal = Eal::for_tests();
    let pool = Mempool::new(eal, "tap-mtu", 1023, 2048, 0).expect("pool");
    let iface = format!("dtapm{}", std::process::id());
    let mut port = Port::probe(eal, &format!("net_tap2,iface={iface}")).expect("tap");
    let jumbo = port.configure(&PortConfig { mtu: 9000, ..PortConfig::default() }, pool);
    assert!(matches!(jumbo, Err(Error::Limit { what: "mtu", .. })), "{jumbo:?}");
    port.configure(&PortConfig { mtu: 1280, rx_desc: 128, ..PortConfig::default() }, pool)
        .expect("configure");
    port.start().expect("start");
    assert!(port.link().expect("link").up);
    let mtu = std::fs::read_to_string(format!("/sys/class/net/{iface}/mtu")).expect("the interface is there");
    assert_eq!(mtu.trim(), "1280");
    let (_rx, mut tx) = port.take_queue(0).expect("queue 0");
    let mut frames = Burst::new();
    for len in [1294, 1500, 60] {
        frames.push(pool.copy_of(&vec![0xff; len]).expect("a buffer")).expect("room");
    }
    // It blocks those behind it for as long as the caller leaves it in front.
    assert_eq!((tx.send(&mut frames), tx.send(&mut frames)), (1, 0));
    let lengths = frames.iter().map(|mbuf| mbuf.len());
    assert!(lengths.eq([1500, 60]));
    drop(frames.swap_remove(0));
    assert_eq!(tx.send(&mut frames), 1);
}
