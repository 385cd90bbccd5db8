// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worker without a driver: frames go in by `Worker::pass` and come out of a software ring.
//!
//! The ports are `net_ring` ones, of which only the transmit side is used: sending 64 frames to it is one bulk
//! enqueue of 64 pointers, about as little as any driver could ask. Frames are taken from the far end, rewritten to
//! other flows and used again, outside of what is timed. They take turns: [`AT_ONCE`] of them are prepared at a
//! time, so that their first lines are in the L2 cache, as behind the descriptor ring of a NIC, not in L1.

use crate::Failure;
use crate::flows::{self, FRAME, Way};
use crate::flows6;
use crate::talk::{Opening, Talk, Transport};
use crossbeam::queue::ArrayQueue;
use dpdk::{BURST, Burst, Eal, Mbuf, Mempool, Port, PortConfig, RxQueue};
use fedgate_dataplane::house::Seat;
use fedgate_dataplane::worker::command::{Command, Desk, EventSink};
use fedgate_dataplane::worker::mates::Mates;
use fedgate_dataplane::worker::net::Outlet;
use fedgate_dataplane::worker::probe::Probe;
use fedgate_dataplane::worker::runtime::{self, Runtime};
use fedgate_dataplane::worker::{Config, DATA_ROOM, Worker};
use fedgate_flow::acl::Acls;
use fedgate_flow::ports::Share;
use fedgate_flow::{FlowConfig, Rng};
use fedgate_tables::counters::{Counter, Counters, CountersReader};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy::{
    Ace, IF_IPV6, IF_MAC_SET, Interface, NONE, NatKind, NatRule, Route, net_range, one_addr,
};
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::policy_view::Checked;
use fedgate_tables::publish::Publication;
use fedgate_tables::region::Region;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{EmitError, MacAddr, emit6};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Bursts prepared at a time.
pub const BURSTS: usize = 8;
/// Frames prepared at a time.
pub const AT_ONCE: usize = BURSTS * BURST;
/// Connections the table has room for, where nothing else is said.
pub const MAX_CONNS: u32 = 1_000_000;

/// How long duplicate address detection takes at most.
const DETECTION: Duration = Duration::from_millis(2500);

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
    /// With a pool of this name.
    pub fn new(eal: &'static Eal, pool: &str) -> Result<Self, Failure> {
        Ok(Self { eal, pool: Mempool::new(eal, pool, 4095, DATA_ROOM, 256)? })
    }
}

/// How the flows' connections are made.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Flows there may be.
    pub flows: u32,
    /// Connections the table has room for.
    pub max_conns: u32,
    /// What the flows speak.
    pub transport: Transport,
    /// By dynamic PAT, else untranslated.
    pub pat: bool,
    /// The inside interface's ACL; empty for none.
    pub aces: &'a [Ace],
    /// The interfaces speak IPv6 as well, and the routers are known by it.
    pub ipv6: bool,
}

impl Setup<'_> {
    /// UDP through dynamic PAT in a table of the usual size, without an ACL.
    pub fn udp(flows: u32) -> Self {
        Setup { flows, max_conns: MAX_CONNS, transport: Transport::Udp, pat: true, aces: &[], ipv6: false }
    }
}

