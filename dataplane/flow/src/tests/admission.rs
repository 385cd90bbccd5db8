// SPDX-License-Identifier: MIT OR Apache-2.0
//! Admission by scenario: the verdict table of a CUP federation on an ASA (static PAT, dynamic PAT, first-match ACLs),
//! and what a firewall must refuse.

use crate::acl::{Acls, Lists};
use crate::conn::Dir;
use crate::firewall::{Admission, First, Told};
use crate::key::{ICMP, Key, TCP, UDP};
use crate::nat::Nat;
use crate::ports::Share;
use crate::tcp::{ACK, FIN, RST, SYN, Segment, State};
use crate::{Booked, Flow, FlowConfig, Packet, Policy, TICKS};
use fedgate_tables::drops::DropReason;
use fedgate_tables::link::BY_LEVEL;
use fedgate_tables::policy::*;

mod ahead;
mod ledger;

const OUTSIDE: u8 = 0;
const INSIDE: u8 = 1;
const PUB: u32 = ip([203, 0, 113, 3]);
const CUP: u32 = ip([10, 10, 0, 11]);
const EDGE: u32 = ip([198, 51, 100, 20]);
const OTHER: u32 = ip([198, 51, 100, 99]);
const OWN: u32 = ip([203, 0, 113, 2]);
const WORK: u32 = ip([10, 10, 0, 50]);

const fn ip(b: [u8; 4]) -> u32 {
    u32::from_be_bytes(b)
}

struct Lab {
    flow: Flow,
    interfaces: Vec<Interface>,
    nat: Vec<NatRule>,
    acls: Vec<Acl>,
    aces: Vec<Ace>,
    classes: Vec<ServiceClass>,
    globals: Globals,
    now: u32,
}

impl Lab {
    /// Outside and inside, the routing server behind static PAT 5061 -> 5062, everybody else by interface PAT, one edge permitted.
    fn new() -> Self {
        let iface = |addr, security, acl_in| Interface {
            addr,
            mask: 0xffff_ff00,
            mtu: 1500,
            security,
            acl_in,
            acl_out: NONE,
            ..Default::default()
        };
        let host = |src, dst, proto, dport, flags| Ace {
            src,
            src_mask: if src == 0 { 0 } else { !0 },
            dst,
            dst_mask: if dst == 0 { 0 } else { !0 },
            sport: [0, 65535],
            dport,
            proto,
            flags,
            ..Default::default()
        };
        let rule = |kind: NatKind, real, real_mask, mapped| NatRule {
            real_if: 1,
            mapped_if: 0,
            real: net_range(real, real_mask),
            mapped: one_addr(mapped),
            kind: kind as u8,
            section: 1,
            ..Default::default()
        };
        let aces = vec![
            Ace { counter: 1, ..host(EDGE, CUP, TCP, [5062, 5062], ACE_PERMIT) },
            Ace { counter: 2, ..host(0, 0, 0, [0, 65535], ACE_ANY_PROTO | ACE_LOG) },
            host(EDGE, CUP, TCP, [5062, 5062], ACE_PERMIT),
        ];
        Self {
            flow: Flow::new(FlowConfig { max_conns: 64, max_xlates: 64, share: Share::WHOLE, seed: 3 }),
            interfaces: vec![iface(OWN, 0, 0), iface(ip([10, 10, 0, 1]), 100, NONE)],
            nat: vec![
                NatRule {
                    proto: TCP,
                    real_port: one_port(5062),
                    mapped_port: one_port(5061),
                    counter: 7,
                    ..rule(NatKind::StaticPat, CUP, !0, PUB)
                },
                NatRule { counter: 8, ..rule(NatKind::DynamicPat, CUP, !0, PUB) },
                NatRule { counter: 9, ..rule(NatKind::DynamicPat, 0, 0, OWN) },
            ],
            acls: vec![
                Acl { first: 0, count: 2, ..Default::default() },
                Acl { first: 2, count: 1, ..Default::default() },
            ],
            aces,
            classes: vec![ServiceClass { acl: 1, tls_proxy: 4, ..Default::default() }],
            globals: Globals::default(),
            now: 100,
        }
    }

