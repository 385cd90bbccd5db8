// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything at once, in any order: whatever peers and devices do, each request has one final answer, and nothing is left behind.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::super::*;
use super::lab::*;
use crate::transport::Origin;

const BOB_AOR: &str = "bob@local.example";
const SDP: &str = "v=0\r\no=- 0 0 IN IP4 h\r\ns=s\r\nc=IN IP4 h\r\nt=0 0\r\nm=message 5060 sip null\r\na=accept-types:text/plain\r\n";
const OFFER: &str = "Contact: <sip:x@fe.foreign.example>\r\nContent-Type: application/sdp\r\n";
const STATUSES: [u16; 14] = [180, 200, 200, 200, 200, 202, 400, 404, 408, 480, 481, 486, 500, 503];

#[derive(Clone, Debug)]
enum Step {
    /// bob's device says something to a foreign user.
    Say(u8),
    Invite(u8),
    /// A foreign user speaks, ends or types in a session that was accepted.
    InSession(&'static str, usize),
    Subscribe(u8),
    /// A subscription is refreshed, or ended.
    Refresh(usize, bool),
    Publish(&'static str),
    Contact(u8, bool),
    Decide(u8, Option<&'static str>),
    /// A request of the node is answered.
    Answer(usize, usize),
    /// A connection breaks.
    Break(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let words = proptest::sample::select(&["open", "busy", "away", "closed"][..]);
    let verdicts = proptest::sample::select(&[None, Some("allow"), Some("block")][..]);
    prop_oneof![
        4 => (0..2_u8).prop_map(Step::Say),
        2 => (0..2_u8).prop_map(Step::Invite),
        4 => (proptest::sample::select(&["MESSAGE", "MESSAGE", "BYE", "INFO", "ACK", "INVITE", "REFER"][..]), any::<usize>())
            .prop_map(|(method, which)| Step::InSession(method, which)),
        2 => (0..3_u8).prop_map(Step::Subscribe),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, end)| Step::Refresh(which, end)),
        2 => words.prop_map(Step::Publish),
        1 => (0..2_u8, any::<bool>()).prop_map(|(who, add)| Step::Contact(who, add)),
        1 => (0..3_u8, verdicts).prop_map(|(who, verdict)| Step::Decide(who, verdict)),
        10 => (any::<usize>(), 0..STATUSES.len()).prop_map(|(which, status)| Step::Answer(which, status)),
        1 => (0..3_usize).prop_map(Step::Break),
        3 => (0..40_000_u64).prop_map(Step::Pass),
    ]
}

struct World {
    lab: Lab,
    /// Requests of ours by their branches, with the final answers that came.
    asked: BTreeMap<String, Vec<(u16, String)>>,
    /// Texts said to the node, each another, by the branches of their requests.
    said: BTreeMap<String, String>,
    /// How often each text of the node's was taken.
    heard: BTreeMap<String, u32>,
    /// Requests of the node that wait for an answer.
    waiting: Vec<Incoming>,
    /// 200s to our INVITEs and SUBSCRIBEs: dialogs.
    sessions: Vec<Incoming>,
    subscriptions: Vec<Incoming>,
}

impl World {
    fn new() -> Self {
        let mut lab = Lab::forgetful();
        lab.register(BOB, "bob");
        let empty = Vec::new;
        let (asked, said, heard) = Default::default();
        Self { lab, asked, said, heard, waiting: empty(), sessions: empty(), subscriptions: empty() }
    }

    fn take(&mut self) {
        for message in self.lab.take_sent() {
            let msg = message.msg();
            let branch = msg.top_via.branch.unwrap_or_default().to_owned();
            match status_of(&message) {
                None if msg.method_name() == Some("ACK") => {}
                None => self.waiting.push(message),
                Some(status) if status < 200 => {}
                Some(status) => {
                    let method = msg.cseq.method.to_owned();
                    let text = format!("{}{}", msg.head(), body_of(&message));
                    self.asked.entry(branch).or_default().push((status, text));
                    match method.as_str() {
                        "INVITE" if status == 200 => self.sessions.push(message),
                        "SUBSCRIBE" if status == 200 => self.subscriptions.push(message),
                        _ => {}
                    }
                }
            }
        }
    }

    /// What the lab sends next waits for one answer.
    fn expect_answer(&mut self) {
        self.asked.insert(self.next_branch(), Vec::new());
    }

    fn next_branch(&self) -> String {
        format!("z9hG4bK{}", self.lab.cseq + 1)
    }

    /// A text that is like no other, for the next request.
    fn text(&mut self) -> String {
        let text = format!("text {}", self.lab.cseq + 1);
        self.said.insert(self.next_branch(), text.clone());
        text
    }

    /// Whether the node still waits for the answer of its request.
    fn is_awaited(&self, request: &Incoming) -> bool {
        let branch = request.msg().top_via.branch.and_then(|branch| branch.strip_prefix("z9hG4bK"));
        let branch = branch.and_then(|branch| branch.parse::<Tag>().ok());
        branch.is_some_and(|Tag(branch)| self.lab.core.clients.contains_key(&branch))
    }

    fn go(&mut self, step: Step) {
        match step {
            Step::Say(n) => {
                self.expect_answer();
                let text = self.text();
                self.lab.request(BOB, "MESSAGE", BOB_AOR, &foreign(n), "Content-Type: text/plain\r\n", &text);
            }
            Step::Invite(n) => {
                self.expect_answer();
                self.lab.request(EDGE, "INVITE", &foreign(n), BOB_AOR, OFFER, SDP);
            }
            Step::InSession(method, which) => {
                let Some(session) = pick(&self.sessions, which) else { return };
                let session = again(&self.sessions[session]);
                if method != "ACK" {
                    self.expect_answer();
                }
                let text = if method == "MESSAGE" { self.text() } else { String::new() };
                let (extra, body) = match method {
                    "MESSAGE" => ("Content-Type: text/plain\r\n", text.as_str()),
                    "INFO" => (
                        "Content-Type: application/xml\r\n",
                        "<KeyboardActivity><status status='type'/></KeyboardActivity>",
                    ),
                    "INVITE" => (OFFER, SDP),
                    _ => ("", ""),
                };
                self.lab.within(&session, method, extra, body);
            }
            Step::Subscribe(n) => {
                self.expect_answer();
                let extra = "Event: presence\r\nExpires: 600\r\nContact: <sip:x@fe.foreign.example>\r\n";
                self.lab.request(EDGE, "SUBSCRIBE", &foreign(n), BOB_AOR, extra, "");
            }
            Step::Refresh(which, end) => {
                let Some(sub) = pick(&self.subscriptions, which) else { return };
                let sub = again(&self.subscriptions[sub]);
                self.expect_answer();
                let expires = if end { 0 } else { 600 };
                self.lab.within(&sub, "SUBSCRIBE", &format!("Event: presence\r\nExpires: {expires}\r\n"), "");
            }
            Step::Publish(what) => {
                self.expect_answer();
                let extra = "Event: presence\r\nExpires: 60\r\nContent-Type: application/pidf+xml\r\n";
                self.lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, extra, &pidf(BOB_AOR, what));
            }
            Step::Contact(n, add) => {
                let verb = if add { "add-contact" } else { "remove-contact" };
                let _ = self.lab.command(json!({ "do": verb, "user": BOB_AOR, "contact": foreign(n) }));
            }
            Step::Decide(n, verdict) => {
                let decision =
                    json!({ "do": "decide", "user": BOB_AOR, "who": foreign(n), "verdict": verdict });
                assert_eq!(self.lab.command(decision), Reply::Done);
            }
            Step::Answer(which, status) => {
                let Some(which) = pick(&self.waiting, which) else { return };
                let status = STATUSES[status];
                let request = &self.waiting[which];
                let takes_text =
                    matches!(status, 200..=299) && request.msg().method_name() == Some("MESSAGE");
                if takes_text && self.is_awaited(request) {
                    *self.heard.entry(body_of(request)).or_default() += 1;
                }
                let request =
                    if status < 200 { again(&self.waiting[which]) } else { self.waiting.remove(which) };
                let (extra, body) = match (request.msg().method_name(), status) {
                    (Some("INVITE"), 200) => (OFFER, SDP),
                    (Some("SUBSCRIBE"), 200) => {
                        ("Contact: <sip:x@fe.foreign.example>\r\nExpires: 300\r\n", "")
                    }
                    _ => ("", ""),
                };
                self.lab.answer(&request, status, extra, body);
            }
            Step::Break(which) => {
                let border = self.lab.opened.last().map(|(conn, _)| *conn);
                match which {
                    0 => {
                        self.lab.close(EDGE);
                        self.lab.open(EDGE, Origin::Federation);
                    }
                    1 => {
                        self.lab.close(BOB);
                        self.lab.open(BOB, Origin::Client);
                        self.take();
                        self.lab.register(BOB, "bob");
                    }
                    _ => border.into_iter().for_each(|conn| self.lab.close(conn)),
                }
            }
            Step::Pass(ms) => self.lab.pass(ms),
        }
        self.take();
    }
}

fn foreign(n: u8) -> String {
    format!("x{n}@foreign.example")
}

fn pick(of: &[Incoming], which: usize) -> Option<usize> {
    (!of.is_empty()).then(|| which % of.len())
}

/// The same message once more.
fn again(message: &Incoming) -> Incoming {
    let bytes = format!("{}{}", message.msg().head(), body_of(message));
    Incoming::scan(bytes.into_bytes().into(), message.conn, &crate::transport::LIMITS).expect("the same")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn each_request_has_one_answer_and_nothing_is_left(steps in proptest::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.go(step);
        }
        // Nobody says anything any more: all that waits is given up, sessions and subscriptions end.
        for n in 0..2 {
            world.go(Step::Contact(n, false));
        }
        for _ in 0..60 {
            world.go(Step::Pass(30_000));
        }
        let core = &world.lab.core;
        // A 200 to an INVITE is said again until its ACK; that is no second answer.
        let odd: Vec<_> = world.asked.iter().filter(|(_, answers)| match answers.as_slice() {
            [] => true,
            [(200, first), again @ ..] if first.contains(" INVITE\r\n") => again.iter().any(|(_, other)| other != first),
            [_, again @ ..] => !again.is_empty(),
        }).collect();
        prop_assert!(odd.is_empty(), "{odd:?}");
        // Each text was taken once and its sender told so, or he was told that it was not.
        for (branch, text) in &world.said {
            let heard = world.heard.get(text).copied().unwrap_or(0);
            let told = world.asked[branch][0].0;
            prop_assert_eq!(heard, u32::from(told == 200), "{} was answered {}", text, told);
        }
        prop_assert!(core.deferred.is_empty() && core.deliveries.is_empty() && core.texts.is_empty());
        prop_assert_eq!((core.clients.len(), core.deferred_octets), (0, 0));
        prop_assert!(core.conns.values().all(|conn| conn.waiting == 0));
        prop_assert_eq!((core.sessions.len(), core.pairs.len(), core.invites.len()), (0, 0, 0));
        prop_assert_eq!((core.subs.len(), core.by_resource.len(), core.by_watcher.len()), (0, 0, 0));
        prop_assert_eq!((core.watches.len(), core.watch_of.len()), (0, 0));
        prop_assert!(core.shares.is_empty(), "{:?}", core.shares);
        prop_assert_eq!((core.publications.len(), core.devices.len()), (0, 0));
        let timers: Vec<_> = core.timers.iter().filter(|(_, timer)| *timer != Timer::Bindings).collect();
        prop_assert!(timers.is_empty(), "{timers:?}");
    }
}
