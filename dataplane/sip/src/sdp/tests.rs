// SPDX-License-Identifier: MIT OR Apache-2.0
//! Descriptions as they come: what is read of them, and what is not one.

use super::*;

fn message(content_type: &str, body: &str) -> String {
    format!(
        "INVITE sip:b@local.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bK1\r\nFrom: <sip:a@f.example>;tag=1\r\n\
         To: <sip:b@local.example>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read_of(content_type: &str, body: &str) -> Option<Description> {
    let text = message(content_type, body);
    of(&Message::scan(text.as_bytes()).expect("well formed"))
}

const OFFER: &str = "v=0\r\no=alice 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.5\r\nt=0 0\r\n\
    m=audio 49170 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=rtcp:53020 IN IP4 10.0.0.6\r\n\
    m=video 0 RTP/SAVPF 96\r\ni=camera\r\nc=IN IP6 2001:db8::5\r\na=rtcp-mux\r\n\
    m=message 5060 sip null\r\nm=image 49180 udptl t38\r\nc=IN IP4 media.example\r\nm=audio 4 TCP/RTP/AVP 0\r\n";

#[test]
fn every_place_is_found() {
    let text = message("Application/SDP;charset=utf-8", OFFER);
    let message = Message::scan(text.as_bytes()).expect("well formed");
    assert!(is_likely(&message));
    let d = of(&message).expect("a description");
    let head = message.head().len();
    let at = |span: Span| &text[span.in_message(head)];
    assert_eq!(at(d.origin.expect("o=").at), "10.0.0.7");
    assert_eq!(at(d.connection.expect("c=").at), "10.0.0.5");
    assert!(d.crlf && !d.more);
    let media: Vec<_> = d.media().collect();
    let kinds: Vec<_> = media.iter().map(|m| (m.kind, m.port)).collect();
    let expected =
        [(Kind::Rtp, 49170), (Kind::Rtp, 0), (Kind::Stream, 5060), (Kind::Udp, 49180), (Kind::Stream, 4)];
    assert_eq!(kinds, expected);
    let hosts: Vec<_> = media.iter().map(|m| d.host_of(m).map(|host| host.to_string())).collect();
    let hosts: Vec<_> = hosts.iter().map(|host| host.as_deref()).collect();
    let v4 = Some("10.0.0.5");
    assert_eq!(hosts, [v4, Some("2001:db8::5"), v4, None, v4], "a name is nobody's address");
    let rtcp = media[0].rtcp.expect("a=rtcp");
    assert_eq!((at(rtcp.at), at(rtcp.host.expect("a host").at)), ("53020", "10.0.0.6"));
    assert_eq!(media[0].ports(), Ports { media: 49170, rtcp: Some(53020) });
    assert_eq!((media[3].ports().rtcp, media[2].ports().rtcp), (None, None));
    assert_eq!(media[0].payloads, 1 | 1 << 8 | 1 << 101);
    assert!(media[1].mux && !media[0].mux);
    let before = &text[..media[1].connection_place.in_message(head).start];
    assert!(before.ends_with("i=camera\r\n"), "{before}");
    let before = &text[..media[0].end.in_message(head).start];
    assert!(before.ends_with("10.0.0.6\r\n"), "{before}");
}

#[test]
fn a_part_of_several() {
    let body = format!(
        "preamble\r\n--b1\r\nContent-Type: text/plain\r\n\r\nv=0\r\n--b1\r\ncontent-type : application/sdp\r\n\r\n{OFFER}\r\n--b1--\r\n"
    );
    let of_parts = read_of("multipart/mixed; boundary=\"b1\"", &body).expect("a part");
    assert_eq!(of_parts.media().count(), 5);
    let encoded =
        body.replace("application/sdp\r\n", "application/sdp\r\nContent-Transfer-Encoding: base64\r\n");
    assert_eq!(read_of("multipart/mixed;boundary=b1", &encoded), None);
    assert_eq!(read_of("multipart/mixed;boundary=b2", &body), None);
    assert_eq!(read_of("multipart/mixed", &body), None);
}

#[test]
fn what_is_none() {
    assert_eq!(read_of("text/plain", OFFER), None);
    assert_eq!(read_of("application/sdp", "hello\r\nm=audio 1 RTP/AVP 0\r\n"), None);
    assert_eq!(read_of("application/sdp", "v=0\r\nm=audio x RTP/AVP 0\r\n"), None);
    assert_eq!(read_of("application/sdp", "v=0\r\nm=audio 65536 RTP/AVP 0\r\n"), None);
    let many = format!("v=0\n{}", "m=audio 2 RTP/AVP 0\n".repeat(MAX_MEDIA + 1));
    let many = read_of("application/sdp", &many).expect("a description");
    assert_eq!((many.media().count(), many.more, many.crlf), (MAX_MEDIA, true, false));
    let odd = "v=0\r\no=x\r\nc=IN IP4 224.2.1.1/127\r\nc=ATM NSAP 1\r\nm=audio 2/2 RTP/AVP 0\r\na=rtcp:0\r\na=rtcp:x\r\nm=a";
    let odd = read_of("application/sdp", odd).expect("a description");
    let media: Vec<_> = odd.media().collect();
    assert_eq!((odd.origin, odd.connection, media.len()), (None, None, 1), "{odd:?}");
    assert!(media[0].several && media[0].rtcp.is_none());
}