    /// The ACLs as they are now.
    fn compiled(&self) -> Acls {
        let acls: Vec<(&str, Acl)> = self.acls.iter().map(|acl| ("", *acl)).collect();
        Acls::default().updated(&Lists { acls: &acls, aces: &self.aces, aces6: &[], in_force: &[] })
    }

    fn send(
        &mut self,
        in_if: u8,
        proto: u8,
        src: (u32, u16),
        dst: (u32, u16),
        tcp_flags: u8,
    ) -> (Admission, crate::firewall::Hits) {
        let compiled = self.compiled();
        let nat = Nat::new(&self.nat, &[]);
        let policy = Policy {
            interfaces: &self.interfaces,
            nat: &nat,
            acls: &self.acls,
            aces: &self.aces,
            aces6: &[],
            compiled: &compiled,
            classes: &self.classes,
            globals: &self.globals,
        };
        self.flow.adopt(&nat);
        let key = Key { src: src.0, dst: dst.0, sport: src.1, dport: dst.1, proto };
        let icmp_type = if proto == ICMP { 8 } else { 0 };
        let egress = |a: u32| Some(if a >> 24 == 10 { INSIDE } else { OUTSIDE });
        self.flow.admit(
            &First { key, in_if, tcp_flags, icmp_type, icmp_code: 0, ttl: 64 },
            &policy,
            egress,
            self.now,
        )
    }

    fn leaves(&self, admission: Admission, dir: Dir) -> Key {
        match admission {
            Admission::New { id, .. } => self.flow.conns.hot(id).leaves_as(dir),
            other => panic!("no connection: {other:?}"),
        }
    }
}

#[test]
fn a_permitted_edge_reaches_the_routing_server_and_its_proxy() {
    let mut lab = Lab::new();
    let (got, hits) = lab.send(OUTSIDE, TCP, (EDGE, 40001), (PUB, 5061), SYN);
    assert!(matches!(got, Admission::New { tls_proxy: Some(4), .. }));
    assert_eq!(
        lab.leaves(got, Dir::Forward),
        Key { src: EDGE, dst: CUP, sport: 40001, dport: 5062, proto: TCP }
    );
    assert_eq!(
        lab.leaves(got, Dir::Reverse),
        Key { src: PUB, dst: EDGE, sport: 5061, dport: 40001, proto: TCP }
    );
    assert_eq!((hits.aces, hits.untranslate), ([Some(1), None, None], Some(7)));
}

#[test]
fn an_unlisted_host_is_denied_by_the_logged_ace() {
    let mut lab = Lab::new();
    let (got, hits) = lab.send(OUTSIDE, TCP, (OTHER, 40001), (PUB, 5061), SYN);
    assert_eq!(got, Admission::Refused(DropReason::AclDrop));
    assert_eq!((hits.aces[0], hits.told[0].and_then(|told| told.decision.ace)), (Some(2), Some(1)));
}

#[test]
fn a_port_without_static_pat_has_its_own_reason() {
    let mut lab = Lab::new();
    assert_eq!(
        lab.send(OUTSIDE, TCP, (EDGE, 1), (PUB, 443), SYN).0,
        Admission::Refused(DropReason::NoXlateToPat)
    );
    assert_eq!(lab.send(OUTSIDE, TCP, (EDGE, 1), (OWN, 443), SYN).0, Admission::Local);
}

#[test]
fn the_routing_server_goes_out_by_dynamic_pat_keeping_its_port() {
    let mut lab = Lab::new();
    let (got, hits) = lab.send(INSIDE, TCP, (CUP, 33000), (EDGE, 5061), SYN);
    assert_eq!(
        lab.leaves(got, Dir::Forward),
        Key { src: PUB, dst: EDGE, sport: 33000, dport: 5061, proto: TCP }
    );
    assert_eq!(
        lab.leaves(got, Dir::Reverse),
        Key { src: EDGE, dst: CUP, sport: 5061, dport: 33000, proto: TCP }
    );
    assert_eq!(hits.translate, Some(8));
}

