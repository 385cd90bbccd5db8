// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the same flows cost Linux as firewall: nftables `masquerade` with connection tracking, 1,000,000 connections.
//!
//! `scripts/bench` makes two namespaces and runs this in `fgb-feed`: a veth pair leads from there to `fgb-wall`, which
//! forwards, and another one back. Both receiving ends poll by NAPI in a kernel thread of their own, so that the kernel
//! itself keeps account of what forwarding takes, in nanoseconds: the run time of the thread that polls `fgb-in` holds everything from
//! taking a batch of packets out of the veth to putting each into the next one, and neither the sender nor the sink.
//! All of them are pinned to the one CPU that is measured and the other CPU is idle. The sender has real-time priority, so it puts a batch down undisturbed,
//! then sleeps, and the kernel threads find a full batch, which is the best that can happen to them.
//!
//! What the same thread takes for packets that IP throws away at once, since they have another host's MAC, is measured as well and
//! taken off: driver, NAPI, GRO, allocation and freeing are so not counted, as our own figure has no driver in it.

use crate::flows::{FRAME, Way, ends, write_udp};
use crate::rig::below;
use crate::rows::{self, Row, median};
use crate::{Failure, Options};
use fedgate_flow::Rng;
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, SocketAddrV4, SocketType, ipproto,
    sendmmsg, socket,
};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io::IoSlice;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::{Duration, Instant};

/// Connections.
const CONNS: u32 = 1_000_000;
/// Packets that are put down at once: below the 256 that a veth holds.
const BATCH: usize = 192;
/// Turns of each kind, and batches in one.
const TURNS: usize = 5;
const A_TURN: usize = 1200;
/// How long the threads get for a batch before the sender looks again, and how often it does.
const REST: Duration = Duration::from_micros(300);
const LOOKS: usize = 30;
/// Rounds through all flows until all connections are there.
const ROUNDS: usize = 4;
/// The firewall's address and MAC on the sender's side, as `scripts/bench` set them, and a MAC that is nobody's.
const WALL: &str = "10.0.0.1";
const WALL_MAC: &str = "02:00:00:00:00:02";
const NOBODY: &str = "02:00:00:00:00:fe";

/// The row.
pub fn run(options: &Options) -> Result<Vec<Row>, Failure> {
    if !options.wants("nft_1m") {
        return Ok(Vec::new());
    }
    let ours = rows::number_of(&options.out, "cycles_1m", "value")?;
    let wall = poller("fgb-in", options.cpu)?;
    poller("fgb-sink", options.cpu)?;
    let (started, started_tsc) = (Instant::now(), dpdk::tsc());
    dpdk::pin_thread(&[options.cpu])?;
    command("chrt", &["-f", "-p", "1", &std::process::id().to_string()])?;
    let mut sender = Sender::new()?;

    for _ in 0..ROUNDS {
        sender.each()?;
        if connections()? >= CONNS {
            break;
        }
    }
    if connections()? < CONNS {
        return Err(format!("{} connections instead of {CONNS}", connections()?).into());
    }
    let (mut forwarded, mut refused) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        forwarded.push(sender.turn(&wall, Some("fgb-sink"))?);
        point_at(NOBODY)?;
        refused.push(sender.turn(&wall, None)?);
        point_at(WALL_MAC)?;
    }
    let hz = (dpdk::tsc() - started_tsc) as f64 / started.elapsed().as_secs_f64();
    println!("kernel: ns a packet forwarded {forwarded:.0?}, thrown away {refused:.0?}");
    let best = forwarded.iter().copied().fold(f64::INFINITY, f64::min);
    let theirs = (best - median(&mut refused)) * hz / 1e9;
    Ok(vec![Row::times_less(
        "nft_1m",
        ours,
        "cycles/packet",
        "nftables masquerade, driver taken off",
        theirs,
    )])
}

/// Sends IP packets of the flows to wherever the default route leads.
struct Sender {
    socket: OwnedFd,
    random: Rng,
}

