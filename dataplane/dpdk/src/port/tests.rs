// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ports on drivers that need nothing from the machine: `net_ring`, `net_null`.

use crate::testing::TestPort;
use crate::{BURST, Burst, Eal, Error, Mempool, Port, PortConfig, RSS_KEY_LEN, RSS_TABLE, Rss, Spread};

fn pool(name: &str, capacity: u32) -> Mempool {
    Mempool::new(Eal::for_tests(), name, capacity, 2048, 0).expect("a small pool")
}

fn started(devargs: &str, pool: Mempool) -> Port {
    let mut port = Port::probe(Eal::for_tests(), devargs).expect(devargs);
    port.configure(&PortConfig::default(), pool).expect("configure");
    port.start().expect("start");
    port
}

fn filled(pool: &Mempool, from: usize, n: usize) -> Burst {
    let mut burst = Burst::new();
    for i in from..from + n {
        burst.push(pool.copy_of(&i.to_be_bytes()).expect("a buffer")).expect("room");
    }
    burst
}

#[test]
fn frames_cross_a_cable_both_ways_in_order() {
    let pool = pool("port-cable", 255);
    let mut ends = TestPort::new(Eal::for_tests(), pool);
    let sent: Vec<Vec<u8>> = (1..=100u8).map(|i| vec![i; usize::from(i) * 7]).collect();
    sent.iter().for_each(|frame| ends.far.inject(frame));

    let mut burst = Burst::new();
    assert_eq!(ends.rx.burst(&mut burst), BURST);
    assert_eq!(ends.rx.burst(&mut burst), 0, "a full burst takes nothing");
    assert!(burst.iter().map(|mbuf| mbuf.data()).eq(sent[..64].iter().map(Vec::as_slice)));
    burst.iter_mut().for_each(|mbuf| mbuf.data_mut()[0] = 0xff);
    assert_eq!(ends.tx.send(&mut burst), BURST);
    assert_eq!(ends.tx.send(&mut burst), 0, "an empty burst sends nothing");
    assert_eq!(ends.rx.burst(&mut burst), 36);
    assert_eq!(ends.rx.unusable(), 0);

    let back = ends.far.collect();
    assert_eq!(back.len(), BURST);
    assert!(back.iter().zip(&sent).all(|(b, s)| b[0] == 0xff && b[1..] == s[1..]));
    assert_eq!(pool.available(), 255 - 36);
    drop(burst);
    assert_eq!(pool.available(), 255);

    let stats = ends.port.stats().expect("stats");
    assert_eq!((stats.rx_packets, stats.tx_packets), (164, 164), "both ends of the cable are this port's");
}

#[test]
fn what_the_driver_has_no_room_for_stays_with_the_caller() {
    let pool = pool("port-partial", 2047);
    let mut port = started("net_ring1", pool);
    let (mut rx, mut tx) = port.take_queue(0).expect("queue 0");
    let mut sent = 0;
    // A ring of 1024 slots holds 1023: 15 whole bursts and 63.
    let mut burst = loop {
        let mut burst = filled(&pool, sent, BURST);
        let n = tx.send(&mut burst);
        sent += n;
        assert_eq!(burst.len(), BURST - n);
        if n < BURST {
            break burst;
        }
    };
    assert_eq!((sent, burst.len()), (1023, 1));
    assert_eq!(tx.send(&mut burst), 0);
    assert_eq!(burst[0].data(), 1023usize.to_be_bytes());

    // Make room for 3, try with 5: the last two stay, in order.
    let mut got = Burst::new();
    assert_eq!(rx.burst(&mut got), BURST);
    let mut refill = filled(&pool, 2000, 61);
    assert_eq!(tx.send(&mut refill), 61);
    let mut five = filled(&pool, 1024, 5);
    assert_eq!(tx.send(&mut five), 3);
    let left: Vec<_> = five.iter().map(|mbuf| mbuf.data().to_vec()).collect();
    assert_eq!(left, [1027usize.to_be_bytes(), 1028usize.to_be_bytes()]);

    // The port closes with a full ring: nothing of that is lost either.
    assert_eq!(pool.available(), 2047 - 1023 - 64 - 1 - 2);
    drop((burst, got, five));
    drop((rx, tx));
    port.stop().expect("no queue is out");
    port.start().expect("a stopped port starts again");
    port.close().expect("close");
    assert_eq!(pool.available(), 2047);
}

