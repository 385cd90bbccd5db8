// SPDX-License-Identifier: MIT OR Apache-2.0
//! TCP Intercept as a client and a server see it, while a flood runs.

use super::crew::{Crew, station, tuple};
use super::rig::*;
use super::shards;
use fedgate_tables::counters::Stat;
use fedgate_tables::link::{Bound, ClassBound, Event};
use fedgate_tables::policy_build::PolicyBuilder;
use fedgate_wire::emit::{self, Station};
use fedgate_wire::{Ipv4, MacAddr, Tcp, checksum, parse, proto};
use hosts::{CLIENT_PORT, Host, Weather, World};
use smoltcp::socket::tcp::State;

mod hosts;

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
/// Embryonic connections that the class may have.
const LIMIT: u32 = 10;

/// The rig's policy, with a class of all connections.
fn limited(embryonic_max: u32) -> PolicyBuilder {
    let mut b = policy();
    limit(&mut b, embryonic_max);
    b
}

/// A rig that knows the stations on both sides, with the class's limit reached by SYNs that nobody answers.
fn flooded(limit: u32) -> Rig {
    let mut rig = Rig::with(limited(limit));
    for (side, station) in [(OUTSIDE, WEB), (INSIDE, ROUTING)] {
        let mut hello = [0; emit::ARP_FRAME_LEN];
        emit::arp_request(&mut hello, station, OWN[side], MacAddr::BROADCAST).unwrap();
        rig.send(side, &hello);
    }
    for n in 0..limit {
        rig.send(OUTSIDE, &spoofed(n));
    }
    rig.collect();
    rig.moved();
    rig
}

/// A SYN of a source that does not exist, by the outside router.
fn spoofed(n: u32) -> Vec<u8> {
    let source = Station { mac: WEB.mac, ip: ip(192, 0, 0, 1) + n };
    tcp_at((source, 1024 + (n % 30_000) as u16), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [n ^ 0x5a5a_0000, 0])
}

/// What a frame's TCP header says: sequence and acknowledgement number, flags, window, MSS; and that its checksums are right.
fn header(frame: &[u8]) -> (u32, u32, u8, u16, Option<u16>) {
    let ip = Ipv4::new_checked(&frame[14..]).unwrap();
    assert!(checksum::is_valid(&frame[14..34]));
    assert!(checksum::is_valid_segment(ip.src(), ip.dst(), proto::TCP, ip.payload()));
    let tcp = Tcp::new_checked(ip.payload()).unwrap();
    (tcp.seq(), tcp.ack(), tcp.flags().0, tcp.window(), tcp.mss())
}

/// A hundred thousand: each has its answer, none a place; and nothing is allocated for them.
#[test]
fn a_flood_leaves_the_table_at_the_limit() {
    let mut rig = flooded(LIMIT);
    assert_eq!(rig.flow().conns.in_use().0, LIMIT);
    const FLOOD: u32 = 100_000;
    let mut seen = std::collections::HashSet::new();
    for n in LIMIT..LIMIT + FLOOD {
        let syn = spoofed(n);
        let [outside, inside] = rig.send(OUTSIDE, &syn);
        assert!(inside.is_empty() && outside.len() == 1);
        let (answer, asked) = (parse(&outside[0]).unwrap(), parse(&syn).unwrap());
        assert_eq!(answer.tuple, asked.tuple.mirror());
        let (seq, ack, flags, window, mss) = header(&outside[0]);
        assert_eq!((ack, flags, window, mss), ((n ^ 0x5a5a_0000) + 1, SYN | ACK, 0, Some(1380)));
        assert_eq!(outside[0][..12], [WEB.mac.0, MACS[OUTSIDE].0].concat());
        seen.insert(seq);
    }
    assert!(seen.len() > FLOOD as usize - 50, "numbers that can be foreseen");
    assert_eq!(rig.flow().conns.in_use(), (LIMIT, LIMIT));
    assert_eq!((rig.flow().limits.class(0).embryonic, rig.flow().opening()), (LIMIT, 0));
    let flood = u64::from(FLOOD);
    rig.expect(&[
        ("outside rx", flood),
        ("outside tx", flood),
        ("tcp_intercept_cookies", flood),
        ("ace 1", flood),
    ]);
    let told = rig.events();
    let [Event::Limit { bound, packet }] = told[..] else { panic!("{told:?}") };
    let which = ClassBound::Embryonic;
    assert_eq!(bound, Bound::Class { slot: 0, which, has: LIMIT, limit: LIMIT });
    assert_eq!((packet.dport, packet.in_if), (5061, OUTSIDE as u8));
    rig.assert_no_mbuf_held();
}

