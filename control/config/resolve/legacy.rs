// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT as it was written up to ASA 8.2: `static`, `nat` with `global`, `nat 0`.

use fedgate_tables::policy::{NAT_UNIDIRECTIONAL, NatKind, one_addr, one_port};

use super::{Range, Rule, Rules, bare, dynamic as to_pool, identity, own_address, service_text, to};
use crate::config::addr::ObjectAddr;
use crate::config::check::{About, Fault};
use crate::config::expand::{Parts, Side};
use crate::config::model::{
    AclLine, GlobalAddr, LegacyGlobal, LegacyNat, LegacyReal, LegacyStatic, Mapped, Model, Pool,
};
use crate::config::types::{IfPair, Net, PortOp};

fn range(net: Net) -> Range {
    [net.addr().into(), u32::from(net.addr()) | !u32::from(net.mask())]
}

/// `static`.
pub fn fixed(model: &Model, nat: &LegacyStatic) -> Result<Rule, Fault> {
    let real = if nat.real.is_host() { nat.real.addr().to_string() } else { nat.real.to_string() };
    let text = format!("{} source static {real} {}{}", to(&nat.pair), nat.mapped, service_text(nat.service));
    let mut base = Rule { text, ..bare(model, &nat.pair, vec![range(nat.real)])? };
    if let Some((proto, real, mapped)) = nat.service {
        (base.proto, base.port) = (proto, (one_port(real), one_port(mapped)));
    } else if let Mapped::Address(address) = nat.mapped
        && u32::from(address) & !u32::from(nat.real.mask()) != 0
    {
        let what = format!("{address} cannot begin a network of mask {}", nat.real.mask());
        return Err(Fault::error(what).word(&address.to_string()));
    }
    super::fixed(model, base, &nat.mapped)
}

/// Sources and destinations of the permits of an access-list, in order.
fn pairs(model: &Model, acl: &str) -> Result<Vec<(Range, Range)>, Fault> {
    let lines = model
        .acls
        .get(acl)
        .ok_or_else(|| Fault::error(format!("ERROR: access-list <{acl}> does not exist")).word(acl))?;
    let mut pairs = Vec::new();
    for line in lines.iter() {
        let AclLine::Ace(ace) = &**line else { continue };
        let plain = ace.permit && !ace.inactive && ace.time_range.is_none();
        for element in Parts::of(model, ace)?.elements() {
            let ports = element.kind.source != PortOp::Any || element.kind.destination != PortOp::Any;
            if !plain || ports || element.kind.proto.is_some() {
                let what = format!(
                    "access-list {acl} decides what is translated: it may only hold `permit ip SOURCE DESTINATION`"
                );
                return Err(Fault::error(what)
                    .word(acl)
                    .help("write `nat (REAL,MAPPED) source ...` for anything else"));
            }
            if let (Some(src), Some(dst)) = (v4(element.src), v4(element.dst)) {
                pairs.push((src, dst));
            }
        }
    }
    Ok(pairs)
}

fn v4(side: Side) -> Option<Range> {
    match side {
        Side::Any | Side::Any4 => Some(range(Net::ANY)),
        Side::Any6 => None,
        Side::Addr(addr) => ObjectAddr::v4(addr),
    }
}

/// `nat (I) 0 ...`: no translation, before everything else.
pub fn exempt(model: &Model) -> Rules {
    let mut all = Rules::new();
    for nat in model.legacy_nats.iter().filter(|nat| nat.id == 0) {
        let about = || About::LegacyNat(nat.interface.clone(), nat.id);
        let pair = IfPair { real: Some(nat.interface.clone()), mapped: None };
        let text = format!("{} source static {} {}", to(&pair), nat.real, nat.real);
        let rule = |src: Range, dst: Range, flags: u32| {
            let base = bare(model, &pair, vec![src])?;
            Ok(identity(Rule { dest: (dst, dst), flags, text: text.clone(), ..base }))
        };
        match &nat.real {
            // Identity without a list lets nothing in by itself.
            LegacyReal::Net(net) => {
                all.push((about(), rule(range(*net), range(Net::ANY), NAT_UNIDIRECTIONAL)))
            }
            LegacyReal::Acl(acl) => match pairs(model, acl) {
                Ok(pairs) => all.extend(pairs.into_iter().map(|(src, dst)| (about(), rule(src, dst, 0)))),
                Err(fault) => all.push((about(), Err(fault))),
            },
        }
    }
    all
}

