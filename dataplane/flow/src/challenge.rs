// SPDX-License-Identifier: MIT OR Apache-2.0
//! Segments that their receiver is to judge by a challenge ACK (RFC 5961): how many are passed on, and which SYNs were.
//!
//! A rate that connections share and that is always the same tells anybody who can count his own challenge ACKs whether
//! another's connection drew one: so the RFC's own limit gave away sequence numbers (CVE-2016-5696). Here a connection
//! falls into one of [`BUCKETS`], which have [`EACH`] a second, and which connections share a bucket is drawn anew every
//! second; what all have in a tick is drawn anew every tick. So what one is refused says next to nothing of one other.
//!
//! The SYNs passed last are kept, one in each of [`SYNS`] places, for [`Asked::answered`]. One that another displaces costs its
//! connection no more than what a firewall without this would.
//! One for each worker, about 2 KiB, for IPv4 and IPv6 alike; time is an argument.

use crate::key::fold;
use crate::tcp::{self, Asked, Outcome, Track};
use crate::{Packet, Rng, TICKS, Tick};
use fedgate_tables::drops::DropReason;

/// Connections are spread over so many counters.
const BUCKETS: usize = 256;
/// What a bucket has a second.
const EACH: u8 = 5;
/// Least and most that all have in a tick, 500 to 1500 a second.
const ALL: [u32; 2] = [50, 150];
/// SYNs kept.
const SYNS: usize = 64;

/// A connection, as this module knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whose(u32);

impl Whose {
    /// An IPv4 connection (numbers are below 2^30).
    pub fn v4(n: u32) -> Self {
        Self(n)
    }

    /// An IPv6 one.
    pub fn v6(n: u32) -> Self {
        Self(n | 1 << 31)
    }

    /// Its number, of its family: `Err` of an IPv6 one.
    pub fn number(self) -> Result<u32, u32> {
        if self.0 >> 31 == 0 { Ok(self.0) } else { Err(self.0 & !(1 << 31)) }
    }
}

/// What a segment means to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followed {
    /// Its state is what it was.
    Same,
    /// It has another state, or answered a SYN that was passed on before: the connection began anew.
    Moved,
    /// Anybody may have sent it, so it is no use of the connection.
    Asked,
    /// The connection is over, and it asks for another.
    Over,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Challenges {
    rng: Rng,
    /// Decides on the place of a SYN, for good.
    seed: u64,
    tick: Tick,
    /// What all have left in this tick.
    left: u32,
    second: Tick,
    /// Decides on buckets, in this second.
    draw: u64,
    used: [u8; BUCKETS],
    syns: [Option<(Whose, Asked)>; SYNS],
}

impl Challenges {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let (seed, draw) = (rng.next(), rng.next());
        let left = all(&mut rng);
        let (used, syns) = ([0; BUCKETS], [None; SYNS]);
        Self { rng, seed, tick: 0, left, second: 0, draw, used, syns }
    }

    /// Follows a segment of a connection. `two_sided` as at [`Self::settle`].
    ///
    /// # Errors
    /// The reason to drop it.
    #[inline]
    pub fn follow(
        &mut self,
        whose: Whose,
        track: &mut Track<'_>,
        packet: &Packet<'_>,
        forward: bool,
        two_sided: bool,
        now: Tick,
    ) -> Result<Followed, DropReason> {
        Ok(match tcp::segment(track, &packet.segment, packet.options, forward)? {
            Outcome::Same => Followed::Same,
            Outcome::Moved => Followed::Moved,
            Outcome::Challenge => self.settle(whose, track, packet, forward, two_sided, now)?,
            Outcome::Reopen => Followed::Over,
        })
    }

    /// Settles a segment for which [`crate::tcp::segment`] gave a challenge. A SYN is kept where `two_sided`: where its answer comes
    /// by another interface than the SYN.
    ///
    /// # Errors
    /// [`DropReason::TcpRstSynInWin`] above the rate.
    #[cold]
    fn settle(
        &mut self,
        whose: Whose,
        track: &mut Track<'_>,
        packet: &Packet<'_>,
        forward: bool,
        two_sided: bool,
        now: Tick,
    ) -> Result<Followed, DropReason> {
        let place = self.place(whose);
        if let Some((_, asked)) = self.syns[place].filter(|(of, _)| *of == whose)
            && asked.answered(track, &packet.segment, packet.options, forward)
        {
            self.syns[place] = None;
            return Ok(Followed::Moved);
        }
        if !self.may_pass(whose, now) {
            return Err(DropReason::TcpRstSynInWin);
        }
        if two_sided && let Some(asked) = Asked::of(&packet.segment, packet.options, forward) {
            self.syns[place] = Some((whose, asked));
        }
        Ok(Followed::Asked)
    }

    /// The connection is over: its number may soon be another's.
    pub fn forget(&mut self, whose: Whose) {
        let place = self.place(whose);
        self.syns[place].take_if(|(of, _)| *of == whose);
    }

    fn may_pass(&mut self, whose: Whose, now: Tick) -> bool {
        if self.tick != now {
            (self.tick, self.left) = (now, all(&mut self.rng));
        }
        if self.second != now / TICKS {
            (self.second, self.draw, self.used) = (now / TICKS, self.rng.next(), [0; BUCKETS]);
        }
        let used = &mut self.used[mix(whose, self.draw) % BUCKETS];
        let may = self.left > 0 && *used < EACH;
        if may {
            self.left -= 1;
            *used += 1;
        }
        may
    }

    fn place(&self, whose: Whose) -> usize {
        mix(whose, self.seed) % SYNS
    }
}

fn all(rng: &mut Rng) -> u32 {
    ALL[0] + (rng.next() >> 32) as u32 % (ALL[1] - ALL[0] + 1)
}

fn mix(whose: Whose, seed: u64) -> usize {
    fold(u64::from(whose.0) ^ seed, seed.rotate_left(32)) as usize
}

#[cfg(test)]
mod tests;
