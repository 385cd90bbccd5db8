// SPDX-License-Identifier: MIT OR Apache-2.0
//! Inspection and edits: whatever a message holds, what is masked keeps its length, what is cut out is gone, and both are still
//! messages that scan alike; dialogs never come to more than their bound. Fuzzed by `fuzz_targets`, replayed by `tests/fuzzed.rs`.
use fedgate_sip::asserted::{self, Trust};
use fedgate_sip::dialog::{self, Dialogs};
use fedgate_sip::domain::Domain;
use fedgate_sip::edit;
use fedgate_sip::identity::PeerIdentity;
use fedgate_sip::inspect::{Action, Deed, Inspector, Match, Parameters, Rates, Rule, Spec, Standing, What};
use fedgate_sip::message::Message;
use fedgate_sip::verdict::LocalDomains;
use std::cell::RefCell;
use std::sync::LazyLock;

struct Nobody;

impl LocalDomains for Nobody {
    fn is_local(&self, canonical: &str) -> bool {
        canonical == "example.com"
    }
}

static MAP: LazyLock<Inspector> = LazyLock::new(|| {
    let mask = Action { deed: Deed::Mask, log: false };
    let rule = |slot, what| Rule {
        text: String::new(),
        all: false,
        matches: vec![Match { not: slot % 2 == 1, what }],
        action: mask,
        slot,
    };
    let pattern = || vec!["a.*[0-9]$".to_owned()];
    let whats = [
        What::CalledParty(pattern()),
        What::MessagePath(pattern()),
        What::ContentType(pattern()),
        What::ThirdPartyRegistration(pattern()),
        What::ContentSdp,
        What::UriLength { tel: true, over: 9 },
        What::Method(None),
    ];
    let parameters = Parameters {
        version: Some(mask),
        uri_non_sip: Some(mask),
        headers: Some(mask),
        ..Default::default()
    };
    let rules = (0..).zip(whats).map(|(slot, what)| rule(slot, what)).collect();
    let spec = Spec { name: String::new(), rules, parameters, counters: Vec::new() };
    Inspector::new(spec).expect("good patterns")
});

thread_local! {
    static DIALOGS: RefCell<(Dialogs, u64)> =
        RefCell::new((Dialogs::new(dialog::Limits { dialogs: 8, per_peer: 4 }), 1));
}

/// Holds for any octets.
pub fn check(data: &[u8]) {
    let Ok(message) = Message::scan(data) else { return };
    let standing = Standing { known: false, whole: true, workers: 1 };
    let ruling = MAP.judge(&message, standing, &mut Rates::default(), 1, |_| {});
    if ruling.mask {
        let masked = edit::apply(&message, MAP.masks(&message));
        assert_eq!(masked.len(), data.len());
        let again = Message::scan(&masked).expect("masks leave a message");
        assert_eq!((again.call_id, again.cseq.number), (message.call_id, message.cseq.number));
    }
    let speaker = Domain::canonical(b"example.net").expect("a domain");
    let cuts = asserted::cuts(&message, &speaker, &Nobody, Trust::None);
    assert!(cuts.is_empty() || asserted::needs_cuts(&message, Trust::None));
    let cut = edit::apply(&message, cuts);
    let again = Message::scan(&cut).expect("cuts leave a message");
    assert!(asserted::cuts(&again, &speaker, &Nobody, Trust::None).is_empty());
    assert_eq!(again.body, message.body);
    DIALOGS.with_borrow_mut(|(dialogs, now)| {
        *now += 1_000_000;
        for (inward, peer) in [(true, 1), (false, 1), (true, 2)] {
            let note = dialogs.note(&message, inward);
            let _ = dialogs.standing(&note, *now);
            let (outside, inside) = note.parties(data);
            assert!(!outside.is_empty() && !inside.is_empty());
            let crossing = dialog::Crossing {
                frame: data,
                peer: &PeerIdentity::none(),
                peer_key: peer,
                server: (1, 0),
                check: dialog::Check::Domain,
            };
            dialogs.crossed(&note, &crossing, *now, &dialog::Timers::default());
        }
        assert!(dialogs.len() <= 8 && dialogs.of_server((1, 0)) as usize == dialogs.len());
        let rows = dialogs.page(0, 9, 9, None, *now).0.len();
        assert!(rows <= dialogs.len());
    });
}
