// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT lines followed to addresses: every form of the language becomes the same [`Rule`], or a reason why it cannot.
//!
//! [`rules`] gives them in the ASA's order of evaluation: section 1 (manual and `static`) as written; section 2 (objects): static
//! before dynamic, then fewest real addresses, then lowest start address, then the object's name; section 3
//! (`after-auto`) as written, and behind it the dynamic PAT of 8.2, longest network first. The first match decides, so
//! the order is fixed here once and never looked at again by the dataplane.

use std::net::Ipv4Addr;

use fedgate_tables::policy::NatKind;

use super::addr::ObjectAddr;
use super::check::{About, Fault};
use super::model::{LegacyGlobal, LegacyNat, LegacyStatic, ManualNat, Mapped, Model, ObjectNat, TwiceNat};
use super::ports;
use super::types::{IfPair, Net, PortOp, Protos};

/// A translation with everything looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Interface of the real addresses; `None` for `any`.
    pub real_if: Option<String>,
    /// Interface of the mapped ones; `None` for `any`.
    pub mapped_if: Option<String>,
    /// Real network.
    pub real: Net,
    /// Mapped address; for static of a network, the first of as many.
    pub mapped: Ipv4Addr,
    /// Only towards this network; [`Net::ANY`] for all.
    pub dest: Net,
    /// For static PAT: protocol, real and mapped port.
    pub service: Option<(u8, u16, u16)>,
    /// How.
    pub kind: NatKind,
    /// The ASA's section: 1, 2 or 3.
    pub section: u8,
    /// As `show nat` prints it.
    pub text: String,
}

impl Rule {
    /// The mapped addresses.
    pub fn mapped_net(&self) -> Net {
        Net::holding(self.mapped, self.real.mask())
    }

    /// Whether both map real addresses to one mapped address (and port) on one interface, so that for what comes in there `self`, the
    /// earlier, decides and `later` is never asked. A later rule with more ports, or for more destinations,
    /// is still asked for the rest, and is none that collides. Only for static rules.
    pub fn hides(&self, later: &Self) -> bool {
        let one_interface = match (&self.mapped_if, &later.mapped_if) {
            (Some(earlier), Some(later)) => earlier == later,
            (None, _) | (_, None) => true,
        };
        let all_ports = match (self.service, later.service) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((proto, _, port)), Some((other, _, later))) => (proto, port) == (other, later),
        };
        let all_destinations =
            self.dest.contains(later.dest.addr()) && self.dest.prefix_len() <= later.dest.prefix_len();
        one_interface && all_ports && all_destinations && self.mapped_net().overlaps(later.mapped_net())
    }
}

/// Every rule in the order of evaluation, or why it cannot be.
pub fn rules(model: &Model) -> Vec<(About, Result<Rule, Fault>)> {
    let manual = |section: u8, list: &[ManualNat]| {
        let resolve = |(at, rule): (usize, &ManualNat)| {
            let about = About::ManualNat(section, at);
            let rule = match rule {
                ManualNat::Twice(nat) => twice(model, nat, section),
                ManualNat::Static(nat) => legacy_static(model, nat),
            };
            (about, rule)
        };
        list.iter().enumerate().map(resolve).collect::<Vec<_>>()
    };
    let mut all = manual(1, &model.manual_nat);
    all.extend(object_rules(model));
    all.extend(manual(3, &model.after_auto_nat));
    all.extend(legacy_dynamic(model));
    all
}

/// Section 2, sorted.
fn object_rules(model: &Model) -> Vec<(About, Result<Rule, Fault>)> {
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
        Fault::error(format!("object {name} has a `nat` line but no address")).help("add `host` or `subnet`")
    })?;
    let real = network(model, name)?;
    let text = |mapped: &str| {
        let kind = if nat.dynamic { "dynamic" } else { "static" };
        let service = nat.service.map_or(String::new(), |(proto, real, mapped)| {
            let port = |p| ports::port_text(proto, p);
            format!("   service {} {} {}", ports::proto_text(proto), port(real), port(mapped))
        });
        format!("{} source {kind} {name} {mapped}{service}", to(&nat.pair))
    };
    let base = Rule {
        text: text(&mapped_text(&nat.mapped)),
        section: 2,
        service: nat.service,
        ..bare(model, &nat.pair, real)?
    };
    if nat.dynamic { dynamic(model, base, &nat.mapped) } else { fixed(model, base, &nat.mapped) }
}

