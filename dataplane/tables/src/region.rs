// SPDX-License-Identifier: MIT OR Apache-2.0
//! Memory that crosses the process border: memfd create, seal, map.
//!
//! Two kinds, told apart by type. [`Region<Sealed>`] is immutable: write-, grow- and shrink-sealed, read as plain
//! bytes. [`Region<Shared>`] has its size sealed and stays writable; it is reached only through atomics, because the
//! other process may write at any time.
//!
//! The seals are what makes a foreign descriptor safe to map. The kernel gives `F_SEAL_WRITE` only when no writable
//! mapping exists and never again grants one, so `&[u8]` cannot change under us; the size seals mean that no page of
//! the mapping can vanish, so no access raises SIGBUS. A descriptor without them is refused, and so is one that is
//! not on tmpfs (a hugetlb memfd can raise SIGBUS when its pool is empty). Control makes and sends regions; the
//! housekeeping thread maps what it is sent; workers only read. Limit: [`MAX_REGION`] bytes.
#![allow(unsafe_code)]

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use std::io::Write as _;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Largest region, bytes: 4 GiB. The counters of 16 workers are virtually 0.7 GiB (sparse), the largest domain table 0.6 GiB.
pub const MAX_REGION: usize = 1 << 32;

/// Marker: the bytes can never change again.
#[derive(Debug)]
pub enum Sealed {}
/// Marker: the size can never change, the words can.
#[derive(Debug)]
pub enum Shared {}

/// A mapped memfd; unmapped and closed on drop.
#[derive(Debug)]
pub struct Region<K> {
    base: NonNull<u8>,
    len: usize,
    fd: OwnedFd,
    kind: PhantomData<K>,
}

/// Why memory could not be made, or a descriptor was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegionError {
    /// A system call failed.
    #[error("{call}: {errno}")]
    Os {
        /// The call.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The descriptor is no memfd on tmpfs that can be sealed.
    #[error("descriptor is not a sealable memfd")]
    NotMemfd,
    /// It lacks seals without which mapping it would not be safe.
    #[error("memfd lacks seals {missing:?}")]
    Unsealed {
        /// The seals it lacks.
        missing: SealFlags,
    },
    /// It has no bytes, or more than [`MAX_REGION`].
    #[error("memfd of {0} bytes: must be 1..={MAX_REGION}")]
    Length(u64),
    /// A shared region is not a whole number of 8-byte words.
    #[error("shared memfd of {0} bytes is not a multiple of 8")]
    Ragged(usize),
}

/// Names the system call of an error.
fn os(call: &'static str) -> impl Fn(Errno) -> RegionError {
    move |errno| RegionError::Os { call, errno }
}

const SIZE_SEALS: SealFlags = SealFlags::GROW.union(SealFlags::SHRINK);
const ALL_SEALS: SealFlags = SIZE_SEALS.union(SealFlags::WRITE);
/// `TMPFS_MAGIC` of statfs(2): what every memfd without MFD_HUGETLB reports.
const TMPFS_MAGIC: i64 = 0x0102_1994;

