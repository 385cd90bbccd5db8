// SPDX-License-Identifier: MIT OR Apache-2.0
//! What an access-list line stands for: its objects and groups followed, every combination an [`Element`] of its own, as the ASA
//! expands it under the line in `show access-list`.
//!
//! Three users, all on control's one thread: the check (does it lead somewhere, how much does it come to), the compiler (elements to
//! entries of the segment) and `show access-list` (elements as text). The product is counted before it is made, so
//! that a line of three groups of a thousand members costs three thousand steps and a message, not a billion elements.

use std::collections::HashSet;
use std::fmt;

use super::addr::{Net6, ObjectAddr};
use super::check::Fault;
use super::model::{Ace, AceAddr, AceIcmp, AcePorts, AceProto, GroupKind, Member, Model};
use super::ports::{self, ICMP, ICMP6, TCP, UDP};
use super::types::{Net, PortOp, Protos, Service};

/// A source or destination with everything looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// `any`.
    Any,
    /// `any4`.
    Any4,
    /// `any6`.
    Any6,
    /// Anything else.
    Addr(ObjectAddr),
}

impl Side {
    /// Whether it has IPv4 addresses.
    pub fn is_v4(self) -> bool {
        match self {
            Self::Any | Self::Any4 => true,
            Self::Any6 => false,
            Self::Addr(addr) => addr.v4().is_some(),
        }
    }

    /// Whether it has IPv6 addresses.
    pub fn is_v6(self) -> bool {
        !self.is_v4() || self == Self::Any
    }
}

/// An ICMP type, and perhaps a code.
pub type Icmp = (u8, Option<u8>);

/// One protocol with ports or ICMP types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `None` for every protocol.
    pub proto: Option<u8>,
    /// Source ports.
    pub source: PortOp,
    /// Destination ports.
    pub destination: PortOp,
    /// One ICMP type, and perhaps one code.
    pub icmp: Option<Icmp>,
}

/// One combination: what has a hit counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// `permit`, else `deny`.
    pub permit: bool,
    /// Protocol and ports.
    pub kind: Kind,
    /// Source.
    pub src: Side,
    /// Destination.
    pub dst: Side,
}

impl Element {
    /// Whether it matches IPv4 packets: both ends do, and ICMPv6 never.
    pub fn is_v4(&self) -> bool {
        self.src.is_v4() && self.dst.is_v4() && self.kind.proto != Some(ICMP6)
    }

    /// Whether it matches IPv6 packets: both ends do, and ICMP never.
    pub fn is_v6(&self) -> bool {
        self.src.is_v6() && self.dst.is_v6() && self.kind.proto != Some(ICMP)
    }
}

/// A line with its names looked up, before the combinations are made.
#[derive(Clone, Debug)]
pub struct Parts {
    permit: bool,
    kinds: Vec<Kind>,
    srcs: Vec<Side>,
    dsts: Vec<Side>,
}

impl Parts {
    /// Looks everything up that `ace` names.
    ///
    /// # Errors
    /// A name that leads nowhere or to the wrong kind of thing; ends of families that never meet.
    pub fn of(model: &Model, ace: &Ace) -> Result<Self, Fault> {
        let parts = Self {
            permit: ace.permit,
            kinds: kinds(model, ace)?,
            srcs: sides(model, &ace.src)?,
            dsts: sides(model, &ace.dst)?,
        };
        let meet = |is: fn(Side) -> bool, other: u8| {
            let kinds = parts.kinds.iter().any(|kind| kind.proto != Some(other));
            kinds && parts.srcs.iter().any(|side| is(*side)) && parts.dsts.iter().any(|side| is(*side))
        };
        if !meet(Side::is_v4, ICMP6) && !meet(Side::is_v6, ICMP) {
            return Err(Fault::error(
                "the line matches nothing: its ends are of different families, or not of the protocol's",
            )
            .help("icmp is of IPv4, icmp6 of IPv6; an IPv4 address meets only IPv4 addresses"));
        }
        Ok(parts)
    }

