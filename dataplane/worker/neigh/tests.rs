// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table's life by hand, and any sequence of calls against what must always hold.
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::HashSet;

const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xa]);
const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xb]);
const IP: u32 = 0x0a00_0001;

type Table = Neighbours<u32>;

fn small() -> Limits {
    Limits { entries: 6, incomplete: 3, learnt: 2, held: 5, held_per_entry: 2, timeout_ms: 60_000 }
}

/// Runs a call and returns what it did and what it asks for.
fn run<R>(call: impl FnOnce(&mut dyn FnMut(Action<u32>)) -> R) -> (R, Vec<Action<u32>>) {
    let mut actions = Vec::new();
    let result = call(&mut |action| actions.push(action));
    (result, actions)
}

fn resolve(table: &mut Table, now: u64, ip: u32, packet: u32) -> (Resolve<u32>, Vec<Action<u32>>) {
    run(|mut act| table.resolve(now, 1, ip, packet, &mut act))
}

fn hear(table: &mut Table, now: u64, ip: u32, mac: MacAddr, asks_us: bool) -> (Learned, Vec<Action<u32>>) {
    run(|mut act| table.hear(now, Heard { ifindex: 1, ip, mac, asks_us, confirms: true }, &mut act))
}

/// A message that proves nothing.
fn hearsay(table: &mut Table, now: u64, ip: u32, mac: MacAddr) -> (Learned, Vec<Action<u32>>) {
    run(|mut act| table.hear(now, Heard { ifindex: 1, ip, mac, asks_us: true, confirms: false }, &mut act))
}

fn poll(table: &mut Table, now: u64) -> Vec<Action<u32>> {
    run(|mut act| table.poll(now, &mut act)).1
}

fn ask(to: MacAddr) -> Action<u32> {
    Action::SendRequest { ifindex: 1, ip: IP, to }
}

#[test]
fn packets_wait_for_the_answer_in_order() {
    let mut table = Table::new(small());
    let (first, actions) = resolve(&mut table, 0, IP, 7);
    let Resolve::Held { hop } = first else { panic!("{first:?}") };
    assert_eq!(actions, [ask(MacAddr::BROADCAST)]);
    assert_eq!(table.mac(hop), None);
    assert_eq!(resolve(&mut table, 1, IP, 8), (Resolve::Held { hop }, vec![]));
    let (learned, actions) = hear(&mut table, 2, IP, A, false);
    assert_eq!(learned, Learned::Resolved);
    let sent = |packet| Action::Transmit { ifindex: 1, mac: A, packet };
    assert_eq!(actions, [sent(7), sent(8)]);
    assert_eq!(table.mac(hop), Some(A));
    assert_eq!(resolve(&mut table, 3, IP, 9), (Resolve::Known { hop, mac: A, packet: 9 }, vec![]));
}

#[test]
fn silence_is_asked_three_times_and_given_up() {
    let mut table = Table::new(small());
    let (Resolve::Held { hop }, _) = resolve(&mut table, 0, IP, 7) else { panic!() };
    assert_eq!(poll(&mut table, 999), []);
    assert_eq!(poll(&mut table, 1000), [ask(MacAddr::BROADCAST)]);
    assert_eq!(poll(&mut table, 2000), [ask(MacAddr::BROADCAST)]);
    assert_eq!(poll(&mut table, 2999), []);
    assert_eq!(poll(&mut table, 3000), [Action::Failed { ifindex: 1, ip: IP, packet: 7 }]);
    assert_eq!(table.entries().count(), 0);
    assert_eq!(poll(&mut table, 100_000), []);
    // The next life of the slot is not found by the old handle.
    let (Resolve::Held { hop: again }, _) = resolve(&mut table, 4000, IP, 8) else { panic!() };
    hear(&mut table, 4001, IP, A, false);
    assert_eq!((table.mac(hop), table.mac(again)), (None, Some(A)));
}

