// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which mapped address and port a new xlate gets, and what it gives back when it ends.
//!
//! A rule with one address: a port there. A pool: the address that the host has already (RFC 4787 REQ-2), else the pool's in order, each
//! until it is exhausted, or in turn (`round-robin`), else the interface's where the rule says so. `block-allocation`: a port of the host's own
//! blocks, else of a new block, as long as it may have one; each block taken or given back makes one [`BlockNote`], which is all that
//! has to be logged (RFC 6888 REQ-12, RFC 7422). Dynamic NAT: any free address.
//!
//! Memory is a bitmap of 8 KiB an address and protocol in use, or less where workers share. Worker cores, once a translation.

use super::{Want, Xlate, XlateError};
use crate::Rng;
use crate::extended::band;
use crate::key::fold;
use crate::nat::{Nat, Reserved};
use crate::paired::{HostId, Hosts};
use crate::ports::{Band, Block, Ports, Share};
use crate::shard::of_pool;
use fedgate_tables::policy::{NAT_BLOCKS, NAT_ROUND_ROBIN};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// Pool addresses that are looked at for one packet; the next packet goes on from there.
const ADDRESS_TRIES: u64 = 64;
/// Notes that may wait to be told.
const MAX_NOTES: usize = 1024;

/// A port block was given to a host, or taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockNote {
    /// Given, else taken back.
    pub given: bool,
    /// IP protocol.
    pub proto: u8,
    /// Interface of the host.
    pub real_if: u8,
    /// The host.
    pub real: u32,
    /// Interface of the pool.
    pub mapped_if: u8,
    /// Its address.
    pub mapped: u32,
    /// First and last port.
    pub ports: [u16; 2],
    /// Of each so many times 64 ports between, 64 are meant: the workers' number.
    pub share: u16,
}

/// How one address is used by one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// The address; for protocol 0 the /16 of a pool of addresses.
    pub addr: u32,
    /// IP protocol; 0: addresses of dynamic NAT.
    pub proto: u8,
    /// Ports allocated in each of [`crate::ports::Band::THREE`]; for protocol 0 their sum is the addresses.
    pub allocated: [u32; 3],
    /// Ports in blocks that hosts have.
    pub block_ports: u32,
}

/// What a new xlate is shown as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picked {
    pub real: u32,
    pub mapped: u32,
    pub port: u16,
    /// 0: the whole address.
    pub proto: u8,
    /// Counted with its host.
    pub paired: bool,
}

struct Bitmap {
    addr: u32,
    proto: u8,
    ports: Ports,
}

/// See the module.
pub(super) struct Picker {
    share: Share,
    bitmaps: Vec<Bitmap>,
    /// (address, protocol) -> place in `bitmaps`.
    at: HashMap<u64, usize, BuildHasherDefault<Mix>>,
    reserved: Vec<Reserved>,
    /// For each rule, the place in its pool to look at next.
    cursors: Vec<u64>,
    hosts: Hosts,
    pub notes: VecDeque<BlockNote>,
    pub lost_notes: u64,
}

impl Picker {
    pub fn new(share: Share, hosts: Hosts) -> Self {
        Self {
            share,
            bitmaps: Vec::new(),
            at: HashMap::default(),
            reserved: Vec::new(),
            cursors: Vec::new(),
            hosts,
            notes: VecDeque::new(),
            lost_notes: 0,
        }
    }

    /// Static ports are set aside anew; bitmaps that nothing uses go.
    pub fn adopt(&mut self, nat: &Nat) {
        self.reserved = nat.reserved().collect();
        self.cursors = vec![0; nat.rules().len()];
        self.bitmaps.retain(|b| b.ports.is_used());
        self.at.clear();
        for (place, bitmap) in self.bitmaps.iter_mut().enumerate() {
            self.at.insert(key(bitmap.addr, bitmap.proto), place);
            bitmap.ports.clear_reserved();
            reserve(bitmap, &self.reserved);
        }
        if nat.pairs() {
            self.hosts.prepare();
        }
    }

    /// See [`super::Xlates::pools`].
    pub fn page(&self, from: u32, max: usize) -> (Vec<PoolUse>, Option<u32>) {
        let rest = self.bitmaps.get(from as usize..).unwrap_or_default();
        let rows = rest.iter().take(max).map(|b| PoolUse {
            addr: b.addr,
            proto: b.proto,
            allocated: b.ports.allocated(),
            block_ports: b.ports.block_ports(),
        });
        (rows.collect(), (rest.len() > max).then_some(from + max as u32))
    }

