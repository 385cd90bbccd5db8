// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access-lists and the addresses that static NAT shows: before ASA 8.3 lists named those, since then they name the real ones.
//!
//! [`to_real`] reads the lists of an older release as the newer one writes them, as the ASA's own upgrade did, with a remark at every
//! line that it changes. [`check`] finds lines that name a mapped address all the same, which match nothing, and
//! translations whose ports have been swapped. Both look at the model as it is written and not at resolved
//! rules, so that they have something to say of a text that is not whole yet.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::check::{About, Fault};
use super::expand;
use super::model::{
    Ace, AceAddr, AcePorts, AceProto, AclLine, ClassMatch, ManualNat, Mapped, Model, Name, Place,
};
use super::ports::{self, TCP, UDP};
use super::types::{IfPair, Net, PortOp, Protos};

/// A static translation of hosts: all ports, or one.
struct Static {
    about: About,
    real: Ipv4Addr,
    mapped: Ipv4Addr,
    /// How many addresses, less one.
    more: u32,
    /// Protocol, real and mapped port.
    port: Option<(u8, u16, u16)>,
    /// What the services of a manual line are called, as they stand there.
    services: Option<(String, String)>,
}

impl Static {
    fn maps(&self, addr: Ipv4Addr) -> bool {
        u32::from(addr).checked_sub(self.mapped.into()).is_some_and(|at| at <= self.more)
    }

    fn real_of(&self, addr: Ipv4Addr) -> Ipv4Addr {
        (u32::from(self.real).wrapping_add(u32::from(addr).wrapping_sub(self.mapped.into()))).into()
    }
}

fn statics(model: &Model) -> Vec<Static> {
    let span = |name: &str| {
        let [first, last] = expand::network(model, name).ok()?.v4()?;
        Some((Ipv4Addr::from(first), last - first))
    };
    let shown = |mapped: &Mapped, pair: &IfPair| match mapped {
        Mapped::Address(address) => Some(*address),
        Mapped::Object(name) => span(name).map(|(first, _)| first),
        Mapped::Interface => model.interface(pair.mapped.as_deref()?)?.address.map(|(own, _)| own),
    };
    let port_of = |name: &str| match expand::service(model, name).ok()? {
        service if service.destination != PortOp::Any => None,
        service => match (service.proto, service.source) {
            (Protos::One(proto @ (TCP | UDP)), PortOp::Eq(port)) => Some((proto, port)),
            _ => None,
        },
    };
    let mut all = Vec::new();
    for (section, list) in [(1, &model.manual_nat), (3, &model.after_auto_nat)] {
        for (at, rule) in list.iter().enumerate() {
            let about = About::ManualNat(section, at);
            let found = match rule {
                ManualNat::Static(nat) => shown(&nat.mapped, &nat.pair).map(|mapped| Static {
                    about,
                    real: nat.real.addr(),
                    mapped,
                    more: !u32::from(nat.real.mask()),
                    port: nat.service,
                    services: None,
                }),
                ManualNat::Twice(nat) if nat.dynamic || nat.options.inactive => None,
                ManualNat::Twice(nat) => {
                    let ends = nat.real.as_deref().and_then(span).zip(nat.mapped.as_ref());
                    let mapped = ends.and_then(|(_, mapped)| shown(mapped, &nat.pair));
                    let port = nat.service.as_ref().map(|(a, b)| port_of(a).zip(port_of(b)));
                    match (ends, mapped, port) {
                        // Of ports that are not one and one there is nothing to say.
                        (_, _, Some(None)) | (None, ..) | (_, None, _) => None,
                        (Some(((real, more), _)), Some(mapped), port) => Some(Static {
                            about,
                            real,
                            mapped,
                            more,
                            port: port.flatten().map(|((proto, real), (_, mapped))| (proto, real, mapped)),
                            services: nat.service.clone(),
                        }),
                    }
                }
            };
            all.extend(found);
        }
    }
    for (name, object) in &*model.networks {
        let Some(nat) = object.nat.as_ref().filter(|nat| !nat.dynamic) else { continue };
        if let Some(((real, more), mapped)) = span(name).zip(shown(&nat.mapped, &nat.pair)) {
            let about = About::ObjectNat(name.clone());
            all.push(Static { about, real, mapped, more, port: nat.service, services: None });
        }
    }
    // Identity shows nothing that is not real.
    all.retain(|one| one.real != one.mapped || one.port.is_some_and(|(_, real, mapped)| real != mapped));
    all
}

