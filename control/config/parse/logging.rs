// SPDX-License-Identifier: MIT OR Apache-2.0
//! `logging`: what goes to collectors and into the buffer. `flow-export`: NAT events. `metrics`: where they are read.

use std::net::SocketAddr;

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::domains;
use crate::config::model::logging::{
    Destination, DeviceId, HostForm, HostKey, Limited, Rate, Secure, Stamp, Transport,
};
use crate::config::raw::{Command, Logging};

use super::acl::severity;

type Parsed = Result<Command, Problem>;

/// `logging enable`
pub fn enable(_: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Logging(Logging::Enable))
}

/// `logging timestamp [rfc5424]`
pub fn timestamp(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let stamp = if args.accept("rfc5424") { Stamp::Rfc5424 } else { Stamp::Asa };
    Ok(Command::Logging(Logging::Timestamp(stamp)))
}

/// `logging facility N`
pub fn facility(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let facility = optional(args, |args| args.number("a facility", 16, 23))?;
    Ok(Command::Logging(Logging::Facility(facility.map(|facility| facility as u8))))
}

/// `logging device-id {hostname | ipaddress IF | string TEXT}`
pub fn device_id(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let id = optional(args, |args| {
        Ok(match args.one_of(&["hostname", "ipaddress", "string"])? {
            0 => DeviceId::Hostname,
            1 => DeviceId::Address(args.name("an interface")?),
            _ => DeviceId::Text(args.name("a text of up to 16 characters")?),
        })
    })?;
    if let Some(DeviceId::Text(text)) = &id
        && text.len() > 16
    {
        return Err(args.wrong(format!("`{text}` has more than 16 characters")));
    }
    Ok(Command::Logging(Logging::DeviceId(id)))
}

/// `logging buffer-size BYTES`
pub fn buffer_size(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let bytes = optional(args, |args| args.number("a number of bytes", 4096, 1_048_576))?;
    Ok(Command::Logging(Logging::BufferSize(bytes)))
}

/// `logging buffered LEVEL`
pub fn buffered(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Logging(Logging::Buffered(optional(args, level)?)))
}

/// `logging trap LEVEL`
pub fn trap(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(Command::Logging(Logging::Trap(optional(args, level)?)))
}

/// `logging queue N`
pub fn queue(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let messages = optional(args, |args| {
        if args.peek() == Some("0") {
            args.take("a number")?;
            return Err(args
                .wrong("a queue without a bound is not supported")
                .help("the most is `logging queue 8192`"));
        }
        args.number("a number of messages", 1, 8192)
    })?;
    Ok(Command::Logging(Logging::Queue(messages)))
}

/// `logging host IF ADDRESS [{tcp|udp}/PORT] [format rfc5424] [secure trustpoint T [reference-identity NAME]]`
pub fn host(args: &mut Args<'_, '_>, env: &Env<'_>) -> Parsed {
    let interface = args.name("an interface")?;
    let known = env.model.interface(&interface).is_some();
    let remark = args.wrong(format!(
        "messages do not leave by the dataplane's `{interface}`: fedgate-control sends them by the machine's own routes"
    ));
    let address = args.ip("an address")?;
    let named = args.peek().and_then(transport);
    if named.is_some() {
        args.take("a transport")?;
    }
    let mut form = HostForm::default();
    while args.peek().is_some() {
        match args.one_of(&["format", "secure", "permit-hostdown"])? {
            0 => match args.one_of(&["rfc5424", "emblem"])? {
                0 => form.rfc5424 = true,
                _ => {
                    return Err(args
                        .wrong("the EMBLEM format is not supported")
                        .help("leave `format` out for the ASA's own, or write `format rfc5424`"));
                }
            },
            1 => form.secure = Some(secure(args)?),
            _ => {}
        }
    }
    if form.secure.is_some() && !matches!(named, Some((Transport::Tcp, _))) {
        return Err(args.wrong("TLS goes over TCP").help("write `tcp/6514` behind the address"));
    }
    if known && !args.is_negated() {
        args.remark(remark);
    }
    let (transport, port) = named.unwrap_or((Transport::Udp, Transport::Udp.port()));
    let key = HostKey { interface, address, transport, port };
    Ok(Command::Logging(match (args.is_negated(), named) {
        (true, None) => Logging::NoHost(key.interface, key.address),
        _ => Logging::Host(key, form),
    }))
}

