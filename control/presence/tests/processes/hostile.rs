// SPDX-License-Identifier: MIT OR Apache-2.0
//! Peers that mean no good: what cannot be read, what is too much, what never ends.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{DEVICE, EDGE, Heard, Node, Peer, status};

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
    // Not even enough for an answer: closed without a word.
    for text in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", &"A".repeat(20_000)] {
        let mut peer = Peer::connect(EDGE, to).await;
        peer.send(text).await;
        assert_eq!(peer.next().await, Heard::Closed);
    }
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
        // So that what waits is most of what is held: of the subscriptions themselves one entry may have half, of 2 KiB each.
        "[limits]\nsubscriptions-per-watcher = 1000000\nsubscriptions = 20000\n",
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
        for n in 0..100_000 {
            if !flood.try_send(&text(n)).await {
                return n;
            }
        }
        panic!("it is never closed");
    });
    let mut bob = Peer::connect(DEVICE, to).await;
    let start = Instant::now();
    bob.register("bob", "b").await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // Its sender is told by the end of the connection.
    let closed = tokio::time::timeout(Duration::from_secs(60), sending).await;
    assert!(matches!(closed, Ok(Ok(_))), "{closed:?}");
    bob.request("OPTIONS", "bob@local.example", "bob@local.example", "", "").await;
    assert_eq!(bob.response().await.map(|answer| status(&answer)), Some(200));
    let resident = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).expect("its status");
    let kib: u64 = resident
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .expect("its size");
    // Where the disk is slow all of it fills up at once: 16 MiB of messages, 20 of answers, 6 of what is written for them, 20 of subscriptions, 4
    // unsent, and 12 of the program; by heaptrack that is all there is. 70 to 78 were seen; the allocator may leave holes.
    assert!(kib < 130_000, "{kib} KiB");
    assert!(node.ask(&json!({ "do": "statistics" })).is_ok());
}

/// A peer may say all it has to say and close its half: it is answered all the same.
#[tokio::test]
async fn who_closes_its_half_is_answered() {
    let node = Node::plain();
    let mut peer = Peer::connect(EDGE, node.addresses[0]).await;
    for n in 0..20 {
        let extra = "Event: presence\r\nExpires: 600\r\nContact: <sip:x@127.0.0.2:9;transport=tcp>\r\n";
        peer.request("SUBSCRIBE", &format!("x{n}@foreign.example"), "bob@local.example", extra, "").await;
    }
    peer.shut().await;
    let mut answers = 0;
    loop {
        match peer.next().await {
            Heard::Message(text) => answers += usize::from(text.starts_with("SIP/2.0 200 ")),
            Heard::Closed => break,
            Heard::Nothing => panic!("it stays open"),
        }
    }
    assert_eq!(answers, 20);
}

#[tokio::test]
async fn one_address_has_no_more_connections_than_its_share() {
    let node =
        Node::start("[[listen]]\naddress = \"127.0.0.1:0\"", "[limits]\nconnections-per-address = 3\n");
    let mut open = Vec::new();
    for n in 0..4 {
        let mut peer = Peer::connect(EDGE, node.addresses[0]).await;
        let options = "OPTIONS sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TCP e;branch=z9hG4bKo\r\nFrom: <sip:x@foreign.example>;tag=1\r\n\
            To: <sip:bob@local.example>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
        let sent = peer.try_send(options).await;
        let heard = if sent { peer.next().await } else { Heard::Closed };
        assert_eq!(matches!(heard, Heard::Message(_)), n < 3, "connection {n}: {heard:?}");
        assert!(n < 3 || heard == Heard::Closed);
        open.push(peer);
    }
}
