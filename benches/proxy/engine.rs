// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker's own proxy engine as a [`Middle`]: no driver, no packet path, every call on it timed by the TSC.
//!
//! What its calls allocate and do not free again is counted where that is asked for ([`InProcess::weigh`]); the packets that it puts out are not among
//! that, as they are buffers of the driver's in the appliance. The tables are the real ones: the shared domain table and a policy's own domains.

use crate::Failure;
use crate::crowd::{Middle, PUBLIC, SERVER, caller, ends, number};
use crate::pki::Pki;
use fedgate_proxy::{
    Addr, CloseReason, Context, Engine, Event, Federated, Leg, Limits, Micros, OpenParams, Output,
    OwnDomains, ProxyTls, Road, SessionId, Timeouts,
};
use fedgate_tables::counters::{Counter, Histo};
use fedgate_tables::domains::{DomainReader, DomainWriter};
use fedgate_tables::region::Region;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// See the module.
pub struct InProcess {
    engine: Engine,
    sink: Sink,
    tls: Arc<ProxyTls>,
    federated: DomainReader,
    locals: OwnDomains,
    sessions: Vec<Option<SessionId>>,
    started: Instant,
    ticks: u64,
    hz: f64,
    weighs: bool,
    held: i64,
    /// A burst that gathers, as it does in a port's ring while the worker is busy: the engine sees its packets one right after another, not
    /// with the hosts' work between them. Buffers go round.
    burst: Vec<(SessionId, Leg, Vec<u8>)>,
    spare: Vec<Vec<u8>>,
    out: VecDeque<(Leg, Vec<u8>)>,
    taken: u64,
}

/// Packets of a burst, as the worker takes them from a port.
const BURST: usize = 64;

/// What the engine puts out: into memory that the next call uses again, as a driver's buffers are. The hosts have it copied after the call.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    packets: Vec<(Leg, usize)>,
    sent: u64,
    closed: Vec<CloseReason>,
    denied: u64,
}

impl Output for Sink {
    fn packet(&mut self, _: SessionId, road: Road, len: usize, fill: impl FnOnce(&mut [u8])) {
        // Without a pool there is no other.
        let Road::Leg(leg) = road else { return };
        let start = self.bytes.len();
        allocation_counter::opt_out(|| {
            self.bytes.resize(start + len, 0);
            self.packets.push((leg, len));
        });
        fill(&mut self.bytes[start..]);
        self.sent += 1;
    }

    fn connect(&mut self, _: SessionId, _: u8, _: Option<Addr>, _: Addr) -> Option<(Addr, u16)> {
        None
    }

    fn disconnect(&mut self, _: SessionId, _: u8) {}

    fn event(&mut self, _: SessionId, event: Event<'_>) {
        match event {
            Event::Secured { .. } | Event::Inspected { .. } | Event::MemberTurned { .. } => {}
            Event::TlsFailed { .. }
            | Event::Denied { .. }
            | Event::Malformed { .. }
            | Event::TargetLost { .. }
            | Event::MemberLost { .. }
            | Event::Refused { .. }
            | Event::Unreachable { .. } => {
                self.denied += 1;
            }
        }
    }

    fn closed(&mut self, _: SessionId, reason: CloseReason) {
        allocation_counter::opt_out(|| self.closed.push(reason));
    }

    fn count(&mut self, _: Counter, _: u64) {}

    fn observe(&mut self, _: Histo, _: u64) {}
}

impl InProcess {
    /// With room for `sessions`; `hz` are TSC ticks a second.
    pub fn new(pki: &Pki, sessions: u32, hz: u64) -> Result<Self, Failure> {
        let mut writer = DomainWriter::create(64)?;
        writer.permit("foreign.example", false, None)?;
        let limits = Limits { sessions, source_part: 1, memory: 64 << 30, ..Limits::default() };
        Ok(Self {
            engine: Engine::new(limits),
            sink: Sink::default(),
            tls: pki.proxy()?,
            federated: DomainReader::attach(Region::map_rw(writer.region().fd().try_clone_to_owned()?)?)?,
            locals: ["local.example".to_owned()].into_iter().collect(),
            sessions: Vec::new(),
            started: Instant::now(),
            ticks: 0,
            hz: hz as f64,
            weighs: false,
            held: 0,
            burst: Vec::with_capacity(BURST),
            spare: Vec::new(),
            out: VecDeque::new(),
            taken: 0,
        })
    }

