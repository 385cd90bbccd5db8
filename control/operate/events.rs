// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the dataplane tells unasked, as log lines, at a bounded rate.
//!
//! Texts that a peer chose (domains, Call-IDs, certificate names) are escaped, so that no peer can write lines of its own into the
//! log or colours onto a terminal. At most [`RATE`] lines a second after a burst of [`BURST`]; what is over is counted and told
//! with the next line that passes. Collectors ([`super::syslog`]) are told all, as far as the configuration says. Denied packets, which anybody can send, have a rate of their own, and so has 106100.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use fedgate_tables::link::{AclFlow, BY_LEVEL, Bound, End2, Event, NO_CONNECTION};

use super::acl_log::{AclLog, Taken};
use super::export::Exporter;
use super::messages::{self, Message, Names, sessions};
use super::syslog::Syslog;
use crate::config::Config;

/// Lines a second.
pub const RATE: f64 = 50.0;
/// Edges remembered that did not answer.
const LOST_EDGES: usize = 1024;
/// Lines at once.
pub const BURST: f64 = 200.0;

/// A token bucket.
pub struct Limiter {
    tokens: Cell<f64>,
    last: Cell<Instant>,
    suppressed: Cell<u64>,
    told: Cell<Instant>,
}

impl Limiter {
    /// A full one.
    pub fn new(now: Instant) -> Self {
        Self {
            tokens: Cell::new(BURST),
            last: Cell::new(now),
            suppressed: Cell::new(0),
            told: Cell::new(now),
        }
    }

    /// Whether the next line may pass.
    fn has_room(&self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.last.get()).as_secs_f64() * RATE;
        self.tokens.get() + earned >= 1.0
    }

    /// Whether a line may pass; with it, at most once a second, how many before it did not.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let earned = now.saturating_duration_since(self.last.replace(now)).as_secs_f64() * RATE;
        let tokens = (self.tokens.get() + earned).min(BURST);
        if tokens < 1.0 {
            self.tokens.set(tokens);
            self.suppressed.set(self.suppressed.get() + 1);
            return None;
        }
        self.tokens.set(tokens - 1.0);
        if now.saturating_duration_since(self.told.get()) < Duration::from_secs(1) {
            return Some(0);
        }
        self.told.set(now);
        Some(self.suppressed.take())
    }
}

/// The log of one daemon: standard error, at a bounded rate, and the collectors, at the configuration's.
pub struct EventLog {
    syslog: Syslog,
    export: Exporter,
    limiter: Limiter,
    /// Of packets denied.
    denials: Limiter,
    /// Of 106100, whose lines can wait: no flood of others keeps them back, nor they others.
    acl_limiter: Limiter,
    acls: RefCell<AclLog>,
    /// Edges of foreign domains that did not answer, the oldest first.
    lost_edges: RefCell<VecDeque<(End2, Instant)>>,
}

impl Default for EventLog {
    fn default() -> Self {
        let now = Instant::now();
        let [limiter, denials, acl_limiter] = [0; 3].map(|_| Limiter::new(now));
        Self {
            syslog: Syslog::default(),
            export: Exporter::default(),
            limiter,
            denials,
            acl_limiter,
            acls: RefCell::default(),
            lost_edges: RefCell::default(),
        }
    }
}

impl EventLog {
    /// Logs an event, or counts it.
    pub fn log(&self, event: Event, names: &impl Names) {
        self.export.note(&event, names);
        match event {
            Event::AclHits { flow, hits } => self.acl(flow, hits, names),
            event => {
                if let Event::TargetLost { peer, .. } = event {
                    self.note_lost(peer);
                }
                // Of connections there may be thousands a second, told for the export alone.
                let flows = matches!(event, Event::Flows { .. });
                if self.syslog.wants_any() && (!flows || self.syslog.wants_flows()) {
                    sessions::of_event(&event, names).iter().for_each(|message| self.syslog.tell(message));
                }
                if !flows && may_write(&self.limiter) {
                    write(event, names);
                }
            }
        }
    }

