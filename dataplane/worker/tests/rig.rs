// SPDX-License-Identifier: MIT OR Apache-2.0
//! A worker between an outside and an inside cable, with a policy built by hand.

use crate::house::Seat;
use crate::worker::command::{Command, Desk, EventSink, Reply};
use crate::worker::mates::Mates;
use crate::worker::net::{LogKind, Outlet};
use crate::worker::runtime::{self, Runtime};
use crate::worker::{Config, DATA_ROOM, Worker};
use crossbeam::queue::ArrayQueue;
use dpdk::testing::{Far, TestPort};
use dpdk::{Eal, Mempool, Port};
use fedgate_flow::FlowConfig;
use fedgate_flow::acl::Acls;
use fedgate_flow::ports::Share;
use fedgate_proxy::ProxyTls;
use fedgate_tables::counters::{Counter, Counters, CountersReader, FragmentCounter, InterfaceCounter, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::Event;
use fedgate_tables::policy::*;
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_tables::policy_view::Checked;
use fedgate_tables::publish::Publication;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{Arp, MacAddr, checksum, ethernet, proto};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub const OUTSIDE: usize = 0;
pub const INSIDE: usize = 1;
/// The appliance's addresses and MACs by interface.
pub const OWN: [u32; 2] = [ip(198, 51, 100, 2), ip(10, 10, 0, 1)];
pub const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
/// The routing server and the address that it is shown as.
pub const SERVER: u32 = ip(10, 10, 0, 11);
pub const PUBLIC: u32 = ip(198, 51, 100, 3);
pub const WORK: Station = Station { mac: MacAddr([2, 0, 0, 0, 1, 50]), ip: ip(10, 10, 0, 50) };
pub const WEB: Station = Station { mac: MacAddr([2, 0, 0, 0, 0, 30]), ip: ip(198, 51, 100, 30) };
/// The station of the routing server.
pub const ROUTING: Station = Station { mac: MacAddr([2, 0, 0, 0, 1, 11]), ip: SERVER };

pub const fn ip(a: u8, b: u8, c: u8, d: u8) -> u32 {
    u32::from_be_bytes([a, b, c, d])
}

/// One test at a time uses EAL's main thread state and the shared pool; so its counts can be exact.
static ONE: Mutex<()> = Mutex::new(());
static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Rig {
    worker: Worker,
    pub far: [Far; 2],
    counters: CountersReader,
    before: BTreeMap<String, u64>,
    commands: Arc<ArrayQueue<Command>>,
    replies: Arc<ArrayQueue<Reply>>,
    events: EventSink,
    publication: Publication<Runtime>,
    micros: u64,
    pool: Mempool,
    free_at_start: u32,
    _ports: Vec<Port>,
    _one: MutexGuard<'static, ()>,
}

/// The policy of the federation in small: static PAT 5061 to the routing server, interface PAT for the rest, outside ACL.
pub fn policy() -> PolicyBuilder {
    policy_with(&[])
}

/// The same with an ACL for what comes from inside, if it has lines.
pub fn policy_with(inside: &[Ace]) -> PolicyBuilder {
    let mut b = PolicyBuilder::new();
    let ace = |src, dst, proto, dport, flags, counter, line| Ace {
        src,
        src_mask: if src == 0 { 0 } else { !0 },
        dst,
        dst_mask: if dst == 0 { 0 } else { !0 },
        sport: [0, 65535],
        dport,
        proto,
        flags,
        counter,
        line,
        ..Ace::default()
    };
    let name = b.blob(b"outside_in");
    let acl = b.acl(
        name,
        &[
            ace(0, SERVER, proto::TCP, [5061, 5061], ACE_PERMIT, 1, 1),
            ace(0, 0, 0, [0, 65535], ACE_ANY_PROTO | ACE_LOG, 2, 2),
        ],
        &[],
    );
    let name = b.blob(b"inside_in");
    let acl_inside = if inside.is_empty() { NONE } else { b.acl(name, inside, &[]) };
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
            acl_in: if i == OUTSIDE { acl } else { acl_inside },
            acl_out: NONE,
            ..Interface::default()
        });
    }
    b.route(Route { gateway: WEB.ip, ifindex: OUTSIDE as u32, metric: 1, ..Route::default() });
    b.nat(NatRule {
        real_if: 1,
        mapped_if: 0,
        real: one_addr(SERVER),
        mapped: one_addr(PUBLIC),
        real_port: one_port(5061),
        mapped_port: one_port(5061),
        kind: NatKind::StaticPat as u8,
        proto: proto::TCP,
        section: 1,
        counter: 1,
        ..NatRule::default()
    });
    b.nat(NatRule {
        real_if: 1,
        mapped_if: 0,
        real: net_range(OWN[1], 0xffff_ff00),
        mapped: one_addr(OWN[0]),
        kind: NatKind::DynamicPat as u8,
        section: 2,
        counter: 2,
        ..NatRule::default()
    });
    b.globals(Globals::default());
    b
}

