// SPDX-License-Identifier: MIT OR Apache-2.0
//! `policy-map type inspect sip`: an operator's own rules about messages that have passed the domain verdict.
//!
//! A map is compiled off the workers ([`Inspector::new`]). Regular expressions become dense automata (regex-automata), built
//! within [`DFA_BYTES`] or refused: a worker walks one octet after the other, without memory, backtracking or locks, so no
//! message can make a pattern slow. Parameters are asked first, then the rules in their order; `log`, `mask` and a
//! rate that is kept let the message go on to the next rule, anything else ends it.
//!
//! [`Inspector::judge`] is called for each message in a session that has a map. It reads fields that are scanned already; headers
//! are walked only by rules about them. No allocation; [`Inspector::masks`], for a message that has something to hide, does.
//! Rates are counted by rule and worker ([`Rates`]), the caller's to keep.

use crate::address::Addresses;
use crate::edit::Edit;
use crate::headers::HeaderName;
use crate::message::{Message, Method, Start};
use crate::scan;
use crate::uri::{Scheme, Uri};
use regex_automata::Input;
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::util::syntax;
pub use spec::{Action, Deed, MAX_RULES, METHODS, Match, Parameters, Rtp, Rule, Spec, What};

mod spec;

/// Most that the automaton of one regex, or of one class of them, may take.
pub const DFA_BYTES: usize = 1 << 20;

/// A regex that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPattern(String);

/// An automaton for a list of patterns.
struct Patterns(dense::DFA<Vec<u32>>);

impl Patterns {
    fn new(patterns: &[String]) -> Result<Self, BadPattern> {
        let config = dense::Config::new()
            .dfa_size_limit(Some(DFA_BYTES))
            .determinize_size_limit(Some(4 * DFA_BYTES))
            .start_kind(StartKind::Unanchored);
        let octets = syntax::Config::new().unicode(false).utf8(false);
        let built = dense::Builder::new().configure(config).syntax(octets).build_many(patterns);
        built.map(Self).map_err(|error| {
            // The outer error only says at which step; the inner one says why.
            let why = std::error::Error::source(&error).map(ToString::to_string);
            BadPattern(why.unwrap_or_else(|| error.to_string()))
        })
    }

    /// Whether one of them is found. An automaton without Unicode cannot give up; if it did, the rule holds.
    fn is_in(&self, text: &str) -> bool {
        let found = self.0.try_search_fwd(&Input::new(text.as_bytes()).earliest(true));
        found.map_or(true, |found| found.is_some())
    }
}

/// Whether a regex can be used by itself.
///
/// # Errors
/// What is wrong with it, or that its automaton would be too large.
pub fn check_pattern(pattern: &str) -> Result<(), BadPattern> {
    Patterns::new(&[pattern.to_owned()]).map(|_| ())
}

/// Messages a second that a rule lets pass, by rule slot: a bucket of one second.
#[derive(Clone, Default)]
pub struct Rates(Vec<(u64, u32)>);

impl Rates {
    /// Counts one message against a rule's rate; false above it. Times are microseconds.
    fn pass(&mut self, slot: u32, rate: u32, now: u64) -> bool {
        let slot = slot.min(MAX_RULES - 1) as usize;
        if self.0.len() <= slot {
            self.0.resize(slot + 1, (0, 0));
        }
        let (since, seen) = &mut self.0[slot];
        if now.saturating_sub(*since) >= 1_000_000 || *since == 0 {
            (*since, *seen) = (now.max(1), 0);
        }
        *seen = seen.saturating_add(1);
        *seen <= rate
    }
}

/// What a caller knows of a message besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its dialog is known.
    pub known: bool,
    /// One that is not known was never begun: what all workers know can be found.
    pub whole: bool,
    /// Workers that share in a rate.
    pub workers: u32,
}

/// What a rule or a parameter says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit<'a> {
    /// As it stands in the configuration.
    pub text: &'a str,
    /// What is done.
    pub action: Action,
    /// Its counter.
    pub slot: Option<u32>,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// [`Deed::Drop`], [`Deed::DropConnection`], [`Deed::Reset`]; [`Deed::RateLimit`] where its rate is exceeded; else
    /// [`Deed::Pass`].
    pub deed: Deed,
    /// It failed `state-checking`, for which there is a status of its own.
    pub no_dialog: bool,
    /// [`Inspector::masks`] has something to say.
    pub mask: bool,
}

/// A rule, compiled.
struct Compiled {
    rule: Rule,
    /// One for each of the rule's matches, where it has patterns.
    patterns: Vec<Option<Patterns>>,
}

