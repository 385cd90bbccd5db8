// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builder and view against each other, and the view against every way in which a segment can be wrong.
//!
//! [`sample`] makes any legal policy; what the view reads must be what was pushed. Damage comes in two depths: as it
//! is (the checksum must find it) and with the checksum made right again, where the checks of meaning stand alone:
//! the segment is refused, or all of it can be walked without a panic.

use super::*;
use crate::policy_build::{BuildError, PolicyBuilder, seal};
use proptest::prelude::*;

/// A legal policy of some size, from numbers that proptest chooses.
fn sample(sizes: [usize; 6], bits: u32) -> PolicyBuilder {
    let [interfaces, routes, acls, nat, proxies, domains] = sizes;
    let mut b = PolicyBuilder::new();
    let mask = |n: usize| u32::MAX.checked_shl(32 - (n as u32 % 33)).unwrap_or(0);
    for i in 0..interfaces {
        let (name, device) = (b.blob(format!("if{i}").as_bytes()), b.blob(b"net_tap0,iface=fg\xc3\xa9"));
        let acl_in = if acls > 0 && i % 2 == 0 { (i % acls) as u32 } else { NONE };
        b.interface(Interface {
            name,
            device,
            addr: bits,
            mask: mask(i * 5),
            mtu: 1500,
            security: (i * 6) as u8,
            flags: IF_MAC_SET,
            mac: [2, 0, 0, 0, 0, i as u8],
            acl_in,
            acl_out: NONE,
            ..Interface::default()
        });
    }
    for i in 0..if interfaces > 0 { routes } else { 0 } {
        let mask = mask(i * 7 + bits as usize % 5);
        let ifindex = (i % interfaces) as u32;
        b.route(Route {
            net: bits.rotate_left(i as u32) & mask,
            mask,
            gateway: bits,
            ifindex,
            metric: i as u32 % 3,
        });
    }
    for i in 0..if interfaces > 0 { routes } else { 0 } {
        let net = (u128::from(bits) << 96 & u128::MAX << (128 - 32)).to_be_bytes();
        b.route6(Route6 { net, prefix: 32, metric: i as u32 % 3, ..Route6::default() });
    }
    for i in 0..acls {
        let name = b.blob(format!("acl{i}").as_bytes());
        let ace = |j: usize| Ace {
            src: bits & mask(j),
            src_mask: mask(j),
            dst: !bits & mask(32 - j % 33),
            dst_mask: mask(32 - j % 33),
            sport: [0, 65535],
            dport: [j as u16, j as u16 + 10],
            proto: 6,
            flags: ACE_PERMIT | ACE_LOG,
            line: j as u32,
            counter: (i * 8 + j) as u32,
            counter_base: u64::from(bits),
            ..Ace::default()
        };
        let week = b.blob(b"week");
        let (start, end) = (i64::MIN, i64::from(bits));
        let range = TimeRange { name: week, start, end, ..TimeRange::default() };
        let periods = [Period { from: 0, to: WEEK_MINUTES }, Period { from: WEEK_MINUTES - 1, to: 5 }];
        let time_range = b.time_range(range, &periods[..i % 3]) as u16;
        let ace6 = |j: usize| Ace6 {
            src: (u128::from(bits) << 96 & u128::MAX << (127 - j)).to_be_bytes(),
            src_prefix: 1 + j as u8,
            flags: ACE_PERMIT | ACE_ANY_PROTO,
            time_range,
            ..Ace6::default()
        };
        b.acl(name, &(0..i % 8).map(ace).collect::<Vec<_>>(), &(0..i % 4).map(ace6).collect::<Vec<_>>());
    }
    for i in 0..nat {
        let (pool, pool_count) = b.pool(&[AddrRange { first: bits.min(!bits), last: bits.max(!bits) }]);
        let text = b.blob(b"nat (inside,outside) source dynamic any interface");
        b.nat(NatRule {
            real_if: NONE,
            mapped_if: if interfaces > 0 { 0 } else { NONE },
            real: one_addr(bits),
            mapped: one_addr(!bits),
            real_port: one_port(5061),
            mapped_port: one_port(5061),
            pool,
            pool_count,
            kind: 1 + (i % 5) as u8,
            proto: 6,
            section: 1 + (i % 3) as u8,
            counter: i as u32,
            text,
            ..NatRule::default()
        });
    }
    for i in 0..proxies {
        let (name, pem) = (b.blob(format!("tp{i}").as_bytes()), b.blob(b"-----BEGIN CERTIFICATE-----"));
        let identity = if i % 2 == 0 { pem } else { Blob::default() };
        let tp =
            b.trustpoint(Trustpoint { name, chain: identity, key: identity, cas: pem, ..Default::default() });
        let shown = [
            Shown { trustpoint: tp, domain: b.blob(b"edge.example"), suites: 0b1000, flags: FACE_TLS12 },
            Shown { trustpoint: tp, ..Shown::default() },
        ];
        let (server, client) = (b.face(&shown, &[tp, 0]), b.face(&shown[1..], &[]));
        let proxy = b.tls_proxy(TlsProxy { name, server, client, ..TlsProxy::default() });
        if acls > 0 {
            b.class(ServiceClass {
                name,
                acl: (i % acls) as u32,
                tls_proxy: proxy,
                ..ServiceClass::default()
            });
        }
    }
    (0..domains).for_each(|i| b.local_domain(&format!("d{i}.example")));
    b.globals(Globals { timeout_conn: bits, ..Globals::default() });
    b
}

