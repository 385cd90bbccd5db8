// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Environment Abstraction Layer: memory, worker threads and drivers.
//!
//! [`Eal::init`] turns [`EalOptions`] into the arguments of `rte_eal_init`. The
//! choices behind them:
//! - No PCI device is attached at start, whatever is bound to a DPDK driver: a
//!   port exists because the configuration names it ([`Port::probe`](crate::Port::probe)).
//! - No file is left behind but an empty folder in `/run/dpdk`: with hugepages `--in-memory`,
//!   without them `--no-shconf` (EAL refuses `--in-memory --no-huge`); no telemetry socket.
//! - The main thread is lcore 0, worker `i` is lcore `i + 1`, each on the CPU
//!   asked for; two may share a CPU, which small machines and tests need.
//! - Warnings and errors of DPDK go to stderr, and not to syslog.
//!
//! There is no clean-up: EAL lives until the process ends, which is why pools
//! may be `'static`. The kernel takes the memory back, and ports close by `Drop`.

use std::ffi::{CString, c_char, c_int};
use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk_sys as sys;

use crate::cpus::allowed_cpus;
use crate::{Errno, Error, pin_thread};

#[cfg(test)]
mod tests;

/// Worker lcores at most: lcore 0 is the main thread's.
const MAX_WORKERS: usize = sys::RTE_MAX_LCORE as usize - 1;

/// An address that no PCI device has, so that the list of allowed devices is
/// neither empty (which would allow all) nor matches anything.
const NO_PCI_DEVICE: &str = "ffff:ff:1f.7";

static EAL: OnceLock<Eal> = OnceLock::new();

/// Set by the first attempt, failed or not: `rte_eal_init` cannot be repeated.
static TRIED: AtomicBool = AtomicBool::new(false);

/// Whether the packet memory is made of hugepages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Huge {
    /// Hugepages when enough of them are free, else ordinary pages.
    #[default]
    Auto,
    /// Ordinary pages.
    No,
    /// Hugepages, or an error.
    Yes,
}

/// How EAL is to be started.
#[derive(Debug, Clone)]
pub struct EalOptions {
    /// What EAL's messages call the program.
    pub program: String,
    /// The CPU of the calling thread, which stays pinned to it.
    pub main_cpu: u32,
    /// The CPU of each worker, by index; CPUs may repeat.
    pub worker_cpus: Vec<u32>,
    /// Where the packet memory comes from.
    pub huge: Huge,
    /// Packet memory in MiB, all that pools and rings will ever have without hugepages.
    pub memory_mib: u32,
    /// More EAL arguments, put last; they are the operator's word and are not checked.
    pub extra: Vec<String>,
    /// Name of the folder that EAL makes for its run-time files, of which there are none
    /// (`--file-prefix`), so processes may share one.
    pub prefix: String,
    /// Whether PCI devices can be attached later.
    pub pci: bool,
}

impl Default for EalOptions {
    fn default() -> Self {
        EalOptions {
            program: "fedgate".into(),
            main_cpu: 0,
            worker_cpus: Vec::new(),
            huge: Huge::Auto,
            memory_mib: 512,
            extra: Vec::new(),
            prefix: "fedgate".into(),
            pci: false,
        }
    }
}

/// DPDK, initialised. There is one, and it lives as long as the process.
#[derive(Debug)]
pub struct Eal {
    /// One a worker: set while it runs a closure.
    pub(crate) busy: Box<[AtomicBool]>,
    hugepages: bool,
    pci: bool,
    original_cpus: Vec<u32>,
}

