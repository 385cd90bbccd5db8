// SPDX-License-Identifier: MIT OR Apache-2.0
//! Users by the command line: put in, given another password and taken out while the node runs, and kept when it is killed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{DEVICE, EDGE, Node, Peer, header, status};

const CAROL: &str = "carol@local.example";

/// Says a command of the program's own, with this piped in: what it prints, or its error.
fn says(node: &Node, words: &[&str], piped: &str) -> Result<String, String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_fedgate-presence"))
        .args(words)
        .arg("--socket")
        .arg(node.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    // One that reads nothing may have ended already.
    let _ = child.stdin.take().expect("its input").write_all(piped.as_bytes());
    let output = child.wait_with_output().expect("ended");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn users(node: &Node) -> Vec<Value> {
    let shown: Value = serde_json::from_str(&says(node, &["users"], "").expect("told")).expect("JSON");
    shown.as_array().expect("a list").clone()
}

async fn device(node: &Node, password: &str) -> Peer {
    let mut device = Peer::connect(DEVICE, node.addresses[0]).await;
    device.register("carol", password).await;
    device
}

#[tokio::test]
async fn the_command_line_makes_users_and_ends_them() {
    let mut node = Node::plain();
    let add = ["user", "add", "carol", "--domain", "local.example", "--name", "Carol"];
    assert_eq!(says(&node, &add, "first one\n"), Ok(String::new()));
    let why = says(&node, &add, "first one\n").expect_err("twice");
    assert!(why.contains("stands in the store already"), "{why}");
    let why = says(&node, &["user", "add", "dan@local.example"], "").expect_err("nothing piped in");
    assert!(why.contains("no password"), "{why}");
    let why = says(&node, &["user", "add", "bob@local.example"], "x\n").expect_err("in the file");
    assert!(why.contains("file of users"), "{why}");
    let shown = json!({ "address": CAROL, "name": "Carol", "from": ["store"], "node": "cup.local.example" });
    assert_eq!(users(&node)[2], shown);
    drop(device(&node, "first one").await);
    node.kill();
    node.run();
    assert_eq!((users(&node).len(), users(&node)[2].clone()), (3, shown));
    assert_eq!(says(&node, &["user", "password", CAROL], "second\n"), Ok(String::new()));
    let _device = device(&node, "second").await;
    // What is in the store is no password.
    for file in std::fs::read_dir(node.dir.path()).expect("a folder") {
        let file = file.expect("a file").path();
        let octets = std::fs::read(&file).unwrap_or_default();
        for password in ["first one", "second"] {
            assert!(!octets.windows(password.len()).any(|w| w == password.as_bytes()), "{}", file.display());
        }
    }
    let mut x = Peer::connect(EDGE, node.addresses[0]).await;
    let extra = "Event: presence\r\nContact: <sip:x@127.0.0.2:9;transport=tcp>\r\n";
    x.request("SUBSCRIBE", "x@foreign.example", CAROL, extra, "").await;
    assert_eq!(x.response().await.map(|answer| status(&answer)), Some(200));
    let first = x.receive().await.expect("a NOTIFY");
    x.answer(&first, 200).await;
    assert_eq!(says(&node, &["user", "remove", CAROL], ""), Ok(String::new()));
    let last = x.receive().await.expect("a NOTIFY");
    assert_eq!(header(&last, "Subscription-State"), "terminated;reason=noresource");
    x.answer(&last, 200).await;
    x.request("SUBSCRIBE", "x@foreign.example", CAROL, extra, "").await;
    assert_eq!(x.response().await.map(|answer| status(&answer)), Some(404));
    assert_eq!(users(&node).len(), 2);
    let why = says(&node, &["user", "remove", CAROL], "").expect_err("gone");
    assert!(why.contains("no such user"), "{why}");
}
