// SPDX-License-Identifier: MIT OR Apache-2.0
//! Publications: several devices, one that publishes anew, entity tags, restarts.

use fedgate_sip::headers::HeaderName;

use super::super::*;
use super::lab::*;
use crate::presence::state::Reach;
use crate::transport::Origin;

const DESK: ConnId = ConnId(4);
const BOB_AOR: &str = "bob@local.example";
const ANN_AOR: &str = "ann@local.example";

#[test]
fn devices_are_composed_and_entity_tags_obeyed() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.open(DESK, Origin::Client);
    lab.register(DESK, "bob");
    let phone = lab.publish(BOB, "bob", "away", None);
    let desk = lab.publish(DESK, "bob", "do-not-disturb", None);
    let reach = |lab: &mut Lab| lab.show(BOB_AOR)["reachability"].as_str().map(str::to_owned);
    assert_eq!(reach(&mut lab).as_deref(), Some(Reach::DoNotDisturb.name()));
    assert_eq!(lab.show(BOB_AOR)["shown-to-foreign"], "Busy");
    let old = desk.clone();
    let desk = lab.publish(BOB, "bob", "closed", Some(&desk));
    assert_eq!(reach(&mut lab).as_deref(), Some("away"));
    for (extra, body, status) in [
        (format!("Event: presence\r\nSIP-If-Match: {old}\r\n"), String::new(), 412),
        ("Event: presence\r\n".to_owned(), String::new(), 400),
        ("Event: presence\r\nContent-Type: text/plain\r\n".to_owned(), "x".to_owned(), 415),
        (
            "Event: presence\r\nContent-Type: application/pidf+xml\r\n".to_owned(),
            "<!DOCTYPE x><x/>".to_owned(),
            400,
        ),
        ("Event: presence\r\nContent-Type: application/pidf+xml\r\n".to_owned(), pidf(ANN_AOR, "open"), 400),
        ("Event: dialog\r\n".to_owned(), String::new(), 489),
    ] {
        lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, &extra, &body);
        let _ = lab.response(BOB, status);
    }
    // A document that says nothing is taken and changes nothing.
    let unknown = pidf(BOB_AOR, "open").replace("open", "unknown");
    let extra = format!("Event: presence\r\nContent-Type: application/pidf+xml\r\nSIP-If-Match: {phone}\r\n");
    lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, &extra, &unknown);
    let phone = lab.response(BOB, 200).value(HeaderName::SipEtag).expect("an entity tag").to_owned();
    assert_eq!(reach(&mut lab).as_deref(), Some("away"));
    lab.request(BOB, "PUBLISH", BOB_AOR, ANN_AOR, "Event: presence\r\n", "");
    let _ = lab.response(BOB, 403);
    // Publications live over a restart, and end by themselves or by their devices.
    lab.restart();
    assert_eq!(reach(&mut lab).as_deref(), Some("away"));
    lab.register(BOB, "bob");
    let removal = format!("Event: presence\r\nExpires: 0\r\nSIP-If-Match: {phone}\r\n");
    lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, &removal, "");
    let _ = lab.response(BOB, 200);
    assert_eq!(reach(&mut lab).as_deref(), Some("unavailable"));
    let refresh = format!("Event: presence\r\nSIP-If-Match: {desk}\r\n");
    lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, &refresh, "");
    let _ = lab.response(BOB, 200);
}

/// What baresip does at its start: the second goes out before the first is answered, and only its tag is known afterwards.
#[test]
fn a_device_that_publishes_anew_takes_its_own_place() {
    let mut lab = Lab::new();
    let reach = |lab: &mut Lab| lab.show(BOB_AOR)["reachability"].as_str().map(str::to_owned);
    let online = |reach: Option<String>| reach.as_deref() == Some("available");
    lab.register(BOB, "bob");
    let first = lab.publish(BOB, "bob", "open", None);
    let second = lab.publish(BOB, "bob", "open", None);
    let _ = lab.publish(BOB, "bob", "closed", Some(&second));
    assert_eq!(reach(&mut lab).as_deref(), Some("unavailable"));
    let extra = format!("Event: presence\r\nSIP-If-Match: {first}\r\n");
    lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, &extra, "");
    let _ = lab.response(BOB, 412);
    // Another device is another, on a connection of its own or behind a proxy on the same.
    lab.open(DESK, Origin::Client);
    lab.register(DESK, "bob");
    let desk = lab.publish(DESK, "bob", "open", None);
    let _ = lab.publish(BOB, "bob", "closed", None);
    assert!(online(reach(&mut lab)));
    let _ = lab.publish(DESK, "bob", "closed", Some(&desk));
    let type_of = "Event: presence\r\nContent-Type: application/pidf+xml\r\n";
    for (behind, document) in [("a.example", "open"), ("b.example", "closed")] {
        let extra = format!("Via: SIP/2.0/TCP {behind};branch=z9hG4bK1\r\n{type_of}");
        lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, &extra, &pidf(BOB_AOR, document));
        let _ = lab.response(BOB, 200);
    }
    assert!(online(reach(&mut lab)));
    let extra = format!("Via: SIP/2.0/TCP x.example, SIP/2.0/TCP A.example;branch=z9hG4bK1\r\n{type_of}");
    lab.request(BOB, "PUBLISH", BOB_AOR, BOB_AOR, &extra, &pidf(BOB_AOR, "closed"));
    let _ = lab.response(BOB, 200);
    assert_eq!(reach(&mut lab).as_deref(), Some("unavailable"));
}

#[test]
fn a_device_that_lost_its_connection_takes_its_own_place() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    // So often that a user could have no more devices, were each another.
    for _ in 0..40 {
        let _ = lab.publish(BOB, "bob", "open", None);
        lab.close(BOB);
        assert_eq!(lab.show(BOB_AOR)["reachability"], "available");
        lab.open(BOB, Origin::Client);
        lab.register(BOB, "bob");
    }
    let etag = lab.publish(BOB, "bob", "open", None);
    let _ = lab.publish(BOB, "bob", "closed", Some(&etag));
    assert_eq!(lab.show(BOB_AOR)["reachability"], "unavailable");
}

#[test]
fn what_devices_say_is_stored_before_it_is_acknowledged() {
    let mut lab = Lab::new();
    lab.register(BOB, "bob");
    lab.order.clear();
    let etag = lab.publish(BOB, "bob", "open", None);
    assert_eq!(lab.order, "ws");
    lab.order.clear();
    let _ = lab.publish(BOB, "bob", "away", Some(&etag));
    assert_eq!(lab.order, "wws");
    lab.order.clear();
    lab.request(BOB, "REGISTER", BOB_AOR, BOB_AOR, "Contact: <sip:b@h.example>\r\n", "");
    let _ = lab.response(BOB, 200);
    assert_eq!(lab.order, "ws");
}
