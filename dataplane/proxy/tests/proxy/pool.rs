// SPDX-License-Identifier: MIT OR Apache-2.0
//! A pool of inside servers behind one connection of a partner: shares, stickiness, death at every moment, return, draining.

use crate::pki::tls_server;
use crate::scene::*;
use fedgate_proxy::pool::{Health, Pool, Pools};
use fedgate_proxy::{Addr, CloseReason, Leg, ProxyTls};
use fedgate_sip::inspect::{Action, Deed, Inspector, Match, Parameters, Rule, Spec, What};
use fedgate_tables::policy::{HealthCheck, PoolMember, PoolSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Member `n`.
fn addr(n: u8) -> Addr {
    (0x0a00_0010 + u32::from(n), 5061)
}

fn member(n: u8) -> PoolMember {
    PoolMember { addr: addr(n).0.into(), port: addr(n).1, weight: 1, drain: false }
}

struct Pooled {
    s: Scene,
    pools: Pools,
    pool: Arc<Pool>,
    members: Vec<PoolMember>,
}

impl Pooled {
    fn new(members: u8) -> Self {
        Self::with(members, |tls| tls)
    }

    fn with(members: u8, change: impl FnOnce(ProxyTls) -> ProxyTls) -> Self {
        let mut s = Scene::new();
        let members: Vec<_> = (0..members).map(member).collect();
        let mut pools = Pools::new(1);
        pools.follow(&[spec(&members)]);
        let pooling = pools.pooling(Some("front")).unwrap();
        let pool = pooling.pool.clone().unwrap();
        let tls = Arc::into_inner(std::mem::replace(&mut s.lab.tls, crate::pki::proxy_tls(&s.ca, &s.inside)));
        let pooled = ProxyTls::pooled(change(tls.expect("nobody has it yet")), Some(pooling));
        s.lab.tls = Arc::new(pooled);
        let (ca, inside) = (s.ca.clone(), s.inside.clone());
        s.lab.serve = Box::new(move |_| Some(tls_server(&ca, &inside)));
        Self { s, pools, pool, members }
    }

    fn change(&mut self, change: impl FnOnce(&mut Vec<PoolMember>)) {
        change(&mut self.members);
        self.pools.follow(&[spec(&self.members)]);
    }

    fn health(&mut self, n: u8, up: bool) {
        let place = self.pool.members().find(|it| it.addr == addr(n)).expect("a member").place;
        self.pool.found(place, up, self.s.lab.now);
    }

    /// What member `n` has heard on a line, by all its connections.
    fn heard(&self, line: usize, n: u8) -> String {
        let it = &self.s.lab.lines[line];
        let past = it.past.iter().filter(|(at, _)| *at == addr(n)).map(|(_, text)| text.clone());
        let now = it.own.values().filter(|(at, _)| *at == addr(n)).map(|(_, peer)| peer.heard_text());
        past.chain(now).collect()
    }

    /// The members that heard a text.
    fn who_heard(&self, line: usize, text: &str) -> Vec<u8> {
        (0..self.members.len() as u8).filter(|n| self.heard(line, *n).contains(text)).collect()
    }

    fn own(&self, line: usize, n: u8) -> u8 {
        let it = &self.s.lab.lines[line];
        *it.own.iter().find(|(_, (at, _))| *at == addr(n)).expect("it is connected").0
    }

    fn says(&mut self, line: usize, n: u8, text: impl AsRef<[u8]>) {
        let own = self.own(line, n);
        self.s.lab.lines[line].own.get_mut(&own).unwrap().1.tell(text);
        self.s.lab.touch_own(line, own);
    }

    fn dies(&mut self, line: usize, n: u8) {
        let own = self.own(line, n);
        self.s.lab.lines[line].own.get_mut(&own).unwrap().1.dies();
        self.s.lab.touch_own(line, own);
    }

    fn answers(&mut self) -> String {
        self.s.lab.lines[0].client.heard_text()
    }

    /// Sends a request on a line and gives the member that heard it.
    fn placed(&mut self, line: usize, number: usize) -> u8 {
        self.s.client_says(line, message_in(number));
        let text = format!("Call-ID: c{number}@");
        self.s.lab.settle(secs(1));
        let [one] = self.who_heard(line, &text)[..] else { panic!("not one: {number}") };
        one
    }

    fn finish(mut self) {
        for it in &mut self.s.lab.lines {
            it.own.values_mut().for_each(|(_, peer)| peer.hangs_up = true);
        }
        self.s.finish();
    }
}

fn spec(members: &[PoolMember]) -> PoolSpec {
    PoolSpec { name: "front".into(), members: members.to_vec(), check: Some(HealthCheck::default()) }
}

fn subscribe(number: usize) -> String {
    request("SUBSCRIBE", "foreign.example", "local.example", number, "")
}

/// A later message of dialog `number`, from the foreign side.
fn within(method: &str, cseq: u32, number: usize) -> String {
    subscribe(number)
        .replace("<sip:bob@local.example>\r\n", &format!("<sip:bob@local.example>;tag=b{number}\r\n"))
        .replace("CSeq: 1 SUBSCRIBE", &format!("CSeq: {cseq} {method}"))
        .replace("SUBSCRIBE sip:", &format!("{method} sip:"))
        .replace(&format!("z9hG4bK{number}"), &format!("z9hG4bK{number}x{cseq}"))
}

fn ok(method: &str, number: usize) -> String {
    response(method, "foreign.example", "local.example", number)
        .replace("Content-Length", "Expires: 7200\r\nContent-Length")
}

/// A dialog on a line; gives the member that has it.
fn agree(p: &mut Pooled, line: usize, number: usize) -> u8 {
    p.s.client_says(line, subscribe(number));
    p.s.lab.settle(secs(1));
    let text = format!("Call-ID: c{number}@");
    let [one] = p.who_heard(line, &text)[..] else { panic!("not one") };
    p.says(line, one, ok("SUBSCRIBE", number));
    p.s.lab.settle(secs(1));
    assert!(p.s.lab.lines[line].client.heard_text().contains(&text));
    one
}

#[test]
fn one_connection_is_spread_over_all_members() {
    let mut p = Pooled::new(3);
    let n = p.s.inward();
    let mut counts = BTreeMap::new();
    for number in 0..60 {
        *counts.entry(p.placed(n, number)).or_insert(0) += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|n| *n > 8), "{counts:?}");
    // Their answers all come back by the one connection.
    for number in 0..60 {
        let [one] = p.who_heard(n, &format!("Call-ID: c{number}@"))[..] else { panic!() };
        p.says(n, one, response("MESSAGE", "foreign.example", "local.example", number));
    }
    p.s.lab.settle(secs(2));
    assert_eq!(p.answers().matches("SIP/2.0 200 ").count(), 60);
    p.finish();
}

