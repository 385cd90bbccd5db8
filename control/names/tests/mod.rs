// SPDX-License-Identifier: MIT OR Apache-2.0
//! Questions to a real name server on the loopback ([`server`]); the book's times; which addresses are refused.

use std::net::Ipv4Addr;
use std::sync::atomic::AtomicU16;
use std::time::{Duration, Instant};

use fedgate_sip::partner::{Partner, PartnersSpec, Target};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::RecordType;

use super::ask::{Answer, Asker};
use super::book::{Book, FIRST_RETRY, Found, LATEST_NOTHING, Outcome, SOONEST};
use super::guard::{Guard, Refused};
use super::{Targets, spec};
use crate::config::model::federation::Dns;
use crate::config::tests::model;
use server::Server;

pub mod server;

/// Where the daemons of tests expect name servers: one that may be bound.
pub static PORT: AtomicU16 = AtomicU16::new(53);

fn asked(server: &Server, domain: &str) -> Result<Answer, String> {
    let dns = Dns {
        servers: vec![Ipv4Addr::LOCALHOST.into()],
        source: Some(Ipv4Addr::LOCALHOST.into()),
        timeout: Some(1),
        retries: Some(0),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async { Asker::at(&dns, server.port).unwrap().edges(domain).await })
}

fn target(addr: &str, priority: u16, weight: u16) -> Target {
    Target { priority, weight, addr: addr.parse().unwrap(), port: 5061 }
}

