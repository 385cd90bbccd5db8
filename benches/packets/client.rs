// SPDX-License-Identifier: MIT OR Apache-2.0
//! The far ends of a dataplane process that listens on memif sockets: ports of this process on both sides of it.
//!
//! Whoever generates traffic inside the bench's own process uses it: `latency` here and `benches/commit`.

use crate::Failure;
use dpdk::{Burst, Eal, Mempool, Port, PortConfig, RxQueue, TxQueue};
use fedgate_wire::MacAddr;
use fedgate_wire::emit::{self, Station};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long links may take to come up, and the appliance to answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Ports connected to the memif sockets of inside and outside, started, their links up; numbered from `first`.
///
/// # Errors
/// What DPDK says, or a link that does not come.
pub fn connect(
    eal: &'static Eal,
    pool: Mempool,
    sockets: [&Path; 2],
    first: usize,
) -> Result<[Port; 2], Failure> {
    let port = |n: usize| -> Result<Port, Failure> {
        let socket = sockets[n].display();
        let device = format!("net_memif{},role=client,id=0,socket={socket},socket-abstract=no", first + n);
        let mut port = Port::probe(eal, &device)?;
        port.configure(&PortConfig::default(), pool)?;
        port.start()?;
        let start = Instant::now();
        while !port.link()?.up {
            if start.elapsed() > PATIENCE {
                return Err(format!("{device}: no link").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(port)
    };
    Ok([port(0)?, port(1)?])
}

/// Makes `router` known to the appliance, by its own question for the address `ours` of that side.
///
/// # Errors
/// It is not answered.
pub fn introduce(
    (rx, tx): &mut (RxQueue, TxQueue),
    pool: Mempool,
    router: Station,
    ours: u32,
) -> Result<(), Failure> {
    let mut request = pool.alloc().ok_or("no packet buffer")?;
    emit::arp_request(request.append(emit::ARP_FRAME_LEN)?, router, ours, MacAddr::BROADCAST)?;
    let mut burst = Burst::new();
    burst.push(request).map_err(|_| "burst full")?;
    tx.send(&mut burst);
    let start = Instant::now();
    while rx.burst(&mut burst) == 0 {
        if start.elapsed() > PATIENCE {
            return Err("the appliance does not answer ARP".into());
        }
    }
    Ok(())
}
