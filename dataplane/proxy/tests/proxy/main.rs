// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole sessions in a simulated network: real TCP, TLS and SIP at both ends of a real engine, virtual time.
//!
//! `net` is the network, `pki` makes certificates, `lists` are the domain lists, `scene` puts a usual case together.
//! The tests: `pass` (what goes through and what does not), `ends` (how sessions end), `hostile` (what peers may
//! try), `bounds` (what one address, or a slow peer, may cost), `attacks` (the list of them, one by one), `torture` (RFC 4475),
//! `dialogs`, `nat` (addresses in messages), `pool` (several servers behind one connection), `targets` (several edges of a foreign domain, and what a domain may send), `rough` (loss, reordering, scale),
//! `foreseen` (`packet-tracer sip`), `vouched` (who is let go later), `trust` (whose certificates are taken where, and what of TLS is spoken).

mod lists;
mod net;
mod pki;
mod scene;

mod attacks;
mod bounds;
mod dialogs;
mod ends;
mod foreseen;
mod hostile;
mod inspected;
mod nat;
mod pass;
mod pool;
mod rough;
mod targets;
mod torture;
mod trust;
mod vouched;