/// See the module.
pub struct Inspector {
    name: String,
    rules: Vec<Compiled>,
    parameters: Parameters,
    counters: Vec<(String, u32)>,
}

impl std::fmt::Debug for Inspector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspector").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Inspector {
    /// Compiles a map.
    ///
    /// # Errors
    /// The first pattern that cannot be used.
    pub fn new(spec: Spec) -> Result<Self, BadPattern> {
        let compile = |rule: Rule| {
            let patterns = rule.matches.iter().map(|one| match &one.what {
                What::CalledParty(list)
                | What::CallingParty(list)
                | What::ImSubscriber(list)
                | What::MessagePath(list)
                | What::ThirdPartyRegistration(list)
                | What::ContentType(list) => Patterns::new(list).map(Some),
                What::ContentLength(_) | What::ContentSdp | What::Method(_) | What::UriLength { .. } => {
                    Ok(None)
                }
            });
            let patterns = patterns.collect::<Result<_, _>>()?;
            Ok(Compiled { rule, patterns })
        };
        let rules = spec.rules.into_iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { name: spec.name, rules, parameters: spec.parameters, counters: spec.counters })
    }

    /// The map's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What becomes of a message. `hit` hears of each rule and parameter that speaks of it.
    pub fn judge(
        &self,
        message: &Message<'_>,
        standing: Standing,
        rates: &mut Rates,
        now: u64,
        mut hit: impl FnMut(Hit<'_>),
    ) -> Ruling {
        let mut ruling = Ruling::default();
        for (text, action) in self.broken(message, standing) {
            hit(self.of_parameter(text, action));
            ruling.mask |= action.deed == Deed::Mask;
            if !matches!(action.deed, Deed::Pass | Deed::Mask) {
                return Ruling { deed: action.deed, no_dialog: text == spec::STATE, ..ruling };
            }
        }
        for compiled in &self.rules {
            let rule = &compiled.rule;
            if !compiled.holds(message) {
                continue;
            }
            hit(Hit { text: &rule.text, action: rule.action, slot: Some(rule.slot) });
            match rule.action.deed {
                Deed::Pass => {}
                Deed::Mask => ruling.mask = true,
                Deed::RateLimit(rate)
                    if rates.pass(rule.slot, rate.div_ceil(standing.workers.max(1)), now) => {}
                deed => return Ruling { deed, ..ruling },
            }
        }
        ruling
    }

    /// The parameters that a message breaks.
    fn broken<'a>(
        &'a self,
        message: &'a Message<'_>,
        standing: Standing,
    ) -> impl Iterator<Item = (&'static str, Action)> + 'a {
        let request = matches!(message.start, Start::Request { .. });
        let holds = move |text: &str| match text {
            spec::IM => message.method() == Some(Method::Message),
            spec::STATE => request && message.has_to_tag() && !standing.known && standing.whole,
            spec::HEADERS => request && !has_mandatory(message),
            spec::VERSION => message.present.contains_any(&SOFTWARE),
            spec::NON_SIP => foreign_uris(message).next().is_some(),
            // The scanner stops a Max-Forwards of 0 before it comes here.
            _ => false,
        };
        self.parameters.set().filter(move |(text, _)| holds(text))
    }

    /// What is to be done about a request that has used up its hops, besides the 483.
    pub fn out_of_hops(&self) -> Option<Hit<'_>> {
        Some(self.of_parameter(spec::MAX_FORWARDS, self.parameters.max_forwards?))
    }

    fn of_parameter<'a>(&self, text: &'a str, action: Action) -> Hit<'a> {
        let slot = self.counters.iter().find(|(known, _)| known == text).map(|(_, slot)| *slot);
        Hit { text, action, slot }
    }

    /// What stands instead of what is masked: `x` for every octet, so that no length changes.
    pub fn masks(&self, message: &Message<'_>) -> Vec<Edit> {
        let mut edits = Vec::new();
        let hide = |action: Option<Action>| action.is_some_and(|action| action.deed == Deed::Mask);
        let mut cross_out = |start: usize, len: usize| {
            edits.push(Edit { at: start..start + len, text: "x".repeat(len) });
        };
        if hide(self.parameters.version) {
            for header in message.headers().filter(|header| SOFTWARE.contains(&header.id)) {
                cross_out(header.value_start, header.value.len());
            }
        }
        if hide(self.parameters.uri_non_sip) {
            for (start, uri) in foreign_uris(message) {
                // The scheme stays: what is left must be a URI.
                let scheme = uri.find(':').map_or(0, |colon| colon + 1);
                cross_out(start + scheme, uri.len() - scheme);
            }
        }
        let masked = |c: &&Compiled| c.rule.action.deed == Deed::Mask && c.holds(message);
        if self.rules.iter().any(|rule| masked(&rule)) && !message.body.is_empty() {
            cross_out(message.head().len(), message.body.len());
        }
        edits
    }
}

