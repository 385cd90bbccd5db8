// SPDX-License-Identifier: MIT OR Apache-2.0
//! All 49 torture messages of RFC 4475, fed as a TLS stream: what framer, scanner and domain verdict make of each.
//!
//! The files are the RFC's own octets (`tests/corpus/rfc4475`, with the RFC's outcomes in `expected.tsv`). What
//! `expected.tsv` leaves to policy (405, 406, 415, 420, ...) is accepted here: method and body policy is another layer's.
//! The set-up is that of the corpus: example.com and example.org are ours, example.net and others are permitted, and the
//! certificate vouches for all of them, so that the parser's outcome is not hidden by a 403.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fedgate_sip::answer;
use fedgate_sip::frame::{Frame, FrameFault, Framer, Limits};
use fedgate_sip::headers::HeaderName;
use fedgate_sip::identity::{CertificateNames, PeerIdentity};
use fedgate_sip::message::{Message, ScanFault};
use fedgate_sip::verdict::{self, Denial, DomainList, Listed, LocalDomains, Verdict};

fn corpus() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/rfc4475"))
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(corpus().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[derive(Debug, PartialEq)]
enum Outcome {
    /// Scanned; the method, or the status of a response.
    Accept(&'static str),
    /// Refused by the scanner, answered with this status.
    Status(u16, ScanFault),
    /// Refused by the scanner, never answered.
    Drop(ScanFault),
    /// The stream is closed.
    Close(FrameFault),
    /// More octets are waited for; the proxy's timer ends it.
    Waits,
}
use Outcome::{Accept, Close, Drop, Status, Waits};

/// One row a message, in the RFC's order.
fn table() -> Vec<(&'static str, Outcome)> {
    use HeaderName::{CSeq, Contact, From, To, Via};
    let malformed = |id| Status(400, ScanFault::Malformed(id));
    vec![
        ("wsinv.dat", Accept("INVITE")),
        ("intmeth.dat", Accept("!interesting-Method0123456789_*+`.%indeed'~")),
        ("esc01.dat", Accept("INVITE")),
        ("escnull.dat", Accept("REGISTER")),
        ("esc02.dat", Accept("RE%47IST%45R")),
        ("lwsdisp.dat", Accept("OPTIONS")),
        ("longreq.dat", Accept("INVITE")),
        ("dblreq.dat", Accept("REGISTER")),
        ("semiuri.dat", Accept("OPTIONS")),
        ("transports.dat", Accept("OPTIONS")),
        ("mpart01.dat", Accept("MESSAGE")),
        ("unreason.dat", Accept("200")),
        ("noreason.dat", Accept("100")),
        ("badinv01.dat", malformed(Via)),
        ("clerr.dat", Waits),
        ("ncl.dat", Close(FrameFault::LengthBad)),
        ("scalar02.dat", malformed(CSeq)),
        ("scalarlg.dat", Drop(ScanFault::Malformed(CSeq))),
        ("quotbal.dat", malformed(To)),
        ("ltgtruri.dat", Status(400, ScanFault::RequestUri)),
        ("lwsruri.dat", Status(400, ScanFault::StartLine)),
        ("lwsstart.dat", Status(400, ScanFault::StartLine)),
        ("trws.dat", Status(400, ScanFault::StartLine)),
        ("escruri.dat", Status(400, ScanFault::RequestUri)),
        ("baddate.dat", Accept("INVITE")),
        ("regbadct.dat", malformed(Contact)),
        ("badaspec.dat", malformed(To)),
        ("baddn.dat", malformed(From)),
        ("badvers.dat", Status(505, ScanFault::Version)),
        ("mismatch01.dat", Status(400, ScanFault::CSeqMethod)),
        ("mismatch02.dat", Status(400, ScanFault::CSeqMethod)),
        ("bigcode.dat", Drop(ScanFault::StatusCode)),
        ("badbranch.dat", Accept("OPTIONS")),
        ("insuf.dat", Status(400, ScanFault::Missing(From))),
        ("unkscm.dat", Status(416, ScanFault::UriScheme)),
        ("novelsc.dat", Status(416, ScanFault::UriScheme)),
        ("unksm2.dat", Accept("REGISTER")),
        ("bext01.dat", Accept("OPTIONS")),
        ("invut.dat", Accept("INVITE")),
        ("regaut01.dat", Accept("REGISTER")),
        ("multi01.dat", Status(400, ScanFault::Duplicate(CSeq))),
        ("mcl01.dat", Close(FrameFault::LengthTwice)),
        ("bcast.dat", Drop(ScanFault::UnroutableVia)),
        ("zeromf.dat", Status(483, ScanFault::TooManyHops)),
        ("cparam01.dat", Accept("REGISTER")),
        ("cparam02.dat", Accept("REGISTER")),
        ("regescrt.dat", Accept("REGISTER")),
        ("sdp01.dat", Accept("INVITE")),
        ("inv2543.dat", Close(FrameFault::LengthMissing)),
    ]
}

fn stream(name: &str) -> Vec<u8> {
    let mut octets = read(name);
    if name == "baddn.dat" {
        // The archive's file lacks the empty line's CRLF.
        octets.extend_from_slice(b"\r\n");
    }
    octets
}

/// The first message of a stream; panics where there is none.
fn first(stream: &[u8]) -> &[u8] {
    match Framer::new(Limits::DEFAULT).next(stream) {
        Frame::Message { head_len, body_len } => &stream[..head_len + body_len],
        frame => panic!("{frame:?}"),
    }
}

fn is_outcome(stream: &[u8], want: &Outcome) -> bool {
    let frame = match Framer::new(Limits::DEFAULT).next(stream) {
        Frame::Incomplete { .. } => return *want == Waits,
        Frame::KeepAlive { .. } => return false,
        Frame::Bad(error) => return *want == Close(error.fault),
        Frame::Message { .. } => first(stream),
    };
    match (Message::scan(frame), want) {
        (Ok(message), Accept(what)) => match message.start {
            fedgate_sip::message::Start::Request { name, .. } => name == *what,
            fedgate_sip::message::Start::Response { status, .. } => status.to_string() == *what,
        },
        (Err(error), want) if error.answerable => *want == Status(error.status(), error.kind),
        (Err(error), want) => *want == Drop(error.kind),
        (Ok(_), _) => false,
    }
}

#[test]
fn every_message_gets_its_verdict() {
    let listed = String::from_utf8(read("expected.tsv")).expect("text");
    let listed: BTreeSet<&str> = listed.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    let table = table();
    assert_eq!(table.len(), 49);
    assert_eq!(table.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), listed);
    for (name, want) in table {
        let stream = stream(name);
        assert!(
            is_outcome(&stream, &want),
            "{name}: want {want:?}, framed {:?}, scanned {:?}",
            Framer::new(Limits::DEFAULT).next(&stream),
            Message::scan(&stream)
        );
    }
}

/// Where the suggested outcome of `expected.tsv` is a status that these layers give, it is the one given.
#[test]
fn statuses_agree_with_the_expected_column() {
    let expected = String::from_utf8(read("expected.tsv")).expect("text");
    let suggested = |name: &str| {
        let line = expected.lines().find(|line| line.starts_with(name)).expect("a row");
        line.split('\t').nth(4).expect("five columns").to_owned()
    };
    for (name, outcome) in table() {
        let text = suggested(name);
        match outcome {
            Status(status, _) => {
                assert!(text.contains(&status.to_string()), "{name}: {status} against {text}")
            }
            Close(fault) => {
                assert!(
                    text.contains(&fault.status().to_string()) && text.contains("close"),
                    "{name}: {text}"
                );
            }
            Drop(_) => assert!(text.contains("drop"), "{name}: {text}"),
            Waits => assert!(text.contains("timer"), "{name}: {text}"),
            Accept(_) => assert!(!text.starts_with("400") || text.contains("own branch"), "{name}: {text}"),
        }
    }
}

/// Over UDP what follows the first message is ignored; over a stream it is the next message, with all checks. The RFC's
/// second body is five octets longer than it says, so the stream ends there.
#[test]
fn dblreq_is_two_messages_over_a_stream() {
    let stream = read("dblreq.dat");
    let mut framer = Framer::new(Limits::DEFAULT);
    let (mut at, mut seen) = (0, Vec::new());
    let end = loop {
        match framer.next(&stream[at..]) {
            Frame::KeepAlive { len } => {
                seen.push("CRLF".to_owned());
                at += len;
            }
            Frame::Message { head_len, body_len } => {
                let message = Message::scan(&stream[at..at + head_len + body_len]).expect("well formed");
                seen.push(message.method_name().unwrap_or_default().to_owned());
                at += head_len + body_len;
            }
            frame @ (Frame::Incomplete { .. } | Frame::Bad(_)) => break frame,
        }
    };
    assert_eq!(seen, ["REGISTER", "CRLF", "INVITE"]);
    assert_eq!(&stream[at..], b"C\r\n\r\n");
    assert!(matches!(end, Frame::Bad(error) if error.fault == FrameFault::LengthMissing), "{end:?}");
}

#[test]
fn hosts_are_read_as_the_rfc_says() {
    for (name, uri, from, to) in [
        ("esc01.dat", "example.net", "example.net", "example.com"),
        ("semiuri.dat", "example.com", "example.org", "example.com"),
        ("intmeth.dat", "example.com", "example.com", "example.com"),
        ("wsinv.dat", "chair-dnrc.example.com", "example.com", "chair-dnrc.example.com"),
        ("longreq.dat", "example.com", "example.net", "example.com"),
    ] {
        let stream = read(name);
        let message = Message::scan(first(&stream)).expect("well formed");
        assert_eq!(message.request_uri().and_then(|u| u.host), Some(uri), "{name}");
        assert_eq!((message.from.uri.host, message.to.uri.host), (Some(from), Some(to)), "{name}");
    }
}

#[test]
fn what_policy_will_need_is_shown() {
    let stream = read("bext01.dat");
    let message = Message::scan(first(&stream)).expect("well formed");
    let unsupported: Vec<&str> = message.tokens(HeaderName::ProxyRequire).collect();
    assert_eq!(unsupported, ["noProxiesSupportThis", "norDoAnyProxiesSupportThis"]);
    let stream = read("badbranch.dat");
    let message = Message::scan(first(&stream)).expect("well formed");
    assert_eq!(message.top_via.branch, Some("z9hG4bK"));
    let stream = read("invut.dat");
    let message = Message::scan(first(&stream)).expect("well formed");
    assert_eq!(message.values(HeaderName::ContentType).next(), Some("application/unknownformat"));
    let stream = read("longreq.dat");
    assert_eq!(Message::scan(first(&stream)).expect("well formed").vias, 34);
}

/// What is refused with a status is answered, where there is something to answer to, by something that is itself one
/// well-formed message.
#[test]
fn refusals_are_answered() {
    let mut unanswered = Vec::new();
    for (name, outcome) in table() {
        let stream = stream(name);
        let (lines, status) = match (outcome, Framer::new(Limits::DEFAULT).next(&stream)) {
            (Status(status, _), _) => (first(&stream), status),
            (Close(fault), Frame::Bad(error)) => (&stream[..error.lines], fault.status()),
            _ => continue,
        };
        match answer::compose_unread(lines, status, answer::reason_phrase(status), "tag") {
            Err(error) => unanswered.push((name, error)),
            Ok(answer) => {
                assert!(answer.starts_with(format!("SIP/2.0 {status} ").as_bytes()), "{name}");
                assert_eq!(first(&answer), answer, "{name}");
            }
        }
    }
    assert_eq!(unanswered, [("insuf.dat", answer::AnswerError::Missing(HeaderName::To))]);
}

struct Everyone;

impl DomainList for Everyone {
    fn lookup(&self, canonical: &str) -> Listed {
        match canonical {
            "example.net" | "example.edu" | "caller.example" => Listed::Permitted { id: 1, peer: None },
            _ => Listed::Unlisted,
        }
    }
}

impl LocalDomains for Everyone {
    fn is_local(&self, canonical: &str) -> bool {
        canonical == "example.com" || canonical == "example.org"
    }
}

#[test]
fn domain_verdicts() {
    let certificate =
        CertificateNames { has_alt_names: true, dns: &["example.net", "example.edu"], ..Default::default() };
    let peer = PeerIdentity::of(&certificate).expect("few names");
    for (name, want) in [
        ("longreq.dat", None),
        ("unksm2.dat", Some(Denial::NotPermitted)),
        ("semiuri.dat", Some(Denial::SpoofLocal)),
        ("esc01.dat", Some(Denial::Relay)),
        ("sdp01.dat", None),
        ("invut.dat", None),
        ("unreason.dat", None),
        ("noreason.dat", None),
    ] {
        let stream = read(name);
        let message = Message::scan(first(&stream)).expect("well formed");
        let verdict = verdict::inbound(&message, &peer, &Everyone, &Everyone);
        assert_eq!(verdict.denial(), want, "{name}");
        assert_eq!(matches!(verdict, Verdict::Deny { status: 403, .. }), want.is_some(), "{name}");
    }
}
