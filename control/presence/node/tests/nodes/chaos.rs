// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two nodes in any order of things: requests from outside, wires that break, a node that is down or mute.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Subscribe,
    Invite,
    Within(&'static str, usize),
    Say,
    Answer(usize, u16),
    Cut,
    Mute(bool),
    Down(bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let methods = proptest::sample::select(&["MESSAGE", "BYE", "INFO", "SUBSCRIBE", "ACK"][..]);
    prop_oneof![
        3 => Just(Step::Subscribe),
        3 => Just(Step::Invite),
        5 => (methods, any::<usize>()).prop_map(|(method, which)| Step::Within(method, which)),
        2 => Just(Step::Say),
        6 => (any::<usize>(), proptest::sample::select(&[200_u16, 200, 404, 481, 500][..])).prop_map(|(which, status)| Step::Answer(which, status)),
        1 => Just(Step::Cut),
        1 => any::<bool>().prop_map(Step::Mute),
        1 => any::<bool>().prop_map(Step::Down),
        3 => (0..25_000_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever becomes of the wire between two nodes: what comes from outside has one answer, and nothing is held.
    #[test]
    fn each_request_has_one_answer_and_nothing_is_held(steps in proptest::collection::vec(step(), 1..60)) {
        let mut all = Enterprise::new();
        let mut asked: BTreeMap<String, u32> = BTreeMap::new();
        let (mut dialogs, mut waiting): (Vec<Incoming>, Vec<(usize, Incoming)>) = (Vec::new(), Vec::new());
        let quiet = (0..6).map(|_| Step::Pass(40_000));
        for step in steps.into_iter().chain([Step::Mute(false), Step::Down(false)]).chain(quiet) {
            let branch = format!("z9hG4bK{}", all.nodes[0].cseq + 1);
            match step {
                Step::Subscribe => {
                    asked.insert(branch, 0);
                    all.outside("SUBSCRIBE", CAROL_AOR, SUBSCRIBE, "");
                }
                Step::Invite => {
                    asked.insert(branch, 0);
                    all.outside("INVITE", CAROL_AOR, OFFER, SDP);
                }
                Step::Within(_, _) if dialogs.is_empty() => {}
                Step::Within(method, which) => {
                    if method != "ACK" {
                        asked.insert(branch, 0);
                    }
                    let dialog = &dialogs[which % dialogs.len()];
                    let extra = format!("{}{}", routes(dialog), if method == "SUBSCRIBE" { SUBSCRIBE } else { TEXT });
                    let text = format!("{}{}", dialog.msg().head(), body_of(dialog));
                    let dialog = Incoming::scan(text.into_bytes().into(), EDGE, &crate::transport::LIMITS).expect("the same");
                    all.within(&dialog, method, &extra, "t");
                }
                Step::Say => {
                    all.nodes[1].request(CAROL, "MESSAGE", CAROL_AOR, X, TEXT, "t");
                    all.settle();
                }
                Step::Answer(_, _) if waiting.is_empty() => {}
                Step::Answer(which, status) => {
                    let (node, request) = waiting.swap_remove(which % waiting.len());
                    let (extra, body) = if request.msg().method_name() == Some("INVITE") { (OFFER, SDP) } else { ("", "") };
                    all.answer(node, &request, status, extra, body);
                }
                Step::Cut => all.cut(),
                Step::Mute(mute) => all.is_mute = mute,
                Step::Down(down) => {
                    all.is_down = down;
                    if down {
                        all.cut();
                    }
                }
                Step::Pass(ms) => all.pass(ms),
            }
            for node in 0..2 {
                for message in all.nodes[node].take_sent() {
                    match (status_of(&message), message.msg().top_via.branch) {
                        (None, _) if message.msg().method_name() != Some("ACK") => waiting.push((node, message)),
                        (Some(status), Some(branch)) if status >= 200 && message.conn == EDGE => {
                            let method = message.msg().cseq.method;
                            let count = asked.get_mut(branch).expect("it was asked");
                            // A 200 to an INVITE comes until it is acknowledged.
                            *count += u32::from(*count == 0 || method != "INVITE" || status != 200);
                            if status == 200 && matches!(method, "INVITE" | "SUBSCRIBE") {
                                dialogs.push(message);
                            }
                        }
                        _ => {}
                    }
                }
            }
        }
        let odd: Vec<_> = asked.iter().filter(|(_, count)| **count != 1).collect();
        prop_assert!(odd.is_empty(), "{odd:?}");
        prop_assert!(all.nodes[0].core.elsewhere.is_idle() && all.nodes[0].core.deferred.is_empty());
        prop_assert_eq!(all.nodes[0].core.deferred_octets, 0);
        prop_assert!(all.nodes[0].core.subs.is_empty() && all.nodes[0].core.sessions.is_empty());
    }
}
