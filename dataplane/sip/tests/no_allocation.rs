// SPDX-License-Identifier: MIT OR Apache-2.0
//! Framing, scanning and the verdict on a message of plain ASCII domains do not touch the heap.

use fedgate_sip::domain::Domain;
use fedgate_sip::frame::{Frame, Framer, Limits};
use fedgate_sip::identity::{CertificateNames, PeerIdentity};
use fedgate_sip::message::Message;
use fedgate_sip::sdp::{self, Ports};
use fedgate_sip::translate::{self, Mapping, Transport, Way};
use fedgate_sip::verdict::{self, DomainList, Listed, LocalDomains};
use std::net::{IpAddr, SocketAddr};

struct Lists(Domain);

impl DomainList for Lists {
    fn lookup(&self, canonical: &str) -> Listed {
        if canonical == "foreign.com" {
            Listed::Permitted { id: 1, peer: Some(self.0) }
        } else {
            Listed::Unlisted
        }
    }
}

impl LocalDomains for Lists {
    fn is_local(&self, canonical: &str) -> bool {
        canonical == "local.com"
    }
}

const REQUEST: &[u8] = b"SUBSCRIBE sip:bob@local.com SIP/2.0\r\n\
    Via: SIP/2.0/TLS edge.foreign.com:5061;branch=z9hG4bK1;ms-internal-info=\"a,b\"\r\n\
    Via: SIP/2.0/TLS 10.0.0.1:5061;branch=z9hG4bK2\r\n\
    Record-Route: <sip:edge.foreign.com:5061;transport=tls;lr>;tag=x\r\n\
    Route: <sip:local.com;lr>\r\n\
    From: \"X\" <sip:x@Foreign.COM.>;tag=a;epid=d6277c8671\r\n\
    To: <sip:bob@local.com>\r\n\
    Call-ID: 1@foreign.com\r\n\
    CSeq: 1 SUBSCRIBE\r\n\
    Max-Forwards: 66\r\n\
    P-Asserted-Identity: <sip:x@foreign.com>, <tel:+1555>\r\n\
    Contact: <sip:x@foreign.com;opaque=user:epid:abc;gruu>\r\n\
    Event: presence\r\n\
    Accept: application/pidf+xml\r\n\
    Content-Length: 0\r\n\r\n";

#[test]
fn the_path_of_a_message_does_not_allocate() {
    let names = CertificateNames { has_alt_names: true, dns: &["sip.foreign.com"], ..Default::default() };
    let peer = PeerIdentity::of(&names).expect("one name");
    let lists = Lists(Domain::canonical(b"sip.foreign.com").expect("a name"));
    let path = allocation_counter::measure(|| {
        let mut framer = Framer::new(Limits::DEFAULT);
        for end in 1..REQUEST.len() {
            assert!(matches!(framer.next(&REQUEST[..end]), Frame::Incomplete { .. }));
        }
        assert_eq!(framer.next(REQUEST), Frame::Message { head_len: REQUEST.len(), body_len: 0 });
        let message = Message::scan(REQUEST).expect("well formed");
        assert!(verdict::inbound(&message, &peer, &lists, &lists).is_pass());
        assert!(!verdict::outbound(&message, &peer, &lists, &lists).is_pass());
        assert!(Message::scan(&REQUEST[..REQUEST.len() - 2]).is_err());
    });
    assert_eq!(path.count_total, 0);
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(Box::new(1))));
    assert_eq!(counted.count_total, 1, "the counter counts");
}

struct Unknown;

impl Mapping for Unknown {
    fn shown(&mut self, _: Transport, _: SocketAddr) -> Option<SocketAddr> {
        None
    }
    fn real(&mut self, _: Transport, _: SocketAddr) -> Option<SocketAddr> {
        None
    }
    fn host(&mut self, _: IpAddr) -> Option<IpAddr> {
        None
    }
    fn media(&mut self, _: IpAddr, _: Ports) -> Option<(IpAddr, Ports)> {
        None
    }
}

#[test]
fn looking_for_addresses_does_not_allocate() {
    let body =
        "v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\nc=IN IP4 10.0.0.1\r\nm=audio 4000 RTP/AVP 0\r\na=rtcp:4001\r\n";
    let text = std::str::from_utf8(REQUEST).expect("text");
    let kind = format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let text = text.replace("Content-Length: 0\r\n\r\n", &kind).replace("sip.foreign.com", "10.0.0.2");
    let message = Message::scan(text.as_bytes()).expect("well formed");
    let scanned = allocation_counter::measure(|| {
        let mut edits = Vec::new();
        for way in [Way::Out, Way::In] {
            translate::concerns(&message, way);
            translate::rewrite(&message, way, &mut Unknown, &mut edits);
        }
        assert!(edits.is_empty() && sdp::of(&message).is_some_and(|d| d.media().count() == 1));
    });
    assert_eq!(scanned.count_total, 0);
}
