// SPDX-License-Identifier: MIT OR Apache-2.0
//! The generator over sockets of the kernel, for peers that are processes of Linux.
//!
//! The same lines as in [`crate::crowd`]: callers that connect to the peer, and a listener behind it that answers. One thread, epoll, edge
//! triggered, loopback; what the kernel does for the generator's sockets is on the generator's CPU as far as it runs in its system calls.

use crate::Failure;
use crate::pki::Pki;
use crate::talk::Talker;
use rustix::event::{Timespec, epoll};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Lines that are opened at a time.
const AT_ONCE: usize = 64;
/// After so long without an event something has gone wrong.
const PATIENCE: Duration = Duration::from_secs(20);
/// How the listener is named among the connections.
const LISTENER: u64 = u64::MAX;

struct Conn {
    stream: TcpStream,
    talker: Talker,
    asks: bool,
}

/// See the module.
pub struct Sockets<'p> {
    pki: &'p Pki,
    to: SocketAddr,
    listener: TcpListener,
    epoll: OwnedFd,
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    events: Vec<epoll::Event>,
    opened: usize,
    body: usize,
    moved: Instant,
}

impl<'p> Sockets<'p> {
    /// Callers connect to `to`; what comes to `at` is answered.
    pub fn new(pki: &'p Pki, to: SocketAddr, at: SocketAddr, body: usize) -> Result<Self, Failure> {
        let listener = TcpListener::bind(at)?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        Ok(Self {
            pki,
            to,
            listener,
            epoll,
            conns: Vec::new(),
            free: Vec::new(),
            events: Vec::with_capacity(1024),
            opened: 0,
            body,
            moved: Instant::now(),
        })
    }

    /// As [`crate::crowd::Crowd::gather`].
    pub fn gather(&mut self, total: usize, once: bool) -> Result<(), Failure> {
        let mut active: Vec<usize> = Vec::new();
        while self.opened < total || !active.is_empty() {
            while active.len() < AT_ONCE && self.opened < total {
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

    /// As [`crate::crowd::Crowd::talk`].
    pub fn talk(&mut self, each: u64, at_once: u64) -> Result<(), Failure> {
        let callers: Vec<usize> =
            (0..self.conns.len()).filter(|n| self.conns[*n].as_ref().is_some_and(|c| c.asks)).collect();
        let heard = self.heard();
        for &n in &callers {
            if let Some(conn) = &mut self.conns[n] {
                conn.talker.ask(each, at_once);
            }
            self.work(n)?;
        }
        while self.heard() - heard < each * callers.len() as u64 {
            self.step()?;
        }
        Ok(())
    }

    fn heard(&self) -> u64 {
        self.conns.iter().flatten().filter(|conn| conn.asks).map(|conn| conn.talker.heard).sum()
    }

    fn call(&mut self) -> Result<usize, Failure> {
        let mut talker = Talker::asking(self.pki.caller()?, self.body);
        talker.ask(1, 1);
        self.opened += 1;
        let stream = TcpStream::connect(self.to)?;
        let n = self.add(stream, talker, true)?;
        self.work(n)?;
        Ok(n)
    }

    fn add(&mut self, stream: TcpStream, talker: Talker, asks: bool) -> Result<usize, Failure> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let n = self.free.pop().unwrap_or_else(|| {
            self.conns.push(None);
            self.conns.len() - 1
        });
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(n as u64), flags)?;
        self.conns[n] = Some(Conn { stream, talker, asks });
        Ok(n)
    }

    fn is_through(&mut self, n: usize, once: bool) -> Result<bool, Failure> {
        let Some(conn) = &mut self.conns[n] else { return Ok(true) };
        if !conn.talker.is_content() || !once {
            return Ok(conn.talker.is_content());
        }
        conn.talker.hang_up();
        self.work(n)?;
        Ok(false)
    }

    fn step(&mut self) -> Result<(), Failure> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let wait = Timespec { tv_sec: 1, tv_nsec: 0 };
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait))?;
        if !events.is_empty() {
            self.moved = Instant::now();
        } else if self.moved.elapsed() > PATIENCE {
            return Err("nothing moves any more".into());
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => {
                    while let Ok((stream, _)) = self.listener.accept() {
                        let talker = Talker::answering(self.pki.called()?);
                        self.add(stream, talker, false)?;
                    }
                }
                n => self.work(n as usize)?,
            }
        }
        self.events = events;
        Ok(())
    }

    fn work(&mut self, n: usize) -> Result<(), Failure> {
        let Some(Some(conn)) = self.conns.get_mut(n) else { return Ok(()) };
        let over = conn.talker.work(&mut conn.stream)? || conn.talker.closed;
        if over {
            if conn.asks && !conn.talker.is_content() {
                return Err("a connection was closed before its answers came".into());
            }
            self.conns[n] = None;
            self.free.push(n);
        }
        Ok(())
    }
}