/// `nat` with `global`, joined by their numbers: those with an access-list as written, then the longest network first.
pub fn dynamic(model: &Model) -> Rules {
    let mut nats: Vec<&LegacyNat> = model.legacy_nats.iter().filter(|nat| nat.id != 0).collect();
    nats.sort_by_key(|nat| match &nat.real {
        LegacyReal::Acl(_) => (0, 0),
        LegacyReal::Net(net) => (1, 32 - net.prefix_len()),
    });
    let mut all = Rules::new();
    for nat in nats {
        let mut interfaces: Vec<&str> = Vec::new();
        for global in model.legacy_globals.iter().filter(|g| g.id == nat.id && g.interface != nat.interface) {
            if !interfaces.contains(&global.interface.as_str()) {
                interfaces.push(&global.interface);
            }
        }
        for interface in interfaces {
            let about = || About::LegacyNat(nat.interface.clone(), nat.id);
            let globals: Vec<&LegacyGlobal> =
                model.legacy_globals.iter().filter(|g| g.id == nat.id && g.interface == interface).collect();
            let sources = match &nat.real {
                LegacyReal::Net(net) => Ok(vec![(range(*net), range(Net::ANY))]),
                LegacyReal::Acl(acl) => pairs(model, acl),
            };
            match sources {
                Ok(sources) => all.extend(
                    sources
                        .into_iter()
                        .map(|(src, dst)| (about(), join(model, nat, interface, &globals, src, dst))),
                ),
                Err(fault) => all.push((about(), Err(fault))),
            }
        }
    }
    all
}

fn join(
    model: &Model,
    nat: &LegacyNat,
    interface: &str,
    globals: &[&LegacyGlobal],
    src: Range,
    dst: Range,
) -> Result<Rule, Fault> {
    let pair = IfPair { real: Some(nat.interface.clone()), mapped: Some(interface.to_owned()) };
    let names: Vec<String> = globals.iter().map(|global| global.mapped.to_string()).collect();
    let text = format!("{} source dynamic {} {}", to(&pair), nat.real, names.join(" "));
    let base = Rule { text, section: 3, dest: (dst, dst), ..bare(model, &pair, vec![src])? };
    let (mut pool, mut hosts, mut own) = (Vec::new(), Vec::new(), false);
    for global in globals {
        match global.mapped {
            GlobalAddr::Range(first, last) => pool.push([first.into(), last.into()]),
            GlobalAddr::Address(addr) => hosts.push(addr),
            GlobalAddr::Interface => own = true,
        }
    }
    let fallback =
        if own { one_addr(own_address(model, Some(interface), "mapped")?.into()) } else { one_addr(0) };
    let flags = if own { fedgate_tables::policy::NAT_INTERFACE } else { 0 };
    let ranges = pool.iter().copied().chain(hosts.iter().map(|addr| one_addr(u32::from(*addr))));
    for range in ranges {
        super::not_our_own(model, range, "write `interface` instead of the address")?;
    }
    match (&pool[..], &hosts[..]) {
        ([], []) => to_pool(model, base, &Mapped::Interface, &Pool::default()),
        ([], [host]) if !own => to_pool(model, base, &Mapped::Address(*host), &Pool::default()),
        ([], hosts) => {
            let pool = hosts.iter().map(|addr| one_addr(u32::from(*addr))).collect();
            Ok(Rule { mapped: fallback, pool, flags, kind: NatKind::DynamicPat, ..base })
        }
        (_, []) => Ok(Rule { mapped: fallback, pool, flags, kind: NatKind::Dynamic, ..base }),
        (_, [host, ..]) => Err(Fault::error(format!(
            "global {} of {interface}: {host} cannot stand in for an exhausted range",
            nat.id
        ))
        .help(format!("only the interface's own address can: `global ({interface}) {} interface`", nat.id))),
    }
}
