// SPDX-License-Identifier: MIT OR Apache-2.0
//! The packet path: one poll loop a core, and the fixed order of its stages.
//!
//! A loop is: take the newest policy image if there is one ([`runtime`]) -> for each port receive a burst and run it through
//! the stages ([`stages`]: parse, hash, lookup, act) -> the same with what other workers handed over ([`mates`]) -> do what is due by time (connection expiry, neighbours, proxy
//! sessions) -> answer housekeeping ([`command`]) -> flush the transmit buffers ([`net`]). A packet that is not of a
//! known connection goes through [`slow`], one of a proxied connection through [`proxied`], one that a SYN cookie opened by [`intercept`] as well.
//!
//! What stands where: `net` owns ports, connection table, neighbours and counters, and is the only way for a frame to
//! leave or be dropped; `route`, `neigh` and `icmp` are plain logic without IO; IPv6 is in `v6`, with passes of its own over what a burst has of it. No locks, no clock but [`clock`], no
//! logging here: what an operator should read goes as an event to the housekeeping thread, bounded and counted.

mod announce;
mod census;
pub mod clock;
mod collect;
pub mod command;
mod dispatch;
pub mod domains;
mod first;
mod floating;
mod fragment;
pub mod icmp;
mod intercept;
pub mod mates;
mod media;
pub mod neigh;
pub mod net;
pub mod ping;
pub mod probe;
pub mod proxied;
pub mod reassembly;
pub mod route;
pub mod runtime;
mod shown;
mod slow;
mod spoken;
mod stages;
pub mod tap;
mod tell;
mod trace;
pub mod v6;
mod xlates;

#[cfg(test)]
mod tests;

use crate::house::Seat;
use clock::Clock;
use command::Command;
use dpdk::{Burst, Eal, Mempool};
use fedgate_proxy::Engine;
use fedgate_sip::dialog::Roster;
use fedgate_tables::counters::{Gauge, Stat, WorkerCounters};
use fedgate_tables::publish::Reader;
use mates::{Errand, Parcel};
use net::{Net, Origin};
use probe::Probe;
use proxied::Sessions;
use runtime::{IoSlot, Runtime};
use stages::Stages;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tap::Taps;

/// Bytes of data that a packet buffer holds: any frame at an MTU of 1,500, and a jumbo segment is refused by the port.
pub const DATA_ROOM: u16 = 2048;
/// Timers looked at in one loop.
const TIMERS_A_LOOP: usize = 64;
/// Parcels taken from each other worker in one loop.
const PARCELS_A_LOOP: usize = 8;
/// Empty loops before an idle worker begins to sleep.
const SPINS_BEFORE_SLEEP: u32 = 2000;
/// How long it sleeps: short against any timer, long against a system call.
const SLEEP: Duration = Duration::from_micros(50);

/// Bounds and habits of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Connection and xlate tables.
    pub flow: fedgate_flow::FlowConfig,
    /// Proxy sessions.
    pub limits: fedgate_proxy::Limits,
    /// Sleep when idle.
    pub idle_sleep: bool,
}

/// One worker; made on the main thread, then moved to its core.
pub struct Worker {
    image: Reader<Runtime>,
    path: Path,
    burst: Burst,
    clock: Clock,
    idle_sleep: bool,
}

/// All of a worker but the image, which is borrowed while this changes.
struct Path {
    net: Net,
    sessions: Sessions,
    stages: Stages,
    seat: command::Desk,
    /// Connections of both families there were at once.
    most_conns: u32,
    /// As the worker's.
    clock: Clock,
}

impl Worker {
    /// The same as one of several, who tell each other of their dialogs: `worker` counts from 0.
    #[must_use]
    pub fn of_several(mut self, roster: Arc<Roster>, worker: usize) -> Self {
        self.path.sessions = self.path.sessions.of_several(roster, worker);
        self
    }

