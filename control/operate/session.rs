// SPDX-License-Identifier: MIT OR Apache-2.0
//! One connection to the dataplane: questions out, answers back to whoever asked, events to the log.
//!
//! [`Session::open`] greets; [`Session::serve`] is the one reader, run as a task for the connection's life; everything else
//! sends and waits. All on the daemon's one thread. When the connection ends every waiter is told ([`Gone`]).
//!
//! A listing is handed on in bounded pieces: where its reader does not keep up, this stops reading for at most [`STALL`], and
//! then gives that listing up, so that a hanging CLI costs the others no more than that once.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use fedgate_tables::link::{
    Echo, Echoed, Event, Filter, LINK_LAYOUT, LinkError, LinkSocket, Message, Probe, Rows, SipProbe,
    SipTrace, ToControl, ToDataplane, Trace, What,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::timeout;

/// How long the greeting and any one send may take.
pub const GREETING: Duration = Duration::from_secs(2);
/// How long an answer may take: a policy is adopted when every worker has passed a burst, TLS and ports made before.
pub const ANSWER: Duration = Duration::from_secs(15);
/// How long a listing that nobody reads may hold the others up.
pub const STALL: Duration = Duration::from_secs(1);
/// Messages of a listing that wait for their reader.
const LISTING: usize = 32;

/// The dataplane is not there, or went while it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the dataplane is not connected")]
pub struct Gone;

/// Why a policy or a domain table is not in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Refused; the last good one stays.
    #[error("the dataplane refused it: {0}")]
    Refused(String),
    /// No answer in time, or the connection went.
    #[error("the dataplane did not answer")]
    Silent,
}

/// What the dataplane said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Its process.
    pub pid: u32,
    /// When it started, seconds since 1970.
    pub started_unix: u64,
    /// Of the policy in force; 0 for none.
    pub policy_generation: u64,
    /// Of the domain table in force; 0 for none.
    pub domains_generation: u64,
    /// Workers.
    pub workers: u32,
}

/// Answers awaited.
#[derive(Default)]
struct Waiting {
    /// Policies and tables, by generation; control pushes one at a time.
    pushes: HashMap<u64, oneshot::Sender<Result<(), PushError>>>,
    listings: HashMap<u64, mpsc::Sender<Part>>,
    counts: HashMap<u64, oneshot::Sender<u64>>,
    traces: HashMap<u64, oneshot::Sender<Option<Trace>>>,
    echoes: HashMap<u64, oneshot::Sender<Echoed>>,
    sip_traces: HashMap<u64, oneshot::Sender<Result<SipTrace, String>>>,
}

/// A piece of a listing; without a last [`Part::End`] it was cut short.
pub enum Part {
    /// Some rows.
    Rows(Rows),
    /// There are no more.
    End,
}

/// A connection.
pub struct Session {
    socket: AsyncFd<LinkSocket>,
    /// What the dataplane said of itself.
    pub greeting: Greeting,
    waiting: RefCell<Waiting>,
    last_id: Cell<u64>,
    ended: Notify,
}

impl Session {
    /// Connects and greets. Gives the descriptors that came with the answer.
    pub async fn open(path: &Path) -> Result<(Rc<Self>, Vec<OwnedFd>), String> {
        let socket = LinkSocket::connect(path).map_err(|why| format!("{}: {why}", path.display()))?;
        Self::greet(socket).await
    }

    /// Greets on a connected socket.
    pub async fn greet(socket: LinkSocket) -> Result<(Rc<Self>, Vec<OwnedFd>), String> {
        let socket = watched(socket).map_err(|why| why.to_string())?;
        let hello = ToDataplane::Hello { layout: LINK_LAYOUT, pid: std::process::id() };
        send(&socket, &hello, None).await.map_err(|why| why.to_string())?;
        // Events of before may be on their way to whichever control is there.
        let answer = timeout(GREETING, async {
            loop {
                match recv(&socket).await {
                    Ok((ToControl::Event(_) | ToControl::Lost { .. }, _)) => {}
                    answer => return answer,
                }
            }
        });
        let answer = answer.await.map_err(|_| "no answer to the greeting".to_owned())?;
        match answer.map_err(|why| why.to_string())? {
            (
                ToControl::HelloAck {
                    layout,
                    pid,
                    started_unix,
                    policy_generation,
                    domains_generation,
                    workers,
                },
                fds,
            ) => {
                if layout != LINK_LAYOUT {
                    return Err(format!(
                        "the dataplane speaks link layout {layout}, this control {LINK_LAYOUT}: they are not of one release"
                    ));
                }
                let greeting = Greeting { pid, started_unix, policy_generation, domains_generation, workers };
                let session = Self {
                    socket,
                    greeting,
                    waiting: RefCell::default(),
                    last_id: Cell::new(0),
                    ended: Notify::new(),
                };
                Ok((Rc::new(session), fds))
            }
            (ToControl::Refused { reason, .. }, _) => {
                Err(format!("the dataplane refused the greeting: {reason}"))
            }
            (other, _) => Err(format!("the dataplane answered the greeting with {other:?}")),
        }
    }