    pub fn pick(
        &mut self,
        want: &Want<'_>,
        rng: &mut Rng,
        prefer: impl Fn(u32, u16) -> bool,
    ) -> Result<Picked, XlateError> {
        let pool = &want.pool;
        if pool.one_to_one {
            return match (self.pick_address(want, rng), pool.own) {
                (Some(picked), _) => Ok(picked),
                (None, Some(own)) => self.pick_port(own, want, rng, &prefer),
                (None, None) => Err(XlateError::PortsExhausted),
            };
        }
        let (real, proto) = (want.key.src, want.key.proto);
        let paired = if pool.pairs() { self.hosts.address(real, proto, |a| pool.has(a)) } else { None };
        if let Some(addr) = paired {
            match self.pick_port(addr, want, rng, &prefer) {
                Err(XlateError::PortsExhausted) => {} // the next address
                other => return other,
            }
        }
        let len = pool.size();
        let start = self.cursors.get(want.rule).copied().unwrap_or(0);
        for n in start..start + len.min(ADDRESS_TRIES) {
            let Some(addr) = pool.nth(n % len).filter(|a| Some(*a) != paired) else { continue };
            match self.pick_port(addr, want, rng, &prefer) {
                Err(XlateError::PortsExhausted) => {}
                other => {
                    let step = u64::from(pool.flags & NAT_ROUND_ROBIN != 0);
                    self.set_cursor(want.rule, (n + step) % len);
                    return other;
                }
            }
        }
        if len > ADDRESS_TRIES {
            self.set_cursor(want.rule, (start + ADDRESS_TRIES) % len);
        }
        match pool.own.filter(|own| Some(*own) != paired) {
            Some(own) => self.pick_port(own, want, rng, &prefer),
            None => Err(XlateError::PortsExhausted),
        }
    }

    /// What [`Self::pick`] would pick, without any effect.
    pub fn rehearse(
        &mut self,
        want: &Want<'_>,
        rng: &mut Rng,
        prefer: impl Fn(u32, u16) -> bool,
    ) -> Result<Picked, XlateError> {
        let (notes, lost, bitmaps) = (self.notes.len(), self.lost_notes, self.bitmaps.len());
        let cursor = self.cursors.get(want.rule).copied();
        let picked = self.pick(want, rng, prefer);
        if let Ok(picked) = &picked {
            self.release(picked, want.real_if, want.mapped_if);
        }
        self.notes.truncate(notes);
        self.lost_notes = lost;
        cursor.into_iter().for_each(|at| self.set_cursor(want.rule, at));
        for made in self.bitmaps.drain(bitmaps..) {
            self.at.remove(&key(made.addr, made.proto));
        }
        picked
    }

    /// Gives back what was picked.
    pub fn release(&mut self, picked: &Picked, real_if: u8, mapped_if: u8) {
        let Picked { real, mapped, port, proto, paired } = *picked;
        if proto == 0 {
            return self.ports(mapped & 0xffff_0000, 0).release(mapped as u16);
        }
        self.ports(mapped, proto).release(port);
        if paired && let Some(host) = self.hosts.find(real, mapped, proto) {
            let last = self.hosts.sub(host);
            self.release_blocks(host, (!last).then_some(port), real_if, mapped_if);
            if last {
                self.hosts.forget(host);
            }
        }
    }

    /// [`Self::release`] of an xlate that ends.
    pub fn release_xlate(&mut self, x: &Xlate) {
        let picked = Picked {
            real: x.real,
            mapped: x.mapped,
            port: x.mapped_port,
            proto: x.proto,
            paired: x.is_paired(),
        };
        self.release(&picked, x.real_if, x.mapped_if);
    }

    fn pick_address(&mut self, want: &Want<'_>, rng: &mut Rng) -> Option<Picked> {
        if u16::from(of_pool(want.pool.group, self.share.of as u8)) != self.share.worker {
            return None; // another worker's: a caller and the called with two such pools
        }
        for [first, last] in want.pool.ranges() {
            for high in first >> 16..=last >> 16 {
                let from = if high == first >> 16 { first as u16 } else { 0 };
                let to = if high == last >> 16 { last as u16 } else { u16::MAX };
                if let Some(low) = self.ports(high << 16, 0).pick_any([from, to], rng.next()) {
                    let mapped = high << 16 | u32::from(low);
                    return Some(Picked { real: want.key.src, mapped, port: 0, proto: 0, paired: false });
                }
            }
        }
        None
    }

