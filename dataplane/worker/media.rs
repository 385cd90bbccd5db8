// SPDX-License-Identifier: MIT OR Apache-2.0
//! From what SIP messages say of media to pinholes: the proxy's notes in the words of fedgate-flow's [`media`](fedgate_flow::media).
//!
//! IPv4 alone, as NAT and the proxy are. A stream over TCP, one with several pairs of ports, or whose RTCP is at another host gets no
//! hole of its own. Worker core, for messages.

use super::clock::Now;
use super::dispatch::Ways;
use super::net::Net;
use super::runtime::View;
use super::shown;
use fedgate_flow::conn::ConnId;
use fedgate_flow::media::{Conformance, Receiver, STREAMS, Said, Step, Streams};
use fedgate_proxy::{CallStep, MediaNote, SessionId};
use fedgate_sip::sdp::{Description, Kind, Media};
use fedgate_tables::counters::Stat;
use std::net::IpAddr;

/// A message of a call has crossed.
pub(super) fn hear(
    net: &mut Net,
    view: &View<'_>,
    now: Now,
    session: SessionId,
    conn: ConnId,
    note: &MediaNote<'_>,
) {
    let streams = note.description.map(streams);
    let said = Said {
        call: note.call,
        session: u64::from(session.generation) << 32 | u64::from(session.slot),
        viewer: shown::viewer(net, conn),
        inward: note.inward,
        streams: streams.as_ref(),
        step: note.step.map(|step| match step {
            CallStep::Agreed => Step::Agreed,
            CallStep::Failed => Step::Failed,
            CallStep::Ending => Step::Ending,
            CallStep::Over => Step::Over,
        }),
        conformance: Conformance { rtp: note.rules.conformance, payloads: note.rules.payloads },
    };
    let ways = Ways::new(net, view);
    let before = net.flow.xlates.in_use().0;
    let heard = net.flow.hear(&said, &view.flow, &ways, now.tick());
    shown::built(net, before);
    net.counters.add(Stat::MediaPinholes, heard.opened.into());
    net.counters.add(Stat::ConnsTornDown, heard.ended.into());
    net.counters.add(Stat::MediaRefused, heard.refused.into());
}

fn streams(description: &Description) -> Streams {
    let mut streams = [None; STREAMS];
    for (place, media) in streams.iter_mut().zip(description.media()) {
        *place = receiver(description, media);
    }
    streams
}

fn receiver(description: &Description, media: &Media) -> Option<Receiver> {
    if media.port == 0 || media.several || media.kind == Kind::Stream {
        return None;
    }
    let host = description.host_of(media)?;
    let IpAddr::V4(addr) = host else { return None };
    let ports = media.ports();
    let elsewhere = media.rtcp.and_then(|rtcp| rtcp.host).is_some_and(|rtcp| rtcp.addr != host);
    (!addr.is_unspecified()).then_some(Receiver {
        addr: addr.to_bits(),
        media: ports.media,
        rtcp: ports.rtcp.filter(|_| !elsewhere),
        is_rtp: media.kind == Kind::Rtp,
        mux: media.mux,
        payloads: media.payloads,
    })
}
