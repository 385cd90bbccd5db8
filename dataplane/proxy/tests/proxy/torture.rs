// SPDX-License-Identifier: MIT OR Apache-2.0
//! All 49 torture messages of RFC 4475 through the whole proxy, over TLS: what reaches the server, what is answered, what
//! ends the connection.
//!
//! The files and the outcomes that the RFC wants are in `tests/corpus/rfc4475`. Each row says which domain is ours and which
//! one is permitted (and named in the peer's certificate), chosen so that the message is judged for what it is. In seven
//! From and To are of one domain: whatever else is right with them, from outside they claim to be us. What is for a server
//! to refuse (415, 406) reaches the server.

use crate::scene::*;
use fedgate_proxy::{CloseReason, Leg};

/// What becomes of a message.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It reaches the server, octet for octet.
    Through,
    /// It is answered with this, and the connection stays.
    Answer(u16),
    /// It is answered with this, and the connection ends.
    Close(u16),
    /// Nobody hears of it.
    Silence,
    /// The rest is waited for, and then the connection ends.
    Late,
}
use Outcome::{Answer, Close, Late, Silence, Through};

/// File, our domains, the foreign one, outcome; in the RFC's order.
const TABLE: &[(&str, &[&str], &str, Outcome)] = &[
    ("wsinv", &["chair-dnrc.example.com", "services.example.com"], "example.com", Through),
    ("intmeth", &["example.com"], "example.net", Answer(403)),
    ("esc01", &["example.com"], "example.net", Answer(403)),
    ("escnull", &["example.com"], "example.net", Answer(405)),
    ("esc02", &["example.com"], "example.net", Answer(403)),
    ("lwsdisp", &["example.com"], "example.net", Answer(403)),
    ("longreq", &["example.com"], "example.net", Through),
    ("semiuri", &["example.com"], "example.org", Through),
    ("transports", &["example.com"], "example.net", Answer(403)),
    // Its Route leads to 127.0.0.1.
    ("mpart01", &["example.org"], "example.com", Answer(403)),
    ("unreason", &["example.com"], "example.edu", Silence),
    ("noreason", &["example.com"], "example.edu", Silence),
    ("badinv01", &["example.com"], "example.net", Answer(400)),
    ("clerr", &["example.com"], "example.net", Late),
    ("ncl", &["example.com"], "example.net", Close(400)),
    ("scalar02", &["example.com"], "example.net", Answer(400)),
    ("scalarlg", &["example.net"], "example.com", Silence),
    ("quotbal", &["example.com"], "example.net", Answer(400)),
    ("ltgtruri", &["example.com"], "example.net", Answer(400)),
    ("lwsruri", &["example.com"], "example.net", Answer(400)),
    ("lwsstart", &["example.com"], "example.net", Answer(400)),
    ("trws", &["example.com"], "example.net", Answer(400)),
    ("escruri", &["example.com"], "example.net", Answer(400)),
    ("baddate", &["example.com"], "example.net", Through),
    ("regbadct", &["example.com"], "example.net", Answer(400)),
    ("badaspec", &["example.org"], "example.com", Answer(400)),
    ("baddn", &["example.org"], "example.com", Answer(400)),
    ("badvers", &["example.org"], "example.com", Answer(505)),
    ("mismatch01", &["example.com"], "example.net", Answer(400)),
    ("mismatch02", &["example.com"], "example.net", Answer(400)),
    ("bigcode", &["example.com"], "example.edu", Silence),
    ("badbranch", &["example.com"], "example.org", Through),
    // No From, To or Call-ID: there is nothing that an answer could be made of.
    ("insuf", &["example.com"], "example.net", Silence),
    ("unkscm", &["example.com"], "example.net", Answer(416)),
    ("novelsc", &["example.com"], "example.net", Answer(416)),
    ("unksm2", &["example.com"], "example.net", Answer(403)),
    ("bext01", &["example.com"], "example.net", Answer(420)),
    ("invut", &["example.com"], "example.net", Through),
    ("regaut01", &["example.com"], "example.net", Answer(405)),
    ("multi01", &["example.com"], "example.net", Answer(400)),
    ("mcl01", &["example.com"], "example.net", Close(400)),
    ("bcast", &["example.com"], "example.edu", Silence),
    ("zeromf", &["example.com"], "example.net", Answer(483)),
    ("cparam01", &["example.com"], "example.net", Answer(405)),
    ("cparam02", &["example.com"], "example.net", Answer(405)),
    ("regescrt", &["example.com"], "example.net", Answer(405)),
    ("sdp01", &["example.com"], "example.net", Through),
    ("inv2543", &["ss1.example.net", "example.com"], "ift.client.example.net", Close(400)),
];

