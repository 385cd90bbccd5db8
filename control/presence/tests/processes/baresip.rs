// SPDX-License-Identifier: MIT OR Apache-2.0
//! baresip as a user's device: it logs in, publishes, sees a contact's presence, and talks.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{DEVICE, Node, Peer, status};

const MODULES: &str = "/usr/lib/baresip/modules";

struct Baresip(Child);

impl Drop for Baresip {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// bob's device, with ann for a contact.
fn start(folder: &Path, node: &Node) -> Baresip {
    let to = node.addresses[0];
    let listen = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let account = format!(
        "<sip:bob@local.example;transport=tcp>;auth_user=bob;auth_pass=b;outbound=\"sip:{to};transport=tcp\";regint=600;pubint=600\n"
    );
    let config = format!(
        "poll_method epoll\nsip_listen {listen}\nmodule_path {MODULES}\nmodule stdio.so\nmodule account.so\nmodule contact.so\n\
         module menu.so\nmodule presence.so\nmodule g711.so\nmodule uuid.so\n"
    );
    for (name, text) in [
        ("accounts", account.as_str()),
        ("contacts", "\"Ann\" <sip:ann@local.example>;presence=p2p\n"),
        ("config", &config),
    ] {
        std::fs::write(folder.join(name), text).expect("written");
    }
    let output = std::fs::File::create(folder.join("output")).expect("a file");
    let mut command = Command::new("baresip");
    let errors = output.try_clone().expect("the same file");
    command.arg("-f").arg(folder).stdin(Stdio::piped()).stdout(output).stderr(errors);
    Baresip(command.spawn().expect("baresip has started"))
}

/// Asks until it is so, for ten seconds.
fn until(node: &Node, user: &str, so: impl Fn(&Value) -> bool) {
    let start = Instant::now();
    loop {
        let shown = node.show(user);
        if so(&shown) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{shown}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baresip_logs_in_sees_presence_and_talks() {
    assert!(Path::new(MODULES).join("presence.so").exists(), "no baresip: scripts/setup installs it");
    // baresip 1 gives up when it is offered SHA-256; and it comes from 127.0.0.1.
    let listen = "digest = [\"MD5\"]\n[[listen]]\naddress = \"127.0.0.1:0\"";
    let node = Node::with(listen, "", "\"127.0.0.2\"");
    let folder = tempfile::tempdir().expect("a folder");
    let mut ann = Peer::connect(DEVICE, node.addresses[0]).await;
    ann.register("ann", "a").await;
    let mut device = start(folder.path(), &node);
    until(&node, "bob@local.example", |bob| bob["devices"] == 1 && bob["reachability"] == "available");
    until(&node, "ann@local.example", |ann| ann["watchers"][0]["address"] == "bob@local.example");
    let busy = "<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='sip:ann@local.example'><tuple id='t'><status><basic>open</basic>\
        </status></tuple></presence>";
    let extra = "Event: presence\r\nContent-Type: application/pidf+xml\r\n";
    ann.request("PUBLISH", "ann@local.example", "ann@local.example", extra, busy).await;
    assert_eq!(ann.response().await.map(|answer| status(&answer)), Some(200));
    let keys = device.0.stdin.as_mut().expect("its input");
    keys.write_all(b"/message hello from baresip\n").expect("typed");
    let text = ann.receive().await.expect("a text");
    assert!(text.starts_with("MESSAGE ") && text.ends_with("\r\n\r\nhello from baresip"), "{text}");
    ann.answer(&text, 200).await;
    ann.request(
        "MESSAGE",
        "ann@local.example",
        "bob@local.example",
        "Content-Type: text/plain\r\n",
        "hello baresip",
    )
    .await;
    assert_eq!(ann.response().await.map(|answer| status(&answer)), Some(200));
    let start = Instant::now();
    loop {
        let output = std::fs::read(folder.path().join("output")).expect("its output");
        if String::from_utf8_lossy(&output).contains("hello baresip") {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{}", String::from_utf8_lossy(&output));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // It has published at its start and when it was registered; the node has one publication of it, and that can be taken back.
    let keys = device.0.stdin.as_mut().expect("its input");
    keys.write_all(b"/presence_offline\n").expect("typed");
    until(&node, "bob@local.example", |bob| bob["reachability"] == "unavailable");
    let keys = device.0.stdin.as_mut().expect("its input");
    keys.write_all(b"/presence_online\n").expect("typed");
    until(&node, "bob@local.example", |bob| bob["reachability"] == "available");
    let statistics = node.ask(&serde_json::json!({ "do": "statistics" })).expect("told");
    assert_eq!(statistics["publications"], 2, "ann's and bob's: {statistics}");
}
