// SPDX-License-Identifier: MIT OR Apache-2.0
//! PUBLISH: what a user's devices say of him (RFC 3903).
//!
//! Each publication is one device's; a user's state is composed of all ([`crate::presence::state::compose`]) in the order in
//! which they last published. Entity tags change with each PUBLISH, and publications are stored before they are acknowledged: after a
//! restart a device goes on with the tag it has.
//!
//! RFC 3903 leaves to the server what becomes of several publications by one device. Clients do that: baresip publishes at its start and again
//! when it is registered, without waiting for the first answer, and knows the second tag only; who loses his connection may begin anew. So one that
//! names no tag takes the place of what the same device ([`Source`]) has published before, or nobody could take that back until it runs out.
//!
//! Bound: [`MAX_DEVICES`] publications a user. Part of the core.

use fedgate_sip::headers::HeaderName;
use fedgate_sip::via::Vias;
use rsip::headers::UntypedHeader as _;

use super::request::Who;
use super::{Core, Timer};
use crate::aor::Aor;
use crate::ids::Tag;
use crate::message::Incoming;
use crate::presence::pidf;
use crate::presence::state::{Presence, Reach, compose};
use crate::store::Write;
use crate::transport::ConnId;

/// Publications of one user at once.
const MAX_DEVICES: usize = 16;
/// Shortest, s.
const MIN_EXPIRES: u32 = 60;
/// Default, s.
const EXPIRES: u32 = 3_600;

/// One device's.
#[derive(Debug)]
pub(super) struct Publication {
    owner: Aor,
    expires: u64,
    presence: Presence,
    /// Which device's; unknown of clients that speak no SIP, and after a restart.
    source: Option<Source>,
}

/// What tells one device of a user from another: the connection, and as a proxy may bring several on one, the Via of the device itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    conn: ConnId,
    host: Box<str>,
    port: Option<u16>,
}

impl Source {
    fn of(request: &Incoming) -> Option<Self> {
        let own =
            request.msg().values(HeaderName::Via).last().and_then(|value| Vias::new(value).last())??;
        Some(Self { conn: request.conn, host: own.host.to_ascii_lowercase().into(), port: own.port })
    }
}

impl Core {
    pub(super) fn restore_publications(&mut self, stored: Vec<(u64, Aor, u64, Presence)>) {
        for (etag, owner, expires, presence) in stored {
            self.at(expires, Timer::Publication(etag));
            self.devices.entry(owner.clone()).or_default().push(etag);
            self.publications.insert(etag, Publication { owner, expires, presence, source: None });
        }
        let owners: Vec<Aor> = self.devices.keys().cloned().collect();
        for owner in owners {
            self.recompose(&owner);
        }
    }

    pub(super) fn on_publish(&mut self, request: &Incoming) {
        let Ok(Who::Local(user)) = self.requester(request) else { return };
        let msg = request.msg();
        let target = msg.request_uri().and_then(|uri| Aor::of(&uri));
        if target.as_ref() != Some(&user) {
            return self.refuse(request, 403, "publish_other");
        }
        let event = request.value(HeaderName::Event).unwrap_or_default();
        if event.split(';').next().map(str::trim) != Some("presence") {
            return self.refuse(request, 489, "bad_event");
        }
        let Ok(expires) = request.number(HeaderName::Expires) else {
            return self.refuse(request, 400, "publish_bad");
        };
        let seconds = expires.unwrap_or(EXPIRES).min(self.cfg.max_expires);
        if (1..MIN_EXPIRES).contains(&seconds) {
            let out = self.response(request, 423).other("Min-Expires", MIN_EXPIRES.to_string());
            return self.send_response(request, out);
        }
        let old = match request.value(HeaderName::SipIfMatch) {
            None => None,
            Some(tag) => {
                let known = tag.parse::<Tag>().ok().filter(|tag| {
                    self.publications.get(&tag.0).is_some_and(|publication| publication.owner == user)
                });
                match known {
                    Some(tag) => Some(tag.0),
                    None => return self.refuse(request, 412, "publish_unknown"),
                }
            }
        };
        let said = match self.said(request, &user, old) {
            Ok(said) => said,
            Err(status) => return self.refuse_body(request, status),
        };
        let source = Source::of(request);
        let replaced = match old {
            Some(old) => vec![old],
            None => self.same_device(&user, source.as_ref()),
        };
        if replaced.is_empty() && self.devices.get(&user).is_some_and(|devices| devices.len() >= MAX_DEVICES)
        {
            return self.refuse(request, 503, "publish_many");
        }
        for old in replaced {
            self.forget(old);
        }
        let etag = self.ids.number();
        if seconds > 0 {
            self.keep(etag, &user, seconds, said, source);
        }
        let out = self.response(request, 200).with(rsip::headers::Expires::new(seconds.to_string()));
        let out = out.other("SIP-ETag", Tag(etag).to_string());
        self.send_response(request, out);
        self.recompose(&user);
    }

