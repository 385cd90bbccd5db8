// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT lines followed to addresses: every form of the language becomes the same [`Rule`], or a reason why it cannot.
//!
//! [`rules`] gives them in the ASA's order of evaluation: `nat 0 access-list` of 8.2; section 1 (manual and `static`) as written;
//! section 2 (objects): static before dynamic, then fewest real addresses, then lowest start address, then the object's name; section 3
//! (`after-auto`) as written, and behind it the dynamic rules of 8.2, policy NAT first, then the longest network ([`legacy`]). The first
//! match decides, so the order is fixed here once and never looked at again by the dataplane.

use fedgate_tables::policy::{
    ANY_ADDR, ANY_PORT, NAT_BLOCKS, NAT_EXTENDED, NAT_FLAT, NAT_INACTIVE, NAT_INCLUDE_RESERVE, NAT_INTERFACE,
    NAT_NO_PROXY_ARP, NAT_ROUND_ROBIN, NAT_ROUTE_LOOKUP, NAT_UNIDIRECTIONAL, NatKind, one_addr, one_port,
};
use std::net::Ipv4Addr;

use super::addr::ObjectAddr;
use super::check::{About, Fault};
use super::expand;
use super::model::{ManualNat, Mapped, Model, NatOptions, ObjectNat, Pool, TwiceNat};
use super::ports::{self, TCP, UDP};
use super::print::target;
use super::types::{IfPair, PortOp, Protos};

mod legacy;

/// Addresses, both ends in it, host order.
pub type Range = [u32; 2];

/// A translation with everything looked up. The segment has one rule for each of `reals`; all else is [`fedgate_tables::policy::NatRule`]'s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Interface of the real addresses; `None` for `any`.
    pub real_if: Option<String>,
    /// Interface of the mapped ones; `None` for `any`.
    pub mapped_if: Option<String>,
    /// Real addresses; more than one range only where that needs no more than one mapped side.
    pub reals: Vec<Range>,
    /// Mapped addresses. With more than one of `reals` and identity: not looked at.
    pub mapped: Range,
    /// Addresses of the pool.
    pub pool: Vec<Range>,
    /// Destinations as the real side calls them, and what they become.
    pub dest: (Range, Range),
    /// TCP or UDP where ports count, else 0.
    pub proto: u8,
    /// Source ports, and what they become.
    pub port: ([u16; 2], [u16; 2]),
    /// Destination ports as the real side calls them, and what they become.
    pub dest_port: ([u16; 2], [u16; 2]),
    /// `NAT_...`.
    pub flags: u32,
    /// How.
    pub kind: NatKind,
    /// The ASA's section: 1, 2 or 3.
    pub section: u8,
    /// As `show nat` prints it.
    pub text: String,
    /// The object that a dynamic rule's mapped side is; empty where it is an address or an interface.
    pub pool_name: String,
}

fn meet<T: PartialOrd>(a: [T; 2], b: [T; 2]) -> bool {
    a[0] <= b[1] && b[0] <= a[1]
}

fn holds<T: PartialOrd>(a: [T; 2], b: [T; 2]) -> bool {
    a[0] <= b[0] && b[1] <= a[1]
}

impl Rule {
    /// Whether both map real addresses to one mapped address (and port) on one interface, so that for what comes in there `self`, the
    /// earlier, decides and `later` is never asked. A later rule with more ports, or for more destinations,
    /// is still asked for the rest, and is none that collides. Only for static rules.
    pub fn hides(&self, later: &Self) -> bool {
        let one_interface = match (&self.mapped_if, &later.mapped_if) {
            (Some(earlier), Some(later)) => earlier == later,
            (None, _) | (_, None) => true,
        };
        let off = |rule: &Self| rule.flags & (NAT_INACTIVE | NAT_UNIDIRECTIONAL) != 0;
        let all_protocols = self.proto == 0 || self.proto == later.proto;
        let all_ports = holds(self.port.1, later.port.1) && holds(self.dest_port.1, later.dest_port.1);
        !off(self)
            && !off(later)
            && one_interface
            && all_protocols
            && all_ports
            && holds(self.dest.1, later.dest.1)
            && meet(self.mapped, later.mapped)
    }
}

