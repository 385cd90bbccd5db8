// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ICMP that the appliance owes as a router: echo replies for its own addresses, and errors.
//!
//! Errors are net unreachable (no route), host unreachable (nobody answers ARP), fragmentation needed (RFC 1191), and time
//! exceeded. A packet that policy denies gets none: a firewall that explains itself helps whoever probes it.
//! Nothing is sent where RFC 1812 4.3.2.7 forbids it ([`fedgate_wire::emit::may_answer_with_error`], and here a
//! connected network's broadcast address), nor more often than the token buckets allow (RFC 1812 4.3.2.8); echo, fragmentation
//! needed and all other errors have one each, so that neither pings nor a TTL flood silence path MTU discovery.
//!
//! Sans-IO: time is an argument (milliseconds), frames are the caller's buffers. One [`Responder`] a worker; slow path.

use fedgate_wire::emit::{self, Station};
use fedgate_wire::{EmitError, Ethernet, Parsed, icmp4};

use super::route::Routes;

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 100, burst: 50 }
    }
}

/// Why nothing is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing is owed, or it must not be sent.
    NotOwed,
    /// Too often.
    RateExceeded,
    /// The buffer is too small; [`emit::MAX_ERROR_FRAME_LEN`] always suffices.
    NoRoom,
}

/// The packet that an error is about.
#[derive(Clone, Copy, Debug)]
pub struct Offence<'a> {
    /// The frame as its sender sent it: not translated (or translated back), TTL not yet taken from.
    pub frame: &'a [u8],
    /// What [`fedgate_wire::parse()`] said of it.
    pub parsed: &'a Parsed,
    /// The interface it came in by: the error goes out there, from this MAC and address (RFC 1812 4.3.2.4), to
    /// the station that the frame came from.
    pub ingress: Station,
}

/// One worker's ICMP answers.
#[derive(Clone, Debug)]
pub struct Responder {
    errors: TokenBucket,
    too_big: TokenBucket,
    echoes: TokenBucket,
}

impl Responder {
    /// With the rates of errors and of echo replies.
    pub fn new(errors: Rate, echoes: Rate) -> Self {
        Self {
            errors: TokenBucket::full(errors),
            too_big: TokenBucket::full(errors),
            echoes: TokenBucket::full(echoes),
        }
    }

    /// Turns an echo request into its reply where it lies, if it is for the address of the interface it came in by
    /// (as on the ASA, the address of another interface does not answer). Returns the bytes to send back there.
    ///
    /// # Errors
    /// [`Silence`]; the frame is then as it was.
    pub fn echo(
        &mut self,
        now_ms: u64,
        routes: &Routes<'_>,
        ifindex: u32,
        frame: &mut [u8],
        parsed: &Parsed,
    ) -> Result<usize, Silence> {
        self.may_echo(now_ms, routes, ifindex, parsed)?;
        emit::echo_reply(frame, parsed).map_err(silence)
    }

    /// The question that [`Responder::echo`] asks first, for a request that is not in one frame.
    ///
    /// # Errors
    /// [`Silence::NotOwed`], [`Silence::RateExceeded`].
    pub fn may_echo(
        &mut self,
        now_ms: u64,
        routes: &Routes<'_>,
        ifindex: u32,
        parsed: &Parsed,
    ) -> Result<(), Silence> {
        if !emit::is_echo_request(parsed) || routes.own(parsed.tuple.dst) != Some(ifindex) {
            return Err(Silence::NotOwed);
        }
        if self.echoes.take(now_ms) { Ok(()) } else { Err(Silence::RateExceeded) }
    }

    /// Writes the error owed for a packet into `out` and returns the bytes to send.
    ///
    /// # Errors
    /// [`Silence`]; `out` is then without meaning.
    pub fn error(
        &mut self,
        now_ms: u64,
        routes: &Routes<'_>,
        error: icmp4::Error,
        about: Offence<'_>,
        out: &mut [u8],
    ) -> Result<usize, Silence> {
        let Offence { frame, parsed, ingress } = about;
        let Ok(head) = Ethernet::new_checked(frame) else { return Err(Silence::NotOwed) };
        if !emit::may_answer_with_error(parsed, frame)
            || routes.is_directed_broadcast(parsed.tuple.dst)
            || routes.is_directed_broadcast(parsed.tuple.src)
            || routes.own(parsed.tuple.src).is_some()
        {
            return Err(Silence::NotOwed);
        }
        let bucket = match error {
            icmp4::Error::FragmentationNeeded { .. } => &mut self.too_big,
            _ => &mut self.errors,
        };
        if !bucket.take(now_ms) {
            return Err(Silence::RateExceeded);
        }
        emit::icmp_error(out, error, ingress, head.src(), frame, parsed).map_err(silence)
    }
}

impl Default for Responder {
    fn default() -> Self {
        Self::new(Rate::default(), Rate::default())
    }
}

fn silence(error: EmitError) -> Silence {
    match error {
        EmitError::NoRoom => Silence::NoRoom,
        EmitError::NotAnswerable => Silence::NotOwed,
    }
}

/// Tokens come at a steady rate and are kept up to the burst; a clock that goes back brings none.
#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    rate: Rate,
    /// Thousandths of a token.
    level: u64,
    last_ms: u64,
}

impl TokenBucket {
    /// Full to begin with.
    pub(super) fn full(rate: Rate) -> Self {
        Self { rate, level: u64::from(rate.burst) * 1000, last_ms: 0 }
    }

    /// Takes a token if there is one.
    pub(super) fn take(&mut self, now_ms: u64) -> bool {
        self.level = self.level_at(now_ms);
        self.last_ms = self.last_ms.max(now_ms);
        if self.level < 1000 {
            return false;
        }
        self.level -= 1000;
        true
    }

    /// Whether [`Self::take`] would find none.
    #[inline]
    pub(super) fn is_empty(&self, now_ms: u64) -> bool {
        self.level_at(now_ms) < 1000
    }

    /// Thousandths of tokens.
    #[inline]
    fn level_at(&self, now_ms: u64) -> u64 {
        let gained = now_ms.saturating_sub(self.last_ms).saturating_mul(u64::from(self.rate.per_second));
        self.level.saturating_add(gained).min(u64::from(self.rate.burst) * 1000)
    }
}

#[cfg(test)]
mod tests;
