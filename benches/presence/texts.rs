// SPDX-License-Identifier: MIT OR Apache-2.0
//! Texts that foreign users say in sessions, and users' devices take one by one.
//!
//! An exchange is a MESSAGE in a session, the node's own MESSAGE to the device, its 200, and the 200 for the session: two requests and two
//! answers through the node. Kamailio, which has no such conversion, relays as many MESSAGEs as they are, in transactions, and is the measure
//! of what four messages cost.

use crate::kamailio::{Kamailio, Role};
use crate::load::{Flow, Run, connect, drive, rate as rate_of};
use crate::node::{EDGE, Node, user};
use crate::rows::Row;
use crate::talk::{Heard, Request};
use crate::{Failure, Options};
use std::collections::VecDeque;
use std::net::TcpListener;

/// Connections of the appliance, and as many of devices.
const CONNECTIONS: u32 = 4;
/// Sessions on each, and texts on their way: one in each session.
const SESSIONS: u32 = 64;

const SDP: &str = "v=0\r\no=- 0 0 IN IP4 127.0.0.2\r\ns=s\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=message 5060 sip null\r\n\
                   a=accept-types:text/plain\r\n";

/// One session.
struct Session {
    user: u32,
    to: String,
    number: u32,
}

/// Foreign users who say one thing after the other.
struct Talkers {
    sessions: Vec<Session>,
    /// Those that wait for nothing.
    free: VecDeque<usize>,
}

impl Talkers {
    fn write(session: &Session, method: &str, extra: &str, body: &str, out: &mut Vec<u8>) {
        let Session { user: n, to, number } = session;
        Request {
            method,
            uri: &format!("sip:{}", user(*n)),
            from: &format!("<sip:x{n}@foreign.example>;tag=t{n}"),
            to,
            id: &format!("s{n}"),
            number: *number,
            extra,
            body,
        }
        .write(out);
    }
}

impl Flow for Talkers {
    fn begin(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(at) = self.free.pop_front() else { return false };
        let session = &mut self.sessions[at];
        session.number += 1;
        let body = format!("Are you there? This is the {}th time that I ask.", session.number);
        Self::write(session, "MESSAGE", "Content-Type: text/plain;charset=UTF-8\r\n", &body, out);
        true
    }

    fn hear(&mut self, message: &Heard<'_>, _: &mut Vec<u8>) -> Result<u32, Failure> {
        if (message.status(), message.method()) != (Some(200), "MESSAGE") {
            return Err(message.unexpected());
        }
        let n: u32 = message.header("Call-ID").trim_start_matches('s').parse()?;
        self.free.push_back((n % SESSIONS) as usize);
        Ok(1)
    }
}

/// Makes sessions by INVITE, one for each of the talkers.
struct Inviters(Talkers);

impl Flow for Inviters {
    fn begin(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(at) = self.0.free.pop_front() else { return false };
        let extra = "Contact: <sip:x@127.0.0.2:9;transport=tcp>\r\nContent-Type: application/sdp\r\n";
        Talkers::write(&self.0.sessions[at], "INVITE", extra, SDP, out);
        true
    }

    fn hear(&mut self, message: &Heard<'_>, out: &mut Vec<u8>) -> Result<u32, Failure> {
        if (message.status(), message.method()) != (Some(200), "INVITE") {
            return Err(message.unexpected());
        }
        let n: u32 = message.header("Call-ID").trim_start_matches('s').parse()?;
        let session = &mut self.0.sessions[(n % SESSIONS) as usize];
        session.to = message.header("To").to_owned();
        Talkers::write(session, "ACK", "", "", out);
        Ok(1)
    }
}

/// Takes every text.
struct Devices;

impl Flow for Devices {
    fn begin(&mut self, _: &mut Vec<u8>) -> bool {
        false
    }

    fn hear(&mut self, message: &Heard<'_>, out: &mut Vec<u8>) -> Result<u32, Failure> {
        if message.method() != "MESSAGE" || !message.body.starts_with("Are you there?") {
            return Err(message.unexpected());
        }
        message.answer(out);
        Ok(0)
    }
}

fn talkers(connection: u32) -> Talkers {
    let first = connection * SESSIONS;
    let session = |n| Session { user: n, to: format!("<sip:{}>", user(n)), number: 1 };
    Talkers {
        sessions: (first..first + SESSIONS).map(session).collect(),
        free: (0..SESSIONS as usize).collect(),
    }
}

fn ours(options: &Options) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&options.node, folder.path(), options.cpu)?;
    let mut flows: Vec<(_, Box<dyn Flow>, u32)> = Vec::new();
    for n in 0..CONNECTIONS {
        let device = node.device(n * SESSIONS, (n + 1) * SESSIONS)?;
        flows.push((device, Box::new(Devices), 0));
        let edge = connect(EDGE, node.at)?;
        let mut inviters = Inviters(talkers(n));
        drive(&edge, &mut inviters, SESSIONS, &Run::default())?;
        inviters.0.free = (0..SESSIONS as usize).collect();
        flows.push((edge, Box::new(inviters.0), SESSIONS));
    }
    let (before, start) = (node.process.busy(), std::time::Instant::now());
    let rate = rate_of(flows, options.time())?;
    let share = (node.process.busy() - before) / start.elapsed().as_secs_f64();
    println!("fedgate: {rate:.0} a second, {:.0} us of the CPU each", share / rate * 1e6);
    node.process.quit()?;
    Ok(rate)
}

fn theirs(options: &Options) -> Result<f64, Failure> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.3:0")?;
    let kamailio = Kamailio::start(Role::Relay(listener.local_addr()?), folder.path(), options.cpu)?;
    let mut flows: Vec<(_, Box<dyn Flow>, u32)> = Vec::new();
    for n in 0..CONNECTIONS {
        flows.push((connect(EDGE, kamailio.at)?, Box::new(talkers(n)), SESSIONS));
    }
    // It opens one connection to the device when the first text comes, and its first word must not be lost.
    let accepted = std::thread::spawn(move || listener.accept());
    let mut out = Vec::new();
    let mut nobody = connect(EDGE, kamailio.at)?;
    talkers(CONNECTIONS).begin(&mut out);
    std::io::Write::write_all(&mut nobody, &out)?;
    let (device, _) = accepted.join().map_err(|_| "a thread has panicked")??;
    device.set_nodelay(true)?;
    device.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
    flows.push((device, Box::new(Devices), 0));
    rate_of(flows, options.time())
}

/// `im_messages`.
pub fn rate(options: &Options) -> Result<Row, Failure> {
    let peer = "Kamailio relaying as many in transactions, not converted";
    Ok(Row::new("im_messages", ours(options)?, "1/s", peer, theirs(options)?))
}