    /// Its elements, in the order in which they are tried.
    pub fn elements(&self) -> impl Iterator<Item = Element> + '_ {
        let pairs = self.srcs.iter().flat_map(|src| self.dsts.iter().map(move |dst| (*src, *dst)));
        self.kinds
            .iter()
            .flat_map(move |kind| pairs.clone().map(move |(src, dst)| (*kind, src, dst)))
            .map(|(kind, src, dst)| Element { permit: self.permit, kind, src, dst })
            .filter(|element| element.is_v4() || element.is_v6())
    }

    /// Most elements there can be, and most entries of the segment they come to, without making them.
    pub fn size(&self) -> (u64, u64) {
        let kinds: u64 = self.kinds.iter().map(|k| ranges(k.source) * ranges(k.destination)).sum();
        let split =
            |sides: &[Side]| sides.iter().map(|side| nets4(*side).len() + nets6(*side).len()).sum::<usize>();
        let pairs = self.srcs.len() as u64 * self.dsts.len() as u64;
        let split = split(&self.srcs) as u64 * split(&self.dsts) as u64;
        (pairs.saturating_mul(self.kinds.len() as u64), split.saturating_mul(kinds))
    }
}

fn ranges(op: PortOp) -> u64 {
    op.ranges().len() as u64
}

/// The IPv4 networks of a side: address and mask. None where it has none.
pub fn nets4(side: Side) -> Vec<(u32, u32)> {
    let mask = |len: u32| u32::MAX.checked_shl(32 - len).unwrap_or(0);
    match side {
        Side::Any | Side::Any4 => vec![(0, 0)],
        Side::Addr(ObjectAddr::Net(net)) => vec![(net.addr().into(), net.mask().into())],
        Side::Addr(ObjectAddr::Range(first, last)) => {
            let (first, last) = (u32::from(first), u32::from(last));
            let nets = super::addr::prefixes(first.into(), last.into(), 32);
            nets.into_iter().map(|(net, len)| (net as u32, mask(len))).collect()
        }
        Side::Any6 | Side::Addr(ObjectAddr::Net6(_) | ObjectAddr::Range6(..)) => Vec::new(),
    }
}

/// The IPv6 networks of a side: address and prefix length. None where it has none.
pub fn nets6(side: Side) -> Vec<([u8; 16], u8)> {
    match side {
        Side::Any | Side::Any6 => vec![([0; 16], 0)],
        Side::Addr(ObjectAddr::Net6(net)) => vec![(net.addr().octets(), net.prefix())],
        Side::Addr(ObjectAddr::Range6(first, last)) => {
            let nets = super::addr::prefixes(first.into(), last.into(), 128);
            nets.into_iter().map(|(net, len)| (net.to_be_bytes(), len as u8)).collect()
        }
        Side::Any4 | Side::Addr(ObjectAddr::Net(_) | ObjectAddr::Range(..)) => Vec::new(),
    }
}

fn kinds(model: &Model, ace: &Ace) -> Result<Vec<Kind>, Fault> {
    let protos: Vec<Option<u8>> = match &ace.proto {
        AceProto::Ip => vec![None],
        AceProto::Number(number) => vec![Some(*number)],
        AceProto::Object(name) => return Ok(of_service(service(model, name)?).collect()),
        AceProto::Group(name) => match group_kind(model, name)? {
            GroupKind::Protocol => {
                let each = |member: &Member| match member {
                    Member::Protocol(protos) => protos.each(),
                    _ => &[],
                };
                members(model, name)?.into_iter().flat_map(each).copied().collect()
            }
            GroupKind::Service => {
                if [&ace.sport, &ace.dport].into_iter().any(|p| *p != AcePorts::Op(PortOp::Any)) {
                    let what = format!("object-group {name} says the ports itself");
                    return Err(Fault::error(what).word(name).help("leave the ports out of the line"));
                }
                return services(model, name);
            }
            GroupKind::Network | GroupKind::Ports(_) | GroupKind::IcmpType => {
                let what = format!("object-group {name} is neither of protocols nor of services");
                return Err(Fault::error(what).word(name));
            }
        },
    };
    let sports = port_ops(model, &ace.sport, &protos)?;
    let dports = port_ops(model, &ace.dport, &protos)?;
    let icmps = icmps(model, &ace.icmp)?;
    let mut kinds = Vec::with_capacity(protos.len() * sports.len() * dports.len() * icmps.len());
    for &proto in &protos {
        for &source in &sports {
            for &destination in &dports {
                kinds.extend(icmps.iter().map(|&icmp| Kind { proto, source, destination, icmp }));
            }
        }
    }
    Ok(kinds)
}

