// SPDX-License-Identifier: MIT OR Apache-2.0
//! The node as it is run: the binary on loopback, with peers, devices and tools around it.

mod baresip;
mod harness;
mod hostile;
mod http;
mod killed;
mod ldap;
#[path = "../../../names/tests/server.rs"]
#[expect(dead_code, reason = "the appliance's tests of names misuse it in more ways")]
mod names;
mod nodes;
mod page;
#[path = "../postgres/mod.rs"]
mod postgres;
mod sipp;
mod soap;
mod tls;
mod web;
