// SPDX-License-Identifier: MIT OR Apache-2.0
//! Watchers that subscribe, each another foreign user, to users whose presence is published.
//!
//! An exchange is SUBSCRIBE, its 200, the first NOTIFY with the user's document, and its 200. All watchers come over [`CONNECTIONS`]
//! connections, as they do from an appliance, and stay.

use crate::kamailio::{Database, Kamailio, Role};
use crate::load::{Flow, Run, connect, drive, rate as rate_of};
use crate::node::{EDGE, Node, USERS, user};
use crate::process::Process;
use crate::rows::Row;
use crate::talk::{Heard, Request, pidf};
use crate::{Failure, Options};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;

/// Connections of the appliance.
const CONNECTIONS: u32 = 4;
/// Exchanges open on each.
const WINDOW: u32 = 64;
/// Subscriptions whose memory is weighed.
const WEIGHED: u32 = 100_000;

struct Watchers {
    next: u32,
    /// One past the last.
    end: u32,
    /// Where NOTIFYs are to come.
    contact: String,
    /// The answer or the NOTIFY has come, by number.
    half: std::collections::HashSet<u32>,
}

impl Watchers {
    fn new(stream: &TcpStream, first: u32, end: u32) -> Result<Self, Failure> {
        let contact = format!(
            "Contact: <sip:x@{};transport=tcp>\r\nEvent: presence\r\nExpires: 7200\r\n",
            stream.local_addr()?
        );
        Ok(Self { next: first, end, contact, half: std::collections::HashSet::new() })
    }
}

impl Flow for Watchers {
    fn begin(&mut self, out: &mut Vec<u8>) -> bool {
        if self.next >= self.end {
            return false;
        }
        let (n, user) = (self.next, user(self.next));
        self.next += 1;
        Request {
            method: "SUBSCRIBE",
            uri: &format!("sip:{user}"),
            from: &format!("<sip:x{n}@foreign.example>;tag=t{n}"),
            to: &format!("<sip:{user}>"),
            id: &format!("{n}"),
            number: 1,
            extra: &self.contact,
            body: "",
        }
        .write(out);
        true
    }

    fn hear(&mut self, message: &Heard<'_>, out: &mut Vec<u8>) -> Result<u32, Failure> {
        match (message.status(), message.method()) {
            (Some(200 | 202), "SUBSCRIBE") => {}
            (None, "NOTIFY") if message.body.contains("away") => message.answer(out),
            _ => return Err(message.unexpected()),
        }
        let n = message.header("Call-ID").parse()?;
        if self.half.insert(n) {
            return Ok(0);
        }
        self.half.remove(&n);
        Ok(1)
    }
}

/// Publishes for users, one after the other.
struct Publisher(std::ops::Range<u32>);

impl Flow for Publisher {
    fn begin(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(n) = self.0.next() else { return false };
        let user = user(n);
        Request {
            method: "PUBLISH",
            uri: &format!("sip:{user}"),
            from: &format!("<sip:{user}>;tag=p{n}"),
            to: &format!("<sip:{user}>"),
            id: &format!("p{n}"),
            number: 1,
            extra: "Event: presence\r\nExpires: 7200\r\nContent-Type: application/pidf+xml\r\n",
            body: &pidf(&user),
        }
        .write(out);
        true
    }

    fn hear(&mut self, message: &Heard<'_>, _: &mut Vec<u8>) -> Result<u32, Failure> {
        if message.status() == Some(200) { Ok(1) } else { Err(message.unexpected()) }
    }
}

/// Exchanges a second, and microseconds of the CPU for each.
struct Speed(f64, f64);

fn measure(at: SocketAddr, process: &Process, options: &Options) -> Result<Speed, Failure> {
    let flows: Result<Vec<_>, Failure> = (0..CONNECTIONS)
        .map(|n| {
            let stream = connect(EDGE, at)?;
            let flow: Box<dyn Flow> = Box::new(Watchers::new(&stream, n * 100_000_000, u32::MAX)?);
            Ok((stream, flow, WINDOW))
        })
        .collect();
    let (before, start) = (process.busy(), std::time::Instant::now());
    let rate = rate_of(flows?, options.time())?;
    let share = (process.busy() - before) / start.elapsed().as_secs_f64();
    Ok(Speed(rate, share / rate * 1e6))
}

/// Starts Kamailio with everybody's presence published.
fn published(database: Database, options: &Options) -> Result<(tempfile::TempDir, Kamailio), Failure> {
    let folder = tempfile::tempdir()?;
    let kamailio = Kamailio::start(Role::Presence(database), folder.path(), options.cpu)?;
    drive(&connect(EDGE, kamailio.at)?, &mut Publisher(0..USERS), 8, &Run::default())?;
    Ok((folder, kamailio))
}

fn node(options: &Options) -> Result<(tempfile::TempDir, Node, TcpStream), Failure> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&options.node, folder.path(), options.cpu)?;
    let device = node.device(0, USERS)?;
    Ok((folder, node, device))
}

/// `subscribe_notify`: beside the faster of Kamailio's databases.
pub fn rate(options: &Options) -> Result<Row, Failure> {
    let (folder, node, device) = node(options)?;
    let ours = measure(node.at, &node.process, options)?;
    println!("fedgate: {:.0} a second, {:.0} us of the CPU each", ours.0, ours.1);
    node.process.quit()?;
    drop((device, folder));
    let mut best = (0.0, "");
    for (database, name) in [(Database::Sqlite, "SQLite"), (Database::Postgres, "PostgreSQL")] {
        let (folder, kamailio) = published(database, options)?;
        let speed = measure(kamailio.at, &kamailio.process, options)?;
        println!("Kamailio with {name}: {:.0} a second, {:.0} us of the CPU each", speed.0, speed.1);
        if speed.0 > best.0 {
            best = (speed.0, name);
        }
        drop((kamailio, folder));
    }
    let peer = format!("Kamailio's presence with {}, written through", best.1);
    Ok(Row::new("subscribe_notify", ours.0, "1/s", &peer, best.0))
}

/// Subscribes [`WEIGHED`] watchers.
fn weigh(at: SocketAddr, process: &Process) -> Result<f64, Failure> {
    let run = Run::default();
    let stream = connect(EDGE, at)?;
    let mut flow = Watchers::new(&stream, 0, WEIGHED)?;
    drive(&stream, &mut flow, CONNECTIONS * WINDOW, &run)?;
    if run.done.load(Ordering::Relaxed) != u64::from(WEIGHED) {
        return Err("not all have subscribed".into());
    }
    Ok(process.mebibytes())
}

/// `subscriptions_mib`: beside Kamailio with none of it in its database.
pub fn memory(options: &Options) -> Result<Row, Failure> {
    let (folder, node, device) = node(options)?;
    let ours = weigh(node.at, &node.process)?;
    if node.statistic("subscriptions")? != u64::from(WEIGHED) {
        return Err("the node does not hold all subscriptions".into());
    }
    node.process.quit()?;
    drop((device, folder));
    let (_folder, kamailio) = published(Database::Memory, options)?;
    let theirs = weigh(kamailio.at, &kamailio.process)?;
    Ok(Row::times_less("subscriptions_mib", ours, "MiB", "Kamailio's presence, in memory only", theirs))
}