fn read(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/corpus/rfc4475/{name}.dat", env!("CARGO_MANIFEST_DIR"));
    let mut octets = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    if name == "baddn" {
        // The archive's file lacks the empty line's CRLF.
        octets.extend_from_slice(b"\r\n");
    }
    octets
}

/// The message through the proxy, and a good one behind it.
fn pass(name: &str, ours: &[&str], foreign: &str) -> (Scene, usize) {
    let mut s = Scene::new();
    s.foreign = s.ca.leaf(&[foreign, "foreign.example"]);
    s.lab.domains.permit(foreign, 9);
    s.lab.locals.0.extend(ours.iter().map(|own| (*own).to_owned()));
    let n = s.inward();
    s.client_says(n, read(name));
    s.lab.settle(secs(5));
    (s, n)
}

#[test]
fn every_message_over_tls() {
    let tsv = format!("{}/../../tests/corpus/rfc4475/expected.tsv", env!("CARGO_MANIFEST_DIR"));
    let tsv = std::fs::read_to_string(tsv).expect("the outcomes");
    let mut listed: Vec<&str> = tsv.lines().skip(1).filter_map(|line| line.split(".dat").next()).collect();
    listed.retain(|name| *name != "dblreq");
    assert_eq!(TABLE.iter().map(|row| row.0).collect::<Vec<_>>(), listed);
    for &(name, ours, foreign, want) in TABLE {
        let (mut s, n) = pass(name, ours, foreign);
        let (answer, heard) = (s.lab.lines[n].client.heard_text(), s.lab.lines[n].server.heard.clone());
        match want {
            Through => assert!(heard == read(name), "{name}: {answer}"),
            Answer(status) | Close(status) => {
                assert!(answer.starts_with(&format!("SIP/2.0 {status} ")), "{name}: {answer}");
                assert_eq!(answer.matches("SIP/2.0 ").count(), 1 + answer.matches("Via: SIP/2.0 ").count());
            }
            Silence | Late => assert!(answer.is_empty(), "{name}: {answer}"),
        }
        if !matches!(want, Through) {
            assert_eq!(s.lab.lines[n].sent[1], 0, "{name}: the inside heard of it");
        }
        // Whether the connection goes on is told by what comes next.
        if matches!(want, Late) {
            s.lab.settle(secs(60));
            assert_eq!(s.lab.lines[n].closed, Some(CloseReason::MessageTimeout(Leg::Client)), "{name}");
            continue;
        }
        s.client_says(n, message_in(1));
        s.lab.settle(secs(5));
        let goes_on = s.lab.lines[n].server.heard.ends_with(message_in(1).as_bytes());
        assert_eq!(goes_on, !matches!(want, Close(_)), "{name}");
        if goes_on {
            s.finish();
        } else {
            s.lab.settle(secs(60));
            assert_eq!(s.lab.lines[n].closed, Some(CloseReason::Unframeable(Leg::Client)), "{name}");
        }
    }
}

/// Over UDP what follows the first message is ignored; over a stream it is the next message, and then what is left of a
/// body that is longer than it says.
#[test]
fn dblreq_over_tls() {
    let (s, n) = pass("dblreq", &["example.com"], "example.net");
    let octets = read("dblreq");
    let second = octets.windows(6).position(|at| at == b"INVITE").expect("a second message");
    assert!(s.lab.lines[n].client.heard_text().starts_with("SIP/2.0 405 "));
    assert_eq!(s.lab.lines[n].server.heard, octets[second..octets.len() - b"C\r\n\r\n".len()]);
    assert!(s.lab.lines[n].client.notified, "the connection ends");
}
