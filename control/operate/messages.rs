// SPDX-License-Identifier: MIT OR Apache-2.0
//! The ASA's messages about first packets: access-lists (106023, 106100, 106101) and what stands in their place (106001, 106006,
//! 106014, 106015), bounds of connections (201010 to 201013, 321001) and of
//! translations (202010, 305016), in its words, so that what reads an ASA's log reads ours.
//!
//! Pure: an event and the configuration's names in, a severity, a number and a text out. Nothing in the texts is a peer's to
//! choose but numbers. Called by [`super::events`] on the daemon's one thread.

use fedgate_tables::link::{AclFlow, Addr, Bound, ClassBound, Packet5};
use fedgate_tables::policy::{NAT_FLAT, NAT_INCLUDE_RESERVE};

use super::acl_log::{Due, Logging, Words};
use crate::config::ports::{ICMP, ICMP6, TCP, UDP, proto_text};

pub mod flows;
pub mod sessions;

/// What the configuration says of what events name by number.
pub trait Names {
    /// `nameif` of an interface.
    fn interface(&self, ifindex: u8) -> String;
    /// `nameif` of the interface that the way to an address leaves by.
    fn toward(&self, addr: std::net::Ipv4Addr) -> String;
    /// An access-list and a line of it, of which the element with this hash was hit; line 0 is the implicit deny.
    fn acl(&self, acl: u32, line: u32, element: u32) -> AclName;
    /// `access-list deny-flow-max` and `access-list alert-interval`.
    fn acl_bounds(&self) -> (u32, u32);
    /// A class of the service policy by its slot.
    fn class(&self, slot: u32) -> Option<String>;
    /// The pool of the NAT rule with this counter slot.
    fn pool(&self, rule: u32) -> Option<PoolName>;
    /// `xlate block-allocation maximum-per-host`.
    fn blocks_per_host(&self) -> u32;
}

/// What is said of an access-list's line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclName {
    /// The access-list.
    pub name: String,
    /// Its line's and its element's hash.
    pub hashes: (u32, u32),
    /// `log` of the line.
    pub logging: Option<Logging>,
}

/// What is said of a dynamic rule's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolName {
    /// The object's; empty where the rule has an address or an interface.
    pub name: String,
    /// Its first address.
    pub first: std::net::Ipv4Addr,
    /// [`fedgate_tables::policy::NatRule::flags`].
    pub flags: u32,
    /// Addresses one to one, no ports.
    pub one_to_one: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// 0 to 7.
    pub severity: u8,
    /// The ASA's number.
    pub number: u32,
    /// The ASA's text.
    pub text: String,
}

impl Message {
    fn new(severity: u8, number: u32, text: String) -> Self {
        Self { severity, number, text }
    }
}

/// 106023: denied by a line without `log`, or by the end of a list.
pub fn denied(flow: &AclFlow, names: &impl Names) -> Message {
    let packet = &flow.packet;
    let AclName { name, hashes: (line, element), .. } = names.acl(flow.acl, flow.line, flow.id);
    let [src, dst] = [(packet.in_if, packet.src, packet.sport), (out_if(packet), packet.dst, packet.dport)]
        .map(|(ifindex, addr, port)| {
            let interface = names.interface(ifindex);
            if is_icmp(packet) { format!("{interface}:{addr}") } else { format!("{interface}:{addr}/{port}") }
        });
    let icmp = if is_icmp(packet) {
        format!(" (type {}, code {})", packet.sport, packet.dport)
    } else {
        String::new()
    };
    let proto = proto_text(packet.proto);
    Message::new(
        4,
        106_023,
        format!(
            "Deny {proto} src {src} dst {dst}{icmp} by access-group \"{name}\" [{line:#x}, {element:#x}]"
        ),
    )
}

