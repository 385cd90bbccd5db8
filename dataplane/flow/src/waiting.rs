// SPDX-License-Identifier: MIT OR Apache-2.0
//! Places for connections that wait for their servers ([`crate::intercept`]), [`SETS`] sets of [`WAYS`].
//!
//! Who acknowledges a cookie is really there, but one such host can do so for a server that never answers, as fast as he can send. So a
//! client, an address of IPv4 or 64 bits of IPv6, has the places of one set and no others, and which set that is follows from a
//! secret. In a full set the one that has waited longest gives way: servers that live answer within a round trip, so that is
//! hardly ever one of an honest client. A client that reconnects at once to a dead server displaces but his own.
//!
//! 48 KiB a worker, for both families. Worker cores, slow path. Twin: a list a set, in tests.

use crate::challenge::Whose;
use crate::key::fold;

/// Sets of places.
pub(crate) const SETS: usize = 64;
/// Places of a set.
pub(crate) const WAYS: usize = 64;

#[derive(Clone, Copy)]
struct Place {
    whose: Option<Whose>,
    /// In the order of coming.
    number: u32,
}

/// See the module.
pub(crate) struct Waiting {
    places: Box<[Place]>,
    seed: u64,
    /// Numbers given.
    number: u32,
    taken: u32,
}

impl Waiting {
    /// All places are free.
    pub fn new(seed: u64) -> Self {
        let free = Place { whose: None, number: 0 };
        Self { places: vec![free; SETS * WAYS].into(), seed, number: 0, taken: 0 }
    }

    /// Places taken.
    pub fn len(&self) -> u32 {
        self.taken
    }

    /// Takes a place; gives who had to leave it.
    pub fn put(&mut self, client: u128, whose: Whose) -> Option<Whose> {
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        let age = |place: &&mut Place| place.whose.map_or(u32::MAX, |_| number.wrapping_sub(place.number));
        let place = self.set(client).iter_mut().max_by_key(age)?;
        let left = std::mem::replace(place, Place { whose: Some(whose), number }).whose;
        self.taken += u32::from(left.is_none());
        left
    }

    /// Frees the place, where it was not another's already.
    pub fn leave(&mut self, client: u128, whose: Whose) {
        if let Some(place) = self.set(client).iter_mut().find(|place| place.whose == Some(whose)) {
            place.whose = None;
            self.taken -= 1;
        }
    }

    fn set(&mut self, client: u128) -> &mut [Place] {
        let (high, low) = ((client >> 64) as u64, client as u64);
        let hash = fold(low ^ self.seed, fold(high ^ self.seed.rotate_left(32), 0x9e37_79b9_7f4a_7c15));
        let first = hash as usize % SETS * WAYS;
        &mut self.places[first..first + WAYS]
    }
}

#[cfg(test)]
mod tests;
