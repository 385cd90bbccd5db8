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

/// Names of IP protocols.
#[rustfmt::skip]
const PROTOCOLS: &[(&str, u8)] = &[
    ("ah", 51), ("eigrp", 88), ("esp", 50), ("gre", 47), ("icmp", ICMP), ("icmp6", ICMP6), ("igmp", 2), ("igrp", 9),
    ("ipinip", 4), ("nos", 94), ("ospf", 89), ("pcp", 108), ("pim", 103), ("sctp", 132), ("snp", 109),
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

/// Number of a protocol by name or number.
pub fn proto(word: &str) -> Option<u8> {
    named(PROTOCOLS, word).or_else(|| digits(word).and_then(|n| u8::try_from(n).ok()))
}

/// Its name where it has one, else its number.
pub fn proto_text(proto: u8) -> String {
    name_of(PROTOCOLS, proto).map_or_else(|| proto.to_string(), str::to_owned)
}

/// Number of a port of `proto` by name or number.
pub fn port(proto: u8, word: &str) -> Option<u16> {
    let own = if proto == TCP { TCP_PORTS } else { UDP_PORTS };
    named(own, word)
        .or_else(|| named(BOTH_PORTS, word))
        .or_else(|| digits(word).and_then(|n| u16::try_from(n).ok()))
}

/// Its name where `proto` has one, else its number.
pub fn port_text(proto: u8, port: u16) -> String {
    let own = match proto {
        TCP => TCP_PORTS,
        UDP => UDP_PORTS,
        _ => return port.to_string(),
    };
    name_of(own, port).or_else(|| name_of(BOTH_PORTS, port)).map_or_else(|| port.to_string(), str::to_owned)
}

/// Every name a port of `proto` may have, for suggestions.
pub fn port_names(proto: u8) -> impl Iterator<Item = &'static str> {
    let own = if proto == TCP { TCP_PORTS } else { UDP_PORTS };
    own.iter().chain(BOTH_PORTS).map(|(name, _)| *name)
}

/// Number of an ICMP type by name or number.
pub fn icmp_type(word: &str) -> Option<u8> {
    named(ICMP_TYPES, word).or_else(|| digits(word).and_then(|n| u8::try_from(n).ok()))
}

/// Its name where it has one, else its number.
pub fn icmp_type_text(number: u8) -> String {
    name_of(ICMP_TYPES, number).map_or_else(|| number.to_string(), str::to_owned)
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
