// SPDX-License-Identifier: MIT OR Apache-2.0
//! The attack list row by row (9-16, 20-23), and what a scanned message shows.

use super::*;

const VIA: &str = "Via: SIP/2.0/TLS edge.foreign.com:5061;branch=z9hG4bK1";

/// An OPTIONS request with `headers` in place of those of the same name, and a Content-Length of 0.
fn request(headers: &[&str]) -> Vec<u8> {
    with_start("OPTIONS sip:bob@local.com SIP/2.0", headers)
}

fn with_start(start: &str, headers: &[&str]) -> Vec<u8> {
    let defaults = [
        VIA,
        "From: <sip:x@foreign.com>;tag=a",
        "To: <sip:bob@local.com>",
        "Call-ID: 1@foreign.com",
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 70",
        "Content-Length: 0",
    ];
    let name = |line: &str| HeaderName::of(line.split(':').next().unwrap_or("").trim().as_bytes());
    let replaced: Vec<HeaderName> =
        headers.iter().map(|line| name(line)).filter(|n| *n != HeaderName::Other).collect();
    let mut lines = vec![start];
    lines.extend(defaults.iter().filter(|line| !replaced.contains(&name(line))));
    lines.extend(headers);
    format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

fn fault(frame: &[u8]) -> Option<ScanFault> {
    Message::scan(frame).err().map(|error| error.kind)
}

fn status(frame: &[u8]) -> Option<u16> {
    Message::scan(frame).err().map(|error| error.status())
}

#[test]
fn parts_of_a_request() {
    let frame = with_start(
        "SUBSCRIBE sip:bob@local.com SIP/2.0",
        &[
            "CSeq: 7 SUBSCRIBE",
            "Require: a, b",
            "Require: c",
            "k: x,y",
            "X-Unknown: ;;,,;",
            "Via: SIP/2.0/TCP a, SIP/2.0/TCP b",
            "v: SIP/2.0/UDP c",
        ],
    );
    let message = Message::scan(&frame).expect("well formed");
    assert_eq!((message.method(), message.method_name()), (Some(Method::Subscribe), Some("SUBSCRIBE")));
    assert_eq!(message.request_uri().and_then(|uri| uri.host), Some("local.com"));
    assert_eq!((message.from.uri.host, message.from.tag), (Some("foreign.com"), Some("a")));
    assert!(!message.has_to_tag() && message.is_answerable());
    assert_eq!((message.cseq.number, message.call_id, message.max_forwards), (7, "1@foreign.com", Some(70)));
    assert_eq!((message.vias, message.top_via.host), (3, "a"));
    assert_eq!(message.tokens(HeaderName::Require).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(message.tokens(HeaderName::Supported).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(message.values(HeaderName::ProxyRequire).count(), 0);
    let unknown = message.headers().find(|header| header.name == "X-Unknown").expect("kept");
    assert_eq!((unknown.id, unknown.value), (HeaderName::Other, ";;,,;"));
    assert_eq!(&frame[unknown.start..unknown.end], b"X-Unknown: ;;,,;\r\n");
    assert_eq!(&frame[unknown.value_start..][..6], b";;,,;\r");
}

#[test]
fn parts_of_a_response() {
    let frame = with_start("SIP/2.0 202 Принято", &["To: <sip:bob@local.com>;tag=b", "l: 2"]);
    let frame = [&frame[..], b"ok"].concat();
    let message = Message::scan(&frame).expect("well formed");
    assert_eq!(message.start, Start::Response { status: 202, reason: "Принято" });
    assert_eq!((message.method(), message.body, message.is_answerable()), (None, &b"ok"[..], false));
}

#[test]
fn row_9_folding() {
    for lines in [
        &["From: <sip:x@foreign.com>\r\n ;\r\n\ttag=a"][..],
        &["Content-Length:\r\n 0"],
        &["To:\r\n <sip:bob@local.com>"],
        &["CSeq: 1\r\n OPTIONS"],
    ] {
        assert_eq!(fault(&request(lines)), None, "{lines:?}");
    }
    assert_eq!(fault(&request(&["X\r\n : y"])), Some(ScanFault::HeaderName), "a fold right after the name");
    let frame = request(&[]);
    let start = frame.windows(2).position(|w| w == b"\r\n").expect("a line") + 2;
    let folded = [&frame[..start], b" ", &frame[start..]].concat();
    assert_eq!(fault(&folded), Some(ScanFault::Fold));
}

#[test]
fn row_10_controls() {
    assert_eq!(fault(&request(&["Subject: a\u{7}b"])), Some(ScanFault::Control));
    assert_eq!(fault(&request(&["Subject: a\0b"])), Some(ScanFault::Control));
    assert_eq!(
        fault(&request(&["Subject: a\\\0b"])),
        Some(ScanFault::Control),
        "no quoted string, no quoted pair"
    );
    assert_eq!(
        fault(&request(&["Subject: \"\\\\\0\""])),
        Some(ScanFault::Control),
        "the backslash is itself escaped"
    );
    assert_eq!(fault(&request(&["To: \"\\\0\\\u{7}\\\u{7f}\" <sip:bob@local.com>"])), None);
    assert_eq!(fault(&request(&["Subject: a\tb"])), None);
    assert_eq!(fault(&request(&["Subject: a\nl: 5"])), Some(ScanFault::LineEnd));
    assert_eq!(fault(&request(&["Subject: a\rl: 5"])), Some(ScanFault::LineEnd));
    assert_eq!(fault(&with_start("OPTIONS sip:a@\u{1}b SIP/2.0", &[])), Some(ScanFault::Control));
}

#[test]
fn row_11_header_names() {
    for line in ["From : <sip:x@foreign.com>", "f\t:<sip:x@foreign.com>"] {
        assert_eq!(fault(&request(&[line])), None, "{line:?}");
    }
    for line in [
        "Fr\u{43e}m: <sip:x@evil.com>",
        "From\u{b}: <sip:x@evil.com>",
        "a b: c",
        ": c",
        "no colon",
        "From\u{a0}: x",
        "(x): y",
    ] {
        assert!(matches!(fault(&request(&[line])), Some(ScanFault::HeaderName)), "{line:?}");
    }
}

#[test]
fn row_12_utf8() {
    let spoil = |octets: &[u8]| {
        let mut frame = request(&["Subject: ____"]);
        let at = frame.windows(4).position(|w| w == b"____").expect("marker");
        frame.splice(at..at + 4, octets.iter().copied());
        frame
    };
    for bad in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc3"] {
        assert_eq!(fault(&spoil(bad)), Some(ScanFault::Utf8), "{bad:x?}");
    }
    assert_eq!(fault(&spoil("привет".as_bytes())), None);
    assert_eq!(
        fault(&request(&["From: \"\u{feff}bob\" <sip:x@foreign.com>"])),
        Some(ScanFault::Malformed(HeaderName::From))
    );
    let body = [&request(&["l: 2"])[..], b"\xff\xfe"].concat();
    assert_eq!(fault(&body), None, "a body is any octets");
}

#[test]
fn rows_13_14_duplicates_long_and_compact() {
    for (lines, id) in [
        (&["From: <sip:a@b>", "f: <sip:a@b>"][..], HeaderName::From),
        (&["t: <sip:a@b>", "T: <sip:a@b>"], HeaderName::To),
        (&["i: a", "Call-ID: a"], HeaderName::CallId),
        (&["CSeq: 1 OPTIONS", "cseq: 1 OPTIONS"], HeaderName::CSeq),
        (&["Max-Forwards: 1", "MAX-FORWARDS: 1"], HeaderName::MaxForwards),
        (&["Event: presence", "o: presence"], HeaderName::Event),
        (&["l: 0", "Content-Length: 0"], HeaderName::ContentLength),
        (&["c: text/plain", "Content-Type: text/plain"], HeaderName::ContentType),
    ] {
        assert_eq!(fault(&request(lines)), Some(ScanFault::Duplicate(id)), "{lines:?}");
    }
    assert_eq!(
        fault(&request(&["From: <sip:a@b>, <sip:c@d>"])),
        Some(ScanFault::Malformed(HeaderName::From))
    );
    assert_eq!(fault(&request(&["m: <sip:a@b>", "Contact: <sip:c@d>", "k: x", "Supported: y"])), None);
}

#[test]
fn rows_15_16_from_spoofs() {
    for (from, host) in [
        ("\"bob@permitted.com\" <sip:x@evil.com>", Some("evil.com")),
        ("<sip:a@ok.com> <sip:b@evil.com>", None),
        ("<sip:user@permitted@evil.com>", None),
        ("<sip:user%40permitted.com@evil.com>", Some("evil.com")),
        ("<sip:permitted.com:x@evil.com>", Some("evil.com")),
        ("<sip:x@evil.com;p=@ok.com>", None),
        ("<sip:x@evil.com?From=%3Csip:a@ok.com%3E>", None),
        ("<sip:x@evil.com?From=a>", None),
        ("sip:x@evil.com?From=a", None),
    ] {
        let frame = request(&[&format!("From: {from};tag=1")]);
        assert_eq!(Message::scan(&frame).ok().and_then(|m| m.from.uri.host), host, "{from}");
        if host.is_none() {
            assert_eq!(fault(&frame), Some(ScanFault::Malformed(HeaderName::From)), "{from}");
        }
    }
}

#[test]
fn row_20_max_forwards() {
    assert_eq!(status(&request(&["Max-Forwards: 0"])), Some(483));
    assert_eq!(status(&request(&["Max-Forwards: 256"])), Some(400));
    assert_eq!(status(&request(&["Max-Forwards: -1"])), Some(400));
    let hops = |line: &str| Message::scan(&request(&[line])).ok().and_then(|m| m.max_forwards);
    assert_eq!(hops("Max-Forwards: 070"), Some(70));
    let none: Vec<u8> = request(&[])
        .split_inclusive(|&b| b == b'\n')
        .filter(|l| !l.starts_with(b"Max-F"))
        .flatten()
        .copied()
        .collect();
    assert_eq!(Message::scan(&none).map(|m| m.max_forwards), Ok(None));
}

#[test]
fn row_21_version() {
    assert_eq!(status(&with_start("OPTIONS sip:bob@local.com SIP/3.0", &[])), Some(505));
    assert_eq!(status(&with_start("OPTIONS sip:bob@local.com SIP/2.1", &[])), Some(505));
    assert_eq!(status(&with_start("OPTIONS sip:bob@local.com sip/2.0", &[])), None);
    assert_eq!(status(&with_start("OPTIONS sip:bob@local.com HTTP/1.1", &[])), Some(400));
    assert_eq!(status(&with_start("OPTIONS sip:bob@local.com SIP/2.0 ", &[])), Some(400));
    assert_eq!(status(&with_start("OPTIONS  sip:bob@local.com SIP/2.0", &[])), Some(400));
    assert_eq!(status(&with_start("OPTIONS sip:bob@local.com", &[])), Some(400));
}

#[test]
fn row_22_methods_are_shown_not_judged() {
    for method in ["REGISTER", "PUBLISH", "REFER", "BENOTIFY", "SERVICE", "NEGOTIATE", "RE%47ISTER", "invite"]
    {
        let frame =
            with_start(&format!("{method} sip:bob@local.com SIP/2.0"), &[&format!("CSeq: 1 {method}")]);
        assert_eq!(Message::scan(&frame).map(|m| m.method_name()), Ok(Some(method)));
    }
    let long = "M".repeat(1024);
    let frame = with_start(&format!("{long} sip:bob@local.com SIP/2.0"), &[&format!("CSeq: 1 {long}")]);
    assert_eq!(Message::scan(&frame), Err(ScanError { kind: ScanFault::Method, answerable: true }));
}

#[test]
fn row_23_extensions_are_shown_not_judged() {
    let frame = request(&["Require: nothing", "Proxy-Require: ms-benotify"]);
    let message = Message::scan(&frame).expect("well formed");
    assert!(message.present.contains_any(&[HeaderName::ProxyRequire]));
    assert_eq!(message.tokens(HeaderName::ProxyRequire).next(), Some("ms-benotify"));
}

#[test]
fn missing_and_malformed() {
    for id in [
        HeaderName::Via,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
        HeaderName::ContentLength,
    ] {
        let frame: Vec<u8> = request(&[])
            .split_inclusive(|&b| b == b'\n')
            .filter(|line| !line.starts_with(id.name().as_bytes()))
            .flatten()
            .copied()
            .collect();
        assert_eq!(fault(&frame), Some(ScanFault::Missing(id)));
    }
    for (line, id) in [
        ("CSeq: 2147483648 OPTIONS", HeaderName::CSeq),
        ("CSeq: OPTIONS", HeaderName::CSeq),
        ("CSeq: 1OPTIONS", HeaderName::CSeq),
        ("CSeq: 1 OPTIONS x", HeaderName::CSeq),
        ("Call-ID: a b", HeaderName::CallId),
        ("Call-ID: a@b@c", HeaderName::CallId),
        ("Call-ID:", HeaderName::CallId),
        ("Contact: <sip:a@b>;;;", HeaderName::Contact),
        ("Contact: sip:a@b?x=y", HeaderName::Contact),
        ("Via: SIP/2.0/TLS", HeaderName::Via),
        ("Content-Length: 00x", HeaderName::ContentLength),
    ] {
        assert_eq!(fault(&request(&[line])), Some(ScanFault::Malformed(id)), "{line}");
    }
    assert_eq!(fault(&request(&["CSeq: 1 INVITE"])), Some(ScanFault::CSeqMethod));
    assert_eq!(fault(&request(&["l: 1"])), Some(ScanFault::BodyLength));
    assert_eq!(fault(&request(&["Contact: *"])), None);
    assert_eq!(fault(b""), Some(ScanFault::LineEnd));
    assert_eq!(fault(b"\r\n\r\n"), Some(ScanFault::StartLine));
}

#[test]
fn schemes() {
    assert_eq!(status(&with_start("OPTIONS tel:+1555 SIP/2.0", &[])), Some(416));
    assert_eq!(status(&with_start("OPTIONS soap.beep://x SIP/2.0", &[])), Some(416));
    assert_eq!(status(&with_start("OPTIONS im:bob@local.com SIP/2.0", &[])), None);
    assert_eq!(status(&with_start("OPTIONS sip:bob@local.com?a=b SIP/2.0", &[])), Some(400));
}

#[test]
fn limits() {
    let vias = vec![VIA; 71];
    assert_eq!(status(&request(&vias)), Some(513));
    assert_eq!(fault(&request(&vias[1..])), None);
    let list = format!("Via: {}", vec!["SIP/2.0/TLS h"; 71].join(","));
    assert_eq!(fault(&request(&[&list])), Some(ScanFault::TooManyVias));
    let many = vec!["X-Y: y"; 200];
    assert_eq!(fault(&request(&many)), Some(ScanFault::TooManyHeaders));
}

#[test]
fn responses_and_acks_are_not_answerable() {
    let answerable = |frame: &[u8]| Message::scan(frame).err().map(|error| error.answerable);
    assert_eq!(answerable(&with_start("SIP/2.0 200 OK", &["CSeq: x"])), Some(false));
    assert_eq!(answerable(&with_start("SIP/2.0 4294967301 x", &[])), Some(false));
    assert_eq!(answerable(&with_start("sip/7.0 200 OK", &[])), Some(false));
    assert_eq!(answerable(&with_start("ACK sip:bob@local.com SIP/2.0", &[])), Some(false));
    assert_eq!(answerable(&with_start("OPTIONS sip:bob@local.com SIP/2.0", &["CSeq: x"])), Some(true));
    assert_eq!(answerable(b"\x16\x03\x01 garbage\r\n\r\n"), Some(false));
    let unroutable = with_start("SIP/2.0 200 OK", &[VIA, "Via: SIP/2.0/UDP 255.255.255.255"]);
    assert_eq!(
        Message::scan(&unroutable),
        Err(ScanError { kind: ScanFault::UnroutableVia, answerable: false })
    );
}

/// Kamailio was seen to read `MSRP` as the start of an MSRP frame that a line of `-------` ends, and what followed as a
/// request; with `tcp_accept_hep3` it takes `HEP3` and two octets of length for a frame.
#[test]
fn msrp_frames_are_no_sip() {
    let request = |method: &str, more: &str| {
        format!(
            "{method} sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TLS e;branch=z9hG4bKa\r\nFrom: <sip:x@foreign.example>;tag=a\r\n\
             To: <sip:bob@local.example>\r\nCall-ID: outer\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n{more}\r\n"
        )
    };
    let scan =
        |text: String| Message::scan(text.as_bytes()).err().map(|e| (e.kind, e.status(), e.answerable));
    for method in ["MSRP", "msrp", "Msrp", "HEP3", "HEP3AB"] {
        assert_eq!(scan(request(method, "")), Some((ScanFault::Method, 400, true)), "{method}");
    }
    for line in ["-------sip:bob@local.example$\r\n", "-: x\r\n", "-x : y\r\n", "-------\r\n"] {
        assert_eq!(scan(request("MESSAGE", line)), Some((ScanFault::HeaderName, 400, true)), "{line}");
    }
    assert_eq!(scan(request("MSRPX", "x-: -\r\n")), None);
}
