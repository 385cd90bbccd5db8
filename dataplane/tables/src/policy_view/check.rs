// SPDX-License-Identifier: MIT OR Apache-2.0
//! The meaning of every element of a policy: what workers rely on without looking again.
//!
//! One function a kind of element, in the order of the header. Each names the field and the [`Fault`] for the log
//! line that says why a segment was refused. Runs on the housekeeping thread, and in control before anything is
//! sent. Bytes that mean nothing (pads, reserved words, flag bits) must be zero, so that a later layout can give
//! them a meaning. Every struct is taken apart in full, so a new field that nobody checks does not compile.
//!
//! The work is linear in the segment even for a hostile one: the heap is proved to be UTF-8 once, and a blob, of
//! which any number may name the same long text, needs only bounds on character borders.

use super::{BadSegment, Fault, MAX_ACE_COUNTERS, MAX_NAT_COUNTERS, PolicyView};
use crate::domains::is_canonical;
use crate::policy::*;

/// Checks all elements of a view whose sections are in bounds.
pub(super) fn elements(view: &PolicyView<'_>) -> Result<(), BadSegment> {
    if view.header.reserved != 0 {
        return Err(BadSegment::Section { section: "header", fault: Fault::Bits });
    }
    let text = std::str::from_utf8(view.heap)
        .map_err(|_| BadSegment::Section { section: "heap", fault: Fault::Utf8 })?;
    let cx = &Context { view: *view, text };
    each(cx, "interface", view.interfaces, interface)?;
    each(cx, "route", view.routes, route)?;
    let ordered = view.routes.is_sorted_by_key(|r| (std::cmp::Reverse(r.mask.count_ones()), r.metric));
    if !ordered {
        return Err(BadSegment::Section { section: "routes", fault: Fault::Order });
    }
    each(cx, "acl", view.acls, acl)?;
    each(cx, "ace", view.aces, ace)?;
    each(cx, "nat rule", view.nat, nat_rule)?;
    each(cx, "class", view.classes, class)?;
    each(cx, "tls-proxy", view.tls_proxies, tls_proxy)?;
    each(cx, "trustpoint", view.trustpoints, trustpoint)?;
    each(cx, "local domain", view.local_domains, local_domain)?;
    each(cx, "globals", std::slice::from_ref(view.globals), globals)
}

/// What the checks look at.
struct Context<'a> {
    view: PolicyView<'a>,
    /// The whole heap.
    text: &'a str,
}

