// SPDX-License-Identifier: MIT OR Apache-2.0
//! Text to tokens with positions: the first of the configuration's three steps.
//!
//! The language is line oriented, so a position is a line number and a byte range within that line, and every
//! diagnostic can be drawn from its one line alone. A line is cut at blanks; `"..."` keeps blanks together
//! (paths); `!` or `:` as the first character that is not blank makes the whole line a comment, as on the ASA.
//! Leading blanks are only counted: they say that a line is a sub-command, the parser decides of what.
//!
//! Limits: [`MAX_TEXT`] bytes a file, [`MAX_LINE`] bytes a line, no control characters but tab.

use std::borrow::Cow;

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

/// What stands before a secret, in lines that are ours and in those of an ASA that are read over.
const BEFORE_SECRETS: [&str; 9] = [
    "password",
    "passwd",
    "pkcs12",
    "community",
    "pre-shared-key",
    "ldap-login-password",
    "radius-common-pw",
    "message-digest-key",
    "md5",
];
/// In the place of a secret.
const MASK: &str = "*****";

/// A line without its secrets, in the clear or hashed: for logs, and for those who may not have them. In doubt it says less.
pub fn masked(text: &str) -> Cow<'_, str> {
    let Ok(Some(line)) = Line::lex(1, text) else { return cut(text) };
    let words = &line.tokens;
    let is = |at: usize, known: &str| words.get(at).is_some_and(|word| word.text.eq_ignore_ascii_case(known));
    let mut secret = vec![false; words.len()];
    for at in 0..words.len() {
        let rest = is(at, "pkcs12") || is(0, "snmp-server") && is(at, "auth");
        let key = is(at, "key") && !is(at + 1, "file") && (at == 0 || is(0, "failover") || is(0, "isakmp"));
        if rest {
            secret[at + 1..].fill(true);
        } else if key || BEFORE_SECRETS.iter().any(|known| is(at, known)) {
            // `0` and `8` say of what follows whether it is encrypted.
            let kind = words.get(at + 1).is_some_and(|word| matches!(word.text, "0" | "8"));
            secret.iter_mut().skip(at + 1).take(1 + usize::from(kind)).for_each(|it| *it = true);
        }
    }
    if !secret.contains(&true) {
        return text.into();
    }
    let (mut out, mut from) = (String::new(), 0);
    for (word, _) in words.iter().zip(&secret).filter(|(_, secret)| **secret) {
        out.push_str(&text[from..word.span.start as usize]);
        out.push_str(MASK);
        from = word.span.end as usize;
    }
    out.push_str(&text[from..]);
    out.into()
}

/// A comment, or what is no line: nothing behind the first word that a secret may follow.
fn cut(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    let ends = BEFORE_SECRETS.iter().filter_map(|known| Some(lower.find(known)? + known.len()));
    match ends.min().filter(|end| !text[*end..].trim().is_empty()) {
        Some(end) => format!("{} {MASK}", &text[..end]).into(),
        None => text.into(),
    }
}

/// `word` as it must be written so that [`Line::lex`] gives it back as one token.
pub fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && !word.contains([' ', '\t', '"']);
    if plain { word.to_owned() } else { format!("\"{word}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_however_they_are_written() {
        for (line, want) in [
            ("show conn", "show conn"),
            ("username u password x privilege 5", "username u password ***** privilege 5"),
            (" username  u \tpassword   x\tprivilege 5", " username  u \tpassword   *****\tprivilege 5"),
            ("username u password \"two words\" role admin", "username u password ***** role admin"),
            ("username u \"password\" x", "username u \"password\" *****"),
            ("-username u password $sha512$1$a$b pbkdf2", "-username u password ***** pbkdf2"),
            ("enable password x", "enable password *****"),
            ("enable password 8 x", "enable password ***** *****"),
            ("passwd 2KFQnbNIdI.2KYOU encrypted", "passwd ***** encrypted"),
            ("snmp-server community public", "snmp-server community *****"),
            (
                "snmp-server host m 10.0.0.1 community 0 x version 2c",
                "snmp-server host m 10.0.0.1 community ***** ***** version 2c",
            ),
            (
                "snmp-server user u g v3 auth sha x priv aes 128 y",
                "snmp-server user u g v3 auth ***** ***** ***** ***** ***** *****",
            ),
            ("ikev1 pre-shared-key x", "ikev1 pre-shared-key *****"),
            (" key x", " key *****"),
            (" key file certs/t.key", " key file certs/t.key"),
            ("failover key x", "failover key *****"),
            ("crypto key generate rsa", "crypto key generate rsa"),
            ("crypto ca import t pkcs12 secret file x.p12", "crypto ca import t pkcs12 ***** ***** *****"),
            ("crypto ca import t certificate", "crypto ca import t certificate"),
            ("! username u password x", "! username u password *****"),
            ("username u password \"no end", "username u password *****"),
            ("username u password", "username u password"),
        ] {
            assert_eq!(masked(line), want);
        }
    }
}
