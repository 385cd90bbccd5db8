// SPDX-License-Identifier: MIT OR Apache-2.0
//! The poll-mode half of fedgate: DPDK ports, firewall, PAT and the TLS proxy on dedicated cores.
//!
//! [`launch`] starts DPDK and the threads; [`house`] is the housekeeping thread (control's socket, ports, policy images);
//! [`worker`] is the packet path, one poll loop a core. It reads no configuration file, resolves no name and opens no
//! network socket of the kernel's: what it knows comes from control over one unix socket, and it forwards by the
//! last good policy when control is gone.
#![forbid(unsafe_code)]

pub mod house;
pub mod launch;
pub mod worker;