/// 106001, 106006, 106014: denied by security levels.
pub fn denied_by_level(packet: &Packet5, names: &impl Names) -> Message {
    let Packet5 { src, sport, dst, dport, in_if, .. } = packet;
    let interface = names.interface(*in_if);
    match packet.proto {
        TCP => Message::new(
            2,
            106_001,
            format!(
                "Inbound TCP connection denied from {src}/{sport} to {dst}/{dport} flags {} on interface {interface}",
                flags(packet.flags)
            ),
        ),
        UDP => Message::new(
            2,
            106_006,
            format!("Deny inbound UDP from {src}/{sport} to {dst}/{dport} on interface {interface}"),
        ),
        proto => Message::new(
            3,
            106_014,
            format!(
                "Deny inbound {} src {interface}:{src} dst {}:{dst} (type {sport}, code {dport})",
                proto_text(proto),
                names.interface(out_if(packet))
            ),
        ),
    }
}

/// 106015: TCP that is of no connection.
pub fn no_connection(packet: &Packet5, names: &impl Names) -> Message {
    let Packet5 { src, sport, dst, dport, .. } = packet;
    Message::new(
        6,
        106_015,
        format!(
            "Deny TCP (no connection) from {src}/{sport} to {dst}/{dport} flags {}  on interface {}",
            flags(packet.flags),
            names.interface(packet.in_if)
        ),
    )
}

/// `SYN ACK`, in the order of their bits.
fn flags(flags: u8) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG"];
    let set = names.into_iter().enumerate().filter(|(bit, _)| flags & 1 << bit != 0);
    set.map(|(_, name)| name).collect::<Vec<_>>().join(" ")
}

/// What 106100 says of a flow whatever its hits.
pub fn words(flow: &AclFlow, names: &impl Names) -> Words {
    let packet = &flow.packet;
    let AclName { name, hashes: (line, element), .. } = names.acl(flow.acl, flow.line, flow.id);
    let verb = if flow.permitted { "permitted" } else { "denied" };
    let end = |ifindex, addr: Addr, port| format!("{}/{addr}({port})", names.interface(ifindex));
    let (src, dst) =
        (end(packet.in_if, packet.src, packet.sport), end(out_if(packet), packet.dst, packet.dport));
    let proto = proto_text(packet.proto);
    Words {
        flow: format!("{name} {verb} {proto} {src} -> {dst}"),
        hashes: format!("[{line:#010x}, {element:#010x}]"),
    }
}

/// 106100: hits of a line with `log`.
pub fn logged(due: &Due) -> Message {
    let Due { words: Words { flow, hashes }, logging, hits, first } = due;
    let when = if *first { "first hit".to_owned() } else { format!("{}-second interval", logging.interval) };
    Message::new(logging.level, 106_100, format!("access-list {flow} hit-cnt {hits} {when} {hashes}"))
}

/// 106101: no more denied flows are remembered.
pub fn flows_full(most: u32) -> Message {
    Message::new(1, 106_101, format!("Number of cached deny-flows for ACL log has reached limit ({most})."))
}

/// A packet dropped at a bound.
pub fn bound(bound: &Bound, packet: &Packet5, names: &impl Names) -> Message {
    match bound {
        Bound::Conns => Message::new(5, 321_001, "Resource 'conns' limit reached for system".to_owned()),
        Bound::Class { which, has, limit, .. } => {
            let (severity, number, what) = match which {
                ClassBound::Conns => (3, 201_011, "Connection"),
                ClassBound::Embryonic => (6, 201_010, "Embryonic connection"),
                ClassBound::ClientConns => (3, 201_013, "Per-client connection"),
                ClassBound::ClientEmbryonic => (6, 201_012, "Per-client embryonic connection"),
            };
            let Packet5 { src, sport, dst, dport, in_if, .. } = packet;
            let interface = names.interface(*in_if);
            Message::new(
                severity,
                number,
                format!(
                    "{what} limit exceeded {has}/{limit} for input packet from {src}/{sport} to {dst}/{dport} on interface {interface}"
                ),
            )
        }
        Bound::Pool { rule } => {
            let connection = unable(packet, names);
            let Some(pool) = names.pool(*rule) else {
                return Message::new(3, 202_010, format!("PAT pool exhausted. {connection}"));
            };
            let kind = if pool.one_to_one { "NAT" } else { "PAT" };
            let range = match (pool.one_to_one, band(packet, pool.flags)) {
                (true, _) => String::new(),
                (false, [first, last]) => format!(", port range [{first}-{last}]"),
            };
            let PoolName { name, first, .. } = pool;
            Message::new(
                3,
                202_010,
                format!("{kind} pool exhausted in pool '{name}' IP {first}{range}. {connection}"),
            )
        }
        Bound::Blocks => Message::new(
            3,
            305_016,
            format!(
                "{} due to reaching per-host PAT port block limit of {}.",
                unable(packet, names),
                names.blocks_per_host()
            ),
        ),
    }
}

