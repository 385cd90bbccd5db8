// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a second worker adds: two workers on a CPU each, with connections of their own, beside one of them alone.
//!
//! Each has its own table, ports and frames, as in the appliance; they share the code, the pool and the machine. One is timed, burst by burst;
//! the other works all the time in every other turn and sleeps in those between, so both figures are of the same minute. Nothing
//! that the workers do makes one wait for the other, so what is short of two is the machine's: two vCPUs that are threads
//! of one core share its caches and its units.

use crate::rig::{Rig, Setup, Stock, timed};
use crate::rows::{Row, median};
use crate::{Failure, Options};
use dpdk::{BURST, Eal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Connections of each worker.
const FLOWS: u32 = 65_536;
/// Rounds of 512 frames in which caches and tables warm up.
const WARM: usize = 400;
/// Pairs of turns, and rounds in each.
const TURNS: usize = 40;
const A_TURN: usize = 50;

/// What the other worker is to do.
const REST: u8 = 0;
const WORK: u8 = 1;
const END: u8 = 2;

/// The row `workers_2`, if it is wanted.
pub fn run(eal: &'static Eal, options: &Options) -> Result<Vec<Row>, Failure> {
    if !options.wants("workers_2") {
        return Ok(Vec::new());
    }
    let order = Arc::new(AtomicU8::new(REST));
    let theirs = order.clone();
    let other = eal.launch(1, move || -> Result<(), Failure> {
        let mut rig = warm(eal, "scale-other")?;
        loop {
            match theirs.load(Ordering::Relaxed) {
                WORK => rig.rounds(1, FLOWS, |worker, way, burst| {
                    timed(worker, way, burst, &mut ());
                })?,
                REST => std::thread::sleep(Duration::from_micros(200)),
                _ => return Ok(()),
            }
        }
    })?;
    let orders = order.clone();
    let timed = eal.launch(0, move || -> Result<[f64; 2], Failure> {
        let mut rig = warm(eal, "scale")?;
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (what, figure) in [REST, WORK].into_iter().zip(&mut figures) {
                orders.store(what, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
                let mut turn = Vec::new();
                rig.rounds(A_TURN, FLOWS, |worker, way, burst| {
                    turn.push(timed(worker, way, burst, &mut ()));
                })?;
                figure.push(median(&mut turn));
            }
        }
        // Not the best turns: the other's best is the one in which it did least.
        Ok(figures.map(|mut turns| median(&mut turns) as f64 / BURST as f64))
    })?;
    let figures = timed.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    order.store(END, Ordering::Relaxed);
    other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let [alone, beside] = figures?;
    println!("one worker alone {alone:.1} cycles/packet, beside another {beside:.1}");
    Ok(vec![Row::new("workers_2", 2.0 * alone / beside, "times one", "two cores of their own", 2.0)])
}

fn warm(eal: &'static Eal, pool: &str) -> Result<Rig, Failure> {
    let stock = Stock::new(eal, pool)?;
    let mut rig = Rig::new(&stock, Setup::udp(FLOWS))?;
    rig.make_connections(0..FLOWS)?;
    rig.rounds(WARM, FLOWS, |worker, way, burst| {
        timed(worker, way, burst, &mut ());
    })?;
    Ok(rig)
}
