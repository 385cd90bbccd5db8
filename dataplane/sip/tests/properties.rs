// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any octets, and the RFC 4475 corpus with octets changed, cut out and repeated: nothing panics, what is accepted reads
//! the same to a naive second reader, and every answer is itself a well-formed message.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use fedgate_sip::answer;
use fedgate_sip::edit;
use fedgate_sip::frame::{Frame, Framer, Limits};
use fedgate_sip::headers::HeaderName;
use fedgate_sip::identity::PeerIdentity;
use fedgate_sip::message::Message;
use fedgate_sip::sdp::Ports;
use fedgate_sip::translate::{self, Mapping, Transport, Way};
use fedgate_sip::verdict::{self, DomainList, Listed, LocalDomains};
use proptest::prelude::*;

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/rfc4475");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "dat"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 49);
    files.iter().map(|path| std::fs::read(path).expect("readable")).collect()
});

struct Nobody;

impl DomainList for Nobody {
    fn lookup(&self, canonical: &str) -> Listed {
        if canonical.len().is_multiple_of(2) {
            Listed::Unlisted
        } else {
            Listed::Permitted { id: 7, peer: None }
        }
    }
}

impl LocalDomains for Nobody {
    fn is_local(&self, canonical: &str) -> bool {
        canonical == "example.com"
    }
}

/// Translates every address to one of the same family.
struct All;

fn other(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::from([203, 0, 113, 3]),
        IpAddr::V6(_) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 3]),
    }
}

impl Mapping for All {
    fn shown(&mut self, _: Transport, real: SocketAddr) -> Option<SocketAddr> {
        Some(SocketAddr::new(other(real.ip()), real.port() ^ 1))
    }
    fn real(&mut self, transport: Transport, shown: SocketAddr) -> Option<SocketAddr> {
        self.shown(transport, shown)
    }
    fn host(&mut self, real: IpAddr) -> Option<IpAddr> {
        Some(other(real))
    }
    fn media(&mut self, real: IpAddr, ports: Ports) -> Option<(IpAddr, Ports)> {
        Some((other(real), Ports { media: ports.media ^ 1, ..ports }))
    }
}

/// The naive reader: owned strings all the way, one rule after the other.
fn naive_headers(frame: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(frame).into_owned();
    let (head, _) = text.split_once("\r\n\r\n").expect("a head");
    let mut lines: Vec<String> = Vec::new();
    for line in head.split("\r\n").skip(1) {
        if line.starts_with([' ', '\t']) {
            let last = lines.last_mut().expect("no fold in front");
            *last = format!("{last}\r\n{line}");
        } else {
            lines.push(line.to_owned());
        }
    }
    lines
        .iter()
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a colon");
            (
                name.trim_end_matches([' ', '\t']).to_owned(),
                value.trim_matches([' ', '\t', '\r', '\n']).to_owned(),
            )
        })
        .collect()
}

fn naive_count(headers: &[(String, String)], long: &str, compact: &str) -> usize {
    headers
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(compact))
        .count()
}

/// Runs a stream through everything and checks what can be said of any stream.
fn run(stream: &[u8]) {
    let mut framer = Framer::new(Limits::DEFAULT);
    let mut at = 0;
    loop {
        let (frame, lines) = match framer.next(&stream[at..]) {
            Frame::Incomplete { .. } => return,
            Frame::KeepAlive { len } => {
                at += len;
                continue;
            }
            Frame::Bad(error) => {
                if let Ok(answer) =
                    answer::compose_unread(&stream[at..at + error.lines], 400, "Bad Request", "t")
                {
                    check_framed(&answer);
                }
                return;
            }
            Frame::Message { head_len, body_len } => (&stream[at..at + head_len + body_len], head_len),
        };
        at += frame.len();
        match Message::scan(frame) {
            Err(error) => {
                let answer = answer::compose_unread(&frame[..lines], error.status(), error.reason(), "t");
                assert!(error.answerable || answer.is_err());
                if let Ok(answer) = answer {
                    check_framed(&answer);
                }
            }
            Ok(message) => check_message(frame, &message),
        }
    }
}

fn check_framed(answer: &[u8]) {
    match Framer::new(Limits::DEFAULT).next(answer) {
        Frame::Message { head_len, body_len } => assert_eq!((head_len, body_len), (answer.len(), 0)),
        // Values near the limit of a line can outgrow it by the longer header name or the tag.
        Frame::Bad(error) => assert_eq!(error.fault.status(), 513),
        frame => panic!("{frame:?}"),
    }
}

