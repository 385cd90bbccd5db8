// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several cores as the nodes of one enterprise, wired to each other: the first has the appliance before it, carol is at home on the second.

mod chaos;

use fedgate_sip::headers::HeaderName;
use serde_json::json;

use super::super::*;
use super::lab::*;
use crate::transport::{Kind, Origin};

const BOB_AOR: &str = "bob@local.example";
const CAROL_AOR: &str = "carol@local.example";
const X: &str = "x@foreign.example";
const CAROL: ConnId = ConnId(3);
const SUBSCRIBE: &str = "Event: presence\r\nExpires: 600\r\nContact: <sip:x@fe.foreign.example>\r\n";
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\nc=IN IP4 h\r\nt=0 0\r\nm=message 5060 sip null\r\na=accept-types:text/plain\r\n";
const OFFER: &str = "Contact: <sip:x@fe.foreign.example>\r\nContent-Type: application/sdp\r\n";
const TEXT: &str = "Content-Type: text/plain\r\n";
const NODES: &str = "[tls]\ncertificate = \"c\"\nkey = \"k\"\nca = \"a\"\n[homes]\n\"carol@local.example\" = \"cup2.local.example\"\n\
    \"dora@local.example\" = \"cup3.local.example\"\n[[node]]\nname = \"cup3.local.example\"\nto = [\"cup3:5061\"]\n";
/// bob and ann by nothing: they are at home on the first.
const FIRST: &str =
    "\"bob@local.example\" = \"cup.local.example\"\n\"ann@local.example\" = \"cup.local.example\"\n";

/// One end of a wire: whose, and which connection of his.
type End = (usize, ConnId);

struct Enterprise {
    nodes: Vec<Lab>,
    wires: Vec<(End, End)>,
    wired: u64,
    /// Nobody is there, or he hears and says nothing.
    is_down: bool,
    is_mute: bool,
}

impl Enterprise {
    fn new() -> Self {
        let other =
            |name: &str| format!("[[node]]\nname = \"{name}.local.example\"\nto = [\"{name}:5061\"]\n");
        let user = |name: &str| {
            format!("[[user]]\naddress = \"{name}@local.example\"\npassword = \"{}\"\n", &name[..1])
        };
        let homes = |first: &str| NODES.replacen("[homes]\n", &format!("[homes]\n{first}"), 1);
        let first =
            Lab::of(&(homes("") + &other("cup2")), "cup.local.example", &(user("bob") + &user("ann")));
        let second = Lab::of(&(homes(FIRST) + &other("cup")), "cup2.local.example", &user("carol"));
        let mut all = Self {
            nodes: vec![first, second],
            wires: Vec::new(),
            wired: 100,
            is_down: false,
            is_mute: false,
        };
        all.nodes[0].register(BOB, "bob");
        all.nodes[1].register(CAROL, "carol");
        all
    }

    /// The number that the one has for the other.
    fn number(&self, of: usize, other: usize) -> usize {
        let name = ["cup.local.example", "cup2.local.example"][other];
        self.nodes[of].core.cfg.node(name).expect("a node")
    }

    /// Carries connections and messages between the nodes until nothing moves any more.
    fn settle(&mut self) {
        let mut moved = true;
        while std::mem::take(&mut moved) {
            for i in 0..self.nodes.len() {
                for (conn, target) in std::mem::take(&mut self.nodes[i].opened) {
                    moved = true;
                    match target.kind {
                        Kind::Node(_) if self.is_down || target.to == "cup3.local.example" => {
                            self.nodes[i].close(conn)
                        }
                        Kind::Node(node) => self.wire(i, conn, node),
                        Kind::Peer | Kind::Found => self.nodes[i].open(conn, Origin::Federation),
                        Kind::Device => self.nodes[i].close(conn),
                    }
                }
                for ((one, here), (other, there)) in self.wires.clone() {
                    let ends = [(one, here, other, there), (other, there, one, here)];
                    for (_, here, other, there) in ends.into_iter().filter(|(from, ..)| *from == i) {
                        for message in self.nodes[i].take_on(here) {
                            moved = true;
                            if !(self.is_mute && other == 1) {
                                self.nodes[other].hand(there, &message);
                            }
                        }
                    }
                }
            }
        }
    }

