// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the dataplane tells unasked, as log lines, at a bounded rate.
//!
//! Texts that a peer chose (domains, Call-IDs, certificate names) are escaped, so that no peer can write lines of its own into the
//! log or colours onto a terminal. At most [`RATE`] lines a second after a burst of [`BURST`]; what is over is counted and told
//! with the next line that passes.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use fedgate_tables::link::{Addr, End2, Event};

/// Lines a second.
pub const RATE: f64 = 50.0;
/// Lines at once.
pub const BURST: f64 = 200.0;

/// Names for the numbers in events.
pub trait Names {
    /// `nameif` of an interface.
    fn interface(&self, ifindex: u8) -> String;
    /// Name of an access-list.
    fn acl(&self, index: u32) -> String;
}

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

/// The log of one daemon.
pub struct EventLog {
    limiter: Limiter,
}

impl Default for EventLog {
    fn default() -> Self {
        Self { limiter: Limiter::new(Instant::now()) }
    }
}

impl EventLog {
    /// Logs an event, or counts it.
    pub fn log(&self, event: Event, names: &impl Names) {
        if self.may_write() {
            write(event, names);
        }
    }

    /// Events that never left the dataplane.
    pub fn lost(&self, events: u64) {
        if self.may_write() {
            tracing::warn!(events, "events lost: the dataplane had more than could be taken");
        }
    }

    fn may_write(&self) -> bool {
        let passed = self.limiter.pass(Instant::now());
        if let Some(events @ 1..) = passed {
            tracing::warn!(events, "events not logged: more than {RATE} a second");
        }
        passed.is_some()
    }
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
            peer = end(peer),
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
            peer = end(peer),
            reason = escaped(&reason),
            "TLS handshake failed"
        ),
        Event::TlsUp { session, leg, peer, version, cipher, identity } => tracing::info!(
            session,
            leg = escaped(&leg),
            peer = end(peer),
            version = escaped(&version),
            cipher = escaped(&cipher),
            identity = list(&identity),
            "TLS handshake completed"
        ),
        Event::SessionClosed { session, reason } => {
            tracing::info!(session, reason = escaped(&reason), "proxy session closed");
        }
        Event::AclDenied { acl, line, proto, src, sport, dst, dport, ifindex } => tracing::warn!(
            access_list = names.acl(acl),
            line,
            protocol = crate::config::ports::proto_text(proto),
            interface = names.interface(ifindex),
            src = end6(src, sport),
            dst = end6(dst, dport),
            "denied by access-list"
        ),
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
        Event::Limit { what, limit } => tracing::warn!(what = escaped(&what), limit, "limit reached"),
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

fn end6(addr: Addr, port: u16) -> String {
    SocketAddr::new(addr.into(), port).to_string()
}

fn end(end: End2) -> String {
    format!("{}:{}", Ipv4Addr::from(end.addr), end.port)
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

    #[test]
    fn a_peers_text_cannot_leave_its_line() {
        assert_eq!(escaped("a\n\u{1b}[31mb\u{202e}"), "a\\n\\u{1b}[31mb\\u{202e}");
    }
}
