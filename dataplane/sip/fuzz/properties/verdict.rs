// SPDX-License-Identifier: MIT OR Apache-2.0
//! Nothing passes inwards unless a slow reading of From agrees that it is the one permitted domain, and to one of ours.
//! Fuzzed by `fuzz_targets`, replayed by `tests/fuzzed.rs`.
use fedgate_sip::domain::Domain;
use fedgate_sip::identity::{CertificateNames, PeerIdentity};
use fedgate_sip::message::{Message, Start};
use fedgate_sip::verdict::{self, DomainList, Listed, LocalDomains};

struct Lists;

impl DomainList for Lists {
    fn lookup(&self, canonical: &str) -> Listed {
        if canonical == "example.net" { Listed::Permitted { id: 0, peer: None } } else { Listed::Unlisted }
    }
}

impl LocalDomains for Lists {
    fn is_local(&self, canonical: &str) -> bool {
        canonical == "example.com"
    }
}

/// Holds for any octets.
pub fn check(data: &[u8]) {
    if let Ok(domain) = Domain::canonical(data)
        && !domain.is_ip()
    {
        assert_eq!(Domain::canonical(domain.as_bytes()), Ok(domain));
    }
    let Ok(message) = Message::scan(data) else { return };
    let names = CertificateNames { has_alt_names: true, dns: &["example.net"], ..Default::default() };
    let peer = PeerIdentity::of(&names).expect("one name");
    let _ = verdict::outbound(&message, &peer, &Lists, &Lists);
    let passed = verdict::inbound(&message, &peer, &Lists, &Lists).is_pass();
    if passed && matches!(message.start, Start::Request { .. }) {
        let from = message.from.uri.text.to_lowercase();
        assert!(from.contains("example.net") || !from.is_ascii(), "{from}");
        let to = message.to.uri.text.to_lowercase();
        assert!(to.contains("example.com") || !to.is_ascii(), "{to}");
    }
}