    fn wire(&mut self, i: usize, conn: ConnId, node: usize) {
        let other = 1 - i;
        self.wired += 1;
        let end = ConnId(self.wired);
        let origin = Origin::Node(self.number(other, i));
        self.nodes[other].open(end, origin);
        self.nodes[i].open(conn, Origin::Node(node));
        self.wires.push(((i, conn), (other, end)));
    }

    fn cut(&mut self) {
        for ((one, here), (other, there)) in std::mem::take(&mut self.wires) {
            self.nodes[one].close(here);
            self.nodes[other].close(there);
        }
        self.settle();
    }

    fn pass(&mut self, ms: u64) {
        for node in &mut self.nodes {
            node.pass(ms);
        }
        self.settle();
    }

    /// What the world says to the first node.
    fn outside(&mut self, method: &str, to: &str, extra: &str, body: &str) {
        self.nodes[0].request(EDGE, method, X, to, extra, body);
        self.settle();
    }

    fn within(&mut self, message: &Incoming, method: &str, extra: &str, body: &str) {
        self.nodes[0].within(message, method, extra, body);
        self.settle();
    }

    fn answer(&mut self, node: usize, request: &Incoming, status: u16, extra: &str, body: &str) {
        self.nodes[node].answer(request, status, extra, body);
        self.settle();
    }

    /// The next request that a node has sent into the world: on whichever connection.
    fn world_hears(&mut self, node: usize, method: &str) -> Incoming {
        let conns: Vec<ConnId> = self.nodes[node]
            .core
            .conns
            .iter()
            .filter(|(_, conn)| conn.peer.origin == Origin::Federation)
            .map(|(id, _)| *id)
            .collect();
        let found = conns.into_iter().find_map(|conn| self.nodes[node].try_next(conn));
        let (_, message) = found.expect("something for the world");
        assert_eq!(message.msg().method_name(), Some(method), "{message:?}");
        message
    }

    fn counter(&self, node: usize, name: &str) -> u64 {
        self.nodes[node].core.counters.get(name).copied().unwrap_or(0)
    }

    /// Nothing waits for anybody.
    fn idle(&self) -> bool {
        self.nodes.iter().all(|node| {
            let core = &node.core;
            core.elsewhere.is_idle()
                && core.deferred.is_empty()
                && core.deferred_octets == 0
                && core.clients.is_empty()
        })
    }
}

/// In the dialog of a response, as RFC 3261 section 12.2.1.1 has it: by its Record-Routes, to its Contact.
fn routes(message: &Incoming) -> String {
    let routes = message.msg().values(HeaderName::RecordRoute);
    routes.map(|route| format!("Route: {route}\r\n")).collect()
}

#[test]
fn a_foreign_user_watches_one_who_is_at_home_elsewhere() {
    let mut all = Enterprise::new();
    all.outside("SUBSCRIBE", CAROL_AOR, SUBSCRIBE, "");
    let ok = all.nodes[0].response(EDGE, 200);
    assert_eq!(ok.msg().vias, 1);
    assert_eq!(ok.value(HeaderName::Contact), Some("<sip:carol@cup2.local.example:5061;transport=tcp>"));
    assert_eq!(ok.value(HeaderName::RecordRoute), Some("<sip:cup.local.example:5061;transport=tcp;lr>"));
    let notify = all.world_hears(0, "NOTIFY");
    assert_eq!((state_of(&notify).as_str(), notify.msg().vias), ("pending", 2));
    assert!(!notify.msg().present.contains(HeaderName::Route), "{}", notify.msg().head());
    assert_eq!(notify.msg().max_forwards, Some(69));
    all.answer(0, &notify, 200, "", "");
    let decision = json!({ "do": "decide", "user": CAROL_AOR, "who": X, "verdict": "allow" });
    assert_eq!(all.nodes[1].command(decision), Reply::Done);
    all.settle();
    let notify = all.world_hears(0, "NOTIFY");
    assert_eq!(state_of(&notify), "active");
    all.answer(0, &notify, 200, "", "");
    assert!(all.idle());
    // Its refresh comes by the Route, and by the Contact alone as well.
    for route in [routes(&ok), String::new()] {
        all.within(&ok, "SUBSCRIBE", &format!("{SUBSCRIBE}{route}"), "");
        all.nodes[0].response(EDGE, 200);
        let notify = all.world_hears(0, "NOTIFY");
        all.answer(0, &notify, 200, "", "");
    }
    // What the appliance says is no such dialog any more ends it at home.
    all.within(&ok, "SUBSCRIBE", &format!("{SUBSCRIBE}{}", routes(&ok)), "");
    all.nodes[0].response(EDGE, 200);
    let notify = all.world_hears(0, "NOTIFY");
    all.answer(0, &notify, 481, "", "");
    all.within(&ok, "SUBSCRIBE", &format!("{SUBSCRIBE}{}", routes(&ok)), "");
    all.nodes[0].response(EDGE, 481);
    assert!(all.idle() && all.nodes[1].core.subs.is_empty());
    assert_eq!(all.nodes[0].core.subs.len(), 0);
}

