// SPDX-License-Identifier: MIT OR Apache-2.0
//! `packet-tracer` as an operator sees it: what is asked of the dataplane, and the ASA's layout of what that tells.

use super::*;
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::{
    AclPlace, Addr, ClassBound, Fate, Known, Phase, Probe, Socket, Trace, Translator,
};

const POLICY: &str = "access-list web extended permit tcp any host 10.10.0.11 eq 5062\n\
    object network cup\n host 10.10.0.11\n nat (inside,outside) static 203.0.113.3 service tcp 5062 5061\n\
    class-map all\n match any\npolicy-map p\n class all\n  set connection conn-max 9\nservice-policy p global\n\
    ip verify reverse-path interface outside\n";

fn lab() -> Lab {
    let lab = Lab::new();
    std::fs::write(lab.path("startup.cfg"), format!("{CONFIG}{POLICY}")).unwrap();
    lab
}

fn v4(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>().unwrap().into()
}

fn socket(addr: &str, port: u16) -> Socket {
    Socket { addr: v4(addr), port }
}

#[test]
fn a_packet_is_asked_about() {
    let lab = lab();
    let fake = lab.fake();
    let _control = lab.control();
    let trace = Trace { generation: 1, phases: vec![], out_if: None, fate: Fate::Passes };
    fake.state().trace = Some(trace);
    let tcp = Probe {
        in_if: 0,
        proto: 6,
        src: v4("198.51.100.9"),
        sport: 1234,
        dst: v4("203.0.113.3"),
        dport: 5061,
        icmp: [0; 2],
    };
    let icmp = Probe { in_if: 1, proto: 1, sport: 0, dport: 0, icmp: [8, 0], src: v4("10.10.0.5"), ..tcp };
    let v6 = Probe { src: v4("2001:db8::1"), dst: v4("2001:db8::2"), ..tcp };
    for (typed, probe) in [
        ("outside tcp 198.51.100.9 1234 203.0.113.3 5061", tcp),
        ("outside tcp 198.51.100.9 1234 203.0.113.3 sip", Probe { dport: 5060, ..tcp }),
        ("outside udp 198.51.100.9 1234 203.0.113.3 domain detailed", Probe { proto: 17, dport: 53, ..tcp }),
        ("inside icmp 10.10.0.5 8 0 203.0.113.3", icmp),
        ("inside icmp 10.10.0.5 echo 0 77 203.0.113.3", Probe { sport: 77, ..icmp }),
        ("outside tcp 2001:db8::1 1234 2001:db8::2 5061", v6),
        (
            "outside icmp 2001:db8::1 128 0 2001:db8::2",
            Probe { proto: 58, sport: 0, dport: 0, icmp: [128, 0], ..v6 },
        ),
    ] {
        lab.good(&format!("packet-tracer input {typed}"));
        assert_eq!(fake.state().probe.take(), Some(probe), "{typed}");
    }
    for (typed, said) in [
        ("dmz tcp 1.1.1.1 1 2.2.2.2 2", "there is no complete interface `dmz`"),
        ("outside gre 1.1.1.1 2.2.2.2", "`tcp` or `udp` or `icmp`"),
        ("outside tcp 1.1.1.1 66000 2.2.2.2 2", "`66000` is not a port"),
        ("outside tcp 1.1.1.1 1 2001:db8::2 2", "different families"),
        ("outside icmp 1.1.1.1 8 2.2.2.2", "an ICMP code"),
        ("outside tcp 1.1.1.1 1 2.2.2.2", "the destination port"),
        ("outside tcp 1.1.1.1 1 2.2.2.2 2 more", "more"),
    ] {
        let (code, _, err) = lab.cli(&format!("packet-tracer input {typed}"));
        assert!(code == 2 && err.contains(said), "{typed}: {err}");
    }
    fake.state().trace = None;
    let (code, _, err) = lab.cli("packet-tracer input outside tcp 1.1.1.1 1 2.2.2.2 2");
    assert!(code == 1 && err.contains("no policy"), "{err}");
}

