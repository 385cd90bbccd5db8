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

/// A scenario of SIPp in the making: what is said and what has to come, as a foreign user of each call's number.
struct Scenario {
    steps: String,
    /// How requests in the dialog are addressed: by the Contact that the node gave, or another way.
    dialog: String,
    count: u32,
    variables: u32,
}

impl Scenario {
    fn new(dialog: &str) -> Self {
        Self { steps: String::new(), dialog: dialog.to_owned(), count: 0, variables: 0 }
    }

    /// A request; the first makes the dialog, the others are in it. An ACK bears the number of the one before.
    fn says(mut self, method: &str, extra: &str, body: &str) -> Self {
        let (target, to) = match self.count {
            0 => ("sip:bob@local.example SIP/2.0", ""),
            _ => (self.dialog.as_str(), "[peer_tag_param]"),
        };
        if method != "ACK" {
            self.count += 1;
        }
        let number = self.count;
        let contact = if matches!(method, "SUBSCRIBE" | "INVITE") {
            "Contact: <sip:x@[local_ip]:[local_port];transport=[transport]>\n"
        } else {
            ""
        };
        let request = format!(
            "{method} {target}\nVia: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n\
             From: <sip:x[call_number]@foreign.example>;tag=[call_number]\nTo: <sip:bob@local.example>{to}\n\
             Call-ID: [call_id]\nCSeq: {number} {method}\nMax-Forwards: 70\n{contact}{extra}Content-Length: [len]\n\n{body}"
        );
        self.steps.push_str(&format!("<send><![CDATA[\n{request}]]></send>\n"));
        self
    }

    /// A response has to come; its Record-Routes and Contact are what the dialog goes by.
    fn hears(mut self, status: u16) -> Self {
        if self.steps.contains("\nINVITE ") && self.count == 1 {
            self.steps.push_str("<recv response=\"100\" optional=\"true\"/>\n");
        }
        self.steps.push_str(&format!("<recv response=\"{status}\" rrs=\"true\"/>\n"));
        self
    }

    /// A NOTIFY of this state has to come, and is answered.
    fn learns(mut self, state: &str) -> Self {
        self.variables += 1;
        self.steps.push_str(&format!(
            "<recv request=\"NOTIFY\"><action><ereg regexp=\"{state}\" search_in=\"hdr\" header=\"Subscription-State:\" check_it=\"true\" \
             assign_to=\"{}\"/></action></recv>\n<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n\
             [last_CSeq:]\nContent-Length: 0\n\n]]></send>\n",
            self.variables
        ));
        self
    }

    fn xml(&self) -> String {
        let assigned: Vec<String> = (1..=self.variables).map(|number| number.to_string()).collect();
        let used = match assigned.is_empty() {
            true => String::new(),
            false => format!("<Reference variables=\"{}\"/>\n", assigned.join(",")),
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<scenario name=\"scenario\">\n{}{used}</scenario>\n",
            self.steps
        )
    }
}

/// Subscribes, takes the NOTIFY, ends; all in one dialog by SIPp's own routing.
fn watcher(dialog: &str) -> Scenario {
    let event = "Event: presence\nExpires: ";
    Scenario::new(dialog)
        .says("SUBSCRIBE", &format!("{event}600\n"), "")
        .hears(200)
        .learns("pending")
        .says("SUBSCRIBE", &format!("{event}0\n"), "")
        .hears(200)
        .learns("terminated")
}

/// Invites, says one thing, ends.
fn talker() -> Scenario {
    let sdp = "v=0\no=- 0 0 IN IP4 [local_ip]\ns=session\nc=IN IP4 [local_ip]\nt=0 0\nm=message 5060 sip null\na=accept-types:text/plain\n";
    Scenario::new("[next_url] SIP/2.0\n[routes]")
        .says("INVITE", "Content-Type: application/sdp\n", sdp)
        .hears(200)
        .says("ACK", "", "")
        .says("MESSAGE", "Content-Type: text/plain; charset=UTF-8\n", "hello [call_number]")
        .hears(200)
        .says("BYE", "", "")
        .hears(200)
}

/// Runs a scenario so many times against `to`; what SIPp says if it is not content.
fn sipp(node: &Node, to: SocketAddr, scenario: &Scenario, calls: u32) -> Result<(), String> {
    let path = node.dir.path().join("scenario.xml");
    std::fs::write(&path, scenario.xml()).expect("written");
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
    assert_eq!(sipp(&node, node.addresses[0], &watcher("sip:bob@cup.local.example SIP/2.0"), 20), Ok(()));
    let told = node.show("bob@local.example");
    assert_eq!(told["watchers"].as_array().map(Vec::len), Some(20), "{told}");
}

/// By way of a proxy that has put itself into the route: what the node sends in the dialog has to follow it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_watches_through_kamailio() {
    let node = Node::plain();
    let (kamailio, edge) = Kamailio::start(&node);
    // The refresh goes to the node's Contact, which is a name: the proxy stands in for the DNS.
    let scenario = watcher(&format!("sip:bob@{};transport=tcp SIP/2.0\n[routes]", node.addresses[0]));
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
    let said =
        tokio::task::spawn_blocking(move || sipp(&node, node.addresses[0], &talker(), 20).map(|()| node))
            .await
            .expect("it ran");
    let mut heard = listening.await.expect("heard");
    heard.sort();
    let mut expected: Vec<String> = (1..=20).map(|n| format!("hello {n}")).collect();
    expected.sort();
    assert!(said.is_ok(), "{:?}", said.err());
    assert_eq!(heard, expected);
}
