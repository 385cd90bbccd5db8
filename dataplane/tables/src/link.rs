// SPDX-License-Identifier: MIT OR Apache-2.0
//! The link between the halves: one unix SOCK_SEQPACKET connection, one JSON message a datagram, descriptors beside it.
//!
//! Control connects and says [`ToDataplane`], the dataplane's housekeeping thread listens and says [`ToControl`].
//! JSON, because nothing here is hot: bulk crosses as memory, and a message that a person can read in `strace` is
//! worth more than its bytes. What is in the messages: `messages.rs`; rows of `show` commands: `rows.rs`; what the dataplane has to
//! tell unasked: `event.rs`; what `packet-tracer` asks and is told: `trace.rs`, of SIP `trace_sip.rs`; what is to be captured: `capture.rs`; the socket: `socket.rs`.
//!
//! Bounds: a datagram is at most [`MAX_DATAGRAM`] bytes and [`MAX_FDS`] descriptors. Rows are cut into as many
//! messages as they need ([`ToControl::rows`]), texts that come from peers are clipped ([`MAX_TEXT`], [`MAX_IDENTITY`]).
//! A message states how many descriptors belong to it ([`Message::fds`]); one with fewer or more is refused.

mod capture;
mod echo;
mod event;
mod flow_note;
mod messages;
mod rows;
mod socket;
#[cfg(all(test, not(loom)))]
mod tests;
mod trace;
mod trace_sip;

pub use capture::{CaptureEnd, CaptureMatch, CaptureSpec, Source};
pub use echo::{Echo, Echoed};
pub use event::{AclFlow, BY_LEVEL, Bound, ClassBound, Event, NO_CONNECTION, Packet5};
pub use flow_note::{FlowEnd, FlowNote, MAX_NOTES, Over, Place};
pub use messages::{LINK_LAYOUT, Message, ToControl, ToDataplane};
pub use rows::{
    Addr, ArpRow, ClassRow, ConnRow, End, End2, Filter, HostRow, MAX_IDENTITY, MAX_TEXT, MemberRow, PoolRow,
    PortRow, ProxyRow, Rows, SipRow, What, XlateRow,
};
pub use socket::{LinkError, LinkListener, LinkSocket, MAX_DATAGRAM, MAX_FDS};
pub use trace::{AclPlace, Fate, Known, Phase, Probe, Socket, Trace, Translator};
pub use trace_sip::{MAX_SIP_PROBE, SipCheck, SipFate, SipProbe, SipStep, SipTrace};
