// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control plane.
#![forbid(unsafe_code)]
pub mod clock;
pub mod config;
pub mod names;
pub mod operate;
pub mod policy;
pub mod trust;