    /// With empty tables and no ports; `seat` ties it to the housekeeping thread.
    pub fn new(eal: &Eal, pool: Mempool, seat: Seat, config: &Config) -> Self {
        let Seat { image, counters, desk, mates } = seat;
        let clock = Clock::new(dpdk::tsc(), eal.tsc_hz());
        Self {
            image,
            path: Path {
                net: Net::new(pool, counters, config.flow, desk.events.clone(), mates),
                sessions: Sessions::new(Engine::new(config.limits)),
                stages: Stages::new(),
                seat: desk,
                most_conns: 0,
                clock,
            },
            burst: Burst::new(),
            clock,
            idle_sleep: config.idle_sleep,
        }
    }

    /// The poll loop, until `stop`.
    pub fn run(mut self, stop: &AtomicBool) {
        let mut idle = 0u32;
        while !stop.load(Ordering::Relaxed) {
            if self.turn(dpdk::tsc()) > 0 {
                idle = 0;
                continue;
            }
            idle = idle.saturating_add(1);
            if self.idle_sleep && idle > SPINS_BEFORE_SLEEP {
                std::thread::sleep(SLEEP);
            } else {
                dpdk::pause();
            }
        }
    }

    /// One loop at TSC value `tsc`; returns the work done (frames, timers, commands).
    pub fn turn(&mut self, tsc: u64) -> usize {
        let now = self.clock.at(tsc);
        let changed = self.image.quiescent();
        let path = &mut self.path;
        let Some(image) = self.image.get() else {
            return path.obey(None, now);
        };
        let view = image.view();
        if changed {
            // Ports that belong to this image were given before it was published.
            while path.obey(Some(&view), now) > 0 {}
            path.adopt(&view, now);
        }
        let mut work = 0;
        for slot in 0..path.net.ports() {
            let got = path.net.receive(slot, &mut self.burst);
            if got > 0 {
                work += got;
                stages::run(path, &mut self.burst, &view, now, slot, &mut ());
            }
        }
        if path.net.workers() > 1 {
            work += path.take_parcels(&view, now);
        }
        work += path.due(&view, now);
        work += path.obey(Some(&view), now);
        path.net.flush_all(&view);
        if path.net.workers() > 1 {
            work += path.net.tell_media();
            path.net.post_all();
        }
        if work > 0 {
            path.net.counters.add(Stat::Bursts, 1);
            path.net.counters.add(Stat::CyclesBusy, dpdk::tsc().wrapping_sub(tsc));
        } else {
            path.net.counters.add(Stat::EmptyPolls, 1);
        }
        path.net.counters.set(Gauge::CyclesAll, self.clock.since_origin(tsc));
        work
    }

    /// Runs `frames` through the stages at TSC value `tsc`, as if they had been received on `slot`, and sends what
    /// comes out. `probe` hears of each pass. For benches: the stages without a driver, a clock or timers around them.
    pub fn pass(&mut self, slot: IoSlot, frames: &mut Burst, tsc: u64, probe: &mut impl Probe) {
        let Some(image) = self.image.get() else { return };
        let view = image.view();
        stages::run(&mut self.path, frames, &view, self.clock.at(tsc), slot, probe);
        self.path.net.flush_all(&view);
    }
}

impl Path {
    /// Takes a new image into use; connections whose interface is gone end here.
    #[cold]
    fn adopt(&mut self, view: &runtime::View<'_>, now: clock::Now) {
        for id in self.net.adopt(view, now) {
            command::end(id, &mut self.net, &mut self.sessions, view, now);
        }
        if let Some(taps) = &mut self.net.taps {
            taps.adopt(view);
        }
        let most = view.flow.globals.max_proxy_sessions;
        self.sessions.adopt(&mut self.net, view, now);
        self.sessions.engine.limit_sessions(most.div_ceil(self.net.workers().into()));
    }