type Rules = Vec<(About, Result<Rule, Fault>)>;

/// Every rule in the order of evaluation, or why it cannot be.
pub fn rules(model: &Model) -> Rules {
    let manual = |section: u8, list: &[ManualNat]| {
        let resolve = |(at, rule): (usize, &ManualNat)| {
            let about = About::ManualNat(section, at);
            let rule = match rule {
                ManualNat::Twice(nat) => twice(model, nat, section),
                ManualNat::Static(nat) => legacy::fixed(model, nat),
            };
            (about, rule)
        };
        list.iter().enumerate().map(resolve).collect::<Vec<_>>()
    };
    let mut all = legacy::exempt(model);
    all.extend(manual(1, &model.manual_nat));
    all.extend(object_rules(model));
    all.extend(manual(3, &model.after_auto_nat));
    all.extend(legacy::dynamic(model));
    all
}

/// Section 2, sorted.
fn object_rules(model: &Model) -> Rules {
    let mut rules: Vec<_> = model
        .networks
        .iter()
        .filter_map(|(name, object)| object.nat.as_ref().map(|nat| (name, nat, object.addr)))
        .collect();
    rules.sort_by_key(|(name, nat, addr)| {
        let range = addr.and_then(ObjectAddr::v4);
        let (addresses, start) = range.map_or((0, 0), |[first, last]| (u64::from(last - first) + 1, first));
        (nat.dynamic, addresses, start, *name)
    });
    rules
        .into_iter()
        .map(|(name, nat, addr)| (About::ObjectNat(name.clone()), object(model, name, nat, addr)))
        .collect()
}

fn object(model: &Model, name: &str, nat: &ObjectNat, addr: Option<ObjectAddr>) -> Result<Rule, Fault> {
    addr.ok_or_else(|| {
        let what = format!("object {name} has a `nat` line but no address");
        Fault::error(what).help("add `host`, `subnet` or `range`")
    })?;
    let real = one_range(model, name)?;
    let kind = if nat.dynamic { "dynamic" } else { "static" };
    let service = service_text(nat.service);
    let text = format!(
        "{} source {kind} {name} {}{service}{}",
        to(&nat.pair),
        target(&nat.mapped, &nat.pool),
        nat.options
    );
    let mut base =
        Rule { text, section: 2, flags: flags(&nat.options), ..bare(model, &nat.pair, vec![real])? };
    if let Some((proto, real, mapped)) = nat.service {
        (base.proto, base.port) = (proto, (one_port(real), one_port(mapped)));
    }
    if nat.dynamic { dynamic(model, base, &nat.mapped, &nat.pool) } else { fixed(model, base, &nat.mapped) }
}

/// `   service tcp 5062 5061`, as `show nat` prints it.
fn service_text(service: Option<(u8, u16, u16)>) -> String {
    service.map_or(String::new(), |(proto, real, mapped)| {
        let port = |p| ports::port_text(proto, p);
        format!("   service {} {} {}", ports::proto_text(proto), port(real), port(mapped))
    })
}

fn flags(options: &NatOptions) -> u32 {
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    flag(options.unidirectional, NAT_UNIDIRECTIONAL)
        | flag(options.no_proxy_arp, NAT_NO_PROXY_ARP)
        | flag(options.route_lookup, NAT_ROUTE_LOOKUP)
        | flag(options.inactive, NAT_INACTIVE)
}

