// SPDX-License-Identifier: MIT OR Apache-2.0
//! `object network` and `object service` with what stands under them, and the port operators and ICMP types they share with ACLs.

use std::net::IpAddr;

use crate::config::addr::{Net6, ObjectAddr};
use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::ports::{self, ICMP, ICMP6, SCTP, TCP, UDP};
use crate::config::raw::Command;
use crate::config::suggest::nearest;
use crate::config::types::{Net, PortOp, Protos, Service};

type Parsed = Result<Command, Problem>;

/// `object network NAME`
pub fn network(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::ObjectNetwork(args.name("an object's name")?))
}

/// `host A`
pub fn host(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let address = args.ip("an address")?;
    if address.is_unspecified() {
        return Err(args
            .wrong(format!("`host {address}` names no host"))
            .help("for every address write `subnet 0.0.0.0 0.0.0.0`")
            .meant("subnet 0.0.0.0 0.0.0.0"));
    }
    Ok(Command::ObjectAddr(match address {
        IpAddr::V4(address) => ObjectAddr::Net(Net::host(address)),
        IpAddr::V6(address) => ObjectAddr::Net6(Net6::host(address)),
    }))
}

/// `subnet {A M | P/LEN}`
pub fn subnet(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::ObjectAddr(if args.peek().is_some_and(|word| word.contains(':')) {
        ObjectAddr::Net6(args.network6()?)
    } else {
        ObjectAddr::Net(args.network()?)
    }))
}

/// `range FIRST LAST`
pub fn range(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let first = args.ip("the first address")?;
    let last = args.ip("the last address")?;
    let range = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => ObjectAddr::Range(first, last),
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => ObjectAddr::Range6(first, last),
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
            return Err(args.wrong(format!("the range ends before it begins: {first} to {last}")));
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(args.wrong("first and last are of different families"));
        }
    };
    Ok(Command::ObjectAddr(range))
}

/// `fqdn NAME`: understood, so that the message can be a good one.
pub fn fqdn(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.rest();
    Err(args
        .wrong("`fqdn` is not supported: whoever answers the DNS would decide what the access-list lets in")
        .help("name the addresses: `host`, `subnet` or `range`"))
}

/// `description TEXT`, wherever it stands.
pub fn description(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    args.clone().take("a text")?;
    Ok(Command::Description(args.rest().to_owned()))
}

/// `object service NAME`
pub fn service(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::ObjectService(args.name("an object's name")?))
}

/// `service PROTOCOL ...` in an object.
pub fn service_is(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let service = a_service(args)?;
    if service.proto == Protos::TcpUdp {
        let help = "write `tcp` or `udp`, or `service-object tcp-udp ...` in an object-group";
        return Err(args.wrong("an `object service` holds one protocol").help(help));
    }
    Ok(Command::Service(service))
}

/// `{tcp|udp|tcp-udp} [source OP] [destination OP]`, `{icmp|icmp6} [TYPE [CODE]]`, `ip`, or another protocol alone.
pub fn a_service(args: &mut Args<'_, '_>) -> Result<Service, Problem> {
    let proto = protos(args)?;
    let mut service = Service::of(proto);
    match proto {
        Protos::One(TCP | UDP) | Protos::TcpUdp => {
            if args.accept("source") {
                service.source = wanted_op(args, proto.names())?;
            }
            if args.accept("destination") {
                service.destination = wanted_op(args, proto.names())?;
            }
        }
        Protos::One(number @ (ICMP | ICMP6)) if args.peek().is_some() => {
            service.icmp = Some(icmp(args, number)?);
        }
        Protos::One(SCTP) if args.peek().is_some() => {
            args.take("ports")?;
            return Err(args.wrong("ports of SCTP are not looked at").help("write `sctp` alone"));
        }
        Protos::One(_) | Protos::Any => {}
    }
    Ok(service)
}

/// A protocol by name or number, `ip`, or `tcp-udp`.
pub fn protos(args: &mut Args<'_, '_>) -> Result<Protos, Problem> {
    args.parsed("a protocol", |word| match word {
        "ip" => Ok(Protos::Any),
        "tcp-udp" => Ok(Protos::TcpUdp),
        _ => match ports::proto(word) {
            Some(0) | None => Err("expected ip, tcp, udp, tcp-udp, icmp, icmp6 or a number from 1 to 255"),
            Some(number) => Ok(Protos::One(number)),
        },
    })
}

/// An ICMP type, and perhaps a code.
pub fn icmp(args: &mut Args<'_, '_>, proto: u8) -> Result<(u8, Option<u8>), Problem> {
    let token = args.take("an ICMP type")?;
    let number = ports::icmp_type(proto, token.text)
        .ok_or_else(|| args.wrong(format!("`{}` is not an ICMP type", token.text)))?;
    let code = args.peek().and_then(|word| ports::icmp_code(proto, number, word));
    match (code, args.peek()) {
        (Some(_), _) => drop(args.take("an ICMP code")?),
        (None, Some(word)) if word.bytes().all(|b| b.is_ascii_digit()) => {
            args.take("an ICMP code")?;
            return Err(args.wrong(format!("`{word}` is not an ICMP code")).label("expected 0 to 255"));
        }
        (None, _) => {}
    }
    Ok((number, code))
}

/// `tcp` or `udp`.
pub fn tcp_or_udp(args: &mut Args<'_, '_>) -> Result<u8, Problem> {
    Ok([TCP, UDP][args.one_of(&["tcp", "udp"])?])
}

/// A port of `proto` by name or number.
pub fn port(args: &mut Args<'_, '_>, proto: u8) -> Result<u16, Problem> {
    let token = args.take("a port")?;
    ports::port(proto, token.text).ok_or_else(|| {
        let of = if proto == 0 { "tcp and udp".to_owned() } else { ports::proto_text(proto) };
        let problem = args.wrong(format!("`{}` is not a port of {of}", token.text));
        match nearest(token.text, ports::port_names(proto)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.label("expected 0 to 65535 or a well-known name"),
        }
    })
}

const OPS: [&str; 5] = ["eq", "neq", "gt", "lt", "range"];

/// `OP PORT` where the next word is an operator, else any port.
pub fn port_op(args: &mut Args<'_, '_>, proto: u8) -> Result<PortOp, Problem> {
    if args.peek().is_some_and(|word| OPS.contains(&word)) { wanted_op(args, proto) } else { Ok(PortOp::Any) }
}

/// `OP PORT`, which must be there.
pub fn wanted_op(args: &mut Args<'_, '_>, proto: u8) -> Result<PortOp, Problem> {
    let op = OPS[args.one_of(&OPS)?];
    let first = port(args, proto)?;
    Ok(match op {
        "eq" => PortOp::Eq(first),
        "neq" => PortOp::Neq(first),
        "gt" if first == u16::MAX => return Err(args.wrong("no port is greater than 65535")),
        "gt" => PortOp::Gt(first),
        "lt" if first == 0 => return Err(args.wrong("no port is less than 0")),
        "lt" => PortOp::Lt(first),
        _ => {
            let last = port(args, proto)?;
            if last < first {
                return Err(args.wrong(format!("the range ends before it begins: {first} to {last}")));
            }
            PortOp::Range(first, last)
        }
    })
}
