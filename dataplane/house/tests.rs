// SPDX-License-Identifier: MIT OR Apache-2.0
//! Housekeeping driven by hand, with the worker's end of the queues in the test's hand too.

use super::*;
use crate::worker::DATA_ROOM;
use fedgate_tables::link::{ArpRow, ConnRow, Echo, Echoed, Fate, Filter, Phase, Probe, Trace};
use std::sync::atomic::AtomicU32;

struct Bench {
    house: House,
    seats: Vec<Seat>,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with_workers(1)
    }

    fn with_workers(workers: u8) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let eal = Eal::for_tests();
        let name = format!("house{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let pool = Mempool::new(eal, &name, 255, DATA_ROOM, 0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (house, seats) = House::new(eal, pool, &folder.path().join("s"), workers).unwrap();
        Self { house, seats, folder }
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
    assert!(bench.seats[0].desk.events.put(Event::Port { ifindex: 0, text: "x".into() }));
    bench.house.turn();
    let link = bench.connect();
    assert!(bench.seats[0].desk.events.put(Event::Port { ifindex: 0, text: "y".into() }));
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
    let Some(Command::Dump(asked)) = bench.seats[0].desk.take() else { panic!("the first one's listing") };
    bench.seats[0].desk.answer(Reply::Page { dump: asked, rows: Rows::Conns(Vec::new()), next: Some(64) });
    bench.house.turn();
    assert!(matches!(second.try_recv::<ToControl>(), Err(LinkError::WouldBlock)));
    assert!(bench.seats[0].desk.take().is_none());
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
        let Some(Command::Clear(clear)) = bench.seats[0].desk.take() else { panic!("a step") };
        assert_eq!(clear.cursor, cursor);
        bench.seats[0].desk.answer(Reply::Cleared { clear: Clear { count: clear.count + 5, ..clear }, next });
        bench.house.turn();
    }
    assert_eq!(link.try_recv::<ToControl>().unwrap().0, ToControl::Cleared { id: 3, count: 10 });
}

/// All workers are asked, one after the other, and control gets one answer: rows until the last one's last, and the sum of what was ended.
#[test]
fn listings_and_clears_go_through_all_workers() {
    let mut bench = Bench::with_workers(3);
    let link = bench.attach();
    let rows = |n: u64| Rows::Conns((0..n).map(|id| ConnRow { id, ..ConnRow::default() }).collect());
    link.try_send(&ToDataplane::Dump { id: 4, what: What::Conns, filter: Filter::default() }, &[]).unwrap();
    link.try_send(&ToDataplane::Clear { id: 5, what: What::Conns, filter: Filter::default() }, &[]).unwrap();
    bench.house.turn();
    let mut got = Vec::new();
    for worker in 0..3 {
        for cursor in [0, 64] {
            for _ in 0..2 {
                match bench.seats[worker].desk.take() {
                    Some(Command::Dump(dump)) => {
                        assert_eq!(dump.cursor, cursor);
                        let next = (cursor == 0).then_some(64);
                        bench.seats[worker].desk.answer(Reply::Page { dump, rows: rows(1), next });
                    }
                    Some(Command::Clear(clear)) => {
                        assert_eq!(clear.cursor, cursor);
                        let next = (cursor == 0).then_some(64);
                        let clear = Clear { count: clear.count + 10, ..clear };
                        bench.seats[worker].desk.answer(Reply::Cleared { clear, next });
                    }
                    Some(
                        Command::Port { .. }
                        | Command::Trace(_)
                        | Command::TraceSip(_)
                        | Command::Capture(_)
                        | Command::Echo(_),
                    )
                    | None => {
                        panic!("worker {worker} is not asked")
                    }
                }
            }
            bench.house.turn();
            got.extend(std::iter::from_fn(|| link.try_recv::<ToControl>().ok()).map(|(message, _)| message));
        }
    }
    let parts = got.iter().filter(|m| matches!(m, ToControl::Rows { id: 4, done: false, .. })).count();
    let ends = got.iter().filter(|m| matches!(m, ToControl::Rows { id: 4, done: true, .. })).count();
    assert_eq!((parts, ends), (5, 1));
    assert!(got.contains(&ToControl::Cleared { id: 5, count: 60 }));
    assert_eq!(got.len(), 7);
    assert!(bench.seats.iter_mut().all(|seat| seat.desk.take().is_none()));
}

