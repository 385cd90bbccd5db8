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
    each(cx, "route6", view.routes6, route6)?;
    if !view.routes6.is_sorted_by_key(|r| (std::cmp::Reverse(r.prefix), r.metric)) {
        return Err(BadSegment::Section { section: "routes6", fault: Fault::Order });
    }
    each(cx, "acl", view.acls, acl)?;
    each(cx, "ace", view.aces, ace)?;
    each(cx, "ace6", view.aces6, ace6)?;
    each(cx, "time-range", view.time_ranges, time_range)?;
    each(cx, "period", view.periods, period)?;
    each(cx, "nat rule", view.nat, nat_rule)?;
    each(cx, "pool", view.pools, pool)?;
    each(cx, "class", view.classes, class)?;
    each(cx, "tls-proxy", view.tls_proxies, tls_proxy)?;
    each(cx, "trustpoint", view.trustpoints, trustpoint)?;
    each(cx, "shown", view.shown, shown)?;
    each(cx, "voucher", view.vouchers, voucher)?;
    each(cx, "name-trust", view.name_trust, name_trust)?;
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

/// An IPv6 network and its prefix length.
fn network6(net: [u8; 16], prefix: u8, field: &'static str) -> Finding {
    must(prefix <= 128, field, Fault::Mask)?;
    let host = u128::MAX.checked_shr(prefix.into()).unwrap_or(0);
    must(u128::from_be_bytes(net) & host == 0, field, Fault::HostBits)
}

fn range<T: PartialOrd>([first, last]: [T; 2], field: &'static str) -> Finding {
    must(first <= last, field, Fault::Range)
}

/// Two ranges of which one is translated to the other.
fn same_size<T: PartialOrd + Copy + std::ops::Sub<Output: PartialEq>>(
    a: [T; 2],
    b: [T; 2],
    field: &'static str,
) -> Finding {
    range(a, field)?;
    range(b, field)?;
    must(a[1] - a[0] == b[1] - b[0], field, Fault::Count)
}

/// A run of elements that another one names.
fn run<T>(first: u32, count: u32, of: &[T], field: &'static str) -> Finding {
    must(u64::from(first) + u64::from(count) <= of.len() as u64, field, Fault::OutOfBounds)
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
        addr6,
        prefix6,
        reserved,
    } = *element;
    name(cx, nameif, "name")?;
    name(cx, device, "device")?;
    mask(netmask, "mask")?;
    // RFC 791: every link carries 68 bytes.
    must(mtu >= 68, "mtu", Fault::Value)?;
    must(security <= 100, "security", Fault::Value)?;
    let known = IF_MAC_SET | IF_NO_PROXY_ARP | IF_SHUTDOWN | IF_VERIFY_REVERSE_PATH | IF_IPV6;
    must(flags & !known == 0, "flags", Fault::Bits)?;
    let usable = mac[0] & 1 == 0 && mac != [0; 6];
    must(flags & IF_MAC_SET == 0 || usable, "mac", Fault::Value)?;
    must(pad == [0; 2] && reserved == [0; 3], "reserved", Fault::Bits)?;
    must(prefix6 <= 128 && (prefix6 == 0) == (addr6 == [0; 16]), "prefix6", Fault::Value)?;
    must(addr6[0] != 0xff, "addr6", Fault::Value)?;
    must(prefix6 == 0 || flags & IF_IPV6 != 0, "addr6", Fault::Bits)?;
    index_or_none(acl_in, cx.view.acls, "acl_in")?;
    index_or_none(acl_out, cx.view.acls, "acl_out")
}

fn route(cx: &Context<'_>, element: &Route) -> Finding {
    let Route { net, mask, gateway: _, ifindex, metric: _ } = *element;
    network(net, mask, "net")?;
    index(ifindex, cx.view.interfaces, "ifindex")
}

fn route6(cx: &Context<'_>, element: &Route6) -> Finding {
    let Route6 { net, gateway: _, prefix, ifindex, metric: _ } = *element;
    must(prefix <= 128, "prefix", Fault::Mask)?;
    network6(net, prefix as u8, "net")?;
    index(ifindex, cx.view.interfaces, "ifindex")
}

fn acl(cx: &Context<'_>, element: &Acl) -> Finding {
    let Acl { name: title, first, count, first6, count6 } = *element;
    name(cx, title, "name")?;
    run(first, count, cx.view.aces, "aces")?;
    run(first6, count6, cx.view.aces6, "aces6")
}

fn ace(cx: &Context<'_>, element: &Ace) -> Finding {
    let Ace {
        src,
        src_mask,
        dst,
        dst_mask,
        sport,
        dport,
        proto: _,
        flags,
        time_range,
        line: _,
        id: _,
        counter,
        counter_base: _,
    } = *element;
    network(src, src_mask, "src")?;
    network(dst, dst_mask, "dst")?;
    ace_rest(cx, sport, dport, flags, time_range, counter)
}

