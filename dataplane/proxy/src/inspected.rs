// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where an inspect map (fedgate-sip `inspect`) meets a session: what its rulings do to messages and connections.
//!
//! Asked after the domain verdict, for what that lets pass, both ways. A request that a rule drops is answered as other
//! denied requests are (403; 481 where its dialog was never begun, 503 above a rate), for over a connection nobody takes
//! silence for loss; a response is dropped. The map goes with the `tls-proxy`, so a session keeps the one it began with.
//!
//! Called by [`crate::sip`] for each message, on the worker's core; without a map it is one test.

use crate::api::{Context, Leg, Output};
use crate::edges::Edges;
use crate::event::Event;
use crate::sip::{Origin, Way};
use fedgate_sip::answer::{compose, reason_phrase};
use fedgate_sip::asserted::Trust;
use fedgate_sip::dialog::Note;
use fedgate_sip::inspect::{Deed, Hit, Rates, Ruling, Standing};
use fedgate_sip::message::{Message, Method};
use fedgate_sip::named;
use fedgate_sip::partner::{Bounds, Tally};
use fedgate_sip::verdict::{Denial, DomainList, LocalDomains, Subject};
use fedgate_tables::counters::{Counter, Stat};

/// What is kept of all sessions of a worker, for rules and bounds that are not of one session.
pub(crate) struct Inspection {
    pub(crate) rates: Rates,
    /// What domains send.
    pub(crate) tally: Tally,
    /// Where foreign domains were out of reach.
    pub(crate) edges: Edges,
    pub(crate) workers: u32,
}

/// What becomes of a message that a map does not let pass.
pub(crate) enum Stop {
    /// It is taken away, and answered where one is owed.
    Refuse { answer: Option<Vec<u8>> },
    /// Its connection ends.
    End { reset: bool },
}

/// What outside peers may assert in this session.
pub(crate) fn trust(origin: &Origin<'_>) -> Trust {
    match origin.hosts.tls.inspector() {
        Some(inspector) if inspector.parameters().strip_identities => Trust::None,
        Some(_) | None => Trust::Checked,
    }
}

/// Holds a message to the session's map; `own`: its dialog is known to this worker. An error is what becomes of it; else
/// whether there is something to mask.
pub(crate) fn inspect<O: Output>(
    message: &Message<'_>,
    own: bool,
    note: &Note,
    origin: &Origin<'_>,
    inspection: &mut Inspection,
    out: &mut O,
) -> Result<bool, Stop> {
    let map = origin.hosts.tls.inspector().map_or("", |inspector| inspector.name());
    let tell = |hit: Hit<'_>| told(&hit, map, Some(message), origin, out);
    let (rates, workers) = (&mut inspection.rates, inspection.workers);
    let Some(ruling) = ruling(message, own, note, origin, (rates, workers), tell) else { return Ok(false) };
    let status = match ruling.deed {
        Deed::Pass | Deed::Mask => return Ok(ruling.mask),
        Deed::DropConnection | Deed::Reset => {
            out.count(Counter::Stat(Stat::SipDeniedInspect), 1);
            return Err(Stop::End { reset: ruling.deed == Deed::Reset });
        }
        Deed::Drop if ruling.no_dialog => 481,
        Deed::Drop => 403,
        Deed::RateLimit(_) => 503,
    };
    out.count(Counter::Stat(Stat::SipDeniedInspect), 1);
    let answer =
        message.is_answerable().then(|| compose(message, status, reason_phrase(status), origin.tag).ok());
    Err(Stop::Refuse { answer: answer.flatten() })
}

/// What the session's map says of a message, if it has one, rule by rule.
pub(crate) fn ruling(
    message: &Message<'_>,
    own: bool,
    note: &Note,
    origin: &Origin<'_>,
    (rates, workers): (&mut Rates, u32),
    hit: impl FnMut(Hit<'_>),
) -> Option<Ruling> {
    let inspector = origin.hosts.tls.inspector()?;
    let known = own || (note.in_dialog() && origin.dialogs.is_elsewhere(note));
    let standing = Standing { known, whole: origin.dialogs.is_whole(), workers };
    Some(inspector.judge(message, standing, rates, origin.now.0, hit))
}

/// Holds what comes from outside to dialogs and parties that it may name.
pub(crate) fn points_at_its_own<D: DomainList, L: LocalDomains>(
    message: &Message<'_>,
    subject: &Subject,
    origin: &Origin<'_>,
    ctx: &Context<'_, D, L>,
) -> Result<(), Denial> {
    let asks = origin.way == Way::Inward && subject.method.is_some();
    let Some(domain) = subject.domain.as_ref().filter(|_| asks) else { return Ok(()) };
    let has = |call: &str, outside: &str, inside: &str| {
        origin.dialogs.is_of(call, outside, inside, domain, origin.now.0)
    };
    named::check(message, domain, ctx.domains, ctx.locals, has)
}

/// Holds a request from outside to its domain's rate.
pub(crate) fn hold_to_rate(
    bounds: Bounds,
    subject: &Subject,
    origin: &Origin<'_>,
    inspection: &mut Inspection,
) -> Result<(), Denial> {
    let (Some(rate), Some(id), Some(method)) = (bounds.rate, subject.id, subject.method) else {
        return Ok(());
    };
    let releases = matches!(method, Method::Ack | Method::Bye | Method::Cancel);
    let passes = inspection.tally.pass(id, rate, releases, origin.now.0, inspection.workers);
    if passes { Ok(()) } else { Err(Denial::Rate) }
}

/// Counts the session of a request from outside for its domain, with the first that nothing else stands against. Gives the entry that it is counted
/// for from now on: whoever drops that without a session to keep it in would count for good.
pub(crate) fn count_session(
    bounds: Bounds,
    subject: &Subject,
    origin: &Origin<'_>,
    inspection: &mut Inspection,
) -> Result<Option<u32>, Denial> {
    let begins = !origin.counted && origin.leg == Leg::Client && subject.method.is_some();
    let (Some(most), Some(id)) = (bounds.sessions.filter(|_| begins), subject.id) else { return Ok(None) };
    match inspection.tally.begin(id, most, inspection.workers) {
        true => Ok(Some(id)),
        false => Err(Denial::Sessions),
    }
}

/// What the map wants done about a request that has used up its hops, if it ends the connection: whether by RST.
pub(crate) fn out_of_hops<O: Output>(origin: &Origin<'_>, out: &mut O) -> Option<bool> {
    let inspector = origin.hosts.tls.inspector()?;
    let hit = inspector.out_of_hops()?;
    told(&hit, inspector.name(), None, origin, out);
    match hit.action.deed {
        Deed::DropConnection => Some(false),
        Deed::Reset => Some(true),
        Deed::Pass | Deed::Drop | Deed::Mask | Deed::RateLimit(_) => None,
    }
}

fn told<O: Output>(
    hit: &Hit<'_>,
    map: &str,
    message: Option<&Message<'_>>,
    origin: &Origin<'_>,
    out: &mut O,
) {
    if let Some(slot) = hit.slot {
        out.count(Counter::Inspect(slot), 1);
    }
    if hit.action.log {
        let (leg, remote) = (origin.leg, origin.remote);
        out.event(
            origin.id,
            Event::Inspected { leg, remote, map, rule: hit.text, action: hit.action, message },
        );
    }
}
