// SPDX-License-Identifier: MIT OR Apache-2.0
//! End to end: the real dataplane process between two memif ports of a generator, beside testpmd's `macswap` there.
//!
//! Four processes: the appliance and the peer, both on the CPU that is measured, and a generator for each on the other CPU. They are
//! measured in turns, within seconds of each other, with the same generator settings; the appliance, which would poll on,
//! stands still in the peer's turns, and testpmd's threads sleep when they do not forward.
//!
//! The generator is testpmd too and has one CPU, which it shares with the appliance's housekeeping thread: where it cannot make or take more, the two figures meet, so the
//! cycles that each spends on a packet are a row of their own.
//!
//! The outside router is the generator: it is put into `icmpecho` mode once, in which it answers ARP.

use crate::appliance::Appliance;
use crate::rows::{Row, median};
use crate::testpmd::{Role, Testpmd};
use crate::{Failure, Options};
use std::time::{Duration, Instant};

/// Row of the rate, row of the cycles, flows of the generator.
const SIZES: [(&str, &str, u64); 2] =
    [("testpmd_1k", "testpmd_1k_cycles", 1000), ("testpmd_1m", "testpmd_1m_cycles", 1_000_000)];
/// Flows of a thousand that must have a connection: one of a million is the generator's to its own address, and a
/// table that is configured for as many connections as there are flows may refuse its last few.
const SERVED: u64 = 999;
/// How long the connections may take to be there.
const FILL: Duration = Duration::from_secs(20);
/// Packet memory of each process, MiB.
const MEMORY_MIB: u32 = 192;
/// From the start of the generator to the beginning of the measurement.
const WARM: Duration = Duration::from_millis(300);

/// Runs it and gives its rows.
pub fn run(options: &Options) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (id, cycles, flows) in SIZES {
        if options.wants(id) || options.wants(cycles) {
            let [rate, busy] = measure(options, flows)?;
            let packet_rate = |ours, theirs| Row::new(id, ours, "packets/s", "dpdk-testpmd macswap", theirs);
            rows.push(packet_rate(rate[0], rate[1]));
            rows.push(Row::new(cycles, busy[0], "cycles/packet", "dpdk-testpmd macswap", busy[1]));
        }
    }
    Ok(rows)
}

/// Packets a second, ours and the peer's, and cycles a packet.
fn measure(options: &Options, flows: u64) -> Result<[[f64; 2]; 2], Failure> {
    let (turns, window) = if options.quick { (5, 700) } else { (9, 1500) };
    let window = Duration::from_millis(window);
    let huge = free_hugepages_mib()? >= 4 * MEMORY_MIB;
    let folder = tempfile::tempdir()?;
    let paths = ["appliance0", "appliance1", "peer0", "peer1"].map(|name| folder.path().join(name));
    let [a0, a1, p0, p1] = &paths;
    let (cpu, other_cpu) = (options.cpu, options.other_cpu);

    let role = |name, memif, sockets, cpu, arguments| Role {
        name,
        memif,
        sockets,
        cpu,
        other_cpu,
        huge,
        memory_mib: MEMORY_MIB,
        arguments,
    };
    let some = format!("--flowgen-flows={flows}");
    let generate = [some.as_str(), "--forward-mode=flowgen", "--disable-device-start"];

    let appliance = Appliance::start(folder.path(), [a0, a1], cpu, other_cpu, huge, MEMORY_MIB)?;
    let mut feeder = Testpmd::start(role("bench-feed", "client", [a0, a1], other_cpu, &generate))?;
    one_way(&mut feeder)?;
    introduce(&appliance, &mut feeder)?;
    let conns = flows * SERVED / 1000;
    fill(&appliance, &mut feeder, conns)?;
    appliance.pause()?;

    let mut peer = Testpmd::start(role("bench-peer", "server", [p0, p1], cpu, &["--forward-mode=macswap"]))?;
    let mut peer_feeder = Testpmd::start(role("bench-peer-feed", "client", [p0, p1], other_cpu, &generate))?;
    one_way(&mut peer_feeder)?;

    let (mut ours, mut theirs, mut our_cycles, mut their_cycles) = (vec![], vec![], vec![], vec![]);
    for _ in 0..turns {
        appliance.resume()?;
        let before = appliance.counted();
        ours.push(generate_for(&mut feeder, window)?);
        let after = appliance.counted();
        our_cycles.push((after.cycles - before.cycles) as f64 / (after.received - before.received) as f64);
        appliance.pause()?;

        peer.ask("start")?;
        theirs.push(generate_for(&mut peer_feeder, window)?);
        their_cycles.push(peer.stop()?);
    }
    appliance.resume()?;
    let counted = appliance.counted();
    if !(conns..=flows).contains(&counted.conns) || !appliance.answers() {
        return Err(
            format!("{} connections instead of {flows}; {:?}", counted.conns, appliance.drops()).into()
        );
    }
    println!(
        "end to end: {flows} flows, {} connections, {turns} turns, hugepages: {huge}, dropped: {:?}",
        counted.conns,
        appliance.drops()
    );

    // Traffic has stopped; first the clients, then the servers.
    feeder.quit()?;
    peer_feeder.quit()?;
    peer.quit()?;
    appliance.quit()?;

    Ok([[median(&mut ours), median(&mut theirs)], [median(&mut our_cycles), median(&mut their_cycles)]])
}

/// Lets the generator run until all connections are there.
fn fill(appliance: &Appliance, feeder: &mut Testpmd, conns: u64) -> Result<(), Failure> {
    feeder.ask("start")?;
    let start = Instant::now();
    while appliance.counted().conns < conns && start.elapsed() < FILL {
        std::thread::sleep(Duration::from_millis(50));
    }
    feeder.ask("stop")?;
    Ok(())
}

/// Starts the ports so that only what goes from port 0 to port 1 is generated.
fn one_way(feeder: &mut Testpmd) -> Result<(), Failure> {
    feeder.ask("port 0 rxq 0 deferred_start on")?;
    feeder.ask("port start all")?;
    Ok(())
}

/// Makes the appliance ask for its router, and answers.
fn introduce(appliance: &Appliance, feeder: &mut Testpmd) -> Result<(), Failure> {
    feeder.ask("start")?;
    std::thread::sleep(Duration::from_millis(100));
    feeder.ask("stop")?;
    feeder.ask("set fwd icmpecho")?;
    feeder.ask("set portlist 1")?;
    feeder.ask("start")?;
    // The request is repeated every second.
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(100));
        if appliance.counted().sent > 5 {
            break;
        }
    }
    feeder.ask("stop")?;
    feeder.ask("set portlist 0,1")?;
    feeder.ask("set fwd flowgen")?;
    Ok(())
}

/// Lets the generator run and gives the frames a second that came back.
fn generate_for(feeder: &mut Testpmd, window: Duration) -> Result<f64, Failure> {
    feeder.ask("start")?;
    std::thread::sleep(WARM);
    let rate = feeder.received_a_second(window)?;
    feeder.ask("stop")?;
    std::thread::sleep(Duration::from_millis(20));
    Ok(rate)
}

/// Free hugepages of the default size.
pub fn free_hugepages_mib() -> Result<u32, Failure> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let field = |name: &str| -> Option<u32> {
        text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
    };
    Ok(field("HugePages_Free:").unwrap_or(0) * (field("Hugepagesize:").unwrap_or(0) / 1024))
}
