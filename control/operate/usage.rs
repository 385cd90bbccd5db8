// SPDX-License-Identifier: MIT OR Apache-2.0
//! What may come next in a command, by its usage: `show conn [address A] [count|detail]` is read as the little grammar that it is.
//!
//! Words in small letters are keywords, which may be cut; all else stands for a value. `[x]` may be left out, and several of them in a row may
//! come in any order; `{a|b}` is one of them; `x ...` is x once or more often; `A[B]` without a blank is one value. Only the interactive `?` and Tab ask: what
//! a line means is its parser's to say, and a test holds every example of the grammar against its usage here.

use std::collections::BTreeSet;

/// A piece of a usage.
#[derive(Debug)]
enum Node<'u> {
    Word(&'u str),
    All(Vec<Node<'u>>),
    One(Vec<Node<'u>>),
    Maybe(Box<Node<'u>>),
    More(Box<Node<'u>>),
}

/// What may come behind some words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Next<'u> {
    /// Keywords and values, sorted.
    pub words: BTreeSet<&'u str>,
    /// Whether the command may end here.
    pub ends: bool,
}

/// What may come in `usage` behind `typed`.
pub fn next<'u>(usage: &'u str, typed: &[&str]) -> Next<'u> {
    let mut reader = Reader { rest: usage };
    let node = reader.alternatives();
    let mut words = BTreeSet::new();
    let ends = node.behind(typed, 0, &mut words).contains(&typed.len());
    Next { words, ends }
}

/// Whether a word of a usage stands for itself.
pub fn is_keyword(word: &str) -> bool {
    let own = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    word == "|" || (word.bytes().all(own) && word.bytes().any(|byte| byte.is_ascii_lowercase()))
}

impl<'u> Node<'u> {
    /// Where one may be after this piece, having begun at word `at`; where the words end within it, what is asked for there goes to `wanted`.
    fn behind(&self, typed: &[&str], at: usize, wanted: &mut BTreeSet<&'u str>) -> BTreeSet<usize> {
        match self {
            Self::Word(known) => match typed.get(at) {
                None => {
                    wanted.insert(known);
                    BTreeSet::new()
                }
                Some(word) if is_keyword(known) && !known.starts_with(word) => BTreeSet::new(),
                // A text goes to the line's end.
                Some(_) if *known == "TEXT" => (at + 1..=typed.len()).collect(),
                Some(_) => BTreeSet::from([at + 1]),
            },
            Self::All(nodes) => {
                let mut places = BTreeSet::from([at]);
                let mut nodes = &nodes[..];
                while let Some((first, rest)) = nodes.split_first() {
                    let optional = nodes.iter().take_while(|node| matches!(node, Self::Maybe(_))).count();
                    if optional > 1 {
                        places = closure(&nodes[..optional], places, typed, wanted);
                        nodes = &nodes[optional..];
                    } else {
                        places = places.into_iter().flat_map(|at| first.behind(typed, at, wanted)).collect();
                        nodes = rest;
                    }
                }
                places
            }
            Self::One(nodes) => nodes.iter().flat_map(|node| node.behind(typed, at, wanted)).collect(),
            Self::Maybe(node) => {
                let mut places = node.behind(typed, at, wanted);
                places.insert(at);
                places
            }
            Self::More(node) => {
                let once = node.behind(typed, at, wanted);
                closure(std::slice::from_ref(node), once, typed, wanted)
            }
        }
    }
}

/// Where one may be after any of `nodes`, each as often as one likes.
fn closure<'u>(
    nodes: &[impl std::borrow::Borrow<Node<'u>>],
    places: BTreeSet<usize>,
    typed: &[&str],
    wanted: &mut BTreeSet<&'u str>,
) -> BTreeSet<usize> {
    let mut all = places.clone();
    let mut new = places;
    while !new.is_empty() {
        let mut found = BTreeSet::new();
        for at in &new {
            for node in nodes {
                found.extend(node.borrow().behind(typed, *at, wanted));
            }
        }
        new = found.difference(&all).copied().collect();
        all.extend(&new);
    }
    all
}

struct Reader<'u> {
    rest: &'u str,
}