fn ace6(cx: &Context<'_>, element: &Ace6) -> Finding {
    let Ace6 {
        src,
        dst,
        sport,
        dport,
        src_prefix,
        dst_prefix,
        proto: _,
        flags,
        time_range,
        pad,
        line: _,
        id: _,
        counter,
        pad2,
        counter_base: _,
    } = *element;
    network6(src, src_prefix, "src")?;
    network6(dst, dst_prefix, "dst")?;
    must(pad == 0 && pad2 == 0, "pad", Fault::Bits)?;
    ace_rest(cx, sport, dport, flags, time_range, counter)
}

fn ace_rest(
    cx: &Context<'_>,
    sport: [u16; 2],
    dport: [u16; 2],
    flags: u8,
    time_range: u16,
    counter: u32,
) -> Finding {
    range(sport, "sport")?;
    range(dport, "dport")?;
    must(
        flags & !(ACE_PERMIT | ACE_LOG | ACE_INACTIVE | ACE_ANY_PROTO | ACE_QUIET) == 0,
        "flags",
        Fault::Bits,
    )?;
    let known = time_range == NONE16 || usize::from(time_range) < cx.view.time_ranges.len();
    must(known, "time_range", Fault::Index)?;
    must(counter < MAX_ACE_COUNTERS, "counter", Fault::Value)
}

fn time_range(cx: &Context<'_>, element: &TimeRange) -> Finding {
    let TimeRange { name: title, start, end, first, count } = *element;
    name(cx, title, "name")?;
    must(start <= end, "end", Fault::Range)?;
    run(first, count, cx.view.periods, "periods")
}

fn period(_: &Context<'_>, element: &Period) -> Finding {
    let Period { from, to } = *element;
    must(from < WEEK_MINUTES, "from", Fault::Value)?;
    must((1..=WEEK_MINUTES).contains(&to), "to", Fault::Value)
}

fn pool(_: &Context<'_>, element: &AddrRange) -> Finding {
    let AddrRange { first, last } = *element;
    range([first, last], "addresses")
}

fn nat_rule(cx: &Context<'_>, element: &NatRule) -> Finding {
    let NatRule {
        real_if,
        mapped_if,
        real,
        mapped,
        dest_mapped,
        dest_real,
        real_port,
        mapped_port,
        dest_mapped_port,
        dest_real_port,
        pool,
        pool_count,
        flags,
        counter,
        kind,
        proto,
        section,
        pad,
        pad2,
        text: line,
    } = *element;
    index_or_none(real_if, cx.view.interfaces, "real_if")?;
    index_or_none(mapped_if, cx.view.interfaces, "mapped_if")?;
    range(real, "real")?;
    range(mapped, "mapped")?;
    same_size(dest_mapped, dest_real, "dest_real")?;
    same_size(real_port, mapped_port, "mapped_port")?;
    same_size(dest_mapped_port, dest_real_port, "dest_real_port")?;
    let any_port = real_port == ANY_PORT && dest_mapped_port == ANY_PORT;
    must(matches!(proto, 6 | 17) || (proto == 0 && any_port), "proto", Fault::Value)?;
    run(pool, pool_count, cx.view.pools, "pool")?;
    match NatKind::from_u8(kind).ok_or(("kind", Fault::Value))? {
        NatKind::Static | NatKind::Identity => same_size(real, mapped, "mapped")?,
        NatKind::StaticPat => {
            must(real[0] == real[1] && mapped[0] == mapped[1], "real", Fault::Value)?;
            must(proto != 0, "proto", Fault::Value)?;
            must(real_port[0] != 0 && mapped_port[0] != 0, "real_port", Fault::Value)?;
        }
        NatKind::DynamicPat => must(mapped[0] == mapped[1], "mapped", Fault::Value)?,
        NatKind::Dynamic => must(pool_count > 0, "pool", Fault::Empty)?,
    }
    must(flags & !NAT_FLAGS == 0, "flags", Fault::Bits)?;
    must(matches!(section, 1..=3), "section", Fault::Value)?;
    must(pad == 0 && pad2 == 0, "pad", Fault::Bits)?;
    must(counter < MAX_NAT_COUNTERS, "counter", Fault::Value)?;
    text(cx, line, "text")?;
    Ok(())
}

fn class(cx: &Context<'_>, element: &ServiceClass) -> Finding {
    let ServiceClass {
        name: title,
        acl,
        tls_proxy,
        flags,
        slot,
        // Any number is a limit or a time.
        conn_max: _,
        embryonic_max: _,
        per_client_max: _,
        per_client_embryonic_max: _,
        timeout_idle: _,
        timeout_half_closed: _,
        timeout_embryonic: _,
        reserved,
    } = *element;
    name(cx, title, "name")?;
    index_or_none(acl, cx.view.acls, "acl")?;
    index_or_none(tls_proxy, cx.view.tls_proxies, "tls_proxy")?;
    must(flags & !(CLASS_LIMITS | CLASS_STATE_BYPASS) == 0, "flags", Fault::Bits)?;
    must(slot < MAX_CLASS_SLOTS, "slot", Fault::Value)?;
    must(reserved == 0, "reserved", Fault::Bits)
}

