// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is of the box as a whole: names, routes, timers, and the domain lists.

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::domains;
use crate::config::model::{DomainKey, DomainRule, Minute, Note, Permit, Route, Route6};
use crate::config::raw::{Command, Timer};
use crate::config::types::Seconds;

type Parsed = Result<Command, Problem>;

/// `hostname NAME`: 1 to 63 letters, digits and hyphens (RFC 952, as the ASA has it).
pub fn hostname(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.parsed("a hostname", |word| {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        let edge = word.starts_with('-') || word.ends_with('-');
        let ok = (1..=63).contains(&word.len()) && word.bytes().all(good) && !edge;
        if ok {
            Ok(Command::Hostname(word.to_owned()))
        } else {
            Err("1 to 63 letters, digits and inner hyphens")
        }
    })
}

/// `domain-name NAME`
pub fn domain_name(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.parsed("a domain name", domains::canonical).map(Command::DomainName)
}

/// `route IF D M G [metric]`
pub fn route(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let interface = args.name("an interface")?;
    let net = args.network()?;
    let gateway = args.address("a gateway")?;
    if gateway.is_unspecified() || gateway.is_multicast() || gateway.is_broadcast() {
        return Err(args.wrong(format!("`{gateway}` cannot be a gateway")));
    }
    let metric = if args.peek().is_some() { args.number("a metric", 1, 255)? as u8 } else { 1 };
    Ok(Command::Route(Route { interface, net, gateway, metric }))
}

/// `ipv6 route IF P/LEN G [metric]`
pub fn route6(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let interface = args.name("an interface")?;
    let net = args.network6()?;
    let gateway = args.address6("a gateway")?;
    if gateway.is_unspecified() || gateway.is_multicast() || gateway.is_loopback() {
        return Err(args.wrong(format!("`{gateway}` cannot be a gateway")));
    }
    let metric = if args.peek().is_some() { args.number("a metric", 1, 254)? as u8 } else { 1 };
    Ok(Command::Route6(Route6 { interface, net, gateway, metric }))
}

/// `names`
pub fn names(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Names)
}

/// `name A N`
pub fn name(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let address = args.address("an address")?;
    let name = args.name("a name")?;
    if name.parse::<std::net::IpAddr>().is_ok() || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(args.wrong("a name of an address begins with a letter"));
    }
    Ok(Command::Name(address, name))
}

/// `ASA Version 9.1(7)`
pub fn asa_version(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let release = args.parsed("a release", |word| {
        let mut numbers = word.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
            _ => Err("expected one as 9.1(7)"),
        }
    })?;
    // `<context>` and the like.
    args.rest();
    Ok(Command::AsaVersion { mapped: release < (8, 3) })
}

/// A line without effect.
pub fn idle(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.rest();
    Ok(Command::Idle)
}

const MOST: u32 = 4_294_800;

/// Name, timer, least and greatest seconds. The ASA's limits where it has one.
const TIMERS: [(&str, Timer, u32, u32); 14] = [
    ("conn", Timer::Conn, 300, MOST),
    ("half-closed", Timer::HalfClosed, 30, MOST),
    ("embryonic", Timer::Embryonic, 5, MOST),
    ("udp", Timer::Udp, 60, MOST),
    ("icmp", Timer::Icmp, 2, MOST),
    ("sip", Timer::Sip, 300, MOST),
    ("sip_media", Timer::SipMedia, 60, MOST),
    ("sip-invite", Timer::SipInvite, 60, 1800),
    ("sip-disconnect", Timer::SipDisconnect, 1, 600),
    ("sip-provisional-media", Timer::SipProvisionalMedia, 60, 1800),
    ("pat-xlate", Timer::PatXlate, 30, 300),
    ("xlate", Timer::Xlate, 60, MOST),
    ("conn-holddown", Timer::ConnHolddown, 0, 15),
    ("floating-conn", Timer::FloatingConn, 0, MOST),
];

/// Timers of an ASA that have nothing to time here.
const UNUSED: [&str; 8] =
    ["sunrpc", "h323", "h225", "mgcp", "mgcp-pat", "uauth", "tcp-proxy-reassembly", "sctp"];

