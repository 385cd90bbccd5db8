// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the core: events in, outputs carried out, nothing acknowledged before it is stored.
//!
//! One task owns the core and takes events in batches. The outputs of a batch are cut at its writes: what stands behind a write
//! waits in order until the store task has committed it. While a transaction is being committed, events go on being decided and
//! their writes gather for the next one (group commit). Order is kept over batches, so a watcher never hears of a change before the change is safe.
//!
//! When [`MAX_HELD`] outputs or [`MAX_HELD_OCTETS`] wait for the disk no more events are taken; the transport's queue fills, and peers are read slower.
//! If the store fails the node ends: it would be promising what it cannot keep. Of two nodes on one store the one that has it serves
//! ([`takeover`]), and ends when it cannot be sure of that any more.

mod takeover;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};

use crate::config::{Config, ConfigError};
use crate::control;
use crate::directory::{Directory, DirectoryError};
use crate::node::{Command, Core, Notice, Output, Reply};
use crate::store::{Store, StoreError, Write};
use crate::transport::{ConnId, Event, Sender, Transport, TransportError};
use crate::users::{Users, UsersError};
use crate::web;
use takeover::{Kept, Term};

/// Outputs that may wait for the disk.
const MAX_HELD: usize = 100_000;
/// Octets in them.
const MAX_HELD_OCTETS: usize = 16 << 20;
/// Events decided in one go.
const BATCH: usize = 512;

/// Why the node ended or did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The users.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The listeners.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The control socket.
    #[error("the control socket {0}: {1}")]
    Control(String, std::io::Error),
    /// Another node may have taken over: this one has been still for too long.
    #[error("the term in which this node had the store is over")]
    Over,
    /// The system's generator.
    #[error("no random numbers")]
    Random,
}

/// What clients other than SIP's ask.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A command, and where its reply goes.
    Command(Command, oneshot::Sender<Reply>),
    /// A client of this user listens, under a number of its own; where it is told.
    Listen(u64, String, mpsc::Sender<Notice>),
    /// It does not any more.
    Gone(u64),
    /// These are the users from now on.
    Users(Users),
}

/// Reads a configuration and its users; nothing is opened.
pub fn check(path: &std::path::Path) -> Result<(), NodeError> {
    let cfg = Config::read(path)?;
    Users::read(&cfg)?;
    Directory::open(&cfg)?;
    Ok(())
}

/// Runs a node until `stop` is done. `ready` is told the addresses it listens on.
pub async fn run(
    cfg: Config,
    ready: impl FnOnce(&[std::net::SocketAddr]),
    stop: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let users = Users::read(&cfg)?;
    let mut seed = [0; 48];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| NodeError::Random)?;
    let clock = Clock::start();
    let cfg = Arc::new(cfg);
    let (asked, mut commands) = mpsc::channel(64);
    let control = control::listen(&cfg.control, asked.clone())
        .map_err(|why| NodeError::Control(cfg.control.display().to_string(), why))?;
    let ended = serve(&cfg, clock, (users, seed), (asked, &mut commands), ready, stop).await;
    control.abort();
    let _ = std::fs::remove_file(&cfg.control);
    ended
}

/// Waits for the store to be this node's, and serves until `stop` is done.
async fn serve(
    cfg: &Arc<Config>,
    clock: Clock,
    (users, seed): (Users, [u8; 48]),
    (asked, commands): (mpsc::Sender<Asked>, &mut mpsc::Receiver<Asked>),
    ready: impl FnOnce(&[std::net::SocketAddr]),
    stop: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let mut stop = std::pin::pin!(stop);
    let Some(mut kept) = Kept::wait(cfg, clock, commands, stop.as_mut()).await? else { return Ok(()) };
    let image = kept.store.load().await?;
    let directory = Directory::open(cfg)?.map(Arc::new);
    let users = match &directory {
        // Before anybody connects, so that nobody is told that there is no such user.
        Some(directory) => directory.clone().follow(cfg.clone(), users, asked.clone()).await,
        None => users,
    };
    let counters = Arc::new(web::Counters::default());
    let core = Core::new(cfg.clone(), users, seed, image, clock.now());
    let core = if cfg.web.is_some() { core.with_web(counters.clone()) } else { core };
    let (transport, events, mut bound) = Transport::start(cfg.clone()).await?;
    if let Some(web) = &cfg.web {
        bound.push(web::start(cfg, web, asked.clone(), directory, counters).await?);
    }
    let (store, term, keeping) = kept.split();
    let (writes, committed, storing) = store_task(store);
    ready(&bound);
    let driver = Driver::new(core, clock, transport, writes, term);
    let ended = driver.run(events, commands, committed, stop).await;
    let stored = storing.await;
    let kept = keeping.end().await;
    ended?;
    match stored {
        Ok(result) => result?,
        Err(why) => std::panic::resume_unwind(why.into_panic()),
    }
    Ok(kept?)
}