fn tls_proxy(cx: &Context<'_>, element: &TlsProxy) -> Finding {
    let TlsProxy { name: title, server, client, inspect, pool } = *element;
    name(cx, title, "name")?;
    text(cx, inspect, "inspect")?;
    text(cx, pool, "pool")?;
    face(cx, &server, "server", FACE_FLAGS)?;
    face(cx, &client, "client", FACE_FLAGS & !FACE_NO_CLIENT_AUTH)
}

fn face(cx: &Context<'_>, element: &Face, field: &'static str, allowed: u32) -> Finding {
    let Face { first_shown, shown, first_voucher, vouchers, suites: bits, flags } = *element;
    if shown == 0 {
        // The proxy is not ready: it has no face to show, and says nothing of one.
        return must(vouchers == 0 && bits == 0 && flags == 0, field, Fault::Count);
    }
    run(first_shown, shown, cx.view.shown, field)?;
    run(first_voucher, vouchers, cx.view.vouchers, field)?;
    spoken(bits, flags, allowed, field)?;
    // Clients may go without a certificate only where the face is towards clients.
    let of_names = &cx.view.shown[first_shown as usize..][..shown as usize];
    of_names.iter().try_for_each(|shown| must(shown.flags & !allowed == 0, field, Fault::Bits))
}

fn spoken(bits: u32, flags: u32, allowed: u32, field: &'static str) -> Finding {
    must(flags & !allowed == 0 && bits & !ALL_SUITES == 0, field, Fault::Bits)?;
    must(flags & (FACE_TLS12 | FACE_TLS13) != 0, field, Fault::Value)?;
    let speaks = |version| flags & version == 0 || suites(bits, version).next().is_some();
    must(speaks(FACE_TLS12) && speaks(FACE_TLS13), field, Fault::Value)
}

fn shown(cx: &Context<'_>, element: &Shown) -> Finding {
    let Shown { trustpoint, domain, suites: bits, flags } = *element;
    index(trustpoint, cx.view.trustpoints, "trustpoint")?;
    if (bits, flags) != (0, 0) {
        spoken(bits, flags, FACE_FLAGS, "shown")?;
    }
    let domain = text(cx, domain, "domain")?;
    must(domain.is_empty() || is_canonical(domain.as_bytes()), "domain", Fault::NotCanonical)
}

fn voucher(cx: &Context<'_>, element: &u32) -> Finding {
    index(*element, cx.view.trustpoints, "trustpoint")
}

fn name_trust(cx: &Context<'_>, element: &NameTrust) -> Finding {
    let NameTrust { name, wildcard, trustpoint } = *element;
    must(is_canonical(text(cx, name, "name")?.as_bytes()), "name", Fault::NotCanonical)?;
    must(wildcard <= 1, "wildcard", Fault::Value)?;
    index(trustpoint, cx.view.trustpoints, "trustpoint")
}

fn trustpoint(cx: &Context<'_>, element: &Trustpoint) -> Finding {
    let Trustpoint { name: title, chain, key, cas, crls, revocation, reserved } = *element;
    name(cx, title, "name")?;
    text(cx, chain, "chain")?;
    text(cx, key, "key")?;
    text(cx, cas, "cas")?;
    text(cx, crls, "crls")?;
    must(revocation & !REVOCATION_FLAGS == 0, "revocation", Fault::Bits)?;
    must(reserved == 0, "reserved", Fault::Bits)?;
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
        timeout_sip_invite: _,
        timeout_sip_disconnect: _,
        timeout_sip_media: _,
        timeout_sip_provisional_media: _,
        timeout_pat_xlate: _,
        timeout_arp: _,
        max_proxy_sessions: _,
        timeout_xlate: _,
        timeout_conn_holddown: _,
        timeout_floating_conn: _,
        flags,
        acl_global,
        fragment_size,
        fragment_chain,
        fragment_timeout,
        block_size,
        blocks_per_host,
        utc_offset,
        reserved,
    } = *element;
    must(flags & !(SAME_SECURITY_INTER | SAME_SECURITY_INTRA | TELL_FLOWS) == 0, "flags", Fault::Bits)?;
    index_or_none(acl_global, cx.view.acls, "acl_global")?;
    must(fragment_size <= 30_000, "fragment_size", Fault::Value)?;
    must((1..=8200).contains(&fragment_chain), "fragment_chain", Fault::Value)?;
    must((1..=30).contains(&fragment_timeout), "fragment_timeout", Fault::Value)?;
    must((32..=4096).contains(&block_size), "block_size", Fault::Value)?;
    must((1..=8).contains(&blocks_per_host), "blocks_per_host", Fault::Value)?;
    must(utc_offset.unsigned_abs() <= 86_400, "utc_offset", Fault::Value)?;
    must(reserved == [0; 8], "reserved", Fault::Bits)
}
