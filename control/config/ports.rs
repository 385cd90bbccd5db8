// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names an ASA accepts, and prints, for protocols, ports and ICMP types.
//!
//! A name is printed back only for the protocol it belongs to, as the ASA does: `eq 5060` of TCP or UDP prints as
//! `eq sip`, port 5060 of anything else as a number.

/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of ICMPv6.
pub const ICMP6: u8 = 58;
/// IP protocol number of SCTP.
pub const SCTP: u8 = 132;

/// Names of IP protocols.
#[rustfmt::skip]
const PROTOCOLS: &[(&str, u8)] = &[
    ("ah", 51), ("eigrp", 88), ("esp", 50), ("gre", 47), ("icmp", ICMP), ("icmp6", ICMP6), ("igmp", 2), ("igrp", 9),
    ("ipinip", 4), ("nos", 94), ("ospf", 89), ("pcp", 108), ("pim", 103), ("sctp", SCTP), ("snp", 109),
    ("tcp", TCP), ("udp", UDP),
];

/// Ports known under one name with TCP and UDP.
#[rustfmt::skip]
const BOTH_PORTS: &[(&str, u16)] = &[
    ("cifs", 3020), ("discard", 9), ("domain", 53), ("echo", 7), ("http", 80), ("kerberos", 750), ("nfs", 2049),
    ("pim-auto-rp", 496), ("sip", 5060), ("sunrpc", 111), ("tacacs", 49), ("talk", 517),
];

/// Ports known with TCP.
#[rustfmt::skip]
const TCP_PORTS: &[(&str, u16)] = &[
    ("aol", 5190), ("bgp", 179), ("chargen", 19), ("citrix-ica", 1494), ("cmd", 514), ("ctiqbe", 2748),
    ("daytime", 13), ("exec", 512), ("finger", 79), ("ftp", 21), ("ftp-data", 20), ("gopher", 70),
    ("h323", 1720), ("hostname", 101), ("https", 443), ("ident", 113), ("imap4", 143), ("irc", 194),
    ("klogin", 543), ("kshell", 544), ("ldap", 389), ("ldaps", 636), ("login", 513), ("lotusnotes", 1352),
    ("lpd", 515), ("netbios-ssn", 139), ("nntp", 119), ("pcanywhere-data", 5631), ("pop2", 109), ("pop3", 110),
    ("pptp", 1723), ("rsh", 514), ("rtsp", 554), ("smtp", 25), ("sqlnet", 1521), ("ssh", 22), ("telnet", 23),
    ("uucp", 540), ("whois", 43), ("www", 80),
];

/// Ports known with UDP.
#[rustfmt::skip]
const UDP_PORTS: &[(&str, u16)] = &[
    ("biff", 512), ("bootpc", 68), ("bootps", 67), ("dnsix", 195), ("isakmp", 500), ("mobile-ip", 434),
    ("nameserver", 42), ("netbios-dgm", 138), ("netbios-ns", 137), ("ntp", 123), ("pcanywhere-status", 5632),
    ("radius", 1645), ("radius-acct", 1646), ("rip", 520), ("secureid-udp", 5510), ("snmp", 161),
    ("snmptrap", 162), ("syslog", 514), ("tftp", 69), ("time", 37), ("who", 513), ("www", 80), ("xdmcp", 177),
];

/// ICMP types.
#[rustfmt::skip]
const ICMP_TYPES: &[(&str, u8)] = &[
    ("echo-reply", 0), ("unreachable", 3), ("source-quench", 4), ("redirect", 5), ("alternate-address", 6),
    ("echo", 8), ("router-advertisement", 9), ("router-solicitation", 10), ("time-exceeded", 11),
    ("parameter-problem", 12), ("timestamp-request", 13), ("timestamp-reply", 14), ("information-request", 15),
    ("information-reply", 16), ("mask-request", 17), ("mask-reply", 18), ("traceroute", 30),
    ("conversion-error", 31), ("mobile-redirect", 32),
];

/// ICMPv6 types.
#[rustfmt::skip]
const ICMP6_TYPES: &[(&str, u8)] = &[
    ("unreachable", 1), ("packet-too-big", 2), ("time-exceeded", 3), ("parameter-problem", 4), ("echo", 128),
    ("echo-reply", 129), ("membership-query", 130), ("membership-report", 131), ("membership-reduction", 132),
    ("router-solicitation", 133), ("router-advertisement", 134), ("neighbor-solicitation", 135),
    ("neighbor-advertisement", 136), ("neighbor-redirect", 137), ("router-renumbering", 138),
];

