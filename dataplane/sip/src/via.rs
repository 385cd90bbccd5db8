// SPDX-License-Identifier: MIT OR Apache-2.0
//! Via values: enough to count them, to refuse malformed ones, and to show the topmost.
//!
//! Transports are any token (RFC 4475 section 3.1.1.10), and a missing or bare-cookie branch is legal RFC 2543
//! (section 3.2.1 there): what to do about those is policy, not grammar. Nothing here decides whether a message is
//! permitted; Via names hosts, not SIP domains.
//!
//! Hot path; borrows, no allocation.

use std::net::Ipv4Addr;

use crate::scan::{self, Cursor};

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// Transport token, e.g. `TLS`.
    pub transport: &'a str,
    /// Host of sent-by.
    pub host: &'a str,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// The `branch` parameter.
    pub branch: Option<&'a str>,
    /// What follows sent-by: the parameters, with white space as it came.
    pub params: &'a str,
}

impl<'a> Via<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        cursor.run(scan::TOKEN)?;
        let mut part = || if cursor.eat_separator(b'/') { cursor.run(scan::TOKEN) } else { None };
        part()?;
        let transport = part()?;
        if !cursor.skip_lws() {
            return None;
        }
        let (host, port) = cursor.host_port(true)?;
        let params = cursor.rest();
        let mut branch = None;
        let good = cursor.params(|name, value| {
            if !name.eq_ignore_ascii_case("branch") {
                return true;
            }
            let token = value.filter(|v| scan::all(v, scan::TOKEN));
            token.is_some() && branch.replace(token).is_none()
        });
        let params = &params[..params.len() - cursor.rest().len()];
        cursor.skip_lws();
        good.then_some(Self { transport, host, port, branch: branch.flatten(), params })
    }

    /// Whether sent-by is an address no answer can come from: broadcast, multicast or unspecified (RFC 4475 3.3.10).
    pub fn is_unroutable(&self) -> bool {
        self.host
            .parse::<Ipv4Addr>()
            .is_ok_and(|ip| ip.is_broadcast() || ip.is_multicast() || ip.is_unspecified())
    }
}

/// The values of one Via header. A malformed one is `None`, once, and ends the list.
pub struct Vias<'a> {
    cursor: Cursor<'a>,
    done: bool,
}

impl<'a> Vias<'a> {
    /// Of a header's value.
    pub fn new(value: &'a str) -> Self {
        Self { cursor: Cursor::new(scan::trim(value)), done: false }
    }
}

impl<'a> Iterator for Vias<'a> {
    type Item = Option<Via<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let via = Via::read(&mut self.cursor);
        let more = self.cursor.eat_separator(b',');
        self.done = via.is_none() || !more;
        Some(if more || self.cursor.at_end() { via } else { None })
    }
}

#[cfg(test)]
mod tests;