#[test]
fn the_real_listener_port_goes_out_by_the_static_rule() {
    let mut lab = Lab::new();
    let (got, _) = lab.send(INSIDE, TCP, (CUP, 5062), (EDGE, 5061), SYN);
    assert_eq!(
        lab.leaves(got, Dir::Forward),
        Key { src: PUB, dst: EDGE, sport: 5061, dport: 5061, proto: TCP }
    );
}

/// Dynamic PAT must not hand out what static PAT has.
#[test]
fn dynamic_pat_never_takes_a_static_port() {
    let mut lab = Lab::new();
    let (got, _) = lab.send(INSIDE, TCP, (CUP, 5061), (EDGE, 80), SYN);
    let shown = lab.leaves(got, Dir::Forward);
    assert_eq!(shown.src, PUB);
    assert_ne!(shown.sport, 5061);
    assert_eq!(shown.sport % 2, 1);
}

/// A static rule comes for a port that a dynamic xlate holds, then goes: the port is nobody's twice and free in the end.
#[test]
fn reservations_follow_the_policy() {
    let mut lab = Lab::new();
    let pat = lab.nat.remove(0);
    let (held, _) = lab.send(INSIDE, TCP, (CUP, 5061), (EDGE, 80), SYN);
    assert_eq!(lab.leaves(held, Dir::Forward).sport, 5061);
    lab.nat.insert(0, pat);
    let Admission::New { id, .. } = held else { unreachable!() };
    lab.flow.end(id, lab.now);
    lab.flow.xlates.expire(lab.now + 31 * TICKS, [30 * TICKS; 2], 10);
    let (other, _) = lab.send(INSIDE, TCP, (CUP, 5061), (EDGE, 80), SYN);
    assert_ne!(lab.leaves(other, Dir::Forward).sport, 5061, "static PAT has it now");
    lab.nat.remove(0);
    let (third, _) = lab.send(INSIDE, TCP, (CUP, 5061), (OTHER, 80), SYN);
    assert_ne!(lab.leaves(third, Dir::Forward).sport, 5061, "the mapping that is there stays");
}

/// Past the public address, straight to the real one: the ACL would let it (real addresses), NAT does not.
#[test]
fn calling_the_real_address_from_outside_fails_the_reverse_path() {
    let mut lab = Lab::new();
    let (got, _) = lab.send(OUTSIDE, TCP, (EDGE, 40001), (CUP, 5062), SYN);
    assert_eq!(got, Admission::Refused(DropReason::NatRpfFailed));
}

#[test]
fn security_levels_decide_where_no_acl_stands() {
    let mut lab = Lab::new();
    assert!(matches!(
        lab.send(INSIDE, UDP, (WORK, 5353), (EDGE, 53), 0).0,
        Admission::New { tls_proxy: None, .. }
    ));
    lab.interfaces[0].acl_in = NONE;
    let (got, hits) = lab.send(OUTSIDE, TCP, (EDGE, 40001), (PUB, 5061), SYN);
    assert_eq!((got, hits.aces), (Admission::Refused(DropReason::AclDrop), [None; 3]));
    assert_eq!(hits.told.map(|told| told.map(|told| told.acl)), [Some(BY_LEVEL), None, None]);
}

#[test]
fn an_outbound_acl_and_a_global_acl_are_heard() {
    let mut lab = Lab::new();
    lab.interfaces[1].acl_out = 1;
    assert!(matches!(lab.send(OUTSIDE, TCP, (EDGE, 40001), (PUB, 5061), SYN).0, Admission::New { .. }));
    lab.aces[2].flags = 0;
    assert_eq!(
        lab.send(OUTSIDE, TCP, (EDGE, 40002), (PUB, 5061), SYN).0,
        Admission::Refused(DropReason::AclDrop)
    );
    // An interface ACL that does not match leaves it to the global one.
    let mut lab = Lab::new();
    lab.acls[0].count = 1;
    lab.globals.acl_global = 1;
    lab.aces[2] = Ace { src_mask: 0, src: 0, ..lab.aces[2] };
    assert!(matches!(lab.send(OUTSIDE, TCP, (OTHER, 40001), (PUB, 5061), SYN).0, Admission::New { .. }));
}