/// ICMP codes: protocol, type, name, code. The ASA prints them as numbers.
#[rustfmt::skip]
const ICMP_CODES: &[(u8, u8, &str, u8)] = &[
    (ICMP, 3, "net-unreachable", 0), (ICMP, 3, "host-unreachable", 1), (ICMP, 3, "protocol-unreachable", 2),
    (ICMP, 3, "port-unreachable", 3), (ICMP, 3, "packet-too-big", 4), (ICMP, 3, "source-route-failed", 5),
    (ICMP, 3, "network-unknown", 6), (ICMP, 3, "host-unknown", 7), (ICMP, 3, "host-isolated", 8),
    (ICMP, 3, "dod-net-prohibited", 9), (ICMP, 3, "dod-host-prohibited", 10), (ICMP, 3, "net-tos-unreachable", 11),
    (ICMP, 3, "host-tos-unreachable", 12), (ICMP, 3, "administratively-prohibited", 13),
    (ICMP, 5, "net-redirect", 0), (ICMP, 5, "host-redirect", 1), (ICMP, 5, "net-tos-redirect", 2),
    (ICMP, 5, "host-tos-redirect", 3), (ICMP, 11, "ttl-exceeded", 0), (ICMP, 11, "reassembly-timeout", 1),
    (ICMP6, 1, "no-route", 0), (ICMP6, 1, "no-admin", 1), (ICMP6, 1, "beyond-scope", 2),
    (ICMP6, 1, "destination-unreachable", 3), (ICMP6, 1, "port-unreachable", 4), (ICMP6, 3, "hop-limit", 0),
    (ICMP6, 3, "reassembly-timeout", 1),
];

/// Number of a protocol by name or number.
pub fn proto(word: &str) -> Option<u8> {
    named(PROTOCOLS, word).or_else(|| digits(word).and_then(|n| u8::try_from(n).ok()))
}

/// Its name where it has one, else its number.
pub fn proto_text(proto: u8) -> String {
    name_of(PROTOCOLS, proto).map_or_else(|| proto.to_string(), str::to_owned)
}

/// Names of ports that `proto` has to itself; none for 0, which stands for TCP and UDP together.
fn own_ports(proto: u8) -> &'static [(&'static str, u16)] {
    match proto {
        TCP => TCP_PORTS,
        UDP => UDP_PORTS,
        _ => &[],
    }
}

/// Number of a port of `proto` by name or number; of TCP and UDP together where `proto` is 0.
pub fn port(proto: u8, word: &str) -> Option<u16> {
    named(own_ports(proto), word)
        .or_else(|| named(BOTH_PORTS, word))
        .or_else(|| digits(word).and_then(|n| u16::try_from(n).ok()))
}

/// Its name where `proto` has one, else its number.
pub fn port_text(proto: u8, port: u16) -> String {
    if !matches!(proto, TCP | UDP | 0) {
        return port.to_string();
    }
    name_of(own_ports(proto), port)
        .or_else(|| name_of(BOTH_PORTS, port))
        .map_or_else(|| port.to_string(), str::to_owned)
}

/// Every name a port of `proto` may have, for suggestions.
pub fn port_names(proto: u8) -> impl Iterator<Item = &'static str> {
    own_ports(proto).iter().chain(BOTH_PORTS).map(|(name, _)| *name)
}

fn icmp_types(proto: u8) -> &'static [(&'static str, u8)] {
    if proto == ICMP6 { ICMP6_TYPES } else { ICMP_TYPES }
}

/// Number of a type of ICMP, or of ICMPv6 where `proto` says so, by name or number.
pub fn icmp_type(proto: u8, word: &str) -> Option<u8> {
    named(icmp_types(proto), word).or_else(|| digits(word).and_then(|n| u8::try_from(n).ok()))
}

/// Number of a code of an ICMP type, by name or number.
pub fn icmp_code(proto: u8, number: u8, word: &str) -> Option<u8> {
    let known = ICMP_CODES.iter().find(|(p, n, name, _)| (*p, *n, *name) == (proto, number, word));
    known.map(|known| known.3).or_else(|| digits(word).and_then(|n| u8::try_from(n).ok()))
}

/// `unreachable 4`: the type by its name where it has one, the code by number.
pub fn icmp_text(proto: u8, number: u8, code: Option<u8>) -> String {
    let name = name_of(icmp_types(proto), number).map_or_else(|| number.to_string(), str::to_owned);
    code.map_or(name.clone(), |code| format!("{name} {code}"))
}

fn named<N: Copy>(table: &[(&str, N)], word: &str) -> Option<N> {
    table.iter().find(|(name, _)| *name == word).map(|(_, number)| *number)
}

fn name_of<N: Copy + PartialEq>(table: &[(&'static str, N)], number: N) -> Option<&'static str> {
    table.iter().find(|(_, n)| *n == number).map(|(name, _)| *name)
}

/// A number without sign or blanks, which `str::parse` alone would let pass.
fn digits(word: &str) -> Option<u32> {
    let plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    if plain { word.parse().ok() } else { None }
}
