// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several nodes of one enterprise as processes: two on one PostgreSQL, of which one is killed and one paused; and two by mutual TLS, with users
//! of their own.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{EDGE, Heard, Node, Peer, header, status};
use crate::postgres::Server;
use crate::tls::{Ca, secured_at, tls_as};

const SUBSCRIBE: &str = "Event: presence\r\nExpires: 7200\r\nContact: <sip:x@192.0.2.1;transport=tcp>\r\n";
const PEERS: &str = "\"127.0.0.2\"";
/// The lease, s, and how long a takeover may take: what is left of the lease, a look at it, the store read, and a slow machine.
const LEASE: u64 = 2;
const BOUND: Duration = Duration::from_secs(LEASE + 4);

fn decide(node: &Node, who: &str) -> Result<Value, String> {
    node.ask(&json!({ "do": "decide", "user": "bob@local.example", "who": who, "verdict": "allow" }))
}

fn decided(node: &Node) -> Vec<String> {
    let shown = node.show("bob@local.example");
    let decisions = shown["decisions"].as_array().expect("decisions").iter();
    let mut who: Vec<String> =
        decisions.filter_map(|decision| decision["who"].as_str().map(str::to_owned)).collect();
    who.sort();
    who
}

fn signal(name: &str, pid: u32) {
    assert!(
        Command::new("kill").args([name, &pid.to_string()]).status().is_ok_and(|status| status.success())
    );
}

/// The next request of this method, others being answered.
async fn heard(peer: &mut Peer, method: &str) -> String {
    loop {
        match peer.next().await {
            Heard::Message(text) if text.starts_with(method) => return text,
            Heard::Message(text) if !text.starts_with("SIP/2.0") => peer.answer(&text, 200).await,
            Heard::Message(_) => {}
            other => panic!("{method}: {other:?}"),
        }
    }
}

