// SPDX-License-Identifier: MIT OR Apache-2.0
//! A node in a folder of its own, and peers that talk SIP to it.
//!
//! Foreign users come from 127.0.0.1 and 127.0.0.2, which the node's configuration names as its peers; devices from 127.0.0.3. Everything is killed by
//! its id when the test ends.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fedgate_sip::frame::{Frame, Framer, Limits};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Where foreign users come from.
pub const EDGE: &str = "127.0.0.2:0";
/// Where devices come from.
pub const DEVICE: &str = "127.0.0.3:0";

pub struct Node {
    child: Option<Child>,
    output: Option<std::io::Lines<BufReader<std::process::ChildStdout>>>,
    pub addresses: Vec<SocketAddr>,
    pub dir: tempfile::TempDir,
}

impl Node {
    /// Starts one; `extra` is put behind the configuration.
    pub fn start(listen: &str, extra: &str) -> Self {
        Self::with(listen, extra, "\"127.0.0.1\", \"127.0.0.2\"")
    }

    /// With other addresses that foreign users come from.
    pub fn with(listen: &str, extra: &str, peers: &str) -> Self {
        Self::on(None, listen, extra, peers)
    }

    /// On a store of its own in its folder, or on the one with this URL.
    pub fn on(store: Option<&str>, listen: &str, extra: &str, peers: &str) -> Self {
        let mut node = Self::written(store, listen, extra, peers);
        node.run();
        node
    }

    /// One that has not been started.
    pub fn written(store: Option<&str>, listen: &str, extra: &str, peers: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let own = format!("sqlite:{}", path("store"));
        let store = store.unwrap_or(&own);
        let users = "[[user]]\naddress = \"bob@local.example\"\nname = \"Bob\"\npassword = \"b\"\n\
                     [[user]]\naddress = \"ann@local.example\"\npassword = \"a\"\n";
        std::fs::write(path("users"), users).expect("written");
        let config = format!(
            "name = \"cup.local.example\"\nport = 5060\ndomains = [\"local.example\"]\nstore = \"{store}\"\nusers = \"{}\"\n\
             control = \"{}\"\n{listen}\n[federation]\npermitted = [\"foreign.example\"]\naddresses = [{peers}]\n\
             peers = [\"border.example\"]\n{extra}",
            path("users"),
            path("control")
        );
        std::fs::write(path("config"), config).expect("written");
        Self { child: None, output: None, addresses: Vec::new(), dir }
    }

    pub fn plain() -> Self {
        Self::start("[[listen]]\naddress = \"127.0.0.1:0\"", "")
    }

    pub fn run(&mut self) {
        self.spawn();
        self.serves();
    }

