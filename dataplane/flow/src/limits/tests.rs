// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is counted against a recount over all live connections, after anything that connections can go through.
use super::*;
use crate::acl::Acls;
use crate::conn::ConnId;
use crate::firewall::{Admission, First};
use crate::key::{Key, UDP};
use crate::nat::Nat;
use crate::ports::Share;
use crate::tcp::{ACK, RST, SYN, Segment};
use crate::v6::{Admission6, First6};
use crate::{Booked, Flow, FlowConfig, Packet, Policy, TICKS};
use fedgate_tables::policy::*;
use fedgate_wire::Tuple6;
use proptest::prelude::*;
use std::collections::HashMap;

struct Lab {
    flow: Flow,
    classes: Vec<ServiceClass>,
    now: u32,
}

const OUTSIDE: u32 = 0x0900_0001;

impl Lab {
    fn new(classes: &[ServiceClass], of: u16) -> Self {
        let share = Share { worker: 0, of };
        let flow = Flow::new(FlowConfig { max_conns: 64, max_xlates: 8, share, seed: 5 });
        Self { flow, classes: classes.to_vec(), now: 100 }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Flow, &Policy<'_>, u32) -> T) -> T {
        let side = |security| Interface { security, acl_in: NONE, acl_out: NONE, ..Interface::default() };
        let policy = Policy {
            interfaces: &[side(0), side(100)],
            nat: &Nat::default(),
            acls: &[],
            aces: &[],
            aces6: &[],
            compiled: &Acls::default(),
            classes: &self.classes,
            globals: &Globals::default(),
        };
        act(&mut self.flow, &policy, self.now)
    }

    fn begin(&mut self, client: u8, port: u16, proto: u8, tcp_flags: u8) -> Result<ConnId, DropReason> {
        let key = Key { src: 0x0a00_0000 | u32::from(client), dst: OUTSIDE, sport: port, dport: 80, proto };
        let first = First { key, in_if: 1, tcp_flags, icmp_type: 0, icmp_code: 0, ttl: 64 };
        let egress = |addr: u32| Some(u8::from(addr >> 24 == 10));
        match self.with(|flow, policy, now| flow.admit(&first, policy, egress, now).0) {
            Admission::New { id, .. } => Ok(id),
            Admission::Refused(reason) | Admission::Intercept { limit: reason, .. } => Err(reason),
            Admission::Local => panic!("nothing here is ours"),
        }
    }

    fn begin6(&mut self, client: u8, port: u16, proto: u8, tcp_flags: u8) -> Result<ConnId, DropReason> {
        let key = Tuple6 { src: 10 << 64 | u128::from(client), dst: 9 << 64, sport: port, dport: 80, proto };
        let first = First6 { key, in_if: 1, tcp_flags, icmp_type: 0, icmp_code: 0, hop_limit: 64 };
        let egress = |addr: u128| Some(u8::from(addr >> 64 == 10));
        match self.with(|flow, policy, now| flow.admit6(&first, policy, egress, now).0) {
            Admission6::New(id) => Ok(id),
            Admission6::Refused(reason) | Admission6::Intercept { limit: reason, .. } => Err(reason),
        }
    }

    fn send(&mut self, v6: bool, id: ConnId, forward: bool, flags: u8, seq: u32, ack: u32) {
        let dir = if forward { Dir::Forward } else { Dir::Reverse };
        let segment = Segment { seq, ack, window: 1000, flags, len: 0 };
        let packet = Packet { len: 40, segment, options: &[], datagram: &[] };
        let booked = self.with(|flow, policy, now| match v6 {
            true => flow.account6(id, dir, &packet, policy, now),
            false => flow.account(id, dir, &packet, policy, now),
        });
        if booked == Ok(Booked::Afresh) {
            self.end(v6, id);
        }
    }

    fn handshake(&mut self, v6: bool, id: ConnId, upto: usize) {
        let steps = [(true, SYN, 10, 0), (false, SYN | ACK, 90, 11), (true, ACK, 11, 91)];
        for (forward, flags, seq, ack) in steps.into_iter().take(upto) {
            self.send(v6, id, forward, flags, seq, ack);
        }
    }

    fn end(&mut self, v6: bool, id: ConnId) -> bool {
        if v6 { self.flow.end6(id) } else { self.flow.end(id, self.now) }
    }

