// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a configuration becomes in the segment, read back with the dataplane's own view; and that counters stay with their lines.

use super::slots::{Counts, Slots, Zero};
use super::*;
use crate::config::load;
use fedgate_tables::policy::{ACE_ANY_PROTO, ACE_INACTIVE, ACE_LOG, ACE_PERMIT, Ace, NONE16, NatKind};
use fedgate_tables::policy_view::{Checked, PolicyView};
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

    fn rule(&self, slot: u32) -> u64 {
        self.ace(slot)
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
    let known =
        |slots: &Slots| slots.blocks.iter().map(|(n, b)| (n.clone(), b.aces.clone())).collect::<Vec<_>>();
    assert_eq!(known(&Slots::recover(&second.view())), known(&after));
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
        fn rule(&self, _: u32) -> u64 {
            5
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
    let (again, _) = compiled(&[BASE, A, neq].concat(), &Slots::recover(&first.view()), &Zero);
    assert_eq!(slots_of(&again.view()), [(1, 0), (0, 0), (0, 0), (0, 0), (0, 0)]);
    drop(slots);
}

#[test]
fn the_same_configuration_makes_the_same_bytes() {
    let config = config(&[BASE, A, B, C].concat());
    let once = compile(&config, 7, &Slots::default(), &Zero).unwrap();
    let recovered = Slots::recover(&Checked::copy_of(&once.segment).unwrap().view());
    let again = compile(&config, 7, &recovered, &Hits(3)).unwrap();
    assert_eq!(once.segment, again.segment);
}

/// Two groups of two make four counters; a range makes one of several entries; `any` one of both families.
#[test]
fn lines_expand() {
    let text = "object-group network g\n network-object host 10.0.0.1\n network-object host 10.0.0.2\n\
        object network r\n range 10.0.1.1 10.0.1.3\n\
        time-range t\n absolute start 00:00 01 January 2026 end 23:59 01 January 2026\n periodic daily 22:00 to 5:59\n\
        clock timezone CET 1\n\
        access-list a extended permit tcp object-group g object-group g eq 5\n\
        access-list a extended deny udp object r any\n\
        access-list a extended permit ip any any time-range t\n\
        access-list a extended permit icmp any any unreachable 4\n\
        access-list a extended permit tcp any6 host 2001:db8::1 eq 7\n";
    let (checked, slots) = compiled(&[BASE, text].concat(), &Slots::default(), &Zero);
    let view = checked.view();
    let acl = &view.acls()[0];
    let aces: Vec<_> = view.aces_of(acl).iter().map(|a| (a.line, a.counter, a.src, a.dst)).collect();
    let [one, two] = [ip("10.0.0.1"), ip("10.0.0.2")];
    assert_eq!(aces[..4], [(1, 0, one, one), (1, 1, one, two), (1, 2, two, one), (1, 3, two, two)]);
    assert_eq!(aces[4..6], [(2, 4, ip("10.0.1.1"), 0), (2, 4, ip("10.0.1.2"), 0)]);
    assert_eq!(aces[6..], [(3, 5, 0, 0), (4, 6, 0, 0)]);
    let [any, six] = view.aces6() else { panic!() };
    assert_eq!((any.line, any.counter, any.time_range, any.flags), (3, 5, 0, ACE_PERMIT | ACE_ANY_PROTO));
    assert_eq!(
        (six.line, six.counter, six.dst_prefix, six.dport, six.time_range),
        (5, 7, 128, [7, 7], NONE16)
    );
    let icmp = view.aces_of(acl)[7];
    assert_eq!((icmp.proto, icmp.dport, icmp.sport), (1, [3, 3], [4, 4]));
    let [range] = view.time_ranges() else { panic!() };
    // 2026-01-01 00:00 CET to the end of its day.
    assert_eq!((range.start, range.end, range.count), (1_767_222_000, 1_767_222_000 + 86_400, 7));
    assert_eq!(view.periods()[0], Period { from: 22 * 60, to: 24 * 60 + 360 });
    assert_eq!(view.periods()[6], Period { from: 6 * 1440 + 22 * 60, to: 360 });
    assert_eq!(view.globals().utc_offset, 3600);
    // Every element is found again by a control that knows only the policy.
    let (again, _) = compiled(&[BASE, text].concat(), &Slots::recover(&view), &Hits(4));
    assert_eq!(again.view().aces_of(&again.view().acls()[0]), view.aces_of(acl));
    assert_eq!(slots.blocks["a"].slots().collect::<std::collections::HashSet<_>>().len(), 8);
}

/// What a line is now, for the property below.
fn lines_of(picks: &[u8]) -> String {
    let line = |n: &u8| match n % 5 {
        0 => "access-list a remark r\n".to_owned(),
        1 => "access-list a extended permit tcp object-group g any neq 80\n".to_owned(),
        _ => format!("access-list a extended permit tcp any host 10.0.0.{n} eq {n}\n"),
    };
    picks.iter().map(line).collect()
}

proptest::proptest! {
    /// However one list becomes the next, its entries are those of a list made at once, and no two elements share a counter.
    #[test]
    fn a_successor_is_what_a_fresh_one_is(
        before in proptest::collection::vec(1u8..20, 1..12),
        after in proptest::collection::vec(1u8..20, 1..12),
        group in 1u8..4,
    ) {
        let head = |members: u8| {
            let members: String = (1..=members).map(|n| format!(" network-object host 10.9.0.{n}\n")).collect();
            format!("{BASE}object-group network g\n{members}")
        };
        let (before, after) = (lines_of(&before), lines_of(&after));
        let (_, slots) = compiled(&(head(2) + &before), &Slots::default(), &Zero);
        // The same objects in the second step, or others: the group with two members makes the world the same.
        let made = compile(&config(&(head(group) + &after)), 7, &slots, &Hits(3)).unwrap();
        let (fresh, _) = compiled(&(head(group) + &after), &Slots::default(), &Zero);
        let bare = |aces: &[Ace]| aces.iter().map(|a| Ace { counter: 0, counter_base: 0, ..*a }).collect::<Vec<_>>();
        let checked = Checked::copy_of(&made.segment).unwrap();
        proptest::prop_assert_eq!(bare(checked.view().aces()), bare(fresh.view().aces()));
        let counters = |aces: &[Ace]| {
            let mut seen: Vec<(u32, u32, u32, u32)> = aces.iter().map(|a| (a.line, a.src, a.id, a.counter)).collect();
            seen.dedup();
            seen.iter().map(|s| s.3).collect::<Vec<_>>()
        };
        let all = counters(checked.view().aces());
        let unique: std::collections::HashSet<_> = all.iter().collect();
        proptest::prop_assert_eq!(unique.len(), all.len());
    }
}

/// One line more, in the middle: the others keep their counters, whatever else they had.
#[test]
fn a_line_in_between_moves_no_counter() {
    let before = config(&[BASE, A, B, C].concat());
    let first = compile(&before, 7, &Slots::default(), &Zero).unwrap();
    let line = "access-list a line 2 extended deny ip any any";
    let after = crate::config::edit(&before, line, Path::new("/")).ok().unwrap().config;
    let second = compile(&after, 8, &first.slots, &Hits(9)).unwrap();
    let checked = Checked::copy_of(&second.segment).unwrap();
    assert_eq!(slots_of(&checked.view()), [(0, 0), (5, 0), (1, 0), (2, 0)]);
    let lines: Vec<u32> = checked.view().aces().iter().map(|a| a.line).collect();
    assert_eq!(lines, [1, 2, 3, 4]);
}

/// Bounds of classes reach the segment; a class keeps its slot while it is there, and a new one takes none that was in use.
#[test]
fn classes_keep_their_slots() {
    let class = |name: &str| format!("class-map {name}\n match port tcp eq 5061\n");
    let of = |names: &[&str]| {
        let maps: String = names.iter().map(|name| class(name)).collect();
        let classes: String =
            names.iter().map(|name| format!(" class {name}\n  set connection conn-max 7\n")).collect();
        format!(
            "{BASE}{maps}policy-map p\n{classes} class class-default\n  set connection timeout idle 0:30:00\nservice-policy p global\n"
        )
    };
    let (first, slots) = compiled(&of(&["b", "a"]), &Slots::default(), &Zero);
    let view = first.view();
    let seen = |view: &PolicyView<'_>| {
        let one = |c: &ServiceClass| (view.str(c.name).to_owned(), c.slot, c.conn_max, c.timeout_idle);
        view.classes().iter().map(one).collect::<Vec<_>>()
    };
    let is = |name: &str, slot, most, idle| (name.to_owned(), slot, most, idle);
    assert_eq!(seen(&view), [is("b", 0, 7, NONE), is("a", 1, 7, NONE), is("class-default", 2, 0, 1800)]);
    assert_eq!((view.classes()[2].acl, view.classes()[2].flags), (NONE, CLASS_LIMITS));
    let list = &view.acls()[view.classes()[0].acl as usize];
    assert_eq!((view.str(list.name), view.aces_of(list)[0].dport), ("class-map b", [5061; 2]));
    let (second, _) = compiled(&of(&["c", "a"]), &slots, &Zero);
    let (again, _) = compiled(&of(&["c", "a"]), &Slots::recover(&view), &Zero);
    let expected = [is("c", 3, 7, NONE), is("a", 1, 7, NONE), is("class-default", 2, 0, 1800)];
    assert_eq!((seen(&second.view()), seen(&again.view())), (expected.to_vec(), expected.to_vec()));
}

