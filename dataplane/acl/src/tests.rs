// SPDX-License-Identifier: MIT OR Apache-2.0
//! The classifier against the plain model.

mod diff;
mod hostile;
mod model;
