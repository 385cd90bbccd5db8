// SPDX-License-Identifier: MIT OR Apache-2.0
//! Denied packets a second: the inside interface's ACL has 100,000 lines and nothing may pass.
//!
//! List and packets are of ClassBench's shape ([`fedgate_acl::testing`]), and three lines of ten deny. Packets fall on lines all
//! over the list, or on none, which is the implicit deny; each is sent once before, and only those that the list
//! denies are used. So every one that is timed is denied by a line or by none, and each is another tuple.
//!
//! The peer is the same worker with the same packets and an ACL of one line.

use crate::Failure;
use crate::cycles::Best;
use crate::flows::{Ends, FRAME, Segment, Way, write_tcp, write_udp};
use crate::rig::{AT_ONCE, INSIDE, Rig, Setup, Stock, timed};
use crate::rows::Row;
use fedgate_acl::testing::{Random, query, rules};
use fedgate_acl::{Query, Rule};
use fedgate_tables::policy::{ACE_ANY_PROTO, ACE_PERMIT, Ace};
use fedgate_wire::proto;
use std::time::{Duration, Instant};

/// Lines.
const ACES: usize = 100_000;
/// Different packets, if there is time to find so many.
const PACKETS: usize = 256 * 1024;
/// Time to look for them.
const SEARCH: Duration = Duration::from_secs(10);
/// Turns, and time for each.
const TURNS: usize = 20;
const A_TURN: Duration = Duration::from_millis(100);
/// Lines of a hundred that permit.
const PERMITTING: usize = 70;

/// The row.
pub fn run(stock: &Stock) -> Result<Row, Failure> {
    let rules = rules::<u32>(ACES, 20);
    let mut random = Random::new(21);
    let aces: Vec<Ace> = (0..).zip(&rules).map(|(n, rule)| ace(n, rule, random.chance(PERMITTING))).collect();
    let mut rig = Rig::new(stock, Setup { aces: &aces, ..Setup::udp(0) })?;
    let packets = denied(&mut rig, || query(&mut random, &rules))?;
    let ours = rate(stock, &mut rig, &packets)?;
    drop(rig);
    let deny_all = [Ace::default()];
    let theirs = rate(stock, &mut Rig::new(stock, Setup { aces: &deny_all, ..Setup::udp(0) })?, &packets)?;
    println!("denied: {} different packets", packets.len());
    Ok(Row::new("denied", ours, "packets/s", "the same with an ACL of one line", theirs))
}

/// Packets that an ACL denies, TCP and UDP.
fn denied(rig: &mut Rig, mut next: impl FnMut() -> Query<u32>) -> Result<Vec<Query<u32>>, Failure> {
    let start = Instant::now();
    let mut packets = Vec::with_capacity(PACKETS);
    while packets.len() < PACKETS && start.elapsed() < SEARCH {
        let packet = next();
        if !matches!(packet.proto, proto::TCP | proto::UDP) {
            continue;
        }
        // One at a time, to know which one was denied.
        let mut bursts = rig.fill(|n, _, frame| {
            if n == 0 {
                write(frame, &packet);
            }
            n == 0
        })?;
        let before = rig.denied();
        rig.worker.pass(Way::Out.slot(), &mut bursts[0], dpdk::tsc(), &mut ());
        rig.sent();
        if rig.denied() > before {
            packets.push(packet);
        }
    }
    Ok(packets)
}

/// Packets a second of the best turn.
fn rate(stock: &Stock, rig: &mut Rig, packets: &[Query<u32>]) -> Result<f64, Failure> {
    let (mut best, mut sent) = (Best::default(), 0);
    let before = rig.denied();
    let mut next = packets.iter().cycle();
    for _ in 0..TURNS {
        let start = Instant::now();
        while start.elapsed() < A_TURN {
            let mut bursts =
                rig.fill(|_, _, frame| next.next().map(|packet| write(frame, packet)).is_some())?;
            for burst in &mut bursts {
                best.push(timed(&mut rig.worker, Way::Out, burst, &mut ()));
            }
            rig.collect(0)?;
            sent += AT_ONCE as u64;
        }
        best.end_turn();
    }
    match rig.denied() - before {
        denied if denied == sent => {}
        denied => return Err(format!("{denied} of {sent} packets were denied").into()),
    }
    Ok(stock.eal.tsc_hz() as f64 / best.cycles_a_packet())
}

fn write(frame: &mut [u8; FRAME], packet: &Query<u32>) {
    let Query { src, dst, sport, dport, proto: protocol } = *packet;
    let ends = Ends { slot: INSIDE, from: (src, sport), to: (dst, dport) };
    let syn = Segment { flags: 2, seq: 1, ack: 0, window: 65_535, scale: Some(7), data: false };
    if protocol == proto::TCP { write_tcp(frame, &ends, &syn, 0) } else { write_udp(frame, &ends, 0) }
}

/// A rule as line `n` of the ACL.
fn ace(n: u32, rule: &Rule<u32>, permit: bool) -> Ace {
    let any_proto = if rule.proto.is_none() { ACE_ANY_PROTO } else { 0 };
    let permit = if permit { ACE_PERMIT } else { 0 };
    Ace {
        src: rule.src,
        src_mask: rule.src_mask,
        dst: rule.dst,
        dst_mask: rule.dst_mask,
        sport: rule.sport,
        dport: rule.dport,
        proto: rule.proto.unwrap_or(0),
        flags: any_proto | permit,
        counter: n,
        ..Ace::default()
    }
}
