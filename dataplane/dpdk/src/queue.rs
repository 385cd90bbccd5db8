// SPDX-License-Identifier: MIT OR Apache-2.0
//! The receive and the transmit queue of a port, as one worker owns them.
//!
//! A queue keeps its device open (it holds a share of it) and gives its place
//! back when dropped. Both work on a whole [`Burst`]. The driver owns what was
//! sent; what it had no room for stays in the burst, in order, and the caller decides
//! between trying again and counting a drop. Beware of trying for ever: a driver also
//! leaves a frame that it will never take, such as one longer than its MTU.
//!
//! What is received is checked to be an mbuf as [`Mbuf`] promises it: one segment,
//! one owner, its own memory. It practically always is, and the check reads a cache
//! line that the driver just wrote. Anything else is freed and counted as unusable: a
//! chain comes only of a frame longer than the MTU that the port was configured with,
//! since `Port::configure` wants buffers that hold the MTU.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dpdk_sys as sys;

use crate::port::Device;
use crate::{Burst, Mbuf};

#[cfg(test)]
mod tests;

/// A mark of mbufs whose data is not in the buffer they own.
const ELSEWHERE: u64 = sys::RTE_MBUF_F_INDIRECT | sys::RTE_MBUF_F_EXTERNAL;

/// The only way to receive from one queue of a port.
#[derive(Debug)]
pub struct RxQueue {
    device: Arc<Device>,
    port: u16,
    queue: u16,
    unusable: u64,
}

impl RxQueue {
    /// The caller has claimed the queue.
    pub(crate) fn new(device: Arc<Device>, queue: u16) -> RxQueue {
        RxQueue { port: device.id, device, queue, unusable: 0 }
    }

    /// Adds what has arrived to the burst, as far as it has room, and gives
    /// the number of frames added. Never waits.
    #[inline]
    pub fn burst(&mut self, burst: &mut Burst) -> usize {
        // SAFETY: the port was started before this queue was made and is not stopped before it
        // is dropped; the claim and `&mut self` make this the only poll of the queue.
        let received = unsafe { receive(self.port, self.queue, burst) };
        self.unusable += (received.taken - received.kept) as u64;
        received.kept
    }

    /// Frames freed since the queue was taken because they were
    /// not one segment in memory of their own.
    #[inline]
    pub fn unusable(&self) -> u64 {
        self.unusable
    }
}

impl Drop for RxQueue {
    fn drop(&mut self) {
        self.device.rx_taken.fetch_and(!(1u64 << self.queue), Ordering::Release);
    }
}

/// The only way to send to one queue of a port.
#[derive(Debug)]
pub struct TxQueue {
    device: Arc<Device>,
    port: u16,
    queue: u16,
}

impl TxQueue {
    /// The caller has claimed the queue.
    pub(crate) fn new(device: Arc<Device>, queue: u16) -> TxQueue {
        TxQueue { port: device.id, device, queue }
    }

    /// Sends from the front of the burst and gives the number of frames that
    /// the driver took. The rest stays in the burst, in order. Never waits.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        if burst.is_empty() {
            return 0;
        }
        // SAFETY: the port is started for as long as this queue exists, which only `self` uses.
        // The burst's first `len` slots are mbufs that it owns; those that were taken are the
        // driver's from now on, and are forgotten before anyone can look at them.
        unsafe {
            let mbufs = burst.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
            let sent = usize::from(sys::shim_eth_tx_burst(self.port, self.queue, mbufs, burst.len() as u16));
            burst.forget_front(sent);
            sent
        }
    }
}

impl Drop for TxQueue {
    fn drop(&mut self) {
        self.device.tx_taken.fetch_and(!(1u64 << self.queue), Ordering::Release);
    }
}

/// What one poll brought.
pub(crate) struct Received {
    /// Frames taken from the driver.
    pub(crate) taken: usize,
    /// Frames added to the burst.
    pub(crate) kept: usize,
}

/// Polls one queue into the room that a burst has left.
///
/// # Safety
/// The port is started and has the queue, and nobody else polls it.
#[inline]
pub(crate) unsafe fn receive(port: u16, queue: u16, burst: &mut Burst) -> Received {
    let spare = burst.spare();
    if spare.is_empty() {
        return Received { taken: 0, kept: 0 };
    }
    let room = spare.as_mut_ptr().cast::<*mut sys::rte_mbuf>();
    // SAFETY: the caller vouches for the queue; there are spare.len() <= BURST slots of one
    // pointer each. The driver gives away what it puts there.
    let taken = usize::from(unsafe { sys::shim_eth_rx_burst(port, queue, room, spare.len() as u16) });
    let fresh = &mut spare[..taken];
    // SAFETY: these slots were just written with pointers to live mbufs.
    let plain = fresh.iter().all(|slot| unsafe { is_plain(slot.assume_init_ref()) });
    let kept = if plain { taken } else { keep_plain(fresh) };
    // SAFETY: the first `kept` slots hold mbufs that are ours and fulfil Mbuf's promises.
    unsafe { burst.grow(kept) }
    Received { taken, kept }
}

/// Whether an mbuf from a driver is one segment, ours alone, with its own memory.
#[inline]
fn is_plain(mbuf: &Mbuf) -> bool {
    let raw = mbuf.raw();
    raw.refcnt == 1 && raw.nb_segs == 1 && raw.ol_flags & ELSEWHERE == 0
}

/// Moves the plain mbufs to the front and frees the others.
#[cold]
fn keep_plain(fresh: &mut [MaybeUninit<Mbuf>]) -> usize {
    let mut kept = 0;
    for i in 0..fresh.len() {
        // SAFETY: initialised by the driver, and each slot is read once before anything is
        // written to it, since kept <= i. One that is not plain is only looked at and freed, and
        // freeing gives back our share of every segment of a chain.
        let mbuf = unsafe { fresh[i].assume_init_read() };
        if is_plain(&mbuf) {
            fresh[kept].write(mbuf);
            kept += 1;
        }
    }
    kept
}
