// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers that mean no good: what cannot be read, what is too much, what never ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{DEVICE, EDGE, Node, Peer, status};

async fn answer_to(to: SocketAddr, text: &str) -> (Option<u16>, bool) {
    let mut peer = Peer::connect(EDGE, to).await;
    peer.send(text).await;
    let first = peer.receive().await.map(|answer| status(&answer));
    // Whether the connection still serves.
    let ping = "OPTIONS sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TCP e;branch=z9hG4bKo\r\nFrom: <sip:x@foreign.example>;tag=1\r\n\
        To: <sip:bob@local.example>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    let alive = first.is_some() && {
        let sent = tokio::time::timeout(Duration::from_secs(1), async {
            peer.send(ping).await;
            peer.receive().await
        });
        matches!(sent.await, Ok(Some(_)))
    };
    (first, alive)
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_by_name_and_the_node_goes_on() {
    let node = Node::plain();
    let to = node.addresses[0];
    let good = "SUBSCRIBE sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TCP e;branch=z9hG4bK1\r\nFrom: <sip:x@foreign.example>;tag=1\r\n\
        To: <sip:bob@local.example>\r\nCall-ID: c\r\nCSeq: 1 SUBSCRIBE\r\nEvent: presence\r\nContact: <sip:x@h.example>\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answer_to(to, good).await, (Some(200), true));
    assert_eq!(
        answer_to(
            to,
            &good.replace(
                "From: <sip:x@foreign.example>",
                "From: <sip:x@foreign.example> <sip:y@evil.example>"
            )
        )
        .await,
        (Some(400), true)
    );
    assert_eq!(
        answer_to(to, &good.replace("Event: ", "Subject: a\u{1}b\r\nEvent: ")).await,
        (Some(400), true)
    );
    assert_eq!(answer_to(to, &good.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia")).await, (Some(505), true));
    assert_eq!(
        answer_to(to, &good.replace("Content-Length: 0", "Content-Length: 0\r\nl: 0")).await.0,
        Some(400)
    );
    assert_eq!(
        answer_to(to, &good.replace("Content-Length: 0", "Content-Length: 99999999")).await.0,
        Some(413)
    );
    // Not even enough for an answer.
    assert_eq!(answer_to(to, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.0, None);
    assert_eq!(answer_to(to, &"A".repeat(20_000)).await.0, None);
    // XML that would grow.
    let mut bob = Peer::connect(DEVICE, to).await;
    bob.register("bob", "b").await;
    let bomb = "<!DOCTYPE l [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">]>\
        <presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:bob@local.example'>&b;</presence>";
    let deep = "<a>".repeat(15_000);
    for body in [bomb, &deep] {
        let extra = "Event: presence\r\nContent-Type: application/pidf+xml\r\n";
        bob.request("PUBLISH", "bob@local.example", "bob@local.example", extra, body).await;
        assert_eq!(bob.response().await.map(|answer| status(&answer)), Some(400));
    }
    assert_eq!(node.show("bob@local.example")["reachability"], "unavailable");
}

/// A watcher that never answers and never reads costs what its connection may hold, and nobody else waits for it.
#[tokio::test]
async fn who_does_not_read_is_closed_and_nobody_waits() {
    let node = Node::start(
        "[[listen]]\naddress = \"127.0.0.1:0\"",
        "[limits]\nsubscriptions-per-watcher = 1000000\n",
    );
    let to = node.addresses[0];
    let mut flood = Peer::connect(EDGE, to).await;
    // Answers that nobody takes: far more than a connection may hold.
    let name = "n".repeat(2_000);
    let extra = format!(
        "Event: presence\r\nContact: <sip:x@h.example>\r\nSubject: {name}\r\nRecord-Route: <sip:{name}.example;lr>\r\n"
    );
    let text = move |n: u32| {
        format!(
            "SUBSCRIBE sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TCP e;branch=z9hG4bK{n}{name}\r\nFrom: <sip:x@foreign.example>;tag={n}\r\n\
             To: <sip:bob@local.example>\r\nCall-ID: c{n}\r\nCSeq: 1 SUBSCRIBE\r\n{extra}Content-Length: 0\r\n\r\n"
        )
    };
    let sending = tokio::spawn(async move {
        for n in 0..6_000 {
            flood.send(&text(n)).await;
        }
    });
    let mut bob = Peer::connect(DEVICE, to).await;
    let start = Instant::now();
    bob.register("bob", "b").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // Its sender is told by the end of the connection, or has sent all it wanted.
    let _ = tokio::time::timeout(Duration::from_secs(60), sending).await;
    let resident = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("its status");
    let kib: u64 = resident
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .expect("its size");
    assert!(kib < 200_000, "{kib} KiB");
    assert!(node.ask(&json!({ "do": "statistics" })).is_ok());
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_its_share() {
    let node =
        Node::start("[[listen]]\naddress = \"127.0.0.1:0\"", "[limits]\nconnections-per-address = 3\n");
    let mut open = Vec::new();
    for n in 0..4 {
        let mut peer = Peer::connect(EDGE, node.addresses[0]).await;
        let served = tokio::spawn(async move {
            peer.request("OPTIONS", "x@foreign.example", "bob@local.example", "", "").await;
            let answer = peer.receive().await;
            (peer, answer)
        });
        // One that is not served is closed, which ends its task.
        let served = served.await.ok().filter(|(_, answer)| answer.is_some());
        assert_eq!(served.is_some(), n < 3, "connection {n}");
        open.extend(served);
    }
}
