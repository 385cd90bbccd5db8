// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT events to collectors, as IPFIX (RFC 7011) with the elements of RFC 8158: `flow-export destination`.
//!
//! Translated connections that begin and end, blocks of ports, exhausted pools and hosts at their bound. Records are gathered into messages of at most
//! [`MOST`](ipfix::MOST) bytes, which go when they are full or a second old, over UDP and never waiting: what the socket does not take is counted as lost.
//! Templates go with the first message and every `template timeout-rate` minutes, for UDP may lose them (RFC 7011 section 8.4). On the daemon's one thread.

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use fedgate_tables::link::{Addr, Bound, Event, FlowNote};

use super::messages::Names;
use crate::clock;
use crate::config::model::Model;
use crate::config::model::logging::{Destination, TEMPLATE_MINUTES};
use ipfix::{Body, Record};

pub mod ipfix;
#[cfg(test)]
mod tests;

/// What became of a collector's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Which.
    pub to: Destination,
    /// Messages given to the network.
    pub packets: u64,
    /// Records in them.
    pub records: u64,
    /// Records that were not.
    pub lost: u64,
    /// Why, the last time.
    pub why: String,
}

/// See the module.
#[derive(Default)]
pub struct Exporter(RefCell<State>);

#[derive(Default)]
struct State {
    feeds: Vec<(Feed, Option<UdpSocket>, Option<Instant>)>,
    again: Duration,
    body: Body,
}

impl Exporter {
    /// Sends where `model` says from now on. What is known of destinations that stay is kept.
    pub fn adopt(&self, model: &Model) {
        let mut state = self.0.borrow_mut();
        let minutes = model.export.template_minutes.unwrap_or(TEMPLATE_MINUTES);
        state.again = Duration::from_secs(u64::from(minutes) * 60);
        let mut before = std::mem::take(&mut state.feeds);
        for to in &model.export.destinations {
            let known =
                before.iter().position(|(feed, _, _)| feed.to == *to).map(|at| before.swap_remove(at));
            state.feeds.push(known.unwrap_or_else(|| {
                let feed = Feed { to: to.clone(), packets: 0, records: 0, lost: 0, why: String::new() };
                (feed, None, None)
            }));
        }
    }

    /// Whether there is anybody to tell.
    pub fn is_on(&self) -> bool {
        !self.0.borrow().feeds.is_empty()
    }

    /// An event, if it is one of NAT.
    pub fn note(&self, event: &Event, names: &impl Names) {
        if !self.is_on() {
            return;
        }
        let at = clock::now_ms();
        let mut state = self.0.borrow_mut();
        match event {
            Event::Flows { notes } => {
                notes.iter().filter_map(|note| session(note, at)).for_each(|record| state.add(&record));
            }
            Event::PortBlock { given, proto, real, mapped, first, last, .. } => state.add(&Record::Block {
                at,
                given: *given,
                proto: *proto,
                real: *real,
                mapped: *mapped,
                ports: [*first, *last],
            }),
            Event::Limit { bound: Bound::Pool { rule }, packet } => {
                let mapped = names.pool(*rule).map_or(0, |pool| pool.first.into());
                state.add(&Record::Exhausted { at, mapped, proto: packet.proto });
            }
            Event::Limit { bound: Bound::Blocks, packet } => {
                if let Addr::V4(real) = packet.src {
                    state.add(&Record::Quota { at, real });
                }
            }
            Event::Limit { bound: Bound::Conns | Bound::Class { .. }, .. }
            | Event::Denied { .. }
            | Event::TargetLost { .. }
            | Event::TlsFailed { .. }
            | Event::TlsUp { .. }
            | Event::SessionClosed { .. }
            | Event::AclHits { .. }
            | Event::Port { .. }
            | Event::Log { .. } => {}
        }
    }

    /// Sends what waits, and templates that are due; once a second.
    pub fn flush(&self) {
        let mut state = self.0.borrow_mut();
        let (again, now) = (state.again, Instant::now());
        let due =
            |told: &Option<Instant>| told.is_none_or(|told| now.saturating_duration_since(told) >= again);
        if !state.body.is_empty() || state.feeds.iter().any(|(_, _, told)| due(told)) {
            state.send(now);
        }
    }

    /// What became of the records.
    pub fn feeds(&self) -> Vec<Feed> {
        self.0.borrow().feeds.iter().map(|(feed, _, _)| feed.clone()).collect()
    }
}

/// A connection that is translated, and of IPv4.
fn session(note: &FlowNote, at: u64) -> Option<Record> {
    if !note.is_translated() {
        return None;
    }
    let ends = [note.src, note.shown_src, note.dst, note.real_dst];
    let mut v4 = [(0, 0); 4];
    for (end, place) in ends.iter().zip(&mut v4) {
        let Addr::V4(addr) = end.0 else { return None };
        *place = (addr, end.1);
    }
    let [src, shown_src, dst, real_dst] = v4;
    Some(Record::Session {
        at,
        began: note.end.is_none(),
        proto: note.proto,
        src,
        shown_src,
        dst,
        real_dst,
        interfaces: [note.in_if, note.out_if],
    })
}

impl State {
    fn add(&mut self, record: &Record) {
        if !self.body.has_room(record) {
            self.send(Instant::now());
        }
        self.body.add(record);
    }

    fn send(&mut self, now: Instant) {
        let body = std::mem::take(&mut self.body);
        let seconds = clock::now() as u32;
        for (feed, socket, told) in &mut self.feeds {
            let templates = told.is_none_or(|told| now.saturating_duration_since(told) >= self.again);
            // The sequence number counts the records before this message, sent or lost: that is how a collector sees losses.
            let sequence = (feed.records + feed.lost) as u32;
            let message = body.message(templates, seconds, sequence);
            let records = u64::from(body.records());
            match send(socket, feed.to.at, &message) {
                Ok(()) => {
                    feed.packets += 1;
                    feed.records += records;
                    if templates {
                        *told = Some(now);
                    }
                }
                Err(why) => {
                    feed.lost += records;
                    feed.why = why.to_string();
                }
            }
        }
    }
}

/// Sends without waiting, by a socket that is made where there is none.
fn send(socket: &mut Option<UdpSocket>, to: SocketAddr, message: &[u8]) -> std::io::Result<()> {
    let made = match socket {
        Some(made) => made,
        None => {
            let made = match to {
                SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
                SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
            };
            made.set_nonblocking(true)?;
            made.connect(to)?;
            socket.insert(made)
        }
    };
    // An ICMP error to an earlier datagram fails this one, which was not sent: once more.
    made.send(message).or_else(|_| made.send(message)).map(drop)
}
