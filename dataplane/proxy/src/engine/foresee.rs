// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer sip`: what this worker would do with a request that nobody has sent, check by check, without doing it.
//!
//! The request is framed, scanned and judged by [`sip::judge`], as one from a peer is, with this worker's dialogs and lists. What that would count and
//! tell goes to a [`Rehearsal`], what it would use up is taken from copies. Which check said what is heard from the verdict itself
//! ([`fedgate_sip::verdict::Ear`]). A test judges the same requests in sessions.
//!
//! Worker core, between bursts, at an operator's pace: allocation is accepted. Limits: without a connection there are no addresses of
//! one, so hosts of ours are known by the names in our certificates and not by address; NAT shows none; and what goes out is held to
//! the certificate asked about, not to one that was shown.

use super::Engine;
use crate::api::{CloseReason, Context, Leg, Micros, Output, Road, SessionId};
use crate::edges::Edges;
use crate::event::Event;
use crate::inspected::{Inspection, ruling, trust};
use crate::ours::{Hosts, Ours};
use crate::pool::Health;
use crate::sip::{self, DomainList, Judged, LIMITS, LocalDomains, Origin, Passed, Way};
use crate::tcp::Addr;
use crate::tls::ProxyTls;
use crate::transactions::Transactions;
use fedgate_sip::domain::Domain;
use fedgate_sip::frame::Framer;
use fedgate_sip::identity::{CertificateNames, PeerIdentity};
use fedgate_sip::inspect::{Deed, Hit, Rates};
use fedgate_sip::message::{Message, Start};
use fedgate_sip::verdict::{
    Denial, Listed, Step, Verdict, Voucher, inbound_heard, outbound_heard, outbound_peer,
};
use fedgate_tables::counters::{Counter, Histo};
use fedgate_tables::link::{SipCheck, SipFate, SipProbe, SipStep, SipTrace};
use std::net::Ipv4Addr;

/// Takes what a request would have caused.
#[derive(Default)]
struct Rehearsal {
    /// Why it cannot be read.
    fault: Option<String>,
    /// Why it does not cross.
    denial: Option<Denial>,
}

impl Output for Rehearsal {
    fn packet(&mut self, _session: SessionId, _road: Road, _len: usize, _fill: impl FnOnce(&mut [u8])) {}

    fn connect(
        &mut self,
        _session: SessionId,
        _own: u8,
        _from: Option<Addr>,
        _to: Addr,
    ) -> Option<(Addr, u16)> {
        None
    }

    fn disconnect(&mut self, _session: SessionId, _own: u8) {}

    fn event(&mut self, _session: SessionId, event: Event<'_>) {
        match event {
            Event::Denied { why, .. } => self.denial = Some(why),
            Event::Malformed { why, .. } => self.fault = Some(why.to_string()),
            // What else there is to tell of a message stands in what becomes of it; the rest is of connections.
            _ => {}
        }
    }

    fn closed(&mut self, _session: SessionId, _reason: CloseReason) {}

    fn count(&mut self, _counter: Counter, _n: u64) {}

    fn observe(&mut self, _histo: Histo, _value: u64) {}
}

