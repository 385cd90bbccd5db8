// SPDX-License-Identifier: MIT OR Apache-2.0
//! Regions: contents, kinds, and every descriptor that must be refused.

use super::*;
use std::sync::atomic::Ordering;

fn memfd(len: u64, seals: SealFlags) -> OwnedFd {
    let fd = rustix::fs::memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::fs::ftruncate(&fd, len).unwrap();
    rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
    fd
}

#[test]
fn sealed_bytes_come_back_through_a_descriptor_and_cannot_be_written() {
    let made = Region::sealed("t", b"some bytes").unwrap();
    assert_eq!(made.bytes(), b"some bytes");
    let again = Region::map_ro(made.fd().try_clone_to_owned().unwrap()).unwrap();
    drop(made);
    assert_eq!(again.bytes(), b"some bytes");
    let mut file = std::fs::File::from(again.fd().try_clone_to_owned().unwrap());
    assert!(file.write_all(b"x").is_err());
    assert!(file.set_len(5).is_err());
    assert!(Region::map_rw(file.into()).is_err());
}

#[test]
fn shared_words_are_seen_by_both_mappings() {
    let a = Region::shared("t", 4096 + 8).unwrap();
    let b = Region::map_rw(a.fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(b.atomics().len(), 513);
    a.atomics()[512].store(7, Ordering::Release);
    assert_eq!(b.atomics()[512].load(Ordering::Acquire), 7);
    assert!(std::fs::File::from(a.fd().try_clone_to_owned().unwrap()).set_len(8).is_err());
}

#[test]
fn an_unsealed_descriptor_is_refused_by_what_it_lacks() {
    let none = memfd(64, SealFlags::empty());
    assert_eq!(Region::map_ro(none).unwrap_err(), RegionError::Unsealed { missing: ALL_SEALS });
    let size_only = memfd(64, SIZE_SEALS);
    assert_eq!(Region::map_ro(size_only).unwrap_err(), RegionError::Unsealed { missing: SealFlags::WRITE });
    let no_shrink = memfd(64, SealFlags::GROW);
    assert_eq!(Region::map_rw(no_shrink).unwrap_err(), RegionError::Unsealed { missing: SealFlags::SHRINK });
    let future = memfd(64, SIZE_SEALS | SealFlags::FUTURE_WRITE);
    assert_eq!(Region::map_ro(future).unwrap_err(), RegionError::Unsealed { missing: SealFlags::WRITE });
}

#[test]
fn bad_lengths_are_refused() {
    assert_eq!(Region::sealed("t", b"").unwrap_err(), RegionError::Length(0));
    assert_eq!(Region::shared("t", 0).unwrap_err(), RegionError::Length(0));
    assert_eq!(Region::shared("t", 12).unwrap_err(), RegionError::Ragged(12));
    assert_eq!(Region::map_ro(memfd(0, ALL_SEALS)).unwrap_err(), RegionError::Length(0));
    let huge = MAX_REGION as u64 + 8;
    assert_eq!(Region::map_rw(memfd(huge, SIZE_SEALS)).unwrap_err(), RegionError::Length(huge));
}

#[test]
fn what_is_no_memfd_is_refused() {
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let refused = Region::map_ro(file).unwrap_err();
    // A file on tmpfs has seals but can never get the ones needed; any other file system knows no seals.
    assert!(matches!(refused, RegionError::NotMemfd | RegionError::Unsealed { .. }), "{refused:?}");
    let (pipe, _keep) = std::io::pipe().unwrap();
    assert_eq!(Region::map_rw(pipe.into()).unwrap_err(), RegionError::NotMemfd);
}
