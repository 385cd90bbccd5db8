// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commits that are remembered: `rollback N`, `show diff N`, and `commit confirmed`, which goes back by itself.
//!
//! Every change of the configuration becomes a commit in [`History`]; domain commands in between belong to the next. The file of a commit is
//! written before the command returns, but for large configurations, which a thread writes behind it. What is to be gone
//! back to, and when, is in `DIR/confirm`, so that a control that is started anew still goes back; where a dataplane started anew by the
//! startup-config there is nothing to go back from, and the file goes.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use similar::{Algorithm, ChangeTag, TextDiff};
use tokio::sync::Mutex;

use super::keep::is_large;
use super::{Daemon, Refusal};
use crate::clock::now;
use crate::config::diag::Report;
use crate::config::model::DomainKey;
use crate::config::{Config, Loaded, load, load_file, print};
use crate::operate::files;
use crate::operate::history::{self, Before, By, Commit, History};
use crate::operate::journal::{Change, changes, lines};

/// Most minutes that a commit may wait to be confirmed.
pub const MOST_MINUTES: u32 = 24 * 60;
/// Lines around a difference.
const AROUND: usize = 3;

/// A commit that is taken back unless it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The commit that is gone back to.
    pub number: u64,
    /// Seconds since 1970.
    pub until: i64,
}

/// What is remembered.
pub(super) struct Commits {
    pub(super) history: RefCell<History>,
    /// What the domain lists were at the newest commit, where commands have changed them since.
    pending: RefCell<Before>,
    unconfirmed: Cell<Option<Unconfirmed>>,
    /// Held while a file of a commit is written or read.
    file: Rc<Mutex<()>>,
    path: PathBuf,
}

impl Commits {
    pub(super) fn open(state: &Path) -> Self {
        let path = state.join("confirm");
        let kept = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            history: RefCell::new(History::open(state)),
            pending: RefCell::default(),
            unconfirmed: Cell::new(kept),
            file: Rc::default(),
            path,
        }
    }

    fn set(&self, unconfirmed: Option<Unconfirmed>) -> Result<(), String> {
        let done = match unconfirmed {
            Some(unconfirmed) => serde_json::to_string(&unconfirmed)
                .map_err(Into::into)
                .and_then(|text| files::replace(&self.path, &text)),
            None => match std::fs::remove_file(&self.path) {
                Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(why),
                Ok(()) | Err(_) => Ok(()),
            },
        };
        done.map_err(|why| format!("cannot write {}: {why}", self.path.display()))?;
        self.unconfirmed.set(unconfirmed);
        Ok(())
    }
}

impl Daemon {
    /// The commits, newest first.
    pub fn commits(&self) -> Vec<Commit> {
        self.commits.history.borrow().commits().cloned().collect()
    }

    /// The commit that is taken back unless it is confirmed.
    pub fn unconfirmed(&self) -> Option<Unconfirmed> {
        self.commits.unconfirmed.get()
    }

    /// Whether a configuration that is kept names a file.
    pub fn remembers(&self, name: &str) -> bool {
        self.commits.history.borrow().mentions(name)
    }

    /// What a domain was at the newest commit, before it is changed by a command.
    pub(super) fn note_domain(&self, change: &Change) {
        self.commits.pending.borrow_mut().entry(change.key.clone()).or_insert_with(|| change.before.clone());
    }

    /// What domains were at the newest commit, as the control before left it.
    pub(super) fn note_before(&self, before: Before) {
        self.commits.pending.replace(before);
    }

