// SPDX-License-Identifier: MIT OR Apache-2.0
//! The receive hash (RSS): which queue of a port a frame comes by.
//!
//! A NIC hashes addresses, and ports where it is asked to, with a key (Toeplitz), and looks the low bits up in a table of
//! queues. Both are set here and not left to the driver, so that the caller can foretell the queue: a device counts as able
//! where it hashes IPv4 addresses and has a table of [`RSS_TABLE`] entries or a multiple, in which they are repeated.
//!
//! Others (taps, memif, af_packet) are better used with one queue: what would come by which one is not known.
//! Called by `Port` in housekeeping.

use dpdk_sys as sys;

use crate::Errno;

/// Bytes of the longest hash key that devices have in use; most take 40 of them.
pub const RSS_KEY_LEN: usize = 52;

/// Entries of the queue table that are told apart: the size of the smallest usual one.
pub const RSS_TABLE: usize = 128;

/// Bytes of the key where a driver does not say.
const USUAL_KEY_LEN: u8 = 40;

/// How frames are to be dealt out to receive queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rss {
    /// Key of the Toeplitz hash; as many bytes of it as the device takes.
    pub key: [u8; RSS_KEY_LEN],
    /// Queue for each value of the hash's low seven bits.
    pub table: [u16; RSS_TABLE],
}

/// What a device can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Receive queues at most.
    pub rx_queues: u16,
    /// Transmit queues at most.
    pub tx_queues: u16,
    /// It can deal frames out to its receive queues by a hash that software can foretell.
    pub rss: bool,
}

/// What the hash of a port is made of, beyond addresses: of the others and of fragments it is addresses alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// The ports of TCP.
    pub tcp: bool,
    /// The ports of UDP.
    pub udp: bool,
}

impl Abilities {
    pub(super) fn of(info: &sys::rte_eth_dev_info) -> Self {
        let key_fits = matches!(key_len(info), 40..=52);
        // SAFETY: returns a constant.
        let addresses = info.flow_type_rss_offloads & unsafe { sys::shim_rss_addresses() } != 0;
        Self {
            rx_queues: info.max_rx_queues.min(super::MAX_QUEUES),
            tx_queues: info.max_tx_queues.min(super::MAX_QUEUES),
            rss: addresses
                && key_fits
                && info.reta_size >= RSS_TABLE as u16
                && info.reta_size.is_power_of_two(),
        }
    }
}

fn key_len(info: &sys::rte_eth_dev_info) -> u8 {
    match info.hash_key_size {
        0 => USUAL_KEY_LEN,
        len => len,
    }
}

/// Asks for the hash in what goes to `rte_eth_dev_configure`. `None`, and nothing asked for, where the device is not able.
/// `key` must stay where it is until the device is closed or configured anew.
pub(super) fn ask(
    wanted: &mut sys::rte_eth_conf,
    info: &sys::rte_eth_dev_info,
    key: &mut [u8; RSS_KEY_LEN],
) -> Option<Spread> {
    if !Abilities::of(info).rss {
        return None;
    }
    wanted.rxmode.mq_mode = sys::RTE_ETH_MQ_RX_RSS;
    let (conf, spread) = conf(info, key);
    wanted.rx_adv_conf.rss_conf = conf;
    Some(spread)
}

fn conf(info: &sys::rte_eth_dev_info, key: &mut [u8; RSS_KEY_LEN]) -> (sys::rte_eth_rss_conf, Spread) {
    // SAFETY: they return constants.
    let [addresses, tcp, udp] =
        unsafe { [sys::shim_rss_addresses(), sys::shim_rss_tcp(), sys::shim_rss_udp()] };
    let can = info.flow_type_rss_offloads;
    let conf = sys::rte_eth_rss_conf {
        rss_key: key.as_mut_ptr(),
        rss_key_len: key_len(info),
        rss_hf: can & (addresses | tcp | udp),
    };
    (conf, Spread { tcp: can & tcp != 0, udp: can & udp != 0 })
}

/// Sets another key on a started port.
pub(super) fn rekey(port: u16, info: &sys::rte_eth_dev_info, key: &[u8; RSS_KEY_LEN]) -> Result<(), Errno> {
    let mut key = *key;
    let (mut conf, _) = conf(info, &mut key);
    // SAFETY: the port exists; drivers take this while queues are polled, and copy the key.
    Errno::check(unsafe { sys::rte_eth_dev_rss_hash_update(port, &mut conf) }).map(drop)
}

/// Sets the table of queues of a started port, which has `size` entries.
pub(super) fn deal(port: u16, size: u16, table: &[u16; RSS_TABLE]) -> Result<(), Errno> {
    let mut groups = vec![sys::rte_eth_rss_reta_entry64::default(); usize::from(size.div_ceil(64))];
    let entries = groups.iter_mut().flat_map(|group| {
        group.mask = u64::MAX;
        &mut group.reta
    });
    for (entry, queue) in entries.take(size.into()).zip(table.iter().cycle()) {
        *entry = *queue;
    }
    // SAFETY: the port exists; the callee reads `size` entries, for which there are groups enough.
    Errno::check(unsafe { sys::rte_eth_dev_rss_reta_update(port, groups.as_mut_ptr(), size) }).map(drop)
}
