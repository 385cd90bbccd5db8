// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration: text -> raw statements -> validated model; `policy` then makes the segment of it.
//!
//! | step | module | type |
//! | --- | --- | --- |
//! | words with positions | [`source`] | [`source::Line`] |
//! | commands, each checked by itself | [`grammar`], [`parse`] | [`raw::Statement`] |
//! | applied by `read` one after the other | [`apply`] | [`model::Model`] |
//! | checked as a whole | [`check`], [`resolve`], [`domains`], [`trust`] | [`Config`] |
//! | printed back | [`print`] | text |
//!
//! [`load`] reads a whole text: all errors of it are reported, and where there is one nothing comes of it. [`edit`] applies a
//! line from the CLI to a configuration in the same way. Both are pure but for the trustpoints' PEM files,
//! of which [`edit`] reads only those of trustpoints it touches.

pub mod addr;
pub mod apply;
pub mod args;
pub mod check;
pub mod diag;
pub mod domains;
pub mod expand;
pub mod file;
pub mod grammar;
mod mapped;
pub mod model;
pub mod parse;
pub mod ports;
pub mod print;
pub mod raw;
mod read;
pub mod resolve;
pub mod source;
pub mod suggest;
pub mod trust;
pub mod types;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use args::Env;
use diag::{Problem, Report};
use model::Model;
use raw::{Command, Mode, Statement};
use read::Reader;
use source::{Line, MAX_TEXT, Span};
use trust::Material;

/// A configuration that can be compiled.
#[derive(Clone, Default)]
pub struct Config {
    /// What it says.
    pub model: Model,
    /// What its trustpoints' files hold.
    pub material: Material,
    /// What [`check`] warns of in the model, so that the next edit need not look again; `None` once the model was changed beside it.
    pub remarks: Option<Arc<HashSet<String>>>,
}

impl PartialEq for Config {
    /// Remarks follow from the rest.
    fn eq(&self, other: &Self) -> bool {
        self.model == other.model && self.material == other.material
    }
}

impl Eq for Config {}

/// A configuration, and what was remarked on the way.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub report: Report,
}

/// Reads the file at `path`.
pub fn load_file(path: &Path) -> Result<Loaded, Report> {
    load_file_over(path, &Model::default())
}

/// Reads the file at `path`. Interfaces that it calls as an ASA does and says no `hardware` of have that of `machine`, which is the
/// configuration before.
pub fn load_file_over(path: &Path, machine: &Model) -> Result<Loaded, Report> {
    let name = path.display().to_string();
    let cannot = |why: String| {
        let mut report = Report::new(&name);
        report.push(Problem::error(Span { line: 1, start: 0, end: 0 }, why), "");
        report
    };
    let bytes = file::read(path, MAX_TEXT).map_err(|why| cannot(format!("cannot read {name}: {why}")))?;
    let text = String::from_utf8(bytes).map_err(|why| {
        let at = why.utf8_error().valid_up_to();
        let line = why.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1;
        cannot(format!("{name}: line {line} is not UTF-8"))
    })?;
    // The parent of a bare name is empty, which is no path.
    let base = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let base = std::path::absolute(base)
        .map_err(|why| cannot(format!("cannot find the folder of {name}: {why}")))?;
    let mut reader = Reader::new(Model::default(), &text, &name, &base);
    reader.inherit(machine);
    reader.finish(&HashSet::new(), &Config::default())
}

/// Reads `text`, called `name`; relative paths in it start from `base`.
pub fn load(text: &str, name: &str, base: &Path) -> Result<Loaded, Report> {
    Reader::new(Model::default(), text, name, base).finish(&HashSet::new(), &Config::default())
}

/// Applies `text` to `config`: the lines of a sub-mode, outermost first, and then the line itself. Only warnings that
/// `config` did not already earn are reported.
pub fn edit(config: &Config, text: &str, base: &Path) -> Result<Loaded, Report> {
    let known =
        config.remarks.clone().unwrap_or_else(|| Arc::new(read::messages(&check::check(&config.model))));
    Reader::new(config.model.clone(), text, "command line", base).finish(&known, config)
}

/// Leaves of the domain lists what is bound to trustpoints, which is part of the policy.
pub fn keep_bound(model: &mut Model) {
    let bound =
        model.domain_trust.keys().filter_map(|key| Some((key.clone(), model.domains.get(key)?.clone())));
    model.domains = Arc::new(bound.collect());
}

/// A place among the sub-modes: what the CLI's prompt shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The innermost mode.
    pub mode: Mode,
    /// The mode lines that lead there, outermost first.
    pub context: Vec<String>,
}

/// Parses one line as if `context` (mode lines, outermost first) stood before it and `model` before those, without applying anything.
/// Gives the place that the next line would be understood in. Of `context` each line must lead into a mode.
pub fn parse_line(
    model: &Model,
    context: &[String],
    line: &str,
    base: &Path,
) -> Result<(Statement, Place), Report> {
    let mut report = Report::new("command line");
    let mut stack: Vec<(Mode, &str)> = Vec::new();
    let mut last: Option<Statement> = None;
    let mut group = None;
    for (number, text) in context.iter().map(String::as_str).chain([line]).enumerate() {
        let number = number as u32 + 1;
        let mode = stack.last().map_or(Mode::Global, |(mode, _)| *mode);
        let parsed = Line::lex(number, text).and_then(|line| match line {
            None => Err(Problem::error(Span { line: number, ..Span::default() }, "no command in the line")),
            Some(line) => {
                grammar::parse(&line, mode, &Env { base, model, group }).map_err(|failure| failure.problem)
            }
        });
        match parsed {
            Ok(grammar::Parsed { statement, spec, .. }) => {
                while stack.last().is_some_and(|(mode, _)| *mode != spec.mode) {
                    stack.pop();
                }
                match spec.enters.filter(|_| !statement.negated) {
                    Some(enters) => stack.push((enters, text)),
                    None if number as usize <= context.len() => {
                        let span = Span { line: number, ..Span::default() };
                        report.push(Problem::error(span, "not the first line of a mode"), text);
                        return Err(report);
                    }
                    None => {}
                }
                if let Command::Group(_, kind) = statement.command {
                    group = Some(kind);
                }
                last = Some(statement);
            }
            Err(problem) => {
                report.push(problem, text);
                return Err(report);
            }
        }
    }
    let mode = stack.last().map_or(Mode::Global, |(mode, _)| *mode);
    let context = stack.iter().map(|(_, text)| (*text).to_owned()).collect();
    // There is at least `line` itself.
    last.map(|statement| (statement, Place { mode, context })).ok_or(report)
}