#[test]
fn the_cookie_path_allocates_nothing() {
    let mut rig = flooded(LIMIT);
    rig.send(OUTSIDE, &spoofed(LIMIT)); // the one that is logged
    for n in 0..30 {
        rig.far[OUTSIDE].inject(&spoofed(100 + n));
    }
    let info = allocation_counter::measure(|| rig.turn());
    assert_eq!(info.count_total, 0, "{info:?}");
    assert_eq!(rig.moved().get("tcp_intercept_cookies"), Some(&31));
}

/// The policy is asked before anybody is answered, and again when the cookie comes back.
#[test]
fn what_the_policy_denies_has_no_cookie() {
    let mut rig = flooded(LIMIT);
    rig.send(OUTSIDE, &tcp_at((WEB, 9), (SERVER, 80), MACS[OUTSIDE], SYN, [1, 0]));
    rig.expect(&[("outside rx", 1), ("ace 2", 1), ("acl-drop", 1)]);
    let [outside, _] = rig.send(OUTSIDE, &tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [1, 0]));
    let cookie = header(&outside[0]).0;
    rig.moved();
    let ack = |seq, ack| tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], ACK, [seq, ack]);
    // Forged ones are what they were: of no connection.
    for n in [0, 2, 3, 1 << 20] {
        rig.send(OUTSIDE, &ack(2, cookie.wrapping_add(n)));
        rig.expect(&[("outside rx", 1), ("tcp-not-syn", 1)]);
    }
    rig.send(OUTSIDE, &ack(2, cookie.wrapping_add(1)));
    assert_eq!(rig.moved().get("tcp_intercept_conns"), Some(&1));
    // A cookie of before another policy opens nothing that this one denies.
    let [outside, _] = rig.send(OUTSIDE, &tcp_at((WEB, 10), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [1, 0]));
    let cookie = header(&outside[0]).0;
    let mut b = super::forwarding::bare(1500);
    limit(&mut b, LIMIT);
    rig.publish(b, 2);
    rig.turn();
    rig.moved();
    rig.send(OUTSIDE, &tcp_at((WEB, 10), (PUBLIC, 5061), MACS[OUTSIDE], ACK, [2, cookie.wrapping_add(1)]));
    let moved = rig.moved();
    assert_eq!((moved.get("outside rx"), moved.get("tcp_intercept_conns")), (Some(&1), None), "{moved:?}");
    assert_eq!(rig.flow().opening(), 1);
}

/// A cookie is good for half a minute at least and a minute and some at most.
#[test]
fn cookies_go_off() {
    let mut rig = flooded(LIMIT);
    let mut ask = |wait| {
        let [outside, _] = rig.send(OUTSIDE, &tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [1, 0]));
        let cookie = header(&outside[0]).0;
        rig.wait(wait);
        rig.send(OUTSIDE, &tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], ACK, [2, cookie.wrapping_add(1)]));
        let moved = rig.moved();
        for n in 0..LIMIT {
            rig.send(OUTSIDE, &spoofed(n)); // the embryonic ones have gone meanwhile
        }
        rig.collect();
        (moved.contains_key("tcp_intercept_conns"), moved.contains_key("tcp-not-syn"))
    };
    assert_eq!(ask(65_000), (false, true));
    assert_eq!(ask(30_000), (true, false));
}

