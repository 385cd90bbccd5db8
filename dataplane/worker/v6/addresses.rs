// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which of our IPv6 addresses are ours to use: duplicate address detection (RFC 4862 5.4).
//!
//! An address that a new image brings, or shows with another MAC or on another port, is tentative: it is asked for once, after a random delay
//! within a second, and used when a second (RetransTimer) has passed without an answer. Whoever claims or asks for it meanwhile makes it a
//! duplicate: it is not used, and stays so until the image shows it otherwise (`shutdown`, `no shutdown`; another address). Where that is the
//! link-local address, made from the MAC, the interface does not speak IPv6 at all (5.4.5).
//!
//! Of several workers the first asks; the others hear what answers come and wait as long as that can take. Sans-IO: time and random numbers
//! are arguments. Bound: two addresses an interface. Worker core, slow path.

use crate::worker::announce::Shown;
use fedgate_tables::policy::MAX_INTERFACES;
use fedgate_wire::ipv6;

#[cfg(test)]
mod tests;

/// Most of the delay before a new address is asked for (MAX_RTR_SOLICITATION_DELAY).
pub(in crate::worker) const DELAY_MS: u64 = 1000;
/// How long an answer may take (RetransTimer, RFC 4861 section 10).
const RETRANS_MS: u64 = 1000;

/// How an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Standing {
    /// It is being asked for.
    Tentative,
    /// It is used.
    Preferred,
    /// Somebody else has it.
    Duplicate,
}

/// One of our addresses.
#[derive(Clone, Copy, Debug)]
pub(in crate::worker) struct Own {
    /// As the link sees it.
    pub shown: Shown<u128>,
    /// How it stands.
    pub standing: Standing,
    /// When it is asked for; None: that is done.
    ask_ms: Option<u64>,
    /// When it is ours, if nobody speaks up.
    until_ms: u64,
}

/// Addresses that are not to be used, two bits an interface: of the link-local address, and of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Barred {
    tentative: u32,
    duplicate: u32,
}

const _: () = assert!(2 * MAX_INTERFACES <= 32);

impl Barred {
    /// Whether this address of that interface must not be used.
    pub fn has(self, ifindex: u8, ip: u128) -> bool {
        (self.tentative | self.duplicate) & bit(ifindex, ip) != 0
    }

    /// Whether its link-local address is somebody else's.
    pub fn silences(self, ifindex: u8) -> bool {
        self.duplicate & bit(ifindex, ipv6::link_local(fedgate_wire::MacAddr::ZERO)) != 0
    }
}

fn bit(ifindex: u8, ip: u128) -> u32 {
    1u32.checked_shl(u32::from(ifindex) * 2 + u32::from(!ipv6::is_link_local(ip))).unwrap_or(0)
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::worker) enum Due {
    /// Ask whether somebody has the address.
    Ask(u8, u128),
    /// It is ours: announce it.
    Announce(u8, u128),
}

/// All of an image.
#[derive(Debug, Default)]
pub(in crate::worker) struct Addresses {
    list: Vec<Own>,
    barred: Barred,
}

impl Addresses {
    /// Takes a new image's addresses. Those that are new are asked for at `ask_ms`, by this worker or by another.
    pub fn adopt(&mut self, ours: impl Iterator<Item = Shown<u128>>, ask_ms: u64, asks: bool) {
        let before = std::mem::take(&mut self.list);
        let all = ours.filter(|shown| shown.slot.is_some()).map(|shown| {
            let known = before.iter().find(|own| own.shown == shown).copied();
            known.unwrap_or(Own {
                shown,
                standing: Standing::Tentative,
                ask_ms: asks.then_some(ask_ms),
                until_ms: ask_ms + RETRANS_MS,
            })
        });
        self.list = all.collect();
        self.bar();
    }

    /// The next thing that is due, if there is one.
    pub fn poll(&mut self, now_ms: u64) -> Option<Due> {
        if self.barred.tentative == 0 {
            return None;
        }
        let tentative = self.list.iter_mut().filter(|own| own.standing == Standing::Tentative);
        let due = tentative.into_iter().find_map(|own| {
            let Shown { ifindex, ip, .. } = own.shown;
            if own.ask_ms.is_some_and(|at| at <= now_ms) {
                own.ask_ms = None;
                // From when it is asked, however late that is.
                own.until_ms = now_ms + RETRANS_MS;
                return Some(Due::Ask(ifindex, ip));
            }
            (own.ask_ms.is_none() && own.until_ms <= now_ms).then(|| {
                own.standing = Standing::Preferred;
                Due::Announce(ifindex, ip)
            })
        });
        self.bar();
        due
    }

    /// Somebody else has or wants the address. True where that makes it a duplicate.
    pub fn claimed(&mut self, ifindex: u8, ip: u128) -> bool {
        let is = |own: &&mut Own| own.shown.ifindex == ifindex && own.shown.ip == ip;
        let Some(own) = self.list.iter_mut().find(is).filter(|own| own.standing == Standing::Tentative)
        else {
            return false;
        };
        own.standing = Standing::Duplicate;
        self.bar();
        true
    }

    /// Those that must not be used.
    pub fn barred(&self) -> Barred {
        self.barred
    }

    /// How each stands.
    pub fn list(&self) -> &[Own] {
        &self.list
    }

    fn bar(&mut self) {
        self.barred = self.list.iter().fold(Barred::default(), |mut barred, own| {
            let bit = bit(own.shown.ifindex, own.shown.ip);
            match own.standing {
                Standing::Tentative => barred.tentative |= bit,
                Standing::Duplicate => barred.duplicate |= bit,
                Standing::Preferred => {}
            }
            barred
        });
    }
}