#[test]
fn a_dialog_stays_where_it_is_on_any_connection() {
    let mut p = Pooled::new(3);
    let n = p.s.inward();
    let one = agree(&mut p, n, 7);
    // Another member joins, which would have it by rank, and its own is to get nothing new.
    p.change(|members| {
        members[usize::from(one)].drain = true;
        members.push(PoolMember { weight: 200, ..member(3) });
    });
    let again = p.s.inward();
    for (line, cseq) in [(n, 2), (again, 3)] {
        p.s.client_says(line, within("SUBSCRIBE", cseq, 7));
        p.s.lab.settle(secs(1));
        assert_eq!(p.who_heard(line, &format!("CSeq: {cseq} SUBSCRIBE")), [one]);
    }
    // What is new goes elsewhere.
    for number in 100..130 {
        assert_ne!(p.placed(n, number), one);
    }
    p.finish();
}

#[test]
fn what_an_inside_server_began_comes_back_to_it() {
    let mut p = Pooled::new(4);
    // Member 2 subscribes outwards, on a connection of its own without a pool.
    let out = p.s.outward();
    let edge = crate::pki::proxy_tls(&p.s.ca, &p.s.ca.leaf(&["edge.local.example"]));
    let tls = Arc::into_inner(edge).unwrap().pooled(p.pools.pooling(None));
    let params = &mut p.s.lab.lines[out].params;
    (params.tls, params.client_remote.0) = (Arc::new(tls), addr(2).0);
    p.s.lab.recall(out);
    let text = request("SUBSCRIBE", "local.example", "foreign.example", 1, "");
    p.s.client_says(out, &text);
    let heard = p.s.lab.run(secs(5), |lab| !lab.lines[out].server.heard.is_empty());
    assert!(heard, "{:?}", p.s.lab.sink.events);
    // Its NOTIFY comes by the partner's own connection, even before the answer.
    let notify = |cseq: u32| {
        format!(
            "NOTIFY sip:bob@local.example SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bKn{cseq}\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@foreign.example>;tag=b1\r\nTo: <sip:alice@local.example>;tag=a1\r\n\
             Call-ID: c1@local.example\r\nCSeq: {cseq} NOTIFY\r\nSubscription-State: active;expires=7200\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    let n = p.s.inward();
    p.s.client_says(n, notify(1));
    p.s.lab.settle(secs(1));
    assert_eq!(p.who_heard(n, "CSeq: 1 NOTIFY"), [2]);
    let answer = response("SUBSCRIBE", "local.example", "foreign.example", 1)
        .replace("Content-Length", "Expires: 7200\r\nContent-Length");
    p.s.server_says(out, answer);
    p.s.lab.settle(secs(3600));
    // Both connections have been idle for too long by then.
    let n = p.s.inward();
    p.s.client_says(n, notify(2));
    p.s.lab.settle(secs(1));
    assert_eq!(p.who_heard(n, "CSeq: 2 NOTIFY"), [2]);
    p.finish();
}

#[test]
fn a_request_to_a_dead_member_goes_to_the_next() {
    for how in ["refuses", "no way", "silent", "dies unanswered"] {
        let mut p = Pooled::new(3);
        let n = p.s.inward();
        let first = p.placed(n, 1);
        let established =
            (100..120).find(|number| agree(&mut p, n, *number) != first).expect("one of twenty");
        match how {
            "refuses" => _ = p.s.lab.closed.insert(addr(first)),
            "no way" => _ = p.s.lab.sink.no_way.insert(addr(first)),
            "silent" => _ = p.s.lab.gone.insert(addr(first)),
            _ => {}
        }
        if how == "silent" {
            // A connection that is up and says nothing: only the health check knows.
            p.health(first, false);
        } else {
            p.dies(n, first);
        }
        p.s.lab.settle(secs(30));
        // The first request had no answer: it was sent again, elsewhere, as it was.
        let [second] =
            p.who_heard(n, &message_in(1)).into_iter().filter(|it| *it != first).collect::<Vec<_>>()[..]
        else {
            panic!("{how}: not moved")
        };
        p.says(n, second, response("MESSAGE", "foreign.example", "local.example", 1));
        p.s.lab.settle(secs(1));
        assert!(p.answers().contains("Call-ID: c1@foreign.example"), "{how}");
        assert_eq!(p.s.counted("Stat(PoolMoved)"), 1, "{how}");
        // The dialog of a live server never noticed.
        p.s.client_says(n, within("SUBSCRIBE", 2, established));
        p.s.lab.settle(secs(1));
        let text = within("SUBSCRIBE", 2, established);
        assert!(p.who_heard(n, &text).iter().all(|it| *it != first) && p.who_heard(n, &text).len() == 1);
        p.finish();
    }
}

#[test]
fn a_silent_member_holds_up_nobody_else() {
    let mut p = Pooled::new(2);
    let n = p.s.inward();
    p.placed(n, 0);
    // A host that swallows everything: until the handshake's time is over nobody knows.
    let silent = (0..2).find(|it| p.heard(n, *it).is_empty()).unwrap();
    let other = 1 - silent;
    p.s.lab.gone.insert(addr(silent));
    for number in 1..40 {
        p.s.client_says(n, message_in(number));
    }
    p.s.lab.settle(secs(2));
    let at_once = p.heard(n, other).matches("MESSAGE sip:").count();
    assert!((10..35).contains(&at_once), "{at_once}");
    // Then the rest goes there as well, in order.
    p.s.lab.settle(secs(20));
    let all = p.heard(n, other);
    assert_eq!(all.matches("MESSAGE sip:").count(), 40);
    assert_eq!(p.s.counted("Stat(PoolMoved)") as usize, 40 - at_once);
    let moved: Vec<usize> = (all.split("Call-ID: c").skip(1).skip(at_once))
        .map(|text| text.split('@').next().unwrap().parse().unwrap())
        .collect();
    assert!(moved.is_sorted(), "{moved:?}");
    p.finish();
}

#[test]
fn what_was_begun_is_answered_when_its_member_dies() {
    let mut p = Pooled::new(2);
    let n = p.s.inward();
    let one = agree(&mut p, n, 7);
    p.s.client_says(n, within("SUBSCRIBE", 2, 7));
    p.s.lab.settle(secs(1));
    p.dies(n, one);
    p.s.lab.settle(secs(1));
    assert!(p.answers().ends_with("Content-Length: 0\r\n\r\n"));
    assert_eq!(p.answers().matches("SIP/2.0 503 ").count(), 1, "{}", p.answers());
    // It comes back by itself: the dialog goes on there.
    p.s.client_says(n, within("SUBSCRIBE", 3, 7));
    p.s.lab.settle(secs(1));
    assert_eq!(p.who_heard(n, "CSeq: 3 SUBSCRIBE"), [one]);
    // It is known to be down: who asks is told to begin anew.
    p.health(one, false);
    p.s.lab.settle(secs(2));
    assert_eq!(p.answers().matches("SIP/2.0 408 ").count(), 1, "the one in flight");
    p.s.client_says(n, within("SUBSCRIBE", 4, 7));
    p.s.lab.settle(secs(1));
    assert_eq!(p.answers().matches("SIP/2.0 408 ").count(), 2);
    let again = p.placed(n, 8);
    assert_ne!(again, one);
    // Up again: it has its share of what is new.
    p.health(one, true);
    let mut share = 0;
    for number in 200..230 {
        share += usize::from(p.placed(n, number) == one);
    }
    assert!((5..25).contains(&share), "{share}");
    p.finish();
}

#[test]
fn an_invite_that_rings_is_not_sent_twice() {
    let mut p = Pooled::new(2);
    let n = p.s.inward();
    p.s.client_says(n, request("INVITE", "foreign.example", "local.example", 1, ""));
    p.s.lab.settle(secs(1));
    let [one] = p.who_heard(n, "INVITE")[..] else { panic!() };
    p.says(
        n,
        one,
        response("INVITE", "foreign.example", "local.example", 1).replace("200 OK", "180 Ringing"),
    );
    p.s.lab.settle(secs(1));
    p.dies(n, one);
    p.s.lab.settle(secs(1));
    assert_eq!(p.who_heard(n, "INVITE"), [one]);
    assert_eq!(p.answers().matches("SIP/2.0 503 ").count(), 1);
    p.finish();
}

#[test]
fn without_a_member_requests_are_answered_and_the_connection_stays() {
    let mut p = Pooled::new(2);
    let n = p.s.inward();
    (0..2).for_each(|it| p.health(it, false));
    p.s.client_says(n, message_in(1));
    p.s.lab.settle(secs(1));
    assert_eq!(p.answers().matches("SIP/2.0 503 ").count(), 1);
    p.health(1, true);
    assert_eq!(p.placed(n, 2), 1);
    assert_eq!(p.pool.member(0).map(|it| it.health), Some(Health::Down));
    p.finish();
}

#[test]
fn what_is_held_is_bounded() {
    let mut p = Pooled::new(1);
    let n = p.s.inward();
    p.placed(n, 0);
    let before = p.s.lab.engine.memory();
    let body = "x".repeat(2000);
    for number in 1..2000 {
        p.s.client_says(n, request("MESSAGE", "foreign.example", "local.example", number, &body));
        p.s.lab.settle(secs(0));
    }
    p.s.lab.settle(secs(5));
    // All went out, not all were held.
    assert_eq!(p.heard(n, 0).matches("MESSAGE sip:").count(), 2000);
    assert!(p.s.counted("Stat(PoolUnheld)") > 1000);
    assert!(p.s.lab.engine.memory() < before + (600 << 10), "{}", p.s.lab.engine.memory() - before);
    // They are let go when nobody can want them any more.
    p.s.lab.settle(secs(60));
    assert!(p.s.lab.engine.memory() < before + (400 << 10), "{}", p.s.lab.engine.memory() - before);
    p.finish();
}

#[test]
fn requests_of_members_are_answered_by_the_client() {
    let mut p = Pooled::new(2);
    let n = p.s.inward();
    let one = p.placed(n, 1);
    p.says(n, one, message_out(50));
    assert!(p.s.lab.run(secs(2), |lab| lab.lines[n].client.heard_text().contains("c50@")));
    let answer = response("MESSAGE", "local.example", "foreign.example", 50);
    p.s.client_says(n, &answer);
    p.s.lab.settle(secs(1));
    assert_eq!(p.who_heard(n, &answer), [one]);
    // A member that closes in order is called again when it is needed.
    let own = p.own(n, one);
    p.s.lab.lines[n].own.get_mut(&own).unwrap().1.hangs_up = true;
    p.s.lab.touch_own(n, own);
    p.s.lab.settle(secs(1));
    assert!(p.s.lab.lines[n].closed.is_none());
    p.finish();
}

#[test]
fn a_client_that_goes_takes_all_legs_with_it() {
    let mut p = Pooled::new(3);
    let n = p.s.inward();
    (0..12).for_each(|number| _ = p.placed(n, number));
    p.s.lab.lines[n].client.dies();
    p.s.lab.touch(n, Leg::Client);
    // Members that hear of it and do not hang up have their time.
    p.s.lab.settle(secs(60));
    assert_eq!(p.s.lab.lines[n].closed, Some(CloseReason::Reset(Leg::Client)));
    p.s.assert_freed();
}

#[test]
fn members_are_asked_and_turn_by_their_answers() {
    let mut p = Pooled::new(3);
    let health = |p: &Pooled| -> Vec<Health> { p.pool.members().map(|it| it.health).collect() };
    use Health::{Down, Up};
    // One answers, one does not serve OPTIONS, one is not there.
    p.s.lab.answers = [(addr(0), 200), (addr(1), 405)].into();
    p.s.lab.closed.insert(addr(2));
    let watched = [(p.pool.clone(), p.s.lab.tls.clone())];
    p.s.lab.watch(&watched);
    p.s.lab.settle(secs(5));
    assert_eq!(health(&p), [Up, Up, Health::Unchecked]);
    p.s.lab.settle(secs(30));
    assert_eq!(health(&p), [Up, Up, Down]);
    // It comes: two answers in a row.
    p.s.lab.closed.clear();
    p.s.lab.answers.insert(addr(2), 200);
    p.s.lab.settle(secs(25));
    assert_eq!(health(&p), [Up, Up, Up]);
    // One overloaded, one swallowed by the earth, both on connections that were good; one restarted, which is no failure.
    let line = p.s.lab.lines.iter().position(|it| !it.own.is_empty()).expect("the watch");
    p.s.lab.lines[line].own.values_mut().for_each(|(at, peer)| {
        peer.answers = if *at == addr(0) { Some(503) } else { peer.answers };
    });
    p.s.lab.answers.insert(addr(0), 503);
    p.s.lab.gone.insert(addr(1));
    p.dies(line, 2);
    p.s.lab.settle(secs(40));
    assert_eq!(health(&p), [Down, Down, Up]);
    assert_eq!(
        p.s.lab.sink.events.iter().filter(|it| it.starts_with("member front")).collect::<Vec<_>>(),
        [
            "member front 16 true",
            "member front 17 true",
            "member front 18 false",
            "member front 18 true",
            "member front 16 false",
            "member front 17 false",
        ]
    );
    // What is new goes to the one that is left.
    let n = p.s.inward();
    for number in 0..10 {
        assert_eq!(p.placed(n, number), 2);
    }
    // A pool that is not checked any more believes nothing of its members.
    p.s.lab.watch(&[]);
    p.pools.follow(&[PoolSpec { check: None, ..spec(&p.members) }]);
    assert_eq!(health(&p), [Health::Unchecked; 3]);
    p.finish();
}

/// A member that ends a check's connection between two questions, as its idle time has it, is as well as one that does not.
#[test]
fn a_check_begins_anew_where_the_member_has_closed() {
    let mut p = Pooled::new(1);
    p.s.lab.answers = [(addr(0), 200)].into();
    p.s.lab.watch(&[(p.pool.clone(), p.s.lab.tls.clone())]);
    p.s.lab.settle(secs(5));
    let line = p.s.lab.lines.iter().position(|it| !it.own.is_empty()).expect("the watch");
    for _ in 0..6 {
        let rows = p.s.lab.engine.member_rows(&p.pool, p.s.lab.now);
        assert!(rows.iter().all(|row| (&row.health[..], &row.answer[..]) == ("up", "200")), "{rows:?}");
        let own = p.own(line, 0);
        p.s.lab.lines[line].own.get_mut(&own).unwrap().1.hangs_up = true;
        p.s.lab.touch_own(line, own);
        p.s.lab.settle(secs(2));
        assert!(p.s.lab.lines[line].own.is_empty(), "nothing is left half closed");
        // Into the next interval, of ten seconds.
        p.s.lab.settle(secs(8));
    }
    p.s.lab.watch(&[]);
    p.finish();
}

#[test]
fn a_listing_tells_of_members() {
    let mut p = Pooled::new(3);
    p.s.lab.answers = [(addr(0), 200), (addr(1), 405)].into();
    p.s.lab.gone.insert(addr(2));
    let rows = |p: &Pooled| p.s.lab.engine.member_rows(&p.pool, p.s.lab.now);
    assert!(rows(&p).iter().all(|row| row.health == "probing" && row.answer.is_empty()));
    p.s.lab.watch(&[(p.pool.clone(), p.s.lab.tls.clone())]);
    p.s.lab.settle(secs(41));
    let told: Vec<_> = rows(&p).into_iter().map(|row| (row.health, row.answer)).collect();
    let told: Vec<_> = told.iter().map(|(health, answer)| (&health[..], &answer[..])).collect();
    assert_eq!(told, [("up", "200"), ("up", "405"), ("down", "no answer")]);
    assert!(rows(&p).iter().all(|row| row.answer_secs.is_some_and(|secs| secs <= 10)));
    assert!(rows(&p).iter().all(|row| row.turned_secs.is_some_and(|secs| secs <= 41)));
    // Dialogs, sessions and requests are each member's own. From here on members answer what the test says.
    p.s.lab.answers.clear();
    let n = p.s.inward();
    let mut had = [0; 3];
    (0..12).for_each(|number| had[usize::from(agree(&mut p, n, number))] += 1);
    assert!(had[0] > 0 && had[1] > 0 && had[2] == 0, "{had:?}");
    let counts = |p: &Pooled| -> Vec<_> {
        rows(p).iter().map(|row| (row.sessions, row.dialogs, row.requests, row.failures)).collect()
    };
    let expected = had.map(|n| (u32::from(n > 0), n, u64::from(n), 0));
    assert_eq!(counts(&p), expected);
    // One dies: its session is none any more, its dialogs are still its own.
    p.dies(n, 0);
    p.s.lab.settle(secs(1));
    assert_eq!(counts(&p)[0], (0, had[0], u64::from(had[0]), 1));
    assert!(rows(&p)[0].avoided_secs > 20);
    // Somebody else gets the place of one that is taken out while a session has it, and begins with nothing.
    p.change(|members| {
        members[1] = member(7);
    });
    let row = rows(&p).into_iter().find(|row| row.member.addr == addr(7).0).expect("the new one");
    assert_eq!((row.sessions, row.dialogs, row.requests), (0, 0, 0));
    p.s.lab.answers.insert(addr(7), 200);
    p.s.lab.settle(secs(20));
    p.change(|members| members.truncate(2));
    p.s.lab.lines[n].client.dies();
    p.s.lab.touch(n, Leg::Client);
    p.s.lab.settle(secs(60));
    assert!(rows(&p).iter().all(|row| row.sessions == 0), "{:?}", rows(&p));
    p.s.lab.watch(&[]);
    p.s.assert_freed();
}

/// What a member says costs its own connection, and not those of the others, nor the partner's.
#[test]
fn inspection_of_a_member_ends_its_leg() {
    for deed in [Deed::DropConnection, Deed::Reset] {
        let matches = vec![Match { not: false, what: What::Method(Some("info".into())) }];
        let action = Action { deed, log: false };
        let rules = vec![Rule { text: "method info".into(), all: true, matches, action, slot: 7 }];
        let spec =
            Spec { name: "map".into(), rules, parameters: Parameters::default(), counters: Vec::new() };
        let inspector = Inspector::new(spec).expect("good patterns");
        let mut p = Pooled::with(3, |tls| tls.inspected(inspector));
        let n = p.s.inward();
        let bad = agree(&mut p, n, 1);
        let good = (10..40).find(|number| agree(&mut p, n, *number) != bad).expect("one of thirty");
        let waits = (50..90).find(|number| p.placed(n, *number) == bad).expect("one of forty");
        let before = p.answers().matches("SIP/2.0 503 ").count();
        p.says(n, bad, request("INFO", "local.example", "foreign.example", 900, ""));
        p.s.lab.settle(secs(20));
        let line = &p.s.lab.lines[n];
        assert_eq!(line.closed, None);
        assert!(line.own.values().all(|(at, _)| *at != addr(bad)), "{deed:?}");
        assert!(!p.answers().contains("INFO "));
        // What it had not answered is, all of it and once.
        let answered = p.answers();
        let mine = |number: usize| answered.matches(&format!("Call-ID: c{number}@")).count();
        assert_eq!(mine(waits), 1);
        assert!(answered.matches("SIP/2.0 503 ").count() > before);
        assert_eq!(p.s.counted("Stat(PoolMoved)"), 0);
        // The others go on, and so does it, by another connection; it is as good as before.
        p.s.client_says(n, within("SUBSCRIBE", 2, good));
        p.s.client_says(n, within("SUBSCRIBE", 2, 1));
        p.s.lab.settle(secs(1));
        let heard = |p: &Pooled, number: usize| {
            let text = format!("z9hG4bK{number}x2");
            p.who_heard(n, &text)
        };
        assert_eq!(heard(&p, 1), [bad]);
        assert!(!heard(&p, good).is_empty() && heard(&p, good) != [bad]);
        assert!(p.s.lab.engine.member_rows(&p.pool, p.s.lab.now).iter().all(|row| row.avoided_secs == 0));
        p.finish();
    }
}

/// Connections that members or partners close in order are no failure of anybody's.
#[test]
fn an_orderly_end_is_held_against_nobody() {
    let mut p = Pooled::new(3);
    let n = p.s.inward();
    let had: Vec<u8> = (0..12).map(|number| agree(&mut p, n, number)).collect();
    let nothing = |p: &Pooled| {
        let rows = p.s.lab.engine.member_rows(&p.pool, p.s.lab.now);
        assert!(rows.iter().all(|row| (row.avoided_secs, row.failures) == (0, 0)), "{rows:?}");
        rows.iter().map(|row| row.sessions).sum::<u32>()
    };
    let before = nothing(&p);
    let own = p.own(n, had[0]);
    p.s.lab.lines[n].own.get_mut(&own).unwrap().1.hangs_up = true;
    p.s.lab.touch_own(n, own);
    p.s.lab.settle(secs(2));
    assert_eq!(nothing(&p), before - 1);
    // It is called again when there is something for it.
    p.s.client_says(n, within("SUBSCRIBE", 2, 0));
    p.s.lab.settle(secs(2));
    assert_eq!((nothing(&p), p.who_heard(n, "z9hG4bK0x2")), (before, vec![had[0]]));
    p.s.lab.lines[n].own.values_mut().for_each(|(_, peer)| peer.hangs_up = true);
    p.s.lab.lines[n].client.hangs_up = true;
    p.s.lab.touch(n, Leg::Client);
    p.s.lab.settle(secs(5));
    assert_eq!(nothing(&p), 0);
    p.finish();
}
