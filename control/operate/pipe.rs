// SPDX-License-Identifier: MIT OR Apache-2.0
//! What stands behind `|` of a `show` command: `include`, `exclude`, `begin`, `grep`, `count`, `json`, one after the other.
//!
//! Done by the daemon, line by line as the answer is made, so that of a million connections only what is wanted crosses the socket. Patterns are
//! searched in linear time and compiled within a bound. Limits: at most [`MOST`] filters in a row.

use regex::{Regex, RegexBuilder};

use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::config::source::Line;

/// Most filters of a command.
const MOST: usize = 8;
/// Most bytes a compiled pattern may take.
const MOST_BYTES: usize = 1 << 20;

/// Their names, and what each does.
pub const WORDS: &[(&str, &str); 6] = &[
    ("include", "lines that match"),
    ("exclude", "lines that do not match"),
    ("begin", "from the first line that matches on"),
    ("grep", "lines that match; with -v those that do not"),
    ("count", "how many lines"),
    ("json", "one JSON object a line"),
];

/// One of them.
#[derive(Debug)]
pub enum Filter {
    /// Lines that match, or those that do not.
    Include(Regex, bool),
    /// From the first line that matches on.
    Begin(Regex, bool),
    /// How many lines there are.
    Count(u64),
}

/// What is asked for behind a command.
#[derive(Debug, Default)]
pub struct Pipes {
    /// In their order.
    pub filters: Vec<Filter>,
    /// `json`
    pub json: bool,
}

/// Where the first `|` of a line stands: a word of its own.
pub fn bar(line: &Line<'_>) -> Option<usize> {
    line.tokens.iter().position(|token| token.text == "|" && token.span.end == token.span.start + 1)
}

/// Reads what stands from the `|` at word `at` on.
///
/// # Errors
/// What is wrong, with its place.
pub fn parse(line: &Line<'_>, at: usize) -> Result<Pipes, Problem> {
    let mut pipes = Pipes::default();
    let mut args = Args::new(line, at);
    while args.peek().is_some() {
        args.expect("|")?;
        let word = args.take("`include`, `exclude`, `begin`, `grep`, `count` or `json`")?.text;
        let mut fits = WORDS.iter().map(|(known, _)| *known).filter(|known| known.starts_with(word));
        let (Some(known), None) = (fits.next(), fits.next()) else {
            return Err(args
                .wrong(format!("`{word}` is no filter"))
                .help(format!("filters are {}", WORDS.map(|(known, _)| known).join(", "))));
        };
        match known {
            "count" => pipes.filters.push(Filter::Count(0)),
            "json" => pipes.json = true,
            _ => {
                let without = known == "exclude" || (known == "grep" && args.accept("-v"));
                let pattern = args.parsed("a pattern", |word| {
                    RegexBuilder::new(word).size_limit(MOST_BYTES).build().map_err(|why| first_line(&why))
                })?;
                pipes.filters.push(match known {
                    "begin" => Filter::Begin(pattern, false),
                    _ => Filter::Include(pattern, !without),
                });
            }
        }
        if pipes.filters.len() > MOST {
            return Err(args.wrong(format!("at most {MOST} filters")));
        }
    }
    Ok(pipes)
}

/// The last line of what a pattern's parser says has the reason; those before draw it.
fn first_line(why: &regex::Error) -> String {
    why.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

impl Pipes {
    /// Whether a line comes through.
    pub fn passes(&mut self, line: &str) -> bool {
        self.filters.iter_mut().all(|filter| match filter {
            Filter::Include(pattern, wanted) => pattern.is_match(line) == *wanted,
            Filter::Begin(pattern, begun) => {
                *begun |= pattern.is_match(line);
                *begun
            }
            Filter::Count(lines) => {
                *lines += 1;
                false
            }
        })
    }

    /// What a count came to, at the end.
    pub fn counted(&self) -> Option<u64> {
        self.filters.iter().find_map(|filter| match filter {
            Filter::Count(lines) => Some(*lines),
            Filter::Include(..) | Filter::Begin(..) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pipes: &str, text: &str) -> (Vec<String>, Option<u64>) {
        let whole = format!("show x {pipes}");
        let line = Line::lex(1, &whole).unwrap().unwrap();
        let mut pipes = parse(&line, bar(&line).unwrap()).unwrap();
        let lines = text.lines().filter(|line| pipes.passes(line)).map(str::to_owned).collect();
        (lines, pipes.counted())
    }

    #[test]
    fn one_after_the_other() {
        let text = "tcp a\nudp b\ntcp c\nicmp d";
        assert_eq!(through("| include tcp", text).0, ["tcp a", "tcp c"]);
        assert_eq!(through("| exclude tcp", text).0, ["udp b", "icmp d"]);
        assert_eq!(through("| grep -v ^t", text).0, ["udp b", "icmp d"]);
        assert_eq!(through("| begin udp", text).0, ["udp b", "tcp c", "icmp d"]);
        assert_eq!(through("| beg udp | inc tcp", text).0, ["tcp c"]);
        assert_eq!(through("| include tcp | count", text), (vec![], Some(2)));
        assert_eq!(through("| include \"p a\"", text).0, ["tcp a"]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let why = |pipes: &str| {
            let whole = format!("show x {pipes}");
            let line = Line::lex(1, &whole).unwrap().unwrap();
            parse(&line, bar(&line).unwrap()).unwrap_err().message
        };
        assert_eq!(why("| sort"), "`sort` is no filter");
        assert_eq!(why("| include"), "incomplete command: expected a pattern");
        assert_eq!(why("| include ("), "`(` is not a pattern: unclosed group");
        assert!(why("| include (a{1000}){1000}").contains("size limit"));
        assert_eq!(why(&"| count ".repeat(9)), "at most 8 filters");
    }
}