fn sizes() -> impl Strategy<Value = [usize; 6]> {
    [0..=16usize, 0..=12, 0..=9, 0..=7, 0..=5, 0..=4]
}

fn full() -> Vec<u8> {
    sample([4, 6, 5, 5, 3, 2], 0x0A00_0001).finish(7).unwrap()
}

/// Parses a copy in aligned memory.
fn checked(segment: &[u8]) -> Result<Checked, BadSegment> {
    Checked::copy_of(segment)
}

/// Follows everything a worker would follow.
fn walk(view: &PolicyView<'_>) -> usize {
    let mut seen = view.local_domains().map(<[u8]>::len).sum::<usize>();
    for i in view.interfaces() {
        seen += view.str(i.name).len() + view.str(i.device).len();
        seen += [i.acl_in, i.acl_out]
            .iter()
            .filter(|&&a| a != NONE)
            .map(|&a| view.acls()[a as usize].count as usize)
            .sum::<usize>();
    }
    seen += view.routes().iter().map(|r| view.interfaces()[r.ifindex as usize].mtu as usize).sum::<usize>();
    for acl in view.acls() {
        seen += view.str(acl.name).len() + view.aces_of(acl).len();
    }
    for rule in view.nat() {
        NatKind::from_u8(rule.kind).expect("checked");
        seen += view.str(rule.text).len();
    }
    for class in view.classes() {
        let proxy = &view.tls_proxies()[class.tls_proxy as usize];
        seen += view.str(class.name).len() + view.aces_of(&view.acls()[class.acl as usize]).len();
        seen += view.str(proxy.name).len();
        for face in [proxy.server, proxy.client] {
            seen += view
                .vouchers_of(&face)
                .map(|tp| view.str(tp.cas).len() + view.str(tp.crls).len())
                .sum::<usize>();
            for shown in view.shown_of(&face) {
                let tp = &view.trustpoints()[shown.trustpoint as usize];
                seen += view.str(shown.domain).len() + view.str(tp.chain).len() + view.str(tp.key).len();
            }
        }
    }
    let global = view.globals().acl_global;
    seen + if global == NONE { 0 } else { view.aces_of(&view.acls()[global as usize]).len() }
}