fn twice(model: &Model, nat: &TwiceNat, section: u8) -> Result<Rule, Fault> {
    let kind = if nat.dynamic { "dynamic" } else { "static" };
    let reals = match &nat.real {
        Some(name) => ranges(model, name)?,
        None => vec![ANY_ADDR],
    };
    let mut text = format!("{} source {kind} {}", to(&nat.pair), nat.real.as_deref().unwrap_or("any"));
    text.push_str(&format!(" {}", nat.mapped.as_ref().map_or("any".to_owned(), |m| target(m, &nat.pool))));
    let mut base = bare(model, &nat.pair, reals)?;
    (base.section, base.flags) = (section, flags(&nat.options));
    if let Some((mapped, real)) = &nat.destination {
        base.dest = destination(model, &nat.pair, mapped, real)?;
        text.push_str(&format!("   destination static {mapped} {real}"));
    }
    if let Some((real, mapped)) = &nat.service {
        text.push_str(&format!("   service {real} {mapped}"));
        service_pair(model, &mut base, real, mapped)?;
    }
    text.push_str(&nat.options.to_string());
    base.text = text;
    match (&nat.real, &nat.mapped, nat.dynamic) {
        (_, Some(_), true) if base.port != (ANY_PORT, ANY_PORT) => {
            Err(Fault::error("a dynamic line chooses the source ports itself")
                .help("name service objects with destination ports only, or write `static`"))
        }
        (_, Some(mapped), true) => dynamic(model, base, mapped, &nat.pool),
        (_, None, true) => Err(Fault::error("dynamic NAT takes `interface`, an object or a group")),
        (Some(real), Some(Mapped::Object(mapped)), false) if real == mapped && base.port.0 == base.port.1 => {
            Ok(identity(base))
        }
        (None, None, false) if base.port.0 == base.port.1 => Ok(identity(base)),
        (Some(_), Some(mapped), false) => fixed(model, base, mapped),
        (None, _, false) | (_, None, false) => {
            Err(Fault::error("static NAT of `any` is only possible to `any`").word("any"))
        }
    }
}

fn identity(base: Rule) -> Rule {
    Rule { mapped: base.reals[0], kind: NatKind::Identity, ..base }
}

/// Destinations as the real side calls them, and what they become.
fn destination(model: &Model, pair: &IfPair, mapped: &Mapped, real: &str) -> Result<(Range, Range), Fault> {
    let to = one_range(model, real)?;
    let from = match mapped {
        Mapped::Object(name) => one_range(model, name)?,
        Mapped::Interface => one_addr(own_address(model, pair.real.as_deref(), "real")?.into()),
        Mapped::Address(address) => one_addr((*address).into()),
    };
    if from[1] - from[0] != to[1] - to[0] {
        let what = format!("destination {mapped} and {real} are not of one size");
        return Err(Fault::error(what).word(real).help("each address becomes the one at the same place"));
    }
    Ok((from, to))
}

fn own_address(model: &Model, name: Option<&str>, side: &str) -> Result<Ipv4Addr, Fault> {
    let name = name.ok_or_else(|| {
        Fault::error(format!("`interface` needs a {side} interface, not `any`")).word("interface")
    })?;
    let none = || Fault::error(format!("interface {name} has no address")).word("interface");
    Ok(model.interface(name).and_then(|i| i.address).ok_or_else(none)?.0)
}

/// A rule with the interfaces checked and the rest to be filled in.
fn bare(model: &Model, pair: &IfPair, reals: Vec<Range>) -> Result<Rule, Fault> {
    for name in [&pair.real, &pair.mapped].into_iter().flatten() {
        match model.interface(name).map(|i| i.address) {
            Some(Some(_)) => {}
            Some(None) => return Err(Fault::error(format!("interface {name} has no address"))),
            None => return Err(Fault::error(format!("there is no interface `{name}`"))),
        }
    }
    Ok(Rule {
        real_if: pair.real.clone(),
        mapped_if: pair.mapped.clone(),
        mapped: reals[0],
        reals,
        pool: Vec::new(),
        dest: (ANY_ADDR, ANY_ADDR),
        proto: 0,
        port: (ANY_PORT, ANY_PORT),
        dest_port: (ANY_PORT, ANY_PORT),
        flags: 0,
        kind: NatKind::Static,
        section: 1,
        text: String::new(),
        pool_name: String::new(),
    })
}

