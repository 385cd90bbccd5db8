// SPDX-License-Identifier: MIT OR Apache-2.0
//! Start-up: arguments -> EAL and memory -> counters -> workers -> housekeeping, and the way down.
//!
//! Runs on the main thread, which then becomes the housekeeping thread. A worker that panics takes the process down
//! with a message: half a dataplane is worse than none, and the supervisor starts a new one.

use crate::house::{self, House};
use crate::worker::mates::ROOM;
use crate::worker::{self, Worker};
use clap::Parser;
use dpdk::{BURST, Eal, EalOptions, Huge, Mempool, PortConfig};
use fedgate_flow::ports::Share;
use fedgate_sip::dialog::{self, Roster};
use fedgate_tables::counters::MAX_WORKERS;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Arguments of `fedgate-dataplane`.
#[derive(Parser, Clone, Debug)]
#[command(name = "fedgate-dataplane", version = VERSION, about = "fedgate's poll-mode packet path")]
pub struct Options {
    /// Unix socket that control connects to.
    #[arg(long, default_value = "/run/fedgate/dataplane.sock")]
    pub socket: PathBuf,
    /// CPU of the housekeeping thread.
    #[arg(long, default_value_t = 0)]
    pub cpu_main: u32,
    /// CPU of each worker, which it polls all the time: 1,2,3.
    #[arg(long, alias = "cpu-worker", value_delimiter = ',', default_value = "1")]
    pub cpu_workers: Vec<u32>,
    /// Sleep for moments when there is nothing to do, instead of spinning.
    #[arg(long)]
    pub idle_sleep: bool,
    /// Do without hugepages (they are used where enough are free).
    #[arg(long)]
    pub no_huge: bool,
    /// Packet memory, MiB; what the packet buffers need unless given.
    #[arg(long)]
    pub memory: Option<u32>,
    /// Packet buffers; as many as workers and ports need unless given.
    #[arg(long)]
    pub mbufs: Option<u32>,
    /// Ports that packet buffers are reckoned for. More may be attached.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub ports: u32,
    /// Connections at most; each worker has room for its share.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(16..=100_000_000))]
    pub max_conns: u32,
    /// Dynamic translations at most, shared in the same way.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(16..=100_000_000))]
    pub max_xlates: u32,
    /// Proxy sessions at most, shared in the same way.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_sessions: u32,
    /// Memory of all proxy sessions, MiB.
    #[arg(long, default_value_t = 2048)]
    pub session_memory: usize,
    /// Let interfaces name PCI devices.
    #[arg(long)]
    pub pci: bool,
    /// What to log: error, warn, info, debug, trace.
    #[arg(long, default_value = "info")]
    pub log: tracing::Level,
}

/// Packet buffers parked with each worker at most.
const CACHE: u32 = 256;
/// Buffers for packets that wait.
const WAITING: u32 = 8192;
const LEAST_BUFFERS: u32 = 32_768;
/// Bytes of a buffer beside its data: DPDK's header, headroom and the pool's own, rounded up.
const BESIDE_DATA: u64 = 512;
const EAL_MIB: u32 = 128;
const LEAST_MIB: u32 = 256;

/// Version and commit.
pub const VERSION: &str = concat!(env!("FEDGATE_VERSION"), " (", env!("FEDGATE_COMMIT"), ")");

