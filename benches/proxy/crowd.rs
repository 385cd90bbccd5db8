// SPDX-License-Identifier: MIT OR Apache-2.0
//! The generator where the network is ours: pairs of hosts with something in the middle, and packets carried between them.
//!
//! A line is a foreign edge that calls the public address, and the inside server that the call ends at; what joins them is a
//! [`Middle`], the engine in this process or the whole appliance behind its ports. One thread, no clock but for TCP's timers. Nothing is lost on
//! purpose; what a port had no room for is sent again by TCP, for which every host is looked at now and then.

use crate::Failure;
use crate::host::{self, Addr, Host};
use crate::pki::Pki;
use crate::talk::Talker;
use fedgate_proxy::Leg;
use smoltcp::iface::Interface;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The address that is called, 198.51.100.3.
pub const PUBLIC: Addr = (0xc633_6403, 5061);
/// The inside server, 10.10.0.11.
pub const SERVER: Addr = (0x0a0a_000b, 5061);
/// The first of the callers, 203.0.113.1, and ports a host has.
const CALLERS: u32 = 0xcb00_7101;
const PORTS: u32 = 50_000;
/// Lines that are opened at a time.
const AT_ONCE: usize = 64;
/// After so long without a packet something has gone wrong, and after so long TCP is asked for what it has to repeat.
const PATIENCE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(300);

/// What is measured.
pub trait Middle {
    /// Takes an IPv4 packet that a host of this leg sent.
    fn input(&mut self, leg: Leg, packet: &[u8]) -> Result<(), Failure>;

    /// Does what time asks for, and puts what goes to the hosts behind `out`.
    fn output(&mut self, out: &mut VecDeque<(Leg, Vec<u8>)>) -> Result<(), Failure>;

    /// Seconds of a CPU spent so far.
    fn busy(&self) -> f64;
}

struct Line {
    client: Host,
    server: Host,
}

/// See the module.
pub struct Crowd<'p, M> {
    /// What joins the hosts.
    pub middle: M,
    pki: &'p Pki,
    link: Interface,
    lines: Vec<Option<Box<Line>>>,
    air: VecDeque<(Leg, Vec<u8>)>,
    sent: Vec<Vec<u8>>,
    started: Instant,
    moved: Instant,
    asked: Instant,
    buffer: usize,
    /// Bytes of text in a message, of the lines that come.
    pub body: usize,
}

impl<'p, M: Middle> Crowd<'p, M> {
    /// Hosts with TCP buffers of `buffer` bytes that send messages with `body` bytes of text.
    pub fn new(middle: M, pki: &'p Pki, buffer: usize, body: usize) -> Self {
        let now = Instant::now();
        Self {
            middle,
            pki,
            link: host::link(),
            lines: Vec::new(),
            air: VecDeque::new(),
            sent: Vec::new(),
            started: now,
            moved: now,
            asked: now,
            buffer,
            body,
        }
    }

    /// Opens lines until there have been `total`, some at a time, with a request and its answer on each; with `once` each ends with that.
    pub fn gather(&mut self, total: usize, once: bool) -> Result<(), Failure> {
        let mut active: Vec<usize> = Vec::new();
        while self.lines.len() < total || !active.is_empty() {
            while active.len() < AT_ONCE && self.lines.len() < total {
                active.push(self.call()?);
            }
            self.step()?;
            let mut n = 0;
            while n < active.len() {
                if self.is_through(active[n], once)? { _ = active.swap_remove(n) } else { n += 1 }
            }
        }
        Ok(())
    }

    /// Lets the lines from number `first` on ask `each` requests, `at_once` unanswered at a time, until all are answered.
    pub fn talk(&mut self, first: usize, each: u64, at_once: u64) -> Result<(), Failure> {
        let heard = self.heard();
        let lines: Vec<usize> = (first..self.lines.len()).filter(|n| self.lines[*n].is_some()).collect();
        for &n in &lines {
            if let Some(line) = &mut self.lines[n] {
                line.client.talker.ask(each, at_once);
            }
            self.touch(n, Leg::Client)?;
        }
        while self.heard() - heard < each * lines.len() as u64 {
            // Looking at all lines is not for every packet.
            for _ in 0..lines.len().div_ceil(8) {
                self.step()?;
            }
        }
        Ok(())
    }

    /// Has every line ask `each` requests, one line after the other in turn, with `at_once` of them unanswered among all.
    pub fn go_round(&mut self, each: u64, at_once: u64) -> Result<(), Failure> {
        let (mut asked, heard) = (0, self.heard());
        // Looking at all lines is not for every packet: what each has heard is counted where it hears.
        let mut counted = heard;
        for _ in 0..each {
            for n in 0..self.lines.len() {
                while asked + heard >= counted + at_once {
                    counted += self.step()?;
                }
                let Some(line) = &mut self.lines[n] else { continue };
                line.client.talker.ask(1, 1);
                self.touch(n, Leg::Client)?;
                asked += 1;
            }
        }
        while counted < asked + heard {
            counted += self.step()?;
        }
        Ok(())
    }

    /// Has every line from number `first` on ask a request, and gives the packets that say it instead of sending them.
    pub fn prepare(&mut self, first: usize) -> Result<Packets, Failure> {
        let mut packets = Packets::new();
        for n in first..self.lines.len() {
            if let Some(line) = &mut self.lines[n] {
                line.client.talker.ask(1, 1);
            }
            self.host(n, Leg::Client, None)?;
            packets.extend(self.sent.drain(..).map(|packet| (Leg::Client, packet)));
        }
        Ok(packets)
    }