/// Static NAT or static PAT.
fn fixed(model: &Model, base: Rule, mapped: &Mapped) -> Result<Rule, Fault> {
    let [real] = base.reals[..] else {
        return Err(Fault::error("static NAT takes one range of real addresses, not a group of several")
            .help("write one line for each"));
    };
    let size = real[1] - real[0];
    let to = match mapped {
        // The first of as many as there are real ones.
        Mapped::Address(address) => {
            let first = u32::from(*address);
            let last = first.checked_add(size).ok_or_else(|| {
                Fault::error(format!("there are not so many addresses from {address} on"))
                    .word(&address.to_string())
            })?;
            [first, last]
        }
        Mapped::Object(name) => match ranges(model, name)?[..] {
            [range] => range,
            _ => {
                return Err(Fault::error(format!(
                    "static NAT takes one range of mapped addresses, not {name}"
                ))
                .word(name));
            }
        },
        Mapped::Interface => one_addr(own_address(model, base.mapped_if.as_deref(), "mapped")?.into()),
    };
    if base.port != (ANY_PORT, ANY_PORT) {
        if base.port.0[0] == 0 || base.port.1[0] == 0 {
            return Err(Fault::error("port 0 cannot be translated"));
        }
        if size != 0 || to[0] != to[1] {
            return Err(Fault::error("static PAT takes one real and one mapped host"));
        }
        return Ok(Rule { mapped: to, kind: NatKind::StaticPat, ..base });
    }
    if *mapped == Mapped::Interface {
        return Err(Fault::error(
            "static NAT of every port to the interface would take the appliance's own traffic",
        )
        .word("interface")
        .help("name the ports: `service {tcp|udp} REALPORT MAPPEDPORT`"));
    }
    if to[1] - to[0] != size {
        let what =
            format!("static NAT of {} to {}: the two are not of one size", range_text(real), range_text(to));
        return Err(Fault::error(what));
    }
    let kind = if to == real { NatKind::Identity } else { NatKind::Static };
    if kind == NatKind::Static {
        not_our_own(model, to, "name the ports, of `interface`: `service {tcp|udp} REALPORT MAPPEDPORT`")?;
    }
    Ok(Rule { mapped: to, kind, ..base })
}

/// Dynamic PAT to one address or a pool, or dynamic NAT to a pool.
fn dynamic(model: &Model, mut base: Rule, mapped: &Mapped, pool: &Pool) -> Result<Rule, Fault> {
    if let Mapped::Object(name) = mapped {
        base.pool_name.clone_from(name);
    }
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    base.flags |= flag(pool.round_robin, NAT_ROUND_ROBIN)
        | flag(pool.extended, NAT_EXTENDED)
        | flag(pool.flat, NAT_FLAT)
        | flag(pool.include_reserve, NAT_INCLUDE_RESERVE)
        | flag(pool.blocks, NAT_BLOCKS)
        | flag(pool.interface, NAT_INTERFACE);
    let own = || own_address(model, base.mapped_if.as_deref(), "mapped").map(|own| one_addr(own.into()));
    let to = match mapped {
        Mapped::Interface => return Ok(Rule { mapped: own()?, kind: NatKind::DynamicPat, ..base }),
        Mapped::Address(address) => vec![one_addr((*address).into())],
        Mapped::Object(name) => ranges(model, name)?,
    };
    for range in &to {
        if *range == ANY_ADDR {
            return Err(Fault::error("a pool of every address is none"));
        }
        not_our_own(model, *range, "write `interface` instead of the address")?;
    }
    let hosts = to.iter().filter(|range| range[0] == range[1]).count();
    let fallback = if pool.interface { own()? } else { one_addr(0) };
    match &to[..] {
        [one] if hosts == 1 && !pool.pat && !pool.interface => {
            Ok(Rule { mapped: *one, kind: NatKind::DynamicPat, ..base })
        }
        _ if pool.pat || hosts == to.len() => {
            Ok(Rule { mapped: fallback, pool: to, kind: NatKind::DynamicPat, ..base })
        }
        _ if hosts == 0 => Ok(Rule { mapped: fallback, pool: to, kind: NatKind::Dynamic, ..base }),
        _ => Err(Fault::error("the group holds single addresses and ranges: are they shared by ports, or one for each host?")
            .help("write `pat-pool` for the former; for the latter make a group of ranges alone, with `interface` behind it")),
    }
}

