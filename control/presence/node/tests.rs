// SPDX-License-Identifier: MIT OR Apache-2.0
//! The core against peers and devices played by the tests, with a real store behind it.

mod accounts;
mod chaos;
mod client;
mod im;
mod lab;
mod limits;
mod nodes;
mod polite;
mod presence;
mod publish;
mod registrar;
mod restarts;
