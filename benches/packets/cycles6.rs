// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cycles a packet of established IPv6 connections: [`crate::cycles`] with frames of [`crate::flows6`], beside the same peer.
//!
//! The table has room for the flows and no more than that by a factor, as IPv6's is a quarter of all connections.

use crate::cycles::{A_TURN, Best, Floor, PAUSE, TURNS, WARM};
use crate::flows::Way;
use crate::flows6::{FRAME, number, write_udp};
use crate::rig::{AT_ONCE, BURSTS, MAX_CONNS, Rig, Setup, Stock, below, timed};
use crate::rows::Row;
use crate::{Failure, Options};
use dpdk::{BURST, Burst};
use fedgate_flow::Rng;

/// Rows and their connections.
const SIZES: [(&str, u32); 2] = [("cycles6_1k", 1000), ("cycles6_1m", 1_000_000)];

/// The rows by number of connections.
pub fn run(stock: &Stock, options: &Options) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (id, flows) in SIZES.into_iter().filter(|(id, _)| options.wants(id)) {
        let setup = Setup { ipv6: true, pat: false, max_conns: 4 * MAX_CONNS, ..Setup::udp(flows) };
        let mut rig = Rig::new(stock, setup)?;
        make_connections(&mut rig, flows)?;
        let mut floor = Floor::new(flows);
        let (mut ours, mut theirs) = (Best::default(), Best::default());
        rounds(&mut rig, WARM, flows, |rig, way, burst| {
            timed(&mut rig.worker, way, burst, &mut ());
        })?;
        for _ in 0..TURNS {
            rounds(&mut rig, A_TURN, flows, |rig, way, burst| {
                ours.push(timed(&mut rig.worker, way, burst, &mut ()));
            })?;
            ours.end_turn();
            rounds(&mut rig, A_TURN, flows, |_, way, burst| theirs.push(floor.timed(way, burst, number)))?;
            theirs.end_turn();
            std::thread::sleep(PAUSE);
        }
        let (ours, theirs) = (ours.cycles_a_packet(), theirs.cycles_a_packet());
        rows.push(Row::new(id, ours, "cycles/packet", "MAC swap and two table lines", theirs));
    }
    Ok(rows)
}

/// Sends the first packet of every flow, and its answer, which finds the way back.
fn make_connections(rig: &mut Rig, flows: u32) -> Result<(), Failure> {
    for first in (0..flows).step_by(AT_ONCE) {
        let some = (flows - first).min(AT_ONCE as u32);
        for way in [Way::Out, Way::Back] {
            let mut bursts = rig.fill::<FRAME>(|n, _, frame| {
                let there = (n as u32) < some;
                if there {
                    write_udp(frame, first + n as u32, way);
                }
                there
            })?;
            for burst in &mut bursts {
                timed(&mut rig.worker, way, burst, &mut ());
            }
            rig.collect(some as usize)?;
        }
    }
    Ok(())
}

/// Prepares eight bursts of random flows, `rounds` times, every other burst of replies, and gives each to `run`.
fn rounds(
    rig: &mut Rig,
    rounds: usize,
    flows: u32,
    mut run: impl FnMut(&mut Rig, Way, &mut Burst),
) -> Result<(), Failure> {
    const _: () = assert!(AT_ONCE == BURSTS * BURST);
    for _ in 0..rounds {
        let mut random = Rng::new(rig.random.next());
        let bursts = rig.fill::<FRAME>(|n, _, frame| {
            write_udp(frame, below(&mut random, flows), Way::of_burst(n / BURST));
            true
        })?;
        rig.take_turn(bursts, &mut run)?;
    }
    Ok(())
}