    /// Goes by `config` from now on.
    pub fn adopt(&self, config: &Config) {
        self.syslog.adopt(config);
        self.export.adopt(&config.model);
    }

    /// NAT events.
    pub fn export(&self) -> &Exporter {
        &self.export
    }

    /// Collectors and buffer.
    pub fn syslog(&self) -> &Syslog {
        &self.syslog
    }

    /// Writes and sends a message that is rare.
    pub fn tell(&self, message: &Message) {
        write_message(message, None);
        self.syslog.tell(message);
    }

    /// As [`Self::tell`], of what the user with this uid did.
    pub fn tell_of(&self, uid: u32, message: &Message) {
        tracing::info!(uid, "{}", headed(message));
        self.syslog.tell(message);
    }

    fn acl(&self, flow: AclFlow, hits: u32, names: &impl Names) {
        let logging = if flow.log { names.acl(flow.acl, flow.line, flow.id).logging } else { None };
        let Some(logging) = logging else {
            // A line whose `log` was taken out since is as one without.
            if flow.permitted {
                return;
            }
            let written = may_write(&self.denials);
            if written || self.syslog.wants_any() {
                let message = match flow.acl {
                    BY_LEVEL => messages::denied_by_level(&flow.packet, names),
                    NO_CONNECTION => messages::no_connection(&flow.packet, names),
                    _ => messages::denied(&flow, names),
                };
                self.syslog.tell(&message);
                if written {
                    write_message(&message, Some(hits.into()));
                }
            }
            return;
        };
        let (denied_max, alert) = names.acl_bounds();
        let bounds = (denied_max, Duration::from_secs(alert.into()));
        let words = || messages::words(&flow, names);
        let taken = self.acls.borrow_mut().hit(flow, hits, logging, bounds, Instant::now(), words);
        match taken {
            Taken::Counted => self.write_due(),
            Taken::Untold => {}
            Taken::Alert => {
                let message = messages::flows_full(denied_max);
                self.syslog.tell(&message);
                if may_write(&self.limiter) {
                    write_message(&message, None);
                }
            }
        }
    }

    /// Writes what is due of access-lists, as far as there is room; the rest is due again later.
    pub fn write_due(&self) {
        let now = Instant::now();
        while self.acl_limiter.has_room(now)
            && let Some(due) = self.acls.borrow_mut().due(now)
        {
            self.acl_limiter.pass(now);
            self.tell(&messages::logged(&due));
        }
    }

    /// Flows of access-lists that are remembered, and the denied ones among them.
    pub fn acl_flows(&self) -> (usize, usize) {
        self.acls.borrow().flows()
    }

    /// When an edge of a foreign domain last did not answer, as far as was told.
    pub fn lost_at(&self, addr: Ipv4Addr, port: u16) -> Option<Instant> {
        let lost = self.lost_edges.borrow();
        lost.iter().find(|(edge, _)| (edge.addr, edge.port) == (addr.to_bits(), port)).map(|(_, at)| *at)
    }

    fn note_lost(&self, edge: End2) {
        let mut lost = self.lost_edges.borrow_mut();
        lost.retain(|(known, _)| *known != edge);
        if lost.len() == LOST_EDGES {
            lost.pop_front();
        }
        lost.push_back((edge, Instant::now()));
    }

    /// Events that never left the dataplane.
    pub fn lost(&self, events: u64) {
        let text = format!("{events} events lost: the dataplane had more than could be taken");
        self.syslog.tell(&sessions::own(4, text));
        if may_write(&self.limiter) {
            tracing::warn!(events, "events lost: the dataplane had more than could be taken");
        }
    }
}

fn may_write(limiter: &Limiter) -> bool {
    let passed = limiter.pass(Instant::now());
    if let Some(events @ 1..) = passed {
        tracing::warn!(events, "events not logged: more than {RATE} a second");
    }
    passed.is_some()
}

