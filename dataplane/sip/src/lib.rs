// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIP over a stream: framing, scanning, the domain verdict, answers; sans-IO.
//!
//! Bytes go in, decisions come out; nothing here owns a socket, a clock or a source of randomness. The path of a
//! message is the order of the modules:
//!
//! 1. [`frame::Framer`] cuts messages out of a TLS stream by Content-Length, and nothing else.
//! 2. [`message::Message::scan`] reads one message strictly, without copying or allocating. What it does not
//!    understand as the RFC 3261 grammar does, it refuses: a border that reads a message differently from the server
//!    behind it can be walked around.
//! 3. [`verdict`] asks the three questions: is the From domain permitted, does the peer's certificate
//!    ([`identity::PeerIdentity`]) vouch for it, is the target ours.
//!    Messages of a dialog that is known ([`dialog`]) need only be its peer's; what they assert is held to the same
//!    ([`asserted`]).
//!    What passes may be held to an operator's own rules ([`inspect`]), and to what its domain may send ([`partner`]).
//! 4. [`answer`] composes the refusal where one is owed.
//!
//! [`domain::Domain`] is the canonical form in which all names are compared; control uses it for its lists too, so
//! that both halves agree on what equal means.
//!
//! The dataplane's workers call 1-3 for each message; only 4, and names that are not plain ASCII, touch the heap.
//! A message that passes is forwarded byte for byte as it came, but for what [`edit`] cuts out of it or puts in: where NAT changes
//! addresses, those that a message names ([`translate`]) and those of its media ([`sdp`]).
#![forbid(unsafe_code)]

pub mod address;
pub mod answer;
pub mod asserted;
pub mod dialog;
pub mod domain;
pub mod edit;
mod fault;
pub mod frame;
pub mod headers;
pub mod identity;
pub mod inspect;
pub mod message;
mod method;
pub mod named;
pub mod partner;
mod scan;
pub mod sdp;
pub mod translate;
pub mod uri;
pub mod verdict;
pub mod via;
