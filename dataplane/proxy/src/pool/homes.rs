// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which inside server has a Call-ID, known to all workers: what makes a pool's dialogs stick.
//!
//! Partners multiplex all their users over a few connections, and the two directions of one dialog may come by different
//! connections and so meet different workers. So where a dialog lives is not a session's business but that of this table: a worker
//! writes its own part of it and reads all of them. A request that begins something is entered for [`PENDING`] minutes when it is sent,
//! a dialog until it would be forgotten (fedgate-sip `dialog`). What is not found here is placed by its Call-ID anew, which gives the
//! same server as long as the pool is what it was.
//!
//! An entry is two words, key ^ value and value, in a bucket of one cache line. A reader that meets half a change finds a key that fits
//! nothing, so there is no order to keep and nobody waits. A bucket keeps what lives longest: a flood of requests that begin
//! nothing never pushes out a dialog, and dialogs are bounded a peer before they come here. A part never grows (2 MiB).
//!
//! Called by sessions of pools, and by those of inside servers while there is a pool, for each message that crosses.

use crate::api::Micros;
use crate::tcp::Addr;
use siphasher::sip::SipHasher13;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Entries of a bucket: one cache line.
const WAYS: usize = 4;
/// Buckets of a worker's part: room for twice the dialogs that it may have.
const BUCKETS: usize = 1 << 15;
/// How long a request that has no dialog yet is remembered, minutes: above Timer C (RFC 3261 section 16.6).
const PENDING: u64 = 5;
/// Minutes are kept in this many bits; a time further away than half of them is one that is over.
const CLOCK_BITS: u32 = 15;
const CLOCK: u64 = (1 << CLOCK_BITS) - 1;
const DIALOG: u64 = 1 << CLOCK_BITS;

#[derive(Default)]
struct Entry {
    mixed: AtomicU64,
    value: AtomicU64,
}

#[derive(Default)]
#[repr(align(64))]
struct Bucket([Entry; WAYS]);

/// See the module.
pub struct Homes {
    keyed: RandomState,
    parts: Box<[Box<[Bucket]>]>,
}

/// A Call-ID in this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Keyed, so that nobody outside can aim at a bucket.
    key: u64,
    /// By which members are ranked: the same after a restart, for dialogs outlive one.
    seed: u64,
}

impl Call {
    /// A member's rank for this Call-ID among others; the same on every worker, and in every life of the appliance.
    pub(crate) fn rank(&self, member: Addr) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.seed, 0);
        member.hash(&mut hasher);
        hasher.finish()
    }
}

/// What is known of a Call-ID: an inside server; its port is 0 where it is known as a client only.
fn pack((addr, port): Addr, dialog: bool, until: u64) -> u64 {
    u64::from(addr) << 32 | u64::from(port) << 16 | if dialog { DIALOG } else { 0 } | until & CLOCK
}

fn minutes(now: Micros) -> u64 {
    now.0 / 60_000_000
}

/// Minutes from `now` to the end of an entry; `None` where it is over.
fn left(value: u64, now: u64) -> Option<u64> {
    let left = (value & CLOCK).wrapping_sub(now) & CLOCK;
    (value != 0 && left > 0 && left < CLOCK / 2).then_some(left)
}

impl Homes {
    /// An empty table with a part for each of so many workers.
    pub fn new(workers: usize) -> Self {
        let part = || (0..BUCKETS).map(|_| Bucket::default()).collect();
        Self { keyed: RandomState::new(), parts: (0..workers.max(1)).map(|_| part()).collect() }
    }

    /// What stands for a Call-ID.
    pub(crate) fn call(&self, call_id: &str) -> Call {
        let mut hasher = SipHasher13::new();
        hasher.write(call_id.as_bytes());
        // Two zeros are an empty entry.
        Call { key: self.keyed.hash_one(call_id).max(1), seed: hasher.finish() }
    }

    /// The server that has it.
    pub(crate) fn find(&self, call: Call, now: Micros) -> Option<Addr> {
        let now = minutes(now);
        let found = self.parts.iter().filter_map(|part| {
            let entries = bucket(part, call).0.iter();
            let values = entries.map(|entry| (entry.mixed.load(Relaxed), entry.value.load(Relaxed)));
            values.filter(|(mixed, value)| mixed ^ value == call.key).find_map(|(_, value)| {
                // What a dialog says counts more than what a request did, and the later word more than the earlier.
                Some(((value & DIALOG != 0, left(value, now)?), value))
            })
        });
        let (_, value) = found.max_by_key(|(weight, _)| *weight)?;
        Some(((value >> 32) as u32, (value >> 16) as u16))
    }

