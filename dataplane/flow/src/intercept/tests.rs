// SPDX-License-Identifier: MIT OR Apache-2.0
//! The handshake with a server, segment by segment; numbers shifted in segments against checksums made anew.

use super::*;
use crate::acl::Acls;
use crate::conn::{NO_CLASS, NO_SESSION};
use crate::key::{Key, TCP};
use crate::limits::Count;
use crate::nat::Nat;
use crate::ports::Share;
use crate::{FlowConfig, Policy};
use fedgate_tables::policy::{CLASS_LIMITS, CLASS_STATE_BYPASS, Globals, Interface, NONE, ServiceClass};
use fedgate_wire::{Tuple6, checksum};
use proptest::prelude::*;

const ISN: u32 = u32::MAX - 3;
const WINDOW: u16 = 500;
const SERVER_ISN: u32 = 77;
/// What one client has to wait for servers.
const PLACES: u16 = 64;

struct Lab {
    flow: Flow,
    nat: Nat,
    globals: Globals,
    compiled: Acls,
    interfaces: [Interface; 2],
    class: [ServiceClass; 1],
    now: Tick,
}

impl Lab {
    /// One class that has room for `embryonic` of those.
    fn new(embryonic_max: u32, max_conns: u32) -> Self {
        let config = FlowConfig { max_conns, max_xlates: 8, share: Share::WHOLE, seed: 5 };
        let interface =
            |security| Interface { security, acl_in: NONE, acl_out: NONE, ..Interface::default() };
        Self {
            flow: Flow::new(config),
            nat: Nat::default(),
            globals: Globals::default(),
            compiled: Acls::default(),
            interfaces: [interface(0), interface(100)],
            class: [ServiceClass { flags: CLASS_LIMITS, embryonic_max, ..ServiceClass::default() }],
            now: 1000,
        }
    }

