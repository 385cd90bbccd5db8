// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table against a plain map; admission and the life of a connection by scenario.
use super::*;
use crate::acl::{Acls, Lists};
use crate::nat::Nat;
use crate::ports::Share;
use crate::tcp::{ACK, FIN, RST, SYN, Segment};
use crate::{FlowConfig, TICKS};
use fedgate_tables::policy::*;
use fedgate_wire::proto::{ICMPV6, TCP, UDP};
use proptest::prelude::*;
use std::collections::HashMap;

const OUTSIDE: u8 = 0;
const INSIDE: u8 = 1;
const FAR: u128 = 0x2001_0db8_00ff_0000_0000_0000_0000_0005;
const HOST: u128 = 0x2001_0db8_0001_0000_0000_0000_0000_0011;

fn key(src: u128, sport: u16, dst: u128, dport: u16, proto: u8) -> Tuple6 {
    Tuple6 { src, dst, sport, dport, proto }
}

proptest! {
    /// Any sequence of inserts, removes and lookups, of either direction, answers as a map does.
    #[test]
    fn table_is_a_map(ops in prop::collection::vec((0u8..4, 0u16..40), 1..300), seed: u64) {
        let mut table = Conns6::new(16, &mut crate::Rng::new(seed));
        let mut twin: HashMap<u16, ConnId> = HashMap::new();
        let tuple = |n: u16| key(HOST + u128::from(n / 8), 1000 + n % 4, FAR, 80, if n % 8 < 4 { UDP } else { TCP });
        for (op, n) in ops {
            let key = tuple(n);
            let new = |key| NewConn6 { key, iface: [1, 0], state: State::Established, inbound: false };
            match op {
                0 | 1 => match table.insert(new(if op == 0 { key } else { key.mirror() }), 5) {
                    Ok(id) => prop_assert!(twin.insert(n, id).is_none()),
                    Err(InsertError::Clash) => prop_assert!(twin.contains_key(&n)),
                    // Two buckets of ten, of which a tuple may have only one: never refused while it has room.
                    Err(InsertError::Full) => prop_assert!(twin.len() >= 10),
                },
                2 => if let Some(id) = twin.remove(&n) {
                    table.remove(id);
                },
                _ => {}
            }
            prop_assert_eq!(table.in_use().0 as usize, twin.len());
            for n in 0..40 {
                let key = tuple(n);
                let (there, back) = (table.lookup(&key), table.lookup(&key.mirror()));
                prop_assert_eq!(there.map(|hit| hit.0), twin.get(&n).copied());
                prop_assert_eq!(back.map(|(id, dir)| (id, dir.flip())), there);
                if let Some((id, dir)) = there {
                    let stored = table.hot(id).key();
                    prop_assert_eq!(if dir == Dir::Forward { stored } else { stored.mirror() }, key);
                    prop_assert_eq!(table.hot(id).destination(dir), key.dst);
                }
            }
            let listed: usize = table.page(0, 100, 100, |_| true).0.len();
            prop_assert_eq!(listed, twin.len());
        }
    }
}

/// What decides.
struct Rules {
    interfaces: Vec<Interface>,
    acls: Vec<Acl>,
    aces: Vec<Ace6>,
    compiled: Acls,
    globals: Globals,
    nat: Nat,
}

impl Rules {
    fn policy(&self) -> Policy<'_> {
        let Self { interfaces, acls, aces, compiled, globals, nat } = self;
        Policy { interfaces, nat, acls, aces: &[], aces6: aces, compiled, classes: &[], globals }
    }
}

struct Lab {
    flow: Flow,
    rules: Rules,
    now: Tick,
}

impl Lab {
    fn new() -> Self {
        let interface =
            |security| Interface { security, acl_in: NONE, acl_out: NONE, ..Interface::default() };
        let rules = Rules {
            interfaces: vec![interface(0), interface(100)],
            acls: Vec::new(),
            aces: Vec::new(),
            compiled: Acls::default(),
            globals: Globals::default(),
            nat: Nat::default(),
        };
        Self {
            flow: Flow::new(FlowConfig { max_conns: 32, max_xlates: 8, seed: 11, share: Share::WHOLE }),
            rules,
            now: 1000,
        }
    }

