// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ports: attached when an interface first names a device, then kept while the process lives.
//!
//! A port keeps its slot, so that a policy that renames or reorders interfaces touches no queue. A device that no
//! interface names any more stays attached and what it receives is dropped by name. Each port is promiscuous, since
//! our MAC need not be the device's. On a tap the kernel's end has the device's MAC, so ours is made from it. Housekeeping thread.

use crate::worker::command::Command;
use crate::worker::runtime::IoSlot;
use crossbeam::queue::ArrayQueue;
use dpdk::{Eal, Mempool, Port, PortConfig};
use fedgate_tables::link::PortRow;
use fedgate_tables::policy::{IF_MAC_SET, Interface, MAX_INTERFACES};
use fedgate_tables::policy_view::Checked;
use fedgate_wire::MacAddr;

/// Ports in all, those of former policies included.
const MAX_PORTS: usize = 4 * MAX_INTERFACES;

struct Attached {
    device: String,
    port: Port,
    mac: [u8; 6],
    mtu: u16,
}

/// See the module.
pub struct Ports {
    eal: &'static Eal,
    pool: Mempool,
    attached: Vec<Attached>,
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
    /// The worker does not take queues.
    #[error("the worker is too busy to take the port")]
    Busy,
}

impl Ports {
    /// None yet.
    pub fn new(eal: &'static Eal, pool: Mempool) -> Self {
        Self { eal, pool, attached: Vec::new() }
    }

    /// The slot of `device` and our MAC there; attaches it where it is new and sends its queues to the worker.
    ///
    /// # Errors
    /// [`PortError`].
    pub fn obtain(
        &mut self,
        device: &str,
        interface: &Interface,
        commands: &ArrayQueue<Command>,
    ) -> Result<(IoSlot, MacAddr), PortError> {
        let known = self.attached.iter().position(|a| a.device == device);
        let slot = match known {
            Some(slot) if interface.mtu > self.attached[slot].mtu => {
                return Err(PortError::Mtu { wanted: interface.mtu, set: self.attached[slot].mtu });
            }
            Some(slot) => slot,
            None => self.attach(device, interface, commands)?,
        };
        let mac = if interface.flags & IF_MAC_SET != 0 { interface.mac } else { self.attached[slot].mac };
        Ok((slot as IoSlot, MacAddr(mac)))
    }

    fn attach(
        &mut self,
        device: &str,
        interface: &Interface,
        commands: &ArrayQueue<Command>,
    ) -> Result<usize, PortError> {
        let slot = self.attached.len();
        if slot == MAX_PORTS {
            return Err(PortError::TooMany);
        }
        let mut port = Port::probe(self.eal, device)?;
        let mtu = interface.mtu.max(1500);
        port.configure(&PortConfig { mtu, ..PortConfig::default() }, self.pool)?;
        port.start()?;
        if let Err(error) = port.set_promiscuous(true) {
            tracing::debug!(device, %error, "not promiscuous");
        }
        let mut mac = port.mac()?;
        if port.driver() == "net_tap" {
            mac[0] = mac[0] & !1 | 2;
            mac[5] ^= 0x80;
        }
        let (rx, tx) = port.take_queue(0)?;
        commands.push(Command::Port { slot: slot as IoSlot, rx, tx }).map_err(|_| PortError::Busy)?;
        tracing::info!(device, driver = port.driver(), mac = %MacAddr(mac), "port attached");
        self.attached.push(Attached { device: device.to_owned(), port, mac, mtu });
        Ok(slot)
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
