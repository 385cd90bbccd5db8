// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `?` says: the words that may come next, each with a few words about it, as on an ASA.
//!
//! Made of the same tables as the parser and docs/cli.md, by [`super::usage`]. A word that several commands begin with is told by [`GROUPS`], a
//! value by [`VALUES`]; tests hold both against the tables. Who asks: the shell at each `?`, a script by a line that ends in one.

use std::collections::BTreeMap;

use super::commands::SPECS;
use super::pipe::WORDS as FILTERS;
use super::usage::{is_keyword, next};
use crate::config::grammar::{self, chain};
use crate::config::raw::Mode;

/// Commands of the shell itself: usage and help. They reach no daemon.
pub const SHELL: &[(&str, &str)] = &[
    ("disable [LEVEL]", "no more than this privilege; 1 unless said"),
    ("configure terminal", "lines of the configuration from now on"),
    ("end", "back to where configuring began"),
    ("exit", "one mode up, or out"),
    ("logout", "out"),
    ("quit", "the same as exit"),
    ("do TEXT", "a command of another kind, from within the configuration"),
    ("terminal pager LINES", "stops output of this session after so many lines; 0 does not"),
];

/// What begins several commands.
const GROUPS: &[(&str, &str)] = &[
    ("ASA", "of a configuration of an ASA"),
    ("arp", "neighbours"),
    ("class-map type", "names a kind of something else"),
    ("clear", "ends, forgets or sets to zero"),
    ("clear asp", "the packet path"),
    ("clock", "the time that time-ranges go by"),
    ("configure", "the configuration as a whole, or line by line"),
    ("crypto", "keys and certificates"),
    ("crypto ca", "certificates, and the lists that revoke them"),
    ("crypto ca certificate", "certificates in the configuration itself"),
    ("crypto ca crl", "revocation lists"),
    ("crypto key", "key pairs"),
    ("flow-export", "NAT events as IPFIX"),
    ("image", "the firmware of a flashed box"),
    ("import", "many lines from a file"),
    ("ip", "IPv4"),
    ("ip verify", "where packets come from"),
    ("ipv6", "IPv6"),
    ("local", "of our own"),
    ("logging", "where messages go"),
    ("object", "a name for addresses or services"),
    ("object-group", "a group of addresses, services, protocols or ICMP types"),
    ("packet-tracer", "what would become of a packet, or of a SIP request"),
    ("policy-map type", "what to do with something else"),
    ("policy-map type inspect", "what to do with what is inspected"),
    ("same-security-traffic", "between equal security levels"),
    ("show", "shows what there is"),
    ("show asp", "the packet path"),
    ("show configuration", "what was changed"),
    ("show crypto", "keys and certificates"),
    ("show crypto ca", "certificates, and the lists that revoke them"),
    ("show crypto key", "key pairs"),
    ("show ip", "IPv4"),
    ("show ip verify", "where packets come from"),
    ("show ipv6", "IPv6"),
    ("show service-policy", "what classes count"),
    ("ssl", "how TLS is spoken where faces do not say"),
    ("sysopt", "of the system"),
    ("terminal", "this session"),
    ("write", "the startup-config"),
    ("xlate", "of translations"),
];

/// What values stand for; others are told by their own names.
const VALUES: &[(&str, &str)] = &[
    ("A", "an address, IPv4 or IPv6"),
    ("ADDRESS", "an address, A.B.C.D or X:X::X"),
    ("ADDRESS/LENGTH", "an IPv6 address with the length of its prefix"),
    ("FILE", "a path"),
    ("GATEWAY", "the next hop"),
    ("H:MM:SS", "hours, minutes and seconds"),
    ("LABEL", "name of a key pair"),
    ("MASK", "a network mask, 255.255.255.0"),
    ("MINUTES", "a number of minutes"),
    ("N", "a number"),
    ("NAME", "a name"),
    ("NAMEIF", "name of an interface"),
    ("P", "a port, 0 to 65535"),
    ("PATH", "a path"),
    ("PORT", "a port, by number or name"),
    ("PREFIX/LENGTH", "an IPv6 network"),
    ("PROTOCOL", "ip, tcp, udp, icmp, or a number"),
    ("RE", "a regular expression"),
    ("SECONDS", "a number of seconds"),
    ("TEXT", "the rest of the line"),
    ("TRUSTPOINT", "name of a trustpoint"),
];

/// The answer to `text?`, typed in `mode`.
pub fn answer(text: &str, mode: Mode) -> String {
    let found = found(text, mode);
    if found.is_empty() {
        return "% Unrecognized command\n".to_owned();
    }
    let width = found.keys().map(|word| word.len()).max().unwrap_or(0).min(24);
    found
        .iter()
        .map(|(word, help)| format!("  {word:<width$}  {help}").trim_end().to_owned() + "\n")
        .collect()
}

