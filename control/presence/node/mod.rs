// SPDX-License-Identifier: MIT OR Apache-2.0
//! The node's core: everything it decides, without I/O.
//!
//! Messages, ends of connections, commands and the passing of time go in; what to send, connect, store and reply comes out, in the
//! order in which it was decided ([`Output`]). The driver carries it out and holds back whatever stands behind a
//! [`Output::Write`] until that is on the disk, so that nothing is acknowledged that a restart would forget.
//!
//! One value, owned by one task; no locks. Each file adds the part it is named for:
//! `request` (whose is it, may he), `register`, `publish`, `subscribe` (watchers of users), `watchers` (who they are), `watch` (users' own foreign contacts),
//! `accounts` (users who come and go), `pager` and `session` (instant messages), `command` (what users and operators decide), `client` (users' clients that speak no SIP),
//! `transact` (requests of ours), `elsewhere` (the enterprise's other nodes).
//!
//! Bounds: those of the configuration, and the constants at each collection. Time is milliseconds since 1970 that never
//! goes back while the process lives.

mod accounts;
mod client;
mod command;
mod elsewhere;
mod flood;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod pager;
mod publish;
mod register;
mod request;
mod session;
mod subscribe;
mod transact;
mod watch;
mod watchers;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use fedgate_sip::message::Start;

use crate::aor::Aor;
use crate::config::Config;
use crate::contact::Contact;
use crate::digest::Authenticator;
use crate::ids::{Ids, Tag};
use crate::message::Incoming;
use crate::presence::policy::Policy;
use crate::presence::state::Presence;
use crate::store::{Image, Package, Write};
use crate::transport::{ConnId, Peer, Target};
use crate::users::Users;
pub use client::Notice;
pub use command::{Command, Password, Reply};

/// What the core wants done.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Send these octets.
    Send(ConnId, Vec<u8>),
    /// Connect; what is sent to it meanwhile waits.
    Open(ConnId, Target),
    /// Close, once what was sent has left.
    Close(ConnId),
    /// Store; what follows waits for it.
    Write(Write),
    /// Answer a command.
    Reply(u64, Reply),
    /// Tell a listener.
    Tell(u64, Notice),
    /// A listener is told nothing more.
    Silence(u64),
}

/// What is to happen at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A request of ours has no answer.
    Request(u64),
    /// A NOTIFY may go out.
    Notify(Tag),
    /// A subscription to us ends.
    Expire(Tag),
    /// A subscription of ours goes on.
    Watch(Tag),
    /// A publication ends.
    Publication(u64),
    /// A user's registrations are looked through.
    Bindings,
    /// The 200 of an INVITE has no ACK yet.
    Ack(Tag),
    /// A session is looked at for idleness.
    Idle(Tag),
    /// A text has not been acknowledged by any of a user's clients.
    Told(u64),
    /// The 200 of an INVITE that was passed on does not come again.
    Accepted(u64),
}

/// A connection as the core knows it.
struct Conn {
    peer: Peer,
    /// It is there; one of ours is not as long as it is being made.
    open: bool,
    /// Users that have proved themselves on it.
    users: HashSet<Aor>,
    /// Credentials on it that were wrong.
    failures: u8,
    /// What it was opened to; none for those that came in.
    target: Option<Target>,
    /// Requests of ours on it that have no answer yet.
    waiting: usize,
}

/// The core.
pub struct Core {
    cfg: Arc<Config>,
    users: Users,
    ids: Ids,
    auth: Authenticator,
    now: u64,
    out: Vec<Output>,
    timers: BTreeSet<(u64, Timer)>,
    counters: BTreeMap<&'static str, u64>,
    conns: HashMap<ConnId, Conn>,
    pool: HashMap<Target, ConnId>,
    opened: u64,
    clients: HashMap<u64, transact::Client>,
    /// Requests whose answer waits for somebody else, and how long they are.
    deferred: HashMap<String, usize>,
    deferred_octets: usize,
    bindings: HashMap<Aor, Vec<register::Binding>>,
    policies: HashMap<Aor, Policy>,
    contacts: HashMap<Aor, BTreeMap<Aor, Contact>>,
    asked: HashMap<Aor, BTreeMap<Aor, u64>>,
    states: HashMap<Aor, Presence>,
    publications: HashMap<u64, publish::Publication>,
    devices: HashMap<Aor, Vec<u64>>,
    subs: HashMap<Tag, subscribe::Subscription>,
    /// Subscriptions by what they are about and who watches.
    by_resource: HashMap<(Package, Aor), BTreeSet<(Aor, Tag)>>,
    by_watcher: HashMap<Aor, usize>,
    watches: HashMap<Tag, watch::Watch>,
    watch_of: HashMap<(Aor, Aor), Tag>,
    sessions: HashMap<Tag, session::Session>,
    /// Sessions by their INVITEs, for those that come twice.
    invites: HashMap<String, Tag>,
    /// Whose the text on its way in a session is; the session itself may have ended since.
    texts: HashMap<Tag, session::Pair>,
    pairs: HashMap<session::Pair, crate::im::Conversation<pager::Text>>,
    deliveries: HashMap<u64, pager::Delivery>,
    guards: HashMap<usize, flood::Guard>,
    shares: flood::Shares,
    elsewhere: elsewhere::Elsewhere,
    web: client::Clients,
}

