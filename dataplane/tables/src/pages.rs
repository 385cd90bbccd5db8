// SPDX-License-Identifier: MIT OR Apache-2.0
//! Large arrays of a worker: zeroed, in huge pages where the kernel has them, and taking memory only as they are used.
//!
//! A connection table is looked into at random, so that with pages of 4 KiB nearly every packet misses the TLB as well as the
//! cache. [`Pages`] maps anonymous memory at a border of 2 MiB and asks for transparent huge pages for it alone
//! (`madvise`, which works where the system's setting is `madvise` or `always` and does nothing where it is `never`).
//! The kernel's zeros are the initial value, so that a table for ten million connections costs nothing until they come.
//!
//! The size never changes. Made at start on the main thread, then owned by one worker. Limit: the address space.
#![allow(unsafe_code)]

use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use zerocopy::FromZeros;

/// Bytes of a huge page of x86-64.
const HUGE: usize = 2 << 20;

/// `len` elements, all zero at first.
#[derive(Debug)]
pub struct Pages<T> {
    /// What was mapped.
    map: NonNull<u8>,
    mapped: usize,
    /// The first element, aligned.
    base: NonNull<T>,
    len: usize,
    owns: PhantomData<T>,
}

impl<T: FromZeros + Copy> Pages<T> {
    /// Room for `len` elements, none of which takes memory before it is written.
    ///
    /// # Panics
    /// Where the address space has no room, as an allocation would.
    pub fn new(len: usize) -> Self {
        const { assert!(align_of::<T>() <= 4096 && size_of::<T>() > 0) };
        let bytes = len.checked_mul(size_of::<T>()).filter(|&n| n < isize::MAX as usize - 2 * HUGE);
        let bytes = bytes.expect("a table within the address space").max(1);
        let huge = bytes >= HUGE;
        let mapped = if huge { bytes.next_multiple_of(HUGE) + HUGE } else { bytes.next_multiple_of(4096) };
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: no address is asked for, so no existing mapping is replaced, and the length is not 0.
        let map = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), mapped, prot, flags) };
        let map = NonNull::new(map.unwrap_or_else(|e| panic!("no memory for a table of {bytes} bytes: {e}")));
        let map: NonNull<u8> = map.expect("a mapping is never at address 0").cast();
        let ahead = if huge { map.as_ptr().align_offset(HUGE) } else { 0 };
        // SAFETY: `mapped` has a huge page more than `bytes`, so the aligned start and all elements lie inside.
        let base = unsafe { map.add(ahead) };
        if huge {
            // SAFETY: the range lies inside of the mapping, which is ours alone; the advice changes no contents. A kernel without
            // huge pages refuses it, and small ones do as well.
            let _ = unsafe {
                rustix::mm::madvise(base.as_ptr().cast(), bytes.next_multiple_of(HUGE), Advice::LinuxHugepage)
            };
        }
        Self { map, mapped, base: base.cast(), len, owns: PhantomData }
    }
}

impl<T> Deref for Pages<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `new` mapped room for `len` elements at an aligned `base`, unmapped only by drop; zeros, which is what the kernel
        // gives, are a valid T (FromZeros).
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Pages<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `new` made; T is Copy there, so nothing in it needs to be dropped.
        let unmapped = unsafe { rustix::mm::munmap(self.map.as_ptr().cast(), self.mapped) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

// SAFETY: the memory belongs to the value alone, like a Box<[T]>.
unsafe impl<T: Send> Send for Pages<T> {}
// SAFETY: likewise.
unsafe impl<T: Sync> Sync for Pages<T> {}

#[cfg(all(test, not(loom)))]
mod tests;