fn host(addr: &AceAddr) -> Option<Ipv4Addr> {
    match addr {
        AceAddr::Net(net) if net.is_host() => Some(net.addr()),
        _ => None,
    }
}

fn text(addr: Ipv4Addr, ports: &AcePorts, proto: u8) -> String {
    match ports {
        AcePorts::Op(op) => format!("host {addr}{}", op.text(proto)),
        AcePorts::Group(name) => format!("host {addr} object-group {name}"),
    }
}

/// What a mapped address and its ports really are, where that is one host.
fn real(statics: &[Static], addr: Ipv4Addr, ports: &AcePorts, proto: u8) -> Option<(Ipv4Addr, AcePorts)> {
    let of: Vec<&Static> = statics.iter().filter(|one| one.maps(addr)).collect();
    if let AcePorts::Op(PortOp::Eq(port)) = ports
        && let Some(one) =
            of.iter().find(|one| one.port.is_some_and(|(p, _, mapped)| (p, mapped) == (proto, *port)))
        && let Some((_, real, _)) = one.port
    {
        return Some((one.real_of(addr), AcePorts::Op(PortOp::Eq(real))));
    }
    if let Some(one) = of.iter().find(|one| one.port.is_none()) {
        return Some((one.real_of(addr), ports.clone()));
    }
    // Without a port, every port of the one host behind the address.
    let reals: HashSet<Ipv4Addr> = of.iter().map(|one| one.real_of(addr)).collect();
    match (ports, reals.iter().next()) {
        (AcePorts::Op(PortOp::Any), Some(only)) if reals.len() == 1 => Some((*only, ports.clone())),
        _ => None,
    }
}

/// Reads access-lists that name mapped addresses as ones that name real ones.
pub fn to_real(model: &mut Model) -> Vec<(About, Fault)> {
    let statics = statics(model);
    let out = |name: &Name| {
        model.access_groups.iter().any(|(at, acl)| matches!(at, Place::Out(_)) && **acl == **name)
    };
    let inwards = |name: &Name| {
        let classes = model.class_maps.values().flatten();
        model.access_groups.iter().any(|(at, acl)| !matches!(at, Place::Out(_)) && **acl == **name)
            || classes.into_iter().any(|class| matches!(class, ClassMatch::Acl(acl) if **acl == **name))
    };
    let lists: Vec<(Name, bool, bool)> =
        model.acls.keys().map(|name| (name.clone(), inwards(name), out(name))).collect();
    let mut found = Vec::new();
    for (name, inwards, out) in lists {
        let Some(lines) = model.acls.get_mut(&name) else { continue };
        for (at, line) in Arc::make_mut(lines).iter_mut().enumerate() {
            let AclLine::Ace(ace) = &**line else { continue };
            let proto = match ace.proto {
                AceProto::Number(number) => number,
                AceProto::Ip | AceProto::Object(_) | AceProto::Group(_) => 0,
            };
            let mut new: Ace = ace.clone();
            let ends = [(inwards, &mut new.dst, &mut new.dport), (out, &mut new.src, &mut new.sport)];
            for (_, addr, ports) in ends.into_iter().filter(|(applies, ..)| *applies) {
                let Some(mapped) = host(addr).filter(|addr| statics.iter().any(|one| one.maps(*addr))) else {
                    continue;
                };
                let word = mapped.to_string();
                let fault = match real(&statics, mapped, ports, proto) {
                    Some((real, port)) => {
                        let what = format!(
                            "`{}` is what NAT shows: as of ASA 8.2 it is read as the real `{}`",
                            text(mapped, ports, proto),
                            text(real, &port, proto)
                        );
                        let help = format!("write `{}`", text(real, &port, proto));
                        (*addr, *ports) = (AceAddr::Net(Net::host(real)), port);
                        Fault::warning(what).help(help)
                    }
                    None => Fault::error(format!(
                        "`{}` is what NAT shows, and no `static` line says which real address and port that is",
                        text(mapped, ports, proto)
                    ))
                    .help("write the real address and port"),
                };
                found.push((About::AclLine(name.clone(), at + 1), fault.word(&word)));
            }
            if new != *ace {
                *line = Arc::new(AclLine::Ace(new));
            }
        }
    }
    found
}

