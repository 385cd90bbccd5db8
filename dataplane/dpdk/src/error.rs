// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong while DPDK is set up.
//!
//! One enum for the whole crate, because its callers do the same with each:
//! print it and refuse the configuration. Every variant names the thing that
//! failed as the operator wrote it. DPDK's own return codes are kept as
//! [`Errno`]; the drivers say more than a number holds in their log, which goes
//! to stderr. Slow path only: nothing here is made while packets are handled.

use std::ffi::{CStr, c_int};
use std::fmt;

/// An errno value, or one of DPDK's own above 1000; always positive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub(crate) const ENOENT: Errno = Errno(2);
    pub(crate) const ENOMEM: Errno = Errno(12);
    pub(crate) const EFAULT: Errno = Errno(14);
    pub(crate) const EBUSY: Errno = Errno(16);
    pub(crate) const EEXIST: Errno = Errno(17);
    pub(crate) const ENODEV: Errno = Errno(19);
    pub(crate) const EINVAL: Errno = Errno(22);
    pub(crate) const ENAMETOOLONG: Errno = Errno(36);
    pub(crate) const ENOTSUP: Errno = Errno(95);

    /// `rte_errno` of this thread, for the calls that report by it.
    pub(crate) fn last() -> Errno {
        // SAFETY: reads a variable of the calling thread.
        Errno(unsafe { dpdk_sys::shim_errno() }.abs())
    }

    /// The result of a call that returns a negative errno when it fails.
    /// (-1 with `rte_errno` set is not told apart from EPERM; the callers of
    /// such functions use [`Errno::last`].)
    pub(crate) fn check(code: c_int) -> Result<u32, Errno> {
        u32::try_from(code).map_err(|_| Errno(code.saturating_abs()))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: rte_strerror takes any number and gives a NUL-terminated string in a buffer
        // of this thread, which nothing overwrites before it is printed here.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(self.0)) };
        write!(f, "{} ({})", text.to_string_lossy(), self.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why something of DPDK could not be set up, read or closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// EAL can be initialised once in the life of a process, even if that failed.
    #[error("DPDK's EAL was initialised before in this process, and can be only once")]
    AlreadyInitialised,
    /// A CPU that this machine or this process's affinity mask does not have.
    #[error("CPU {cpu} is not among those this process may use ({allowed:?})")]
    NoSuchCpu {
        /// The CPU that was asked for.
        cpu: u32,
        /// Those that there are.
        allowed: Vec<u32>,
    },
    /// More workers than DPDK has lcores for.
    #[error("{asked} workers asked for, at most {max} are possible")]
    TooManyWorkers {
        /// Workers asked for.
        asked: usize,
        /// Workers possible.
        max: usize,
    },
    /// An option that cannot be handed to EAL.
    #[error("EAL option {option:?}: {why}")]
    BadOption {
        /// The option as given.
        option: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// [`Huge::Yes`](crate::Huge::Yes) and not enough free hugepages.
    #[error(
        "{needed_mib} MiB of hugepages are needed and {free_mib} MiB are free; \
         set vm.nr_hugepages, or run without hugepages"
    )]
    NoHugepages {
        /// Memory asked for.
        needed_mib: u32,
        /// Memory in free hugepages of the default size.
        free_mib: u32,
    },
    /// EAL would not start; its log says more.
    #[error("DPDK's EAL does not start: {0}; its messages above say why")]
    Eal(Errno),
    /// The CPU mask of a thread could not be set or read.
    #[error("cannot move a thread to CPUs {cpus:?}: {source}")]
    Affinity {
        /// The CPUs asked for.
        cpus: Vec<u32>,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// No worker of that index.
    #[error("there is no worker {index}; there are {count}")]
    NoSuchWorker {
        /// The index asked for.
        index: usize,
        /// Workers there are.
        count: usize,
    },
    /// The worker still runs what it was launched with.
    #[error("worker {0} is busy")]
    WorkerBusy(usize),
    /// The worker could not be woken.
    #[error("worker {index} cannot be started: {errno}")]
    Launch {
        /// The worker.
        index: usize,
        /// EAL's answer.
        errno: Errno,
    },
    /// A pool that cannot be made.
    #[error("mbuf pool {name:?} cannot be made: {errno}{}", pool_hint(*.errno))]
    Mempool {
        /// The name asked for.
        name: String,
        /// DPDK's answer.
        errno: Errno,
    },
    /// A device description that cannot be one.
    #[error("device {devargs:?}: {why}")]
    BadDevargs {
        /// The description as given.
        devargs: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No driver took the device.
    #[error("device {devargs:?} cannot be attached: {errno}{}", probe_hint(*.errno))]
    Probe {
        /// The description as given.
        devargs: String,
        /// DPDK's answer.
        errno: Errno,
    },
    /// A driver took the device, but it is no Ethernet port, or more than one.
    #[error("device {device:?} was attached but is not one Ethernet port")]
    NotAPort {
        /// The device's name.
        device: String,
    },
    /// A setting beyond what the device or the pool can do.
    #[error("port {device}: {what} is {asked}, but must be between {min} and {max}")]
    Limit {
        /// The device's name.
        device: String,
        /// The setting.
        what: &'static str,
        /// What was asked for.
        asked: u32,
        /// The least possible.
        min: u32,
        /// The most possible.
        max: u32,
    },
    /// The device refused an operation.
    #[error("port {device}: {what}: {errno}")]
    Port {
        /// The device's name.
        device: String,
        /// The operation.
        what: &'static str,
        /// The driver's answer.
        errno: Errno,
    },
    /// An operation that does not fit the port's state.
    #[error("port {device}: cannot {what} while the port is {state}")]
    State {
        /// The device's name.
        device: String,
        /// The operation.
        what: &'static str,
        /// The state it is in.
        state: &'static str,
    },
    /// No queue of that index.
    #[error("port {device} has no {side} queue {index}; it has {count}")]
    NoSuchQueue {
        /// The device's name.
        device: String,
        /// Receive or transmit.
        side: &'static str,
        /// The index asked for.
        index: u16,
        /// Queues there are.
        count: u16,
    },
    /// A queue that has an owner already.
    #[error("{side} queue {index} of port {device} is taken")]
    QueueTaken {
        /// The device's name.
        device: String,
        /// Receive or transmit.
        side: &'static str,
        /// The queue.
        index: u16,
    },
    /// An operation that must wait until the queues have been dropped.
    #[error("port {device}: its queues are still in use")]
    QueuesInUse {
        /// The device's name.
        device: String,
    },
}

fn pool_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EEXIST => "; that name is taken",
        Errno::ENOMEM => "; not enough memory: raise memory_mib, or make it smaller",
        Errno::ENAMETOOLONG => "; the name is too long",
        _ => "",
    }
}

fn probe_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EEXIST => "; it is attached already",
        Errno::ENODEV | Errno::ENOENT => "; there is no such device",
        Errno::ENOTSUP => {
            "; no driver takes it (a PCI device must be bound to vfio-pci or uio_pci_generic first)"
        }
        // EFAULT is how EAL says that no bus knows the name.
        Errno::EFAULT => "; no driver of that name is installed",
        Errno::EINVAL => "; an argument that the driver does not take",
        _ => "; the driver's messages above say why",
    }
}
