// SPDX-License-Identifier: MIT OR Apache-2.0
//! The real dataplane process as a [`Middle`]: this process is the network on both of its memif ports.
//!
//! Packets of callers come from a router on the outside, those of the server from the inside server itself. What the worker took is its own count
//! of cycles in loops that found work (`cycles_busy`), all of the packet path included.

use crate::Failure;
use crate::appliance::{self, Appliance};
use crate::crowd::{Middle, Packets, line_of};
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
/// A gap in this thread's loop after which what came may have waited for it.
const BLIND: Duration = Duration::from_micros(10);
/// Silence after which what has not come will not.
const LOST: Duration = Duration::from_millis(50);
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

    /// Sends packets one by one, `rate` a second, and gives all that came meanwhile, until as many with data came as went, or nothing
    /// has come for [`LOST`]: a port's queue was full while this thread did not run, and TCP will see to it. `heard` gets each of
    /// those: the ticks since its line's went, and whether this thread had not looked for so long that it may have waited here. `sent` has room
    /// for a moment of each line, all 0.
    pub fn pace(
        &mut self,
        packets: &Packets,
        rate: f64,
        sent: &mut [u64],
        mut heard: impl FnMut(u64, bool),
    ) -> Result<Packets, Failure> {
        let step = (self.hz / rate) as u64;
        let ticks = |time: Duration| (time.as_secs_f64() * self.hz) as u64;
        let (blind, patience) = (ticks(BLIND), ticks(LOST));
        let mut owed = packets.iter().filter(|(_, packet)| carries(packet)).count();
        let (mut out, mut came) = (Packets::new(), Burst::new());
        let mut left = packets.iter();
        let mut due = dpdk::tsc();
        let (mut looked, mut moved) = (due, due);
        while owed > 0 || left.len() > 0 {
            let now = dpdk::tsc();
            let gap = now - looked;
            looked = now;
            if left.len() == 0 && now > moved + patience {
                sent.fill(0);
                break;
            }
            if now >= due
                && let Some((leg, packet)) = left.next()
            {
                Middle::input(self, *leg, packet)?;
                self.sides[*leg as usize].flush();
                if let Some(n) = line_of(leg.other(), packet).filter(|_| carries(packet)) {
                    sent[n] = dpdk::tsc();
                }
                moved = now;
                // What could not be sent in time is not made up for: that would be another load.
                due = if now > due + 4 * step { now + step } else { due + step };
            }
            for leg in Leg::BOTH {
                self.sides[leg as usize].rx.burst(&mut came);
                let arrived = dpdk::tsc();
                for mbuf in came.iter() {
                    let Some(packet) = ip_packet(mbuf.data())? else { continue };
                    // What comes once more was counted before.
                    if let Some(n) = line_of(leg, packet).filter(|n| carries(packet) && sent[*n] != 0) {
                        (owed, moved) = (owed - 1, now);
                        heard(arrived - std::mem::take(&mut sent[n]), gap > blind);
                    }
                    out.push((leg, packet.to_vec()));
                }
                came.clear();
            }
        }
        Ok(out)
    }

    /// Ticks in a second.
    pub fn hz(&self) -> f64 {
        self.hz
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

/// The IPv4 packet in a frame, if there is one.
fn ip_packet(frame: &[u8]) -> Result<Option<&[u8]>, Failure> {
    if frame.get(12..14) != Some(&[8, 0]) {
        return Ok(None);
    }
    let len = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    Ok(Some(frame.get(ETHERNET..ETHERNET + len).ok_or("a cut packet")?))
}

/// Whether a TCP packet without IP options has data.
fn carries(packet: &[u8]) -> bool {
    packet.len() > 20 + usize::from(packet[32] >> 4) * 4
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
                if let Some(packet) = ip_packet(mbuf.data())? {
                    out.push_back((leg, packet.to_vec()));
                }
            }
            came.clear();
        }
        Ok(())
    }

    fn busy(&self) -> f64 {
        self.appliance.cycles() as f64 / self.hz
    }
}
