// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bad configurations: each is refused with the line, the column and a message that says what to do. Golden: a change of any
//! message or caret must be meant.

use super::super::load_file;
use super::{TWO, found, try_load};

/// Said of every list that is only there to be looked at.
const UNUSED: &str = "1:1: access-list a is defined but not applied";

/// Each text alone, and what must be found in it.
#[test]
fn single_lines() {
    let cases: &[(&str, &[&str])] = &[
        ("hostname", &["1:9: incomplete command: expected a hostname"]),
        ("hostname a_b", &["1:10: `a_b` is not a hostname: 1 to 63 letters, digits and inner hyphens"]),
        ("hostname a b", &["1:12: the command ends before `b`"]),
        ("acess-list a extended permit ip any any", &["1:1: unknown command `acess-list`"]),
        (
            "logging console 4",
            &["1:1: `logging console` has no effect: on an ASA it shows messages on the console"],
        ),
        ("logging trap mine", &["1:14: `mine` is not a logging level: 0 to 7, or emergencies to debugging"]),
        (
            "logging host inside 10.0.0.1 tcp/1470 format emblem",
            &["1:46: the EMBLEM format is not supported"],
        ),
        (
            "logging host inside 10.0.0.1 tcp/6514 secure",
            &["1:39: `secure` needs to know whose CAs vouch for the collector"],
        ),
        ("logging host inside 10.0.0.1 secure trustpoint t", &["1:48: TLS goes over TCP"]),
        (
            "logging host inside 10.0.0.1 sctp/5",
            &["1:30: expected `format` or `secure` or `permit-hostdown`, found `sctp/5`"],
        ),
        ("logging host inside 10.0.0.1 tcp/6514 secure trustpoint t", &["1:57: there is no trustpoint `t`"]),
        ("metrics http 0.0.0.0 9478", &["1:14: `0.0.0.0` would show them to everybody"]),
        (
            "interface tap a\n nameif in\n ip address 10.0.0.1 255.0.0.0\nmetrics http 10.0.0.1 9478",
            &["4:1: 10.0.0.1 is the dataplane's address on in, where nothing listens"],
        ),
        ("logging queue 0", &["1:15: a queue without a bound is not supported"]),
        (
            "logging device-id string 12345678901234567",
            &["1:26: `12345678901234567` has more than 16 characters"],
        ),
        ("logging device-id ipaddress dmz", &["1:29: there is no interface `dmz` with an address"]),
        ("logging message 5", &["1:17: `5` is not a message's number"]),
        (
            "no logging rate-limit level 6",
            &["1:1: the configuration has no such line, so there is nothing to take out"],
        ),
        ("no failover", &[]),
        ("icmp deny any outside", &["1:6: expected `unreachable`"]),
        ("tls-proxy p server trust-point t", &["1:13: the command ends before `server`"]),
        (
            "interface GigabitEthernet0/0.7",
            &["1:11: `GigabitEthernet0/0.7` is a sub-interface of a VLAN, which is not supported"],
        ),
        ("interface tap a\n hardware tap b", &["2:2: interface tap a is a port of the machine itself"]),
        ("ssl encryption null-sha1", &["1:16: `null-sha1` does not encrypt"]),
        ("ssl encryption 3des-sha1", &["1:16: no suite is left"]),
        ("no", &["1:1: incomplete command: `no` what?"]),
        ("no shutdown", &["1:4: unknown command `shutdown`"]),
        ("crypto ca", &["1:10: expected `trustpoint` or `certificate`"]),
        ("crypto ca certificate chain x", &["1:29: there is no `crypto ca trustpoint x`"]),
        (
            "interface tpa x",
            &[
                "1:11: expected `tap` or `memif` or `pci` or `af_packet` or `af_xdp` or `pcap` or `ring` or `null`, found `tpa`",
            ],
        ),
        (
            "interface tap verylonginterfacename",
            &["1:15: `verylonginterfacename` is not an interface name: 1 to 15 letters, digits and _-."],
        ),
        (
            "interface pci 03:00.0",
            &["1:15: `03:00.0` is not a PCI address: expected DDDD:BB:DD.F, e.g. 0000:03:00.0"],
        ),
        (
            "interface memif /run/a,role=server",
            &["1:17: `/run/a,role=server` is not a path: a device path cannot hold , = [ ] or \""],
        ),
        (
            "interface tap a\n ip address 10.0.0.0 255.255.255.0",
            &["2:22: 10.0.0.0 is the network address of its own network"],
        ),
        ("interface tap a\n ip address 10.0.0.1 255.0.255.0", &["2:22: `255.0.255.0` is not a netmask"]),
        ("interface tap a\n security-level 101", &["2:17: `101` is not a security level"]),
        (
            "interface tap a\n mac-address 0100.5e00.0001",
            &["2:14: `0100.5e00.0001` is not a MAC address: it is a group address"],
        ),
        (
            "object network a\n range 10.0.0.9 10.0.0.1",
            &["2:17: the range ends before it begins: 10.0.0.9 to 10.0.0.1"],
        ),
        (
            "object network a\n fqdn edge.example",
            &[
                "2:7: `fqdn` is not supported: whoever answers the DNS would decide what the access-list lets in",
            ],
        ),
        ("object network a\n subnet 2001:db8::1/64", &["2:9: `2001:db8::1/64` has host bits set"]),
        ("object-group service g tcp\n port-object gt 5", &["2:17: a port-object is `eq` or `range`"]),
        (
            "object-group service g tcp\n service-object tcp",
            &["2:2: group g takes `port-object` and `group-object`"],
        ),
        ("object-group network g\n network-object object x", &["2:24: there is no `object network x`"]),
        ("object-group network g\n group-object g", &["2:15: object-group g would hold itself"]),
        (
            "access-list a extended permit tcp any object-group g eq 5",
            &["1:52: there is no `object-group` g", UNUSED],
        ),
        (
            "access-list a extended permit tcp host 10.0.0.1 host 2001:db8::1",
            &["1:54: source and destination are of different families"],
        ),
        (
            "access-list a extended permit icmp any6 any",
            &["1:41: icmp is of IPv4, and the addresses are not"],
        ),
        ("access-list a extended permit ip any any eq 5", &["1:42: only tcp and udp have ports"]),
        (
            "access-list a extended permit ip any any time-range t",
            &["1:53: there is no `time-range t`", UNUSED],
        ),
        (
            "access-list a extended permit ip any user bob",
            &["1:38: `user`: fedgate knows addresses, not users or security tags"],
        ),
        ("access-list a line 0 remark x", &["1:20: `0` is not a line number"]),
        ("time-range t\n absolute start 00:00 30 February 2026", &["2:35: February 2026 has no day 30"]),
        ("time-range t\n periodic Funday 8:00 to 9:00", &["2:11: `Funday` is not a day"]),
        (
            "time-range t\n periodic daily 8:00 to Monday 9:00",
            &["2:25: an end on another day takes one day to begin on"],
        ),
        ("object network a\n host 0.0.0.0", &["2:7: `host 0.0.0.0` names no host"]),
        (
            "object network a\n subnet 10.0.0.5 255.255.255.0",
            &["2:18: IP address,mask <10.0.0.5,255.255.255.0> doesn't pair"],
        ),
        ("object service a\n service tcp source eq 99999", &["2:24: `99999` is not a port of tcp"]),
        ("object service a\n service sctp source eq 5", &["2:15: ports of SCTP are not looked at"]),
        ("access-list a extended permit tcp any any 5061", &["1:43: missing `eq` before port `5061`"]),
        (
            "access-list a extended permit tcp any any range 9 5",
            &["1:51: the range ends before it begins: 9 to 5"],
        ),
        (
            "access-list a extended permit tcp any host 10.0.0.256",
            &["1:44: `10.0.0.256` is not an IPv4 address"],
        ),
        ("access-list a extended permit ip any 10.0.0.0 0.0.0.255", &["1:47: `0.0.0.255` is not a netmask"]),
        (
            "access-list a extended permit ip any object-group g",
            &["1:51: there is no `object-group` g", UNUSED],
        ),
        (
            "access-list a extended deny ip any any log loud",
            &["1:44: `loud` is not a logging level: 0 to 7, or emergencies to debugging"],
        ),
        ("access-list a extended deny 0 any any", &["1:29: protocol 0 is not every protocol"]),
        ("access-list a extended permit icmp any any echo 256", &["1:49: `256` is not an ICMP code"]),
        (
            "access-list a standard permit any",
            &["1:15: standard access-lists are for routing protocols, of which there are none here"],
        ),
        (
            "nat (inside,outside) source static a b dns",
            &["1:40: `dns` is not supported: answers of the DNS are not rewritten"],
        ),
        ("nat (inside,outside) source dynamic a b round-robin", &["1:41: `round-robin` belongs to a pool"]),
        (
            "nat (inside,outside) source dynamic a b unidirectional",
            &["1:41: this option belongs to a static line of that form"],
        ),
        (
            "nat (inside,outside) source dynamic a pat-pool b extended block-allocation",
            &["1:59: `extended` and `block-allocation` cannot stand together"],
        ),
        ("xlate block-allocation size 31", &["1:29: `31` is not a number of ports"]),
        (
            "global (outside) 1 203.0.113.5-203.0.113.3",
            &[
                "1:20: `203.0.113.5-203.0.113.3` is not an address, a range or `interface`: the range ends before it begins",
            ],
        ),
        ("timeout conn 1:60:00", &["1:14: `1:60:00` is not a duration: expected H:MM:SS"]),
        ("timeout conn 0:04:59", &["1:14: `timeout conn` cannot be 0:04:59"]),
        (
            "timeout udp 0:00:00",
            &["1:13: 0 (never) is not supported: connections that never end would fill the table"],
        ),
        (
            "timeout xlte 3:00:00",
            &[
                "1:9: expected `conn` or `half-closed` or `embryonic` or `udp` or `icmp` or `sip` or `sip_media` or `sip-invite` or `sip-disconnect` or `sip-provisional-media` or `pat-xlate` or `xlate` or `conn-holddown` or `floating-conn`, found `xlte`",
            ],
        ),
        ("interface tap a\n ipv6 address fe80::1/64", &["2:15: `fe80::1` is link-local"]),
        (
            "interface tap a\n ipv6 address ff02::1/64",
            &["2:15: `ff02::1/64` cannot be an interface's address"],
        ),
        ("ipv6 route a 2001:db8::/32 ::", &["1:28: `::` cannot be a gateway"]),
        ("fragment chain 0", &["1:16: `0` is not a number of fragments"]),
        ("fragment size 9 outside", &["1:17: fragments have one bound for all interfaces"]),
        ("class-map class-default", &["1:11: `class-default` is there by itself: it is everything"]),
        ("class-map c\n match port tcp gt 5", &["2:20: `match port` takes `eq` or `range`"]),
        ("local domain *.example.com", &["1:14: a local domain cannot be a wildcard"]),
        ("permit domain *", &["1:15: `*` is not a domain entry: `*` alone would match every domain"]),
        (
            "permit domain *.com",
            &["1:15: `*.com` is not a domain entry: it would match a whole top-level domain"],
        ),
        ("permit domain a..b", &["1:15: `a..b` is not a domain entry: a label is empty"]),
        (
            "policy-map type inspect http x",
            &["1:12: the only policy-map with a type is `policy-map type inspect sip NAME`"],
        ),
        (
            "service-policy p interface outside",
            &["1:18: a service-policy on one interface is not supported yet"],
        ),
        ("hostname \"a", &["1:10: quote without its end"]),
        ("hostname a\u{7}b", &["1:11: control character \\u{7} in the text"]),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), *expected, "{text}");
    }
}

