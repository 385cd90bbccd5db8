// SPDX-License-Identifier: MIT OR Apache-2.0
//! A whole text, line by line, into an [`Editor`], and what came of it checked.
//!
//! All errors are reported at once, and nothing is applied where there is one. So that the checks of the whole can speak of a text
//! with errors in single lines without echoing those, a line whose meaning is plain in spite of its error is read as it was meant
//! ([`super::diag::Problem::meant`]); of what cannot be understood the names are remembered, and nothing is said that is about them.
//!
//! Two things here are of ASA texts: prompts that were pasted along are read over, and certificates stand in hexadecimal under their line.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::apply::Editor;
use super::args::Env;
use super::check::{self, About, Fault};
use super::diag::{Problem, Report, Severity};
use super::grammar::{self, Failure, Parsed};
use super::model::Model;
use super::raw::{Command, Mode};
use super::source::{Line, MAX_TEXT, Span};
use super::types::Device;
use super::{Config, Loaded, mapped, print, trust};

/// Longest certificate in a configuration, bytes.
const MAX_CERTIFICATE: usize = 16 << 10;

/// See the module.
pub(super) struct Reader<'t> {
    editor: Editor,
    lines: Vec<&'t str>,
    report: Report,
    /// Where each element was touched.
    spans: HashMap<About, Touched>,
    last: Span,
    mode: Mode,
    broken: Option<Broken>,
    /// Names in lines that could not be read.
    unread: HashSet<String>,
    /// First lines of blocks that have an error in them.
    spoilt: HashSet<u32>,
}

/// The lines that made an element what it is.
struct Touched {
    first: Span,
    more: Vec<Span>,
}

/// Behind a mode line with an error in it.
#[derive(Clone, Copy)]
enum Broken {
    /// The lines under it are read for their own errors, without applying them.
    Shadow(Mode),
    /// They are skipped, because nobody knows what they belong to.
    Skip,
}

pub(super) fn messages(found: &[(About, Fault)]) -> HashSet<String> {
    found.iter().map(|(_, fault)| fault.message.clone()).collect()
}

impl<'t> Reader<'t> {
    /// Reads `text` on top of `model`.
    pub(super) fn new(model: Model, text: &'t str, name: &str, base: &Path) -> Self {
        let mut reader = Self {
            editor: Editor::new(model),
            lines: Vec::new(),
            report: Report::new(name),
            spans: HashMap::new(),
            last: Span { line: 1, ..Span::default() },
            mode: Mode::Global,
            broken: None,
            unread: HashSet::new(),
            spoilt: HashSet::new(),
        };
        if text.len() > MAX_TEXT {
            let what = format!("larger than {MAX_TEXT} bytes");
            reader.report.push(Problem::error(reader.last, what), "");
        } else {
            reader.lines = text.lines().collect();
            let mut at = 0;
            while let Some(text) = reader.lines.get(at).copied() {
                at += 1;
                reader.line(text, &mut at, base);
            }
        }
        reader
    }

    /// Interfaces without `hardware` take over that which `machine` has for them.
    pub(super) fn inherit(&mut self, machine: &Model) {
        for interface in &mut self.editor.model.interfaces {
            if matches!(interface.device, Device::Slot(_)) && interface.hardware.is_none() {
                let before = machine.interfaces.iter().find(|i| i.device == interface.device);
                interface.hardware = before.and_then(|before| before.hardware.clone());
            }
        }
    }

    /// The line before number `at`; lines that belong to it move `at` on.
    fn line(&mut self, text: &'t str, at: &mut usize, base: &Path) {
        let number = u32::try_from(*at).unwrap_or(u32::MAX);
        let (clean, debris) = without_debris(number, text);
        let line = match Line::lex(number, &clean) {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(problem) => return self.report.push(problem, text),
        };
        if let Some(problem) = debris {
            self.report.push(problem, text);
        }
        if !line.indented {
            self.broken = None;
        }
        if matches!(self.broken, Some(Broken::Skip)) {
            return self.forget(&line);
        }
        match self.parse(&line, base) {
            Ok(parsed) => self.take(parsed, &line, text, at),
            Err(mut failure) => {
                let meant = failure.problem.meant.take();
                self.report.push(failure.problem, text);
                self.spoilt.insert(self.block(number));
                let again = meant.as_deref().and_then(|meant| Line::lex(number, meant).ok().flatten());
                match again.map(|again| self.parse(&again, base)) {
                    Some(Ok(parsed)) => self.take(Parsed { remarks: Vec::new(), ..parsed }, &line, text, at),
                    Some(Err(_)) | None => {
                        self.forget(&line);
                        if !line.indented || failure.enters.is_some() {
                            self.broken = Some(failure.enters.map_or(Broken::Skip, Broken::Shadow));
                        }
                    }
                }
            }
        }
    }