    /// What all live connections say.
    fn recount(&self) -> (HashMap<u8, Count>, HashMap<(u8, u128), Count>) {
        let (mut classes, mut clients) = (HashMap::new(), HashMap::new());
        let v4 = self.flow.conns.page(0, 1000, 1000, |_| true).0.into_iter().map(|id| {
            let hot = self.flow.conns.hot(id);
            let open = hot.session() != NO_SESSION || hot.proto != TCP;
            (hot.class, client_v4(hot.key(Dir::Forward).src), hot.flags, hot.state, open)
        });
        let v6 = self.flow.conns6.page(0, 1000, 1000, |_| true).0.into_iter().map(|id| {
            let hot = self.flow.conns6.hot(id);
            (hot.class, hot.key().src, hot.flags, hot.state, hot.proto != TCP)
        });
        for (class, client, flags, state, open) in v4.chain(v6).filter(|conn| conn.0 != NO_CLASS) {
            let embryonic = u32::from(!open && matches!(state, State::SynSent | State::SynReceived));
            let add = |count: &mut Count| {
                count.conns += 1;
                count.embryonic += embryonic;
            };
            add(classes.entry(class).or_default());
            if flags & flag::PER_CLIENT != 0 {
                add(clients.entry((class, client)).or_default());
            }
        }
        (classes, clients)
    }
}

