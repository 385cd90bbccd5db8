// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cycles a packet of established connections, by number of connections, and where they go.
//!
//! Worker and peer take turns. The figure of a turn is the median over its bursts, and the row's is that of the best turn:
//! what the code costs while the rest of the machine lets it be (two vCPUs are often one core), for both alike.
//!
//! The peer is the machine's own limit, on the same frames in the same rounds: read the flow's number, touch one line of a table as
//! large as the index and one of a table as large as the connections (read, and a counter written), swap the two
//! MACs. It hashes, checks, compares and translates nothing, so no firewall can be as fast.

use crate::flows::{self, Way};
use crate::rig::{MAX_CONNS, Rig, Setup, Stock, timed};
use crate::rows::{Row, median};
use crate::talk::Transport;
use crate::{Failure, Options};
use dpdk::{BURST, Burst};
use fedgate_dataplane::worker::Worker;
use fedgate_dataplane::worker::probe::{Pass, Probe};
use std::hint::black_box;
use std::time::Duration;

/// Rounds of 512 frames in which caches and tables warm up.
pub const WARM: usize = 400;
/// Turns, and rounds that are measured in each: a million frames in all.
pub const TURNS: usize = 40;
pub const A_TURN: usize = 50;
/// Between turns: they are spread over two seconds, to find the machine left alone in some of them.
pub const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of connection table that the index takes, an entry: two slots of 6.4 bytes at 80 % use.
const INDEX_LINES: usize = MAX_CONNS as usize * 2 / 8;

/// Rows, their connections and what those speak.
const SIZES: [(&str, u32, Transport); 4] = [
    ("cycles_1k", 1000, Transport::Udp),
    ("cycles_65k", 65_536, Transport::Udp),
    ("cycles_1m", 1_000_000, Transport::Udp),
    ("cycles_tcp_1m", 1_000_000, Transport::Tcp),
];

/// The rows by number of connections.
pub fn run(stock: &Stock, options: &Options) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (id, flows, transport) in SIZES {
        // The kernel is held against this one.
        let wanted = options.wants(id) || (id == "cycles_1m" && options.wants("nft_1m"));
        if !wanted {
            continue;
        }
        let mut rig = Rig::new(stock, Setup { transport, ..Setup::udp(flows) })?;
        rig.make_connections(0..flows)?;
        rig.rounds(WARM, flows, |worker, way, burst| {
            timed(worker, way, burst, &mut ());
        })?;
        let mut floor = Floor::new(flows);
        let (mut ours, mut theirs) = (Best::default(), Best::default());
        for _ in 0..TURNS {
            rig.rounds(A_TURN, flows, |worker, way, burst| ours.push(timed(worker, way, burst, &mut ())))?;
            ours.end_turn();
            rig.peer_rounds(A_TURN, flows, |way, burst| theirs.push(floor.timed(way, burst, flows::number)))?;
            theirs.end_turn();
            std::thread::sleep(PAUSE);
        }
        let (ours, theirs) = (ours.cycles_a_packet(), theirs.cycles_a_packet());
        rows.push(Row::new(id, ours, "cycles/packet", "MAC swap and two table lines", theirs));
        if options.stages {
            print_stages(&mut rig, id, flows)?;
        }
    }
    Ok(rows)
}

/// Cycles of bursts, by turn.
#[derive(Default)]
pub struct Best {
    turn: Vec<u64>,
    medians: Vec<u64>,
}

impl Best {
    /// Those of one burst.
    pub fn push(&mut self, cycles: u64) {
        self.turn.push(cycles);
    }

    /// What is pushed from here on is another turn.
    pub fn end_turn(&mut self) {
        self.medians.push(median(&mut self.turn));
        self.turn.clear();
    }

    /// Of the best turn.
    pub fn cycles_a_packet(&self) -> f64 {
        self.medians.iter().min().map_or(0.0, |&cycles| cycles as f64 / BURST as f64)
    }
}

/// Reads the time at the end of every pass.
struct StopWatch {
    last: u64,
    passes: [Best; Pass::ALL.len()],
}

impl Probe for StopWatch {
    #[inline]
    fn done(&mut self, pass: Pass) {
        let now = dpdk::tsc();
        self.passes[pass as usize].push(now - self.last);
        self.last = now;
    }
}

/// Separate rounds, since reading the time costs time.
fn print_stages(rig: &mut Rig, id: &str, flows: u32) -> Result<(), Failure> {
    let mut watch = StopWatch { last: 0, passes: Default::default() };
    let mut whole = Best::default();
    for _ in 0..TURNS {
        rig.rounds(A_TURN, flows, |worker: &mut Worker, way, burst| {
            watch.last = dpdk::tsc();
            whole.push(timed(worker, way, burst, &mut watch));
        })?;
        watch.passes.iter_mut().for_each(Best::end_turn);
        whole.end_turn();
        std::thread::sleep(PAUSE);
    }
    print!("{id}: cycles a packet by pass:");
    for pass in Pass::ALL {
        print!(" {} {:.1},", pass.name(), watch.passes[pass as usize].cycles_a_packet());
    }
    println!(" all {:.1} with the stop-watch", whole.cycles_a_packet());
    Ok(())
}

/// One cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([u64; 8]);

/// The peer.
pub struct Floor {
    index: Vec<Line>,
    entries: Vec<Line>,
    numbers: Vec<u32>,
}

impl Floor {
    /// For so many flows.
    pub fn new(flows: u32) -> Self {
        Self {
            index: vec![Line([1; 8]); INDEX_LINES],
            entries: vec![Line([0; 8]); flows as usize],
            numbers: Vec::with_capacity(BURST),
        }
    }

    /// Leaves the frames in the burst: sending pointers to a ring is the same for both and too little to matter.
    pub fn timed(&mut self, way: Way, burst: &mut Burst, number: impl Fn(&[u8]) -> u32) -> u64 {
        let start = dpdk::tsc();
        self.numbers.clear();
        let mut touched = 0;
        for mbuf in burst.iter() {
            let number = number(mbuf.data());
            self.numbers.push(number);
            let line = (u64::from(number) * 2 + way as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            touched ^= self.index[(line as usize * INDEX_LINES) >> 32].0[0];
        }
        black_box(touched);
        for &number in &self.numbers {
            self.entries[number as usize].0[0] += 1;
        }
        for mbuf in burst.iter_mut() {
            if let Some(macs) = mbuf.data_mut().first_chunk_mut::<12>() {
                let (to, from) = macs.split_at_mut(6);
                to.swap_with_slice(from);
            }
        }
        dpdk::tsc() - start
    }
}