#[test]
fn a_foreign_user_and_one_who_is_at_home_elsewhere_chat() {
    let mut all = Enterprise::new();
    all.outside("INVITE", CAROL_AOR, OFFER, SDP);
    let ok = all.nodes[0].response(EDGE, 200);
    // The 200 that is not acknowledged comes again, and again by this node.
    all.pass(600);
    let again = all.nodes[0].response(EDGE, 200);
    assert_eq!(again.msg().head(), ok.msg().head());
    all.within(&ok, "ACK", &routes(&ok), "");
    all.pass(5_000);
    all.nodes[0].quiet();
    all.within(&ok, "MESSAGE", &format!("{TEXT}{}", routes(&ok)), "hello");
    let text = all.nodes[1].expect(CAROL, "MESSAGE");
    assert_eq!(body_of(&text), "hello");
    all.answer(1, &text, 200, "", "");
    all.nodes[0].response(EDGE, 200);
    all.nodes[1].request(CAROL, "MESSAGE", CAROL_AOR, X, TEXT, "hi");
    all.settle();
    let text = all.world_hears(0, "MESSAGE");
    assert_eq!((body_of(&text).as_str(), text.msg().call_id), ("hi", ok.msg().call_id));
    all.answer(0, &text, 200, "", "");
    all.nodes[1].response(CAROL, 200);
    all.within(&ok, "BYE", &routes(&ok), "");
    all.nodes[0].response(EDGE, 200);
    all.within(&ok, "MESSAGE", &format!("{TEXT}{}", routes(&ok)), "still there?");
    all.nodes[0].response(EDGE, 481);
    all.pass(40_000);
    assert!(all.idle() && all.nodes[1].core.sessions.is_empty());
    // A refusal is acknowledged hop by hop, and once.
    all.nodes[1].close(CAROL);
    all.nodes[1].pass(3_700_000);
    all.outside("INVITE", CAROL_AOR, OFFER, SDP);
    let refusal = all.nodes[0].response(EDGE, 480);
    assert!(refusal.named("Warning").next().is_none());
    all.nodes[0].cseq -= 1;
    all.outside("ACK", CAROL_AOR, "", "");
    all.nodes[0].quiet();
    assert!(all.idle());
}

#[test]
fn any_node_begins_outward_and_what_comes_of_it_finds_home() {
    let mut all = Enterprise::new();
    let add = json!({ "do": "add-contact", "user": CAROL_AOR, "contact": X });
    assert_eq!(all.nodes[1].command(add), Reply::Done);
    all.pass(0);
    let subscribe = all.world_hears(1, "SUBSCRIBE");
    all.answer(1, &subscribe, 200, "Contact: <sip:x@fe.foreign.example>\r\nExpires: 600\r\n", "");
    // The world knows the one address that the appliance has behind it.
    let body = pidf(X, "busy");
    let extra = format!(
        "Event: presence\r\nSubscription-State: active;expires=600\r\nContact: <sip:x@fe.foreign.example>\r\nContent-Type: application/pidf+xml\r\nContent-Length: {}\r\n",
        body.len()
    );
    let value = |name| subscribe.value(name).expect("a value").to_owned();
    let contact = crate::message::inner_uri(&value(HeaderName::Contact)).to_owned();
    let notify = format!(
        "NOTIFY {contact} SIP/2.0\r\nVia: SIP/2.0/TCP fe;branch=z9hG4bKn\r\nFrom: {};tag=theirs\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 NOTIFY\r\n{extra}\r\n{body}",
        value(HeaderName::To),
        value(HeaderName::From),
        subscribe.msg().call_id
    );
    all.nodes[0].send(EDGE, &notify);
    all.settle();
    all.nodes[0].response(EDGE, 200);
    let shown = all.nodes[1].show(CAROL_AOR);
    assert_eq!(shown["contacts"][0]["reachability"], "busy", "{shown}");
    assert!(all.idle());
    // The same of a dialog that nobody has.
    all.nodes[0].send(EDGE, &notify.replace("bKn", "bKm").replace("Call-ID: ", "Call-ID: un"));
    all.settle();
    all.nodes[0].response(EDGE, 481);
}

