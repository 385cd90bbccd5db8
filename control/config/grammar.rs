// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every configuration command, as data: one table for the parser, the CLI's `?` help, and docs/config.md (a test sees that
//! each usage line stands there).
//!
//! A line is looked up in the current sub-mode first, then in the modes around it, as on the ASA: leading blanks are not
//! needed for that. Within a mode the longest run of leading words wins (`policy-map type inspect sip` before `policy-map`).

use super::args::{Args, Env};
use super::diag::Problem;
use super::parse::{acl, crypto, group, inspect, interface, nat, object, pool, sip, system, time};
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
    /// The sub-mode it opens.
    pub enters: Option<Mode>,
    parse: Parse,
}

const fn leaf(
    mode: Mode,
    words: &'static str,
    usage: &'static str,
    help: &'static str,
    parse: Parse,
) -> Spec {
    Spec { mode, words, usage, help, enters: None, parse }
}

const fn node(
    enters: Mode,
    words: &'static str,
    usage: &'static str,
    help: &'static str,
    parse: Parse,
) -> Spec {
    Spec { mode: Mode::Global, words, usage, help, enters: Some(enters), parse }
}

/// Every command.
#[rustfmt::skip]
pub const SPECS: &[Spec] = &[
    leaf(Mode::Global, "hostname", "hostname NAME", "name of the appliance", system::hostname),
    leaf(Mode::Global, "domain-name", "domain-name NAME", "DNS domain of the appliance", system::domain_name),
    node(Mode::Interface, "interface", "interface {tap NAME | memif SOCKET [server|client] [id N] | pci DDDD:BB:DD.F | af_packet IFNAME | af_xdp IFNAME | pcap rx FILE tx FILE | ring NAME | null [N]}", "a port of the dataplane", interface::interface),
    leaf(Mode::Interface, "nameif", "nameif NAME", "name used by every other command", interface::nameif),
    leaf(Mode::Interface, "security-level", "security-level LEVEL", "0 to 100; inside has 100, others 0", interface::security_level),
    leaf(Mode::Interface, "ip address", "ip address ADDRESS MASK", "own address", interface::ip_address),
    leaf(Mode::Interface, "ipv6 address", "ipv6 address ADDRESS/LENGTH", "own IPv6 address", interface::ipv6_address),
    leaf(Mode::Interface, "ipv6 enable", "ipv6 enable", "IPv6 with a link-local address alone", interface::ipv6_enable),
    leaf(Mode::Interface, "description", "description TEXT", "a note", object::description),
    leaf(Mode::Interface, "mac-address", "mac-address HHHH.HHHH.HHHH", "own MAC instead of the device's", interface::mac_address),
    leaf(Mode::Interface, "shutdown", "shutdown", "closes the interface; no shutdown opens it", interface::shutdown),
    leaf(Mode::Global, "mtu", "mtu NAMEIF BYTES", "IP bytes a frame may carry", interface::mtu),
    leaf(Mode::Global, "ip verify reverse-path interface", "ip verify reverse-path interface NAMEIF", "drops what comes from where no route leads back", interface::reverse_path),
    leaf(Mode::Global, "fragment", "fragment {size DATAGRAMS | chain FRAGMENTS | timeout SECONDS}", "bounds of putting fragments together, of every interface", interface::fragment),
    leaf(Mode::Global, "sysopt noproxyarp", "sysopt noproxyarp NAMEIF", "no ARP answers for mapped addresses", interface::noproxyarp),
    leaf(Mode::Global, "same-security-traffic permit", "same-security-traffic permit {inter-interface | intra-interface}", "traffic between equal security levels", interface::same_security),
    node(Mode::ObjectNetwork, "object network", "object network NAME", "addresses with a name", object::network),
    leaf(Mode::ObjectNetwork, "host", "host ADDRESS", "one address, IPv4 or IPv6", object::host),
    leaf(Mode::ObjectNetwork, "subnet", "subnet {ADDRESS MASK | PREFIX/LENGTH}", "a network, IPv4 or IPv6", object::subnet),
    leaf(Mode::ObjectNetwork, "range", "range FIRST LAST", "the addresses from FIRST to LAST", object::range),
    leaf(Mode::ObjectNetwork, "fqdn", "fqdn NAME", "refused: name the addresses", object::fqdn),
    leaf(Mode::ObjectNetwork, "description", "description TEXT", "a note", object::description),
    leaf(Mode::ObjectNetwork, "nat", "nat (REAL,MAPPED) {static {ADDRESS|OBJECT|interface} [no-proxy-arp] [route-lookup] [service {tcp|udp} REALPORT MAPPEDPORT] | dynamic {interface | {ADDRESS|OBJECT|GROUP} [interface] | pat-pool {ADDRESS|OBJECT|GROUP} [round-robin] [extended] [flat [include-reserve]] [block-allocation] [interface]}}", "translates the object", nat::object),
    node(Mode::ObjectService, "object service", "object service NAME", "a protocol and ports with a name", object::service),
    leaf(Mode::ObjectService, "service", "service {{tcp|udp} [source OP PORT] [destination OP PORT] | {icmp|icmp6} [TYPE [CODE]] | PROTOCOL}", "what it is; OP is eq, neq, gt, lt or range", object::service_is),
    node(Mode::GroupNetwork, "object-group network", "object-group network NAME", "a group of addresses", group::network),
    leaf(Mode::GroupNetwork, "network-object", "network-object {host ADDRESS | ADDRESS MASK | PREFIX/LENGTH | object NAME}", "addresses of the group", group::network_object),
    leaf(Mode::GroupNetwork, "group-object", "group-object NAME", "all of another group of the same kind", group::group_object),
    leaf(Mode::GroupNetwork, "description", "description TEXT", "a note", object::description),
    node(Mode::GroupService, "object-group service", "object-group service NAME [tcp|udp|tcp-udp]", "a group of services; with a protocol, of its ports", group::service),
    leaf(Mode::GroupService, "service-object", "service-object {{tcp|udp|tcp-udp} [source OP PORT] [destination OP PORT] | {icmp|icmp6} [TYPE [CODE]] | PROTOCOL | object NAME}", "a service of a group without a protocol", group::service_object),
    leaf(Mode::GroupService, "port-object", "port-object {eq PORT | range FIRST LAST}", "ports of a group with a protocol", group::port_object),
    leaf(Mode::GroupService, "group-object", "group-object NAME", "all of another group of the same kind", group::group_object),
    leaf(Mode::GroupService, "description", "description TEXT", "a note", object::description),
    node(Mode::GroupProtocol, "object-group protocol", "object-group protocol NAME", "a group of protocols", group::protocol),
    leaf(Mode::GroupProtocol, "protocol-object", "protocol-object PROTOCOL", "a protocol of the group", group::protocol_object),
    leaf(Mode::GroupProtocol, "group-object", "group-object NAME", "all of another group of the same kind", group::group_object),
    leaf(Mode::GroupProtocol, "description", "description TEXT", "a note", object::description),
    node(Mode::GroupIcmp, "object-group icmp-type", "object-group icmp-type NAME", "a group of ICMP types", group::icmp_type),
    leaf(Mode::GroupIcmp, "icmp-object", "icmp-object TYPE", "a type of the group", group::icmp_object),
    leaf(Mode::GroupIcmp, "group-object", "group-object NAME", "all of another group of the same kind", group::group_object),
    leaf(Mode::GroupIcmp, "description", "description TEXT", "a note", object::description),
    node(Mode::TimeRange, "time-range", "time-range NAME", "a time that access-list lines hold in", time::time_range),
    leaf(Mode::TimeRange, "absolute", "absolute [start HH:MM DAY MONTH YEAR] [end HH:MM DAY MONTH YEAR]", "not before, not after; the minute of the end is still in it", time::absolute),
    leaf(Mode::TimeRange, "periodic", "periodic {DAY ... | daily | weekdays | weekend} HH:MM to [DAY] HH:MM", "only then, every week; the last minute is still in it", time::periodic),
    leaf(Mode::Global, "clock timezone", "clock timezone NAME HOURS [MINUTES]", "local time less UTC: time-ranges are in local time", time::timezone),
    leaf(Mode::Global, "access-list", "access-list NAME [line N] {extended {permit|deny} {PROTOCOL | object SERVICE | object-group GROUP} SOURCE [OP PORT | object-group PORTS] DESTINATION [OP PORT | object-group PORTS | ICMPTYPE [CODE] | object-group TYPES] [log [[LEVEL] [interval SECONDS] | disable | default]] [time-range NAME] [inactive] | remark TEXT}", "a line of an access-list; SOURCE and DESTINATION are any, any4, any6, host ADDRESS, ADDRESS MASK, PREFIX/LENGTH, interface NAMEIF, object NAME or object-group NAME", acl::access_list),
    leaf(Mode::Global, "access-list deny-flow-max", "access-list deny-flow-max FLOWS", "denied flows that 106100 is kept for at once", acl::deny_flow_max),
    leaf(Mode::Global, "access-list alert-interval", "access-list alert-interval SECONDS", "between two messages that there are more", acl::alert_interval),
    leaf(Mode::Global, "access-group", "access-group NAME {{in|out} interface NAMEIF | global}", "puts an access-list to work", acl::access_group),
    leaf(Mode::Global, "nat", "nat (REAL,MAPPED) [after-auto] [N] source {static|dynamic} {REALOBJECT|any} {MAPPEDOBJECT|interface|any|pat-pool ...} [destination static {MAPPEDOBJECT|interface} REALOBJECT] [service SERVICE SERVICE] [unidirectional] [no-proxy-arp] [route-lookup] [inactive] [description TEXT]", "manual (twice) NAT; also nat (REAL) ID {ADDRESS MASK | access-list NAME} of 8.2", nat::manual),
    leaf(Mode::Global, "static", "static (REAL,MAPPED) [{tcp|udp}] {MAPPED|interface} [PORT] REAL [PORT] netmask MASK", "static NAT of 8.2", nat::legacy_static),
    leaf(Mode::Global, "global", "global (MAPPED) ID {ADDRESS | FIRST-LAST | interface} [netmask MASK]", "addresses of dynamic NAT of 8.2", nat::legacy_global),
    leaf(Mode::Global, "xlate block-allocation", "xlate block-allocation {size PORTS | maximum-per-host BLOCKS}", "ports of a block, and blocks of a host, with block-allocation", nat::block_allocation),
    leaf(Mode::Global, "route", "route NAMEIF ADDRESS MASK GATEWAY [METRIC]", "a static route", system::route),
    leaf(Mode::Global, "ipv6 route", "ipv6 route NAMEIF PREFIX/LENGTH GATEWAY [METRIC]", "a static IPv6 route", system::route6),
    leaf(Mode::Global, "names", "names", "names of `name` lines may stand for addresses", system::names),
    leaf(Mode::Global, "name", "name ADDRESS NAME", "a name that may be written for an address", system::name),
    leaf(Mode::Global, "timeout", "timeout {conn|half-closed|embryonic|udp|icmp|sip|sip-invite|sip-disconnect|pat-xlate|xlate|conn-holddown|floating-conn} H:MM:SS ...", "idle timers; those of what fedgate does not do are taken, with a warning", system::timeout),
    leaf(Mode::Global, "arp timeout", "arp timeout SECONDS", "age at which an ARP entry is asked again", system::arp_timeout),
    node(Mode::Trustpoint, "crypto ca trustpoint", "crypto ca trustpoint NAME", "an identity, or CAs, or both", crypto::trustpoint),
    leaf(Mode::Trustpoint, "certificate file", "certificate file PATH", "own certificate, then intermediates (PEM)", crypto::certificate),
    leaf(Mode::Trustpoint, "key file", "key file PATH", "its private key (PEM)", crypto::key),
    leaf(Mode::Trustpoint, "ca file", "ca file PATH", "CAs of peers (PEM)", crypto::ca),
    leaf(Mode::Trustpoint, "crl file", "crl file PATH", "their revocation lists (PEM or DER)", crypto::crl),
    leaf(Mode::Trustpoint, "revocation-check", "revocation-check {none | crl [none]}", "whether peers are looked up in the revocation lists", crypto::revocation_check),
    Spec { mode: Mode::Trustpoint, words: "crl configure", usage: "crl configure", help: "how revocation lists are used", enters: Some(Mode::Crl), parse: crypto::crl_configure },
    leaf(Mode::Crl, "enforcenextupdate", "enforcenextupdate", "a list past its nextUpdate is as good as none; so by default", crypto::enforce_next_update),
    leaf(Mode::Trustpoint, "enrollment", "enrollment {self | terminal}", "whether crypto ca enroll signs by itself or prints a request", crypto::enrollment),
    leaf(Mode::Trustpoint, "fqdn", "fqdn {NAME | none}", "host name of the certificate to come", crypto::fqdn),
    leaf(Mode::Trustpoint, "subject-name", "subject-name DN", "subject of the certificate to come", crypto::subject_name),
    leaf(Mode::Trustpoint, "keypair", "keypair LABEL", "key of the certificate to come", crypto::keypair),
    leaf(Mode::Global, "ssl server-version", "ssl server-version {tlsv1.2 | tlsv1.3}", "oldest TLS spoken with TCP clients", crypto::server_version),
    leaf(Mode::Global, "ssl client-version", "ssl client-version {tlsv1.2 | tlsv1.3}", "oldest TLS spoken with TCP servers", crypto::client_version),
    leaf(Mode::Global, "ssl cipher", "ssl cipher {tlsv1.2 | tlsv1.3} {all | low | medium | fips | high | custom SUITES}", "suites of a version, of faces without a cipher-suite line", crypto::ssl_cipher),
    leaf(Mode::Global, "tls-proxy maximum-session", "tls-proxy maximum-session N", "bound on proxied connections", crypto::maximum_session),
    node(Mode::TlsProxy, "tls-proxy", "tls-proxy NAME", "a TLS proxy", crypto::tls_proxy),
    leaf(Mode::TlsProxy, "server trust-point", "server trust-point TRUSTPOINT [domain NAME | verify]", "shown to the TCP client, or to one that calls NAME; or vouches for TCP clients", crypto::server_trust_point),
    leaf(Mode::TlsProxy, "client trust-point", "client trust-point TRUSTPOINT [verify]", "shown to the TCP server; or vouches for TCP servers", crypto::client_trust_point),
    leaf(Mode::TlsProxy, "server authenticate-client", "server authenticate-client", "inside clients must show a certificate, as outside ones must; so by default", crypto::authenticate_client),
    leaf(Mode::TlsProxy, "server cipher-suite", "server cipher-suite SUITE ...", "suites spoken with the TCP client", crypto::server_cipher_suite),
    leaf(Mode::TlsProxy, "client cipher-suite", "client cipher-suite SUITE ...", "suites spoken with the TCP server", crypto::client_cipher_suite),
    leaf(Mode::TlsProxy, "client sip-pool", "client sip-pool NAME", "calls the members of a pool instead of who was called", pool::client_sip_pool),
    node(Mode::SipPool, "sip-pool", "sip-pool NAME", "inside servers that share what comes", pool::sip_pool),
    leaf(Mode::SipPool, "member", "member ADDRESS [port PORT] [weight N] [drain]", "a server, 5061 and weight 1 unless said; draining, it keeps its dialogs and gets no new ones", pool::member),
    leaf(Mode::SipPool, "health-check", "health-check {none | options [interval SECONDS] [fail N] [rise N]}", "OPTIONS to each member; every 10 seconds, down after 3 failures, up after 2 answers unless said", pool::health_check),
    node(Mode::ClassMap, "class-map", "class-map NAME", "names a kind of traffic", inspect::class_map),
    leaf(Mode::ClassMap, "match access-list", "match access-list NAME", "what the access-list permits", inspect::match_access_list),
    leaf(Mode::ClassMap, "match any", "match any", "everything", inspect::match_any),
    leaf(Mode::ClassMap, "match port", "match port {tcp|udp} {eq PORT | range FIRST LAST}", "connections to these ports", inspect::match_port),
    leaf(Mode::Global, "regex", "regex NAME \"PATTERN\"", "a regular expression", sip::regex),
    node(Mode::RegexClass, "class-map type regex", "class-map type regex match-any NAME", "several regular expressions", sip::regex_class),
    leaf(Mode::RegexClass, "match regex", "match regex NAME", "one of them", sip::match_regex),
    node(Mode::SipClass, "class-map type inspect sip", "class-map type inspect sip [match-all|match-any] NAME", "a kind of SIP message", sip::sip_class),
    leaf(Mode::SipClass, "match", "match [not] {{called-party|calling-party|im-subscriber|message-path|third-party-registration} regex {NAME | class NAME} | content length gt N | content type {sdp | regex {NAME | class NAME}} | request-method METHOD | uri {sip|tel} length gt N}", "what is asked of the message", sip::class_match),
    node(Mode::InspectMap, "policy-map type inspect sip", "policy-map type inspect sip NAME", "how SIP is inspected", inspect::inspect_map),
    Spec { mode: Mode::InspectMap, words: "parameters", usage: "parameters", help: "settings of the map", enters: Some(Mode::InspectParameters), parse: inspect::parameters },
    leaf(Mode::InspectParameters, "max-forwards-validation", "max-forwards-validation action {drop|drop-connection|reset|log} [log]", "a request that has used up its hops", sip::max_forwards),
    leaf(Mode::InspectParameters, "state-checking", "state-checking action {drop|drop-connection|reset|log} [log]", "a request of a dialog that was never begun", sip::state_checking),
    leaf(Mode::InspectParameters, "strict-header-validation", "strict-header-validation action {drop|drop-connection|reset|log} [log]", "a request without a header that RFC 3261 wants", sip::strict_headers),
    leaf(Mode::InspectParameters, "software-version", "software-version action {mask|log} [log]", "Server and User-Agent", sip::software_version),
    leaf(Mode::InspectParameters, "uri-non-sip", "uri-non-sip action {mask|log} [log]", "other URIs in Alert-Info and Call-Info", sip::uri_non_sip),
    leaf(Mode::InspectParameters, "im", "im", "instant messages pass; they do unless `no im` is said", sip::im),
    leaf(Mode::InspectParameters, "traffic-non-sip", "no traffic-non-sip", "what is no SIP does not pass: always so", sip::traffic_non_sip),
    leaf(Mode::InspectParameters, "asserted-identity", "asserted-identity strip", "cut out who the caller is said to be, instead of checking it", sip::asserted_identity),
    leaf(Mode::InspectParameters, "rtp-conformance", "rtp-conformance", "refused: no media passes", sip::rtp_conformance),
    leaf(Mode::InspectParameters, "ip-address-privacy", "ip-address-privacy", "refused", sip::ip_address_privacy),
    Spec { mode: Mode::InspectMap, words: "match", usage: "match [not] ... as under `class-map type inspect sip`", help: "what is asked of the message", enters: Some(Mode::InspectRule), parse: sip::map_match },
    Spec { mode: Mode::InspectMap, words: "class", usage: "class NAME", help: "a class-map of type inspect sip", enters: Some(Mode::InspectRule), parse: sip::map_class },
    leaf(Mode::InspectRule, "drop", "drop [log]", "refuses it", sip::drop),
    leaf(Mode::InspectRule, "drop-connection", "drop-connection [log]", "ends its connection", sip::drop_connection),
    leaf(Mode::InspectRule, "reset", "reset [log]", "ends its connection by RST", sip::reset),
    leaf(Mode::InspectRule, "mask", "mask [log]", "crosses out its body", sip::mask),
    leaf(Mode::InspectRule, "rate-limit", "rate-limit N [log]", "refuses it above N a second", sip::rate_limit),
    leaf(Mode::InspectRule, "log", "log", "tells the log", sip::log),
    node(Mode::PolicyMap, "policy-map", "policy-map NAME", "what to do with classes of traffic", inspect::policy_map),
    Spec { mode: Mode::PolicyMap, words: "class", usage: "class {NAME | class-default}", help: "the class-map it is about; class-default is everything", enters: Some(Mode::PolicyClass), parse: inspect::class },
    leaf(Mode::PolicyClass, "inspect sip", "inspect sip [MAP] tls-proxy NAME", "to the TLS proxy, SIP inspected", inspect::inspect_sip),
    leaf(Mode::PolicyClass, "set connection timeout", "set connection timeout {idle|half-closed|embryonic} H:MM:SS ...", "timers of the class's connections", inspect::conn_timeouts),
    leaf(Mode::PolicyClass, "set connection advanced-options", "set connection advanced-options tcp-state-bypass", "TCP without state and windows", inspect::advanced_options),
    leaf(Mode::PolicyClass, "set connection", "set connection {conn-max|embryonic-conn-max|per-client-max|per-client-embryonic-max} N ...", "bounds of the class's connections; 0 for none", inspect::limits),
    leaf(Mode::Global, "service-policy", "service-policy NAME global", "puts a policy-map to work", inspect::service_policy),
    leaf(Mode::Global, "local domain", "local domain NAME", "a SIP domain of our own", system::local_domain),
    leaf(Mode::Global, "permit domain", "permit domain {NAME | *.NAME} [peer FQDN] [trustpoint TRUSTPOINT]", "a foreign domain that may federate", system::permit_domain),
    leaf(Mode::Global, "block domain", "block domain {NAME | *.NAME}", "a foreign domain that may not", system::block_domain),
];

