// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several workers between an outside and an inside cable, in one thread: each is turned in its turn until none has work.
//!
//! A NIC's dealing out to queues is done here by the [`Dealt`] of the side, or all goes to one worker. Every address has a station
//! whose MAC is made from it and that answers ARP; replies come by worker 0's queue, as they do by a NIC's first.

use super::rig::{INSIDE, MACS, OUTSIDE, arp_target};
use crate::house::Seat;
use crate::worker::command::{Command, Desk, Reply};
use crate::worker::mates::{Mates, ROOM};
use crate::worker::net::Outlet;
use crate::worker::runtime::{self, Runtime};
use crate::worker::{Config, DATA_ROOM, Worker};
use dpdk::testing::{Far, TestPorts};
use dpdk::{Eal, Mempool, Port};
use fedgate_flow::FlowConfig;
use fedgate_flow::acl::Acls;
use fedgate_flow::ports::Share;
use fedgate_flow::shard::{Dealing, Dealt};
use fedgate_tables::counters::{Counter, Counters, CountersReader, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::policy_view::Checked;
use fedgate_tables::publish::Publication;
use fedgate_tables::region::Region;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{Arp, MacAddr, Tuple, parse};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a side's frames come to the workers.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// By a queue each, dealt out by this key; the ports of TCP and UDP count.
    Dealt(Dealing),
    /// All by one worker's queue; it alone sends there, too.
    Single(u8),
}

pub struct Crew {
    pub workers: Vec<Worker>,
    pub desks: Vec<Desk>,
    sides: [Side; 2],
    far: [Vec<Far>; 2],
    counters: CountersReader,
    publication: Publication<Runtime>,
    micros: u64,
    pool: Mempool,
    free_at_start: u32,
    _ports: Vec<Port>,
}

/// The station at an address.
pub fn station(ip: u32) -> Station {
    let [a, b, c, d] = ip.to_be_bytes();
    Station { mac: MacAddr([2, 1, a, b, c, d]), ip }
}

impl Crew {
    pub fn new(count: u8, sides: [Side; 2], policy: PolicyBuilder) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let eal = Eal::for_tests();
        let name = format!("crew{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let pool = Mempool::new(eal, &name, 2047, DATA_ROOM, 0).unwrap();
        let free_at_start = pool.available();
        let (counters, blocks, _own) = Counters::create(count.into(), 0).unwrap();
        let mut publication = Publication::new();
        let (mut workers, mut desks) = (Vec::new(), Vec::new());
        for (counters, mates) in blocks.into_iter().zip(Mates::crew(count, ROOM)) {
            let (ours, desk) = Desk::pair(16, 16, 256);
            let share = Share { worker: mates.me().into(), of: count.into() };
            let seat = Seat { image: publication.reader(), counters, desk, mates };
            let config = Config {
                flow: FlowConfig { max_conns: 4096, max_xlates: 4096, share, seed: 7 },
                limits: fedgate_proxy::Limits::default(),
                idle_sleep: false,
            };
            workers.push(Worker::new(eal, pool, seat, &config));
            desks.push(ours);
        }
        let (mut ports, mut far) = (Vec::new(), Vec::new());
        for (slot, side) in (0u8..).zip(sides) {
            let made = TestPorts::new(eal, pool, count.into());
            for ((worker, desk), (rx, tx)) in (0u8..).zip(&desks).zip(made.near) {
                let (rx, tx) = match side {
                    Side::Single(only) if only != worker => (None, Outlet::Mate(only)),
                    Side::Single(_) | Side::Dealt(_) => (Some(rx), Outlet::Queue(tx)),
                };
                assert!(desk.commands.push(Command::Port { slot, rx, tx }).is_ok());
            }
            ports.push(made.port);
            far.push(made.far);
        }
        let fd = rustix::io::dup(counters.region().fd()).unwrap();
        let far: [Vec<Far>; 2] = far.try_into().unwrap_or_else(|_| unreachable!("two ports"));
        let mut crew = Self {
            workers,
            desks,
            sides,
            far,
            counters: CountersReader::attach(Region::map_rw(fd).unwrap()).unwrap(),
            publication,
            micros: 1_000_000,
            pool,
            free_at_start,
            _ports: ports,
        };
        crew.publish(policy, 1);
        crew.turn();
        crew.collect();
        crew
    }

    pub fn publish(&mut self, policy: PolicyBuilder, generation: u64) {
        let checked = Checked::copy_of(&policy.finish(generation).unwrap()).unwrap();
        let acls = runtime::compile(&checked.view(), &Acls::default(), &[]);
        let mut runtime = Runtime::new(Arc::new(checked), Arc::new(acls), None);
        runtime.slots = vec![Some(0), Some(1)];
        runtime.macs = MACS.to_vec();
        runtime.dealt = [OUTSIDE, INSIDE].map(|side| self.dealt(side)).to_vec();
        self.publication.publish(Box::new(runtime));
    }