#[test]
fn phases_have_the_lines_that_decided() {
    let lab = lab();
    let fake = lab.fake();
    let _control = lab.control();
    let rules = lab.good("show nat");
    assert!(
        rules.starts_with("Auto NAT Policies (Section 2)\n1 (inside) to (outside) source static cup"),
        "{rules}"
    );
    let phases = vec![
        Phase::NotFound,
        Phase::ReversePath { permit: true },
        Phase::Untranslated {
            by: Translator::Rule(slot(&fake, 0)),
            called: socket("203.0.113.3", 5061),
            real: socket("10.10.0.11", 5062),
            out_if: Some(1),
        },
        Phase::Acl {
            place: AclPlace::In,
            acl: 0,
            line: Some((1, 0xabcd)),
            permit: true,
            log: false,
            undecided: false,
        },
        Phase::Replies { nat: Some(slot(&fake, 0)), permit: true },
        Phase::Settings { class: 0, reached: None, intercepts: false },
        Phase::Translated {
            nat: slot(&fake, 1),
            real: socket("10.10.0.5", 40000),
            shown: Some(socket("203.0.113.2", 40000)),
            dynamic: Some(true),
        },
        Phase::Created { permit: true },
        Phase::Adjacency {
            out_if: 1,
            next_hop: Some(v4("10.10.0.11")),
            mac: Some([0, 17, 34, 51, 68, 85]),
            permit: true,
        },
    ];
    fake.state().trace = Some(Trace { generation: 1, phases, out_if: Some(1), fate: Fate::Passes });
    let text = lab.good("packet-tracer input outside tcp 198.51.100.9 1234 203.0.113.3 5061");
    assert_eq!(
        text,
        "\
Phase: 1
Type: FLOW-LOOKUP
Subtype: 
Result: ALLOW
Config:
Additional Information:
Found no matching flow, creating a new flow

Phase: 2
Type: ROUTE-LOOKUP
Subtype: Reverse Path
Result: ALLOW
Config:
ip verify reverse-path interface outside
Additional Information:

Phase: 3
Type: UN-NAT
Subtype: static
Result: ALLOW
Config:
object network cup
 nat (inside,outside) static 203.0.113.3 service tcp 5062 5061
Additional Information:
NAT divert to egress interface inside
Untranslate 203.0.113.3/5061 to 10.10.0.11/5062

Phase: 4
Type: ACCESS-LIST
Subtype: 
Result: ALLOW
Config:
access-group out in interface outside
access-list out extended permit tcp any any eq 5061
Additional Information:

Phase: 5
Type: NAT
Subtype: rpf-check
Result: ALLOW
Config:
object network cup
 nat (inside,outside) static 203.0.113.3 service tcp 5062 5061
Additional Information:

Phase: 6
Type: CONN-SETTINGS
Subtype: 
Result: ALLOW
Config:
class-map all
 match any
policy-map p
 class all
  set connection conn-max 9
service-policy p global
Additional Information:

Phase: 7
Type: NAT
Subtype: 
Result: ALLOW
Config:
object network lan
 nat (inside,outside) dynamic interface
Additional Information:
Dynamic translate 10.10.0.5/40000 to 203.0.113.2/40000

Phase: 8
Type: FLOW-CREATION
Subtype: 
Result: ALLOW
Config:
Additional Information:
New flow is to be created, packet dispatched to next module

Phase: 9
Type: ADJACENCY-LOOKUP
Subtype: next-hop and adjacency
Result: ALLOW
Config:
Additional Information:
found adjacency entry for next-hop 10.10.0.11 on interface inside
adjacency Active
next-hop mac address 0011.2233.4455

Result:
input-interface: outside
input-status: up
input-line-status: down
output-interface: inside
output-status: up
output-line-status: down
Action: allow

"
    );
}

/// Counter slot of the `n`th NAT rule of the policy that the dataplane has.
fn slot(fake: &Fake, n: usize) -> u32 {
    fake.state().policy.as_ref().unwrap().view().nat()[n].counter
}

