// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sip-pool` and what stands under it. The ASA has no word for it; the grammar is that of its other lists of servers.

use fedgate_tables::policy::HealthCheck;

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::pool::{Check, SIPS_PORT, Share};
use crate::config::raw::Command;

type Parsed = Result<Command, Problem>;

/// `sip-pool NAME`
pub fn sip_pool(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::SipPool(args.name("a pool's name")?))
}

/// `member ADDRESS [port PORT] [weight N] [drain]`
pub fn member(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let addr = args.address("a server's address")?;
    if addr.is_unspecified() || addr.is_multicast() || addr.is_broadcast() {
        return Err(args.wrong("not the address of a server"));
    }
    let mut number = |word: &str, what: &str, most: u32| match args.accept(word) {
        true => args.number(what, 1, most).map(Some),
        false => Ok(None),
    };
    let port = number("port", "a port", 65_535)?.map_or(SIPS_PORT, |port| port as u16);
    let weight = number("weight", "a weight", 100)?.map_or(1, |weight| weight as u8);
    let share = Share { weight, drain: args.accept("drain") };
    Ok(Command::PoolMember((addr, port), share))
}

/// `health-check {none | options interval SECONDS fail N rise N}`
pub fn health_check(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.one_of(&["none", "options"])? == 0 {
        return Ok(Command::HealthCheck(Check::None));
    }
    let mut check = HealthCheck::default();
    while args.peek().is_some() {
        match args.one_of(&["interval", "fail", "rise"])? {
            0 => check.interval = args.number("seconds", 1, 3600)? as u16,
            1 => check.fail = args.number("failures", 1, 100)? as u8,
            _ => check.rise = args.number("answers", 1, 100)? as u8,
        }
    }
    Ok(Command::HealthCheck(Check::Options(check)))
}

/// `client sip-pool NAME`
pub fn client_sip_pool(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::ClientPool(args.name("a pool")?))
}
