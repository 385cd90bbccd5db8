// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real dataplane process as a [`Middle`]: this process is the network on both of its memif ports.
//!
//! Packets of callers come from a router on the outside, those of the server from the inside server itself. What the worker took is its own count
//! of cycles in loops that found work (`cycles_busy`), all of the packet path included.

use crate::Failure;
use crate::appliance::{self, Appliance};
use crate::crowd::Middle;
use dpdk::{Burst, Eal, Mempool, Port, PortConfig, RxQueue, TxQueue};
use fedgate_dataplane::worker::DATA_ROOM;
use fedgate_proxy::Leg;
use fedgate_wire::MacAddr;
use fedgate_wire::emit;
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long ports may take to see their links, and the appliance to answer.
const PATIENCE: Duration = Duration::from_secs(10);
const ETHERNET: usize = 14;
/// Tries to hand a burst to a full ring; what is left then is lost, as on a wire.
const TRIES: usize = 1000;

/// See the module.
pub struct Wire {
    /// The process.
    pub appliance: Appliance,
    sides: [Side; 2],
    pool: Mempool,
    hz: f64,
}

/// A port; the outside is the callers'.
struct Side {
    port: Port,
    rx: RxQueue,
    tx: TxQueue,
    going: Burst,
    header: [u8; ETHERNET],
}

impl Wire {
    /// With `appliance`, whose memif sockets are `sockets`, outside and inside.
    pub fn new(eal: &'static Eal, appliance: Appliance, sockets: [&Path; 2]) -> Result<Self, Failure> {
        let pool = Mempool::new(eal, "bench", 16_383, DATA_ROOM, 256)?;
        let side = |n: usize| -> Result<Side, Failure> {
            let device =
                format!("net_memif{n},role=client,id=0,socket={},socket-abstract=no", sockets[n].display());
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
            let mut header = [0; ETHERNET];
            header[..6].copy_from_slice(&appliance::MACS[n]);
            header[6..12].copy_from_slice(&appliance::NEIGHBOURS[n].mac.0);
            header[12..].copy_from_slice(&[8, 0]);
            let (rx, tx) = port.take_queue(0)?;
            Ok(Side { port, rx, tx, going: Burst::new(), header })
        };
        let sides = [side(0)?, side(1)?];
        let mut wire = Self { appliance, sides, pool, hz: eal.tsc_hz() as f64 };
        wire.introduce()?;
        Ok(wire)
    }

    /// Makes the neighbours known to the appliance, by their own questions.
    fn introduce(&mut self) -> Result<(), Failure> {
        for (n, side) in self.sides.iter_mut().enumerate() {
            let mut request = self.pool.alloc().ok_or("no packet buffer")?;
            let frame = request.append(emit::ARP_FRAME_LEN)?;
            emit::arp_request(frame, appliance::NEIGHBOURS[n], appliance::ADDRESSES[n], MacAddr::BROADCAST)?;
            side.going.push(request).map_err(|_| "burst full")?;
            side.tx.send(&mut side.going);
            let start = Instant::now();
            let mut came = Burst::new();
            while side.rx.burst(&mut came) == 0 {
                if start.elapsed() > PATIENCE {
                    return Err("the appliance does not answer ARP".into());
                }
            }
            came.clear();
        }
        Ok(())
    }

    /// Ends the process, once the ports are closed.
    pub fn quit(self) -> Result<(), Failure> {
        for Side { port, rx, tx, .. } in self.sides {
            drop((rx, tx));
            port.close()?;
        }
        self.appliance.quit()
    }
}

impl Side {
    fn flush(&mut self) {
        for _ in 0..TRIES {
            if self.going.is_empty() {
                return;
            }
            self.tx.send(&mut self.going);
        }
        self.going.clear();
    }
}

impl Middle for Wire {
    fn input(&mut self, leg: Leg, packet: &[u8]) -> Result<(), Failure> {
        let side = &mut self.sides[leg as usize];
        let Some(mut mbuf) = self.pool.alloc() else { return Ok(()) };
        let frame = mbuf.append(ETHERNET + packet.len())?;
        frame[..ETHERNET].copy_from_slice(&side.header);
        frame[ETHERNET..].copy_from_slice(packet);
        if let Err(mbuf) = side.going.push(mbuf) {
            side.flush();
            side.going.push(mbuf).map_err(|_| "a burst that was sent is full")?;
        }
        Ok(())
    }

    fn output(&mut self, out: &mut VecDeque<(Leg, Vec<u8>)>) -> Result<(), Failure> {
        let mut came = Burst::new();
        for leg in Leg::BOTH {
            let side = &mut self.sides[leg as usize];
            side.flush();
            side.rx.burst(&mut came);
            for mbuf in came.iter() {
                let frame = mbuf.data();
                if frame.get(12..14) != Some(&[8, 0]) {
                    continue;
                }
                let len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
                let packet = frame.get(ETHERNET..ETHERNET + len).ok_or("a cut packet")?;
                out.push_back((leg, packet.to_vec()));
            }
            came.clear();
        }
        Ok(())
    }

    fn busy(&self) -> f64 {
        self.appliance.cycles() as f64 / self.hz
    }
}
