// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is wrong with a configuration, and how it is shown: file, line, column, a caret, a suggestion.
//!
//! A [`Problem`] knows its place in one line; a [`Report`] holds those of a whole text with the lines they stand in,
//! so that it can be rendered long after the text is gone (the daemon sends it to the CLI). All problems of a text
//! are collected, up to [`MAX_PROBLEMS`]: a file of garbage must not cost memory without bound.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::source::Span;

/// Most problems kept of one text; the rest are only counted.
pub const MAX_PROBLEMS: usize = 1000;

/// Does it stop the load?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is applied.
    Error,
    /// Loaded all the same; the operator is told.
    Warning,
}

/// One finding in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where.
    pub span: Span,
    /// What, as a sentence without a full stop.
    pub message: String,
    /// Short text beside the caret; may be empty.
    pub label: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The line as it was most likely meant: what stands behind it is looked at as if it had been written. Never applied.
    pub meant: Option<String>,
}

impl Problem {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span,
            message: message.into(),
            label: String::new(),
            help: None,
            meant: None,
        }
    }

    /// The same with a text beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with the line that was most likely meant.
    #[must_use]
    pub fn meant(mut self, line: impl Into<String>) -> Self {
        self.meant = Some(line.into());
        self
    }

    /// The same with a suggestion.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A problem with the text of its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The finding.
    pub problem: Problem,
    /// Its line, cut to a length that can be shown.
    pub source: String,
}

/// All findings of one text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the text is called: a path, or `command line`.
    pub name: String,
    /// In the order found, at most [`MAX_PROBLEMS`].
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there were.
    pub more: usize,
    /// Whether any of all was an error.
    pub failed: bool,
}

impl Report {
    /// An empty report on the text called `name`.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Adds a finding in the line `source`.
    pub fn push(&mut self, problem: Problem, source: &str) {
        self.failed |= problem.severity == Severity::Error;
        if self.diagnostics.len() >= MAX_PROBLEMS {
            self.more += 1;
            return;
        }
        let shown =
            source.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 512).last();
        let source = source[..shown.unwrap_or(0)].to_owned();
        self.diagnostics.push(Diagnostic { problem, source });
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// The findings as text, in colours where `styled`.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for diagnostic in &self.diagnostics {
            out.push_str(&renderer.render(&[self.group(diagnostic)]));
            out.push_str("\n\n");
        }
        if self.more > 0 {
            out.push_str(&format!("and {} more\n", self.more));
        }
        out
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let problem = &diagnostic.problem;
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let limit = diagnostic.source.len();
        let mut start = (problem.span.start as usize).min(limit);
        let mut end = (problem.span.end as usize).clamp(start, limit);
        // A span is made of whole tokens, but the shown line may have been cut within one.
        while !diagnostic.source.is_char_boundary(start) {
            start -= 1;
        }
        while !diagnostic.source.is_char_boundary(end) {
            end += 1;
        }
        let caret = AnnotationKind::Primary.span(start..end).label(problem.label.as_str());
        let snippet = Snippet::source(diagnostic.source.as_str())
            .line_start(problem.span.line as usize)
            .path(self.name.as_str())
            .annotation(caret);
        let group = level.primary_title(problem.message.as_str()).element(snippet);
        match &problem.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}