/// A TLS proxy that is good but for what `change` does to its client face.
fn shown_with(b: &mut PolicyBuilder, suites: u32, flags: u32) {
    let name = b.blob(b"p");
    let trustpoint = b.trustpoint(Trustpoint { name, ..Default::default() });
    let face = b.face(&[Shown { trustpoint, suites, flags, ..Shown::default() }], &[trustpoint]);
    b.tls_proxy(TlsProxy { name, server: face, client: face, ..TlsProxy::default() });
}

fn proxy_with(b: &mut PolicyBuilder, change: impl FnOnce(&mut Face)) {
    let name = b.blob(b"p");
    let trustpoint = b.trustpoint(Trustpoint { name, ..Default::default() });
    let server = b.face(&[Shown { trustpoint, ..Shown::default() }], &[trustpoint]);
    let mut client = server;
    change(&mut client);
    b.tls_proxy(TlsProxy { name, server, client, ..TlsProxy::default() });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_pushed_is_what_is_read(sizes in sizes(), bits: u32, generation in 1u64..) {
        let builder = sample(sizes, bits);
        let checked = checked(&builder.clone().finish(generation).unwrap()).unwrap();
        let view = checked.view();
        let [interfaces, routes, acls, nat, proxies, domains] = sizes;
        prop_assert_eq!(view.generation(), generation);
        prop_assert_eq!(view.interfaces().len(), interfaces);
        for (i, interface) in view.interfaces().iter().enumerate() {
            prop_assert_eq!(view.str(interface.name), format!("if{i}"));
            prop_assert_eq!((interface.addr, interface.security), (bits, (i * 6) as u8));
        }
        prop_assert_eq!(view.routes().len(), if interfaces > 0 { routes } else { 0 });
        prop_assert!(view.routes().windows(2).all(|w| (w[1].mask, w[0].metric) < (w[0].mask, u32::MAX)
            || w[0].mask == w[1].mask && w[0].metric <= w[1].metric));
        prop_assert_eq!(view.acls().len(), acls);
        for (i, acl) in view.acls().iter().enumerate() {
            let counters: Vec<_> = view.aces_of(acl).iter().map(|ace| ace.counter).collect();
            prop_assert_eq!(counters, (0..i % 8).map(|j| (i * 8 + j) as u32).collect::<Vec<_>>());
        }
        prop_assert_eq!((view.nat().len(), view.tls_proxies().len(), view.trustpoints().len()), (nat, proxies, proxies));
        prop_assert_eq!(view.classes().len(), if acls > 0 { proxies } else { 0 });
        let names: Vec<_> = view.local_domains().map(|n| String::from_utf8(n.to_vec()).unwrap()).collect();
        prop_assert_eq!(names, (0..domains).map(|i| format!("d{i}.example")).collect::<Vec<_>>());
        prop_assert_eq!(view.globals().timeout_conn, bits);
        walk(&view);
    }

    #[test]
    fn garbage_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1000)) {
        prop_assert!(checked(&bytes).is_err());
    }

    /// Several bytes, anywhere, checksum right: refused, or safe to walk.
    #[test]
    fn damage_below_the_checksum(damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut segment = full();
        for (at, byte) in damage {
            let at = at.index(segment.len());
            segment[at] = byte;
        }
        seal(&mut segment);
        if let Ok(checked) = checked(&segment) {
            walk(&checked.view());
        }
    }

    #[test]
    fn a_cut_or_lengthened_segment_is_refused(cut in 0usize..2000, tail in 1usize..64) {
        let segment = full();
        prop_assert!(checked(&segment[..cut.min(segment.len() - 1)]).is_err());
        let mut longer = segment;
        longer.resize(longer.len() + tail, 0);
        seal(&mut longer);
        let length_is_wrong = matches!(checked(&longer), Err(BadSegment::Length { .. }));
        prop_assert!(length_is_wrong);
    }
}