impl Eal {
    /// Starts EAL and its worker threads, and pins the calling thread to
    /// `main_cpu`. Threads started from it later inherit that, see
    /// [`Eal::unpin_thread`].
    ///
    /// # Errors
    /// What is wrong with the options, before anything is started; then
    /// [`Error::AlreadyInitialised`] from the second call on, and [`Error::Eal`].
    pub fn init(options: &EalOptions) -> Result<&'static Eal, Error> {
        let allowed = allowed_cpus()?;
        let hugepages = use_hugepages(options.huge, options.memory_mib)?;
        let arguments = arguments(options, hugepages, &allowed)?;
        if TRIED.swap(true, Ordering::AcqRel) {
            return Err(Error::AlreadyInitialised);
        }
        crate::heap::keep();
        // EAL permutes the array and may keep pointers into the strings, so both stay for good.
        let count = c_int::try_from(arguments.len()).map_err(|_| Error::Eal(Errno::EINVAL))?;
        let mut argv: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        argv.push(std::ptr::null_mut());
        let argv: &'static mut [*mut c_char] = argv.leak();
        // SAFETY: stderr is valid for the life of the process; no thread logs before EAL is up.
        // `argv` holds `count` NUL-terminated strings, owned by nobody else, and a NULL behind
        // them; TRIED lets one thread get here once.
        let code = unsafe {
            sys::shim_log_to_stderr();
            sys::rte_eal_init(count, argv.as_mut_ptr())
        };
        if code < 0 {
            return Err(Error::Eal(Errno::last()));
        }
        let eal = Eal {
            busy: options.worker_cpus.iter().map(|_| AtomicBool::new(false)).collect(),
            hugepages,
            pci: options.pci,
            original_cpus: allowed,
        };
        Ok(EAL.get_or_init(|| eal))
    }

    /// EAL, if it was initialised in this process.
    pub fn get() -> Option<&'static Eal> {
        EAL.get()
    }

    /// EAL in a small memory without hugepages or PCI, with two workers, made
    /// at the first call and shared by all tests of a process. The callers'
    /// threads are not pinned.
    ///
    /// # Panics
    /// When EAL does not start: a test cannot go on without it.
    pub fn for_tests() -> &'static Eal {
        static SHARED: OnceLock<&'static Eal> = OnceLock::new();
        SHARED.get_or_init(|| {
            let start = || {
                let cpus = allowed_cpus()?;
                let first = cpus.first().copied().unwrap_or(0);
                Eal::init(&EalOptions {
                    program: "fedgate-test".into(),
                    main_cpu: first,
                    worker_cpus: vec![first, cpus.get(1).copied().unwrap_or(first)],
                    huge: Huge::No,
                    memory_mib: 256,
                    prefix: "fedgate-test".into(),
                    ..EalOptions::default()
                })
            };
            // A thread of its own takes the pinning, and with it lcore 0's mempool cache: no
            // buffer is ever parked there, so tests can count what is in a pool.
            match std::thread::spawn(start).join() {
                Ok(Ok(eal)) => eal,
                Ok(Err(e)) => panic!("EAL for tests: {e}"),
                Err(e) => std::panic::resume_unwind(e),
            }
        })
    }

    /// Workers there are.
    pub fn workers(&self) -> usize {
        self.busy.len()
    }

    /// Whether the packet memory is made of hugepages.
    pub fn hugepages(&self) -> bool {
        self.hugepages
    }

    /// Whether PCI devices can be attached.
    pub fn pci(&self) -> bool {
        self.pci
    }

    /// Ticks of [`tsc`](crate::tsc) a second.
    pub fn tsc_hz(&self) -> u64 {
        // SAFETY: returns a number that EAL measured at start.
        unsafe { sys::rte_get_tsc_hz() }
    }

    /// Gives the calling thread back the CPUs that the process had before EAL
    /// pinned its main thread.
    ///
    /// # Errors
    /// [`Error::Affinity`] when the kernel refuses.
    pub fn unpin_thread(&self) -> Result<(), Error> {
        pin_thread(&self.original_cpus)
    }
}

/// Decides for hugepages or against them.
fn use_hugepages(wish: Huge, memory_mib: u32) -> Result<bool, Error> {
    let free_mib = || fs::read_to_string("/proc/meminfo").map_or(0, |text| free_hugepages_mib(&text));
    match wish {
        Huge::No => Ok(false),
        Huge::Auto => Ok(free_mib() >= memory_mib),
        Huge::Yes => match free_mib() {
            free_mib if free_mib < memory_mib => Err(Error::NoHugepages { needed_mib: memory_mib, free_mib }),
            _ => Ok(true),
        },
    }
}

/// Memory in free hugepages of the default size, from the text of `/proc/meminfo`.
fn free_hugepages_mib(meminfo: &str) -> u32 {
    let field = |name: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    // Reserved pages are promised to somebody although they still count as free.
    let pages = field("HugePages_Free:").saturating_sub(field("HugePages_Rsvd:"));
    u32::try_from(pages.saturating_mul(field("Hugepagesize:")) / 1024).unwrap_or(u32::MAX)
}

/// The command line for `rte_eal_init`.
fn arguments(options: &EalOptions, hugepages: bool, allowed: &[u32]) -> Result<Vec<CString>, Error> {
    let workers = &options.worker_cpus;
    if workers.len() > MAX_WORKERS {
        return Err(Error::TooManyWorkers { asked: workers.len(), max: MAX_WORKERS });
    }
    let cpus = || std::iter::once(&options.main_cpu).chain(workers);
    if let Some(&cpu) = cpus().find(|cpu| !allowed.contains(cpu)) {
        return Err(Error::NoSuchCpu { cpu, allowed: allowed.to_vec() });
    }
    if options.memory_mib == 0 {
        return Err(Error::BadOption { option: "memory".into(), why: "must be at least 1 MiB" });
    }
    // EAL makes a folder of that name.
    if options.prefix.is_empty() || options.prefix.contains('/') || options.prefix.starts_with('.') {
        return Err(Error::BadOption { option: options.prefix.clone(), why: "is no prefix for a file name" });
    }
    let lcores: Vec<String> = cpus().enumerate().map(|(lcore, cpu)| format!("{lcore}@{cpu}")).collect();
    let mut words = vec![
        options.program.clone(),
        format!("--lcores={}", lcores.join(",")),
        "--main-lcore=0".into(),
        "-m".into(),
        options.memory_mib.to_string(),
        format!("--file-prefix={}", options.prefix),
        "--no-telemetry".into(),
        "--log-level=warning".into(),
    ];
    words.extend(match hugepages {
        true => vec!["--in-memory".into()],
        false => vec!["--no-huge".into(), "--no-shconf".into()],
    });
    words.push(match options.pci {
        true => format!("--allow={NO_PCI_DEVICE}"),
        false => "--no-pci".into(),
    });
    words.extend(options.extra.iter().cloned());
    let convert = |word: String| {
        CString::new(word).map_err(|e| Error::BadOption {
            option: String::from_utf8_lossy(&e.into_vec()).into_owned(),
            why: "has a NUL in it",
        })
    };
    words.into_iter().map(convert).collect()
}