/// See the module.
pub struct Rig {
    pub worker: Worker,
    pool: Mempool,
    /// Frames not in use.
    frames: Vec<Mbuf>,
    sent: [RxQueue; 2],
    talk: Talk,
    transport: Transport,
    pub random: Rng,
    _publication: Publication<Runtime>,
    counted: CountersReader,
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
            commands
                .push(Command::Port { slot, rx: Some(rx), tx: Outlet::Queue(tx) })
                .map_err(|_| "no room for a port")?;
            ports.push(port);
        }
        let mut publication = Publication::new();
        let seat =
            Seat { image: publication.reader(), counters: blocks.remove(0), desk, mates: Mates::none() };
        let config = Config {
            flow: FlowConfig {
                max_conns: setup.max_conns,
                max_xlates: setup.max_conns,
                share: Share::WHOLE,
                seed: 7,
            },
            limits: fedgate_proxy::Limits::default(),
            idle_sleep: false,
        };
        let mut worker = Worker::new(stock.eal, stock.pool, seat, &config);
        let checked = Checked::copy_of(&policy(setup).finish(1)?)?;
        let acls = runtime::compile(&checked.view(), &Acls::default(), &[]);
        let mut runtime = Runtime::new(Arc::new(checked), Arc::new(acls), None);
        runtime.slots = vec![Some(0), Some(1)];
        runtime.macs = MACS.to_vec();
        publication.publish(Box::new(runtime));
        worker.turn(dpdk::tsc());

        let sent = sent.try_into().map_err(|_| "two ports")?;
        let mut rig = Self {
            worker,
            pool: stock.pool,
            frames: Vec::with_capacity(AT_ONCE),
            sent,
            talk: Talk::new(setup.transport, setup.flows, setup.pat),
            transport: setup.transport,
            random: Rng::new(1),
            _publication: publication,
            counted: CountersReader::attach(Region::map_rw(counters.region().fd().try_clone_to_owned()?)?)?,
            _counters: counters,
            _ports: ports,
        };
        rig.learn_neighbours(stock, emit::ARP_FRAME_LEN, |slot, frame| {
            emit::arp_request(frame, GATEWAYS[slot], OWN[slot], MacAddr::BROADCAST)
        })?;
        if setup.ipv6 {
            // Until nobody else can have our addresses.
            let started = Instant::now();
            while started.elapsed() < DETECTION {
                rig.worker.turn(dpdk::tsc());
            }
            rig.learn_neighbours(stock, emit6::ND_FRAME_LEN, |slot, frame| {
                emit6::solicitation(frame, flows6::GATEWAYS[slot], flows6::OWN[slot], None)
            })?;
        }
        Ok(rig)
    }

    /// Each router asks for our address, and so makes itself known.
    fn learn_neighbours(
        &mut self,
        stock: &Stock,
        len: usize,
        ask: impl Fn(usize, &mut [u8]) -> Result<usize, EmitError>,
    ) -> Result<(), Failure> {
        for slot in [OUTSIDE, INSIDE] {
            let mut request = stock.pool.alloc().ok_or("no packet buffer")?;
            ask(slot, request.append(len)?)?;
            let mut burst = Burst::new();
            burst.push(request).map_err(|_| "burst full")?;
            self.worker.pass(slot as u8, &mut burst, dpdk::tsc(), &mut ());
            // What we say of our addresses unasked, and the reply.
            let mut heard = Burst::new();
            while self.sent[slot].burst(&mut heard) > 0 {
                heard.clear();
            }
        }
        Ok(())
    }

    /// Sends what opens each flow: its first packet, or the handshake.
    ///
    /// # Errors
    /// One did not come out.
    pub fn make_connections(&mut self, flows: std::ops::Range<u32>) -> Result<(), Failure> {
        let mut first = flows.start;
        while first < flows.end {
            let some = (flows.end - first).min(AT_ONCE as u32);
            for &opening in Opening::of(self.transport) {
                for burst in &mut self.openings(first, some, opening)? {
                    self.worker.pass(opening.way().slot(), burst, dpdk::tsc(), &mut ());
                }
                self.collect(some as usize)?;
            }
            first += some;
        }
        Ok(())
    }

    /// Bursts of one opening frame of each of `some` flows from `first` on, [`AT_ONCE`] at most.
    pub fn openings(&mut self, first: u32, some: u32, opening: Opening) -> Result<Vec<Burst>, Failure> {
        self.fill(|n, talk, frame| {
            let there = (n as u32) < some;
            if there {
                talk.open(frame, first + n as u32, opening);
            }
            there
        })
    }

    /// Eight bursts of frames of `LEN` bytes, for a rig always the same; fewer where `write` has no n-th one. It gets the flows' talk
    /// and the frame.
    pub fn fill<const LEN: usize>(
        &mut self,
        mut write: impl FnMut(usize, &mut Talk, &mut [u8; LEN]) -> bool,
    ) -> Result<Vec<Burst>, Failure> {
        let mut bursts = Vec::with_capacity(BURSTS);
        for b in 0..BURSTS {
            let mut burst = Burst::new();
            for n in 0..BURST {
                let mut mbuf = match self.frames.pop() {
                    Some(mbuf) => mbuf,
                    None => new_frame(self.pool, LEN)?,
                };
                let frame = mbuf.data_mut().first_chunk_mut().ok_or("a short frame")?;
                if !write(b * BURST + n, &mut self.talk, frame) {
                    self.frames.push(mbuf);
                    break;
                }
                burst.push(mbuf).map_err(|_| "burst full")?;
            }
            bursts.push(burst);
        }
        Ok(bursts)
    }

    /// Takes back what was sent, which must be `expected` frames: else it was something else that was measured.
    pub fn collect(&mut self, expected: usize) -> Result<(), Failure> {
        match self.sent() {
            got if got == expected => Ok(()),
            got => Err(format!("{got} frames of {expected} were sent").into()),
        }
    }

    /// Packets that ACLs have denied.
    pub fn denied(&self) -> u64 {
        self.counted.sum(Counter::Drop(DropReason::AclDrop))
    }

    /// Takes back what was sent and counts it.
    pub fn sent(&mut self) -> usize {
        let before = self.frames.len();
        let mut burst = Burst::new();
        for sent in &mut self.sent {
            while sent.burst(&mut burst) > 0 {
                self.frames.extend(burst.drain());
            }
        }
        self.frames.len() - before
    }

    /// Prepares eight bursts of random flows, `rounds` times, every other burst of replies, and gives each to `run`.
    pub fn rounds(
        &mut self,
        rounds: usize,
        flows: u32,
        mut run: impl FnMut(&mut Worker, Way, &mut Burst),
    ) -> Result<(), Failure> {
        for _ in 0..rounds {
            let bursts = self.random_bursts(flows, Talk::next)?;
            self.take_turn(bursts, |rig, way, burst| run(&mut rig.worker, way, burst))?;
        }
        Ok(())
    }

    /// The same for a peer, which leaves the frames in the bursts; the worker never sees them.
    pub fn peer_rounds(
        &mut self,
        rounds: usize,
        flows: u32,
        mut run: impl FnMut(Way, &mut Burst),
    ) -> Result<(), Failure> {
        for _ in 0..rounds {
            let bursts = self.random_bursts(flows, |talk, frame, flow, way| talk.peek(frame, flow, way))?;
            self.take_turn(bursts, |_, way, burst| run(way, burst))?;
        }
        Ok(())
    }

    fn random_bursts(
        &mut self,
        flows: u32,
        mut write: impl FnMut(&mut Talk, &mut [u8; FRAME], u32, Way),
    ) -> Result<Vec<Burst>, Failure> {
        let mut random = Rng::new(self.random.next());
        self.fill(|n, talk, frame| {
            write(talk, frame, below(&mut random, flows), Way::of_burst(n / BURST));
            true
        })
    }

    /// Gives each burst to `run` and takes the frames back.
    pub fn take_turn(
        &mut self,
        mut bursts: Vec<Burst>,
        mut run: impl FnMut(&mut Self, Way, &mut Burst),
    ) -> Result<(), Failure> {
        for (b, burst) in bursts.iter_mut().enumerate() {
            run(self, Way::of_burst(b), burst);
        }
        // What `run` left in a burst is as good as sent.
        let left: usize = bursts.iter().map(|b| b.len()).sum();
        for mut burst in bursts {
            self.frames.extend(burst.drain());
        }
        self.collect(AT_ONCE - left)
    }
}

/// A random number below `bound`.
pub fn below(random: &mut Rng, bound: u32) -> u32 {
    ((u128::from(random.next()) * u128::from(bound)) >> 64) as u32
}

/// A frame to be written.
fn new_frame(pool: Mempool, len: usize) -> Result<Mbuf, Failure> {
    let mut mbuf = pool.alloc().ok_or("no packet buffer")?;
    mbuf.append(len)?;
    Ok(mbuf)
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
            flags: IF_MAC_SET | if setup.ipv6 { IF_IPV6 } else { 0 },
            addr6: if setup.ipv6 { flows6::OWN[i].to_be_bytes() } else { [0; 16] },
            prefix6: if setup.ipv6 { 64 } else { 0 },
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
    if setup.ipv6 {
        flows6::routes().into_iter().for_each(|route| b.route6(route));
    }
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
