// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP window tracking against real kernels on a bad network, and against somebody who forges segments.
//!
//! ```text
//! inside 10.77.0.10 -- appliance (PAT to 198.51.100.2) -- router -- bad wire (tests/common/wire.rs) -- far 203.0.113.9
//! ```
//! Loss, repetition and reordering make the kernels send again, selectively and late: none of that may be dropped. Needs root, `ip`,
//! `ethtool` and `nstat` (scripts/setup): without root it says so and does nothing.

#[expect(dead_code, reason = "what other tests need")]
mod common;

use common::lab::{
    Appliance, Namespace, call, echo, exchange, is_root, own_name, pat_policy, until, until_is,
};
use common::wire::{Weather, Wire};
use fedgate_tables::drops::DropReason;
use fedgate_wire::TcpFlags;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);
const OURS_INSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const OURS_OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 30);
const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
/// Further than any window reaches.
const BEYOND: u32 = 1 << 30;

/// Namespaces and the appliance between them; all gone when dropped.
struct Lab {
    wire: Wire,
    inside: Namespace,
    _router: Namespace,
    far: Namespace,
    appliance: Appliance,
}

impl Lab {
    fn new() -> Self {
        let taps = ["i", "o"].map(own_name);
        let appliance = Appliance::start("0", &pat_policy(&taps, [OURS_INSIDE, OURS_OUTSIDE], ROUTER));
        let [inside, router, far] = ["in", "rt", "far"].map(Namespace::new);
        inside.take(&taps[0], &[format!("{INSIDE}/24")]);
        router.take(&taps[1], &[format!("{ROUTER}/24")]);
        inside.ip(&format!("route add default via {OURS_INSIDE}"));
        // Its challenge ACKs are counted; the repeated packets of the wire are not to use up what it may send of them.
        inside.sysctl("net.ipv4.tcp_invalid_ratelimit=0");
        let wire = Wire::between(&router, &far, Weather::ROUGH);
        router.ip("addr add 203.0.113.1/24 dev wan");
        router.sysctl("net.ipv4.ip_forward=1");
        far.ip(&format!("addr add {FAR}/24 dev wan"));
        far.ip("route add default via 203.0.113.1");
        Self { wire, inside, _router: router, far, appliance }
    }

    /// Lets the far host answer so many connections from inside, and opens them.
    fn connect(&self, connections: usize) -> Vec<TcpStream> {
        let to = SocketAddr::new(FAR.into(), 80);
        let listener = self.far.listen(to);
        thread::spawn(move || echo(&listener, connections));
        let calls: Vec<_> =
            (0..connections).map(|_| self.inside.spawn(move || call(INSIDE.into(), to))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    }

    /// The appliance keeps each connection for stragglers only.
    fn all_over(&self) -> bool {
        self.appliance.tcp_connections().iter().all(|row| row.timeout_secs <= 30)
    }

    /// Challenge ACKs (RFC 5961) that the inside host has sent.
    fn challenges(&self) -> u32 {
        let said = self.inside.run("nstat -asz TcpExtTCPChallengeACK");
        let count = said.lines().find(|line| line.starts_with("TcpExtTCPChallengeACK"));
        count
            .and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
            .unwrap_or_else(|| panic!("{said}"))
    }
}

#[test]
fn honest_segments_all_pass() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let streams = lab.connect(3);
    thread::scope(|scope| {
        for mut stream in streams {
            scope.spawn(move || exchange(&mut stream, 1 << 20, false));
        }
    });
    // The last of it may have to be sent again.
    until("all connections are over", || lab.all_over());
    let harm = lab.wire.harm();
    assert!(harm.iter().all(|packets| *packets > 5), "lost, repeated, overtaken: {harm:?}");
    lab.appliance.no_window_drops();
}

#[test]
fn forged_segments_do_nothing_and_the_exact_reset_ends() {
    if !is_root() {
        return;
    }
    let lab = Lab::new();
    let mut stream = lab.connect(1).remove(0);
    thread::scope(|scope| {
        let forger = scope.spawn(|| forge(&lab));
        while !forger.is_finished() {
            exchange(&mut stream, 128 << 10, true);
        }
    });
    assert_eq!(forged(&lab), [FORGED; 3]);

    // Inside the window but inexact: the receiver asks back, and the connection goes on.
    assert_eq!(lab.challenges(), 0);
    let spot = lab.wire.at_rest();
    lab.wire.forge(TcpFlags::RST, spot.next[1].wrapping_add(777), 0, &[]);
    until_is(1, || lab.challenges());
    exchange(&mut stream, 10_000, true);

    let spot = lab.wire.at_rest();
    lab.wire.forge(TcpFlags::RST, spot.next[1], 0, &[]);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    until("the appliance knows", || lab.all_over());
    assert_eq!(forged(&lab), [FORGED; 3], "and nothing else was dropped");
}

/// Of each kind.
const FORGED: u64 = 20;

/// Blind resets, blind data, and data that acknowledges what was never sent, while a transfer goes on.
fn forge(lab: &Lab) {
    let sent = |since: u32| lab.wire.spot().next[0].wrapping_sub(since);
    let first = lab.wire.spot().next[0];
    until("a transfer is on", || sent(first) > 50_000);
    for i in 0..FORGED as u32 {
        let spot = lab.wire.spot();
        let ([near, far], [acked, _]) = (spot.next, spot.acked);
        let blind = if i % 2 == 0 { far.wrapping_add(BEYOND + i) } else { far.wrapping_sub(BEYOND + i) };
        lab.wire.forge(TcpFlags::RST, blind, 0, &[]);
        lab.wire.forge(TcpFlags::ACK, blind, near, b"not from the far host");
        lab.wire.forge(TcpFlags::ACK, acked, near.wrapping_add(BEYOND), b"not from it either");
    }
    until_is([FORGED; 3], || forged(lab));
    let then = lab.wire.spot().next[0];
    until("the transfer goes on", || sent(then) > 50_000);
}

fn forged(lab: &Lab) -> [u64; 3] {
    [DropReason::TcpRstfinOoo, DropReason::TcpSeqPastWin, DropReason::TcpInvalidAck]
        .map(|reason| lab.appliance.dropped(reason))
}
