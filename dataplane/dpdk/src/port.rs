// SPDX-License-Identifier: MIT OR Apache-2.0
//! An Ethernet port: attach, configure, start, read, close.
//!
//! ```text
//! probe -> [attached] -configure-> [configured] -start-> [started] -take_queue-> queues
//!                                       ^------stop (no queue out)------'
//! ```
//! The device is shared by the [`Port`] and the queues taken from it, and is
//! stopped, closed and detached when the last of them is dropped. Whatever changes
//! it needs it alone, which `Arc::get_mut` proves: so nothing is reconfigured, stopped
//! or closed under a worker that polls. Queues are only given out by a started port.
//!
//! Called from housekeeping. Attaching and detaching take a lock of the process,
//! because DPDK's device lists have none. Detaching from a worker works too (that one
//! held the last queue) but takes milliseconds: hand queues back before the port goes.
//!
//! Limits: no offloads are configured but the receive hash ([`rss`]), which is asked for where
//! [`PortConfig::rss`] stands; at most 64 queues a side.

use std::cell::Cell;
use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dpdk_sys as sys;

use crate::{Burst, Eal, Errno, Error, Link, Mempool, RxQueue, Stats, TxQueue, queue, stats};

mod devargs;
mod rss;
#[cfg(test)]
mod tests;

pub use rss::{Abilities, RSS_KEY_LEN, RSS_TABLE, Rss, Spread};

/// Queues a side at most: those taken are bits of a word.
const MAX_QUEUES: u16 = 64;

/// What a frame has beyond its MTU in a buffer: Ethernet header and one VLAN tag.
const FRAME_OVERHEAD: u16 = 18;

/// What every link that carries IPv4 must pass on whole (RFC 791 section 3.2).
const LEAST_MTU: u16 = 68;

/// "Any NUMA node", to DPDK.
const ANY_SOCKET: u32 = u32::MAX;

/// Held while a device is attached or detached.
static DEVICES: Mutex<()> = Mutex::new(());

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Attached,
    Configured,
    Started,
    Closed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Attached => "not configured",
            State::Configured => "stopped",
            State::Started => "started",
            State::Closed => "closed",
        }
    }
}

/// How a port is to be set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive queues, at least 1.
    pub rx_queues: u16,
    /// Transmit queues, at least 1.
    pub tx_queues: u16,
    /// Descriptors a receive queue; brought to what the device can do.
    pub rx_desc: u16,
    /// Descriptors a transmit queue; brought to what the device can do.
    pub tx_desc: u16,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// How frames are dealt out to the receive queues. Without it everything comes by queue 0, as far as it is for us to say.
    pub rss: Option<Rss>,
}

impl Default for PortConfig {
    fn default() -> Self {
        PortConfig { rx_queues: 1, tx_queues: 1, rx_desc: 1024, tx_desc: 1024, mtu: 1500, rss: None }
    }
}

/// A device, attached. Shared by the port and its queues.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: u16,
    name: String,
    driver: String,
    /// What EAL calls the device; valid until it is removed.
    raw: NonNull<sys::rte_device>,
    state: State,
    rx_queues: u16,
    tx_queues: u16,
    /// Some drivers read the key when the port starts, by the pointer that they were given when it was configured.
    rss: Option<Box<Rss>>,
    spread: Option<Spread>,
    /// Bit i: receive queue i has an owner.
    pub(crate) rx_taken: AtomicU64,
    /// Bit i: transmit queue i has an owner.
    pub(crate) tx_taken: AtomicU64,
}

// SAFETY: `raw` is only used when the device is shut, by the one thread that drops it, under DEVICES.
unsafe impl Send for Device {}
// SAFETY: shared references read plain fields and use atomics.
unsafe impl Sync for Device {}

impl Device {
    /// Names the device and what was being done in an error.
    fn check(&self, what: &'static str, code: i32) -> Result<u32, Error> {
        Errno::check(code).map_err(|errno| Error::Port { device: self.name.clone(), what, errno })
    }

    fn info(&self) -> Result<sys::rte_eth_dev_info, Error> {
        info(self.id).map_err(|errno| Error::Port { device: self.name.clone(), what: "info", errno })
    }

