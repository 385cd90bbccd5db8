// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the commands mean, and the order in which NAT is evaluated.

use super::super::model::{AceAddr, AceLog, AcePorts, AclLine, DomainKey, Minute};
use super::super::types::{Mac, PortOp, Seconds};
use super::super::{print, resolve};
use super::{TWO, found, model, try_load};
use fedgate_tables::policy::NatKind;
use std::net::Ipv4Addr;

#[test]
fn interfaces() {
    let m = model(
        "interface memif /run/m.sock server id 3\n nameif inside\n ip address 10.0.0.1 255.0.0.0\n mac-address 0200.00aA.0001\n\
         interface pci 0000:03:00.0\nnameif dmz\nsecurity-level 50\nip address 192.0.2.1 255.255.255.0\nshutdown\n\
         interface pcap rx \"/tmp/a b\" tx /tmp/c\n nameif o\n ip address 198.51.100.1 255.255.255.255\n no shutdown\n\
         mtu dmz 9000\nsysopt noproxyarp dmz\nsame-security-traffic permit intra-interface\n",
    );
    let [a, b, c] = &m.interfaces[..] else { panic!("{:?}", m.interfaces) };
    assert_eq!((a.security(), a.mac, a.mtu), (100, Some(Mac([2, 0, 0, 0xaa, 0, 1])), 1500));
    assert!(a.device.dpdk().starts_with("net_memif_"));
    assert!(a.device.dpdk().ends_with(",role=server,id=3,socket=/run/m.sock,socket-abstract=no"));
    assert_eq!((b.security(), b.shutdown, b.mtu, b.no_proxy_arp), (50, true, 9000, true));
    assert_eq!(b.device.dpdk(), "0000:03:00.0");
    assert_eq!((c.security(), c.shutdown), (0, false));
    assert_eq!(
        print::to_text(&m).lines().find(|l| l.contains("pcap")),
        Some("interface pcap rx \"/tmp/a b\" tx /tmp/c")
    );
    assert!(m.same_security_intra && !m.same_security_inter);
}

#[test]
fn access_lists() {
    let m = model(&format!(
        "{TWO}object network edge\n host 198.51.100.20\nobject service sips\n service tcp destination eq 5061\n\
         access-list a remark  two  blanks\n\
         access-list a extended permit tcp any4 range 1024 65535 object edge eq sip log\n\
         access-list a extended permit object sips 10.0.0.0 255.0.0.0 host 1.2.3.4\n\
         access-list a extended permit icmp any any echo-reply inactive\n\
         access-list a extended deny ip any any log inactive\n\
         access-group a in interface outside\n"
    ));
    let lines: Vec<String> = m.acls["a"].iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "remark two  blanks",
            "extended permit tcp any4 range 1024 65535 object edge eq sip log",
            "extended permit object sips 10.0.0.0 255.0.0.0 host 1.2.3.4",
            "extended permit icmp any any echo-reply inactive",
            "extended deny ip any any log inactive",
        ]
    );
    let AclLine::Ace(ace) = &*m.acls["a"][1] else { panic!() };
    let op = |op| AcePorts::Op(op);
    assert_eq!((&ace.sport, &ace.dport), (&op(PortOp::Range(1024, 65535)), &op(PortOp::Eq(5060))));
    assert_eq!((&ace.src, ace.permit, ace.log), (&AceAddr::Any4, true, Some(AceLog::PLAIN)));
}

#[test]
fn port_operators_are_inclusive_ranges() {
    assert_eq!(PortOp::Gt(1023).ranges(), [[1024, 65535]]);
    assert_eq!(PortOp::Lt(1024).ranges(), [[0, 1023]]);
    assert_eq!(PortOp::Neq(80).ranges(), [[0, 79], [81, 65535]]);
    assert_eq!(PortOp::Neq(0).ranges(), [[1, 65535]]);
    assert_eq!(PortOp::Neq(65535).ranges(), [[0, 65534]]);
    assert_eq!(PortOp::Any.ranges(), [[0, 65535]]);
}

