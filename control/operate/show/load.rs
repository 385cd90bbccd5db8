// SPDX-License-Identifier: MIT OR Apache-2.0
//! `show cpu` and `show memory`: how busy the workers are, and where memory is.
//!
//! A worker polls, so the kernel sees it always busy. What counts is the share of its cycles that went into loops that found work, which it
//! counts itself. The daemon notes both counts each second for five minutes ([`Load`]); a share is the difference to then.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fedgate_tables::counters::{Counter, Gauge, Stat};
use serde_json::json;

use super::attached;
use crate::operate::daemon::{Attached, Daemon};
use crate::operate::run::Stop;
use crate::operate::server::Out;

/// The ASA's three.
const WINDOWS: [u64; 3] = [5, 60, 300];

/// A worker's cycles so far: busy, and all.
type Cycles = [u64; 2];

/// What the workers' counters stood at, each second of the last five minutes.
#[derive(Default)]
pub struct Load {
    then: RefCell<VecDeque<(Instant, Vec<Cycles>)>>,
}

impl Load {
    /// Notes the counters; once a second. Without a dataplane what was noted is of no use any more.
    pub fn note(&self, attached: Option<&Attached>) {
        match attached {
            Some(attached) => self.keep(Instant::now(), cycles(attached)),
            None => self.then.borrow_mut().clear(),
        }
    }

    fn keep(&self, now: Instant, cycles: Vec<Cycles>) {
        let mut then = self.then.borrow_mut();
        let oldest = Duration::from_secs(WINDOWS[2] + 1);
        while then.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > oldest) {
            then.pop_front();
        }
        then.push_back((now, cycles));
    }

    /// Per cent of its cycles that each worker was busy for in the last 5 seconds, minute and 5 minutes; what is not that old
    /// is counted from its beginning.
    fn shares(&self, now: Instant, cycles: &[Cycles]) -> Vec<[f64; 3]> {
        let then = self.then.borrow();
        let share = |worker: usize, window: u64| {
            let age = |at: &Instant| now.saturating_duration_since(*at);
            let from = then
                .iter()
                .find(|(at, _)| age(at) <= Duration::from_secs(window) + Duration::from_millis(500));
            let before = from.and_then(|(_, cycles)| cycles.get(worker)).copied().unwrap_or_default();
            let [busy, all] = [0, 1].map(|i| cycles[worker][i].saturating_sub(before[i]));
            if all == 0 { 0.0 } else { (busy as f64 * 100.0 / all as f64).min(100.0) }
        };
        (0..cycles.len()).map(|worker| WINDOWS.map(|window| share(worker, window))).collect()
    }
}

fn cycles(attached: &Attached) -> Vec<Cycles> {
    let of = |worker, counter| attached.counters.of(worker, counter);
    let worker = |n| [of(n, Counter::Stat(Stat::CyclesBusy)), of(n, Counter::Gauge(Gauge::CyclesAll))];
    (0..attached.counters.workers()).map(worker).collect()
}

/// `show cpu [detailed]`
pub async fn cpu(daemon: &Daemon, detailed: bool, out: &mut Out) -> Result<(), Stop> {
    let attached = attached(daemon)?;
    let shares = daemon.load().shares(Instant::now(), &cycles(&attached));
    let mean = |window: usize| shares.iter().map(|s| s[window]).sum::<f64>() / shares.len().max(1) as f64;
    let all = [0, 1, 2].map(mean);
    if detailed {
        out.note("Break down of per-core data path cpu usage:\nCore         5 sec     1 min     5 min\n")
            .await?;
        for (worker, share) in shares.iter().enumerate() {
            let json = || json!({ "core": worker, "five_seconds": share[0], "one_minute": share[1], "five_minutes": share[2] });
            out.row(|| core_line(worker, share), json).await?;
        }
        out.note("\n").await?;
    }
    let json =
        || json!({ "core": null, "five_seconds": all[0], "one_minute": all[1], "five_minutes": all[2] });
    Ok(out.row(|| total_line(all), json).await?)
}