    /// Reads until the connection ends; gives why. `on_event` gets what was not asked for.
    pub async fn serve(&self, on_event: impl Fn(Event), on_lost: impl Fn(u64)) -> LinkError {
        loop {
            let received = tokio::select! {
                received = recv::<ToControl>(&self.socket) => received,
                () = self.ended.notified() => Err(LinkError::Closed),
            };
            match received {
                Ok((message, _)) => self.take(message, &on_event, &on_lost).await,
                // One bad datagram is gone by itself; the next may be good.
                Err(
                    why @ (LinkError::Malformed(_) | LinkError::Descriptors { .. } | LinkError::TooLarge),
                ) => {
                    tracing::error!("{why}");
                }
                Err(why) => {
                    self.waiting.take();
                    return why;
                }
            }
        }
    }

    async fn take(&self, message: ToControl, on_event: &impl Fn(Event), on_lost: &impl Fn(u64)) {
        match message {
            ToControl::Adopted { generation } => self.pushed(generation, Ok(())),
            ToControl::Refused { generation, reason } => {
                self.pushed(generation, Err(PushError::Refused(reason)))
            }
            ToControl::Rows { id, rows, done } => self.listed(id, rows, done).await,
            ToControl::Cleared { id, count } => self.counted(id, count),
            ToControl::Pong { id } => self.counted(id, 0),
            ToControl::Traced { id, trace } => self.traced(id, trace),
            ToControl::Echoed { id, outcome } => self.echoed(id, outcome),
            ToControl::SipTraced { id, trace } => {
                if let Some(waiter) = self.waiting.borrow_mut().sip_traces.remove(&id) {
                    let _ = waiter.send(trace);
                }
            }
            ToControl::Event(event) => on_event(event),
            ToControl::Lost { events } => on_lost(events),
            ToControl::HelloAck { .. } => tracing::error!("the dataplane greeted twice"),
        }
    }

    fn pushed(&self, generation: u64, outcome: Result<(), PushError>) {
        match self.waiting.borrow_mut().pushes.remove(&generation) {
            // A waiter that has given up is no error.
            Some(waiter) => drop(waiter.send(outcome)),
            None => tracing::warn!(generation, ?outcome, "answer to nothing that is awaited"),
        }
    }

    fn counted(&self, id: u64, count: u64) {
        if let Some(waiter) = self.waiting.borrow_mut().counts.remove(&id) {
            let _ = waiter.send(count);
        }
    }

    fn traced(&self, id: u64, trace: Option<Trace>) {
        if let Some(waiter) = self.waiting.borrow_mut().traces.remove(&id) {
            let _ = waiter.send(trace);
        }
    }

    fn echoed(&self, id: u64, outcome: Echoed) {
        // One that comes too late is nobody's.
        if let Some(waiter) = self.waiting.borrow_mut().echoes.remove(&id) {
            let _ = waiter.send(outcome);
        }
    }

    async fn listed(&self, id: u64, rows: Rows, done: bool) {
        let reader = self.waiting.borrow().listings.get(&id).cloned();
        let Some(reader) = reader else { return };
        let taken = timeout(STALL, async {
            reader.send(Part::Rows(rows)).await.is_ok() && (!done || reader.send(Part::End).await.is_ok())
        })
        .await;
        if done || taken != Ok(true) {
            self.waiting.borrow_mut().listings.remove(&id);
        }
    }

    /// Ends the connection: for when the two ends no longer agree on what is in force. Attaching anew makes them.
    pub fn end(&self) {
        self.ended.notify_one();
    }