/// A line that could not be parsed.
pub struct Failure {
    /// Why.
    pub problem: Problem,
    /// The sub-mode the line would have opened, so that the lines under it can be checked all the same.
    pub enters: Option<Mode>,
}

/// Parses one line, understood in `mode`.
pub fn parse(line: &Line<'_>, mode: Mode, env: &Env<'_>) -> Result<(Statement, &'static Spec), Failure> {
    let negated = line.tokens[0].text == "no";
    let at = usize::from(negated);
    let Some(spec) = find(line, at, mode) else {
        return Err(Failure { problem: unknown(line, at, mode), enters: None });
    };
    let mut args = Args::within(line, at + spec.words.split(' ').count(), env);
    let parsed = (spec.parse)(&mut args, env).and_then(|command| args.end().map(|()| command));
    match parsed {
        Ok(command) => Ok((Statement { line: line.number, negated, command }, spec)),
        Err(mut problem) => {
            problem.help.get_or_insert_with(|| format!("usage: {}", spec.usage));
            Err(Failure { problem, enters: spec.enters })
        }
    }
}

/// `mode` and the modes around it, innermost first.
pub fn chain(mode: Mode) -> impl Iterator<Item = Mode> {
    std::iter::successors(Some(mode), |m| m.parent())
}

fn find(line: &Line<'_>, at: usize, mode: Mode) -> Option<&'static Spec> {
    let matches = |spec: &&Spec| {
        let mut tokens = line.tokens[at..].iter();
        spec.words.split(' ').all(|word| tokens.next().is_some_and(|t| t.text == word))
    };
    // Manual NAT right after an object, without a line between that leaves the object's mode.
    let manual = mode == Mode::ObjectNetwork && nat::is_manual(&mut Args::new(line, at));
    // A first byte that differs decides most of the table: a file may have a million lines.
    let initial = line.tokens.get(at).and_then(|t| t.text.as_bytes().first());
    chain(mode).filter(|m| !(manual && *m == Mode::ObjectNetwork)).find_map(|m| {
        let here = |s: &&Spec| s.mode == m && s.words.as_bytes().first() == initial;
        SPECS.iter().filter(here).filter(matches).max_by_key(|s| s.words.len())
    })
}

/// Says what is wrong with a line that begins no command, and what may have been meant.
fn unknown(line: &Line<'_>, at: usize, mode: Mode) -> Problem {
    let here = || chain(mode).flat_map(|m| SPECS.iter().filter(move |s| s.mode == m));
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
    match SPECS.iter().find(|s| s.words.split(' ').next() == Some(first.text)) {
        Some(spec) => {
            problem.help(format!("`{}` is a sub-command: it stands after another line", spec.usage))
        }
        None => problem.help("what is not supported is refused, never skipped: take the line out"),
    }
}
