// SPDX-License-Identifier: MIT OR Apache-2.0
//! `access-list` and `access-group`.
//!
//! Whether `object-group G` between two addresses names the source's ports or is the destination itself depends on the kind of G,
//! as on the ASA: a group stands before the line that names it.

use super::object::{icmp, port_op};
use crate::config::addr::Net6;
use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::{
    Ace, AceAddr, AceIcmp, AceLog, AcePorts, AceProto, AclLine, DENY_FLOW_MAX, GroupKind, Name, Place,
};
use crate::config::ports::{self, ICMP, ICMP6, TCP, UDP};
use crate::config::raw::{AclEdit, Command};
use crate::config::types::{Net, PortOp};

type Parsed = Result<Command, Problem>;

/// `access-list NAME [line N] {extended ... | remark TEXT}`
pub fn access_list(args: &mut Args<'_, '_>, env: &Env<'_>) -> Parsed {
    let name: Name = args.name("an access-list's name")?.into();
    let at = if args.accept("line") { Some(args.number("a line number", 1, u32::MAX)?) } else { None };
    if args.accept("remark") {
        let line = AclLine::Remark(args.rest().to_owned());
        return Ok(Command::AccessList(AclEdit { name, at, line }));
    }
    if args.peek() == Some("standard") {
        args.take("a kind")?;
        return Err(args
            .wrong("standard access-lists are for routing protocols, of which there are none here")
            .help("write `extended {permit|deny} ip SOURCE DESTINATION`"));
    }
    args.one_of(&["extended", "remark"])?;
    Ok(Command::AccessList(AclEdit { name, at, line: AclLine::Ace(ace(args, env)?) }))
}

fn ace(args: &mut Args<'_, '_>, env: &Env<'_>) -> Result<Ace, Problem> {
    let permit = args.one_of(&["permit", "deny"])? == 0;
    let proto = proto(args)?;
    let number = match proto {
        AceProto::Number(number) => Some(number),
        AceProto::Group(_) => Some(0),
        AceProto::Ip | AceProto::Object(_) => None,
    };
    let src = address(args)?;
    let sport = ace_ports(args, env, number)?;
    let dst = address(args)?;
    if families(&src).zip(families(&dst)).is_some_and(|(a, b)| a != b) {
        return Err(args
            .wrong("source and destination are of different families")
            .help("an IPv4 address goes with `any4`, an IPv6 address with `any6`, both with `any`"));
    }
    let other = match number {
        Some(ICMP) => Some((true, "icmp is of IPv4", "icmp6")),
        Some(ICMP6) => Some((false, "icmp6 is of IPv6", "icmp")),
        _ => None,
    };
    if let Some((family, what, instead)) = other
        && [&src, &dst].into_iter().any(|addr| families(addr) == Some(family))
    {
        return Err(args
            .wrong(format!("{what}, and the addresses are not"))
            .help(format!("write `{instead}`")));
    }
    let dport = ace_ports(args, env, number)?;
    let icmp = match number {
        Some(proto @ (ICMP | ICMP6)) => ace_icmp(args, proto)?,
        _ => AceIcmp::Any,
    };
    match (number, args.peek()) {
        (Some(number @ (TCP | UDP)), Some(word)) if ports::port(number, word).is_some() => {
            args.take("a port")?;
            return Err(args
                .wrong(format!("missing `eq` before port `{word}`"))
                .help(format!("write `eq {word}`"))
                .meant(args.with_instead(&format!("eq {word}"))));
        }
        (_, Some("eq" | "neq" | "gt" | "lt" | "range")) => {
            args.take("an operator")?;
            return Err(args.wrong("only tcp and udp have ports").help("write `tcp` or `udp`"));
        }
        _ => {}
    }
    let log = if args.accept("log") { Some(log(args)?) } else { None };
    let time_range = if args.accept("time-range") { Some(args.name("a time-range")?.into()) } else { None };
    let inactive = args.accept("inactive");
    Ok(Ace { permit, proto, src, sport, dst, dport, icmp, log, time_range, inactive })
}

fn proto(args: &mut Args<'_, '_>) -> Result<AceProto, Problem> {
    if args.accept("object") {
        return Ok(AceProto::Object(args.name("a service object")?.into()));
    }
    if args.accept("object-group") {
        return Ok(AceProto::Group(args.name("an object-group")?.into()));
    }
    let token = args.take("a protocol")?;
    if token.text == "ip" {
        return Ok(AceProto::Ip);
    }
    match ports::proto(token.text) {
        // On an ASA it is every protocol, in an IP header hop-by-hop alone: whoever writes it means the former.
        Some(0) => Err(args.wrong("protocol 0 is not every protocol").help("write `ip`")),
        Some(number) => Ok(AceProto::Number(number)),
        None => Err(args
            .wrong(format!("`{}` is not a protocol", token.text))
            .help("ip, tcp, udp, icmp, icmp6, a number from 1 to 255, `object NAME` or `object-group NAME`")),
    }
}

