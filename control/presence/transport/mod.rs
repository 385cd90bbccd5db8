// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections: TCP and TLS, in and out, as streams of whole messages.
//!
//! A task reads a connection, cuts messages out of it with the border's own framer and scanner, and hands them to the driver; another writes
//! what the core sends. What cannot be framed or read is answered as far as it can be, here, and never reaches the core.
//!
//! Bounds: connections in all and of one address; a handshake, a message's arrival and idleness have their times; messages to the
//! driver wait in one bounded queue (who sends faster than the node decides is read slower); what a peer does not read is held up to
//! [`MAX_UNSENT`] octets ([`MAX_UNSENT_CLIENT`] where anybody may connect), then the connection is closed. Framing bounds are [`Limits::DEFAULT`].
//!
//! Tasks of the driver's runtime.

mod connection;
mod dns;
mod places;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fedgate_sip::frame::Limits;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{Config, Listen};
use crate::message::Incoming;
use dns::Resolver;
pub(crate) use places::Places;
pub use tls::TlsError;
pub(crate) use tls::{https, trusting};

/// Octets that may wait to be sent on one connection to a peer.
const MAX_UNSENT: usize = 4 << 20;
/// On one to anybody else.
const MAX_UNSENT_CLIENT: usize = 512 << 10;
/// For a connection to be made and secured.
const CONNECT: Duration = Duration::from_secs(10);
/// For one that has to be found first; requests wait for it, and for 32 s in all.
const SEARCH: Duration = Duration::from_secs(25);
/// Messages that wait for the driver.
const QUEUE: usize = 4_096;
/// Octets of them; the longest message there may be is a small part of it.
const QUEUE_OCTETS: usize = 16 << 20;

/// Names a connection for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl ConnId {
    /// The `n`th that the core has opened; those that come in have the bit unset.
    pub fn outgoing(n: u64) -> Self {
        Self(1 << 63 | n)
    }

    /// Whether the core has opened it.
    pub fn is_outgoing(self) -> bool {
        self.0 >> 63 == 1
    }
}

/// Whom a connection is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The appliance or another peer of the configuration: speaks for foreign users.
    Federation,
    /// The enterprise's other node of this number: speaks for the users it is home to, and for foreign ones.
    Node(usize),
    /// Anybody else: speaks for users that prove themselves.
    Client,
}

/// What the core knows of the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Whom it is with.
    pub origin: Origin,
    /// Whether it is TLS.
    pub tls: bool,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// `host:port`; of what is found by DNS perhaps without the port.
    pub to: String,
    /// The name the certificate must bear; plain TCP without.
    pub tls: Option<String>,
    /// What it is.
    pub kind: Kind,
}

/// What is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A user's device.
    Device,
    /// A peer of the configuration.
    Peer,
    /// The enterprise's other node of this number.
    Node(usize),
    /// A foreign domain's server, found by DNS.
    Found,
}

impl Kind {
    /// For whom it speaks.
    pub fn origin(self) -> Origin {
        match self {
            Self::Device => Origin::Client,
            Self::Node(node) => Origin::Node(node),
            Self::Peer | Self::Found => Origin::Federation,
        }
    }
}

/// What connections tell the driver.
#[derive(Debug)]
pub enum Event {
    /// One is there.
    Open(ConnId, Peer, Sender),
    /// A message, and its place among those that wait.
    Message(Incoming, OwnedSemaphorePermit),
    /// One is gone or could not be made.
    Closed(ConnId),
}

/// The way to the driver.
#[derive(Clone, Debug)]
struct Events {
    queue: mpsc::Sender<Event>,
    /// Octets of messages that may yet be put into it.
    room: Arc<Semaphore>,
}

impl Events {
    fn new() -> (Self, mpsc::Receiver<Event>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (Self { queue, room: Arc::new(Semaphore::new(QUEUE_OCTETS)) }, receiver)
    }

    /// `false` where the node is ending.
    async fn tell(&self, event: Event) -> bool {
        self.queue.send(event).await.is_ok()
    }

    async fn message(&self, message: Incoming) -> bool {
        let octets = u32::try_from(message.octets()).unwrap_or(u32::MAX);
        let place = self.room.clone().acquire_many_owned(octets).await;
        match place {
            Ok(place) => self.tell(Event::Message(message, place)).await,
            Err(_) => false,
        }
    }
}

/// The way into a connection's writer. Dropped, it closes the connection when all is sent.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: mpsc::UnboundedSender<Vec<u8>>,
    unsent: Arc<AtomicUsize>,
    most: usize,
    /// Ends the connection at once.
    given_up: Arc<Notify>,
}

impl Sender {
    /// Sends; `false` where the peer is gone, or does not read: then the connection ends with all that waits.
    pub fn send(&self, bytes: Vec<u8>) -> bool {
        if self.unsent.fetch_add(bytes.len(), Ordering::Relaxed) > self.most {
            self.given_up.notify_one();
            return false;
        }
        self.queue.send(bytes).is_ok()
    }
}