/// A server that refuses, one that is silent, and a client that gives up.
#[test]
fn handshakes_that_fail_are_named() {
    let mut rig = flooded(LIMIT);
    let begin = |rig: &mut Rig, port: u16| {
        let [outside, _] =
            rig.send(OUTSIDE, &tcp_at((WEB, port), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [8, 0]));
        let cookie = header(&outside[0]).0;
        let ack = tcp_at((WEB, port), (PUBLIC, 5061), MACS[OUTSIDE], ACK, [9, cookie.wrapping_add(1)]);
        let [outside, inside] = rig.send(OUTSIDE, &ack);
        assert!(outside.is_empty());
        let call = parse(&inside[0]).unwrap();
        assert_eq!((call.tuple.src, call.tuple.dst, call.tuple.dport, call.ttl), (WEB.ip, SERVER, 5061, 64));
        // The client said no MSS.
        assert_eq!(header(&inside[0]), (8, 0, SYN, 0x0909, Some(536)));
        rig.moved();
        cookie
    };
    let back = |port, flags, numbers| tcp_at((ROUTING, 5061), (WEB.ip, port), MACS[INSIDE], flags, numbers);

    let cookie = begin(&mut rig, 1);
    let [outside, inside] = rig.send(INSIDE, &back(1, RST | ACK, [0, 9]));
    assert_eq!(header(&outside[0]), (cookie.wrapping_add(1), 9, RST | ACK, 0, None));
    assert!(inside.is_empty());
    rig.expect(&[("inside rx", 1), ("outside tx", 1), ("tcp-intercept-kill", 1), ("conns_torn_down", 1)]);

    let cookie = begin(&mut rig, 2);
    rig.wait(6900);
    let [outside, inside] = rig.collect();
    assert!(outside.is_empty() && inside.iter().all(|syn| header(syn).2 == SYN) && inside.len() == 2);
    rig.wait(200);
    let [outside, inside] = rig.collect();
    assert_eq!(header(&outside[0]), (cookie.wrapping_add(1), 9, RST | ACK, 0, None));
    assert!(inside.is_empty());
    rig.expect(&[("inside tx", 2), ("outside tx", 1), ("tcp-intercept-kill", 1), ("conns_torn_down", 1)]);

    begin(&mut rig, 3);
    let [outside, inside] = rig.send(OUTSIDE, &tcp_at((WEB, 3), (PUBLIC, 5061), MACS[OUTSIDE], RST, [9, 0]));
    assert!(outside.is_empty());
    assert_eq!(header(&inside[0]), (9, 0, RST, 0, None));
    rig.expect(&[("outside rx", 1), ("inside tx", 1), ("conns_torn_down", 1)]);

    // An older connection of the server's is made to go, and the next try finds it so.
    begin(&mut rig, 4);
    let [_, inside] = rig.send(INSIDE, &back(4, ACK, [70, 4000]));
    assert_eq!(header(&inside[0]), (4000, 0, RST, 0, None));
    rig.wait(1100);
    let [_, inside] = rig.collect();
    assert_eq!(header(&inside[0]).2, SYN);
    rig.send(INSIDE, &back(4, SYN | ACK, [70, 9]));
    assert_eq!(rig.moved().get("tcp_intercept_opened"), Some(&1));
    assert_eq!((rig.flow().opening(), rig.flow().limits.class(0).embryonic), (0, LIMIT));
    rig.assert_no_mbuf_held();
}

/// Until both ends are there we are the other end of both: a segment that was damaged on its way is none.
#[test]
fn damaged_segments_of_a_handshake_are_not_believed() {
    let mut rig = flooded(LIMIT);
    // Each has one number that is not what its checksum is about.
    let damaged = |mut frame: Vec<u8>, at: usize| {
        frame[34 + at] ^= 0x40;
        frame
    };
    let syn = tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [8, 0]);
    assert_eq!(rig.send(OUTSIDE, &damaged(syn.clone(), 4)), [Vec::<Vec<u8>>::new(), Vec::new()]);
    rig.expect(&[("outside rx", 1), ("ace 1", 1), ("bad-tcp-cksum", 1)]);
    let [outside, _] = rig.send(OUTSIDE, &syn);
    let cookie = header(&outside[0]).0;
    rig.moved();
    let ack = tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], ACK, [9, cookie.wrapping_add(1)]);
    rig.send(OUTSIDE, &damaged(ack.clone(), 14));
    rig.expect(&[("outside rx", 1), ("tcp-not-syn", 1)]);
    let [_, inside] = rig.send(OUTSIDE, &ack);
    assert_eq!(header(&inside[0]).2, SYN);
    rig.moved();
    let answer = tcp_at((ROUTING, 5061), (WEB.ip, 9), MACS[INSIDE], SYN | ACK, [70, 9]);
    assert_eq!(rig.send(INSIDE, &damaged(answer.clone(), 4)), [Vec::<Vec<u8>>::new(), Vec::new()]);
    rig.expect(&[("inside rx", 1), ("bad-tcp-cksum", 1)]);
    let [_, inside] = rig.send(INSIDE, &answer);
    assert_eq!(header(&inside[0]), (9, 71, ACK, 0x0909, None));
    rig.assert_no_mbuf_held();
}

