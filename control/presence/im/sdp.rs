// SPDX-License-Identifier: MIT OR Apache-2.0
//! Session descriptions of sessions of instant messages, as OCS and LCS write them.
//!
//! The one media there may be is `m=message` (LCS 2005: `m=x-ms-message`), which says that texts come as MESSAGE in the dialog; a media that
//! is switched off (port 0) is nothing. `a=accept-types` must take plain text. Everything else about the description is the peer's affair.
//! We name only text/plain and typing notices, so nobody sends us anything else.
//!
//! Pure.

/// The media type.
pub const TYPE: &str = "application/sdp";
/// What we take in a session.
pub const ACCEPT_TYPES: &str = "text/plain application/im-iscomposing+xml";

/// What the peer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `application/im-iscomposing+xml` (RFC 3994).
    pub composing: bool,
}

/// Reads an offer or an answer. `None`: there is nothing we could talk by (488).
pub fn read(body: &[u8]) -> Option<Peer> {
    let text = std::str::from_utf8(body).ok()?;
    let mut lines = text.lines().map(|line| line.trim_end_matches('\r'));
    if lines.next()? != "v=0" {
        return None;
    }
    let (mut message, mut here, mut types) = (false, false, None);
    for line in lines {
        if let Some(media) = line.strip_prefix("m=") {
            let mut words = media.split_ascii_whitespace();
            let (kind, port) = (words.next()?, words.next()?);
            let off = port.split('/').next() == Some("0");
            here = !off && matches!(kind, "message" | "x-ms-message");
            if !here && !off {
                return None;
            }
            // Two of them would be two sessions.
            if here && std::mem::replace(&mut message, true) {
                return None;
            }
        } else if let Some(accept) = line.strip_prefix("a=accept-types:").filter(|_| here) {
            types = Some(accept.to_ascii_lowercase());
        }
    }
    if !message {
        return None;
    }
    let takes = |wanted: &[&str]| {
        types.as_ref().is_none_or(|types| types.split_ascii_whitespace().any(|t| wanted.contains(&t)))
    };
    let composing = types.is_some() && takes(&["application/im-iscomposing+xml"]);
    takes(&["text/plain", "text/*", "*", "*/*"]).then_some(Peer { composing })
}

/// Ours: `host` is the node's name, `user` who is talked to (`null` in an offer, as OCS has it).
pub fn write(host: &str, user: Option<&str>) -> String {
    let user = user.unwrap_or("null");
    format!(
        "v=0\r\no=- 0 0 IN IP4 {host}\r\ns=session\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=message 5060 sip {user}\r\n\
         a=accept-types:{ACCEPT_TYPES}\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCS: &str = "v=0\r\no=- 0 0 IN IP4 10.0.0.1\r\ns=session\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
        m=message 5060 sip null\r\na=accept-types:text/plain multipart/alternative text/rtf text/html\r\n";

    #[test]
    fn the_dialects() {
        assert_eq!(read(OCS.as_bytes()), Some(Peer { composing: false }));
        assert!(read(OCS.replace("m=message", "m=x-ms-message").as_bytes()).is_some());
        assert!(read(OCS.replace("text/plain", "*").as_bytes()).is_some());
        assert!(read(format!("{OCS}m=audio 0 RTP/AVP 0\r\n").as_bytes()).is_some());
        assert!(read(OCS.replace("\r\n", "\n").as_bytes()).is_some());
        assert_eq!(read(write("h", None).as_bytes()), Some(Peer { composing: true }));
        for bad in [
            String::new(),
            OCS.replace("v=0", "v=1"),
            OCS.replace("text/plain ", ""),
            OCS.replace("m=message 5060", "m=message 0"),
            format!("{OCS}m=audio 4000 RTP/AVP 0\r\n"),
            format!("{OCS}m=message 5060 sip null\r\n"),
        ] {
            assert_eq!(read(bad.as_bytes()), None, "{bad}");
        }
    }
}