    /// Stops, closes and detaches; the first error is told, but nothing is left out for it.
    fn shut(&mut self) -> Result<(), Error> {
        if self.state == State::Closed {
            return Ok(());
        }
        let _guard = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state == State::Started && self.driver == "net_ring" {
            self.empty_rings();
        }
        self.state = State::Closed;
        // SAFETY: `&mut self` means that no queue of this port is left to poll it. The order is
        // what DPDK asks for; stopping a port that is not started is allowed. `raw` was taken
        // from the live device and is used for the last time here.
        let (stop, close, remove) = unsafe {
            (
                sys::rte_eth_dev_stop(self.id),
                sys::rte_eth_dev_close(self.id),
                sys::rte_dev_remove(self.raw.as_ptr()),
            )
        };
        self.check("stop", stop)?;
        self.check("close", close)?;
        self.check("detach", remove)?;
        Ok(())
    }

    /// The ring driver frees its rings on close, but not the mbufs in them.
    fn empty_rings(&self) {
        for index in 0..self.rx_queues {
            let mut frames = Burst::new();
            // SAFETY: the port is started, the queue exists, and `&mut self` of the caller
            // means that nobody else polls it.
            while unsafe { queue::receive(self.id, index, &mut frames) }.taken > 0 {
                frames.clear();
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // There is nobody to tell; the driver has logged what went wrong.
        let _ = self.shut();
    }
}

fn info(id: u16) -> Result<sys::rte_eth_dev_info, Errno> {
    let mut info = MaybeUninit::<sys::rte_eth_dev_info>::zeroed();
    // SAFETY: the callee fills in the struct, which is valid when zeroed, and checks the port.
    unsafe {
        Errno::check(sys::rte_eth_dev_info_get(id, info.as_mut_ptr()))?;
        Ok(info.assume_init())
    }
}

/// The number of the port that has this name, if there is one.
fn port_named(name: &CStr) -> Option<u16> {
    let mut id = 0u16;
    // SAFETY: two pointers to what they should point to.
    let code = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &mut id) };
    (code == 0).then_some(id)
}

/// An Ethernet port. `Send`, to be set up anywhere, but not `Sync`: drivers do
/// not promise that two threads may read or change one at the same time.
#[derive(Debug)]
pub struct Port {
    device: Arc<Device>,
    _not_sync: PhantomData<Cell<()>>,
}

impl Port {
    /// Attaches the device that `devargs` describes as DPDK does: a virtual one
    /// (`net_tap0,iface=x`, `net_memif0,role=server`, `net_null0`) or a PCI
    /// address (`0000:03:00.0`, `03:00.0`), arguments behind commas.
    ///
    /// # Errors
    /// [`Error::BadDevargs`], [`Error::Probe`] and [`Error::NotAPort`].
    pub fn probe(eal: &'static Eal, devargs: &str) -> Result<Port, Error> {
        let described = devargs::parse(devargs, eal.pci())?;
        let name = described.name;
        let no_nul = |_| Error::BadDevargs { devargs: devargs.to_owned(), why: "has a NUL in it" };
        let c_devargs = CString::new(described.devargs).map_err(no_nul)?;
        let c_name = CString::new(name.as_str()).map_err(no_nul)?;

        let _guard = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
        let refuse = |errno| Error::Probe { devargs: devargs.to_owned(), errno };
        // DPDK says "done" to a device that it has already, which would make two owners of it.
        if port_named(&c_name).is_some() {
            return Err(refuse(Errno::EEXIST));
        }
        // SAFETY: EAL is up and the lock is held; the string is copied by the callee.
        Errno::check(unsafe { sys::rte_dev_probe(c_devargs.as_ptr()) }).map_err(refuse)?;
        let id = port_named(&c_name).ok_or_else(|| Error::NotAPort { device: name.clone() })?;
        let info = info(id).map_err(refuse)?;
        let raw = NonNull::new(info.device).ok_or_else(|| Error::NotAPort { device: name.clone() })?;
        let driver = match info.driver_name.is_null() {
            true => String::new(),
            // SAFETY: not null, and a string constant of the driver.
            false => unsafe { CStr::from_ptr(info.driver_name) }.to_string_lossy().into_owned(),
        };
        let device = Device {
            id,
            name,
            driver,
            raw,
            state: State::Attached,
            rx_queues: 0,
            tx_queues: 0,
            rss: None,
            spread: None,
            rx_taken: AtomicU64::new(0),
            tx_taken: AtomicU64::new(0),
        };
        Ok(Port { device: Arc::new(device), _not_sync: PhantomData })
    }

