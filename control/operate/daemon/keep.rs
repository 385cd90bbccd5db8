// SPDX-License-Identifier: MIT OR Apache-2.0
//! The running-config on disk: what the next control finds. The domain lists are in a file of their own ([`Journal`]), which
//! the running-config names, so that one is never without the other.
//!
//! A configuration of up to [`SMALL`] lines of access-lists is written, whole and synced, before the command that changed it returns. A larger one takes longer to
//! print than an operator should wait for one line: it is marked, and written by a thread of its own at most [`BEHIND`] and the
//! writing later; what changes meanwhile is in the same write or the next. So a control that is killed may have answered up to about a second
//! of commands that are not on disk; the next one puts the dataplane back to what is. `write memory` and an orderly end wait
//! for it. A write that fails is logged and tried again.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::{Daemon, Paths};
use crate::config::diag::{Problem, Report};
use crate::config::source::{MAX_TEXT, Span};
use crate::config::{Config, Loaded, file, load_file, print};
use crate::operate::files;
use crate::operate::history::Before;
use crate::operate::journal::{Change, Journal, Mark};

/// Most lines of access-lists that are written before the answer.
const SMALL: usize = 10_000;
/// How long a large configuration waits for more changes before it is written.
const BEHIND: Duration = Duration::from_millis(250);
/// Pause after a write that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// What is to be written, and who writes.
pub(super) struct Keeping {
    /// The configuration has changed since it was last written.
    marked: Cell<bool>,
    changed: Notify,
    /// Held while writing, so that no older configuration goes over a newer one.
    writing: Mutex<()>,
    journal: RefCell<Journal>,
    /// The journal holds what the lists are, so that a change is enough.
    in_line: Cell<bool>,
}

impl Keeping {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            marked: Cell::new(false),
            changed: Notify::new(),
            writing: Mutex::new(()),
            journal: RefCell::new(Journal::new(state)),
            in_line: Cell::new(false),
        }
    }
}

/// Whether a configuration takes long to print.
pub(super) fn is_large(config: &Config) -> bool {
    config.model.acls.values().map(|lines| lines.len()).sum::<usize>() > SMALL
}

/// The configuration that a control before left, with its domain lists.
pub fn load_kept(paths: &Paths) -> Result<Loaded, Report> {
    load(paths, &mut Journal::new(&paths.state)).map(|(loaded, _)| loaded)
}

fn load(paths: &Paths, journal: &mut Journal) -> Result<(Loaded, Option<Before>), Report> {
    let path = paths.running();
    let mut loaded = load_file(&path)?;
    let text = file::read(&path, MAX_TEXT).unwrap_or_default();
    let Some(mark) = Mark::of(&String::from_utf8_lossy(&text)) else { return Ok((loaded, None)) };
    match journal.open(mark) {
        Ok((mut lists, before)) => {
            // Those that are bound to trustpoints are in both.
            lists.extend(
                std::mem::take(Arc::make_mut(&mut loaded.config.model.domains))
                    .into_iter()
                    .map(|(key, bound)| {
                        let block = lists.get(&key).and_then(|entry| entry.block.clone());
                        (key, crate::config::model::DomainEntry { block: block.or(bound.block), ..bound })
                    })
                    .collect::<Vec<_>>(),
            );
            loaded.config.model.domains = Arc::new(lists);
            loaded.config.remarks = None;
            Ok((loaded, Some(before)))
        }
        Err(why) => {
            let mut report = Report::new(&path.display().to_string());
            let what = format!("cannot read the domain lists it names: {why}");
            report.push(Problem::error(Span { line: 2, start: 0, end: 0 }, what), mark.line().trim_end());
            Err(report)
        }
    }
}

impl Daemon {
    /// Reads what the control before left, and goes on with its files.
    pub(super) fn read_kept(&self) -> Result<Loaded, Report> {
        let (loaded, before) = load(&self.paths, &mut self.keeping.journal.borrow_mut())?;
        self.keeping.in_line.set(before.is_some());
        self.note_before(before.unwrap_or_default());
        Ok(loaded)
    }

