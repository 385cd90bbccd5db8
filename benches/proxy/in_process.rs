// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rows that need no packet path: handshakes beside rustls alone, memory of an idle session, and whether many sessions slow each other down.

use crate::alone;
use crate::crowd::{Crowd, Middle};
use crate::engine::InProcess;
use crate::pki::Pki;
use crate::rows::{self, Row, median};
use crate::{Failure, Options};

/// Turns of ours and of the peer, and sessions in each.
const TURNS: usize = 9;
const A_TURN: usize = 200;
/// TCP buffers of a host that is one of many, bytes: room for a flight of the handshake.
const SMALL: usize = 4096;
/// Sessions that `session_kib` and `scale` hold, and the few that `scale` compares with.
const MANY: usize = 50_000;
const QUICK_MANY: usize = 2_000;
const FEW: usize = 100;
/// Requests of a turn of `scale`, over all sessions.
const REQUESTS: usize = 200_000;
/// Text in a message, bytes.
const BODY: usize = 100;

/// The rows asked for, each written as soon as it is there.
pub fn run(options: &Options, hz: u64) -> Result<(), Failure> {
    let pki = Pki::new()?;
    if options.wants("handshakes_memory") {
        rows::append(&options.out, &[handshakes(&pki, hz)?])?;
    }
    if options.wants("session_kib") || options.wants("scale") {
        many(options, &pki, hz)?;
    }
    Ok(())
}

/// Whole sessions: TCP, two handshakes, a message each way, the ends.
fn handshakes(pki: &Pki, hz: u64) -> Result<Row, Failure> {
    let mut crowd = Crowd::new(InProcess::new(pki, 60_000, hz)?, pki, 32 << 10, BODY);
    let (mut ours, mut theirs, mut total) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TURNS {
        total += A_TURN;
        let before = crowd.middle.busy();
        crowd.gather(total, true)?;
        ours.push((crowd.middle.busy() - before) / A_TURN as f64);
        theirs.push(alone::pair(pki, A_TURN, hz)?);
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("handshakes: {:.1} us a session, of rustls {:.1} us", ours * 1e6, theirs * 1e6);
    Ok(Row::new("handshakes_memory", 1.0 / ours, "sessions/CPU s", "rustls in memory", 1.0 / theirs))
}

/// Memory first, on the way to the many sessions of `scale`.
fn many(options: &Options, pki: &Pki, hz: u64) -> Result<(), Failure> {
    let many = if options.quick { QUICK_MANY } else { MANY };
    let mut crowd = Crowd::new(InProcess::new(pki, 60_000, hz)?, pki, SMALL, BODY);
    let mut few = 0.0;
    if options.wants("scale") {
        crowd.gather(FEW, false)?;
        few = rate(&mut crowd, FEW)?;
        crowd = Crowd::new(InProcess::new(pki, 60_000, hz)?, pki, SMALL, BODY);
    }
    crowd.middle.weigh();
    crowd.gather(many, false)?;
    let kib = crowd.middle.weighed() as f64 / many as f64 / 1024.0;
    let (sessions, account) = crowd.middle.account();
    println!(
        "memory: {sessions} sessions, {kib:.1} KiB each; {:.1} KiB by the engine's account",
        account as f64 / f64::from(sessions) / 1024.0
    );
    if options.wants("session_kib") {
        let row = Row::times_less("session_kib", kib, "KiB/session", "what was asked for", 40.0);
        rows::append(&options.out, &[row])?;
    }
    if options.wants("scale") {
        let many = rate(&mut crowd, many)?;
        println!("scale: {many:.0} messages/CPU s, and {few:.0} with 100 sessions");
        let row = Row::new("scale", many / few, "of the rate at 100 sessions", "the same rate", 1.0);
        rows::append(&options.out, &[row])?;
    }
    Ok(())
}

/// Messages in a second of a CPU that go round `sessions` open ones, as many unanswered at a time whatever their number: it is the
/// sessions that are compared, not queues.
fn rate(crowd: &mut Crowd<'_, InProcess>, sessions: usize) -> Result<f64, Failure> {
    let each = REQUESTS.div_ceil(sessions) as u64;
    let mut rates = Vec::new();
    for _ in 0..3 {
        let (before, (came, went)) = (crowd.middle.busy(), crowd.middle.packets());
        crowd.go_round(each, FEW as u64)?;
        let messages = (2 * each * sessions as u64) as f64;
        rates.push(messages / (crowd.middle.busy() - before));
        let packets = crowd.middle.packets();
        let (came, went) = ((packets.0 - came) as f64 / messages, (packets.1 - went) as f64 / messages);
        println!("{sessions} sessions: {came:.2} packets in and {went:.2} out a message");
    }
    Ok(median(&mut rates))
}
