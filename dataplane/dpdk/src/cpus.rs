// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which CPUs a thread runs on.
//!
//! `rte_eal_init` pins the thread that calls it to the main CPU, and threads
//! started later inherit the mask of the thread that starts them: a runtime or
//! a helper thread would silently share one CPU with housekeeping, or worse,
//! with a worker. So such threads say where they want to be with
//! [`pin_thread`]. These calls act on the calling thread only and need no EAL.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::Error;

/// Moves the calling thread to `cpus`, any of which it may then run on.
///
/// # Errors
/// [`Error::NoSuchCpu`] for a number beyond what the kernel's mask can name,
/// [`Error::Affinity`] when the kernel refuses (no such CPU, or none given).
pub fn pin_thread(cpus: &[u32]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        let bit = usize::try_from(cpu).unwrap_or(usize::MAX);
        if bit >= CpuSet::MAX_CPU {
            return Err(Error::NoSuchCpu { cpu, allowed: allowed_cpus()? });
        }
        set.set(bit);
    }
    sched_setaffinity(None, &set).map_err(|e| Error::Affinity { cpus: cpus.to_vec(), source: e.into() })
}

/// The CPUs that the calling thread may run on, in ascending order.
///
/// # Errors
/// [`Error::Affinity`] when the kernel does not say.
pub fn allowed_cpus() -> Result<Vec<u32>, Error> {
    let set = sched_getaffinity(None).map_err(|e| Error::Affinity { cpus: Vec::new(), source: e.into() })?;
    Ok((0u32..).take(CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu as usize)).collect())
}
