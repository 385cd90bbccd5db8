// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sessions outlive handshakes, and trust does not: what becomes of those whose peer would be refused today.

use crate::pki::*;
use crate::scene::*;
use fedgate_proxy::{CloseReason, Leg};
use fedgate_tables::policy::FACE_TLS12;

/// A session that has passed a message, of a foreign edge with this certificate.
fn session(s: &mut Scene, leaf: &Leaf) -> usize {
    let (client, server) = (s.client(leaf), s.server(&s.inside));
    let n = s.lab.line(Leg::Client, client, server);
    s.client_says(n, message_in(n));
    assert!(s.lab.run(secs(5), |lab| lab.lines[n].server.heard_text() == message_in(n)));
    n
}

fn serial(ca: &Authority, n: u64) -> Leaf {
    ca.leaf_with(&["foreign.example"], |params| params.serial_number = Some(n.into()))
}

#[test]
fn a_new_revocation_list_ends_sessions_and_no_others() {
    let mut s = Scene::new();
    let (ca, own) = (s.ca.clone(), s.ca.leaf(&["edge.local.example"]));
    let (bad, good) = (serial(&ca, 77), serial(&ca, 78));
    let before = proxy_tls_of(face(&own, &[(&ca, "")]), face(&own, &[(&ca, "")]), &[]);
    s.lab.tls = before.clone();
    let lines: Vec<usize> =
        (0..200).map(|n| session(&mut s, if n % 4 == 3 { &bad } else { &good })).collect();
    // The same trust in another policy: nobody is verified, let alone ended.
    let again =
        proxy_tls_of(face(&own, &[(&ca, "")]), face(&own, &[(&ca, "")]), std::slice::from_ref(&before));
    s.lab.engine.trust(s.lab.now, vec![again]);
    s.lab.settle(secs(200));
    assert!(lines.iter().all(|n| s.lab.lines[*n].closed.is_none()));
    let list = ca.list(&[77], 3600);
    let now = proxy_tls_of(face(&own, &[(&ca, &list)]), face(&own, &[(&ca, "")]), &[before]);
    s.lab.engine.trust(s.lab.now, vec![now]);
    s.lab.settle(secs(40));
    for n in lines {
        let ended = (n % 4 == 3).then_some(CloseReason::Unvouched(Leg::Client));
        assert_eq!(s.lab.lines[n].closed, ended, "{n}");
    }
    assert_eq!(s.counted("Stat(TlsUnvouched)"), 50);
    let told = "tls-failed Client: nobody vouches for it any more: invalid peer certificate: Revoked";
    assert_eq!(s.lab.sink.events.iter().filter(|event| *event == told).count(), 50);
    s.finish();
}

#[test]
fn a_ca_that_is_gone_and_a_server_that_is_revoked() {
    let mut s = Scene::new();
    let (ca, own) = (s.ca.clone(), s.ca.leaf(&["edge.local.example"]));
    let other = Authority::new("Another CA");
    let foreign = other.leaf(&["foreign.example"]);
    s.inside = ca.leaf_with(&["local.example"], |params| params.serial_number = Some(99_u64.into()));
    s.lab.tls = proxy_tls_of(face(&own, &[(&ca, ""), (&other, "")]), face(&own, &[(&ca, "")]), &[]);
    let first = session(&mut s, &foreign);
    let second = session(&mut s, &serial(&ca, 5));
    s.lab
        .engine
        .trust(s.lab.now, vec![proxy_tls_of(face(&own, &[(&ca, "")]), face(&own, &[(&ca, "")]), &[])]);
    s.lab.settle(secs(40));
    assert_eq!(s.lab.lines[first].closed, Some(CloseReason::Unvouched(Leg::Client)));
    assert_eq!(s.lab.lines[second].closed, None);
    let list = ca.list(&[99], 3600);
    s.lab
        .engine
        .trust(s.lab.now, vec![proxy_tls_of(face(&own, &[(&ca, "")]), face(&own, &[(&ca, &list)]), &[])]);
    s.lab.settle(secs(40));
    assert_eq!(s.lab.lines[second].closed, Some(CloseReason::Unvouched(Leg::Server)));
    // What else changes in a face ends nobody.
    s.inside = ca.leaf(&["local.example"]);
    let third = session(&mut s, &serial(&ca, 6));
    let mut server = face(&own, &[(&ca, "")]);
    server.spoken.flags = FACE_TLS12;
    s.lab.engine.trust(s.lab.now, vec![proxy_tls_of(server, face(&own, &[(&ca, "")]), &[])]);
    s.lab.settle(secs(200));
    assert_eq!(s.lab.lines[third].closed, None);
    // Its tls-proxy is taken out: that is for `clear conn`, as on the ASA.
    s.lab.engine.trust(s.lab.now, Vec::new());
    s.lab.settle(secs(200));
    assert_eq!(s.lab.lines[third].closed, None);
    s.finish();
}

#[test]
fn a_certificate_that_ends_ends_its_session() {
    let mut s = Scene::new();
    let (ca, own) = (s.ca.clone(), s.ca.leaf(&["edge.local.example"]));
    s.lab.tls = proxy_tls_of(face(&own, &[(&ca, "")]), face(&own, &[(&ca, "")]), &[]);
    s.lab.engine.trust(s.lab.now, vec![s.lab.tls.clone()]);
    let end = time::OffsetDateTime::now_utc() + time::Duration::seconds(3);
    let short = ca.leaf_with(&["foreign.example"], |params| params.not_after = end);
    let (one, other) = (session(&mut s, &short), session(&mut s, &serial(&ca, 8)));
    s.lab.settle(secs(70));
    assert_eq!(s.lab.lines[one].closed, None);
    // Certificates know the time of day only.
    std::thread::sleep(std::time::Duration::from_secs(5));
    s.lab.settle(secs(100));
    assert_eq!(s.lab.lines[one].closed, Some(CloseReason::Unvouched(Leg::Client)));
    assert_eq!(s.lab.lines[other].closed, None);
    assert!(
        s.lab.sink.events.iter().any(|event| event.contains("certificate expired")),
        "{:?}",
        s.lab.sink.events
    );
    s.finish();
}