impl Region<Sealed> {
    /// Makes a region that holds `bytes` for ever. `name` shows in `/proc/PID/maps`.
    ///
    /// # Errors
    /// Empty or too long `bytes`, or the kernel's refusal.
    pub fn sealed(name: &str, bytes: &[u8]) -> Result<Self, RegionError> {
        let fd = create(name, bytes.len())?;
        let mut file = std::fs::File::from(fd);
        file.write_all(bytes).map_err(|e| os("write")(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let fd = OwnedFd::from(file);
        rustix::fs::fcntl_add_seals(&fd, ALL_SEALS | SealFlags::SEAL).map_err(os("F_ADD_SEALS"))?;
        Self::map_ro(fd)
    }

    /// Maps a foreign descriptor for reading. The length is the kernel's, never the sender's word.
    ///
    /// # Errors
    /// Not a memfd, not sealed against writing and resizing, bad length, or the kernel's refusal.
    pub fn map_ro(fd: OwnedFd) -> Result<Self, RegionError> {
        let len = check(&fd, ALL_SEALS)?;
        // Private, because kernels before 6.7 refuse MAP_SHARED on a write-sealed memfd even for reading; with
        // contents that cannot change the two are the same.
        let base = map(&fd, len, ProtFlags::READ, MapFlags::PRIVATE)?;
        Ok(Self { base, len, fd, kind: PhantomData })
    }

    /// The contents; page-aligned.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `map` gave `len` readable bytes at `base`, unmapped only by drop, which needs this borrow to have
        // ended. They are initialised (memfd pages start as zeros) and immutable: `check` saw F_SEAL_WRITE, which
        // the kernel grants only without writable mappings and never takes back.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl Region<Shared> {
    /// Makes a writable region of `len` bytes, all zero, whose size is sealed. Pages take memory when first written.
    ///
    /// # Errors
    /// `len` is 0, too long or no multiple of 8, or the kernel's refusal.
    pub fn shared(name: &str, len: usize) -> Result<Self, RegionError> {
        let fd = create(name, len)?;
        rustix::fs::fcntl_add_seals(&fd, SIZE_SEALS | SealFlags::SEAL).map_err(os("F_ADD_SEALS"))?;
        Self::map_rw(fd)
    }

    /// Maps a foreign descriptor for reading and writing.
    ///
    /// # Errors
    /// Not a memfd, size not sealed, bad length, or the kernel's refusal.
    pub fn map_rw(fd: OwnedFd) -> Result<Self, RegionError> {
        let len = check(&fd, SIZE_SEALS)?;
        if !len.is_multiple_of(size_of::<AtomicU64>()) {
            return Err(RegionError::Ragged(len));
        }
        let base = map(&fd, len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)?;
        Ok(Self { base, len, fd, kind: PhantomData })
    }

    /// The region as words.
    #[inline]
    pub fn atomics(&self) -> &[AtomicU64] {
        // SAFETY: `map` gave `len` readable and writable bytes at a page-aligned `base`, unmapped only by drop; the
        // size is sealed, so every page stays backed. Zeroed memory is a valid AtomicU64, whole words were checked
        // in `map_rw`, and all access in either process is atomic.
        unsafe {
            std::slice::from_raw_parts(
                self.base.as_ptr().cast::<AtomicU64>(),
                self.len / size_of::<AtomicU64>(),
            )
        }
    }
}

impl<K> Region<K> {
    /// The descriptor, to be sent over the link.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: an empty region cannot be made.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<K> Drop for Region<K> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping `map` made for this value; no borrow of it can outlive `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}

// SAFETY: the mapping belongs to the process, not to a thread, and is reached through `&self` only as immutable bytes
// (Sealed) or as atomics (Shared).
unsafe impl<K> Send for Region<K> {}
// SAFETY: as for Send.
unsafe impl<K> Sync for Region<K> {}

/// A new memfd of `len` zero bytes, not yet sealed.
fn create(name: &str, len: usize) -> Result<OwnedFd, RegionError> {
    if len == 0 || len > MAX_REGION {
        return Err(RegionError::Length(len as u64));
    }
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(os("memfd_create"))?;
    rustix::fs::ftruncate(&fd, len as u64).map_err(os("ftruncate"))?;
    Ok(fd)
}

/// The length of a descriptor that may be mapped. Seals are read before the size: once they stand, it is final.
fn check(fd: &OwnedFd, wanted: SealFlags) -> Result<usize, RegionError> {
    let seals = rustix::fs::fcntl_get_seals(fd).map_err(|_| RegionError::NotMemfd)?;
    if rustix::fs::fstatfs(fd).map_err(os("fstatfs"))?.f_type as i64 != TMPFS_MAGIC {
        return Err(RegionError::NotMemfd);
    }
    if !seals.contains(wanted) {
        return Err(RegionError::Unsealed { missing: wanted - seals });
    }
    let bytes = rustix::fs::fstat(fd).map_err(os("fstat"))?.st_size as u64;
    match usize::try_from(bytes) {
        Ok(len) if (1..=MAX_REGION).contains(&len) => Ok(len),
        _ => Err(RegionError::Length(bytes)),
    }
}

fn map(fd: &OwnedFd, len: usize, prot: ProtFlags, flags: MapFlags) -> Result<NonNull<u8>, RegionError> {
    // SAFETY: no address is asked for, so no existing mapping is replaced; `len` is not 0 and is the sealed size of
    // `fd`, so every page of it is backed.
    let base =
        unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, prot, flags, fd, 0) }.map_err(os("mmap"))?;
    NonNull::new(base.cast()).ok_or(RegionError::Os { call: "mmap", errno: Errno::NOMEM })
}

#[cfg(all(test, not(loom)))]
mod tests;
