// SPDX-License-Identifier: MIT OR Apache-2.0
//! How many connections there may be: in all, and of one address.
//!
//! A connection holds a [`Place`] for as long as it lives. The SIP listeners share one set of places, the web service has its own, so that neither
//! takes the other's.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
struct Taken {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// Places for connections.
#[derive(Clone)]
pub(crate) struct Places {
    taken: Arc<Mutex<Taken>>,
    most: usize,
    most_of_one: usize,
}

impl Places {
    /// So many in all, and so many of one address.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self { taken: Arc::default(), most, most_of_one }
    }

    /// One for a connection from `address`, if there is one.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Place> {
        let mut taken = self.lock();
        let here = taken.of.get(&address).copied().unwrap_or(0);
        if here >= self.most_of_one || taken.all >= self.most {
            return None;
        }
        taken.all += 1;
        taken.of.insert(address, here + 1);
        Some(Place { places: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place.
pub(crate) struct Place {
    places: Places,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all -= 1;
        if let Some(here) = taken.of.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                taken.of.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Places;

    #[test]
    fn so_many_in_all_and_so_many_of_one() {
        let (a, b, c) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [10, 0, 0, 3].into());
        let places = Places::new(3, 2);
        let held = [places.take(a), places.take(a)];
        assert!(held.iter().all(Option::is_some) && places.take(a).is_none());
        let other = places.take(b);
        assert!(other.is_some() && places.take(c).is_none());
        drop(held);
        assert!(places.take(c).is_some());
        drop(other);
        assert!(places.lock().of.is_empty() && places.lock().all == 0);
    }
}
