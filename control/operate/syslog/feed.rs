// SPDX-License-Identifier: MIT OR Apache-2.0
//! One collector: a bounded queue, and the task that empties it over UDP, TCP or TLS.
//!
//! A connection that fails is made again after a pause that doubles from [`PAUSE_FIRST`] to [`PAUSE_MOST`]. Meanwhile the queue fills, and
//! what comes then is lost and counted. Messages that a connection did not take are sent over the next one, so that a collector may see
//! some twice. Over a stream the ASA's form ends in a line feed (RFC 6587 section 3.4.2), that of RFC 5424 begins with
//! its length (section 3.4.1, and RFC 5425 section 4.3). That a collector went is seen by its closing, or by [`STALL`] without progress.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Back;
use super::tls::Trust;
use crate::config::model::logging::{HostForm, HostKey, Transport};
use crate::operate::messages::Message;

/// How long connecting, TLS included, or a piece of the stream may take.
pub const STALL: Duration = Duration::from_secs(10);
/// First pause before another connection.
pub const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest one.
pub const PAUSE_MOST: Duration = Duration::from_secs(60);
/// Messages of one piece.
const A_PIECE: usize = 64;
/// Between two lines of the log about losses.
const REPORT: Duration = Duration::from_secs(10);

/// What became of a collector's messages.
#[derive(Debug, Default)]
pub struct Counts {
    /// Given to the network.
    pub sent: Cell<u64>,
    /// Lost: no room in the queue, or refused by the network.
    pub lost: Cell<u64>,
    /// Connections made.
    pub connections: Cell<u64>,
    /// There is one; always so of UDP.
    pub up: Cell<bool>,
    /// Why there is none.
    pub why: RefCell<String>,
    reported: Cell<Option<(Instant, u64)>>,
}

impl Counts {
    fn lose(&self, host: &HostKey, messages: u64) {
        self.lost.set(self.lost.get() + messages);
        let now = Instant::now();
        let (last, told) = self.reported.get().map_or((None, 0), |(last, told)| (Some(last), told));
        if last.is_none_or(|last| now.saturating_duration_since(last) >= REPORT) {
            let messages = self.lost.get() - told;
            tracing::warn!(messages, "messages lost that were for the collector {host}");
            self.reported.set(Some((now, self.lost.get())));
        }
    }
}

/// See the module. Dropping it ends its task.
pub struct Feed {
    key: HostKey,
    form: HostForm,
    trust: Option<Trust>,
    queue: mpsc::Sender<Rc<str>>,
    counts: Rc<Counts>,
    task: AbortHandle,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    /// Begins to send.
    pub(super) fn start(
        key: &HostKey,
        form: &HostForm,
        trust: Option<Trust>,
        most: usize,
        counts: Rc<Counts>,
        back: Back,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(most);
        let sender = Sender {
            key: key.clone(),
            form: form.clone(),
            trust: trust.clone(),
            waiting,
            unsent: Vec::new(),
            counts: counts.clone(),
            back,
        };
        counts.up.set(false);
        let task = tokio::task::spawn_local(sender.run()).abort_handle();
        Self { key: key.clone(), form: form.clone(), trust, queue, counts, task }
    }

    /// Whether it is what these would make.
    pub(super) fn is_as(&self, form: &HostForm, trust: Option<&Trust>, most: usize) -> bool {
        self.form == *form && self.trust.as_ref() == trust && self.queue.max_capacity() == most
    }

    /// Puts a message to the others, or counts it as lost.
    pub(super) fn put(&self, message: Rc<str>) {
        if self.queue.try_send(message).is_err() {
            self.counts.lose(&self.key, 1);
        }
    }

    /// What it is sent.
    pub fn form(&self) -> &HostForm {
        &self.form
    }

    /// What became of it.
    pub fn counts(&self) -> &Rc<Counts> {
        &self.counts
    }
}

struct Sender {
    key: HostKey,
    form: HostForm,
    trust: Option<Trust>,
    waiting: mpsc::Receiver<Rc<str>>,
    /// Taken from the queue and not yet taken by a connection.
    unsent: Vec<Rc<str>>,
    counts: Rc<Counts>,
    back: Back,
}

impl Drop for Sender {
    /// What waits for a collector that is no more, or that is another now, is lost.
    fn drop(&mut self) {
        let left = self.unsent.len() + self.waiting.len();
        if left > 0 {
            self.counts.lose(&self.key, left as u64);
        }
    }
}

