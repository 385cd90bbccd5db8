// SPDX-License-Identifier: MIT OR Apache-2.0
//! How long the appliance holds a packet at half of what it can do, beyond what its ports take.
//!
//! One thread of this process is the traffic's both ends: memif ports to the dataplane process, inside and outside, and two more to
//! `dpdk-testpmd` in `macswap` mode, which is the peer. Every frame carries the time stamp counter of when it was handed to the
//! driver; it is compared with the counter when the frame comes out of the far port. Both run on one CPU, one clock.
//!
//! First the full rate is measured, without pacing. Then both are fed the same frames at half of that, in small groups at equal
//! distances, in turns. The row is the lower decile of the turns' 99.9th percentiles, ours less the peer's: what parse, lookup,
//! translation and the worker's other duties add to the same two memif hops and the same scheduler. A decile, because a hypervisor that takes
//! the CPU away for a millisecond decides a turn's percentile alone, for both alike and in most turns; the medians are printed.
//!
//! This thread shares its CPU with housekeeping and with the kernel: while it does not run, frames wait for it, and that
//! is no delay of the appliance. So what arrives right after a gap of [`BLIND`] in its own loop is not counted, for both alike;
//! the share is printed.

use crate::appliance::{self, Appliance};
use crate::flows::{Ends, FRAME, write_udp};
use crate::rig::{INSIDE, ip};
use crate::rows::Row;
use crate::testpmd::{Role, Testpmd};
use crate::{Failure, Options, client, ends};
use dpdk::{Burst, Eal, EalOptions, Huge, Mbuf, Mempool, Port, RxQueue, TxQueue};
use fedgate_dataplane::worker::DATA_ROOM;
use hdrhistogram::Histogram;
use std::path::Path;
use std::time::{Duration, Instant};

/// Flows, as many as `testpmd_1k` has.
const FLOWS: u32 = 1000;
/// Packet memory of each process, MiB.
const MEMORY_MIB: u32 = 192;
/// Frames handed to the driver together when they are paced.
const GROUP: usize = 16;
/// Turns, and the length of each after its warming up.
const TURNS: usize = 100;
const A_TURN: Duration = Duration::from_millis(60);
const WARM: Duration = Duration::from_millis(20);
/// Turns without pacing, of which the best gives the full rate.
const FULL_TURNS: usize = 4;
/// A gap in this thread's loop, in nanoseconds, after which what arrives was kept waiting by it.
const BLIND: u64 = 10_000;
/// Where the time stamp stands in a frame: at the start of the payload.
const STAMP: usize = 42;

/// The row.
pub fn run(options: &Options) -> Result<Vec<Row>, Failure> {
    if !options.wants("latency_p999_us") {
        return Ok(Vec::new());
    }
    let huge = ends::free_hugepages_mib()? >= 3 * MEMORY_MIB;
    let folder = tempfile::tempdir()?;
    let paths = ["appliance0", "appliance1", "peer0", "peer1"].map(|name| folder.path().join(name));
    let [a0, a1, p0, p1] = &paths;
    let appliance =
        Appliance::start(folder.path(), [a0, a1], options.cpu, options.other_cpu, huge, MEMORY_MIB)?;
    let mut peer = Testpmd::start(Role {
        name: "bench-peer",
        memif: "server",
        sockets: [p0, p1],
        cpu: options.cpu,
        other_cpu: options.other_cpu,
        huge,
        memory_mib: MEMORY_MIB,
        arguments: &["--forward-mode=macswap"],
    })?;
    // Only now, because it pins this thread.
    let eal = Eal::init(&EalOptions {
        program: "fedgate-bench".into(),
        main_cpu: options.other_cpu,
        worker_cpus: vec![options.other_cpu],
        huge: if huge { Huge::Auto } else { Huge::No },
        memory_mib: MEMORY_MIB,
        prefix: "fedgate-bench".into(),
        ..EalOptions::default()
    })?;
    let pool = Mempool::new(eal, "bench", 16_383, DATA_ROOM, 256)?;
    let mut through_ours = Generator::new(eal, pool, [a0, a1], 0)?;
    let mut through_theirs = Generator::new(eal, pool, [p0, p1], 2)?;
    through_ours.introduce()?;

    let mut full = 0.0f64;
    for _ in 0..FULL_TURNS {
        full = full.max(through_ours.run(None, A_TURN)?.rate);
    }
    let half = full / 2.0;
    let (mut ours, mut theirs, mut blind) = (Vec::new(), Vec::new(), 0.0f64);
    for _ in 0..TURNS {
        appliance.resume()?;
        let turn = through_ours.run(Some(half), A_TURN)?;
        appliance.pause()?;
        ours.push(turn.p999);
        blind = blind.max(turn.blind);

        peer.ask("start")?;
        let turn = through_theirs.run(Some(half), A_TURN)?;
        peer.ask("stop")?;
        theirs.push(turn.p999);
        blind = blind.max(turn.blind);
    }
    appliance.resume()?;
    if !appliance.answers() {
        return Err(format!("the appliance does not answer; {:?}", appliance.drops()).into());
    }
    ours.sort_by(f64::total_cmp);
    theirs.sort_by(f64::total_cmp);
    let spread = |turns: &[f64]| {
        let at = |of_ten: usize| turns[turns.len() * of_ten / 10];
        format!("{:.1}, {:.1}, {:.1}, {:.1}", turns[0], at(1), at(5), turns[turns.len() - 1])
    };
    println!(
        "latency: {:.2} of {:.2} M packets/s; p99.9 in us by turn (best, decile, median, worst): ours {}, testpmd's {}; at most {:.1} % left out",
        half / 1e6,
        full / 1e6,
        spread(&ours),
        spread(&theirs),
        blind * 100.0
    );
    // Traffic has stopped; first the clients, then the servers.
    through_ours.close()?;
    through_theirs.close()?;
    peer.quit()?;
    appliance.quit()?;

    let (ours, theirs) = (ours[TURNS / 10], theirs[TURNS / 10]);
    let peer = "p99.9 through dpdk-testpmd macswap, already taken off";
    Ok(vec![Row::new("latency_p999_us", (ours - theirs).max(0.0), "us", peer, theirs)])
}