    /// Enters it into `worker`'s part; `until` is a dialog's end. Where its bucket is full of what lives longer, it is not.
    pub(crate) fn note(&self, worker: usize, call: Call, home: Addr, until: Option<Micros>, now: Micros) {
        let Some(part) = self.parts.get(worker) else { return };
        let at = minutes(now);
        let end = until.map_or(at + PENDING, |until| minutes(until) + 1).min(at + CLOCK / 2 - 1);
        let value = pack(home, until.is_some(), end);
        let entries = &bucket(part, call).0;
        let weight = |value: u64| left(value, at).map(|left| (value & DIALOG != 0, left));
        let mine =
            entries.iter().find(|entry| entry.mixed.load(Relaxed) ^ entry.value.load(Relaxed) == call.key);
        if let Some(entry) = mine {
            let old = entry.value.load(Relaxed);
            let same_server = old >> 32 == value >> 32;
            // A request within a dialog does not make it one that is pending.
            if old != value && !(same_server && weight(old) >= weight(value)) {
                entry.put(call, value);
            }
            return;
        }
        let Some(least) = entries.iter().min_by_key(|entry| weight(entry.value.load(Relaxed))) else {
            return;
        };
        if weight(least.value.load(Relaxed)) <= weight(value) {
            least.put(call, value);
        }
    }
}

impl Entry {
    /// The one writer is the part's worker.
    fn put(&self, call: Call, value: u64) {
        self.mixed.store(call.key ^ value, Relaxed);
        self.value.store(value, Relaxed);
    }
}

fn bucket(part: &[Bucket], call: Call) -> &Bucket {
    &part[(call.key >> 40) as usize % part.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const A: Addr = (0x0a00_0001, 5061);
    const B: Addr = (0x0a00_0002, 5062);

    #[test]
    fn what_one_worker_notes_all_find() {
        let homes = Homes::new(3);
        let now = Micros::from_secs(1000);
        let call = homes.call("a@b");
        assert_eq!(homes.find(call, now), None);
        homes.note(2, call, A, None, now);
        assert_eq!(homes.find(call, now), Some(A));
        assert_eq!(homes.find(call, now.after(PENDING * 60_000_000)), None, "a request is forgotten");
        // Its dialog, on another worker, with another server: that counts, until it ends.
        homes.note(0, call, B, Some(now.after(7_200_000_000)), now);
        assert_eq!(homes.find(call, now.after(7_100_000_000)), Some(B));
        assert_eq!(homes.find(call, now.after(7_400_000_000)), None);
    }

    #[test]
    fn requests_do_not_push_out_dialogs() {
        let homes = Homes::new(1);
        let now = Micros::from_secs(60);
        let dialogs: Vec<Call> = (0..20_000).map(|n| homes.call(&format!("d{n}"))).collect();
        dialogs.iter().for_each(|call| homes.note(0, *call, A, Some(now.after(3_600_000_000)), now));
        let kept = |homes: &Homes| dialogs.iter().filter(|call| homes.find(**call, now) == Some(A)).count();
        let before = kept(&homes);
        assert!(before > 19_900, "{before}");
        for n in 0..300_000 {
            homes.note(0, homes.call(&format!("r{n}")), B, None, now);
        }
        assert_eq!(kept(&homes), before);
    }

    /// A reader may see the new half of an entry and the old one of the other, in either order.
    #[test]
    fn half_a_change_is_nothing() {
        let homes = Homes::new(1);
        let now = Micros::from_secs(60);
        let (old, new) = (homes.call("old"), homes.call("new"));
        let (was, is) = (pack(A, false, 3), pack(B, true, 9));
        for (mixed, value) in [(old.key ^ was, is), (new.key ^ is, was)] {
            for call in [old, new] {
                let entry = &bucket(&homes.parts[0], call).0[0];
                entry.mixed.store(mixed, Relaxed);
                entry.value.store(value, Relaxed);
                assert_eq!(homes.find(call, now), None);
            }
        }
    }

    proptest! {
        /// Against a map that forgets nothing but what is over: with few calls no bucket is full.
        #[test]
        fn as_a_map(steps in prop::collection::vec((0u8..12, any::<bool>(), any::<bool>(), 0u64..9), 1..200)) {
            let homes = Homes::new(1);
            let mut now = 0;
            let mut map: HashMap<u8, (Addr, bool, u64)> = HashMap::new();
            for (n, a, dialog, wait) in steps {
                now += wait;
                let at = Micros::from_secs(now * 60);
                let home = if a { A } else { B };
                let until = dialog.then(|| at.after(30 * 60_000_000));
                let end = if dialog { now + 31 } else { now + PENDING };
                map.retain(|_, (_, _, end)| *end > now);
                let keeps = map.get(&n).is_some_and(|(old, old_dialog, old_end)| {
                    *old == home && (*old_dialog, *old_end) >= (dialog, end)
                });
                if !keeps {
                    map.insert(n, (home, dialog, end));
                }
                homes.note(0, homes.call(&n.to_string()), home, until, at);
                for n in 0..12u8 {
                    let known = map.get(&n).map(|(home, ..)| *home);
                    prop_assert_eq!(homes.find(homes.call(&n.to_string()), at), known);
                }
            }
        }
    }
}