/// A class of all connections, with this limit.
pub fn limit(b: &mut PolicyBuilder, embryonic_max: u32) {
    let name = b.blob(b"everybody");
    b.class(ServiceClass { name, flags: CLASS_LIMITS, embryonic_max, ..ServiceClass::default() });
}

impl Rig {
    pub fn new() -> Self {
        Self::with(policy())
    }

    pub fn with(policy: PolicyBuilder) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let eal = Eal::for_tests();
        let name = format!("rig{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let pool = Mempool::new(eal, &name, 1023, DATA_ROOM, 0).unwrap();
        let free_at_start = pool.available();
        let (counters, mut blocks, _own) = Counters::create(1, 0).unwrap();
        let desk = Desk {
            commands: Arc::new(ArrayQueue::new(16)),
            replies: Arc::new(ArrayQueue::new(16)),
            events: EventSink(Arc::new(ArrayQueue::new(64))),
        };
        let (commands, replies, events) = (desk.commands.clone(), desk.replies.clone(), desk.events.clone());
        let mut publication = Publication::new();
        let seat =
            Seat { image: publication.reader(), counters: blocks.remove(0), desk, mates: Mates::none() };
        let config = Config {
            flow: FlowConfig { max_conns: 256, max_xlates: 256, share: Share::WHOLE, seed: 7 },
            limits: fedgate_proxy::Limits::default(),
            idle_sleep: false,
        };
        let worker = Worker::new(eal, pool, seat, &config);
        let (mut ports, mut far) = (Vec::new(), Vec::new());
        for slot in 0..2 {
            let port = TestPort::new(eal, pool);
            assert!(
                commands.push(Command::Port { slot, rx: Some(port.rx), tx: Outlet::Queue(port.tx) }).is_ok()
            );
            ports.push(port.port);
            far.push(port.far);
        }
        let fd = rustix::io::dup(counters.region().fd()).unwrap();
        let counters = CountersReader::attach(fedgate_tables::region::Region::map_rw(fd).unwrap()).unwrap();
        let far: [Far; 2] = far.try_into().unwrap_or_else(|_| unreachable!("two ports"));
        let mut rig = Self {
            worker,
            far,
            counters,
            before: BTreeMap::new(),
            commands,
            replies,
            events,
            publication,
            micros: 1_000_000,
            pool,
            free_at_start,
            _ports: ports,
            _one: one,
        };
        rig.publish(policy, 1);
        rig.turn();
        rig
    }

    /// Makes a policy the one in force.
    pub fn publish(&mut self, policy: PolicyBuilder, generation: u64) {
        self.publish_on([0, 1], policy, generation);
    }

    /// The same with the interfaces on these ports.
    pub fn publish_on(&mut self, slots: [u8; 2], policy: PolicyBuilder, generation: u64) {
        self.publish_as(slots, slots.map(|slot| MACS[usize::from(slot)]), policy, generation);
    }

    /// The same with these MACs.
    pub fn publish_with(&mut self, macs: [MacAddr; 2], policy: PolicyBuilder, generation: u64) {
        self.publish_as([0, 1], macs, policy, generation);
    }

    fn publish_as(&mut self, slots: [u8; 2], macs: [MacAddr; 2], policy: PolicyBuilder, generation: u64) {
        let checked = Checked::copy_of(&policy.finish(generation).unwrap()).unwrap();
        let view = checked.view();
        let acls = runtime::compile(&view, &Acls::default(), &[]);
        // As the house does: what is not complete is not there.
        let tls = (0..).zip(view.tls_proxies()).map(|(index, proxy)| {
            let complete = proxy.server.shown > 0 && proxy.client.shown > 0;
            complete.then(|| Arc::new(ProxyTls::build(&view, index, &[]).unwrap()))
        });
        let tls = tls.collect();
        let mut runtime = Runtime::new(Arc::new(checked), Arc::new(acls), None);
        runtime.tls = tls;
        runtime.slots = slots.map(Some).to_vec();
        runtime.macs = macs.to_vec();
        self.publication.publish(Box::new(runtime));
    }

