// SPDX-License-Identifier: MIT OR Apache-2.0
//! `policy-map type inspect sip` and what it names: regexes, classes of them, classes of SIP messages.
//!
//! References stay names here, as everywhere in the model; [`spec`] follows them and gives what the dataplane compiles.
//! A rule without an action is one that is being written; the check refuses it where the map is put to work.

use std::fmt;

use fedgate_sip::inspect::{Action, Match, Parameters, Rtp, Rule, Spec, What};

use super::Model;

/// Where a `match` finds its patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `regex NAME`
    Regex(String),
    /// `regex class NAME`
    Class(String),
}

/// The parts of a message that patterns are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the word it is written as")]
pub enum Part {
    CalledParty,
    CallingParty,
    ImSubscriber,
    MessagePath,
    ThirdPartyRegistration,
    ContentType,
}

/// Each part with its words.
pub const PARTS: [(&str, Part); 6] = [
    ("called-party", Part::CalledParty),
    ("calling-party", Part::CallingParty),
    ("im-subscriber", Part::ImSubscriber),
    ("message-path", Part::MessagePath),
    ("third-party-registration", Part::ThirdPartyRegistration),
    ("content type", Part::ContentType),
];

/// What a `match` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SipWhat {
    /// `... regex ...`
    Part(Part, Pattern),
    /// `content type sdp`
    ContentSdp,
    /// `content length gt N`
    ContentLength(u32),
    /// `request-method M`; `None` for `unknown`.
    Method(Option<String>),
    /// `uri {sip|tel} length gt N`
    UriLength(bool, u32),
}

/// `match [not] ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipMatch {
    /// `not`.
    pub not: bool,
    /// The rest.
    pub what: SipWhat,
}

/// `class-map type inspect sip {match-all|match-any} NAME`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipClass {
    /// One match is enough.
    pub any: bool,
    /// In order.
    pub matches: Vec<SipMatch>,
}

/// `policy-map type inspect sip NAME`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InspectMap {
    /// `match` and `class`, in order.
    pub rules: Vec<MapRule>,
    /// `parameters`.
    pub parameters: Parameters,
}

/// What a rule of a map is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `match ...`
    Match(SipMatch),
    /// `class NAME`
    Class(String),
}

/// One rule of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRule {
    /// What it is about.
    pub subject: Subject,
    /// What is done, once said.
    pub action: Option<Action>,
}

/// One line under `parameters`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the word it is written as")]
pub enum Parameter {
    MaxForwards(Action),
    State(Action),
    Headers(Action),
    Version(Action),
    UriNonSip(Action),
    Im,
    TrafficNonSip,
    StripIdentities,
    Rtp(Rtp),
}

impl fmt::Display for SipMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.not { "match not " } else { "match " })?;
        match &self.what {
            SipWhat::Part(part, pattern) => {
                let words = PARTS.iter().find(|known| known.1 == *part).map_or("", |known| known.0);
                match pattern {
                    Pattern::Regex(name) => write!(f, "{words} regex {name}"),
                    Pattern::Class(name) => write!(f, "{words} regex class {name}"),
                }
            }
            SipWhat::ContentSdp => f.write_str("content type sdp"),
            SipWhat::ContentLength(over) => write!(f, "content length gt {over}"),
            SipWhat::Method(word) => write!(f, "request-method {}", word.as_deref().unwrap_or("unknown")),
            SipWhat::UriLength(tel, over) => {
                write!(f, "uri {} length gt {over}", if *tel { "tel" } else { "sip" })
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match(one) => one.fmt(f),
            Self::Class(name) => write!(f, "class {name}"),
        }
    }
}

/// The map `name` as the dataplane compiles it; `slot` gives a rule, by its text, its counter. What is missing or
/// unfinished is left out: a configuration in force has nothing of the kind.
pub fn spec(model: &Model, name: &str, mut slot: impl FnMut(&str) -> u32) -> Option<Spec> {
    let map = model.inspect_maps.get(name)?;
    let rules = map.rules.iter().filter_map(|rule| {
        let class = match &rule.subject {
            Subject::Match(one) => &SipClass { any: false, matches: vec![one.clone()] },
            Subject::Class(class) => model.sip_classes.get(class)?,
        };
        let matches =
            class.matches.iter().map(|one| Some(Match { not: one.not, what: what(model, &one.what)? }));
        let text = rule.subject.to_string();
        Some(Rule {
            all: !class.any,
            matches: matches.collect::<Option<_>>()?,
            action: rule.action?,
            slot: slot(&text),
            text,
        })
    });
    let rules = rules.collect();
    let counters = map.parameters.set().map(|(text, _)| (text.to_owned(), slot(text))).collect();
    Some(Spec { name: name.to_owned(), rules, parameters: map.parameters, counters })
}

fn what(model: &Model, what: &SipWhat) -> Option<What> {
    Some(match what {
        SipWhat::Part(part, pattern) => {
            let names: &[String] = match pattern {
                Pattern::Regex(name) => std::slice::from_ref(name),
                Pattern::Class(name) => model.regex_classes.get(name)?,
            };
            let patterns =
                names.iter().map(|name| model.regexes.get(name).cloned()).collect::<Option<_>>()?;
            match part {
                Part::CalledParty => What::CalledParty(patterns),
                Part::CallingParty => What::CallingParty(patterns),
                Part::ImSubscriber => What::ImSubscriber(patterns),
                Part::MessagePath => What::MessagePath(patterns),
                Part::ThirdPartyRegistration => What::ThirdPartyRegistration(patterns),
                Part::ContentType => What::ContentType(patterns),
            }
        }
        SipWhat::ContentSdp => What::ContentSdp,
        SipWhat::ContentLength(over) => What::ContentLength(*over),
        SipWhat::Method(word) => What::Method(word.clone()),
        SipWhat::UriLength(tel, over) => What::UriLength { tel: *tel, over: *over },
    })
}
