// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writing a translation into the fragments of a datagram that virtual reassembly has let go (RFC 4787 REQ-14).
//!
//! Only the first one has ports and a TCP, UDP or ICMP checksum; that checksum is over the whole datagram, so a change of addresses
//! and ports changes it in the same way as in one that came whole, and [`rewrite::translate`] does it. The others have addresses, TTL and
//! the IP checksum. Datagrams of many hosts that are shown as one may not share its identifications (RFC 6864 5.3), or
//! their pieces would be mixed at the far end; so all pieces get a new one. Worker cores, slow path.

use crate::key::Key;
use crate::rewrite::{self, Deltas};
use fedgate_wire::checksum::Delta;
use fedgate_wire::{Fragment, Ipv4, Parsed};

/// Rewrites one fragment to leave as `to`, one hop older, under the identification `ident` if that is to change. `parsed` must be of
/// this frame, with a TTL above 1; what does not fit the frame leaves it as it was.
pub fn translate(frame: &mut [u8], parsed: &Parsed, to: &Key, deltas: Deltas, ident: Option<u16>) {
    match parsed.frag {
        Fragment::No | Fragment::First => {
            rewrite::translate(frame, &Parsed { frag: Fragment::No, ..*parsed }, to, deltas);
        }
        Fragment::Later => later(frame, parsed, to),
    }
    if let Some(new) = ident
        && let Some(mut ip) = header(frame, parsed)
    {
        let change = Delta::word(ip.ident(), new);
        ip.set_ident(new);
        ip.set_checksum(change.apply(ip.checksum()));
    }
}

fn later(frame: &mut [u8], parsed: &Parsed, to: &Key) {
    let Some(mut ip) = header(frame, parsed) else { return };
    let change = Delta::addr(ip.src(), to.src).and(Delta::addr(ip.dst(), to.dst));
    ip.set_src(to.src);
    ip.set_dst(to.dst);
    ip.set_checksum(change.apply(ip.checksum()));
    ip.decrement_ttl();
}

fn header<'a>(frame: &'a mut [u8], parsed: &Parsed) -> Option<Ipv4<&'a mut [u8]>> {
    Ipv4::new_checked(frame.get_mut(usize::from(parsed.l3)..)?).ok()
}
