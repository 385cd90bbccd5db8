// SPDX-License-Identifier: MIT OR Apache-2.0
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What happens to a conversation from outside.
#[derive(Clone, Debug)]
enum Event {
    Say,
    InviteTaken(bool),
    InviteRefused(u16),
    PeerInvites,
    Answer(u16),
    PeerEnds(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Say),
        3 => any::<bool>().prop_map(Event::InviteTaken),
        1 => proptest::sample::select(&[403_u16, 480, 503][..]).prop_map(Event::InviteRefused),
        1 => Just(Event::PeerInvites),
        5 => proptest::sample::select(&[200_u16, 200, 200, 202, 408, 415, 480, 481, 503][..]).prop_map(Event::Answer),
        1 => (0..3_usize).prop_map(Event::PeerEnds),
    ]
}

/// The core's part, as simple as it can be: sessions that are up, the INVITE and the text on their way.
#[derive(Default)]
struct World {
    tags: u64,
    said: u32,
    up: Vec<Tag>,
    inviting: Option<Tag>,
    flying: Option<Tag>,
    sent: BTreeMap<u32, u32>,
    done: BTreeMap<u32, u16>,
    order: Vec<u32>,
}

impl World {
    fn tag(&mut self) -> Tag {
        self.tags += 1;
        Tag(self.tags)
    }

    fn obey(&mut self, c: &mut Conversation<u32>, todo: Vec<Do<u32>>) {
        for one in todo {
            match one {
                Do::Invite => {
                    assert_eq!(self.inviting, None, "two INVITEs at once");
                    let tag = self.tag();
                    self.inviting = Some(tag);
                    c.inviting(tag);
                }
                Do::Send(tag) => {
                    assert_eq!(self.flying, None, "two texts at once");
                    assert!(self.up.contains(&tag), "sent in a session that is not there");
                    self.flying = Some(tag);
                    let text = *c.sending().expect("a text");
                    *self.sent.entry(text).or_default() += 1;
                    if self.sent[&text] == 1 {
                        self.order.push(text);
                    }
                }
                Do::End(tag) => {
                    self.up.retain(|up| *up != tag);
                    let more = c.ended(tag);
                    self.obey(c, more);
                }
                Do::Done(text, status) => assert_eq!(self.done.insert(text, status), None, "told twice"),
            }
        }
    }

    fn happen(&mut self, c: &mut Conversation<u32>, event: Event) {
        let todo = match event {
            Event::Say => {
                self.said += 1;
                c.say(self.said).unwrap_or_else(|text| vec![Do::Done(text, 503)])
            }
            Event::InviteTaken(ours_stays) => {
                let Some(tag) = self.inviting.take() else { return };
                self.up.push(tag);
                c.invited(tag, ours_stays)
            }
            Event::InviteRefused(status) => {
                let Some(tag) = self.inviting.take() else { return };
                c.refused(tag, status)
            }
            Event::PeerInvites => {
                let tag = self.tag();
                self.up.push(tag);
                c.peer_invited(tag)
            }
            Event::Answer(status) => {
                let Some(tag) = self.flying.take() else { return };
                c.answered(tag, status)
            }
            Event::PeerEnds(which) => {
                let Some(tag) = self.up.get(which).copied() else { return };
                self.up.retain(|up| *up != tag);
                c.ended(tag)
            }
        };
        self.obey(c, todo);
    }
}

proptest! {
    /// Whatever happens: each text is told of once, none is sent more than twice, and they leave in the order they were said in.
    #[test]
    fn nothing_is_lost_doubled_or_overtaken(events in proptest::collection::vec(event(), 1..200)) {
        let (mut world, mut c) = (World::default(), Conversation::default());
        for event in events {
            world.happen(&mut c, event);
        }
        // A well-behaved peer lets everything end.
        for _ in 0..200 {
            world.happen(&mut c, Event::InviteTaken(true));
            world.happen(&mut c, Event::Answer(200));
        }
        prop_assert_eq!(world.done.len() as u32, world.said);
        prop_assert!(world.sent.values().all(|times| *times <= 2));
        prop_assert!(world.order.is_sorted());
        // What is told as said has been sent.
        prop_assert!(world.done.iter().all(|(text, status)| *status != 200 || world.sent.contains_key(text)));
        prop_assert!(c.is_quiet());
    }
}

#[test]
fn a_forgotten_session_costs_one_new_invite() {
    let mut c = Conversation::default();
    assert_eq!(c.say('a'), Ok(vec![Do::Invite]));
    c.inviting(Tag(1));
    assert_eq!(c.invited(Tag(1), true), [Do::Send(Tag(1))]);
    assert_eq!(c.answered(Tag(1), 481), [Do::Invite]);
    c.inviting(Tag(2));
    assert_eq!(c.invited(Tag(2), true), [Do::Send(Tag(2))]);
    assert_eq!(c.answered(Tag(2), 480), [Do::End(Tag(2)), Do::Done('a', 480)]);
}

#[test]
fn the_peers_session_serves_us_too() {
    let mut c = Conversation::default();
    assert_eq!(c.peer_invited(Tag(1)), []);
    assert_eq!(c.say('a'), Ok(vec![Do::Send(Tag(1))]));
    // It invites anew while our text is on its way: the old session is left when that is answered.
    assert_eq!(c.peer_invited(Tag(2)), []);
    assert_eq!(c.answered(Tag(1), 200), [Do::End(Tag(1)), Do::Done('a', 200)]);
    assert_eq!(c.say('b'), Ok(vec![Do::Send(Tag(2))]));
}

#[test]
fn crossing_invites_leave_one_session() {
    for ours_stays in [false, true] {
        let mut c = Conversation::default();
        assert_eq!(c.say('a'), Ok(vec![Do::Invite]));
        c.inviting(Tag(1));
        assert_eq!(c.peer_invited(Tag(2)), [Do::Send(Tag(2))]);
        let todo = c.invited(Tag(1), ours_stays);
        assert_eq!(todo, if ours_stays { vec![] } else { vec![Do::End(Tag(1))] });
        assert_eq!(c.active(), Some(if ours_stays { Tag(1) } else { Tag(2) }));
    }
}
