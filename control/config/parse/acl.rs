// SPDX-License-Identifier: MIT OR Apache-2.0
//! `access-list` and `access-group`.

use std::path::Path;

use super::object::port_op;
use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::config::model::{Ace, AceAddr, AceProto, AclLine, Place};
use crate::config::ports::{self, ICMP, TCP, UDP};
use crate::config::raw::Command;
use crate::config::types::{Net, PortOp};

type Parsed = Result<Command, Problem>;

/// `access-list NAME {extended ... | remark TEXT}`
pub fn access_list(args: &mut Args<'_, '_>, _: &Path) -> Parsed {
    let name = args.name("an access-list's name")?;
    if args.accept("remark") {
        let text = args.rest();
        return Ok(Command::AccessList(name, AclLine::Remark(text.to_owned())));
    }
    args.one_of(&["extended", "remark"])?;
    Ok(Command::AccessList(name, AclLine::Ace(ace(args)?)))
}

fn ace(args: &mut Args<'_, '_>) -> Result<Ace, Problem> {
    let permit = args.one_of(&["permit", "deny"])? == 0;
    let (proto, number) = proto(args)?;
    let ports = matches!(number, Some(TCP | UDP));
    let op = |args: &mut Args<'_, '_>| match number {
        Some(number) if ports => port_op(args, number),
        _ => Ok(PortOp::Any),
    };
    let src = address(args)?;
    let sport = op(args)?;
    let dst = address(args)?;
    let dport = op(args)?;
    let icmp_type = match args.peek() {
        Some(word) if number == Some(ICMP) && !["log", "inactive"].contains(&word) => Some(icmp_type(args)?),
        _ => None,
    };
    if ports && args.peek().is_some_and(|w| ports::port(number.unwrap_or(TCP), w).is_some()) {
        let token = args.take("a port")?;
        return Err(args
            .wrong(format!("missing `eq` before port `{}`", token.text))
            .help(format!("write `eq {}`", token.text)));
    }
    let log = args.accept("log");
    if log && args.peek().is_some_and(|word| word != "inactive") {
        args.take("a level")?;
        return Err(args.wrong("log levels and intervals are not supported yet").help("write `log` alone"));
    }
    let inactive = args.accept("inactive");
    Ok(Ace { permit, proto, src, sport, dst, dport, icmp_type, log, inactive })
}

/// The protocol, and its number where the words that follow depend on it.
fn proto(args: &mut Args<'_, '_>) -> Result<(AceProto, Option<u8>), Problem> {
    if args.accept("object") {
        return Ok((AceProto::Object(args.name("a service object")?), None));
    }
    let token = args.take("a protocol")?;
    if token.text == "ip" {
        return Ok((AceProto::Ip, None));
    }
    if token.text == "object-group" {
        return Err(args.wrong("object groups are not supported yet").help("write one line a member"));
    }
    match ports::proto(token.text) {
        // On an ASA it is every protocol, in an IP header hop-by-hop alone: whoever writes it means the former.
        Some(0) => Err(args.wrong("protocol 0 is not every protocol").help("write `ip`")),
        Some(number) => Ok((AceProto::Number(number), Some(number))),
        None => Err(args
            .wrong(format!("`{}` is not a protocol", token.text))
            .help("ip, tcp, udp, icmp, a number from 1 to 255, or `object NAME`")),
    }
}

fn address(args: &mut Args<'_, '_>) -> Result<AceAddr, Problem> {
    match args.peek() {
        Some("any" | "any4") => {
            args.take("an address")?;
            Ok(AceAddr::Net(Net::ANY))
        }
        Some("host") => {
            args.take("an address")?;
            Ok(AceAddr::Net(Net::host(args.address("a host's address")?)))
        }
        Some("object") => {
            args.take("an address")?;
            Ok(AceAddr::Object(args.name("a network object")?))
        }
        Some(word @ ("object-group" | "any6" | "interface" | "object-group-security" | "user")) => {
            args.take("an address")?;
            Err(args
                .wrong(format!("`{word}` is not supported yet in an access-list"))
                .help("any, host A, A MASK, or `object NAME`"))
        }
        _ => Ok(AceAddr::Net(args.network()?)),
    }
}

fn icmp_type(args: &mut Args<'_, '_>) -> Result<u8, Problem> {
    let token = args.take("an ICMP type")?;
    let number = ports::icmp_type(token.text)
        .ok_or_else(|| args.wrong(format!("`{}` is not an ICMP type", token.text)))?;
    if args.peek().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit())) {
        args.take("an ICMP code")?;
        return Err(args
            .wrong("ICMP codes are not supported yet")
            .help("leave the code out: any code matches"));
    }
    Ok(number)
}

/// `access-group NAME {{in|out} interface I | global}`
pub fn access_group(args: &mut Args<'_, '_>, _: &Path) -> Parsed {
    let name = args.name("an access-list's name")?;
    let place = match args.one_of(&["in", "out", "global"])? {
        2 => Place::Global,
        side => {
            args.expect("interface")?;
            let interface = args.name("an interface")?;
            if side == 0 { Place::In(interface) } else { Place::Out(interface) }
        }
    };
    Ok(Command::AccessGroup(name, place))
}