/// A client with more servers to wait for than there are places for it: the oldest is told that it is over.
#[test]
fn who_has_waited_longest_makes_room() {
    const PLACES: u16 = 64;
    let mut rig = flooded(LIMIT);
    let mut cookies = Vec::new();
    for port in 1..=PLACES + 3 {
        let [outside, _] =
            rig.send(OUTSIDE, &tcp_at((WEB, port), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [8, 0]));
        let cookie = header(&outside[0]).0;
        cookies.push(cookie);
        let ack = tcp_at((WEB, port), (PUBLIC, 5061), MACS[OUTSIDE], ACK, [9, cookie.wrapping_add(1)]);
        let [outside, inside] = rig.send(OUTSIDE, &ack);
        assert_eq!((inside.len(), header(&inside[0]).2), (1, SYN));
        let Some(oldest) = port.checked_sub(PLACES + 1) else {
            assert!(outside.is_empty());
            continue;
        };
        assert_eq!((outside.len(), parse(&outside[0]).unwrap().tuple.dport), (1, oldest + 1));
        assert_eq!(
            header(&outside[0]),
            (cookies[usize::from(oldest)].wrapping_add(1), 9, RST | ACK, 0, None)
        );
    }
    let moved = rig.moved();
    assert_eq!((moved.get("tcp-intercept-kill"), moved.get("conns_torn_down")), (Some(&3), Some(&3)));
    assert_eq!(rig.flow().opening(), u32::from(PLACES));
    assert_eq!(rig.flow().limits.class(0).embryonic, LIMIT + u32::from(PLACES));
    rig.assert_no_mbuf_held();
}

/// What ICMP errors quote is in the numbers of those that they go to, and segments in fragments are shifted too.
#[test]
fn quotes_and_fragments_are_shifted() {
    let mut rig = flooded(LIMIT);
    let [outside, _] = rig.send(OUTSIDE, &tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [8, 0]));
    let cookie = header(&outside[0]).0;
    rig.send(OUTSIDE, &tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], ACK, [9, cookie.wrapping_add(1)]));
    let back = |flags, numbers| tcp_at((ROUTING, 5061), (WEB.ip, 9), MACS[INSIDE], flags, numbers);
    let [outside, inside] = rig.send(INSIDE, &back(SYN | ACK, [70, 9]));
    // The server is acknowledged, and the client may send.
    assert_eq!(header(&inside[0]), (9, 71, ACK, 0x0909, None));
    assert_eq!(header(&outside[0]), (cookie.wrapping_add(1), 9, ACK, 0x0909, None));
    let [outside, _] = rig.send(INSIDE, &back(ACK, [71, 9]));
    assert_eq!(header(&outside[0]).0, cookie.wrapping_add(1));

    for whole in [true, false] {
        let quote = &outside[0][14..if whole { outside[0].len() } else { 14 + 28 }];
        let mut icmp = [&[3, 1, 0, 0, 0, 0, 0, 0][..], quote].concat();
        let sum = checksum::of(&icmp);
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        let error = ipv4(WEB, PUBLIC, MACS[OUTSIDE], proto::ICMP, 64, 0, &icmp);
        let [_, inside] = rig.send(OUTSIDE, &error);
        let told = parse(&inside[0]).unwrap();
        let icmp = usize::from(told.l4);
        assert!(checksum::is_valid(&inside[0][icmp..usize::from(told.l3 + told.ip_len)]));
        assert_eq!(inside[0][icmp + 8 + 20 + 4..][..4], 71u32.to_be_bytes(), "the server's own number");
    }

    // 32 bytes of data in two pieces.
    let data: Vec<u8> = (0..32).collect();
    let mut l4 =
        [&5061u16.to_be_bytes()[..], &9u16.to_be_bytes(), &71u32.to_be_bytes(), &9u32.to_be_bytes()].concat();
    l4.extend([0x50, ACK, 9, 9, 0, 0, 0, 0]);
    l4.extend(&data);
    let sum = checksum::of_segment(SERVER, WEB.ip, proto::TCP, &l4);
    l4[16..18].copy_from_slice(&sum.to_be_bytes());
    let first = ipv4(ROUTING, WEB.ip, MACS[INSIDE], proto::TCP, 64, 0x2000, &l4[..32]);
    let second = ipv4(ROUTING, WEB.ip, MACS[INSIDE], proto::TCP, 64, 4, &l4[32..]);
    assert_eq!(rig.send(INSIDE, &first), [Vec::<Vec<u8>>::new(), Vec::new()]);
    let [outside, _] = rig.send(INSIDE, &second);
    let whole = [&outside[0][34..], &outside[1][34..]].concat();
    assert!(checksum::is_valid_segment(PUBLIC, WEB.ip, proto::TCP, &whole));
    assert_eq!((&whole[4..8], &whole[20..]), (&cookie.wrapping_add(1).to_be_bytes()[..], &data[..]));
    rig.assert_no_mbuf_held();
}

