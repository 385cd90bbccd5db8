// SPDX-License-Identifier: MIT OR Apache-2.0
//! The modular policy framework: `class-map`, `policy-map`, `inspect sip`, `service-policy`.

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::{CLASS_DEFAULT, ClassMatch, InspectSip};
use crate::config::raw::{Command, Limit, Timer};
use crate::config::types::{PortOp, Seconds};

use super::object::{tcp_or_udp, wanted_op};
use super::system::a_time;

type Parsed = Result<Command, Problem>;

/// `class-map NAME`
pub fn class_map(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a class-map's name")?;
    if name == CLASS_DEFAULT {
        return Err(args
            .wrong("`class-default` is there by itself: it is everything")
            .help("name it in a policy-map: `class class-default`"));
    }
    if name == "type" {
        return Err(args.wrong(
            "the class-maps with a type are `class-map type regex` and `class-map type inspect sip`",
        ));
    }
    Ok(Command::ClassMap(name))
}

/// `match access-list NAME`
pub fn match_access_list(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Match(ClassMatch::Acl(args.name("an access-list")?)))
}

/// `match default-inspection-traffic`
pub fn match_default(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Match(ClassMatch::Default))
}

/// `match any`
pub fn match_any(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Match(ClassMatch::Any))
}

/// `match port {tcp|udp} {eq P | range A B}`
pub fn match_port(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let proto = tcp_or_udp(args)?;
    match wanted_op(args, proto)? {
        op @ (PortOp::Eq(_) | PortOp::Range(..)) => Ok(Command::Match(ClassMatch::Port(proto, op))),
        _ => Err(args.wrong("`match port` takes `eq` or `range`").help("write an access-list for the rest")),
    }
}

const LIMITS: [(&str, Limit); 4] = [
    ("conn-max", Limit::Conn),
    ("embryonic-conn-max", Limit::Embryonic),
    ("per-client-max", Limit::Client),
    ("per-client-embryonic-max", Limit::ClientEmbryonic),
];

/// `set connection {conn-max|...} N ...`
pub fn limits(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let names = LIMITS.map(|limit| limit.0);
    let mut set: Vec<(Limit, u32)> = Vec::new();
    while set.is_empty() || args.peek().is_some() {
        let (name, limit) = LIMITS[args.one_of(&names)?];
        if set.iter().any(|(seen, _)| *seen == limit) {
            return Err(args.wrong(format!("`{name}` stands twice in the line")));
        }
        set.push((limit, args.number("a number of connections", 0, 2_000_000)?));
    }
    Ok(Command::Limits(set))
}

const TIMERS: [(&str, Timer, u32); 3] =
    [("idle", Timer::Conn, 1), ("half-closed", Timer::HalfClosed, 30), ("embryonic", Timer::Embryonic, 5)];

/// `set connection timeout {idle|half-closed|embryonic} H:MM:SS ...`
pub fn conn_timeouts(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let names = TIMERS.map(|timer| timer.0);
    let mut set: Vec<(Timer, Seconds)> = Vec::new();
    while set.is_empty() || args.peek().is_some() {
        if args.peek() == Some("dcd") {
            args.take("dcd")?;
            return Err(args
                .wrong("dead connection detection is not supported")
                .help("leave it out: idle connections end by `timeout idle`"));
        }
        let (name, timer, low) = TIMERS[args.one_of(&names)?];
        if set.iter().any(|(seen, _)| *seen == timer) {
            return Err(args.wrong(format!("`{name}` stands twice in the line")));
        }
        set.push((timer, a_time(args, name, low, 4_294_800)?));
    }
    Ok(Command::ConnTimeouts(set))
}

/// `set connection advanced-options tcp-state-bypass`
pub fn advanced_options(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.expect("tcp-state-bypass")?;
    Ok(Command::StateBypass)
}

/// `policy-map type inspect sip NAME`
pub fn inspect_map(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a map's name")?;
    let glued = name.len().checked_sub("parameters".len()).filter(|at| *at > 0 && name.is_char_boundary(*at));
    if let Some((map, _)) =
        glued.map(|at| name.split_at(at)).filter(|(_, end)| end.eq_ignore_ascii_case("parameters"))
    {
        return Err(args.wrong(format!("`{name}`: the map's name and `parameters` have run together")).help(
            format!(
                "write `policy-map type inspect sip {map}`, and under it `parameters` on a line of its own"
            ),
        ));
    }
    Ok(Command::InspectMap(name))
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
        let problem = args
            .wrong("`inspect sip` without a TLS proxy has no effect: on an ASA it inspects SIP in the clear");
        args.remark(problem.help(
            "SIP in the clear passes by the access-lists alone; of what is to be inspected make a class, with `inspect sip [MAP] tls-proxy NAME`",
        ));
        return Ok(Command::Idle);
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