/// asa.md 3.1: manual first, as written; then objects: static, fewest addresses, lowest start, name; then after-auto.
#[test]
fn nat_order_of_evaluation() {
    let m = model(&format!(
        "{TWO}object network z-any\n subnet 0.0.0.0 0.0.0.0\n nat (inside,outside) dynamic interface\n\
         object network y-net\n subnet 10.10.0.0 255.255.255.0\n nat (inside,outside) dynamic 203.0.113.3\n\
         object network b-host\n host 10.10.0.9\n nat (inside,outside) static 203.0.113.4\n\
         object network a-host\n host 10.10.0.9\n nat (inside,outside) static 203.0.113.5 service tcp 5062 5061\n\
         object network c-host\n host 10.10.0.8\n nat (inside,outside) static 203.0.113.6\n\
         object network cup\n host 10.10.0.11\nobject network pub\n host 203.0.113.3\n\
         object service s61\n service tcp source eq 5061\nobject service s62\n service tcp source eq 5062\n\
         nat (inside,outside) after-auto source dynamic any interface\n\
         nat (inside,outside) source static cup pub service s62 s61\n\
         nat (inside,outside) source static cup cup destination static pub pub\n"
    ));
    let rules: Vec<_> = resolve::rules(&m).into_iter().map(|(_, rule)| rule.expect("resolves")).collect();
    let texts: Vec<&str> =
        rules.iter().map(|r| r.text.strip_prefix("(inside) to (outside) source ").unwrap()).collect();
    assert_eq!(
        texts,
        [
            "static cup pub   service s62 s61",
            "static cup cup   destination static pub pub",
            "static c-host 203.0.113.6",
            "static a-host 203.0.113.5   service tcp 5062 5061",
            "static b-host 203.0.113.4",
            "dynamic y-net 203.0.113.3",
            "dynamic z-any interface",
            "dynamic any interface",
        ]
    );
    use NatKind::{DynamicPat, Identity, Static, StaticPat};
    let kinds: Vec<_> = rules.iter().map(|r| (r.kind, r.section)).collect();
    assert_eq!(
        kinds,
        [
            (StaticPat, 1),
            (Identity, 1),
            (Static, 2),
            (StaticPat, 2),
            (Static, 2),
            (DynamicPat, 2),
            (DynamicPat, 2),
            (DynamicPat, 3),
        ]
    );
    let pub_addr = u32::from(Ipv4Addr::new(203, 0, 113, 3));
    assert_eq!((rules[0].proto, rules[0].port), (6, ([5062; 2], [5061; 2])));
    assert_eq!(rules[1].dest, ([pub_addr; 2], [pub_addr; 2]));
    assert_eq!(rules[6].mapped, [u32::from(Ipv4Addr::new(203, 0, 113, 2)); 2]);
}

#[test]
fn nat_of_8_2() {
    let m = model(&format!(
        "{TWO}global (outside) 1 203.0.113.3\nglobal (outside) 2 interface\n\
         nat (inside) 2 0 0\nnat (inside) 1 10.10.0.11 255.255.255.255\n\
         static (inside,outside) tcp 203.0.113.3 5061 10.10.0.11 5062 netmask 255.255.255.255\n\
         static (inside,outside) 203.0.113.4 10.10.0.12 netmask 255.255.255.255\n"
    ));
    let rules: Vec<_> = resolve::rules(&m).into_iter().map(|(_, rule)| rule.expect("resolves")).collect();
    let seen: Vec<_> = rules
        .iter()
        .map(|r| (r.kind, Ipv4Addr::from(r.reals[0][0]).to_string(), Ipv4Addr::from(r.mapped[0]).to_string()))
        .collect();
    let is = |kind, real: &str, mapped: &str| (kind, real.to_owned(), mapped.to_owned());
    assert_eq!(
        seen,
        [
            is(NatKind::StaticPat, "10.10.0.11", "203.0.113.3"),
            is(NatKind::Static, "10.10.0.12", "203.0.113.4"),
            is(NatKind::DynamicPat, "10.10.0.11", "203.0.113.3"),
            is(NatKind::DynamicPat, "0.0.0.0", "203.0.113.2"),
        ]
    );
    assert_eq!((rules[0].proto, rules[0].port), (6, ([5062; 2], [5061; 2])));
}

