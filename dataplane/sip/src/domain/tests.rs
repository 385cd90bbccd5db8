// SPDX-License-Identifier: MIT OR Apache-2.0
//! Canonicalisation: what is equal, what is refused, and that it is stable.

use super::*;
use proptest::prelude::*;

fn canon(host: &str) -> Result<String, DomainError> {
    Domain::canonical(host.as_bytes()).map(|d| d.as_str().to_owned())
}

#[test]
fn equal_names() {
    for (host, want) in [
        ("foreign.com", "foreign.com"),
        ("OCS.Cisco.COM.", "ocs.cisco.com"),
        ("a", "a"),
        ("r3---sn-x.example", "r3---sn-x.example"),
        ("3com.example", "3com.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example.", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.Example", "xn--bcher-kva.example"),
        ("foreign。com", "foreign.com"),
        ("ｆoreign.com", "foreign.com"),
        ("faß.de", "xn--fa-hia.de"),
    ] {
        assert_eq!(canon(host), Ok(want.to_owned()), "{host}");
        assert_eq!(Domain::canonical(host.as_bytes()).map(|d| d.kind()), Ok(Kind::Name));
    }
}

#[test]
fn addresses_are_a_kind_of_their_own() {
    for (host, want) in [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7.", "192.0.2.7"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("[::ffff:192.0.2.7]", "192.0.2.7"),
        ("[::ffff:c000:207]", "192.0.2.7"),
    ] {
        assert_eq!(canon(host), Ok(want.to_owned()), "{host}");
        assert_eq!(Domain::canonical(host.as_bytes()).map(|d| d.is_ip()), Ok(true), "{host}");
    }
}

#[test]
fn refused() {
    use DomainError::*;
    let long_label = format!("{}.com", "a".repeat(64));
    let long_name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62)].join(".");
    for (host, want) in [
        ("", Empty),
        (".", Empty),
        ("..", EmptyLabel),
        (".com", EmptyLabel),
        ("a..b", EmptyLabel),
        ("foreign.com..", EmptyLabel),
        (&long_label, LongLabel),
        (&long_name, LongName),
        ("a_b.com", Octet(b'_')),
        ("foreign%2ecom", Octet(b'%')),
        ("foreign.com\0.evil.net", Octet(0)),
        ("*.foreign.com", Octet(b'*')),
        ("a b.com", Octet(b' ')),
        ("-a.com", Hyphen),
        ("a-.com", Hyphen),
        ("1.2.3", NumericTop),
        ("192.0.2.256", NumericTop),
        ("192.0.2.07", NumericTop),
        ("3232235777", NumericTop),
        ("１９２.0.2.7", NumericTop),
        ("[::1", Ipv6),
        ("[]", Ipv6),
        ("[192.0.2.7]", Ipv6),
        ("[fe80::1%eth0]", Ipv6),
        ("xn--.com", Hyphen),
        ("xn--a.com", Idna),
        ("xn--bcher-kva\u{301}.example", Idna),
        ("bü_cher.example", Idna),
        ("a\u{200b}\u{200d}b.com", Idna),
    ] {
        assert_eq!(canon(host), Err(want), "{host:?}");
    }
    assert_eq!(Domain::canonical(b"b\xfccher.example"), Err(Idna));
    assert_eq!(Domain::canonical(&"ü".repeat(600).into_bytes()), Err(LongName));
}

#[test]
fn the_longest_name_fits() {
    let name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    assert_eq!(name.len(), MAX_NAME);
    assert_eq!(canon(&format!("{name}.")), Ok(name));
}

proptest! {
    #[test]
    fn canonical_is_idempotent_and_case_blind(host in "[a-zA-Z0-9.üßéд。-]{1,40}") {
        if let Ok(once) = canon(&host) {
            prop_assert_eq!(canon(&once), Ok(once.clone()));
            prop_assert_eq!(canon(&once.to_ascii_uppercase()), Ok(once.clone()));
            prop_assert!(once.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.'));
        }
    }

    /// The plain pass and UTS 46 must not disagree about a name that both may see.
    #[test]
    fn plain_pass_agrees_with_uts46(host in "[a-zA-Z0-9._-]{1,70}") {
        let idna = Uts46::new()
            .to_ascii(host.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::VerifyAllowRootDot)
            .map(|name| name.strip_suffix('.').unwrap_or(&name).to_owned());
        match canon(&host) {
            Ok(ours) => prop_assert_eq!(Some(ours), idna.ok()),
            Err(DomainError::NumericTop) => {}
            Err(_) => prop_assert!(idna.is_err()),
        }
    }

    #[test]
    fn any_octets_give_an_answer(host in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(domain) = Domain::canonical(&host) {
            prop_assert!(!domain.as_str().is_empty());
        }
    }
}