/// What one turn gave.
struct Turn {
    /// Frames a second that came back.
    rate: f64,
    /// Microseconds.
    p999: f64,
    /// Share of frames that were not looked at.
    blind: f64,
}

/// Both ends of the traffic through one forwarder.
struct Generator {
    inside: (RxQueue, TxQueue),
    outside: (RxQueue, TxQueue),
    ports: [Port; 2],
    pool: Mempool,
    hz: u64,
    frames: Vec<[u8; FRAME]>,
    next: usize,
    burst: Burst,
}

impl Generator {
    /// Connected to the memif sockets `sockets`; its ports are numbered from `first`.
    fn new(eal: &'static Eal, pool: Mempool, sockets: [&Path; 2], first: usize) -> Result<Self, Failure> {
        let ports = client::connect(eal, pool, sockets, first)?;
        let frames = (0..FLOWS).map(frame).collect();
        Ok(Self {
            inside: ports[0].take_queue(0)?,
            outside: ports[1].take_queue(0)?,
            ports,
            pool,
            hz: eal.tsc_hz(),
            frames,
            next: 0,
            burst: Burst::new(),
        })
    }

    /// Makes the outside router known to the appliance, by its own question.
    fn introduce(&mut self) -> Result<(), Failure> {
        client::introduce(&mut self.outside, self.pool, appliance::ROUTER, appliance::OUTSIDE)
    }

    /// Sends `rate` frames a second for a while, or as many as are taken, and looks at what comes back.
    fn run(&mut self, rate: Option<f64>, how_long: Duration) -> Result<Turn, Failure> {
        let ticks = |d: Duration| (d.as_secs_f64() * self.hz as f64) as u64;
        let step = rate.map_or(0, |rate| (GROUP as f64 * self.hz as f64 / rate) as u64);
        let blind_ticks = self.hz * BLIND / 1_000_000_000;
        let start = dpdk::tsc();
        let (from, to) = (start + ticks(WARM), start + ticks(WARM + how_long));
        let mut times = Histogram::<u64>::new_with_bounds(1, self.hz, 3)?;
        let (mut received, mut left_out) = (0u64, 0u64);
        let (mut due, mut looked) = (start, start);
        while looked < to {
            let now = dpdk::tsc();
            let gap = now - looked;
            looked = now;
            if now >= due {
                self.send(if rate.is_some() { GROUP } else { dpdk::BURST })?;
                // Groups that could not be sent in time are not made up for: that would be another load.
                due = if now > due + 4 * step { now + step } else { due + step };
            }
            while self.outside.0.burst(&mut self.burst) > 0 {
                let arrived = dpdk::tsc();
                if (from..to).contains(&arrived) {
                    received += self.burst.len() as u64;
                    if gap > blind_ticks {
                        left_out += self.burst.len() as u64;
                    } else {
                        for mbuf in self.burst.iter() {
                            times.saturating_record(arrived.saturating_sub(stamp(mbuf)).max(1));
                        }
                    }
                }
                self.burst.clear();
            }
        }
        self.drain();
        if received == 0 {
            return Err("nothing comes back".into());
        }
        Ok(Turn {
            rate: received as f64 / how_long.as_secs_f64(),
            p999: times.value_at_quantile(0.999) as f64 * 1e6 / self.hz as f64,
            blind: left_out as f64 / received as f64,
        })
    }

    /// Stamps some frames and hands them over. What the driver has no room for is not sent.
    fn send(&mut self, some: usize) -> Result<(), Failure> {
        let mut burst = Burst::new();
        for _ in 0..some {
            let Some(mut mbuf) = self.pool.alloc() else { break };
            mbuf.append(FRAME)?.copy_from_slice(&self.frames[self.next]);
            self.next = (self.next + 1) % self.frames.len();
            burst.push(mbuf).map_err(|_| "burst full")?;
        }
        let now = dpdk::tsc().to_le_bytes();
        for mbuf in burst.iter_mut() {
            mbuf.data_mut()[STAMP..STAMP + 8].copy_from_slice(&now);
        }
        self.inside.1.send(&mut burst);
        Ok(())
    }

    /// Takes what is still under way.
    fn drain(&mut self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            self.outside.0.burst(&mut self.burst);
            self.inside.0.burst(&mut self.burst);
            self.burst.clear();
        }
    }

    fn close(self) -> Result<(), Failure> {
        drop((self.inside, self.outside));
        for port in self.ports {
            port.close()?;
        }
        Ok(())
    }
}

/// A frame of a flow without a UDP checksum, which the time stamp would make wrong.
fn frame(flow: u32) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    let ends = Ends { slot: INSIDE, from: (appliance::SOURCE, 1000), to: (ip(10, 253, 0, 0) + flow, 1001) };
    write_udp(&mut frame, &ends, 0);
    frame[..6].copy_from_slice(&appliance::MACS[0]);
    frame[40..42].fill(0);
    frame
}

fn stamp(mbuf: &Mbuf) -> u64 {
    mbuf.data().get(STAMP..).and_then(|rest| rest.first_chunk()).map_or(0, |stamp| u64::from_le_bytes(*stamp))
}