fn of_service(service: Service) -> impl Iterator<Item = Kind> {
    let Service { proto, source, destination, icmp } = service;
    proto.each().iter().map(move |&proto| Kind { proto, source, destination, icmp })
}

/// The service of an object that a line names.
pub fn service(model: &Model, name: &str) -> Result<Service, Fault> {
    match model.services.get(name) {
        None => Err(Fault::error(format!("there is no `object service {name}`")).word(name)),
        Some(None) => Err(Fault::error(format!("object {name} has no `service` line")).word(name)),
        Some(Some(service)) => Ok(*service),
    }
}

fn services(model: &Model, name: &str) -> Result<Vec<Kind>, Fault> {
    let mut kinds = Vec::new();
    for member in members(model, name)? {
        match member {
            Member::Service(service) => kinds.extend(of_service(*service)),
            Member::ServiceObject(object) => kinds.extend(of_service(service(model, object)?)),
            _ => {}
        }
    }
    Ok(kinds)
}

fn port_ops(model: &Model, ports: &AcePorts, protos: &[Option<u8>]) -> Result<Vec<PortOp>, Fault> {
    let with_ports = || protos.iter().all(|proto| matches!(proto, Some(TCP | UDP)));
    match ports {
        AcePorts::Op(PortOp::Any) => Ok(vec![PortOp::Any]),
        AcePorts::Op(op) if with_ports() => Ok(vec![*op]),
        AcePorts::Op(_) => Err(Fault::error("only tcp and udp have ports, and the line is about others too")),
        AcePorts::Group(name) => {
            let fits = match group_kind(model, name)? {
                GroupKind::Ports(of) => with_ports() && protos.iter().all(|proto| of.each().contains(proto)),
                GroupKind::Network | GroupKind::Service | GroupKind::Protocol | GroupKind::IcmpType => false,
            };
            if !fits {
                let what = format!("object-group {name} holds no ports of the line's protocol");
                return Err(Fault::error(what)
                    .word(name)
                    .help("it must be an `object-group service NAME {tcp|udp|tcp-udp}`"));
            }
            let op = |member: &Member| match member {
                Member::Port(_, op) => Some(*op),
                _ => None,
            };
            Ok(members(model, name)?.into_iter().filter_map(op).collect())
        }
    }
}

fn icmps(model: &Model, icmp: &AceIcmp) -> Result<Vec<Option<Icmp>>, Fault> {
    match icmp {
        AceIcmp::Any => Ok(vec![None]),
        AceIcmp::Type(number, code) => Ok(vec![Some((*number, *code))]),
        AceIcmp::Group(name) => {
            if group_kind(model, name)? != GroupKind::IcmpType {
                return Err(Fault::error(format!("object-group {name} is not of ICMP types")).word(name));
            }
            let number = |member: &Member| match member {
                Member::Icmp(number) => Some(Some((*number, None))),
                _ => None,
            };
            Ok(members(model, name)?.into_iter().filter_map(number).collect())
        }
    }
}

fn sides(model: &Model, addr: &AceAddr) -> Result<Vec<Side>, Fault> {
    Ok(match addr {
        AceAddr::Any => vec![Side::Any],
        AceAddr::Any4 => vec![Side::Any4],
        AceAddr::Any6 => vec![Side::Any6],
        AceAddr::Net(net) => vec![side4(*net)],
        AceAddr::Net6(net) => vec![side6(*net)],
        AceAddr::Object(name) => vec![side(network(model, name)?)],
        AceAddr::Group(name) => networks(model, name)?.into_iter().map(side).collect(),
        AceAddr::Interface(name) => match model.interface(name) {
            None => return Err(Fault::error(format!("there is no interface `{name}`")).word(name)),
            Some(interface) => {
                let own = interface.address.map(|(addr, _)| side4(Net::host(addr)));
                let own6 = interface.address6.map(|(addr, _)| side6(Net6::host(addr)));
                let sides: Vec<Side> = own.into_iter().chain(own6).collect();
                if sides.is_empty() {
                    return Err(Fault::error(format!("interface {name} has no address")).word(name));
                }
                sides
            }
        },
    })
}