#[test]
fn whole_model() {
    let cases: &[(&str, &[&str])] = &[
        ("route dmz 0.0.0.0 0.0.0.0 10.10.0.2", &["7:7: there is no interface `dmz`"]),
        (
            "ipv6 route inside ::/0 fe80::1",
            &["7:1: interface inside does not speak IPv6: give it `ipv6 enable`"],
        ),
        (
            "route inside 0.0.0.0 0.0.0.0 10.11.0.2",
            &["7:30: next hop 10.11.0.2 is not in the network of inside (10.10.0.0 255.255.255.0)"],
        ),
        (
            "route inside 0.0.0.0 0.0.0.0 10.10.0.1",
            &["7:30: 10.10.0.1 is the appliance's own address, not a next hop"],
        ),
        ("access-group nope in interface outside", &["7:14: ERROR: access-list <nope> does not exist"]),
        ("nat (inside,dmz) source dynamic any interface", &["7:1: there is no interface `dmz`"]),
        ("nat (inside,outside) source static a b", &["7:36: there is no `object network a`"]),
        (
            "interface tap x\n nameif dmz\n ip address 10.10.0.129 255.255.255.128",
            &["9:2: the networks of inside and dmz overlap"],
        ),
        (
            "interface tap x\n nameif inside\n ip address 10.12.0.1 255.255.255.0",
            &["9:2: a second interface is called `inside`"],
        ),
        ("mtu dmz 1400", &["7:5: there is no interface `dmz`"]),
        (
            "object network a\n host 10.10.0.9\n nat (inside,outside) dynamic 203.0.113.2",
            &["9:2: 203.0.113.2 is the address of outside itself"],
        ),
        (
            "object network a\n host 10.10.0.9\n nat (inside,outside) static interface",
            &["9:30: static NAT of every port to the interface would take the appliance's own traffic"],
        ),
        (
            "object network a\n nat (inside,outside) dynamic interface",
            &["8:2: object a has a `nat` line but no address"],
        ),
        (
            "object network a\n host 10.10.0.9\n nat (inside,outside) dynamic interface\n nat (inside,outside) static 203.0.113.4",
            &["10:2: the object has a `nat` line already"],
        ),
        (
            "object network a\n subnet 10.10.0.0 255.255.255.0\nobject network b\n host 203.0.113.3\nnat (inside,outside) source static a b",
            &["11:1: static NAT of 10.10.0.0 255.255.255.0 to 203.0.113.3: the two are not of one size"],
        ),
        (
            "object network a\n host 10.10.0.9\n nat (inside,outside) static 203.0.113.4 service tcp 1 2\nobject network b\n host 10.10.0.8\n nat (inside,outside) static 203.0.113.4 service tcp 3 2",
            &[
                "9:2: 203.0.113.4 port 2 is mapped already, by: (inside) to (outside) source static b 203.0.113.4   service tcp 3 2",
            ],
        ),
        (
            "object network a\n host 10.10.0.9\n nat (inside,outside) static 203.0.113.2",
            &["9:2: 203.0.113.2 is the address of outside itself"],
        ),
        (
            "object network a\n subnet 10.10.9.0 255.255.255.252\n nat (inside,outside) static 203.0.113.0",
            &["9:2: 203.0.113.2 is the address of outside itself"],
        ),
        (
            "static (inside,outside) 203.0.113.2 10.10.0.9 netmask 255.255.255.255",
            &["7:1: 203.0.113.2 is the address of outside itself"],
        ),
        (
            "object network a\n host 10.10.0.9\n nat (inside,outside) static 203.0.113.4\nobject network b\n host 10.10.0.8\n nat (inside,outside) static 203.0.113.4",
            &["9:2: 203.0.113.4 is mapped already, by: (inside) to (outside) source static b 203.0.113.4"],
        ),
        (
            "object network a\n host 10.10.0.8\n nat (inside,outside) static 203.0.113.4 service tcp 1 2\nobject network b\n host 10.10.0.9\n nat (any,any) static 203.0.113.4 service tcp 3 2",
            &[
                "12:2: 203.0.113.4 port 2 is mapped already, by: (inside) to (outside) source static a 203.0.113.4   service tcp 1 2",
            ],
        ),
        (
            "object network a\n host 10.10.0.8\n nat (inside,outside) static 203.0.113.4\nobject network b\n host 10.10.0.9\n nat (inside,outside) static 203.0.113.4 service tcp 3 2",
            &[
                "12:2: 203.0.113.4 port 2 is mapped already, by: (inside) to (outside) source static a 203.0.113.4",
            ],
        ),
        (
            "object network a\n subnet 10.10.9.0 255.255.255.252\n nat (inside,outside) static 203.0.113.4\nobject network b\n host 10.10.0.9\n nat (inside,any) static 203.0.113.6",
            &["9:2: 203.0.113.4 is mapped already, by: (inside) to (any) source static b 203.0.113.6"],
        ),
        (
            "local domain a.example\npermit domain a.example",
            &["8:1: a.example is a local domain: permitting it would let foreigners speak for us"],
        ),
        (
            "permit domain a.example\nlocal domain a.example",
            &["8:1: a.example is a local domain: permitting it would let foreigners speak for us"],
        ),
        (
            "no route inside 0.0.0.0 0.0.0.0 10.10.0.2",
            &["7:1: the configuration has no such line, so there is nothing to take out"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(found(&format!("{TWO}{text}\n")), *expected, "{text}");
    }
}

/// What shares a mapped address and can all the same be told apart.
#[test]
fn statics_that_do_not_collide() {
    let pat = |name: &str, host: u8, rest: &str| {
        format!(
            "object network {name}\n host 10.10.0.{host}\n nat (inside,outside) static 203.0.113.4{rest}\n"
        )
    };
    let a = pat("a", 8, " service tcp 1 2");
    for b in [" service tcp 1 3", " service udp 1 2", ""] {
        assert_eq!(found(&format!("{TWO}{a}{}", pat("b", 9, b))), [""; 0], "{b}");
    }
    let objects = "object network a\n host 10.10.0.8\nobject network b\n host 10.10.0.9\nobject network m\n host 203.0.113.4\nobject network d\n host 198.51.100.1\n";
    let to_one = "nat (inside,outside) source static a m destination static d d\n";
    let to_all = "nat (inside,outside) source static b m\n";
    assert_eq!(found(&format!("{TWO}{objects}{to_one}{to_all}")), [""; 0]);
    assert_eq!(found(&format!("{TWO}{objects}{to_all}{to_one}")).len(), 1);
}

/// Verbatim from the ASA (asa.md 9.1), where the class-map stands before its access-list.
#[test]
fn class_map_before_its_acl() {
    let text = "class-map c\n match access-list a\naccess-list a extended permit ip any any\n";
    assert_eq!(
        found(text),
        [
            "2:20: ERROR: Specified ACL (a) either does not exist or its type is not supported by the match command."
        ]
    );
}

#[test]
fn all_errors_of_a_file_and_no_echoes() {
    let text = "\
interface tpa fgo
 nameif outside
 ip address 1.2.3 255.0.0.0
hostnme x
 what belongs to it is skipped
object network a
 host 10.0.0.1
 hots 10.0.0.2
access-list a extended permit ip any
";
    assert_eq!(
        found(text),
        [
            "1:11: expected `tap` or `memif` or `pci` or `af_packet` or `af_xdp` or `pcap` or `ring` or `null`, found `tpa`",
            "3:13: `1.2.3` is not an IPv4 address",
            "4:1: unknown command `hostnme`",
            "8:2: unknown command `hots`",
            "9:37: incomplete command: expected a network address",
        ]
    );
}

#[test]
fn a_diagnostic_shows_file_line_caret_and_suggestion() {
    let report = try_load("hostname x\nacess-list a extended permit ip any any\n").err().unwrap();
    let text = report.render(false);
    assert!(text.contains("error: unknown command `acess-list`"), "{text}");
    assert!(text.contains("test.cfg:2:1"), "{text}");
    assert!(text.contains("^^^^^^^^^^ not a fedgate command"), "{text}");
    assert!(text.contains("did you mean `access-list`?"), "{text}");
}

#[test]
fn trustpoint_files() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str| rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let (a, b) = (made("a.example"), made("b.example"));
    let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    file("a.crt", &a.cert.pem());
    file("a.key", &a.signing_key.serialize_pem());
    file("b.key", &b.signing_key.serialize_pem());
    file("empty.pem", "nothing here\n");
    let config = folder.path().join("fedgate.cfg");
    let messages = |text: &str| -> Vec<String> {
        std::fs::write(&config, text).unwrap();
        let report = match load_file(&config) {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        };
        let base = format!("{}/", folder.path().display());
        report
            .diagnostics
            .iter()
            .map(|d| d.problem.message.replace(&base, ""))
            .filter(|m| !m.contains("every user"))
            .collect()
    };
    assert!(messages("crypto ca trustpoint t\n certificate file a.crt\n key file a.key\n").is_empty());
    assert_eq!(
        messages("crypto ca trustpoint t\n certificate file a.crt\n key file b.key\n"),
        ["the key in b.key is not the certificate's"]
    );
    assert_eq!(messages("crypto ca trustpoint t\n ca file empty.pem\n"), ["empty.pem: no certificate in it"]);
    assert_eq!(
        messages("crypto ca trustpoint t\n ca file nope.pem\n"),
        ["cannot read nope.pem: No such file or directory (os error 2)"]
    );
    let none = messages("crypto ca trustpoint t\n certificate file a.crt\n key file a.crt\n");
    assert!(none[0].starts_with("a.crt: no private key in it"), "{none:?}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_report() {
    let report = load_file(std::path::Path::new("/nonexistent/fedgate.cfg")).err().unwrap();
    assert!(report.render(false).contains("cannot read /nonexistent/fedgate.cfg"));
    let report = load_file(std::path::Path::new("/")).err().unwrap();
    assert!(report.failed);
    // A bare name is of the folder that one is in, which is the crate's: read, and no configuration.
    let report = load_file(std::path::Path::new("Cargo.toml")).err().unwrap();
    assert!(report.render(false).contains("Cargo.toml:1:1"), "{}", report.render(false));
    assert!(!report.render(false).contains("cannot"), "{}", report.render(false));
}
