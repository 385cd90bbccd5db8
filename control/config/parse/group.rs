// SPDX-License-Identifier: MIT OR Apache-2.0
//! `object-group` with what stands under it.

use std::net::IpAddr;

use super::object::{a_service, protos, wanted_op};
use crate::config::addr::Net6;
use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::{GroupKind, Member};
use crate::config::ports::{self, ICMP};
use crate::config::raw::Command;
use crate::config::types::{Net, PortOp, Protos};

type Parsed = Result<Command, Problem>;

fn named(args: &mut Args<'_, '_>, kind: GroupKind) -> Parsed {
    Ok(Command::Group(args.name("a group's name")?, kind))
}

/// `object-group network NAME`
pub fn network(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    named(args, GroupKind::Network)
}

/// `object-group protocol NAME`
pub fn protocol(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    named(args, GroupKind::Protocol)
}

/// `object-group icmp-type NAME`
pub fn icmp_type(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    named(args, GroupKind::IcmpType)
}

/// `object-group service NAME [{tcp|udp|tcp-udp}]`
pub fn service(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a group's name")?;
    const KINDS: [Protos; 3] = [Protos::One(ports::TCP), Protos::One(ports::UDP), Protos::TcpUdp];
    let kind = match args.peek() {
        Some(_) => GroupKind::Ports(KINDS[args.one_of(&["tcp", "udp", "tcp-udp"])?]),
        None => GroupKind::Service,
    };
    Ok(Command::Group(name, kind))
}

/// `group-object NAME`
pub fn group_object(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Member(Member::Group(args.name("a group")?.into())))
}

/// `network-object {host A | A M | P/LEN | object NAME}`
pub fn network_object(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let member = match args.peek() {
        Some("host") => {
            args.take("an address")?;
            match args.ip("a host's address")? {
                IpAddr::V4(addr) => Member::Net(Net::host(addr)),
                IpAddr::V6(addr) => Member::Net6(Net6::host(addr)),
            }
        }
        Some("object") => {
            args.take("an object")?;
            Member::Object(args.name("a network object")?.into())
        }
        Some(word) if word.contains(':') => Member::Net6(args.network6()?),
        _ => Member::Net(args.network()?),
    };
    Ok(Command::Member(member))
}

/// `service-object {PROTOCOL ... | object NAME}`
pub fn service_object(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.accept("object") {
        return Ok(Command::Member(Member::ServiceObject(args.name("a service object")?.into())));
    }
    Ok(Command::Member(Member::Service(a_service(args)?)))
}

/// `port-object {eq PORT | range FIRST LAST}`; the names are those of the group's protocol, which the editor knows.
pub fn port_object(args: &mut Args<'_, '_>, env: &Env<'_>) -> Parsed {
    let protos = match env.group {
        Some(GroupKind::Ports(protos)) => protos,
        _ => Protos::TcpUdp,
    };
    match wanted_op(args, protos.names())? {
        op @ (PortOp::Eq(_) | PortOp::Range(..)) => Ok(Command::Member(Member::Port(protos, op))),
        _ => Err(args.wrong("a port-object is `eq` or `range`").help("write the rest as a `range`")),
    }
}

/// `protocol-object PROTOCOL`
pub fn protocol_object(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    match protos(args)? {
        Protos::TcpUdp => {
            Err(args.wrong("a protocol-object is one protocol").help("write two lines: `tcp` and `udp`"))
        }
        proto => Ok(Command::Member(Member::Protocol(proto))),
    }
}

/// `icmp-object TYPE`
pub fn icmp_object(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let token = args.take("an ICMP type")?;
    match ports::icmp_type(ICMP, token.text) {
        Some(number) => Ok(Command::Member(Member::Icmp(number))),
        None => Err(args.wrong(format!("`{}` is not an ICMP type", token.text))),
    }
}
