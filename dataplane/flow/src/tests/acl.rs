// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compiled ACLs against a plain walk over the ACEs, from one policy to the next.

use crate::Policy;
use crate::acl::{Acls, Decision, Lists, classify, classify6};
use crate::key::{ICMP, Key, TCP, UDP};
use fedgate_acl::Query;
use fedgate_acl::testing::Random;
use fedgate_tables::policy::*;

const RANGES: [bool; 2] = [true, false];

fn active(flags: u8, time_range: u16) -> bool {
    flags & ACE_INACTIVE == 0 && (time_range == NONE16 || RANGES[usize::from(time_range)])
}

fn within([first, last]: [u16; 2], v: u16) -> bool {
    first <= v && v <= last
}

/// What an ASA does, line by line.
fn walk(acl: &Acl, aces: &[Ace], key: &Key, (kind, code): (u8, u8)) -> Decision {
    let run = acl.first..acl.first + acl.count;
    let hit = run.into_iter().find(|&i| {
        let ace = &aces[i as usize];
        let ports = match key.proto {
            ICMP => within(ace.dport, kind.into()) && within(ace.sport, code.into()),
            _ => within(ace.sport, key.sport) && within(ace.dport, key.dport),
        };
        active(ace.flags, ace.time_range)
            && key.src & ace.src_mask == ace.src
            && key.dst & ace.dst_mask == ace.dst
            && (ace.flags & ACE_ANY_PROTO != 0 || (key.proto == ace.proto && ports))
    });
    decided(hit, |i| (aces[i].flags, aces[i].counter))
}

/// What the ACE says, or the implicit deny.
fn decided(hit: Option<u32>, ace: impl Fn(usize) -> (u8, u32)) -> Decision {
    let says = hit.map(|i| ace(i as usize));
    let flags = says.map_or(0, |(flags, _)| flags);
    Decision { permit: flags & ACE_PERMIT != 0, ace: hit, counter: says.map(|(_, counter)| counter), flags }
}

fn walk6(acl: &Acl, aces: &[Ace6], q: &Query<u128>) -> Decision {
    let beside = |net: [u8; 16], len: u8, addr: u128| {
        len == 0 || (u128::from_be_bytes(net) ^ addr).leading_zeros() >= u32::from(len)
    };
    let run = acl.first6..acl.first6 + acl.count6;
    let hit = run.into_iter().find(|&i| {
        let ace = &aces[i as usize];
        active(ace.flags, ace.time_range)
            && beside(ace.src, ace.src_prefix, q.src)
            && beside(ace.dst, ace.dst_prefix, q.dst)
            && (ace.flags & ACE_ANY_PROTO != 0
                || (q.proto == ace.proto && within(ace.sport, q.sport) && within(ace.dport, q.dport)))
    });
    decided(hit, |i| (aces[i].flags, aces[i].counter))
}

fn flags(random: &mut Random) -> u8 {
    let bit = |yes: bool, bit: u8| if yes { bit } else { 0 };
    bit(random.chance(50), ACE_PERMIT)
        | bit(random.chance(10), ACE_INACTIVE)
        | bit(random.chance(20), ACE_ANY_PROTO)
}

fn ports(random: &mut Random) -> [u16; 2] {
    let (a, b) = (random.below(12) as u16, random.below(12) as u16);
    if random.chance(40) { ANY_PORT } else { [a.min(b), a.max(b)] }
}

/// Addresses of a few bits, so that elements overlap.
fn element(random: &mut Random) -> Ace {
    let net = |random: &mut Random| {
        let mask = [0, 0xffff_fffc, 0xffff_ffff][random.below(3)];
        (random.below(8) as u32 & mask, mask)
    };
    let ((src, src_mask), (dst, dst_mask)) = (net(random), net(random));
    Ace {
        src,
        src_mask,
        dst,
        dst_mask,
        // Ports that a rule for `ip` carries mean nothing.
        sport: ports(random),
        dport: ports(random),
        proto: [TCP, UDP, ICMP, 47][random.below(4)],
        flags: flags(random),
        time_range: [NONE16, NONE16, 0, 1][random.below(4)],
        ..Default::default()
    }
}