fn check_message(frame: &[u8], message: &Message<'_>) {
    let naive = naive_headers(frame);
    let ours: Vec<(String, String)> =
        message.headers().map(|header| (header.name.to_owned(), header.value.to_owned())).collect();
    assert_eq!(ours, naive);
    for (long, compact) in
        [("From", "f"), ("To", "t"), ("Call-ID", "i"), ("CSeq", "cseq"), ("Content-Length", "l")]
    {
        assert_eq!(naive_count(&naive, long, compact), 1, "{long}");
    }
    assert_eq!(message.values(HeaderName::Via).count(), naive_count(&naive, "Via", "v"));
    for header in message.headers() {
        assert_eq!(&frame[header.value_start..][..header.value.len()], header.value.as_bytes());
        assert!(frame[..header.end].ends_with(b"\r\n"));
    }
    let peer = PeerIdentity::none();
    let _ = verdict::inbound(message, &peer, &Nobody, &Nobody);
    let _ = verdict::outbound(message, &peer, &Nobody, &Nobody);
    for way in [Way::Out, Way::In] {
        let mut edits = Vec::new();
        translate::rewrite(message, way, &mut All, &mut edits);
        assert!(edits.is_empty() || translate::concerns(message, way));
        let after = edit::apply(message, edits);
        let after = Message::scan(&after).expect("still a message");
        assert_eq!((after.call_id, after.cseq, after.vias), (message.call_id, message.cseq, message.vias));
        assert_eq!((after.from, after.to), (message.from, message.to));
        let (before, after) = (message.headers().map(|h| h.name), after.headers().map(|h| h.name));
        assert!(before.eq(after), "no header comes or goes");
    }
    match answer::compose(message, 403, "Forbidden", "t") {
        Err(_) => assert!(!message.is_answerable()),
        Ok(answer) => {
            check_framed(&answer);
            let answer = Message::scan(&answer).expect("an answer is well formed");
            assert_eq!(
                (answer.call_id, answer.cseq, answer.vias),
                (message.call_id, message.cseq, message.vias)
            );
            let (from, to) = (message.from, message.to);
            assert_eq!((answer.from.uri, answer.from.tag, answer.to.uri), (from.uri, from.tag, to.uri));
            assert_eq!(answer.from.display, from.display.replace("\r\n", ""), "folds are undone");
            assert_eq!(answer.to.tag, to.tag.or(Some("t")));
        }
    }
}

#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, &'static str),
    Cut(prop::sample::Index, usize),
    Double(prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<prop::sample::Index>;
    let piece = prop::sample::select(vec![
        "\r\n",
        "\r\n ",
        "\r\n\r\n",
        "\n",
        "\r",
        "\0",
        "\\\0",
        "\"",
        "<",
        ">",
        "@",
        ":",
        ";",
        ",",
        "%40",
        "f: <sip:x@y>\r\n",
        "l: 0\r\n",
        "é",
        " ",
        "SIP/2.0",
        "v: SIP/2.0/TLS h\r\n",
        "P-Asserted-Identity: <sip:a@b>\r\n",
    ]);
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(i, b)| Change::Set(i, b)),
        (at(), piece).prop_map(|(i, s)| Change::Insert(i, s)),
        (at(), 1..20usize).prop_map(|(i, n)| Change::Cut(i, n)),
        (at(), 1..80usize).prop_map(|(i, n)| Change::Double(i, n)),
    ]
}

fn changed(mut octets: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = octets.len();
        match *change {
            Change::Set(i, b) if len > 0 => octets[i.index(len)] = b,
            Change::Insert(i, s) => {
                let at = i.index(len + 1);
                octets.splice(at..at, s.bytes());
            }
            Change::Cut(i, n) => {
                let at = i.index(len + 1);
                octets.drain(at..len.min(at + n));
            }
            Change::Double(i, n) => {
                let at = i.index(len + 1);
                let piece = octets[at..len.min(at + n)].to_vec();
                octets.splice(at..at, piece);
            }
            Change::Set(..) => {}
        }
    }
    octets
}

#[test]
fn the_corpus_as_it_is() {
    CORPUS.iter().for_each(|stream| run(stream));
    let all: Vec<u8> = CORPUS.concat();
    run(&all);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn changed_corpus(file in 0..49usize, changes in prop::collection::vec(change(), 1..6)) {
        run(&changed(CORPUS[file].clone(), &changes));
    }

    /// Whole frames, so that the changes reach the scanner rather than the framer.
    #[test]
    fn changed_frames(file in 0..49usize, changes in prop::collection::vec(change(), 1..4)) {
        let frame = changed(CORPUS[file].clone(), &changes);
        if let Ok(message) = Message::scan(&frame) {
            check_message(&frame, &message);
        }
    }

    #[test]
    fn any_octets(octets in prop::collection::vec(any::<u8>(), 0..400)) {
        run(&octets);
        let _ = Message::scan(&octets);
        let _ = answer::compose_unread(&octets, 400, "Bad Request", "t");
    }
}