    fn pick_port(
        &mut self,
        mapped: u32,
        want: &Want<'_>,
        rng: &mut Rng,
        prefer: &impl Fn(u32, u16) -> bool,
    ) -> Result<Picked, XlateError> {
        let (real, proto) = (want.key.src, want.key.proto);
        let paired = want.pool.pairs();
        let prefer = |port| prefer(mapped, port);
        let port = if paired {
            let blocks = want.pool.flags & NAT_BLOCKS != 0;
            let Some(host) = self.hosts.find_or_make(real, mapped, proto) else {
                // The host may be shown at two addresses one day: better than not at all. A block must be somebody's.
                return if blocks {
                    Err(XlateError::TableFull)
                } else {
                    self.pick_unpaired(mapped, want, rng, prefer)
                };
            };
            let port = if blocks {
                self.pick_in_blocks(host, want, rng, prefer)
            } else {
                self.pick_free(mapped, want, rng, prefer)
            };
            match port {
                Ok(_) => (0..want.row()).for_each(|_| self.hosts.add(host)),
                Err(_) => self.hosts.forget(host),
            }
            port?
        } else {
            return self.pick_unpaired(mapped, want, rng, prefer);
        };
        Ok(Picked { real, mapped, port, proto, paired })
    }

    fn pick_unpaired(
        &mut self,
        mapped: u32,
        want: &Want<'_>,
        rng: &mut Rng,
        prefer: impl Fn(u16) -> bool,
    ) -> Result<Picked, XlateError> {
        let (real, proto) = (want.key.src, want.key.proto);
        let port = self.pick_free(mapped, want, rng, prefer)?;
        Ok(Picked { real, mapped, port, proto, paired: false })
    }

    /// A port of no block, or the first of two.
    fn pick_free(
        &mut self,
        mapped: u32,
        want: &Want<'_>,
        rng: &mut Rng,
        prefer: impl Fn(u16) -> bool,
    ) -> Result<u16, XlateError> {
        let (wanted, band) = (want.key.sport, band(want));
        let ports = self.ports(mapped, want.key.proto);
        let port = match want.pair {
            true => ports.pick_pair(wanted, band, rng.next()),
            false => ports.pick(wanted, band, rng.next(), prefer),
        };
        port.ok_or(XlateError::PortsExhausted)
    }

    fn pick_in_blocks(
        &mut self,
        host: HostId,
        want: &Want<'_>,
        rng: &mut Rng,
        prefer: impl Fn(u16) -> bool,
    ) -> Result<u16, XlateError> {
        let (mapped, proto) = (self.hosts.get(host).mapped, want.key.proto);
        let blocks = self.hosts.get(host).blocks;
        let ports = self.ports(mapped, proto);
        for block in blocks.into_iter().filter(|b| b.is_some()) {
            if let Some(port) = pick_in(ports, block, want, rng, &prefer) {
                return Ok(port);
            }
        }
        let full = self.hosts.blocks_of(want.key.src, proto) >= want.blocks_per_host;
        let place =
            blocks.iter().position(|b| !b.is_some()).filter(|_| !full).ok_or(XlateError::HostLimit)?;
        let ports = self.ports(mapped, proto);
        let block = ports.take_block(want.block_size, rng.next()).ok_or(XlateError::PortsExhausted)?;
        let Some(port) = pick_in(ports, block, want, rng, &prefer) else {
            ports.release_block(block); // static rules have all of it
            return Err(XlateError::PortsExhausted);
        };
        self.hosts.get_mut(host).blocks[place] = block;
        self.note(true, host, block, want.real_if, want.mapped_if);
        Ok(port)
    }

    /// Takes blocks of `host` back in which nothing is taken any more: all, or the one with `port`.
    fn release_blocks(&mut self, host: HostId, port: Option<u16>, real_if: u8, mapped_if: u8) {
        let at = *self.hosts.get(host);
        for (place, block) in at.blocks.into_iter().enumerate().filter(|(_, b)| b.is_some()) {
            let ports = self.ports(at.mapped, at.proto);
            if port.is_none_or(|port| ports.is_in(block, port)) && ports.is_block_empty(block) {
                ports.release_block(block);
                self.hosts.get_mut(host).blocks[place] = Block::default();
                self.note(false, host, block, real_if, mapped_if);
            }
        }
    }

    fn note(&mut self, given: bool, host: HostId, block: Block, real_if: u8, mapped_if: u8) {
        if self.notes.len() >= MAX_NOTES {
            self.lost_notes += 1;
            return;
        }
        let (at, share) = (*self.hosts.get(host), self.share.of);
        let ports = self.ports(at.mapped, at.proto).ports_of(block);
        let (proto, real, mapped) = (at.proto, at.real, at.mapped);
        self.notes.push_back(BlockNote { given, proto, real_if, real, mapped_if, mapped, ports, share });
    }

    fn set_cursor(&mut self, rule: usize, to: u64) {
        if let Some(cursor) = self.cursors.get_mut(rule) {
            *cursor = to;
        }
    }

