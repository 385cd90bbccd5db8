// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a connection costs in memory, and how many can be made a second.

use crate::flows::Way;
use crate::rig::{AT_ONCE, Rig, Setup, Stock, timed};
use crate::rows::{Row, median};
use crate::talk::Opening;
use crate::{Failure, Options};
use dpdk::BURST;
use fedgate_tables::policy::{ACE_PERMIT, Ace};
use fedgate_wire::proto;

/// ACEs that a first packet is classified against.
const ACES: u32 = 10_000;
/// New connections that are timed: a power of two.
const TIMED: u32 = 512 * 1024;

/// Rows, connections, and whether each has an xlate.
const SIZES: [(&str, u32, bool); 3] = [
    ("conn_bytes", 1_000_000, false),
    ("conn_bytes_pat", 1_000_000, true),
    ("conn_bytes_10m", 10_000_000, false),
];

/// Growth of resident memory from before the worker was made to a full table, a connection. The tables that are sized at
/// start are so counted in, used or not.
pub fn bytes(stock: &Stock, options: &Options) -> Result<Vec<Row>, Failure> {
    // Hot half, cold half, timer link, two index slots at 80 % use.
    let designed = f64::from(64 + 40 + 8 + 2 * 8);
    let mut rows = Vec::new();
    for (id, flows, pat) in SIZES {
        if !options.wants(id) {
            continue;
        }
        let before = resident()?;
        let mut rig = Rig::new(stock, Setup { max_conns: flows, pat, ..Setup::udp(flows) })?;
        rig.make_connections(0..flows)?;
        let grown = (resident()? - before) as f64 / f64::from(flows);
        rows.push(Row::new(id, grown, "bytes/conn", "entry, timer link and two index slots", designed));
    }
    Ok(rows)
}

/// Bytes of this process in memory; hugepages are not among them.
fn resident() -> Result<u64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("no resident size in statm")?.parse()?;
    Ok(pages * 4096)
}

/// Tables that are filled.
const TURNS: usize = 3;

/// New connections a second: classified, given a port, entered, armed, translated and sent. The median is taken over a table that
/// fills up to half; the flows come in scattered order, from hosts of nine networks. The best of [`TURNS`] such tables, as of the turns of
/// other rows: the kernel may have had other pages for one than for another.
pub fn rate(stock: &Stock) -> Result<Row, Failure> {
    let hz = stock.eal.tsc_hz() as f64;
    let made = |aces: u32, flows: u32| -> Result<f64, Failure> {
        let acl = acl(aces);
        let mut rig = Rig::new(stock, Setup { aces: &acl, ..Setup::udp(flows) })?;
        let mut samples = Vec::new();
        for first in (0..flows).step_by(AT_ONCE) {
            let mut bursts = rig.fill(|n, talk, frame| {
                talk.open(frame, scattered(first + n as u32), Opening::Datagram);
                true
            })?;
            for burst in &mut bursts {
                samples.push(timed(&mut rig.worker, Way::Out, burst, &mut ()));
            }
            rig.collect(AT_ONCE)?;
        }
        Ok(BURST as f64 * hz / median(&mut samples) as f64)
    };
    let best = |aces| -> Result<f64, Failure> {
        (0..TURNS).try_fold(0.0, |best: f64, _| Ok(best.max(made(aces, TIMED)?)))
    };
    let (one, many) = (best(1)?, best(ACES)?);
    Ok(Row::new("new_conns", many, "conns/s", "the same with an ACL of one line", one))
}

/// The flows below [`TIMED`], each once and far from the one before.
fn scattered(n: u32) -> u32 {
    n.wrapping_mul(0x9e37_79b1) % TIMED
}

/// `count` lines that permit UDP from one /30 each, in an order that makes flows match all over the list; what
/// falls outside of them is permitted by the last.
fn acl(count: u32) -> Vec<Ace> {
    let line = |n: u32| Ace {
        src: crate::flows::real_net(0) + (n.wrapping_mul(7919) % ACES) * 4,
        src_mask: !3,
        dport: [1, u16::MAX],
        proto: proto::UDP,
        flags: ACE_PERMIT,
        counter: n,
        ..Ace::default()
    };
    let mut aces: Vec<Ace> = (0..count.saturating_sub(1)).map(line).collect();
    aces.push(Ace { src: 0, src_mask: 0, ..line(count) });
    aces
}