/// A client whose SYN came twice, the second when there was room again: what it says of the first one's answer counts.
#[test]
fn a_cookie_counts_more_than_a_repeated_syn() {
    let mut rig = flooded(LIMIT);
    let syn = tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], SYN, [8, 0]);
    let [outside, _] = rig.send(OUTSIDE, &syn);
    let cookie = header(&outside[0]).0;
    rig.send(
        INSIDE,
        &tcp_at((ROUTING, 5061), (ip(192, 0, 0, 1), 1024), MACS[INSIDE], RST | ACK, [0, 0x5a5a_0001]),
    );
    let [_, inside] = rig.send(OUTSIDE, &syn);
    assert_eq!(header(&inside[0]).2, SYN, "there is room");
    rig.moved();
    let ack = tcp_at((WEB, 9), (PUBLIC, 5061), MACS[OUTSIDE], ACK, [9, cookie.wrapping_add(1)]);
    let [_, inside] = rig.send(OUTSIDE, &ack);
    assert_eq!((header(&inside[0]).0, header(&inside[0]).2), (8, SYN), "the same SYN for the server");
    let moved = rig.moved();
    assert_eq!((moved.get("tcp_intercept_conns"), moved.get("conns_torn_down")), (Some(&1), Some(&1)));
    rig.send(INSIDE, &tcp_at((ROUTING, 5061), (WEB.ip, 9), MACS[INSIDE], SYN | ACK, [70, 9]));
    assert_eq!(rig.moved().get("tcp_intercept_opened"), Some(&1));
}

