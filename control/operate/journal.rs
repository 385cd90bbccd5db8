// SPDX-License-Identifier: MIT OR Apache-2.0
//! The domain lists on disk: a file of lines that is only appended to, so that one domain more costs one line and not a million.
//!
//! A line is a checksum and a `permit domain`, `block domain` or `no` line of the configuration. What belongs to a commit stands between
//! `commit N` and `end N`; the running-config says up to which N the file counts, and is written (whole, renamed into place) after
//! the group: so the two are one commit, whatever byte the power goes at. A domain command by itself is one line, in force with its last byte.
//! Reading ends at the first line that is not whole, or begins a group above N; the file is cut there.
//! Where more lines were appended than half of what was there, the next command writes the file anew: same number, same contents. Lines behind
//! the last group are what commands changed since the last commit, and stay so.
//!
//! Control's one thread. A write that fails leaves the file as long as it was.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::files;
use super::history::{Before, put_back};
use crate::config::apply::apply_rule;
use crate::config::args::Env;
use crate::config::grammar;
use crate::config::model::{DomainEntry, DomainKey, DomainRule, Domains, Model};
use crate::config::print::domain_line;
use crate::config::raw::{Command, Mode};
use crate::config::source::{Line, MAX_LINE};

/// Fewer lines than this are never worth writing a file anew.
const FEW: usize = 10_000;
/// Lines that one write takes.
const PIECE: usize = 4096;

/// An entry before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub key: DomainKey,
    /// What was said of it.
    pub before: DomainEntry,
    /// What is.
    pub after: DomainEntry,
}

/// What differs between two lists, in order.
pub fn changes(before: &Domains, after: &Domains) -> Vec<Change> {
    let mut found = Vec::new();
    let mut push = |key: &DomainKey, old: Option<&DomainEntry>, new: Option<&DomainEntry>| {
        let of = |entry: Option<&DomainEntry>| entry.cloned().unwrap_or_default();
        found.push(Change { key: key.clone(), before: of(old), after: of(new) });
    };
    let (mut old, mut new) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let which = match (old.peek(), new.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let was = if which == Ordering::Greater { None } else { old.next() };
        let is = if which == Ordering::Less { None } else { new.next() };
        if was != is
            && let Some((key, _)) = was.or(is)
        {
            push(key, was.map(|(_, entry)| entry), is.map(|(_, entry)| entry));
        }
    }
}

/// The configuration lines that make an entry of `before` what `after` is.
pub fn lines(key: &DomainKey, before: &DomainEntry, after: &DomainEntry) -> Vec<String> {
    let mut lines = Vec::new();
    match (&before.permit, &after.permit) {
        (old, Some(permit)) if old.as_ref() != Some(permit) => {
            lines.push(domain_line(key, &DomainRule::Permit(permit.clone()), None));
        }
        (Some(_), None) => lines.push(format!("no permit domain {key}")),
        (_, Some(_)) | (None, None) => {}
    }
    match (&before.block, &after.block) {
        (old, Some(note)) if old.as_ref() != Some(note) => {
            lines.push(domain_line(key, &DomainRule::Block(note.clone()), None));
        }
        (Some(_), None) => lines.push(format!("no block domain {key}")),
        (_, Some(_)) | (None, None) => {}
    }
    lines
}

/// Applies a line to lists. Gives false where it is none of theirs.
pub fn apply_line(domains: &mut Domains, text: &str) -> bool {
    applied(domains, text).is_some()
}

/// The same; gives the entry it is about, as it was.
fn applied(domains: &mut Domains, text: &str) -> Option<(DomainKey, DomainEntry)> {
    let model = Model::default();
    let env = Env { base: Path::new("/"), model: &model, group: None };
    let line = Line::lex(1, text).ok().flatten()?;
    let statement = grammar::parse(&line, Mode::Global, &env).ok()?.statement;
    let Command::Domain(key, rule) = statement.command else { return None };
    let before = domains.get(&key).cloned().unwrap_or_default();
    apply_rule(domains, &key, rule, statement.negated)?;
    Some((key, before))
}

/// Which file holds the lists, and up to which group: a line of the running-config.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// `domains.FILE`.
    pub file: u64,
    /// The last group that counts.
    pub group: u64,
}

impl Mark {
    /// As it stands in a running-config.
    pub fn line(self) -> String {
        format!("! domains {} {}\n", self.file, self.group)
    }

    /// Out of the first lines of a running-config.
    pub fn of(text: &str) -> Option<Self> {
        let line = text.lines().take(4).find_map(|line| line.strip_prefix("! domains "))?;
        let (file, group) = line.split_once(' ')?;
        Some(Self { file: file.parse().ok()?, group: group.parse().ok()? })
    }
}

