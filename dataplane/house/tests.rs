// SPDX-License-Identifier: MIT OR Apache-2.0
//! Housekeeping driven by hand, with the worker's end of the queues in the test's hand too.

use super::*;
use crate::worker::DATA_ROOM;
use fedgate_tables::link::Filter;
use std::sync::atomic::AtomicU32;

struct Bench {
    house: House,
    seat: Seat,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let eal = Eal::for_tests();
        let name = format!("house{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let pool = Mempool::new(eal, &name, 255, DATA_ROOM, 0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (house, seat) = House::new(eal, pool, &folder.path().join("s")).unwrap();
        Self { house, seat, folder }
    }

    fn connect(&mut self) -> LinkSocket {
        let link = LinkSocket::connect(&self.folder.path().join("s")).unwrap();
        self.house.turn();
        link
    }

    fn attach(&mut self) -> LinkSocket {
        let link = self.connect();
        link.try_send(&ToDataplane::Hello { layout: LINK_LAYOUT, pid: 1 }, &[]).unwrap();
        self.house.turn();
        assert!(matches!(link.try_recv::<ToControl>().unwrap().0, ToControl::HelloAck { .. }));
        link
    }
}

/// Control must be able to greet however much happened while it was away.
#[test]
fn the_greeting_is_answered_before_anything_else() {
    let mut bench = Bench::new();
    assert!(bench.seat.desk.events.put(Event::Limit { what: "x".into(), limit: 0 }));
    bench.house.turn();
    let link = bench.connect();
    assert!(bench.seat.desk.events.put(Event::Limit { what: "y".into(), limit: 0 }));
    bench.house.turn();
    link.try_send(&ToDataplane::Hello { layout: LINK_LAYOUT, pid: 1 }, &[]).unwrap();
    bench.house.turn();
    assert!(matches!(link.try_recv::<ToControl>().unwrap().0, ToControl::HelloAck { .. }));
    assert_eq!(link.try_recv::<ToControl>().unwrap().0, ToControl::Lost { events: 2 });
}

/// What a dead control asked for is not told to the next, and not gone on with.
#[test]
fn rows_of_a_former_control_go_nowhere() {
    let mut bench = Bench::new();
    let first = bench.attach();
    let dump = ToDataplane::Dump { id: 1, what: What::Conns, filter: Filter::default() };
    first.try_send(&dump, &[]).unwrap();
    bench.house.turn();
    drop(first);
    let second = bench.attach();
    let Some(Command::Dump(asked)) = bench.seat.desk.take() else { panic!("the first one's listing") };
    bench.seat.desk.answer(Reply::Page { dump: asked, rows: Rows::Conns(Vec::new()), next: Some(64) });
    bench.house.turn();
    assert!(matches!(second.try_recv::<ToControl>(), Err(LinkError::WouldBlock)));
    assert!(bench.seat.desk.take().is_none());
}

/// A control that asks and does not read makes itself wait, and nothing pile up here.
#[test]
fn what_waits_for_control_is_bounded() {
    let mut bench = Bench::new();
    let link = bench.attach();
    for _ in 0..500 {
        while link.try_send(&ToDataplane::Ping { id: 1 }, &[]).is_ok() {}
        bench.house.turn();
    }
    assert!(bench.house.outbox.len() <= OUTBOX, "{} messages wait", bench.house.outbox.len());
}

/// Clearing goes on in bounded steps until it is done, and is answered once with the whole count.
#[test]
fn clearing_adds_up() {
    let mut bench = Bench::new();
    let link = bench.attach();
    link.try_send(&ToDataplane::Clear { id: 3, what: What::Conns, filter: Filter::default() }, &[]).unwrap();
    bench.house.turn();
    for (cursor, next) in [(0, Some(2048)), (2048, None)] {
        let Some(Command::Clear(clear)) = bench.seat.desk.take() else { panic!("a step") };
        assert_eq!(clear.cursor, cursor);
        bench.seat.desk.answer(Reply::Cleared { clear: Clear { count: clear.count + 5, ..clear }, next });
        bench.house.turn();
    }
    assert_eq!(link.try_recv::<ToControl>().unwrap().0, ToControl::Cleared { id: 3, count: 10 });
}