#[test]
fn net_null_gives_and_takes_without_end() {
    let pool = pool("port-null", 127);
    let port = started("net_null0,size=60", pool);
    assert_eq!((port.name(), port.driver()), ("net_null0", "net_null"));
    assert!(port.link().expect("link").up);
    let (mut rx, mut tx) = port.take_queue(0).expect("queue 0");
    let mut burst = Burst::new();
    for _ in 0..1000 {
        assert_eq!(rx.burst(&mut burst), BURST);
        assert!(burst.iter().all(|mbuf| mbuf.len() == 60));
        assert_eq!(tx.send(&mut burst), BURST);
    }
    assert_eq!(pool.available(), 127);
    let stats = port.stats().expect("stats");
    assert_eq!((stats.rx_packets, stats.tx_packets), (64_000, 64_000));
    let xstats = port.xstats().expect("xstats");
    assert!(xstats.contains(&("rx_good_packets".to_owned(), 64_000)), "{xstats:?}");
}

#[test]
fn an_empty_pool_stops_receiving_and_nothing_else() {
    let pool = pool("port-empty", 127);
    let port = started("net_null1", pool);
    let (mut rx, _tx) = port.take_queue(0).expect("queue 0");
    let held: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    let mut burst = Burst::new();
    assert_eq!(rx.burst(&mut burst), 0);
    drop(held);
    // The burst takes what it has room for.
    burst.push(pool.alloc().expect("a buffer")).expect("room");
    assert_eq!(rx.burst(&mut burst), BURST - 1);
    assert_eq!(pool.available(), 127 - 64);
    drop(burst);
    assert_eq!(pool.available(), 127);
}

#[test]
fn a_queue_has_one_owner_at_a_time() {
    let pool = pool("port-owner", 63);
    let mut port = Port::probe(Eal::for_tests(), "net_null2").expect("net_null2");
    assert!(matches!(port.take_queue(0), Err(Error::State { .. })), "not configured");
    assert!(matches!(port.start(), Err(Error::State { .. })));
    port.configure(&PortConfig::default(), pool).expect("configure");
    assert!(matches!(port.take_queue(0), Err(Error::State { .. })), "not started");
    assert!(matches!(port.stop(), Err(Error::State { .. })));
    port.start().expect("start");

    let (rx, tx) = port.take_queue(0).expect("queue 0");
    assert!(matches!(port.take_queue(0), Err(Error::QueueTaken { index: 0, .. })));
    assert!(matches!(port.take_queue(1), Err(Error::NoSuchQueue { index: 1, count: 1, .. })));
    drop(rx);
    assert!(matches!(port.take_queue(0), Err(Error::QueueTaken { side: "transmit", .. })));
    let rx = port.take_rx(0).expect("given back, also by the refused take_queue");

    assert!(matches!(port.stop(), Err(Error::QueuesInUse { .. })));
    assert!(matches!(port.configure(&PortConfig::default(), pool), Err(Error::State { .. })));
    assert!(matches!(port.start(), Err(Error::State { .. })));
    drop((rx, tx));
    port.stop().expect("no queue is out");
    port.configure(&PortConfig { rx_desc: 64, ..PortConfig::default() }, pool).expect("again");
    port.start().expect("again");
    port.take_queue(0).expect("again");
}