    fn with<T>(&mut self, work: impl FnOnce(&mut Flow, &Policy<'_>, Tick) -> T) -> T {
        let policy = Policy {
            interfaces: &self.interfaces,
            nat: &self.nat,
            acls: &[],
            aces: &[],
            aces6: &[],
            compiled: &self.compiled,
            classes: &self.class,
            globals: &self.globals,
        };
        work(&mut self.flow, &policy, self.now)
    }

    /// From inside to outside.
    fn first(port: u16) -> First {
        let key = Key { src: 0x0a00_0001, dst: 0x0900_0001, sport: port, dport: 80, proto: TCP };
        First { key, in_if: 1, tcp_flags: SYN, icmp_type: 0, icmp_code: 0, ttl: 64 }
    }

    fn admit(&mut self, first: &First) -> Admission {
        let ways = |addr: u32| Some(u8::from(addr >> 24 == 10));
        self.with(|flow, policy, now| flow.admit(first, policy, ways, now).0)
    }

    /// Has a cookie made and acknowledged, and the client admitted.
    fn intercept(&mut self, port: u16) -> (Admission, u32) {
        self.prove(Self::first(port))
    }

    fn prove(&mut self, first: First) -> (Admission, u32) {
        let now = self.now;
        let asker = Asker { isn: ISN, ..Asker::v4(&first.key, 1) };
        let cookie = self.flow.cookie(&asker, 1400, now);
        let ack = seg(ACK, ISN.wrapping_add(1), cookie.wrapping_add(1));
        let proof = self.flow.proof(&asker, &ack, now).expect("a good cookie");
        let ways = |addr: u32| Some(u8::from(addr >> 24 == 10));
        (
            self.with(|flow, policy, now| {
                flow.admit_proven(&first, &proof, policy, ways, now, &mut Hits::default())
            }),
            cookie,
        )
    }

    fn begun(&mut self, port: u16) -> (ConnId, u32) {
        let (admission, cookie) = self.intercept(port);
        let Admission::New { id, tls_proxy: None } = admission else { panic!("{admission:?}") };
        (id, cookie)
    }

    fn send(&mut self, id: ConnId, dir: Dir, segment: Segment) -> Result<Booked, DropReason> {
        let packet = Packet { len: 40 + segment.len, segment, options: &[], datagram: &[] };
        self.with(|flow, policy, now| flow.account(id, dir, &packet, policy, now))
    }

    fn open(&mut self, port: u16) -> (ConnId, u32) {
        let (id, cookie) = self.begun(port);
        let answer = seg(SYN | ACK, SERVER_ISN, ISN.wrapping_add(1));
        let Ok(Booked::Handshake(reaction)) = self.send(id, Dir::Reverse, answer) else { panic!("opens") };
        assert_eq!(reaction.step, Step::Opened);
        (id, cookie)
    }

    fn embryonic(&self) -> u32 {
        self.flow.limits.class(0).embryonic
    }
}

fn seg(flags: u8, seq: u32, ack: u32) -> Segment {
    Segment { seq, ack, window: WINDOW, flags, len: 0 }
}

fn reply(flags: u8, seq: u32, ack: u32, window: u16) -> Reply {
    Reply { seq, ack, flags, window, mss: None }
}

#[test]
fn the_limit_makes_cookies_and_no_state() {
    let mut lab = Lab::new(2, 16);
    for port in 1..=2 {
        assert!(matches!(lab.admit(&Lab::first(port)), Admission::New { .. }));
    }
    let over = Admission::Intercept { out_if: 0, limit: DropReason::TcpConnLimit };
    assert_eq!((lab.admit(&Lab::first(3)), lab.flow.conns.in_use().0), (over, 2));
    lab.class[0] = ServiceClass { per_client_embryonic_max: 2, embryonic_max: 0, ..lab.class[0] };
    lab.with(|flow, _, _| [0, 1].map(|n| flow.end(ConnId(n), 1000)));
    for port in 1..=2 {
        assert!(matches!(lab.admit(&Lab::first(port)), Admission::New { .. }));
    }
    let over = Admission::Intercept { out_if: 0, limit: DropReason::HostLimit };
    assert_eq!(lab.admit(&Lab::first(3)), over);
    // Above the limits of connections nothing helps.
    lab.class[0].conn_max = 2;
    assert_eq!(lab.admit(&Lab::first(3)), Admission::Refused(DropReason::ConnLimit));
    assert_eq!(lab.intercept(3).0, Admission::Refused(DropReason::ConnLimit));
    // Connections that are not followed are not embryonic.
    lab.class[0] = ServiceClass { conn_max: 0, flags: CLASS_LIMITS | CLASS_STATE_BYPASS, ..lab.class[0] };
    assert!(matches!(lab.admit(&Lab::first(3)), Admission::New { .. }));
    assert_eq!(
        lab.intercept(4).0,
        Admission::Refused(DropReason::TcpNotSyn),
        "it was another policy's cookie"
    );
}

#[test]
fn the_server_is_called_and_its_numbers_are_shifted() {
    let mut lab = Lab::new(1, 16);
    let (id, cookie) = lab.begun(1);
    assert_eq!((lab.embryonic(), lab.flow.opening()), (1, 1));
    let syn = Reply { mss: Some(1380), ..reply(SYN, ISN, 0, WINDOW) };
    assert_eq!(lab.flow.syn_for(id), Some(syn));
    let answer = Segment { window: 9000, ..seg(SYN | ACK, SERVER_ISN, ISN.wrapping_add(1)) };
    let reaction = Reaction {
        client: Some(reply(ACK, cookie.wrapping_add(1), ISN.wrapping_add(1), 9000)),
        server: Some(reply(ACK, ISN.wrapping_add(1), SERVER_ISN + 1, WINDOW)),
        step: Step::Opened,
    };
    assert_eq!(lab.send(id, Dir::Reverse, answer), Ok(Booked::Handshake(reaction)));
    let hot = *lab.flow.conns.hot(id);
    assert_eq!((hot.state, hot.session(), hot.is_common()), (State::Established, NO_SESSION, false));
    assert_eq!(hot.shift(), cookie.wrapping_sub(SERVER_ISN));
    assert_eq!((lab.embryonic(), lab.flow.opening(), lab.flow.syn_for(id)), (0, 0, None));

    // In the client's numbers on one side and the server's on the other, to the window's edges.
    let from_client =
        |at: u32, len| Segment { len, ..seg(ACK, ISN.wrapping_add(1 + at), cookie.wrapping_add(1)) };
    let from_server = |at: u32, len| Segment { len, ..seg(ACK, SERVER_ISN + 1 + at, ISN.wrapping_add(9001)) };
    assert_eq!(lab.send(id, Dir::Forward, from_client(0, 9000)), Ok(Booked::Passes));
    assert_eq!(lab.send(id, Dir::Forward, from_client(8001, 1000)), Err(DropReason::TcpSeqPastWin));
    assert_eq!(lab.send(id, Dir::Reverse, from_server(0, WINDOW)), Ok(Booked::Passes));
    assert_eq!(lab.send(id, Dir::Reverse, from_server(1, WINDOW)), Err(DropReason::TcpSeqPastWin));
    // The server's RST counts where the client expects it.
    assert_eq!(lab.send(id, Dir::Reverse, seg(RST, SERVER_ISN + 1, 0)), Ok(Booked::Passes));
    assert_eq!(lab.flow.conns.hot(id).state, State::Reset);
    // And the tuple is anybody's again.
    assert_eq!(lab.send(id, Dir::Forward, seg(SYN, 5, 0)), Ok(Booked::Afresh));
}

#[test]
fn while_it_waits_only_the_ends_are_heard() {
    let mut lab = Lab::new(1, 16);
    let (id, cookie) = lab.begun(1);
    let (next, theirs) = (ISN.wrapping_add(1), cookie.wrapping_add(1));
    let waits = |client, server| Ok(Booked::Handshake(Reaction { client, server, step: Step::Waits }));
    let still = Some(reply(ACK, theirs, next, 0));
    // Repeated, probing with an old byte or with a new one, and the SYN that was late.
    for s in [
        seg(ACK, next, theirs),
        seg(ACK, ISN, theirs),
        Segment { len: 1, ..seg(ACK, next, theirs) },
        seg(SYN, ISN, 0),
    ] {
        assert_eq!(lab.send(id, Dir::Forward, s), waits(still, None), "{s:?}");
    }
    for (s, reason) in [
        (seg(ACK, next + 1, theirs), DropReason::TcpSeqPastWin),
        (seg(ACK, next, theirs.wrapping_add(1)), DropReason::TcpInvalidAck),
        (seg(SYN, 5, 0), DropReason::TcpSeqPastWin),
        (seg(RST, next + 1, 0), DropReason::TcpRstfinOoo),
        (seg(RST, ISN, 0), DropReason::TcpRstfinOoo),
    ] {
        assert_eq!(lab.send(id, Dir::Forward, s), Err(reason), "{s:?}");
    }
    for (s, reason) in [
        (seg(SYN | ACK, SERVER_ISN, next + 1), DropReason::Tcp3whsFailed),
        (seg(SYN, SERVER_ISN, 0), DropReason::Tcp3whsFailed),
        (seg(RST, SERVER_ISN, 0), DropReason::TcpRstfinOoo),
        (seg(RST | ACK, 0, next + 1), DropReason::TcpRstfinOoo),
        (seg(ACK, SERVER_ISN, next), DropReason::Tcp3whsFailed),
        (seg(FIN | ACK, SERVER_ISN, next), DropReason::Tcp3whsFailed),
    ] {
        assert_eq!(lab.send(id, Dir::Reverse, s), Err(reason), "{s:?}");
    }
    // An older connection of the server's is made to go.
    let reset = reply(RST, 4242, 0, 0);
    assert_eq!(lab.send(id, Dir::Reverse, seg(ACK, 9, 4242)), waits(None, Some(reset)));
    // The one end refuses, or the other has left.
    let reset = reply(RST | ACK, theirs, next, 0);
    let refused = Reaction { client: Some(reset), server: None, step: Step::Refused };
    assert_eq!(lab.send(id, Dir::Reverse, seg(RST | ACK, 0, next)), Ok(Booked::Handshake(refused)));
    let left = Reaction { client: None, server: Some(reply(RST, next, 0, 0)), step: Step::Left };
    assert_eq!(lab.send(id, Dir::Forward, seg(RST, next, 0)), Ok(Booked::Handshake(left)));
    lab.flow.end(id, 1000);
    assert_eq!((lab.flow.opening(), lab.flow.limits.class(0)), (0, Count::default()));
}

/// Three tries within seven seconds, whatever the timers of connections say; then the client is told.
#[test]
fn the_server_is_asked_three_times() {
    let mut lab = Lab::new(1, 16);
    lab.globals.timeout_embryonic = 1;
    let (id, cookie) = lab.begun(1);
    let began = lab.now;
    let mut said = Vec::new();
    while lab.now < began + 100 {
        lab.now += 1;
        lab.with(|flow, policy, now| flow.expire(policy, now, 64));
        while let Some(due) = lab.flow.due() {
            said.push((lab.now - began, due));
            match due {
                Due::Again(id) => assert_eq!(lab.flow.syn_for(id).map(|syn| syn.seq), Some(ISN)),
                Due::GivenUp(id) => {
                    let reset = reply(RST | ACK, cookie.wrapping_add(1), ISN.wrapping_add(1), 0);
                    assert_eq!(lab.flow.reset_for(id), Some(reset));
                    assert!(lab.flow.end(id, lab.now));
                }
            }
        }
    }
    assert_eq!(said, [(10, Due::Again(id)), (30, Due::Again(id)), (70, Due::GivenUp(id))]);
    assert_eq!((said.len(), lab.flow.opening()), (TRIES, 0));
}

/// A flood of SYNs for other ports is no reason to refuse one that the TLS proxy takes, which is never embryonic.
#[test]
fn what_a_proxy_takes_is_not_held_to_embryonic_limits() {
    let mut lab = Lab::new(1, 16);
    assert!(matches!(lab.admit(&Lab::first(1)), Admission::New { .. }));
    lab.class[0].tls_proxy = 4;
    assert!(matches!(lab.admit(&Lab::first(2)), Admission::New { tls_proxy: Some(4), .. }));
    lab.class[0].conn_max = 2;
    assert_eq!(lab.admit(&Lab::first(3)), Admission::Refused(DropReason::ConnLimit));
}

/// Once open its timers are those of any connection.
#[test]
fn an_open_one_times_out_like_others() {
    let mut lab = Lab::new(1, 16);
    let (id, _) = lab.open(1);
    let ended = |lab: &mut Lab| lab.with(|flow, policy, now| (flow.expire(policy, now, 64).0, flow.due()));
    lab.now += lab.globals.timeout_conn * TICKS - 1;
    assert_eq!(ended(&mut lab), (0, None));
    lab.now += 1;
    assert_eq!(ended(&mut lab), (1, None));
    assert!(!lab.flow.conns.is_live(id));
}

/// One client that calls what never answers has his own places, not those of all; who has waited longest makes room.
#[test]
fn those_that_wait_are_bounded_by_client() {
    let mut lab = Lab::new(1, 2 * MAX_OPENING);
    let mut displaced = Vec::new();
    for port in 0..MAX_OPENING as u16 {
        let (admission, _) = lab.intercept(port);
        let Admission::New { id, .. } = admission else { panic!("{port}: {admission:?}") };
        while let Some(due) = lab.flow.due() {
            let Due::GivenUp(oldest) = due else { panic!("{due:?}") };
            assert!(oldest != id && lab.flow.reset_for(oldest).is_some());
            displaced.push(lab.flow.conns.hot(oldest).key(Dir::Forward).sport);
            lab.flow.end(oldest, 1000);
        }
    }
    let others = (2..=9).filter(|client| {
        let mut first = Lab::first(1);
        first.key.src = 0x0a00_0000 | client;
        let (admission, _) = lab.prove(first);
        matches!(admission, Admission::New { .. }) && lab.flow.due().is_none()
    });
    assert!(others.count() >= 7, "who shares the set may have to displace the attacker's oldest");
    let left = MAX_OPENING as u16 - PLACES;
    assert!(displaced.iter().copied().eq(0..left), "in the order of coming");
}

/// The same by IPv6.
#[test]
fn ipv6_is_intercepted_too() {
    let mut lab = Lab::new(1, 64);
    let egress = |addr: u128| Some(u8::from(addr == 10));
    let key = |sport| Tuple6 { src: 10, dst: 9, sport, dport: 80, proto: TCP };
    let first =
        |port| First6 { key: key(port), in_if: 1, tcp_flags: SYN, icmp_type: 0, icmp_code: 0, hop_limit: 64 };
    let admit =
        |lab: &mut Lab, port| lab.with(|flow, policy, now| flow.admit6(&first(port), policy, egress, now).0);
    assert!(matches!(admit(&mut lab, 1), Admission6::New(_)));
    assert_eq!(admit(&mut lab, 2), Admission6::Intercept { out_if: 0, limit: DropReason::TcpConnLimit });
    let asker = Asker { isn: ISN, ..Asker::v6(&key(2), 1) };
    assert!(!lab.flow.intercepts(1000));
    let cookie = lab.flow.cookie(&asker, 1440, 1000);
    assert!(lab.flow.intercepts(1000));
    let proof = lab.flow.proof(&asker, &seg(ACK, ISN.wrapping_add(1), cookie.wrapping_add(1)), 1000).unwrap();
    let admitted = lab.with(|flow, policy, now| flow.admit_proven6(&first(2), &proof, policy, egress, now).0);
    let Admission6::New(id) = admitted else { panic!("{admitted:?}") };
    assert_eq!(lab.flow.syn_for6(id).and_then(|syn| syn.mss), Some(1440));
    let mut send = |dir, segment| {
        let packet = Packet { len: 60, segment, options: &[], datagram: &[] };
        lab.with(|flow, policy, now| flow.account6(id, dir, &packet, policy, now))
    };
    let booked = send(Dir::Reverse, seg(SYN | ACK, SERVER_ISN, ISN.wrapping_add(1)));
    assert!(matches!(booked, Ok(Booked::Handshake(Reaction { step: Step::Opened, .. }))));
    assert_eq!(send(Dir::Reverse, seg(ACK, SERVER_ISN + 1, ISN.wrapping_add(1))), Ok(Booked::Passes));
    assert_eq!(send(Dir::Forward, seg(ACK, ISN.wrapping_add(1), cookie.wrapping_add(1))), Ok(Booked::Passes));
    let hot = lab.flow.conns6.hot(id);
    assert_eq!(
        (hot.state, hot.shift, lab.flow.opening()),
        (State::Established, cookie.wrapping_sub(SERVER_ISN), 0)
    );
    assert!(hot.class != NO_CLASS && lab.embryonic() == 1, "the one that the limit had room for");
}

/// Whatever its addresses, a link's hosts have one set of places.
#[test]
fn an_ipv6_link_is_one_client() {
    let mut lab = Lab::new(1, 8 * u32::from(PLACES));
    let egress = |addr: u128| Some(u8::from(addr >> 64 == 10));
    let mut begin = |link: u128, host: u128| {
        let key = Tuple6 { src: link << 64 | host, dst: 9 << 64, sport: 1, dport: 80, proto: TCP };
        let first = First6 { key, in_if: 1, tcp_flags: SYN, icmp_type: 0, icmp_code: 0, hop_limit: 64 };
        let asker = Asker { isn: ISN, ..Asker::v6(&key, 1) };
        let cookie = lab.flow.cookie(&asker, 1440, 1000);
        let ack = seg(ACK, ISN.wrapping_add(1), cookie.wrapping_add(1));
        let proof = lab.flow.proof(&asker, &ack, 1000).expect("a good cookie");
        let admitted =
            lab.with(|flow, policy, now| flow.admit_proven6(&first, &proof, policy, egress, now).0);
        let Admission6::New(id) = admitted else { panic!("{admitted:?}") };
        let due = lab.flow.due6();
        if let Some(Due::GivenUp(id)) = due {
            assert!(lab.flow.reset_for6(id).is_some() && lab.flow.end6(id));
        }
        (id, due)
    };
    let ids: Vec<ConnId> = (0..u128::from(PLACES))
        .map(|host| {
            let (id, due) = begin(10, host);
            assert_eq!(due, None);
            id
        })
        .collect();
    assert_eq!(begin(10, 1 << 40).1, Some(Due::GivenUp(ids[0])));
    assert_eq!(lab.flow.opening(), u32::from(PLACES));
}

/// No cookie is given to those who ask for something else, and none is looked for at rest.
#[test]
fn only_the_exact_ack_is_a_proof() {
    let mut lab = Lab::new(1, 16);
    let key = Lab::first(1).key;
    let asker = Asker { isn: ISN, ..Asker::v4(&key, 1) };
    let ack = |cookie: u32| seg(ACK, ISN.wrapping_add(1), cookie.wrapping_add(1));
    assert_eq!(lab.flow.proof(&asker, &ack(7), 1000), None);
    let cookie = lab.flow.cookie(&asker, 1460, 1000);
    let good = ack(cookie);
    assert!(lab.flow.proof(&asker, &good, 1000).is_some());
    assert!(
        lab.flow.proof(&asker, &Segment { seq: ISN, ..good }, 1000).is_some(),
        "a probe with an old byte"
    );
    for s in [
        Segment { seq: ISN.wrapping_add(2), ..good },
        Segment { ack: cookie, ..good },
        Segment { flags: ACK | RST, ..good },
        Segment { flags: ACK | SYN, ..good },
        Segment { flags: 0, ..good },
        Segment { seq: ISN, len: 2, ..good },
    ] {
        assert_eq!(lab.flow.proof(&asker, &s, 1000), None, "{s:?}");
    }
    let other = Asker { in_if: 0, ..asker };
    assert_eq!(lab.flow.proof(&other, &good, 1000), None, "it came by another interface");
}

proptest! {
    /// Shifted and shifted back; a whole segment's checksum is that of the new numbers, and only numbers and checksum change.
    #[test]
    fn shifted_segments_are_whole(mut tcp in prop::collection::vec(any::<u8>(), 20..64), shift: u32, forward: bool, cut in 0usize..64, outer: u16) {
        let dir = if forward { Dir::Forward } else { Dir::Reverse };
        let sum_of = |tcp: &[u8]| checksum::of_segment(1, 2, TCP, tcp);
        tcp[16..18].fill(0);
        let sum = sum_of(&tcp);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut shown = tcp.clone();
        shift_segment(&mut shown, dir, shift, None);
        let mut twin = tcp.clone();
        let add = |field: &mut [u8], by: u32| {
            let value = u32::from_be_bytes([field[0], field[1], field[2], field[3]]).wrapping_add(by);
            field.copy_from_slice(&value.to_be_bytes());
        };
        match (forward, tcp[13] & ACK != 0) {
            (false, _) => add(&mut twin[4..8], shift),
            (true, true) => add(&mut twin[8..12], shift.wrapping_neg()),
            (true, false) => {}
        }
        twin[16..18].copy_from_slice(&shown[16..18]);
        prop_assert_eq!(&shown, &twin);
        prop_assert!(checksum::is_valid_segment(1, 2, TCP, &shown));
        shift_segment(&mut shown, dir, shift.wrapping_neg(), None);
        prop_assert!(checksum::is_valid_segment(1, 2, TCP, &shown));
        shown[16..18].copy_from_slice(&tcp[16..18]);
        prop_assert_eq!(&shown, &tcp);

        // As much as an error quotes: the sum over both stays what it was.
        let cut = cut.min(tcp.len()) & !1;
        let mut quoted = tcp[..cut].to_vec();
        let mut sum = outer;
        let total = |quoted: &[u8], sum: u16| checksum::Sum::default().bytes(quoted).bytes(&sum.to_be_bytes()).folded();
        let before = total(&quoted, sum);
        shift_segment(&mut quoted, dir, shift, Some(&mut sum));
        prop_assert_eq!(total(&quoted, sum) % 0xffff, before % 0xffff);
    }
}
