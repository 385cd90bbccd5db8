// SPDX-License-Identifier: MIT OR Apache-2.0
//! Traffic that never stops, watched so closely that no packet's delay is missed.
//!
//! [`GROUP`] frames every [`PERIOD`], each with the time stamp counter of when it was handed to the driver and the number of the window in which that was.
//! Then this thread looks for them without a pause until all are back, for [`LOOK`] at most, and only then sleeps until the next group
//! is due: so it leaves most of its CPU to control and housekeeping, and yet sees every packet come, because its priority is above theirs. What comes
//! right after it could not look for [`BLIND`] (the hypervisor had the CPU) is not counted as delayed, nor what comes [`LATE`] while another
//! process had the worker's CPU, as the kernel says; the share is printed.
//! A frame is lost when it has not come by the end of everything.

use crate::Failure;
use crate::appliance::{CLIENT, MACS, OUTSIDE};
use crate::client::{self, PATIENCE};
use dpdk::{Burst, Eal, Mbuf, Mempool, Port, RxQueue, TxQueue};
use fedgate_wire::emit::Station;
use fedgate_wire::{MacAddr, checksum, ethernet, proto};
use hdrhistogram::Histogram;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Packet memory, MiB.
pub const MEMORY_MIB: u32 = 192;
const FLOWS: u32 = 1000;
/// Frames sent together, and how often.
const GROUP: usize = 8;
const PERIOD: Duration = Duration::from_micros(50);
/// How long frames are looked for before the next group must go.
const LOOK: Duration = Duration::from_millis(2);
/// A gap in this thread's loop after which what arrives was kept waiting by it.
const BLIND: Duration = Duration::from_micros(10);
/// A delay after which the kernel is asked whether the worker had to wait for its CPU, and how often it is asked without.
const LATE: Duration = Duration::from_micros(60);
const ASK: Duration = Duration::from_millis(1);
const FRAME: usize = 60;
/// Time stamp and window in a frame: its payload.
const STAMP: usize = 42;
const WINDOW: usize = 50;
/// The outside router.
const ROUTER: Station = Station { mac: MacAddr([2, 0, 0, 0, 1, 1]), ip: 0xc633_6401 };

/// Which window it is; told by the thread that types.
#[derive(Default)]
pub struct Phases {
    now: AtomicUsize,
    ended: AtomicBool,
}