/// Milliseconds since 1970 that never go back.
#[derive(Clone, Copy)]
struct Clock {
    epoch: u64,
    start: Instant,
}

impl Clock {
    fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { epoch: u64::try_from(since.as_millis()).unwrap_or(0), start: Instant::now() }
    }

    fn now(&self) -> u64 {
        self.epoch + u64::try_from(self.start.elapsed().as_millis()).unwrap_or(0)
    }
}

type Storing = tokio::task::JoinHandle<Result<(), StoreError>>;

/// The task that commits: batches in, one word for each back.
fn store_task(mut store: Store) -> (mpsc::Sender<Vec<Write>>, mpsc::Receiver<()>, Storing) {
    let (writes, mut batches) = mpsc::channel::<Vec<Write>>(1);
    let (done, committed) = mpsc::channel(1);
    let task = tokio::spawn(async move {
        while let Some(batch) = batches.recv().await {
            store.commit(&batch).await?;
            if done.send(()).await.is_err() {
                break;
            }
        }
        store.close().await
    });
    (writes, committed, task)
}

/// What waits for the disk.
enum Held {
    /// This may happen once all before it is stored.
    Do(Output),
    /// So many writes go to the disk here.
    Stored,
}

struct Driver {
    core: Core,
    clock: Clock,
    transport: Transport,
    senders: HashMap<ConnId, Sender>,
    held: VecDeque<Held>,
    held_octets: usize,
    /// Writes for the next transaction.
    gathered: Vec<Write>,
    /// Writes in the transaction that is being committed.
    committing: usize,
    tickets: HashMap<u64, oneshot::Sender<Reply>>,
    listeners: HashMap<u64, mpsc::Sender<Notice>>,
    next_ticket: u64,
    writes: mpsc::Sender<Vec<Write>>,
    /// Until when this node may do anything.
    term: Term,
}

impl Driver {
    /// With nobody connected and nothing to write.
    fn new(
        core: Core,
        clock: Clock,
        transport: Transport,
        writes: mpsc::Sender<Vec<Write>>,
        term: Term,
    ) -> Self {
        Self {
            core,
            clock,
            transport,
            senders: HashMap::new(),
            held: VecDeque::new(),
            held_octets: 0,
            gathered: Vec::new(),
            committing: 0,
            tickets: HashMap::new(),
            listeners: HashMap::new(),
            next_ticket: 0,
            writes,
            term,
        }
    }