#[test]
fn only_a_syn_a_datagram_or_an_echo_request_begins_a_connection() {
    let mut lab = Lab::new();
    for flags in [ACK, SYN | ACK, RST, FIN | ACK, 0] {
        let (got, _) = lab.send(INSIDE, TCP, (WORK, 9), (EDGE, 80), flags);
        assert_eq!(got, Admission::Refused(DropReason::TcpNotSyn), "flags {flags:#x}");
    }
    assert!(matches!(lab.send(INSIDE, ICMP, (WORK, 77), (EDGE, 0), 0).0, Admission::New { .. }));
    assert_eq!(
        lab.send(INSIDE, 47, (WORK, 0), (EDGE, 0), 0).0,
        Admission::Refused(DropReason::UnsupportedProtocol)
    );
}

/// A full table refuses the new one and keeps the old ones.
#[test]
fn a_full_table_refuses_and_recovers() {
    let mut lab = Lab::new();
    let made: Vec<_> = (0..64).map(|i| lab.send(INSIDE, UDP, (WORK, 1000 + i), (EDGE, 53), 0).0).collect();
    assert!(made.iter().all(|a| matches!(a, Admission::New { .. })));
    let (got, _) = lab.send(INSIDE, UDP, (CUP, 999), (EDGE, 53), 0);
    assert!(
        matches!(got, Admission::Refused(DropReason::ConnTableFull | DropReason::NatXlateFailed)),
        "{got:?}"
    );
    assert_eq!(lab.flow.conns.in_use(), (64, 64));
    let idle = lab.now + 121 * TICKS;
    let (interfaces, nat, acls, aces, classes, globals) = (
        lab.interfaces.clone(),
        Nat::new(&lab.nat, &[]),
        lab.acls.clone(),
        lab.aces.clone(),
        lab.classes.clone(),
        lab.globals,
    );
    let policy = Policy {
        interfaces: &interfaces,
        nat: &nat,
        acls: &acls,
        aces: &aces,
        aces6: &[],
        compiled: &Acls::default(),
        classes: &classes,
        globals: &globals,
    };
    let (ended, _) = lab.flow.expire(&policy, idle, 1000);
    assert_eq!((ended, lab.flow.conns.in_use().0), (64, 0));
    lab.flow.expire(&policy, idle + 31 * TICKS, 1000);
    assert_eq!(lab.flow.xlates.in_use().0, 0);
    lab.now = idle + 31 * TICKS;
    assert!(matches!(lab.send(INSIDE, UDP, (CUP, 999), (EDGE, 53), 0).0, Admission::New { .. }));
}