const SOFTWARE: [HeaderName; 2] = [HeaderName::Server, HeaderName::UserAgent];

impl Compiled {
    fn holds(&self, message: &Message<'_>) -> bool {
        let mut each = self.rule.matches.iter().zip(&self.patterns);
        let holds = |(one, patterns): (&Match, &Option<Patterns>)| {
            let found = |text: &str| patterns.as_ref().is_some_and(|patterns| patterns.is_in(text));
            is(&one.what, found, message) != one.not
        };
        if self.rule.all { each.all(holds) } else { each.any(holds) }
    }
}

/// Whether a message is as `what` says; `found` looks for its patterns.
fn is(what: &What, found: impl Fn(&str) -> bool, message: &Message<'_>) -> bool {
    let (from, to) = (message.from.uri.text, message.to.uri.text);
    match what {
        What::CalledParty(_) => found(to),
        What::CallingParty(_) => found(from),
        What::ImSubscriber(_) => {
            matches!(message.method(), Some(Method::Subscribe | Method::Message)) && found(from)
        }
        What::MessagePath(_) => message.values(HeaderName::Via).any(&found),
        What::ThirdPartyRegistration(_) => {
            message.method() == Some(Method::Register) && from != to && found(from)
        }
        What::ContentLength(over) => message.body.len() > *over as usize,
        What::ContentSdp => content_type(message).is_some_and(|kind| {
            kind.split(';')
                .next()
                .is_some_and(|kind| scan::trim(kind).eq_ignore_ascii_case("application/sdp"))
        }),
        What::ContentType(_) => content_type(message).is_some_and(found),
        What::Method(word) => message.method_name().is_some_and(|name| match word {
            Some(word) => name.eq_ignore_ascii_case(word),
            None => !METHODS.iter().any(|known| name.eq_ignore_ascii_case(known)),
        }),
        What::UriLength { tel, over } => is_longer(message, *tel, *over as usize),
    }
}

fn content_type<'a>(message: &Message<'a>) -> Option<&'a str> {
    message.values(HeaderName::ContentType).next()
}

fn is_longer(message: &Message<'_>, tel: bool, over: usize) -> bool {
    let long = |uri: &Uri<'_>| {
        let kind = match tel {
            true => uri.scheme == Scheme::Tel,
            false => matches!(uri.scheme, Scheme::Sip | Scheme::Sips),
        };
        kind && uri.text.len() > over
    };
    let contacts = || message.values(HeaderName::Contact).flat_map(Addresses::new).flatten();
    message.request_uri().is_some_and(|uri| long(&uri))
        || long(&message.from.uri)
        || long(&message.to.uri)
        || contacts().any(|contact| long(&contact.uri))
}

/// What RFC 3261 section 8.1.1 wants of every request, beyond what the scanner does: Max-Forwards, a tag in From, a branch that says
/// what it is, and Contact where a dialog begins.
fn has_mandatory(message: &Message<'_>) -> bool {
    let begins = matches!(message.method(), Some(Method::Invite | Method::Subscribe | Method::Refer));
    message.max_forwards.is_some()
        && message.from.tag.is_some()
        && message.top_via.branch.is_some_and(|branch| branch.len() > 7 && branch.starts_with("z9hG4bK"))
        && (!begins || message.present.contains(HeaderName::Contact))
}

/// The URIs in Alert-Info and Call-Info (RFC 3261 section 20.4 and 20.9) that are neither sip: nor sips:, and where they stand.
fn foreign_uris<'a>(message: &Message<'a>) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
    let named = |name: &str| ["alert-info", "call-info"].iter().any(|info| name.eq_ignore_ascii_case(info));
    let headers = message.headers().filter(move |h| h.id == HeaderName::Other && named(h.name));
    headers.flat_map(|header| {
        header.value.match_indices('<').filter_map(move |(at, _)| {
            let uri = header.value[at + 1..].split_once('>')?.0;
            let scheme = uri.split(':').next()?;
            let sip = ["sip", "sips"].iter().any(|sip| scheme.eq_ignore_ascii_case(sip));
            (!sip).then_some((header.value_start + at + 1, uri))
        })
    })
}

#[cfg(test)]
mod tests;
