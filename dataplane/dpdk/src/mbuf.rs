// SPDX-License-Identifier: MIT OR Apache-2.0
//! One packet buffer and its owner.
//!
//! An [`Mbuf`] is a pointer and nothing else (`repr(transparent)`), so that an
//! array of them is what the burst functions of DPDK want. What every `Mbuf` holds
//! to, checked where one enters (a pool's fresh buffer, the receive queue):
//! - it points to a live `rte_mbuf` that nothing else refers to (`refcnt` 1),
//! - it is one segment: `nb_segs` 1, `next` null, `pkt_len` equal to `data_len`,
//! - its data lies within its buffer: `data_off + data_len <= buf_len`.
//!
//! Lengths are changed by our own code on the fields rather than by DPDK's inline
//! functions: with one segment that is an addition, and it can be inlined.
//! Bytes that come into view by `append` and `prepend` hold what an earlier packet
//! left there: the caller overwrites all of them before the frame goes out.

use std::fmt;
use std::ptr::NonNull;

use dpdk_sys as sys;

use crate::Mempool;

#[cfg(test)]
mod tests;

/// The buffer is not large enough, or holds fewer bytes than were to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room in the packet buffer")]
pub struct NoRoom;

/// A packet buffer, given back to its pool when dropped.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: the buffer has one owner, and any thread may give it back to its pool (Mempool is Sync).
unsafe impl Send for Mbuf {}
// SAFETY: `&Mbuf` only reads.
unsafe impl Sync for Mbuf {}

impl Mbuf {
    /// # Safety
    /// `raw` fulfils what the module's header lists, and the caller owns it.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Mbuf {
        Mbuf(raw)
    }

    #[inline]
    pub(crate) fn raw(&self) -> &sys::rte_mbuf {
        // SAFETY: live, and written only through `&mut self`.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(crate) fn raw_mut(&mut self) -> &mut sys::rte_mbuf {
        // SAFETY: live, and `&mut self` is the only way to it.
        unsafe { self.0.as_mut() }
    }

    /// Bytes of data.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.raw().data_len)
    }

    /// Whether there is no data.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that [`Mbuf::prepend`] has room for.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.raw().data_off)
    }

    /// Bytes that [`Mbuf::append`] has room for.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let raw = self.raw();
        usize::from(raw.buf_len).saturating_sub(usize::from(raw.data_off) + usize::from(raw.data_len))
    }

    /// The data.
    #[inline]
    pub fn data(&self) -> &[u8] {
        let raw = self.raw();
        // SAFETY: data_off + data_len <= buf_len, and buf_addr points to buf_len bytes, mapped
        // and zeroed by the kernel before anybody wrote to them, so never uninitialised.
        unsafe {
            let start = raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off));
            std::slice::from_raw_parts(start, usize::from(raw.data_len))
        }
    }

    /// The data, to be changed in place.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let raw = self.raw_mut();
        // SAFETY: as in `data`; refcnt 1 and `&mut self` make this the only reference.
        unsafe {
            let start = raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off));
            std::slice::from_raw_parts_mut(start, usize::from(raw.data_len))
        }
    }

    /// The data of a buffer whose length changes, in the one place that does it.
    #[inline]
    fn set_span(&mut self, data_off: u16, data_len: u16) {
        let raw = self.raw_mut();
        debug_assert!(u32::from(data_off) + u32::from(data_len) <= u32::from(raw.buf_len));
        raw.data_off = data_off;
        raw.data_len = data_len;
        raw.pkt_len = u32::from(data_len);
    }

    /// Adds `n` bytes behind the data and gives them to be filled.
    ///
    /// # Errors
    /// [`NoRoom`] when the tailroom is less; nothing has changed then.
    #[inline]
    pub fn append(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        if n > self.tailroom() {
            return Err(NoRoom);
        }
        // n <= tailroom <= u16::MAX, and so is the sum.
        let old = self.len();
        self.set_span(self.raw().data_off, (old + n) as u16);
        Ok(&mut self.data_mut()[old..])
    }

    /// Adds `n` bytes before the data and gives them to be filled.
    ///
    /// # Errors
    /// [`NoRoom`] when the headroom is less; nothing has changed then.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        if n > self.headroom() {
            return Err(NoRoom);
        }
        let data_off = self.raw().data_off - n as u16;
        self.set_span(data_off, (self.len() + n) as u16);
        Ok(&mut self.data_mut()[..n])
    }

    /// Cuts `n` bytes from the front.
    ///
    /// # Errors
    /// [`NoRoom`] when there are fewer; nothing has changed then.
    #[inline]
    pub fn adj(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.len() {
            return Err(NoRoom);
        }
        let data_off = self.raw().data_off + n as u16;
        self.set_span(data_off, (self.len() - n) as u16);
        Ok(())
    }

    /// Cuts `n` bytes from the end.
    ///
    /// # Errors
    /// [`NoRoom`] when there are fewer; nothing has changed then.
    #[inline]
    pub fn trim(&mut self, n: usize) -> Result<(), NoRoom> {
        if n > self.len() {
            return Err(NoRoom);
        }
        self.set_span(self.raw().data_off, (self.len() - n) as u16);
        Ok(())
    }

    /// A second buffer, from `pool`, with the same data; `None` when the pool
    /// is empty or its buffers are too small. Never shares memory with the first.
    pub fn try_copy(&self, pool: &Mempool) -> Option<Mbuf> {
        pool.copy_of(self.data())
    }

    /// Starts to load the first cache line of the data.
    #[inline]
    pub fn prefetch(&self) {
        let raw = self.raw();
        prefetch(raw.buf_addr.cast::<u8>().wrapping_add(usize::from(raw.data_off)));
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: owned, and not used again.
        unsafe { sys::shim_pktmbuf_free(self.0.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf").field("len", &self.len()).field("headroom", &self.headroom()).finish()
    }
}

/// Asks for the cache line at `address`, which may be any, in the first cache.
#[inline(always)]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch cannot fault, whatever the address; SSE is part of x86_64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Asks for the cache line at `address`, which may be any, in the second cache.
#[inline(always)]
pub(crate) fn prefetch_near(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: as in `prefetch`.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