fn write(event: Event, names: &impl Names) {
    match event {
        Event::Denied {
            session,
            peer,
            identity,
            from_domain,
            target_domain,
            method,
            call_id,
            why,
            status,
            inbound,
        } => tracing::warn!(
            session,
            %peer,
            identity = list(&identity),
            from_domain = escaped(&from_domain),
            target_domain = escaped(&target_domain),
            method = escaped(&method),
            call_id = escaped(&call_id),
            why = escaped(&why),
            status,
            direction = if inbound { "in" } else { "out" },
            "SIP request denied"
        ),
        Event::TlsFailed { session, leg, peer, reason } => tracing::warn!(
            session,
            leg = escaped(&leg),
            %peer,
            reason = escaped(&reason),
            "TLS handshake failed"
        ),
        Event::TlsUp { session, leg, peer, version, cipher, identity } => tracing::info!(
            session,
            leg = escaped(&leg),
            %peer,
            version = escaped(&version),
            cipher = escaped(&cipher),
            identity = list(&identity),
            "TLS handshake completed"
        ),
        Event::TargetLost { session, peer } => {
            tracing::warn!(
                session,
                %peer,
                "an edge of a foreign domain does not answer; calling the next"
            );
        }
        Event::SessionClosed { session, reason } => {
            tracing::info!(session, reason = escaped(&reason), "proxy session closed");
        }
        // For collectors alone: there may be thousands a second.
        Event::Flows { .. } => {}
        // It has its own way in.
        Event::AclHits { flow, hits } => write_message(&messages::denied(&flow, names), Some(hits.into())),
        // 305014, 305015.
        Event::PortBlock { given, proto, real_if, real, mapped_if, mapped, first, last, share } => {
            tracing::info!(
                protocol = crate::config::ports::proto_text(proto),
                real_interface = names.interface(real_if),
                real = %std::net::Ipv4Addr::from(real),
                mapped_interface = names.interface(mapped_if),
                mapped = %std::net::Ipv4Addr::from(mapped),
                first,
                last,
                share,
                "port block {}",
                if given { "allocated" } else { "released" },
            )
        }
        Event::Limit { bound, packet } => {
            let message = messages::bound(&bound, &packet, names);
            match bound {
                Bound::Class { slot, .. } => {
                    let (class, text) = (names.class(slot).unwrap_or_default(), headed(&message));
                    match message.severity {
                        0..=3 => tracing::error!(class, "{text}"),
                        4.. => tracing::info!(class, "{text}"),
                    }
                }
                Bound::Conns | Bound::Pool { .. } | Bound::Blocks => write_message(&message, None),
            }
        }
        Event::Port { ifindex, text } => {
            tracing::info!(interface = names.interface(ifindex), "{}", escaped(&text));
        }
        Event::Log { level, text } => match level.as_str() {
            "error" => tracing::error!("dataplane: {}", escaped(&text)),
            "warn" => tracing::warn!("dataplane: {}", escaped(&text)),
            "debug" => tracing::debug!("dataplane: {}", escaped(&text)),
            _ => tracing::info!("dataplane: {}", escaped(&text)),
        },
    }
}

/// Writes a message at its severity; `hits` where it stands for more than one packet of a kind that the ASA tells singly.
fn write_message(message: &Message, hits: Option<u64>) {
    let text = headed(message);
    match message.severity {
        0..=3 => tracing::error!(hits, "{text}"),
        4 => tracing::warn!(hits, "{text}"),
        5 | 6 => tracing::info!(hits, "{text}"),
        7.. => tracing::debug!(hits, "{text}"),
    }
}

/// `%ASA-4-106023: ...`
fn headed(message: &Message) -> String {
    let Message { severity, number, text } = message;
    format!("%ASA-{severity}-{number}: {text}")
}

