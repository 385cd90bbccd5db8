// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fast sums and the incremental update against the definition in RFC 1071, word by word.
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::vec::Vec;

/// RFC 1071's definition: add 16-bit words, end-around carry at each step.
fn slow_sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u32::from(*b));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}

fn pseudo(src: u32, dst: u32, proto: u8, segment: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    all.extend(src.to_be_bytes());
    all.extend(dst.to_be_bytes());
    all.extend([0, proto]);
    all.extend((segment.len() as u16).to_be_bytes());
    all.extend(segment);
    all
}

/// Words where carries and the two zeros meet, beside any others.
fn word() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0u16), Just(0xffff), Just(1), Just(0xfffe), Just(0x8000), any::<u16>()]
}

fn addr() -> impl Strategy<Value = u32> {
    (word(), word()).prop_map(|(hi, lo)| u32::from(hi) << 16 | u32::from(lo))
}

#[test]
fn rfc_1071_example() {
    assert_eq!(Sum::default().bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).folded(), 0xddf2);
}

#[test]
fn rfc_1624_example() {
    // Section 4: HC = 0xDD2F, m = 0x5555 becomes 0x3285; equation 3 gives 0x0000 (equation 2 gave 0xFFFF).
    assert_eq!(Delta::word(0x5555, 0x3285).apply(0xdd2f), 0x0000);
}

#[test]
fn no_change_changes_nothing() {
    for field in [0u16, 1, 0x7fff, 0xfffe, 0xffff] {
        assert_eq!(Delta::NONE.apply(field), field);
        assert_eq!(Delta::NONE.apply_udp(field), field);
    }
}

#[test]
fn a_long_run_of_ones_does_not_overflow() {
    let bytes = [0xff; 65_535];
    assert_eq!(Sum::default().bytes(&bytes).folded(), slow_sum(&bytes));
}

proptest! {
    #[test]
    fn sum_is_the_definition(bytes in vec(prop_oneof![Just(0u8), Just(0xff), any::<u8>()], 0..200)) {
        prop_assert_eq!(Sum::default().bytes(&bytes).folded(), slow_sum(&bytes));
        prop_assert_eq!(of(&bytes), !slow_sum(&bytes));
        prop_assert_eq!(is_valid(&bytes), slow_sum(&bytes) == 0xffff);
    }

    #[test]
    fn sum_of_pieces_is_the_sum(a in vec(any::<u8>(), 0..40), b in vec(any::<u8>(), 0..40)) {
        let a = &a[..a.len() & !1];
        let whole: Vec<u8> = a.iter().chain(&b).copied().collect();
        prop_assert_eq!(Sum::default().bytes(a).bytes(&b).folded(), slow_sum(&whole));
    }

    #[test]
    fn header_sum_is_the_sum(header in prop::array::uniform20(any::<u8>())) {
        let mut header = header;
        header[0] = 0x45;
        prop_assert_eq!(is_valid_header(&header), slow_sum(&header) == 0xffff);
        header[10..12].fill(0);
        let sum = of(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        prop_assert!(is_valid_header(&header) && is_valid(&header));
    }

    #[test]
    fn segments_are_summed_with_their_pseudo_header(
        src in addr(), dst in addr(), proto in 1u8.., segment in vec(any::<u8>(), 0..100),
    ) {
        let all = pseudo(src, dst, proto, &segment);
        prop_assert_eq!(of_segment(src, dst, proto, &segment), !slow_sum(&all));
        prop_assert_eq!(is_valid_segment(src, dst, proto, &segment), slow_sum(&all) == 0xffff);
    }

    /// Translating a segment and adding the delta gives the bits of a full recomputation, for TCP and for UDP.
    #[test]
    fn delta_is_recomputation(
        old in addr(), new in addr(), other in addr(), old_port in word(), new_port in word(),
        rest in vec(word(), 0..6), proto in 1u8..,
    ) {
        let segment = |port: u16| -> Vec<u8> {
            core::iter::once(port).chain(rest.iter().copied()).flat_map(u16::to_be_bytes).collect()
        };
        let before = of_segment(old, other, proto, &segment(old_port));
        let after = of_segment(new, other, proto, &segment(new_port));
        let delta = Delta::endpoint(old, new, old_port, new_port);
        prop_assert_eq!(delta.apply(before), after);
        prop_assert_eq!(Delta::from_bits(delta.to_bits()), delta);
        // The way back is the delta of the way back.
        prop_assert_eq!(Delta::endpoint(new, old, new_port, old_port).apply(after), before);
        // UDP: what is on the wire for each is the computed value with 0 sent as 0xffff.
        prop_assert_eq!(delta.apply_udp(udp_field(before)), udp_field(after));
        prop_assert_eq!(delta.apply_udp(0), 0);
    }

    /// A field of 0xffff, which verifies though no one computes it, still verifies after an update.
    #[test]
    fn the_other_zero_still_verifies(old in addr(), new in addr(), fill in word()) {
        let header = |addr: u32, sum: u16, balance: u16| -> Vec<u8> {
            let mut h = Vec::new();
            h.extend(0x4500u16.to_be_bytes());
            h.extend(fill.to_be_bytes());
            h.extend(addr.to_be_bytes());
            h.extend(balance.to_be_bytes());
            h.extend(sum.to_be_bytes());
            h
        };
        // The balance makes the sum without the field all ones, so that both zeros verify.
        let balance = !slow_sum(&header(old, 0, 0));
        prop_assert!(is_valid(&header(old, 0, balance)));
        prop_assert!(is_valid(&header(old, 0xffff, balance)));
        let field = Delta::addr(old, new).apply(0xffff);
        prop_assert!(is_valid(&header(new, field, balance)));
    }

    #[test]
    fn ttl_decrement_is_recomputation(ttl in 1u8.., proto in any::<u8>(), rest in vec(any::<u8>(), 8)) {
        let header = |ttl: u8| -> Vec<u8> { [&[0x45, 0, ttl, proto], &rest[..]].concat() };
        prop_assert_eq!(Delta::TTL_DECREMENT.apply(of(&header(ttl))), of(&header(ttl - 1)));
        let both = Delta::word(0x4500, 0x4510).and(Delta::TTL_DECREMENT);
        let mut new = header(ttl - 1);
        new[1] = 0x10;
        prop_assert_eq!(both.apply(of(&header(ttl))), of(&new));
    }

    /// Also where the message becomes, or was, all zeros.
    #[test]
    fn an_icmp_identifier_can_change_to_anything(old in word(), new in word(), rest in word()) {
        let message = |ident: u16, sum: u16| -> Vec<u8> {
            [[0, 0], sum.to_be_bytes(), ident.to_be_bytes(), rest.to_be_bytes()].concat()
        };
        let sum = of(&message(old, 0));
        prop_assert!(is_valid(&message(old, sum)));
        prop_assert!(is_valid(&message(new, Delta::word(old, new).apply_icmp(sum))));
    }

    #[test]
    fn odd_offset_is_recomputation(old in word(), new in word(), head in any::<u8>(), tail in any::<u8>()) {
        let data = |w: u16| -> Vec<u8> { [&[1, 1, head][..], &w.to_be_bytes(), &[tail]].concat() };
        prop_assert_eq!(Delta::word(old, new).at_odd_offset().apply(of(&data(old))), of(&data(new)));
    }
}