/// Refuses mapped addresses among which there is an interface's own: the appliance's own traffic would be translated away.
fn not_our_own(model: &Model, to: Range, help: &str) -> Result<(), Fault> {
    for interface in &model.interfaces {
        let own = interface.address.map(|(own, _)| own);
        if let Some(own) = own.filter(|own| holds(to, one_addr(u32::from(*own)))) {
            let name = interface.nameif.as_deref().unwrap_or("an interface");
            return Err(Fault::error(format!("{own} is the address of {name} itself")).help(help));
        }
    }
    Ok(())
}

/// `10.0.0.0 255.255.255.0`, `10.0.0.1` or `10.0.0.1-10.0.0.9`.
pub fn range_text([first, last]: Range) -> String {
    let (a, b) = (Ipv4Addr::from(first), Ipv4Addr::from(last));
    let host = first ^ last;
    if first == last {
        a.to_string()
    } else if host & host.wrapping_add(1) == 0 && first & host == 0 {
        format!("{a} {}", Ipv4Addr::from(!host))
    } else {
        format!("{a}-{b}")
    }
}

/// The IPv4 addresses of an object or group that a line names.
fn ranges(model: &Model, name: &str) -> Result<Vec<Range>, Fault> {
    if !model.networks.contains_key(name) && model.groups.contains_key(name) {
        let addrs = expand::networks(model, name)?;
        let v4 = |addr: &ObjectAddr| addr.v4().ok_or_else(|| six(name));
        return addrs.iter().map(v4).collect();
    }
    Ok(vec![expand::network(model, name)?.v4().ok_or_else(|| six(name))?])
}

fn six(name: &str) -> Fault {
    Fault::error(format!("{name} has addresses of IPv6, which are not translated")).word(name)
}

fn one_range(model: &Model, name: &str) -> Result<Range, Fault> {
    match ranges(model, name)?[..] {
        [range] => Ok(range),
        _ => Err(Fault::error(format!("{name} must be one range of addresses here")).word(name)),
    }
}

/// `service S1 S2`: S1 is what the real side sends (source ports real, destination ports mapped), S2 what becomes of it.
fn service_pair(model: &Model, base: &mut Rule, first: &str, second: &str) -> Result<(), Fault> {
    let (a, b) = (expand::service(model, first)?, expand::service(model, second)?);
    let (Protos::One(proto @ (TCP | UDP)), true) = (a.proto, a.proto == b.proto) else {
        let what = if a.proto == b.proto {
            format!("{first} must be of tcp or udp here")
        } else {
            format!("{first} and {second} are not of one protocol")
        };
        return Err(Fault::error(what).word(second));
    };
    base.proto = proto;
    base.port = (one_span(first, a.source)?, one_span(second, b.source)?);
    base.dest_port = (one_span(first, a.destination)?, one_span(second, b.destination)?);
    let size = |[first, last]: [u16; 2]| last - first;
    let same = |(a, b): ([u16; 2], [u16; 2])| size(a) == size(b);
    if !same(base.port) || !same(base.dest_port) {
        return Err(
            Fault::error(format!("{first} and {second} do not have the same number of ports")).word(second)
        );
    }
    if base.port.0 == ANY_PORT && base.dest_port.0 == ANY_PORT {
        return Err(Fault::error(format!("object {first} must say a source or a destination port here"))
            .word(first)
            .help("write `service {tcp|udp} source eq PORT`"));
    }
    Ok(())
}

fn one_span(name: &str, op: PortOp) -> Result<[u16; 2], Fault> {
    match op.ranges()[..] {
        [range] => Ok(range),
        _ => Err(Fault::error(format!("`neq` of object {name} cannot be translated")).word(name)),
    }
}

/// `(inside) to (outside)`.
fn to(pair: &IfPair) -> String {
    let name = |n: &Option<String>| n.clone().unwrap_or_else(|| "any".to_owned());
    format!("({}) to ({})", name(&pair.real), name(&pair.mapped))
}