    /// Turns the worker until it has nothing more to do at this moment.
    pub fn turn(&mut self) {
        let tsc = self.worker.clock.tsc_of(self.micros);
        while self.worker.turn(tsc) > 0 {}
        self.publication.reclaim();
    }

    /// Lets time pass, in steps that no timer can miss.
    pub fn wait(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(100) {
            self.micros += 100_000;
            self.turn();
        }
    }

    /// Uses up what the log takes of access-lists at this moment.
    pub fn drown_log(&mut self) {
        let now = self.worker.clock.at(self.worker.clock.tsc_of(self.micros));
        let net = &mut self.worker.path.net;
        while net.may_log(now, LogKind::Acl) {}
        self.moved();
    }

    /// Lets a moment pass.
    pub fn step(&mut self, micros: u64) {
        self.micros += micros;
        self.turn();
    }

    /// Microseconds since the worker began.
    pub fn micros(&self) -> u64 {
        self.micros
    }

    /// The TSC as of now.
    pub fn tsc(&self) -> u64 {
        self.worker.clock.tsc_of(self.micros)
    }

    /// What the worker has to say that is no answer to a command.
    pub fn reply(&mut self) -> Option<Reply> {
        self.replies.pop()
    }

    /// Answers an ARP request as `station` would.
    pub fn arp_reply(&mut self, side: usize, station: Station, request: &[u8]) -> [Vec<Vec<u8>>; 2] {
        let asker = Arp::new_checked(&request[14..]).unwrap();
        let to = Station { mac: asker.sender_mac(), ip: asker.sender_ip() };
        let mut reply = [0; emit::ARP_FRAME_LEN];
        emit::arp_reply(&mut reply, station, to).unwrap();
        self.send(side, &reply)
    }

    /// The worker itself.
    pub fn worker(&mut self) -> &mut Worker {
        &mut self.worker
    }

    /// The worker's connections.
    pub fn flow(&self) -> &fedgate_flow::Flow {
        &self.worker.path.net.flow
    }

    /// A frame into one side, and what came out at both.
    pub fn send(&mut self, side: usize, frame: &[u8]) -> [Vec<Vec<u8>>; 2] {
        self.far[side].inject(frame);
        self.turn();
        self.collect()
    }

    pub fn collect(&mut self) -> [Vec<Vec<u8>>; 2] {
        [self.far[0].collect(), self.far[1].collect()]
    }

    /// As [`Rig::send`], answering the ARP requests that come out as `stations` would, until only other frames do.
    pub fn exchange(
        &mut self,
        side: usize,
        frame: &[u8],
        stations: &[(usize, Station)],
    ) -> [Vec<Vec<u8>>; 2] {
        let mut out = self.send(side, frame);
        for (at, station) in stations {
            let asked = out[*at].iter().position(|f| arp_target(f) == Some(station.ip));
            if let Some(request) = asked.map(|i| out[*at].remove(i)) {
                let [outside, inside] = self.arp_reply(*at, *station, &request);
                out[0].extend(outside);
                out[1].extend(inside);
            }
        }
        out
    }

    /// All counters that have moved since the last call, by name; polls, cycles and gauges left out.
    pub fn moved(&mut self) -> BTreeMap<String, u64> {
        let now = self.all();
        let moved = now.iter().filter_map(|(name, value)| {
            let by = value - self.before.get(name).copied().unwrap_or(0);
            (by > 0).then(|| (name.clone(), by))
        });
        let moved = moved.collect();
        self.before = now;
        moved
    }

    /// Asserts exactly which counters have moved, and by how much.
    #[track_caller]
    pub fn expect(&mut self, expected: &[(&str, u64)]) {
        let expected: BTreeMap<String, u64> = expected.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect();
        assert_eq!(self.moved(), expected);
    }

    fn all(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        let quiet = [Stat::Bursts, Stat::EmptyPolls, Stat::CyclesBusy];
        for stat in Stat::ALL.iter().filter(|s| !quiet.contains(s)) {
            all.insert(stat.name().into(), self.counters.sum(Counter::Stat(*stat)));
        }
        for reason in DropReason::ALL {
            all.insert(reason.name().into(), self.counters.sum(Counter::Drop(*reason)));
        }
        for (i, name) in ["outside", "inside"].into_iter().enumerate() {
            for (way, counter) in [("rx", InterfaceCounter::RxPackets), ("tx", InterfaceCounter::TxPackets)] {
                all.insert(format!("{name} {way}"), self.counters.sum(Counter::Interface(i as u8, counter)));
            }
        }
        for slot in 0..4 {
            all.insert(format!("ace {slot}"), self.counters.sum(Counter::Ace(slot)));
        }
        all
    }

