// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration: text -> raw statements -> validated model; `policy` then makes the segment of it.
//!
//! | step | module | type |
//! | --- | --- | --- |
//! | words with positions | [`source`] | [`source::Line`] |
//! | commands, each checked by itself | [`grammar`], [`parse`] | [`raw::Statement`] |
//! | applied one after the other | [`apply`] | [`model::Model`] |
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
pub mod model;
pub mod parse;
pub mod ports;
pub mod print;
pub mod raw;
pub mod resolve;
pub mod source;
pub mod suggest;
pub mod trust;
pub mod types;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use apply::Editor;
use args::Env;
use check::{About, Fault};
use diag::{Problem, Report, Severity};
use model::Model;
use raw::{Command, Mode, Statement};
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
    let base = path.parent().unwrap_or(Path::new("."));
    let base = std::path::absolute(base)
        .map_err(|why| cannot(format!("cannot find the folder of {name}: {why}")))?;
    load(&text, &name, &base)
}

/// Reads `text`, called `name`; relative paths in it start from `base`.
pub fn load(text: &str, name: &str, base: &Path) -> Result<Loaded, Report> {
    Reader::new(Model::default(), text, name, base).finish(&HashSet::new(), &Config::default())
}

/// Applies `text` to `config`: the lines of a sub-mode, outermost first, and then the line itself. Only warnings that
/// `config` did not already earn are reported.
pub fn edit(config: &Config, text: &str, base: &Path) -> Result<Loaded, Report> {
    let known = config.remarks.clone().unwrap_or_else(|| Arc::new(messages(&check::check(&config.model))));
    Reader::new(config.model.clone(), text, "command line", base).finish(&known, config)
}

fn messages(found: &[(About, Fault)]) -> HashSet<String> {
    found.iter().map(|(_, fault)| fault.message.clone()).collect()
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
/// Gives the place that the next line would be understood in.
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
            Ok((statement, spec)) => {
                while stack.last().is_some_and(|(mode, _)| *mode != spec.mode) {
                    stack.pop();
                }
                if let Some(enters) = spec.enters.filter(|_| !statement.negated) {
                    stack.push((enters, text));
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

/// The mode that the line after a command is understood in.
fn mode_after(spec: &grammar::Spec, negated: bool) -> Mode {
    match spec.enters {
        Some(enters) if !negated => enters,
        _ => spec.mode,
    }
}

/// Reads a text line by line into an [`Editor`].
struct Reader<'t> {
    editor: Editor,
    lines: Vec<&'t str>,
    report: Report,
    /// Where each element was last touched.
    spans: HashMap<About, Span>,
    last: Span,
}

impl<'t> Reader<'t> {
    fn new(model: Model, text: &'t str, name: &str, base: &Path) -> Self {
        let mut reader = Self {
            editor: Editor::new(model),
            lines: Vec::new(),
            report: Report::new(name),
            spans: HashMap::new(),
            last: Span { line: 1, ..Span::default() },
        };
        if text.len() > MAX_TEXT {
            let what = format!("larger than {MAX_TEXT} bytes");
            reader.report.push(Problem::error(reader.last, what), "");
        } else {
            reader.lines = text.lines().collect();
            reader.read(base);
        }
        reader
    }

    fn read(&mut self, base: &Path) {
        let mut mode = Mode::Global;
        // After a mode line with an error in it: `Some(mode)` reads the lines under it for their own errors without applying
        // them, `Some(None)` skips them because nobody knows what they belong to.
        let mut broken: Option<Option<Mode>> = None;
        for at in 0..self.lines.len() {
            let text = self.lines[at];
            let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
            let line = match Line::lex(number, text) {
                Ok(Some(line)) => line,
                Ok(None) => continue,
                Err(problem) => {
                    self.report.push(problem, text);
                    continue;
                }
            };
            if !line.indented {
                broken = None;
            }
            let shadow = match broken {
                Some(None) => continue,
                Some(Some(shadow)) => Some(shadow),
                None => None,
            };
            let env = Env { base, model: &self.editor.model, group: self.editor.group() };
            match grammar::parse(&line, shadow.unwrap_or(mode), &env) {
                Err(failure) => {
                    self.report.push(failure.problem, text);
                    if !line.indented || failure.enters.is_some() {
                        broken = Some(failure.enters);
                    }
                }
                Ok((statement, spec)) => {
                    let next = mode_after(spec, statement.negated);
                    if shadow.is_some() {
                        broken = Some(Some(next));
                        continue;
                    }
                    mode = next;
                    self.last = line.span();
                    match self.editor.apply(statement) {
                        Ok(About::Other) => {}
                        Ok(about) => drop(self.spans.insert(about, line.span())),
                        Err(fault) => self.fault(line.span(), fault),
                    }
                }
            }
        }
    }

    /// Reports a fault of the line at `span`, with the caret under the word it is about.
    fn fault(&mut self, span: Span, fault: Fault) {
        let text =
            (span.line as usize).checked_sub(1).and_then(|at| self.lines.get(at)).copied().unwrap_or("");
        let word = fault.word.as_deref().and_then(|word| {
            let line = Line::lex(span.line, text).ok().flatten()?;
            line.tokens.iter().rev().find(|t| t.text == word).map(|t| t.span)
        });
        let mut problem = Problem::error(word.unwrap_or(span), fault.message);
        problem.severity = fault.severity;
        problem.help = fault.help;
        self.report.push(problem, text);
    }

    /// Checks what came of the text; what `before` knows of the files of untouched trustpoints still holds.
    fn finish(mut self, known: &HashSet<String>, before: &Config) -> Result<Loaded, Report> {
        // With errors in single lines, half of what the whole-model check would say is only their echo.
        if self.report.failed {
            return Err(self.report);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
        let model = std::mem::take(&mut self.editor.model);
        let known_pem = |name: &str| {
            let parts = [About::Trustpoint, About::Certificate, About::Key, About::Ca, About::Crl];
            let touched = parts.iter().any(|part| self.spans.contains_key(&part(name.to_owned())));
            let same = before.model.trustpoints.get(name) == model.trustpoints.get(name);
            before.material.get(name).filter(|_| same && !touched)
        };
        let (material, trust) = trust::read(&model, now, known_pem);
        let faults = check::check(&model);
        let remarks = Some(Arc::new(messages(&faults)));
        let mut found: Vec<(Span, Fault)> = faults
            .into_iter()
            .chain(trust)
            .filter(|(_, fault)| fault.severity == Severity::Error || !known.contains(&fault.message))
            .map(|(about, fault)| (self.spans.get(&about).copied().unwrap_or(self.last), fault))
            .collect();
        found.sort_by_key(|(span, _)| span.line);
        for (span, fault) in found {
            self.fault(span, fault);
        }
        if self.report.failed {
            return Err(self.report);
        }
        Ok(Loaded { config: Config { model, material, remarks }, report: self.report })
    }
}
