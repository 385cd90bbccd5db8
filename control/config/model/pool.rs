// SPDX-License-Identifier: MIT OR Apache-2.0
//! `sip-pool`: the inside servers of which a TLS proxy's client face calls one for each request.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use fedgate_tables::policy::{HealthCheck, PoolMember, PoolSpec};

/// Where SIP over TLS listens (RFC 3261 section 19.1.2).
pub const SIPS_PORT: u16 = 5061;

/// `sip-pool NAME`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SipPool {
    /// `member`, by address and port.
    pub members: BTreeMap<(Ipv4Addr, u16), Share>,
    /// `health-check`, where it is said.
    pub check: Option<Check>,
}

/// What a member gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// `weight`
    pub weight: u8,
    /// `drain`
    pub drain: bool,
}

/// `health-check ...`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// `none`
    None,
    /// `options interval S fail N rise N`
    Options(HealthCheck),
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Options(HealthCheck { interval, fail, rise }) => {
                write!(f, "options interval {interval} fail {fail} rise {rise}")
            }
        }
    }
}

impl SipPool {
    /// How its members are watched.
    pub fn check(&self) -> Option<HealthCheck> {
        match self.check {
            None => Some(HealthCheck::default()),
            Some(Check::None) => None,
            Some(Check::Options(check)) => Some(check),
        }
    }

    /// As the dataplane has it.
    pub fn spec(&self, name: &str) -> PoolSpec {
        let member = |(&(addr, port), &Share { weight, drain })| PoolMember { addr, port, weight, drain };
        PoolSpec {
            name: name.to_owned(),
            members: self.members.iter().map(member).collect(),
            check: self.check(),
        }
    }
}
