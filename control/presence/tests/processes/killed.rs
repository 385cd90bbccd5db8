// SPDX-License-Identifier: MIT OR Apache-2.0
//! kill -9 while decisions are made, subscriptions taken and texts delivered: whatever was acknowledged is there afterwards.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::harness::{DEVICE, EDGE, Node, Peer, header, status};
use crate::postgres::Server;

const SUBSCRIBE: &str = "Event: presence\r\nExpires: 7200\r\nContact: <sip:x@192.0.2.1;transport=tcp>\r\n";

/// Acknowledged decisions, and each tenth a contact.
fn decide(node: &Node, round: usize, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<String>> {
    let socket = node.socket();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for n in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let who = format!("w{n}@r{round}.example");
            let command = if n % 10 == 0 {
                json!({ "do": "add-contact", "user": "bob@local.example", "contact": who })
            } else {
                json!({ "do": "decide", "user": "bob@local.example", "who": who, "verdict": "block" })
            };
            match fedgate_presence::control::ask(&socket, &command) {
                Ok(_) => kept.push(who),
                Err(_) => break,
            }
        }
        kept
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_the_process_in_sqlite() {
    killed(Node::plain()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_the_process_in_postgresql() {
    let server = Server::start();
    // Who is killed gives nothing back: the next one waits for the lease to run out.
    let listen = "lease = 1\n[[listen]]\naddress = \"127.0.0.1:0\"";
    killed(Node::on(Some(&server.database()), listen, "", "\"127.0.0.1\", \"127.0.0.2\"")).await;
}

async fn killed(mut node: Node) {
    let mut decisions = BTreeSet::new();
    // Dialogs: what a refresh has to say.
    let mut dialogs: Vec<String> = Vec::new();
    let mut told = 0;
    let mut random = std::process::id() as u64 | 1;
    for round in 0..8 {
        let stop = Arc::new(AtomicBool::new(false));
        let deciding = decide(&node, round, stop.clone());
        let address = node.addresses[0];
        let taken = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let mut bob = Peer::connect(DEVICE, address).await;
        bob.register("bob", "b").await;
        let mut ann = Peer::connect(DEVICE, address).await;
        ann.register("ann", "a").await;
        let watching = {
            let taken = taken.clone();
            tokio::spawn(async move {
                let mut edge = Peer::connect(EDGE, address).await;
                for n in 0.. {
                    let from = format!("x{n}@foreign.example");
                    let (tag, extra) = (format!("{round}-{n}"), SUBSCRIBE);
                    let text = format!(
                        "SUBSCRIBE sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TCP e;branch=z9hG4bK{tag}\r\nFrom: <sip:{from}>;tag={tag}\r\n\
                         To: <sip:bob@local.example>\r\nCall-ID: {tag}\r\nCSeq: 1 SUBSCRIBE\r\n{extra}Content-Length: 0\r\n\r\n"
                    );
                    edge.send(&text).await;
                    let Some(answer) = edge.response().await else { return };
                    assert_eq!(status(&answer), 200, "{answer}");
                    let refresh = format!(
                        "SUBSCRIBE sip:bob@cup.local.example SIP/2.0\r\nVia: SIP/2.0/TCP e;branch=z9hG4bKr{tag}\r\nFrom: <sip:{from}>;tag={tag}\r\n\
                         To: {}\r\nCall-ID: {tag}\r\nCSeq: 2 SUBSCRIBE\r\n{extra}Content-Length: 0\r\n\r\n",
                        header(&answer, "To")
                    );
                    taken.lock().expect("not poisoned").push(refresh);
                }
            })
        };
        let (heard_of, acknowledged_of) = (heard.clone(), acknowledged.clone());
        let listening = tokio::spawn(async move {
            while let Some(text) = ann.receive().await {
                let said = text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned();
                heard_of.lock().expect("not poisoned").push(said);
                ann.answer(&text, 200).await;
            }
        });
        let talking = tokio::spawn(async move {
            for n in 0.. {
                let text = format!("{round}-{n}");
                let extra = "Content-Type: text/plain\r\n";
                bob.request("MESSAGE", "bob@local.example", "ann@local.example", extra, &text).await;
                let Some(answer) = bob.response().await else { return };
                assert_eq!(status(&answer), 200, "{answer}");
                acknowledged_of.lock().expect("not poisoned").push(text);
            }
        });
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        tokio::time::sleep(Duration::from_millis(100 + (random >> 33) % 250)).await;
        node.kill();
        stop.store(true, Ordering::Relaxed);
        decisions.extend(deciding.join().expect("decided"));
        // Whatever was on the way ends with an error on a socket that is gone.
        for task in [watching, listening, talking] {
            if let Err(why) = task.await {
                let text = why.into_panic().downcast::<String>().map_or(String::new(), |text| *text);
                assert!(text.starts_with("sent to "), "{text}");
            }
        }
        // Each text that its sender was told of had been delivered, and none of them twice.
        let heard = std::mem::take(&mut *heard.lock().expect("not poisoned"));
        let once: BTreeSet<&String> = heard.iter().collect();
        assert_eq!(once.len(), heard.len(), "{heard:?}");
        for text in acknowledged.lock().expect("not poisoned").drain(..) {
            assert!(once.contains(&text), "round {round}: {text}");
            told += 1;
        }
        dialogs.extend(taken.lock().expect("not poisoned").drain(..));
        node.run();
        let shown = node.show("bob@local.example");
        let all = |of: &str, name: &str| -> Vec<String> {
            let rows = shown[of].as_array().expect("rows");
            rows.iter().filter_map(|row| row[name].as_str().map(str::to_owned)).collect()
        };
        let stored: BTreeSet<String> =
            all("decisions", "who").into_iter().chain(all("contacts", "address")).collect();
        let lost: Vec<_> = decisions.difference(&stored).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
    }
    let so_many = (decisions.len(), dialogs.len(), told);
    assert!(so_many.0 > 20 && so_many.1 > 20 && so_many.2 > 20, "{so_many:?}");
    let mut edge = Peer::connect(EDGE, node.addresses[0]).await;
    for refresh in &dialogs {
        edge.send(refresh).await;
        let answer = edge.response().await.expect("an answer");
        assert_eq!(status(&answer), 200, "{refresh}{answer}");
    }
}
