// SPDX-License-Identifier: MIT OR Apache-2.0
//! Abbreviated words, as on an ASA: `sh conn det` is `show conn detail`.
//!
//! Only what an operator types is looked at, never a file. A command's own words may be cut as long as only one is left that begins so; of its
//! arguments only those of `show` and `clear` commands that take no names, since a name may begin like a keyword. A word
//! that is written out wins over longer ones.

use super::commands::SPECS;
use crate::config::grammar::{self, chain};
use crate::config::raw::Mode;
use crate::config::source::Line;

/// Several words that a cut one may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// As it was typed.
    pub word: String,
    /// What it may be, sorted.
    pub known: Vec<&'static str>,
}

/// `text`, typed in `mode`, with its words written out; what is not known stays as it is.
///
/// # Errors
/// A word may be one of several.
pub fn expand(text: &str, mode: Mode) -> Result<String, Ambiguous> {
    let Ok(Some(line)) = Line::lex(1, text) else { return Ok(text.to_owned()) };
    let from = usize::from(line.tokens[0].text == "no");
    let commands = SPECS.iter().map(|spec| (spec.words, spec.usage)).filter(|_| from == 0);
    let lines = chain(mode).flat_map(|mode| grammar::SPECS.iter().filter(move |spec| spec.mode == mode));
    let mut fitting: Vec<(&'static str, &'static str)> =
        commands.chain(lines.map(|spec| (spec.words, spec.usage))).collect();
    let mut words: Vec<&str> = line.tokens.iter().map(|token| token.text).collect();
    let mut at = from;
    while at < words.len() {
        let nth = |(known, _): &(&'static str, &'static str)| known.split(' ').nth(at - from);
        let Some(word) = meant(words[at], fitting.iter().filter_map(nth))? else { break };
        fitting.retain(|spec| nth(spec) == Some(word));
        words[at] = word;
        at += 1;
    }
    // Among commands whose words are all there, the longest is meant.
    let whole = fitting.iter().filter(|(known, _)| known.split(' ').count() == at - from);
    if let Some((_, usage)) = whole.max_by_key(|(known, _)| known.len())
        && ["show", "clear"].contains(&words[0])
        && let Some(keywords) = keywords(usage)
    {
        for word in &mut words[at..] {
            if let Some(known) = meant(word, keywords.iter().copied())? {
                *word = known;
            }
        }
    }
    Ok(replaced(&line, &words))
}

/// What `word` is written out, where it begins any of `known`.
fn meant(word: &str, known: impl Iterator<Item = &'static str>) -> Result<Option<&'static str>, Ambiguous> {
    let mut fits: Vec<&'static str> = known.filter(|known| known.starts_with(word)).collect();
    fits.sort_unstable();
    fits.dedup();
    match fits[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        [first, ..] if first == word => Ok(Some(first)),
        _ => Err(Ambiguous { word: word.to_owned(), known: fits }),
    }
}

/// The keywords among a command's arguments; `None` where names may stand there too.
fn keywords(usage: &'static str) -> Option<Vec<&'static str>> {
    let words: Vec<&str> =
        usage.split([' ', '[', ']', '{', '}', '|', '-']).filter(|word| !word.is_empty()).collect();
    let values = ["A", "P", "N", "ADDRESS", "LEAST", "MOST"];
    let is_value = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase());
    if words.iter().any(|word| is_value(word) && !values.contains(word)) {
        return None;
    }
    Some(words.into_iter().filter(|word| !is_value(word)).collect())
}

/// The line with other words in the places of its own.
fn replaced(line: &Line<'_>, words: &[&str]) -> String {
    let (mut out, mut end) = (String::new(), 0);
    for (token, word) in line.tokens.iter().zip(words) {
        let (start, stop) = (token.span.start as usize, token.span.end as usize);
        out.push_str(&line.text[end..start]);
        // Quotes stay where the word is what was typed.
        out.push_str(if token.text == *word { &line.text[start..stop] } else { word });
        end = stop;
    }
    out.push_str(&line.text[end..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, mode: Mode) -> String {
        expand(text, mode).unwrap_or_else(|why| panic!("{why:?}"))
    }

    #[test]
    fn words_are_written_out() {
        for (typed, meant) in [
            ("sh conn", "show conn"),
            ("sh conn addr 10.0.0.1 det", "show conn address 10.0.0.1 detail"),
            ("sh run", "show running-config"),
            ("sh nat p", "show nat pool"),
            ("sh nat det", "show nat detail"),
            ("sh ipv6 nei", "show ipv6 neighbor"),
            ("show interface ou", "show interface ou"),
            ("wr mem", "write memory"),
            ("no acc", "no acc"),
            ("hostn \"a b\"", "hostname \"a b\""),
            ("show conn", "show conn"),
        ] {
            if let Ok(text) = expand(typed, Mode::Global) {
                assert_eq!(text, meant);
            } else {
                assert_eq!(typed, "no acc");
            }
        }
        assert_eq!(of("no shut", Mode::Interface), "no shutdown");
        assert_eq!(of("namei outside", Mode::Interface), "nameif outside");
        let why = expand("access x", Mode::Global).unwrap_err();
        assert_eq!((why.word.as_str(), why.known), ("access", vec!["access-group", "access-list"]));
    }

    /// What is written out is taken for what it is, whatever else begins so.
    #[test]
    fn whole_commands_stay_what_they_are() {
        for spec in SPECS {
            assert_eq!(of(spec.words, Mode::Global), spec.words);
        }
        for spec in grammar::SPECS.iter().filter(|spec| !spec.example.is_empty()) {
            assert_eq!(of(spec.example, spec.mode), spec.example);
        }
    }
}