impl Engine {
    /// What would become of a request through this TLS proxy.
    ///
    /// # Errors
    /// It is not one whole request, or the names are too many.
    pub fn foresee<D: DomainList, L: LocalDomains>(
        &self,
        probe: &SipProbe,
        tls: &ProxyTls,
        now: Micros,
        ctx: &Context<'_, D, L>,
    ) -> Result<SipTrace, String> {
        let bytes = probe.text.as_bytes();
        let names: Vec<&str> = probe.names.iter().map(String::as_str).collect();
        let assumed = names.is_empty();
        let peer = match Message::scan_with(bytes, &LIMITS) {
            Ok(message) if assumed => good_for(&message, probe.inward, ctx),
            Ok(_) | Err(_) => shown(&names),
        }?;
        let asked = Transactions::default();
        let (leg, way) = match probe.inward {
            true => (Leg::Client, Way::Inward),
            false => (Leg::Client, Way::Outward),
        };
        let origin = Origin {
            id: SessionId { slot: u32::MAX, generation: 0 },
            leg,
            way,
            remote: (0, 0),
            peer: &peer,
            tag: "packet-tracer",
            hosts: Hosts { tls, addrs: [0; 2], ports: [0; 2] },
            nat: false,
            asked: &asked,
            dialogs: &self.dialogs,
            counted: false,
            now,
        };
        let mut inspection = Inspection {
            rates: self.inspection.rates.clone(),
            tally: self.inspection.tally.clone(),
            edges: Edges::default(),
            workers: self.inspection.workers,
        };
        let mut rehearsal = Rehearsal::default();
        let mut framer = Framer::new(LIMITS);
        let judged = sip::judge(&mut framer, bytes, &origin, &mut inspection, ctx, &mut rehearsal);
        let mut teller = Teller { steps: Vec::new(), assumed, names: &probe.names };
        let rates = (self.inspection.rates.clone(), self.inspection.workers);
        let (mut fate, mut denial) = (fate(&judged)?, rehearsal.denial);
        match Message::scan_with(bytes, &LIMITS) {
            Ok(message) if rehearsal.fault.is_none() => {
                teller.checks(&message, &origin, ctx, &rehearsal, rates);
                if let Judged::Pass(passed) = &judged {
                    let vouched = teller.far_peer(passed, &origin, ctx);
                    match vouched {
                        Ok(()) => teller.target(passed, &origin, ctx),
                        Err(why) => (fate, denial) = (SipFate::Answered { status: why.status() }, Some(why)),
                    }
                }
            }
            Ok(_) | Err(_) => {
                let fault = rehearsal.fault.or_else(|| Some("it is no whole message".to_owned()));
                teller.note(SipCheck::Message, None, fault.into_iter().collect(), false);
            }
        }
        Ok(SipTrace { steps: teller.steps, fate, denial: denial.map(|why| why.name().to_owned()) })
    }
}

/// Puts what was heard into steps.
struct Teller<'a> {
    steps: Vec<SipStep>,
    /// No names were given.
    assumed: bool,
    names: &'a [String],
}

