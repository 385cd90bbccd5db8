// SPDX-License-Identifier: MIT OR Apache-2.0
//! One function a command: the words after the command's own become a [`Command`](super::raw::Command). Everything that can
//! be said of a line alone is checked here; what needs other lines is for `apply` and `check`.

pub mod acl;
pub mod crypto;
pub mod federation;
pub mod group;
pub mod inspect;
pub mod interface;
pub mod logging;
pub mod nat;
pub mod object;
pub mod pool;
pub mod sip;
pub mod system;
pub mod time;
pub mod users;
