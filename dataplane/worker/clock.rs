// SPDX-License-Identifier: MIT OR Apache-2.0
//! The worker's time: the TSC, read once a loop, in the units its parts count in.
//!
//! Microseconds for the proxy, milliseconds for neighbours, tenths of a second for connections, all since the worker
//! began. Derived by one multiply and shift from a scale made at start; no system call. Worker core only.

use fedgate_flow::Tick;
use fedgate_proxy::Micros;

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds.
    pub micros: u64,
}

impl Now {
    /// For the proxy engine.
    pub fn proxy(self) -> Micros {
        Micros(self.micros)
    }

    /// For the connection table.
    pub fn tick(self) -> Tick {
        (self.micros / 100_000) as Tick
    }

    /// For neighbours and the ICMP limit.
    pub fn millis(self) -> u64 {
        self.micros / 1000
    }
}

/// TSC to microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: u64,
    /// Microseconds a TSC tick, times 2^32.
    scale: u64,
}

impl Clock {
    /// Begins at TSC value `origin` of a counter with `hz` ticks a second.
    pub fn new(origin: u64, hz: u64) -> Self {
        Self { origin, scale: ((1_000_000u128 << 32) / u128::from(hz.max(1))) as u64 }
    }

    /// The time at TSC value `tsc`.
    #[inline]
    pub fn at(self, tsc: u64) -> Now {
        let ticks = tsc.wrapping_sub(self.origin);
        Now { micros: ((u128::from(ticks) * u128::from(self.scale)) >> 32) as u64 }
    }

    /// TSC ticks since the origin.
    #[inline]
    pub fn since_origin(self, tsc: u64) -> u64 {
        tsc.wrapping_sub(self.origin)
    }

    /// The TSC value at which the time is `micros`, to within a microsecond: for tests that make their own time.
    #[cfg(test)]
    pub fn tsc_of(self, micros: u64) -> u64 {
        self.origin.wrapping_add((((u128::from(micros) << 32) / u128::from(self.scale)) + 1) as u64)
    }
}