fn element6(random: &mut Random) -> Ace6 {
    let net = |random: &mut Random| {
        let len = [0, 61, 126, 128][random.below(4)];
        let addr = u128::from(random.bits() & 7) << 64 | u128::from(random.bits() & 7);
        (if len == 0 { [0; 16] } else { (addr >> (128 - len) << (128 - len)).to_be_bytes() }, len as u8)
    };
    let ((src, src_prefix), (dst, dst_prefix)) = (net(random), net(random));
    let ace = element(random);
    Ace6 {
        src,
        src_prefix,
        dst,
        dst_prefix,
        sport: ace.sport,
        dport: ace.dport,
        proto: ace.proto,
        flags: ace.flags,
        time_range: ace.time_range,
        ..Default::default()
    }
}

#[test]
fn compiled_acls_decide_as_the_walk_does() {
    let random = &mut Random::new(1);
    let mut aces: Vec<Ace> = (0..120).map(|_| element(random)).collect();
    let mut aces6: Vec<Ace6> = (0..120).map(|_| element6(random)).collect();
    let acl = |first, count| Acl { first, count, first6: first, count6: count, ..Default::default() };
    let acls = [acl(0, 40), acl(40, 0), acl(40, 80)];
    let named = [("a", acls[0]), ("empty", acls[1]), ("b", acls[2])];
    let globals = Globals::default();
    let mut compiled = Acls::default();
    for _ in 0..50 {
        compiled = compiled.updated(&Lists { acls: &named, aces: &aces, aces6: &aces6, in_force: &RANGES });
        let nat = crate::nat::Nat::default();
        let policy = Policy {
            interfaces: &[],
            nat: &nat,
            acls: &acls,
            aces: &aces,
            aces6: &aces6,
            compiled: &compiled,
            classes: &[],
            globals: &globals,
        };
        for _ in 0..500 {
            let index = random.below(3);
            let key = Key {
                src: random.below(9) as u32,
                dst: random.below(9) as u32,
                sport: random.below(13) as u16,
                dport: random.below(13) as u16,
                proto: [TCP, UDP, ICMP, 47, 50][random.below(5)],
            };
            let icmp = (random.below(13) as u8, random.below(13) as u8);
            let want = walk(&acls[index], &aces, &key, icmp);
            assert_eq!(classify(&policy, index as u32, &key, icmp), Some(want), "{key:?} {icmp:?}");
            let near =
                |random: &mut Random| u128::from(random.bits() & 7) << 64 | u128::from(random.bits() & 7);
            let q = Query {
                src: near(random),
                dst: near(random),
                sport: key.sport,
                dport: key.dport,
                proto: key.proto,
            };
            assert_eq!(classify6(&policy, index as u32, &q), Some(walk6(&acls[index], &aces6, &q)), "{q:?}");
        }
        assert_eq!(
            classify(&policy, 3, &Key { src: 0, dst: 0, sport: 0, dport: 0, proto: TCP }, (0, 0)),
            None
        );
        let i = random.below(120);
        (aces[i], aces6[i]) = (element(random), element6(random));
    }
}

#[test]
fn acls_are_the_same_by_name() {
    let random = &mut Random::new(2);
    let aces: Vec<Ace> = (0..200).map(|_| element(random)).collect();
    let acl = |first, count| Acl { first, count, ..Default::default() };
    let next = |before: &Acls, acls: &[(&str, Acl)]| {
        before.updated(&Lists { acls, aces: &aces, aces6: &[], in_force: &RANGES })
    };
    let first = next(&Acls::default(), &[("a", acl(0, 100)), ("b", acl(100, 100))]);
    // `a` has gone, `b` has moved and lost its last element.
    let second = next(&first, &[("b", acl(100, 99)), ("c", acl(0, 100))]);
    let third = next(&second, &[("b", acl(100, 100)), ("c", acl(0, 100))]);
    assert!(second.shares(0, &first, 1) && !second.shares(1, &first, 0));
    assert!(third.shares(0, &first, 1) && third.shares(1, &second, 1));
}