#[test]
fn users_of_two_nodes_see_each_other_and_chat() {
    let mut all = Enterprise::new();
    all.nodes[0].request(
        BOB,
        "SUBSCRIBE",
        BOB_AOR,
        CAROL_AOR,
        "Event: presence\r\nContact: <sip:bob@192.0.2.2>\r\n",
        "",
    );
    all.settle();
    all.nodes[0].response(BOB, 200);
    // Nobody of the enterprise has to ask.
    let mut notify = all.nodes[0].expect(BOB, "NOTIFY");
    all.answer(0, &notify, 200, "", "");
    if state_of(&notify) == "pending" {
        all.pass(5_000);
        notify = all.nodes[0].expect(BOB, "NOTIFY");
        all.answer(0, &notify, 200, "", "");
    }
    assert!(state_of(&notify) == "active" && body_of(&notify).contains("closed"), "{}", body_of(&notify));
    all.nodes[1].publish(CAROL, "carol", "busy", None);
    all.settle();
    all.pass(5_000);
    all.pass(5_000);
    let notify = all.nodes[0].expect(BOB, "NOTIFY");
    assert!(body_of(&notify).contains("busy"), "{}", body_of(&notify));
    all.answer(0, &notify, 200, "", "");
    all.nodes[0].request(BOB, "MESSAGE", BOB_AOR, CAROL_AOR, TEXT, "lunch?");
    all.settle();
    let text = all.nodes[1].expect(CAROL, "MESSAGE");
    assert_eq!((body_of(&text).as_str(), text.msg().from.uri.text), ("lunch?", "sip:bob@local.example"));
    all.answer(1, &text, 200, "", "");
    all.nodes[0].response(BOB, 200);
    all.nodes[1].request(CAROL, "MESSAGE", CAROL_AOR, BOB_AOR, TEXT, "at one");
    all.settle();
    let text = all.nodes[0].expect(BOB, "MESSAGE");
    assert_eq!(body_of(&text), "at one");
    all.answer(0, &text, 200, "", "");
    all.nodes[1].response(CAROL, 200);
    assert_eq!((all.nodes[0].core.sessions.len(), all.nodes[1].core.sessions.len()), (1, 1));
    // A block is as polite as to anybody.
    let block = json!({ "do": "decide", "user": CAROL_AOR, "who": BOB_AOR, "verdict": "block" });
    assert_eq!(all.nodes[1].command(block), Reply::Done);
    all.settle();
    all.pass(5_000);
    all.pass(5_000);
    let notify = all.nodes[0].expect(BOB, "NOTIFY");
    assert!(body_of(&notify).contains("closed"), "{}", body_of(&notify));
    all.answer(0, &notify, 200, "", "");
    assert!(all.idle());
    // Devices and clients go to their own node.
    let elsewhere = all.nodes[0].command(json!({ "do": "show", "user": CAROL_AOR }));
    assert_eq!(elsewhere, Reply::Refused("carol@local.example: at home on cup2.local.example".to_owned()));
    let Reply::Told(home) = all.nodes[0].command(json!({ "do": "home", "user": CAROL_AOR })) else {
        panic!()
    };
    assert_eq!((home["node"].as_str(), home["here"].as_bool()), (Some("cup2.local.example"), Some(false)));
}

