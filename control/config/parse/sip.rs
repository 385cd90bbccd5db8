// SPDX-License-Identifier: MIT OR Apache-2.0
//! `regex`, the class-maps with a type, and what stands in a `policy-map type inspect sip`, in the ASA's grammar.
//!
//! A pattern is compiled when its line is read, so that one that cannot be used is refused where it stands.

use fedgate_sip::inspect::{Action, Deed, METHODS, Rtp, check_pattern};

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::sip::{PARTS, Parameter, Part, Pattern, SipMatch, SipWhat};
use crate::config::raw::Command;

type Parsed = Result<Command, Problem>;

/// Longest pattern (the ASA's limit), octets.
const MAX_PATTERN: usize = 100;

/// `regex NAME "PATTERN"`
pub fn regex(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a regex's name")?;
    let written = args.rest();
    let inner = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let pattern = inner.unwrap_or(written);
    if pattern.is_empty() || pattern.len() > MAX_PATTERN {
        return Err(args.wrong(format!("a pattern has 1 to {MAX_PATTERN} characters")));
    }
    check_pattern(pattern).map_err(|why| args.wrong(format!("the pattern cannot be used: {why}")))?;
    Ok(Command::Regex(name, pattern.to_owned()))
}

/// `class-map type regex match-any NAME`
pub fn regex_class(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.expect("match-any")?;
    Ok(Command::RegexClass(args.name("a class-map's name")?))
}

/// `match regex NAME`
pub fn match_regex(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::RegexMember(args.name("a regex")?))
}

/// `class-map type inspect sip [match-all|match-any] NAME`
pub fn sip_class(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let any = args.accept("match-any");
    if !any {
        args.accept("match-all");
    }
    Ok(Command::SipClass(args.name("a class-map's name")?, any))
}

/// `match [not] ...` of a class
pub fn class_match(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::SipMatch(sip_match(args)?))
}

/// `match [not] ...` of a map
pub fn map_match(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectMatch(sip_match(args)?))
}

/// `class NAME` of a map
pub fn map_class(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectClass(args.name("a class-map of type inspect sip")?))
}

fn sip_match(args: &mut Args<'_, '_>) -> Result<SipMatch, Problem> {
    let not = args.accept("not");
    const WORDS: [&str; 8] = [
        "called-party",
        "calling-party",
        "im-subscriber",
        "message-path",
        "third-party-registration",
        "content",
        "request-method",
        "uri",
    ];
    let what = match args.one_of(&WORDS)? {
        5 => content(args)?,
        6 => {
            let known: Vec<&str> = METHODS.iter().copied().chain(["unknown"]).collect();
            SipWhat::Method(METHODS.get(args.one_of(&known)?).map(|word| (*word).to_owned()))
        }
        7 => {
            let tel = args.one_of(&["sip", "tel"])? == 1;
            args.expect("length")?;
            SipWhat::UriLength(tel, greater(args)?)
        }
        part => SipWhat::Part(PARTS[part].1, pattern(args)?),
    };
    Ok(SipMatch { not, what })
}

fn content(args: &mut Args<'_, '_>) -> Result<SipWhat, Problem> {
    if args.one_of(&["length", "type"])? == 0 {
        return Ok(SipWhat::ContentLength(greater(args)?));
    }
    if args.accept("sdp") {
        return Ok(SipWhat::ContentSdp);
    }
    Ok(SipWhat::Part(Part::ContentType, pattern(args)?))
}

fn greater(args: &mut Args<'_, '_>) -> Result<u32, Problem> {
    args.expect("gt")?;
    args.number("a length", 0, 65_536)
}

fn pattern(args: &mut Args<'_, '_>) -> Result<Pattern, Problem> {
    args.expect("regex")?;
    match args.accept("class") {
        true => Ok(Pattern::Class(args.name("a class-map of type regex")?)),
        false => Ok(Pattern::Regex(args.name("a regex")?)),
    }
}

const DEEDS: [(&str, Deed); 4] = [
    ("drop", Deed::Drop),
    ("drop-connection", Deed::DropConnection),
    ("reset", Deed::Reset),
    ("mask", Deed::Mask),
];

/// `drop [log]`
pub fn drop(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectAction(Action { deed: Deed::Drop, log: args.accept("log") }))
}

/// `drop-connection [log]`
pub fn drop_connection(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectAction(Action { deed: Deed::DropConnection, log: args.accept("log") }))
}

/// `reset [log]`
pub fn reset(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectAction(Action { deed: Deed::Reset, log: args.accept("log") }))
}

/// `mask [log]`
pub fn mask(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectAction(Action { deed: Deed::Mask, log: args.accept("log") }))
}

/// `log`
pub fn log(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectAction(Action { deed: Deed::Pass, log: true }))
}

/// `rate-limit N`
pub fn rate_limit(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let rate = args.number("messages a second", 1, 1_000_000)?;
    Ok(Command::InspectAction(Action { deed: Deed::RateLimit(rate), log: args.accept("log") }))
}

/// `action A [log]`, of the actions that make sense for a parameter; `log` alone is one.
fn action(args: &mut Args<'_, '_>, deeds: &[Deed]) -> Result<Action, Problem> {
    args.expect("action")?;
    let known = || DEEDS.iter().filter(|(_, deed)| deeds.contains(deed));
    let words: Vec<&str> = known().map(|(word, _)| *word).chain(["log"]).collect();
    let at = args.one_of(&words)?;
    Ok(match known().nth(at) {
        Some((_, deed)) => Action { deed: *deed, log: args.accept("log") },
        None => Action { deed: Deed::Pass, log: true },
    })
}

const ENDING: [Deed; 3] = [Deed::Drop, Deed::DropConnection, Deed::Reset];

/// `max-forwards-validation action A`
pub fn max_forwards(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Parameter(Parameter::MaxForwards(action(args, &ENDING)?)))
}

/// `state-checking action A`
pub fn state_checking(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Parameter(Parameter::State(action(args, &ENDING)?)))
}

/// `strict-header-validation action A`
pub fn strict_headers(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Parameter(Parameter::Headers(action(args, &ENDING)?)))
}

/// `software-version action {mask|log}`
pub fn software_version(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Parameter(Parameter::Version(action(args, &[Deed::Mask])?)))
}

/// `uri-non-sip action {mask|log}`
pub fn uri_non_sip(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Parameter(Parameter::UriNonSip(action(args, &[Deed::Mask])?)))
}

/// `im`
pub fn im(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Parameter(Parameter::Im))
}

/// `traffic-non-sip`
pub fn traffic_non_sip(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Parameter(Parameter::TrafficNonSip))
}

/// `asserted-identity strip`
pub fn asserted_identity(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.expect("strip")?;
    Ok(Command::Parameter(Parameter::StripIdentities))
}

/// `rtp-conformance [enforce-payloadtype]`
pub fn rtp_conformance(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let enforce_payloads = args.accept("enforce-payloadtype");
    Ok(Command::Parameter(Parameter::Rtp(Rtp { enforce_payloads })))
}

/// `ip-address-privacy`
pub fn ip_address_privacy(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Err(args
        .wrong("`ip-address-privacy` is not supported: addresses in messages are not hidden from each other")
        .help("take the line out, and have the servers write names instead of addresses"))
}