    /// What is counted of fragments on an interface.
    pub fn fragments(&self, side: usize, counter: FragmentCounter) -> u64 {
        self.counters.sum(Counter::Fragment(side as u8, counter))
    }

    /// A command that is not answered.
    pub fn order(&mut self, command: Command) {
        assert!(self.commands.push(command).is_ok());
        self.turn();
    }

    pub fn command(&mut self, command: Command) -> Reply {
        assert!(self.commands.push(command).is_ok());
        self.turn();
        self.replies.pop().expect("an answer")
    }

    /// Packets that wait for a neighbour.
    pub fn held(&self) -> usize {
        let net = &self.worker.path.net;
        net.neigh.held() + net.v6.neigh.held()
    }

    pub fn events(&self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.0.pop()).collect()
    }

    /// Everything that came out was freed: no mbuf is held but by what waits for ARP.
    #[track_caller]
    pub fn assert_no_mbuf_held(&self) {
        assert_eq!(self.pool.available(), self.free_at_start);
    }
}

/// The address an ARP request asks for.
pub fn arp_target(frame: &[u8]) -> Option<u32> {
    let is_arp = frame.get(12..14)? == ethernet::TYPE_ARP.to_be_bytes();
    is_arp.then(|| Arp::new_checked(&frame[14..]).ok().map(|a| a.target_ip())).flatten()
}

/// A UDP datagram in a frame.
pub fn udp(from: (Station, u16), to: (u32, u16), next_hop: MacAddr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut l4 = [
        &from.1.to_be_bytes()[..],
        &to.1.to_be_bytes(),
        &((8 + payload.len()) as u16).to_be_bytes(),
        &[0, 0],
        payload,
    ]
    .concat();
    let sum = checksum::udp_field(checksum::of_segment(from.0.ip, to.0, proto::UDP, &l4));
    l4[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv4(from.0, to.0, next_hop, proto::UDP, ttl, 0, &l4)
}

/// A bare TCP segment in a frame, of a connection whose handshake began at 0 on both sides.
pub fn tcp(from: (Station, u16), to: (u32, u16), next_hop: MacAddr, flags: u8) -> Vec<u8> {
    tcp_at(from, to, next_hop, flags, [u32::from(flags & 2 == 0), 1])
}

/// [`tcp`] with its sequence and acknowledgement numbers.
pub fn tcp_at(
    from: (Station, u16),
    to: (u32, u16),
    next_hop: MacAddr,
    flags: u8,
    [seq, ack]: [u32; 2],
) -> Vec<u8> {
    let mut l4 = [
        &from.1.to_be_bytes()[..],
        &to.1.to_be_bytes(),
        &seq.to_be_bytes(),
        &ack.to_be_bytes(),
        &[0x50, flags, 9, 9, 0, 0, 0, 0],
    ]
    .concat();
    let sum = checksum::of_segment(from.0.ip, to.0, proto::TCP, &l4);
    l4[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(from.0, to.0, next_hop, proto::TCP, 64, 0x4000, &l4)
}

/// An ICMP echo request in a frame.
pub fn echo(from: Station, to: u32, next_hop: MacAddr, ident: u16) -> Vec<u8> {
    let mut l4 = [&[8, 0, 0, 0][..], &ident.to_be_bytes(), &[0, 1, 1, 2, 3, 4]].concat();
    let sum = checksum::of(&l4);
    l4[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, next_hop, proto::ICMP, 64, 0, &l4)
}

pub fn ipv4(
    from: Station,
    to: u32,
    next_hop: MacAddr,
    proto: u8,
    ttl: u8,
    fragment: u16,
    payload: &[u8],
) -> Vec<u8> {
    let mut ip = [
        &[0x45, 0][..],
        &(20 + payload.len() as u16).to_be_bytes(),
        &[0x12, 0x34],
        &fragment.to_be_bytes(),
        &[ttl, proto, 0, 0],
        &from.ip.to_be_bytes(),
        &to.to_be_bytes(),
    ]
    .concat();
    let sum = checksum::of(&ip);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    [&next_hop.0[..], &from.mac.0, &ethernet::TYPE_IPV4.to_be_bytes(), &ip, payload].concat()
}
