// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a message says of its call's media, for whoever lets media through.
//!
//! A description says where its sender receives; an answer to INVITE or BYE how the call goes on. The worker hears of both when the
//! message crosses ([`Output::media`]), as the sender wrote it: real addresses of what is inside. A call is known by its Call-ID and
//! the foreign identity that it is with, so that no other peer's message can be of it.
//!
//! Called by the session on the worker's core. A message without a body in a transaction of another kind costs two tests.

use crate::api::Output;
use crate::sip::{LIMITS, Origin, Way};
use fedgate_sip::dialog::Dialogs;
use fedgate_sip::message::{Message, Method, Start};
use fedgate_sip::sdp::{self, Description};

/// How a call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStep {
    /// Its INVITE has a good answer.
    Agreed,
    /// Its INVITE has been refused.
    Failed,
    /// A BYE.
    Ending,
    /// The answer to it.
    Over,
}

/// What media is held to, by the session's inspect map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RtpRules {
    /// `rtp-conformance`.
    pub conformance: bool,
    /// `enforce-payloadtype`.
    pub payloads: bool,
}

/// What a message that crosses says.
#[derive(Clone, Copy, Debug)]
pub struct MediaNote<'a> {
    /// Stands for the call: the same for all its messages.
    pub call: u64,
    /// It comes from outside.
    pub inward: bool,
    /// Where its sender receives.
    pub description: Option<&'a Description>,
    /// How the call goes on.
    pub step: Option<CallStep>,
    /// What the media is held to.
    pub rules: RtpRules,
}

/// What there is to say of a message, found when it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    step: Option<CallStep>,
    described: bool,
}

/// What a message has to say, if anything.
#[inline]
pub(crate) fn subject(message: &Message<'_>) -> Option<Subject> {
    let step = step(message);
    let described = sdp::is_likely(message);
    (described || step.is_some()).then_some(Subject { step, described })
}

fn step(message: &Message<'_>) -> Option<CallStep> {
    match message.start {
        Start::Request { method: Method::Bye, .. } => Some(CallStep::Ending),
        Start::Request { .. } => None,
        Start::Response { status, .. } => match (message.cseq.method, status) {
            ("INVITE", 200..=299) => Some(CallStep::Agreed),
            ("INVITE", 300..) => Some(CallStep::Failed),
            ("BYE", 200..) => Some(CallStep::Over),
            _ => None,
        },
    }
}

/// Tells the worker of a message that crosses. `peer` stands for the foreign identity of its connection ([`Dialogs::peer_key`]).
#[cold]
pub(crate) fn tell<O: Output>(
    subject: Subject,
    bytes: &[u8],
    peer: u64,
    dialogs: &Dialogs,
    origin: &Origin<'_>,
    out: &mut O,
) {
    // It was scanned before it passed.
    let Ok(message) = Message::scan_with(bytes, &LIMITS) else { return };
    let description = if subject.described { sdp::of(&message) } else { None };
    if description.is_none() && subject.step.is_none() {
        return;
    }
    let parameters = origin.hosts.tls.inspector().map(|inspector| inspector.parameters());
    let rtp = parameters.and_then(|parameters| parameters.rtp);
    let note = MediaNote {
        call: dialogs.call_key(message.call_id, peer),
        inward: origin.way == Way::Inward,
        description: description.as_ref(),
        step: subject.step,
        rules: RtpRules { conformance: rtp.is_some(), payloads: rtp.is_some_and(|rtp| rtp.enforce_payloads) },
    };
    out.media(origin.id, &note);
}
