// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the firewall follows of a TCP connection: enough to know its timeout and to print the ASA's flags.
//!
//! Sequence windows are not followed yet, so nothing here ends a connection on the word of one segment: a RST moves it
//! to a short timer (RFC 7857, 2.2) from which traffic brings it back, and FINs of both sides to a wait in which a SYN may
//! start the tuple afresh. Worker cores, every TCP packet.

use zerocopy::FromZeros;

/// What is known of the two senders' sequence numbers, by direction of the sender (0 = initiator).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub struct Windows {
    /// Highest sequence number sent, plus one.
    pub end: [u32; 2],
    /// Highest acknowledgement sent.
    pub ack: [u32; 2],
    /// Largest window announced, as it stood in the header.
    pub win: [u16; 2],
}

/// FIN flag bit.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// PSH.
pub const PSH: u8 = 0x08;
/// ACK.
pub const ACK: u8 = 0x10;
/// URG.
pub const URG: u8 = 0x20;

/// Where a connection stands; UDP and ICMP are [`State::Established`] from the first packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(u8)]
pub enum State {
    /// SYN seen.
    #[default]
    SynSent,
    /// SYN and SYN+ACK seen.
    SynReceived,
    /// Both ways open.
    Established,
    /// One side sent its FIN.
    HalfClosed,
    /// Both did.
    Closed,
    /// A RST was seen.
    Reset,
}

/// History bits, for the ASA's connection flags.
pub mod seen {
    /// The initiator's FIN.
    pub const FIN_INITIATOR: u8 = 1;
    /// The responder's FIN.
    pub const FIN_RESPONDER: u8 = 2;
    /// Payload from the initiator.
    pub const DATA_INITIATOR: u8 = 4;
    /// Payload from the responder.
    pub const DATA_RESPONDER: u8 = 8;
    /// SYN+ACK from the responder.
    pub const SYN_ACK: u8 = 16;
}

/// A segment of the initiator (`forward`) or the responder moves `state`; `history` collects [`seen`] bits.
pub fn advance(state: State, history: &mut u8, flags: u8, forward: bool, payload: bool) -> State {
    if payload {
        *history |= if forward { seen::DATA_INITIATOR } else { seen::DATA_RESPONDER };
    }
    if flags & RST != 0 {
        return State::Reset;
    }
    if flags & SYN != 0 {
        return match (state, forward, flags & ACK != 0) {
            (State::SynSent, false, true) => {
                *history |= seen::SYN_ACK;
                State::SynReceived
            }
            // Simultaneous open (RFC 5382 REQ-2a): the other side's bare SYN.
            (State::SynSent, false, false) => State::SynReceived,
            (state, _, _) => state,
        };
    }
    let mut state = match state {
        State::SynReceived if forward && flags & ACK != 0 => State::Established,
        // Simultaneous open ends with the responder's ACK as well; traffic revives what a RST put to sleep.
        State::SynReceived if flags & ACK != 0 && *history & seen::SYN_ACK == 0 => State::Established,
        State::Reset if *history & seen::SYN_ACK != 0 => State::Established,
        other => other,
    };
    if flags & FIN != 0 {
        *history |= if forward { seen::FIN_INITIATOR } else { seen::FIN_RESPONDER };
    }
    let both = seen::FIN_INITIATOR | seen::FIN_RESPONDER;
    if *history & both == both {
        state = State::Closed;
    } else if *history & both != 0 {
        state = State::HalfClosed;
    }
    state
}
