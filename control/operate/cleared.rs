// SPDX-License-Identifier: MIT OR Apache-2.0
//! `clear counters`, `clear asp drop` and `clear local-host`.
//!
//! A counter has one writer, in the dataplane, and only grows: metrics, rates and whoever else reads it rely on that. So clearing it is a note of
//! what it stood at, with when and by whom, which the one `show` that was cleared takes off. The note is of that dataplane and this control: it
//! goes with either. Levels are no counts and stay. A host's state is the dataplane's, and ended there. Called on the daemon's one thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use fedgate_tables::counters::{Counter, Histo, HistoValues, Stat};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{Addr, Filter, What};
use serde_json::json;

use super::daemon::{Attached, Daemon};
use super::run::Stop;
use super::server::Out;
use super::show::attached;
use super::show::crypto::date;
use crate::clock::now;
use crate::config::args::Args;
use crate::config::diag::Problem;

/// What is cleared as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Of `show asp drop`.
    Drops,
    /// Of `show counters`.
    Counters,
}

/// What counters stood at.
struct Note {
    /// The dataplane's process, and when it started.
    dataplane: (u32, u64),
    at: i64,
    by: String,
    counts: Vec<(Counter, u64)>,
    histos: Vec<(Histo, HistoValues)>,
}

/// Notes of the last clearing of each group.
#[derive(Default)]
pub struct Cleared(RefCell<HashMap<Group, Rc<Note>>>);

/// Counts since the last clearing.
pub struct Since<'a> {
    attached: &'a Attached,
    note: Option<Rc<Note>>,
}

impl Cleared {
    /// From now on a group is counted from zero.
    fn clear(&self, group: Group, attached: &Attached, by: &str) {
        let (counted, histos): (Vec<Counter>, &[Histo]) = match group {
            Group::Drops => (DropReason::ALL.iter().copied().map(Counter::Drop).collect(), &[]),
            Group::Counters => (Stat::ALL.iter().copied().map(Counter::Stat).collect(), Histo::ALL),
        };
        let note = Note {
            dataplane: identity(attached),
            at: now(),
            by: by.to_owned(),
            counts: counted.into_iter().map(|it| (it, attached.counters.sum(it))).collect(),
            histos: histos.iter().map(|it| (*it, attached.counters.histo(*it))).collect(),
        };
        self.0.borrow_mut().insert(group, Rc::new(note));
    }

    /// What a group counts.
    pub fn since<'a>(&self, group: Group, attached: &'a Attached) -> Since<'a> {
        let note = self.0.borrow().get(&group).filter(|note| note.dataplane == identity(attached)).cloned();
        Since { attached, note }
    }
}

fn identity(attached: &Attached) -> (u32, u64) {
    (attached.session.greeting.pid, attached.session.greeting.started_unix)
}

impl Since<'_> {
    /// A counter of the group.
    pub fn count(&self, counter: Counter) -> u64 {
        let note = self.note.as_ref();
        let base = note.and_then(|note| note.counts.iter().find(|(of, _)| *of == counter));
        self.attached.counters.sum(counter).saturating_sub(base.map_or(0, |(_, base)| *base))
    }

    /// A distribution of the group.
    pub fn histo(&self, histo: Histo) -> HistoValues {
        let values = self.attached.counters.histo(histo);
        let note = self.note.as_ref();
        match note.and_then(|note| note.histos.iter().find(|(of, _)| *of == histo)) {
            Some((_, base)) => values.since(base),
            None => values,
        }
    }

    /// When that was, in the ASA's words: `Never`, or `10:43:33 UTC Mar 27 2019 by olga`.
    pub fn last(&self) -> String {
        self.note.as_ref().map_or("Never".to_owned(), |note| format!("{} by {}", date(note.at), note.by))
    }
}

/// `clear counters`, `clear asp drop`
pub fn counters(daemon: &Daemon, group: Group, out: &Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    daemon.cleared.clear(group, &attached, &out.by.user);
    Ok(())
}

/// Takes what stands behind `clear local-host`.
///
/// # Errors
/// What is wrong with it.
pub fn host(args: &mut Args<'_, '_>) -> Result<Option<IpAddr>, Problem> {
    let host = match args.peek() {
        None | Some("all") => None,
        Some(_) => Some(args.ip("an address, or all")?),
    };
    // To the appliance itself there are no connections that are kept.
    args.accept("all");
    Ok(host)
}

/// `clear local-host`
pub async fn local_host(daemon: &Daemon, host: Option<IpAddr>, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let filter = Filter { address: host.map(Addr::from), ..Filter::default() };
    let conns = attached.session.clear(What::Conns, filter.clone()).await?;
    let xlates = attached.session.clear(What::Xlates, filter).await?;
    let text = || format!("{conns} connections and {xlates} translations cleared");
    Ok(out.row(text, || json!({ "connections": conns, "translations": xlates })).await?)
}
