// SPDX-License-Identifier: MIT OR Apache-2.0
//! Dialogs for operators: page by page, cleared, and counted.
//!
//! A call looks at a bounded number of entries and says where to go on, so a listing of all never holds up a worker, whatever there is.
//! Worker core, at an operator's pace; a page allocates its vector.

use super::note::domain_key;
use super::{Check, Dialogs, Entry, GRACE, State, Usage};
use crate::domain::Domain;

/// A dialog. Times are microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its Call-ID, clipped.
    pub call_id: &'a str,
    /// Who is outside: `user@host`; of one that is too long, the end.
    pub outside: &'a str,
    /// Who is inside.
    pub inside: &'a str,
    /// Names in the outside's certificate, a space between each, as many as are kept.
    pub peer: &'a str,
    /// The inside server; its port is 0 where it is known as a client only.
    pub server: (u32, u16),
    /// Where it is.
    pub state: State,
    /// By what it began.
    pub usage: Usage,
    /// The outside began it.
    pub inbound: bool,
    /// What let in the message that began it, and what the last one.
    pub checks: [Check; 2],
    /// Since the last SUBSCRIBE was agreed, and for how many seconds.
    pub subscribe: Option<(u64, u32)>,
    /// The longest between two of them so far.
    pub refresh: Option<u64>,
    /// Until its subscription ends.
    pub subscribed: Option<u64>,
    /// Since it began.
    pub age: u64,
    /// Since it was last heard of.
    pub idle: u64,
    /// Until it is forgotten if nothing is heard.
    pub left: u64,
}

/// What has become of dialogs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Begun.
    pub begun: u64,
    /// Ended by their parties.
    pub ended: u64,
    /// Forgotten because their time was over.
    pub expired: u64,
    /// Forgotten because an operator wanted so.
    pub cleared: u64,
}

impl Dialogs {
    /// At most `rows` dialogs from place `cursor` on, looking at `scan` places at most, and where to go on. With a domain, only
    /// those with it.
    pub fn page(
        &self,
        cursor: usize,
        rows: usize,
        scan: usize,
        domain: Option<&Domain>,
        now: u64,
    ) -> (Vec<Row<'_>>, Option<usize>) {
        let wanted = domain.map(|domain| domain_key(&self.keyed, domain));
        let mut found = Vec::new();
        let end = self.entries.len().min(cursor.saturating_add(scan));
        for at in cursor..end {
            if found.len() == rows {
                return (found, Some(at));
            }
            let entry = self.entries[at].as_ref().filter(|entry| entry.until > now);
            if let Some(entry) = entry.filter(|entry| wanted.is_none() || entry.domain == wanted) {
                found.push(self.row(entry, now));
            }
        }
        (found, (end < self.entries.len()).then_some(end))
    }

    fn row<'a>(&'a self, entry: &'a Entry, now: u64) -> Row<'a> {
        let [call_id, outside, inside] = entry.names();
        Row {
            call_id,
            outside,
            inside,
            peer: self.peers.get(&entry.peer).map_or("", |peer| &peer.names),
            server: entry.server,
            state: entry.state,
            usage: entry.usage,
            inbound: entry.inbound,
            checks: entry.checks,
            subscribe: entry.subscribe.map(|(at, expires)| (now.saturating_sub(at), expires)),
            refresh: entry.refresh,
            subscribed: entry.subscribed.map(|end| end.saturating_sub(GRACE).saturating_sub(now)),
            age: now.saturating_sub(entry.begun),
            idle: now.saturating_sub(entry.last),
            left: entry.until - now,
        }
    }

    /// Forgets what there is among `scan` places from `cursor` on, or what there is of a domain. How many those were, and where to go on.
    /// Their next requests are judged as if there had been none.
    pub fn clear(&mut self, cursor: usize, scan: usize, domain: Option<&Domain>) -> (u64, Option<usize>) {
        let wanted = domain.map(|domain| domain_key(&self.keyed, domain));
        let end = self.entries.len().min(cursor.saturating_add(scan));
        let before = self.counts.cleared;
        for at in cursor..end {
            let goes = |entry: &Entry| wanted.is_none() || entry.domain == wanted;
            if self.entries[at].as_ref().is_some_and(goes) {
                self.remove(at as u32);
                self.counts.cleared += 1;
            }
        }
        (self.counts.cleared - before, (end < self.entries.len()).then_some(end))
    }

    /// Dialogs of an inside server.
    pub fn of_server(&self, server: (u32, u16)) -> u32 {
        self.of_server.get(&server).copied().unwrap_or(0)
    }

    /// What has become of dialogs since this was last asked.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}
