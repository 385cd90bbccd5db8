// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIPp as the far side, alone and behind Kamailio: SIP implementations that are not ours judge what the node says.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{DEVICE, Node, Peer};

/// A proxy that stays in the path, as an edge and an appliance's called server do.
const PROXY: &str = r#"#!KAMAILIO
debug=0
log_stderror=yes
fork=yes
children=1
tcp_children=1
auto_aliases=no
listen=tcp:EDGE
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
request_route {
    if (has_totag()) {
        loose_route();
    } else {
        record_route();
        $du = "sip:NODE;transport=tcp";
    }
    t_relay();
}
"#;

struct Kamailio(Child);

impl Kamailio {
    /// Before `node`.
    fn start(node: &Node) -> (Self, SocketAddr) {
        let edge = std::net::TcpListener::bind("127.0.0.2:0").and_then(|l| l.local_addr()).expect("a port");
        let config = PROXY.replace("EDGE", &edge.to_string()).replace("NODE", &node.addresses[0].to_string());
        let path = node.dir.path();
        std::fs::write(path.join("kamailio.cfg"), config).expect("written");
        std::fs::create_dir(path.join("run")).expect("made");
        let mut command = Command::new("kamailio");
        command
            .arg("-f")
            .arg(path.join("kamailio.cfg"))
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-w"])
            .arg(path);
        command.arg("-Y").arg(path.join("run")).stdin(Stdio::null()).stderr(Stdio::null());
        let running = Self(command.spawn().expect("Kamailio, which scripts/setup installs"));
        for _ in 0..100 {
            if std::net::TcpStream::connect(edge).is_ok() {
                return (running, edge);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("Kamailio does not start");
    }
}

impl Drop for Kamailio {
    /// SIGTERM, so that it ends its children.
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Subscribes, takes the NOTIFY, refreshes, ends; all in one dialog by SIPp's own routing.
const WATCHER: &str = r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="watcher">
 <send><![CDATA[
SUBSCRIBE sip:bob@local.example SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:x[call_number]@foreign.example>;tag=[call_number]
To: <sip:bob@local.example>
Call-ID: [call_id]
CSeq: 1 SUBSCRIBE
Max-Forwards: 70
Contact: <sip:x@[local_ip]:[local_port];transport=[transport]>
Event: presence
Expires: 600
Content-Length: 0

]]></send>
 <recv response="200" rrs="true"/>
 <recv request="NOTIFY"><action><ereg regexp="pending" search_in="hdr" header="Subscription-State:" check_it="true" assign_to="1"/></action></recv>
 <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
 <send><![CDATA[
SUBSCRIBE sip:bob@cup.local.example SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:x[call_number]@foreign.example>;tag=[call_number]
To: <sip:bob@local.example>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 SUBSCRIBE
Max-Forwards: 70
Contact: <sip:x@[local_ip]:[local_port];transport=[transport]>
Event: presence
Expires: 0
Content-Length: 0

]]></send>
 <recv response="200"/>
 <recv request="NOTIFY"><action><ereg regexp="terminated" search_in="hdr" header="Subscription-State:" check_it="true" assign_to="2"/></action></recv>
 <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
 <Reference variables="1,2"/>
</scenario>
"#;

/// Invites, says one thing, ends.
const TALKER: &str = r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="talker">
 <send><![CDATA[
INVITE sip:bob@local.example SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:x[call_number]@foreign.example>;tag=[call_number]
To: <sip:bob@local.example>
Call-ID: [call_id]
CSeq: 1 INVITE
Max-Forwards: 70
Contact: <sip:x@[local_ip]:[local_port];transport=[transport]>
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 0 0 IN IP4 [local_ip]
s=session
c=IN IP4 [local_ip]
t=0 0
m=message 5060 sip null
a=accept-types:text/plain
]]></send>
 <recv response="100" optional="true"/>
 <recv response="200" rrs="true"/>
 <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From: <sip:x[call_number]@foreign.example>;tag=[call_number]
To: <sip:bob@local.example>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
 <send><![CDATA[
MESSAGE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From: <sip:x[call_number]@foreign.example>;tag=[call_number]
To: <sip:bob@local.example>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 MESSAGE
Max-Forwards: 70
Content-Type: text/plain; charset=UTF-8
Content-Length: [len]

hello [call_number]]]></send>
 <recv response="200"/>
 <send><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
[routes]
From: <sip:x[call_number]@foreign.example>;tag=[call_number]
To: <sip:bob@local.example>[peer_tag_param]
Call-ID: [call_id]
CSeq: 3 BYE
Max-Forwards: 70
Content-Length: 0

]]></send>
 <recv response="200"/>
</scenario>
"#;

/// Runs a scenario so many times against `to`; what SIPp says if it is not content.
fn sipp(node: &Node, to: SocketAddr, scenario: &str, calls: u32) -> Result<(), String> {
    let path = node.dir.path().join("scenario.xml");
    std::fs::write(&path, scenario).expect("written");
    // SIPp takes no port 0: one that is free now.
    let free =
        std::net::TcpListener::bind("127.0.0.2:0").and_then(|l| l.local_addr()).expect("a port").port();
    let out = Command::new("sipp")
        .args([&to.to_string(), "-t", "t1", "-i", "127.0.0.2", "-p", &free.to_string()])
        .args(["-nostdin", "-sf"])
        .arg(&path)
        .args([
            "-m",
            &calls.to_string(),
            "-r",
            "50",
            "-timeout",
            "30s",
            "-timeout_error",
            "-trace_err",
            "-error_file",
        ])
        .arg(node.dir.path().join("errors"))
        .current_dir(node.dir.path())
        .stdin(Stdio::null())
        .output()
        .expect("SIPp has run");
    if out.status.success() {
        return Ok(());
    }
    let errors = std::fs::read_to_string(node.dir.path().join("errors")).unwrap_or_default();
    Err(format!("{}{errors}", String::from_utf8_lossy(&out.stderr)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_watches() {
    let node = Node::plain();
    assert_eq!(sipp(&node, node.addresses[0], WATCHER, 20), Ok(()));
    let told = node.show("bob@local.example");
    assert_eq!(told["watchers"].as_array().map(Vec::len), Some(20), "{told}");
}

/// By way of a proxy that has put itself into the route: what the node sends in the dialog has to follow it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_watches_through_kamailio() {
    let node = Node::plain();
    let (kamailio, edge) = Kamailio::start(&node);
    // The refresh goes to the node's Contact, which is a name: the proxy stands in for the DNS.
    let scenario = WATCHER.replace(
        "SUBSCRIBE sip:bob@cup.local.example SIP/2.0",
        &format!("SUBSCRIBE sip:bob@{};transport=tcp SIP/2.0\n[routes]", node.addresses[0]),
    );
    assert_eq!(sipp(&node, edge, &scenario, 20), Ok(()));
    drop(kamailio);
    let told = node.show("bob@local.example");
    assert_eq!(told["watchers"].as_array().map(Vec::len), Some(20), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_talks() {
    let node = Node::plain();
    let mut bob = Peer::connect(DEVICE, node.addresses[0]).await;
    bob.register("bob", "b").await;
    let listening = tokio::spawn(async move {
        let mut heard = Vec::new();
        while heard.len() < 20 {
            let Some(text) = bob.receive().await else { break };
            bob.answer(&text, 200).await;
            heard.push(text.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned());
        }
        heard
    });
    let said = tokio::task::spawn_blocking(move || sipp(&node, node.addresses[0], TALKER, 20).map(|()| node))
        .await
        .expect("it ran");
    let mut heard = listening.await.expect("heard");
    heard.sort();
    let mut expected: Vec<String> = (1..=20).map(|n| format!("hello {n}")).collect();
    expected.sort();
    assert!(said.is_ok(), "{:?}", said.err());
    assert_eq!(heard, expected);
}
