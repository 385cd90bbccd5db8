// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text to tokens with positions: the first of the configuration's three steps.
//!
//! The language is line oriented, so a position is a line number and a byte range within that line, and every
//! diagnostic can be drawn from its one line alone. A line is cut at blanks; `"..."` keeps blanks together
//! (paths); `!` or `:` as the first character that is not blank makes the whole line a comment, as on the ASA.
//! Leading blanks are only counted: they say that a line is a sub-command, the parser decides of what.
//!
//! Limits: [`MAX_TEXT`] bytes a file, [`MAX_LINE`] bytes a line, no control characters but tab.

use super::diag::Problem;

/// Largest configuration accepted, bytes: a million domain lines with room to spare.
pub const MAX_TEXT: usize = 256 << 20;
/// Longest line accepted, bytes.
pub const MAX_LINE: usize = 4096;

/// A byte range within one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Line number, from 1.
    pub line: u32,
    /// First byte within the line, from 0.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// One word of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// The word, without the quotes it may have had.
    pub text: &'a str,
    /// Where it stands, quotes included.
    pub span: Span,
}

/// One line that is neither empty nor a comment.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// Line number, from 1.
    pub number: u32,
    /// The whole line without its end.
    pub text: &'a str,
    /// True where blanks precede the first word.
    pub indented: bool,
    /// Its words, at least one.
    pub tokens: Vec<Token<'a>>,
}

impl<'a> Line<'a> {
    /// Cuts `text`, line number `number`, into words. `Ok(None)` for an empty line or a comment.
    pub fn lex(number: u32, text: &'a str) -> Result<Option<Self>, Problem> {
        let whole = Span { line: number, start: 0, end: text.len().min(MAX_LINE) as u32 };
        if text.len() > MAX_LINE {
            return Err(Problem::error(whole, format!("line longer than {MAX_LINE} bytes")));
        }
        if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_control() && *c != '\t') {
            let span = Span { line: number, start: at as u32, end: (at + c.len_utf8()) as u32 };
            return Err(Problem::error(
                span,
                format!("control character {} in the text", c.escape_unicode()),
            ));
        }
        let body = text.trim_start_matches([' ', '\t']);
        if body.is_empty() || body.starts_with(['!', ':']) {
            return Ok(None);
        }
        let mut tokens = Vec::new();
        let mut at = text.len() - body.len();
        let indented = at > 0;
        while let Some(token) = next_token(number, text, &mut at)? {
            tokens.push(token);
        }
        Ok(Some(Self { number, text, indented, tokens }))
    }

    /// The span of the whole line from its first word on.
    pub fn span(&self) -> Span {
        let start = self.tokens.first().map_or(0, |t| t.span.start);
        Span { line: self.number, start, end: self.text.trim_end().len() as u32 }
    }
}

/// Takes the next word from byte `at` on, and moves `at` past it.
fn next_token<'a>(number: u32, text: &'a str, at: &mut usize) -> Result<Option<Token<'a>>, Problem> {
    let blank = |c: char| c == ' ' || c == '\t';
    let rest = &text[*at..];
    let start = *at + (rest.len() - rest.trim_start_matches(blank).len());
    let body = &text[start..];
    if body.is_empty() {
        return Ok(None);
    }
    let (word, len) = match body.strip_prefix('"') {
        Some(inner) => match inner.find('"') {
            Some(close) => (&inner[..close], close + 2),
            None => {
                let span = Span { line: number, start: start as u32, end: text.len() as u32 };
                return Err(Problem::error(span, "quote without its end").label("begins here"));
            }
        },
        None => {
            let len = body.find(blank).unwrap_or(body.len());
            (&body[..len], len)
        }
    };
    *at = start + len;
    let span = Span { line: number, start: start as u32, end: *at as u32 };
    Ok(Some(Token { text: word, span }))
}

/// `word` as it must be written so that [`Line::lex`] gives it back as one token.
pub fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && !word.contains([' ', '\t', '"']);
    if plain { word.to_owned() } else { format!("\"{word}\"") }
}