impl<'u> Reader<'u> {
    /// Up to a closing bracket, or the end.
    fn alternatives(&mut self) -> Node<'u> {
        let mut branches = vec![Vec::new()];
        loop {
            self.rest = self.rest.trim_start();
            let Some(first) = self.rest.chars().next() else { break };
            match first {
                '}' | ']' => break,
                '|' => {
                    self.rest = &self.rest[1..];
                    branches.push(Vec::new());
                }
                _ => {
                    let piece = self.piece(first);
                    if let Some(branch) = branches.last_mut() {
                        branch.push(piece);
                    }
                }
            }
        }
        let mut nodes: Vec<Node<'u>> = branches.into_iter().map(Node::All).collect();
        if nodes.len() == 1 { nodes.remove(0) } else { Node::One(nodes) }
    }

    fn piece(&mut self, first: char) -> Node<'u> {
        let node = match first {
            '[' | '{' => {
                self.rest = &self.rest[1..];
                let inner = self.alternatives();
                // The closing bracket.
                self.rest = self.rest.get(1..).unwrap_or_default();
                if first == '[' { Node::Maybe(Box::new(inner)) } else { inner }
            }
            _ => Node::Word(self.word()),
        };
        match self.rest.trim_start().strip_prefix("...") {
            Some(rest) => {
                self.rest = rest;
                Node::More(Box::new(node))
            }
            None => node,
        }
    }

    /// A word up to a blank, bar or bracket; brackets that stand at it without a blank are part of it.
    fn word(&mut self) -> &'u str {
        let mut depth = 0usize;
        let end = self.rest.char_indices().find(|(at, c)| match c {
            '[' if *at > 0 => {
                depth += 1;
                false
            }
            ']' if depth > 0 => {
                depth -= 1;
                false
            }
            _ => depth == 0 && (c.is_whitespace() || "[]{}|".contains(*c)),
        });
        let (word, rest) = self.rest.split_at(end.map_or(self.rest.len(), |(at, _)| at));
        self.rest = rest;
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::grammar;
    use crate::config::source::Line;

    fn of(usage: &'static str, typed: &str) -> (Vec<&'static str>, bool) {
        let typed: Vec<&str> = typed.split_whitespace().collect();
        let next = next(usage, &typed);
        (next.words.into_iter().collect(), next.ends)
    }

    #[test]
    fn what_comes_next() {
        let conn = "show conn [address A] [port P] [count|detail]";
        assert_eq!(of(conn, "sh conn"), (vec!["address", "count", "detail", "port"], true));
        assert_eq!(of(conn, "show conn address"), (vec!["A"], false));
        assert_eq!(of(conn, "show conn port 1 addr"), (vec!["A"], false), "in any order");
        assert_eq!(of(conn, "show xlate"), (vec![], false));
        let list = "a NAME {in|out} interface NAMEIF | b [LEAST[-MOST]] | c SUITE ...";
        assert_eq!(of(list, ""), (vec!["a", "b", "c"], false));
        assert_eq!(of(list, "a x"), (vec!["in", "out"], false));
        assert_eq!(of(list, "a x out interface"), (vec!["NAMEIF"], false));
        assert_eq!(of(list, "b"), (vec!["LEAST[-MOST]"], true));
        assert_eq!(of(list, "c"), (vec!["SUITE"], false));
        assert_eq!(of(list, "c x y"), (vec!["SUITE"], true));
        assert!(of("description TEXT", "description a b c").1);
    }

    /// A usage is what `?` and Tab know of a command, so it must lead to every example.
    #[test]
    fn every_example_is_what_its_usage_says() {
        for spec in grammar::SPECS.iter().filter(|spec| !spec.example.is_empty()) {
            let line = Line::lex(1, spec.example).unwrap().unwrap();
            let mut typed: Vec<&str> = line.tokens.iter().map(|token| token.text).collect();
            if typed[0] == "no" && !spec.usage.starts_with("no ") {
                typed.remove(0);
            }
            let next = next(spec.usage, &typed);
            assert!(next.ends, "`{}` is no `{}`: {next:?}", spec.example, spec.usage);
        }
    }
}
