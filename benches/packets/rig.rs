// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worker without a driver: frames go in by `Worker::pass` and come out of a software ring.
//!
//! The ports are `net_ring` ones, of which only the transmit side is used: sending 64 frames to it is one bulk
//! enqueue of 64 pointers, about as little as any driver could ask. Frames are taken from the far end, rewritten to
//! other flows and used again, outside of what is timed. They take turns: [`AT_ONCE`] of them are prepared at a
//! time, so that their first lines are in the L2 cache, as behind the descriptor ring of a NIC, not in L1.

use crate::Failure;
use crate::flows::{self, FRAME, Way};
use crossbeam::queue::ArrayQueue;
use dpdk::{BURST, Burst, Eal, Mbuf, Mempool, Port, PortConfig, RxQueue};
use fedgate_dataplane::house::Seat;
use fedgate_dataplane::worker::command::{Command, Desk, EventSink};
use fedgate_dataplane::worker::probe::Probe;
use fedgate_dataplane::worker::runtime::Runtime;
use fedgate_dataplane::worker::{Config, DATA_ROOM, Worker};
use fedgate_flow::{FlowConfig, Rng};
use fedgate_tables::counters::Counters;
use fedgate_tables::policy::{
    Ace, IF_MAC_SET, Interface, NONE, NatKind, NatRule, Route, net_range, one_addr,
};
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::policy_view::Checked;
use fedgate_tables::publish::Publication;
use fedgate_wire::MacAddr;
use fedgate_wire::emit::{self, Station};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bursts prepared at a time.
pub const BURSTS: usize = 8;
/// Frames prepared at a time.
pub const AT_ONCE: usize = BURSTS * BURST;
/// Connections the table has room for, in every measurement.
pub const MAX_CONNS: u32 = 1_000_000;

/// Slot and index of the outside interface.
pub const OUTSIDE: usize = 0;
/// Slot and index of the inside interface.
pub const INSIDE: usize = 1;
/// The appliance's addresses.
const OWN: [u32; 2] = [ip(198, 51, 100, 2), ip(10, 0, 0, 1)];
/// The appliance's MACs.
pub const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
/// The routers on both sides: all flows go through them, so there are two neighbours.
pub const GATEWAYS: [Station; 2] = [
    Station { mac: MacAddr([2, 0, 0, 0, 1, 1]), ip: ip(198, 51, 100, 1) },
    Station { mac: MacAddr([2, 0, 0, 0, 1, 2]), ip: ip(10, 0, 0, 2) },
];

/// Host order.
pub const fn ip(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// What is made once a process.
pub struct Stock {
    pub eal: &'static Eal,
    pool: Mempool,
}

impl Stock {
    /// The pool.
    pub fn new(eal: &'static Eal) -> Result<Self, Failure> {
        Ok(Self { eal, pool: Mempool::new(eal, "bench", 4095, DATA_ROOM, 256)? })
    }
}

/// How the flows' connections are made.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Flows there may be.
    pub flows: u32,
    /// By dynamic PAT, else untranslated.
    pub pat: bool,
    /// The inside interface's ACL; empty for none.
    pub aces: &'a [Ace],
}

/// See the module.
pub struct Rig {
    pub worker: Worker,
    /// Frames not in use.
    frames: Vec<Mbuf>,
    sent: [RxQueue; 2],
    pat: bool,
    pub random: Rng,
    _publication: Publication<Runtime>,
    _counters: Counters,
    _ports: Vec<Port>,
}

