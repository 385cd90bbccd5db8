// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every form of NAT: in an object, manual (twice) NAT, and `static`, `global` and `nat` of 8.2; `xlate block-allocation`.

use std::net::Ipv4Addr;

use super::object::{port, tcp_or_udp};
use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::{
    GlobalAddr, LegacyGlobal, LegacyNat, LegacyReal, LegacyStatic, Mapped, NatOptions, ObjectNat, Pool,
    TwiceNat,
};
use crate::config::raw::Command;
use crate::config::types::{IfPair, Net};

type Parsed = Result<Command, Problem>;

/// Whether a line that begins with `nat` is not the object's own form.
pub fn is_manual(args: &mut Args<'_, '_>) -> bool {
    args.accept("nat")
        && args.take("interfaces").is_ok_and(|pair| {
            let own = |word: &str| word == "static" || word == "dynamic";
            !pair.text.contains(',')
                || args.peek().is_some_and(|word| !own(word) && !pair.text.ends_with(','))
        })
}

/// `nat (real,mapped) {static M [service ...] | dynamic ...} [options]` in an object.
pub fn object(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let pair = pair(args)?;
    let dynamic = args.one_of(&["static", "dynamic"])? == 1;
    let pat = dynamic && args.accept("pat-pool");
    let mapped = mapped(args)?;
    let pool = if dynamic { pool(args, pat, &mapped)? } else { Pool::default() };
    let mut service = None;
    let mut options = NatOptions::default();
    while let Some(word) = args.peek() {
        match word {
            "service" if !dynamic && service.is_none() => {
                args.take("service")?;
                let proto = tcp_or_udp(args)?;
                service = Some((proto, port(args, proto)?, port(args, proto)?));
            }
            "no-proxy-arp" if !dynamic => options.no_proxy_arp = taken(args)?,
            "route-lookup" if !dynamic => options.route_lookup = taken(args)?,
            _ => return Err(unsupported(args)?),
        }
    }
    Ok(Command::ObjectNat(ObjectNat { pair, dynamic, mapped, pool, service, options }))
}

/// `nat (real,mapped) [after-auto] [N] source ...`, or `nat (real) ID ...` of 8.2.
pub fn manual(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.peek().is_some_and(|word| !word.contains(',')) {
        return legacy_nat(args);
    }
    let pair = pair(args)?;
    let after_auto = args.accept("after-auto");
    let at = if args.peek() == Some("source") { None } else { position(args)? };
    args.expect("source")?;
    let dynamic = args.one_of(&["static", "dynamic"])? == 1;
    let real = any_or_object(args)?;
    let pat = dynamic && args.accept("pat-pool");
    let mapped = if args.accept("interface") {
        if args.accept("ipv6") {
            return Err(args.wrong("IPv6 is not translated").help("write `interface` alone"));
        }
        Some(Mapped::Interface)
    } else {
        any_or_object(args)?.map(Mapped::Object)
    };
    let pool = match &mapped {
        Some(mapped) if dynamic => pool(args, pat, mapped)?,
        _ => Pool::default(),
    };
    let destination = if args.accept("destination") { Some(destination(args)?) } else { None };
    let service = if args.accept("service") {
        Some((args.name("a service object")?, args.name("a service object")?))
    } else {
        None
    };
    let mut options = NatOptions::default();
    while let Some(word) = args.peek() {
        match word {
            "unidirectional" if !dynamic => options.unidirectional = taken(args)?,
            "no-proxy-arp" if !dynamic => options.no_proxy_arp = taken(args)?,
            "route-lookup" if !dynamic => options.route_lookup = taken(args)?,
            "inactive" => options.inactive = taken(args)?,
            "description" => {
                args.take("description")?;
                args.clone().take("a text")?;
                options.description = Some(args.rest().to_owned());
            }
            _ => return Err(unsupported(args)?),
        }
    }
    let nat = TwiceNat { pair, after_auto, dynamic, real, mapped, pool, destination, service, options };
    Ok(Command::TwiceNat(at, nat))
}

/// The place in its section, from 1.
fn position(args: &mut Args<'_, '_>) -> Result<Option<u32>, Problem> {
    if args.peek().is_some_and(|word| word.bytes().all(|b| b.is_ascii_digit())) {
        return args.number("a line number", 1, 4096).map(Some);
    }
    Ok(None)
}

fn taken(args: &mut Args<'_, '_>) -> Result<bool, Problem> {
    args.take("an option").map(|_| true)
}