impl Teller<'_> {
    fn note(&mut self, check: SipCheck, domain: Option<&Domain>, found: Vec<String>, permit: bool) {
        let domain = domain.map(|it| it.as_str().to_owned());
        self.steps.push(SipStep { check, domain, entry: None, found, permit });
    }

    /// All that [`sip::judge`] asks, in its order, as far as it came.
    fn checks<D: DomainList, L: LocalDomains>(
        &mut self,
        message: &Message<'_>,
        origin: &Origin<'_>,
        ctx: &Context<'_, D, L>,
        rehearsal: &Rehearsal,
        (mut rates, workers): (Rates, u32),
    ) {
        let inward = origin.way == Way::Inward;
        let note = origin.dialogs.note(message, inward);
        let standing = sip::standing(&note, origin);
        if note.in_dialog() {
            let found = match standing {
                Ok(Some(_)) => "known: its domain's permission is not asked again",
                Ok(None) => "not known to this worker, or not its peer's: judged as a new one",
                Err(Denial::DialogOrder) => "known; CSeq is below its sender's last",
                Err(_) => "known, and another peer's",
            };
            self.note(SipCheck::Dialog, None, vec![found.to_owned()], standing.is_ok());
        }
        let Ok(known) = standing else { return };
        let known = known.is_some();
        let mut heard = Vec::new();
        let verdict = if inward {
            let ours = Ours { domains: ctx.locals, origin, out: rehearsal };
            let voucher = if known { Voucher::Dialog } else { Voucher::Peer(origin.peer) };
            inbound_heard(message, voucher, ctx.domains, &ours, trust(origin), &mut heard)
        } else {
            outbound_heard(message, known, ctx.domains, ctx.locals, &mut heard)
        };
        for (step, said) in &heard {
            self.step(step, said.is_ok(), known);
        }
        let Verdict::Pass { subject } = verdict else { return };
        let denial = rehearsal.denial;
        if fedgate_sip::named::points(message) && inward {
            let denied = matches!(denial, Some(Denial::DialogNamed | Denial::ReferTo | Denial::Malformed));
            self.note(SipCheck::Pointing, subject.domain.as_ref(), Vec::new(), !denied);
            if denied {
                return;
            }
        }
        let bounds = subject.domain.as_ref().filter(|_| inward).map(|it| ctx.domains.bounds(it.as_str()));
        let bounds = bounds.unwrap_or_default();
        if let Some(rate) = bounds.rate {
            let found = format!("{} requests a second, {} at once", rate.rate, rate.burst);
            self.note(SipCheck::Rate, subject.domain.as_ref(), vec![found], denial != Some(Denial::Rate));
        }
        if denial == Some(Denial::Rate) {
            return;
        }
        let mut found = Vec::new();
        let hit = |hit: Hit<'_>| found.push(format!("{}: {}", hit.text, hit.action));
        if let Some(ruling) = ruling(message, known, &note, origin, (&mut rates, workers), hit) {
            let passes = matches!(ruling.deed, Deed::Pass | Deed::Mask);
            self.note(SipCheck::Inspection, None, found, passes);
            if !passes {
                return;
            }
        }
        if let Some(most) = bounds.sessions {
            let found = format!("{most} connections at once");
            let denied = denial == Some(Denial::Sessions);
            self.note(SipCheck::Sessions, subject.domain.as_ref(), vec![found], !denied);
        }
    }

    /// What the verdict says.
    fn step(&mut self, step: &Step, permit: bool, known: bool) {
        let no_domain = || "it names no domain".to_owned();
        match step {
            Step::Sender { domain, ours } => {
                let found = match domain {
                    Some(domain) if *ours => format!("{} is one of our own", domain.as_str()),
                    Some(domain) => format!("{} is foreign", domain.as_str()),
                    None => no_domain(),
                };
                self.note(SipCheck::Sender, domain.as_ref(), vec![found], permit);
            }
            Step::List { domain, listed } => {
                let (name, said) = (domain.as_ref().map_or("", Domain::as_str), listed);
                let found = match (domain, said) {
                    (None, _) => no_domain(),
                    (Some(_), Listed::Permitted { .. }) => format!("{name} is permitted"),
                    (Some(_), Listed::Blocked { .. }) => format!("{name} is blocked"),
                    (Some(_), Listed::Unlisted) if known && permit => {
                        format!("{name} is not permitted any more; its dialog was")
                    }
                    (Some(_), Listed::Unlisted) => format!("{name} is not permitted"),
                };
                let domain = domain.map(|it| it.as_str().to_owned());
                let (check, entry) = (SipCheck::List, listed.id());
                self.steps.push(SipStep { check, domain, entry, found: vec![found], permit });
            }
            Step::Certificate { domain, host } => self.certificate(domain, host.as_ref(), permit),
            Step::Method => self.note(SipCheck::Method, None, Vec::new(), permit),
            Step::Extension => self.note(SipCheck::Extension, None, Vec::new(), permit),
            Step::Identity => self.note(SipCheck::Identity, None, Vec::new(), permit),
            Step::Addressee => self.note(SipCheck::Addressee, None, Vec::new(), permit),
            Step::Route => self.note(SipCheck::Route, None, Vec::new(), permit),
        }
    }

    fn certificate(&mut self, domain: &Domain, host: Option<&Domain>, permit: bool) {
        let needs = match host {
            Some(host) => format!("has to name the host {}", host.as_str()),
            None => format!("has to be good for {} (RFC 5922)", domain.as_str()),
        };
        let has = match self.assumed {
            true => "taken for granted: say which names it has by `certificate NAME`".to_owned(),
            false => format!("names {}", self.names.join(", ")),
        };
        self.note(SipCheck::Certificate, Some(domain), vec![needs, has], permit);
    }

    /// What goes outside is held to the far certificate, once that is there.
    fn far_peer<D: DomainList, L>(
        &mut self,
        passed: &Passed,
        origin: &Origin<'_>,
        ctx: &Context<'_, D, L>,
    ) -> Result<(), Denial> {
        let Some(domain) = passed.domain().filter(|_| origin.way == Way::Outward) else { return Ok(()) };
        if passed.is_of_known_dialog() {
            return Ok(());
        }
        let listed = ctx.domains.lookup(domain.as_str());
        let said = outbound_peer(domain, &listed, origin.peer);
        let host = match &listed {
            Listed::Permitted { peer, .. } => peer.as_ref(),
            Listed::Blocked { .. } | Listed::Unlisted => None,
        };
        self.certificate(domain, host, said.is_ok());
        said
    }

    /// Where it would go.
    fn target<D: DomainList, L>(&mut self, passed: &Passed, origin: &Origin<'_>, ctx: &Context<'_, D, L>) {
        let at = |addr: u32, port: u16| format!("{}:{port}", Ipv4Addr::from_bits(addr));
        let mut found: Vec<String> = match origin.way {
            Way::Inward => {
                let pool = origin.hosts.tls.pool();
                let members = pool.into_iter().flat_map(|pool| pool.members());
                let told = members.map(|it| {
                    let drains = if it.drain { ", drains" } else { "" };
                    format!(
                        "{} is {}{drains}, weight {}",
                        at(it.addr.0, it.addr.1),
                        health(it.health),
                        it.weight
                    )
                });
                told.collect()
            }
            Way::Outward => {
                let targets = passed.domain().map_or(&[][..], |it| ctx.domains.targets(it.as_str()));
                let told = targets.iter().map(|it| {
                    format!("{}:{}, priority {}, weight {}", it.addr, it.port, it.priority, it.weight)
                });
                told.collect()
            }
        };
        if found.is_empty() {
            found.push("the address that is called".to_owned());
        }
        self.note(SipCheck::Target, passed.domain(), found, true);
    }
}

