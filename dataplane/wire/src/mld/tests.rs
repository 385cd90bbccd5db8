// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reports byte by byte, and which queries are believed.

use super::*;
use crate::testing6::{Ip6, icmp, ipv6 as frame_of};
use crate::{MacAddr, checksum, parse6};
use std::vec::Vec;

const US: Station6 =
    Station6 { mac: MacAddr([2, 0, 0, 0, 0, 1]), ip: ipv6::link_local(MacAddr([2, 0, 0, 0, 0, 1])) };
const GROUP: u128 = ipv6::solicited_node(7);

#[test]
fn a_report_is_as_the_rfc_draws_it() {
    let mut out = [0xff; MAX_FRAME_LEN];
    for from in [US, Station6 { ip: ipv6::UNSPECIFIED, ..US }] {
        let records = [
            Record { group: GROUP, state: State::Joined },
            Record { group: ipv6::ALL_ROUTERS, state: State::Left },
        ];
        let len = report(&mut out, from, &records).unwrap();
        let parsed = parse6(&out[..len]).unwrap();
        assert_eq!((parsed.tuple.src, parsed.tuple.dst, parsed.hop_limit), (from.ip, REPORT_GROUP, 1));
        assert_eq!(
            (parsed.icmp_type, usize::from(parsed.l4), usize::from(parsed.ip_len) + 14),
            (143, MESSAGE, len)
        );
        assert_eq!(out[..6], [0x33, 0x33, 0, 0, 0, 0x16]);
        assert_eq!(out[OPTIONS..MESSAGE], [58, 0, 5, 2, 0, 0, 1, 0]);
        assert!(checksum::is_valid_segment_v6(from.ip, REPORT_GROUP, 58, &out[MESSAGE..len]));
        assert_eq!(out[MESSAGE + 4..MESSAGE + 8], [0, 0, 0, 2]);
        assert_eq!(out[RECORDS..RECORDS + 4], [4, 0, 0, 0]);
        assert_eq!(out[RECORDS + 4..RECORDS + 20], GROUP.to_be_bytes());
        assert_eq!(out[RECORDS + 20..RECORDS + 24], [3, 0, 0, 0]);
    }
    assert_eq!(report(&mut out[..60], US, &[]), Err(EmitError::NoRoom));
    let many = [Record { group: GROUP, state: State::Listens }; MAX_RECORDS + 1];
    assert_eq!(report(&mut [0; 2 * MAX_FRAME_LEN], US, &many), Err(EmitError::NoRoom));
}

fn query(options: &[u8], hops: u8, src: u128, code: u16, group: u128, more: usize) -> Vec<u8> {
    let headers = if options.is_empty() { std::vec![] } else { std::vec![(0, options.to_vec())] };
    let ip = Ip6 { src, dst: ipv6::ALL_NODES, hops, headers };
    let data = [&group.to_be_bytes()[..], &std::vec![0; more]].concat();
    frame_of(&ip, 58, &icmp(&ip, 130, 0, u32::from(code) << 16, &data))
}

#[test]
fn queries_are_believed_from_this_link_only() {
    let read = |frame: Vec<u8>| read_query(&frame, &parse6(&frame).unwrap());
    let alert = [58, 0, 5, 2, 0, 0, 1, 0];
    let padded = [58, 0, 0, 0, 5, 2, 0, 0];
    for (group, more) in [(ipv6::UNSPECIFIED, 4), (GROUP, 4), (ipv6::UNSPECIFIED, 0)] {
        for options in [&alert, &padded] {
            let good = Query { group, within_ms: 1000 };
            assert_eq!(read(query(options, 1, US.ip, 1000, group, more)), Ok(good));
        }
    }
    for bad in [
        query(&[], 1, US.ip, 1000, GROUP, 4),
        query(&[58, 0, 1, 4, 0, 0, 0, 0], 1, US.ip, 1000, GROUP, 4),
        query(&alert, 2, US.ip, 1000, GROUP, 4),
        query(&alert, 1, crate::testing6::HERE, 1000, GROUP, 4),
        query(&alert, 1, US.ip, 1000, US.ip, 4),
    ] {
        assert_eq!(read(bad), Err(ParseError::InvalidNd));
    }
    let mut short = query(&alert, 1, US.ip, 1000, GROUP, 4);
    let parsed = parse6(&short).unwrap();
    short.truncate(usize::from(parsed.l4) + 20);
    assert_eq!(read_query(&short, &parsed), Err(ParseError::InvalidNd));
}

#[test]
fn large_response_times_are_floating() {
    assert_eq!(
        [0, 0x7fff, 0x8000, 0x8001, 0xffff].map(response_time),
        [0, 32_767, 32_768, 32_776, 0x1fff << 10]
    );
}
