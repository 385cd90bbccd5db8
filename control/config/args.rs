// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of one command, taken one after the other: every parse function is written with this.
//!
//! Each `take` either gives a checked value or a [`Problem`] at the very word that is wrong (or at the end of the line
//! where a word is missing), naming what was expected there.

use std::fmt::Display;
use std::net::Ipv4Addr;

use super::diag::Problem;
use super::source::{Line, Span, Token};
use super::types::Net;

/// Longest name of an object, access-list, interface and so on, bytes (the ASA's limit for an ACL is 241).
pub const MAX_NAME: usize = 64;

/// A place in the words of a line.
#[derive(Clone, Debug)]
pub struct Args<'l, 'a> {
    line: &'l Line<'a>,
    at: usize,
}

impl<'l, 'a> Args<'l, 'a> {
    /// The words of `line` from number `at` on.
    pub fn new(line: &'l Line<'a>, at: usize) -> Self {
        Self { line, at }
    }

    /// The next word, if any, without taking it.
    pub fn peek(&self) -> Option<&'a str> {
        self.line.tokens.get(self.at).map(|t| t.text)
    }

    /// Takes the next word where it is `keyword`.
    pub fn accept(&mut self, keyword: &str) -> bool {
        let hit = self.peek() == Some(keyword);
        self.at += usize::from(hit);
        hit
    }

    /// Takes the next word, which must be there; `what` says what it is, e.g. `an address`.
    pub fn take(&mut self, what: &str) -> Result<Token<'a>, Problem> {
        match self.line.tokens.get(self.at) {
            Some(token) => {
                self.at += 1;
                Ok(*token)
            }
            None => {
                let end = self.line.text.trim_end().len() as u32;
                let span = Span { line: self.line.number, start: end, end };
                Err(Problem::error(span, format!("incomplete command: expected {what}"))
                    .label(format!("{what} is missing here")))
            }
        }
    }

    /// The word just taken is wrong.
    pub fn wrong(&self, message: impl Into<String>) -> Problem {
        let token = self.at.checked_sub(1).and_then(|at| self.line.tokens.get(at));
        Problem::error(token.map_or(self.line.span(), |t| t.span), message)
    }

    /// The next word must be `keyword`.
    pub fn expect(&mut self, keyword: &str) -> Result<(), Problem> {
        let token = self.take(&format!("`{keyword}`"))?;
        if token.text == keyword {
            return Ok(());
        }
        Err(self.wrong(format!("expected `{keyword}`, found `{}`", token.text)))
    }

    /// The next word must be one of `words`; gives its index.
    pub fn one_of(&mut self, words: &[&str]) -> Result<usize, Problem> {
        let list = words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" or ");
        let token = self.take(&list)?;
        words.iter().position(|w| *w == token.text).ok_or_else(|| {
            let problem = self.wrong(format!("expected {list}, found `{}`", token.text));
            match super::suggest::nearest(token.text, words.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            }
        })
    }

    /// No word may be left.
    pub fn end(&self) -> Result<(), Problem> {
        match self.line.tokens.get(self.at) {
            None => Ok(()),
            Some(first) => {
                let last = self.line.tokens.last().map_or(first.span.end, |t| t.span.end);
                let span = Span { end: last, ..first.span };
                Err(Problem::error(span, format!("the command ends before `{}`", first.text))
                    .label("not expected here"))
            }
        }
    }

    /// The rest of the line as it was written, from the next word on. Empty where there is none.
    pub fn rest(&mut self) -> &'a str {
        let start = self.line.tokens.get(self.at).map_or(self.line.text.len(), |t| t.span.start as usize);
        self.at = self.line.tokens.len();
        self.line.text[start..].trim_end()
    }

    /// A number within `low..=high`.
    pub fn number(&mut self, what: &str, low: u32, high: u32) -> Result<u32, Problem> {
        let token = self.take(what)?;
        let digits = !token.text.is_empty() && token.text.bytes().all(|b| b.is_ascii_digit());
        let value = token.text.parse::<u32>().ok().filter(|n| digits && (low..=high).contains(n));
        value.ok_or_else(|| {
            self.wrong(format!("`{}` is not {what}", token.text)).label(format!("expected {low} to {high}"))
        })
    }

    /// A dotted address.
    pub fn address(&mut self, what: &str) -> Result<Ipv4Addr, Problem> {
        let token = self.take(what)?;
        token.text.parse().map_err(|_| {
            let problem = self.wrong(format!("`{}` is not an IPv4 address", token.text));
            if token.text.contains(':') { problem.help("IPv6 is not supported yet") } else { problem }
        })
    }

    /// An address and a mask that make a network: contiguous mask, no host bits.
    pub fn network(&mut self) -> Result<Net, Problem> {
        let addr = self.address("a network address")?;
        let mask = self.mask()?;
        Net::new(addr, mask).ok_or_else(|| {
            let fixed = Ipv4Addr::from(u32::from(addr) & u32::from(mask));
            self.wrong(format!("IP address,mask <{addr},{mask}> doesn't pair"))
                .label("host bits are set")
                .help(format!("write `{fixed} {mask}`, or `host {addr}`"))
        })
    }

    /// A netmask: ones, then zeros.
    pub fn mask(&mut self) -> Result<Ipv4Addr, Problem> {
        let mask = self.address("a netmask")?;
        let inverse = !u32::from(mask);
        if inverse & inverse.wrapping_add(1) == 0 {
            return Ok(mask);
        }
        let problem = self.wrong(format!("`{mask}` is not a netmask"));
        let wildcard = u32::from(mask) & u32::from(mask).wrapping_add(1) == 0;
        Err(if wildcard {
            problem
                .help(format!("the ASA takes netmasks, not wildcards: write `{}`", Ipv4Addr::from(inverse)))
        } else {
            problem
        })
    }

    /// A name: letters, digits and `_-./:+@`, at most [`MAX_NAME`] bytes.
    pub fn name(&mut self, what: &str) -> Result<String, Problem> {
        let token = self.take(what)?;
        let good = |b: u8| b.is_ascii_alphanumeric() || b"_-./:+@".contains(&b);
        if token.text.is_empty() || token.text.len() > MAX_NAME || !token.text.bytes().all(good) {
            let rule = format!("1 to {MAX_NAME} letters, digits and _-./:+@");
            return Err(self.wrong(format!("`{}` cannot be {what}", token.text)).label(rule));
        }
        Ok(token.text.to_owned())
    }

    /// What a value's own parser says of the next word.
    pub fn parsed<T, E: Display>(
        &mut self,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, Problem> {
        let token = self.take(what)?;
        parse(token.text).map_err(|why| self.wrong(format!("`{}` is not {what}: {why}", token.text)))
    }
}