/// Every address is `any4`, however it is written.
fn side4(net: Net) -> Side {
    if net == Net::ANY { Side::Any4 } else { Side::Addr(ObjectAddr::Net(net)) }
}

fn side6(net: Net6) -> Side {
    if net == Net6::ANY { Side::Any6 } else { Side::Addr(ObjectAddr::Net6(net)) }
}

fn side(addr: ObjectAddr) -> Side {
    match addr {
        ObjectAddr::Net(net) => side4(net),
        ObjectAddr::Net6(net) => side6(net),
        ObjectAddr::Range(..) | ObjectAddr::Range6(..) => Side::Addr(addr),
    }
}

/// The addresses of an object that a line names.
pub fn network(model: &Model, name: &str) -> Result<ObjectAddr, Fault> {
    match model.networks.get(name) {
        None => Err(Fault::error(format!("there is no `object network {name}`")).word(name)),
        Some(object) => object.addr.ok_or_else(|| {
            Fault::error(format!("object {name} has no address"))
                .word(name)
                .help("give it a `host`, a `subnet` or a `range`")
        }),
    }
}

/// The addresses of a group that a line names.
pub fn networks(model: &Model, name: &str) -> Result<Vec<ObjectAddr>, Fault> {
    if group_kind(model, name)? != GroupKind::Network {
        return Err(Fault::error(format!("object-group {name} holds no addresses")).word(name));
    }
    let mut addrs = Vec::new();
    for member in members(model, name)? {
        match member {
            Member::Net(net) => addrs.push(ObjectAddr::Net(*net)),
            Member::Net6(net) => addrs.push(ObjectAddr::Net6(*net)),
            Member::Object(object) => addrs.push(network(model, object)?),
            _ => {}
        }
    }
    Ok(addrs)
}

fn group_kind(model: &Model, name: &str) -> Result<GroupKind, Fault> {
    match model.groups.get(name) {
        None => Err(Fault::error(format!("there is no `object-group` {name}")).word(name)),
        Some(group) => Ok(group.kind),
    }
}

/// The members of a group and of those it holds, at least one; each group once.
fn members<'m>(model: &'m Model, name: &'m str) -> Result<Vec<&'m Member>, Fault> {
    let (mut found, mut seen, mut stack) = (Vec::new(), HashSet::from([name]), Vec::new());
    stack.extend(model.groups.get(name).map(|group| group.members.iter()));
    while let Some(top) = stack.last_mut() {
        match top.next() {
            None => drop(stack.pop()),
            Some(Member::Group(inner)) => {
                if seen.insert(inner) {
                    stack.extend(model.groups.get(&**inner).map(|group| group.members.iter()));
                }
            }
            Some(member) => found.push(member),
        }
    }
    if found.is_empty() {
        return Err(Fault::error(format!("object-group {name} is empty"))
            .word(name)
            .help("give it members before it is used, and take it out of use before its last member"));
    }
    Ok(found)
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Any4 => f.write_str("any4"),
            Self::Any6 => f.write_str("any6"),
            Self::Addr(ObjectAddr::Net(net)) if !net.is_host() => net.fmt(f),
            Self::Addr(ObjectAddr::Net6(net)) if !net.is_host() => net.fmt(f),
            Self::Addr(addr) => addr.fmt(f),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Kind { proto, source, destination, icmp } = self.kind;
        let action = if self.permit { "permit" } else { "deny" };
        let name = Protos::One(proto.unwrap_or_default());
        let name = if proto.is_none() { Protos::Any } else { name };
        let (sport, dport) = (source.text(name.names()), destination.text(name.names()));
        write!(f, "extended {action} {name} {}{sport} {}{dport}", self.src, self.dst)?;
        match icmp {
            Some((number, code)) => write!(f, " {}", ports::icmp_text(name.names(), number, code)),
            None => Ok(()),
        }
    }
}
