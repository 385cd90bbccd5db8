// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where NAT meets messages: in a session across which NAT changes addresses, those that messages name are changed alike.
//!
//! Which places those are is fedgate-sip's ([`translate`]); what stands there is the worker's answer ([`Output::shown`] and its kin).
//! A message is looked at when it is judged, where it is scanned anyhow, and changed when it crosses. Judged is what came: the
//! domain verdict, dialogs and inspect maps see the message as its sender wrote it. The transaction is that of what leaves, for
//! its answer comes back with the Via that was sent.
//!
//! Called by [`crate::sip`] on the worker's core; without NAT it is one test.

use crate::api::{Output, SessionId};
use crate::sip::{Origin, Way};
use fedgate_sip::edit::Edit;
use fedgate_sip::message::Message;
use fedgate_sip::sdp::Ports;
use fedgate_sip::translate::{self, Mapping, Transport};
use fedgate_tables::counters::{Counter, Stat};
use std::net::{IpAddr, SocketAddr};

/// The worker's answers for one session.
struct Asked<'a, O> {
    session: SessionId,
    out: &'a mut O,
}

impl<O: Output> Mapping for Asked<'_, O> {
    fn shown(&mut self, transport: Transport, real: SocketAddr) -> Option<SocketAddr> {
        self.out.shown(self.session, transport, real)
    }

    fn real(&mut self, transport: Transport, shown: SocketAddr) -> Option<SocketAddr> {
        self.out.real(self.session, transport, shown)
    }

    fn host(&mut self, real: IpAddr) -> Option<IpAddr> {
        self.out.shown_host(self.session, real)
    }

    fn media(&mut self, real: IpAddr, ports: Ports) -> Option<(IpAddr, Ports)> {
        self.out.shown_media(self.session, real, ports)
    }
}

/// Whether a message has addresses that NAT may have changed.
#[inline]
pub(crate) fn concerns(message: &Message<'_>, origin: &Origin<'_>) -> bool {
    origin.nat && translate::concerns(message, way(origin))
}

/// Adds what has to be changed of a message's addresses; whether there is something.
pub(crate) fn translate<O: Output>(
    message: &Message<'_>,
    origin: &Origin<'_>,
    edits: &mut Vec<Edit>,
    out: &mut O,
) -> bool {
    let before = edits.len();
    translate::rewrite(message, way(origin), &mut Asked { session: origin.id, out }, edits);
    if edits.len() == before {
        return false;
    }
    let stat = match origin.way {
        Way::Outward => Stat::SipTranslatedOut,
        Way::Inward => Stat::SipTranslatedIn,
    };
    out.count(Counter::Stat(stat), 1);
    true
}

fn way(origin: &Origin<'_>) -> translate::Way {
    match origin.way {
        Way::Inward => translate::Way::In,
        Way::Outward => translate::Way::Out,
    }
}