fn class(slot: u32) -> ServiceClass {
    ServiceClass { slot, flags: CLASS_LIMITS, ..ServiceClass::default() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Whatever connections begin, go through and end by, under policies that change: the counts are those of a recount.
    #[test]
    fn counts_are_a_recount(ops in prop::collection::vec((0u8..10, any::<bool>(), 0u8..4, 0u16..8, 0usize..4), 1..120)) {
        let mut lab = Lab::new(&[ServiceClass { per_client_max: 5, embryonic_max: 9, ..class(3) }], 1);
        let mut known: Vec<(bool, ConnId)> = Vec::new();
        for (op, v6, client, port, n) in ops {
            let pick = (!known.is_empty()).then(|| known[(usize::from(client) * 8 + usize::from(port)) % known.len()]);
            let proto = if n == 0 { UDP } else { TCP };
            let live = |lab: &Lab, v6, id| if v6 { lab.flow.conns6.is_live(id) } else { lab.flow.conns.is_live(id) };
            match (op, pick) {
                (0..=3, _) => {
                    let begun = if v6 { lab.begin6(client, port, proto, SYN) } else { lab.begin(client, port, proto, SYN) };
                    if let Ok(id) = begun {
                        known.retain(|k| *k != (v6, id));
                        known.push((v6, id));
                        lab.handshake(v6, id, n);
                    }
                }
                (4, Some((v6, id))) if !v6 && live(&lab, v6, id) => lab.flow.set_session(id, if n < 2 { 1 } else { NO_SESSION }),
                (5, Some((v6, id))) => { lab.end(v6, id); }
                (6, Some((v6, id))) if live(&lab, v6, id) => {
                    let (flags, seq, ack) = [(RST, 11, 0), (SYN, 1 << 30, 0), (SYN | ACK, 77, (1 << 30) + 1), (ACK, 11, 91)][n];
                    lab.send(v6, id, flags & ACK == 0 || flags == ACK, flags, seq, ack);
                }
                (7, _) => {
                    lab.now += TICKS * [1, 20, 40, 200][n];
                    lab.with(|flow, policy, now| (flow.expire(policy, now, 50), flow.expire6(policy, now, 50)));
                }
                (8, _) => lab.classes = [
                    vec![],
                    vec![class(3)],
                    vec![ServiceClass { per_client_embryonic_max: 2, conn_max: 12, ..class(3) }],
                    vec![ServiceClass { per_client_max: 3, ..class(9) }],
                ][n].clone(),
                _ => {}
            }
            let (classes, clients) = lab.recount();
            for slot in [3, 9] {
                prop_assert_eq!(lab.flow.limits.class(slot), classes.get(&slot).copied().unwrap_or_default());
                for client in 0..4u8 {
                    for client in [client_v4(0x0a00_0000 | u32::from(client)), 10 << 64 | u128::from(client)] {
                        let twin = clients.get(&(slot, client)).copied().unwrap_or_default();
                        prop_assert_eq!(lab.flow.limits.client(slot, client), twin);
                    }
                }
            }
        }
    }

    /// The table of clients is a map, whatever collides.
    #[test]
    fn hosts_are_a_map(ops in prop::collection::vec((0u8..12, 0u8..2, 0u32..3), 1..300), seed: u64) {
        let mut hosts = Hosts::new(24, seed);
        let mut twin: HashMap<(u8, u8), u32> = HashMap::new();
        for (client, slot, conns) in ops {
            hosts.set(client.into(), slot, Count { conns, embryonic: conns / 2 });
            twin.insert((client, slot), conns);
            for client in 0..12 {
                for slot in 0..2 {
                    let conns = twin.get(&(client, slot)).copied().unwrap_or(0);
                    prop_assert_eq!(hosts.get(client.into(), slot), Count { conns, embryonic: conns / 2 });
                }
            }
        }
    }
}

#[test]
fn each_limit_has_its_name() {
    let mut lab = Lab::new(&[ServiceClass { conn_max: 3, ..class(0) }], 1);
    for port in 1..=3 {
        lab.begin(1, port, UDP, 0).unwrap();
    }
    assert_eq!(lab.begin(1, 4, UDP, 0), Err(DropReason::ConnLimit));
    assert_eq!(lab.begin6(1, 4, UDP, 0), Err(DropReason::ConnLimit), "IPv6 counts in the same class");

    let mut lab = Lab::new(&[ServiceClass { embryonic_max: 2, ..class(0) }], 1);
    let ids = [1, 2].map(|port| lab.begin(1, port, TCP, SYN).unwrap());
    assert_eq!(lab.begin(2, 3, TCP, SYN), Err(DropReason::TcpConnLimit));
    lab.begin(2, 3, UDP, 0).expect("not embryonic");
    lab.handshake(false, ids[0], 3);
    lab.begin(2, 3, TCP, SYN).expect("a handshake is over");
    assert_eq!(lab.flow.limits.class(0), Count { conns: 4, embryonic: 2 });

    let mut lab = Lab::new(&[ServiceClass { per_client_max: 2, per_client_embryonic_max: 1, ..class(7) }], 1);
    let id = lab.begin6(1, 1, TCP, SYN).unwrap();
    assert_eq!(lab.begin6(1, 2, TCP, SYN), Err(DropReason::HostLimit));
    lab.begin6(2, 2, TCP, SYN).expect("another client");
    lab.handshake(true, id, 3);
    lab.begin6(1, 2, TCP, SYN).unwrap();
    assert_eq!(lab.begin6(1, 3, UDP, 0), Err(DropReason::HostLimit));
    assert!(lab.end(true, id));
    lab.begin6(1, 3, UDP, 0).unwrap();
}

/// Of a limit that workers share, each has its part, rounded up.
#[test]
fn workers_share_a_limit() {
    let mut lab = Lab::new(&[ServiceClass { conn_max: 10, ..class(0) }], 4);
    let begun = (1..=10).filter(|port| lab.begin(1, *port, UDP, 0).is_ok()).count();
    assert_eq!(begun, 3);
}

#[test]
fn timeouts_of_a_class() {
    let times = ServiceClass { timeout_idle: 50, timeout_embryonic: 5, timeout_half_closed: 0, ..class(2) };
    let mut lab = Lab::new(&[times], 1);
    let id = lab.begin(1, 1, TCP, SYN).unwrap();
    let timeout = |lab: &mut Lab| lab.with(|flow, policy, _| policy.timeout(flow.conns.hot(id)) / TICKS);
    lab.handshake(false, id, 1);
    assert_eq!(timeout(&mut lab), 5);
    lab.handshake(false, id, 3);
    assert_eq!(timeout(&mut lab), 50);
    lab.send(false, id, true, crate::tcp::FIN | ACK, 11, 91);
    assert!(timeout(&mut lab) > 1_000_000, "never");
    lab.classes.clear();
    assert_eq!(timeout(&mut lab), 600, "the class is gone, and its connection is timed as any");
}

/// `tcp-state-bypass`: any segment but a RST begins a connection, nothing of it is checked, and two idle minutes end it.
#[test]
fn bypass() {
    let mut lab = Lab::new(&[class(1)], 1);
    assert_eq!(lab.begin(1, 1, TCP, ACK), Err(DropReason::TcpNotSyn));
    lab.classes[0].flags |= CLASS_STATE_BYPASS;
    assert_eq!(lab.begin(1, 1, TCP, RST), Err(DropReason::TcpNotSyn));
    let ids = [lab.begin(1, 1, TCP, ACK).unwrap(), lab.begin6(1, 1, TCP, ACK).unwrap()];
    for (v6, id) in [false, true].into_iter().zip(ids) {
        for (flags, seq) in [(ACK, 1), (SYN, 1 << 31), (ACK, 1 << 30)] {
            lab.send(v6, id, true, flags, seq, 0);
        }
    }
    assert_eq!((lab.flow.conns.hot(ids[0]).packets, lab.flow.conns6.hot(ids[1]).packets), (3, 3));
    assert_eq!(lab.flow.limits.class(1), Count { conns: 2, embryonic: 0 });
    lab.now += 119 * TICKS;
    let expire = |lab: &mut Lab| {
        lab.with(|flow, policy, now| flow.expire(policy, now, 9).0 + flow.expire6(policy, now, 9))
    };
    assert_eq!(expire(&mut lab), 0);
    lab.now += 2 * TICKS;
    assert_eq!(expire(&mut lab), 2);
}
