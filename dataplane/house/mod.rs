// SPDX-License-Identifier: MIT OR Apache-2.0
//! The housekeeping thread: everything of the dataplane that is not a packet.
//!
//! It listens for control on one unix socket, maps and checks what control sends ([`attach`]), attaches ports ([`ports`]), publishes policy images
//! to the workers and frees old ones by QSBR, fetches listings from the workers in pages, and passes their events on. It
//! may allocate, log and wait; a worker never waits for it. When control goes away nothing changes for a packet; the
//! next control is told what is in force and given the live segments. Runs on the main thread.

pub mod attach;
pub mod ports;
pub mod supervisor;
mod time_ranges;

#[cfg(test)]
mod tests;

use crate::worker::command::{Ask, Asker, Clear, Command, Desk, Dump, Reply, SipAsk};
use crate::worker::mates::{self, Mates};
use crate::worker::ping;
use crate::worker::runtime::Runtime;
use crate::worker::tap::Order;
use attach::Image;
use dpdk::{Eal, Mempool};
use fedgate_tables::capture::MAX_CAPTURES;
use fedgate_tables::counters::{Counter, Counters, Gauge, Stat, WorkerCounters};
use fedgate_tables::link::{
    Addr, CaptureSpec, Event, LINK_LAYOUT, LinkError, LinkListener, LinkSocket, Rows, ToControl, ToDataplane,
    What,
};
use fedgate_tables::publish::{Generation, Publication, Reader};
use fedgate_tables::region::Region;
use ports::Ports;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::DirBuilder;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use supervisor::Supervisor;

/// Commands, answers and events that may wait between the threads.
const COMMANDS: usize = 64;
const REPLIES: usize = 64;
const EVENTS: usize = 4096;
/// Messages that may wait for control to read; beyond it events are lost and counted, and listings pause.
const OUTBOX: usize = 256;
/// Listings that may wait for their turn.
const LISTINGS: usize = 256;
/// How long to wait for something to happen.
const WAIT: Duration = Duration::from_millis(5);
/// The same while workers are about to take a new image, or to answer.
const WAIT_ANSWER: Duration = Duration::from_micros(100);

/// Why housekeeping cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum HouseError {
    /// The socket for control.
    #[error("socket {path}: {error}")]
    Socket {
        /// Its path.
        path: String,
        /// What failed.
        error: LinkError,
    },
    /// The socket's folder.
    #[error("cannot make folder {path}: {error}")]
    Folder {
        /// Its path.
        path: String,
        /// What failed.
        error: std::io::Error,
    },
    /// The counters' segment.
    #[error("counters: {0}")]
    Counters(#[from] fedgate_tables::region::RegionError),
    /// The kernel.
    #[error("poll: {0}")]
    Poll(std::io::Error),
}

/// A page to ask for, of which worker; all are asked one after the other.
struct Listing {
    worker: usize,
    dump: Dump,
}

/// What ties a worker to this thread.
pub struct Seat {
    /// Policy images.
    pub image: Reader<Runtime>,
    /// The worker's counters.
    pub counters: WorkerCounters,
    /// Queues.
    pub desk: Desk,
    /// The other workers.
    pub mates: Mates,
}

/// See the module.
pub struct House {
    listener: LinkListener,
    link: Option<LinkSocket>,
    /// Counts the controls that have connected.
    links: u64,
    greeted: bool,
    counters: Counters,
    own: WorkerCounters,
    pool: Mempool,
    started_unix: u64,
    publication: Publication<Runtime>,
    image: Image,
    ports: Ports,
    /// Our end of each worker's queues.
    desks: Vec<Desk>,
    /// Published, not yet taken by every worker: what control is told then.
    adopting: Vec<(Generation, ToControl)>,
    outbox: VecDeque<ToControl>,
    listings: VecDeque<Listing>,
    clears: VecDeque<(usize, Clear)>,
    /// Packets to be traced, and by which worker.
    asks: VecDeque<(usize, Ask)>,
    /// Echo requests that were ordered.
    echoes: u16,
    /// SIP requests to be traced.
    sip_asks: VecDeque<Box<SipAsk>>,
    /// Pages that workers were asked for and have not given.
    asked: usize,
    /// Neighbours (interface, address) that were listed already, by the request's number.
    arp_listed: HashMap<u64, HashSet<(u8, Addr)>>,
    lost: u64,
    /// Workers have been told to capture.
    capturing: bool,
    /// When the drivers' counters were last read.
    looked: Option<Instant>,
}

