// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ASA's messages about TLS sessions (725002, 725006, 725014), SIP requests that were refused (607002), blocks of ports (305014, 305015),
//! and for what control and dataplane say of themselves those that the ASA has for its own Linux (199015 to 199019).
//!
//! Standard error has these events in our own words with every field by itself; these are for collectors. Texts that a peer chose are
//! escaped. Pure, as [`super`].

use std::net::Ipv4Addr;

use fedgate_tables::link::{End2, Event};

use super::flows::of_flow;
use super::{Message, Names, bound, denied};
use crate::config::ports::proto_text;
use crate::operate::events::escaped;

/// What a collector is told of an event.
pub fn of_event(event: &Event, names: &impl Names) -> Vec<Message> {
    let message = match event {
        Event::Denied { peer, identity, from_domain, target_domain, method, why, inbound, .. } => {
            let (from, to) = (end(*peer, names), escaped(target_domain));
            let identity: Vec<String> = identity.iter().map(|name| escaped(name)).collect();
            let way = if *inbound { "from" } else { "to" };
            let text = format!(
                "SIP Classification: Dropped SIP Request {} {way} {from} for {to}; {}: From domain {}, certificate {}",
                escaped(method),
                escaped(why),
                escaped(from_domain),
                if identity.is_empty() { "none".to_owned() } else { identity.join(" ") }
            );
            Message::new(4, 607_002, text)
        }
        Event::TlsUp { leg, peer, version, .. } => {
            let text = format!(
                "Device completed SSL handshake with {} {} for {} session",
                role(leg),
                end(*peer, names),
                escaped(version)
            );
            Message::new(6, 725_002, text)
        }
        Event::TlsFailed { leg, peer, reason, .. } => {
            let failed = format!("Device failed SSL handshake with {} {}", role(leg), end(*peer, names));
            let reason = format!("SSL lib error. Function: handshake Reason: {}", escaped(reason));
            return vec![Message::new(6, 725_006, failed), Message::new(7, 725_014, reason)];
        }
        Event::TargetLost { session, peer } => {
            let edge = end(*peer, names);
            own(
                4,
                format!(
                    "TLS proxy session {session}: {edge} does not answer; calling the next edge of its domain"
                ),
            )
        }
        Event::PortBlock { given, proto, real_if, real, mapped_if, mapped, first, last, .. } => {
            let (number, verb) = if *given { (305_014, "Allocated") } else { (305_015, "Released") };
            let text = format!(
                "{verb} {} block of ports for translation from {}:{} to {}:{}/{first}-{last}",
                proto_text(*proto).to_uppercase(),
                names.interface(*real_if),
                Ipv4Addr::from(*real),
                names.interface(*mapped_if),
                Ipv4Addr::from(*mapped)
            );
            Message::new(6, number, text)
        }
        Event::Flows { notes } => return notes.iter().map(|note| of_flow(note, names)).collect(),
        Event::Limit { bound: reached, packet } => bound(reached, packet, names),
        Event::AclHits { flow, .. } => denied(flow, names),
        Event::SessionClosed { session, reason } => {
            own(6, format!("TLS proxy session {session} closed: {}", escaped(reason)))
        }
        Event::Port { ifindex, text } => {
            own(4, format!("interface {}: {}", names.interface(*ifindex), escaped(text)))
        }
        Event::Log { level, text } => {
            let severity = match level.as_str() {
                "error" => 3,
                "warn" => 4,
                "debug" => 7,
                _ => 6,
            };
            own(severity, format!("dataplane: {}", escaped(text)))
        }
    };
    vec![message]
}

/// 199015 to 199019: errors to debugging, of the system that the appliance stands on.
pub fn own(severity: u8, text: String) -> Message {
    let severity = severity.clamp(3, 7);
    Message::new(severity, 199_012 + u32::from(severity), text)
}

/// 111010: a command that changes something was done.
pub fn executed(user: &str, command: &str) -> Message {
    let text = format!("User '{user}', running 'CLI' from IP 0.0.0.0, executed '{command}'");
    Message::new(5, 111_010, text)
}

/// 111009: a command that shows something.
pub fn looked(user: &str, command: &str) -> Message {
    Message::new(7, 111_009, format!("User '{user}' executed cmd: {command}"))
}

/// 611101, 611102: a password was right, or wrong.
pub fn recognized(user: &str, right: bool) -> Message {
    let (number, ended) = if right { (611_101, "succeeded") } else { (611_102, "failed") };
    Message::new(6, number, format!("User authentication {ended}: IP address: 0.0.0.0, Uname: {user}"))
}

/// 502103: a user may do other things from now on.
pub fn raised(user: &str, from: u8, to: u8) -> Message {
    Message::new(5, 502_103, format!("User priv level changed: Uname: {user} From: {from} To: {to}"))
}

fn end(end: End2, names: &impl Names) -> String {
    let addr = Ipv4Addr::from(end.addr);
    format!("{}:{addr}/{}", names.toward(addr), end.port)
}

/// What the other end of a leg is.
fn role(leg: &str) -> &'static str {
    if leg == "client" { "client" } else { "server" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operate::messages::tests::Known;

    const PEER: End2 = End2 { addr: 0xc633_6414, port: 40001 };

    fn told(event: Event) -> Vec<(u8, u32, String)> {
        of_event(&event, &Known).into_iter().map(|m| (m.severity, m.number, m.text)).collect()
    }

    #[test]
    fn sessions_are_told_in_the_asas_words() {
        let up = Event::TlsUp {
            session: 1,
            leg: "client".into(),
            peer: PEER,
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_128_GCM_SHA256".into(),
            identity: vec![],
        };
        let text =
            "Device completed SSL handshake with client outside:198.51.100.20/40001 for TLSv1.3 session";
        assert_eq!(told(up), [(6, 725_002, text.to_owned())]);
        let failed =
            Event::TlsFailed { session: 1, leg: "server".into(), peer: PEER, reason: "bad\nline".into() };
        assert_eq!(
            told(failed),
            [
                (
                    6,
                    725_006,
                    "Device failed SSL handshake with server outside:198.51.100.20/40001".to_owned()
                ),
                (7, 725_014, "SSL lib error. Function: handshake Reason: bad\\nline".to_owned())
            ]
        );
        let block = Event::PortBlock {
            given: true,
            proto: 17,
            real_if: 1,
            real: 0x0a0a_000b,
            mapped_if: 0,
            mapped: 0xcb00_7103,
            first: 1024,
            last: 1535,
            share: 1,
        };
        let text = "Allocated UDP block of ports for translation from inside:10.10.0.11 to outside:203.0.113.3/1024-1535";
        assert_eq!(told(block), [(6, 305_014, text.to_owned())]);
        let log = Event::Log { level: "warn".into(), text: "x".into() };
        assert_eq!(told(log), [(4, 199_016, "dataplane: x".to_owned())]);
    }

    #[test]
    fn a_refused_request_says_who_and_why() {
        let denied = Event::Denied {
            session: 1,
            peer: PEER,
            identity: vec!["a.example".into()],
            from_domain: "b.example".into(),
            target_domain: "ours.example".into(),
            method: "MESSAGE".into(),
            call_id: "x".into(),
            why: "peer".into(),
            status: 403,
            inbound: true,
        };
        let text = "SIP Classification: Dropped SIP Request MESSAGE from outside:198.51.100.20/40001 for ours.example; peer: \
                    From domain b.example, certificate a.example";
        assert_eq!(told(denied), [(4, 607_002, text.to_owned())]);
    }
}