    /// What domains that commands have changed were at the newest commit.
    pub(super) fn noted(&self) -> std::cell::Ref<'_, Before> {
        self.commits.pending.borrow()
    }

    /// A configuration that no command made is in force: that of the start. What waited to be confirmed was another.
    pub(super) async fn begin_history(&self, config: &Arc<Config>) {
        if let Err(why) = self.commits.set(None) {
            tracing::warn!("{why}");
        }
        self.commits.pending.take();
        self.record(&By::control("startup-config"), config, &[]).await;
    }

    /// `config` is in force, by a change of the domain lists too.
    pub(super) async fn record(&self, by: &By, config: &Arc<Config>, changed: &[Change]) {
        let mut before = self.commits.pending.take();
        for change in changed {
            before.entry(change.key.clone()).or_insert_with(|| change.before.clone());
        }
        let (folder, number) = {
            let mut history = self.commits.history.borrow_mut();
            (history.folder().to_owned(), history.take_number())
        };
        let commit = Commit { number, at: now(), by: by.clone() };
        let pinned = self.unconfirmed().map(|unconfirmed| unconfirmed.number);
        let _file = self.commits.file.lock().await;
        let written = if is_large(config) || before.len() > 10_000 {
            // Without the lists, so that a domain command meanwhile need not copy them all.
            let (mut model, commit) = (config.model.clone(), commit.clone());
            crate::config::keep_bound(&mut model);
            let write = move || history::write(&folder, &commit, &print::without_lists(&model), &before);
            tokio::task::spawn_blocking(write).await.unwrap_or_else(|why| Err(std::io::Error::other(why)))
        } else {
            history::write(&folder, &commit, &print::without_lists(&config.model), &before)
        };
        match written {
            Ok(bytes) => self.commits.history.borrow_mut().push(commit, bytes, pinned),
            Err(why) => tracing::error!("commit {number} is in force, but cannot be remembered: {why}"),
        }
    }

    /// The configuration that the `back`th commit before the newest made; its domain lists too.
    async fn was(&self, back: usize) -> Result<(u64, Loaded), Refusal> {
        let _file = self.commits.file.lock().await;
        let history = self.commits.history.borrow();
        let commit = history.commits().nth(back);
        let number = commit.map(|commit| commit.number).ok_or_else(|| {
            Refusal::Failed(format!(
                "there are {} commits: `show configuration commits`",
                history.commits().count()
            ))
        })?;
        self.at(&history, number).map(|loaded| (number, loaded))
    }

    fn at(&self, history: &History, number: u64) -> Result<Loaded, Refusal> {
        let (text, _) = history.read(number).map_err(Refusal::Failed)?;
        let lists = self.config().model.domains.as_ref().clone();
        let lists =
            history.domains_at(number, lists, &self.commits.pending.borrow()).map_err(Refusal::Failed)?;
        let mut loaded = load(&text, &format!("commit {number}"), Path::new("/")).map_err(Refusal::Text)?;
        loaded.config.model.domains = Arc::new(lists);
        loaded.config.remarks = None;
        Ok(loaded)
    }

    /// `rollback N`. Gives the warnings.
    pub async fn rollback(&self, by: &By, back: usize) -> Result<Report, Refusal> {
        let _change = self.change.lock().await;
        self.editable().map_err(Refusal::Failed)?;
        let (_, loaded) = self.was(back).await?;
        self.change_to(self.config(), loaded, by).await
    }

    /// `commit confirmed MINUTES`: what is changed from now on is taken back then.
    pub async fn commit_confirmed(&self, by: &By, minutes: u32) -> Result<Unconfirmed, Refusal> {
        let _change = self.change.lock().await;
        self.editable().map_err(Refusal::Failed)?;
        self.arm(by, minutes).await
    }

    /// Goes back to waiting as before, where what was to be confirmed did not happen.
    pub(super) fn disarm(&self, before: Option<Unconfirmed>) {
        if let Err(why) = self.commits.set(before) {
            tracing::error!("{why}");
        }
    }

    pub(super) async fn arm(&self, by: &By, minutes: u32) -> Result<Unconfirmed, Refusal> {
        let number = match self.unconfirmed() {
            Some(before) => before.number,
            None => {
                // A commit of its own, so that what is gone back to has the domain commands in it.
                let config = self.config();
                self.keep(&config, Some(&[])).await.map_err(Refusal::Failed)?;
                self.record(by, &config, &[]).await;
                let history = self.commits.history.borrow();
                let newest = history.commits().next().map(|commit| commit.number);
                newest.ok_or_else(|| Refusal::Failed("there is no commit to go back to".to_owned()))?
            }
        };
        let unconfirmed = Unconfirmed { number, until: now() + i64::from(minutes) * 60 };
        self.commits.set(Some(unconfirmed)).map_err(Refusal::Failed)?;
        Ok(unconfirmed)
    }

    /// `commit`: what was changed stays.
    pub async fn confirm(&self) -> Result<(), String> {
        let _change = self.change.lock().await;
        match self.unconfirmed() {
            Some(_) => self.commits.set(None),
            None => Err("nothing waits to be confirmed".to_owned()),
        }
    }

    /// Goes back where nobody has confirmed in time, for as long as the daemon lives.
    pub(super) async fn watch_unconfirmed(self: Rc<Self>) {
        let mut pause = Duration::from_secs(1);
        loop {
            tokio::time::sleep(pause).await;
            pause = Duration::from_secs(1);
            if self.unconfirmed().is_some_and(|unconfirmed| unconfirmed.until <= now())
                && let Err(why) = self.go_back().await
            {
                let why = match why {
                    Refusal::Text(report) => report.render(false),
                    Refusal::Failed(why) => why,
                };
                tracing::error!("the commit was not confirmed, and cannot be taken back: {why}");
                pause = Duration::from_secs(30);
            }
        }
    }

    async fn go_back(&self) -> Result<(), Refusal> {
        let _change = self.change.lock().await;
        // Confirmed while the lock was waited for.
        let Some(unconfirmed) = self.unconfirmed().filter(|unconfirmed| unconfirmed.until <= now()) else {
            return Ok(());
        };
        self.editable().map_err(Refusal::Failed)?;
        let by = By::control("commit confirmed: not confirmed in time");
        let loaded = {
            let _file = self.commits.file.lock().await;
            self.at(&self.commits.history.borrow(), unconfirmed.number)?
        };
        self.change_to(self.config(), loaded, &by).await?;
        tracing::warn!(
            "the commit was not confirmed in time: the configuration is that of commit {} again",
            unconfirmed.number
        );
        self.commits.set(None).map_err(Refusal::Failed)
    }

    /// `show diff [N]`: what the configuration has more (`+`) and less (`-`) than that of the `back`th commit before the newest, or than the
    /// startup-config.
    pub async fn diff(&self, back: Option<usize>) -> Result<String, Refusal> {
        let config = self.config();
        let (name, then) = match back {
            Some(back) => {
                let (number, loaded) = self.was(back).await?;
                (format!("commit {number}"), loaded.config)
            }
            None => {
                ("startup-config".to_owned(), load_file(&self.paths.startup).map_err(Refusal::Text)?.config)
            }
        };
        let text = tokio::task::spawn_blocking(move || difference(&name, &then, &config)).await;
        text.map_err(|why| Refusal::Failed(why.to_string()))
    }
}