#[cfg(test)]
impl Sender {
    /// One whose connection is gone.
    pub(crate) fn to_nobody() -> Self {
        channel(Origin::Federation).0
    }
}

/// Everything that listens and connects.
pub struct Transport {
    cfg: Arc<Config>,
    events: Events,
    server: Option<TlsAcceptor>,
    client: Option<TlsConnector>,
    /// For routes that go by DNS.
    resolver: Option<Resolver>,
    count: Arc<AtomicU64>,
    places: Places,
}

/// Why the node cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// An address cannot be bound.
    #[error("cannot listen on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The name servers.
    #[error("the name servers: {0}")]
    Dns(String),
}

impl Transport {
    /// Listens as the configuration says. The addresses are those that were bound, in the configuration's order.
    pub async fn start(
        cfg: Arc<Config>,
    ) -> Result<(Self, mpsc::Receiver<Event>, Vec<SocketAddr>), TransportError> {
        let (events, receiver) = Events::new();
        let (server, client) = match &cfg.tls {
            None => (None, None),
            Some(files) => {
                let (server, client) = tls::configs(files)?;
                (Some(TlsAcceptor::from(server)), Some(TlsConnector::from(client)))
            }
        };
        let servers = &cfg.dns.servers;
        let resolver = (!servers.is_empty()).then(|| Resolver::new(servers)).transpose();
        let resolver = resolver.map_err(TransportError::Dns)?;
        let count = Arc::new(AtomicU64::new(0));
        let places = Places::new(cfg.limits.connections, cfg.limits.connections_per_address);
        let transport = Self { cfg: cfg.clone(), events, server, client, resolver, count, places };
        let mut bound = Vec::new();
        for listen in &cfg.listen {
            let listener = TcpListener::bind(listen.address)
                .await
                .map_err(|why| TransportError::Bind(listen.address, why))?;
            bound.push(listener.local_addr().map_err(|why| TransportError::Bind(listen.address, why))?);
            tokio::spawn(transport.acceptor(listen).run(listener));
        }
        Ok((transport, receiver, bound))
    }

    fn acceptor(&self, listen: &Listen) -> Acceptor {
        Acceptor {
            cfg: self.cfg.clone(),
            events: self.events.clone(),
            tls: self.server.clone().filter(|_| listen.tls),
            count: self.count.clone(),
            places: self.places.clone(),
        }
    }

    /// Connects; the outcome comes as an event. What is sent meanwhile waits in the sender that comes back.
    pub fn connect(&self, id: ConnId, target: Target) -> Sender {
        let origin = target.kind.origin();
        let (sender, writer) = channel(origin);
        let (client, events) = (self.client.clone(), self.events.clone());
        let resolver = self.resolver.clone();
        let cfg = self.cfg.clone();
        let idle = Duration::from_secs(cfg.limits.idle);
        let sender_of_event = sender.clone();
        tokio::spawn(async move {
            let peer = Peer { origin, tls: target.tls.is_some() };
            let made = match (target.kind, resolver) {
                (Kind::Found, Some(resolver)) => timeout(SEARCH, search(&resolver, client, &target)).await,
                (Kind::Node(node), _) => {
                    let places = cfg.nodes.get(node).map(|node| node.to.as_slice()).unwrap_or_default();
                    timeout(CONNECT, first_of(places, client, &target)).await
                }
                _ => timeout(CONNECT, dial(client, &target.to, target.tls.as_deref())).await,
            };
            match made {
                Ok(Ok(stream)) => {
                    // The driver has a sender already; this one is for the record only.
                    let open = Event::Open(id, peer, sender_of_event);
                    if events.tell(open).await {
                        connection::run(stream, id, writer, events, idle).await;
                    }
                }
                Ok(Err(why)) => {
                    tracing::info!(to = target.to, %why, "cannot connect");
                    drop(sender_of_event);
                    events.tell(Event::Closed(id)).await;
                }
                Err(_) => {
                    tracing::info!(to = target.to, "cannot connect in time");
                    drop(sender_of_event);
                    events.tell(Event::Closed(id)).await;
                }
            }
        });
        sender
    }
}

fn channel(origin: Origin) -> (Sender, connection::Writer) {
    let (queue, receiver) = mpsc::unbounded_channel();
    let unsent = Arc::new(AtomicUsize::new(0));
    let most = match origin {
        Origin::Federation | Origin::Node(_) => MAX_UNSENT,
        Origin::Client => MAX_UNSENT_CLIENT,
    };
    let given_up = Arc::new(Notify::new());
    let writer = connection::Writer { queue: receiver, unsent: unsent.clone(), given_up: given_up.clone() };
    (Sender { queue, unsent, most, given_up }, writer)
}