#[test]
fn manual_nat_right_after_an_object_is_not_the_objects() {
    let m = model(&format!(
        "{TWO}object network a\nhost 10.10.0.9\nobject network b\nhost 203.0.113.4\nnat (inside,outside) source static a b\n"
    ));
    assert_eq!(m.manual_nat.len(), 1);
    assert!(m.networks["b"].nat.is_none());
}

#[test]
fn timeouts_and_domains() {
    let m = model(
        "timeout conn 2:05:00 half-closed 0:10:00 udp 0:02:00 icmp 0:00:02\ntimeout sip 2:05:00\narp timeout 300\n\
         local domain CUP.Example.COM.\npermit domain Foreign.Example peer Edge.Foreign.example\n\
         permit domain *.partner.example\nblock domain bad.partner.example\nblock domain foreign.example\n",
    );
    assert_eq!(
        (m.timeouts.conn, m.timeouts.sip, m.timeouts.arp),
        (Seconds(7500), Seconds(7500), Seconds(300))
    );
    assert!(m.local_domains.contains("cup.example.com"));
    let entry =
        |name: &str, wildcard| m.domains.get(&DomainKey { name: name.into(), wildcard }).cloned().unwrap();
    let foreign = entry("foreign.example", false);
    assert_eq!(foreign.permit.unwrap().peer.as_deref(), Some("edge.foreign.example"));
    assert!(foreign.block.is_some());
    assert!(entry("partner.example", true).permit.is_some());
    assert!(!m.domains.contains_key(&DomainKey { name: "partner.example".into(), wildcard: false }));
}

#[test]
fn warnings_do_not_stop_the_load() {
    let text = format!(
        "{TWO}access-list unused extended permit ip any any\nlocal domain cup.cisco.example\n\
         permit domain *.cisco.example\npolicy-map p\ninterface null\n"
    );
    let loaded = try_load(&text).unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert!(!loaded.report.failed);
    assert_eq!(
        found(&text),
        [
            "7:1: access-list unused is defined but not applied",
            "8:1: `permit domain *.cisco.example` covers the local domain cup.cisco.example",
            "10:1: policy-map p is defined but not applied",
            "11:1: the interface is not used: it has no `nameif`",
        ]
    );
}

#[test]
fn the_labs_configuration_loads() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("certs")).unwrap();
    for name in ["public", "inside"] {
        let made = rcgen::generate_simple_self_signed(vec![format!("{name}.example")]).unwrap();
        let certs = folder.path().join("certs");
        std::fs::write(certs.join(format!("{name}.crt")), made.cert.pem()).unwrap();
        std::fs::write(certs.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }
    for name in ["local-ca", "foreign-ca"] {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        std::fs::write(folder.path().join(format!("certs/{name}.crt")), made.pem()).unwrap();
    }
    let text = include_str!("../../../scripts/lab/fedgate.cfg.in").replace("@TAG@", "1");
    let loaded = super::super::load(&text, "fedgate.cfg", folder.path())
        .unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert_eq!(loaded.config.model.service_policy.as_deref(), Some("global_policy"));
    assert!(loaded.config.material["public"].chain.starts_with(b"-----BEGIN CERTIFICATE"));
    assert!(loaded.config.material["partners"].key.is_empty());
}

