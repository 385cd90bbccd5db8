// SPDX-License-Identifier: MIT OR Apache-2.0
//! NAT decisions for a connection's first packet, in the ASA's order: rules come sorted by control (manual, auto,
//! after-auto; static before dynamic inside auto), the first match decides.
//!
//! A rule has a real side and a mapped side. A packet towards the mapped side has its destination un-translated; a packet
//! from the real side has its source translated. Each new connection is also checked backwards: what its replies would
//! be translated to must be what the initiator called, else `nat-rpf-failed` (an outsider who calls a real address past
//! the public one does not get in). Worker cores, slow path.

use crate::key::Key;
use fedgate_tables::policy::{NONE, NatKind, NatRule};

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
        if !on(rule.mapped_if, in_if) || key.src & rule.dest_mask != rule.dest {
            return None;
        }
        let real_if = (rule.real_if != NONE).then_some(rule.real_if as u8);
        match NatKind::from_u8(rule.kind)? {
            NatKind::Static if key.dst & rule.real_mask == rule.mapped & rule.real_mask => {
                Some(Untranslated {
                    addr: rule.real | key.dst & !rule.real_mask,
                    port: key.dport,
                    rule: i,
                    real_if,
                })
            }
            NatKind::StaticPat
                if key.dst == rule.mapped && key.dport == rule.mapped_port && key.proto == rule.proto =>
            {
                Some(Untranslated { addr: rule.real, port: rule.real_port, rule: i, real_if })
            }
            NatKind::Identity if rule.real_mask != 0 && key.dst & rule.real_mask == rule.real => {
                Some(Untranslated { addr: key.dst, port: key.dport, rule: i, real_if })
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
            || key.src & rule.real_mask != rule.real
            || key.dst & rule.dest_mask != rule.dest
        {
            continue;
        }
        match NatKind::from_u8(rule.kind) {
            Some(NatKind::Static) => {
                let addr = rule.mapped & rule.real_mask | key.src & !rule.real_mask;
                return Source::Fixed { addr, port: key.sport, rule: i };
            }
            Some(NatKind::StaticPat) if key.sport == rule.real_port && key.proto == rule.proto => {
                return Source::Fixed { addr: rule.mapped, port: rule.mapped_port, rule: i };
            }
            Some(NatKind::DynamicPat) => return Source::Dynamic { addr: rule.mapped, rule: i },
            Some(NatKind::Identity) => return Source::Unchanged(Some(i)),
            Some(NatKind::StaticPat) | None => {}
        }
    }
    Source::Unchanged(None)
}

/// True where `addr` is shown on `in_if` by some PAT rule: a packet to it that no rule and no xlate takes has its own drop
/// reason, and the appliance answers ARP for it.
pub fn is_mapped_address(rules: &[NatRule], addr: u32, in_if: u8) -> bool {
    rules.iter().any(|rule| {
        on(rule.mapped_if, in_if)
            && match NatKind::from_u8(rule.kind) {
                Some(NatKind::StaticPat | NatKind::DynamicPat) => addr == rule.mapped,
                Some(NatKind::Static) => addr & rule.real_mask == rule.mapped & rule.real_mask,
                Some(NatKind::Identity) | None => false,
            }
    })
}

fn on(rule_if: u32, ifindex: u8) -> bool {
    rule_if == NONE || rule_if == u32::from(ifindex)
}