#[test]
fn a_host_in_use_is_asked_again_and_stays() {
    let mut table = Table::new(small());
    hear(&mut table, 0, IP, A, true);
    let (Resolve::Known { hop, .. }, _) = resolve(&mut table, 10, IP, 7) else { panic!() };
    assert_eq!(poll(&mut table, 56_999), []);
    assert_eq!(poll(&mut table, 57_000), [ask(A)]);
    assert_eq!(table.entries().next().unwrap().state, State::Stale);
    assert_eq!(table.mac(hop), Some(A), "traffic goes on while it is asked");
    assert_eq!(hear(&mut table, 57_005, IP, A, false).0, Learned::Confirmed);
    assert_eq!(poll(&mut table, 58_000), []);
    assert_eq!(poll(&mut table, 114_004), []);
    table.touch(hop);
    assert_eq!(poll(&mut table, 114_005), [ask(A)]);
    assert_eq!(poll(&mut table, 115_005), [ask(A)]);
    assert_eq!(poll(&mut table, 116_005), [ask(A)]);
    assert_eq!(table.mac(hop), Some(A));
    assert_eq!(poll(&mut table, 117_005), []);
    assert_eq!(table.mac(hop), None, "and is forgotten at the timeout if it does not answer");
}

#[test]
fn use_before_the_last_answer_does_not_count() {
    let mut table = Table::new(small());
    hear(&mut table, 0, IP, A, true);
    resolve(&mut table, 10, IP, 7);
    hear(&mut table, 20, IP, A, false);
    for now in (0..61_000).step_by(100) {
        assert_eq!(poll(&mut table, now), []);
    }
    assert_eq!(table.entries().count(), 0);
}

#[test]
fn room_comes_back_when_packets_leave() {
    let mut table = Table::new(small());
    for (round, ip) in (1u32..20).enumerate() {
        let now = round as u64;
        for packet in 0..2 {
            assert!(matches!(resolve(&mut table, now, ip, packet).0, Resolve::Held { .. }));
        }
        assert_eq!(hear(&mut table, now, ip, A, false).1.len(), 2);
        table.clear(None, &mut |_| ());
    }
    assert_eq!(table.held(), 0);
}

#[test]
fn an_idle_host_is_forgotten_unasked() {
    let mut table = Table::new(small());
    hear(&mut table, 0, IP, A, true);
    for now in (0..60_000).step_by(100) {
        assert_eq!(poll(&mut table, now), []);
    }
    assert_eq!(table.entries().count(), 1);
    assert_eq!(poll(&mut table, 60_000), []);
    assert_eq!(table.entries().count(), 0);
}

#[test]
fn only_what_concerns_us_is_learned() {
    let mut table = Table::new(small());
    assert_eq!(hear(&mut table, 0, IP, A, false).0, Learned::Ignored);
    assert_eq!(hear(&mut table, 0, 0, A, true).0, Learned::Ignored, "an address probe");
    assert_eq!(hear(&mut table, 0, IP, MacAddr::BROADCAST, true).0, Learned::Ignored);
    assert_eq!(hear(&mut table, 0, IP, A, true).0, Learned::Created);
    assert_eq!(hear(&mut table, 1, IP, B, false).0, Learned::Moved { from: A });
    assert_eq!(table.entries().next().unwrap().mac, B);
}

#[test]
fn bounds_have_names() {
    let mut table = Table::new(small());
    let refusal = |result: (Resolve<u32>, Vec<Action<u32>>)| match result.0 {
        Resolve::Refused { why, .. } => Some(why),
        Resolve::Held { .. } | Resolve::Known { .. } => None,
    };
    assert_eq!(refusal(resolve(&mut table, 0, 1, 0)), None);
    assert_eq!(refusal(resolve(&mut table, 0, 1, 0)), None);
    assert_eq!(refusal(resolve(&mut table, 0, 1, 0)), Some(Refusal::EntryQueueFull));
    assert_eq!(refusal(resolve(&mut table, 0, 2, 0)), None);
    assert_eq!(refusal(resolve(&mut table, 0, 2, 0)), None);
    assert_eq!(refusal(resolve(&mut table, 0, 3, 0)), None);
    assert_eq!(refusal(resolve(&mut table, 0, 3, 0)), Some(Refusal::QueueFull));
    assert_eq!(refusal(resolve(&mut table, 0, 4, 0)), Some(Refusal::TableFull), "incomplete ones");
    assert_eq!(hear(&mut table, 0, 4, A, true).0, Learned::Created, "room that a scan cannot take");
    let (other, _) = run(|mut act| table.resolve(0, 2, 1, 0, &mut act));
    assert_eq!(
        refusal((other, vec![])),
        Some(Refusal::QueueFull),
        "another interface has its own room for entries"
    );
    assert_eq!(table.held(), 5);
}

fn addresses(table: &Table) -> Vec<(u32, u32)> {
    let mut all: Vec<_> = table.entries().map(|entry| (entry.ifindex, entry.ip)).collect();
    all.sort_unstable();
    all
}