/// Every form of the language comes back as it is printed.
#[test]
fn lists_of_every_form() {
    let text = "\
object network r
 range 10.0.0.1 10.0.0.9
 description from one to nine
object network six
 subnet 2001:db8::/32
object service pings
 service icmp echo 0
object-group network inner
 network-object host 10.0.0.7
 network-object 2001:db8::/64
object-group network nets
 description all of them
 network-object 192.0.2.0 255.255.255.0
 network-object object r
 group-object inner
object-group service svc
 service-object tcp-udp destination eq domain
 service-object tcp source gt 1023 destination eq https
 service-object icmp echo
 service-object gre
 service-object 48
 service-object object pings
object-group service web tcp
 port-object eq www
 port-object range 8000 8010
object-group protocol tcpudp
 protocol-object tcp
 protocol-object udp
object-group icmp-type pings
 icmp-object echo
 icmp-object echo-reply
time-range office
 absolute start 00:00 01 January 2026 end 23:59 31 December 2030
 periodic weekdays 8:00 to 17:59
 periodic Saturday Sunday 10:00 to 12:00
 periodic Friday 22:00 to Monday 6:00
access-list a extended permit object-group svc any object-group nets
access-list a extended permit tcp object-group nets object-group web any4
access-list a extended permit tcp object-group nets any4 object-group web
access-list a extended permit object-group tcpudp any any eq domain
access-list a extended permit icmp any any object-group pings
access-list a extended permit icmp any any unreachable 4 log warnings interval 60
access-list a extended permit icmp6 any6 host 2001:db8::1 packet-too-big
access-list a extended permit ip object six any6 log disable
access-list a extended permit udp any interface outside gt 1023 log default time-range office inactive
access-list a extended deny ip any any log notifications
";
    let text = text.replace("periodic Saturday Sunday", "periodic weekend");
    let model = model(&format!("{TWO}{text}clock timezone CET 1\naccess-group a global\n"));
    let printed = print::to_text(&model);
    for line in text.lines() {
        assert!(printed.lines().any(|l| l == line), "{line}\n{printed}");
    }
    assert!(printed.contains("clock timezone CET 1\n"));
    let office = &model.time_ranges["office"];
    // 2026-01-05 was a Monday.
    let monday = 20_458 * 24 * 60;
    let holds = [
        (0, 0, true),
        (0, 7 * 60, false),
        (0, 17 * 60 + 59, true),
        (0, 18 * 60, false),
        (5, 13 * 60, true),
        (4, 23 * 60, true),
    ];
    for (day, minute, expected) in holds {
        assert_eq!(office.holds(Minute(monday + day * 24 * 60 + minute)), expected, "{day} {minute}");
    }
    assert!(!office.holds(Minute(monday - 7 * 24 * 60 + 9 * 60)));
}

/// Pools, twice NAT with the destination translated, groups: what the rules say.
#[test]
fn nat_of_every_form() {
    let text = "\
object network pool
 range 203.0.113.3 203.0.113.4
object network five
 host 203.0.113.5
object network lan
 subnet 10.10.0.0 255.255.255.0
object network far
 host 198.51.100.1
object network near
 host 10.10.9.1
object service to80
 service tcp destination eq www
object service to8080
 service tcp destination eq 8080
object-group network hosts
 network-object host 203.0.113.3
 network-object host 203.0.113.4
object-group network two
 network-object 10.1.0.0 255.255.0.0
 network-object 10.3.0.0 255.255.0.0
xlate block-allocation size 256
xlate block-allocation maximum-per-host 2
nat (inside,outside) source static lan lan destination static near far service to80 to8080 unidirectional no-proxy-arp route-lookup description to the far one
nat (inside,outside) source dynamic two pat-pool hosts round-robin flat include-reserve block-allocation interface inactive
nat (inside,outside) source dynamic lan pool interface
";
    let model = model(&format!("{TWO}{text}"));
    let printed = print::to_text(&model);
    for line in text.lines() {
        assert!(printed.lines().any(|l| l == line), "{line}\n{printed}");
    }
    let rules: Vec<_> = resolve::rules(&model).into_iter().map(|(_, rule)| rule.expect("resolves")).collect();
    let addr = |text: &str| u32::from(text.parse::<Ipv4Addr>().unwrap());
    let [twice, pat, nat] = &rules[..] else { panic!() };
    assert_eq!(
        (twice.kind, twice.dest),
        (NatKind::Identity, ([addr("10.10.9.1"); 2], [addr("198.51.100.1"); 2]))
    );
    assert_eq!((twice.proto, twice.dest_port), (6, ([80; 2], [8080; 2])));
    let own = [addr("203.0.113.2"); 2];
    assert_eq!((pat.kind, pat.mapped, pat.reals.len(), pat.pool.len()), (NatKind::DynamicPat, own, 2, 2));
    assert_eq!(
        (nat.kind, nat.mapped, nat.pool[0]),
        (NatKind::Dynamic, own, [addr("203.0.113.3"), addr("203.0.113.4")])
    );
    use fedgate_tables::policy as p;
    assert_eq!(twice.flags, p::NAT_UNIDIRECTIONAL | p::NAT_NO_PROXY_ARP | p::NAT_ROUTE_LOOKUP);
    let pool = p::NAT_ROUND_ROBIN
        | p::NAT_FLAT
        | p::NAT_INCLUDE_RESERVE
        | p::NAT_BLOCKS
        | p::NAT_INTERFACE
        | p::NAT_INACTIVE;
    assert_eq!((pat.flags, nat.flags), (pool, p::NAT_INTERFACE));
}