/// What `now` has more and less than `then`, as `diff -u` shows it; the lines of the domain lists come last, by themselves.
fn difference(name: &str, then: &Config, now: &Config) -> String {
    let [before, after] = [then, now].map(|config| print::without_lists(&config.model));
    // Lines that are many and all different must not take for ever: what is left then is coarser, and still right.
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .timeout(Duration::from_secs(2))
        .diff_lines(&before, &after);
    let mut out = String::new();
    for hunk in diff.unified_diff().context_radius(AROUND).iter_hunks() {
        out.push_str(&format!("{}\n", hunk.header()));
        for change in hunk.iter_changes() {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            out.push_str(&format!("{sign}{}\n", change.value().trim_end_matches('\n')));
        }
    }
    let bound = |key: &DomainKey| {
        then.model.domain_trust.contains_key(key) || now.model.domain_trust.contains_key(key)
    };
    for change in changes(&then.model.domains, &now.model.domains) {
        if bound(&change.key) {
            continue;
        }
        let none = Default::default();
        lines(&change.key, &none, &change.before).iter().for_each(|line| out.push_str(&format!("-{line}\n")));
        lines(&change.key, &none, &change.after).iter().for_each(|line| out.push_str(&format!("+{line}\n")));
    }
    if out.is_empty() { out } else { format!("--- {name}\n+++ running-config\n{out}") }
}
