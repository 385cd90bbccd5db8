// SPDX-License-Identifier: MIT OR Apache-2.0
//! MAC address kinds and their printed form.
use super::MacAddr;
use std::string::ToString;

#[test]
fn kinds_of_address() {
    let station = MacAddr([2, 0, 0, 0, 0, 1]);
    assert!(station.is_unicast() && !station.is_group());
    assert!(MacAddr([1, 0, 0x5e, 0, 0, 1]).is_group());
    assert!(MacAddr::BROADCAST.is_group() && !MacAddr::BROADCAST.is_unicast());
    assert!(!MacAddr::ZERO.is_unicast() && !MacAddr::ZERO.is_group());
}

#[test]
fn prints_as_operators_write_it() {
    assert_eq!(MacAddr([0, 0x1b, 0x21, 0xAB, 9, 0xff]).to_string(), "00:1b:21:ab:09:ff");
}
