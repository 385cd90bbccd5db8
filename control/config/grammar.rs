// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every configuration command, as data: one table for the parser, the CLI's `?` help, and docs/cli.md (which a test compares).
//!
//! A line is looked up in the current sub-mode first, then in the modes around it, as on the ASA: leading blanks are not
//! needed for that. Within a mode the longest run of leading words wins (`policy-map type inspect sip` before `policy-map`).

use super::args::{Args, Env};
use super::diag::{Problem, Severity};
mod idle;

pub use idle::IDLE;

use super::parse::{acl, crypto, group, inspect, interface, logging, nat, object, pool, sip, system, time};
use super::raw::{Command, Mode, Statement};
use super::source::{Line, Span};
use super::suggest::nearest;

/// Parses the words after a command's own.
pub type Parse = fn(&mut Args<'_, '_>, &Env<'_>) -> Result<Command, Problem>;

/// One command.
pub struct Spec {
    /// Where it is understood.
    pub mode: Mode,
    /// Its leading words.
    pub words: &'static str,
    /// The whole of it.
    pub usage: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
    /// One such line; empty where there is none that is taken.
    pub example: &'static str,
    /// The sub-mode it opens.
    pub enters: Option<Mode>,
    /// Whether it does anything.
    pub effect: Effect,
    parse: Parse,
}

/// What comes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What it says.
    Real,
    /// What it says is so in any case.
    Always,
    /// Nothing; and what to do instead.
    None(&'static str),
}

const fn leaf(
    mode: Mode,
    words: &'static str,
    usage: &'static str,
    help: &'static str,
    example: &'static str,
    parse: Parse,
) -> Spec {
    Spec { mode, words, usage, help, example, enters: None, effect: Effect::Real, parse }
}

const fn node(
    enters: Mode,
    words: &'static str,
    usage: &'static str,
    help: &'static str,
    example: &'static str,
    parse: Parse,
) -> Spec {
    Spec {
        mode: Mode::Global,
        words,
        usage,
        help,
        example,
        enters: Some(enters),
        effect: Effect::Real,
        parse,
    }
}

/// Every command.
#[rustfmt::skip]
pub const SPECS: &[Spec] = &[
    leaf(Mode::Global, "hostname", "hostname NAME", "name of the appliance", "hostname fedgate", system::hostname),
    leaf(Mode::Global, "ASA Version", "ASA Version RELEASE", "which release a file is of: before 8.3 its access-lists name mapped addresses, and are read as the real ones", "ASA Version 9.1(7)", system::asa_version),
    leaf(Mode::Global, "domain-name", "domain-name NAME", "DNS domain of the appliance", "domain-name example.com", system::domain_name),
    node(Mode::Interface, "interface", "interface {TYPE SLOT/PORT | tap NAME | memif SOCKET [server|client] [id N] | pci DDDD:BB:DD.F | af_packet IFNAME | af_xdp IFNAME | pcap rx FILE tx FILE | ring NAME | null [N]}", "a port of the dataplane", "interface GigabitEthernet0/0", interface::interface),
    leaf(Mode::Interface, "hardware", "hardware {tap NAME | memif SOCKET [server|client] [id N] | pci DDDD:BB:DD.F | af_packet IFNAME | af_xdp IFNAME | pcap rx FILE tx FILE | ring NAME | null [N]}", "the port that `interface GigabitEthernet0/0` is; configure replace keeps it", "hardware pci 0000:03:00.0", interface::hardware),
    leaf(Mode::Interface, "nameif", "nameif NAME", "name used by every other command", "nameif outside", interface::nameif),
    leaf(Mode::Interface, "security-level", "security-level LEVEL", "0 to 100; inside has 100, others 0", "security-level 0", interface::security_level),
    leaf(Mode::Interface, "ip address", "ip address ADDRESS MASK", "own address", "ip address 203.0.113.2 255.255.255.248", interface::ip_address),
    leaf(Mode::Interface, "ipv6 address", "ipv6 address ADDRESS/LENGTH", "own IPv6 address", "ipv6 address 2001:db8:1::1/64", interface::ipv6_address),
    leaf(Mode::Interface, "ipv6 enable", "ipv6 enable", "IPv6 with a link-local address alone", "ipv6 enable", interface::ipv6_enable),
    leaf(Mode::Interface, "description", "description TEXT", "a note", "description the routing node", object::description),
    leaf(Mode::Interface, "mac-address", "mac-address HHHH.HHHH.HHHH", "own MAC instead of the device's", "mac-address 0200.0000.0001", interface::mac_address),
    leaf(Mode::Interface, "shutdown", "shutdown", "closes the interface; no shutdown opens it", "no shutdown", interface::shutdown),
    leaf(Mode::Global, "mtu", "mtu NAMEIF BYTES", "IP bytes a frame may carry", "mtu outside 1400", interface::mtu),
    leaf(Mode::Global, "ip verify reverse-path interface", "ip verify reverse-path interface NAMEIF", "drops what comes from where no route leads back", "ip verify reverse-path interface outside", interface::reverse_path),
    leaf(Mode::Global, "fragment", "fragment {size DATAGRAMS | chain FRAGMENTS | timeout SECONDS}", "bounds of putting fragments together, of every interface", "fragment chain 24", interface::fragment),
    leaf(Mode::Global, "sysopt noproxyarp", "sysopt noproxyarp NAMEIF", "no ARP answers for mapped addresses", "sysopt noproxyarp inside", interface::noproxyarp),
    leaf(Mode::Global, "same-security-traffic permit", "same-security-traffic permit {inter-interface | intra-interface}", "traffic between equal security levels", "same-security-traffic permit inter-interface", interface::same_security),
    node(Mode::ObjectNetwork, "object network", "object network NAME", "addresses with a name", "object network cup", object::network),
    leaf(Mode::ObjectNetwork, "host", "host ADDRESS", "one address, IPv4 or IPv6", "host 10.10.0.11", object::host),
    leaf(Mode::ObjectNetwork, "subnet", "subnet {ADDRESS MASK | PREFIX/LENGTH}", "a network, IPv4 or IPv6", "subnet 10.10.0.0 255.255.255.0", object::subnet),
    leaf(Mode::ObjectNetwork, "range", "range FIRST LAST", "the addresses from FIRST to LAST", "range 10.10.0.11 10.10.0.14", object::range),
    leaf(Mode::ObjectNetwork, "fqdn", "fqdn NAME", "refused: name the addresses", "", object::fqdn),
    leaf(Mode::ObjectNetwork, "description", "description TEXT", "a note", "description the routing node", object::description),
    leaf(Mode::ObjectNetwork, "nat", "nat (REAL,MAPPED) {static {ADDRESS|OBJECT|interface} [no-proxy-arp] [route-lookup] [service {tcp|udp} REALPORT MAPPEDPORT] | dynamic {interface | {ADDRESS|OBJECT|GROUP} [interface] | pat-pool {ADDRESS|OBJECT|GROUP} [round-robin] [extended] [flat [include-reserve]] [block-allocation] [interface]}}", "translates the object", "nat (inside,outside) static 203.0.113.3 service tcp 5062 5061", nat::object),
    node(Mode::ObjectService, "object service", "object service NAME", "a protocol and ports with a name", "object service s5062", object::service),
    leaf(Mode::ObjectService, "service", "service {{tcp|udp} [source OP PORT] [destination OP PORT] | {icmp|icmp6} [TYPE [CODE]] | PROTOCOL}", "what it is; OP is eq, neq, gt, lt or range", "service tcp source eq 5062", object::service_is),
    node(Mode::GroupNetwork, "object-group network", "object-group network NAME", "a group of addresses", "object-group network edges", group::network),
    leaf(Mode::GroupNetwork, "network-object", "network-object {host ADDRESS | ADDRESS MASK | PREFIX/LENGTH | object NAME}", "addresses of the group", "network-object host 198.51.100.20", group::network_object),
    leaf(Mode::GroupNetwork, "group-object", "group-object NAME", "all of another group of the same kind", "group-object more-edges", group::group_object),
    leaf(Mode::GroupNetwork, "description", "description TEXT", "a note", "description the routing node", object::description),
    node(Mode::GroupService, "object-group service", "object-group service NAME [tcp|udp|tcp-udp]", "a group of services; with a protocol, of its ports", "object-group service sip-ports tcp", group::service),
    leaf(Mode::GroupService, "service-object", "service-object {{tcp|udp|tcp-udp} [source OP PORT] [destination OP PORT] | {icmp|icmp6} [TYPE [CODE]] | PROTOCOL | object NAME}", "a service of a group without a protocol", "service-object tcp destination eq 5061", group::service_object),
    leaf(Mode::GroupService, "port-object", "port-object {eq PORT | range FIRST LAST}", "ports of a group with a protocol", "port-object range 5060 5062", group::port_object),
    leaf(Mode::GroupService, "group-object", "group-object NAME", "all of another group of the same kind", "group-object more-edges", group::group_object),
    leaf(Mode::GroupService, "description", "description TEXT", "a note", "description the routing node", object::description),
    node(Mode::GroupProtocol, "object-group protocol", "object-group protocol NAME", "a group of protocols", "object-group protocol both", group::protocol),
    leaf(Mode::GroupProtocol, "protocol-object", "protocol-object PROTOCOL", "a protocol of the group", "protocol-object tcp", group::protocol_object),
    leaf(Mode::GroupProtocol, "group-object", "group-object NAME", "all of another group of the same kind", "group-object more-edges", group::group_object),
    leaf(Mode::GroupProtocol, "description", "description TEXT", "a note", "description the routing node", object::description),
    node(Mode::GroupIcmp, "object-group icmp-type", "object-group icmp-type NAME", "a group of ICMP types", "object-group icmp-type pings", group::icmp_type),
    leaf(Mode::GroupIcmp, "icmp-object", "icmp-object TYPE", "a type of the group", "icmp-object echo", group::icmp_object),
    leaf(Mode::GroupIcmp, "group-object", "group-object NAME", "all of another group of the same kind", "group-object more-edges", group::group_object),
    leaf(Mode::GroupIcmp, "description", "description TEXT", "a note", "description the routing node", object::description),
    node(Mode::TimeRange, "time-range", "time-range NAME", "a time that access-list lines hold in", "time-range office", time::time_range),
    leaf(Mode::TimeRange, "absolute", "absolute [start HH:MM DAY MONTH YEAR] [end HH:MM DAY MONTH YEAR]", "not before, not after; the minute of the end is still in it", "absolute end 23:59 31 December 2030", time::absolute),
    leaf(Mode::TimeRange, "periodic", "periodic {DAY ... | daily | weekdays | weekend} HH:MM to [DAY] HH:MM", "only then, every week; the last minute is still in it", "periodic weekdays 8:00 to 17:59", time::periodic),
    leaf(Mode::Global, "clock timezone", "clock timezone NAME HOURS [MINUTES]", "local time less UTC: time-ranges are in local time", "clock timezone CET 1", time::timezone),
    leaf(Mode::Global, "access-list", "access-list NAME [line N] {extended {permit|deny} {PROTOCOL | object SERVICE | object-group GROUP} SOURCE [OP PORT | object-group PORTS] DESTINATION [OP PORT | object-group PORTS | ICMPTYPE [CODE] | object-group TYPES] [log [[LEVEL] [interval SECONDS] | disable | default]] [time-range NAME] [inactive] | remark TEXT}", "a line of an access-list; SOURCE and DESTINATION are any, any4, any6, host ADDRESS, ADDRESS MASK, PREFIX/LENGTH, interface NAMEIF, object NAME or object-group NAME", "access-list outside_in extended permit tcp host 198.51.100.20 object cup eq 5062", acl::access_list),
    leaf(Mode::Global, "access-list deny-flow-max", "access-list deny-flow-max FLOWS", "denied flows that 106100 is kept for at once", "access-list deny-flow-max 1024", acl::deny_flow_max),
    leaf(Mode::Global, "access-list alert-interval", "access-list alert-interval SECONDS", "between two messages that there are more", "access-list alert-interval 60", acl::alert_interval),
    leaf(Mode::Global, "access-group", "access-group NAME {{in|out} interface NAMEIF | global}", "puts an access-list to work", "access-group outside_in in interface outside", acl::access_group),
    leaf(Mode::Global, "nat", "nat (REAL,MAPPED) [after-auto] [N] source {static|dynamic} {REALOBJECT|any} {MAPPEDOBJECT|interface|any|pat-pool ...} [destination static {MAPPEDOBJECT|interface} REALOBJECT] [service SERVICE SERVICE] [unidirectional] [no-proxy-arp] [route-lookup] [inactive] [description TEXT]", "manual (twice) NAT; also nat (REAL) ID {ADDRESS MASK | access-list NAME} of 8.2", "nat (inside,outside) source static cup pub service s5062 s5061", nat::manual),
    leaf(Mode::Global, "static", "static (REAL,MAPPED) [{tcp|udp}] {MAPPED|interface} [PORT] REAL [PORT] netmask MASK", "static NAT of 8.2", "static (inside,outside) tcp 203.0.113.3 5061 10.10.0.11 5062 netmask 255.255.255.255", nat::legacy_static),
    leaf(Mode::Global, "global", "global (MAPPED) ID {ADDRESS | FIRST-LAST | interface} [netmask MASK]", "addresses of dynamic NAT of 8.2", "global (outside) 1 interface", nat::legacy_global),
    leaf(Mode::Global, "xlate block-allocation", "xlate block-allocation {size PORTS | maximum-per-host BLOCKS}", "ports of a block, and blocks of a host, with block-allocation", "xlate block-allocation size 512", nat::block_allocation),
    leaf(Mode::Global, "route", "route NAMEIF ADDRESS MASK GATEWAY [METRIC]", "a static route", "route outside 0.0.0.0 0.0.0.0 203.0.113.1 1", system::route),
    leaf(Mode::Global, "ipv6 route", "ipv6 route NAMEIF PREFIX/LENGTH GATEWAY [METRIC]", "a static IPv6 route", "ipv6 route outside ::/0 fe80::1", system::route6),
    leaf(Mode::Global, "logging enable", "logging enable", "sends and keeps messages at all", "logging enable", logging::enable),
    leaf(Mode::Global, "logging timestamp", "logging timestamp [rfc5424]", "messages say when; rfc5424 in UTC, else in local time as the ASA writes it", "logging timestamp rfc5424", logging::timestamp),
    leaf(Mode::Global, "logging facility", "logging facility N", "16 to 23, LOCAL0 to LOCAL7; 20 without it", "logging facility 20", logging::facility),
    leaf(Mode::Global, "logging device-id", "logging device-id {hostname | ipaddress NAMEIF | string TEXT}", "messages say who", "logging device-id hostname", logging::device_id),
    leaf(Mode::Global, "logging buffer-size", "logging buffer-size BYTES", "what show logging can show, 4096 to 1048576; 4096 without it", "logging buffer-size 65536", logging::buffer_size),
    leaf(Mode::Global, "logging buffered", "logging buffered LEVEL", "keeps messages of the level and more severe ones for show logging", "logging buffered informational", logging::buffered),
    leaf(Mode::Global, "logging trap", "logging trap LEVEL", "sends messages of the level and more severe ones to the collectors", "logging trap informational", logging::trap),
    leaf(Mode::Global, "logging queue", "logging queue MESSAGES", "messages that may wait for one collector, 1 to 8192; 512 without it", "logging queue 2048", logging::queue),
    leaf(Mode::Global, "logging host", "logging host NAMEIF ADDRESS [udp/PORT | tcp/PORT] [format rfc5424] [secure trustpoint TRUSTPOINT [reference-identity NAME]]", "a collector; udp/514 without a transport. With `secure`, TLS: the trustpoint's CAs vouch for a certificate with that name, or with the address", "logging host inside 10.10.0.50 tcp/1470", logging::host),
    leaf(Mode::Global, "logging message", "logging message NUMBER [level LEVEL]", "a message's severity instead of its own; `no logging message NUMBER` keeps it back", "logging message 106023 level errors", logging::message),
    leaf(Mode::Global, "logging rate-limit", "logging rate-limit {unlimited | MESSAGES [SECONDS]} {level LEVEL | message NUMBER}", "at most so many in so many seconds; what is said of a message goes before its level's", "logging rate-limit 100 1 level debugging", logging::rate_limit),
    leaf(Mode::Global, "flow-export destination", "flow-export destination NAMEIF ADDRESS PORT", "NAT events to a collector, as IPFIX with the elements of RFC 8158; an ASA sends NetFlow 9", "flow-export destination inside 10.10.0.51 4739", logging::flow_destination),
    leaf(Mode::Global, "flow-export template timeout-rate", "flow-export template timeout-rate MINUTES", "between two times that templates are sent; 30 without it", "flow-export template timeout-rate 5", logging::flow_templates),
    leaf(Mode::Global, "metrics http", "metrics http ADDRESS PORT", "metrics for Prometheus at http://ADDRESS:PORT/metrics, an address of the machine itself; nobody is asked who they are", "metrics http 127.0.0.1 9478", logging::metrics),
    leaf(Mode::Global, "names", "names", "names of `name` lines may stand for addresses", "names", system::names),
    leaf(Mode::Global, "name", "name ADDRESS NAME", "a name that may be written for an address", "name 10.10.0.11 cup", system::name),
    leaf(Mode::Global, "timeout", "timeout {conn|half-closed|embryonic|udp|icmp|sip|sip_media|sip-invite|sip-disconnect|sip-provisional-media|pat-xlate|xlate|conn-holddown|floating-conn} H:MM:SS ...", "idle timers; those of what fedgate does not do are taken, with a warning", "timeout sip 2:05:00", system::timeout),
    leaf(Mode::Global, "arp timeout", "arp timeout SECONDS", "age at which an ARP entry is asked again", "arp timeout 14400", system::arp_timeout),
    node(Mode::Trustpoint, "crypto ca trustpoint", "crypto ca trustpoint NAME", "an identity, or CAs, or both", "crypto ca trustpoint public", crypto::trustpoint),
    leaf(Mode::Trustpoint, "certificate file", "certificate file PATH", "own certificate, then intermediates (PEM)", "certificate file certs/public.crt", crypto::certificate),
    leaf(Mode::Trustpoint, "key file", "key file PATH", "its private key (PEM)", "key file certs/public.key", crypto::key),
    leaf(Mode::Trustpoint, "ca file", "ca file PATH", "CAs of peers (PEM)", "ca file certs/ca.crt", crypto::ca),
    leaf(Mode::Trustpoint, "crl file", "crl file PATH", "their revocation lists (PEM or DER)", "crl file certs/ca.crl", crypto::crl),
    leaf(Mode::Trustpoint, "revocation-check", "revocation-check {none | crl [none]}", "whether peers are looked up in the revocation lists", "revocation-check crl", crypto::revocation_check),
    Spec { mode: Mode::Trustpoint, words: "crl configure", usage: "crl configure", help: "how revocation lists are used", example: "crl configure", enters: Some(Mode::Crl), effect: Effect::Real, parse: crypto::crl_configure },
    leaf(Mode::Crl, "url", "url INDEX URL", "where the lists are fetched from, 1 to 5 places; without one, where certificates say", "url 1 http://pki.example.com/ca.crl", crypto::crl_url),
    leaf(Mode::Crl, "cache-time", "cache-time MINUTES", "after which a list is fetched again, 1 to 1440; an hour without it", "cache-time 30", crypto::crl_cache_time),
    leaf(Mode::Crl, "enforcenextupdate", "enforcenextupdate", "a list past its nextUpdate is as good as none; so by default", "no enforcenextupdate", crypto::enforce_next_update),
    leaf(Mode::Trustpoint, "tls-version", "tls-version {tlsv1.2 | tlsv1.3}", "oldest TLS spoken where it is shown", "tls-version tlsv1.3", crypto::shown_version),
    leaf(Mode::Trustpoint, "cipher-suite", "cipher-suite SUITE ...", "suites spoken where it is shown", "cipher-suite TLS_AES_256_GCM_SHA384 ECDHE-RSA-AES256-GCM-SHA384", crypto::shown_cipher_suite),
    leaf(Mode::Trustpoint, "authenticate-client", "authenticate-client", "inside clients that it is shown to must show a certificate too; so by default", "no authenticate-client", crypto::shown_authenticate_client),
    leaf(Mode::Trustpoint, "enrollment", "enrollment {self | terminal}", "whether crypto ca enroll signs by itself or prints a request", "enrollment terminal", crypto::enrollment),
    leaf(Mode::Trustpoint, "fqdn", "fqdn {NAME | none}", "host name of the certificate to come", "fqdn cup.example.com", crypto::fqdn),
    leaf(Mode::Trustpoint, "subject-name", "subject-name DN", "subject of the certificate to come", "subject-name CN=cup.example.com,O=Example", crypto::subject_name),
    leaf(Mode::Trustpoint, "keypair", "keypair LABEL", "key of the certificate to come", "keypair public_key", crypto::keypair),
    node(Mode::Chain, "crypto ca certificate chain", "crypto ca certificate chain TRUSTPOINT", "certificates of a trustpoint, in the configuration itself", "crypto ca certificate chain public", crypto::certificate_chain),
    leaf(Mode::Chain, "certificate", "certificate [ca] SERIAL", "one of them, in hexadecimal, up to `quit`", "certificate ca 4a5b6c7d", crypto::chained),
    leaf(Mode::Global, "ssl encryption", "ssl encryption SUITE ...", "suites of faces without a cipher-suite line, as up to ASA 9.2", "ssl encryption aes256-sha1", crypto::ssl_encryption),
    leaf(Mode::Global, "ssl server-version", "ssl server-version {tlsv1.2 | tlsv1.3}", "oldest TLS spoken with TCP clients, where face and trustpoint do not say", "ssl server-version tlsv1.3", crypto::server_version),
    leaf(Mode::Global, "ssl client-version", "ssl client-version {tlsv1.2 | tlsv1.3}", "oldest TLS spoken with TCP servers, where face and trustpoint do not say", "ssl client-version tlsv1.2", crypto::client_version),
    leaf(Mode::Global, "ssl cipher", "ssl cipher {tlsv1.2 | tlsv1.3} {all | low | medium | fips | high | custom SUITES}", "suites of a version, where face and trustpoint do not say", "ssl cipher tlsv1.2 custom ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384", crypto::ssl_cipher),
    leaf(Mode::Global, "tls-proxy maximum-session", "tls-proxy maximum-session N", "bound on proxied connections", "tls-proxy maximum-session 1000", crypto::maximum_session),
    node(Mode::TlsProxy, "tls-proxy", "tls-proxy NAME", "a TLS proxy", "tls-proxy inward", crypto::tls_proxy),
    leaf(Mode::TlsProxy, "server trust-point", "server trust-point TRUSTPOINT [domain NAME | verify]", "shown to the TCP client, or to one that calls NAME; or vouches for TCP clients", "server trust-point partners verify", crypto::server_trust_point),
    leaf(Mode::TlsProxy, "client trust-point", "client trust-point TRUSTPOINT [verify]", "shown to the TCP server; or vouches for TCP servers", "client trust-point inside", crypto::client_trust_point),
    leaf(Mode::TlsProxy, "server authenticate-client", "server authenticate-client", "inside clients must show a certificate, as outside ones must; so by default", "no server authenticate-client", crypto::authenticate_client),
    leaf(Mode::TlsProxy, "server tls-version", "server tls-version {tlsv1.2 | tlsv1.3}", "oldest TLS spoken with the TCP client", "server tls-version tlsv1.3", crypto::server_tls_version),
    leaf(Mode::TlsProxy, "client tls-version", "client tls-version {tlsv1.2 | tlsv1.3}", "oldest TLS spoken with the TCP server", "client tls-version tlsv1.2", crypto::client_tls_version),
    leaf(Mode::TlsProxy, "server cipher-suite", "server cipher-suite SUITE ...", "suites spoken with the TCP client", "server cipher-suite TLS_AES_128_GCM_SHA256 ECDHE-RSA-AES128-GCM-SHA256", crypto::server_cipher_suite),
    leaf(Mode::TlsProxy, "client cipher-suite", "client cipher-suite SUITE ...", "suites spoken with the TCP server", "client cipher-suite ECDHE-RSA-AES256-GCM-SHA384", crypto::client_cipher_suite),
    leaf(Mode::TlsProxy, "client sip-pool", "client sip-pool NAME", "calls the members of a pool instead of who was called", "client sip-pool front", pool::client_sip_pool),
    node(Mode::SipPool, "sip-pool", "sip-pool NAME", "inside servers that share what comes", "sip-pool front", pool::sip_pool),
    leaf(Mode::SipPool, "member", "member ADDRESS [port PORT] [weight N] [drain]", "a server, 5061 and weight 1 unless said; draining, it keeps its dialogs and gets no new ones", "member 10.10.0.11 port 5062 weight 2", pool::member),
    leaf(Mode::SipPool, "health-check", "health-check {none | options [interval SECONDS] [fail N] [rise N]}", "OPTIONS to each member; every 10 seconds, down after 3 failures, up after 2 answers unless said", "health-check options interval 30 fail 2 rise 2", pool::health_check),
    node(Mode::ClassMap, "class-map", "class-map NAME", "names a kind of traffic", "class-map federation-in", inspect::class_map),
    leaf(Mode::ClassMap, "match access-list", "match access-list NAME", "what the access-list permits", "match access-list federation-in", inspect::match_access_list),
    leaf(Mode::ClassMap, "match default-inspection-traffic", "match default-inspection-traffic", "what an ASA inspects by itself: such a class only takes inspections without effect", "match default-inspection-traffic", inspect::match_default),
    leaf(Mode::ClassMap, "match any", "match any", "everything", "match any", inspect::match_any),
    leaf(Mode::ClassMap, "match port", "match port {tcp|udp} {eq PORT | range FIRST LAST}", "connections to these ports", "match port tcp eq 5061", inspect::match_port),
    leaf(Mode::Global, "regex", "regex NAME \"PATTERN\"", "a regular expression", "regex dom_abc \"@abc\\.example$\"", sip::regex),
    node(Mode::RegexClass, "class-map type regex", "class-map type regex match-any NAME", "several regular expressions", "class-map type regex match-any permitted", sip::regex_class),
    leaf(Mode::RegexClass, "match regex", "match regex NAME", "one of them", "match regex dom_abc", sip::match_regex),
    node(Mode::SipClass, "class-map type inspect sip", "class-map type inspect sip [match-all|match-any] NAME", "a kind of SIP message", "class-map type inspect sip match-all not_permitted", sip::sip_class),
    leaf(Mode::SipClass, "match", "match [not] {{called-party|calling-party|im-subscriber|message-path|third-party-registration} regex {NAME | class NAME} | content length gt N | content type {sdp | regex {NAME | class NAME}} | request-method METHOD | uri {sip|tel} length gt N}", "what is asked of the message", "match not calling-party regex class permitted", sip::class_match),
    node(Mode::InspectMap, "policy-map type inspect sip", "policy-map type inspect sip NAME", "how SIP is inspected", "policy-map type inspect sip sip_inspect", inspect::inspect_map),
    Spec { mode: Mode::InspectMap, words: "parameters", usage: "parameters", help: "settings of the map", example: "parameters", enters: Some(Mode::InspectParameters), effect: Effect::Real, parse: inspect::parameters },
    leaf(Mode::InspectParameters, "max-forwards-validation", "max-forwards-validation action {drop|drop-connection|reset|log} [log]", "a request that has used up its hops", "max-forwards-validation action drop log", sip::max_forwards),
    leaf(Mode::InspectParameters, "state-checking", "state-checking action {drop|drop-connection|reset|log} [log]", "a request of a dialog that was never begun", "state-checking action drop", sip::state_checking),
    leaf(Mode::InspectParameters, "strict-header-validation", "strict-header-validation action {drop|drop-connection|reset|log} [log]", "a request without a header that RFC 3261 wants", "strict-header-validation action drop", sip::strict_headers),
    leaf(Mode::InspectParameters, "software-version", "software-version action {mask|log} [log]", "Server and User-Agent", "software-version action mask", sip::software_version),
    leaf(Mode::InspectParameters, "uri-non-sip", "uri-non-sip action {mask|log} [log]", "other URIs in Alert-Info and Call-Info", "uri-non-sip action mask", sip::uri_non_sip),
    leaf(Mode::InspectParameters, "im", "im", "instant messages pass; they do unless `no im` is said", "no im", sip::im),
    leaf(Mode::InspectParameters, "traffic-non-sip", "no traffic-non-sip", "what is no SIP does not pass: always so", "no traffic-non-sip", sip::traffic_non_sip),
    leaf(Mode::InspectParameters, "asserted-identity", "asserted-identity strip", "cut out who the caller is said to be, instead of checking it", "asserted-identity strip", sip::asserted_identity),
    leaf(Mode::InspectParameters, "rtp-conformance", "rtp-conformance [enforce-payloadtype]", "media of a call must be RTP and RTCP", "", sip::rtp_conformance),
    leaf(Mode::InspectParameters, "ip-address-privacy", "ip-address-privacy", "refused", "", sip::ip_address_privacy),
    Spec { mode: Mode::InspectMap, words: "match", usage: "match [not] ... as under `class-map type inspect sip`", help: "what is asked of the message", example: "match request-method register", enters: Some(Mode::InspectRule), effect: Effect::Real, parse: sip::map_match },
    Spec { mode: Mode::InspectMap, words: "class", usage: "class NAME", help: "a class-map of type inspect sip", example: "class not_permitted", enters: Some(Mode::InspectRule), effect: Effect::Real, parse: sip::map_class },
    leaf(Mode::InspectRule, "drop", "drop [log]", "refuses it", "drop log", sip::drop),
    leaf(Mode::InspectRule, "drop-connection", "drop-connection [log]", "ends its connection", "drop-connection log", sip::drop_connection),
    leaf(Mode::InspectRule, "reset", "reset [log]", "ends its connection by RST", "reset", sip::reset),
    leaf(Mode::InspectRule, "mask", "mask [log]", "crosses out its body", "mask", sip::mask),
    leaf(Mode::InspectRule, "rate-limit", "rate-limit N [log]", "refuses it above N a second", "rate-limit 100", sip::rate_limit),
    leaf(Mode::InspectRule, "log", "log", "tells the log", "log", sip::log),
    node(Mode::PolicyMap, "policy-map", "policy-map NAME", "what to do with classes of traffic", "policy-map global_policy", inspect::policy_map),
    Spec { mode: Mode::PolicyMap, words: "class", usage: "class {NAME | class-default}", help: "the class-map it is about; class-default is everything", example: "class federation-in", enters: Some(Mode::PolicyClass), effect: Effect::Real, parse: inspect::class },
    leaf(Mode::PolicyClass, "inspect sip", "inspect sip [MAP] tls-proxy NAME", "to the TLS proxy, SIP inspected", "inspect sip sip_inspect tls-proxy inward", inspect::inspect_sip),
    leaf(Mode::PolicyClass, "set connection timeout", "set connection timeout {idle|half-closed|embryonic} H:MM:SS ...", "timers of the class's connections", "set connection timeout idle 2:05:00", inspect::conn_timeouts),
    leaf(Mode::PolicyClass, "set connection advanced-options", "set connection advanced-options tcp-state-bypass", "TCP without state and windows", "set connection advanced-options tcp-state-bypass", inspect::advanced_options),
    leaf(Mode::PolicyClass, "set connection", "set connection {conn-max|embryonic-conn-max|per-client-max|per-client-embryonic-max} N ...", "bounds of the class's connections; 0 for none", "set connection conn-max 10000 embryonic-conn-max 500", inspect::limits),
    leaf(Mode::Global, "service-policy", "service-policy NAME global", "puts a policy-map to work", "service-policy global_policy global", inspect::service_policy),
    leaf(Mode::Global, "local domain", "local domain NAME", "a SIP domain of our own", "local domain example.com", system::local_domain),
    leaf(Mode::Global, "permit domain", "permit domain {NAME | *.NAME} [peer FQDN] [trustpoint TRUSTPOINT] [until YYYY-MM-DD[THH:MM]] [comment TEXT]", "a foreign domain that may federate; after `until` the line is taken out", "permit domain foreign.example peer edge.foreign.example until 2027-06-30 comment ticket 4711", system::permit_domain),
    leaf(Mode::Global, "block domain", "block domain {NAME | *.NAME} [until YYYY-MM-DD[THH:MM]] [comment TEXT]", "a foreign domain that may not", "block domain bad.partner.example", system::block_domain),
];

/// A line that could not be parsed.
pub struct Failure {
    /// Why.
    pub problem: Problem,
    /// The sub-mode the line would have opened, so that the lines under it can be checked all the same.
    pub enters: Option<Mode>,
}

/// What a line says.
pub struct Parsed {
    /// The command.
    pub statement: Statement,
    /// Its place in the grammar.
    pub spec: &'static Spec,
    /// What the operator is to be told all the same.
    pub remarks: Vec<Problem>,
}

/// Parses one line, understood in `mode`.
pub fn parse(line: &Line<'_>, mode: Mode, env: &Env<'_>) -> Result<Parsed, Failure> {
    let negated = line.tokens[0].text == "no";
    let at = usize::from(negated);
    let Some(spec) = find(line, at, mode) else {
        return Err(Failure { problem: unknown(line, at, mode), enters: None });
    };
    let mut args = Args::within(line, at + spec.words.split(' ').count(), env);
    let parsed = (spec.parse)(&mut args, env).and_then(|command| match args.end() {
        Ok(()) => Ok(command),
        Err(problem) => Err(joined(line, &args, spec, problem)),
    });
    let mut remarks = args.remarks();
    if let Effect::None(instead) = spec.effect
        && !negated
    {
        let what = format!("`{}` has no effect: on an ASA it {}", spec.words, spec.help);
        remarks
            .push(Problem { severity: Severity::Warning, ..Problem::error(line.span(), what).help(instead) });
    }
    match parsed {
        Ok(command) => {
            Ok(Parsed { statement: Statement { line: line.number, negated, command }, spec, remarks })
        }
        Err(mut problem) => {
            problem.help.get_or_insert_with(|| format!("usage: {}", spec.usage));
            Err(Failure { problem, enters: spec.enters })
        }
    }
}

/// Words too many behind a mode's line: often a sub-command that was printed on it, or a name with a blank in it.
fn joined(line: &Line<'_>, args: &Args<'_, '_>, spec: &Spec, problem: Problem) -> Problem {
    let Some(mode) = spec.enters else { return problem };
    let rest = args.clone().rest();
    let at = line.tokens.iter().position(|t| t.span.start == problem.span.start).unwrap_or(0);
    if SPECS.iter().any(|s| s.mode == mode && begins(s, line, at)) {
        return problem.help(format!("write `{rest}` on a line of its own, under this one"));
    }
    match line.tokens.get(at.wrapping_sub(1)) {
        Some(name) if at + 1 == line.tokens.len() => {
            let meant = format!("{} {}{rest}", spec.words, name.text);
            problem.help(format!("a name has no blanks: did you mean `{meant}`?")).meant(meant)
        }
        _ => problem,
    }
}

fn begins(spec: &Spec, line: &Line<'_>, at: usize) -> bool {
    let mut tokens = line.tokens[at..].iter();
    spec.words.split(' ').all(|word| tokens.next().is_some_and(|t| t.text == word))
}

/// `mode` and the modes around it, innermost first.
pub fn chain(mode: Mode) -> impl Iterator<Item = Mode> {
    std::iter::successors(Some(mode), |m| m.parent())
}

/// Whether a word is one of the language's own.
pub fn is_keyword(word: &str) -> bool {
    let own = |c: char| c.is_alphanumeric() || "_-".contains(c);
    all().any(|spec| spec.usage.split(|c| !own(c)).any(|known| known == word))
}

/// Every line that is known.
pub fn all() -> impl Iterator<Item = &'static Spec> {
    SPECS.iter().chain(IDLE)
}

