// SPDX-License-Identifier: MIT OR Apache-2.0
//! The link over real sockets: what is sent arrives, and every bad datagram is an error with a name.

use super::*;
use proptest::prelude::*;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use std::io::{IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

const SOON: Option<Duration> = Some(Duration::from_secs(5));

/// A datagram as a hostile or broken peer would send it.
fn raw(socket: &LinkSocket, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

fn hello_ack(policy_generation: u64, domains_generation: u64) -> ToControl {
    ToControl::HelloAck {
        layout: LINK_LAYOUT,
        pid: 1,
        started_unix: 2,
        policy_generation,
        domains_generation,
        workers: 1,
    }
}

#[test]
fn messages_and_descriptors_arrive() {
    let (a, b) = LinkSocket::pair().unwrap();
    let regions: Vec<_> = (1..4u8).map(|n| crate::region::Region::sealed("t", &[n; 3]).unwrap()).collect();
    let fds: Vec<_> = regions.iter().map(|r| r.fd()).collect();
    a.send(&hello_ack(7, 8), &fds, SOON).unwrap();
    let (message, received) = b.recv::<ToControl>(SOON).unwrap();
    assert_eq!(message, hello_ack(7, 8));
    for (n, fd) in received.into_iter().enumerate() {
        let flags = rustix::io::fcntl_getfd(&fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        assert_eq!(crate::region::Region::map_ro(fd).unwrap().bytes(), [n as u8 + 1; 3]);
    }
    b.send(&ToDataplane::Ping { id: 3 }, &[], SOON).unwrap();
    assert_eq!(a.recv::<ToDataplane>(SOON).unwrap().0, ToDataplane::Ping { id: 3 });
    assert!(matches!(a.try_recv::<ToDataplane>(), Err(LinkError::WouldBlock)));
    drop(b);
    assert!(matches!(a.recv::<ToDataplane>(SOON), Err(LinkError::Closed)));
    assert!(matches!(a.send(&hello_ack(0, 0), &fds[..1], SOON), Err(LinkError::Closed)));
}

#[test]
fn the_number_of_descriptors_must_be_right() {
    let (a, b) = LinkSocket::pair().unwrap();
    // The reading end of a pipe sees the end of it only when every copy of the writing end is closed.
    let (mut reading, writing) = std::io::pipe().unwrap();
    let fd = writing.as_fd();
    let policy = ToDataplane::Policy { generation: 1 };
    assert!(matches!(a.try_send(&policy, &[]), Err(LinkError::Descriptors { have: 0, want: 1 })));
    assert!(matches!(a.try_send(&hello_ack(1, 1), &[fd]), Err(LinkError::Descriptors { have: 1, want: 3 })));
    let json = serde_json::to_vec(&policy).unwrap();
    for sent in [0, 2, 3, 4, 5, 16] {
        raw(&a, &json, &vec![fd; sent]);
        match b.recv::<ToDataplane>(SOON) {
            Err(LinkError::Descriptors { have, want: 1 }) => {
                assert!((sent.min(MAX_FDS + 1)..=sent).contains(&have), "{have} of {sent}");
            }
            other => panic!("{sent}: {other:?}"),
        }
    }
    raw(&a, b"not json", &[fd, fd]);
    assert!(matches!(b.recv::<ToDataplane>(SOON), Err(LinkError::Malformed(_))));
    raw(&a, b"", &[fd]);
    assert!(matches!(b.recv::<ToDataplane>(SOON), Err(LinkError::Malformed(_))));
    raw(&a, &json, &[fd]);
    let (_, good) = b.recv::<ToDataplane>(SOON).expect("the socket is as good as before");
    assert_eq!(good.len(), 1);
    drop((good, writing));
    assert_eq!(reading.read(&mut [0]).unwrap(), 0, "descriptors of refused messages are closed");
}

#[test]
fn oversized_and_malformed_datagrams() {
    let (a, b) = LinkSocket::pair().unwrap();
    raw(&a, &vec![b' '; MAX_DATAGRAM + 1], &[]);
    assert!(matches!(b.recv::<ToControl>(SOON), Err(LinkError::TooLarge)));
    raw(&a, &vec![b' '; MAX_DATAGRAM + 4096], &[]);
    assert!(matches!(b.recv::<ToControl>(SOON), Err(LinkError::TooLarge)));
    for bad in [
        &b"{}"[..],
        b"null",
        br#"{"Pong":{"id":-1}}"#,
        br#"{"Pong":{"id":1,"x":2}}"#,
        br#"{"Pong":{"id":1}} tail"#,
        br#"{"Unknown":{}}"#,
        b"\xFF\xFE",
        &[b'['; 100_000],
    ] {
        raw(&a, bad, &[]);
        assert!(matches!(b.recv::<ToControl>(SOON), Err(LinkError::Malformed(_))), "{bad:?}");
    }
    let large = |n| ToControl::Refused { generation: 1, reason: "x".repeat(n) };
    let overhead = serde_json::to_vec(&large(0)).unwrap().len();
    assert!(matches!(a.try_send(&large(MAX_DATAGRAM - overhead + 1), &[]), Err(LinkError::TooLarge)));
    a.send(&large(MAX_DATAGRAM - overhead), &[], SOON).unwrap();
    assert_eq!(b.recv::<ToControl>(SOON).unwrap().0, large(MAX_DATAGRAM - overhead));
}

#[test]
fn a_peer_that_does_not_read_costs_a_timeout() {
    let (a, b) = LinkSocket::pair().unwrap();
    let message = ToControl::Refused { generation: 1, reason: "x".repeat(60_000) };
    let mut sent = 0;
    while a.try_send(&message, &[]).is_ok() {
        sent += 1;
        assert!(sent < 1000);
    }
    let begun = Instant::now();
    assert!(matches!(a.send(&message, &[], Some(Duration::from_millis(30))), Err(LinkError::TimedOut)));
    assert!(begun.elapsed() >= Duration::from_millis(30));
    for _ in 0..sent {
        b.recv::<ToControl>(SOON).unwrap();
    }
    assert!(matches!(b.recv::<ToControl>(Some(Duration::from_millis(10))), Err(LinkError::TimedOut)));
    let reader = std::thread::spawn(move || b.recv::<ToControl>(SOON).map(|(message, _)| message).unwrap());
    std::thread::sleep(Duration::from_millis(20));
    a.send(&message, &[], SOON).unwrap();
    assert_eq!(reader.join().unwrap(), message);
}

#[test]
fn listening_paths() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dataplane.sock");
    assert!(matches!(LinkSocket::connect(&path), Err(LinkError::Os { call: "connect", .. })));
    let listener = LinkListener::bind(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(LinkListener::bind(&path), Err(LinkError::InUse(_))));
    assert!(
        matches!(listener.try_accept(), Err(LinkError::WouldBlock)),
        "asking did not look like a control"
    );
    let control = LinkSocket::connect(&path).unwrap();
    let dataplane = listener.accept(SOON).unwrap();
    control.send(&ToDataplane::Hello { layout: LINK_LAYOUT, pid: 9 }, &[], SOON).unwrap();
    assert!(matches!(dataplane.recv(SOON).unwrap(), (ToDataplane::Hello { pid: 9, .. }, _)));
    assert!(listener.as_raw_fd() >= 0);
    drop(listener);
    LinkListener::bind(&path).expect("a file left behind is replaced");
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(LinkListener::bind(&file), Err(LinkError::InUse(_))));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn rows_are_cut_to_datagrams() {
    let (a, b) = LinkSocket::pair().unwrap();
    // Control characters take six bytes each in JSON: the worst a peer's certificate can do.
    let nasty = ProxyRow {
        identity: vec!["\u{1}".repeat(5_000); 100],
        client_state: "é".repeat(2_000),
        ..Default::default()
    };
    let rows: Vec<_> = (0..20).map(|session| ProxyRow { session, ..nasty.clone() }).collect();
    let messages = ToControl::rows(5, Rows::Proxy(rows), true);
    let mut seen = 0;
    let count = messages.len();
    for (i, message) in messages.iter().enumerate() {
        a.send(message, &[], SOON).unwrap();
        match b.recv::<ToControl>(SOON).unwrap().0 {
            ToControl::Rows { id: 5, rows: Rows::Proxy(rows), done } => {
                assert_eq!(done, i + 1 == count);
                for row in rows {
                    assert_eq!(row.session, seen);
                    assert_eq!((row.identity.len(), row.identity[0].len()), (MAX_IDENTITY, MAX_TEXT));
                    assert_eq!(row.client_state.len(), MAX_TEXT);
                    seen += 1;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, 20);
    let none = ToControl::rows(6, Rows::Arp(vec![]), true);
    assert_eq!(none, [ToControl::Rows { id: 6, rows: Rows::Arp(vec![]), done: true }]);
}

fn events() -> impl Strategy<Value = Event> {
    let text = || proptest::string::string_regex("(.|\u{1}|é){0,3000}").unwrap();
    let names = || proptest::collection::vec("[a-z.\u{2}]{0,2000}", 0..30);
    prop_oneof![
        (names(), text(), text(), any::<u16>()).prop_map(|(identity, a, b, status)| Event::Denied {
            session: 1,
            peer: End2 { addr: 1, port: 2 },
            identity,
            from_domain: a.clone(),
            target_domain: b.clone(),
            method: a.clone(),
            call_id: b,
            why: a,
            status,
            inbound: true,
        }),
        (text(), names()).prop_map(|(a, identity)| Event::TlsUp {
            session: 1,
            leg: "client".into(),
            peer: End2::default(),
            version: a.clone(),
            cipher: a,
            identity,
        }),
        text().prop_map(|text| Event::Log { level: "info".into(), text }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_event_fits_and_comes_back(event in events()) {
        let (a, b) = LinkSocket::pair().unwrap();
        let message = ToControl::Event(event.clipped());
        a.send(&message, &[], SOON).unwrap();
        prop_assert_eq!(b.recv::<ToControl>(SOON).unwrap().0, message);
    }

    #[test]
    fn garbage_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 1..200)) {
        let (a, b) = LinkSocket::pair().unwrap();
        raw(&a, &bytes, &[]);
        prop_assert!(b.recv::<ToDataplane>(SOON).is_err());
    }
}