    /// What other workers have sent here: another source to receive from. Gives the number of frames.
    fn take_parcels(&mut self, view: &runtime::View<'_>, now: clock::Now) -> usize {
        let mut work = 0;
        for mate in 0..self.net.workers() {
            work += self.net.hear_media(mate);
            for _ in 0..PARCELS_A_LOOP {
                let Some(Parcel { errand, slot, mut frames }) = self.net.take_parcel(mate) else { break };
                work += frames.len();
                let origin = match errand {
                    Errand::Own => Origin::Mate,
                    Errand::Collect => Origin::Collect,
                    Errand::Learn => Origin::Copy,
                    Errand::Send => {
                        self.net.send_for_mate(view, slot, frames);
                        continue;
                    }
                };
                self.net.set_origin(origin);
                stages::run(self, &mut frames, view, now, slot, &mut ());
            }
        }
        self.net.set_origin(Origin::Port);
        work
    }

    /// What time asks for.
    fn due(&mut self, view: &runtime::View<'_>, now: clock::Now) -> usize {
        let mut work = self.net.expire(view, now, TIMERS_A_LOOP);
        work += self.net.expire6(view, now, TIMERS_A_LOOP);
        work += intercept::retry(&mut self.net, view, now);
        work += self.net.resolve(view, now) + self.net.resolve6(view, now);
        work += self.net.announce(view) + self.net.speak6(view, now);
        work += self.close_floating(view, now);
        work += collect::expire(&mut self.net, view, now);
        work += tell::due(&mut self.net, view, now);
        self.net.tell_flows(now);
        work += self.tell_pings();
        work += self.sessions.poll(&mut self.net, view, now);
        self.gauges();
        work
    }

    /// What housekeeping asks for: at most one command a loop.
    fn obey(&mut self, view: Option<&runtime::View<'_>>, now: clock::Now) -> usize {
        let Some(command) = self.seat.take() else { return 0 };
        match command {
            Command::Port { slot, rx, tx } => self.net.attach(slot, rx, tx),
            Command::Dump(dump) => {
                let page = command::page(&dump, &self.net, &self.sessions, view, now);
                self.seat.answer(page);
            }
            Command::Capture(order) => {
                let (worker, clock) = (self.net.worker(), self.clock);
                self.net.taps = order.map(|order| Box::new(Taps::new(order, worker, clock, now.micros)));
                if let Some((taps, view)) = self.net.taps.as_mut().zip(view) {
                    taps.adopt(view);
                }
            }
            Command::Trace(ask) => {
                let answer = trace::answer(&ask, &mut self.net, view, now);
                self.seat.answer(answer);
            }
            Command::Echo(order) => {
                let since = self.clock.at(order.tsc).micros;
                if let Some(refused) = ping::send(&mut self.net, view, now, &order, since) {
                    self.seat.answer(refused);
                }
            }
            Command::TraceSip(ask) => {
                let trace = self.sessions.foresee(&ask.probe, view, now);
                self.seat.answer(command::Reply::SipTraced { asker: ask.asker, trace });
            }
            Command::Clear(clear) => {
                let answer = command::clear(&clear, &mut self.net, &mut self.sessions, view, now);
                self.seat.answer(answer);
            }
        }
        1
    }

    /// Answers to our echo requests, while there is room to tell them.
    fn tell_pings(&mut self) -> usize {
        let mut told = 0;
        while !self.seat.replies.is_full()
            && let Some(reply) = self.net.pings.next()
        {
            self.seat.answer(reply);
            told += 1;
        }
        told
    }

    fn gauges(&mut self) {
        let conns = self.net.flow.conns.in_use().0 + self.net.flow.conns6.in_use().0;
        self.most_conns = self.most_conns.max(conns);
        let (xlates, most_xlates) = self.net.flow.xlates.in_use();
        let counters: &mut WorkerCounters = &mut self.net.counters;
        counters.set(Gauge::ConnsInUse, conns.into());
        counters.set(Gauge::ConnsMostUsed, self.most_conns.into());
        counters.set(Gauge::XlatesInUse, xlates.into());
        counters.set(Gauge::XlatesMostUsed, most_xlates.into());
        let (calls, holes) = self.net.flow.media.in_use();
        counters.set(Gauge::MediaCallsInUse, calls as u64);
        counters.set(Gauge::MediaPinholesInUse, holes as u64);
    }
}