    fn parse(&self, line: &Line<'_>, base: &Path) -> Result<Parsed, Failure> {
        let mode = match self.broken {
            Some(Broken::Shadow(mode)) => mode,
            Some(Broken::Skip) | None => self.mode,
        };
        grammar::parse(line, mode, &Env { base, model: &self.editor.model, group: self.editor.group() })
    }

    fn take(&mut self, parsed: Parsed, line: &Line<'_>, text: &str, at: &mut usize) {
        let Parsed { mut statement, spec, remarks } = parsed;
        remarks.into_iter().for_each(|remark| self.report.push(remark, text));
        let next = match spec.enters {
            Some(enters) if !statement.negated => enters,
            _ => spec.mode,
        };
        if let Command::Certificate(certificate) = &mut statement.command
            && !statement.negated
        {
            match self.certificate(line.span(), &certificate.serial, text, at) {
                Ok(der) => certificate.der = der,
                Err(problem) => return self.report.push(problem, text),
            }
        }
        if self.broken.is_some() {
            self.broken = Some(Broken::Shadow(next));
            return self.forget(line);
        }
        self.mode = next;
        self.last = line.span();
        if statement.command == Command::Idle && !line.indented {
            // What stands under it has no effect either.
            self.broken = Some(Broken::Skip);
        }
        match self.editor.apply(statement) {
            Ok(About::Other) => {}
            Ok(about) => {
                let touched = self.spans.entry(about);
                touched
                    .and_modify(|touched| touched.more.push(line.span()))
                    .or_insert_with(|| Touched { first: line.span(), more: Vec::new() });
            }
            Err(fault) => {
                self.spoilt.insert(self.block(line.number));
                self.forget(line);
                self.fault(line.span(), fault);
            }
        }
    }

    /// The lines of hexadecimal up to `quit`, and whether they are the certificate that was announced.
    fn certificate(
        &mut self,
        span: Span,
        serial: &str,
        text: &str,
        at: &mut usize,
    ) -> Result<Vec<u8>, Problem> {
        let mut digits = String::new();
        loop {
            let Some(line) = self.lines.get(*at).copied() else {
                return Err(Problem::error(span, "the certificate does not end").help(
                    "expected lines of hexadecimal and then `quit`; `crypto ca import` takes one from the command line",
                ));
            };
            *at += 1;
            let word = line.trim();
            if word == "quit" {
                break;
            }
            let hex = |c: char| c.is_ascii_hexdigit() || c == ' ';
            if !word.chars().all(hex) || digits.len() > 2 * MAX_CERTIFICATE {
                let start = (line.len() - line.trim_start().len()) as u32;
                let span = Span { line: *at as u32, start, end: start + word.len() as u32 };
                let problem = Problem::error(span, "neither hexadecimal nor `quit`, or too much of it");
                self.report.push(problem, line);
                return Err(Problem::error(self.last, "the certificate under this line cannot be read"));
            }
            digits.extend(word.chars().filter(|c| *c != ' '));
        }
        let byte =
            |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let der: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        let der = der
            .filter(|der| digits.len().is_multiple_of(2) && x509_parser::parse_x509_certificate(der).is_ok());
        let der = der.ok_or_else(|| Problem::error(span, "what stands under the line is no certificate"))?;
        let own = print::serial(&der);
        if own.trim_start_matches('0') != serial.trim_start_matches('0') {
            let remark = Problem::error(span, format!("the certificate's serial number is {own}"));
            self.report.push(Problem { severity: Severity::Warning, ..remark }, text);
        }
        Ok(der)
    }

    /// Remembers the names in a line of which nothing comes.
    fn forget(&mut self, line: &Line<'_>) {
        let names =
            line.tokens.iter().map(|token| token.text).filter(|word| word.contains(char::is_alphabetic));
        self.unread.extend(names.map(str::to_owned));
    }

    /// The first line of the block that a line stands in.
    fn block(&self, line: u32) -> u32 {
        let begins = |text: &str| !text.is_empty() && !text.starts_with([' ', '\t', '!', ':', '#']);
        let before = self.lines.get(..line as usize).unwrap_or_default();
        before.iter().rposition(|text| begins(text)).map_or(0, |at| at as u32 + 1)
    }

    /// Reports a fault of the line at `span`, with the caret under the word it is about.
    fn fault(&mut self, span: Span, fault: Fault) {
        let text = self.text(span);
        let word = fault.word.as_deref().and_then(|word| self.find(span, word));
        let mut problem = Problem::error(word.unwrap_or(span), fault.message);
        problem.severity = fault.severity;
        problem.help = fault.help;
        self.report.push(problem, text);
    }

