// SPDX-License-Identifier: MIT OR Apache-2.0
//! `logging` and `flow-export` in the model: which messages go to which collector, and in what form.
//!
//! Names, numbers and defaults are the ASA's. What differs: `format rfc5424` and `secure trustpoint` of a host are ours, for an ASA
//! has its own form alone and vouches for collectors with every trustpoint it has. Printed by [`super::super::print`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};

use crate::config::parse::acl::level_text;

/// `logging facility` where none is said: LOCAL4.
pub const FACILITY: u8 = 20;
/// `logging queue` where none is said, messages.
pub const QUEUE: u32 = 512;
/// `logging buffer-size` where none is said, bytes.
pub const BUFFER: u32 = 4096;
/// Most collectors, as on the ASA.
pub const MOST_HOSTS: usize = 16;

/// `flow-export template timeout-rate` where none is said, minutes.
pub const TEMPLATE_MINUTES: u32 = 30;
/// Most collectors of `flow-export`, as on the ASA.
pub const MOST_DESTINATIONS: usize = 5;

/// What `logging` lines say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Syslog {
    /// `logging enable`.
    pub enable: bool,
    /// `logging timestamp`.
    pub timestamp: Option<Stamp>,
    /// `logging facility`, 16 to 23.
    pub facility: Option<u8>,
    /// `logging device-id`.
    pub device_id: Option<DeviceId>,
    /// `logging buffer-size`, bytes.
    pub buffer_size: Option<u32>,
    /// `logging buffered`: the least severe level kept.
    pub buffered: Option<u8>,
    /// `logging trap`: the least severe level sent.
    pub trap: Option<u8>,
    /// `logging queue`: messages that may wait, of each collector.
    pub queue: Option<u32>,
    /// `logging host`.
    pub hosts: BTreeMap<HostKey, HostForm>,
    /// `no logging message N` and `logging message N level L`.
    pub messages: BTreeMap<u32, Treated>,
    /// `logging rate-limit`.
    pub rates: BTreeMap<Limited, Rate>,
}

impl Syslog {
    /// Whether messages about connections that begin and end may go anywhere, so that the dataplane has to tell of them.
    pub fn tells_flows(&self) -> bool {
        const FLOWS: std::ops::RangeInclusive<u32> = 302_013..=302_021;
        let raised = self.messages.range(FLOWS).filter_map(|(_, treated)| treated.level).min().unwrap_or(6);
        self.enable && self.buffered.max(self.trap).is_some_and(|least| least >= raised.min(6))
    }
}

/// What `flow-export` lines say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// `flow-export destination`.
    pub destinations: BTreeSet<Destination>,
    /// `flow-export template timeout-rate`, minutes.
    pub template_minutes: Option<u32>,
}

/// A collector of `flow-export`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Destination {
    /// The interface that an ASA would send by.
    pub interface: String,
    /// Where it is.
    pub at: SocketAddr,
}

impl Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.interface, self.at.ip(), self.at.port())
    }
}

/// How `logging timestamp` writes times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// `Nov 09 2022 10:01:59`, local time.
    Asa,
    /// `2022-11-09T10:01:59Z`.
    Rfc5424,
}

/// What messages say of who sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceId {
    /// The hostname.
    Hostname,
    /// The address of an interface.
    Address(String),
    /// A text.
    Text(String),
}

/// What carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A datagram each.
    Udp,
    /// One stream.
    Tcp,
}

impl Transport {
    /// The port where none is said.
    pub fn port(self) -> u16 {
        match self {
            Self::Udp => 514,
            Self::Tcp => 1470,
        }
    }

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Which collector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostKey {
    /// The interface that an ASA would send by.
    pub interface: String,
    /// Where it is.
    pub address: IpAddr,
    /// How it is reached.
    pub transport: Transport,
    /// Its port.
    pub port: u16,
}

/// What a collector is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostForm {
    /// `format rfc5424`: messages of RFC 5424, over TCP counted by octets (RFC 6587 3.4.1); else the ASA's, a line each.
    pub rfc5424: bool,
    /// TLS.
    pub secure: Option<Secure>,
}

/// TLS to a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// Whose CAs vouch for it.
    pub trustpoint: String,
    /// The name its certificate must have; without one, its address.
    pub identity: Option<String>,
}

/// What is said of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Treated {
    /// It is not sent.
    pub disabled: bool,
    /// Its severity instead of its own.
    pub level: Option<u8>,
}

/// What a rate is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limited {
    /// Every message of a severity.
    Level(u8),
    /// One message, whatever the rate of its severity.
    Message(u32),
}

/// How many in how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As many as come.
    Unlimited,
    /// At most so many in so many seconds.
    Most(u32, u32),
}

impl Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asa => "",
            Self::Rfc5424 => " rfc5424",
        })
    }
}

impl Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname => f.write_str("hostname"),
            Self::Address(interface) => write!(f, "ipaddress {interface}"),
            Self::Text(text) => write!(f, "string {text}"),
        }
    }
}

impl Display for HostKey {
    /// `inside 10.10.0.50 tcp/1470`; UDP's own port is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.interface, self.address)?;
        match (self.transport, self.port) {
            (Transport::Udp, 514) => Ok(()),
            (transport, port) => write!(f, " {}/{port}", transport.name()),
        }
    }
}

impl Display for HostForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rfc5424 {
            f.write_str(" format rfc5424")?;
        }
        let Some(secure) = &self.secure else { return Ok(()) };
        write!(f, " secure trustpoint {}", secure.trustpoint)?;
        secure.identity.as_ref().map_or(Ok(()), |name| write!(f, " reference-identity {name}"))
    }
}

impl Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Level(level) => write!(f, "level {}", level_text(*level)),
            Self::Message(number) => write!(f, "message {number}"),
        }
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::Most(messages, seconds) => write!(f, "{messages} {seconds}"),
        }
    }
}