    /// True where a port is this worker's and nobody has it. Asking makes no bitmap.
    pub fn is_free(&self, addr: u32, proto: u8, port: u16) -> bool {
        match self.at.get(&key(addr, proto)) {
            Some(place) => self.bitmaps[*place].ports.is_free(port),
            None => {
                port != 0
                    && Share::owner(port, self.share.of) == self.share.worker
                    && !self.reserved.iter().any(|rule| rule.has_port(addr, proto, port))
            }
        }
    }

    /// A port of `band` that is this worker's, free or not.
    pub fn some_port(&self, band: Band, random: u64) -> Option<u16> {
        self.share.any_of(band, random)
    }

    /// Asks for the line of a port's bit, where there is a bitmap.
    #[inline]
    pub fn fetch(&self, addr: u32, proto: u8, port: u16, fetch: &mut impl FnMut(*const u8)) {
        if let Some(place) = self.at.get(&key(addr, proto)) {
            self.bitmaps[*place].ports.fetch(port, fetch);
        }
    }

    /// The bitmap of an address and protocol, made at its first use.
    pub fn ports(&mut self, addr: u32, proto: u8) -> &mut Ports {
        let place = match self.at.get(&key(addr, proto)) {
            Some(place) => *place,
            None => self.add_bitmap(addr, proto),
        };
        &mut self.bitmaps[place].ports
    }

    #[cold]
    fn add_bitmap(&mut self, addr: u32, proto: u8) -> usize {
        // Addresses are their pool's owner's, ports are shared.
        let share = if proto == 0 { Share::WHOLE } else { self.share };
        let mut bitmap = Bitmap { addr, proto, ports: Ports::new(share) };
        reserve(&mut bitmap, &self.reserved);
        self.at.insert(key(addr, proto), self.bitmaps.len());
        self.bitmaps.push(bitmap);
        self.bitmaps.len() - 1
    }
}

/// A port of a host's block, or the first of two.
fn pick_in(
    ports: &mut Ports,
    block: Block,
    want: &Want<'_>,
    rng: &mut Rng,
    prefer: impl Fn(u16) -> bool,
) -> Option<u16> {
    match want.pair {
        true => ports.pick_pair_in(block, want.key.sport, rng.next()),
        false => ports.pick_in(block, want.key.sport, rng.next(), prefer),
    }
}

/// Sets aside what static rules have of a bitmap.
fn reserve(bitmap: &mut Bitmap, reserved: &[Reserved]) {
    let (addr, proto) = (bitmap.addr, bitmap.proto);
    for rule in reserved {
        let [first, last] = rule.addrs;
        if proto == 0 && first <= addr | 0xffff && last >= addr {
            bitmap.ports.reserve([first.max(addr) as u16, last.min(addr | 0xffff) as u16]);
        } else if rule.has_ports(addr, proto) {
            bitmap.ports.reserve(rule.ports);
        }
    }
}

fn key(addr: u32, proto: u8) -> u64 {
    u64::from(addr) << 8 | u64::from(proto)
}

/// Hashes a [`key`]: those come from the policy, so nobody chooses them to collide.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = fold(self.0 ^ n, 0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use crate::key::{Key, UDP};
    use fedgate_tables::policy::{AddrRange, NatKind, NatRule};

    /// A host for which there is no room among the hosts is shown all the same, unless it needs a block.
    #[test]
    fn a_full_host_table_costs_pairing_and_no_more() {
        for (flags, served) in [(0, true), (NAT_BLOCKS, false)] {
            let rule =
                NatRule { kind: NatKind::DynamicPat as u8, pool_count: 1, flags, ..NatRule::default() };
            let nat = Nat::new(&[rule], &[AddrRange { first: 0xcb00_7100, last: 0xcb00_7103 }]);
            let mut picker = Picker::new(Share::WHOLE, Hosts::new(1, 5));
            picker.adopt(&nat);
            let mut rng = Rng::new(1);
            for host in 1..4 {
                let key = Key { src: host, dst: 9, sport: 4000, dport: 53, proto: UDP };
                let (pool, block_size, blocks_per_host) = (nat.pool(0), 512, 4);
                let (real_if, mapped_if, rule, pair) = (1, 0, 0, false);
                let want =
                    Want { key: &key, real_if, mapped_if, rule, pool, pair, block_size, blocks_per_host };
                match picker.pick(&want, &mut rng, |_, _| true) {
                    Ok(picked) => {
                        assert_eq!(picked.paired, host == 1);
                        assert!(host == 1 || served);
                    }
                    Err(error) => assert!(host > 1 && !served, "{error:?}"),
                }
            }
        }
    }
}
