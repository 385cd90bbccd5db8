// SPDX-License-Identifier: MIT OR Apache-2.0
//! `clear xlate`: translations end with the connections that use them, those asked for and no others.

use super::rig::*;
use crate::worker::command::{Asker, Clear, Command, Reply};
use fedgate_flow::key::UDP;
use fedgate_tables::link::{Filter, What};
use fedgate_wire::MacAddr;
use fedgate_wire::emit::Station;

/// Another workstation.
const DESK: Station = Station { mac: MacAddr([2, 0, 0, 0, 1, 51]), ip: ip(10, 10, 0, 51) };
const SYN: u8 = 2;

fn clear(rig: &mut Rig, filter: Filter) -> u64 {
    let asker = Asker { id: 1, link: 1 };
    let mut clear = Clear { asker, what: What::Xlates, filter, cursor: 0, count: 0 };
    loop {
        match rig.command(Command::Clear(clear)) {
            Reply::Cleared { clear: done, next: None } => return done.count,
            Reply::Cleared { clear: done, next: Some(cursor) } => clear = Clear { cursor, ..done },
            _ => panic!("cleared"),
        }
    }
}

/// Connections and translations.
fn counts(rig: &Rig) -> (u32, u32) {
    (rig.flow().conns.in_use().0, rig.flow().xlates.in_use().0)
}

#[test]
fn a_translation_ends_with_what_uses_it() {
    let mut rig = Rig::new();
    // Two hosts by interface PAT, of one two ports; and one from outside to the server by static PAT.
    for (from, port) in [(WORK, 5000), (WORK, 5001), (DESK, 5000)] {
        let frame = udp((from, port), (WEB.ip, 53), MACS[INSIDE], 64, b"question");
        rig.exchange(INSIDE, &frame, &[(OUTSIDE, WEB)]);
    }
    let call = tcp((WEB, 4000), (PUBLIC, 5061), MACS[OUTSIDE], SYN);
    rig.exchange(OUTSIDE, &call, &[(INSIDE, ROUTING)]);
    assert_eq!(counts(&rig), (4, 3));
    let at = |addr: u32| Filter { address: Some(addr.into()), ..Filter::default() };
    // The peer has no translation; and neither has another protocol or port.
    assert_eq!(clear(&mut rig, at(WEB.ip)), 0);
    assert_eq!(clear(&mut rig, Filter { proto: Some(6), ..at(WORK.ip) }), 0);
    assert_eq!(clear(&mut rig, Filter { port: Some(53), ..Filter::default() }), 0);
    assert_eq!(counts(&rig), (4, 3));
    assert_eq!(clear(&mut rig, Filter { port: Some(5001), proto: Some(UDP), ..at(WORK.ip) }), 1);
    assert_eq!(counts(&rig), (3, 2));
    assert_eq!(clear(&mut rig, at(DESK.ip)), 1);
    assert_eq!(counts(&rig), (2, 1));
    // A static rule is no entry, and stays; its connection goes.
    assert_eq!(clear(&mut rig, at(PUBLIC)), 0);
    assert_eq!(counts(&rig), (1, 1));
    assert_eq!(clear(&mut rig, Filter::default()), 1);
    assert_eq!(counts(&rig), (0, 0));
    rig.exchange(OUTSIDE, &call, &[(INSIDE, ROUTING)]);
    assert_eq!(counts(&rig), (1, 0));
    rig.assert_no_mbuf_held();
}