/// The file.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    /// What a running-config that is written now would say.
    pub mark: Mark,
    file: Option<File>,
    /// Bytes that count.
    len: u64,
    /// Lines of the first group, and behind it.
    base: usize,
    appended: usize,
    /// Lines behind the last group.
    loose: usize,
}

impl Journal {
    /// None yet, in the state folder.
    pub fn new(folder: &Path) -> Self {
        let folder = folder.to_owned();
        Self { folder, mark: Mark::default(), file: None, len: 0, base: 0, appended: 0, loose: 0 }
    }

    fn path(&self, file: u64) -> PathBuf {
        self.folder.join(format!("domains.{file}"))
    }

    /// Reads the lists that a running-config with `mark` belongs to, and goes on with their file. Gives also what they were at the last
    /// commit, where commands have changed them since.
    ///
    /// # Errors
    /// The file is not there, or cannot be read or cut.
    pub fn open(&mut self, mark: Mark) -> io::Result<(Domains, Before)> {
        let options = || OpenOptions::new().read(true).write(true).open(self.path(mark.file));
        let mut file = options()?;
        let Replayed { domains, before, len, lines, loose } = replay(BufReader::new(&mut file), mark.group)?;
        if file.metadata()?.len() > len {
            tracing::warn!(file = %self.path(mark.file).display(), "cut at byte {len}: what stood behind was no whole commit");
            file.set_len(len)?;
            file.sync_data()?;
        }
        file.seek(SeekFrom::Start(len))?;
        (self.mark, self.file, self.len, self.base, self.appended) = (mark, Some(file), len, lines, 0);
        self.loose = loose;
        Ok((domains, before))
    }

    /// Begins another file that holds `domains` as one group. The old one stays until [`Self::sweep`].
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(&mut self, domains: &Domains) -> io::Result<()> {
        let files = std::fs::read_dir(&self.folder)?.flatten().map(|entry| entry.path());
        let highest = files.filter_map(|path| number(&path)).max().unwrap_or(0);
        let number = highest.max(self.mark.file).max(self.mark.group) + 1;
        self.write(Mark { file: number, group: number }, domains)
    }

    fn write(&mut self, mark: Mark, domains: &Domains) -> io::Result<()> {
        let mut text = String::new();
        seal(&mut text, &format!("commit {}", mark.group));
        for (key, entry) in domains {
            lines(key, &DomainEntry::default(), entry).iter().for_each(|line| seal(&mut text, line));
        }
        seal(&mut text, &format!("end {}", mark.group));
        let path = self.path(mark.file);
        files::replace(&path, &text)?;
        let mut file = OpenOptions::new().read(true).write(true).mode(0o600).open(&path)?;
        let len = file.seek(SeekFrom::End(0))?;
        (self.mark, self.file, self.len, self.base, self.appended) =
            (mark, Some(file), len, domains.len(), 0);
        self.loose = 0;
        Ok(())
    }

    /// A change by itself, `domains` being what comes of it, and `before` what commands since the last commit have changed.
    ///
    /// # Errors
    /// It cannot be written; the file is as it was.
    pub fn append(&mut self, change: &Change, domains: &Domains, before: &Before) -> io::Result<()> {
        if self.appended > FEW.max(self.base / 2) {
            let mut then = domains.clone();
            put_back(&mut then, before);
            put_back(&mut then, &[(change.key.clone(), change.before.clone())].into());
            self.write(self.mark, &then)?;
            let mut text = String::new();
            for change in changes(&then, domains) {
                let lines = lines(&change.key, &change.before, &change.after);
                lines.iter().for_each(|line| seal(&mut text, line));
                self.loose += lines.len();
            }
            return self.put(&text);
        }
        let mut text = String::new();
        let lines = lines(&change.key, &change.before, &change.after);
        lines.iter().for_each(|line| seal(&mut text, line));
        self.put(&text)?;
        self.appended += lines.len();
        self.loose += lines.len();
        Ok(())
    }

    /// The changes of a commit, which count once a running-config with the new [`Self::mark`] is there. Gives what takes them back.
    ///
    /// # Errors
    /// They cannot be written; the file is as it was.
    pub fn group(&mut self, changes: &[Change]) -> io::Result<Undo> {
        let undo = Undo { mark: self.mark, len: self.len, appended: self.appended, loose: self.loose };
        let group = self.mark.group + 1;
        let mut text = String::new();
        seal(&mut text, &format!("commit {group}"));
        let mut written = Ok(());
        for piece in changes.chunks(PIECE) {
            for change in piece {
                let lines = lines(&change.key, &change.before, &change.after);
                lines.iter().for_each(|line| seal(&mut text, line));
                self.appended += lines.len();
            }
            written = written.and_then(|()| self.push(&text));
            text.clear();
        }
        seal(&mut text, &format!("end {group}"));
        let written = written.and_then(|()| self.put(&text));
        (self.mark.group, self.loose) = (group, 0);
        match written {
            Ok(()) => Ok(undo),
            Err(why) => {
                self.undo(undo);
                Err(why)
            }
        }
    }