#[test]
fn a_drop_has_its_reason_and_json_its_fields() {
    let lab = lab();
    let fake = lab.fake();
    let _control = lab.control();
    let deny =
        |line| Phase::Acl { place: AclPlace::In, acl: 0, line, permit: false, log: true, undecided: false };
    let drop = Fate::Dropped(DropReason::AclDrop);
    let mut trace = Trace { generation: 1, phases: vec![deny(Some((2, 7)))], out_if: Some(1), fate: drop };
    fake.state().trace = Some(trace.clone());
    let ask = "packet-tracer input outside tcp 198.51.100.9 1234 203.0.113.3 80";
    let text = lab.good(ask);
    assert!(text.contains("Subtype: log\nResult: DROP\nConfig:\naccess-group out in interface outside\naccess-list out extended deny ip any any log\n"), "{text}");
    assert!(
        text.ends_with("Action: drop\nDrop-reason: (acl-drop) Flow is denied by configured rule\n\n"),
        "{text}"
    );
    assert!(lab.good(&format!("{ask} detailed")).contains("element 0x00000007\n"));

    let json = Request { line: ask.into(), json: true, ..Request::default() };
    let (answer, out, _) = lab.ask(&json);
    assert_eq!(answer.code, 0);
    let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (rows[0]["phase"].as_u64(), rows[0]["type"].as_str(), rows[0]["permit"].as_bool()),
        (Some(1), Some("ACCESS-LIST"), Some(false))
    );
    assert_eq!(rows[1]["result"]["drop_reason"], "acl-drop");
    assert_eq!(rows[1]["result"]["output_interface"]["name"], "inside");

    // Every phase is told in some words, whatever its numbers.
    let here = socket("10.10.0.5", 5);
    trace.phases = vec![
        Phase::Checks { permit: false },
        Phase::Worker { worker: 1 },
        Phase::Found { conn: 9, known: Known::Its, session: Some(3), permit: true },
        Phase::Found { conn: 9, known: Known::Over, session: None, permit: true },
        Phase::Found { conn: 9, known: Known::Opening, session: None, permit: true },
        Phase::Untranslated { by: Translator::Xlate, called: here, real: here, out_if: None },
        Phase::NoTranslation { called: here },
        Phase::Local { permit: true },
        Phase::Route { dst: here.addr, next_hop: None, out_if: None },
        Phase::Route { dst: here.addr, next_hop: Some(here.addr), out_if: Some(1) },
        Phase::Pinhole,
        deny(None),
        Phase::Acl {
            place: AclPlace::Global,
            acl: 99,
            line: None,
            permit: false,
            log: false,
            undecided: true,
        },
        Phase::Level { levels: [0, 100], permit: false },
        Phase::Replies { nat: None, permit: false },
        Phase::Settings { class: 77, reached: Some(ClassBound::Embryonic), intercepts: true },
        Phase::Crowded,
        Phase::Translated { nat: 4000, real: here, shown: None, dynamic: Some(false) },
        Phase::TlsProxy { class: 0, proxy: 99, permit: false },
        Phase::Created { permit: false },
        Phase::Adjacency { out_if: 9, next_hop: None, mac: None, permit: false },
        Phase::Adjacency { out_if: 1, next_hop: Some(here.addr), mac: None, permit: true },
        Phase::Adjacency { out_if: 1, next_hop: Some(here.addr), mac: None, permit: false },
    ];
    let phases = trace.phases.len();
    fake.state().trace = Some(Trace { fate: Fate::Answered, ..trace });
    let text = lab.good(&format!("{ask} detailed"));
    // The TLS proxy's are two.
    assert_eq!(text.matches("Phase: ").count(), phases + 1, "{text}");
    assert!(text.contains("output-interface: NP Identity Ifc\n"), "{text}");
    assert!(text.contains("Config:\naccess-group out in interface outside\nImplicit Rule\n"), "{text}");
}