impl Phases {
    /// Begins the next window; its number.
    pub fn begin(&self) -> usize {
        self.now.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Ends everything.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

/// What was seen of the packets that were sent in one window.
pub struct Window {
    /// Handed to the driver.
    pub sent: u64,
    /// Came back.
    pub received: u64,
    /// Of these, not looked for in time.
    pub blind: u64,
    /// Of these, late while another process had the worker's CPU.
    pub ousted: u64,
    delays: Histogram<u64>,
    hz: u64,
}

impl Window {
    /// Did not come back.
    pub fn lost(&self) -> u64 {
        self.sent - self.received
    }

    /// The largest delay, microseconds.
    pub fn largest_us(&self) -> f64 {
        self.delays.max() as f64 * 1e6 / self.hz as f64
    }

    /// A quantile of the delays, microseconds.
    pub fn quantile_us(&self, quantile: f64) -> f64 {
        self.delays.value_at_quantile(quantile) as f64 * 1e6 / self.hz as f64
    }
}

/// Both ends of the traffic.
pub struct Traffic {
    inside: (RxQueue, TxQueue),
    outside: (RxQueue, TxQueue),
    ports: [Port; 2],
    pool: Mempool,
    hz: u64,
    frames: Vec<[u8; FRAME]>,
    next: usize,
    burst: Burst,
    windows: Vec<Window>,
    looked: u64,
    /// Ticks in which it slept, and all.
    slept: [u64; 2],
    waits: Waits,
}

/// What the worker has waited for its CPU.
struct Waits {
    file: File,
    /// Nanoseconds in all when asked last.
    all: u64,
    /// When that was, and when it was seen that it had waited for [`LATE`] and longer; time stamps.
    asked: u64,
    seen: u64,
}

impl Waits {
    fn ask(&mut self, now: u64) {
        let mut text = [0; 96];
        let read = self.file.read_at(&mut text, 0).unwrap_or(0);
        let text = std::str::from_utf8(&text[..read]).unwrap_or_default();
        let all = text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(self.all);
        if u128::from(all - self.all) > LATE.as_nanos() {
            self.seen = now;
        }
        (self.all, self.asked) = (all, now);
    }
}

impl Traffic {
    /// Connected to the memif sockets of inside and outside; `waits` is the worker's scheduling statistics.
    pub fn new(eal: &'static Eal, sockets: [&Path; 2], waits: PathBuf) -> Result<Self, Failure> {
        let pool = Mempool::new(eal, "bench", 16_383, 2048, 256)?;
        let ports = client::connect(eal, pool, sockets, 0)?;
        Ok(Self {
            inside: ports[0].take_queue(0)?,
            outside: ports[1].take_queue(0)?,
            ports,
            pool,
            hz: eal.tsc_hz(),
            frames: (0..FLOWS).map(frame).collect(),
            next: 0,
            burst: Burst::new(),
            windows: Vec::new(),
            looked: 0,
            slept: [0; 2],
            waits: Waits { file: File::open(waits)?, all: 0, asked: 0, seen: 0 },
        })
    }

    /// Makes the outside router known to the appliance, by its own question, and each flow a connection.
    pub fn introduce(&mut self) -> Result<(), Failure> {
        client::introduce(&mut self.outside, self.pool, ROUTER, OUTSIDE)?;
        let start = Instant::now();
        self.open_window();
        let mut missing = u64::from(FLOWS);
        while missing > 0 {
            if start.elapsed() > PATIENCE {
                return Err(format!("{missing} first packets do not come").into());
            }
            self.send(0)?;
            std::thread::sleep(Duration::from_micros(100));
            self.receive();
            missing = u64::from(FLOWS).saturating_sub(self.windows[0].received);
        }
        std::thread::sleep(Duration::from_millis(20));
        self.receive();
        Ok(())
    }

    /// Until the end that `phases` tells. Gives all windows.
    pub fn run(&mut self, phases: &Phases) -> Result<Vec<Window>, Failure> {
        let ticks = |d: Duration| (d.as_secs_f64() * self.hz as f64) as u64;
        let (period, look, ask) = (ticks(PERIOD), ticks(LOOK), ticks(ASK));
        let start = dpdk::tsc();
        let mut due = start;
        // Frames of the window that did not come in time are not waited for again.
        let mut given_up_on = 0;
        while !phases.ended.load(Ordering::Relaxed) {
            let window = phases.now.load(Ordering::Relaxed);
            while self.windows.len() <= window {
                self.open_window();
                given_up_on = 0;
            }
            self.looked = dpdk::tsc();
            self.send(window)?;
            let give_up = self.looked + look;
            while self.under_way() > given_up_on && self.looked < give_up {
                self.receive();
            }
            given_up_on = self.under_way();
            due += period;
            let now = dpdk::tsc();
            if now - self.waits.asked > ask {
                self.waits.ask(now);
            }
            // Groups that could not be sent in time are not made up for: that would be another load.
            due = due.max(now.saturating_sub(period));
            if let Some(early) = due.checked_sub(now) {
                std::thread::sleep(Duration::from_nanos(early * 1_000_000_000 / self.hz));
                self.slept[0] += dpdk::tsc() - now;
            }
        }
        self.slept[1] = dpdk::tsc() - start;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(100) {
            self.receive();
        }
        Ok(std::mem::take(&mut self.windows))
    }

    fn open_window(&mut self) {
        // Three digits, up to ten seconds.
        let delays = Histogram::new_with_bounds(1, self.hz * 10, 3).expect("bounds that are in order");
        self.windows.push(Window { sent: 0, received: 0, blind: 0, ousted: 0, delays, hz: self.hz });
    }

    /// Frames of the newest window that have not come.
    fn under_way(&self) -> u64 {
        self.windows.last().map_or(0, Window::lost)
    }

    /// Stamps some frames and hands them over. What the driver has no room for is not sent.
    fn send(&mut self, window: usize) -> Result<(), Failure> {
        let mut burst = Burst::new();
        for _ in 0..GROUP {
            let Some(mut mbuf) = self.pool.alloc() else { break };
            mbuf.append(FRAME)?.copy_from_slice(&self.frames[self.next]);
            self.next = (self.next + 1) % self.frames.len();
            burst.push(mbuf).map_err(|_| "burst full")?;
        }
        let now = dpdk::tsc().to_le_bytes();
        for mbuf in burst.iter_mut() {
            mbuf.data_mut()[STAMP..STAMP + 8].copy_from_slice(&now);
            mbuf.data_mut()[WINDOW..WINDOW + 4].copy_from_slice(&(window as u32).to_le_bytes());
        }
        self.windows[window].sent += self.inside.1.send(&mut burst) as u64;
        Ok(())
    }

    /// Looks once, and takes down what has come.
    fn receive(&mut self) {
        let [blind, late] = [BLIND, LATE].map(|d| (d.as_secs_f64() * self.hz as f64) as u64);
        let before = std::mem::replace(&mut self.looked, dpdk::tsc());
        self.outside.0.burst(&mut self.burst);
        if !self.burst.is_empty() {
            let arrived = dpdk::tsc();
            let oldest = self.burst.iter().filter_map(marks).map(|(stamp, _)| stamp).min().unwrap_or(arrived);
            let delay = arrived.saturating_sub(oldest);
            if delay > late {
                self.waits.ask(arrived);
            }
            for mbuf in self.burst.iter() {
                let Some((stamp, window)) = marks(mbuf) else { continue };
                let Some(window) = self.windows.get_mut(window) else { continue };
                window.received += 1;
                if arrived - before > blind {
                    window.blind += 1;
                } else if arrived - stamp > late && stamp < self.waits.seen {
                    window.ousted += 1;
                } else {
                    window.delays.saturating_record(arrived.saturating_sub(stamp).max(1));
                }
            }
            self.burst.clear();
        }
        // Nothing is expected there but ARP.
        if self.inside.0.burst(&mut self.burst) > 0 {
            self.burst.clear();
        }
    }

    /// The share of its CPU that it has used.
    pub fn awake(&self) -> f64 {
        1.0 - self.slept[0] as f64 / self.slept[1].max(1) as f64
    }

    /// Closes the ports.
    pub fn close(self) -> Result<(), Failure> {
        drop((self.inside, self.outside));
        for port in self.ports {
            port.close()?;
        }
        Ok(())
    }
}

/// A frame of a flow, without a UDP checksum, which the time stamp would make wrong.
fn frame(flow: u32) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..6].copy_from_slice(&MACS[0]);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 1, 2]);
    frame[12..14].copy_from_slice(&ethernet::TYPE_IPV4.to_be_bytes());
    let udp_len = (FRAME - 34) as u16;
    let header = &mut frame[14..34];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(20 + udp_len).to_be_bytes());
    (header[8], header[9]) = (64, proto::UDP);
    header[12..16].copy_from_slice(&CLIENT.to_be_bytes());
    header[16..20].copy_from_slice(&(0x0afd_0000 + flow).to_be_bytes()); // 10.253.0.0 and up
    let sum = checksum::of(header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame[34..36].copy_from_slice(&(2000 + flow as u16).to_be_bytes());
    frame[36..38].copy_from_slice(&5060u16.to_be_bytes());
    frame[38..40].copy_from_slice(&udp_len.to_be_bytes());
    frame
}

/// When it was sent, and in which window; `None` for what is not ours.
fn marks(mbuf: &Mbuf) -> Option<(u64, usize)> {
    let data = mbuf.data();
    if data.len() < FRAME || data.get(12..14)? != ethernet::TYPE_IPV4.to_be_bytes() {
        return None;
    }
    let stamp = u64::from_le_bytes(*data[STAMP..].first_chunk()?);
    let window = u32::from_le_bytes(*data[WINDOW..].first_chunk()?);
    Some((stamp, window as usize))
}