fn find(line: &Line<'_>, at: usize, mode: Mode) -> Option<&'static Spec> {
    // Manual NAT right after an object, without a line between that leaves the object's mode.
    let manual = mode == Mode::ObjectNetwork && nat::is_manual(&mut Args::new(line, at));
    // A first byte that differs decides most of the table: a file may have a million lines.
    let initial = line.tokens.get(at).and_then(|t| t.text.as_bytes().first());
    chain(mode).filter(|m| !(manual && *m == Mode::ObjectNetwork)).find_map(|m| {
        let here = |s: &&Spec| s.mode == m && s.words.as_bytes().first() == initial;
        all().filter(here).filter(|s| begins(s, line, at)).max_by_key(|s| s.words.len())
    })
}

/// Says what is wrong with a line that begins no command, and what may have been meant.
fn unknown(line: &Line<'_>, at: usize, mode: Mode) -> Problem {
    let here = || chain(mode).flat_map(|m| all().filter(move |s| s.mode == m));
    let Some(first) = line.tokens.get(at) else {
        return Problem::error(line.span(), "incomplete command: `no` what?");
    };
    let same_start: Vec<&Spec> = here().filter(|s| s.words.split(' ').next() == Some(first.text)).collect();
    if let Some(spec) = same_start.first() {
        let known = spec.words.split(' ').zip(&line.tokens[at..]).take_while(|(w, t)| *w == t.text).count();
        let end = first.span.end.max(line.text.trim_end().len() as u32);
        let span = line.tokens.get(at + known).map_or(Span { start: end, end, ..first.span }, |t| t.span);
        let wanted = same_start.iter().filter_map(|s| s.words.split(' ').nth(known)).collect::<Vec<_>>();
        let wanted = wanted.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(" or ");
        let usages = same_start.iter().map(|s| s.usage).collect::<Vec<_>>().join("\n       ");
        return Problem::error(span, format!("expected {wanted}")).help(format!("usage: {usages}"));
    }
    let problem = Problem::error(first.span, format!("unknown command `{}`", first.text))
        .label("not a fedgate command");
    if let Some(near) = nearest(first.text, here().filter_map(|s| s.words.split(' ').next())) {
        return problem.help(format!("did you mean `{near}`?"));
    }
    if line.tokens.get(at + 1).is_some_and(|second| second.text == "extended" || second.text == "remark") {
        let whole = line.text[first.span.start as usize..].trim_end();
        let meant = format!("access-list {whole}");
        return problem.help(format!("did you mean `{meant}`?")).meant(meant);
    }
    match SPECS.iter().find(|s| s.words.split(' ').next() == Some(first.text)) {
        Some(spec) => {
            problem.help(format!("`{}` is a sub-command: it stands after another line", spec.usage))
        }
        None => problem.help("what is not supported is refused, never skipped: take the line out"),
    }
}