/// A packet is traced by the first worker, and where that says so by the one whose it is; control gets one answer.
#[test]
fn a_packet_is_traced_by_its_worker() {
    let mut bench = Bench::with_workers(3);
    let link = bench.attach();
    let (src, dst) = (Addr::V4(1), Addr::V4(2));
    let probe = Probe { in_if: 0, proto: 17, src, sport: 3, dst, dport: 4, icmp: [0; 2] };
    link.try_send(&ToDataplane::Trace { id: 7, probe }, &[]).unwrap();
    bench.house.turn();
    let Some(Command::Trace(ask)) = bench.seats[0].desk.take() else { panic!("the first is asked") };
    assert_eq!((ask.probe, ask.handed), (probe, false));
    bench.seats[0].desk.answer(Reply::Elsewhere { ask, worker: 2 });
    bench.house.turn();
    let Some(Command::Trace(ask)) = bench.seats[2].desk.take() else { panic!("the owner is asked") };
    assert_eq!((ask.probe, ask.handed), (probe, true));
    let trace = Trace { generation: 1, phases: vec![Phase::NotFound], out_if: None, fate: Fate::Passes };
    bench.seats[2].desk.answer(Reply::Traced { ask, trace: Some(trace.clone()) });
    bench.house.turn();
    assert_eq!(link.try_recv::<ToControl>().unwrap().0, ToControl::Traced { id: 7, trace: Some(trace) });
    assert!(bench.seats.iter_mut().all(|seat| seat.desk.take().is_none()));
}

/// The first worker asks for echoes; an answer for a control that has gone goes to nobody.
#[test]
fn an_echo_is_the_first_workers_to_ask_for() {
    let mut bench = Bench::with_workers(2);
    let link = bench.attach();
    let echo = Echo { ifindex: Some(1), to: Addr::V4(2), len: 100 };
    let mut seqs = Vec::new();
    for id in [7, 8] {
        link.try_send(&ToDataplane::Echo { id, echo }, &[]).unwrap();
        bench.house.turn();
        let Some(Command::Echo(order)) = bench.seats[0].desk.take() else { panic!("the first is asked") };
        assert_eq!((order.echo, order.asker.id), (echo, id));
        seqs.push(order.seq);
        let stale = Asker { link: order.asker.link + 1, ..order.asker };
        for asker in [stale, order.asker] {
            bench.seats[0].desk.answer(Reply::Echoed { asker, outcome: Echoed::Answered { micros: id } });
        }
        bench.house.turn();
        let outcome = Echoed::Answered { micros: id };
        assert_eq!(link.try_recv::<ToControl>().unwrap().0, ToControl::Echoed { id, outcome });
        assert!(matches!(link.try_recv::<ToControl>(), Err(LinkError::WouldBlock)));
    }
    assert_ne!(seqs[0], seqs[1]);
    assert!(bench.seats[1].desk.take().is_none());
}

/// Neighbours are each worker's own and mostly the same: one row each.
#[test]
fn a_neighbour_is_listed_once() {
    let mut bench = Bench::with_workers(2);
    let link = bench.attach();
    let row = |addr: u32| ArpRow { addr: addr.into(), ..ArpRow::default() };
    for _ in 0..2 {
        link.try_send(&ToDataplane::Dump { id: 4, what: What::Arp, filter: Filter::default() }, &[]).unwrap();
        bench.house.turn();
        let mut listed = Vec::new();
        for (worker, addrs) in [[1, 2], [2, 3]].into_iter().enumerate() {
            let Some(Command::Dump(dump)) = bench.seats[worker].desk.take() else { panic!("a listing") };
            let rows = Rows::Arp(addrs.map(row).to_vec());
            bench.seats[worker].desk.answer(Reply::Page { dump, rows, next: None });
            bench.house.turn();
            match link.try_recv::<ToControl>().unwrap().0 {
                ToControl::Rows { rows: Rows::Arp(rows), .. } => listed.extend(rows.iter().map(|r| r.addr)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(listed, [1, 2, 3].map(Addr::V4));
    }
}

/// Which worker has which queues: each its own where there are enough, else some have one and the others use theirs; ports with one
/// pair go round.
#[test]
fn queues_are_planned() {
    use super::ports::Plan;
    let queues = |plan: Plan| (0..plan.workers).map(|w| (plan.rx_of(w), plan.tx_of(w))).collect::<Vec<_>>();
    let plan = |rx, tx, first, workers| Plan { rx, tx, first, workers, rss: rx > 1 };
    assert_eq!(queues(plan(2, 2, 0, 2)), [(Some(0), Ok(0)), (Some(1), Ok(1))]);
    assert_eq!(queues(plan(1, 1, 1, 2)), [(None, Err(1)), (Some(0), Ok(0))]);
    assert_eq!(queues(plan(2, 1, 0, 3)), [(Some(0), Ok(0)), (Some(1), Err(0)), (None, Err(0))]);
    assert_eq!(queues(plan(1, 3, 2, 4)), [(None, Ok(2)), (None, Err(2)), (Some(0), Ok(0)), (None, Ok(1))]);
}

/// The supervisor hears of us only while every worker turns.
#[test]
fn a_worker_that_hangs_is_seen() {
    let bench = Bench::with_workers(2);
    let mut supervisor = supervisor::Supervisor::every(&bench.house.counters, None);
    assert!(!supervisor.all_turn());
    let turn = |worker: usize, cycles| bench.seats[worker].counters.set(Gauge::CyclesAll, cycles);
    turn(0, 1);
    turn(1, 1);
    assert!(supervisor.all_turn());
    turn(0, 2);
    assert!(!supervisor.all_turn());
    turn(1, 2);
    // The first has stood still in the meantime.
    assert!(!supervisor.all_turn());
    turn(0, 3);
    turn(1, 3);
    assert!(supervisor.all_turn());
}