    fn text(&self, span: Span) -> &'t str {
        (span.line as usize).checked_sub(1).and_then(|at| self.lines.get(at)).copied().unwrap_or("")
    }

    /// The last place of `word` in a line.
    fn find(&self, span: Span, word: &str) -> Option<Span> {
        let line = Line::lex(span.line, self.text(span)).ok().flatten()?;
        line.tokens.iter().rev().find(|t| t.text == word).map(|t| t.span)
    }

    /// The line to show for a finding: that with the word it is about, else the first that made the element what it is where only
    /// something is lacking, else the last.
    fn place(&self, about: &About, fault: &Fault) -> Span {
        let Some(touched) = self.spans.get(about) else { return self.last };
        let newest = || touched.more.iter().rev().chain([&touched.first]);
        let named =
            fault.word.as_deref().and_then(|word| newest().find(|span| self.find(**span, word).is_some()));
        let lacks = fault.severity == Severity::Warning;
        *named.unwrap_or(if lacks { &touched.first } else { touched.more.last().unwrap_or(&touched.first) })
    }

    /// Whether a finding is only there because a line could not be read.
    fn is_echo(&self, about: &About, fault: &Fault) -> bool {
        let spoilt = |touched: &Touched| self.spoilt.contains(&self.block(touched.first.line));
        let warned = fault.severity == Severity::Warning;
        let own = |c: char| c.is_alphanumeric() || "_-./:+@".contains(c);
        let unread = |word: &str| self.unread.contains(word) && !grammar::is_keyword(word);
        (warned && (*about == About::Other || self.spans.get(about).is_some_and(spoilt)))
            || fault.word.as_deref().is_some_and(unread)
            || fault.message.split(|c| !own(c)).any(unread)
    }

    /// Checks what came of the text; what `before` knows of the files of untouched trustpoints still holds.
    pub(super) fn finish(mut self, known: &HashSet<String>, before: &Config) -> Result<Loaded, Report> {
        let now = crate::clock::now();
        let mut model = std::mem::take(&mut self.editor.model);
        let mut faults = if self.editor.mapped_lists { mapped::to_real(&mut model) } else { Vec::new() };
        let checked = check::check(&model);
        let remarks = Some(Arc::new(messages(&checked)));
        if self.editor.mapped_lists {
            // Said of those lines already.
            let told: HashSet<About> = faults.iter().map(|(about, _)| about.clone()).collect();
            let of_8_2 = |fault: &Fault| fault.message == check::REAL_ADDRESSES;
            faults
                .extend(checked.into_iter().filter(|(about, fault)| !told.contains(about) && !of_8_2(fault)));
        } else {
            faults.extend(checked);
        }
        let mut material = trust::Material::default();
        if self.report.failed {
            // Files are read only for a text that may come into force.
            faults.retain(|(about, fault)| !self.is_echo(about, fault));
        } else {
            let known_pem = |name: &str| {
                let parts = [About::Trustpoint, About::Certificate, About::Key, About::Ca, About::Crl];
                let touched = parts.iter().any(|part| self.spans.contains_key(&part(name.to_owned())));
                let same = before.model.trustpoints.get(name) == model.trustpoints.get(name);
                before.material.get(name).filter(|_| same && !touched)
            };
            let (read, found) = trust::read(&model, now, known_pem);
            material = read;
            faults.extend(found);
        }
        for (about, fault) in faults {
            if fault.severity == Severity::Error || !known.contains(&fault.message) {
                self.fault(self.place(&about, &fault), fault);
            }
        }
        self.report.diagnostics.sort_by_key(|found| found.problem.span.line);
        if self.report.failed {
            return Err(self.report);
        }
        Ok(Loaded { config: Config { model, material, remarks }, report: self.report })
    }
}

/// A line without a prompt, or a `#`, before its command: blanks stand in their place, so that columns stay what they are.
fn without_debris(number: u32, text: &str) -> (Cow<'_, str>, Option<Problem>) {
    let start = text.len() - text.trim_start_matches([' ', '\t']).len();
    let body = &text[start..];
    if let Some(rest) = body.strip_prefix('#') {
        let span = Span { line: number, start: start as u32, end: start as u32 + 1 };
        let problem = Problem::error(span, "`#` begins neither a command nor a comment")
            .label("left over from a prompt?")
            .help(format!("write ` {}`, or `!` before a comment", rest.trim()));
        return (Cow::Owned(format!("{} {rest}", &text[..start])), Some(problem));
    }
    let prompt = body.find('#').filter(|at| {
        let name = body[..*at].split_once("(config");
        name.is_some_and(|(name, mode)| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            name.bytes().all(plain) && mode.strip_suffix(')').is_some_and(|mode| mode.bytes().all(plain))
        })
    });
    let Some(at) = prompt else { return (Cow::Borrowed(text), None) };
    let end = start + at + 1;
    let span = Span { line: number, start: start as u32, end: end as u32 };
    let remark = Problem::error(span, "a prompt was pasted along").help("leave it out");
    let clean = format!("{}{}", " ".repeat(end), &text[end..]);
    (Cow::Owned(clean), Some(Problem { severity: Severity::Warning, ..remark }))
}