    /// What a user's device has published before: on this connection, or from this host on one that is gone.
    fn same_device(&self, user: &Aor, source: Option<&Source>) -> Vec<u64> {
        let Some(source) = source else { return Vec::new() };
        let is_same = |etag: &u64| {
            let before = self.publications.get(etag).and_then(|publication| publication.source.as_ref());
            before.is_some_and(|before| {
                before == source || (before.host == source.host && !self.conns.contains_key(&before.conn))
            })
        };
        self.devices.get(user).into_iter().flatten().copied().filter(is_same).collect()
    }

    fn keep(&mut self, etag: u64, owner: &Aor, seconds: u32, presence: Presence, source: Option<Source>) {
        let expires = self.now + u64::from(seconds) * 1_000;
        self.write(Write::Published(etag, owner.clone(), expires, presence.clone()));
        self.at(expires, Timer::Publication(etag));
        self.devices.entry(owner.clone()).or_default().push(etag);
        self.publications.insert(etag, Publication { owner: owner.clone(), expires, presence, source });
    }

    /// Publishes under a tag of the caller's, in the place of what stands under it. `false` where the user has too many devices.
    pub(super) fn publish_as(&mut self, etag: u64, user: &Aor, seconds: u32, presence: Presence) -> bool {
        let devices = self.devices.get(user).map_or(0, Vec::len);
        if !self.publications.contains_key(&etag) && devices >= MAX_DEVICES {
            return false;
        }
        self.forget(etag);
        self.keep(etag, user, seconds, presence, None);
        self.recompose(user);
        true
    }

    /// What stands under a tag, and until when (ms).
    pub(super) fn published(&self, etag: u64) -> Option<(&Presence, u64)> {
        self.publications.get(&etag).map(|publication| (&publication.presence, publication.expires))
    }

    fn refuse_body(&mut self, request: &Incoming, status: u16) {
        self.count("publish_body");
        let mut out = self.response(request, status);
        if status == 415 {
            out = out.with(rsip::headers::Accept::new(pidf::TYPE));
        }
        self.send_response(request, out);
    }

    /// What the body says; a refresh has none and says what the publication said before.
    fn said(&mut self, request: &Incoming, user: &Aor, old: Option<u64>) -> Result<Presence, u16> {
        let body = request.msg().body;
        if body.is_empty() {
            let before = old.and_then(|old| self.publications.get(&old));
            return before.map(|publication| publication.presence.clone()).ok_or(400);
        }
        if request.content_type() != pidf::TYPE {
            return Err(415);
        }
        let said = pidf::read(body, user).map_err(|_| 400_u16)?;
        // A document that says neither open nor closed ("unknown", with some) changes nothing.
        let before = old.and_then(|old| self.publications.get(&old)).map(|publication| &publication.presence);
        Ok(said.unwrap_or_else(|| before.unwrap_or(&Presence::OFFLINE).clone()))
    }

    /// Takes a publication away.
    fn forget(&mut self, etag: u64) {
        let Some(publication) = self.publications.remove(&etag) else { return };
        self.timers.remove(&(publication.expires, Timer::Publication(etag)));
        if let Some(devices) = self.devices.get_mut(&publication.owner) {
            devices.retain(|device| *device != etag);
            if devices.is_empty() {
                self.devices.remove(&publication.owner);
            }
        }
        self.write(Write::Unpublished(etag));
    }

    /// Takes back what stands under a tag, whoever says so.
    pub(super) fn withdraw(&mut self, etag: u64) {
        if let Some(owner) = self.publications.get(&etag).map(|publication| publication.owner.clone()) {
            self.forget(etag);
            self.recompose(&owner);
        }
    }

    /// Takes back all of a user's who is no user any more, and tells nobody.
    pub(super) fn unpublish(&mut self, user: &Aor) {
        for etag in self.devices.get(user).cloned().unwrap_or_default() {
            self.forget(etag);
        }
        self.states.remove(user);
    }

    fn recompose(&mut self, user: &Aor) {
        let devices = self.devices.get(user).into_iter().flatten();
        let state = compose(devices.filter_map(|etag| Some(&self.publications.get(etag)?.presence)));
        let old = if state.reach == Reach::Unavailable {
            self.states.remove(user)
        } else {
            self.states.insert(user.clone(), state.clone())
        };
        if old.unwrap_or(Presence::OFFLINE) != state {
            self.on_state_changed(user);
        }
    }

    /// A local user's state.
    pub(super) fn state(&self, user: &Aor) -> Presence {
        self.states.get(user).cloned().unwrap_or(Presence::OFFLINE)
    }
}
