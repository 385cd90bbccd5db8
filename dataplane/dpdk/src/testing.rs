// SPDX-License-Identifier: MIT OR Apache-2.0
//! A port whose far end is in the test's hand, for the tests of other crates.
//!
//! A `net_ring` port gives back on receive queue i what was sent on transmit
//! queue i. With two queues, crossed, that makes a cable: the worker under test gets
//! receive queue 0 and transmit queue 1, the test has the other two. Needs no privileges,
//! no hugepages and no kernel interface. A queue holds 1,023 frames.
//!
//! These functions panic where a test could not go on.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{Burst, Eal, Mempool, Port, PortConfig, RxQueue, TxQueue};

/// A started port with both of its ends.
#[derive(Debug)]
pub struct TestPort {
    /// What the worker receives from.
    pub rx: RxQueue,
    /// What the worker sends to.
    pub tx: TxQueue,
    /// The other end of the cable.
    pub far: Far,
    /// The port itself.
    pub port: Port,
}

/// The test's end of a [`TestPort`].
#[derive(Debug)]
pub struct Far {
    rx: RxQueue,
    tx: TxQueue,
    pool: Mempool,
}

impl TestPort {
    /// A port of its own; frames put in take their buffers from `pool`.
    ///
    /// # Panics
    /// When the port cannot be made.
    pub fn new(eal: &'static Eal, pool: Mempool) -> TestPort {
        let TestPorts { mut near, mut far, port } = TestPorts::new(eal, pool, 1);
        let ((rx, tx), far) = near.pop().zip(far.pop()).expect("one worker's");
        TestPort { rx, tx, far, port }
    }
}

/// A started port with several queues a side, as several workers share one.
#[derive(Debug)]
pub struct TestPorts {
    /// What each worker receives from and sends to.
    pub near: Vec<(RxQueue, TxQueue)>,
    /// The other end of each.
    pub far: Vec<Far>,
    /// The port itself.
    pub port: Port,
}

impl TestPorts {
    /// A port of its own for so many workers, at most 8.
    ///
    /// # Panics
    /// When the port cannot be made.
    pub fn new(eal: &'static Eal, pool: Mempool, workers: u16) -> TestPorts {
        let queues = 2 * workers;
        let port = started(eal, pool, queues);
        let make = |worker| {
            let (near, far) = (worker, workers + worker);
            let ends = (port.take_rx(near)?, port.take_tx(far)?);
            Ok::<_, crate::Error>((ends, Far { rx: port.take_rx(far)?, tx: port.take_tx(near)?, pool }))
        };
        let ends: Result<Vec<_>, _> = (0..workers).map(make).collect();
        let (near, far) = ends.unwrap_or_else(|e| panic!("test port: {e}")).into_iter().unzip();
        TestPorts { near, far, port }
    }
}

fn started(eal: &'static Eal, pool: Mempool, queues: u16) -> Port {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Far from the numbers that a test would give its own net_ring ports.
    let name = format!("net_ring{}", 1000 + NEXT.fetch_add(1, Ordering::Relaxed));
    let config = PortConfig { rx_queues: queues, tx_queues: queues, ..PortConfig::default() };
    let make = || {
        let mut port = Port::probe(eal, &name)?;
        port.configure(&config, pool)?;
        port.start()?;
        Ok::<_, crate::Error>(port)
    };
    make().unwrap_or_else(|e| panic!("test port {name}: {e}"))
}

impl Far {
    /// Puts one frame where the worker receives it.
    ///
    /// # Panics
    /// When the pool is empty, the frame too long for it, or the queue full.
    pub fn inject(&mut self, frame: &[u8]) {
        let mbuf = self.pool.copy_of(frame).expect("a buffer for the frame");
        let mut burst = Burst::new();
        burst.push(mbuf).expect("room in an empty burst");
        assert_eq!(self.tx.send(&mut burst), 1, "the worker's receive queue is full");
    }

    /// Takes what the worker has sent so far.
    pub fn collect(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut burst = Burst::new();
        while self.rx.burst(&mut burst) > 0 {
            frames.extend(burst.drain().map(|mbuf| mbuf.data().to_vec()));
        }
        frames
    }
}