/// `timeout NAME H:MM:SS ...`
pub fn timeout(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let names = TIMERS.map(|t| t.0);
    let mut set: Vec<(Timer, Seconds)> = Vec::new();
    while set.is_empty() || args.peek().is_some() {
        let unused = UNUSED.iter().find(|name| args.peek() == Some(**name));
        let (name, timer, low, high) = match unused {
            Some(name) => {
                args.take("a timer")?;
                (*name, Timer::Unused(name), 0, MOST)
            }
            None => TIMERS[args.one_of(&names)?],
        };
        if set.iter().any(|(seen, _)| *seen == timer) {
            return Err(args.wrong(format!("`{name}` stands twice in the line")));
        }
        let value = a_time(args, name, low, high)?;
        if name == "uauth" && !args.accept("absolute") {
            args.accept("inactivity");
        }
        set.push((timer, value));
    }
    Ok(Command::Timeout(set))
}

/// A duration within `low..=high` seconds.
pub fn a_time(args: &mut Args<'_, '_>, name: &str, low: u32, high: u32) -> Result<Seconds, Problem> {
    let value = args.parsed("a duration", duration)?;
    if value == Seconds(0) && low > 0 {
        return Err(args
            .wrong("0 (never) is not supported: connections that never end would fill the table")
            .help(format!("the most is {}", Seconds(high))));
    }
    if !(low..=high).contains(&value.0) {
        let range = format!("{} to {}", Seconds(low), Seconds(high));
        return Err(args.wrong(format!("`timeout {name}` cannot be {value}")).label(range));
    }
    Ok(value)
}

/// `H:MM:SS`
fn duration(word: &str) -> Result<Seconds, &'static str> {
    const SHAPE: &str = "expected H:MM:SS";
    let parts: Vec<&str> = word.split(':').collect();
    let [hours, minutes, seconds] = parts[..] else { return Err(SHAPE) };
    let number = |word: &str, most: u32| {
        let digits = (1..=4).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
        word.parse::<u32>().ok().filter(|n| digits && *n <= most).ok_or(SHAPE)
    };
    Ok(Seconds(number(hours, 1193)? * 3600 + number(minutes, 59)? * 60 + number(seconds, 59)?))
}

/// `arp timeout SECONDS`
pub fn arp_timeout(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let seconds = args.number("a number of seconds", 60, 4_294_967)?;
    Ok(Command::Timeout(vec![(Timer::Arp, Seconds(seconds))]))
}

/// `local domain D`
pub fn local_domain(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let token = args.take("a domain")?;
    if token.text.starts_with("*.") {
        return Err(args
            .wrong("a local domain cannot be a wildcard")
            .help("a subdomain of a local domain is not local by itself: name each"));
    }
    let name = domains::canonical(token.text)
        .map_err(|why| args.wrong(format!("`{}` is not a domain: {why}", token.text)))?;
    if domains::is_address(&name) {
        return Err(args.wrong("a local domain cannot be an address"));
    }
    Ok(Command::LocalDomain(name))
}

/// `permit domain {D | *.D} [peer FQDN] [trustpoint T]`
pub fn permit_domain(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let key = key(args)?;
    let peer = if args.accept("peer") {
        let name = args.parsed("a host name", domains::canonical)?;
        if domains::is_address(&name) {
            return Err(args.wrong("a peer is named as in its certificate, not by address"));
        }
        Some(name)
    } else {
        None
    };
    let trustpoint = if args.accept("trustpoint") { Some(args.name("a trustpoint")?) } else { None };
    let permit = Permit { peer, note: note(args)? };
    Ok(match trustpoint {
        Some(trustpoint) => Command::BoundDomain(key, permit, trustpoint),
        None => Command::Domain(key, DomainRule::Permit(permit)),
    })
}

/// `[until DATE] [comment TEXT]`
fn note(args: &mut Args<'_, '_>) -> Result<Note, Problem> {
    let until = if args.accept("until") { Some(args.parsed("a date", Minute::of_iso)?) } else { None };
    let comment = if args.accept("comment") {
        args.clone().take("a text")?;
        Some(args.rest().into())
    } else {
        None
    };
    Ok(Note { until, comment })
}

/// `block domain {D | *.D}`
pub fn block_domain(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let key = key(args)?;
    Ok(Command::Domain(key, DomainRule::Block(note(args)?)))
}

fn key(args: &mut Args<'_, '_>) -> Result<DomainKey, Problem> {
    args.parsed("a domain entry", domains::parse_key)
}