/// A fault and the field that has it.
type Finding = Result<(), (&'static str, Fault)>;

fn each<T>(
    cx: &Context<'_>,
    section: &'static str,
    elements: &[T],
    check: fn(&Context<'_>, &T) -> Finding,
) -> Result<(), BadSegment> {
    for (index, element) in elements.iter().enumerate() {
        check(cx, element).map_err(|(field, fault)| BadSegment::Element { section, index, field, fault })?;
    }
    Ok(())
}

fn must(holds: bool, field: &'static str, fault: Fault) -> Finding {
    if holds { Ok(()) } else { Err((field, fault)) }
}

/// The text of a blob not yet known to be good; may be empty.
fn text<'a>(cx: &Context<'a>, blob: Blob, field: &'static str) -> Result<&'a str, (&'static str, Fault)> {
    let start = blob.offset as usize;
    // No overflow: two u32 in a 64-bit usize.
    let end = start + blob.len as usize;
    must(end <= cx.text.len(), field, Fault::OutOfBounds)?;
    cx.text.get(start..end).ok_or((field, Fault::Utf8))
}

/// Text that must be there.
fn name(cx: &Context<'_>, blob: Blob, field: &'static str) -> Finding {
    must(!text(cx, blob, field)?.is_empty(), field, Fault::Empty)
}

fn mask(mask: u32, field: &'static str) -> Finding {
    must(mask.leading_ones() == mask.count_ones(), field, Fault::Mask)
}

/// A network and its mask.
fn network(net: u32, net_mask: u32, field: &'static str) -> Finding {
    mask(net_mask, field)?;
    must(net & !net_mask == 0, field, Fault::HostBits)
}

fn index<T>(index: u32, of: &[T], field: &'static str) -> Finding {
    must((index as usize) < of.len(), field, Fault::Index)
}

fn index_or_none<T>(value: u32, of: &[T], field: &'static str) -> Finding {
    if value == NONE { Ok(()) } else { index(value, of, field) }
}

fn interface(cx: &Context<'_>, element: &Interface) -> Finding {
    let Interface {
        name: nameif,
        device,
        addr: _,
        mask: netmask,
        mtu,
        security,
        flags,
        mac,
        pad,
        acl_in,
        acl_out,
        reserved,
    } = *element;
    name(cx, nameif, "name")?;
    name(cx, device, "device")?;
    mask(netmask, "mask")?;
    // RFC 791: every link carries 68 bytes.
    must(mtu >= 68, "mtu", Fault::Value)?;
    must(security <= 100, "security", Fault::Value)?;
    must(flags & !(IF_MAC_SET | IF_NO_PROXY_ARP | IF_SHUTDOWN) == 0, "flags", Fault::Bits)?;
    let usable = mac[0] & 1 == 0 && mac != [0; 6];
    must(flags & IF_MAC_SET == 0 || usable, "mac", Fault::Value)?;
    must(pad == [0; 2] && reserved == [0; 5], "reserved", Fault::Bits)?;
    index_or_none(acl_in, cx.view.acls, "acl_in")?;
    index_or_none(acl_out, cx.view.acls, "acl_out")
}

fn route(cx: &Context<'_>, element: &Route) -> Finding {
    let Route { net, mask, gateway: _, ifindex, metric: _ } = *element;
    network(net, mask, "net")?;
    index(ifindex, cx.view.interfaces, "ifindex")
}

fn acl(cx: &Context<'_>, element: &Acl) -> Finding {
    let Acl { name: title, first, count } = *element;
    name(cx, title, "name")?;
    must(first as u64 + count as u64 <= cx.view.aces.len() as u64, "aces", Fault::OutOfBounds)
}

fn ace(_: &Context<'_>, element: &Ace) -> Finding {
    let Ace {
        src,
        src_mask,
        dst,
        dst_mask,
        sport,
        dport,
        proto: _,
        flags,
        line: _,
        id: _,
        counter,
        pad,
        counter_base: _,
    } = *element;
    network(src, src_mask, "src")?;
    network(dst, dst_mask, "dst")?;
    must(sport[0] <= sport[1], "sport", Fault::Range)?;
    must(dport[0] <= dport[1], "dport", Fault::Range)?;
    must(flags & !(ACE_PERMIT | ACE_LOG | ACE_INACTIVE | ACE_ANY_PROTO) == 0, "flags", Fault::Bits)?;
    must(counter < MAX_ACE_COUNTERS, "counter", Fault::Value)?;
    must(pad == 0, "pad", Fault::Bits)
}

fn nat_rule(cx: &Context<'_>, element: &NatRule) -> Finding {
    let NatRule {
        real_if,
        mapped_if,
        real,
        real_mask,
        mapped,
        dest,
        dest_mask,
        real_port,
        mapped_port,
        kind,
        proto,
        section,
        pad,
        counter,
        text: line,
    } = *element;
    index_or_none(real_if, cx.view.interfaces, "real_if")?;
    index_or_none(mapped_if, cx.view.interfaces, "mapped_if")?;
    network(real, real_mask, "real")?;
    network(dest, dest_mask, "dest")?;
    match NatKind::from_u8(kind).ok_or(("kind", Fault::Value))? {
        NatKind::Static => network(mapped, real_mask, "mapped")?,
        NatKind::StaticPat => {
            must(real_mask == u32::MAX, "real_mask", Fault::Value)?;
            must(matches!(proto, 6 | 17), "proto", Fault::Value)?;
            must(real_port != 0, "real_port", Fault::Value)?;
            must(mapped_port != 0, "mapped_port", Fault::Value)?;
        }
        NatKind::DynamicPat | NatKind::Identity => {}
    }
    must(matches!(section, 1..=3), "section", Fault::Value)?;
    must(pad == 0, "pad", Fault::Bits)?;
    must(counter < MAX_NAT_COUNTERS, "counter", Fault::Value)?;
    text(cx, line, "text")?;
    Ok(())
}

fn class(cx: &Context<'_>, element: &ServiceClass) -> Finding {
    let ServiceClass { name: title, acl, tls_proxy } = *element;
    name(cx, title, "name")?;
    index(acl, cx.view.acls, "acl")?;
    index(tls_proxy, cx.view.tls_proxies, "tls_proxy")
}

fn tls_proxy(cx: &Context<'_>, element: &TlsProxy) -> Finding {
    let TlsProxy { name: title, server_trustpoint, client_trustpoint } = *element;
    name(cx, title, "name")?;
    index_or_none(server_trustpoint, cx.view.trustpoints, "server_trustpoint")?;
    index_or_none(client_trustpoint, cx.view.trustpoints, "client_trustpoint")
}

fn trustpoint(cx: &Context<'_>, element: &Trustpoint) -> Finding {
    let Trustpoint { name: title, chain, key, cas } = *element;
    name(cx, title, "name")?;
    text(cx, chain, "chain")?;
    text(cx, key, "key")?;
    text(cx, cas, "cas")?;
    must((chain.len == 0) == (key.len == 0), "key", Fault::HalfIdentity)
}

fn local_domain(cx: &Context<'_>, element: &Blob) -> Finding {
    must(is_canonical(text(cx, *element, "name")?.as_bytes()), "name", Fault::NotCanonical)
}

fn globals(cx: &Context<'_>, element: &Globals) -> Finding {
    let Globals {
        // Any number of seconds is a timeout, and 0 is "never", as on the ASA.
        timeout_conn: _,
        timeout_half_closed: _,
        timeout_embryonic: _,
        timeout_udp: _,
        timeout_icmp: _,
        timeout_sip: _,
        timeout_pat_xlate: _,
        timeout_arp: _,
        max_proxy_sessions: _,
        flags,
        acl_global,
        reserved,
    } = *element;
    must(flags & !(SAME_SECURITY_INTER | SAME_SECURITY_INTRA) == 0, "flags", Fault::Bits)?;
    index_or_none(acl_global, cx.view.acls, "acl_global")?;
    must(reserved == [0; 5], "reserved", Fault::Bits)
}
