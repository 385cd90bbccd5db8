// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a connection costs in memory, and how many can be made a second.

use crate::Failure;
use crate::flows::Way;
use crate::rig::{MAX_CONNS, Rig, Setup, Stock, timed};
use crate::rows::{Row, median};
use dpdk::BURST;
use fedgate_tables::policy::{ACE_PERMIT, Ace};
use fedgate_wire::proto;

/// ACEs that a first packet is classified against.
const ACES: u32 = 10_000;
/// New connections that are timed, by length of the ACL.
const TIMED: u32 = 64 * 1024;

/// Growth of resident memory from before the worker was made to a full table, a connection. The tables that are sized at
/// start are so counted in, used or not.
pub fn bytes(stock: &Stock) -> Result<Vec<Row>, Failure> {
    // Hot half, cold half, timer link, two index slots at 80 % use.
    let designed = f64::from(64 + 40 + 8 + 2 * 8);
    let mut rows = Vec::new();
    for (id, pat) in [("conn_bytes", false), ("conn_bytes_pat", true)] {
        let before = resident()?;
        let mut rig = Rig::new(stock, Setup { flows: MAX_CONNS, pat, aces: &[] })?;
        rig.make_connections(0..MAX_CONNS)?;
        let grown = resident()? - before;
        rows.push(Row {
            id: id.to_owned(),
            value: grown as f64 / f64::from(MAX_CONNS),
            unit: "bytes/conn",
            peer: "entry, timer link and two index slots".to_owned(),
            peer_value: designed,
        });
    }
    Ok(rows)
}

/// Bytes of this process in memory; hugepages are not among them.
fn resident() -> Result<u64, Failure> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1).ok_or("no resident size in statm")?.parse()?;
    Ok(pages * 4096)
}

/// New connections a second: classified, given a port, entered, armed, translated and sent.
pub fn rate(stock: &Stock) -> Result<Vec<Row>, Failure> {
    let hz = stock.eal.tsc_hz() as f64;
    let mut rows = Vec::new();
    let made = |aces: u32, flows: u32| -> Result<f64, Failure> {
        let acl = acl(aces);
        let mut rig = Rig::new(stock, Setup { flows, pat: true, aces: &acl })?;
        let mut samples = Vec::new();
        let mut next = 0;
        while next < flows {
            let mut bursts = rig.prepare(|_| {
                next += 1;
                Some((next - 1, Way::Out))
            });
            for burst in &mut bursts {
                samples.push(timed(&mut rig.worker, Way::Out, burst, &mut ()));
            }
            rig.collect(crate::rig::AT_ONCE)?;
        }
        Ok(BURST as f64 * hz / median(&mut samples) as f64)
    };
    let one = made(1, TIMED)?;
    let many = made(ACES, TIMED / 4)?;
    let peer = "the same with an ACL of one line".to_owned();
    rows.push(Row { id: "new_conns".to_owned(), value: many, unit: "conns/s", peer, peer_value: one });
    Ok(rows)
}

/// `count` lines that permit UDP from one /30 each, in an order that makes flows match all over the list; what
/// falls outside of them is permitted by the last.
fn acl(count: u32) -> Vec<Ace> {
    let line = |n: u32| Ace {
        src: crate::flows::real_net(0) + (n.wrapping_mul(7919) % ACES) * 4,
        src_mask: !3,
        sport: [0, u16::MAX],
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
