// SPDX-License-Identifier: MIT OR Apache-2.0
//! The rows that compare processes: ours by the worker's count of busy cycles, the peers by the scheduler's account of theirs.
//!
//! The same loads for all. `handshakes_haproxy`: connect, two handshakes, a message each way, close. `sip_messages`: a thousand connections, each with
//! a request unanswered at any time; requests and answers both count. `bulk`: one connection, messages of 60,000 bytes one after the other. All ends of the
//! generator run on the other CPU, and it, not what is measured, is mostly the limit: hence CPU time and not the clock. `sip_latency_p999_us` has no
//! peer but what was asked for ([`crate::delay`]).

use crate::appliance::Appliance;
use crate::crowd::Crowd;
use crate::delay;
use crate::peers::{BEHIND, PEER, Peer};
use crate::pki::Pki;
use crate::rows::{self, Row, median};
use crate::sockets::Sockets;
use crate::wire::Wire;
use crate::{Failure, Options};
use dpdk::{Eal, EalOptions, Huge};
use std::path::Path;

/// Turns of each load; medians are taken.
const TURNS: usize = 5;
/// Sessions of a turn.
const SESSIONS: usize = 300;
/// Connections that talk, and requests of each in a turn.
const CONNECTIONS: usize = 1000;
const REQUESTS: u64 = 10;
/// Messages of a turn of `bulk`, unanswered ones, and their text.
const LARGE: u64 = 400;
const AT_ONCE: u64 = 4;
const TEXT: usize = 60_000;
/// Text of the others, bytes.
const BODY: usize = 100;
/// TCP buffers of the generator where the network is ours.
const BUFFER: usize = 64 << 10;

/// What something does in a second of a CPU.
#[derive(Default)]
struct Rates {
    sessions: f64,
    messages: f64,
    mbytes: f64,
}

/// The rows asked for.
pub fn run(options: &Options) -> Result<(), Failure> {
    let ids = ["handshakes_haproxy", "sip_messages", "bulk", "sip_latency_p999_us"];
    let [sessions, messages, bulk, latency] = ids.map(|id| options.wants(id));
    let pki = Pki::new()?;
    let folder = tempfile::tempdir()?;
    let (ours, p999) = ours(&pki, options, folder.path(), [sessions, messages, bulk, latency])?;
    pki.write(folder.path())?;
    let haproxy = match sessions || bulk {
        true => again(|| theirs(&pki, Peer::haproxy(folder.path(), options.cpu)?, [sessions, false, bulk]))?,
        false => Rates::default(),
    };
    let kamailio = match messages {
        true => again(|| theirs(&pki, Peer::kamailio(folder.path(), options.cpu)?, [false, true, false]))?,
        false => Rates::default(),
    };
    let mut rows = Vec::new();
    let mut row = |wanted: bool, id, unit, peer, ours, theirs| {
        if wanted {
            rows.push(Row::new(id, ours, unit, peer, theirs));
        }
    };
    row(sessions, ids[0], "sessions/CPU s", "HAProxy", ours.sessions, haproxy.sessions);
    row(messages, ids[1], "messages/CPU s", "Kamailio", ours.messages, kamailio.messages);
    row(bulk, ids[2], "MB/CPU s", "HAProxy", ours.mbytes, haproxy.mbytes);
    if let Some(p999) = p999 {
        rows.push(Row::times_less(ids[3], p999, "us", "what was asked for", 200.0));
    }
    rows::append(&options.out, &rows)
}

fn ours(
    pki: &Pki,
    options: &Options,
    folder: &Path,
    wanted: [bool; 4],
) -> Result<(Rates, Option<f64>), Failure> {
    let sockets = ["outside", "inside"].map(|name| folder.join(name));
    let sockets = [sockets[0].as_path(), sockets[1].as_path()];
    let appliance = Appliance::start(pki, folder, sockets, options.cpu, options.other_cpu)?;
    // Only now, because it pins this thread.
    let eal = Eal::init(&EalOptions {
        program: "fedgate-bench".into(),
        main_cpu: options.other_cpu,
        worker_cpus: vec![options.other_cpu],
        huge: Huge::No,
        memory_mib: 128,
        prefix: "fedgate-bench-proxy".into(),
        ..EalOptions::default()
    })?;
    let mut crowd = Crowd::new(Wire::new(eal, appliance, sockets)?, pki, BUFFER, BODY);
    let done = measure(&mut crowd, wanted);
    if done.is_err() {
        eprintln!("bench: the appliance dropped {:?}", crowd.middle.appliance.drops());
    }
    let rates = done?;
    crowd.middle.quit()?;
    Ok(rates)
}

