// SPDX-License-Identifier: MIT OR Apache-2.0
//! RFC 5922 section 7.1 and 7.2, name by name.

use super::*;

fn covers(names: CertificateNames<'_>, domain: &str) -> bool {
    let domain = Domain::canonical(domain.as_bytes()).expect("test domain");
    PeerIdentity::of(&names).expect("few names").covers(&domain)
}

fn domains(names: CertificateNames<'_>) -> Vec<String> {
    PeerIdentity::of(&names).expect("few names").domains().map(str::to_owned).collect()
}

#[test]
fn uri_before_dns_before_cn() {
    let all = CertificateNames {
        has_alt_names: true,
        uris: &[
            "sip:Foreign.COM",
            "sip:user@user.example",
            "sips:sips.example",
            "http://web.example",
            "sip:[::1]",
        ],
        dns: &["edge.foreign.com"],
        common_names: &["cn.example"],
    };
    assert_eq!(domains(all), ["foreign.com"]);
    assert_eq!(domains(CertificateNames { uris: &["sip:user@user.example"], ..all }), ["edge.foreign.com"]);
    assert_eq!(
        domains(CertificateNames { uris: &[], dns: &[], ..all }),
        [""; 0],
        "a SAN of other kinds hides the CN"
    );
    let cn_only = CertificateNames { has_alt_names: false, uris: &[], dns: &[], ..all };
    assert_eq!(domains(cn_only), ["cn.example"]);
    assert_eq!(domains(CertificateNames { common_names: &["a.example", "b.example"], ..cn_only }), [""; 0]);
}

#[test]
fn a_pinned_host_is_found_beside_a_sip_uri() {
    let identity = PeerIdentity::of(&CertificateNames {
        has_alt_names: true,
        uris: &["sip:foreign.com"],
        dns: &["SIP.foreign.com."],
        common_names: &["cn.example"],
    })
    .expect("few names");
    let host = |name: &str| Domain::canonical(name.as_bytes()).expect("test domain");
    assert!(identity.is_host(&host("sip.foreign.com")));
    assert!(!identity.covers(&host("sip.foreign.com")));
    assert!(!identity.is_host(&host("cn.example")));
}

#[test]
fn wildcards_parents_and_children_do_not_match() {
    let names = CertificateNames {
        has_alt_names: true,
        dns: &["*.foreign.com", "foreign.com"],
        ..Default::default()
    };
    assert_eq!(domains(names), ["foreign.com"]);
    assert!(covers(names, "FOREIGN.com."));
    assert!(!covers(names, "sip.foreign.com"));
    assert!(!covers(names, "com"));
    assert!(!covers(names, "notforeign.com"));
}

#[test]
fn nul_and_addresses_are_no_names() {
    let names = CertificateNames { common_names: &["foreign.com\0.evil.net"], ..Default::default() };
    assert_eq!(domains(names), [""; 0]);
    let names =
        CertificateNames { has_alt_names: true, dns: &["192.0.2.7", "[::1]", ""], ..Default::default() };
    assert_eq!(domains(names), [""; 0]);
    assert!(!covers(names, "192.0.2.7"));
}

#[test]
fn names_are_bounded() {
    let many = vec!["a.example"; MAX_NAMES + 1];
    let names = CertificateNames { has_alt_names: true, dns: &many, ..Default::default() };
    assert_eq!(PeerIdentity::of(&names), Err(IdentityError::TooManyNames(257)));
    let names = CertificateNames { dns: &many[1..], ..names };
    assert_eq!(domains(names), ["a.example"]);
}

#[test]
fn no_certificate_speaks_for_nobody() {
    let domain = Domain::canonical(b"foreign.com").expect("test domain");
    assert!(!PeerIdentity::none().covers(&domain) && !PeerIdentity::none().is_host(&domain));
}