/// Why the dataplane could not start or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// DPDK.
    #[error(transparent)]
    Dpdk(#[from] dpdk::Error),
    /// Housekeeping.
    #[error(transparent)]
    House(#[from] house::HouseError),
    /// The system's random source.
    #[error("cannot read the system's random source: {0}")]
    Entropy(std::io::Error),
    /// Signals.
    #[error("cannot watch for signals: {0}")]
    Signals(std::io::Error),
    /// Too many workers.
    #[error("{0} workers asked for; there can be {MAX_WORKERS}")]
    Workers(usize),
    /// A worker died.
    #[error("worker {0} panicked: {1}")]
    WorkerPanic(usize, String),
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`LaunchError`].
pub fn run(options: Options) -> Result<(), LaunchError> {
    tracing_subscriber::fmt()
        .with_max_level(options.log)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        // A second signal ends the process at once, should the first one's way down hang.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .map_err(LaunchError::Signals)?;
        signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(LaunchError::Signals)?;
    }

    let workers = options.cpu_workers.len();
    let count = u8::try_from(workers).ok().filter(|n| usize::from(*n) <= MAX_WORKERS);
    let count = count.ok_or(LaunchError::Workers(workers))?;
    let mbufs = options.mbufs.unwrap_or_else(|| buffers(count.into(), options.ports));
    let eal = Eal::init(&EalOptions {
        main_cpu: options.cpu_main,
        worker_cpus: options.cpu_workers.clone(),
        huge: if options.no_huge { Huge::No } else { Huge::Auto },
        memory_mib: options.memory.unwrap_or_else(|| memory_mib(mbufs)),
        pci: options.pci,
        ..EalOptions::default()
    })?;
    let pool = Mempool::new(eal, "fedgate", mbufs, worker::DATA_ROOM, CACHE)?;
    tracing::info!(version = VERSION, hugepages = eal.hugepages(), mbufs, workers, "dataplane starts");

    let (mut house, seats) = House::new(eal, pool, &options.socket, count)?;
    let mut handles = Vec::new();
    let roster = (count > 1).then(|| Arc::new(Roster::new(count.into(), dialog::Limits::default().dialogs)));
    for (index, seat) in seats.into_iter().enumerate() {
        let mut worker = Worker::new(eal, pool, seat, &worker_config(&options, index as u8, count)?);
        if let Some(roster) = &roster {
            worker = worker.of_several(Arc::clone(roster), index);
        }
        let stop = Arc::clone(&stop);
        handles.push(eal.launch(index, move || worker.run(&stop))?);
    }

    let ended = house.run(&stop, || handles.iter().any(|handle| handle.is_finished()));
    stop.store(true, Ordering::Release);
    let joined: Vec<_> = handles.into_iter().map(|handle| handle.join()).collect();
    drop(house);
    for (index, joined) in joined.into_iter().enumerate() {
        joined.map_err(|panic| LaunchError::WorkerPanic(index, panic_text(panic.as_ref())))?;
    }
    tracing::info!("dataplane stops");
    Ok(ended?)
}

/// Buffers that are enough where every queue is full, and for each worker a ring and its cache; the rest is for what waits: for
/// neighbours, for the rest of a datagram. A power of two less one, as pools like it.
fn buffers(workers: u32, ports: u32) -> u32 {
    let queue = PortConfig::default();
    let queues = workers * ports * (u32::from(queue.rx_desc) + u32::from(queue.tx_desc));
    let rings = (workers - 1) * (ROOM * BURST) as u32;
    (queues + rings + workers * CACHE + WAITING).next_power_of_two().max(LEAST_BUFFERS) - 1
}

/// Memory for so many buffers and the EAL's own needs.
fn memory_mib(mbufs: u32) -> u32 {
    let buffers = u64::from(mbufs) * (u64::from(worker::DATA_ROOM) + BESIDE_DATA);
    ((buffers >> 20) as u32 + EAL_MIB).max(LEAST_MIB)
}

/// One worker's part of what there is for all of `workers`.
fn worker_config(options: &Options, worker: u8, workers: u8) -> Result<worker::Config, LaunchError> {
    let mut seed = [0u8; 8];
    let mut source = std::fs::File::open("/dev/urandom").map_err(LaunchError::Entropy)?;
    std::io::Read::read_exact(&mut source, &mut seed).map_err(LaunchError::Entropy)?;
    let share = |all: u32| all.div_ceil(workers.into());
    Ok(worker::Config {
        flow: fedgate_flow::FlowConfig {
            max_conns: share(options.max_conns),
            max_xlates: share(options.max_xlates),
            share: Share { worker: worker.into(), of: workers.into() },
            seed: u64::from_ne_bytes(seed),
        },
        limits: fedgate_proxy::Limits {
            sessions: share(options.max_sessions),
            memory: (options.session_memory << 20) / usize::from(workers),
            workers: u32::from(workers),
            ..fedgate_proxy::Limits::default()
        },
        idle_sleep: options.idle_sleep,
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_grow_with_workers_and_ports() {
        assert_eq!(buffers(1, 4), 32_767);
        for (workers, ports) in [(1, 2), (2, 4), (4, 4), (8, 2), (16, 16)] {
            let all = buffers(workers, ports);
            assert!(all > workers * ports * 2048 + WAITING, "{workers} workers, {ports} ports: {all}");
            assert!(u64::from(memory_mib(all)) << 20 > u64::from(all) * 2432);
        }
        assert!(buffers(8, 4) > buffers(4, 4) && buffers(4, 16) > buffers(4, 4));
    }
}