impl Sender {
    /// For as long as the collector is configured.
    async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        let mut failing = false;
        loop {
            let (before, made) = (self.counts.sent.get(), self.counts.connections.get());
            let ended = match self.key.transport {
                Transport::Udp => self.over_udp().await,
                Transport::Tcp => self.over_tcp().await,
            };
            let Err(why) = ended else { return };
            let was_up = self.counts.up.replace(false);
            self.counts.why.replace(why.to_string());
            if was_up || !failing {
                tracing::warn!("the collector {} is not reached: {why}", self.key);
                if self.key.transport == Transport::Tcp {
                    self.back.tell(&self.turned(3, 414_003));
                }
            }
            failing = true;
            if self.counts.sent.get() > before && self.counts.connections.get() > made {
                pause = PAUSE_FIRST;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MOST);
        }
    }

    fn turned(&self, severity: u8, number: u32) -> Message {
        let HostKey { interface, address, port, .. } = &self.key;
        let what = match number {
            414_003 => {
                " not responding. New connections are permitted based on logging permit-hostdown policy"
            }
            _ => " - Connection restored",
        };
        Message { severity, number, text: format!("TCP Syslog Server {interface}:{address}/{port}{what}") }
    }

    fn is_up(&self) {
        self.counts.up.set(true);
        let made = self.counts.connections.get() + 1;
        self.counts.connections.set(made);
        self.counts.why.borrow_mut().clear();
        if made > 1 && self.key.transport == Transport::Tcp {
            tracing::info!("the collector {} is reached again", self.key);
            self.back.tell(&self.turned(6, 414_004));
        }
    }

    /// What waits, at least one message; `None` when there will be no more.
    async fn next(&mut self) -> Option<()> {
        if self.unsent.is_empty() && self.waiting.recv_many(&mut self.unsent, A_PIECE).await == 0 {
            return None;
        }
        Some(())
    }

    async fn over_udp(&mut self) -> io::Result<()> {
        let remote = SocketAddr::new(self.key.address, self.key.port);
        let any: IpAddr = match remote {
            SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(remote).await?;
        self.is_up();
        while self.next().await.is_some() {
            self.unsent.reverse();
            while let Some(message) = self.unsent.last().cloned() {
                // An ICMP error to an earlier datagram fails this one, which was not sent: once more.
                let mut sent = socket.send(message.as_bytes()).await;
                if sent.is_err() {
                    sent = socket.send(message.as_bytes()).await;
                }
                self.unsent.pop();
                match sent {
                    Ok(_) => self.counts.sent.set(self.counts.sent.get() + 1),
                    Err(why) => {
                        self.counts.why.replace(why.to_string());
                        self.counts.lose(&self.key, 1);
                    }
                }
            }
        }
        Ok(())
    }

    async fn over_tcp(&mut self) -> io::Result<()> {
        let client = match &self.trust {
            None => None,
            Some(trust) => Some(trust.client().map_err(io::Error::other)?),
        };
        let remote = SocketAddr::new(self.key.address, self.key.port);
        let stream = timeout(STALL, TcpStream::connect(remote)).await??;
        stream.set_nodelay(true)?;
        match client {
            None => self.over(stream).await,
            Some(client) => {
                let secured = timeout(STALL, self.secure(client, stream)).await??;
                self.over(secured).await
            }
        }
    }

    async fn secure(
        &self,
        client: Arc<ClientConfig>,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let named = self.form.secure.as_ref().and_then(|secure| secure.identity.clone());
        let name = match named {
            Some(name) => ServerName::try_from(name).map_err(io::Error::other)?,
            None => ServerName::IpAddress(self.key.address.into()),
        };
        TlsConnector::from(client).connect(name, stream).await
    }

    /// Until the stream, or the queue, ends.
    async fn over(&mut self, stream: impl AsyncRead + AsyncWrite) -> io::Result<()> {
        let (mut reader, mut writer) = split(stream);
        self.is_up();
        let mut piece = Vec::new();
        let mut answer = [0; 256];
        loop {
            tokio::select! {
                next = self.next() => if next.is_none() {
                    return timeout(STALL, writer.shutdown()).await?;
                },
                // A collector says nothing; its end is what there is to read.
                read = reader.read(&mut answer) => match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => continue,
                },
            }
            piece.clear();
            for message in &self.unsent {
                if self.form.rfc5424 {
                    piece.extend_from_slice(format!("{} {message}", message.len()).as_bytes());
                } else {
                    piece.extend_from_slice(message.as_bytes());
                    piece.push(b'\n');
                }
            }
            timeout(STALL, writer.write_all(&piece)).await??;
            timeout(STALL, writer.flush()).await??;
            self.counts.sent.set(self.counts.sent.get() + self.unsent.len() as u64);
            self.unsent.clear();
        }
    }
}