/// A peer with these names in its certificate.
fn shown(names: &[&str]) -> Result<PeerIdentity, String> {
    let (uris, dns): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains(':'));
    let names = CertificateNames { has_alt_names: true, uris: &uris, dns: &dns, common_names: &[] };
    PeerIdentity::of(&names).map_err(|why| why.to_string())
}

/// A peer that vouches for whom it has to.
fn good_for<D: DomainList, L>(
    message: &Message<'_>,
    inward: bool,
    ctx: &Context<'_, D, L>,
) -> Result<PeerIdentity, String> {
    let uri = match (&message.start, inward) {
        (_, true) => Some(message.from.uri),
        (Start::Request { uri, .. }, false) if !message.has_to_tag() => Some(*uri),
        (Start::Request { .. } | Start::Response { .. }, false) => Some(message.to.uri),
    };
    let domain = uri.and_then(|uri| Domain::canonical(uri.host?.as_bytes()).ok());
    let Some(domain) = domain else { return Ok(PeerIdentity::none()) };
    match ctx.domains.lookup(domain.as_str()) {
        Listed::Permitted { peer: Some(host), .. } => shown(&[host.as_str()]),
        Listed::Permitted { peer: None, .. } | Listed::Blocked { .. } | Listed::Unlisted => {
            shown(&[domain.as_str()])
        }
    }
}

fn health(health: Health) -> &'static str {
    match health {
        Health::Unchecked => "not checked",
        Health::Up => "up",
        Health::Down => "down",
    }
}

fn fate(judged: &Judged) -> Result<SipFate, String> {
    let status = |answer: &[u8]| {
        let line = std::str::from_utf8(answer.get(8..11)?).ok()?;
        line.parse().ok()
    };
    Ok(match judged {
        Judged::Pass(_) => SipFate::Passes,
        Judged::Refuse { answer, .. } => match answer.as_deref().and_then(status) {
            Some(status) => SipFate::Answered { status },
            None => SipFate::Dropped,
        },
        Judged::End { reset } => SipFate::Ended { reset: *reset },
        Judged::Broken { .. } => SipFate::Ended { reset: false },
        Judged::Incomplete { .. } | Judged::Skip { .. } => {
            return Err("that is not one whole request".to_owned());
        }
    })
}
