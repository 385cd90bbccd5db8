// SPDX-License-Identifier: MIT OR Apache-2.0
use proptest::prelude::*;

use super::*;

fn user() -> Aor {
    Aor::parse("u@foreign.example").expect("an address")
}

/// As OCS writes it: one tuple, the namespaces of before the RFCs.
fn from_ocs(basic: &str, activity: Option<&str>) -> String {
    let activity = activity
        .map_or(String::new(), |t| format!("<ep:activities><ep:activity>{t}</ep:activity></ep:activities>"));
    format!(
        "<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" xmlns:ep=\"urn:ietf:params:xml:ns:pidf:status:rpid-status\" \
         xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\" entity=\"sip:u@foreign.example\"><tuple id=\"0\"><status>\
         <basic>{basic}</basic>{activity}</status></tuple><ci:display-name>N</ci:display-name></presence>"
    )
}

fn reach(document: &str) -> Option<Reach> {
    read(document.as_bytes(), &user()).expect("a document").map(|presence| presence.reach)
}

/// The design's first table: Office Communicator's setting, the document, CUP's reachability, what CUPC shows.
#[test]
fn presence_mapping_from_ocs() {
    let table = [
        ("Available", "open", None, Reach::Available, "Available"),
        ("Busy", "open", Some("busy"), Reach::Busy, "Away"),
        ("Do Not Disturb", "open", Some("busy"), Reach::Busy, "Away"),
        ("Be Right Back", "open", Some("away"), Reach::Away, "Away"),
        ("Offline", "closed", None, Reach::Unavailable, "Offline"),
        ("Away", "open", Some("away"), Reach::Away, "Away"),
    ];
    for (setting, basic, activity, reachability, shown) in table {
        let read = reach(&from_ocs(basic, activity)).expect(setting);
        assert_eq!((read, read.shown_at_cupc()), (reachability, shown), "{setting}");
    }
}

/// The design's second table: CUPC's setting, CUP's reachability, the document, what Office Communicator shows.
#[test]
fn presence_mapping_to_ocs() {
    let table = [
        ("Available", Reach::Available, "open", None, "Available"),
        ("Away", Reach::Away, "open", Some("away"), "Away"),
        ("Do Not Disturb", Reach::DoNotDisturb, "open", Some("busy"), "Busy"),
        ("Offline", Reach::Unavailable, "closed", None, "Offline"),
    ];
    for (setting, reachability, basic, activity, shown) in table {
        assert_eq!(reachability.shown_at_communicator(), shown, "{setting}");
        let document = write(&user(), Some("N"), &Presence { reach: reachability, note: None });
        let (old, person) = match activity {
            None => (String::new(), String::new()),
            Some(t) => (
                format!("<ep:activities><ep:activity>{t}</ep:activity></ep:activities>"),
                format!("<dm:person id=\"p1\"><rpid:activities><rpid:{t}/></rpid:activities></dm:person>"),
            ),
        };
        let golden = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" \
             xmlns:dm=\"urn:ietf:params:xml:ns:pidf:data-model\" xmlns:rpid=\"urn:ietf:params:xml:ns:pidf:rpid\" \
             xmlns:ep=\"urn:ietf:params:xml:ns:pidf:status:rpid-status\" xmlns:ci=\"urn:ietf:params:xml:ns:pidf:cipid\" \
             entity=\"sip:u@foreign.example\"><tuple id=\"0\"><status><basic>{basic}</basic>{old}</status></tuple>\
             {person}<ci:display-name>N</ci:display-name></presence>\r\n"
        );
        assert_eq!(document, golden, "{setting}");
    }
}

/// What a blocked watcher is sent is [`Presence::OFFLINE`]; an offline user's document is the same octets.
#[test]
fn a_block_cannot_be_told_from_offline() {
    let gone = Presence { reach: Reach::Unavailable, note: Some("on the train".into()) };
    assert_eq!(write(&user(), None, &gone), write(&user(), None, &Presence::OFFLINE));
}

#[test]
fn the_standard_form_and_the_odd_ones() {
    let standard = |inner: &str| {
        format!(
            "<p:presence xmlns:p='urn:ietf:params:xml:ns:pidf' xmlns:dm='urn:ietf:params:xml:ns:pidf:data-model' \
             xmlns:r='urn:ietf:params:xml:ns:pidf:rpid' entity='pres:U@foreign.example'>{inner}</p:presence>"
        )
    };
    let open = "<p:tuple id='a'><p:status><p:basic> open </p:basic></p:status></p:tuple>";
    let closed = "<p:tuple id='b'><p:status><p:basic>closed</p:basic></p:status></p:tuple>";
    let person =
        |word: &str| format!("<dm:person id='x'><r:activities><r:{word}/></r:activities></dm:person>");
    for (inner, expected) in [
        (format!("{open}{}", person("on-the-phone")), Some(Reach::Busy)),
        (format!("{open}{}", person("vacation")), Some(Reach::Away)),
        (format!("{open}{}", person("do-not-disturb")), Some(Reach::DoNotDisturb)),
        (format!("{open}{}", person("juggling")), Some(Reach::Available)),
        (format!("{closed}{open}"), Some(Reach::Available)),
        (format!("{open}{closed}"), Some(Reach::Available)),
        (format!("{closed}{}", person("busy")), Some(Reach::Unavailable)),
        (person("busy"), None),
        (String::new(), None),
    ] {
        assert_eq!(reach(&standard(&inner)), expected, "{inner}");
    }
}

#[test]
fn documents_that_are_refused() {
    let of = |text: &str| read(text.as_bytes(), &user()).expect_err(text);
    let ns = "xmlns='urn:ietf:params:xml:ns:pidf'";
    assert_eq!(of(&format!("<presence {ns} entity='sip:v@foreign.example'/>")), PidfError::Entity);
    assert_eq!(of(&format!("<presence {ns}/>")), PidfError::Entity);
    assert_eq!(of("<presence entity='sip:u@foreign.example'/>"), PidfError::NotPidf);
    assert_eq!(of(&format!("<tuple {ns} entity='sip:u@foreign.example'/>")), PidfError::NotPidf);
    assert_eq!(of("<!DOCTYPE presence><presence/>"), PidfError::Xml(XmlError::Doctype));
    let demand = format!(
        "<presence {ns} xmlns:x='urn:x' entity='u@foreign.example'><tuple id='1'><status><basic>open</basic>\
         <x:y p:mustUnderstand='1' xmlns:p='urn:ietf:params:xml:ns:pidf'/></status></tuple></presence>"
    );
    assert_eq!(of(&demand), PidfError::MustUnderstand);
}

proptest! {
    /// What goes out comes back, but that "do not disturb" has no word on the way.
    #[test]
    fn what_is_written_is_read(index in 0..5_usize, note in proptest::option::of("[^\\p{C}]{1,40}"), name in proptest::option::of("\\PC{0,20}")) {
        let reach = Reach::ALL[index];
        let note = note.filter(|note| !note.trim().is_empty()).map(|note| note.trim().into());
        let document = write(&user(), name.as_deref(), &Presence { reach, note: note.clone() });
        let back = read(document.as_bytes(), &user()).expect("our own").expect("a state");
        let expected = if reach == Reach::DoNotDisturb { Reach::Busy } else { reach };
        prop_assert_eq!(back.reach, expected);
        prop_assert_eq!(back.note, note.filter(|_| reach != Reach::Unavailable));
    }
}
