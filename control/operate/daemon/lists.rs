// SPDX-License-Identifier: MIT OR Apache-2.0
//! Domain lists by the file, and entries that come to their end.
//!
//! A file is one commit: read and checked as a whole by a thread of its own, then put into the table in pieces, so that a million names
//! hold up nobody; what fails on the way is taken back. Entries with `until` are taken out in the minute after.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::{Daemon, Refusal};
use crate::clock::now;
use crate::config::apply::apply_rule;
use crate::config::args::Env;
use crate::config::diag::{Problem, Report};
use crate::config::domains::refused;
use crate::config::model::{DomainKey, DomainRule, Domains, Minute, Model, Permit};
use crate::config::raw::{Command, Mode};
use crate::config::source::{Line, MAX_TEXT, Span};
use crate::config::{Config, file, grammar};
use crate::operate::history::By;
use crate::operate::journal::{Change, changes};
use crate::operate::table::Change as InTable;

/// Entries put into the table between two looks at anything else.
const PIECE: usize = 4096;

/// When an entry ends: the minute, the name, and whether it is the block.
type End = (Minute, DomainKey, bool);

/// When entries end.
#[derive(Default)]
pub(super) struct Ends(RefCell<BTreeSet<End>>);

impl Ends {
    /// Those that have ended when this minute begins.
    fn before(&self, minute: Minute) -> Vec<End> {
        self.0.borrow().iter().take_while(|(until, ..)| *until < minute).cloned().collect()
    }

    /// Those of a whole configuration.
    pub(super) fn of(&self, domains: &Domains) {
        let mut ends = BTreeSet::new();
        for (key, entry) in domains {
            let until = |note: &crate::config::model::Note| note.until;
            ends.extend(
                entry.permit.as_ref().and_then(|p| until(&p.note)).map(|at| (at, key.clone(), false)),
            );
            ends.extend(entry.block.as_ref().and_then(until).map(|at| (at, key.clone(), true)));
        }
        self.0.replace(ends);
    }

    /// An entry is another now.
    pub(super) fn note(&self, change: &Change) {
        let mut ends = self.0.borrow_mut();
        for (entry, is) in [(&change.before, false), (&change.after, true)] {
            let permit = entry.permit.as_ref().and_then(|permit| permit.note.until).map(|at| (at, false));
            let block = entry.block.as_ref().and_then(|note| note.until).map(|at| (at, true));
            for (at, block) in permit.into_iter().chain(block) {
                let end = (at, change.key.clone(), block);
                let _: bool = if is { ends.insert(end) } else { ends.remove(&end) };
            }
        }
    }
}

/// The list that a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// `permit`
    Permit,
    /// `block`
    Block,
}