/// A TCP connection from SYN to its end, by the state it is in and the time it may be idle.
#[test]
fn tcp_states_and_timeouts() {
    let mut lab = Lab::new();
    let (got, _) = lab.send(INSIDE, TCP, (WORK, 5000), (EDGE, 80), SYN);
    let Admission::New { id, .. } = got else { panic!("{got:?}") };
    let globals = lab.globals;
    let (interfaces, nat) = (lab.interfaces.clone(), Nat::new(&lab.nat, &[]));
    let policy = Policy {
        interfaces: &interfaces,
        nat: &nat,
        acls: &[],
        aces: &[],
        aces6: &[],
        compiled: &Acls::default(),
        classes: &[],
        globals: &globals,
    };
    // What either side sends next.
    let mut next = [u32::MAX - 1, 77];
    let mut step = |dir: Dir, flags, len: u16, state, seconds| {
        let (from, to) = (dir as usize, dir.flip() as usize);
        let segment = Segment { seq: next[from], ack: next[to], window: 1000, flags, len };
        let packet = Packet { len: 40 + len, segment, options: &[], datagram: &[] };
        let booked = lab.flow.account(id, dir, &packet, &policy, lab.now);
        let hot = lab.flow.conns.hot(id);
        assert_eq!((hot.state, policy.timeout(hot)), (state, seconds * TICKS), "{segment:?}");
        if booked == Ok(Booked::Passes) {
            next[from] = next[from].wrapping_add(u32::from(len) + u32::from(flags & (SYN | FIN) != 0));
        }
        booked
    };
    let steps = [
        (Dir::Forward, SYN, 0, State::SynSent, 30),
        (Dir::Reverse, SYN | ACK, 0, State::SynReceived, 30),
        (Dir::Forward, ACK, 0, State::Established, 3600),
        (Dir::Reverse, ACK, 500, State::Established, 3600),
        (Dir::Reverse, RST, 0, State::Reset, 30),
        (Dir::Forward, ACK, 500, State::Established, 3600),
        (Dir::Forward, FIN | ACK, 0, State::HalfClosed, 600),
        (Dir::Reverse, ACK, 500, State::HalfClosed, 600),
        (Dir::Reverse, FIN | ACK, 0, State::HalfClosed, 600),
        (Dir::Forward, ACK, 0, State::Closed, 15),
    ];
    for (dir, flags, len, state, seconds) in steps {
        assert_eq!(step(dir, flags, len, state, seconds), Ok(Booked::Passes));
    }
    assert_eq!(step(Dir::Forward, ACK, 1001, State::Closed, 15), Err(DropReason::TcpSeqPastWin));
    assert_eq!(step(Dir::Forward, ACK, 1, State::Closed, 15), Err(DropReason::TcpDataPastFin));
    assert_eq!(
        step(Dir::Forward, SYN, 0, State::Closed, 15),
        Ok(Booked::Afresh),
        "a SYN asks for the tuple again"
    );
    assert_eq!(lab.flow.conns.hot(id).bytes, 10 * 40 + 1500);
}

/// Segments that pass only for a challenge ACK neither keep a connection alive nor come without bound, and an end that comes
/// twice harms nobody.
#[test]
fn challenges_are_no_use_of_a_connection() {
    let mut lab = Lab::new();
    let (got, _) = lab.send(INSIDE, TCP, (WORK, 5000), (EDGE, 80), SYN);
    let Admission::New { id, .. } = got else { panic!("{got:?}") };
    let (interfaces, globals, nat) = (lab.interfaces.clone(), lab.globals, Nat::new(&lab.nat, &[]));
    let policy = Policy {
        interfaces: &interfaces,
        nat: &nat,
        acls: &[],
        aces: &[],
        aces6: &[],
        compiled: &Acls::default(),
        classes: &[],
        globals: &globals,
    };
    let send = |lab: &mut Lab, dir, flags, seq, ack| {
        let segment = Segment { seq, ack, window: 1000, flags, len: 0 };
        lab.flow.account(id, dir, &Packet { len: 40, segment, options: &[], datagram: &[] }, &policy, lab.now)
    };
    for (dir, flags, seq, ack) in
        [(Dir::Forward, SYN, 10, 0), (Dir::Reverse, SYN | ACK, 90, 11), (Dir::Forward, ACK, 11, 91)]
    {
        assert_eq!(send(&mut lab, dir, flags, seq, ack), Ok(Booked::Passes));
    }
    let before = *lab.flow.conns.hot(id);
    lab.now += 50 * TICKS;
    let passed = (0..100)
        .filter(|n| send(&mut lab, Dir::Forward, SYN, 1 << 30 | n, 0) != Err(DropReason::TcpRstSynInWin));
    assert!((1..10).contains(&passed.count()));
    let after = *lab.flow.conns.hot(id);
    assert_eq!((after.last, after.bytes), (before.last, before.bytes));
    assert_eq!(after.state, State::Established);

    // One more, and its answer: there is a new connection, which is in use.
    lab.now += TICKS;
    assert_eq!(send(&mut lab, Dir::Forward, SYN, 5_000_000, 0), Ok(Booked::Passes));
    assert_eq!(send(&mut lab, Dir::Reverse, SYN | ACK, 8_000_000, 5_000_001), Ok(Booked::Passes));
    let hot = *lab.flow.conns.hot(id);
    assert_eq!((hot.state, hot.last), (State::SynReceived, lab.now));
    assert_eq!(send(&mut lab, Dir::Forward, ACK, 5_000_001, 8_000_001), Ok(Booked::Passes));

    assert!(lab.flow.end(id, lab.now));
    assert!(!lab.flow.end(id, lab.now));
    assert!(!lab.flow.end(crate::conn::ConnId(63), lab.now));
    let ids = [5000, 5001].map(|port| match lab.send(INSIDE, TCP, (WORK, port), (EDGE, 80), SYN).0 {
        Admission::New { id, .. } => id,
        other => panic!("{other:?}"),
    });
    assert_ne!(ids[0], ids[1]);
    assert_eq!(lab.flow.conns.in_use().0, 2);
}

