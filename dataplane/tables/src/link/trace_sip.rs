// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `packet-tracer sip` asks about a request that nobody has sent, and what it is told: each check on its way, in order.
//!
//! The request is written out by control and read by the TLS proxy's own scanner; the checks are noted by the code that decides on
//! messages (fedgate-sip `verdict::Ear`, fedgate-proxy `engine::foresee`). The last one is the one that decided.

use serde::{Deserialize, Serialize};

/// Longest request asked about, bytes: the whole question has to fit a datagram, and quotes in it are doubled.
pub const MAX_SIP_PROBE: usize = 16 << 10;

/// A request that nobody has sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SipProbe {
    /// Index of the TLS proxy that it would come through.
    pub proxy: u32,
    /// It comes from outside.
    pub inward: bool,
    /// The request, as it would stand on the wire.
    pub text: String,
    /// Names in the certificate of the foreign peer, DNS or `sip:`; none: one that is as it has to be.
    pub names: Vec<String>,
}

/// Which check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SipCheck {
    /// It can be read.
    Message,
    /// The dialog that it would be of.
    Dialog,
    /// Whom From speaks for.
    Sender,
    /// What the list of foreign domains says.
    List,
    /// Whether the foreign peer's certificate vouches for the domain.
    Certificate,
    /// Whether the method crosses.
    Method,
    /// Whether what Proxy-Require asks for is known.
    Extension,
    /// Whether identities in other headers are of From's domain.
    Identity,
    /// Whether it is addressed to us.
    Addressee,
    /// Whether its Routes lead to us.
    Route,
    /// Whether the dialog or party that it points at is the sender's.
    Pointing,
    /// What its domain may send.
    Rate,
    /// The inspect map.
    Inspection,
    /// How many connections its domain may have.
    Sessions,
    /// Where it would go.
    Target,
}

/// A check, and what it said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SipStep {
    /// Which.
    pub check: SipCheck,
    /// The domain that it was about.
    pub domain: Option<String>,
    /// The entry of the domain list that says so.
    pub entry: Option<u32>,
    /// What was found, in a line each.
    pub found: Vec<String>,
    /// It goes on from here.
    pub permit: bool,
}

/// What would become of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SipFate {
    /// It crosses.
    Passes,
    /// It is answered by the appliance, and goes nowhere.
    Answered {
        /// The SIP status.
        status: u16,
    },
    /// It goes nowhere, and nothing is said.
    Dropped,
    /// Its connection ends.
    Ended {
        /// By RST.
        reset: bool,
    },
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SipTrace {
    /// In order.
    pub steps: Vec<SipStep>,
    /// What would become of it.
    pub fate: SipFate,
    /// Why it does not cross, by the name that logs and counters have.
    pub denial: Option<String>,
}