    /// An ACL of these elements.
    fn acl(&mut self, aces: &[Ace6]) -> u32 {
        let rules = &mut self.rules;
        let (first6, count6) = (rules.aces.len() as u32, aces.len() as u32);
        rules.aces.extend_from_slice(aces);
        rules.acls.push(Acl { first6, count6, ..Acl::default() });
        let names: Vec<String> = (0..rules.acls.len()).map(|n| n.to_string()).collect();
        let acls: Vec<(&str, Acl)> =
            names.iter().map(String::as_str).zip(rules.acls.iter().copied()).collect();
        let lists = Lists { acls: &acls, aces: &[], aces6: &rules.aces, in_force: &[] };
        rules.compiled = rules.compiled.updated(&lists);
        rules.acls.len() as u32 - 1
    }

    fn admit(&mut self, first: First6) -> (Admission6, crate::firewall::Hits) {
        let egress = |addr: u128| match addr >> 80 {
            net if net == FAR >> 80 => Some(OUTSIDE),
            net if net == HOST >> 80 => Some(INSIDE),
            _ => None,
        };
        self.flow.admit6(&first, &self.rules.policy(), egress, self.now)
    }

    fn refused(&mut self, first: First6) -> DropReason {
        match self.admit(first).0 {
            Admission6::Refused(reason) => reason,
            Admission6::Intercept { limit, .. } => limit,
            Admission6::New(id) => panic!("{:?}", self.flow.conns6.hot(id)),
        }
    }

