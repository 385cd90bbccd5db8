// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ports: attached when an interface first names a device, then kept while the process lives.
//!
//! A port keeps its slot, so that a policy that renames or reorders interfaces touches no queue. A device that no
//! interface names any more stays attached and what it receives is dropped by name. Each port is promiscuous, since
//! our MAC need not be the device's. On a tap the kernel's end has the device's MAC, so ours is made from it.
//!
//! Several workers share a port by queues where it deals frames out by a hash that we can foretell: one of each kind for
//! each worker, as far as the device has them. Any other port has one pair, of one worker, and the rings between workers do the rest;
//! such ports go round the workers. Housekeeping thread.

use crate::worker::command::{Command, Desk};
use crate::worker::net::Outlet;
use crate::worker::runtime::IoSlot;
use dpdk::{Eal, Mempool, Port, PortConfig, Rss, Stats};
use fedgate_flow::shard::{self, Dealing, Dealt};
use fedgate_tables::counters::InterfaceCounter;
use fedgate_tables::link::PortRow;
use fedgate_tables::policy::{IF_MAC_SET, Interface, MAX_INTERFACES};
use fedgate_tables::policy_view::Checked;
use fedgate_wire::MacAddr;

/// Ports in all, those of former policies included.
const MAX_PORTS: usize = 4 * MAX_INTERFACES;

struct Attached {
    device: String,
    port: Port,
    dealt: Option<Dealt>,
    mac: [u8; 6],
    mtu: u16,
    /// The driver's counters as they were last read.
    seen: Stats,
}

/// See the module.
pub struct Ports {
    eal: &'static Eal,
    pool: Mempool,
    workers: u8,
    attached: Vec<Attached>,
}

/// What an interface gets.
pub struct Obtained {
    /// Its port.
    pub slot: IoSlot,
    /// Our MAC there.
    pub mac: MacAddr,
    /// How its frames come to the workers, where that is known.
    pub dealt: Option<Dealt>,
}

/// Why an interface's port cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// DPDK.
    #[error(transparent)]
    Dpdk(#[from] dpdk::Error),
    /// Too many devices were named since the start.
    #[error("more than {MAX_PORTS} devices since the dataplane started; restart it")]
    TooMany,
    /// The port was set up for smaller packets.
    #[error("mtu {wanted} is more than the {set} that the port was attached with; restart the dataplane")]
    Mtu {
        /// What the interface asks for.
        wanted: u16,
        /// What the port was set up for.
        set: u16,
    },
    /// A worker does not take queues.
    #[error("a worker is too busy to take the port")]
    Busy,
}

impl Attached {
    /// A policy may ask for another key than the one before. Where the driver refuses, frames are handed over more often.
    fn deal(&mut self, dealing: Dealing) {
        let Some(dealt) = self.dealt.as_mut().filter(|dealt| dealt.dealing != dealing) else { return };
        match self.port.set_rss_key(dealing.key()) {
            Ok(()) => dealt.dealing = dealing,
            Err(error) => tracing::info!(device = self.device, %error, "the receive hash stays as it is"),
        }
    }
}

/// Which worker has which queues of a port.
pub(super) struct Plan {
    pub(super) rx: u16,
    pub(super) tx: u16,
    /// The worker that has the first queues.
    pub(super) first: u8,
    pub(super) workers: u8,
    pub(super) rss: bool,
}

impl Plan {
    fn of(port: &Port, slot: usize, workers: u8) -> Result<Self, dpdk::Error> {
        let can = port.abilities()?;
        if workers == 1 || !can.rss {
            let first = (slot % usize::from(workers)) as u8;
            return Ok(Self { rx: 1, tx: 1, first, workers, rss: false });
        }
        let [rx, tx] = [can.rx_queues, can.tx_queues].map(|most| most.clamp(1, workers.into()));
        Ok(Self { rx, tx, first: 0, workers, rss: true })
    }

    fn config(&self, mtu: u16, dealing: Dealing) -> PortConfig {
        let table = std::array::from_fn(|i| shard::of_hash(i as u32, self.rx as u8).into());
        let rss = self.rss.then_some(Rss { key: *dealing.key(), table });
        PortConfig { mtu, rx_queues: self.rx, tx_queues: self.tx, rss, ..PortConfig::default() }
    }

    /// How far a worker is from the first, round all of them.
    fn place(&self, worker: u8) -> u16 {
        (u16::from(worker) + u16::from(self.workers - self.first)) % u16::from(self.workers)
    }

    pub(super) fn rx_of(&self, worker: u8) -> Option<u16> {
        Some(self.place(worker)).filter(|queue| *queue < self.rx)
    }

    /// The worker's queue, or the worker whose queue it uses.
    pub(super) fn tx_of(&self, worker: u8) -> Result<u16, u8> {
        match self.place(worker) {
            queue if queue < self.tx => Ok(queue),
            place => Err(((u16::from(self.first) + place % self.tx) % u16::from(self.workers)) as u8),
        }
    }
}

impl Ports {
    /// None yet; queues are for so many workers.
    pub fn new(eal: &'static Eal, pool: Mempool, workers: u8) -> Self {
        Self { eal, pool, workers, attached: Vec::new() }
    }

