// SPDX-License-Identifier: MIT OR Apache-2.0
//! What operators see of an engine, and what they may end of it: sessions, dialogs, members of pools.
//!
//! Worker core, between packets, at an operator's pace: rows are allocated here. Bounding a call's rows is the caller's business where
//! an iterator is given.

use super::Engine;
use crate::api::Micros;
use crate::pool::Pool;
use fedgate_sip::dialog::{Counts, Dialogs};
use fedgate_sip::domain::Domain;
use fedgate_tables::link::{MemberRow, ProxyRow};

impl Engine {
    /// One row a session, for `show proxy`.
    pub fn rows(&self, now: Micros) -> impl Iterator<Item = ProxyRow> {
        self.slots
            .iter()
            .filter_map(move |slot| slot.session.as_deref().map(|session| session.row(now, slot.charged)))
    }

    /// The dialogs that have crossed.
    pub fn dialogs(&self) -> &Dialogs {
        &self.dialogs
    }

    /// See [`Dialogs::clear`].
    pub fn clear_dialogs(
        &mut self,
        cursor: usize,
        scan: usize,
        domain: Option<&Domain>,
    ) -> (u64, Option<usize>) {
        self.dialogs.clear(cursor, scan, domain)
    }

    /// See [`Dialogs::take_counts`].
    pub fn take_dialog_counts(&mut self) -> Counts {
        self.dialogs.take_counts()
    }

    /// A pool's members, with this worker's counts.
    pub fn member_rows(&self, pool: &Pool, now: Micros) -> Vec<MemberRow> {
        pool.rows(self.worker, now, |server| self.dialogs.of_server(server))
    }
}