/// An address of an ACE.
fn address(args: &mut Args<'_, '_>) -> Result<AceAddr, Problem> {
    let Some(word) = args.peek() else { return args.network().map(AceAddr::Net) };
    match word {
        "any" | "any4" | "any6" | "host" | "object" | "object-group" | "interface" => {
            args.take("an address")?;
        }
        "object-group-security" | "object-group-user" | "security-group" | "user" | "user-group" => {
            args.take("an address")?;
            return Err(args
                .wrong(format!("`{word}`: fedgate knows addresses, not users or security tags"))
                .help("any, host A, A MASK, P/LEN, `object NAME` or `object-group NAME`"));
        }
        _ => {}
    }
    Ok(match word {
        "any" => AceAddr::Any,
        "any4" => AceAddr::Any4,
        "any6" => AceAddr::Any6,
        "host" => match args.ip("a host's address")? {
            std::net::IpAddr::V4(addr) => AceAddr::Net(Net::host(addr)),
            std::net::IpAddr::V6(addr) => AceAddr::Net6(Net6::host(addr)),
        },
        "object" => AceAddr::Object(args.name("a network object")?.into()),
        "object-group" => AceAddr::Group(args.name("an object-group")?.into()),
        "interface" => AceAddr::Interface(args.name("an interface")?.into()),
        _ if word.contains(':') => match args.network6()? {
            Net6::ANY => AceAddr::Any6,
            net => AceAddr::Net6(net),
        },
        _ => match args.network()? {
            Net::ANY => AceAddr::Any4,
            net => AceAddr::Net(net),
        },
    })
}

/// `false` for IPv4 alone, `true` for IPv6 alone; `None` for both, or where the line does not say.
fn families(addr: &AceAddr) -> Option<bool> {
    match addr {
        AceAddr::Any4 | AceAddr::Net(_) => Some(false),
        AceAddr::Any6 | AceAddr::Net6(_) => Some(true),
        AceAddr::Any | AceAddr::Object(_) | AceAddr::Group(_) | AceAddr::Interface(_) => None,
    }
}

/// Ports after an address; `proto` is the protocol, 0 for a group of them, `None` where there are no ports.
fn ace_ports(args: &mut Args<'_, '_>, env: &Env<'_>, proto: Option<u8>) -> Result<AcePorts, Problem> {
    let Some(proto @ (TCP | UDP | 0)) = proto else { return Ok(AcePorts::Op(PortOp::Any)) };
    let mut ahead = args.clone();
    if ahead.accept("object-group")
        && let Some(word) = ahead.peek()
        && env.model.groups.get(word).is_some_and(|g| matches!(g.kind, GroupKind::Ports(_)))
    {
        *args = ahead;
        return Ok(AcePorts::Group(args.name("an object-group")?.into()));
    }
    port_op(args, proto).map(AcePorts::Op)
}

fn ace_icmp(args: &mut Args<'_, '_>, proto: u8) -> Result<AceIcmp, Problem> {
    match args.peek() {
        None | Some("log" | "inactive" | "time-range") => Ok(AceIcmp::Any),
        Some("object-group") => {
            args.take("an object-group")?;
            Ok(AceIcmp::Group(args.name("an object-group")?.into()))
        }
        Some(_) => icmp(args, proto).map(|(number, code)| AceIcmp::Type(number, code)),
    }
}

const LEVELS: [&str; 8] = [
    "emergencies",
    "alerts",
    "critical",
    "errors",
    "warnings",
    "notifications",
    "informational",
    "debugging",
];

/// Severity as the ASA prints it.
pub fn level_text(level: u8) -> &'static str {
    LEVELS[usize::from(level) % LEVELS.len()]
}

/// `4` or `warnings`.
pub(super) fn severity(word: &str) -> Result<u8, &'static str> {
    let number = word.parse::<u8>().ok().filter(|n| *n < 8 && word.len() == 1);
    let named = LEVELS.iter().position(|name| *name == word).map(|at| at as u8);
    number.or(named).ok_or("0 to 7, or emergencies to debugging")
}

/// `[LEVEL] [interval S]`, `disable` or `default`, after `log`.
fn log(args: &mut Args<'_, '_>) -> Result<AceLog, Problem> {
    if args.accept("disable") {
        return Ok(AceLog::Disable);
    }
    if args.accept("default") {
        return Ok(AceLog::Default);
    }
    let mut level = 6;
    if args.peek().is_some_and(|word| !["interval", "inactive", "time-range"].contains(&word)) {
        level = args.parsed("a logging level", severity)?;
    }
    let interval =
        if args.accept("interval") { args.number("a number of seconds", 1, 600)? as u16 } else { 300 };
    Ok(AceLog::On { level, interval })
}

/// `access-list deny-flow-max N`
pub fn deny_flow_max(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::DenyFlowMax(args.number("a number of flows", 1, DENY_FLOW_MAX)?))
}

/// `access-list alert-interval S`
pub fn alert_interval(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::AlertInterval(args.number("a number of seconds", 1, 3600)?))
}

/// `access-group NAME {{in|out} interface I | global}`
pub fn access_group(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("an access-list's name")?;
    let place = match args.one_of(&["in", "out", "global"])? {
        2 => Place::Global,
        side => {
            args.expect("interface")?;
            let interface = args.name("an interface")?;
            if side == 0 { Place::In(interface) } else { Place::Out(interface) }
        }
    };
    if let Some(word @ ("per-user-override" | "control-plane")) = args.peek() {
        args.take("an option")?;
        return Err(args
            .wrong(format!("`{word}` is not supported"))
            .help("leave it out: there are no user lists, and traffic to the appliance itself passes no access-list"));
    }
    Ok(Command::AccessGroup(name, place))
}