/// Connects to the first of a host's servers that is there and is who it should be.
async fn search(
    resolver: &Resolver,
    client: Option<TlsConnector>,
    target: &Target,
) -> Result<connection::Stream, std::io::Error> {
    let (host, port) = match target.to.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (target.to.as_str(), None),
    };
    let hops = resolver.hops(host, port, lot).await.map_err(std::io::Error::other)?;
    let mut last = std::io::Error::other("it has no servers");
    for hop in hops {
        for name in &hop.names {
            match timeout(CONNECT / 2, dial(client.clone(), hop.address, Some(name))).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(why)) => last = why,
                Err(_) => last = std::io::ErrorKind::TimedOut.into(),
            }
            tracing::info!(to = target.to, at = %hop.address, name, why = %last, "the next is tried");
            // Only where it is another's certificate may the other name do.
            if last.kind() != std::io::ErrorKind::InvalidData {
                break;
            }
        }
    }
    Err(last)
}

/// Connects to the first of a node's addresses at which it is.
async fn first_of(
    places: &[String],
    client: Option<TlsConnector>,
    target: &Target,
) -> Result<connection::Stream, std::io::Error> {
    let each = CONNECT / u32::try_from(places.len().max(1)).unwrap_or(1);
    let mut last = std::io::Error::other("it has no address");
    for place in places {
        match timeout(each, dial(client.clone(), place.as_str(), target.tls.as_deref())).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(why)) => last = why,
            Err(_) => last = std::io::ErrorKind::TimedOut.into(),
        }
        tracing::info!(node = target.to, at = place, why = %last, "the node is not there");
    }
    Err(last)
}

/// A number below `below`.
fn lot(below: u32) -> u32 {
    let mut drawn = [0; 4];
    // Without random numbers the node has not started; all the same, the first server is as good as another.
    let _ = aws_lc_rs::rand::fill(&mut drawn);
    u32::from_be_bytes(drawn) % below.max(1)
}

async fn dial(
    client: Option<TlsConnector>,
    to: impl tokio::net::ToSocketAddrs,
    tls: Option<&str>,
) -> Result<connection::Stream, std::io::Error> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    match (tls, client) {
        (None, _) => Ok(Box::new(stream)),
        (Some(name), Some(client)) => {
            let name =
                rustls_pki_types::ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
            Ok(Box::new(client.connect(name, stream).await?))
        }
        (Some(_), None) => Err(std::io::Error::other("no certificates are configured")),
    }
}

/// One listener.
struct Acceptor {
    cfg: Arc<Config>,
    events: Events,
    tls: Option<TlsAcceptor>,
    count: Arc<AtomicU64>,
    places: Places,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let acceptor = Arc::new(self);
        loop {
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(why) => {
                    // Out of descriptors, most likely: the next try may do.
                    tracing::warn!(%why, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(place) = acceptor.places.take(from.ip()) else {
                tracing::info!(%from, "too many connections");
                continue;
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                acceptor.serve(stream, from).await;
                drop(place);
            });
        }
    }

    async fn serve(&self, stream: TcpStream, from: SocketAddr) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let secured = match &self.tls {
            None => {
                let known = self.cfg.federation.addresses.contains(&from.ip().to_canonical());
                let origin = if known { Origin::Federation } else { Origin::Client };
                Ok((Box::new(stream) as connection::Stream, origin))
            }
            Some(acceptor) => match timeout(CONNECT, acceptor.accept(stream)).await {
                Err(_) => Err("the handshake took too long".to_owned()),
                Ok(Err(why)) => Err(why.to_string()),
                Ok(Ok(stream)) => {
                    let chain = stream.get_ref().1.peer_certificates();
                    let names = chain.and_then(|chain| chain.first()).and_then(|der| tls::identity(der));
                    let origin = names.map_or(Origin::Client, |names| {
                        let peers = &self.cfg.federation.peers;
                        let node = names.names().find_map(|name| self.cfg.node(name));
                        let known = || names.names().any(|name| peers.iter().any(|peer| peer == name));
                        match node {
                            Some(node) => Origin::Node(node),
                            None if known() => Origin::Federation,
                            None => Origin::Client,
                        }
                    });
                    Ok((Box::new(stream) as connection::Stream, origin))
                }
            },
        };
        match secured {
            Err(why) => tracing::info!(%from, why, "no connection"),
            Ok((stream, origin)) => {
                let id = ConnId(self.count.fetch_add(1, Ordering::Relaxed));
                let (sender, writer) = channel(origin);
                let peer = Peer { origin, tls: self.tls.is_some() };
                if self.events.tell(Event::Open(id, peer, sender)).await {
                    let idle = Duration::from_secs(self.cfg.limits.idle);
                    connection::run(stream, id, writer, self.events.clone(), idle).await;
                }
            }
        }
    }
}

/// Bounds on messages.
pub(crate) const LIMITS: Limits = Limits::DEFAULT;

#[cfg(test)]
mod tests {
    use super::*;

    /// 64 KiB at a time until it is too much.
    fn held(origin: Origin) -> usize {
        let (sender, _writer) = channel(origin);
        (0..1_000).take_while(|_| sender.send(vec![0; 64 << 10])).count() * (64 << 10)
    }

    #[test]
    fn who_does_not_read_is_held_so_much() {
        assert_eq!(held(Origin::Federation), MAX_UNSENT + (64 << 10));
        assert_eq!(held(Origin::Client), MAX_UNSENT_CLIENT + (64 << 10));
    }
}