impl Core {
    /// With what was stored, at time `now`. The outputs of the start (writes of what ended meanwhile) come with the next event.
    pub fn new(cfg: Arc<Config>, users: Users, seed: [u8; 48], image: Image, now: u64) -> Self {
        let (mut ids, mut auth) = ([0; 16], [0; 32]);
        ids.copy_from_slice(&seed[..16]);
        auth.copy_from_slice(&seed[16..]);
        let digest = cfg.digest.clone();
        let mut core = Self {
            cfg,
            users,
            ids: Ids::new(ids),
            auth: Authenticator::new(auth, digest),
            now,
            out: Vec::new(),
            timers: BTreeSet::new(),
            counters: BTreeMap::new(),
            conns: HashMap::new(),
            pool: HashMap::new(),
            opened: 0,
            clients: HashMap::new(),
            deferred: HashMap::new(),
            deferred_octets: 0,
            bindings: HashMap::new(),
            policies: HashMap::new(),
            contacts: HashMap::new(),
            asked: HashMap::new(),
            states: HashMap::new(),
            publications: HashMap::new(),
            devices: HashMap::new(),
            subs: HashMap::new(),
            by_resource: HashMap::new(),
            by_watcher: HashMap::new(),
            watches: HashMap::new(),
            watch_of: HashMap::new(),
            sessions: HashMap::new(),
            invites: HashMap::new(),
            texts: HashMap::new(),
            pairs: HashMap::new(),
            deliveries: HashMap::new(),
            guards: HashMap::new(),
            shares: flood::Shares::default(),
            elsewhere: elsewhere::Elsewhere::default(),
            web: client::Clients::default(),
        };
        core.restore(image);
        core
    }

    fn restore(&mut self, image: Image) {
        self.restore_accounts(image.accounts);
        for (owner, subject, verdict) in image.policy {
            // There was room when it was stored.
            let _ = self.policies.entry(owner).or_default().decide(subject, Some(verdict));
        }
        for (owner, contact, entry) in image.contacts {
            self.contacts.entry(owner).or_default().insert(contact, entry);
        }
        for (owner, watcher, since) in image.asked {
            self.asked.entry(owner).or_default().insert(watcher, since);
        }
        self.restore_preferences(image.preferences);
        self.restore_publications(image.publications);
        self.restore_bindings(image.bindings);
        self.restore_subscriptions(image.subscriptions);
        self.restore_watches();
    }

    /// A connection is there: one that came in, or one that was asked for.
    pub fn on_open(&mut self, conn: ConnId, peer: Peer, now: u64) {
        self.now = now;
        let old = self.conns.remove(&conn);
        if conn.is_outgoing() && old.is_none() {
            // It has been given up meanwhile.
            return self.out.push(Output::Close(conn));
        }
        // One of ours may have requests waiting already.
        let (target, waiting) = old.map_or((None, 0), |old| (old.target, old.waiting));
        self.conns
            .insert(conn, Conn { peer, open: true, users: HashSet::new(), failures: 0, target, waiting });
    }

    /// A connection is gone, or could not be made, or is not wanted any more. What was said on it before may still leave.
    pub fn on_closed(&mut self, conn: ConnId, now: u64) {
        self.now = now;
        let Some(gone) = self.conns.remove(&conn) else { return };
        self.out.push(Output::Close(conn));
        if let Some(target) = gone.target {
            self.pool.remove(&target);
        }
        for bindings in self.bindings.values_mut() {
            for binding in bindings {
                binding.conn = binding.conn.filter(|bound| *bound != conn);
            }
        }
        if gone.waiting > 0 {
            self.fail_requests_on(conn);
        }
    }

    /// A message has come.
    pub fn on_message(&mut self, message: Incoming, now: u64) {
        self.now = now;
        if !self.conns.contains_key(&message.conn) {
            return;
        }
        match message.msg().start {
            Start::Request { .. } => self.on_request(message),
            Start::Response { status, .. } => self.on_response(&message, status),
        }
    }

    /// What users and operators want; the reply bears `ticket`.
    pub fn on_command(&mut self, ticket: u64, command: Command, now: u64) {
        self.now = now;
        if let Some(reply) = self.command(ticket, command) {
            self.out.push(Output::Reply(ticket, reply));
        }
    }

    /// Time has passed.
    pub fn on_time(&mut self, now: u64) {
        self.now = now;
        while let Some(&(at, timer)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Request(branch) => self.on_no_answer(branch),
                Timer::Notify(tag) => self.flush(tag),
                Timer::Expire(tag) => self.on_expired(tag),
                Timer::Watch(tag) => self.on_watch_due(tag),
                Timer::Publication(etag) => self.withdraw(etag),
                Timer::Bindings => self.sweep_bindings(),
                Timer::Ack(tag) => self.on_no_ack(tag),
                Timer::Idle(tag) => self.on_idle(tag),
                Timer::Told(number) => self.on_not_acknowledged(number),
                Timer::Accepted(branch) => self.on_accepted_over(branch),
            }
        }
    }

    /// When [`Core::on_time`] has to be called next.
    pub fn next_time(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// What is to be done, in order.
    pub fn take_output(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    fn at(&mut self, time: u64, timer: Timer) {
        self.timers.insert((time, timer));
    }

    fn write(&mut self, write: Write) {
        self.out.push(Output::Write(write));
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }

    fn is_local(&self, aor: &Aor) -> bool {
        self.cfg.is_local(aor.domain())
    }
}

#[cfg(test)]
mod tests;