    fn admitted(&mut self, first: First6) -> ConnId {
        match self.admit(first).0 {
            Admission6::New(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn account(
        &mut self,
        id: ConnId,
        dir: Dir,
        flags: u8,
        [seq, ack]: [u32; 2],
    ) -> Result<Booked, DropReason> {
        let segment = Segment { seq, ack, window: 1000, flags, len: 0 };
        let packet = Packet { len: 60, segment, options: &[], datagram: &[] };
        self.flow.account6(id, dir, &packet, &self.rules.policy(), self.now)
    }

    fn wait(&mut self, seconds: u32) -> u32 {
        let mut ended = 0;
        for _ in 0..seconds * TICKS {
            self.now += 1;
            ended += self.flow.expire6(&self.rules.policy(), self.now, 8);
        }
        ended
    }
}

fn out(proto: u8, tcp_flags: u8) -> First6 {
    let icmp_type = if proto == ICMPV6 { 128 } else { 0 };
    let key = key(HOST, 4000, FAR, if proto == ICMPV6 { 0 } else { 443 }, proto);
    First6 { key, in_if: INSIDE, tcp_flags, icmp_type, icmp_code: 0, hop_limit: 64 }
}

fn inwards(first: First6) -> First6 {
    First6 { key: first.key.mirror(), in_if: OUTSIDE, ..first }
}

fn permit_from(src: u128, src_prefix: u8, proto: u8, dport: [u16; 2], counter: u32) -> Ace6 {
    let src = (src & fedgate_wire::ipv6::mask(src_prefix)).to_be_bytes();
    Ace6 { src, src_prefix, proto, dport, flags: ACE_PERMIT, counter, ..Ace6::default() }
}

#[test]
fn what_begins_a_connection() {
    let mut lab = Lab::new();
    assert_eq!(lab.refused(out(TCP, ACK)), DropReason::TcpNotSyn);
    assert_eq!(lab.refused(out(TCP, SYN | ACK)), DropReason::TcpNotSyn);
    assert_eq!(lab.refused(First6 { icmp_type: 129, ..out(ICMPV6, 0) }), DropReason::IcmpErrorNoConn);
    assert_eq!(lab.refused(First6 { icmp_type: 1, ..out(ICMPV6, 0) }), DropReason::IcmpErrorNoConn);
    assert_eq!(lab.refused(out(50, 0)), DropReason::UnsupportedProtocol);
    assert_eq!(lab.refused(First6 { hop_limit: 1, ..out(UDP, 0) }), DropReason::TtlExceeded);
    let nowhere = key(HOST, 1, 1 << 100, 2, UDP);
    assert_eq!(lab.refused(First6 { key: nowhere, ..out(UDP, 0) }), DropReason::NoRoute);
    assert_eq!(lab.flow.conns6.in_use(), (0, 0));
    for first in [out(TCP, SYN), out(UDP, 0), out(ICMPV6, 0)] {
        let id = lab.admitted(first);
        assert_eq!(lab.flow.conns6.lookup(&first.key.mirror()), Some((id, Dir::Reverse)));
        assert_eq!(lab.flow.conns6.hot(id).iface, [INSIDE, OUTSIDE]);
    }
}

#[test]
fn levels_and_lists_decide() {
    let mut lab = Lab::new();
    // From a lower level only by a list.
    assert_eq!(lab.refused(inwards(out(UDP, 0))), DropReason::AclDrop);
    let list = lab.acl(&[
        Ace6 { flags: ACE_PERMIT | ACE_INACTIVE | ACE_ANY_PROTO, ..Ace6::default() },
        Ace6 { flags: ACE_LOG, ..permit_from(FAR, 128, TCP, [4000, 4000], 7) },
        permit_from(FAR, 64, TCP, [4000, 4010], 8),
        permit_from(FAR, 64, ICMPV6, [128, 128], 9),
    ]);
    lab.rules.interfaces[0].acl_in = list;
    let syn = inwards(out(TCP, SYN));
    let (admission, hits) = lab.admit(syn);
    assert_eq!(admission, Admission6::Refused(DropReason::AclDrop));
    assert_eq!(
        (hits.aces, hits.told[0].and_then(|told| told.decision.ace)),
        ([Some(7), None, None], Some(1))
    );
    let neighbour = First6 { key: Tuple6 { src: FAR + 1, ..syn.key }, ..syn };
    let (admission, hits) = lab.admit(neighbour);
    let Admission6::New(id) = admission else { panic!("{admission:?}") };
    assert!(lab.flow.conns6.hot(id).is_inbound());
    assert_eq!(hits.aces, [Some(8), None, None]);
    let ping = First6 { key: key(FAR, 9, HOST, 0, ICMPV6), ..inwards(out(ICMPV6, 0)) };
    assert_eq!(lab.admit(ping).1.aces, [Some(9), None, None]);
    assert_eq!(lab.refused(inwards(out(UDP, 0))), DropReason::AclDrop);

    // A global list takes over from the implicit deny; the one on the way out has the last word.
    lab.rules.globals.acl_global = lab.acl(&[permit_from(FAR, 64, UDP, [0, 65535], 10)]);
    assert_eq!(lab.admit(inwards(out(UDP, 0))).1.aces, [None, Some(10), None]);
    lab.rules.interfaces[1].acl_out = lab.acl(&[]);
    let other = inwards(First6 { key: key(HOST, 5000, FAR, 443, UDP), ..out(UDP, 0) });
    assert_eq!(lab.refused(other), DropReason::AclDrop);
}

#[test]
fn a_source_from_elsewhere_is_refused_where_asked() {
    let mut lab = Lab::new();
    lab.rules.interfaces[1].flags = IF_VERIFY_REVERSE_PATH;
    let spoofed = First6 { key: key(FAR + 1, 1, FAR, 2, UDP), ..out(UDP, 0) };
    assert_eq!(lab.refused(spoofed), DropReason::RpfViolated);
    lab.admitted(out(UDP, 0));
}

#[test]
fn a_full_table_refuses_and_keeps() {
    let mut lab = Lab::new();
    for port in 0..8 {
        lab.admitted(First6 { key: key(HOST, port, FAR, 443, UDP), ..out(UDP, 0) });
    }
    let one_more = First6 { key: key(HOST, 9, FAR, 443, UDP), ..out(UDP, 0) };
    assert_eq!(lab.refused(one_more), DropReason::ConnTableFull);
    assert_eq!(lab.flow.conns6.in_use(), (8, 8));
    assert_eq!(lab.wait(121), 8);
    lab.admitted(one_more);
}

#[test]
fn a_tcp_connection_lives_by_its_state() {
    let mut lab = Lab::new();
    let passes = Ok(Booked::Passes);
    let id = lab.admitted(out(TCP, SYN));
    assert_eq!(lab.account(id, Dir::Forward, SYN, [10, 0]), passes);
    assert_eq!(lab.wait(29), 0);
    assert_eq!(lab.wait(2), 1, "embryonic after 30 s");

    let id = lab.admitted(out(TCP, SYN));
    for (dir, flags, numbers) in
        [(Dir::Forward, SYN, [10, 0]), (Dir::Reverse, SYN | ACK, [90, 11]), (Dir::Forward, ACK, [11, 91])]
    {
        assert_eq!(lab.account(id, dir, flags, numbers), passes);
    }
    assert_eq!(lab.flow.conns6.hot(id).state, State::Established);
    assert_eq!(lab.wait(3000), 0);
    assert_eq!(lab.account(id, Dir::Reverse, ACK, [91, 11]), passes);
    assert_eq!(lab.account(id, Dir::Reverse, RST, [9_000, 0]), Err(DropReason::TcpRstfinOoo));
    assert_eq!(lab.wait(3599), 0, "a packet puts the end off");
    assert_eq!(lab.account(id, Dir::Forward, FIN | ACK, [11, 91]), passes);
    assert_eq!(lab.account(id, Dir::Reverse, FIN | ACK, [91, 12]), passes);
    assert_eq!(lab.account(id, Dir::Forward, ACK, [12, 92]), passes);
    assert_eq!(lab.flow.conns6.hot(id).state, State::Closed);
    assert_eq!(lab.account(id, Dir::Forward, SYN, [5, 0]), Ok(Booked::Afresh), "its tuple may begin anew");
    assert_eq!(lab.wait(16), 1);

    let id = lab.admitted(out(TCP, SYN));
    assert_eq!(lab.account(id, Dir::Forward, SYN, [10, 0]), passes);
    assert_eq!(lab.account(id, Dir::Reverse, RST | ACK, [0, 11]), passes);
    assert_eq!(lab.flow.conns6.hot(id).state, State::Reset);
    assert_eq!(lab.wait(31), 1);
}

#[test]
fn challenges_are_no_use_of_a_connection() {
    let mut lab = Lab::new();
    let passes = Ok(Booked::Passes);
    let id = lab.admitted(out(TCP, SYN));
    for (dir, flags, numbers) in
        [(Dir::Forward, SYN, [10, 0]), (Dir::Reverse, SYN | ACK, [90, 11]), (Dir::Forward, ACK, [11, 91])]
    {
        assert_eq!(lab.account(id, dir, flags, numbers), passes);
    }
    let before = *lab.flow.conns6.hot(id);
    lab.now += 50 * TICKS;
    let passed = (0..100).filter(|n| lab.account(id, Dir::Forward, SYN, [1 << 30 | n, 0]) == passes).count();
    assert!((1..10).contains(&passed));
    let after = *lab.flow.conns6.hot(id);
    assert_eq!((after.last, after.bytes), (before.last, before.bytes));

    lab.now += TICKS;
    assert_eq!(lab.account(id, Dir::Forward, SYN, [5_000_000, 0]), passes);
    assert_eq!(lab.account(id, Dir::Reverse, SYN | ACK, [8_000_000, 5_000_001]), passes);
    assert_eq!(lab.flow.conns6.hot(id).state, State::SynReceived);
    assert_eq!(lab.account(id, Dir::Forward, ACK, [5_000_001, 8_000_001]), passes);

    // Where both ways are by one interface, whoever sends the SYN could send its answer as well.
    lab.flow.conns6.hot_mut(id).iface = [INSIDE; 2];
    lab.now += TICKS;
    assert_eq!(lab.account(id, Dir::Forward, SYN, [1 << 30, 0]), passes);
    assert_eq!(lab.account(id, Dir::Reverse, SYN | ACK, [5, (1 << 30) + 1]), passes);
    assert_eq!(lab.flow.conns6.hot(id).state, State::Established);

    assert!(lab.flow.end6(id));
    assert!(!lab.flow.end6(id));
    assert!(!lab.flow.end6(ConnId(7)));
    let ids = [1, 2].map(|port| lab.admitted(First6 { key: key(HOST, port, FAR, 443, UDP), ..out(UDP, 0) }));
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn pings_are_short_lived() {
    let mut lab = Lab::new();
    lab.admitted(out(ICMPV6, 0));
    assert_eq!(lab.wait(3), 1);
}

#[test]
fn interfaces_that_go_take_their_connections() {
    let mut lab = Lab::new();
    let stays = lab.admitted(out(UDP, 0));
    assert_eq!(lab.flow.conns6.renumber(|i| Some(i + 1)), []);
    assert_eq!(lab.flow.conns6.hot(stays).iface, [INSIDE + 1, OUTSIDE + 1]);
    assert_eq!(lab.flow.conns6.renumber(|i| (i == 1).then_some(0)), [stays]);
}