    async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        commands: &mut mpsc::Receiver<Asked>,
        mut committed: mpsc::Receiver<()>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), NodeError> {
        let mut stop = std::pin::pin!(stop);
        let mut batch = Vec::with_capacity(BATCH);
        self.carry_out();
        loop {
            let wake = self.core.next_time().map_or(1_000, |at| at.saturating_sub(self.clock.now()));
            let has_room = self.has_room();
            tokio::select! {
                biased;
                () = &mut stop => break,
                word = committed.recv() => match word {
                    Some(()) if self.term.is_over(self.clock.now()) => return Err(NodeError::Over),
                    Some(()) => self.stored(),
                    // The store has failed; its task says how.
                    None => break,
                },
                count = events.recv_many(&mut batch, BATCH), if has_room => {
                    if count == 0 {
                        break;
                    }
                    for event in batch.drain(..) {
                        self.event(event);
                    }
                }
                asked = commands.recv(), if has_room => {
                    if let Some(asked) = asked {
                        self.asked(asked);
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(wake.min(1_000))) => {}
            }
            // It may have been long that nothing ran here.
            if self.term.is_over(self.clock.now()) {
                return Err(NodeError::Over);
            }
            // Events come first, but never so many that nobody else is heard.
            while let (true, Ok(asked)) = (self.has_room(), commands.try_recv()) {
                self.asked(asked);
            }
            self.core.on_time(self.clock.now());
            self.carry_out();
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.held.len() < MAX_HELD && self.held_octets < MAX_HELD_OCTETS
    }

    fn event(&mut self, event: Event) {
        let now = self.clock.now();
        match event {
            Event::Open(id, peer, sender) => {
                self.senders.entry(id).or_insert(sender);
                self.core.on_open(id, peer, now);
            }
            Event::Message(message, _place) => self.core.on_message(message, now),
            Event::Closed(id) => self.core.on_closed(id, now),
        }
    }

    fn asked(&mut self, asked: Asked) {
        let now = self.clock.now();
        match asked {
            Asked::Command(command, reply) => {
                self.next_ticket += 1;
                self.tickets.insert(self.next_ticket, reply);
                self.core.on_command(self.next_ticket, command, now);
            }
            Asked::Listen(id, user, told) => {
                self.listeners.insert(id, told);
                self.core.on_listen(id, &user, now);
            }
            Asked::Users(users) => self.core.on_users(users, now),
            Asked::Gone(id) => {
                self.listeners.remove(&id);
                self.core.on_gone(id, now);
            }
        }
    }

    fn carry_out(&mut self) {
        // What is carried out may close a connection, and the core has to say to that.
        loop {
            let outputs = self.core.take_output();
            if outputs.is_empty() {
                break;
            }
            for output in outputs {
                match output {
                    Output::Write(write) => {
                        self.gathered.push(write);
                        self.held.push_back(Held::Stored);
                    }
                    output if self.held.is_empty() => self.perform(output),
                    output => {
                        self.held_octets += octets(&output);
                        self.held.push_back(Held::Do(output));
                    }
                }
            }
        }
        self.commit();
    }

    /// Starts a transaction with all that is gathered, if none is under way.
    fn commit(&mut self) {
        if self.committing == 0 && !self.gathered.is_empty() {
            let batch = std::mem::take(&mut self.gathered);
            self.committing = batch.len();
            // The channel holds one batch, and none is under way: it cannot be full. If it is closed, the store has failed.
            let _ = self.writes.try_send(batch);
        }
    }

    /// A transaction is on the disk: whatever waited for it happens.
    fn stored(&mut self) {
        let mut left = std::mem::take(&mut self.committing);
        while let Some(first) = self.held.pop_front() {
            match first {
                Held::Stored if left == 0 => {
                    self.held.push_front(Held::Stored);
                    break;
                }
                Held::Stored => left -= 1,
                Held::Do(output) => {
                    self.held_octets -= octets(&output);
                    self.perform(output);
                }
            }
        }
        self.commit();
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Send(conn, bytes) => {
                let sent = self.senders.get(&conn).is_none_or(|sender| sender.send(bytes));
                if !sent {
                    tracing::info!(conn = conn.0, "the peer does not read");
                    self.senders.remove(&conn);
                    // It may take long to end: until then nothing is to be sent to it.
                    self.core.on_closed(conn, self.clock.now());
                }
            }
            Output::Open(conn, target) => {
                let sender = self.transport.connect(conn, target);
                self.senders.insert(conn, sender);
            }
            Output::Close(conn) => {
                self.senders.remove(&conn);
            }
            Output::Reply(ticket, reply) => {
                if let Some(waiting) = self.tickets.remove(&ticket) {
                    // Who does not wait any more needs no reply.
                    let _ = waiting.send(reply);
                }
            }
            Output::Tell(id, notice) => {
                let told = self.listeners.get(&id).is_none_or(|listener| listener.try_send(notice).is_ok());
                if !told {
                    // It reads slower than things happen. Its stream ends, and with that it is gone.
                    tracing::info!(id, "a web client does not read");
                    self.listeners.remove(&id);
                }
            }
            Output::Silence(id) => {
                self.listeners.remove(&id);
            }
            // Held back by `carry_out`; never here.
            Output::Write(_) => {}
        }
    }
}

fn octets(output: &Output) -> usize {
    match output {
        Output::Send(_, bytes) => bytes.len(),
        Output::Tell(_, notice) => notice.body.len(),
        Output::Open(..) | Output::Close(_) | Output::Write(_) | Output::Reply(..) | Output::Silence(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Image;
    use crate::transport::{Origin, Peer};

    /// What does not read is closed, and the core sends nothing more to it, however long the connection takes to end.
    #[tokio::test]
    async fn a_peer_that_is_given_up_is_forgotten_at_once() {
        let config = "name = \"n\"\ndomains = [\"local.example\"]\nstore = \"s\"\nusers = \"u\"\ncontrol = \"c\"\n\
                      [[listen]]\naddress = \"127.0.0.1:0\"\n";
        let cfg = Arc::new(Config::parse(config, "config").expect("a configuration"));
        let (transport, _events, _) = Transport::start(cfg.clone()).await.expect("started");
        let core = Core::new(cfg, Users::default(), [0; 48], Image::default(), 0);
        let mut driver = Driver::new(core, Clock::start(), transport, mpsc::channel(1).0, Term::unlimited());
        let conn = ConnId(7);
        driver.core.on_open(conn, Peer { origin: Origin::Federation, tls: false }, 1);
        driver.senders.insert(conn, Sender::to_nobody());
        let connections = |driver: &mut Driver| {
            let mut shown = None;
            driver.core.on_command(1, Command::Statistics, 2);
            for output in driver.core.take_output() {
                if let Output::Reply(1, Reply::Told(value)) = output {
                    shown = value["connections"].as_u64();
                }
            }
            shown
        };
        assert_eq!(connections(&mut driver), Some(1));
        driver.perform(Output::Send(conn, b"x".to_vec()));
        assert_eq!((connections(&mut driver), driver.senders.len()), (Some(0), 0));
    }
}