fn core_line(worker: usize, share: &[f64; 3]) -> String {
    let [five, minute, minutes] = share.map(|share| format!("{share:.1}%"));
    format!("Core {worker:<6}{five:>7}   {minute:>7}   {minutes:>7}")
}

fn total_line([five, minute, minutes]: [f64; 3]) -> String {
    format!("CPU utilization for 5 seconds = {five:.0}%; 1 minute: {minute:.0}%; 5 minutes: {minutes:.0}%")
}

/// `show memory`: the machine's, and what of it the two processes and the packet buffers have.
pub async fn memory(daemon: &Daemon, out: &mut Out) -> Result<(), Stop> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let field = |name| kib(&text, name).ok_or_else(|| Stop::Failed(format!("/proc/meminfo has no {name}")));
    let (total, free) = (field("MemTotal:")?, field("MemAvailable:")?);
    let used = total.saturating_sub(free);
    let attached = daemon.attached();
    let control = resident(std::process::id());
    let dataplane = attached.as_ref().and_then(|attached| resident(attached.session.greeting.pid));
    let mbufs = attached.as_ref().map(|a| a.counters.sum(Counter::Gauge(Gauge::MbufsInUse)));
    out.row(
        || {
            let processes: String = [("control", control), ("dataplane", dataplane)]
                .iter()
                .filter_map(|(name, bytes)| {
                    bytes.map(|bytes| format!("\n{name} process: {bytes:>16} bytes resident"))
                })
                .collect();
            let buffers = mbufs.map_or(String::new(), |mbufs| format!("\npacket buffers in use: {mbufs}"));
            format!("{}{processes}{buffers}", memory_text(free, used, total))
        },
        || {
            json!({
                "free": free, "used": used, "total": total, "control": control, "dataplane": dataplane,
                "packet_buffers": mbufs,
            })
        },
    )
    .await?;
    Ok(())
}

/// Bytes of memory that a process has.
pub fn resident(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib(&text, "VmRSS:")
}

fn memory_text(free: u64, used: u64, total: u64) -> String {
    let part = |bytes: u64| (bytes * 100 + total / 2).checked_div(total).unwrap_or(0);
    format!(
        "Free memory:  {free:>16} bytes ({:>2}%)\nUsed memory:  {used:>16} bytes ({:>2}%)\n\
         -------------     ------------------\nTotal memory: {total:>16} bytes (100%)",
        part(free),
        part(used)
    )
}

/// Bytes that a line of /proc states in kB.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_their_own_window() {
        let (load, start) = (Load::default(), Instant::now());
        // Idle for 295 seconds, then half busy; 1,000 cycles a second. The second worker begins to count late.
        let at = |second: u64| vec![[500 * second.saturating_sub(295), 1000 * second], [0, 0]];
        for second in 0..=400 {
            load.keep(start + Duration::from_secs(second), at(second.min(300)));
        }
        assert!(load.then.borrow().len() <= 302, "bounded");
        let load = Load::default();
        for second in 0..=300 {
            load.keep(start + Duration::from_secs(second), at(second));
        }
        let shares = load.shares(start + Duration::from_secs(300), &at(300));
        let rounded: Vec<[i64; 3]> = shares.iter().map(|s| s.map(|x| (x * 100.0).round() as i64)).collect();
        assert_eq!(rounded, [[5000, 417, 83], [0, 0, 0]]);
    }

    #[test]
    fn layouts_are_the_asas() {
        assert_eq!(
            total_line([12.4, 3.0, 0.2]),
            "CPU utilization for 5 seconds = 12%; 1 minute: 3%; 5 minutes: 0%"
        );
        assert_eq!(core_line(0, &[1.25, 30.0, 100.0]), "Core 0        1.2%     30.0%    100.0%");
        assert_eq!(
            memory_text(845_044_716, 228_697_108, 1_073_741_824),
            "Free memory:         845044716 bytes (79%)\nUsed memory:         228697108 bytes (21%)\n\
             -------------     ------------------\nTotal memory:       1073741824 bytes (100%)"
        );
        assert_eq!(kib("MemTotal:  16 kB\nMemFree: 2 kB\n", "MemFree:"), Some(2048));
        assert_eq!(kib("MemTotal: x kB", "MemTotal:"), None);
    }
}
