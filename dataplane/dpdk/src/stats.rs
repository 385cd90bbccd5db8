// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a port says about itself: link state and counters.
//!
//! The counters are the driver's own and start when the port is attached; what
//! the worker did with the frames is in fedgate's own counters. Read by
//! housekeeping while workers poll, which drivers allow. `xstats` allocates and may
//! take long on hardware: for `show interface`, not for a loop.

use std::ffi::CStr;

use dpdk_sys as sys;

use crate::Errno;

/// State of a port's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one.
    pub up: bool,
    /// Mbit/s, where the driver knows.
    pub speed_mbps: Option<u32>,
    /// Full duplex, rather than half.
    pub full_duplex: bool,
}

/// A driver's counters since the port was attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames lost by the device because the receive queue was full.
    pub rx_missed: u64,
    /// Frames received damaged.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Frames lost because the pool was empty.
    pub rx_no_mbuf: u64,
}

pub(crate) fn link(port: u16) -> Result<Link, Errno> {
    let mut link = sys::rte_eth_link::default();
    // SAFETY: the callee checks the port and fills in the struct.
    Errno::check(unsafe { sys::rte_eth_link_get_nowait(port, &mut link) })?;
    let speed_mbps = match link.link_speed {
        0 | u32::MAX => None,
        speed => Some(speed),
    };
    Ok(Link { up: link.link_status() == 1, speed_mbps, full_duplex: link.link_duplex() == 1 })
}

pub(crate) fn stats(port: u16) -> Result<Stats, Errno> {
    let mut raw = sys::rte_eth_stats::default();
    // SAFETY: as above.
    Errno::check(unsafe { sys::rte_eth_stats_get(port, &mut raw) })?;
    Ok(Stats {
        rx_packets: raw.ipackets,
        tx_packets: raw.opackets,
        rx_bytes: raw.ibytes,
        tx_bytes: raw.obytes,
        rx_missed: raw.imissed,
        rx_errors: raw.ierrors,
        tx_errors: raw.oerrors,
        rx_no_mbuf: raw.rx_nombuf,
    })
}

pub(crate) fn xstats(port: u16) -> Result<Vec<(String, u64)>, Errno> {
    // SAFETY: with no array the callee only counts.
    let count = Errno::check(unsafe { sys::rte_eth_xstats_get_names(port, std::ptr::null_mut(), 0) })?;
    let mut names = vec![sys::rte_eth_xstat_name::default(); count as usize];
    let mut values = vec![sys::rte_eth_xstat::default(); count as usize];
    // SAFETY: both arrays have `count` entries, and the callee is told so.
    let (named, valued) = unsafe {
        (
            Errno::check(sys::rte_eth_xstats_get_names(port, names.as_mut_ptr(), count))?,
            Errno::check(sys::rte_eth_xstats_get(port, values.as_mut_ptr(), count))?,
        )
    };
    // More than there was room for means that nothing was filled in: the driver changed its mind.
    if named > count || valued > count {
        return Err(Errno::EBUSY);
    }
    values.truncate(valued as usize);
    names.truncate(named as usize);
    let text = |name: &sys::rte_eth_xstat_name| {
        // SAFETY: an array of bytes is an array of chars; the callee ended it with a NUL, and
        // where it did not, from_bytes_until_nul says so.
        let bytes = unsafe { &*(&raw const name.name).cast::<[u8; 64]>() };
        CStr::from_bytes_until_nul(bytes).map_or_else(|_| String::new(), |c| c.to_string_lossy().into_owned())
    };
    let pair = |value: &sys::rte_eth_xstat| {
        let name = names.get(usize::try_from(value.id).ok()?)?;
        Some((text(name), value.value))
    };
    Ok(values.iter().filter_map(pair).collect())
}
