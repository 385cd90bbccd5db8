// SPDX-License-Identifier: MIT OR Apache-2.0
//! `federation`, in the grammar of the ASA's sub-modes, and `dns server-group`, which is the ASA's own.

use std::net::IpAddr;

use fedgate_sip::partner::Rate;

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::domains;
use crate::config::model::federation::RateLimit;
use crate::config::raw::Command;

type Parsed = Result<Command, Problem>;

/// `federation {domain NAME | default}`
pub fn federation(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.one_of(&["domain", "default"])? == 1 {
        return Ok(Command::Federation(None));
    }
    let name = args.parsed("a domain", domains::canonical)?;
    if domains::is_address(&name) {
        return Err(args.wrong("an address has no edges to ask for: name a domain"));
    }
    Ok(Command::Federation(Some(name)))
}

/// `srv`
pub fn srv(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::FederationSrv)
}

/// `rate-limit N [burst M]`
pub fn rate_limit(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.is_bare_no() {
        return Ok(Command::FederationRate(None));
    }
    let rate = args.number("requests a second", 1, 1_000_000)?;
    let burst = match args.accept("burst") {
        true => args.number("requests at once", 1, 1_000_000)?,
        // Two seconds' worth: what a server that was away sends when it comes back.
        false => rate.saturating_mul(2).min(1_000_000),
    };
    Ok(Command::FederationRate(Some(RateLimit(Rate { rate, burst }))))
}

/// `maximum-session N`
pub fn maximum_session(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.is_bare_no() {
        return Ok(Command::FederationSessions(None));
    }
    args.number("connections", 1, 1_000_000).map(|most| Command::FederationSessions(Some(most)))
}

/// `dns server-group DefaultDNS`
pub fn server_group(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    match args.take("`DefaultDNS`")?.text {
        "DefaultDNS" => Ok(Command::DnsGroup),
        _ => Err(args.wrong("there is one group of name servers, `DefaultDNS`")),
    }
}

/// `name-server ADDRESS ...`
pub fn name_server(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let mut servers = vec![server(args)?];
    while args.peek().is_some() {
        servers.push(server(args)?);
    }
    Ok(Command::NameServers(servers))
}

fn server(args: &mut Args<'_, '_>) -> Result<IpAddr, Problem> {
    let addr = args.parsed("the address of a name server", str::parse::<IpAddr>)?;
    if addr.is_unspecified() || addr.is_multicast() {
        return Err(args.wrong("not the address of a server"));
    }
    Ok(addr)
}

/// `source-address ADDRESS`
pub fn source_address(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.is_bare_no() {
        return Ok(Command::DnsSource(None));
    }
    server(args).map(|addr| Command::DnsSource(Some(addr)))
}

/// `timeout SECONDS`
pub fn timeout(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.number("seconds", 1, 30).map(Command::DnsTimeout)
}

/// `retries N`
pub fn retries(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.number("a number of retries", 0, 10).map(Command::DnsRetries)
}
