// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS proxy sessions: a TCP endpoint and rustls on both sides; sans-IO.
//!
//! A connection that policy sends to a `tls-proxy` ends here: we are the server to whoever opened it (the client
//! leg) and the client to whoever was called (the server leg), at the addresses that NAT says. SIP messages are
//! framed out of the plaintext, checked (fedgate-sip) and handed on byte for byte, or answered by us and not
//! handed on. The server leg is opened by the first message that passes, so that a peer without permission
//! costs the inside nothing.
//!
//! One [`Engine`] a worker, called on that worker's core only: packets, time and policy go in as arguments;
//! packets, events and counts come out through [`Output`]. No clock (rustls reads the time of day once a
//! handshake, for certificate dates), no socket, no thread.
//!
//! Bounds: sessions and handshakes in flight, in all and of one address, memory in all, work a call, and a time limit on every
//! state that a peer could sit in ([`Limits`], [`Timeouts`]). Files: `engine` (the table of sessions) -> `session` (one
//! proxied connection) -> `side` (TCP + TLS + buffer of one leg) -> `tcp` (one endpoint); `sip` is the only file that
//! knows messages, `tls` the only one that makes rustls configurations.
#![forbid(unsafe_code)]

mod api;
mod deadlines;
mod edges;
mod engine;
mod event;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod identity;
mod inspected;
mod lists;
mod media;
mod ours;
pub mod pool;
mod session;
mod side;
mod sip;
mod sources;
mod tcp;
pub mod tls;
mod transactions;
mod translated;
mod watch;

pub use api::{
    AbortReason, CloseReason, Context, InputError, Leg, Limits, Met, Micros, OpenError, OpenParams, Output,
    Road, SessionId, Timeouts,
};
pub use engine::Engine;
pub use event::Event;
pub use lists::{Federated, OwnDomains};
pub use media::{CallStep, MediaNote, RtpRules};
pub use tcp::Addr;
pub use tls::{ProxyTls, TlsConfigError};