fn secure(args: &mut Args<'_, '_>) -> Result<Secure, Problem> {
    if !args.accept("trustpoint") {
        return Err(args
            .wrong("`secure` needs to know whose CAs vouch for the collector")
            .help("write `secure trustpoint NAME`: that of an ASA takes every trustpoint's"));
    }
    let trustpoint = args.name("a trustpoint")?;
    let identity = if args.accept("reference-identity") {
        Some(args.parsed("a host name", domains::canonical)?)
    } else {
        None
    };
    Ok(Secure { trustpoint, identity })
}

/// `tcp/1470`, `17/514` or `udp`.
fn transport(word: &str) -> Option<(Transport, u16)> {
    let (name, port) = word.split_once('/').map_or((word, None), |(name, port)| (name, Some(port)));
    let transport = match name {
        "udp" | "17" => Transport::Udp,
        "tcp" | "6" => Transport::Tcp,
        _ => return None,
    };
    let port = match port {
        None => transport.port(),
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0)?,
    };
    Some((transport, port))
}

/// `logging message N [level L]`
pub fn message(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let number = args.number("a message's number", 100_000, 999_999)?;
    let level = if args.accept("level") { Some(optional(args, level)?) } else { None };
    Ok(Command::Logging(Logging::Message(number, level)))
}

/// `logging rate-limit {unlimited | N [SECONDS]} {level L | message N}`
pub fn rate_limit(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let unnamed = args.is_negated() && matches!(args.peek(), Some("level" | "message"));
    let rate = if unnamed {
        None
    } else if args.accept("unlimited") {
        Some(Rate::Unlimited)
    } else {
        let messages = args.number("a number of messages", 1, 2_147_483_647)?;
        let digits = args.peek().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit()));
        let seconds = if digits { args.number("a number of seconds", 1, 86_400)? } else { 1 };
        Some(Rate::Most(messages, seconds))
    };
    let of = match args.one_of(&["level", "message"])? {
        0 => Limited::Level(level(args)?),
        _ => Limited::Message(args.number("a message's number", 100_000, 999_999)?),
    };
    Ok(Command::Logging(Logging::Rate(of, rate)))
}

/// `flow-export destination IF ADDRESS PORT`
pub fn flow_destination(args: &mut Args<'_, '_>, env: &Env<'_>) -> Parsed {
    let interface = args.name("an interface")?;
    let known = env.model.interface(&interface).is_some();
    let remark = args.wrong(format!(
        "NAT events do not leave by the dataplane's `{interface}`: fedgate-control sends them by the machine's own routes, as IPFIX"
    ));
    let address = args.ip("an address")?;
    let at = SocketAddr::new(address, args.number("a port", 1, 65535)? as u16);
    if known && !args.is_negated() {
        args.remark(remark);
    }
    Ok(Command::FlowExport(Destination { interface, at }))
}

/// `flow-export template timeout-rate MINUTES`
pub fn flow_templates(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let minutes = optional(args, |args| args.number("a number of minutes", 1, 3600))?;
    Ok(Command::FlowTemplates(minutes))
}

/// `metrics http ADDRESS PORT`
pub fn metrics(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let at = optional(args, |args| {
        let address = args.ip("an address of this machine")?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(args
                .wrong(format!("`{address}` would show them to everybody"))
                .help("name the one address that the monitoring reaches, or 127.0.0.1"));
        }
        Ok(SocketAddr::new(address, args.number("a port", 1, 65535)? as u16))
    })?;
    Ok(Command::Metrics(at))
}

fn level(args: &mut Args<'_, '_>) -> Result<u8, Problem> {
    args.parsed("a logging level", severity)
        .map_err(|problem| problem.help("lists of messages are not supported: name a level"))
}

/// A value, which `no` may leave out.
fn optional<T>(
    args: &mut Args<'_, '_>,
    take: impl FnOnce(&mut Args<'_, '_>) -> Result<T, Problem>,
) -> Result<Option<T>, Problem> {
    if args.is_negated() && args.peek().is_none() {
        return Ok(None);
    }
    take(args).map(Some)
}
