// SPDX-License-Identifier: MIT OR Apache-2.0
//! Messages to collectors (`logging host`) and into the buffer that `show logging` shows (`logging buffered`).
//!
//! [`Syslog::tell`] decides by the configuration: whether the message is sent at all, at which severity, within which rate. It never
//! waits: each collector has a bounded queue and a task of its own ([`feed`]), and what finds no room there is counted as lost. So
//! neither a dead collector nor a flood of messages holds up control, let alone the dataplane. What control writes to standard error
//! is another matter ([`super::events`]). All on the daemon's one thread.
//!
//! Limits: [`MOST_HOSTS`](crate::config::model::logging::MOST_HOSTS) collectors, `logging queue` messages each, `logging buffer-size` bytes,
//! [`MOST_TEXT`] bytes of one message.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::messages::Message;
use crate::config::Config;
use crate::config::model::logging::{
    BUFFER, DeviceId, FACILITY, HostForm, HostKey, Limited, QUEUE, Rate, Syslog as Lines,
};
use feed::Feed;
use line::{Head, Line};

pub mod feed;
pub mod line;
#[cfg(test)]
mod tests;
mod tls;

/// Most of a message's text, bytes; RFC 5426 section 3.2 has receivers take 2,048 with everything around it.
pub const MOST_TEXT: usize = 1800;

/// What was done with messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Put into the buffer.
    pub buffered: u64,
    /// Handed to collectors, once for all of them.
    pub trapped: u64,
    /// Kept back by `logging rate-limit`.
    pub limited: u64,
    /// Kept back by `no logging message`.
    pub disabled: u64,
}

/// See the module. Cheap to clone.
#[derive(Clone, Default)]
pub struct Syslog(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    lines: Lines,
    head: Head,
    feeds: BTreeMap<HostKey, Feed>,
    windows: BTreeMap<Limited, Window>,
    buffer: VecDeque<String>,
    buffer_bytes: usize,
    counts: Counts,
}

/// What came of a rate in the present stretch of time.
struct Window {
    since: Instant,
    passed: u32,
}

impl Syslog {
    /// Goes by `config` from now on. Collectors of which nothing changes keep their connection and what waits for them.
    pub fn adopt(&self, config: &Config) {
        let mut state = self.0.borrow_mut();
        let lines = &config.model.syslog;
        state.head = head(config);
        let sends = lines.enable && lines.trap.is_some();
        let queue = lines.queue.unwrap_or(QUEUE) as usize;
        let mut before = std::mem::take(&mut state.feeds);
        for (key, form) in lines.hosts.iter().filter(|_| sends) {
            let trust = form.secure.as_ref().map(|secure| tls::Trust::of(config, &secure.trustpoint));
            let feed = match before.remove(key) {
                Some(feed) if feed.is_as(form, trust.as_ref(), queue) => feed,
                Some(old) => Feed::start(key, form, trust, queue, old.counts().clone(), self.back()),
                None => Feed::start(key, form, trust, queue, Rc::default(), self.back()),
            };
            state.feeds.insert(key.clone(), feed);
        }
        state.windows.retain(|of, _| lines.rates.contains_key(of));
        state.lines = lines.clone();
        if lines.buffered.is_none() {
            state.buffer.clear();
            state.buffer_bytes = 0;
        }
        state.shrink();
    }

    fn back(&self) -> Back {
        Back(Rc::downgrade(&self.0))
    }

    /// Whether a message could go anywhere: what cannot need not be put into words.
    pub fn wants_any(&self) -> bool {
        let lines = &self.0.borrow().lines;
        lines.enable && (lines.buffered.is_some() || lines.trap.is_some())
    }

    /// Whether one about a connection could.
    pub fn wants_flows(&self) -> bool {
        self.0.borrow().lines.tells_flows()
    }

    /// Sends and keeps a message as far as the configuration says.
    pub fn tell(&self, message: &Message) {
        self.tell_at(message, OffsetDateTime::now_utc(), Instant::now());
    }

