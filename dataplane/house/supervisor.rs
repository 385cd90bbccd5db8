// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the supervisor that started us (systemd, `Type=notify`, `WatchdogSec=`) is told: that the socket for control is there, and from then on
//! that every worker still turns. It kills us and starts anew where nothing comes for the time it set.
//!
//! A worker that polls writes its cycles at each turn ([`Gauge::CyclesAll`]); one that hangs in a loop or a driver does not, and then
//! nothing is told, however well housekeeping itself does. Housekeeping's thread alone; without a supervisor it does nothing. A
//! quarter of the supervisor's time passes between looks.

use fedgate_tables::counters::{Counter, Counters, CountersReader, Gauge};
use fedgate_tables::region::{Region, Shared};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// See the module.
pub struct Supervisor {
    /// Between looks; none where no supervisor waits.
    every: Option<Duration>,
    looked: Instant,
    /// Each worker's cycles at the last look.
    cycles: Vec<u64>,
    counters: CountersReader<Arc<Region<Shared>>>,
}

impl Supervisor {
    /// Tells the supervisor that we are there.
    pub fn greet(counters: &Counters) -> Self {
        tell(sd_notify::NotifyState::Ready);
        Self::every(counters, sd_notify::watchdog_enabled().map(|time| time / 4))
    }

    /// One that looks in these intervals.
    pub fn every(counters: &Counters, every: Option<Duration>) -> Self {
        let counters = counters.reader();
        Self { every, looked: Instant::now(), cycles: vec![0; counters.workers()], counters }
    }

    /// Looks, when it is time. Workers that have no policy yet need not turn: they wait for one.
    pub fn look(&mut self, policy: bool) {
        if self.every.is_some_and(|every| self.looked.elapsed() >= every) {
            self.looked = Instant::now();
            if self.all_turn() || !policy {
                tell(sd_notify::NotifyState::Watchdog);
            } else {
                tracing::error!("a worker has not turned since the last look");
            }
        }
    }

    /// Whether every worker has turned since this was last asked.
    pub fn all_turn(&mut self) -> bool {
        let counters = &self.counters;
        let turned = |(worker, before): (usize, &mut u64)| {
            let now = counters.of(worker, Counter::Gauge(Gauge::CyclesAll));
            std::mem::replace(before, now) != now
        };
        // All are looked at, so no `all`.
        self.cycles.iter_mut().enumerate().map(turned).fold(true, |all, turned| all & turned)
    }
}

fn tell(state: sd_notify::NotifyState) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor cannot be told");
    }
}