/// Lines that name what NAT shows, and ports that have been swapped.
pub(super) fn check(model: &Model, found: &mut Vec<(About, Fault)>) {
    let statics = statics(model);
    if statics.is_empty() {
        return;
    }
    let reals: HashMap<Ipv4Addr, ()> = statics.iter().map(|one| (one.real, ())).collect();
    // Ports that lists permit to the real hosts of translations; `None` for more than a few.
    let mut permitted: HashMap<Ipv4Addr, Option<Vec<(u8, u16)>>> = HashMap::new();
    let mut anywhere = false;
    for (name, lines) in &model.acls {
        for (at, line) in lines.iter().enumerate() {
            let AclLine::Ace(ace) = &**line else { continue };
            if !ace.permit {
                continue;
            }
            let Some(dst) = host(&ace.dst) else {
                anywhere |= !matches!(ace.dst, AceAddr::Net(_)) || ace.proto == AceProto::Ip;
                continue;
            };
            let proto = match ace.proto {
                AceProto::Number(number) => number,
                AceProto::Ip | AceProto::Object(_) | AceProto::Group(_) => 0,
            };
            if reals.contains_key(&dst) {
                let ports = permitted.entry(dst).or_insert_with(|| Some(Vec::new()));
                match ace.dport {
                    AcePorts::Op(PortOp::Eq(port)) => ports.iter_mut().for_each(|p| p.push((proto, port))),
                    AcePorts::Op(_) | AcePorts::Group(_) => *ports = None,
                }
            } else if statics.iter().any(|one| one.maps(dst)) {
                found.push((About::AclLine(name.clone(), at + 1), never(&statics, dst, &ace.dport, proto)));
            }
        }
    }
    if anywhere {
        return;
    }
    for one in &statics {
        let Some((proto, real, mapped)) = one.port.filter(|(_, real, mapped)| real != mapped) else {
            continue;
        };
        let Some(Some(ports)) = permitted.get(&one.real) else { continue };
        let also = statics.iter().any(|other| {
            other.real == one.real && other.port.is_some_and(|(p, real, _)| (p, real) == (proto, mapped))
        });
        if !also && ports.contains(&(proto, mapped)) && !ports.contains(&(proto, real)) {
            let what = format!(
                "real and mapped port look swapped: outside {} port {mapped} leads to {} port {real}, which no \
                 access-list permits; one permits port {mapped}, to which nothing leads",
                one.mapped, one.real
            );
            let help = match &one.services {
                Some((a, b)) => format!("the real service stands first: `service {b} {a}`"),
                None => format!("the real port is {mapped}, the mapped one {real}?"),
            };
            found.push((one.about.clone(), Fault::warning(what).help(help)));
        }
    }
}

/// A line whose destination is a mapped address.
fn never(statics: &[Static], dst: Ipv4Addr, dport: &AcePorts, proto: u8) -> Fault {
    let written = text(dst, dport, proto);
    let fault = match real(statics, dst, dport, proto) {
        Some((addr, port)) => Fault::warning(format!(
            "the line matches nothing: `{written}` is what NAT shows, and access-lists name real addresses and ports"
        ))
        .help(format!("write `{}`", text(addr, &port, proto))),
        None => {
            let of = statics.iter().filter(|one| one.maps(dst));
            let known = of.filter_map(|one| {
                let (p, real, mapped) = one.port?;
                let [real, mapped] = [real, mapped].map(|port| ports::port_text(p, port));
                Some(format!("port {mapped} to {} port {real}", one.real_of(dst)))
            });
            Fault::warning(format!(
                "the line matches nothing: {dst} is what NAT shows, and no static line translates `{written}`"
            ))
            .help(format!(
                "access-lists name real addresses and ports; static lines lead {}",
                known.collect::<Vec<_>>().join(", ")
            ))
        }
    };
    fault.word(&dst.to_string())
}