#[test]
fn a_queue_keeps_its_device_open() {
    let pool = pool("port-keep", 255);
    let port = started("net_null3", pool);
    let (mut rx, tx) = port.take_queue(0).expect("queue 0");
    drop(tx);
    assert!(matches!(port.close(), Err(Error::QueuesInUse { .. })));
    // The port is gone for its owner, but the device is still polled.
    let worker = std::thread::spawn(move || {
        let mut burst = Burst::new();
        let n = rx.burst(&mut burst);
        (n, rx)
    });
    let (n, rx) = worker.join().expect("no panic");
    assert_eq!(n, BURST);
    assert!(matches!(Port::probe(Eal::for_tests(), "net_null3"), Err(Error::Probe { .. })), "still there");
    drop(rx);
    Port::probe(Eal::for_tests(), "net_null3").expect("gone, so it can come again").close().expect("close");
    assert_eq!(pool.available(), 255);
}

#[test]
fn ports_come_and_go() {
    let pool = pool("port-cycle", 255);
    // More often than DPDK has ports (32), or memory zones for rings.
    for i in 0..100u8 {
        let mut ends = TestPort::new(Eal::for_tests(), pool);
        ends.far.inject(&[i; 60]);
    }
    assert_eq!(pool.available(), 255);
}

#[test]
fn limits_are_named() {
    let narrow = Mempool::new(Eal::for_tests(), "port-narrow", 31, 1024, 0).expect("a small pool");
    let mut port = Port::probe(Eal::for_tests(), "net_null4").expect("net_null4");
    let base = PortConfig { mtu: 1000, ..PortConfig::default() };
    for (config, names) in [
        (PortConfig { rx_queues: 0, ..base.clone() }, "rx queues"),
        (PortConfig { rx_queues: 65, ..base.clone() }, "rx queues"),
        (PortConfig { tx_queues: u16::MAX, ..base.clone() }, "tx queues"),
        (PortConfig { mtu: 1007, ..base.clone() }, "mtu"),
        (PortConfig { mtu: 67, ..base.clone() }, "mtu"),
    ] {
        match port.configure(&config, narrow) {
            Err(Error::Limit { what, .. }) => assert_eq!(what, names),
            other => panic!("{config:?}: {other:?}"),
        }
    }
    port.configure(&PortConfig { mtu: 1006, ..base }, narrow).expect("the most this pool can hold");
}

#[test]
fn devices_that_cannot_be_attached_say_so() {
    let eal = Eal::for_tests();
    let _here = Port::probe(eal, "net_null5").expect("net_null5");
    for (devargs, says) in [
        ("net_null5", "attached already"),
        ("net_nosuchdriver0", "no driver"),
        ("net_null6,nosuch=1", "cannot be attached"),
        ("03:00.0", "without PCI"),
        ("tap0", "net_"),
    ] {
        let error = Port::probe(eal, devargs).expect_err(devargs).to_string();
        assert!(error.contains(says) && error.contains(devargs), "{error}");
    }
}

/// net_null has a hash and a table of queues to set, as NICs have; net_ring has neither.
#[test]
fn the_receive_hash_is_set_where_there_is_one() {
    let pool = pool("port-rss", 1023);
    let rss = Rss { key: [0x6d; RSS_KEY_LEN], table: std::array::from_fn(|i| i as u16 % 3) };
    let start = |devargs: &str, rss| {
        let mut port = Port::probe(Eal::for_tests(), devargs).expect(devargs);
        let able = port.abilities().expect("abilities").rss;
        let config = PortConfig { rx_queues: 3, tx_queues: 3, rx_desc: 64, rss, ..PortConfig::default() };
        port.configure(&config, pool)?;
        port.start()?;
        if port.spread().is_some() {
            port.set_rss_key(&[0x5a; RSS_KEY_LEN])?;
        }
        Ok::<_, Error>((able, port.spread()))
    };
    let by_ports = Some(Spread { tcp: true, udp: true });
    assert_eq!(start("net_null7", Some(rss.clone())).expect("set"), (true, by_ports));
    assert_eq!(start("net_null7", None).expect("nothing asked for"), (true, None));
    assert_eq!(start("net_ring7", Some(rss)).expect("done without"), (false, None));
    let beyond = Rss { key: [0; RSS_KEY_LEN], table: [3; RSS_TABLE] };
    assert!(matches!(start("net_null7", Some(beyond)), Err(Error::Limit { .. })));
}
