// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a configuration becomes in the segment, read back with the dataplane's own view; and that counters stay with their lines.

use super::slots::{Counts, Slots, Zero};
use super::*;
use crate::config::load;
use fedgate_tables::policy::NatKind;
use fedgate_tables::policy_view::{Checked, PolicyView};
use std::net::Ipv4Addr;
use std::path::Path;

const BASE: &str = "\
interface tap fgo
 nameif outside
 ip address 203.0.113.2 255.255.255.248
 shutdown
interface ring unused
interface tap fgi
 nameif inside
 ip address 10.10.0.1 255.255.255.0
 mac-address 0200.0000.0001
mtu inside 1400
route outside 0.0.0.0 0.0.0.0 203.0.113.1 5
same-security-traffic permit inter-interface
timeout sip 2:05:00
local domain ours.example
";

fn config(text: &str) -> Config {
    match load(text, "t", Path::new("/")) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{}", report.render(false)),
    }
}

fn compiled(text: &str, before: &Slots, counts: &impl Counts) -> (Checked, Slots) {
    let made = compile(&config(text), 7, before, counts).expect("compiles");
    (Checked::copy_of(&made.segment).expect("valid"), made.slots)
}

fn ip(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().unwrap().into()
}

#[test]
fn the_whole_becomes_indices() {
    let text = format!(
        "{BASE}object network cup\n host 10.10.0.11\n nat (inside,outside) static interface service tcp 5062 5061\n\
         object network pub\n host 203.0.113.3\n\
         nat (any,outside) source dynamic cup pub\n\
         access-list b extended deny tcp any object cup neq sip log\n\
         access-list b remark counts as a line\n\
         access-list b extended permit icmp any any echo inactive\n\
         access-list g extended permit ip any any\n\
         access-group b in interface outside\naccess-group g global\n"
    );
    let (checked, _) = compiled(&text, &Slots::default(), &Zero);
    let view = checked.view();
    let [outside, inside] = view.interfaces() else { panic!() };
    assert_eq!((view.str(outside.name), view.str(outside.device)), ("outside", "net_tap_fgo,iface=fgo"));
    assert_eq!((outside.security, outside.flags, outside.mtu), (0, IF_SHUTDOWN, 1500));
    assert_eq!(
        (inside.security, inside.flags, inside.mtu, inside.mac),
        (100, IF_MAC_SET, 1400, [2, 0, 0, 0, 0, 1])
    );
    assert_eq!((outside.acl_in, outside.acl_out, inside.acl_in), (0, NONE, NONE));
    let globals = view.globals();
    assert_eq!((globals.acl_global, globals.timeout_sip, globals.flags), (1, 7500, SAME_SECURITY_INTER));

    let routes: Vec<_> =
        view.routes().iter().map(|r| (r.net, r.mask, r.gateway, r.ifindex, r.metric)).collect();
    assert_eq!(
        routes,
        [
            (ip("203.0.113.0"), ip("255.255.255.248"), 0, 0, 0),
            (ip("10.10.0.0"), ip("255.255.255.0"), 0, 1, 0),
            (0, 0, ip("203.0.113.1"), 0, 5),
        ]
    );

    let aces = view.aces_of(&view.acls()[0]);
    let seen: Vec<_> = aces.iter().map(|a| (a.flags, a.proto, a.dport, a.line, a.counter)).collect();
    assert_eq!(
        seen,
        [
            (ACE_LOG, 6, [0, 5059], 1, 0),
            (ACE_LOG, 6, [5061, 65535], 1, 0),
            (ACE_PERMIT | ACE_INACTIVE, 1, [8, 8], 3, 1),
        ]
    );
    assert_eq!((aces[0].dst, aces[0].dst_mask), (ip("10.10.0.11"), u32::MAX));

    let nat: Vec<_> =
        view.nat().iter().map(|r| (r.kind, r.section, r.real_if, r.mapped_if, r.mapped[0])).collect();
    assert_eq!(
        nat,
        [
            (NatKind::DynamicPat as u8, 1, NONE, 0, ip("203.0.113.3")),
            (NatKind::StaticPat as u8, 2, 1, 0, ip("203.0.113.2")),
        ]
    );
    assert_eq!(
        (view.nat()[1].real_port, view.nat()[1].mapped_port, view.nat()[1].proto),
        ([5062; 2], [5061; 2], 6)
    );
    assert_eq!(view.local_domains().collect::<Vec<_>>(), [b"ours.example"]);
}

/// Slot of each ACE of the first list.
fn slots_of(view: &PolicyView<'_>) -> Vec<(u32, u64)> {
    view.aces_of(&view.acls()[0]).iter().map(|a| (a.counter, a.counter_base)).collect()
}

const A: &str = "access-list a extended permit tcp any any eq 1\n";
const B: &str = "access-list a extended permit tcp any any eq 2\n";
const C: &str = "access-list a extended permit tcp any any eq 3\n";

/// As if every slot below 5 had been hit so often.
struct Hits(u64);

impl Counts for Hits {
    fn ace(&self, slot: u32) -> u64 {
        if slot < 5 { self.0 } else { 0 }
    }

    fn nat(&self, _: u32) -> (u64, u64) {
        (0, 0)
    }
}

#[test]
fn unchanged_lines_keep_their_counters() {
    let (first, slots) = compiled(&[BASE, A, B, A].concat(), &Slots::default(), &Zero);
    assert_eq!(slots_of(&first.view()), [(0, 0), (1, 0), (2, 0)]);
    // B goes, C comes: the second A is still the second A, and C gets none that was in use.
    let (second, after) = compiled(&[BASE, C, A, A].concat(), &slots, &Hits(9));
    assert_eq!(slots_of(&second.view()), [(5, 0), (0, 0), (2, 0)]);
    // A new control that reads the policy in force knows the same.
    assert_eq!(Slots::recover(&second.view()), after);
    let (third, _) = compiled(&[BASE, B, A, A, C].concat(), &Slots::recover(&second.view()), &Hits(9));
    assert_eq!(slots_of(&third.view()), [(6, 0), (0, 0), (2, 0), (5, 0)]);
}

#[test]
fn a_used_slot_is_taken_with_its_base_when_no_fresh_one_is_left() {
    struct All;
    impl Counts for All {
        fn ace(&self, slot: u32) -> u64 {
            u64::from(slot) + 100
        }
        fn nat(&self, _: u32) -> (u64, u64) {
            (3, 4)
        }
    }
    let (view, _) = compiled(&[BASE, A, B].concat(), &Slots::default(), &All);
    assert_eq!(slots_of(&view.view()), [(0, 100), (1, 101)]);
}

#[test]
fn neq_is_one_line_for_the_counters() {
    let neq = "access-list a extended permit tcp any neq 7 any neq 9\n";
    let (first, slots) = compiled(&[BASE, neq, A].concat(), &Slots::default(), &Zero);
    assert_eq!(slots_of(&first.view()), [(0, 0), (0, 0), (0, 0), (0, 0), (1, 0)]);
    assert_eq!(Slots::recover(&first.view()), slots);
}

#[test]
fn the_same_configuration_makes_the_same_bytes() {
    let config = config(&[BASE, A, B, C].concat());
    let once = compile(&config, 7, &Slots::default(), &Zero).unwrap();
    let recovered = Slots::recover(&Checked::copy_of(&once.segment).unwrap().view());
    let again = compile(&config, 7, &recovered, &Hits(3)).unwrap();
    assert_eq!(once.segment, again.segment);
}
