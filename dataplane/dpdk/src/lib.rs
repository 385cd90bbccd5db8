// SPDX-License-Identifier: MIT OR Apache-2.0
//! The part of DPDK that fedgate uses, made safe.
//!
//! What the types hold to:
//! - [`Eal`] exists once a process, only as `&'static Eal`, and is never torn
//!   down. Everything else takes it as proof that DPDK is up.
//! - A [`Mempool`] lives as long as the process, so no [`Mbuf`] outlives its pool.
//! - An [`Mbuf`] owns one buffer of one segment that nothing else refers to. It
//!   moves into the driver when sent, and goes back to its pool when dropped: it
//!   cannot leak but by `mem::forget`, nor be freed twice.
//! - A [`Port`] closes its device when it and all its queues are gone; an
//!   [`RxQueue`] or [`TxQueue`] therefore never polls a closed device. Each queue
//!   exists once and is used by `&mut`, so no two threads poll the same one.
//!
//! Threads: bursts and mbufs belong to the workers started by [`Eal::launch`];
//! ports are set up and read by one housekeeping thread. Errors of set-up are
//! [`Error`]; the per-packet calls have none but "no room".
//!
//! Limits: single-segment frames (a chain that arrives is freed and counted), no offloads, no RSS configuration, no secondary processes.

mod burst;
mod cpus;
mod eal;
mod error;
mod heap;
mod launch;
mod mbuf;
mod mempool;
mod port;
mod queue;
mod stats;
pub mod testing;

pub use burst::{BURST, Burst, Drain};
pub use cpus::{allowed_cpus, pin_thread};
pub use eal::{Eal, EalOptions, Huge};
pub use error::{Errno, Error};
pub use launch::WorkerHandle;
pub use mbuf::{Mbuf, NoRoom};
pub use mempool::Mempool;
pub use port::{Abilities, Port, PortConfig, RSS_KEY_LEN, RSS_TABLE, Rss, Spread};
pub use queue::{RxQueue, TxQueue};
pub use stats::{Link, Stats};

/// The time stamp counter of this CPU, in ticks of [`Eal::tsc_hz`].
#[inline]
pub fn tsc() -> u64 {
    // SAFETY: reads a register, touches no memory.
    unsafe { dpdk_sys::shim_rdtsc() }
}

/// Starts to load the first cache line of `what`, to be used at once or nearly: into the first cache.
#[inline(always)]
pub fn prefetch<T>(what: &T) {
    mbuf::prefetch(std::ptr::from_ref(what).cast());
}

/// [`prefetch`] of the line at an address, which may be any.
#[inline(always)]
pub fn prefetch_at(address: *const u8) {
    mbuf::prefetch(address);
}

/// Starts to load the first cache line of `what`, to be used some hundred cycles on: into the second cache.
///
/// What misses all caches is asked for this way. The first cache has few places for misses under way (about twenty); a burst of prefetches into
/// it waits for them and is then waited for, where the second has room for a burst's (docs/performance.md).
#[inline(always)]
pub fn prefetch_near<T>(what: &T) {
    mbuf::prefetch_near(std::ptr::from_ref(what).cast());
}

/// [`prefetch_near`] of the line at an address, which may be any.
#[inline(always)]
pub fn prefetch_near_at(address: *const u8) {
    mbuf::prefetch_near(address);
}

/// Tells the CPU that this is a busy-wait loop.
#[inline]
pub fn pause() {
    std::hint::spin_loop();
}