impl House {
    /// Makes the counters and the socket, and a seat for each of `workers` (1..=16).
    ///
    /// # Errors
    /// [`HouseError`].
    pub fn new(
        eal: &'static Eal,
        pool: Mempool,
        socket: &Path,
        workers: u8,
    ) -> Result<(Self, Vec<Seat>), HouseError> {
        let at = |error| HouseError::Socket { path: socket.display().to_string(), error };
        if let Some(folder) = socket.parent().filter(|f| !f.as_os_str().is_empty() && !f.exists()) {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|error| HouseError::Folder { path: folder.display().to_string(), error })?;
        }
        let listener = LinkListener::bind(socket).map_err(at)?;
        let started_unix = unix_now().unsigned_abs();
        let (counters, blocks, own) = Counters::create(workers.into(), started_unix)?;
        let mut publication = Publication::new();
        let (mut desks, mut seats) = (Vec::new(), Vec::new());
        let crew = Mates::crew(workers, mates::room(workers, pool.capacity()));
        for (counters, mates) in blocks.into_iter().zip(crew) {
            let (ours, desk) = Desk::pair(COMMANDS, REPLIES, EVENTS);
            desks.push(ours);
            seats.push(Seat { image: publication.reader(), counters, desk, mates });
        }
        let house = Self {
            listener,
            link: None,
            links: 0,
            greeted: false,
            counters,
            own,
            pool,
            started_unix,
            publication,
            image: Image::new(workers),
            ports: Ports::new(eal, pool, workers),
            desks,
            adopting: Vec::new(),
            outbox: VecDeque::new(),
            listings: VecDeque::new(),
            clears: VecDeque::new(),
            asks: VecDeque::new(),
            echoes: 0,
            sip_asks: VecDeque::new(),
            asked: 0,
            arp_listed: HashMap::new(),
            lost: 0,
            capturing: false,
            looked: None,
        };
        Ok((house, seats))
    }

    /// Until `stop`, or until `worker_gone` says so.
    ///
    /// # Errors
    /// [`HouseError::Poll`].
    pub fn run(&mut self, stop: &AtomicBool, worker_gone: impl Fn() -> bool) -> Result<(), HouseError> {
        let mut supervisor = Supervisor::greet(&self.counters);
        while !stop.load(Ordering::Relaxed) && !worker_gone() {
            self.wait()?;
            self.turn();
            supervisor.look(self.image.policy_generation() > 0);
        }
        Ok(())
    }

    /// One round of everything; public for tests that drive it by hand.
    pub fn turn(&mut self) {
        self.greet();
        // What is not taken waits in the socket, and then control waits: nothing that it sends can pile up here.
        while self.has_room()
            && let Some(outcome) = self.link.as_ref().map(LinkSocket::try_recv::<ToDataplane>)
        {
            match outcome {
                Ok((message, fds)) => self.handle(message, fds),
                Err(LinkError::WouldBlock) => break,
                Err(LinkError::Closed) => self.hang_up("control has gone"),
                Err(error) => self.hang_up(&format!("control sent nonsense: {error}")),
            }
        }
        if let Some(image) = self.image.look(unix_now()) {
            self.publication.publish(Box::new(image));
        }
        self.conclude_adoptions();
        self.publication.reclaim();
        self.collect();
        self.send();
        self.look_at_drivers();
        self.own.set(
            Gauge::MbufsInUse,
            u64::from(self.pool.capacity() - self.pool.available().min(self.pool.capacity())),
        );
        self.own.set(Gauge::PolicyGeneration, self.image.policy_generation());
    }

    /// Once a second: a driver's counters may take a trip to the device.
    fn look_at_drivers(&mut self) {
        if self.looked.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            return;
        }
        self.looked = Some(Instant::now());
        let own = &self.own;
        self.ports.losses(self.image.policy(), |ifindex, counter, lost| {
            own.count(Counter::Interface(ifindex, counter), lost);
        });
    }

    fn has_room(&self) -> bool {
        self.outbox.len() < OUTBOX
            && self.listings.len() < LISTINGS
            && self.clears.len() < LISTINGS
            && self.asks.len() + self.sip_asks.len() < LISTINGS
            && !self.desks.iter().any(|desk| desk.commands.is_full())
    }

    fn wait(&self) -> Result<(), HouseError> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = vec![PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)];
        fds.extend(self.link.as_ref().map(|link| PollFd::from_borrowed_fd(link.as_fd(), PollFlags::IN)));
        let wait = if self.adopting.is_empty() && self.asked == 0 { WAIT } else { WAIT_ANSWER };
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        match poll(&mut fds, Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(HouseError::Poll(errno.into())),
        }
    }

    /// A control that connects takes over from the one before.
    fn greet(&mut self) {
        match self.listener.try_accept() {
            Ok(link) => {
                if self.link.is_some() {
                    self.hang_up("another control has come");
                }
                tracing::info!("control has connected");
                self.link = Some(link);
                self.links += 1;
            }
            Err(LinkError::WouldBlock) => {}
            Err(error) => tracing::warn!(%error, "cannot accept control"),
        }
    }

    fn hang_up(&mut self, why: &str) {
        tracing::warn!(why, "the connection to control has ended; forwarding by the last policy");
        self.link = None;
        self.greeted = false;
        self.adopting.clear();
        self.outbox.clear();
        self.listings.clear();
        self.arp_listed.clear();
    }

    fn handle(&mut self, message: ToDataplane, fds: Vec<OwnedFd>) {
        let fd = fds.into_iter().next();
        match message {
            ToDataplane::Hello { layout, pid } if layout == LINK_LAYOUT => self.hello(pid),
            ToDataplane::Hello { layout, .. } => {
                let reason = format!("control speaks link layout {layout}, this dataplane {LINK_LAYOUT}");
                // Nothing else may come before a HelloAck, so this goes straight out.
                if let Some(link) = &self.link {
                    let _ = link.try_send(&ToControl::Refused { generation: 0, reason: reason.clone() }, &[]);
                }
                self.hang_up(&reason);
            }
            _ if !self.greeted => self.hang_up("control did not say hello"),
            ToDataplane::Policy { generation } => match fd {
                Some(fd) => {
                    let taken =
                        self.image.take_policy(fd, generation, &mut self.ports, &self.desks, unix_now());
                    self.publish(generation, taken.map(Some));
                }
                None => self.refuse(generation, "no segment came with the policy".into()),
            },
            ToDataplane::Domains { generation } => match fd {
                Some(fd) => {
                    let taken = self.image.take_domains(fd, generation);
                    self.publish(generation, taken);
                }
                None => self.refuse(generation, "no segment came with the domain table".into()),
            },
            ToDataplane::Dump { id, what: What::Ports, .. } => {
                let rows = Rows::Ports(self.ports.rows(self.image.policy()));
                self.outbox.extend(ToControl::rows(id, rows, true));
            }
            ToDataplane::Dump { id, what, filter } => {
                let dump = Dump { asker: self.asker(id), what, filter, cursor: 0 };
                self.listings.push_back(Listing { worker: 0, dump });
            }
            ToDataplane::Clear { id, what, filter } => {
                let clear = Clear { asker: self.asker(id), what, filter, cursor: 0, count: 0 };
                self.clears.push_back((0, clear));
            }
            ToDataplane::Capture { captures } => self.capture(captures, fd),
            ToDataplane::Trace { id, probe } => {
                let ask = Ask { asker: self.asker(id), probe, handed: false };
                self.asks.push_back((0, ask));
            }
            ToDataplane::Echo { id, echo } => {
                self.echoes = self.echoes.wrapping_add(1);
                let (asker, seq) = (self.asker(id), self.echoes);
                let order = ping::Order { asker, echo, seq, tsc: dpdk::tsc() };
                // There is room, or nothing would have been read.
                let full = self.desks[0].commands.push(Command::Echo(order)).is_err();
                debug_assert!(!full);
            }
            ToDataplane::TraceSip { id, probe } => {
                let ask = Box::new(SipAsk { asker: self.asker(id), probe });
                self.sip_asks.push_back(ask);
            }
            ToDataplane::Ping { id } => self.outbox.push_back(ToControl::Pong { id }),
        }
    }

    fn asker(&self, id: u64) -> Asker {
        Asker { id, link: self.links }
    }

    /// Tells all workers what to capture.
    fn capture(&mut self, captures: Vec<Option<CaptureSpec>>, fd: Option<OwnedFd>) {
        let order = match fd.map(Region::map_rw) {
            _ if captures.len() > MAX_CAPTURES => {
                return tracing::warn!("too many captures; none is changed");
            }
            None => None,
            Some(Ok(region)) => Some(Order { captures: captures.into(), region: Arc::new(region) }),
            Some(Err(error)) => return tracing::warn!(%error, "captures without memory; none is changed"),
        };
        self.capturing = order.is_some();
        for desk in &self.desks {
            // There is room, or nothing would have been read.
            let full = desk.commands.push(Command::Capture(order.clone())).is_err();
            debug_assert!(!full);
        }
    }

    fn hello(&mut self, pid: u32) {
        if self.capturing {
            // What a control before wanted captured nobody takes any more.
            self.capture(Vec::new(), None);
        }
        let Some(link) = &self.link else { return };
        let ack = ToControl::HelloAck {
            layout: LINK_LAYOUT,
            pid: std::process::id(),
            started_unix: self.started_unix,
            policy_generation: self.image.policy_generation(),
            domains_generation: self.image.domains_generation(),
            workers: self.desks.len() as u32,
        };
        let mut fds = vec![self.counters.region().fd()];
        fds.extend(self.image.domains().map(|d| d.words().fd()));
        fds.extend(self.image.policy().and_then(|p| p.region()).map(|r| r.fd()));
        match link.send(&ack, &fds, Some(Duration::from_secs(1))) {
            Ok(()) => {
                tracing::info!(control = pid, policy = self.image.policy_generation(), "control is attached");
                self.greeted = true;
            }
            Err(error) => self.hang_up(&format!("hello failed: {error}")),
        }
    }

    fn publish(&mut self, generation: u64, taken: Result<Option<Runtime>, String>) {
        match taken {
            Ok(None) => self.outbox.push_back(ToControl::Adopted { generation }),
            Ok(Some(runtime)) => {
                let published = self.publication.publish(Box::new(runtime));
                self.adopting.push((published, ToControl::Adopted { generation }));
            }
            Err(reason) => self.refuse(generation, reason),
        }
    }

    fn refuse(&mut self, generation: u64, reason: String) {
        tracing::warn!(generation, reason, "refused what control sent; the last good one stays");
        self.outbox.push_back(ToControl::Refused { generation, reason });
    }

    fn conclude_adoptions(&mut self) {
        let publication = &self.publication;
        let outbox = &mut self.outbox;
        self.adopting.retain_mut(|(generation, message)| {
            let adopted = publication.adopted(*generation);
            if adopted {
                outbox.push_back(std::mem::replace(message, ToControl::Pong { id: 0 }));
            }
            !adopted
        });
    }

    /// Takes answers and events from the workers, and asks for the next pages while control keeps up.
    fn collect(&mut self) {
        for worker in 0..self.desks.len() {
            while self.outbox.len() < OUTBOX
                && let Some(reply) = self.desks[worker].replies.pop()
            {
                self.take_reply(worker, reply);
            }
            // They wait where they are while control reads; where nobody does, they are lost at once, and counted.
            while (!self.greeted || self.outbox.len() < OUTBOX)
                && let Some(event) = self.desks[worker].events.0.pop()
            {
                self.note(event);
            }
        }
        while let Some((worker, clear)) = self.clears.pop_front() {
            if let Err(Command::Clear(clear)) = self.desks[worker].commands.push(Command::Clear(clear)) {
                self.clears.push_front((worker, clear));
                break;
            }
        }
        while let Some((worker, ask)) = self.asks.pop_front() {
            if self.desks[worker].commands.push(Command::Trace(ask)).is_err() {
                self.asks.push_front((worker, ask));
                break;
            }
        }
        // All workers judge alike, but for what their own sessions have said: the first is asked.
        while let Some(ask) = self.sip_asks.pop_front() {
            if let Err(Command::TraceSip(ask)) = self.desks[0].commands.push(Command::TraceSip(ask)) {
                self.sip_asks.push_front(ask);
                break;
            }
        }
        while self.outbox.len() < OUTBOX / 2
            && let Some(Listing { worker, dump }) = self.listings.pop_front()
        {
            let commands = &self.desks[worker].commands;
            // No other thread adds to them.
            if commands.len() >= COMMANDS / 2 || commands.is_full() {
                self.listings.push_front(Listing { worker, dump });
                break;
            }
            self.asked += usize::from(commands.push(Command::Dump(dump)).is_ok());
        }
    }

    /// An answer of a worker: what it lists goes to control; where it has come to its end, the next worker goes on.
    fn take_reply(&mut self, worker: usize, reply: Reply) {
        let workers = self.desks.len();
        let go_on = |next: Option<u32>| match next {
            Some(cursor) => Some((worker, cursor)),
            None => (worker + 1 < workers).then_some((worker + 1, 0)),
        };
        match reply {
            Reply::Page { dump, .. } if dump.asker.link != self.links => {
                self.asked = self.asked.saturating_sub(1);
            }
            Reply::Page { dump, mut rows, next } => {
                self.asked = self.asked.saturating_sub(1);
                let next = go_on(next);
                if let Rows::Arp(rows) = &mut rows {
                    // Each worker has neighbours of its own, which are mostly the same.
                    let listed = self.arp_listed.entry(dump.asker.id).or_default();
                    rows.retain(|row| listed.insert((row.ifindex, row.addr)));
                    if next.is_none() {
                        self.arp_listed.remove(&dump.asker.id);
                    }
                }
                self.outbox.extend(ToControl::rows(dump.asker.id, rows, next.is_none()));
                if let Some((worker, cursor)) = next {
                    self.listings.push_back(Listing { worker, dump: Dump { cursor, ..dump } });
                }
            }
            // Its own connections come first, then it is known whose the packet is: one way, of two steps.
            Reply::Elsewhere { ask, worker } => {
                let owner = usize::from(worker).min(workers - 1);
                self.asks.push_back((owner, Ask { handed: true, ..ask }));
            }
            Reply::SipTraced { asker, .. } if asker.link != self.links => {}
            Reply::SipTraced { asker, trace } => {
                self.outbox.push_back(ToControl::SipTraced { id: asker.id, trace });
            }
            Reply::Traced { ask, .. } if ask.asker.link != self.links => {}
            Reply::Traced { ask, trace } => {
                self.outbox.push_back(ToControl::Traced { id: ask.asker.id, trace });
            }
            Reply::Echoed { asker, .. } if asker.link != self.links => {}
            Reply::Echoed { asker, outcome } => {
                self.outbox.push_back(ToControl::Echoed { id: asker.id, outcome });
            }
            // Begun is done, whoever asked.
            Reply::Cleared { clear, next } => match go_on(next) {
                Some((worker, cursor)) => self.clears.push_back((worker, Clear { cursor, ..clear })),
                None if clear.asker.link != self.links => {}
                None => self.outbox.push_back(ToControl::Cleared { id: clear.asker.id, count: clear.count }),
            },
        }
    }

    fn note(&mut self, event: Event) {
        if self.greeted && self.outbox.len() < OUTBOX {
            self.outbox.push_back(ToControl::Event(event.clipped()));
        } else {
            tracing::debug!(?event, "nobody to tell");
            self.lost += event.weight();
            self.own.add(Stat::EventsLost, event.weight());
        }
    }

    fn send(&mut self) {
        while let Some(link) = self.link.as_ref().filter(|_| self.greeted) {
            if self.lost > 0 && link.try_send(&ToControl::Lost { events: self.lost }, &[]).is_ok() {
                self.lost = 0;
            }
            let Some(message) = self.outbox.front() else { break };
            match link.try_send(message, &[]) {
                Ok(()) => drop(self.outbox.pop_front()),
                Err(LinkError::WouldBlock) => break,
                Err(LinkError::TooLarge) => {
                    tracing::warn!("a message for control is too large; it is left out");
                    self.outbox.pop_front();
                }
                Err(error) => self.hang_up(&format!("sending failed: {error}")),
            }
        }
    }
}

/// Seconds since the epoch, UTC; a clock before it is at 0.
fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}