    /// Gives packets that came to their hosts, and what those say to it instead of sending it.
    pub fn digest(&mut self, came: Packets) -> Result<Packets, Failure> {
        let mut packets = Packets::new();
        for (leg, packet) in came {
            if let Some(n) = line_of(leg, &packet) {
                self.host(n, leg, Some(&packet))?;
                packets.extend(self.sent.drain(..).map(|packet| (leg, packet)));
            }
        }
        Ok(packets)
    }

    /// Lines there have been.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Answers that callers have had.
    fn heard(&self) -> u64 {
        self.lines.iter().flatten().map(|line| line.client.talker.heard).sum()
    }

    /// A new line's first packet.
    fn call(&mut self) -> Result<usize, Failure> {
        let n = self.lines.len();
        let mut talker = Talker::asking(self.pki.caller()?, self.body);
        talker.ask(1, 1);
        let client = Host::call(&mut self.link, caller(n as u32), PUBLIC, talker, self.buffer)?;
        let server = Host::listen(SERVER, Talker::answering(self.pki.called()?), self.buffer)?;
        self.lines.push(Some(Box::new(Line { client, server })));
        self.touch(n, Leg::Client)?;
        Ok(n)
    }

    /// Whether a line has done what it was opened for.
    fn is_through(&mut self, n: usize, once: bool) -> Result<bool, Failure> {
        let Some(line) = &mut self.lines[n] else { return Ok(true) };
        if !line.client.talker.is_content() {
            return Ok(false);
        }
        if !once {
            return Ok(true);
        }
        if line.client.is_over() && line.server.is_over() {
            self.lines[n] = None;
            return Ok(true);
        }
        line.client.talker.hang_up();
        self.touch(n, Leg::Client)?;
        Ok(false)
    }

    /// Carries what is in the air, each packet with what follows from it. Gives how many answers callers had by that.
    fn step(&mut self) -> Result<u64, Failure> {
        self.middle.output(&mut self.air)?;
        if self.air.is_empty() {
            self.wait()?;
            return Ok(0);
        }
        self.moved = Instant::now();
        let mut answers = 0;
        for _ in 0..self.air.len() {
            let Some((leg, packet)) = self.air.pop_front() else { break };
            if let Some(n) = line_of(leg, &packet) {
                let before = self.heard_by(n);
                self.work(n, leg, Some(&packet))?;
                answers += self.heard_by(n) - before;
            }
        }
        Ok(answers)
    }

    fn heard_by(&self, n: usize) -> u64 {
        self.lines.get(n).and_then(Option::as_ref).map_or(0, |line| line.client.talker.heard)
    }

    /// Nothing moves: TCP may have something to repeat.
    fn wait(&mut self) -> Result<(), Failure> {
        let silent = self.moved.elapsed();
        if silent > PATIENCE {
            return Err("nothing moves any more".into());
        }
        if silent > SILENCE && self.asked.elapsed() > SILENCE {
            self.asked = Instant::now();
            for n in 0..self.lines.len() {
                self.touch(n, Leg::Client)?;
                self.touch(n, Leg::Server)?;
            }
        }
        Ok(())
    }

    fn touch(&mut self, n: usize, leg: Leg) -> Result<(), Failure> {
        self.work(n, leg, None)
    }

    fn work(&mut self, n: usize, leg: Leg, packet: Option<&[u8]>) -> Result<(), Failure> {
        self.host(n, leg, packet)?;
        for packet in self.sent.drain(..) {
            self.middle.input(leg, &packet)?;
        }
        Ok(())
    }

    /// Has a host do what it can; what it says stays in `sent`.
    fn host(&mut self, n: usize, leg: Leg, packet: Option<&[u8]>) -> Result<(), Failure> {
        let Some(Some(line)) = self.lines.get_mut(n) else { return Ok(()) };
        let host = match leg {
            Leg::Client => &mut line.client,
            Leg::Server => &mut line.server,
        };
        let now = smoltcp::time::Instant::from_micros(self.started.elapsed().as_micros() as i64);
        host.work(&mut self.link, now, packet, &mut self.sent)
    }
}

/// Packets with the leg that they are on.
pub type Packets = Vec<(Leg, Vec<u8>)>;

/// The line of a packet that comes to its host on `leg`.
pub fn line_of(leg: Leg, packet: &[u8]) -> Option<usize> {
    let (from, to) = ends(packet);
    number(if leg == Leg::Client { to } else { from })
}

/// The caller of a line.
pub fn caller(n: u32) -> Addr {
    (CALLERS + n / PORTS, (10_000 + n % PORTS) as u16)
}

/// The line of a caller.
pub fn number((addr, port): Addr) -> Option<usize> {
    let port = u32::from(port).checked_sub(10_000)?;
    Some((addr.checked_sub(CALLERS)? * PORTS + port) as usize)
}

/// Source and destination of an IPv4 packet without options.
pub fn ends(packet: &[u8]) -> (Addr, Addr) {
    let word =
        |at: usize| packet.get(at..at + 4).map_or([0; 4], |bytes| [bytes[0], bytes[1], bytes[2], bytes[3]]);
    let ports = word(20);
    (
        (u32::from_be_bytes(word(12)), u16::from_be_bytes([ports[0], ports[1]])),
        (u32::from_be_bytes(word(16)), u16::from_be_bytes([ports[2], ports[3]])),
    )
}