#[test]
fn a_home_node_that_is_down_is_its_users_trouble_alone() {
    let mut all = Enterprise::new();
    all.is_down = true;
    for method in ["SUBSCRIBE", "INVITE"] {
        let (extra, body) = if method == "INVITE" { (OFFER, SDP) } else { (SUBSCRIBE, "") };
        all.outside(method, CAROL_AOR, extra, body);
        let refusal = all.nodes[0].response(EDGE, 480);
        let warning = refusal.named("Warning").next().expect("a reason");
        assert_eq!(warning, "399 cup.local.example \"node cup2.local.example does not answer\"");
        assert_eq!(refusal.value(HeaderName::RetryAfter), Some("10"));
    }
    all.nodes[0].request(BOB, "MESSAGE", BOB_AOR, CAROL_AOR, TEXT, "there?");
    all.settle();
    all.nodes[0].response(BOB, 503);
    all.outside("SUBSCRIBE", BOB_AOR, SUBSCRIBE, "");
    all.nodes[0].response(EDGE, 200);
    all.world_hears(0, "NOTIFY");
    assert_eq!(all.counter(0, "node_unreachable"), 2);
    let Reply::Told(nodes) = all.nodes[0].command(json!({ "do": "nodes" })) else { panic!() };
    let row = nodes["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .find(|row| row["name"] == "cup2.local.example")
        .expect("cup2");
    assert_eq!(
        (row["connections"].as_u64(), row["unanswered"].as_u64(), row["waiting"].as_u64()),
        (Some(0), Some(2), Some(0)),
        "{row}"
    );
    // It is there, and says nothing.
    (all.is_down, all.is_mute) = (false, true);
    all.outside("SUBSCRIBE", CAROL_AOR, SUBSCRIBE, "");
    all.outside("INVITE", CAROL_AOR, OFFER, SDP);
    assert!(all.nodes[0].take_on(EDGE).is_empty());
    all.pass(20_000);
    all.nodes[0].response(EDGE, 480);
    all.nodes[0].response(EDGE, 480);
    all.pass(40_000);
    assert!(all.nodes[0].core.elsewhere.is_idle() && all.nodes[0].core.deferred.is_empty());
    // It is back.
    all.is_mute = false;
    all.cut();
    all.nodes[0].take_sent();
    all.outside("SUBSCRIBE", CAROL_AOR, SUBSCRIBE, "");
    all.nodes[0].response(EDGE, 200);
}

#[test]
fn a_node_speaks_for_whom_it_is_home_to_and_nothing_goes_round() {
    let mut all = Enterprise::new();
    let conn = ConnId(50);
    let node = all.number(0, 1);
    all.nodes[0].open(conn, Origin::Node(node));
    let mut status = |from: &str, to: &str, extra: &str| {
        all.nodes[0].request(conn, "SUBSCRIBE", from, to, &format!("{SUBSCRIBE}{extra}"), "");
        all.settle();
        let answer = all.nodes[0].next(conn);
        all.nodes[0].take_sent();
        status_of(&answer).expect("an answer")
    };
    assert_eq!(status(CAROL_AOR, BOB_AOR, ""), 200);
    assert_eq!(status(X, BOB_AOR, ""), 200);
    // Not for one at home here, nor on a third, nor for domains that are not permitted.
    assert_eq!(status("ann@local.example", BOB_AOR, ""), 403);
    assert_eq!(status("dora@local.example", BOB_AOR, ""), 403);
    assert_eq!(status("x@evil.example", BOB_AOR, ""), 403);
    // Nothing it sends goes on: not back, not to a third, not into the world.
    assert_eq!(status(X, CAROL_AOR, ""), 482);
    assert_eq!(status(X, "dora@local.example", ""), 404);
    assert_eq!(status(CAROL_AOR, "x@foreign.example", ""), 403);
    assert_eq!(status(CAROL_AOR, "x@foreign.example", "Route: <sip:cup.local.example;lr>\r\n"), 403);
    for name in ["spoof_node", "node_loop", "node_not_home", "relay"] {
        assert!(all.counter(0, name) > 0, "{name}: {:?}", all.nodes[0].core.counters);
    }
    // In a dialog it may go out by this node, for its own users only, and only out.
    let mut within = |from: &str, uri: &str, route: &str| {
        all.nodes[0].cseq += 1;
        let n = all.nodes[0].cseq;
        all.nodes[0].send(conn, &format!(
            "NOTIFY {uri} SIP/2.0\r\nVia: SIP/2.0/TLS cup2;branch=z9hG4bK{n}\r\nRoute: {route}\r\nFrom: <sip:{from}>;tag=a\r\nTo: <sip:{X}>;tag=b\r\n\
             Call-ID: c\r\nCSeq: {n} NOTIFY\r\nContent-Length: 0\r\n\r\n"
        ));
        all.settle();
        let sent = all.nodes[0].take_sent();
        sent.first().map(|message| (message.conn, status_of(message)))
    };
    let (us, x) = ("<sip:cup.local.example:5061;lr>", "sip:x@fe.foreign.example");
    let (out, status) = within(CAROL_AOR, x, us).expect("something");
    assert!(out.is_outgoing() && status.is_none());
    assert_eq!(within("ann@local.example", x, us), Some((conn, Some(403))));
    assert_eq!(within(X, x, us), Some((conn, Some(403))));
    assert_eq!(within(CAROL_AOR, x, "<sip:other.example;lr>"), Some((conn, Some(481))));
    assert_eq!(within(CAROL_AOR, x, &format!("{us}, <sip:cup3.local.example;lr>")), Some((conn, Some(482))));
    assert_eq!(within(CAROL_AOR, "sip:dora@cup3.local.example", us), Some((conn, Some(404))));
    // What has no hops left is refused where it is read; devices are led nowhere.
    let request = |hops: &str| {
        format!(
            "SUBSCRIBE sip:{CAROL_AOR} SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKh\r\nFrom: <sip:{X}>;tag=a\r\nTo: <sip:{CAROL_AOR}>\r\n\
         Call-ID: h\r\nCSeq: 1 SUBSCRIBE\r\n{hops}{SUBSCRIBE}Content-Length: 0\r\n\r\n"
        )
    };
    let spent = request("Max-Forwards: 0\r\n").into_bytes().into();
    let why = Incoming::scan(spent, EDGE, &crate::transport::LIMITS).expect_err("no hops left");
    assert_eq!(why.status(), 483);
    all.nodes[0].send(EDGE, &request("Proxy-Require: magic\r\n"));
    all.nodes[0].response(EDGE, 420);
    all.nodes[0].request(BOB, "SUBSCRIBE", BOB_AOR, "carol@cup2.local.example", SUBSCRIBE, "");
    all.nodes[0].response(BOB, 404);
}

#[test]
fn what_is_invited_may_be_cancelled_on_the_way() {
    let mut all = Enterprise::new();
    all.outside("SUBSCRIBE", CAROL_AOR, SUBSCRIBE, "");
    all.nodes[0].response(EDGE, 200);
    let notify = all.world_hears(0, "NOTIFY");
    all.answer(0, &notify, 200, "", "");
    all.is_mute = true;
    all.outside("INVITE", CAROL_AOR, OFFER, SDP);
    let (here, _) = all.wires[0].0;
    let wire = all.wires[0].0.1;
    assert_eq!(here, 0);
    // It rings, as no node of ours does.
    let branch = all.nodes[0].core.elsewhere.branch_of_invite();
    let ring = |status: &str, method: &str| {
        format!(
            "SIP/2.0 {status}\r\nVia: SIP/2.0/TLS cup.local.example:5061;branch=z9hG4bK{branch}\r\nVia: SIP/2.0/TCP h.example;branch=z9hG4bKx\r\n\
         From: <sip:{X}>;tag=a\r\nTo: <sip:{CAROL_AOR}>;tag=b\r\nCall-ID: c\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n"
        )
    };
    all.nodes[0].send(wire, &ring("100 Trying", "INVITE"));
    all.nodes[0].quiet();
    all.nodes[0].send(wire, &ring("180 Ringing", "INVITE"));
    all.nodes[0].response(EDGE, 180);
    all.nodes[0].cseq -= 1;
    all.nodes[0].request(EDGE, "CANCEL", X, CAROL_AOR, "", "");
    all.nodes[0].response(EDGE, 200);
    let cancel = all.nodes[0].expect(wire, "CANCEL");
    assert_eq!(
        (cancel.msg().vias, cancel.msg().top_via.branch),
        (1, Some(format!("z9hG4bK{branch}").as_str()))
    );
    all.nodes[0].send(wire, &ring("487 Request Terminated", "INVITE"));
    all.nodes[0].response(EDGE, 487);
    let ack = all.nodes[0].expect(wire, "ACK");
    assert_eq!(ack.msg().vias, 1);
    assert!(all.nodes[0].core.elsewhere.is_idle());
    // There is nothing left to cancel.
    all.nodes[0].request(EDGE, "CANCEL", X, CAROL_AOR, "", "");
    all.nodes[0].response(EDGE, 481);
}
