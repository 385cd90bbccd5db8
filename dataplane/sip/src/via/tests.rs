// SPDX-License-Identifier: MIT OR Apache-2.0
//! Legal oddities of RFC 4475 and malformed values.

use super::*;

fn read(value: &str) -> Vec<Option<Via<'_>>> {
    Vias::new(value).collect()
}

#[test]
fn legal_forms() {
    let value = "SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239";
    let vias: Option<Vec<Via<'_>>> = read(value).into_iter().collect();
    let vias = vias.unwrap_or_default();
    assert_eq!(vias.len(), 2);
    assert_eq!((vias[0].host, vias[0].branch), ("spindle.example.com", Some("z9hG4bK9ikj8")));
    assert_eq!((vias[1].host, vias[1].branch), ("192.168.255.111", Some("z9hG4bK30239")));
    for value in [
        "SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bK",
        "SIP/2.0/TLS [2001:db8::9:1] : 5061 ;received=2001:db8::9:2;branch=z9hG4bKas3-111",
        "SIP/2.0/TLS edge.foreign.com:5061;branch=z9hG4bK1;ms-internal-info=\"aa,b\";ms-received-port=50613",
        "SIP/2.0/UDP host;rport",
    ] {
        assert!(read(value).iter().all(Option::is_some), "{value}");
    }
}

#[test]
fn malformed() {
    for value in [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "SIP/2.0 host",
        "SIP/2.0/UDP 192.0.2.15;;,;,,",
        "SIP/2.0/UDP h;branch",
        "SIP/2.0/UDP h;branch=a;branch=b",
        "SIP/2.0/UDP h:99999",
        "SIP/2.0/UDP h:",
        "SIP/2.0/UDP h g",
        "SIP/2.0/UDP h,",
        "SIP/2.0/UDP h;branch=\"a\"",
    ] {
        assert!(read(value).iter().any(Option::is_none), "{value:?}");
    }
}

#[test]
fn unroutable_sent_by() {
    for (host, want) in [
        ("255.255.255.255", true),
        ("224.0.0.1", true),
        ("0.0.0.0", true),
        ("127.0.0.1", false),
        ("a", false),
    ] {
        let value = format!("SIP/2.0/UDP {host}");
        assert_eq!(read(&value).pop().flatten().map(|v| v.is_unroutable()), Some(want), "{host}");
    }
}