/// One inside socket keeps one outside port towards everybody, and its xlate goes with its last connection.
#[test]
fn mapping_is_shared_by_connections_of_one_socket() {
    let mut lab = Lab::new();
    let a = lab.send(INSIDE, UDP, (WORK, 6000), (EDGE, 53), 0).0;
    let b = lab.send(INSIDE, UDP, (WORK, 6000), (OTHER, 53), 0).0;
    assert_eq!(lab.leaves(a, Dir::Forward).sport, lab.leaves(b, Dir::Forward).sport);
    assert_eq!(lab.flow.xlates.in_use().0, 1);
    for admission in [a, b] {
        let Admission::New { id, .. } = admission else { unreachable!() };
        lab.flow.end(id, lab.now);
    }
    assert_eq!(lab.flow.conns.in_use().0, 0);
    lab.flow.xlates.expire(lab.now + 31 * TICKS, [30 * TICKS; 2], 10);
    assert_eq!(lab.flow.xlates.in_use().0, 0);
}

/// A full table must not cost the PAT pool a port for each refused flow.
#[test]
fn refused_flows_hold_no_port() {
    let mut lab = Lab::new();
    lab.flow = Flow::new(FlowConfig { max_conns: 4, max_xlates: 64, share: Share::WHOLE, seed: 3 });
    for i in 0..40 {
        lab.send(INSIDE, UDP, (WORK, 2000 + i), (EDGE, 53), 0);
    }
    assert_eq!((lab.flow.conns.in_use().0, lab.flow.xlates.in_use().0), (4, 4));
}

/// A timestamp request's "port" is its type: it must not ride an echo mapping with that identifier.
#[test]
fn icmp_queries_do_not_ride_each_others_mappings() {
    let mut lab = Lab::new();
    lab.interfaces[0] = Interface { acl_in: NONE, security: 100, ..lab.interfaces[0] };
    lab.globals.flags = SAME_SECURITY_INTER;
    assert!(matches!(lab.send(INSIDE, ICMP, (WORK, 13), (EDGE, 0), 0).0, Admission::New { .. }));
    assert_eq!(lab.send(OUTSIDE, ICMP, (OTHER, 77), (OWN, 13), 0).0, Admission::Local);
}

/// Interfaces that change places take their connections and mappings with them; one that goes ends them.
#[test]
fn interfaces_are_renumbered() {
    let mut lab = Lab::new();
    let (got, _) = lab.send(INSIDE, UDP, (WORK, 6000), (EDGE, 53), 0);
    let Admission::New { id, .. } = got else { panic!("{got:?}") };
    assert!(lab.flow.renumber(|i| Some(1 - i)).is_empty());
    assert_eq!(lab.flow.conns.hot(id).iface, [OUTSIDE, INSIDE]);
    assert_eq!(lab.flow.renumber(|i| (i == 0).then_some(0)), [id]);
}
