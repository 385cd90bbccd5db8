// SPDX-License-Identifier: MIT OR Apache-2.0
//! Names in every case and form; logical lines against a naive splitter that copies everything.

use super::*;
use proptest::prelude::*;

#[test]
fn compact_and_mixed_case_are_the_same_header() {
    for (text, id) in [
        ("v", HeaderName::Via),
        ("VIA", HeaderName::Via),
        ("F", HeaderName::From),
        ("t", HeaderName::To),
        ("I", HeaderName::CallId),
        ("m", HeaderName::Contact),
        ("l", HeaderName::ContentLength),
        ("c", HeaderName::ContentType),
        ("k", HeaderName::Supported),
        ("s", HeaderName::Subject),
        ("o", HeaderName::Event),
        ("u", HeaderName::AllowEvents),
        ("e", HeaderName::ContentEncoding),
        ("MaX-fOrWaRdS", HeaderName::MaxForwards),
        ("P-Preferred-Identity", HeaderName::PPreferredIdentity),
        ("C%6Fntact", HeaderName::Other),
        ("Fr\u{43e}m", HeaderName::Other),
        ("", HeaderName::Other),
        ("X-A-Name-Longer-Than-Any-Known-One", HeaderName::Other),
    ] {
        assert_eq!(HeaderName::of(text.as_bytes()), id, "{text}");
    }
}

#[test]
fn every_long_name_finds_itself() {
    for n in 0..HeaderName::Other as u8 {
        let id = ALL[usize::from(n)];
        assert_eq!(id as u8, n);
        assert_eq!(HeaderName::of(id.name().as_bytes()), id);
        assert!(id.name().len() <= LONGEST);
    }
}

const ALL: [HeaderName; HeaderName::Other as usize] = {
    use HeaderName::*;
    [
        Accept,
        AcceptContact,
        Allow,
        AllowEvents,
        Authorization,
        CallId,
        Contact,
        ContentDisposition,
        ContentEncoding,
        ContentLength,
        ContentType,
        CSeq,
        Date,
        Diversion,
        Event,
        Expires,
        From,
        HistoryInfo,
        Identity,
        IdentityInfo,
        Join,
        MaxForwards,
        MimeVersion,
        MinExpires,
        MinSe,
        Organization,
        MsAssertedVerificationLevel,
        MsEdgeProxyMessageTrust,
        PAssertedIdentity,
        PAssociatedUri,
        PPreferredIdentity,
        PProfileKey,
        PServedUser,
        PUserDatabase,
        Priority,
        ProxyAuthorization,
        ProxyRequire,
        RAck,
        RecordRoute,
        ReferTo,
        ReferredBy,
        RejectContact,
        RemotePartyId,
        Replaces,
        ReplyTo,
        RequestDisposition,
        Require,
        RetryAfter,
        Route,
        RSeq,
        Server,
        SessionExpires,
        SipEtag,
        SipIfMatch,
        Subject,
        SubscriptionState,
        Supported,
        TargetDialog,
        Timestamp,
        To,
        Unsupported,
        UserAgent,
        Via,
    ]
};

/// The oracle: copies the head, cuts at each CRLF, glues folded lines back on, then cuts each at its first colon. Ends
/// before the first logical line with a CR or LF left over in it.
fn naive(head: &str) -> Vec<(String, Option<String>)> {
    let mut physical: Vec<&str> = head.split("\r\n").collect();
    // What follows the last CRLF is no line, but it may be the beginning of a fold.
    let open = physical.pop().unwrap_or_default();
    let mut lines: Vec<Vec<&str>> = Vec::new();
    let mut ended = false;
    for line in physical {
        if (line.starts_with(' ') || line.starts_with('\t')) && !lines.is_empty() {
            lines.last_mut().expect("checked").push(line);
        } else if line.is_empty() {
            ended = true;
            break;
        } else {
            lines.push(vec![line]);
        }
    }
    if !ended && (open.starts_with(' ') || open.starts_with('\t')) {
        lines.pop();
    }
    finish(
        lines
            .into_iter()
            .take_while(|parts| !parts.iter().any(|part| part.contains(['\r', '\n'])))
            .map(|parts| parts.join("\r\n"))
            .collect(),
    )
}

fn finish(lines: Vec<String>) -> Vec<(String, Option<String>)> {
    lines
        .into_iter()
        .map(|line| match line.split_once(':') {
            None => (line, None),
            Some((name, value)) => (
                name.trim_end_matches([' ', '\t']).to_owned(),
                Some(value.trim_matches([' ', '\t', '\r', '\n']).to_owned()),
            ),
        })
        .collect()
}

proptest! {
    #[test]
    fn lines_agree_with_the_naive_splitter(pieces in prop::collection::vec(
        prop::sample::select(vec!["\r\n", "\r\n ", "\r\n\t", ":", " ", "a", "Via", ": x", "\r", "\n", "é", "\r\n\r\n", "b:c"]), 0..40)) {
        let head = pieces.concat();
        let ours: Vec<_> = Lines::new(head.as_bytes(), 0)
            .map(|l| (head[l.name.clone()].to_owned(), l.value.map(|v| head[v].to_owned())))
            .collect();
        prop_assert_eq!(ours, naive(&head));
    }
}