    fn dealt(&self, side: usize) -> Option<Dealt> {
        match self.sides[side] {
            Side::Dealt(dealing) => {
                Some(Dealt { dealing, ports: [true, true], queues: self.workers.len() as u8 })
            }
            Side::Single(_) => None,
        }
    }

    /// Turns all workers until none has anything to do.
    pub fn turn(&mut self) {
        loop {
            let micros = self.micros;
            let mut work = 0;
            for worker in &mut self.workers {
                let tsc = worker.clock.tsc_of(micros);
                work += worker.turn(tsc);
            }
            self.publication.reclaim();
            if work == 0 {
                return;
            }
        }
    }

    /// Microseconds since the workers began.
    pub fn micros(&self) -> u64 {
        self.micros
    }

    /// The TSC of a worker as of now.
    pub fn tsc(&self, worker: usize) -> u64 {
        self.workers[worker].clock.tsc_of(self.micros)
    }

    /// Turns one worker once.
    pub fn turn_only(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let tsc = worker.clock.tsc_of(self.micros);
        worker.turn(tsc);
    }

    pub fn wait(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(100) {
            self.micros += 100_000;
            self.turn();
        }
    }

    /// The worker whose queue a frame comes by.
    pub fn receiver(&self, side: usize, frame: &[u8]) -> u8 {
        let tuple = parse(frame).map(|parsed| parsed.tuple).unwrap_or_default();
        match self.sides[side] {
            Side::Dealt(_) => self.dealt(side).map_or(0, |dealt| dealt.worker(&tuple)),
            Side::Single(worker) => worker,
        }
    }

    /// Puts a frame where a NIC would, without a turn.
    pub fn inject(&mut self, side: usize, frame: &[u8]) {
        let worker = self.receiver(side, frame);
        self.far[side][usize::from(worker)].inject(frame);
    }

    /// Puts a frame where only a NIC that does not hash would.
    pub fn inject_at(&mut self, side: usize, worker: usize, frame: &[u8]) {
        self.far[side][worker].inject(frame);
    }

    /// A frame into one side, and what came out at both, once everybody who was asked for by ARP has answered.
    pub fn send(&mut self, side: usize, frame: &[u8]) -> [Vec<Vec<u8>>; 2] {
        self.inject(side, frame);
        self.settle()
    }

    /// Turns and answers ARP until nothing moves; gives the other frames.
    pub fn settle(&mut self) -> [Vec<Vec<u8>>; 2] {
        let mut out = [Vec::new(), Vec::new()];
        loop {
            self.turn();
            let mut asked = false;
            for (side, frames) in self.collect().into_iter().enumerate() {
                for frame in frames {
                    match arp_target(&frame) {
                        Some(target) => {
                            asked = true;
                            let asker = Arp::new_checked(&frame[14..]).unwrap();
                            let to = Station { mac: asker.sender_mac(), ip: asker.sender_ip() };
                            let mut reply = [0; emit::ARP_FRAME_LEN];
                            emit::arp_reply(&mut reply, station(target), to).unwrap();
                            let first = match self.sides[side] {
                                Side::Dealt(_) => 0,
                                Side::Single(worker) => usize::from(worker),
                            };
                            self.far[side][first].inject(&reply);
                        }
                        None => out[side].push(frame),
                    }
                }
            }
            if !asked {
                return out;
            }
        }
    }

    /// What came out since the last call.
    pub fn collect(&mut self) -> [Vec<Vec<u8>>; 2] {
        [OUTSIDE, INSIDE].map(|side| self.far[side].iter_mut().flat_map(Far::collect).collect())
    }

    pub fn stat(&self, stat: Stat) -> u64 {
        self.counters.sum(Counter::Stat(stat))
    }

    pub fn drops(&self, reason: DropReason) -> u64 {
        self.counters.sum(Counter::Drop(reason))
    }

    /// Frames dropped for whatever reason.
    pub fn all_drops(&self) -> u64 {
        DropReason::ALL.iter().map(|reason| self.drops(*reason)).sum()
    }

    pub fn ask(&mut self, worker: usize, command: Command) -> Reply {
        assert!(self.desks[worker].commands.push(command).is_ok());
        self.turn();
        self.desks[worker].replies.pop().expect("an answer")
    }

    /// Nothing is held by a ring, a port or a queue.
    #[track_caller]
    pub fn assert_no_mbuf_held(&self) {
        assert_eq!(self.pool.available(), self.free_at_start);
    }
}

/// The tuple of a whole IPv4 frame.
pub fn tuple(frame: &[u8]) -> Tuple {
    parse(frame).expect("a good frame").tuple
}