/// Whatever queues a connection's frames come by, the worker that gave the cookie has its ACK and the server's answer: from hosts with
/// dynamic PAT, static NAT and none.
#[test]
fn one_worker_has_the_cookie_the_ack_and_the_answer() {
    for (workers, sides) in [2, 3].into_iter().flat_map(|n| shards::SIDES.map(|sides| (n, sides))) {
        let mut b = shards::policy();
        limit(&mut b, workers.into());
        let mut crew = Crew::new(workers, sides, b);
        let remote = |n: u32| (ip(203, 0, 113, 1) + n % 200, 80);
        let out = |host: u32, n: u32, flags, numbers| {
            tcp_at((station(host), 5000 + n as u16), remote(n), MACS[INSIDE], flags, numbers)
        };
        for n in 0..100 {
            crew.send(INSIDE, &out(ip(10, 10, 0, 2 + n as u8), n, SYN, [1, 0]));
        }
        let cookies = crew.stat(Stat::InterceptCookies);
        assert_eq!(cookies, 100 - u64::from(workers), "each worker has its part of the limit");
        for n in 100..150 {
            let host = ip(10, 10, 0, 2 + (n * 7 % 120) as u8);
            let [outside, inside] = crew.send(INSIDE, &out(host, n, SYN, [8, 0]));
            assert!(outside.is_empty());
            let cookie = header(&inside[0]).0;
            let [outside, _] = crew.send(INSIDE, &out(host, n, ACK, [9, cookie.wrapping_add(1)]));
            assert_eq!((header(&outside[0]).0, header(&outside[0]).2), (8, SYN));
            let shown = tuple(&outside[0]);
            let back = |flags, numbers| {
                let (from, to) = ((station(WEB.ip), shown.dport), (shown.src, shown.sport));
                let from = (Station { ip: shown.dst, ..from.0 }, from.1);
                tcp_at(from, to, MACS[OUTSIDE], flags, numbers)
            };
            let [outside, inside] = crew.send(OUTSIDE, &back(SYN | ACK, [70, 9]));
            assert_eq!((header(&outside[0]).1, header(&inside[0]).0), (71, cookie.wrapping_add(1)));
            let [outside, _] = crew.send(INSIDE, &out(host, n, ACK, [9, cookie.wrapping_add(1)]));
            assert_eq!(header(&outside[0]).1, 71);
            let [_, inside] = crew.send(OUTSIDE, &back(ACK, [71, 9]));
            assert_eq!(header(&inside[0]).0, cookie.wrapping_add(1));
        }
        assert_eq!((crew.stat(Stat::InterceptOpened), crew.all_drops()), (50, 0), "{workers} {sides:?}");
        crew.assert_no_mbuf_held();
    }
}

/// A genuine client and a genuine server, by wires of all kinds, while the flood goes on: every byte arrives, both ways.
#[test]
fn genuine_ends_talk_while_a_flood_runs() {
    let fine = Weather::default();
    let bad = Weather { lost: 60, doubled: 60, late: 150 };
    for (seed, weather) in [(1, fine)].into_iter().chain((2..14).map(|seed| (seed, bad))) {
        let rig = flooded(LIMIT);
        let client = Host::new(WEB, MACS[OUTSIDE], seed);
        let server = Host::new(ROUTING, MACS[INSIDE], seed + 99);
        let mut world = World::new(rig, [client, server], weather, seed);
        let said: [Vec<u8>; 2] =
            [7, 13].map(|step| (0..40_000u32).map(|n| ((n * step) >> 3) as u8).collect());
        world.hosts[OUTSIDE].say.extend(&said[OUTSIDE]);
        world.hosts[INSIDE].listen(5061);
        world.hosts[OUTSIDE].connect((PUBLIC, 5061), CLIENT_PORT);
        let (mut n, mut answered) = (LIMIT, false);
        let done = |world: &World| world.hosts[0].heard == said[1] && world.hosts[1].heard == said[0];
        for _ in 0..200_000 {
            for _ in 0..2 {
                world.rig.far[OUTSIDE].inject(&spoofed(n));
                n += 1;
            }
            world.step();
            // One after the other: where both retransmit at once, smoltcp's hosts may each wait for the other for good.
            if world.hosts[INSIDE].heard.len() == said[OUTSIDE].len() && !answered {
                world.hosts[INSIDE].say.extend(&said[INSIDE]);
                answered = true;
            }
            if done(&world) {
                break;
            }
        }
        let why = format!("seed {seed}: {:?}", world.hosts.each_mut().map(Host::state));
        assert!(done(&world), "{why}, {:?}", world.hosts.each_ref().map(|host| host.heard.len()));
        assert!(world.rig.flow().conns.in_use().1 <= LIMIT + 1, "{why}");
        world.hosts.iter_mut().for_each(Host::close);
        for _ in 0..2000 {
            world.step();
        }
        let closed = |state| matches!(state, State::Closed | State::TimeWait | State::LastAck);
        assert!(world.hosts.each_mut().map(Host::state).into_iter().all(closed), "{why}");
        let moved = world.rig.moved();
        assert_eq!(moved.get("tcp_intercept_opened"), Some(&1), "{why} {moved:?}");
        assert!(moved.get("tcp_intercept_cookies").is_some_and(|n| *n > 100), "{why}");
        let dropped = ["tcp-seq-past-win", "tcp-invalid-ack", "tcp-intercept-kill", "tcp-bad-option-list"];
        assert!(dropped.iter().all(|name| !moved.contains_key(*name)), "{why} {moved:?}");
    }
}