fn edges(answer: Result<Answer, String>) -> (Vec<(String, Target, u32)>, u32) {
    match answer {
        Ok(Answer::Found { found, ttl, .. }) => {
            let mut found: Vec<_> = found.into_iter().map(|it| (it.name, it.target, it.ttl)).collect();
            found.sort_by_key(|(_, target, _)| *target);
            (found, ttl)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn edges_are_found_by_srv_and_address() {
    let server = Server::start();
    {
        let mut zone = server.zone();
        let owner = "_sipfederationtls._tcp.foreign.example.";
        zone.srv(owner, 300, (10, 60, 5061), "Edge1.foreign.example.");
        zone.srv(owner, 300, (20, 0, 5061), "edge2.foreign.example.");
        zone.a("edge1.foreign.example.", 120, "198.51.100.1");
        zone.a("edge1.foreign.example.", 120, "198.51.100.2");
        // A target must be no alias (RFC 2782), and often is.
        zone.cname("edge2.foreign.example.", "host.elsewhere.example.");
        zone.a("host.elsewhere.example.", 900, "198.51.100.3");
    }
    let (found, ttl) = edges(asked(&server, "foreign.example"));
    assert_eq!(ttl, 120);
    assert_eq!(
        found,
        [
            ("edge1.foreign.example".into(), target("198.51.100.1", 10, 60), 120),
            ("edge1.foreign.example".into(), target("198.51.100.2", 10, 60), 120),
            ("edge2.foreign.example".into(), target("198.51.100.3", 20, 0), 300),
        ]
    );
    // RFC 3263's name is asked for only where the other is not there.
    assert!(!server.zone().asked.iter().any(|(name, _)| name.starts_with("_sips.")));
    assert!(!server.zone().asked.iter().any(|(_, kind)| *kind == RecordType::AAAA));
}

#[test]
fn the_second_service_and_tcp() {
    let server = Server::start();
    {
        let mut zone = server.zone();
        zone.srv("_sips._tcp.foreign.example.", 60, (0, 0, 5061), "edge.foreign.example.");
        zone.a("edge.foreign.example.", 60, "198.51.100.9");
        (zone.truncates, zone.minimum) = (true, Some(30));
    }
    let answer = asked(&server, "foreign.example");
    assert!(matches!(answer, Ok(Answer::Found { service: "_sips._tcp", .. })), "{answer:?}");
    assert_eq!(edges(answer).0[0].1, target("198.51.100.9", 0, 0));
}

#[test]
fn what_is_not_there_and_who_does_not_say() {
    let server = Server::start();
    server.zone().minimum = Some(77);
    assert_eq!(asked(&server, "foreign.example"), Ok(Answer::Nothing { ttl: 77 }));
    server.zone().minimum = None;
    assert_eq!(asked(&server, "foreign.example"), Ok(Answer::Nothing { ttl: 60 }));
    // The service is said not to be there: the other is not asked for.
    server.zone().srv("_sipfederationtls._tcp.foreign.example.", 600, (0, 0, 0), ".");
    server.zone().srv("_sips._tcp.foreign.example.", 600, (0, 0, 5061), "edge.foreign.example.");
    assert_eq!(edges(asked(&server, "foreign.example")), (Vec::new(), 600));
    let failing = "_sipfederationtls._tcp.foreign.example.";
    server.zone().codes.insert(failing.into(), ResponseCode::ServFail);
    assert!(asked(&server, "foreign.example").is_err());
    server.zone().codes.insert(failing.into(), ResponseCode::Refused);
    assert!(asked(&server, "foreign.example").is_err());
    server.zone().silent = true;
    let start = Instant::now();
    assert!(asked(&server, "foreign.example").is_err());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

/// One target whose name nobody tells does not take the others away, and an alias of itself ends.
#[test]
fn a_part_is_better_than_nothing() {
    let server = Server::start();
    {
        let mut zone = server.zone();
        let owner = "_sipfederationtls._tcp.foreign.example.";
        for target in ["broken", "loop", "gone", "good"] {
            zone.srv(owner, 3600, (5, 5, 5061), &format!("{target}.foreign.example."));
        }
        zone.codes.insert("broken.foreign.example.".into(), ResponseCode::ServFail);
        zone.cname("loop.foreign.example.", "loop2.foreign.example.");
        zone.cname("loop2.foreign.example.", "loop.foreign.example.");
        zone.a("good.foreign.example.", 3600, "198.51.100.4");
    }
    let (found, ttl) = edges(asked(&server, "foreign.example"));
    assert_eq!(found.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), ["good.foreign.example"]);
    assert_eq!(ttl, 60);
}

#[test]
fn an_answer_is_bounded() {
    let server = Server::start();
    // So much goes by TCP.
    server.zone().truncates = true;
    for n in 0..40u16 {
        let target = format!("e{n}.foreign.example.");
        server.zone().srv("_sipfederationtls._tcp.foreign.example.", 60, (n, 0, 5061), &target);
        for host in 0..20 {
            server.zone().a(&target, 60, &format!("198.51.{n}.{host}"));
        }
    }
    let (found, _) = edges(asked(&server, "foreign.example"));
    assert_eq!(found.len(), super::ask::MOST_RECORDS * super::ask::MOST_ADDRESSES);
    assert!(found.iter().all(|(_, target, _)| target.priority < 16));
    let model = model(
        "federation domain foreign.example\n srv\ndns server-group DefaultDNS\n name-server 127.0.0.1\n\
                       permit domain foreign.example\ninterface tap a\n nameif outside\n ip address 198.51.0.1 255.255.0.0\n",
    );
    let found = found.into_iter().map(|(name, target, ttl)| Found { name, target, ttl }).collect();
    let spec = spec(&model, &Targets::from([("foreign.example".into(), found)]));
    assert_eq!(spec.partners[0].1.targets.len(), fedgate_sip::partner::MAX_TARGETS);
}

const CONFIG: &str = "interface tap a\n nameif outside\n security-level 0\n ip address 203.0.113.2 255.255.255.0\n\
    interface tap b\n nameif inside\n security-level 100\n ip address 10.0.0.1 255.255.255.0\n\
    interface tap c\n nameif dmz\n security-level 50\n ip address 172.16.0.1 255.255.255.0\n\
    route outside 198.51.100.0 255.255.255.0 203.0.113.1 1\n\
    route inside 10.0.0.0 255.0.0.0 10.0.0.254 1\n\
    object network cup\n host 10.0.0.11\nobject network public\n host 203.0.113.9\n\
    object network lan\n subnet 10.0.0.0 255.255.255.0\nobject network pub\n range 203.0.113.32 203.0.113.35\n\
    nat (inside,outside) source static cup public\nnat (inside,outside) source dynamic lan pat-pool pub\n\
    dns server-group DefaultDNS\n name-server 127.0.0.1\n\
    permit domain foreign.example\nfederation domain foreign.example\n srv\n rate-limit 5\n";

/// DNS rebinding: whatever a foreign zone says, it leads to nobody of ours.
#[test]
fn no_answer_leads_inside() {
    let guard = Guard::of(&model(CONFIG));
    let judge = |addr: &str| guard.judge(addr.parse().unwrap());
    for good in ["203.0.113.77", "198.51.100.1", "172.16.0.9"] {
        assert_eq!(judge(good), Ok(()), "{good}");
    }
    for bad in ["127.0.0.1", "0.0.0.0", "0.1.2.3", "169.254.3.4", "224.0.0.1", "255.255.255.255", "240.0.0.1"]
    {
        assert_eq!(judge(bad), Err(Refused::NoHost), "{bad}");
    }
    for own in ["203.0.113.2", "10.0.0.1"] {
        assert_eq!(judge(own), Err(Refused::Own), "{own}");
    }
    for ours in ["203.0.113.9", "203.0.113.33"] {
        assert_eq!(judge(ours), Err(Refused::Mapped), "{ours}");
    }
    for inside in ["10.0.0.11", "10.99.0.1"] {
        assert_eq!(judge(inside), Err(Refused::Inside("inside".into())), "{inside}");
    }
    assert_eq!(judge("192.0.2.1"), Err(Refused::NoRoute));
    let model = model(CONFIG);
    let found = ["10.0.0.11", "203.0.113.77", "203.0.113.2"];
    let found = found.map(|addr| Found { name: String::new(), target: target(addr, 0, 0), ttl: 9 });
    let spec = spec(&model, &Targets::from([("foreign.example".into(), found.to_vec())]));
    assert_eq!(spec.partners[0].1.targets, [target("203.0.113.77", 0, 0)]);
    assert_eq!(spec.partners[0].1.bounds.rate.map(|rate| (rate.rate, rate.burst)), Some((5, 10)));
}

/// With more domains than are asked for at once, the last by name has its turn too.
#[test]
fn who_waits_longest_is_asked_first() {
    let edges: String = (0..40).map(|n| format!("federation domain d{n:02}.example\n srv\n")).collect();
    let model = model(&format!("dns server-group DefaultDNS\n name-server 127.0.0.1\n{edges}"));
    let (mut book, start) = (Book::default(), Instant::now());
    let mut asked = std::collections::BTreeSet::new();
    for second in 0..3 {
        // Nothing holds: the first are due again when the others still wait.
        let now = start + second * Duration::from_secs(1000);
        for name in book.due(&model, now) {
            book.answered(&name, Err("no".into()), now);
            asked.insert(name);
        }
    }
    assert_eq!(asked.len(), 40);
}

#[test]
fn the_book_keeps_time() {
    let model = model(CONFIG);
    let (mut book, start) = (Book::default(), Instant::now());
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let domain = "foreign.example";
    let due = |book: &mut Book, seconds| book.due(&model, at(seconds)) == [domain];
    let found = |ttl| {
        let found = vec![Found { name: "e".into(), target: target("198.51.100.1", 0, 0), ttl }];
        Ok(Answer::Found { service: "_sips._tcp", found, ttl })
    };
    // What a policy in force says is good until somebody says something else.
    let partner = Partner { targets: vec![target("198.51.100.7", 1, 1)], ..Partner::default() };
    book.learn(&PartnersSpec { partners: vec![(domain.into(), partner)], ..PartnersSpec::default() }, start);
    assert_eq!(book.targets()[domain][0].target.addr, Ipv4Addr::new(198, 51, 100, 7));
    assert!(due(&mut book, 0) && !due(&mut book, 1), "it is asked once");
    book.answered(domain, found(100), at(2));
    assert_eq!(book.targets()[domain][0].target.addr, Ipv4Addr::new(198, 51, 100, 1));
    assert!(!due(&mut book, 101) && due(&mut book, 102));
    // Nobody answers: what is known stays for a day, and is asked for less and less often.
    let mut now = 102;
    for pause in [FIRST_RETRY, 2 * FIRST_RETRY, 4 * FIRST_RETRY] {
        book.answered(domain, Err("no".into()), at(now));
        assert!(!due(&mut book, now + u64::from(pause) - 1) && due(&mut book, now + u64::from(pause)));
        now += u64::from(pause);
    }
    for _ in 0..400 {
        book.answered(domain, Err("no".into()), at(now));
        now += u64::from(LATEST_NOTHING);
        assert!(due(&mut book, now));
        assert_eq!(book.targets().is_empty(), now - u64::from(LATEST_NOTHING) >= 102 + 86_400, "{now}");
    }
    // Said not to be there, it is gone at once; a TTL of nothing is not believed.
    book.answered(domain, found(0), at(now));
    assert!(!due(&mut book, now + u64::from(SOONEST) - 1) && due(&mut book, now + u64::from(SOONEST)));
    book.answered(domain, Ok(Answer::Nothing { ttl: 1_000_000 }), at(now));
    assert!(book.targets().is_empty());
    assert_eq!(book.domains()[domain].outcome, Outcome::Nothing);
    assert!(due(&mut book, now + u64::from(LATEST_NOTHING)));
    let counts = book.counts();
    assert_eq!((counts.asked, counts.found, counts.nothing, counts.failed), (406, 2, 1, 403));
    // No longer in the configuration, and answered late.
    let none = crate::config::model::Model::default();
    assert!(book.due(&none, at(now)).is_empty() && book.domains().is_empty());
    book.answered(domain, found(9), at(now));
    assert!(book.domains().is_empty());
}
