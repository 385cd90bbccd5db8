// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `ping` asks for, one echo request at a time, and what becomes of it.
//!
//! How many, how often and how long to wait is control's matter. A request whose answer does not come has no [`Echoed`]; one that comes
//! late has, and control has given up on it.

use super::rows::Addr;
use serde::{Deserialize, Serialize};

/// An echo request that is to be sent, from the address of the interface that it leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Echo {
    /// The interface that it has to leave by, where that is not left to the routes.
    pub ifindex: Option<u8>,
    /// To whom.
    pub to: Addr,
    /// Bytes, IP header included.
    pub len: u16,
}

/// What became of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Echoed {
    /// It was answered.
    Answered {
        /// After so many microseconds.
        micros: u64,
    },
    /// Not sent: there is no policy.
    NoPolicy,
    /// Not sent: no way leads there, or none by that interface.
    NoRoute,
    /// Not sent: it is an address of the appliance's own.
    Own,
    /// Not sent: it is no address of one host.
    NotOneHost,
    /// Not sent: the interface sends from `least` to `most` bytes.
    Length {
        /// Bytes.
        least: u16,
        /// Bytes.
        most: u16,
    },
    /// Not sent: there was no packet buffer.
    NoBuffer,
}