impl Sender {
    fn new() -> Result<Self, Failure> {
        // IPPROTO_RAW: the IP header is ours.
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))?;
        Ok(Self { socket, random: Rng::new(3) })
    }

    /// Every flow once, in order.
    fn each(&mut self) -> Result<(), Failure> {
        let mut reached = counted("fgb-sink", "rx_packets")?;
        for first in (0..CONNS).step_by(BATCH) {
            let flows: Vec<u32> = (first..CONNS.min(first + BATCH as u32)).collect();
            self.send(&flows)?;
            reached = wait("fgb-sink", reached + flows.len() as u64)?;
        }
        Ok(())
    }

    /// Random flows; gives the nanoseconds a packet that the thread `wall` took. `sink` is where they come out, if they do.
    fn turn(&mut self, wall: &str, sink: Option<&str>) -> Result<f64, Failure> {
        let counter = sink.map_or(("fgb-gen", "tx_packets"), |sink| (sink, "rx_packets"));
        let (packets, time) = (counted(counter.0, counter.1)?, run_time(wall)?);
        let mut reached = packets;
        for _ in 0..A_TURN {
            let flows: Vec<u32> = (0..BATCH).map(|_| below(&mut self.random, CONNS)).collect();
            self.send(&flows)?;
            match sink {
                Some(sink) => reached = wait(sink, reached + BATCH as u64)?,
                None => std::thread::sleep(REST),
            }
        }
        std::thread::sleep(Duration::from_millis(20));
        let packets = counted(counter.0, counter.1)? - packets;
        let sent = (A_TURN * BATCH) as u64;
        if packets * 100 < sent * 95 {
            return Err(format!("{packets} of {sent} packets came through").into());
        }
        Ok((run_time(wall)? - time) as f64 / packets as f64)
    }

    fn send(&self, flows: &[u32]) -> Result<(), Failure> {
        let packets: Vec<([u8; FRAME], SocketAddrAny)> = flows.iter().map(|&flow| packet(flow)).collect();
        let slices: Vec<[IoSlice<'_>; 1]> =
            packets.iter().map(|(frame, _)| [IoSlice::new(&frame[14..])]).collect();
        let mut controls: Vec<SendAncillaryBuffer<'_, '_, '_>> =
            flows.iter().map(|_| SendAncillaryBuffer::default()).collect();
        let mut messages: Vec<MMsgHdr<'_>> = packets
            .iter()
            .zip(&slices)
            .zip(&mut controls)
            .map(|(((_, to), slice), control)| MMsgHdr::new_with_addr(to, slice, control))
            .collect();
        let mut done = 0;
        while done < messages.len() {
            done += sendmmsg(&self.socket, &mut messages[done..], SendFlags::empty())?;
        }
        Ok(())
    }
}

/// A flow's frame from inside, of which the part behind the Ethernet header is sent, and where to.
fn packet(flow: u32) -> ([u8; FRAME], SocketAddrAny) {
    let mut frame = [0; FRAME];
    let ends = ends(flow, Way::Out, true);
    write_udp(&mut frame, &ends, flow);
    (frame, SocketAddrV4::new(Ipv4Addr::from_bits(ends.to.0), 0).into())
}

/// Lets the threads work until `sink` has received `wanted`, or for long enough; gives what it has received.
fn wait(sink: &str, wanted: u64) -> Result<u64, Failure> {
    for _ in 0..LOOKS {
        std::thread::sleep(REST);
        if counted(sink, "rx_packets")? >= wanted {
            break;
        }
    }
    counted(sink, "rx_packets")
}

/// A counter of an interface of this namespace.
fn counted(interface: &str, counter: &str) -> Result<u64, Failure> {
    let path = format!("/sys/class/net/{interface}/statistics/{counter}");
    Ok(std::fs::read_to_string(path)?.trim().parse()?)
}

/// Nanoseconds that a thread has run.
fn run_time(pid: &str) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    Ok(text.split_whitespace().next().ok_or("an empty schedstat")?.parse()?)
}

/// The kernel thread that polls an interface, pinned to `cpu`.
fn poller(interface: &str, cpu: u32) -> Result<String, Failure> {
    let name = format!("napi/{interface}-");
    for entry in std::fs::read_dir("/proc")? {
        let pid = entry?.file_name().to_string_lossy().into_owned();
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.starts_with(&name) {
            let mut set = CpuSet::new();
            set.set(cpu as usize);
            sched_setaffinity(Pid::from_raw(pid.parse()?), &set)?;
            return Ok(pid);
        }
    }
    Err(format!("no kernel thread polls {interface}").into())
}

/// Connections that the firewall has.
fn connections() -> Result<u32, Failure> {
    let text =
        command("ip", &["netns", "exec", "fgb-wall", "sysctl", "-n", "net.netfilter.nf_conntrack_count"])?;
    Ok(text.trim().parse()?)
}

/// Sends the sender's packets to another MAC.
fn point_at(mac: &str) -> Result<(), Failure> {
    command("ip", &["neigh", "replace", WALL, "lladdr", mac, "nud", "permanent", "dev", "fgb-gen"])?;
    Ok(())
}

fn command(name: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(name).args(arguments).output().map_err(|e| format!("{name}: {e}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{name} {}: {said}", arguments.join(" ")).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