fn measure(
    crowd: &mut Crowd<'_, Wire>,
    [sessions, messages, bulk, latency]: [bool; 4],
) -> Result<(Rates, Option<f64>), Failure> {
    use crate::crowd::Middle;
    let (mut rates, mut p999) = (Rates::default(), None);
    let turns = |crowd: &mut Crowd<'_, Wire>,
                 amount: f64,
                 work: &mut dyn FnMut(&mut Crowd<'_, Wire>) -> Result<(), Failure>| {
        let mut all = Vec::new();
        for _ in 0..TURNS {
            let before = crowd.middle.busy();
            work(crowd)?;
            all.push(amount / (crowd.middle.busy() - before));
        }
        Ok::<f64, Failure>(median(&mut all))
    };
    if sessions {
        rates.sessions =
            turns(crowd, SESSIONS as f64, &mut |crowd| crowd.gather(crowd.lines() + SESSIONS, true))?;
    }
    if messages || latency {
        let before = crowd.middle.appliance.resident_kib()?;
        let first = crowd.lines();
        crowd.gather(first + CONNECTIONS, false)?;
        let grown = crowd.middle.appliance.resident_kib()?.saturating_sub(before);
        println!(
            "messages: {CONNECTIONS} sessions grew the process by {:.1} KiB each",
            grown as f64 / CONNECTIONS as f64
        );
        let amount = (2 * REQUESTS * CONNECTIONS as u64) as f64;
        rates.messages = turns(crowd, amount, &mut |crowd| crowd.talk(first, REQUESTS, 1))?;
        if latency {
            p999 = Some(delay::p999(crowd, first, rates.messages / 2.0)?);
        }
    }
    if bulk {
        let first = crowd.lines();
        crowd.body = TEXT;
        crowd.gather(first + 1, false)?;
        let amount = (LARGE * TEXT as u64) as f64 / 1e6;
        rates.mbytes = turns(crowd, amount, &mut |crowd| crowd.talk(first, LARGE, AT_ONCE))?;
    }
    Ok((rates, p999))
}

/// A peer that gives a connection up while the machine is busy with other things is started once more.
fn again(mut measure: impl FnMut() -> Result<Rates, Failure>) -> Result<Rates, Failure> {
    measure().or_else(|failure| {
        eprintln!("bench: {failure}; once more");
        measure()
    })
}

fn theirs(pki: &Pki, peer: Peer, [sessions, messages, bulk]: [bool; 3]) -> Result<Rates, Failure> {
    let mut rates = Rates::default();
    let turns = |sockets: &mut Sockets<'_>,
                 amount: f64,
                 work: &mut dyn FnMut(&mut Sockets<'_>, usize) -> Result<(), Failure>| {
        let mut all = Vec::new();
        for turn in 1..=TURNS {
            let before = peer.busy()?;
            work(sockets, turn)?;
            all.push(amount / (peer.busy()? - before));
        }
        Ok::<f64, Failure>(median(&mut all))
    };
    if sessions {
        let mut sockets = Sockets::new(pki, PEER, BEHIND, BODY)?;
        rates.sessions =
            turns(&mut sockets, SESSIONS as f64, &mut |sockets, turn| sockets.gather(turn * SESSIONS, true))?;
    }
    if messages {
        let mut sockets = Sockets::new(pki, PEER, BEHIND, BODY)?;
        sockets.gather(CONNECTIONS, false)?;
        let amount = (2 * REQUESTS * CONNECTIONS as u64) as f64;
        rates.messages = turns(&mut sockets, amount, &mut |sockets, _| sockets.talk(REQUESTS, 1))?;
    }
    if bulk {
        let mut sockets = Sockets::new(pki, PEER, BEHIND, TEXT)?;
        sockets.gather(1, false)?;
        let amount = (LARGE * TEXT as u64) as f64 / 1e6;
        rates.mbytes = turns(&mut sockets, amount, &mut |sockets, _| sockets.talk(LARGE, AT_ONCE))?;
    }
    peer.quit()?;
    Ok(rates)
}
