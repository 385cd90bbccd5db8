// SPDX-License-Identifier: MIT OR Apache-2.0
//! What operators do with trustpoints beside configuring them: names for certificates to come.
//!
//! `subject-name` lines are checked with [`name`] as they are typed, so that a name that no certificate could carry is refused by
//! its line and not when the certificate is asked for.

pub mod name;