    /// Whether commands have changed the lists since the last group.
    pub fn is_loose(&self) -> bool {
        self.loose > 0
    }

    /// Takes a group back whose commit did not happen.
    pub fn undo(&mut self, undo: Undo) {
        (self.mark, self.appended, self.loose) = (undo.mark, undo.appended, undo.loose);
        self.cut(undo.len);
    }

    /// Removes the files that no running-config names any more.
    pub fn sweep(&self) {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        let own = self.path(self.mark.file);
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| *path != own) {
            if number(&path).is_some() {
                // The next sweep tries again.
                let _ = std::fs::remove_file(&path);
            }
        }
    }

    /// Writes behind what counts, and syncs.
    fn put(&mut self, text: &str) -> io::Result<()> {
        let before = self.len;
        let done = self.push(text).and_then(|()| self.file.as_mut().map_or(Ok(()), |file| file.sync_data()));
        if done.is_err() {
            self.cut(before);
        }
        done
    }

    fn push(&mut self, text: &str) -> io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| io::Error::other("no domain journal is open"))?;
        file.write_all(text.as_bytes())?;
        self.len += text.len() as u64;
        Ok(())
    }

    fn cut(&mut self, len: u64) {
        self.len = len;
        let Some(file) = &mut self.file else { return };
        if let Err(why) = file.set_len(len).and_then(|()| file.seek(SeekFrom::Start(len)).map(drop)) {
            // What cannot be taken back must not be gone on with.
            tracing::error!("cannot cut the domain journal: {why}");
            self.file = None;
        }
    }
}

/// The N of `domains.N`.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("domains.")?.parse().ok()
}

/// Where a journal stood.
#[derive(Clone, Copy, Debug)]
pub struct Undo {
    mark: Mark,
    len: u64,
    appended: usize,
    loose: usize,
}

fn seal(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:08x} {text}", crc32fast::hash(text.as_bytes()));
}

/// The text of a line that is whole.
fn opened(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (sum, text) = line.split_at_checked(8)?;
    let text = text.strip_prefix(' ')?;
    (u32::from_str_radix(sum, 16).ok()? == crc32fast::hash(text.as_bytes())).then_some(text)
}

/// What a file says.
#[derive(Default)]
struct Replayed {
    domains: Domains,
    /// What the last group left of the entries that lines behind it change.
    before: Before,
    /// Bytes that took.
    len: u64,
    lines: usize,
    /// Lines behind the last group.
    loose: usize,
}

/// Reads up to group `last`.
fn replay(mut from: impl BufRead, last: u64) -> io::Result<Replayed> {
    let mut all = Replayed::default();
    // Lines of a group that has not ended yet.
    let mut group: Option<(String, Vec<String>, u64)> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        io::Read::take(&mut from, 2 * MAX_LINE as u64).read_until(b'\n', &mut line)?;
        let Some(text) = opened(&line) else { return Ok(all) };
        let read = line.len() as u64;
        match (&mut group, text.strip_prefix("commit "), text.strip_prefix("end ")) {
            (None, Some(number), _) if number.parse().is_ok_and(|number: u64| number <= last) => {
                group = Some((number.to_owned(), Vec::new(), read));
            }
            (None, Some(_), _) => return Ok(all),
            (Some((number, waiting, bytes)), None, Some(end)) if number == end => {
                if !waiting.iter().all(|line| apply_line(&mut all.domains, line)) {
                    return Ok(all);
                }
                all.lines += waiting.len();
                all.len += *bytes + read;
                (all.loose, group) = (0, None);
                all.before.clear();
            }
            (Some((_, waiting, bytes)), None, None) => {
                waiting.push(text.to_owned());
                *bytes += read;
            }
            (None, None, None) => {
                let Some((key, entry)) = applied(&mut all.domains, text) else { return Ok(all) };
                all.before.entry(key).or_insert(entry);
                all.lines += 1;
                all.loose += 1;
                all.len += read;
            }
            _ => return Ok(all),
        }
    }
}

#[cfg(test)]
#[path = "tests/journal.rs"]
mod tests;