/// The words that may stand where `text` ends, with their help. `<cr>` where the command may end there.
fn found(text: &str, mode: Mode) -> BTreeMap<String, String> {
    let mut typed: Vec<&str> = text.split_whitespace().collect();
    let begun = match text.ends_with(char::is_whitespace) {
        true => "",
        false => typed.pop().unwrap_or_default(),
    };
    let mut found = BTreeMap::new();
    if let Some(bar) = typed.iter().position(|word| *word == "|") {
        let wanted: &[(&str, &str)] = match typed[bar + 1..] {
            [] => FILTERS,
            [.., last] if last.starts_with('c') || last.starts_with('j') => &[("|", "another filter")],
            [.., last] if FILTERS.iter().any(|(known, _)| known.starts_with(last)) => &[("RE", "")],
            _ => &[("|", "another filter")],
        };
        let fits = wanted.iter().filter(|(word, _)| word.starts_with(begun));
        found.extend(fits.map(|(word, help)| ((*word).to_owned(), (*help).to_owned())));
        return found;
    }
    let negated = typed.first() == Some(&"no");
    let typed = &typed[usize::from(negated)..];
    let commands = SPECS.iter().map(|spec| (spec.words, spec.usage, spec.help));
    let shell = SHELL.iter().map(|(usage, help)| (*usage, *usage, *help));
    let lines = chain(mode).flat_map(|mode| grammar::all().filter(move |spec| spec.mode == mode));
    let lines = lines.map(|spec| (spec.words, spec.usage, spec.help));
    if !negated && typed.is_empty() && "no".starts_with(begun) {
        found.insert("no".to_owned(), "takes a line of the configuration out".to_owned());
    }
    for (words, usage, help) in commands.chain(shell).filter(|_| !negated).chain(lines) {
        let own: Vec<&str> = words
            .split(' ')
            .take_while(|word| is_keyword(word) || *word == "ASA" || *word == "Version")
            .collect();
        if !own.iter().zip(typed).all(|(own, word)| own.starts_with(word)) {
            continue;
        }
        let next = next(usage, typed);
        if next.ends && begun.is_empty() {
            found.insert("<cr>".to_owned(), String::new());
            if ["show", "help"].iter().any(|word| words.starts_with(word)) {
                found.insert("|".to_owned(), "filters the output".to_owned());
            }
        }
        for word in next.words {
            if (is_keyword(word) || typed.len() < own.len()) && !word.starts_with(begun) {
                continue;
            }
            let about = about(word, words, typed.len(), help);
            // Of two commands that begin so, the group's word was found for both.
            found.entry(word.to_owned()).or_insert(about);
        }
    }
    found
}

/// A few words about `word`, the one behind `at` others of the command that `words` begin.
fn about(word: &str, words: &str, at: usize, help: &str) -> String {
    let own: Vec<&str> = words.split(' ').collect();
    if at < own.len() && own[at] == word {
        let group = own[..=at].join(" ");
        let group = GROUPS.iter().find(|(known, _)| *known == group);
        return group.map_or(help, |(_, help)| help).to_owned();
    }
    let value = VALUES.iter().find(|(known, _)| *known == word);
    value.map_or(String::new(), |(_, help)| (*help).to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn the_words_that_come_next() {
        assert_eq!(answer("show ro", Mode::Global), "  route  routes\n");
        assert_eq!(answer("show asp ", Mode::Global), "  drop  the same as show drops\n");
        let show = answer("show ", Mode::Global);
        assert!(show.contains("  conn ") && show.contains("  crypto "), "{show}");
        assert!(answer("", Mode::Global).contains("  show "));
        let conn = answer("sh conn ", Mode::Global);
        assert!(conn.contains("  address") && conn.contains("  <cr>") && conn.contains("  |  "), "{conn}");
        assert_eq!(answer("show conn address ", Mode::Global), "  A  an address, IPv4 or IPv6\n");
        assert!(answer("show conn | ", Mode::Global).contains("  include  "));
        assert!(answer("ip ", Mode::Interface).contains("  address  own address\n"));
        assert!(!answer("no ", Mode::Global).contains("  show"));
        assert_eq!(answer("nonsense ", Mode::Global), "% Unrecognized command\n");
    }

    /// What begins several commands has words of its own, and nothing else has.
    #[test]
    fn groups_are_those_of_the_tables() {
        let mut ends: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        let all = SPECS
            .iter()
            .map(|spec| spec.words)
            .chain(grammar::all().filter(|spec| spec.mode == Mode::Global).map(|spec| spec.words));
        let all: BTreeSet<&str> = all.chain(SHELL.iter().map(|(usage, _)| *usage)).collect();
        for words in &all {
            let own: Vec<&str> =
                words.split(' ').take_while(|word| is_keyword(word) || *word == "ASA").collect();
            for many in 1..own.len() {
                ends.entry(own[..many].join(" ")).or_default().insert(words);
            }
        }
        // A command that is whole at the word, too, tells it itself.
        let wanted: BTreeSet<&str> = ends
            .iter()
            .filter(|(group, behind)| behind.len() > 1 && !all.contains(group.as_str()))
            .map(|(group, _)| group.as_str())
            .collect();
        let have: BTreeSet<&str> = GROUPS.iter().map(|(group, _)| *group).collect();
        let missing: Vec<&&str> = wanted.difference(&have).collect();
        assert!(missing.is_empty(), "no words about {missing:?}");
    }
}
