// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every form of NAT: in an object, manual (twice) NAT, and `static`, `global` and `nat` of 8.2.

use super::object::{port, tcp_or_udp};
use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::{LegacyGlobal, LegacyNat, LegacyStatic, Mapped, ObjectNat, TwiceNat};
use crate::config::raw::Command;
use crate::config::types::{IfPair, Net};

type Parsed = Result<Command, Problem>;

/// Whether a line that begins with `nat` is not the object's own form.
pub fn is_manual(args: &mut Args<'_, '_>) -> bool {
    args.accept("nat")
        && args.take("interfaces").is_ok_and(|pair| {
            !pair.text.contains(',') || args.peek().is_some_and(|w| w == "source" || w == "after-auto")
        })
}

/// `nat (real,mapped) {static M [service ...] | dynamic M}` in an object.
pub fn object(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let pair = pair(args)?;
    let dynamic = args.one_of(&["static", "dynamic"])? == 1;
    let mapped = mapped(args)?;
    let service = if !dynamic && args.accept("service") {
        let proto = tcp_or_udp(args)?;
        Some((proto, port(args, proto)?, port(args, proto)?))
    } else {
        None
    };
    unsupported(args)?;
    Ok(Command::ObjectNat(ObjectNat { pair, dynamic, mapped, service }))
}

/// `nat (real,mapped) [after-auto] source ...`, or `nat (real) ID A M` of 8.2.
pub fn manual(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.peek().is_some_and(|word| !word.contains(',')) {
        return legacy_nat(args);
    }
    let pair = pair(args)?;
    let after_auto = args.accept("after-auto");
    args.expect("source")?;
    let dynamic = args.one_of(&["static", "dynamic"])? == 1;
    let real = any_or_object(args)?;
    let mapped = match args.peek() {
        Some("interface") => {
            args.accept("interface");
            Some(Mapped::Interface)
        }
        _ => any_or_object(args)?.map(Mapped::Object),
    };
    let destination = if args.accept("destination") { Some(destination(args)?) } else { None };
    let service = if args.accept("service") {
        Some((args.name("a service object")?, args.name("a service object")?))
    } else {
        None
    };
    unsupported(args)?;
    Ok(Command::TwiceNat(TwiceNat { pair, after_auto, dynamic, real, mapped, destination, service }))
}

/// `static D D`: both must be the same, the destination is not translated.
fn destination(args: &mut Args<'_, '_>) -> Result<String, Problem> {
    args.expect("static")?;
    let mapped = args.name("a network object")?;
    let real = args.name("a network object")?;
    if mapped != real {
        return Err(args
            .wrong("translating the destination is not supported yet")
            .help(format!("write `destination static {mapped} {mapped}`")));
    }
    Ok(mapped)
}

/// `static (real,mapped) {tcp|udp} M P R P netmask N` or `static (real,mapped) M R netmask N`
pub fn legacy_static(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let pair = pair(args)?;
    let proto = match args.peek() {
        Some("tcp" | "udp") => Some(tcp_or_udp(args)?),
        _ => None,
    };
    let mapped = address_or_interface(args)?;
    let mapped_port = proto.map(|p| port(args, p)).transpose()?;
    let real = args.address("the real address")?;
    let real_port = proto.map(|p| port(args, p)).transpose()?;
    let mask = if args.accept("netmask") { args.mask()? } else { std::net::Ipv4Addr::BROADCAST };
    let real = Net::new(real, mask)
        .ok_or_else(|| args.wrong(format!("IP address,mask <{real},{mask}> doesn't pair")))?;
    let service = proto.zip(real_port).zip(mapped_port).map(|((proto, real), mapped)| (proto, real, mapped));
    Ok(Command::LegacyStatic(LegacyStatic { pair, mapped, real, service }))
}

/// `global (mapped) ID {A | interface}`
pub fn legacy_global(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let interface = single(args)?;
    let id = args.number("a NAT id", 1, i32::MAX as u32)?;
    let mapped = address_or_interface(args)?;
    Ok(Command::LegacyGlobal(LegacyGlobal { interface, id, mapped }))
}

