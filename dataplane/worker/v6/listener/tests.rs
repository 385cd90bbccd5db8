// SPDX-License-Identifier: MIT OR Apache-2.0
//! Joins and leaves said twice, queries answered in time.

use super::*;
use fedgate_wire::ipv6::UNSPECIFIED;

const A: u128 = 0xff02 << 112 | 0xa;
const B: u128 = 0xff02 << 112 | 0xb;

fn said(state: State, groups: &[u128]) -> Vec<Record> {
    groups.iter().map(|group| Record { group: *group, state }).collect()
}

#[test]
fn a_change_is_said_twice_within_a_second() {
    let mut listener = Listener::new(7);
    listener.listen(2, vec![A, B], 100);
    assert_eq!(listener.poll(99), None);
    assert_eq!(listener.poll(100), Some((2, said(State::Joined, &[A, B]))));
    assert_eq!(listener.poll(100), None);
    assert_eq!(listener.poll(1100), Some((2, said(State::Joined, &[A, B]))));
    assert_eq!(listener.poll(99_999), None);
    listener.listen(2, vec![A, B], 100_000);
    assert_eq!(listener.poll(100_000), None, "nothing has changed");
    listener.listen(2, vec![B], 100_000);
    assert_eq!(listener.poll(100_000), Some((2, said(State::Left, &[A]))));
    listener.say_again(2, 100_001);
    assert_eq!(listener.poll(100_001), Some((2, said(State::Joined, &[B]))));
}

#[test]
fn queries_are_answered_within_their_time() {
    let mut listener = Listener::new(7);
    listener.listen(1, vec![A], 0);
    while listener.poll(5000).is_some() {}
    let mut moments = std::collections::BTreeSet::new();
    for round in 1..100u64 {
        let start = round * 10_000;
        listener.asked(
            1,
            Query { group: if round % 2 == 0 { UNSPECIFIED } else { A }, within_ms: 500 },
            start,
        );
        let at = (0..=500)
            .find(|ms| listener.poll(start + ms).is_some_and(|(_, s)| s == said(State::Listens, &[A])));
        moments.insert(at.expect("an answer in time"));
        assert_eq!(listener.poll(start + 5000), None, "one answer");
    }
    assert!(moments.len() > 20, "at random moments");
    listener.asked(1, Query { group: B, within_ms: 0 }, 5_000_000);
    listener.asked(0, Query { group: UNSPECIFIED, within_ms: 0 }, 5_000_000);
    assert_eq!(listener.poll(6_000_000), None, "nobody listens to that here");
}