    /// Starts it; it may wait for its store.
    pub fn spawn(&mut self) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fedgate-presence"))
            .args(["run", "--log", "warn", "--config"])
            .arg(self.dir.path().join("config"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        self.output = child.stdout.take().map(|output| BufReader::new(output).lines());
        self.child = Some(child);
    }

    /// Waits until it serves.
    pub fn serves(&mut self) {
        let listeners = std::fs::read_to_string(self.dir.path().join("config")).expect("a configuration");
        let count = listeners.matches("[[listen]]").count() + listeners.matches("[web]").count();
        let lines = self.output.as_mut().expect("its output");
        self.addresses = (0..count)
            .map(|_| {
                let line = lines.next().expect("a line").expect("text");
                line.strip_prefix("listening on ").expect("an address").parse().expect("an address")
            })
            .collect();
    }

    /// Whether it ended well, when it has ended by itself.
    pub fn ends(&mut self) -> bool {
        self.child.take().expect("running").wait().expect("ended").success()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("killed");
            child.wait().expect("gone");
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("control")
    }

    pub fn ask(&self, command: &Value) -> Result<Value, String> {
        fedgate_presence::control::ask(&self.socket(), command)
    }

    pub fn show(&self, user: &str) -> Value {
        self.ask(&serde_json::json!({ "do": "show", "user": user })).expect("told")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What a peer gets to hear.
#[derive(Debug, PartialEq)]
pub enum Heard {
    Message(String),
    /// The node has closed the connection.
    Closed,
    /// Nothing in five seconds.
    Nothing,
}

/// One connection to the node.
pub struct Peer {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    framer: Framer,
    cseq: u32,
    /// In its Via branches and Call-IDs.
    name: String,
}

impl Peer {
    pub async fn connect(from: &str, to: SocketAddr) -> Self {
        Self::over(Box::new(connect(from, to).await), from)
    }

    pub fn over(stream: Box<dyn Stream>, name: &str) -> Self {
        // No two connections of a test are the same device.
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", name.replace([':', '.'], "-"));
        Self { stream, buffer: Vec::new(), framer: Framer::new(Limits::DEFAULT), cseq: 0, name }
    }

    pub async fn send(&mut self, text: &str) {
        assert!(self.try_send(text).await, "sent to {}", self.name);
    }

    /// Whether it could be sent: not if the node has closed.
    pub async fn try_send(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).await.is_ok() && self.stream.flush().await.is_ok()
    }

    /// Says that nothing more will come.
    pub async fn shut(&mut self) {
        self.stream.shutdown().await.expect("shut");
    }

    /// The next message; `None` when the node has closed, or says nothing for five seconds.
    pub async fn receive(&mut self) -> Option<String> {
        match self.next().await {
            Heard::Message(text) => Some(text),
            Heard::Closed | Heard::Nothing => None,
        }
    }

    /// What comes next.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.framer.next(&self.buffer) {
                Frame::Message { head_len, body_len } if !self.buffer.is_empty() => {
                    let frame: Vec<u8> = self.buffer.drain(..head_len + body_len).collect();
                    return Heard::Message(String::from_utf8(frame).expect("text"));
                }
                Frame::KeepAlive { len } if !self.buffer.is_empty() => {
                    self.buffer.drain(..len);
                    continue;
                }
                Frame::Bad(why) => panic!("the node sends {why}"),
                _ => {}
            }
            let read =
                tokio::time::timeout(Duration::from_secs(5), self.stream.read_buf(&mut self.buffer)).await;
            match read {
                Ok(Ok(octets)) if octets > 0 => {}
                Ok(_) => return Heard::Closed,
                Err(_) => return Heard::Nothing,
            }
        }
    }

    /// The response to the last request, whatever else comes being answered 200.
    pub async fn response(&mut self) -> Option<String> {
        loop {
            let message = self.receive().await?;
            if message.starts_with("SIP/2.0 ") {
                return Some(message);
            }
            self.answer(&message, 200).await;
        }
    }

    pub async fn answer(&mut self, request: &str, status: u16) {
        let keep = |line: &&str| {
            ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|name| line.starts_with(name))
        };
        let copied: String =
            request.lines().take_while(|l| !l.is_empty()).filter(keep).map(|l| format!("{l}\r\n")).collect();
        let text = format!("SIP/2.0 {status} X\r\n{copied}Content-Length: 0\r\n\r\n");
        self.send(&text).await;
    }

    /// Sends a request outside of a dialog; its From tag is `t` and a number.
    pub async fn request(&mut self, method: &str, from: &str, to: &str, extra: &str, body: &str) {
        self.cseq += 1;
        let (n, name) = (self.cseq, &self.name);
        let text = format!(
            "{method} sip:{to} SIP/2.0\r\nVia: SIP/2.0/TCP {name}.example;branch=z9hG4bK{name}{n}\r\nFrom: <sip:{from}>;tag=t{n}\r\n\
             To: <sip:{to}>\r\nCall-ID: {name}-{n}\r\nCSeq: {n} {method}\r\nMax-Forwards: 70\r\n{extra}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(&text).await;
    }

    /// Registers a device on this connection; by MD5, as old devices do.
    pub async fn register(&mut self, user: &str, password: &str) {
        let address = format!("{user}@local.example");
        let contact = format!("Contact: <sip:{user}@127.0.0.3:9;transport=tcp>\r\n");
        self.request("REGISTER", &address, &address, &contact, "").await;
        let challenge = self.response().await.expect("a challenge");
        let offered = challenge.lines().find(|line| line.contains("algorithm=MD5")).expect("MD5");
        let nonce =
            offered.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a nonce");
        let hash = |text: String| -> String {
            use md5::{Digest as _, Md5};
            Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let uri = format!("sip:{address}");
        let (ha1, ha2) = (hash(format!("{user}:local.example:{password}")), hash(format!("REGISTER:{uri}")));
        let response = hash(format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
        let credentials = format!(
            "Authorization: Digest username=\"{user}\", realm=\"local.example\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", qop=auth, nc=00000001, cnonce=\"c\", algorithm=MD5\r\n{contact}"
        );
        self.request("REGISTER", &address, &address, &credentials, "").await;
        let answer = self.response().await.expect("an answer");
        assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    }
}

/// A plain connection from a loopback address.
pub async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(from.parse().expect("an address")).expect("bound");
    let stream = socket.connect(to).await.expect("connected");
    stream.set_nodelay(true).expect("set");
    stream
}

/// The value of a header.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let start = format!("{name}: ");
    message.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
}

pub fn status(message: &str) -> u16 {
    message.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}
