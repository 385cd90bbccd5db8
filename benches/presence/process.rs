// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured: a process with all its children on one CPU, the CPU time they take and the memory they hold.
//!
//! Time is the scheduler's account of all threads, system calls included; memory is the proportional set size, in which pages that
//! several processes share count once. Whatever is started here is killed when it is dropped.

use crate::Failure;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long one may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running process.
pub struct Process(Child);

impl Process {
    /// Starts one on `cpu`; what it says goes into `log`.
    pub fn start(arguments: &[&str], cpu: u32, log: &Path) -> Result<Self, Failure> {
        let said = std::fs::File::create(log)?;
        let mut command = Command::new("taskset");
        command.args(["-c", &cpu.to_string(), "setpriv", "--pdeathsig", "KILL", "--"]).args(arguments);
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().map_err(|e| format!("{}: {e}", arguments[0]))?;
        Ok(Self(child))
    }

    /// Waits until it listens.
    pub fn listens(&mut self, at: SocketAddr, log: &Path) -> Result<(), Failure> {
        let start = Instant::now();
        while TcpStream::connect(at).is_err() {
            if start.elapsed() > PATIENCE || self.0.try_wait()?.is_some() {
                return Err(format!("it does not start: {}", std::fs::read_to_string(log)?).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Seconds of a CPU that all of its processes have had.
    pub fn busy(&self) -> f64 {
        family(self.0.id()).into_iter().flat_map(threads).map(run_time).sum::<u64>() as f64 / 1e9
    }

    /// Mebibytes that all of its processes hold.
    pub fn mebibytes(&self) -> f64 {
        family(self.0.id()).into_iter().map(set_size).sum::<u64>() as f64 / 1024.0
    }

    /// Ends it by SIGTERM.
    pub fn quit(mut self) -> Result<(), Failure> {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status()?;
        let start = Instant::now();
        while self.0.try_wait()?.is_none() && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for pid in family(self.0.id()) {
            // Gone already, mostly.
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        let _ = self.0.wait();
    }
}

/// A process and its children, theirs included.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while next < all.len() {
        for (_, task) in threads(all[next]) {
            let children = std::fs::read_to_string(format!("/proc/{}/task/{task}/children", all[next]));
            let children = children.unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

fn threads(pid: u32) -> Vec<(u32, u32)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| Some((pid, task.file_name().to_str()?.parse().ok()?))).collect()
}

/// Nanoseconds that a thread has run.
fn run_time((pid, task): (u32, u32)) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{task}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Kibibytes.
fn set_size(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}

/// A port that is free now.
pub fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