fn twice(model: &Model, nat: &TwiceNat, section: u8) -> Result<Rule, Fault> {
    let kind = if nat.dynamic { "dynamic" } else { "static" };
    let real = match &nat.real {
        Some(name) => network(model, name)?,
        None => Net::ANY,
    };
    let mut text = format!("{} source {kind} {}", to(&nat.pair), nat.real.as_deref().unwrap_or("any"));
    text.push_str(&format!(" {}", nat.mapped.as_ref().map_or("any".to_owned(), mapped_text)));
    let mut base = bare(model, &nat.pair, real)?;
    base.section = section;
    if let Some(name) = &nat.destination {
        base.dest = network(model, name)?;
        text.push_str(&format!("   destination static {name} {name}"));
    }
    if let Some((real, mapped)) = &nat.service {
        text.push_str(&format!("   service {real} {mapped}"));
        base.service = Some(service_pair(model, real, mapped)?);
    }
    base.text = text;
    match (&nat.real, &nat.mapped, nat.dynamic) {
        (_, Some(mapped), true) if base.service.is_none() => dynamic(model, base, mapped),
        (_, _, true) => Err(Fault::error("dynamic NAT takes `interface` or an object, and no service")),
        (Some(real), Some(Mapped::Object(mapped)), false) if real == mapped && base.service.is_none() => {
            Ok(Rule { mapped: base.real.addr(), kind: NatKind::Identity, ..base })
        }
        (None, None, false) if base.service.is_none() => {
            Ok(Rule { mapped: base.real.addr(), kind: NatKind::Identity, ..base })
        }
        (Some(_), Some(mapped), false) => fixed(model, base, mapped),
        (None, _, false) | (_, None, false) => {
            Err(Fault::error("static NAT of `any` is only possible to `any`").word("any"))
        }
    }
}

fn legacy_static(model: &Model, nat: &LegacyStatic) -> Result<Rule, Fault> {
    let service = nat.service.map_or(String::new(), |(proto, real, mapped)| {
        let port = |p| ports::port_text(proto, p);
        format!("   service {} {} {}", ports::proto_text(proto), port(real), port(mapped))
    });
    let real = if nat.real.is_host() { nat.real.addr().to_string() } else { nat.real.to_string() };
    let text = format!("{} source static {real} {}{service}", to(&nat.pair), mapped_text(&nat.mapped));
    let base = Rule { text, section: 1, service: nat.service, ..bare(model, &nat.pair, nat.real)? };
    fixed(model, base, &nat.mapped)
}

/// `global` and `nat` of 8.2, joined by their numbers; longest network first, then as written.
fn legacy_dynamic(model: &Model) -> Vec<(About, Result<Rule, Fault>)> {
    let mut nats: Vec<&LegacyNat> = model.legacy_nats.iter().collect();
    nats.sort_by_key(|nat| std::cmp::Reverse(nat.real.prefix_len()));
    let join = |nat: &LegacyNat, global: &LegacyGlobal| {
        let pair = IfPair { real: Some(nat.interface.clone()), mapped: Some(global.interface.clone()) };
        let text = format!("{} source dynamic {} {}", to(&pair), nat.real, mapped_text(&global.mapped));
        let base = Rule { text, section: 3, ..bare(model, &pair, nat.real)? };
        dynamic(model, base, &global.mapped)
    };
    let mut all = Vec::new();
    for nat in nats {
        for global in model.legacy_globals.iter().filter(|g| g.id == nat.id && g.interface != nat.interface) {
            all.push((About::LegacyNat(nat.interface.clone(), nat.id), join(nat, global)));
        }
    }
    all
}

/// A rule with the interfaces checked and the rest to be filled in.
fn bare(model: &Model, pair: &IfPair, real: Net) -> Result<Rule, Fault> {
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
        real,
        mapped: real.addr(),
        dest: Net::ANY,
        service: None,
        kind: NatKind::Static,
        section: 1,
        text: String::new(),
    })
}

/// Static NAT or static PAT.
fn fixed(model: &Model, base: Rule, mapped: &Mapped) -> Result<Rule, Fault> {
    let to = mapped_net(model, &base, mapped)?;
    if let Some((_, real_port, mapped_port)) = base.service {
        if real_port == 0 || mapped_port == 0 {
            return Err(Fault::error("port 0 cannot be translated"));
        }
        if !base.real.is_host() || !to.is_host() {
            return Err(Fault::error("static PAT takes one real and one mapped host"));
        }
        return Ok(Rule { mapped: to.addr(), kind: NatKind::StaticPat, ..base });
    }
    // A mapped address in the line itself is the first of as many as there are real ones.
    let to = match mapped {
        Mapped::Address(address) => Net::new(*address, base.real.mask()).ok_or_else(|| {
            let size = Fault::error(format!("{address} cannot begin a network of mask {}", base.real.mask()));
            size.word(&address.to_string())
        })?,
        Mapped::Interface => {
            return Err(Fault::error(
                "static NAT of every port to the interface would take the appliance's own traffic",
            )
            .word("interface")
            .help("name the ports: `service {tcp|udp} REALPORT MAPPEDPORT`"));
        }
        Mapped::Object(_) => to,
    };
    if to.prefix_len() != base.real.prefix_len() {
        let (real, mapped) = (base.real, to);
        return Err(Fault::error(format!("static NAT of {real} to {mapped}: the two are not of one size")));
    }
    let kind = if to == base.real { NatKind::Identity } else { NatKind::Static };
    if kind == NatKind::Static {
        not_our_own(model, to, "name the ports, of `interface`: `service {tcp|udp} REALPORT MAPPEDPORT`")?;
    }
    Ok(Rule { mapped: to.addr(), kind, ..base })
}

