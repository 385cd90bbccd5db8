// SPDX-License-Identifier: MIT OR Apache-2.0
//! First-match classification of a connection's first packet, as an ASA of 8.3 and later sees it: real addresses.
//!
//! A plain walk over the ACL's run of ACEs. Only a connection's first packet comes here, so a few thousand ACEs
//! are fine; a compiled classifier takes this place when it is measured better, and this walk becomes its oracle.
//! Worker cores, slow path.

use crate::key::{ICMP, Key};
use fedgate_tables::policy::{
    ACE_ANY_PROTO, ACE_INACTIVE, ACE_PERMIT, Ace, Acl, Interface, NONE, SAME_SECURITY_INTER,
    SAME_SECURITY_INTRA,
};

/// What an ACL says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Passes.
    pub permit: bool,
    /// The ACE that decided, as an index into all ACEs; `None` for the implicit deny.
    pub ace: Option<u32>,
}

/// First match of `key` in `acl`; `icmp_type` counts where the protocol is ICMP.
pub fn classify(acl: &Acl, aces: &[Ace], key: &Key, icmp_type: u8) -> Decision {
    let first = acl.first as usize;
    let run = aces.get(first..first + acl.count as usize).unwrap_or_default();
    for (i, ace) in run.iter().enumerate() {
        if matches(ace, key, icmp_type) {
            return Decision { permit: ace.flags & ACE_PERMIT != 0, ace: Some((first + i) as u32) };
        }
    }
    Decision { permit: false, ace: None }
}

fn matches(ace: &Ace, key: &Key, icmp_type: u8) -> bool {
    if ace.flags & ACE_INACTIVE != 0 {
        return false;
    }
    if key.src & ace.src_mask != ace.src || key.dst & ace.dst_mask != ace.dst {
        return false;
    }
    if ace.flags & ACE_ANY_PROTO != 0 {
        return true;
    }
    if key.proto != ace.proto {
        return false;
    }
    let within = |range: [u16; 2], v: u16| range[0] <= v && v <= range[1];
    if key.proto == ICMP {
        return within(ace.dport, u16::from(icmp_type)); // codes: with the compiled classifier
    }
    within(ace.sport, key.sport) && within(ace.dport, key.dport)
}

/// The rule where no ACL stands on the way in: from a higher to a lower security level is permitted; between equal
/// levels, and back out of the same interface, only as `same-security-traffic` says.
pub fn by_security_level(from: (usize, &Interface), to: (usize, &Interface), flags: u32) -> bool {
    if from.0 == to.0 {
        return flags & SAME_SECURITY_INTRA != 0;
    }
    if from.1.security == to.1.security {
        return flags & SAME_SECURITY_INTER != 0;
    }
    from.1.security > to.1.security
}

/// The ACL at an index that may be [`NONE`].
pub fn at(acls: &[Acl], index: u32) -> Option<&Acl> {
    if index == NONE { None } else { acls.get(index as usize) }
}
