// SPDX-License-Identifier: MIT OR Apache-2.0
//! Access-lists of the model, the object-groups their lines name, and time-ranges.
//!
//! A list is shared (`Arc`) between a configuration and the next, and so is each line: adding one to a hundred thousand copies
//! pointers, and two lists are compared by pointers wherever they have a line in common.

use std::sync::Arc;

use fedgate_tables::policy::WEEK_MINUTES;

use crate::config::addr::Net6;
use crate::config::types::{Net, PortOp, Protos, Service};

/// A name that many lines share.
pub type Name = Arc<str>;

/// The lines of an access-list, in order.
pub type AclLines = Vec<Arc<AclLine>>;

/// One line of an access-list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AclLine {
    /// `remark TEXT`: counts as a line.
    Remark(String),
    /// `extended ...`.
    Ace(Ace),
}

/// An access-list element, as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ace {
    /// `permit`, else `deny`.
    pub permit: bool,
    /// Protocol, or an object or group with protocols and ports.
    pub proto: AceProto,
    /// Source.
    pub src: AceAddr,
    /// Its ports.
    pub sport: AcePorts,
    /// Destination.
    pub dst: AceAddr,
    /// Its ports.
    pub dport: AcePorts,
    /// For ICMP: only this.
    pub icmp: AceIcmp,
    /// `log ...`.
    pub log: Option<AceLog>,
    /// `time-range T`: skipped outside of it.
    pub time_range: Option<Name>,
    /// `inactive`: skipped.
    pub inactive: bool,
}

/// The protocol of an ACE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AceProto {
    /// `ip`: every protocol.
    Ip,
    /// One protocol.
    Number(u8),
    /// `object S`: protocol and ports of a service object.
    Object(Name),
    /// `object-group G`: of protocols or of services.
    Group(Name),
}

/// The source or destination of an ACE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AceAddr {
    /// `any`: every address of both families.
    Any,
    /// `any4`.
    Any4,
    /// `any6`.
    Any6,
    /// A network, not every address.
    Net(Net),
    /// An IPv6 network, not every address.
    Net6(Net6),
    /// `object N`.
    Object(Name),
    /// `object-group G`.
    Group(Name),
    /// `interface I`: its address.
    Interface(Name),
}

/// The ports of an ACE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AcePorts {
    /// An operator, or every port.
    Op(PortOp),
    /// `object-group G`.
    Group(Name),
}

/// ICMP types of an ACE.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AceIcmp {
    /// Every type.
    Any,
    /// One type, and perhaps one code of it.
    Type(u8, Option<u8>),
    /// `object-group G`.
    Group(Name),
}

/// `log` of an ACE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AceLog {
    /// `log [LEVEL] [interval S]`.
    On {
        /// Severity, 6 where not said.
        level: u8,
        /// Seconds, 300 where not said.
        interval: u16,
    },
    /// `log disable`.
    Disable,
    /// `log default`.
    Default,
}

/// `access-list deny-flow-max`, at most and where nothing is said.
pub const DENY_FLOW_MAX: u32 = 4096;
/// `access-list alert-interval` where nothing is said, seconds.
pub const ALERT_INTERVAL: u32 = 300;

impl AceLog {
    /// `log` alone.
    pub const PLAIN: Self = Self::On { level: 6, interval: 300 };
}

/// What the members of an object-group are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// `object-group network`.
    Network,
    /// `object-group service NAME`.
    Service,
    /// `object-group service NAME {tcp|udp|tcp-udp}`.
    Ports(Protos),
    /// `object-group protocol`.
    Protocol,
    /// `object-group icmp-type`.
    IcmpType,
}

/// `object-group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What it holds.
    pub kind: GroupKind,
    /// `description`.
    pub description: Option<String>,
    /// In the order written.
    pub members: Vec<Member>,
}

/// A member of an object-group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    /// `group-object G`: all of another group's.
    Group(Name),
    /// `network-object host A`, `network-object A M`.
    Net(Net),
    /// `network-object P/LEN`, or a host of IPv6.
    Net6(Net6),
    /// `network-object object N`.
    Object(Name),
    /// `service-object ...`.
    Service(Service),
    /// `service-object object S`.
    ServiceObject(Name),
    /// `port-object {eq|range} ...`; the group's protocols say the names.
    Port(Protos, PortOp),
    /// `protocol-object P`; never TCP and UDP at once.
    Protocol(Protos),
    /// `icmp-object T`.
    Icmp(u8),
}

/// `time-range`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeRange {
    /// `absolute start`.
    pub start: Option<Minute>,
    /// `absolute end`, the whole minute included.
    pub end: Option<Minute>,
    /// `periodic`, in the order written.
    pub periods: Vec<Periodic>,
}

/// A minute of local time, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Minute(pub i64);

/// `periodic DAYS HH:MM to [DAY] HH:MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Periodic {
    /// Bit 0 is Monday; at least one.
    pub days: u8,
    /// First minute of the day.
    pub from: u16,
    /// Day on which it ends, Monday being 0; only where `days` is one day. `None` for the day itself.
    pub until: Option<u8>,
    /// Last minute of that day, the whole minute included.
    pub to: u16,
}

/// `clock timezone NAME H [M]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timezone {
    /// What it is called.
    pub name: String,
    /// Local time minus UTC, minutes.
    pub offset: i16,
}

impl Periodic {
    /// Minutes of the local week, Monday 00:00 being 0: the first, and the minute after the last. One span a day it begins on; where the
    /// second is not above the first, it goes on over the week's end.
    pub fn spans(&self) -> impl Iterator<Item = (u16, u16)> + use<> {
        const DAY: u16 = 24 * 60;
        let Self { days, from, until, to } = *self;
        (0..7u16).filter(move |day| days >> day & 1 == 1).map(move |day| {
            // An end before the beginning is on the next day.
            let last = until.map_or(if to < from { day + 1 } else { day }, u16::from);
            (day * DAY + from, (last * DAY + to) % WEEK_MINUTES + 1)
        })
    }
}

impl TimeRange {
    /// Whether it is in force in this minute.
    pub fn holds(&self, now: Minute) -> bool {
        // 1970 began on a Thursday.
        let of_week = (now.0 + 3 * 24 * 60).rem_euclid(i64::from(WEEK_MINUTES)) as u16;
        let within = |(from, to): (u16, u16)| {
            if from < to { (from..to).contains(&of_week) } else { of_week >= from || of_week < to }
        };
        self.start.is_none_or(|start| start <= now)
            && self.end.is_none_or(|end| now <= end)
            && (self.periods.is_empty() || self.periods.iter().flat_map(Periodic::spans).any(within))
    }
}

impl Ace {
    /// Whether nothing of it must be looked up elsewhere.
    pub fn is_plain(&self) -> bool {
        let addr = |a: &AceAddr| !matches!(a, AceAddr::Object(_) | AceAddr::Group(_) | AceAddr::Interface(_));
        let ports = |p: &AcePorts| matches!(p, AcePorts::Op(_));
        matches!(self.proto, AceProto::Ip | AceProto::Number(_))
            && addr(&self.src)
            && addr(&self.dst)
            && ports(&self.sport)
            && ports(&self.dport)
            && !matches!(self.icmp, AceIcmp::Group(_))
            && self.time_range.is_none()
    }

    /// Whether its hits are to be logged.
    pub fn logs(&self) -> bool {
        matches!(self.log, Some(AceLog::On { .. }))
    }
}
