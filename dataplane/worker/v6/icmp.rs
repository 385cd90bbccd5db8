// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ICMPv6 that the appliance owes as a router: echo replies for its own addresses, and errors.
//!
//! Errors are no route, beyond scope, address unreachable (nobody answers neighbour solicitations), packet too big
//! (RFC 8201) and hop limit exceeded. A packet that policy denies gets none. Nothing is sent where RFC 4443 2.4 (e) forbids it
//! ([`fedgate_wire::emit6::may_answer_with_error`]), nor more often than the token buckets allow (2.4 (f)); echo has a
//! bucket of its own, so that a ping flood does not silence path MTU discovery.
//!
//! Sans-IO, as [`crate::worker::icmp`] is for IPv4. One [`Responder6`] a worker; slow path.

use super::route::Routes6;
use crate::worker::icmp::{Rate, Silence, TokenBucket};
use fedgate_wire::emit6::{self, Station6};
use fedgate_wire::{EmitError, Ethernet, MacAddr, Parsed6, icmp6};

/// One worker's ICMPv6 answers.
#[derive(Clone, Debug)]
pub(super) struct Responder6 {
    errors: TokenBucket,
    too_big: TokenBucket,
    echoes: TokenBucket,
}

impl Default for Responder6 {
    fn default() -> Self {
        let full = || TokenBucket::full(Rate::default());
        Self { errors: full(), too_big: full(), echoes: full() }
    }
}

impl Responder6 {
    /// Turns an echo request into its reply where it lies, if it is for an address of the interface it came in by (as on
    /// the ASA, the address of another interface does not answer). Returns the bytes to send back there.
    ///
    /// # Errors
    /// [`Silence`]; the frame is then as it was.
    pub(super) fn echo(
        &mut self,
        now_ms: u64,
        routes: &Routes6<'_>,
        ifindex: u8,
        frame: &mut [u8],
        parsed: &Parsed6,
    ) -> Result<usize, Silence> {
        self.may_echo(now_ms, routes, ifindex, parsed)?;
        emit6::echo_reply(frame, parsed).map_err(silence)
    }

    /// Whether an echo request is for an address of the interface it came in by, and the rate has room for its reply.
    ///
    /// # Errors
    /// [`Silence`].
    pub(super) fn may_echo(
        &mut self,
        now_ms: u64,
        routes: &Routes6<'_>,
        ifindex: u8,
        parsed: &Parsed6,
    ) -> Result<(), Silence> {
        if !emit6::is_echo_request(parsed) || !routes.is_own_of(ifindex, parsed.tuple.dst) {
            return Err(Silence::NotOwed);
        }
        if self.echoes.take(now_ms) { Ok(()) } else { Err(Silence::RateExceeded) }
    }

    /// Writes the error owed for a packet that came in by `ifindex`, whose MAC is `mac`, into `out` and returns the bytes to
    /// send: back there, to the station that the frame came from.
    ///
    /// # Errors
    /// [`Silence`]; `out` is then without meaning.
    pub(super) fn error(
        &mut self,
        now_ms: u64,
        routes: &Routes6<'_>,
        error: icmp6::Error,
        (ifindex, mac): (u8, MacAddr),
        (frame, parsed): (&[u8], &Parsed6),
        out: &mut [u8],
    ) -> Result<usize, Silence> {
        let Ok(head) = Ethernet::new_checked(frame) else { return Err(Silence::NotOwed) };
        let Some(ip) = routes.source_for(ifindex, parsed.tuple.src) else { return Err(Silence::NotOwed) };
        if !emit6::may_answer_with_error(error, parsed, frame) || routes.is_ours(parsed.tuple.src) {
            return Err(Silence::NotOwed);
        }
        // Path MTU discovery has its own, so that no flood of other errors silences it.
        let bucket = match error {
            icmp6::Error::PacketTooBig { .. } => &mut self.too_big,
            _ => &mut self.errors,
        };
        if !bucket.take(now_ms) {
            return Err(Silence::RateExceeded);
        }
        emit6::icmp_error(out, error, Station6 { mac, ip }, head.src(), frame, parsed).map_err(silence)
    }
}

fn silence(error: EmitError) -> Silence {
    match error {
        EmitError::NoRoom => Silence::NoRoom,
        EmitError::NotAnswerable => Silence::NotOwed,
    }
}