    /// From now on counts what is held; slows every call down.
    pub fn weigh(&mut self) {
        self.weighs = true;
    }

    /// Bytes that the engine's calls have allocated and not freed since [`Self::weigh`]. Counts no further.
    pub fn weighed(&mut self) -> i64 {
        self.weighs = false;
        self.held
    }

    /// Packets in and out so far.
    pub fn packets(&self) -> (u64, u64) {
        (self.taken, self.sink.sent)
    }

    /// Sessions, and what the engine's own account has them at.
    pub fn account(&self) -> (u32, usize) {
        (self.engine.sessions(), self.engine.memory())
    }

    fn call<T>(&mut self, work: impl FnOnce(&mut Self, Micros) -> T) -> Option<T> {
        let now = Micros(self.started.elapsed().as_micros() as u64 + 1);
        let mut done = None;
        let before = dpdk::tsc();
        if self.weighs {
            let info = allocation_counter::measure(|| done = Some(work(self, now)));
            self.held += info.bytes_current;
        } else {
            done = Some(work(self, now));
        }
        self.ticks += dpdk::tsc() - before;
        let mut rest = &self.sink.bytes[..];
        for (leg, len) in self.sink.packets.drain(..) {
            let (packet, after) = rest.split_at(len);
            self.out.push_back((leg, packet.to_vec()));
            rest = after;
        }
        self.sink.bytes.clear();
        done
    }
}

impl InProcess {
    /// One turn of a worker, as far as it is the engine's.
    fn work(&mut self) {
        let burst = std::mem::take(&mut self.burst);
        self.taken += burst.len() as u64;
        self.call(|me, now| {
            for (id, leg, packet) in &burst {
                me.engine.prefetch(*id, dpdk::prefetch_near_at);
                // A session that is gone: the worker would count the packet and drop it.
                _ = me.engine.input(now, *id, *leg, packet);
            }
            let ctx = Context {
                domains: &Federated(&me.federated),
                locals: &me.locals,
                timeouts: Timeouts::default(),
            };
            me.engine.poll(now, &ctx, &mut me.sink);
        });
        self.burst = burst;
        self.spare.extend(self.burst.drain(..).map(|(.., buffer)| buffer));
    }
}

impl Middle for InProcess {
    fn input(&mut self, leg: Leg, packet: &[u8]) -> Result<(), Failure> {
        let (from, to) = ends(packet);
        let n = number(if leg == Leg::Client { from } else { to }).ok_or("a packet of nobody")?;
        if self.sessions.len() <= n {
            self.sessions.resize(n + 1, None);
        }
        if self.sessions[n].is_none() && leg == Leg::Client {
            let params = OpenParams {
                tls: self.tls.clone(),
                tls_proxy: 0,
                client_local: PUBLIC,
                client_remote: caller(n as u32),
                server_local: caller(n as u32),
                server_remote: SERVER,
                outside: Leg::Client,
                nat: false,
                client_mtu: 1500,
                server_mtu: 1500,
            };
            let opened = self.call(|me, now| me.engine.open(now, params, &mut me.sink)).transpose()?;
            self.sessions[n] = opened;
        }
        if let Some(id) = self.sessions[n] {
            let mut buffer = self.spare.pop().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(packet);
            self.burst.push((id, leg, buffer));
            if self.burst.len() == BURST {
                self.work();
            }
        }
        Ok(())
    }

    fn output(&mut self, out: &mut VecDeque<(Leg, Vec<u8>)>) -> Result<(), Failure> {
        let now = Micros(self.started.elapsed().as_micros() as u64);
        if !self.burst.is_empty() || self.engine.next_deadline().is_some_and(|at| at <= now) {
            self.work();
        }
        if self.sink.denied > 0 {
            return Err("the engine denied a message, or a handshake".into());
        }
        out.append(&mut self.out);
        Ok(())
    }

    fn busy(&self) -> f64 {
        self.ticks as f64 / self.hz
    }
}
