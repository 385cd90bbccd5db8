// SPDX-License-Identifier: MIT OR Apache-2.0
//! Control is told of connections that begin and end, where the policy says so.

use super::rig::*;
use crate::worker::command::{Asker, Clear, Command, Reply};
use fedgate_tables::link::{Event, Filter, FlowNote, Over, Place, What};
use fedgate_tables::policy::{Globals, TELL_FLOWS};

fn notes(rig: &Rig) -> Vec<FlowNote> {
    let told = rig.events().into_iter().flat_map(|event| match event {
        Event::Flows { notes } => notes,
        _ => vec![],
    });
    told.collect()
}

#[test]
fn connections_are_told_in_batches() {
    let mut rig = Rig::new();
    rig.collect();
    let question = |port| udp((WORK, port), (WEB.ip, 53), MACS[INSIDE], 64, b"question");
    rig.exchange(INSIDE, &question(5000), &[(OUTSIDE, WEB)]);
    rig.wait(200);
    assert_eq!(notes(&rig), [], "nobody asked");
    let mut telling = policy();
    telling.globals(Globals { flags: TELL_FLOWS, ..Globals::default() });
    rig.publish(telling, 2);
    rig.wait(10);
    for port in 5001..5004 {
        rig.exchange(INSIDE, &question(port), &[(OUTSIDE, WEB)]);
    }
    rig.wait(100);
    let told = notes(&rig);
    assert_eq!(told.len(), 3);
    let first = told[0];
    let v4 = |addr: u32, port| Place(addr.into(), port);
    assert_eq!((first.src, first.dst), (v4(WORK.ip, 5001), v4(WEB.ip, 53)));
    assert_eq!((first.shown_src.0, first.real_dst), (OWN[OUTSIDE].into(), first.dst));
    assert_eq!((first.proto, first.in_if, first.out_if, first.inbound, first.end), (17, 1, 0, false, None));
    // One that went idle, and those that an operator ended.
    rig.wait(121_500);
    let ended = notes(&rig);
    assert_eq!(ended.len(), 4, "the untold one ends all the same: {ended:?}");
    assert!(
        ended.iter().all(|note| note.end.is_some_and(|end| end.over == Over::Idle && end.seconds >= 120))
    );
    assert_eq!(ended.iter().filter(|note| note.id == first.id).count(), 1);
    rig.exchange(INSIDE, &question(5005), &[(OUTSIDE, WEB)]);
    let asker = Asker { id: 1, link: 1 };
    let clear = Clear { asker, what: What::Conns, filter: Filter::default(), cursor: 0, count: 0 };
    assert!(matches!(rig.command(Command::Clear(clear)), Reply::Cleared { .. }));
    rig.wait(200);
    let ends: Vec<_> = notes(&rig).iter().map(|note| note.end.map(|end| end.over)).collect();
    assert_eq!(ends, [None, Some(Over::Ended)]);
}