fn cseq(message: &str) -> u32 {
    header(message, "CSeq").split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

fn refresh(ok: &str, number: u32) -> String {
    format!(
        "SUBSCRIBE sip:bob@cup.local.example SIP/2.0\r\nVia: SIP/2.0/TCP e;branch=z9hG4bKr{number}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: {number} SUBSCRIBE\r\n{SUBSCRIBE}Content-Length: 0\r\n\r\n",
        header(ok, "From"),
        header(ok, "To"),
        header(ok, "Call-ID")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_taken_over_with_its_subscriptions() {
    let server = Server::start();
    let url = server.database();
    let border = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let listen = format!("lease = {LEASE}\n[[listen]]\naddress = \"127.0.0.1:0\"");
    let route = format!("[[route]]\nhost = \"*\"\nto = \"{}\"\n", border.local_addr().expect("an address"));
    let mut one = Node::on(Some(&url), &listen, &route, PEERS);
    let mut two = Node::written(Some(&url), &listen, &route, PEERS);
    two.spawn();
    let began = Instant::now();
    let why = loop {
        match two.ask(&json!({ "do": "statistics" })) {
            Err(why) if why.contains("waits") => break why,
            other => assert!(began.elapsed() < Duration::from_secs(20), "{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(why.contains(&format!("process {}", one.pid())), "{why}");
    // What the one has: a decision, a foreign contact that it watches, a watcher.
    decide(&one, "x@foreign.example").expect("decided");
    let add = json!({ "do": "add-contact", "user": "bob@local.example", "contact": "y@foreign.example" });
    one.ask(&add).expect("added");
    let mut watched = Peer::over(Box::new(border.accept().await.expect("a connection").0), "border");
    heard(&mut watched, "SUBSCRIBE ").await;
    let mut edge = Peer::connect(EDGE, one.addresses[0]).await;
    edge.request("SUBSCRIBE", "x@foreign.example", "bob@local.example", SUBSCRIBE, "").await;
    let ok = edge.response().await.expect("an answer");
    assert_eq!(status(&ok), 200);
    let notify = heard(&mut edge, "NOTIFY ").await;
    edge.answer(&notify, 200).await;
    // kill -9.
    one.kill();
    let began = Instant::now();
    two.serves();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    let mut watched = Peer::over(Box::new(border.accept().await.expect("a connection").0), "border");
    assert!(heard(&mut watched, "SUBSCRIBE ").await.contains("y@foreign.example"));
    let mut edge = Peer::connect(EDGE, two.addresses[0]).await;
    edge.send(&refresh(&ok, 7)).await;
    let again = edge.response().await.expect("an answer");
    assert_eq!(status(&again), 200, "{again}");
    let later = heard(&mut edge, "NOTIFY ").await;
    edge.answer(&later, 200).await;
    for name in ["From", "To", "Call-ID"] {
        assert_eq!(header(&later, name), header(&notify, name), "{later}");
    }
    assert!(
        header(&later, "Subscription-State").starts_with("active") && cseq(&later) > cseq(&notify),
        "{later}"
    );
    // One that is paused is taken over as well, and does nothing any more when it wakes.
    one.spawn();
    decide(&two, "kept@foreign.example").expect("decided");
    signal("-STOP", two.pid());
    let socket = two.socket();
    let late = std::thread::spawn(move || {
        let late = json!({ "do": "decide", "user": "bob@local.example", "who": "late@foreign.example", "verdict": "allow" });
        fedgate_presence::control::ask(&socket, &late)
    });
    let began = Instant::now();
    one.serves();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    decide(&one, "next@foreign.example").expect("decided");
    edge.send(&refresh(&ok, 8)).await;
    signal("-CONT", two.pid());
    assert!(!two.ends());
    assert!(late.join().expect("asked").is_err());
    let unheard = edge.next().await;
    assert_eq!(unheard, Heard::Closed);
    assert_eq!(decided(&one), ["kept@foreign.example", "next@foreign.example", "x@foreign.example"]);
    let mut edge = Peer::connect(EDGE, one.addresses[0]).await;
    edge.send(&refresh(&ok, 9)).await;
    assert_eq!(edge.response().await.map(|answer| status(&answer)), Some(200));
    // One that is told to end gives it back: the other need not wait.
    two.spawn();
    signal("-TERM", one.pid());
    assert!(one.ends());
    let began = Instant::now();
    two.serves();
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert_eq!(decided(&two).len(), 3);
}

/// A port that is free now.
fn port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    free.local_addr().expect("an address").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_pass_to_each_other_by_their_certificates() {
    let (ca, folders) =
        (Ca::new(), [tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder")]);
    let border = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let border_at = border.local_addr().expect("an address");
    let ports = [port(), port()];
    let rest = |i: usize, other: &str| {
        let name = ["cup.local.example", "cup2.local.example"][i];
        format!(
            "{}[[route]]\nhost = \"*\"\nto = \"{border_at}\"\n[[node]]\nname = \"{other}\"\nto = [\"127.0.0.1:{}\"]\n",
            tls_as(&ca, folders[i].path(), name),
            ports[1 - i]
        )
    };
    let secure = |i: usize| format!("[[listen]]\naddress = \"127.0.0.1:{}\"\ntls = true", ports[i]);
    let listen = format!("{}\n[[listen]]\naddress = \"127.0.0.1:0\"", secure(0));
    let mut first = Node::written(None, &listen, &rest(0, "cup2.local.example"), PEERS);
    let mut second = Node::written(None, &secure(1), &rest(1, "cup.local.example"), "");
    // The same users for both: each takes its own.
    let users = "[[user]]\naddress = \"bob@local.example\"\npassword = \"b\"\nnode = \"cup.local.example\"\n\
                 [[user]]\naddress = \"carol@local.example\"\npassword = \"c\"\nnode = \"cup2.local.example\"\n";
    for node in [&first, &second] {
        std::fs::write(node.dir.path().join("users"), users).expect("written");
    }
    let file = second.dir.path().join("config");
    let config = std::fs::read_to_string(&file).expect("a configuration");
    std::fs::write(&file, config.replacen("cup.local.example", "cup2.local.example", 1)).expect("written");
    first.run();
    second.run();
    let mut edge = Peer::connect(EDGE, first.addresses[1]).await;
    let mut subscribe = async |from: &str| {
        edge.request("SUBSCRIBE", from, "carol@local.example", SUBSCRIBE, "").await;
        edge.response().await.expect("an answer")
    };
    let ok = subscribe("x@foreign.example").await;
    assert_eq!(status(&ok), 200, "{ok}");
    assert_eq!(header(&ok, "Contact"), "<sip:carol@cup2.local.example:5060;transport=tls>");
    let mut world = Peer::over(Box::new(border.accept().await.expect("a connection").0), "border");
    let notify = heard(&mut world, "NOTIFY ").await;
    assert!(header(&notify, "Subscription-State").starts_with("pending"), "{notify}");
    world.answer(&notify, 200).await;
    let allow = |node: &Node| {
        node.ask(&json!({ "do": "decide", "user": "carol@local.example", "who": "x@foreign.example", "verdict": "allow" }))
    };
    assert_eq!(allow(&first), Err("carol@local.example: at home on cup2.local.example".to_owned()));
    allow(&second).expect("decided");
    let notify = heard(&mut world, "NOTIFY ").await;
    assert!(header(&notify, "Subscription-State").starts_with("active"), "{notify}");
    world.answer(&notify, 200).await;
    // Who shows another certificate is no node, and who shows a node's speaks for whom it is home to.
    for (name, from, expected) in [
        ("cup2.local.example", "carol@local.example", 200),
        ("cup2.local.example", "bob@local.example", 403),
        ("cup3.local.example", "carol@local.example", 401),
        ("cup2.local.example", "x@evil.example", 403),
    ] {
        let at = first.addresses[0];
        let mut peer = secured_at(at, &ca, Some(ca.identity(name))).await.expect("a connection");
        peer.request("SUBSCRIBE", from, "bob@local.example", SUBSCRIBE, "").await;
        assert_eq!(peer.response().await.map(|answer| status(&answer)), Some(expected), "{name} {from}");
    }
    // Down, and back.
    second.kill();
    let refused = subscribe("y@foreign.example").await;
    assert_eq!((status(&refused), header(&refused, "Retry-After")), (480, "10"), "{refused}");
    assert!(header(&refused, "Warning").contains("node cup2.local.example does not answer"), "{refused}");
    let nodes = first.ask(&json!({ "do": "nodes" })).expect("told");
    let row = &nodes["nodes"][0];
    assert_eq!((row["waiting"].as_u64(), row["unanswered"].as_u64()), (Some(0), Some(1)), "{nodes}");
    second.run();
    assert_eq!(status(&subscribe("z@foreign.example").await), 200);
}
