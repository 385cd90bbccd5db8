// SPDX-License-Identifier: MIT OR Apache-2.0
//! A connection that began or ended, as control's log and the export of NAT events are told of it.
//!
//! Only where the policy says so ([`TELL_FLOWS`](crate::policy::TELL_FLOWS)); up to [`MAX_NOTES`] in an event, so that one fits a datagram.

use serde::{Deserialize, Serialize};

use super::rows::Addr;

/// Notes of one event.
pub const MAX_NOTES: usize = 64;

/// An address and a port; of ICMP the identifier, which only the initiator has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place(pub Addr, pub u16);

/// Why a connection ended, as far as it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Over {
    /// Both sides said so.
    Fin,
    /// Only one did, and then nothing more came.
    FinTimeout,
    /// A RST.
    Reset,
    /// The handshake did not come to its end.
    SynTimeout,
    /// Nothing came for too long.
    Idle,
    /// The appliance ended it: its proxy session, an operator, a policy.
    Ended,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowEnd {
    /// How long there was one.
    pub seconds: u32,
    /// Of IP datagrams, both ways.
    pub bytes: u64,
    /// Why.
    pub over: Over,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowNote {
    /// Its number in `show conn`.
    pub id: u64,
    /// IP protocol.
    pub proto: u8,
    /// Ingress of the initiator's packets.
    pub in_if: u8,
    /// Their egress.
    pub out_if: u8,
    /// The initiator is on the lower security level.
    pub inbound: bool,
    /// The initiator, as its packets arrive.
    pub src: Place,
    /// Whom it calls.
    pub dst: Place,
    /// The initiator, as its packets leave.
    pub shown_src: Place,
    /// Whom it reaches.
    pub real_dst: Place,
    /// How it ended; `None` where it began.
    pub end: Option<FlowEnd>,
}

impl FlowNote {
    /// Whether NAT changed anything of it.
    pub fn is_translated(&self) -> bool {
        self.src != self.shown_src || self.dst != self.real_dst
    }
}
