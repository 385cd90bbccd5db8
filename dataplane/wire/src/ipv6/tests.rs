// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kinds of address against `std`'s and the RFCs' own examples, and the fixed header written and read.
use super::*;
use proptest::prelude::*;
use std::net::Ipv6Addr;
use std::vec;

fn addr(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

#[test]
fn kinds_of_address() {
    for text in ["::", "::1", "::192.0.2.1", "::ffff:192.0.2.1", "ff02::1"] {
        assert!(!is_host(addr(text)), "{text}");
    }
    for text in ["2001:db8::1", "fe80::1", "fd00::1", "64:ff9b::192.0.2.1"] {
        assert!(is_host(addr(text)) && is_destination(addr(text)), "{text}");
    }
    assert!(is_destination(addr("ff02::1")) && is_destination(addr("ff0e::101")));
    assert!(
        !is_destination(addr("ff01::1")) && !is_destination(addr("ff00::1")) && !is_destination(UNSPECIFIED)
    );
    assert!(is_link_local(addr("fe80::1")) && is_link_local(addr("febf::1")));
    assert!(!is_link_local(addr("fec0::1")) && !is_link_local(addr("fe7f::1")));
    assert_eq!((ALL_NODES, ALL_ROUTERS), (addr("ff02::1"), addr("ff02::2")));
}

#[test]
fn addresses_made_of_others() {
    // RFC 4291 2.7.1 and appendix A, RFC 2464 section 7.
    assert_eq!(solicited_node(addr("4037::01:800:200E:8C6C")), addr("FF02::1:FF0E:8C6C"));
    assert_eq!(link_local(MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde])), addr("fe80::3656:78ff:fe9a:bcde"));
    assert_eq!(multicast_mac(addr("ff02::1:ff0e:8c6c")), MacAddr([0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]));
}

#[test]
fn masks_of_every_length() {
    for len in 0..=128u8 {
        assert_eq!(mask(len).count_ones(), u32::from(len));
        assert_eq!(mask(len).leading_ones(), u32::from(len));
    }
    assert_eq!(mask(200), u128::MAX);
}

proptest! {
    #[test]
    fn a_header_reads_as_written(class in any::<u8>(), len in 0u16..60, hops in any::<u8>(), src in any::<u128>(), dst in any::<u128>()) {
        let mut bytes = vec![0xee; 100];
        Header { traffic_class: class, payload_len: len, next: 17, hop_limit: hops, src, dst }.write(&mut bytes);
        let mut ip = Ipv6::new_checked(&mut bytes[..]).unwrap();
        prop_assert_eq!((ip.traffic_class(), ip.flow_label(), ip.next_header()), (class, 0, 17));
        prop_assert_eq!((ip.src(), ip.dst(), ip.hop_limit()), (src, dst, hops));
        prop_assert_eq!((ip.total_len(), ip.payload().len()), (40 + usize::from(len), usize::from(len)));
        prop_assert_eq!(ip.decrement_hop_limit(), hops > 1);
        prop_assert_eq!(ip.hop_limit(), if hops > 1 { hops - 1 } else { hops });
        ip.set_src(dst);
        ip.set_dst(src);
        prop_assert_eq!((ip.src(), ip.dst()), (dst, src));
    }

    #[test]
    fn kinds_are_those_of_std(bits in prop_oneof![any::<u128>(), any::<u64>().prop_map(u128::from), any::<u64>().prop_map(|l| 0xfe80 << 112 | u128::from(l))]) {
        let address = Ipv6Addr::from(bits);
        prop_assert_eq!(is_multicast(bits), address.is_multicast());
        prop_assert_eq!(is_link_local(bits), address.is_unicast_link_local());
        prop_assert_eq!(embeds_ipv4(bits), address.to_ipv4().is_some());
    }
}

#[test]
fn lengths_are_held_against_the_bytes() {
    let mut bytes = vec![0; 60];
    assert_eq!(Ipv6::new_checked(&bytes[..39]).unwrap_err(), ParseError::FrameTooShort);
    assert_eq!(Ipv6::new_checked(&bytes).unwrap_err(), ParseError::UnsupportedIpVersion);
    bytes[0] = 0x60;
    bytes[5] = 21;
    assert_eq!(Ipv6::new_checked(&bytes).unwrap_err(), ParseError::InvalidIpLength);
    bytes[5] = 20;
    assert_eq!(Ipv6::new_checked(&bytes).unwrap().total_len(), 60);
}
