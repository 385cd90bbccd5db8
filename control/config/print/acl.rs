// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access-lists, object-groups and time-ranges as they are written.

use std::fmt::{self, Display, Write};

use super::line;
use crate::config::addr::Net6;
use crate::config::model::{
    Ace, AceAddr, AceIcmp, AceLog, AcePorts, AceProto, AclLine, Group, GroupKind, Member, Model, TimeRange,
};
use crate::config::parse::acl::level_text;
use crate::config::ports::{self, ICMP};
use crate::config::types::Net;

/// Groups, each after those it holds. A group that holds itself is refused by the check, and would be printed where it is met.
pub fn groups(model: &Model, out: &mut impl Write) -> fmt::Result {
    let mut printed = std::collections::HashSet::new();
    for name in model.groups.keys() {
        // Depth first, without recursion: what is on the stack twice waits for nothing any more.
        let mut stack = vec![(name.as_str(), false)];
        while let Some((name, ready)) = stack.pop() {
            let Some(group) = model.groups.get(name) else { continue };
            if ready {
                one_group(name, group, out)?;
            } else if printed.insert(name) {
                stack.push((name, true));
                for member in group.members.iter().rev() {
                    if let Member::Group(inner) = member {
                        stack.push((inner, false));
                    }
                }
            }
        }
    }
    Ok(())
}

fn one_group(name: &str, group: &Group, out: &mut impl Write) -> fmt::Result {
    match group.kind {
        GroupKind::Network => writeln!(out, "object-group network {name}")?,
        GroupKind::Service => writeln!(out, "object-group service {name}")?,
        GroupKind::Ports(protos) => writeln!(out, "object-group service {name} {protos}")?,
        GroupKind::Protocol => writeln!(out, "object-group protocol {name}")?,
        GroupKind::IcmpType => writeln!(out, "object-group icmp-type {name}")?,
    }
    line(out, " description", &group.description)?;
    for member in &group.members {
        writeln!(out, " {member}")?;
    }
    Ok(())
}

/// Time-ranges.
pub fn time_ranges(model: &Model, out: &mut impl Write) -> fmt::Result {
    for (name, range) in &model.time_ranges {
        writeln!(out, "time-range {name}")?;
        one_range(range, out)?;
    }
    Ok(())
}

fn one_range(range: &TimeRange, out: &mut impl Write) -> fmt::Result {
    if range.start.is_some() || range.end.is_some() {
        out.write_str(" absolute")?;
        for (word, minute) in [("start", range.start), ("end", range.end)] {
            if let Some(minute) = minute {
                write!(out, " {word} {minute}")?;
            }
        }
        writeln!(out)?;
    }
    for period in &range.periods {
        writeln!(out, " {period}")?;
    }
    Ok(())
}

/// A group as it is written.
pub fn group_text(name: &str, group: &Group) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = one_group(name, group, &mut text);
    text
}

/// What stands under a time-range.
pub fn time_range_text(range: &TimeRange) -> String {
    let mut text = String::new();
    let _ = one_range(range, &mut text);
    text
}

impl Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group-object {name}"),
            Self::Net(net) => write!(f, "network-object {}", Addr4(*net)),
            Self::Net6(net) => write!(f, "network-object {}", Addr6(*net)),
            Self::Object(name) => write!(f, "network-object object {name}"),
            Self::Service(service) => write!(f, "service-object {service}"),
            Self::ServiceObject(name) => write!(f, "service-object object {name}"),
            Self::Port(protos, op) => write!(f, "port-object{}", op.text(protos.names())),
            Self::Protocol(protos) => write!(f, "protocol-object {protos}"),
            Self::Icmp(number) => write!(f, "icmp-object {}", ports::icmp_text(ICMP, *number, None)),
        }
    }
}

/// `host A` or `A M`.
pub struct Addr4(pub Net);

impl Display for Addr4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_host() { write!(f, "host {}", self.0.addr()) } else { self.0.fmt(f) }
    }
}

/// `host A` or `P/LEN`.
pub struct Addr6(pub Net6);

impl Display for Addr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_host() { write!(f, "host {}", self.0.addr()) } else { self.0.fmt(f) }
    }
}

impl Display for AclLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remark(text) => write!(f, "remark {text}"),
            Self::Ace(ace) => ace.fmt(f),
        }
    }
}

impl Display for AceAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Any4 => f.write_str("any4"),
            Self::Any6 => f.write_str("any6"),
            Self::Net(net) => Addr4(*net).fmt(f),
            Self::Net6(net) => Addr6(*net).fmt(f),
            Self::Object(name) => write!(f, "object {name}"),
            Self::Group(name) => write!(f, "object-group {name}"),
            Self::Interface(name) => write!(f, "interface {name}"),
        }
    }
}

impl AcePorts {
    fn text(&self, proto: u8) -> String {
        match self {
            Self::Op(op) => op.text(proto),
            Self::Group(name) => format!(" object-group {name}"),
        }
    }
}

impl AceLog {
    /// As `show access-list` prints it: with level and interval.
    pub fn in_full(&self) -> String {
        match self {
            Self::On { level, interval } => format!("log {} interval {interval}", level_text(*level)),
            Self::Disable | Self::Default => self.to_string(),
        }
    }
}

impl Display for AceLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PLAIN => f.write_str("log"),
            Self::Disable => f.write_str("log disable"),
            Self::Default => f.write_str("log default"),
            Self::On { level, interval } => {
                write!(f, "log {}", level_text(level))?;
                if interval == 300 { Ok(()) } else { write!(f, " interval {interval}") }
            }
        }
    }
}

impl Display for Ace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "extended {} ", if self.permit { "permit" } else { "deny" })?;
        let proto = match &self.proto {
            AceProto::Ip => {
                f.write_str("ip")?;
                0
            }
            AceProto::Number(number) => {
                f.write_str(&ports::proto_text(*number))?;
                *number
            }
            AceProto::Object(name) => {
                write!(f, "object {name}")?;
                0
            }
            AceProto::Group(name) => {
                write!(f, "object-group {name}")?;
                0
            }
        };
        write!(f, " {}{} {}{}", self.src, self.sport.text(proto), self.dst, self.dport.text(proto))?;
        match &self.icmp {
            AceIcmp::Any => {}
            AceIcmp::Type(number, code) => write!(f, " {}", ports::icmp_text(proto, *number, *code))?,
            AceIcmp::Group(name) => write!(f, " object-group {name}")?,
        }
        if let Some(log) = &self.log {
            write!(f, " {log}")?;
        }
        if let Some(name) = &self.time_range {
            write!(f, " time-range {name}")?;
        }
        f.write_str(if self.inactive { " inactive" } else { "" })
    }
}
