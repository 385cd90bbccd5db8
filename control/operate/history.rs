// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configurations that were: a file each, with who made it, when and by what command, under `DIR/history`.
//!
//! A file is one line of JSON in a comment, the configuration without the domain lists, and behind `! domains before` what the lists said
//! before, for those entries that the commit changed: going back through several commits puts them back one after the other, so
//! that a commit costs what it changed and not a million lines. At most [`MOST`] commits and [`MOST_BYTES`] are kept;
//! the oldest go first, but never one that an unconfirmed commit may have to go back to.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use super::journal::{apply_line, lines};
use crate::config::file;
use crate::config::model::{DomainEntry, DomainKey, Domains};
use crate::config::source::MAX_TEXT;

/// Most commits kept.
pub const MOST: usize = 100;
/// Most bytes of them.
pub const MOST_BYTES: u64 = 64 << 20;

const DOMAINS: &str = "! domains before\n";

/// Who did what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// As the kernel says.
    pub uid: u32,
    /// Who they say they are.
    pub user: String,
    /// The command, without secrets.
    pub command: String,
}

impl By {
    /// The daemon itself.
    pub fn control(command: &str) -> Self {
        Self {
            uid: rustix::process::getuid().as_raw(),
            user: "fedgate-control".into(),
            command: command.into(),
        }
    }
}

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its number; never given twice.
    pub number: u64,
    /// Seconds since 1970.
    pub at: i64,
    /// Whose it is.
    pub by: By,
}

/// What entries of the domain lists were.
pub type Before = BTreeMap<DomainKey, DomainEntry>;

/// The commits, oldest first.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    commits: Vec<(Commit, u64)>,
    next: u64,
}

impl History {
    /// What is there.
    pub fn open(state: &Path) -> Self {
        let folder = state.join("history");
        let mut commits = Vec::new();
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let text =
                file::read(&entry.path(), MAX_TEXT).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let first = text.as_deref().and_then(|text| text.lines().next()?.strip_prefix("! "));
            match first.and_then(|line| serde_json::from_str::<Commit>(line).ok()) {
                Some(commit) => commits.push((commit, text.map_or(0, |text| text.len() as u64))),
                // Left by a death while writing.
                None => drop(std::fs::remove_file(entry.path())),
            }
        }
        commits.sort_by_key(|(commit, _)| commit.number);
        let next = commits.last().map_or(1, |(last, _)| last.number + 1);
        Self { folder, commits, next }
    }

    /// Newest first.
    pub fn commits(&self) -> impl Iterator<Item = &Commit> {
        self.commits.iter().rev().map(|(commit, _)| commit)
    }

    /// The number that the next commit gets; nobody else gets it.
    pub fn take_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The folder, for [`write()`] from another thread.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A commit was written, of so many bytes. Forgets the oldest, but none from `pinned` on.
    pub fn push(&mut self, commit: Commit, bytes: u64, pinned: Option<u64>) {
        self.commits.push((commit, bytes));
        self.commits.sort_by_key(|(commit, _)| commit.number);
        let total = |commits: &[(Commit, u64)]| commits.iter().map(|(_, bytes)| bytes).sum::<u64>();
        while self.commits.len() > 1
            && (self.commits.len() > MOST || total(&self.commits) > MOST_BYTES)
            && pinned.is_none_or(|pinned| self.commits[0].0.number < pinned)
        {
            let (oldest, _) = self.commits.remove(0);
            let _ = std::fs::remove_file(self.folder.join(oldest.number.to_string()));
        }
    }

    /// The configuration of a commit, without its domain lists, and what they were before it.
    ///
    /// # Errors
    /// A sentence.
    pub fn read(&self, number: u64) -> Result<(String, Before), String> {
        let path = self.folder.join(number.to_string());
        let text =
            file::read(&path, MAX_TEXT).map_err(|why| format!("cannot read commit {number}: {why}"))?;
        let text = String::from_utf8(text).map_err(|_| format!("commit {number} is not text"))?;
        let (config, domains) = text.split_once(DOMAINS).unwrap_or((&text, ""));
        let mut before = Before::new();
        let mut key: Option<DomainKey> = None;
        for line in domains.lines() {
            if let Some(name) = line.strip_prefix("= ") {
                let named = crate::config::domains::parse_key(name)
                    .map_err(|why| format!("commit {number}: {why}"))?;
                before.insert(named.clone(), DomainEntry::default());
                key = Some(named);
            } else {
                let mut one = Domains::new();
                let entry = apply_line(&mut one, line).then(|| one.pop_first()).flatten();
                match (&key, entry) {
                    (Some(key), Some((_, said))) => {
                        let entry = before.entry(key.clone()).or_default();
                        entry.permit = said.permit.or(entry.permit.take());
                        entry.block = said.block.or(entry.block.take());
                    }
                    _ => return Err(format!("commit {number} is damaged: {line}")),
                }
            }
        }
        Ok((config.to_owned(), before))
    }

    /// The domain lists as they were with commit `number`, from what they are now.
    ///
    /// # Errors
    /// A sentence: there is no such commit, or one on the way cannot be read.
    pub fn domains_at(&self, number: u64, mut now: Domains, pending: &Before) -> Result<Domains, String> {
        put_back(&mut now, pending);
        for commit in self.commits().take_while(|commit| commit.number > number) {
            put_back(&mut now, &self.read(commit.number)?.1);
        }
        Ok(now)
    }

    /// Whether a configuration that is kept has these words.
    pub fn mentions(&self, words: &str) -> bool {
        self.commits().any(|commit| self.read(commit.number).is_ok_and(|(text, _)| text.contains(words)))
    }
}

/// Makes entries what they were.
pub fn put_back(domains: &mut Domains, before: &Before) {
    for (key, entry) in before {
        if *entry == DomainEntry::default() {
            domains.remove(key);
        } else {
            domains.insert(key.clone(), entry.clone());
        }
    }
}

/// Writes a commit's file; gives its size.
///
/// # Errors
/// It cannot be written.
pub fn write(folder: &Path, commit: &Commit, config: &str, before: &Before) -> io::Result<u64> {
    use std::os::unix::fs::DirBuilderExt;
    let mut text = format!("! {}\n{config}{DOMAINS}", serde_json::to_string(commit)?);
    for (key, entry) in before {
        text.push_str(&format!("= {key}\n"));
        for line in lines(key, &DomainEntry::default(), entry) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    files::replace(&folder.join(commit.number.to_string()), &text)?;
    Ok(text.len() as u64)
}
