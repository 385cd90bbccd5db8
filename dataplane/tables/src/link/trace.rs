// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `packet-tracer` asks about a packet that nobody has sent, and what it is told: each decision on its way, in order.
//!
//! The phases are noted by the very code that decides on packets (fedgate-flow `trace`, the workers' `trace`), as numbers and
//! indices; control puts names and lines of the configuration to them. What ends a packet's way is its last phase, and the only
//! one that does not permit.

use super::event::ClassBound;
use super::rows::Addr;
use crate::drops::DropReason;
use serde::{Deserialize, Serialize};

/// A packet that nobody has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The interface that it would come in by.
    pub in_if: u8,
    /// IP protocol; TCP is a SYN.
    pub proto: u8,
    /// Source.
    pub src: Addr,
    /// Its port, or ICMP's identifier.
    pub sport: u16,
    /// Destination, of the same family.
    pub dst: Addr,
    /// Its port.
    pub dport: u16,
    /// ICMP's type and code.
    pub icmp: [u8; 2],
}

/// An address with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// The address.
    pub addr: Addr,
    /// The port, or ICMP's identifier.
    pub port: u16,
}

impl Socket {
    /// Of an IPv4 address, host order.
    pub fn v4(addr: u32, port: u16) -> Self {
        Self { addr: addr.into(), port }
    }
}

/// What translated an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Translator {
    /// The NAT rule with this counter slot.
    Rule(u32),
    /// A translation that is there.
    Xlate,
}

/// Which access-list was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclPlace {
    /// `access-group ... in interface`.
    In,
    /// `access-group ... global`.
    Global,
    /// `access-group ... out interface`.
    Out,
}

/// How a connection that is there stands to the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known {
    /// It is the packet's.
    Its,
    /// It is over, and ends for the packet to begin a new one.
    Over,
    /// It waits for its server (TCP Intercept), and answers itself.
    Opening,
}

/// A decision about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Its headers, and who may send to whom at all.
    Checks {
        /// They are as they must be.
        permit: bool,
    },
    /// Several workers: it is this one's.
    Worker {
        /// Its number.
        worker: u8,
    },
    /// There is a connection.
    Found {
        /// Its number.
        conn: u64,
        /// How it stands to the packet.
        known: Known,
        /// The session that it belongs to.
        session: Option<u32>,
        /// It takes the packet.
        permit: bool,
    },
    /// There is none.
    NotFound,
    /// The destination as it really is.
    Untranslated {
        /// By what.
        by: Translator,
        /// As it was called.
        called: Socket,
        /// As it is.
        real: Socket,
        /// Where it stands, where NAT says so.
        out_if: Option<u8>,
    },
    /// The destination is an address that NAT shows, and nothing says whose it is.
    NoTranslation {
        /// It.
        called: Socket,
    },
    /// For the appliance itself.
    Local {
        /// It answers.
        permit: bool,
    },
    /// The way there.
    Route {
        /// The real destination.
        dst: Addr,
        /// The next hop; `None` where there is no way, or where it is not known yet.
        next_hop: Option<Addr>,
        /// Where it leaves; `None` where there is no way.
        out_if: Option<u8>,
    },
    /// `ip verify reverse-path`.
    ReversePath {
        /// The way back leads where it came from.
        permit: bool,
    },
    /// It is media of a call, for which no access-list is asked.
    Pinhole,
    /// What an access-list says.
    Acl {
        /// Which.
        place: AclPlace,
        /// Its index.
        acl: u32,
        /// The line that decided, and its element's hash; `None` for the implicit deny.
        line: Option<(u32, u32)>,
        /// What it says.
        permit: bool,
        /// The line has `log`.
        log: bool,
        /// It is the implicit deny of an interface's list, and another list has the last word.
        undecided: bool,
    },
    /// What security levels say where no list stands.
    Level {
        /// Of the interfaces in and out.
        levels: [u8; 2],
        /// What they say.
        permit: bool,
    },
    /// Whether replies find back by the same rules.
    Replies {
        /// The rule that would translate them.
        nat: Option<u32>,
        /// They do.
        permit: bool,
    },
    /// The class whose connection settings hold.
    Settings {
        /// Its slot.
        class: u32,
        /// Its bound that is reached.
        reached: Option<ClassBound>,
        /// TCP Intercept answers with a cookie.
        intercepts: bool,
    },
    /// So many handshakes are under way in the TLS proxy that it asks for a sign of life first, by a cookie.
    Crowded,
    /// How the source is shown.
    Translated {
        /// The rule.
        nat: u32,
        /// As it is.
        real: Socket,
        /// As it is shown; `None` where there is no address or port for it.
        shown: Option<Socket>,
        /// By a dynamic rule, and whether that translation is new.
        dynamic: Option<bool>,
    },
    /// A TLS proxy takes the connection.
    TlsProxy {
        /// The class that says so.
        class: u32,
        /// Index of the TLS proxy.
        proxy: u32,
        /// It can.
        permit: bool,
    },
    /// A connection is made.
    Created {
        /// There is room for it.
        permit: bool,
    },
    /// The next hop's station.
    Adjacency {
        /// By which interface.
        out_if: u8,
        /// The next hop; `None` where the way there does not lead out of this interface.
        next_hop: Option<Addr>,
        /// Its address; `None` where it is asked first.
        mac: Option<[u8; 6]>,
        /// It has one, or will have.
        permit: bool,
    },
}

impl Phase {
    /// Whether the packet goes on from here.
    pub fn permits(&self) -> bool {
        match *self {
            Self::Checks { permit }
            | Self::Found { permit, .. }
            | Self::Local { permit }
            | Self::ReversePath { permit }
            | Self::Level { permit, .. }
            | Self::Replies { permit, .. }
            | Self::TlsProxy { permit, .. }
            | Self::Adjacency { permit, .. }
            | Self::Created { permit } => permit,
            Self::Acl { permit, undecided, .. } => permit || undecided,
            Self::Worker { .. } | Self::NotFound | Self::Untranslated { .. } => true,
            Self::Pinhole | Self::Crowded => true,
            Self::NoTranslation { .. } => false,
            Self::Route { out_if, .. } => out_if.is_some(),
            Self::Settings { reached, intercepts, .. } => reached.is_none() || intercepts,
            Self::Translated { shown, .. } => shown.is_some(),
        }
    }
}

/// What would become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It leaves, or waits for its next hop's address.
    Passes,
    /// The TLS proxy takes it.
    Proxied,
    /// It is for the appliance itself, which answers.
    Answered,
    /// TCP Intercept answers it.
    Intercepted,
    /// It is dropped.
    Dropped(DropReason),
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Of the policy that decided.
    pub generation: u64,
    /// In order.
    pub phases: Vec<Phase>,
    /// Where it would leave, as far as it got.
    pub out_if: Option<u8>,
    /// What would become of it.
    pub fate: Fate,
}