/// An address of either family makes an interface; with IPv6 alone the IPv4 one is all zeros.
#[test]
fn an_interface_may_speak_ipv6_alone() {
    let text = "interface tap a\n nameif left\n ipv6 enable\ninterface tap b\n nameif right\n ipv6 address 2001:db8::1/64\n\
                interface tap c\n nameif neither\ninterface tap d\n nameif both\n ip address 10.0.0.1 255.0.0.0\n\
                access-list x extended permit ip any6 any6\naccess-group x in interface right\n\
                ipv6 route right ::/0 2001:db8::9\n";
    let (checked, _) = compiled(text, &Slots::default(), &Zero);
    let view = checked.view();
    let [left, right, both] = view.interfaces() else { panic!() };
    assert_eq!([left, right, both].map(|i| view.str(i.name)), ["left", "right", "both"]);
    assert_eq!([left, right, both].map(|i| i.flags & IF_IPV6 != 0), [true, true, false]);
    assert_eq!([left.addr, left.mask, right.addr, right.mask], [0; 4]);
    assert_eq!((right.acl_in, right.prefix6, both.addr), (0, 64, ip("10.0.0.1")));
    assert_eq!(view.routes6()[0].ifindex, 1);
}

/// A rule of an inspect map keeps its counter; a new one gets none that was in use, and one at zero while there is one.
#[test]
fn rules_of_inspect_maps_keep_their_slots() {
    let key = |line: &str| ("map".to_owned(), line.to_owned());
    let mut before = Slots::default();
    before.rules.extend([(key("a"), 3), (key("gone"), 6)]);
    let after = before.of_rules(["c", "a", "b"].map(key).into_iter(), &Hits(9)).expect("there is room");
    assert_eq!(after.into_iter().collect::<Vec<_>>(), [(key("a"), 3), (key("b"), 7), (key("c"), 5)]);
}