/// Dynamic PAT to one address.
fn dynamic(model: &Model, base: Rule, mapped: &Mapped) -> Result<Rule, Fault> {
    let to = mapped_net(model, &base, mapped)?;
    if !to.is_host() {
        return Err(Fault::error("pools are not supported yet: dynamic PAT takes one address")
            .help("name a host, or `interface`"));
    }
    if *mapped != Mapped::Interface {
        not_our_own(model, to, "write `interface` instead of the address")?;
    }
    Ok(Rule { mapped: to.addr(), kind: NatKind::DynamicPat, ..base })
}

/// Refuses mapped addresses among which there is an interface's own: the appliance's own traffic would be translated away.
fn not_our_own(model: &Model, to: Net, help: &str) -> Result<(), Fault> {
    for interface in &model.interfaces {
        if let Some((own, _)) = interface.address.filter(|(own, _)| to.contains(*own)) {
            let name = interface.nameif.as_deref().unwrap_or("an interface");
            return Err(Fault::error(format!("{own} is the address of {name} itself")).help(help));
        }
    }
    Ok(())
}

fn mapped_net(model: &Model, base: &Rule, mapped: &Mapped) -> Result<Net, Fault> {
    match mapped {
        Mapped::Address(address) => Ok(Net::host(*address)),
        Mapped::Object(name) => network(model, name),
        Mapped::Interface => {
            let name = base.mapped_if.as_deref().ok_or_else(|| {
                Fault::error("`interface` needs a mapped interface, not `any`").word("interface")
            })?;
            let address = model.interface(name).and_then(|i| i.address);
            let none = || Fault::error(format!("interface {name} has no address")).word("interface");
            Ok(Net::host(address.ok_or_else(none)?.0))
        }
    }
}

/// The network of an object that a line names.
pub fn network(model: &Model, name: &str) -> Result<Net, Fault> {
    match model.networks.get(name) {
        None => Err(Fault::error(format!("there is no `object network {name}`")).word(name)),
        Some(object) => match object.addr {
            Some(ObjectAddr::Net(net)) => Ok(net),
            None => Err(Fault::error(format!("object {name} has no address"))
                .word(name)
                .help("give it a `host` or a `subnet`")),
            Some(ObjectAddr::Range(..)) => {
                Err(Fault::error(format!("object {name} is a range, which NAT does not take yet")).word(name))
            }
            Some(ObjectAddr::Net6(_) | ObjectAddr::Range6(..)) => {
                Err(Fault::error(format!("object {name} is of IPv6, which is not translated")).word(name))
            }
        },
    }
}

fn service_pair(model: &Model, real: &str, mapped: &str) -> Result<(u8, u16, u16), Fault> {
    let port = |name: &str| {
        let Some(object) = model.services.get(name) else {
            return Err(Fault::error(format!("there is no `object service {name}`")).word(name));
        };
        match object {
            Some(s) if s.destination == PortOp::Any => match (s.source, s.proto) {
                (PortOp::Eq(port), Protos::One(proto)) => Ok((proto, port)),
                _ => Err(Fault::error(format!("object {name} must be one source port here")).word(name)),
            },
            _ => Err(Fault::error(format!("object {name} must be one source port here"))
                .word(name)
                .help("write `service {tcp|udp} source eq PORT`")),
        }
    };
    let ((proto, real_port), (other, mapped_port)) = (port(real)?, port(mapped)?);
    if proto != other {
        return Err(Fault::error(format!("{real} and {mapped} are not of one protocol")).word(mapped));
    }
    Ok((proto, real_port, mapped_port))
}

/// `(inside) to (outside)`.
fn to(pair: &IfPair) -> String {
    let name = |n: &Option<String>| n.clone().unwrap_or_else(|| "any".to_owned());
    format!("({}) to ({})", name(&pair.real), name(&pair.mapped))
}

fn mapped_text(mapped: &Mapped) -> String {
    match mapped {
        Mapped::Address(address) => address.to_string(),
        Mapped::Object(name) => name.clone(),
        Mapped::Interface => "interface".to_owned(),
    }
}
