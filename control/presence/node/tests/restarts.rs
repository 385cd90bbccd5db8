// SPDX-License-Identifier: MIT OR Apache-2.0
//! Everything that is stored, in any order, with restarts in between: the core that comes knows what the one before had acknowledged.
//!
//! On both stores. What each core shows of its users is held against what the last one showed; each subscription that was taken is
//! refreshed at the end, in its dialog.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::super::*;
use super::lab::*;
use crate::postgres::Server;

const BOB_AOR: &str = "bob@local.example";
const SUBSCRIBE: &str = "Event: presence\r\nExpires: 7200\r\nContact: <sip:x@fe.foreign.example>\r\n";

#[derive(Clone, Debug)]
enum Step {
    Decide(u8, Option<&'static str>),
    Contact(u8, bool),
    Subscribe(u8),
    End(usize),
    Publish(&'static str),
    Prefer(&'static str),
    Pass(u64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let verdicts = proptest::sample::select(&[None, Some("allow"), Some("block")][..]);
    prop_oneof![
        3 => (0..4_u8, verdicts).prop_map(|(who, verdict)| Step::Decide(who, verdict)),
        2 => (0..4_u8, any::<bool>()).prop_map(|(who, add)| Step::Contact(who, add)),
        3 => (0..4_u8).prop_map(Step::Subscribe),
        1 => any::<usize>().prop_map(Step::End),
        2 => proptest::sample::select(&["open", "busy", "away", "closed"][..]).prop_map(Step::Publish),
        1 => proptest::sample::select(&["ask", "allow", "block"][..]).prop_map(Step::Prefer),
        1 => (0..20_000_u64).prop_map(Step::Pass),
        2 => Just(Step::Restart),
    ]
}

/// What is shown of bob that has to be the same after a restart: all but what connections are.
fn shown(lab: &mut Lab) -> Value {
    let mut shown = lab.show(BOB_AOR);
    for contact in shown["contacts"].as_array_mut().expect("contacts") {
        // What is seen of foreign contacts is asked for anew.
        *contact = json!([contact["address"], contact["name"]]);
    }
    shown
}

/// Whoever is told something takes it; the border answers nothing else.
fn take_notifies(lab: &mut Lab) {
    for message in lab.take_sent() {
        if message.msg().method_name() == Some("NOTIFY") {
            lab.answer(&message, 200, "", "");
        }
    }
}

fn run(mut lab: Lab, steps: Vec<Step>) {
    let foreign = |n: u8| format!("x{n}@foreign.example");
    let mut taken: Vec<Incoming> = Vec::new();
    lab.register(BOB, "bob");
    for step in steps.into_iter().chain([Step::Restart]) {
        match step {
            Step::Decide(n, verdict) => {
                let decision =
                    json!({ "do": "decide", "user": BOB_AOR, "who": foreign(n), "verdict": verdict });
                assert_eq!(lab.command(decision), Reply::Done);
            }
            Step::Contact(n, add) => {
                let verb = if add { "add-contact" } else { "remove-contact" };
                let _ = lab.command(json!({ "do": verb, "user": BOB_AOR, "contact": foreign(n) }));
            }
            Step::Subscribe(n) => {
                lab.request(EDGE, "SUBSCRIBE", &foreign(n), BOB_AOR, SUBSCRIBE, "");
                taken.push(lab.response(EDGE, 200));
            }
            Step::End(_) if taken.is_empty() => {}
            Step::End(which) => {
                let sub = taken.swap_remove(which % taken.len());
                lab.within(&sub, "SUBSCRIBE", "Event: presence\r\nExpires: 0\r\n", "");
                lab.response(EDGE, 200);
            }
            Step::Publish(what) => {
                let extra = "Event: presence\r\nExpires: 7200\r\nContent-Type: application/pidf+xml\r\n";
                lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, extra, &pidf(BOB_AOR, what));
                let answer = status_of(&lab.next(BOB));
                // He has so many devices and no more.
                assert!(matches!(answer, Some(200 | 503)), "{answer:?}");
            }
            Step::Prefer(what) => {
                let wish =
                    json!({ "do": "prefer", "user": BOB_AOR, "name": "unknown-watchers", "value": what });
                assert_eq!(lab.command(wish), Reply::Done);
            }
            Step::Pass(ms) => lab.pass(ms),
            Step::Restart => {
                let before = shown(&mut lab);
                lab.restart();
                assert_eq!(shown(&mut lab), before);
                lab.register(BOB, "bob");
            }
        }
        take_notifies(&mut lab);
    }
    for sub in taken {
        lab.within(&sub, "SUBSCRIBE", SUBSCRIBE, "");
        lab.response(EDGE, 200);
        let notify = lab.expect(EDGE, "NOTIFY");
        assert_eq!(notify.msg().call_id, sub.msg().call_id);
        take_notifies(&mut lab);
    }
}

/// So many cases, each with a store of its own.
fn restarts(cases: u32, url: impl Fn() -> Option<String>) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let outcome = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..40), |steps| {
        run(url().map_or_else(Lab::new, Lab::on), steps);
        Ok(())
    });
    outcome.unwrap_or_else(|why| panic!("{why}"));
}

#[test]
fn what_is_stored_outlives_the_core_in_sqlite() {
    restarts(16, || None);
}

#[test]
fn what_is_stored_outlives_the_core_in_postgresql() {
    let server = Server::start();
    restarts(8, || Some(server.database()));
}
