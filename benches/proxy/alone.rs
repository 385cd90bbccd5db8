// SPDX-License-Identifier: MIT OR Apache-2.0
//! What rustls alone needs for the two handshakes of a proxied session, in memory.
//!
//! Timed are the two ends that the proxy is: the server towards the caller, and the client towards the called. Their far ends, which are the
//! generator's in the other harnesses, run in between and are not timed.

use crate::Failure;
use crate::pki::Pki;
use rustls::Connection;

/// Seconds a pair of handshakes takes, the mean of `pairs`.
pub fn pair(pki: &Pki, pairs: usize, hz: u64) -> Result<f64, Failure> {
    let mut ticks = 0;
    for _ in 0..pairs {
        let before = dpdk::tsc();
        let server = Connection::Server(pki.called()?);
        ticks += dpdk::tsc() - before;
        ticks += shake(server, Connection::Client(pki.caller()?))?;
        let before = dpdk::tsc();
        let client = Connection::Client(pki.caller()?);
        ticks += dpdk::tsc() - before;
        ticks += shake(client, Connection::Server(pki.called()?))?;
    }
    Ok(ticks as f64 / hz as f64 / pairs as f64)
}

/// Ticks that `ours` takes.
fn shake(mut ours: Connection, mut theirs: Connection) -> Result<u64, Failure> {
    let mut ticks = 0;
    let mut wire = Vec::new();
    while ours.is_handshaking() || theirs.is_handshaking() || ours.wants_write() || theirs.wants_write() {
        wire.clear();
        while theirs.wants_write() {
            theirs.write_tls(&mut wire)?;
        }
        let before = dpdk::tsc();
        take(&mut ours, &wire)?;
        wire.clear();
        while ours.wants_write() {
            ours.write_tls(&mut wire)?;
        }
        ticks += dpdk::tsc() - before;
        take(&mut theirs, &wire)?;
    }
    Ok(ticks)
}

fn take(tls: &mut Connection, mut wire: &[u8]) -> Result<(), Failure> {
    while !wire.is_empty() {
        tls.read_tls(&mut wire)?;
        tls.process_new_packets()?;
    }
    Ok(())
}
