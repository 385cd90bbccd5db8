// SPDX-License-Identifier: MIT OR Apache-2.0
//! fedgate-presence as it runs in production, in a folder of its own: SQLite with a write-ahead log that is synchronised at each commit.
//!
//! Foreign users come from 127.0.0.2, devices from 127.0.0.3. There are [`USERS`] users, who let all of foreign.example see them.

use crate::Failure;
use crate::load::connect;
use crate::process::{Process, free_port};
use crate::talk::{Heard, Request, pidf};
use fedgate_sip::frame::{Frame, Framer, Limits};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

/// Users whose presence is watched, and who are spoken to.
pub const USERS: u32 = 1_000;
/// Where foreign users come from.
pub const EDGE: &str = "127.0.0.2";
/// Where devices come from.
const DEVICE: &str = "127.0.0.3";

/// A running node.
pub struct Node {
    pub process: Process,
    /// Where it listens.
    pub at: SocketAddr,
    socket: std::path::PathBuf,
}

/// A user's address.
pub fn user(n: u32) -> String {
    format!("u{}@local.example", n % USERS)
}

impl Node {
    /// Starts one on `cpu`; `folder` takes its files.
    pub fn start(program: &Path, folder: &Path, cpu: u32) -> Result<Self, Failure> {
        std::fs::create_dir_all(folder)?;
        let path = |name: &str| folder.join(name).display().to_string();
        let users: String =
            (0..USERS).map(|n| format!("[[user]]\naddress = \"{}\"\npassword = \"p\"\n", user(n))).collect();
        std::fs::write(path("users"), users)?;
        let at = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let config = format!(
            "name = \"127.0.0.1\"\nport = {}\ndomains = [\"local.example\"]\nstore = \"sqlite:{}\"\nusers = \"{}\"\ncontrol = \"{}\"\n\
             digest = [\"MD5\"]\n[[listen]]\naddress = \"{at}\"\n[federation]\npermitted = [\"foreign.example\"]\naddresses = [\"{EDGE}\"]\n\
             [limits]\nsubscriptions = 2000000\nsubscriptions-per-watcher = 1000000\n",
            at.port(),
            path("store"),
            path("users"),
            path("control")
        );
        std::fs::write(path("config"), config)?;
        let log = folder.join("log");
        let arguments = [&program.display().to_string(), "run", "--log", "warn", "--config", &path("config")];
        let mut process = Process::start(&arguments.map(AsRef::as_ref), cpu, &log)?;
        process.listens(at, &log)?;
        let node = Self { process, at, socket: folder.join("control") };
        for n in 0..USERS {
            let decision = serde_json::json!(
                { "do": "decide", "user": user(n), "who": "foreign.example", "verdict": "allow" });
            fedgate_presence::control::ask(&node.socket, &decision)?;
        }
        Ok(node)
    }

    /// What it says of itself.
    pub fn statistic(&self, name: &str) -> Result<u64, Failure> {
        let all = fedgate_presence::control::ask(&self.socket, &serde_json::json!({ "do": "statistics" }))?;
        Ok(all[name].as_u64().ok_or("no such statistic")?)
    }

    /// Connects a device of the users `from..to`, which registers and publishes that they are away.
    pub fn device(&self, from: u32, to: u32) -> Result<TcpStream, Failure> {
        let stream = connect(DEVICE, self.at)?;
        stream.set_read_timeout(None)?;
        let mut device =
            Device { stream, framer: Framer::new(Limits::DEFAULT), buffer: Vec::new(), number: 0 };
        for n in from..to {
            let user = user(n);
            let contact = format!("Contact: <sip:u{n}@127.0.0.3:9;transport=tcp>\r\n");
            device.asks("REGISTER", &user, &contact, "")?;
            let extra = "Event: presence\r\nContent-Type: application/pidf+xml\r\n";
            device.asks("PUBLISH", &user, extra, &pidf(&user))?;
        }
        device.stream.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
        Ok(device.stream)
    }
}

struct Device {
    stream: TcpStream,
    framer: Framer,
    buffer: Vec<u8>,
    number: u32,
}

impl Device {
    /// Says it, once more with the password where that is asked for.
    fn asks(&mut self, method: &str, user: &str, extra: &str, body: &str) -> Result<(), Failure> {
        let mut credentials = String::new();
        for _ in 0..2 {
            self.number += 1;
            let address = format!("<sip:{user}>");
            let mut out = Vec::new();
            let (uri, from) = (format!("sip:{user}"), format!("{address};tag=d"));
            let id = format!("d{}-{}", self.number, self.stream.local_addr()?.port());
            Request {
                method,
                uri: &uri,
                from: &from,
                to: &address,
                id: &id,
                number: self.number,
                extra: &format!("{extra}{credentials}"),
                body,
            }
            .write(&mut out);
            self.stream.write_all(&out)?;
            let frame = self.next()?;
            let answer = Heard::of(&frame)?;
            match answer.status() {
                Some(200) => return Ok(()),
                Some(401) if credentials.is_empty() => {
                    credentials = authorization(method, user, answer.header("WWW-Authenticate"));
                }
                _ => return Err(answer.unexpected()),
            }
        }
        Err("the password is not taken".into())
    }

    fn next(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            if let Frame::Message { head_len, body_len } = self.framer.next(&self.buffer)
                && !self.buffer.is_empty()
            {
                return Ok(self.buffer.drain(..head_len + body_len).collect());
            }
            let mut chunk = [0; 4096];
            let octets = self.stream.read(&mut chunk)?;
            self.buffer.extend_from_slice(&chunk[..octets]);
            if octets == 0 {
                return Err("the node has closed a device's connection".into());
            }
        }
    }
}

/// RFC 7616 with MD5.
fn authorization(method: &str, user: &str, challenge: &str) -> String {
    use md5::{Digest as _, Md5};
    let hash = |text: String| -> String {
        Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let name = user.split('@').next().unwrap_or_default();
    let nonce =
        challenge.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let (ha1, ha2) = (hash(format!("{name}:local.example:p")), hash(format!("{method}:sip:{user}")));
    let response = hash(format!("{ha1}:{nonce}:00000001:c:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"{name}\", realm=\"local.example\", nonce=\"{nonce}\", uri=\"sip:{user}\", \
         response=\"{response}\", qop=auth, nc=00000001, cnonce=\"c\", algorithm=MD5\r\n"
    )
}
