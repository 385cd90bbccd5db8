// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether those who have sessions would still be let in: sessions of presence live for days, and trust does not.
//!
//! A new policy may have dropped a CA or brought a revocation list, and certificates end. So each session's peers are looked at again, all within a
//! round: a round begins with a policy and else once a minute. Where a face's trust is the same to the byte (the end was taken over, see
//! [`crate::tls`]) and the certificate has not ended, that is two comparisons; else the chain is verified as in a handshake, one session
//! a millisecond, so that 50,000 of them cost the packets of a worker nothing that can be felt. Whoever fails is told of and let go.
//!
//! Called by [`Engine::poll`] on the worker's core. Reads the time of day, once a step.

use super::Engine;
use crate::api::{Micros, Output};
use crate::tls::ProxyTls;
use fedgate_tables::counters::{Counter, Stat};
use rustls::pki_types::UnixTime;
use std::sync::Arc;

/// Between two steps of a round, and between the beginnings of two rounds, microseconds.
const STEP: u64 = 1_000;
const ROUND: u64 = 60_000_000;
/// Sessions looked at in a step; one is verified at most.
const SESSIONS: usize = 64;

/// Where the round is.
#[derive(Default)]
pub(super) struct Trust {
    current: Vec<Arc<ProxyTls>>,
    cursor: usize,
    began: Micros,
    /// None before the first policy.
    next: Option<Micros>,
}

impl Trust {
    pub(super) fn next(&self) -> Option<Micros> {
        self.next
    }
}

impl Engine {
    /// From now on peers are judged by these proxies; by their own where it is not among them.
    pub fn trust(&mut self, now: Micros, tls: Vec<Arc<ProxyTls>>) {
        self.trust = Trust { current: tls, cursor: 0, began: now, next: Some(now) };
    }

    /// One step of a round.
    #[cold]
    pub(super) fn look_at_trust<O: Output>(&mut self, now: Micros, out: &mut O) {
        let Trust { current, cursor, began, .. } = &mut self.trust;
        if *cursor >= self.slots.len() {
            (*cursor, *began) = (0, now);
        }
        let (from, unix) = (*cursor, UnixTime::now());
        let mut woken = Vec::new();
        for slot in from..self.slots.len().min(from + SESSIONS) {
            *cursor = slot + 1;
            let Some(session) = self.slots[slot].session.as_deref_mut() else { continue };
            let (verified, failed) = session.look_at_trust(current, unix, now, out);
            if failed > 0 {
                out.count(Counter::Stat(Stat::TlsUnvouched), failed);
                woken.push(slot as u32);
            }
            if verified {
                break;
            }
        }
        let over = *cursor >= self.slots.len();
        self.trust.next = Some(if over { began.after(ROUND).max(now.after(STEP)) } else { now.after(STEP) });
        woken.into_iter().for_each(|slot| self.wake(slot));
    }
}
