// SPDX-License-Identifier: MIT OR Apache-2.0
//! `object network` and `object service` with what stands under them, and the port operators they share with ACLs.

use std::path::Path;

use crate::config::args::Args;
use crate::config::diag::Problem;
use crate::config::ports::{self, TCP, UDP};
use crate::config::raw::Command;
use crate::config::suggest::nearest;
use crate::config::types::{Net, PortOp, Service};

type Parsed = Result<Command, Problem>;

/// `object network NAME`
pub fn network(args: &mut Args<'_, '_>, _: &Path) -> Parsed {
    Ok(Command::ObjectNetwork(args.name("an object's name")?))
}

/// `host A`
pub fn host(args: &mut Args<'_, '_>, _: &Path) -> Parsed {
    let address = args.address("an address")?;
    if address.is_unspecified() {
        return Err(args
            .wrong("`host 0.0.0.0` names no host")
            .help("for every address write `subnet 0.0.0.0 0.0.0.0`"));
    }
    Ok(Command::ObjectNet(Net::host(address)))
}

/// `subnet A M`
pub fn subnet(args: &mut Args<'_, '_>, _: &Path) -> Parsed {
    Ok(Command::ObjectNet(args.network()?))
}

/// `range A B`: understood, so that the message can be a good one.
pub fn range(args: &mut Args<'_, '_>, _: &Path) -> Parsed {
    args.address("the first address")?;
    args.address("the last address")?;
    Err(args.wrong("`range` is not supported yet").help("write one object a subnet: `subnet ADDRESS MASK`"))
}

/// `object service NAME`
pub fn service(args: &mut Args<'_, '_>, _: &Path) -> Parsed {
    Ok(Command::ObjectService(args.name("an object's name")?))
}

/// `service {tcp|udp} [source OP] [destination OP]`
pub fn service_is(args: &mut Args<'_, '_>, _: &Path) -> Parsed {
    let proto = tcp_or_udp(args)?;
    let source = if args.accept("source") { wanted_op(args, proto)? } else { PortOp::Any };
    let destination = if args.accept("destination") { wanted_op(args, proto)? } else { PortOp::Any };
    Ok(Command::Service(Service { proto, source, destination }))
}

/// `tcp` or `udp`.
pub fn tcp_or_udp(args: &mut Args<'_, '_>) -> Result<u8, Problem> {
    Ok([TCP, UDP][args.one_of(&["tcp", "udp"])?])
}

/// A port of `proto` by name or number.
pub fn port(args: &mut Args<'_, '_>, proto: u8) -> Result<u16, Problem> {
    let token = args.take("a port")?;
    ports::port(proto, token.text).ok_or_else(|| {
        let problem = args.wrong(format!("`{}` is not a port of {}", token.text, ports::proto_text(proto)));
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

fn wanted_op(args: &mut Args<'_, '_>, proto: u8) -> Result<PortOp, Problem> {
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
