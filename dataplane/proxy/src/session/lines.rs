// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory that a session consists of, line by line.
//!
//! With tens of thousands of sessions each packet is of one whose state is in no cache, some eighty lines in two pieces. Loaded as they are
//! come upon, each is waited for; named beforehand ([`crate::Engine::prefetch`]) they come together, while the worker is at another packet of the
//! burst. Keys stand among it ([`crate::tls::Secure`]); what does not is what a
//! message seldom asks for. Worker core, once a packet.

use super::Session;

/// A cache line, bytes.
const LINE: usize = 64;

impl Session {
    /// Names the cache lines that it consists of, its servers' among them.
    #[inline]
    pub(crate) fn lines(&self, mut load: impl FnMut(*const u8)) {
        lines_of(self, &mut load);
        self.servers.iter().for_each(|server| lines_of(server, &mut load));
    }
}

#[inline]
fn lines_of<T>(what: &T, load: &mut impl FnMut(*const u8)) {
    let start = std::ptr::from_ref(what).cast::<u8>();
    (0..size_of::<T>()).step_by(LINE).for_each(|at| load(start.wrapping_add(at)));
}
