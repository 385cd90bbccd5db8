// SPDX-License-Identifier: MIT OR Apache-2.0
//! A session as a row of `show proxy`. Off the packet path; allocates.

use super::{At, Phase, Session};
use crate::api::{Leg, Micros};
use crate::event::{end, names, suite_name, version_name};
use crate::side::Side;
use fedgate_tables::link::ProxyRow;

impl Session {
    /// The row. `memory`: bytes accounted to the session.
    pub(crate) fn row(&self, now: Micros, memory: usize) -> ProxyRow {
        let outside = self.params.outside;
        let inside = outside.other();
        let secs = |since: Micros| u32::try_from(now.since(since) / 1_000_000).unwrap_or(u32::MAX);
        ProxyRow {
            session: self.id.slot,
            tls_proxy: self.params.tls_proxy,
            outside_is_client: outside == Leg::Client,
            client: end(self.params.client_remote),
            server: end(self.remote(At::Server(0))),
            client_state: self.state_of(Leg::Client),
            server_state: self.state_of(Leg::Server),
            client_cipher: cipher(Some(&self.client)),
            server_cipher: cipher(self.side(Leg::Server)),
            identity: self.side(outside).and_then(Side::peer).map(names).unwrap_or_default(),
            messages_in: self.passed[outside as usize],
            messages_out: self.passed[inside as usize],
            denied: self.denied,
            bytes_in: self.bytes[outside as usize],
            bytes_out: self.bytes[inside as usize],
            age_secs: secs(self.opened),
            idle_secs: secs(self.last_heard),
            memory: u32::try_from(memory).unwrap_or(u32::MAX),
        }
    }

    fn state_of(&self, leg: Leg) -> String {
        let Some(side) = self.side(leg) else { return "not opened".into() };
        match (self.phase, side.is_secure()) {
            (Phase::Ending { .. }, _) => format!("closing ({})", side.tcp.state_name()),
            (Phase::Running, true) => side.tcp.state_name().into(),
            (Phase::Running, false) if side.tcp_was_up() => "tls-handshake".into(),
            (Phase::Running, false) => side.tcp.state_name().into(),
        }
    }
}

fn cipher(side: Option<&Side>) -> String {
    match side.and_then(Side::agreed) {
        Some((version, suite)) => format!("{} {}", version_name(version), suite_name(suite)),
        None => String::new(),
    }
}
