// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is noted of connections that begin and end, and that nothing is where nobody wants it.

use super::*;
use crate::ledger::{Ends, ROOM};

#[test]
fn what_begins_and_ends_is_noted_where_it_is_wanted() {
    let mut lab = Lab::new();
    let (unseen, _) = lab.send(INSIDE, UDP, (WORK, 5000), (EDGE, 53), 0);
    assert!(lab.flow.ledger.is_empty());
    lab.flow.ledger.switch(true);
    let (got, _) = lab.send(OUTSIDE, TCP, (EDGE, 40001), (PUB, 5061), SYN);
    let (Admission::New { id: unseen, .. }, Admission::New { id, .. }) = (unseen, got) else {
        unreachable!()
    };
    let began = lab.flow.ledger.take().unwrap();
    let key = |dst, dport| Key { src: EDGE, dst, sport: 40001, dport, proto: TCP };
    assert_eq!(began.ends, Ends::V4(key(PUB, 5061), key(CUP, 5062)));
    assert_eq!((began.iface, began.inbound, began.end), ([OUTSIDE, INSIDE], true, None));
    lab.flow.end(id, lab.now + 25);
    assert!(!lab.flow.end(id, lab.now + 26), "ended is ended");
    let ended = lab.flow.ledger.take().unwrap();
    let end = ended.end.unwrap();
    assert_eq!((ended.serial, ended.ends), (began.serial, began.ends));
    assert_eq!((end.ticks, end.bytes, end.state, end.timed_out), (25, 0, State::SynSent, false));
    // One that is refused is none.
    lab.send(OUTSIDE, TCP, (OTHER, 40001), (PUB, 5061), SYN);
    assert!(lab.flow.ledger.is_empty());
    lab.flow.end(unseen, lab.now);
    lab.flow.ledger.switch(false);
    lab.send(INSIDE, UDP, (WORK, 5001), (EDGE, 53), 0);
    assert_eq!(lab.flow.ledger.len(), 1, "what was noted goes on to be told");
}

#[test]
fn a_note_without_room_is_counted() {
    let mut lab = Lab::new();
    lab.flow.ledger.switch(true);
    for n in 0..ROOM as u32 {
        let (got, _) = lab.send(OUTSIDE, TCP, (EDGE, 40001), (PUB, 5061), SYN);
        let Admission::New { id, .. } = got else { panic!("{n}: {got:?}") };
        lab.flow.end(id, lab.now);
    }
    assert_eq!((lab.flow.ledger.len(), lab.flow.ledger.take_lost()), (ROOM, ROOM as u64));
    assert_eq!(lab.flow.ledger.take_lost(), 0);
}
