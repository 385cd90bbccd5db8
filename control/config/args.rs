// SPDX-License-Identifier: MIT OR Apache-2.0
//! The words of one command, taken one after the other: every parse function is written with this.
//!
//! Each `take` either gives a checked value or a [`Problem`] at the very word that is wrong (or at the end of the line
//! where a word is missing), naming what was expected there.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use super::addr::Net6;
use super::diag::{Problem, Severity};
use super::model::{GroupKind, Model};
use super::source::{Line, Span, Token};
use super::types::Net;

/// Longest name of an object, access-list, interface and so on, bytes (the ASA's limit for an ACL is 241).
pub const MAX_NAME: usize = 64;

/// What a line's words may depend on beside themselves.
#[derive(Clone, Copy)]
pub struct Env<'m> {
    /// The folder that relative paths start from.
    pub base: &'m Path,
    /// What stands before the line: of which kind a group is, say.
    pub model: &'m Model,
    /// Of which kind the object-group is that the line stands under.
    pub group: Option<GroupKind>,
}

/// A place in the words of a line.
#[derive(Clone, Debug)]
pub struct Args<'l, 'a> {
    line: &'l Line<'a>,
    at: usize,
    names: Option<&'l BTreeMap<String, Ipv4Addr>>,
    negated: bool,
    remarks: Vec<Problem>,
}

impl<'l, 'a> Args<'l, 'a> {
    /// The words of `line` from number `at` on.
    pub fn new(line: &'l Line<'a>, at: usize) -> Self {
        Self { line, at, names: None, negated: false, remarks: Vec::new() }
    }

    /// The same where names may stand for addresses.
    pub fn within(line: &'l Line<'a>, at: usize, env: &Env<'l>) -> Self {
        let names = env.model.names.then_some(&env.model.name_table);
        let negated = line.tokens[0].text == "no";
        Self { line, at, names, negated, remarks: Vec::new() }
    }

    /// Whether nothing stands behind `no` and the command's own words.
    pub fn is_bare_no(&self) -> bool {
        self.negated && self.peek().is_none()
    }

    /// Whether the line begins with `no`.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// Notes what the operator is to be told although the line is taken.
    pub fn remark(&mut self, problem: Problem) {
        self.remarks.push(Problem { severity: Severity::Warning, ..problem });
    }

    /// What was noted.
    pub fn remarks(&mut self) -> Vec<Problem> {
        std::mem::take(&mut self.remarks)
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

    /// The line with `words` in the place of the word just taken.
    pub fn with_instead(&self, words: &str) -> String {
        let span = self
            .at
            .checked_sub(1)
            .and_then(|at| self.line.tokens.get(at))
            .map(|t| t.span)
            .unwrap_or_default();
        let text = self.line.text;
        format!("{}{words}{}", &text[..span.start as usize], &text[span.end as usize..])
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
        if let Some(address) = self.names.and_then(|names| names.get(token.text)) {
            return Ok(*address);
        }
        token.text.parse().map_err(|_| {
            let problem = self.wrong(format!("`{}` is not an IPv4 address", token.text));
            if token.text.contains(':') { problem.help("an IPv4 address is wanted here") } else { problem }
        })
    }

    /// An address of either family.
    pub fn ip(&mut self, what: &str) -> Result<IpAddr, Problem> {
        if self.peek().is_some_and(|word| word.contains(':')) {
            return self.address6(what).map(IpAddr::V6);
        }
        self.address(what).map(IpAddr::V4)
    }

    /// An IPv6 address.
    pub fn address6(&mut self, what: &str) -> Result<Ipv6Addr, Problem> {
        let token = self.take(what)?;
        token.text.parse().map_err(|_| self.wrong(format!("`{}` is not an IPv6 address", token.text)))
    }

    /// `ADDRESS/LENGTH`: an IPv6 address and the size of its network.
    pub fn prefix6(&mut self) -> Result<(Ipv6Addr, u8), Problem> {
        self.parsed("an IPv6 prefix", |word| {
            let shape = "expected ADDRESS/LENGTH";
            let (addr, len) = word.split_once('/').ok_or(shape)?;
            let addr = addr.parse::<Ipv6Addr>().map_err(|_| shape)?;
            let digits = (1..=3).contains(&len.len()) && len.bytes().all(|b| b.is_ascii_digit());
            let len = len.parse::<u8>().ok().filter(|n| digits && *n <= 128);
            Ok::<_, &str>((addr, len.ok_or("the length is 0 to 128")?))
        })
    }

    /// An IPv6 network, `P/LEN` without host bits.
    pub fn network6(&mut self) -> Result<Net6, Problem> {
        let (addr, len) = self.prefix6()?;
        Net6::new(addr, len).ok_or_else(|| {
            let problem = self.wrong(format!("`{addr}/{len}` has host bits set"));
            match Net6::holding(addr, len) {
                Some(net) => problem.help(format!("write `{net}`, or `host {addr}`")),
                None => problem,
            }
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