    fn tell_at(&self, message: &Message, at: OffsetDateTime, now: Instant) {
        let mut state = self.0.borrow_mut();
        let state = &mut *state;
        let lines = &state.lines;
        if !lines.enable {
            return;
        }
        let treated = lines.messages.get(&message.number).copied().unwrap_or_default();
        let severity = treated.level.unwrap_or(message.severity);
        let [kept, sent] = [lines.buffered, lines.trap].map(|least| least.is_some_and(|l| severity <= l));
        if !kept && !sent {
            return;
        }
        if treated.disabled {
            state.counts.disabled += 1;
            return;
        }
        if !may_pass(&lines.rates, &mut state.windows, message.number, severity, now) {
            state.counts.limited += 1;
            return;
        }
        let line = Line { severity, number: message.number, text: line::cleaned(&message.text), at };
        if kept {
            state.counts.buffered += 1;
            let text = state.head.asa_body(&line);
            state.buffer_bytes += text.len() + 1;
            state.buffer.push_back(text);
            state.shrink();
        }
        if sent {
            state.counts.trapped += 1;
            let forms = [false, true].map(|rfc5424| {
                let wanted = state.feeds.values().any(|feed| feed.form().rfc5424 == rfc5424);
                wanted.then(|| -> Rc<str> {
                    let text = if rfc5424 { state.head.rfc5424(&line) } else { state.head.asa(&line) };
                    text.into()
                })
            });
            for feed in state.feeds.values() {
                if let Some(text) = &forms[usize::from(feed.form().rfc5424)] {
                    feed.put(text.clone());
                }
            }
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.0.borrow().counts
    }

    /// The collectors that are sent to, with what became of it.
    pub fn feeds(&self) -> Vec<(HostKey, HostForm, Rc<feed::Counts>)> {
        let state = self.0.borrow();
        let of = |(key, feed): (&HostKey, &Feed)| (key.clone(), feed.form().clone(), feed.counts().clone());
        state.feeds.iter().map(of).collect()
    }

    /// The buffer, oldest first.
    pub fn buffer(&self) -> Vec<String> {
        self.0.borrow().buffer.iter().cloned().collect()
    }

    /// Empties the buffer.
    pub fn clear(&self) {
        let mut state = self.0.borrow_mut();
        state.buffer.clear();
        state.buffer_bytes = 0;
    }
}

impl State {
    /// The oldest go first.
    fn shrink(&mut self) {
        let most = self.lines.buffer_size.unwrap_or(BUFFER) as usize;
        while self.buffer_bytes > most {
            let Some(oldest) = self.buffer.pop_front() else { break };
            self.buffer_bytes -= oldest.len() + 1;
        }
    }
}

/// For a collector's task to tell of itself; does not keep the rest alive.
pub struct Back(Weak<RefCell<State>>);

impl Back {
    fn tell(&self, message: &Message) {
        if let Some(state) = self.0.upgrade() {
            Syslog(state).tell(message);
        }
    }
}

/// Whether the rate of the message, or else that of its severity, has room.
fn may_pass(
    rates: &BTreeMap<Limited, Rate>,
    windows: &mut BTreeMap<Limited, Window>,
    number: u32,
    severity: u8,
    now: Instant,
) -> bool {
    let of = [Limited::Message(number), Limited::Level(severity)];
    let rate = of.into_iter().find_map(|of| rates.get(&of).map(|rate| (of, *rate)));
    let Some((of, Rate::Most(most, seconds))) = rate else { return true };
    let window = windows.entry(of).or_insert(Window { since: now, passed: 0 });
    if now.saturating_duration_since(window.since) >= Duration::from_secs(seconds.into()) {
        *window = Window { since: now, passed: 0 };
    }
    window.passed = window.passed.saturating_add(1);
    window.passed <= most
}

/// What every message begins with.
fn head(config: &Config) -> Head {
    let model = &config.model;
    let hostname = model.name().to_owned();
    let device = model.syslog.device_id.as_ref().map(|id| match id {
        DeviceId::Hostname => hostname.clone(),
        DeviceId::Address(name) => {
            let address = model.interface(name).and_then(|interface| interface.address);
            address.map_or_else(|| name.clone(), |(address, _)| address.to_string())
        }
        DeviceId::Text(text) => text.clone(),
    });
    let offset = model.timezone.as_ref().map_or(0, |zone| i64::from(zone.offset) * 60);
    Head {
        facility: model.syslog.facility.unwrap_or(FACILITY),
        stamp: model.syslog.timestamp,
        offset,
        device,
        hostname,
    }
}