    fn next_id(&self) -> u64 {
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    /// Sends a segment and waits until every worker uses it.
    pub async fn push(&self, message: &ToDataplane, generation: u64, fd: impl AsFd) -> Result<(), PushError> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().pushes.insert(generation, sender);
        let sent = send(&self.socket, message, Some(fd.as_fd())).await;
        let outcome = match sent {
            Ok(()) => timeout(ANSWER, receiver).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        self.waiting.borrow_mut().pushes.remove(&generation);
        outcome.unwrap_or(Err(PushError::Silent))
    }

    /// Asks for rows.
    pub async fn list(&self, what: What, filter: Filter) -> Result<mpsc::Receiver<Part>, Gone> {
        let id = self.next_id();
        let (sender, receiver) = mpsc::channel(LISTING);
        self.waiting.borrow_mut().listings.insert(id, sender);
        match send(&self.socket, &ToDataplane::Dump { id, what, filter }, None).await {
            Ok(()) => Ok(receiver),
            Err(_) => {
                self.waiting.borrow_mut().listings.remove(&id);
                Err(Gone)
            }
        }
    }

    /// Clears, and says how many.
    pub async fn clear(&self, what: What, filter: Filter) -> Result<u64, Gone> {
        self.ask(|id| ToDataplane::Clear { id, what, filter }).await
    }

    /// What would become of a packet; `None` while the dataplane has no policy.
    pub async fn trace(&self, probe: Probe) -> Result<Option<Trace>, Gone> {
        let id = self.next_id();
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().traces.insert(id, sender);
        let answered = async {
            send(&self.socket, &ToDataplane::Trace { id, probe }, None).await.ok()?;
            timeout(ANSWER, receiver).await.ok()?.ok()
        };
        let trace = answered.await;
        self.waiting.borrow_mut().traces.remove(&id);
        trace.ok_or(Gone)
    }

    /// Has an echo request sent; `None` where nothing came back within `patience`.
    pub async fn echo(&self, echo: Echo, patience: Duration) -> Result<Option<Echoed>, Gone> {
        let id = self.next_id();
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().echoes.insert(id, sender);
        let answered = match send(&self.socket, &ToDataplane::Echo { id, echo }, None).await {
            Ok(()) => timeout(patience, receiver).await,
            Err(_) => {
                self.waiting.borrow_mut().echoes.remove(&id);
                return Err(Gone);
            }
        };
        self.waiting.borrow_mut().echoes.remove(&id);
        match answered {
            Ok(Ok(outcome)) => Ok(Some(outcome)),
            Ok(Err(_)) => Err(Gone),
            Err(_) => Ok(None),
        }
    }

    /// What would become of a SIP request, or why nobody can say.
    pub async fn trace_sip(&self, probe: SipProbe) -> Result<Result<SipTrace, String>, Gone> {
        let id = self.next_id();
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().sip_traces.insert(id, sender);
        let answered = async {
            send(&self.socket, &ToDataplane::TraceSip { id, probe }, None).await.ok()?;
            timeout(ANSWER, receiver).await.ok()?.ok()
        };
        let trace = answered.await;
        self.waiting.borrow_mut().sip_traces.remove(&id);
        trace.ok_or(Gone)
    }

    /// Says what is not answered.
    pub async fn say(&self, message: &ToDataplane, fd: Option<OwnedFd>) -> Result<(), Gone> {
        send(&self.socket, message, fd.as_ref().map(AsFd::as_fd)).await.map_err(|_| Gone)
    }

    /// There and back.
    pub async fn ping(&self) -> Result<(), Gone> {
        self.ask(|id| ToDataplane::Ping { id }).await.map(drop)
    }

    async fn ask(&self, question: impl FnOnce(u64) -> ToDataplane) -> Result<u64, Gone> {
        let id = self.next_id();
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().counts.insert(id, sender);
        let answered = async {
            send(&self.socket, &question(id), None).await.ok()?;
            timeout(ANSWER, receiver).await.ok()?.ok()
        };
        let count = answered.await;
        self.waiting.borrow_mut().counts.remove(&id);
        count.ok_or(Gone)
    }
}

/// The socket as tokio watches it.
#[expect(
    deprecated,
    reason = "`AsyncFd::new` is unsound for a type whose `as_raw_fd` may change or dangle, and its \
    successor is `unsafe`, which this crate forbids; `LinkSocket` owns its one descriptor for its whole life"
)]
fn watched(socket: LinkSocket) -> std::io::Result<AsyncFd<LinkSocket>> {
    AsyncFd::new(socket)
}

/// Sends when there is room, which must be within [`GREETING`].
async fn send(
    socket: &AsyncFd<LinkSocket>,
    message: &ToDataplane,
    fd: Option<std::os::fd::BorrowedFd<'_>>,
) -> Result<(), LinkError> {
    let attempt =
        ready(|| async { socket.writable().await }, || socket.get_ref().try_send(message, fd.as_slice()));
    timeout(GREETING, attempt).await.unwrap_or(Err(LinkError::TimedOut))
}

async fn recv<M: Message>(socket: &AsyncFd<LinkSocket>) -> Result<(M, Vec<OwnedFd>), LinkError> {
    ready(|| async { socket.readable().await }, || socket.get_ref().try_recv()).await
}

/// Tries whenever the socket may be ready, until it was.
async fn ready<'s, T, F>(
    may_be: impl Fn() -> F,
    mut attempt: impl FnMut() -> Result<T, LinkError>,
) -> Result<T, LinkError>
where
    F: Future<Output = std::io::Result<tokio::io::unix::AsyncFdReadyGuard<'s, LinkSocket>>>,
{
    loop {
        let Ok(mut guard) = may_be().await else { return Err(LinkError::Closed) };
        match attempt() {
            Err(LinkError::WouldBlock) => guard.clear_ready(),
            outcome => return outcome,
        }
    }
}
