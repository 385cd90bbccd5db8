// SPDX-License-Identifier: MIT OR Apache-2.0
//! What may follow the words that an operator has typed: keywords of the grammar, and names out of the configuration in force.
//!
//! For the Tab key. What may come next is what the usages of commands say ([`super::usage`]); in the place of a value (`NAMEIF`,
//! `TRUSTPOINT`) stands what there is of its kind.

use std::collections::BTreeSet;

use super::commands::SPECS;
use super::help::SHELL;
use super::pipe::WORDS as FILTERS;
use super::usage::{is_keyword, next};
use crate::config::grammar::{self, chain};
use crate::config::model::Model;
use crate::config::raw::Mode;

/// Most words offered.
const MOST: usize = 200;

/// Words that may stand in the place of the last one of `text`, which may be empty.
pub fn candidates(text: &str, mode: Mode, model: &Model) -> Vec<String> {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let last = if text.ends_with(char::is_whitespace) { "" } else { words.pop().unwrap_or("") };
    let negated = words.first() == Some(&"no");
    let words = &words[usize::from(negated)..];
    let mut found = BTreeSet::new();
    if let [.., "|"] = words {
        found.extend(FILTERS.iter().map(|(known, _)| (*known).to_owned()));
    }
    let commands = SPECS.iter().map(|spec| (spec.words, spec.usage));
    let commands = commands.chain(SHELL.iter().map(|(usage, _)| (*usage, *usage)));
    let lines = chain(mode).flat_map(|mode| grammar::SPECS.iter().filter(move |spec| spec.mode == mode));
    let lines = lines.map(|spec| (spec.words, spec.usage));
    for (known, usage) in commands.filter(|_| !negated).chain(lines) {
        let own: Vec<&str> = known.split(' ').take_while(|word| is_keyword(word)).collect();
        if !own.iter().zip(words).all(|(own, word)| own.starts_with(word)) {
            continue;
        }
        for word in next(usage, words).words {
            if is_keyword(word) {
                found.insert(word.to_owned());
            } else {
                for value in word.split([',', '(', ')']) {
                    names(value, words.last().copied().unwrap_or_default(), usage, model, &mut found);
                }
            }
        }
    }
    found.into_iter().filter(|word| word.starts_with(last)).take(MOST).collect()
}

/// What there is that `placeholder` behind `keyword`, which may be cut, may stand for.
fn names(placeholder: &str, keyword: &str, usage: &str, model: &Model, found: &mut BTreeSet<String>) {
    let whole = |known: &&str| !keyword.is_empty() && known.starts_with(keyword);
    let keyword = usage.split([' ', '[', ']', '{', '}', '|']).find(whole).unwrap_or(keyword);
    let mut add = |names: &mut dyn Iterator<Item = &str>| found.extend(names.take(MOST).map(str::to_owned));
    match (placeholder, keyword) {
        ("NAMEIF" | "REAL" | "MAPPED", _) => {
            add(&mut model.interfaces.iter().filter_map(|i| i.nameif.as_deref()))
        }
        ("TRUSTPOINT", _) => add(&mut model.trustpoints.keys().map(String::as_str)),
        ("REALOBJECT" | "MAPPEDOBJECT" | "OBJECT", _) => {
            add(&mut model.networks.keys().map(String::as_str));
            add(&mut model.groups.keys().map(String::as_str));
        }
        ("SERVICE", _) => add(&mut model.services.keys().map(String::as_str)),
        ("GROUP" | "PORTS" | "TYPES", _) => add(&mut model.groups.keys().map(String::as_str)),
        ("SOURCE" | "DESTINATION", _) => {
            add(&mut ["any", "any4", "any6", "host", "interface", "object", "object-group"].into_iter());
            add(&mut model.networks.keys().map(String::as_str));
            add(&mut model.groups.keys().map(String::as_str));
        }
        ("MAP", _) | ("NAME", "sip") => add(&mut model.inspect_maps.keys().map(String::as_str)),
        ("NAME", "access-list" | "access-group") => add(&mut model.acls.keys().map(|name| &**name)),
        ("NAME", "object-group" | "group-object") => add(&mut model.groups.keys().map(String::as_str)),
        ("NAME", "time-range") => add(&mut model.time_ranges.keys().map(String::as_str)),
        ("NAME", "tls-proxy") => add(&mut model.tls_proxies.keys().map(String::as_str)),
        ("NAME", "class-map" | "class") => add(&mut model.class_maps.keys().map(String::as_str)),
        ("NAME", "policy-map" | "service-policy") => add(&mut model.policy_maps.keys().map(String::as_str)),
        ("NAME", "regex") => add(&mut model.regexes.keys().map(String::as_str)),
        ("NAME", "network") => add(&mut model.networks.keys().map(String::as_str)),
        ("NAME", "service") => add(&mut model.services.keys().map(String::as_str)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{TWO, model};

    #[test]
    fn keywords_and_names() {
        let model =
            model(&format!("{TWO}access-list in_a extended permit ip any any\naccess-list out_a remark x\n"));
        let of = |text: &str| candidates(text, Mode::Global, &model);
        assert!(of("sh").iter().any(|word| word == "show"));
        assert_eq!(of("show interf"), ["interface"]);
        assert_eq!(of("show interface "), ["inside", "outside"]);
        assert_eq!(of("sh interface o"), ["outside"]);
        assert_eq!(of("show access-list "), ["in_a", "out_a"]);
        assert_eq!(of("access-group in_"), ["in_a"]);
        assert!(of("show conn add").contains(&"address".to_owned()));
        assert!(
            of("no acc").contains(&"access-list".to_owned()) && !of("no sh").contains(&"show".to_owned())
        );
        assert_eq!(of("nonsense "), [""; 0]);
        let inside = candidates("ip ", Mode::Interface, &model);
        assert!(inside.contains(&"address".to_owned()) && inside.contains(&"verify".to_owned()));
    }
}