/// Printable ASCII as it is, all else escaped.
pub fn escaped(text: &str) -> String {
    text.escape_default().to_string()
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| escaped(name)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::messages::tests::Known;
    use fedgate_tables::link::{Addr, ClassBound, Packet5};

    #[test]
    fn a_flood_is_held_to_the_rate_and_counted() {
        let start = Instant::now();
        let limiter = Limiter::new(start);
        let passed = (0..1000).filter(|_| limiter.pass(start).is_some()).count();
        assert_eq!(passed, BURST as usize);
        assert_eq!(limiter.pass(start + Duration::from_secs(1)), Some(1000 - BURST as u64));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..1000).filter(|_| limiter.pass(later).is_some()).count(), RATE as usize - 1);
    }

    /// What the log has when `events` has been called.
    fn written(events: impl FnOnce(&EventLog)) -> String {
        #[derive(Clone, Default)]
        struct Page(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
        impl std::io::Write for Page {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let page = Page::default();
        let writer = page.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || events(&EventLog::default()));
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const PACKET: Packet5 = Packet5 {
        proto: 6,
        src: Addr::V4(0),
        sport: 4,
        dst: Addr::V4(0),
        dport: 5,
        flags: 0,
        in_if: 0,
        out_if: Some(1),
    };
    const REACHED: Event = Event::Limit {
        bound: Bound::Class { slot: 1, which: ClassBound::Conns, has: 5, limit: 5 },
        packet: PACKET,
    };

    /// What a flood of one flow, packets that no line with `log` denied and a bound leave in the log: one line each.
    #[test]
    fn events_become_the_asas_lines() {
        let text = written(|log| {
            let flow = AclFlow { line: 2, id: 0xab, log: true, packet: PACKET, ..AclFlow::default() };
            for hits in [3, 4] {
                log.log(Event::AclHits { flow, hits }, &Known);
            }
            assert_eq!(log.acl_flows(), (1, 1));
            let plain = AclFlow { line: 0, id: 0, log: false, ..flow };
            let packet = Packet5 { flags: 0x12, ..PACKET };
            for (acl, hits) in [(0, 9), (BY_LEVEL, 1), (NO_CONNECTION, 2)] {
                log.log(Event::AclHits { flow: AclFlow { acl, packet, ..plain }, hits }, &Known);
            }
            log.log(REACHED, &Known);
        });
        let lines: Vec<&str> = text.lines().collect();
        let wanted = [
            [
                " INFO",
                "%ASA-6-106100: access-list outside_in denied tcp outside/0.0.0.0(4) -> inside/0.0.0.0(5) hit-cnt 1 first hit [0x000000ab, 0x00000000]",
            ],
            [
                " WARN",
                "%ASA-4-106023: Deny tcp src outside:0.0.0.0/4 dst inside:0.0.0.0/5 by access-group \"outside_in\" [0x0, 0x0] hits=9",
            ],
            [
                "ERROR",
                "%ASA-2-106001: Inbound TCP connection denied from 0.0.0.0/4 to 0.0.0.0/5 flags SYN ACK on interface outside hits=1",
            ],
            [
                " INFO",
                "%ASA-6-106015: Deny TCP (no connection) from 0.0.0.0/4 to 0.0.0.0/5 flags SYN ACK  on interface outside hits=2",
            ],
            [
                "ERROR",
                "%ASA-3-201011: Connection limit exceeded 5/5 for input packet from 0.0.0.0/4 to 0.0.0.0/5 on interface outside class=\"federation-in\"",
            ],
        ];
        assert_eq!(lines.len(), wanted.len(), "{text}");
        for (line, parts) in lines.iter().zip(wanted) {
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        }
    }

    /// Anybody can send what is denied: it keeps nothing else out of the log.
    #[test]
    fn a_scan_hides_no_other_event() {
        let text = written(|log| {
            for dport in 0..1000 {
                let packet = Packet5 { dport, ..PACKET };
                log.log(Event::AclHits { flow: AclFlow { packet, ..AclFlow::default() }, hits: 1 }, &Known);
            }
            log.log(REACHED, &Known);
        });
        let denied = text.matches("%ASA-4-106023").count();
        assert!((BURST as usize..1000).contains(&denied), "{denied}");
        assert_eq!(text.matches("%ASA-3-201011").count(), 1, "{text}");
    }

    #[test]
    fn a_peers_text_cannot_leave_its_line() {
        assert_eq!(escaped("a\n\u{1b}[31mb\u{202e}"), "a\\n\\u{1b}[31mb\\u{202e}");
    }
}