#[test]
fn exemption_and_ranges_of_8_2() {
    let model = model(&format!(
        "{TWO}access-list vpn extended permit ip 10.10.0.0 255.255.255.0 192.0.2.0 255.255.255.0\n\
         access-group vpn global\n\
         nat (inside) 0 access-list vpn\nnat (inside) 1 0 0\n\
         global (outside) 1 203.0.113.3-203.0.113.5 netmask 255.255.255.248\nglobal (outside) 1 interface\n\
         static (inside,outside) 203.0.113.6 10.10.0.12 netmask 255.255.255.255\n"
    ));
    let rules: Vec<_> = resolve::rules(&model).into_iter().map(|(_, rule)| rule.expect("resolves")).collect();
    let kinds: Vec<_> = rules.iter().map(|r| (r.kind, r.section, r.pool.len())).collect();
    assert_eq!(kinds, [(NatKind::Identity, 1, 0), (NatKind::Static, 1, 0), (NatKind::Dynamic, 3, 1)]);
    assert_eq!(resolve::range_text(rules[0].dest.1), "192.0.2.0 255.255.255.0");
}

/// Interfaces, routes, fragments, names, classes with bounds: each comes back as it is printed.
#[test]
fn interfaces_and_classes_of_every_form() {
    let text = "\
names
name 10.10.0.11 cup
interface tap x
 description towards the partners
 nameif dmz
 ip address 192.0.2.1 255.255.255.0
 ipv6 address 2001:db8::1/64
 ipv6 enable
ip verify reverse-path interface dmz
access-list b extended permit ip any any
ipv6 route dmz ::/0 fe80::1 1
ipv6 route dmz 2001:db8:1::/48 2001:db8::2 5
fragment size 100
fragment chain 10
fragment timeout 3
timeout xlate 1:00:00
timeout h323 0:05:00
timeout uauth 0:05:00 absolute
timeout conn-holddown 0:00:05
class-map all
 match any
class-map listed
 match access-list b
class-map ports
 match port tcp range 5061 5062
policy-map global_policy
 class ports
  set connection conn-max 1000 embryonic-conn-max 100 per-client-max 10 per-client-embryonic-max 5
  set connection timeout embryonic 0:00:10 half-closed 0:05:00 idle 2:05:00
 class listed
  set connection advanced-options tcp-state-bypass
 class class-default
  set connection timeout idle 0:30:00
service-policy global_policy global
";
    let model = model(&format!("{TWO}{text}object network c\n host cup\n"));
    let printed = print::to_text(&model);
    for line in text.lines() {
        assert!(printed.lines().any(|l| l == line), "{line}\n{printed}");
    }
    assert!(printed.contains("object network c\n host 10.10.0.11\n"));
}
