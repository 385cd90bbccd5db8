// SPDX-License-Identifier: MIT OR Apache-2.0
//! REGISTER: where a user's devices are (RFC 3261 section 10.3).
//!
//! A binding is a Contact and, while it lives, the connection the registration came on: requests to the device go there, since
//! most devices cannot be connected to. Without it the Contact is tried, if it is an address with `transport=tcp`. Bindings
//! are stored, so a device that can be reached is reached after a restart as well.
//!
//! A registration is taken whole or not at all. Bound: [`MAX_BINDINGS`] a user. Part of the core.

use fedgate_sip::address::Address;
use fedgate_sip::headers::HeaderName;
use fedgate_sip::uri::Scheme;
use rsip::headers::UntypedHeader as _;

use super::request::Who;
use super::{Core, Timer};
use crate::aor::Aor;
use crate::message::compose::unfolded;
use crate::message::{Incoming, inner_uri, number, param, parts};
use crate::store::Write;
use crate::transport::ConnId;

/// Devices of one user.
const MAX_BINDINGS: usize = 10;
/// Shortest registration, s.
const MIN_EXPIRES: u32 = 60;
/// Default, s.
const EXPIRES: u32 = 3_600;
/// How often bindings are looked through, ms.
const SWEEP: u64 = 30_000;
/// Longest Contact, octets.
const MAX_CONTACT: usize = 1_024;

/// One device.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Binding {
    /// Its URI.
    pub(super) contact: String,
    pub(super) expires: u64,
    pub(super) conn: Option<ConnId>,
    cseq: u32,
    call_id: String,
}

impl Core {
    pub(super) fn restore_bindings(&mut self, stored: Vec<(Aor, String, u64, u32, String)>) {
        for (owner, contact, expires, cseq, call_id) in stored {
            let binding = Binding { contact, expires, conn: None, cseq, call_id };
            self.bindings.entry(owner).or_default().push(binding);
        }
        self.at(self.now + SWEEP, Timer::Bindings);
    }

    pub(super) fn on_register(&mut self, request: &Incoming) {
        let Ok(Who::Local(user)) = self.requester(request) else {
            return;
        };
        let msg = request.msg();
        if Aor::of(&msg.to.uri).as_ref() != Some(&user) {
            return self.refuse(request, 403, "register_other");
        }
        let wanted = match self.wanted(request) {
            Ok(wanted) => wanted,
            Err(423) => {
                let out = self.response(request, 423).other("Min-Expires", MIN_EXPIRES.to_string());
                return self.send_response(request, out);
            }
            Err(status) => return self.refuse(request, status, "register_bad"),
        };
        let mut bindings = self.bindings.get(&user).cloned().unwrap_or_default();
        let mut writes = Vec::new();
        for (contact, seconds) in &wanted {
            let old = bindings.iter().position(|binding| binding.contact == *contact);
            // The same device's registrations may not overtake each other.
            let is_late = old
                .is_some_and(|i| bindings[i].call_id == msg.call_id && bindings[i].cseq >= msg.cseq.number);
            if is_late {
                return self.refuse(request, 500, "register_late");
            }
            if let Some(i) = old {
                bindings.remove(i);
            }
            if *seconds == 0 {
                writes.push(Write::Unbound(user.clone(), contact.clone()));
                continue;
            }
            let expires = self.now + u64::from(*seconds) * 1_000;
            let (cseq, call_id) = (msg.cseq.number, msg.call_id.to_owned());
            writes.push(Write::Bound(user.clone(), contact.clone(), expires, cseq, call_id.clone()));
            bindings.push(Binding {
                contact: contact.clone(),
                expires,
                conn: Some(request.conn),
                cseq,
                call_id,
            });
        }
        if bindings.len() > MAX_BINDINGS {
            return self.refuse(request, 403, "register_many");
        }
        for write in writes {
            self.write(write);
        }
        let mut out = self.response(request, 200);
        for binding in &bindings {
            let left = binding.expires.saturating_sub(self.now) / 1_000;
            let contact = format!("<{}>;expires={left}", binding.contact);
            out = out.with(rsip::headers::Contact::new(contact));
        }
        if bindings.is_empty() {
            self.bindings.remove(&user);
        } else {
            self.bindings.insert(user, bindings);
        }
        self.send_response(request, out);
    }

    /// The Contacts of a REGISTER with their seconds.
    fn wanted(&self, request: &Incoming) -> Result<Vec<(String, u32)>, u16> {
        let msg = request.msg();
        let header = request.number(HeaderName::Expires).map_err(|()| 400_u16)?;
        let mut wanted = Vec::new();
        for value in msg.values(HeaderName::Contact) {
            let value = unfolded(value);
            if value == "*" {
                let user = Aor::of(&msg.to.uri);
                let all = user.and_then(|user| self.bindings.get(&user)).into_iter().flatten();
                let alone = msg.values(HeaderName::Contact).count() == 1 && header == Some(0);
                return if alone { Ok(all.map(|b| (b.contact.clone(), 0)).collect()) } else { Err(400) };
            }
            for element in parts(&value, b',') {
                let uri = Address::parse(element).ok_or(400_u16)?.uri;
                if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) || uri.text.len() > MAX_CONTACT {
                    return Err(400);
                }
                let after = element.rsplit_once('>').map_or(element, |(_, params)| params);
                let own = param(after, "expires").map(|text| number(text).ok_or(400_u16)).transpose()?;
                let seconds = own.or(header).unwrap_or(EXPIRES).min(self.cfg.max_expires);
                if (1..MIN_EXPIRES).contains(&seconds) {
                    return Err(423);
                }
                wanted.push((inner_uri(element).to_owned(), seconds));
            }
        }
        if wanted.len() > MAX_BINDINGS { Err(403) } else { Ok(wanted) }
    }

    /// Ends bindings that have run out.
    pub(super) fn sweep_bindings(&mut self) {
        let now = self.now;
        let mut ended = Vec::new();
        self.bindings.retain(|user, bindings| {
            bindings.retain(|binding| {
                let lives = binding.expires > now;
                if !lives {
                    ended.push(Write::Unbound(user.clone(), binding.contact.clone()));
                }
                lives
            });
            !bindings.is_empty()
        });
        for write in ended {
            self.write(write);
        }
        self.at(now + SWEEP, Timer::Bindings);
    }
}