/// Requests for our address from ever new senders push out one another, and never what we use or need.
#[test]
fn requests_make_room_for_one_another_only() {
    let mut table = Table::new(small());
    hear(&mut table, 0, 1, A, true);
    let (Resolve::Known { hop, .. }, _) = resolve(&mut table, 0, 1, 7) else { panic!() };
    let before = table.changes();
    for ip in 10..2000 {
        assert_eq!(hear(&mut table, u64::from(ip), ip, B, true).0, Learned::Created);
    }
    assert_eq!(addresses(&table), [(1, 1), (1, 1998), (1, 1999)]);
    assert_eq!((table.mac(hop), table.changes()), (Some(A), before), "nobody had a handle to those");
    assert!(table.timers.len() <= 2 * small().entries);
}

/// A table full of what requests made has room for whatever we have to send, on every interface.
#[test]
fn learnt_entries_make_room_for_our_own_need() {
    let mut table = Table::new(Limits { learnt: 6, ..small() });
    for ip in 10..16 {
        hear(&mut table, 0, ip, B, true);
    }
    for ip in 1..=3 {
        let (resolved, _) = run(|mut act| table.resolve(1, 2, ip, ip, &mut act));
        assert!(matches!(resolved, Resolve::Held { .. }), "{resolved:?}");
    }
    assert_eq!(addresses(&table), [(1, 13), (1, 14), (1, 15), (2, 1), (2, 2), (2, 3)]);
}

/// RFC 4861 7.2.3, 7.2.5: what is not an answer is used, and asked within seconds of its use.
#[test]
fn hearsay_is_asked_at_its_next_use() {
    let mut table = Table::new(small());
    assert_eq!(hearsay(&mut table, 0, IP, A).0, Learned::Created);
    assert_eq!(table.entries().next().unwrap().state, State::Stale);
    assert_eq!(poll(&mut table, 20_000), [], "nobody uses it");
    let (Resolve::Known { hop, .. }, _) = resolve(&mut table, 20_010, IP, 7) else { panic!() };
    assert_eq!(poll(&mut table, 25_010), [ask(A)]);
    hear(&mut table, 25_020, IP, A, false);
    assert_eq!(table.entries().next().unwrap().state, State::Reachable);
    // A claim to a confirmed address is believed no further than that; silence ends it.
    assert_eq!(hearsay(&mut table, 26_000, IP, A).0, Learned::Confirmed);
    assert_eq!(table.entries().next().unwrap().state, State::Reachable);
    assert_eq!(hearsay(&mut table, 26_000, IP, B).0, Learned::Moved { from: A });
    assert_eq!(table.entries().next().unwrap().state, State::Stale);
    table.touch(hop);
    for now in [31_000, 32_000, 33_000] {
        assert_eq!(poll(&mut table, now), [ask(B)]);
    }
    assert_eq!(poll(&mut table, 34_000), []);
    assert_eq!(table.entries().count(), 0);
}

#[test]
fn a_doubted_entry_is_asked_and_keeps_its_station() {
    let mut table = Table::new(small());
    hear(&mut table, 0, IP, A, true);
    let (Resolve::Known { hop, .. }, _) = resolve(&mut table, 0, IP, 7) else { panic!() };
    table.doubt(10, 1, IP);
    assert!(table.awaits(1, IP));
    table.touch(hop);
    assert_eq!(poll(&mut table, 5010), [ask(A)]);
    assert_eq!(table.mac(hop), Some(A));
}

#[test]
fn a_shorter_timeout_holds_for_old_entries() {
    let mut table = Table::new(Limits { timeout_ms: 14_400_000, ..small() });
    hear(&mut table, 0, IP, A, true);
    table.set_timeout(20_000);
    for now in (0..=20_000).step_by(500) {
        poll(&mut table, now);
    }
    assert_eq!(table.entries().count(), 0);
}

#[test]
fn clearing_an_interface_fails_its_packets_only() {
    let mut table = Table::new(small());
    resolve(&mut table, 0, IP, 7);
    let (other, _) = run(|mut act| table.resolve(0, 2, IP, 8, &mut act));
    assert!(matches!(other, Resolve::Held { .. }));
    let ((), actions) = run(|mut act| table.clear(Some(1), &mut act));
    assert_eq!(actions, [Action::Failed { ifindex: 1, ip: IP, packet: 7 }]);
    assert_eq!(table.entries().map(|entry| entry.ifindex).collect::<Vec<_>>(), [2]);
    assert_eq!(poll(&mut table, 1000).len(), 1, "one timer, the other's");
}