impl Rig {
    /// With its neighbours known and no connection.
    pub fn new(stock: &Stock, setup: Setup<'_>) -> Result<Self, Failure> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let (counters, mut blocks, _house) = Counters::create(1, 0)?;
        let commands = Arc::new(ArrayQueue::new(16));
        let desk = Desk {
            commands: commands.clone(),
            replies: Arc::new(ArrayQueue::new(16)),
            events: EventSink(Arc::new(ArrayQueue::new(64))),
        };
        let (mut ports, mut sent) = (Vec::new(), Vec::new());
        for slot in 0..2 {
            let name = format!("net_ring{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let mut port = Port::probe(stock.eal, &name)?;
            port.configure(&PortConfig { rx_queues: 2, tx_queues: 2, ..PortConfig::default() }, stock.pool)?;
            port.start()?;
            // What is sent on queue i is received on queue i: crossed, that makes two ends.
            let (rx, tx) = (port.take_rx(0)?, port.take_tx(1)?);
            sent.push(port.take_rx(1)?);
            commands.push(Command::Port { slot, rx, tx }).map_err(|_| "no room for a port")?;
            ports.push(port);
        }
        let mut publication = Publication::new();
        let seat = Seat { image: publication.reader(), counters: blocks.remove(0), desk };
        let config = Config {
            flow: FlowConfig { max_conns: MAX_CONNS, max_xlates: MAX_CONNS, seed: 7 },
            limits: fedgate_proxy::Limits::default(),
            idle_sleep: false,
        };
        let mut worker = Worker::new(stock.eal, stock.pool, seat, &config);
        let mut runtime = Runtime::new(Arc::new(Checked::copy_of(&policy(setup).finish(1)?)?), None);
        runtime.slots = vec![Some(0), Some(1)];
        runtime.macs = MACS.to_vec();
        publication.publish(Box::new(runtime));
        worker.turn(dpdk::tsc());

        let mut frames = Vec::with_capacity(AT_ONCE);
        for _ in 0..AT_ONCE {
            let mut mbuf = stock.pool.alloc().ok_or("no packet buffer")?;
            mbuf.append(FRAME)?;
            frames.push(mbuf);
        }
        let sent = sent.try_into().map_err(|_| "two ports")?;
        let mut rig = Self {
            worker,
            frames,
            sent,
            pat: setup.pat,
            random: Rng::new(1),
            _publication: publication,
            _counters: counters,
            _ports: ports,
        };
        rig.learn_neighbours(stock)?;
        Ok(rig)
    }

    /// Each router asks for our address, and so makes itself known.
    fn learn_neighbours(&mut self, stock: &Stock) -> Result<(), Failure> {
        for slot in [OUTSIDE, INSIDE] {
            let mut request = stock.pool.alloc().ok_or("no packet buffer")?;
            emit::arp_request(
                request.append(emit::ARP_FRAME_LEN)?,
                GATEWAYS[slot],
                OWN[slot],
                MacAddr::BROADCAST,
            )?;
            let mut burst = Burst::new();
            burst.push(request).map_err(|_| "burst full")?;
            self.worker.pass(slot as u8, &mut burst, dpdk::tsc(), &mut ());
            // Gratuitous ARP of our addresses, and the reply.
            let mut heard = Burst::new();
            while self.sent[slot].burst(&mut heard) > 0 {
                heard.clear();
            }
        }
        Ok(())
    }

    /// Sends each flow's first packet.
    ///
    /// # Errors
    /// One did not come out.
    pub fn make_connections(&mut self, flows: std::ops::Range<u32>) -> Result<(), Failure> {
        let mut next = flows.start;
        while next < flows.end {
            let first = next;
            let mut bursts = self.prepare(|_| {
                let flow = next;
                next += 1;
                (flow < flows.end).then_some((flow, Way::Out))
            });
            for burst in &mut bursts {
                self.worker.pass(Way::Out.slot(), burst, dpdk::tsc(), &mut ());
            }
            self.collect((next.min(flows.end) - first) as usize)?;
        }
        Ok(())
    }

    /// Eight bursts of frames, each of one way: `flow(n)` names the n-th frame's flow and way.
    pub fn prepare(&mut self, mut flow: impl FnMut(usize) -> Option<(u32, Way)>) -> Vec<Burst> {
        let mut bursts = Vec::with_capacity(BURSTS);
        for b in 0..BURSTS {
            let mut burst = Burst::new();
            for n in 0..BURST {
                let Some((flow, way)) = flow(b * BURST + n) else { break };
                let Some(mut mbuf) = self.frames.pop() else { break };
                if let Some(frame) = mbuf.data_mut().first_chunk_mut() {
                    flows::write(frame, flow, way, self.pat);
                }
                // A burst has room for BURST frames.
                drop(burst.push(mbuf));
            }
            bursts.push(burst);
        }
        bursts
    }

    /// Takes back what was sent, which must be `expected` frames: else it was something else that was measured.
    pub fn collect(&mut self, expected: usize) -> Result<(), Failure> {
        let before = self.frames.len();
        let mut burst = Burst::new();
        for sent in &mut self.sent {
            while sent.burst(&mut burst) > 0 {
                self.frames.extend(burst.drain());
            }
        }
        match self.frames.len() - before {
            got if got == expected => Ok(()),
            got => Err(format!("{got} frames of {expected} were sent").into()),
        }
    }

    /// Prepares eight bursts of random flows, `rounds` times, every other burst of replies, and gives each to `run`.
    pub fn rounds(
        &mut self,
        rounds: usize,
        flows: u32,
        mut run: impl FnMut(&mut Worker, Way, &mut Burst),
    ) -> Result<(), Failure> {
        for _ in 0..rounds {
            let mut random = Rng::new(self.random.next());
            let mut bursts = self.prepare(|n| {
                let flow = ((u128::from(random.next()) * u128::from(flows)) >> 64) as u32;
                Some((flow, Way::of_burst(n / BURST)))
            });
            for (b, burst) in bursts.iter_mut().enumerate() {
                run(&mut self.worker, Way::of_burst(b), burst);
            }
            // What `run` left in a burst is as good as sent.
            let left: usize = bursts.iter().map(|b| b.len()).sum();
            for mut burst in bursts {
                self.frames.extend(burst.drain());
            }
            self.collect(AT_ONCE - left)?;
        }
        Ok(())
    }
}

/// Runs one burst and gives its cycles.
pub fn timed(worker: &mut Worker, way: Way, burst: &mut Burst, probe: &mut impl Probe) -> u64 {
    let start = dpdk::tsc();
    worker.pass(way.slot(), burst, start, probe);
    dpdk::tsc() - start
}

/// Two interfaces with a router behind each, and PAT for the inside by groups of 62,500 flows.
fn policy(setup: Setup<'_>) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    let name = b.blob(b"inside_in");
    let acl_in = if setup.aces.is_empty() { NONE } else { b.acl(name, setup.aces, &[]) };
    for (i, (name, security)) in [("outside", 0), ("inside", 100)].into_iter().enumerate() {
        let (name, device) = (b.blob(name.as_bytes()), b.blob(format!("net_ring{i}").as_bytes()));
        b.interface(Interface {
            name,
            device,
            addr: OWN[i],
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            flags: IF_MAC_SET,
            mac: MACS[i].0,
            acl_in: if i == INSIDE { acl_in } else { NONE },
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.route(Route { gateway: GATEWAYS[OUTSIDE].ip, ifindex: OUTSIDE as u32, metric: 1, ..Route::default() });
    b.route(Route {
        net: ip(10, 0, 0, 0),
        mask: 0xff00_0000,
        gateway: GATEWAYS[INSIDE].ip,
        ifindex: INSIDE as u32,
        metric: 1,
    });
    for group in (0..flows::groups(setup.flows)).filter(|_| setup.pat) {
        b.nat(NatRule {
            real_if: INSIDE as u32,
            mapped_if: OUTSIDE as u32,
            real: net_range(flows::real_net(group), 0xffff_0000),
            mapped: one_addr(flows::mapped(group)),
            kind: NatKind::DynamicPat as u8,
            section: 2,
            counter: group,
            ..NatRule::default()
        });
    }
    b
}
