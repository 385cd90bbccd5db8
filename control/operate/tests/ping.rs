// SPDX-License-Identifier: MIT OR Apache-2.0
//! `ping` as an operator sees it: what is asked of the dataplane, and what becomes of it.

use fedgate_tables::link::{Addr, Echo, Echoed};

use super::{CONFIG, Lab};
use crate::operate::protocol::{FAILED, Request, USAGE};

fn to(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

#[test]
fn echoes_are_asked_for_one_after_the_other() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    let answered = |micros| Some(Echoed::Answered { micros });
    fake.state().echoes = [1500, 900, 3000].into_iter().map(answered).collect();
    assert_eq!(
        lab.good("ping 10.10.0.11"),
        "Sending 5, 100-byte ICMP Echos to 10.10.0.11, timeout is 2 seconds:\n!!!!!\n\
         Success rate is 100 percent (5/5), round-trip min/avg/max = 1/2/3 ms\n"
    );
    let asked = Echo { ifindex: None, to: to("10.10.0.11"), len: 100 };
    assert_eq!(std::mem::take(&mut fake.state().asked), [asked; 5]);
    fake.state().echoes = vec![answered(2000), None];
    let line = "ping inside 2001:db8::7 size 1400 timeout 1 repeat 3";
    assert_eq!(
        lab.good(line),
        "Sending 3, 1400-byte ICMP Echos to 2001:db8::7, timeout is 1 seconds:\n!?!\n\
         Success rate is 66 percent (2/3), round-trip min/avg/max = 1/2/2 ms\n"
    );
    let asked = Echo { ifindex: Some(1), to: to("2001:db8::7"), len: 1400 };
    assert_eq!(std::mem::take(&mut fake.state().asked), [asked; 3]);
    let line = "ping 10.10.0.11 repeat 71".to_owned();
    let marks = format!("{}\n!\n", "!".repeat(70));
    assert!(lab.good(&line).contains(&marks));
    let (_, out, _) = lab.ask(&Request { line, json: true, ..Request::default() });
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(out.contains("\"answered\":71") && out.contains("\"avg_us\":1000"), "{out}");
}

#[test]
fn what_does_not_go_or_come_back_is_said() {
    let lab = Lab::new();
    let fake = lab.fake();
    let _control = lab.control();
    fake.state().echoes = vec![None];
    let (code, out, err) = lab.cli("ping 10.10.0.12 repeat 1 timeout 1");
    assert_eq!((code, err.as_str()), (FAILED, "10.10.0.12 does not answer\n"));
    assert!(out.ends_with("\n?\nSuccess rate is 0 percent (0/1)\n"), "{out}");
    for (outcome, said) in [
        (Echoed::NoRoute, "No route to host 10.10.0.12"),
        (Echoed::Own, "an address of this appliance"),
        (Echoed::NotOneHost, "not the address of one host"),
        (Echoed::Length { least: 28, most: 1400 }, "28 to 1400 bytes"),
        (Echoed::NoPolicy, "no policy yet"),
        (Echoed::NoBuffer, "no packet buffer"),
    ] {
        fake.state().echoes = vec![Some(outcome)];
        let (code, _, err) = lab.cli("ping 10.10.0.12");
        assert!(code == FAILED && err.contains(said), "{err}");
    }
    fake.state().asked.clear();
    for (line, said) in [
        ("ping", "an address, or an interface and an address"),
        ("ping dmz", "dmz"),
        ("ping inside", "an address"),
        ("ping 10.10.0.12 repeat 0", "1 to 10000"),
        ("ping 10.10.0.12 size 27", "28 to 1500"),
        ("ping 2001:db8::1 size 47", "48 to 1500"),
        ("ping 10.10.0.12 timeout 61", "1 to 60"),
        ("ping 10.10.0.12 data abcd", "repeat"),
    ] {
        let (code, _, err) = lab.cli(line);
        assert!(code == USAGE && err.contains(said), "{line}: {err}");
    }
    assert!(fake.state().asked.is_empty());
    drop(fake);
    std::fs::write(lab.path("startup.cfg"), CONFIG).unwrap();
    let (code, _, err) = lab.cli("ping 10.10.0.12");
    assert!(code == FAILED && err.contains("not connected"), "{err}");
}