#[test]
fn no_bits_of_a_zeroed_or_absent_handle_are_ever_found() {
    let mut table = Table::new(small());
    hear(&mut table, 0, IP, A, true);
    assert_eq!(table.mac(NextHop::NONE), None);
    assert_eq!(table.mac(NextHop::from_bits(0)), None);
    table.slots[0].generation = NextHop::LAST_GENERATION;
    table.clear(None, &mut |_| ());
    assert_eq!(table.slots[0].generation, 1, "the generations come round without touching those two");
}

#[derive(Clone, Debug)]
enum Call {
    Resolve(u32, u32),
    Hear(u32, u32, u8, [bool; 2]),
    Doubt(u32, u32),
    Wait(u64),
    Use(usize),
    Clear(Option<u32>),
    Timeout(u64),
}

fn call() -> impl Strategy<Value = Call> {
    let (ifindex, ip) = (0u32..2, 1u32..7);
    prop_oneof![
        6 => (ifindex.clone(), ip.clone()).prop_map(|(i, a)| Call::Resolve(i, a)),
        4 => (ifindex.clone(), ip.clone(), 0u8..4, any::<[bool; 2]>()).prop_map(|(i, a, m, h)| Call::Hear(i, a, m, h)),
        1 => (ifindex.clone(), ip).prop_map(|(i, a)| Call::Doubt(i, a)),
        4 => prop_oneof![1u64..1500, 5_000u64..70_000].prop_map(Call::Wait),
        3 => any::<usize>().prop_map(Call::Use),
        1 => prop::option::of(ifindex).prop_map(Call::Clear),
        1 => (10_000u64..90_000).prop_map(Call::Timeout),
    ]
}

/// What is known from outside: the slow, obvious account of the same calls.
#[derive(Default)]
struct Account {
    now: u64,
    /// Packets given in and not yet out.
    inside: HashSet<u32>,
    /// Who was last heard to have an address.
    heard: HashMap<(u32, u32), MacAddr>,
    /// When an address was last asked for by broadcast.
    asked: HashMap<(u32, u32), u64>,
    /// Whose each handle was.
    handles: Vec<(NextHop, (u32, u32))>,
    /// What requests made and nothing was sent to, oldest first.
    learnt: Vec<(u32, u32)>,
}

impl Account {
    /// After a call that may make an entry: at most one has made room, a learnt one, and the oldest of its interface.
    fn made_room(&mut self, before: &[(u32, u32)], table: &Table) {
        let after = addresses(table);
        let gone: Vec<_> = before.iter().filter(|one| !after.contains(one)).collect();
        assert!(gone.len() <= 1);
        for gone in gone {
            let oldest = self.learnt.iter().position(|(ifindex, _)| *ifindex == gone.0).unwrap();
            assert_eq!(self.learnt.remove(oldest), *gone);
        }
    }

    fn take(&mut self, actions: Vec<Action<u32>>) {
        for action in actions {
            match action {
                Action::SendRequest { ifindex, ip, to } if to == MacAddr::BROADCAST => {
                    let before = self.asked.insert((ifindex, ip), self.now);
                    assert!(before.is_none_or(|at| self.now >= at + RETRY_MS), "asked too often");
                }
                Action::SendRequest { ifindex, ip, to } => {
                    assert_eq!(self.heard.get(&(ifindex, ip)), Some(&to), "probe to who has it");
                }
                Action::Transmit { mac, packet, .. } => {
                    assert!(self.inside.remove(&packet), "out once");
                    assert!(self.heard.values().any(|known| *known == mac));
                }
                Action::Failed { packet, .. } => assert!(self.inside.remove(&packet), "out once"),
            }
        }
    }
}

