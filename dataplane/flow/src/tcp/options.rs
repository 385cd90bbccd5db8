// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of a SYN (RFC 9293 3.2, RFC 7323, RFC 2018).
//!
//! A list is taken whole or not at all: an option with a length that its kind does not have, or that reaches past
//! the header, makes the list malformed, and the firewall drops the SYN. Endpoints guess differently about such a list, and a
//! window scale guessed wrongly here would cut an honest connection later. Options of kinds unknown here are skipped by
//! their length. Of two of a kind the first counts.

/// Largest window shift; a larger one counts as this (RFC 7323 2.3).
pub const MAX_SCALE: u8 = 14;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const TIMESTAMPS: u8 = 8;

/// What a SYN offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynOptions {
    /// Maximum segment size, bytes.
    pub mss: Option<u16>,
    /// Window shift, at most [`MAX_SCALE`].
    pub scale: Option<u8>,
    /// Selective acknowledgements.
    pub sack: bool,
    /// Timestamps: the sender's clock and the echo.
    pub timestamps: Option<(u32, u32)>,
}

/// The option list is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadOptions;

/// Reads the option bytes of a SYN.
///
/// # Errors
/// [`BadOptions`], see the module.
pub fn options(mut bytes: &[u8]) -> Result<SynOptions, BadOptions> {
    let mut found = SynOptions::default();
    while let [kind, rest @ ..] = bytes {
        if *kind == END {
            break;
        }
        if *kind == NOP {
            bytes = rest;
            continue;
        }
        let len = usize::from(*rest.first().ok_or(BadOptions)?);
        let value = bytes.get(2..len).ok_or(BadOptions)?;
        match (*kind, value) {
            (MSS, &[a, b]) => found.mss = found.mss.or(Some(u16::from_be_bytes([a, b]))),
            (WINDOW_SCALE, &[shift]) => found.scale = found.scale.or(Some(shift.min(MAX_SCALE))),
            (SACK_PERMITTED, []) => found.sack = true,
            (TIMESTAMPS, &[a, b, c, d, e, f, g, h]) => {
                let both = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
                found.timestamps = found.timestamps.or(Some(both));
            }
            (MSS | WINDOW_SCALE | SACK_PERMITTED | TIMESTAMPS, _) => return Err(BadOptions),
            _ => {}
        }
        bytes = &bytes[len..];
    }
    Ok(found)
}