fn legacy_nat(args: &mut Args<'_, '_>) -> Parsed {
    let interface = single(args)?;
    if args.peek() == Some("0") {
        args.take("a NAT id")?;
        return Err(args
            .wrong("`nat (..) 0` (exemption) is not supported")
            .help("write `nat (REAL,MAPPED) source static OBJECT OBJECT`"));
    }
    let id = args.number("a NAT id", 1, i32::MAX as u32)?;
    // `0 0` is how it is often written for every address.
    let real = if args.accept("0") {
        args.accept("0");
        Net::ANY
    } else {
        args.network()?
    };
    Ok(Command::LegacyNat(LegacyNat { interface, id, real }))
}

/// `(real,mapped)`, in one word or, as people type it, in two: `(real, mapped)`.
fn pair(args: &mut Args<'_, '_>) -> Result<IfPair, Problem> {
    let token = args.take("(REAL,MAPPED)")?;
    let mut word = token.text.to_owned();
    if word.ends_with(',') {
        word.push_str(args.take("the mapped interface")?.text);
    }
    let inner = word.strip_prefix('(').and_then(|w| w.strip_suffix(')'));
    let Some((real, mapped)) = inner.and_then(|w| w.split_once(',')) else {
        return Err(args.wrong(format!("`{word}` is not (REAL,MAPPED)")).label("expected two interfaces"));
    };
    let name = |word: &str| (word != "any").then(|| word.to_owned());
    if [real, mapped]
        .iter()
        .any(|w| w.is_empty() || w.len() > super::super::args::MAX_NAME || w.contains([',', '(', ')']))
    {
        return Err(args.wrong(format!("`{word}` does not name two interfaces")));
    }
    Ok(IfPair { real: name(real), mapped: name(mapped) })
}

/// `(interface)`
fn single(args: &mut Args<'_, '_>) -> Result<String, Problem> {
    args.parsed("(INTERFACE)", |word| {
        let inner = word.strip_prefix('(').and_then(|w| w.strip_suffix(')'));
        match inner {
            Some(name) if !name.is_empty() && !name.contains(['(', ')', ',']) => Ok(name.to_owned()),
            _ => Err("expected one interface in brackets"),
        }
    })
}

/// `interface`, an address, or an object.
fn mapped(args: &mut Args<'_, '_>) -> Result<Mapped, Problem> {
    if args.peek().is_some_and(|word| word.parse::<std::net::Ipv4Addr>().is_ok() || word == "interface") {
        return address_or_interface(args);
    }
    Ok(Mapped::Object(args.name("an address, an object or `interface`")?))
}

fn address_or_interface(args: &mut Args<'_, '_>) -> Result<Mapped, Problem> {
    if args.accept("interface") {
        return Ok(Mapped::Interface);
    }
    let address = args.address("an address or `interface`")?;
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() {
        return Err(args.wrong(format!("`{address}` cannot be a mapped address")));
    }
    Ok(Mapped::Address(address))
}

fn any_or_object(args: &mut Args<'_, '_>) -> Result<Option<String>, Problem> {
    Ok(if args.accept("any") { None } else { Some(args.name("a network object or `any`")?) })
}

/// Names the options an ASA has here and fedgate does not, instead of a bare "not expected".
fn unsupported(args: &mut Args<'_, '_>) -> Result<(), Problem> {
    const OPTIONS: [&str; 9] = [
        "dns",
        "no-proxy-arp",
        "route-lookup",
        "unidirectional",
        "net-to-net",
        "inactive",
        "description",
        "pat-pool",
        "interface",
    ];
    match args.peek() {
        Some(word) if OPTIONS.contains(&word) => {
            args.take("an option")?;
            Err(args.wrong(format!("`{word}` is not supported yet in a nat line")))
        }
        _ => Ok(()),
    }
}