    /// The port that `device` is, dealt out by `dealing`; attaches it where it is new and sends its queues to the workers.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn obtain(
        &mut self,
        device: &str,
        interface: &Interface,
        dealing: Dealing,
        desks: &[Desk],
    ) -> Result<Obtained, PortError> {
        let known = self.attached.iter().position(|a| a.device == device);
        let slot = match known {
            Some(slot) if interface.mtu > self.attached[slot].mtu => {
                return Err(PortError::Mtu { wanted: interface.mtu, set: self.attached[slot].mtu });
            }
            Some(slot) => slot,
            None => self.attach(device, interface, dealing, desks)?,
        };
        let attached = &mut self.attached[slot];
        attached.deal(dealing);
        let mac = if interface.flags & IF_MAC_SET != 0 { interface.mac } else { attached.mac };
        Ok(Obtained { slot: slot as IoSlot, mac: MacAddr(mac), dealt: attached.dealt })
    }

    fn attach(
        &mut self,
        device: &str,
        interface: &Interface,
        dealing: Dealing,
        desks: &[Desk],
    ) -> Result<usize, PortError> {
        let slot = self.attached.len();
        if slot == MAX_PORTS {
            return Err(PortError::TooMany);
        }
        if desks.iter().any(|desk| desk.commands.is_full()) {
            return Err(PortError::Busy);
        }
        let mut port = Port::probe(self.eal, device)?;
        let mtu = interface.mtu.max(1500);
        let plan = Plan::of(&port, slot, self.workers)?;
        port.configure(&plan.config(mtu, dealing), self.pool)?;
        port.start()?;
        if let Err(error) = port.set_promiscuous(true) {
            tracing::debug!(device, %error, "not promiscuous");
        }
        let mut mac = port.mac()?;
        if port.driver() == "net_tap" {
            mac[0] = mac[0] & !1 | 2;
            mac[5] ^= 0x80;
        }
        for (worker, desk) in (0u8..).zip(desks) {
            let rx = plan.rx_of(worker).map(|queue| port.take_rx(queue)).transpose()?;
            let tx = match plan.tx_of(worker) {
                Ok(queue) => Outlet::Queue(port.take_tx(queue)?),
                Err(mate) => Outlet::Mate(mate),
            };
            let command = Command::Port { slot: slot as IoSlot, rx, tx };
            desk.commands.push(command).map_err(|_| PortError::Busy)?;
        }
        tracing::info!(device, driver = port.driver(), mac = %MacAddr(mac), queues = plan.rx, "port attached");
        let dealt = port.spread().map(|spread| Dealt {
            dealing,
            ports: [spread.tcp, spread.udp],
            queues: plan.rx as u8,
        });
        let seen = Stats::default();
        self.attached.push(Attached { device: device.to_owned(), port, dealt, mac, mtu, seen });
        Ok(slot)
    }

    /// What drivers have lost since the last call, by interface of `policy`.
    pub fn losses(&mut self, policy: Option<&Checked>, mut each: impl FnMut(u8, InterfaceCounter, u64)) {
        let Some(policy) = policy else { return };
        let view = policy.view();
        for attached in &mut self.attached {
            let Ok(stats) = attached.port.stats() else { continue };
            let before = std::mem::replace(&mut attached.seen, stats);
            let named = |interface: &Interface| attached.device == view.str(interface.device);
            let Some(ifindex) = view.interfaces().iter().position(named) else { continue };
            for (counter, now, before) in [
                (InterfaceCounter::RxMissed, stats.rx_missed, before.rx_missed),
                (InterfaceCounter::RxErrors, stats.rx_errors, before.rx_errors),
                (InterfaceCounter::RxNoMbuf, stats.rx_no_mbuf, before.rx_no_mbuf),
                (InterfaceCounter::TxErrors, stats.tx_errors, before.tx_errors),
            ] {
                // A driver that begins anew counts from zero.
                let lost = now.checked_sub(before).unwrap_or(now);
                if lost > 0 {
                    each(ifindex as u8, counter, lost);
                }
            }
        }
    }

    /// Rows for `show interface`.
    pub fn rows(&self, policy: Option<&Checked>) -> Vec<PortRow> {
        let Some(policy) = policy else { return Vec::new() };
        let view = policy.view();
        let rows = (0u8..).zip(view.interfaces()).filter_map(|(ifindex, interface)| {
            let attached = self.attached.iter().find(|a| a.device == view.str(interface.device))?;
            let mac = if interface.flags & IF_MAC_SET != 0 { interface.mac } else { attached.mac };
            let link = attached.port.link();
            Some(PortRow {
                ifindex,
                device: attached.device.clone(),
                driver: attached.port.driver().to_owned(),
                mac,
                // net_tap asks the kernel by name, and finds nothing once its far end has moved to another namespace.
                link_up: attached.port.driver() == "net_tap" || link.as_ref().is_ok_and(|l| l.up),
                speed_mbps: link.ok().and_then(|l| l.speed_mbps).unwrap_or(0),
            })
        });
        rows.collect()
    }
}