fn unable(packet: &Packet5, names: &impl Names) -> String {
    let end = |ifindex, addr: Addr, port| format!("{}:{addr}/{port}", names.interface(ifindex));
    format!(
        "Unable to create {} connection from {} to {}",
        proto_text(packet.proto).to_uppercase(),
        end(packet.in_if, packet.src, packet.sport),
        end(out_if(packet), packet.dst, packet.dport)
    )
}

/// The ports that a source port of the packet's may be shown as.
fn band(packet: &Packet5, flags: u32) -> [u16; 2] {
    match packet.sport {
        _ if is_icmp(packet) || flags & NAT_INCLUDE_RESERVE != 0 => [1, 65535],
        _ if flags & NAT_FLAT != 0 => [1024, 65535],
        0..512 => [1, 511],
        512..1024 => [512, 1023],
        1024.. => [1024, 65535],
    }
}

/// Where it would have gone out; without a way it never came to an access-list or a pool.
fn out_if(packet: &Packet5) -> u8 {
    packet.out_if.unwrap_or(u8::MAX)
}

fn is_icmp(packet: &Packet5) -> bool {
    matches!(packet.proto, ICMP | ICMP6)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two interfaces, a list with two lines, a class and a pool.
    pub struct Known;

    impl Names for Known {
        fn interface(&self, ifindex: u8) -> String {
            ["outside", "inside"].get(usize::from(ifindex)).map_or("?", |name| name).to_owned()
        }
        fn toward(&self, _: std::net::Ipv4Addr) -> String {
            self.interface(0)
        }
        fn acl(&self, _: u32, line: u32, element: u32) -> AclName {
            let logging = (line == 2).then_some(Logging { level: 6, interval: 300 });
            AclName { name: "outside_in".into(), hashes: (element, 0), logging }
        }
        fn acl_bounds(&self) -> (u32, u32) {
            (4096, 300)
        }
        fn class(&self, _: u32) -> Option<String> {
            Some("federation-in".into())
        }
        fn pool(&self, rule: u32) -> Option<PoolName> {
            let first = "203.0.113.3".parse().unwrap();
            let pool = |flags, one_to_one| PoolName { name: "pub".into(), first, flags, one_to_one };
            [pool(0, false), pool(NAT_FLAT, false), pool(0, true)].get(rule as usize).cloned()
        }
        fn blocks_per_host(&self) -> u32 {
            4
        }
    }

    fn addr(text: &str) -> Addr {
        text.parse::<std::net::IpAddr>().unwrap().into()
    }

    fn inwards(proto: u8, sport: u16, dport: u16) -> Packet5 {
        let (src, dst) = (addr("198.51.100.99"), addr("10.10.0.11"));
        Packet5 { proto, src, sport, dst, dport, flags: 0, in_if: 0, out_if: Some(1) }
    }

    /// The examples of the ASA's manual.
    #[test]
    fn access_lists_are_told_in_the_asas_words() {
        let mut flow = AclFlow { packet: inwards(6, 40000, 5062), ..AclFlow::default() };
        assert_eq!(
            denied(&flow, &Known).text,
            "Deny tcp src outside:198.51.100.99/40000 dst inside:10.10.0.11/5062 by access-group \"outside_in\" [0x0, 0x0]"
        );
        flow.packet = inwards(1, 8, 0);
        assert_eq!(
            denied(&flow, &Known).text,
            "Deny icmp src outside:198.51.100.99 dst inside:10.10.0.11 (type 8, code 0) by access-group \"outside_in\" [0x0, 0x0]"
        );
        (flow.packet, flow.id) = (inwards(6, 40000, 5062), 0x60ed_eab9);
        let logging = Logging { level: 4, interval: 300 };
        let mut due = Due { words: words(&flow, &Known), logging, hits: 1, first: true };
        let told = logged(&due);
        assert_eq!((told.severity, told.number), (4, 106_100));
        assert_eq!(
            told.text,
            "access-list outside_in denied tcp outside/198.51.100.99(40000) -> inside/10.10.0.11(5062) hit-cnt 1 first hit [0x60edeab9, 0x00000000]"
        );
        (due.hits, due.first, flow.permitted) = (17, false, true);
        flow.packet.src = addr("2001:db8::1");
        due.words = words(&flow, &Known);
        assert_eq!(
            logged(&due).text,
            "access-list outside_in permitted tcp outside/2001:db8::1(40000) -> inside/10.10.0.11(5062) hit-cnt 17 300-second interval [0x60edeab9, 0x00000000]"
        );
        assert_eq!(flows_full(9).text, "Number of cached deny-flows for ACL log has reached limit (9).");
    }

    #[test]
    fn what_no_list_denied_is_told_in_the_asas_words() {
        let tcp = Packet5 { flags: 0x02, ..inwards(6, 40000, 23) };
        for (told, severity, number, text) in [
            (
                denied_by_level(&tcp, &Known),
                2,
                106_001,
                "Inbound TCP connection denied from 198.51.100.99/40000 to 10.10.0.11/23 flags SYN on interface outside",
            ),
            (
                denied_by_level(&inwards(17, 53, 161), &Known),
                2,
                106_006,
                "Deny inbound UDP from 198.51.100.99/53 to 10.10.0.11/161 on interface outside",
            ),
            (
                denied_by_level(&inwards(1, 8, 0), &Known),
                3,
                106_014,
                "Deny inbound icmp src outside:198.51.100.99 dst inside:10.10.0.11 (type 8, code 0)",
            ),
            (
                no_connection(&Packet5 { flags: 0x11, out_if: None, ..tcp }, &Known),
                6,
                106_015,
                "Deny TCP (no connection) from 198.51.100.99/40000 to 10.10.0.11/23 flags FIN ACK  on interface outside",
            ),
        ] {
            assert_eq!(told, Message::new(severity, number, text.to_owned()));
        }
    }

    #[test]
    fn bounds_are_told_in_the_asas_words() {
        let packet = inwards(6, 40000, 5062);
        for (which, severity, number, what) in [
            (ClassBound::Conns, 3, 201_011, "Connection"),
            (ClassBound::Embryonic, 6, 201_010, "Embryonic connection"),
            (ClassBound::ClientConns, 3, 201_013, "Per-client connection"),
            (ClassBound::ClientEmbryonic, 6, 201_012, "Per-client embryonic connection"),
        ] {
            let told = bound(&Bound::Class { slot: 3, which, has: 20, limit: 20 }, &packet, &Known);
            assert_eq!((told.severity, told.number), (severity, number));
            assert_eq!(
                told.text,
                format!(
                    "{what} limit exceeded 20/20 for input packet from 198.51.100.99/40000 to 10.10.0.11/5062 on interface outside"
                )
            );
        }
        let out = |sport| Packet5 { in_if: 1, out_if: Some(0), sport, ..packet };
        let end = "to outside:10.10.0.11/5062";
        for (rule, sport, what) in [
            (0, 300, "PAT pool exhausted in pool 'pub' IP 203.0.113.3, port range [1-511]"),
            (0, 600, "PAT pool exhausted in pool 'pub' IP 203.0.113.3, port range [512-1023]"),
            (0, 1024, "PAT pool exhausted in pool 'pub' IP 203.0.113.3, port range [1024-65535]"),
            (1, 600, "PAT pool exhausted in pool 'pub' IP 203.0.113.3, port range [1024-65535]"),
            (2, 600, "NAT pool exhausted in pool 'pub' IP 203.0.113.3"),
        ] {
            let told = bound(&Bound::Pool { rule }, &out(sport), &Known);
            assert_eq!(told.number, 202_010);
            assert_eq!(
                told.text,
                format!("{what}. Unable to create TCP connection from inside:198.51.100.99/{sport} {end}")
            );
        }
        assert_eq!(
            bound(&Bound::Blocks, &out(5000), &Known).text,
            format!(
                "Unable to create TCP connection from inside:198.51.100.99/5000 {end} due to reaching per-host PAT port block limit of 4."
            )
        );
    }
}