impl Daemon {
    /// Takes out what has come to its end, for as long as the daemon lives. What cannot be taken out keeps nothing else, and is tried again in
    /// the next minute.
    pub(super) async fn watch_ends(self: Rc<Self>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        // What failed in which minute.
        let mut failed = (Minute(0), BTreeSet::new());
        loop {
            second.tick().await;
            let offset = self.config().model.timezone.as_ref().map_or(0, |zone| i64::from(zone.offset));
            let minute = Minute(now().div_euclid(60) + offset);
            if failed.0 != minute {
                failed = (minute, BTreeSet::new());
            }
            let ended = self.ends.before(minute);
            for end in ended.into_iter().filter(|end| !failed.1.contains(end)).collect::<Vec<_>>() {
                // Changed, or taken out, meanwhile.
                if self.ends.0.borrow().contains(&end) && !self.take_out(&end).await {
                    failed.1.insert(end);
                }
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether an entry that has come to its end could be taken out.
    async fn take_out(&self, (_, key, block): &End) -> bool {
        let (list, rule) = match block {
            true => ("block", DomainRule::Block(Default::default())),
            false => ("permit", DomainRule::Permit(Permit::default())),
        };
        let bound = self.config().model.domain_trust.get(key).filter(|_| !block).cloned();
        let (line, done) = match bound {
            Some(trustpoint) => {
                let line = format!("no permit domain {key} trustpoint {trustpoint}");
                let by = By::control(&format!("{line} (until)"));
                let done =
                    self.commit(&by, |config| crate::config::edit(config, &line, Path::new("/"))).await;
                (line, done.map(drop))
            }
            None => (format!("no {list} domain {key}"), self.edit_domain(key, rule, true).await.map(drop)),
        };
        match &done {
            Ok(()) => tracing::info!("{line}: it was until then"),
            Err(Refusal::Failed(why)) => tracing::error!("{line}: {why}"),
            Err(Refusal::Text(report)) => tracing::error!("{line}: {}", report.render(false)),
        }
        done.is_ok()
    }

    /// Adds the names in the file at `path` to a list, as one commit; `progress` is told how far it is. Gives how many entries changed.
    pub async fn import_list(
        &self,
        by: &By,
        list: ListKind,
        path: &Path,
        mut progress: impl AsyncFnMut(u64, u64) -> std::io::Result<()>,
    ) -> Result<u64, Refusal> {
        let _change = self.change.lock().await;
        self.editable().map_err(Refusal::Failed)?;
        let old = self.config();
        let (from, model) = (path.to_owned(), old.clone());
        let read = tokio::task::spawn_blocking(move || merged(list, &from, &model.model)).await;
        let (lists, changed) =
            read.map_err(|why| Refusal::Failed(why.to_string()))?.map_err(Refusal::Text)?;
        if changed.is_empty() {
            return Ok(0);
        }
        let mut new = Config::clone(&old);
        (new.model.domains, new.remarks) = (Arc::new(lists), None);
        let new = Arc::new(new);
        let mut done = Ok(());
        for (at, piece) in changed.chunks(PIECE).enumerate() {
            done = self.put_in_table(piece).await;
            if done.is_err() {
                break;
            }
            // A client that went away does not stop it.
            let _ = progress((at * PIECE + piece.len()) as u64, changed.len() as u64).await;
            tokio::task::yield_now().await;
        }
        if done.is_ok() {
            done = self.keep(&new, Some(&changed)).await;
        }
        if let Err(why) = done {
            let back: Vec<Change> = changed
                .into_iter()
                .map(|Change { key, before, after }| Change { key, before: after, after: before })
                .collect();
            if let Err(again) = self.put_in_table(&back).await {
                tracing::error!("cannot take the list back: {again}");
            }
            return Err(Refusal::Failed(why));
        }
        self.ends.of(&new.model.domains);
        self.goes_by(new.clone());
        drop(old);
        self.record(by, &new, &changed).await;
        Ok(changed.len() as u64)
    }

    async fn put_in_table(&self, changed: &[Change]) -> Result<(), String> {
        let mut grown = InTable::InPlace;
        {
            let mut table = self.table.borrow_mut();
            let Some(table) = table.as_mut() else {
                return match self.attached() {
                    Some(_) => Err("the dataplane has no domain table yet".to_owned()),
                    None => Ok(()),
                };
            };
            for change in changed {
                if table.set(&change.key, &change.after).map_err(|why| why.to_string())? == InTable::Grown {
                    grown = InTable::Grown;
                }
            }
        }
        match self.attached() {
            Some(attached) => self.push_table(&attached, grown).await.map_err(|why| why.to_string()),
            None => Ok(()),
        }
    }
}

/// The lists of `model` with those names in the file too, and what that changes; or all that is wrong with the file.
fn merged(list: ListKind, path: &Path, model: &Model) -> Result<(Domains, Vec<Change>), Report> {
    let mut report = Report::new(&path.display().to_string());
    let nowhere = Span { line: 1, start: 0, end: 0 };
    let bytes = file::read(path, MAX_TEXT).map_err(|why| {
        let mut report = Report::new(&path.display().to_string());
        report.push(Problem::error(nowhere, format!("cannot read {}: {why}", path.display())), "");
        report
    })?;
    let text = String::from_utf8_lossy(&bytes);
    let words = match list {
        ListKind::Permit => "permit domain ",
        ListKind::Block => "block domain ",
    };
    let env = Env { base: Path::new("/"), model: &Model::default(), group: None };
    let mut lists = model.domains.as_ref().clone();
    for (at, line) in text.lines().enumerate() {
        let name = line.trim();
        if name.is_empty() || name.starts_with(['#', '!']) {
            continue;
        }
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        // With or without the command before the name.
        let whole = if name.starts_with(words) { name.to_owned() } else { format!("{words}{name}") };
        let parsed = Line::lex(number, &whole).and_then(|line| match line {
            Some(line) => grammar::parse(&line, Mode::Global, &env).map_err(|failure| failure.problem),
            None => Err(Problem::error(nowhere, "no name")),
        });
        match parsed.map(|parsed| parsed.statement.command) {
            Ok(Command::Domain(key, rule)) => {
                if matches!(rule, DomainRule::Permit(_))
                    && let Some(why) = refused(model, &key)
                {
                    report.push(Problem::error(Span { line: number, ..nowhere }, why), &whole);
                } else if model.domain_trust.contains_key(&key) && list == ListKind::Permit {
                    let what = format!("{key} is bound to a trustpoint: change it by its own command");
                    report.push(Problem::error(Span { line: number, ..nowhere }, what), &whole);
                } else {
                    apply_rule(&mut lists, &key, rule, false);
                }
            }
            Ok(_) => {
                let what = "only names, `peer`, `until` and `comment` may stand in a list";
                report.push(Problem::error(Span { line: number, ..nowhere }, what), &whole);
            }
            Err(problem) => report.push(problem, &whole),
        }
    }
    if report.failed {
        return Err(report);
    }
    let changed = changes(&model.domains, &lists);
    Ok((lists, changed))
}
