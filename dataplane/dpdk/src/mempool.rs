// SPDX-License-Identifier: MIT OR Apache-2.0
//! Pools of packet buffers.
//!
//! A pool is never freed. To free one soundly it would have to be known that no
//! buffer of it is with a worker, a driver or a NIC; DPDK's counts cannot tell
//! (they are read without synchronisation, and are raised before a buffer has
//! been written back), and a count of our own would cost an atomic operation a
//! packet. Pools are made once, at start, so nothing is lost: a [`Mempool`] is a
//! `Copy` handle, and no buffer can outlive its pool. Housekeeping that attaches
//! and detaches ports uses the same pools for all of them.
//!
//! Any thread may take and give back buffers: the pool is DPDK's multi-producer
//! multi-consumer ring, with a cache for each thread that is an lcore.

use std::ffi::CString;
use std::ptr::NonNull;

use dpdk_sys as sys;

use crate::{Eal, Errno, Error, Mbuf};

/// Bytes before the data of a fresh buffer, for [`Mbuf::prepend`].
const HEADROOM: u16 = sys::RTE_PKTMBUF_HEADROOM as u16;

/// The kind of pool: `Mempool` is `Sync`, so not one of the single-threaded ones,
/// even where EAL's arguments ask for that.
const OPS: &std::ffi::CStr = c"ring_mp_mc";

/// A pool of packet buffers of one size.
#[derive(Debug, Clone, Copy)]
pub struct Mempool {
    raw: NonNull<sys::rte_mempool>,
    capacity: u32,
    data_room: u16,
}

// SAFETY: the pool lives for ever, and its operations take buffers from a ring that is safe for
// many threads, or from a cache that belongs to the calling lcore.
unsafe impl Send for Mempool {}
// SAFETY: as above; the handle itself has no interior state.
unsafe impl Sync for Mempool {}

impl Mempool {
    /// Makes a pool of `capacity` buffers that hold `data_room` bytes each
    /// behind 128 bytes of headroom. `cache` of them at most (512 and two thirds of the
    /// capacity are the limits) may be parked with each worker. A power of two
    /// minus one uses memory best. `name` is at most 25 bytes and unique.
    ///
    /// # Errors
    /// [`Error::Mempool`]: a name that is taken or too long, numbers out of range, not
    /// enough memory.
    pub fn new(_eal: &Eal, name: &str, capacity: u32, data_room: u16, cache: u32) -> Result<Mempool, Error> {
        let refuse = |errno| Error::Mempool { name: name.to_owned(), errno };
        let room = data_room.checked_add(HEADROOM).filter(|_| data_room > 0);
        let room = room.ok_or(refuse(Errno::EINVAL))?;
        let c_name = CString::new(name).map_err(|_| refuse(Errno::EINVAL))?;
        // SAFETY: EAL is up, both strings are NUL-terminated and copied by the callee; it checks
        // the numbers itself. -1 is "any socket".
        let raw = unsafe {
            sys::rte_pktmbuf_pool_create_by_ops(c_name.as_ptr(), capacity, cache, 0, room, -1, OPS.as_ptr())
        };
        let raw = NonNull::new(raw).ok_or_else(|| refuse(Errno::last()))?;
        Ok(Mempool { raw, capacity, data_room })
    }

    /// A buffer with no data in it, or `None` when all are in use.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool is live. A fresh buffer has one segment and one owner: this one.
        unsafe { NonNull::new(sys::shim_pktmbuf_alloc(self.raw.as_ptr())).map(|raw| Mbuf::from_raw(raw)) }
    }

    /// A buffer that holds a copy of `frame`; `None` when all are in use or
    /// the frame is longer than [`Mempool::data_room`].
    pub fn copy_of(&self, frame: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.alloc()?;
        mbuf.append(frame.len()).ok()?.copy_from_slice(frame);
        Some(mbuf)
    }

    /// Buffers there are in all.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Bytes that a fresh buffer has room for.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    /// Buffers not in use, those in workers' caches included. Slow, and only
    /// exact while no other thread uses the pool: for `show` commands and tests.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is live; the count reads the ring's indices and caches' lengths only.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }
}