    /// Writes `config`, which is or is to be the configuration, or marks it where it is large. With `changes`, those of the domain lists
    /// since the last time; else the lists are written whole where they are not what is on disk.
    pub(super) async fn keep(&self, config: &Arc<Config>, changes: Option<&[Change]>) -> Result<(), String> {
        let _writing = self.keeping.writing.lock().await;
        let keeping = &self.keeping;
        let cannot = |why: std::io::Error| format!("cannot write the domain lists: {why}");
        let mut undo = None;
        match changes.filter(|_| keeping.in_line.get()) {
            Some([]) if !keeping.journal.borrow().is_loose() => {}
            Some(changes) => undo = Some(keeping.journal.borrow_mut().group(changes).map_err(cannot)?),
            None if changes.is_none() && keeping.in_line.get() => {}
            None => {
                keeping.journal.borrow_mut().begin(&config.model.domains).map_err(cannot)?;
                keeping.in_line.set(true);
            }
        }
        let mark = keeping.journal.borrow().mark;
        if is_large(config) {
            keeping.marked.set(true);
            keeping.changed.notify_one();
        } else {
            if let Err(why) = written(self.paths.running(), config, mark) {
                match undo {
                    Some(undo) => keeping.journal.borrow_mut().undo(undo),
                    None => keeping.in_line.set(changes.is_some_and(<[Change]>::is_empty)),
                }
                return Err(why);
            }
            keeping.marked.set(false);
            keeping.journal.borrow().sweep();
        }
        self.settled.set(true);
        Ok(())
    }

    /// The same, the lists whole.
    pub(super) async fn keep_whole(&self, config: &Arc<Config>) -> Result<(), String> {
        self.keeping.in_line.set(false);
        self.keep(config, None).await
    }

    /// One domain more or less, `config` having it already.
    pub(super) fn keep_domain(&self, config: &Config, change: &Change) -> Result<(), String> {
        if !self.keeping.in_line.get() {
            return Err("the domain lists on disk are not what they should be: repeat the command".to_owned());
        }
        let kept = self.keeping.journal.borrow_mut().append(change, &config.model.domains, &self.noted());
        kept.map_err(|why| format!("cannot write the domain lists: {why}"))
    }

    /// Whether [`Self::keep_domain`] can do.
    pub(super) fn lists_in_line(&self) -> bool {
        self.keeping.in_line.get()
    }

    /// Writes what is marked, for as long as the daemon lives.
    pub(super) async fn write_behind(self: Rc<Self>) {
        loop {
            self.keeping.changed.notified().await;
            tokio::time::sleep(BEHIND).await;
            while let Err(why) = self.flush().await {
                tracing::error!("{why}: another control would not find the configuration in force");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }

    /// Writes what is marked, if anything.
    ///
    /// # Errors
    /// Why it is still not on disk.
    pub async fn flush(&self) -> Result<(), String> {
        let _writing = self.keeping.writing.lock().await;
        if !self.keeping.marked.replace(false) {
            return Ok(());
        }
        // Without the lists, so that a domain command meanwhile need not copy them all.
        let (path, mut config) = (self.paths.running(), Config::clone(&self.config()));
        crate::config::keep_bound(&mut config.model);
        let mark = self.keeping.journal.borrow().mark;
        let done = tokio::task::spawn_blocking(move || written(path, &config, mark)).await;
        let done = done.map_err(|why| why.to_string()).and_then(|done| done);
        if done.is_err() {
            self.keeping.marked.set(true);
        } else {
            self.keeping.journal.borrow().sweep();
        }
        done
    }
}

fn written(path: PathBuf, config: &Config, mark: Mark) -> Result<(), String> {
    files::replace(&path, &format!("{}{}", mark.line(), print::without_lists(&config.model)))
        .map_err(|why| format!("cannot write {}: {why}", path.display()))
}