#[test]
fn every_single_byte_is_guarded() {
    let segment = full();
    for at in 0..segment.len() {
        for flip in [1u8, 0x80, 0xFF] {
            let mut bad = segment.clone();
            bad[at] ^= flip;
            assert!(checked(&bad).is_err(), "byte {at} changed unseen");
            seal(&mut bad);
            if let Ok(checked) = checked(&bad) {
                walk(&checked.view());
            }
        }
    }
}

/// Builds a policy with one thing wrong and gives the fault.
fn fault(change: impl FnOnce(&mut PolicyBuilder)) -> BadSegment {
    let mut builder = sample([2, 0, 2, 0, 1, 0], 0);
    change(&mut builder);
    match builder.finish(1) {
        Err(BuildError::Invalid(bad)) => bad,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_fault_is_named() {
    let named = Blob { offset: 0, len: 3 };
    let good_if = Interface {
        name: named,
        device: named,
        mtu: 1500,
        acl_in: NONE,
        acl_out: NONE,
        ..Default::default()
    };
    let good_nat = NatRule {
        real_if: NONE,
        mapped_if: NONE,
        real: one_addr(7),
        kind: 2,
        proto: 6,
        section: 1,
        real_port: one_port(1),
        mapped_port: one_port(1),
        ..Default::default()
    };
    let good_ace = Ace { sport: [0, 1], dport: [0, 1], ..Ace::default() };
    let cases: Vec<(BadSegment, &str, Fault)> = vec![
        (fault(|b| _ = b.interface(Interface { mask: 0xFF00_FF00, ..good_if })), "mask", Fault::Mask),
        (fault(|b| _ = b.interface(Interface { name: Blob::default(), ..good_if })), "name", Fault::Empty),
        (
            fault(|b| _ = b.interface(Interface { name: Blob { offset: 9999, len: 1 }, ..good_if })),
            "name",
            Fault::OutOfBounds,
        ),
        (
            fault(|b| {
                _ = b.interface(Interface { name: Blob { offset: u32::MAX, len: u32::MAX }, ..good_if })
            }),
            "name",
            Fault::OutOfBounds,
        ),
        (fault(|b| _ = b.interface(Interface { mtu: 67, ..good_if })), "mtu", Fault::Value),
        (fault(|b| _ = b.interface(Interface { security: 101, ..good_if })), "security", Fault::Value),
        (fault(|b| _ = b.interface(Interface { flags: 32, ..good_if })), "flags", Fault::Bits),
        (
            fault(|b| _ = b.interface(Interface { flags: IF_MAC_SET, mac: [1, 0, 0, 0, 0, 0], ..good_if })),
            "mac",
            Fault::Value,
        ),
        (fault(|b| _ = b.interface(Interface { pad: [0, 1], ..good_if })), "reserved", Fault::Bits),
        (fault(|b| _ = b.interface(Interface { acl_out: 2, ..good_if })), "acl_out", Fault::Index),
        (fault(|b| b.route(Route { ifindex: 2, ..Route::default() })), "ifindex", Fault::Index),
        (fault(|b| b.route(Route { ifindex: NONE, ..Route::default() })), "ifindex", Fault::Index),
        (fault(|b| b.route(Route { net: 1, mask: !1, ..Route::default() })), "net", Fault::HostBits),
        (fault(|b| _ = b.acl(named, &[Ace { sport: [2, 1], ..good_ace }], &[])), "sport", Fault::Range),
        (fault(|b| _ = b.acl(named, &[Ace { dport: [2, 1], ..good_ace }], &[])), "dport", Fault::Range),
        (fault(|b| _ = b.acl(named, &[Ace { dst: 1, ..good_ace }], &[])), "dst", Fault::HostBits),
        (fault(|b| _ = b.acl(named, &[Ace { src_mask: 1, ..good_ace }], &[])), "src", Fault::Mask),
        (fault(|b| _ = b.acl(named, &[Ace { flags: 32, ..good_ace }], &[])), "flags", Fault::Bits),
        (
            fault(|b| _ = b.acl(named, &[Ace { counter: MAX_ACE_COUNTERS, ..good_ace }], &[])),
            "counter",
            Fault::Value,
        ),
        (fault(|b| _ = b.acl(named, &[Ace { time_range: 9, ..good_ace }], &[])), "time_range", Fault::Index),
        (
            fault(|b| _ = b.acl(named, &[], &[Ace6 { src_prefix: 129, ..Ace6::default() }])),
            "src",
            Fault::Mask,
        ),
        (
            fault(|b| _ = b.acl(named, &[], &[Ace6 { dst: [1; 16], ..Ace6::default() }])),
            "dst",
            Fault::HostBits,
        ),
        (
            fault(|b| b.route6(Route6 { prefix: 0, net: [1; 16], ..Route6::default() })),
            "net",
            Fault::HostBits,
        ),
        (fault(|b| _ = b.interface(Interface { prefix6: 64, ..good_if })), "prefix6", Fault::Value),
        (
            fault(|b| _ = b.time_range(TimeRange { name: named, start: 1, ..TimeRange::default() }, &[])),
            "end",
            Fault::Range,
        ),
        (
            fault(|b| {
                let range = TimeRange { name: named, ..TimeRange::default() };
                b.time_range(range, &[Period { from: WEEK_MINUTES, to: 1 }]);
            }),
            "from",
            Fault::Value,
        ),
        (fault(|b| _ = b.pool(&[AddrRange { first: 2, last: 1 }])), "addresses", Fault::Range),
        (fault(|b| _ = b.nat(NatRule { pool_count: 9, ..good_nat })), "pool", Fault::OutOfBounds),
        (fault(|b| _ = b.nat(NatRule { flags: 1024, ..good_nat })), "flags", Fault::Bits),
        (
            fault(|b| {
                _ = b.nat(NatRule {
                    kind: 5,
                    proto: 0,
                    real_port: ANY_PORT,
                    mapped_port: ANY_PORT,
                    ..good_nat
                })
            }),
            "pool",
            Fault::Empty,
        ),
        (
            fault(|b| {
                _ = b.class(ServiceClass { name: named, slot: MAX_CLASS_SLOTS, ..ServiceClass::default() })
            }),
            "slot",
            Fault::Value,
        ),
        (
            fault(|b| b.globals(Globals { fragment_chain: 0, ..Globals::default() })),
            "fragment_chain",
            Fault::Value,
        ),
        (fault(|b| _ = b.nat(NatRule { kind: 6, ..good_nat })), "kind", Fault::Value),
        (fault(|b| _ = b.nat(NatRule { section: 0, ..good_nat })), "section", Fault::Value),
        (fault(|b| _ = b.nat(NatRule { counter: MAX_NAT_COUNTERS, ..good_nat })), "counter", Fault::Value),
        (fault(|b| _ = b.nat(NatRule { proto: 1, ..good_nat })), "proto", Fault::Value),
        (fault(|b| _ = b.nat(NatRule { mapped_port: one_port(0), ..good_nat })), "real_port", Fault::Value),
        (fault(|b| _ = b.nat(NatRule { real_if: 2, ..good_nat })), "real_if", Fault::Index),
        (
            fault(|b| _ = b.nat(NatRule { kind: 1, real: [0, 1], mapped: [1, 3], ..good_nat })),
            "mapped",
            Fault::Count,
        ),
        (
            fault(|b| _ = b.class(ServiceClass { name: named, acl: 9, ..ServiceClass::default() })),
            "acl",
            Fault::Index,
        ),
        (
            fault(|b| _ = b.class(ServiceClass { name: named, tls_proxy: 9, ..ServiceClass::default() })),
            "tls_proxy",
            Fault::Index,
        ),
        (
            fault(|b| _ = b.face(&[Shown { trustpoint: 1, ..Shown::default() }], &[])),
            "trustpoint",
            Fault::Index,
        ),
        (fault(|b| _ = b.face(&[], &[1])), "trustpoint", Fault::Index),
        (fault(|b| shown_with(b, ALL_SUITES, 0)), "shown", Fault::Value),
        (fault(|b| shown_with(b, 0b1000, FACE_TLS13)), "shown", Fault::Value),
        (fault(|b| shown_with(b, 1 << 31, FACE_TLS13)), "shown", Fault::Bits),
        (fault(|b| shown_with(b, ALL_SUITES, FACE_TLS13 | FACE_NO_CLIENT_AUTH)), "client", Fault::Bits),
        (fault(|b| b.name_trust(NameTrust::default())), "name", Fault::NotCanonical),
        (
            fault(|b| {
                let name = b.blob(b"partner.example");
                b.name_trust(NameTrust { name, wildcard: 0, trustpoint: 5 });
            }),
            "trustpoint",
            Fault::Index,
        ),
        (
            fault(|b| {
                let trustpoint = b.trustpoint(Trustpoint { name: named, ..Default::default() });
                let domain = b.blob(b"Upper.example");
                _ = b.face(&[Shown { trustpoint, domain, ..Shown::default() }], &[]);
            }),
            "domain",
            Fault::NotCanonical,
        ),
        // A face that shows nothing says nothing else.
        (
            fault(|b| {
                let server = Face { flags: FACE_TLS13, ..Face::default() };
                _ = b.tls_proxy(TlsProxy { name: named, server, ..Default::default() });
            }),
            "server",
            Fault::Count,
        ),
        (fault(|b| proxy_with(b, |face| face.vouchers = 2)), "client", Fault::OutOfBounds),
        (
            fault(|b| proxy_with(b, |face| face.flags = FACE_NO_CLIENT_AUTH | FACE_TLS12)),
            "client",
            Fault::Bits,
        ),
        (fault(|b| proxy_with(b, |face| face.suites = ALL_SUITES + 1)), "client", Fault::Bits),
        (fault(|b| proxy_with(b, |face| face.suites = 1)), "client", Fault::Value),
        (fault(|b| proxy_with(b, |face| face.flags = 0)), "client", Fault::Value),
        (
            fault(|b| _ = b.trustpoint(Trustpoint { name: named, revocation: 8, ..Default::default() })),
            "revocation",
            Fault::Bits,
        ),
        (
            fault(|b| _ = b.trustpoint(Trustpoint { name: named, chain: named, ..Default::default() })),
            "key",
            Fault::HalfIdentity,
        ),
        (fault(|b| b.local_domain("Upper.example")), "name", Fault::NotCanonical),
        (fault(|b| b.globals(Globals { flags: 8, ..Globals::default() })), "flags", Fault::Bits),
        (fault(|b| b.globals(Globals { acl_global: 2, ..Globals::default() })), "acl_global", Fault::Index),
    ];
    for (i, (bad, wants_field, wants_fault)) in cases.into_iter().enumerate() {
        match bad {
            BadSegment::Element { field, fault, .. } => {
                assert_eq!((field, fault), (wants_field, wants_fault), "case {i}");
            }
            other => panic!("case {i}: {other:?}"),
        }
    }
}

#[test]
fn faults_of_the_whole() {
    assert_eq!(sample([0; 6], 0).finish(0), Err(BuildError::Invalid(BadSegment::Generation)));
    let heap = fault(|b| _ = b.blob(b"\xFF\xFE"));
    assert_eq!(heap, BadSegment::Section { section: "heap", fault: Fault::Utf8 });
    let name = Interface {
        name: Blob { offset: 0, len: 3 },
        device: Blob { offset: 0, len: 3 },
        mtu: 1500,
        acl_in: NONE,
        acl_out: NONE,
        ..Default::default()
    };
    let many = fault(|b| (0..15).for_each(|_| _ = b.interface(name)));
    assert_eq!(many, BadSegment::Section { section: "interfaces", fault: Fault::Count });
    let mut huge = PolicyBuilder::new();
    huge.blob(&vec![b'a'; MAX_POLICY_BYTES - 100]);
    huge.blob(&vec![b'b'; MAX_POLICY_BYTES]);
    assert!(
        matches!(huge.finish(1), Err(BuildError::TooLarge { bytes }) if bytes > 2 * MAX_POLICY_BYTES as u64 - 100)
    );
}

/// Changes the header of a legal segment and makes the checksum right.
fn header_fault(change: impl FnOnce(&mut Header)) -> BadSegment {
    let mut segment = full();
    let (mut header, _) = Header::read_from_prefix(&segment).unwrap();
    change(&mut header);
    segment[..size_of::<Header>()].copy_from_slice(header.as_bytes());
    seal(&mut segment);
    checked(&segment).unwrap_err()
}

#[test]
fn faults_of_the_header() {
    let section = |section, fault| BadSegment::Section { section, fault };
    assert_eq!(header_fault(|h| h.magic = 1), BadSegment::Magic(1));
    assert_eq!(header_fault(|h| h.layout = 99), BadSegment::Layout(99));
    assert!(matches!(header_fault(|h| h.length += 8), BadSegment::Length { .. }));
    assert_eq!(header_fault(|h| h.reserved = 1), section("header", Fault::Bits));
    assert_eq!(header_fault(|h| h.aces.offset += 4), section("aces", Fault::Misaligned));
    assert_eq!(header_fault(|h| h.aces.offset = 0), section("aces", Fault::Overlap));
    assert_eq!(header_fault(|h| h.aces.count = u32::MAX), section("aces", Fault::OutOfBounds));
    assert_eq!(header_fault(|h| h.globals.count = 0), section("globals", Fault::Count));
    assert_eq!(checked(&[]).unwrap_err(), BadSegment::Size(0));
    let aligned = [0u64; 40];
    assert_eq!(PolicyView::parse(&aligned.as_bytes()[1..300]).unwrap_err(), BadSegment::Misaligned);
}

#[test]
fn routes_out_of_order_and_a_cut_character() {
    let mut b = sample([1, 0, 0, 0, 0, 0], 0);
    b.route(Route { net: 0x0A00_0000, mask: 0xFF00_0000, ..Route::default() });
    b.route(Route::default());
    let mut segment = b.finish(1).unwrap();
    let view = PolicyView::parse(&segment).unwrap();
    assert_eq!(view.routes()[0].mask, 0xFF00_0000);
    let (header, _) = Header::read_from_prefix(&segment).unwrap();
    let at = header.routes.offset as usize;
    let size = size_of::<Route>();
    let (first, second) = (segment[at..at + size].to_vec(), segment[at + size..at + 2 * size].to_vec());
    segment[at..at + size].copy_from_slice(&second);
    segment[at + size..at + 2 * size].copy_from_slice(&first);
    seal(&mut segment);
    assert_eq!(
        checked(&segment).unwrap_err(),
        BadSegment::Section { section: "routes", fault: Fault::Order }
    );

    // The device's name ends in a character of two bytes; a blob that ends between them is no text.
    let cut = fault(|b| {
        let whole = b.blob("é".as_bytes());
        let half = Blob { offset: whole.offset, len: 1 };
        b.acl(half, &[], &[]);
    });
    assert!(
        matches!(cut, BadSegment::Element { section: "acl", field: "name", fault: Fault::Utf8, .. }),
        "{cut:?}"
    );
}

#[test]
fn through_a_sealed_region() {
    let region = Region::sealed("t", &full()).unwrap();
    let foreign = Region::map_ro(region.fd().try_clone_to_owned().unwrap()).unwrap();
    let checked = Checked::new(foreign).unwrap();
    assert_eq!((checked.view().generation(), checked.view().interfaces().len()), (7, 4));
    assert!(checked.region().is_some());
    let garbage = Region::sealed("t", &[7; 300]).unwrap();
    assert!(matches!(Checked::new(garbage), Err(BadSegment::Magic(_))));
}