    /// Sets up the queues. `pool` gives the buffers for what is received; most
    /// drivers take one a receive descriptor at once and keep them. May be called again while the
    /// port is stopped.
    ///
    /// # Errors
    /// [`Error::Limit`] for what the device or the pool cannot do, [`Error::State`] on a
    /// started port, [`Error::Port`] for what the driver refuses.
    pub fn configure(&mut self, config: &PortConfig, pool: Mempool) -> Result<(), Error> {
        let device = self.exclusive("configure", &[State::Attached, State::Configured])?;
        let info = device.info()?;
        let limit = |what, asked: u16, min: u16, max: u16| match (min..=max).contains(&asked) {
            true => Ok(()),
            false => {
                let (asked, min, max) = (asked.into(), min.into(), max.into());
                Err(Error::Limit { device: device.name.clone(), what, asked, min, max })
            }
        };
        limit("rx queues", config.rx_queues, 1, info.max_rx_queues.min(MAX_QUEUES))?;
        limit("tx queues", config.tx_queues, 1, info.max_tx_queues.min(MAX_QUEUES))?;
        let room = pool.data_room().saturating_sub(FRAME_OVERHEAD);
        let least = info.min_mtu.max(LEAST_MTU);
        limit("mtu", config.mtu, least, largest_mtu(&info).min(room))?;

        let mut wanted = sys::rte_eth_conf::default();
        wanted.rxmode.mtu = config.mtu.into();
        if let Some(rss) = &config.rss {
            let last = rss.table.iter().copied().max().unwrap_or_default();
            limit("rss table's last queue", last, 0, config.rx_queues - 1)?;
        }
        device.rss = config.rss.clone().map(Box::new);
        let spread = device.rss.as_deref_mut().and_then(|rss| rss::ask(&mut wanted, &info, &mut rss.key));
        let (mut rx_desc, mut tx_desc) = (config.rx_desc, config.tx_desc);
        let id = device.id;
        device.state = State::Attached;
        // SAFETY: the port exists and is not started, and nobody else has it; the struct is
        // copied by the callee.
        let code = unsafe { sys::rte_eth_dev_configure(id, config.rx_queues, config.tx_queues, &wanted) };
        device.check("configure", code)?;
        // SAFETY: the callee checks the port and clamps the two numbers.
        let code = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx_desc, &mut tx_desc) };
        device.check("choose descriptors", code)?;
        // SAFETY: as for configure.
        match unsafe { sys::rte_eth_dev_set_mtu(id, config.mtu) } {
            // A driver without the call takes the MTU of `rxmode`.
            code if code == -Errno::ENOTSUP.0 => (),
            code => drop(device.check("set the mtu", code)?),
        }
        for queue in 0..config.rx_queues {
            // SAFETY: the queue is in the range just configured; NULL stands for the driver's
            // defaults; the pool lives for ever.
            let code = unsafe {
                sys::rte_eth_rx_queue_setup(id, queue, rx_desc, ANY_SOCKET, ptr::null(), pool.as_ptr())
            };
            device.check("set up a receive queue", code)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: as above.
            let code = unsafe { sys::rte_eth_tx_queue_setup(id, queue, tx_desc, ANY_SOCKET, ptr::null()) };
            device.check("set up a transmit queue", code)?;
        }
        (device.rx_queues, device.tx_queues) = (config.rx_queues, config.tx_queues);
        device.spread = spread;
        device.state = State::Configured;
        Ok(())
    }

    /// Starts a configured port.
    ///
    /// # Errors
    /// [`Error::State`], and [`Error::Port`] for what the driver refuses.
    pub fn start(&mut self) -> Result<(), Error> {
        let device = self.exclusive("start", &[State::Configured])?;
        // SAFETY: configured, not started, and nobody else has it.
        device.check("start", unsafe { sys::rte_eth_dev_start(device.id) })?;
        device.state = State::Started;
        if let Some(rss) = device.rss.as_deref().filter(|_| device.spread.is_some()) {
            match rss::deal(device.id, device.info()?.reta_size, &rss.table) {
                Ok(()) => {}
                // Frames still come, only not by a queue that can be foretold.
                Err(Errno::ENOTSUP) => device.spread = None,
                Err(errno) => drop(device.check("deal out queues", -errno.0)?),
            }
        }
        Ok(())
    }

    /// Stops a started port, whose queues must all have been dropped.
    ///
    /// # Errors
    /// [`Error::QueuesInUse`], [`Error::State`], and [`Error::Port`] for what the driver refuses.
    pub fn stop(&mut self) -> Result<(), Error> {
        let device = self.exclusive("stop", &[State::Started])?;
        // SAFETY: started, and no queue is out.
        device.check("stop", unsafe { sys::rte_eth_dev_stop(device.id) })?;
        device.state = State::Configured;
        Ok(())
    }

    /// Closes and detaches the device now, and says what went wrong. (Dropping
    /// the port does the same and says nothing.)
    ///
    /// # Errors
    /// [`Error::QueuesInUse`]: the device closes when the last queue is dropped.
    /// [`Error::Port`]: the driver refused a step; the others were done.
    pub fn close(self) -> Result<(), Error> {
        let device = self.device.name.clone();
        match Arc::try_unwrap(self.device) {
            Ok(mut alone) => alone.shut(),
            Err(_shared) => Err(Error::QueuesInUse { device }),
        }
    }

    /// What the device can be asked for.
    ///
    /// # Errors
    /// [`Error::Port`] when the driver does not say.
    pub fn abilities(&self) -> Result<Abilities, Error> {
        self.device.info().map(|info| Abilities::of(&info))
    }

    /// By what the started port deals frames out to its receive queues; `None` where that cannot be foretold.
    pub fn spread(&self) -> Option<Spread> {
        self.device.spread
    }

    /// Another key for the receive hash of a started port that [`Port::spread`]s. Queues may be polled meanwhile; frames of one
    /// flow may then come by two queues for a moment.
    ///
    /// # Errors
    /// [`Error::Port`] for what the driver refuses; the old key stays.
    pub fn set_rss_key(&mut self, key: &[u8; RSS_KEY_LEN]) -> Result<(), Error> {
        let info = self.device.info()?;
        rss::rekey(self.device.id, &info, key)
            .map_err(|errno| self.refused("set the receive hash's key", errno))
    }

    /// Receive queue `index` of a started port, which has one owner at a time.
    ///
    /// # Errors
    /// [`Error::State`], [`Error::NoSuchQueue`], [`Error::QueueTaken`].
    pub fn take_rx(&self, index: u16) -> Result<RxQueue, Error> {
        let device = &self.device;
        self.claim("receive", index, device.rx_queues, &device.rx_taken)?;
        Ok(RxQueue::new(Arc::clone(device), index))
    }

    /// Transmit queue `index` of a started port, which has one owner at a time.
    ///
    /// # Errors
    /// As [`Port::take_rx`].
    pub fn take_tx(&self, index: u16) -> Result<TxQueue, Error> {
        let device = &self.device;
        self.claim("transmit", index, device.tx_queues, &device.tx_taken)?;
        Ok(TxQueue::new(Arc::clone(device), index))
    }

    /// Both queues `index`, as a worker wants them.
    ///
    /// # Errors
    /// As [`Port::take_rx`]; neither is taken then.
    pub fn take_queue(&self, index: u16) -> Result<(RxQueue, TxQueue), Error> {
        let rx = self.take_rx(index)?;
        Ok((rx, self.take_tx(index)?))
    }

    /// The device's name: `net_tap0`, `0000:03:00.0`.
    pub fn name(&self) -> &str {
        &self.device.name
    }

    /// The driver's name: `net_tap`.
    pub fn driver(&self) -> &str {
        &self.device.driver
    }

    /// The device's MAC address. For `net_tap` it is that of the kernel's
    /// interface too, so whoever talks to the kernel over it needs another one.
    ///
    /// # Errors
    /// [`Error::Port`] when the driver does not say.
    pub fn mac(&self) -> Result<[u8; 6], Error> {
        let mut mac = sys::rte_ether_addr::default();
        // SAFETY: the callee checks the port and fills in the address.
        let code = unsafe { sys::rte_eth_macaddr_get(self.device.id, &mut mac) };
        self.device.check("read the MAC address", code)?;
        Ok(mac.addr_bytes)
    }

    /// Takes frames for any MAC address, or for the port's own only.
    ///
    /// # Errors
    /// [`Error::Port`] for what the driver refuses.
    pub fn set_promiscuous(&mut self, on: bool) -> Result<(), Error> {
        let id = self.device.id;
        // SAFETY: the callee checks the port; drivers allow this while queues are polled.
        let code = unsafe {
            match on {
                true => sys::rte_eth_promiscuous_enable(id),
                false => sys::rte_eth_promiscuous_disable(id),
            }
        };
        self.device.check("set promiscuous mode", code).map(drop)
    }

    /// Whether the link is up, and how fast. `net_tap` says "down" for good once
    /// the kernel's interface has been moved to another namespace, while frames go on: do not
    /// make forwarding depend on it.
    ///
    /// # Errors
    /// [`Error::Port`] when the driver does not say.
    pub fn link(&self) -> Result<Link, Error> {
        stats::link(self.device.id).map_err(|errno| self.refused("read the link", errno))
    }

    /// The driver's counters.
    ///
    /// # Errors
    /// [`Error::Port`] when the driver does not say.
    pub fn stats(&self) -> Result<Stats, Error> {
        stats::stats(self.device.id).map_err(|errno| self.refused("read the counters", errno))
    }

    /// All counters the driver has, by its own names.
    ///
    /// # Errors
    /// [`Error::Port`] when the driver does not say.
    pub fn xstats(&self) -> Result<Vec<(String, u64)>, Error> {
        stats::xstats(self.device.id).map_err(|errno| self.refused("read the counters", errno))
    }

    fn refused(&self, what: &'static str, errno: Errno) -> Error {
        Error::Port { device: self.device.name.clone(), what, errno }
    }

    /// The device, while no queue is out and it is in one of `states`.
    fn exclusive(&mut self, what: &'static str, states: &[State]) -> Result<&mut Device, Error> {
        let name = self.device.name.clone();
        let state = self.device.state;
        if !states.contains(&state) {
            return Err(Error::State { device: name, what, state: state.name() });
        }
        Arc::get_mut(&mut self.device).ok_or(Error::QueuesInUse { device: name })
    }

    fn claim(&self, side: &'static str, index: u16, count: u16, taken: &AtomicU64) -> Result<(), Error> {
        let Device { name, state, .. } = &*self.device;
        let device = || name.clone();
        if *state != State::Started {
            return Err(Error::State { device: device(), what: "take a queue", state: state.name() });
        }
        if index >= count {
            return Err(Error::NoSuchQueue { device: device(), side, index, count });
        }
        // `configure` holds the count to MAX_QUEUES, so the shift is in range. Acquire pairs
        // with the release of the queue's last owner.
        let bit = 1u64 << index;
        match taken.fetch_or(bit, Ordering::Acquire) & bit {
            0 => Ok(()),
            _ => Err(Error::QueueTaken { device: device(), side, index }),
        }
    }
}

/// The largest MTU that the device takes. Where the driver leaves `max_mtu` at
/// DPDK's default, ethdev reckons from the longest frame and 18 bytes of Ethernet.
fn largest_mtu(info: &sys::rte_eth_dev_info) -> u16 {
    match info.max_mtu {
        u16::MAX => u16::try_from(info.max_rx_pktlen.saturating_sub(18)).unwrap_or(u16::MAX),
        max => max,
    }
}