proptest! {
    #[test]
    fn any_calls(calls in vec(call(), 0..120)) {
        let mut table = Table::new(small());
        let mut account = Account::default();
        for (packet, call) in (0u32..).zip(calls) {
            match call {
                Call::Resolve(ifindex, ip) => {
                    account.inside.insert(packet);
                    let before = addresses(&table);
                    let incomplete =
                        table.entries().filter(|e| e.ifindex == ifindex && e.state == State::Incomplete).count();
                    let (result, actions) = run(|mut act| table.resolve(account.now, ifindex, ip, packet, &mut act));
                    account.take(actions);
                    account.made_room(&before, &table);
                    if let Resolve::Refused { why: Refusal::TableFull, .. } = result {
                        let full = before.len() == small().entries && account.learnt.is_empty();
                        prop_assert!(full || incomplete == small().incomplete, "no room though some could be had");
                    }
                    if matches!(result, Resolve::Known { .. }) {
                        account.learnt.retain(|one| *one != (ifindex, ip));
                    }
                    match result {
                        Resolve::Known { hop, mac, packet } => {
                            prop_assert_eq!(account.heard.get(&(ifindex, ip)), Some(&mac));
                            account.handles.push((hop, (ifindex, ip)));
                            prop_assert!(account.inside.remove(&packet));
                        }
                        Resolve::Held { hop } => account.handles.push((hop, (ifindex, ip))),
                        Resolve::Refused { packet, .. } => prop_assert!(account.inside.remove(&packet)),
                    }
                }
                Call::Hear(ifindex, ip, station, [asks_us, confirms]) => {
                    let mac = MacAddr([2, 0, 0, 0, 0, station]);
                    let known = table.entries().any(|e| (e.ifindex, e.ip) == (ifindex, ip));
                    account.heard.insert((ifindex, ip), mac);
                    let before = addresses(&table);
                    let heard = Heard { ifindex, ip, mac, asks_us, confirms };
                    let (learned, actions) = run(|mut act| table.hear(account.now, heard, &mut act));
                    account.take(actions);
                    account.made_room(&before, &table);
                    if learned == Learned::Created {
                        account.learnt.push((ifindex, ip));
                    }
                    if !known {
                        let created = if asks_us { Learned::Created } else { Learned::Ignored };
                        prop_assert!(learned == created || learned == Learned::Ignored);
                        if learned == Learned::Ignored {
                            account.heard.remove(&(ifindex, ip));
                        }
                    }
                }
                Call::Doubt(ifindex, ip) => table.doubt(account.now, ifindex, ip),
                Call::Wait(ms) => {
                    let end = account.now + ms;
                    while account.now < end {
                        account.now = end.min(account.now + 250);
                        let actions = poll(&mut table, account.now);
                        account.take(actions);
                    }
                }
                Call::Use(which) => {
                    if let Some(&(hop, whose)) = which.checked_rem(account.handles.len()).map(|i| &account.handles[i])
                        && let Some(mac) = table.mac(hop)
                    {
                        prop_assert_eq!(account.heard.get(&whose), Some(&mac), "a handle never finds another host");
                    }
                }
                Call::Clear(ifindex) => {
                    let ((), actions) = run(|mut act| table.clear(ifindex, &mut act));
                    account.take(actions);
                    account.asked.retain(|(i, _), _| ifindex.is_some_and(|only| only != *i));
                }
                Call::Timeout(ms) => table.set_timeout(ms),
            }
            let limits = small();
            let entries: Vec<Entry> = table.entries().collect();
            let live = addresses(&table);
            account.learnt.retain(|one| live.contains(one));
            for ifindex in 0..2 {
                let of = |what: &dyn Fn(&Entry) -> bool| entries.iter().filter(|e| e.ifindex == ifindex && what(e)).count();
                let learnt = account.learnt.iter().filter(|one| one.0 == ifindex).count();
                prop_assert!(learnt <= limits.learnt);
                prop_assert_eq!(learnt, table.links.learnt(ifindex));
                let incomplete = of(&|e| e.state == State::Incomplete);
                prop_assert!(incomplete <= limits.incomplete);
                prop_assert_eq!(incomplete, table.links.incomplete(ifindex));
            }
            prop_assert!(entries.len() <= limits.entries);
            prop_assert!(entries.iter().all(|e| e.held <= limits.held_per_entry));
            prop_assert!(entries.iter().all(|e| e.held == 0 || e.state == State::Incomplete));
            let alive: HashSet<_> = table.timers.iter().filter(|Reverse((due, hop))| table.slots[hop.index()].is_timer(*due, *hop)).collect();
            prop_assert_eq!(entries.len(), alive.len(), "one timer an entry");
            prop_assert!(table.timers.len() <= 2 * limits.entries);
            prop_assert_eq!(entries.len(), table.by_address.len());
            prop_assert_eq!(entries.iter().map(|e| usize::from(e.held)).sum::<usize>(), table.held());
            prop_assert_eq!(account.inside.len(), table.held(), "no packet is lost or doubled");
        }
        // In the end all that waits fails, and with no traffic every entry goes.
        for _ in 0..400 {
            account.now += 500;
            let actions = poll(&mut table, account.now);
            account.take(actions);
        }
        prop_assert_eq!((account.inside.len(), table.entries().count(), table.timers.len()), (0, 0, 0));
    }
}
