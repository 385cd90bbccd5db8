// SPDX-License-Identifier: MIT OR Apache-2.0
//! The modular policy framework: `class-map`, `policy-map`, `inspect sip`, `service-policy`.

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::InspectSip;
use crate::config::raw::Command;

type Parsed = Result<Command, Problem>;

/// `class-map NAME`
pub fn class_map(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a class-map's name")?;
    if name == "type" {
        return Err(args.wrong("class-maps with a type are not supported yet"));
    }
    Ok(Command::ClassMap(name))
}

/// `match access-list NAME`
pub fn match_access_list(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::MatchAccessList(args.name("an access-list")?))
}

/// `policy-map type inspect sip NAME`
pub fn inspect_map(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectMap(args.name("a map's name")?))
}

/// `parameters`
pub fn parameters(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::InspectParameters)
}

/// `policy-map NAME`
pub fn policy_map(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a policy-map's name")?;
    if name == "type" {
        return Err(args.wrong("the only policy-map with a type is `policy-map type inspect sip NAME`"));
    }
    Ok(Command::PolicyMap(name))
}

/// `class NAME`
pub fn class(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::PolicyClass(args.name("a class-map")?))
}

/// `inspect sip [MAP] tls-proxy P`
pub fn inspect_sip(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let map = match args.peek() {
        Some("tls-proxy") | None => None,
        Some(_) => Some(args.name("a map's name")?),
    };
    if args.peek().is_none() {
        let problem = args.wrong("`inspect sip` without a TLS proxy is not supported yet");
        return Err(problem.help("write `inspect sip [MAP] tls-proxy NAME`"));
    }
    args.expect("tls-proxy")?;
    Ok(Command::InspectSip(InspectSip { map, tls_proxy: args.name("a TLS proxy")? }))
}

/// `service-policy NAME global`
pub fn service_policy(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a policy-map")?;
    if args.peek() == Some("interface") {
        args.take("interface")?;
        return Err(args
            .wrong("a service-policy on one interface is not supported yet")
            .help("write `global`"));
    }
    args.expect("global")?;
    Ok(Command::ServicePolicy(name))
}