/// What follows a dynamic line's mapped address.
fn pool(args: &mut Args<'_, '_>, pat: bool, mapped: &Mapped) -> Result<Pool, Problem> {
    let mut pool = Pool { pat, ..Pool::default() };
    if *mapped == Mapped::Interface {
        if pat {
            return Err(args
                .wrong("a pool is an object, a group or an address")
                .help("write `dynamic interface`"));
        }
        return Ok(pool);
    }
    while let Some(word) = args.peek() {
        match word {
            "round-robin" | "extended" | "flat" | "block-allocation" if !pat => {
                args.take("an option")?;
                return Err(args
                    .wrong(format!("`{word}` belongs to a pool"))
                    .help("write `pat-pool` before the address"));
            }
            "round-robin" => pool.round_robin = taken(args)?,
            "extended" => pool.extended = taken(args)?,
            "flat" => {
                pool.flat = taken(args)?;
                pool.include_reserve = args.accept("include-reserve");
            }
            "include-reserve" => {
                args.take("an option")?;
                return Err(args
                    .wrong("`include-reserve` stands after `flat`")
                    .help("write `flat include-reserve`"));
            }
            "block-allocation" => pool.blocks = taken(args)?,
            "interface" => pool.interface = taken(args)?,
            _ => break,
        }
    }
    if pool.extended && pool.blocks {
        return Err(args
            .wrong("`extended` and `block-allocation` cannot stand together")
            .help("choose one of them"));
    }
    Ok(pool)
}

/// `static DM DR`.
fn destination(args: &mut Args<'_, '_>) -> Result<(Mapped, String), Problem> {
    args.expect("static")?;
    let mapped = if args.accept("interface") {
        Mapped::Interface
    } else {
        Mapped::Object(args.name("a network object")?)
    };
    Ok((mapped, args.name("a network object")?))
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
    if args.peek() == Some("access-list") {
        args.take("access-list")?;
        return Err(args
            .wrong("policy static NAT of 8.2 is not supported")
            .help("write `nat (REAL,MAPPED) source static REALOBJECT MAPPEDOBJECT destination static OBJECT OBJECT`"));
    }
    let mask = if args.accept("netmask") { args.mask()? } else { Ipv4Addr::BROADCAST };
    let real = Net::new(real, mask)
        .ok_or_else(|| args.wrong(format!("IP address,mask <{real},{mask}> doesn't pair")))?;
    let service = proto.zip(real_port).zip(mapped_port).map(|((proto, real), mapped)| (proto, real, mapped));
    Ok(Command::LegacyStatic(LegacyStatic { pair, mapped, real, service }))
}

/// `global (mapped) ID {A[-B] [netmask M] | interface}`
pub fn legacy_global(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let interface = single(args)?;
    let id = args.number("a NAT id", 1, i32::MAX as u32)?;
    if args.accept("interface") {
        return Ok(Command::LegacyGlobal(LegacyGlobal { interface, id, mapped: GlobalAddr::Interface }));
    }
    let mapped = args.parsed("an address, a range or `interface`", |word| {
        const SHAPE: &str = "expected ADDRESS, FIRST-LAST or `interface`";
        let usable = |word: &str| {
            let addr: Ipv4Addr = word.parse().map_err(|_| SHAPE)?;
            let bad = addr.is_unspecified() || addr.is_multicast() || addr.is_broadcast();
            if bad { Err("it cannot be a mapped address") } else { Ok(addr) }
        };
        match word.split_once('-') {
            None => usable(word).map(GlobalAddr::Address),
            Some((first, last)) => match (usable(first)?, usable(last)?) {
                (first, last) if first <= last => Ok(GlobalAddr::Range(first, last)),
                _ => Err("the range ends before it begins"),
            },
        }
    })?;
    if args.accept("netmask") {
        // Of no effect on an ASA either: it says which addresses of a range are not given out.
        args.mask()?;
    }
    Ok(Command::LegacyGlobal(LegacyGlobal { interface, id, mapped }))
}

fn legacy_nat(args: &mut Args<'_, '_>) -> Parsed {
    let interface = single(args)?;
    let id = args.number("a NAT id", 0, i32::MAX as u32)?;
    if args.accept("access-list") {
        let real = LegacyReal::Acl(args.name("an access-list")?);
        return Ok(Command::LegacyNat(LegacyNat { interface, id, real }));
    }
    // `0 0` is how it is often written for every address.
    let real = if args.accept("0") {
        args.accept("0");
        Net::ANY
    } else {
        args.network()?
    };
    Ok(Command::LegacyNat(LegacyNat { interface, id, real: LegacyReal::Net(real) }))
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

/// Says why an option does not fit, instead of a bare "not expected".
fn unsupported(args: &mut Args<'_, '_>) -> Result<Problem, Problem> {
    let word = args.take("an option")?.text;
    let (what, help) = match word {
        "dns" => (
            "`dns` is not supported: answers of the DNS are not rewritten",
            "give the inside its own DNS view",
        ),
        "net-to-net" => {
            ("`net-to-net` is for translating between IPv4 and IPv6, which fedgate does not", "leave it out")
        }
        "unidirectional" | "no-proxy-arp" | "route-lookup" => (
            "this option belongs to a static line of that form",
            "take it out: a dynamic line lets nothing in by itself",
        ),
        _ => return Ok(args.wrong(format!("the command ends before `{word}`")).label("not expected here")),
    };
    Ok(args.wrong(what).help(help))
}

/// `xlate block-allocation {size N | maximum-per-host N}`
pub fn block_allocation(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    Ok(match args.one_of(&["size", "maximum-per-host"])? {
        0 => Command::BlockSize(args.number("a number of ports", 32, 4096)?),
        _ => Command::BlocksPerHost(args.number("a number of blocks", 1, 8)?),
    })
}
