// SPDX-License-Identifier: MIT OR Apache-2.0
//! Legal flags by the rule written out, and option walks over good and hostile bytes.
use super::*;
use crate::checksum;
use proptest::collection::vec;
use proptest::prelude::*;
use std::vec::Vec;

fn segment(options: &[u8], flags: u8) -> Vec<u8> {
    assert_eq!(options.len() % 4, 0);
    let mut bytes = std::vec![0; HEADER_LEN];
    bytes[field::DATA_OFFSET] = ((HEADER_LEN + options.len()) << 2) as u8;
    bytes[field::FLAGS] = flags;
    bytes.extend(options);
    bytes
}

#[test]
fn the_flags_of_real_endpoints_are_legal_and_those_of_scans_are_not() {
    use TcpFlags as F;
    for legal in [
        F::SYN,
        F::SYN | F::ECE | F::CWR,
        F::SYN | F::ACK,
        F::ACK,
        F::ACK | F::PSH,
        F::ACK | F::URG | F::PSH,
        F::FIN | F::ACK,
        F::FIN | F::PSH | F::ACK,
        F::RST,
        F::RST | F::ACK,
    ] {
        assert!(legal.is_legal(), "{legal:?}");
    }
    for scan in [
        F(0),
        F::FIN,
        F::PSH,
        F::URG,
        F::ECE | F::CWR,
        F::FIN | F::PSH | F::URG,
        F::SYN | F::FIN,
        F::SYN | F::RST,
        F::SYN | F::FIN | F::ACK,
        F::RST | F::FIN | F::ACK,
        F(0xff),
    ] {
        assert!(!scan.is_legal(), "{scan:?}");
    }
}

#[test]
fn mss_is_found_behind_other_options() {
    assert_eq!(Tcp::new_checked(segment(&[], 2)).unwrap().mss(), None);
    assert_eq!(Tcp::new_checked(segment(&[2, 4, 5, 0xb4], 2)).unwrap().mss(), Some(1460));
    let behind = [1, 3, 3, 7, 1, 2, 4, 5, 0xb4, 0, 0, 0];
    assert_eq!(Tcp::new_checked(segment(&behind, 2)).unwrap().mss(), Some(1460));
}

#[test]
fn hostile_options_end_the_walk() {
    for bad in [[3, 0, 2, 4], [3, 1, 2, 4], [3, 9, 2, 4], [2, 3, 5, 0], [0, 2, 4, 5], [1, 1, 1, 2]] {
        assert_eq!(Tcp::new_checked(segment(&bad, 2)).unwrap().mss(), None, "{bad:?}");
    }
}

#[test]
fn lengths_are_checked() {
    let good = segment(&[1, 1, 1, 0], 2);
    assert!(Tcp::new_checked(&good[..]).is_ok());
    assert!(Tcp::new_checked(&good[..23]).is_err());
    assert!(Tcp::new_checked(&good[..19]).is_err());
    let mut small = good;
    small[field::DATA_OFFSET] = 4 << 4;
    assert!(Tcp::new_checked(&small[..]).is_err());
}

proptest! {
    #[test]
    fn is_legal_is_the_rule(flags in any::<u8>()) {
        let f = TcpFlags(flags);
        let ends = [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST].iter().filter(|e| f.contains(**e)).count();
        let rule = ends < 2 && (f.contains(TcpFlags::ACK) || f.intersects(TcpFlags::SYN | TcpFlags::RST));
        prop_assert_eq!(f.is_legal(), rule);
    }

    #[test]
    fn any_options_are_walked_without_panic(words in vec(any::<[u8; 4]>(), 0..=10)) {
        let mut bytes = segment(&words.concat(), 2);
        let mut tcp = Tcp::new_checked(&mut bytes[..]).unwrap();
        if tcp.clamp_mss(100) {
            prop_assert_eq!(tcp.mss(), Some(100));
        }
    }

    #[test]
    fn clamping_keeps_the_checksum_right(nops in 0usize..4, mss in any::<u16>(), most in any::<u16>()) {
        let mut options = std::vec![OPTION_NOP; nops];
        options.extend([OPTION_MSS, 4]);
        options.extend(mss.to_be_bytes());
        options.resize(8, OPTION_END);
        let mut bytes = segment(&options, 2);
        let sum = checksum::of_segment(1, 2, crate::proto::TCP, &bytes);
        let mut tcp = Tcp::new_checked(&mut bytes[..]).unwrap();
        tcp.set_checksum(sum);
        prop_assert_eq!(tcp.clamp_mss(most), mss > most);
        prop_assert_eq!(tcp.mss(), Some(mss.min(most)));
        prop_assert!(checksum::is_valid_segment(1, 2, crate::proto::TCP, &bytes));
    }
}
