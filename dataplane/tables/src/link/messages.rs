// SPDX-License-Identifier: MIT OR Apache-2.0
//! The messages of the link, both ways, and which of them carry descriptors.
//!
//! The first message each way is the greeting; a peer with another [`LINK_LAYOUT`] is told so and let go, before
//! any message is misread. An `id` is chosen by control and comes back in the answers. The dataplane answers
//! in the order of the questions, but events may stand between. Unknown messages and fields are errors.

use super::capture::CaptureSpec;
use super::echo::{Echo, Echoed};
use super::event::Event;
use super::rows::{Filter, Rows, What};
use super::trace::{Probe, Trace};
use super::trace_sip::{SipProbe, SipTrace};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Changes with any message; part of the greeting.
pub const LINK_LAYOUT: u32 = 10;

/// What can go through a [`super::LinkSocket`].
pub trait Message: Serialize + DeserializeOwned {
    /// How many descriptors travel with it.
    fn fds(&self) -> usize;
}

/// Control speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ToDataplane {
    /// First; answered by [`ToControl::HelloAck`].
    Hello {
        /// [`LINK_LAYOUT`].
        layout: u32,
        /// Control's process.
        pid: u32,
    },
    /// A policy segment, its descriptor beside it; answered by `Adopted` or `Refused` with the same generation.
    Policy {
        /// The segment's generation.
        generation: u64,
    },
    /// A domain table, its descriptor beside it; answered as a policy is.
    Domains {
        /// The table's generation.
        generation: u64,
    },
    /// Asks for rows; answered by [`ToControl::Rows`], the last with `done`.
    Dump {
        /// Comes back.
        id: u64,
        /// Of which kind.
        what: What,
        /// Only these.
        filter: Filter,
    },
    /// `clear conn`, `clear xlate`…; answered by [`ToControl::Cleared`].
    Clear {
        /// Comes back.
        id: u64,
        /// Of which kind.
        what: What,
        /// Only these.
        filter: Filter,
    },
    /// What is to be captured from now on, in the place of what was: at most [`crate::capture::MAX_CAPTURES`]. With some, the segment with a ring
    /// a worker is beside it ([`crate::capture`]).
    Capture {
        /// Each has the bit of its place.
        captures: Vec<Option<CaptureSpec>>,
    },
    /// What would become of a packet; answered by [`ToControl::Traced`].
    Trace {
        /// Comes back.
        id: u64,
        /// The packet.
        probe: Probe,
    },
    /// An echo request to be sent; answered by [`ToControl::Echoed`], unless nobody answers it.
    Echo {
        /// Comes back.
        id: u64,
        /// Which.
        echo: Echo,
    },
    /// What would become of a SIP request; answered by [`ToControl::SipTraced`].
    TraceSip {
        /// Comes back.
        id: u64,
        /// The request.
        probe: SipProbe,
    },
    /// Answered by [`ToControl::Pong`].
    Ping {
        /// Comes back.
        id: u64,
    },
}

/// The dataplane speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum ToControl {
    /// Answers `Hello`. Descriptors: the counters; then the domain table, where `domains_generation` is not 0; then
    /// the policy in force, where `policy_generation` is not 0.
    HelloAck {
        /// [`LINK_LAYOUT`].
        layout: u32,
        /// The dataplane's process.
        pid: u32,
        /// When it started, seconds since 1970.
        started_unix: u64,
        /// Of the policy in force; 0 for none.
        policy_generation: u64,
        /// Of the domain table in force; 0 for none.
        domains_generation: u64,
        /// Workers.
        workers: u32,
    },
    /// Every worker uses it.
    Adopted {
        /// Of the policy or the domain table.
        generation: u64,
    },
    /// It was not taken; the last good one stays.
    Refused {
        /// Of the policy or the domain table.
        generation: u64,
        /// Why, for the log and the operator.
        reason: String,
    },
    /// Some of the rows asked for.
    Rows {
        /// Of the `Dump`.
        id: u64,
        /// The rows.
        rows: Rows,
        /// Whether these are the last.
        done: bool,
    },
    /// Done clearing.
    Cleared {
        /// Of the `Clear`.
        id: u64,
        /// How many went.
        count: u64,
    },
    /// Answers `Trace`.
    Traced {
        /// Of the `Trace`.
        id: u64,
        /// What would become of the packet; `None` while there is no policy.
        trace: Option<Trace>,
    },
    /// Answers `Echo`.
    Echoed {
        /// Of the `Echo`.
        id: u64,
        /// What became of it.
        outcome: Echoed,
    },
    /// Answers `TraceSip`.
    SipTraced {
        /// Of the `TraceSip`.
        id: u64,
        /// What would become of the request, or why nobody can say.
        trace: Result<SipTrace, String>,
    },
    /// Answers `Ping`.
    Pong {
        /// Of the `Ping`.
        id: u64,
    },
    /// Something happened.
    Event(Event),
    /// Events that were not sent because control was too slow to take them.
    Lost {
        /// How many, since the last such message.
        events: u64,
    },
}

impl Message for ToDataplane {
    fn fds(&self) -> usize {
        match self {
            Self::Policy { .. } | Self::Domains { .. } => 1,
            Self::Capture { captures } => usize::from(captures.iter().any(Option::is_some)),
            Self::Hello { .. }
            | Self::Dump { .. }
            | Self::Clear { .. }
            | Self::Trace { .. }
            | Self::Echo { .. }
            | Self::TraceSip { .. }
            | Self::Ping { .. } => 0,
        }
    }
}

impl Message for ToControl {
    fn fds(&self) -> usize {
        match self {
            Self::HelloAck { policy_generation, domains_generation, .. } => {
                1 + usize::from(*domains_generation != 0) + usize::from(*policy_generation != 0)
            }
            Self::Adopted { .. }
            | Self::Refused { .. }
            | Self::Rows { .. }
            | Self::Cleared { .. }
            | Self::Traced { .. }
            | Self::Echoed { .. }
            | Self::SipTraced { .. }
            | Self::Pong { .. }
            | Self::Event(_)
            | Self::Lost { .. } => 0,
        }
    }
}

impl ToControl {
    /// The answer to a dump: `rows` in as many messages as datagrams need, `done` on the last one if these are the
    /// last rows. No rows make one empty message. Texts are clipped to [`super::MAX_TEXT`] and [`super::MAX_IDENTITY`].
    pub fn rows(id: u64, rows: Rows, done: bool) -> Vec<Self> {
        let mut parts = rows.split();
        let last = parts.pop();
        let mut messages: Vec<_> =
            parts.into_iter().map(|rows| Self::Rows { id, rows, done: false }).collect();
        messages.extend(last.map(|rows| Self::Rows { id, rows, done }));
        messages
    }
}
