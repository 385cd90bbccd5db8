// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT decisions for a connection's first packet, in the ASA's order: rules come sorted by control (manual, auto,
//! after-auto; static before dynamic inside auto), the first match decides.
//!
//! A rule has a real side and a mapped side. A packet towards the mapped side has its destination un-translated; a packet
//! from the real side has its source translated. Each new connection is also checked backwards: what its replies would
//! be translated to must be what the initiator called, else `nat-rpf-failed` (an outsider who calls a real address past
//! the public one does not get in). Worker cores, slow path.

use crate::key::Key;
use fedgate_tables::policy::{ANY_ADDR, NAT_INACTIVE, NAT_UNIDIRECTIONAL, NONE, NatKind, NatRule};

/// The destination as it really is, by which rule, and the interface it stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untranslated {
    /// Real address.
    pub addr: u32,
    /// Real port.
    pub port: u16,
    /// Index of the rule.
    pub rule: usize,
    /// Interface of the real address, where the rule names one.
    pub real_if: Option<u8>,
}

/// How a source is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// As it is; by a rule (identity) or for want of one.
    Unchanged(Option<usize>),
    /// As this address and port.
    Fixed {
        /// Mapped address.
        addr: u32,
        /// Mapped port.
        port: u16,
        /// Index of the rule.
        rule: usize,
    },
    /// As this address and a port of its own.
    Dynamic {
        /// Mapped address.
        addr: u32,
        /// Index of the rule.
        rule: usize,
    },
}

/// Undoes static NAT and static PAT on the destination of what arrives on `in_if`. Dynamic xlates are the caller's.
pub fn untranslate(rules: &[NatRule], key: &Key, in_if: u8) -> Option<Untranslated> {
    rules.iter().enumerate().find_map(|(i, rule)| {
        if !on(rule.mapped_if, in_if)
            || rule.flags & (NAT_INACTIVE | NAT_UNIDIRECTIONAL) != 0
            || place(key.src, rule.dest_real).is_none()
        {
            return None;
        }
        let real_if = (rule.real_if != NONE).then_some(rule.real_if as u8);
        let is = |addr, port| Some(Untranslated { addr, port, rule: i, real_if });
        match NatKind::from_u8(rule.kind)? {
            NatKind::Static => is(rule.real[0] + place(key.dst, rule.mapped)?, key.dport),
            NatKind::StaticPat if key.proto == rule.proto => {
                place(key.dst, rule.mapped)?;
                let port = key.dport.checked_sub(rule.mapped_port[0])?;
                (key.dport <= rule.mapped_port[1]).then_some(())?;
                is(rule.real[0], rule.real_port[0] + port)
            }
            NatKind::Identity if rule.real != ANY_ADDR => {
                place(key.dst, rule.real)?;
                is(key.dst, key.dport)
            }
            _ => None,
        }
    })
}

/// How the source of `key` (real addresses) is shown when it goes from `real_if` out of `mapped_if`.
pub fn source(rules: &[NatRule], key: &Key, real_if: u8, mapped_if: u8) -> Source {
    for (i, rule) in rules.iter().enumerate() {
        if !on(rule.real_if, real_if)
            || !on(rule.mapped_if, mapped_if)
            || rule.flags & NAT_INACTIVE != 0
            || place(key.dst, rule.dest_real).is_none()
        {
            continue;
        }
        let Some(at) = place(key.src, rule.real) else { continue };
        match NatKind::from_u8(rule.kind) {
            Some(NatKind::Static) => {
                return Source::Fixed { addr: rule.mapped[0] + at, port: key.sport, rule: i };
            }
            Some(NatKind::StaticPat)
                if key.proto == rule.proto
                    && (rule.real_port[0]..=rule.real_port[1]).contains(&key.sport) =>
            {
                let port = rule.mapped_port[0] + (key.sport - rule.real_port[0]);
                return Source::Fixed { addr: rule.mapped[0], port, rule: i };
            }
            Some(NatKind::DynamicPat) => return Source::Dynamic { addr: rule.mapped[0], rule: i },
            Some(NatKind::Identity) => return Source::Unchanged(Some(i)),
            Some(NatKind::StaticPat | NatKind::Dynamic) | None => {}
        }
    }
    Source::Unchanged(None)
}

/// True where `addr` is shown on `in_if` by some NAT rule: a packet to it that no rule and no xlate takes has its own drop
/// reason, and the appliance answers ARP for it.
pub fn is_mapped_address(rules: &[NatRule], addr: u32, in_if: u8) -> bool {
    rules.iter().any(|rule| {
        on(rule.mapped_if, in_if)
            && match NatKind::from_u8(rule.kind) {
                Some(NatKind::StaticPat | NatKind::DynamicPat | NatKind::Static) => {
                    place(addr, rule.mapped).is_some()
                }
                Some(NatKind::Identity | NatKind::Dynamic) | None => false,
            }
    })
}

/// Where `addr` stands in a range.
#[inline]
fn place(addr: u32, [first, last]: [u32; 2]) -> Option<u32> {
    let at = addr.wrapping_sub(first);
    (at <= last.wrapping_sub(first)).then_some(at)
}

fn on(rule_if: u32, ifindex: u8) -> bool {
    rule_if == NONE || rule_if == u32::from(ifindex)
}
